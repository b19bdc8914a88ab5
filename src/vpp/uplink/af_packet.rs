//! VPP's af-packet on a netdev that stays a netdev.
//!
//! The plugin hides its functions, in every version since it is one; its
//! commands are the only way in. They keep two answers to themselves: a name
//! that is taken already is given back as if it were new, and a deletion never
//! fails. So it is looked before and after.
//!
//! All of it with the main thread in the netdev's namespace: see
//! [`crate::vpp::namespace`].

use std::ffi::CStr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::Created;
use crate::model::{IfName, MacAddr};
use crate::vpp::{Barrier, cli, interface};

pub(super) const CREATE: &CStr = c"create host-interface";
const DELETE: &CStr = c"delete host-interface";

/// VPP's name of the interface on a netdev, in its own words.
fn given_name(device: &IfName) -> String {
    format!("host-{device}")
}

/// The name that it has with us: no command of VPP's could name `host-eth0.7`,
/// which it takes for sub-interface 7 of `host-eth0`, and looks no further.
pub fn name_of(device: &IfName) -> String {
    given_name(device).replace('.', "-")
}

/// Make an interface on the netdev of that name, with this MAC, one queue each
/// way, TPACKET version 3. VPP sets the netdev up; its MTU and MAC are not
/// changed, and VPP's MTU is 9000, whatever the netdev's is.
pub fn create(barrier: &Barrier<'_>, device: &IfName, mac: MacAddr) -> Result<Created, String> {
    let name = name_of(device);
    // VPP knows its netdevs by name alone, without their namespaces.
    for name in [&name, &given_name(device)] {
        if interface::by_name(barrier, name).is_some() {
            return Err(format!(
                "VPP has an interface {name} already: 'delete host-interface name {device}' removes it"
            ));
        }
    }
    let said = cli::call(barrier, CREATE, &format!("name {device} hw-addr {mac}"))
        .map_err(|reason| format!("VPP's af-packet refused {device}: {reason}"))?;
    let given = given_name(device);
    let Some(sw_if_index) = interface::by_name(barrier, &given) else {
        return Err(format!("VPP's af-packet refused {device}: it said '{said}'; 'show logging' may tell why"));
    };
    if given != name
        && let Err(reason) = interface::rename(barrier, sw_if_index, &name)
    {
        cli::call(barrier, DELETE, &format!("name {device}"))?;
        return Err(reason);
    }
    Ok(Created { sw_if_index, name })
}

mod raw {
    nix::ioctl_write_ptr_bad!(set_mtu, nix::libc::SIOCSIFMTU, nix::libc::ifreq);
}

/// The MTU of the netdev under VPP's interface of that name, in bytes. VPP's
/// own way adds the frame's overhead, twice (af_packet.c,
/// af_packet_eth_set_max_frame_size).
pub fn set_netdev_mtu(_barrier: &Barrier<'_>, name: &str, mtu: u32) -> Result<(), String> {
    let device: IfName = name
        .strip_prefix("host-")
        .and_then(|device| device.parse().ok())
        .ok_or_else(|| format!("the name {name} does not tell the netdev's"))?;
    let fail = |error: nix::Error| format!("MTU {mtu} of {device}: {error}");
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).map_err(fail)?;
    let mut name = [0; nix::libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(device.as_str().bytes()) {
        *to = nix::libc::c_char::from_ne_bytes([from]);
    }
    let ifr_mtu = i32::try_from(mtu).map_err(|_| fail(nix::Error::EINVAL))?;
    let request =
        nix::libc::ifreq { ifr_name: name, ifr_ifru: nix::libc::__c_anonymous_ifr_ifru { ifru_mtu: ifr_mtu } };
    // SAFETY: the socket is open; the kernel reads one ifreq, which lives on
    // this stack.
    unsafe { raw::set_mtu(socket.as_raw_fd(), &raw const request) }.map(drop).map_err(fail)
}

/// Delete what [`create`] made.
pub fn delete(barrier: &Barrier<'_>, device: &IfName) -> Result<(), String> {
    let name = name_of(device);
    if interface::by_name(barrier, &name).is_none() {
        return Ok(());
    }
    cli::call(barrier, DELETE, &format!("name {device}"))?;
    match interface::by_name(barrier, &name) {
        None => Ok(()),
        Some(_) => Err(format!("VPP did not delete {name}; 'show logging' may tell why")),
    }
}
