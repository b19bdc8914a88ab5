//! What the kernel has on an interface and above it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use netlink_packet_route::link::{LinkAttribute, LinkInfo, LinkMessage, LinkXdp};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::tc::{TcAttribute, TcMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::{Appearance, Usage};
use crate::linux::client::Netlink;
use crate::linux::error::Error;
use crate::linux::pci::PciBus;
use crate::linux::socket::Socket;
use crate::model::{IfName, MacAddr};

/// The table of what is the host's own (`RT_TABLE_LOCAL`, linux/rtnetlink.h).
const TABLE_LOCAL: u32 = 255;

/// Look, in the calling thread's namespace: the interface, and its addresses.
pub(super) fn look(name: &IfName, root: &Path, usage: &mut Usage) -> Result<(Appearance, Vec<IpAddr>), Error> {
    let mut socket = Socket::open()?;
    let links: Vec<LinkMessage> = socket
        .dump("list devices", &Message::GetLink(LinkMessage::default()))?
        .into_iter()
        .filter_map(|message| if let Message::NewLink(link) = message { Some(link) } else { None })
        .collect();
    let own = links.iter().find(|link| name_of(link) == name.as_str());
    let own = own.ok_or_else(|| Error::sys(format!("find device {name}"), Errno::ENODEV))?;
    let index = own.header.index;
    own_settings(own, &links, usage);
    children(index, &links, usage);
    let addresses: Vec<IpAddr> = Netlink::open()?.addresses(index)?.iter().map(|facts| facts.address.addr()).collect();
    routes(&mut socket, index, usage)?;
    qdiscs(&mut socket, index, usage);
    Ok((appearance(own, root), addresses))
}

fn name_of(link: &LinkMessage) -> &str {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    });
    name.unwrap_or_default()
}

fn kind_of(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        }),
        _ => None,
    })
}

fn appearance(link: &LinkMessage, root: &Path) -> Appearance {
    let name = name_of(link).to_owned();
    let mac = |bytes: &Vec<u8>| <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
    let find = |look: fn(&LinkAttribute) -> Option<&Vec<u8>>| link.attributes.iter().find_map(look).and_then(mac);
    let driver = fs::read_link(root.join("sys/class/net").join(&name).join("device/driver")).ok();
    let path = PciBus::below(root, Path::new("modprobe")).address_of(&name).map(|address| format!("pci-{address}"));
    Appearance {
        index: link.header.index,
        mac: find(|attribute| if let LinkAttribute::Address(bytes) = attribute { Some(bytes) } else { None }),
        permanent_mac: find(|attribute| match attribute {
            LinkAttribute::PermAddress(bytes) => Some(bytes),
            _ => None,
        }),
        driver: driver.and_then(|driver| Some(driver.file_name()?.to_str()?.to_owned())),
        path,
        kind: kind_of(link),
        name,
    }
}

fn own_settings(own: &LinkMessage, links: &[LinkMessage], usage: &mut Usage) {
    for attribute in &own.attributes {
        match attribute {
            LinkAttribute::Controller(master) => {
                let master = links.iter().find(|link| link.header.index == *master);
                let kind = master.and_then(kind_of).unwrap_or_else(|| "device".to_owned());
                usage.users.push(format!("port of {kind} {}", master.map_or("of another namespace", name_of)));
            }
            LinkAttribute::Promiscuity(count) if *count > 0 => {
                usage.users.push(format!("promiscuous: asked for {count} times (listeners, a bridge, or by hand)"));
            }
            LinkAttribute::Xdp(facts) => {
                let program = facts.iter().find_map(|fact| match fact {
                    LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                    _ => None,
                });
                if let Some(program) = program {
                    usage.users.push(format!("XDP program {program}"));
                    usage.interrupted.push(format!("XDP program {program} sees no packet any more"));
                }
            }
            _ => {}
        }
    }
}

/// Devices stacked on it: VLANs, macvlans, tunnels.
fn children(index: u32, links: &[LinkMessage], usage: &mut Usage) {
    for link in links {
        let on_it = link.attributes.contains(&LinkAttribute::Link(index));
        // A number of another namespace may be the same by chance.
        let of_another = link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
        let kind = kind_of(link).unwrap_or_else(|| "device".to_owned());
        // A veth names its peer so.
        if !on_it || of_another || kind == "veth" || link.header.index == index {
            continue;
        }
        usage.users.push(format!("{kind} {} is stacked on it", name_of(link)));
        usage.interrupted.push(format!("{kind} {} loses its link", name_of(link)));
    }
}

fn routes(socket: &mut Socket, index: u32, usage: &mut Usage) -> Result<(), Error> {
    for (family, word) in [(AddressFamily::Inet, "IPv4"), (AddressFamily::Inet6, "IPv6")] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        let answers = match socket.dump("list routes", &Message::GetRoute(message)) {
            // No table yet, or no IPv6.
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP)) => continue,
            other => other?,
        };
        let mut others = 0_usize;
        for answer in &answers {
            let Message::NewRoute(route) = answer else { continue };
            if !is_through(route, index) || route.header.kind != RouteType::Unicast {
                continue;
            }
            if route.header.destination_prefix_length == 0 {
                usage.users.push(default_route(route, word));
            } else if table(route) != TABLE_LOCAL {
                others += 1;
            }
        }
        if others > 0 {
            usage.users.push(format!("{others} other {word} routes"));
        }
    }
    Ok(())
}

fn is_through(route: &RouteMessage, index: u32) -> bool {
    route.attributes.iter().any(|attribute| match attribute {
        RouteAttribute::Oif(oif) => *oif == index,
        RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.interface_index == index),
        _ => false,
    })
}

fn table(route: &RouteMessage) -> u32 {
    let of_attribute = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    of_attribute.unwrap_or_else(|| u32::from(route.header.table))
}

fn default_route(route: &RouteMessage, family: &str) -> String {
    let mut words = vec![format!("{family} default route")];
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => words.push(format!("via {gateway}")),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => words.push(format!("via {gateway}")),
            RouteAttribute::Priority(metric) => words.push(format!("metric {metric}")),
            _ => {}
        }
    }
    let table = table(route);
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        words.push(format!("in table {table}"));
    }
    words.join(" ")
}

/// Queueing disciplines that somebody has set; the kernel's own have no
/// handle.
fn qdiscs(socket: &mut Socket, index: u32, usage: &mut Usage) {
    let Ok(wanted) = i32::try_from(index) else { return };
    let answers =
        match socket.dump("list queueing disciplines", &Message::GetQueueDiscipline(TcMessage::with_index(wanted))) {
            Ok(answers) => answers,
            Err(error) => return usage.warnings.push(format!("queueing disciplines are not known: {error}")),
        };
    for answer in &answers {
        let Message::NewQueueDiscipline(qdisc) = answer else { continue };
        let handle = qdisc.header.handle;
        if qdisc.header.index != wanted || (handle.major, handle.minor) == (0, 0) {
            continue;
        }
        let kind = qdisc.attributes.iter().find_map(|attribute| match attribute {
            TcAttribute::Kind(kind) => Some(kind.as_str()),
            _ => None,
        });
        let kind = kind.unwrap_or("unknown");
        usage.users.push(format!("tc: {kind} {:x}:", handle.major));
        usage.interrupted.push(format!("tc: {kind} {:x}: with its classes, filters and programs", handle.major));
    }
}
