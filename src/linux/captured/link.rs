//! The device itself: its RTM_NEWLINK message, and its place on the PCI bus.

use std::net::Ipv6Addr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::message::{Attr, attrs, push, u32_at};
use crate::linux::Error;
use crate::linux::rtnl::{AF_INET6, IFINFOMSG, RTM_GETLINK};
pub(super) use crate::linux::rtnl::{IFF_ALLMULTI, IFF_PROMISC, IFF_UP, RTM_NEWLINK, ifla};
use crate::linux::socket::Socket;
use crate::linux::sys;
use crate::model::{CapturedLink, IfName, MacAddr, PciDevice};

/// A link message for the device of that index (0: to be found by an
/// attribute), with those flags in that mask.
pub(super) fn message(index: u32, flags: u32, mask: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for field in [index, flags, mask] {
        body.extend(field.to_ne_bytes());
    }
    body
}

/// `AF_SPEC` with one attribute of IPv6.
pub(super) fn inet6_spec(kind: u16, value: &[u8]) -> Vec<u8> {
    let (mut inner, mut family) = (Vec::new(), Vec::new());
    push(&mut inner, kind, value);
    push(&mut family, u16::from(AF_INET6), &inner);
    family
}

/// The device of that name; fails with `ENODEV` when it is not there.
pub(super) fn by_name(socket: &mut Socket, name: &IfName) -> Result<CapturedLink, Error> {
    let mut body = message(0, 0, 0);
    let mut text = name.as_str().as_bytes().to_vec();
    text.push(0);
    push(&mut body, ifla::IFNAME, &text);
    get(socket, &format!("look up device {name}"), &body)
}

/// The device of that index; fails with `ENODEV` when it is not there.
pub(super) fn by_index(socket: &mut Socket, index: u32) -> Result<CapturedLink, Error> {
    get(socket, &format!("look up device number {index}"), &message(index, 0, 0))
}

fn get(socket: &mut Socket, what: &str, body: &[u8]) -> Result<CapturedLink, Error> {
    let answers = socket.get_raw(what, RTM_GETLINK, body)?;
    let answer = answers.first().ok_or_else(|| Error::new(what, "the kernel answered without the device"))?;
    let (mut link, master) =
        read(&answer.0).ok_or_else(|| Error::new(what, "it is no Ethernet device, or has no name"))?;
    if let Some(master) = master {
        // Its name is what finds it again; it may go meanwhile.
        let name = name_of(socket, master).unwrap_or_default();
        link.master = Some((master, name));
    }
    Ok(link)
}

fn name_of(socket: &mut Socket, index: u32) -> Option<String> {
    let answers = socket.get_raw("look up the master", RTM_GETLINK, &message(index, 0, 0)).ok()?;
    let name = attrs(&answers.first()?.0, IFINFOMSG).find(|attr| attr.kind() == ifla::IFNAME)?;
    name.text().map(str::to_owned)
}

fn mac(attr: &Attr<'_>) -> Option<MacAddr> {
    <[u8; 6]>::try_from(attr.value).ok().map(MacAddr)
}

/// The link, and the index of its master.
fn read(body: &[u8]) -> Option<(CapturedLink, Option<u32>)> {
    let flags = u32_at(body, 8)?;
    let find = |kind: u16| attrs(body, IFINFOMSG).find(|attr| attr.kind() == kind);
    let name = find(ifla::IFNAME)?.text()?.parse().ok()?;
    let mut link = CapturedLink {
        permanent_mac: find(ifla::PERM_ADDRESS).as_ref().and_then(mac),
        up: flags & IFF_UP != 0,
        // The kernel shows here what the administrator set, not what
        // listeners did (dev_get_flags in net/core/dev.c).
        promisc: flags & IFF_PROMISC != 0,
        allmulti: flags & IFF_ALLMULTI != 0,
        alias: find(ifla::IFALIAS).and_then(|attr| attr.text().map(str::to_owned)),
        txqlen: find(ifla::TXQLEN).and_then(|attr| attr.u32()),
        group: find(ifla::GROUP).and_then(|attr| attr.u32()).unwrap_or(0),
        parent: find(ifla::LINK).and_then(|attr| attr.u32()).filter(|_| find(ifla::LINK_NETNSID).is_none()),
        ..CapturedLink::new(name, u32_at(body, 4)?, mac(&find(ifla::ADDRESS)?)?, find(ifla::MTU)?.u32()?)
    };
    for name in find(ifla::PROP_LIST).into_iter().flat_map(|list| list.nested()) {
        if let Some(text) = name.text().filter(|_| name.kind() == ifla::ALT_IFNAME) {
            link.altnames.push(text.to_owned());
        }
    }
    for attr in
        find(ifla::AF_SPEC).into_iter().flat_map(|spec| spec.nested()).filter(|f| f.kind() == u16::from(AF_INET6))
    {
        for inner in attr.nested() {
            match inner.kind() {
                ifla::INET6_ADDR_GEN_MODE => link.addr_gen_mode = inner.value.first().copied(),
                ifla::INET6_TOKEN => {
                    let token = <[u8; 16]>::try_from(inner.value).ok().map(Ipv6Addr::from);
                    link.token = token.filter(|token| !token.is_unspecified());
                }
                _ => {}
            }
        }
    }
    let info = || find(ifla::LINKINFO).into_iter().flat_map(|info| info.nested());
    link.kind = info().find(|a| a.kind() == ifla::INFO_KIND).and_then(|a| a.text().map(str::to_owned));
    if link.kind.as_deref() == Some("vlan") {
        let mut data = info().filter(|a| a.kind() == ifla::INFO_DATA).flat_map(|a| a.nested());
        let id = data.find(|a| a.kind() == ifla::VLAN_ID);
        link.vlan_id = id.and_then(|a| <[u8; 2]>::try_from(a.value).ok()).map(u16::from_ne_bytes);
    }
    Some((link, find(ifla::MASTER).and_then(|attr| attr.u32())))
}

/// Where the device is on the PCI bus. Not by `/sys/class/net`: that shows the
/// devices of the namespace that it was mounted in; `/sys/bus/pci` those of
/// the machine.
pub(super) fn pci(socket: BorrowedFd<'_>, name: &IfName) -> Option<PciDevice> {
    let address = sys::bus_address(socket, name).ok()?;
    let is_plain = address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    if address.is_empty() || !is_plain || address.starts_with('.') {
        return None;
    }
    let folder = PathBuf::from("/sys/bus/pci/devices").join(&address);
    if !folder.exists() {
        return None;
    }
    let driver = std::fs::read_link(folder.join("driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let over = std::fs::read_to_string(folder.join("driver_override")).ok();
    let driver_override = over.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty() && text != "(null)");
    Some(PciDevice { address, driver, driver_override })
}
