//! Our words as rtnetlink messages and back. Pure.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};

use crate::model::{IfAddress, MacAddr, NextHop, Prefix, ROUTE_PROTOCOL, Route, RouteKind};

/// A network device as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the kernel's flags, each with its own meaning")]
pub struct LinkFacts {
    /// The kernel's index of it, in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC; `None` for a device without one.
    pub mac: Option<MacAddr>,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Set up by its administrator (`IFF_UP`).
    pub up: bool,
    /// It has a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// It takes the frames of every group: `IFF_PROMISC` or `IFF_ALLMULTI` set by
    /// hand, or the second whoever wants it.
    pub all_groups: bool,
    /// How many want it promiscuous.
    pub promiscuity: u32,
    /// The index of the device that it is stacked on, in whichever namespace.
    pub below: Option<u32>,
    /// What it is on the wire (`ARPHRD_*`, linux/if_arp.h).
    pub hardware_type: u16,
    /// What made it: `tun`, `veth`; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// It has an XDP program, or several.
    pub xdp: bool,
}

/// An address of a device as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressFacts {
    /// The address.
    pub address: IfAddress,
    /// Its broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// Not usable: duplicate address detection goes on, or has failed.
    pub unusable: bool,
}

/// A route of the main table as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFacts {
    /// The route.
    pub route: Route,
    /// The devices of its next hops.
    pub devices: Vec<u32>,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
    /// Its metric.
    pub metric: u32,
}

pub(super) fn read_link(message: &LinkMessage) -> LinkFacts {
    let mut facts = LinkFacts {
        index: message.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        all_groups: message.header.flags.intersects(LinkFlags::Promisc | LinkFlags::Allmulti),
        promiscuity: 0,
        below: None,
        hardware_type: u16::from(message.header.link_layer_type),
        kind: None,
        xdp: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => facts.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => facts.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                facts.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            // The flags are those that were set by hand: not by a sniffer's socket, a
            // bridge, or a device stacked on it (`dev_get_flags` in net/core/dev.c).
            // Kernels before 6.0 do not tell of the first.
            LinkAttribute::AllMulticast(users) => facts.all_groups |= *users > 0,
            LinkAttribute::Promiscuity(users) => facts.promiscuity = *users,
            LinkAttribute::Link(index) => facts.below = Some(*index),
            LinkAttribute::Xdp(parts) => {
                facts.xdp =
                    parts.iter().any(|part| matches!(part, LinkXdp::Attached(how) if *how != XdpAttached::None));
            }
            LinkAttribute::LinkInfo(infos) => {
                facts.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    facts
}

/// The family of an address.
fn family(addr: IpAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// The broadcast address of an IPv4 prefix; a link of two hosts has none
/// (RFC 3021).
fn broadcast(address: IfAddress) -> Option<Ipv4Addr> {
    match address.addr() {
        IpAddr::V4(addr) if address.prefix_len() < 31 => {
            let hosts = u32::MAX.checked_shr(u32::from(address.prefix_len())).unwrap_or(0);
            Some(Ipv4Addr::from_bits(addr.to_bits() | hosts))
        }
        _ => None,
    }
}

pub(super) fn address_message(index: u32, address: IfAddress) -> AddressMessage {
    let addr = address.addr();
    let mut message = AddressMessage::default();
    message.header.family = family(addr);
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Address(addr));
    match addr {
        IpAddr::V4(v4) => {
            message.attributes.push(AddressAttribute::Local(addr));
            if v4.is_link_local() {
                message.header.scope = AddressScope::Link;
            }
            if let Some(broadcast) = broadcast(address) {
                message.attributes.push(AddressAttribute::Broadcast(broadcast));
            }
        }
        IpAddr::V6(v6) => {
            // The kernel derives the scope itself; we say it for the reader.
            if v6.is_unicast_link_local() {
                message.header.scope = AddressScope::Link;
            }
            // It is the host's already: asking the link whether somebody else
            // has it would only delay, and VPP's own answer could deny it.
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    message
}

pub(super) fn read_address(message: &AddressMessage) -> Option<AddressFacts> {
    let mut address = None;
    let mut local = None;
    let mut broadcast = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(addr) => address = Some(*addr),
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Broadcast(addr) => broadcast = Some(*addr),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other side's.
    let address = IfAddress::new(local.or(address)?, message.header.prefix_len)?;
    let unusable = flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
    Some(AddressFacts { address, broadcast, unusable })
}

/// Whether a gateway is on the link by the device's own addresses.
fn is_covered(gateway: IpAddr, connected: &[IfAddress]) -> bool {
    match gateway {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => true,
        _ => connected.iter().any(|address| address.prefix().contains(gateway)),
    }
}

/// The route as the kernel will have it: a gateway that no prefix of the
/// device covers is on the link, one next hop has no weight.
pub(super) fn as_kernel_has_it(route: &Route, connected: &[IfAddress]) -> Route {
    let mut route = route.clone();
    if route.kind != RouteKind::Unicast {
        route.next_hops.clear();
    }
    let single = route.next_hops.len() == 1;
    for hop in &mut route.next_hops {
        match hop.gateway {
            Some(gateway) => hop.onlink |= !is_covered(gateway, connected),
            None => hop.onlink = false,
        }
        hop.weight = if single { 1 } else { hop.weight.clamp(1, 256) };
    }
    sort_hops(&mut route);
    route
}

/// The kernel keeps IPv6 next hops in an order of its own.
fn sort_hops(route: &mut Route) {
    route.next_hops.sort_by_key(|hop| (hop.gateway, hop.weight, hop.onlink));
}

/// A gateway's attribute; one of the other family goes as `RTA_VIA`
/// (RFC 5549).
fn gateway_attribute(prefix: &Prefix, gateway: IpAddr) -> RouteAttribute {
    match (prefix.is_ipv4(), gateway) {
        (true, IpAddr::V6(v6)) => RouteAttribute::Via(RouteVia::Inet6(v6)),
        (false, IpAddr::V4(v4)) => RouteAttribute::Via(RouteVia::Inet(v4)),
        _ => RouteAttribute::Gateway(RouteAddress::from(gateway)),
    }
}

/// A route of ours in the main table, through the device of that index whose
/// addresses are `connected`.
pub(super) fn route_message(index: u32, route: &Route, connected: &[IfAddress]) -> RouteMessage {
    let route = as_kernel_has_it(route, connected);
    let prefix = route.prefix;
    let mut message = RouteMessage::default();
    message.header.address_family = family(prefix.addr());
    message.header.destination_prefix_length = prefix.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Other(ROUTE_PROTOCOL);
    message.header.scope = RouteScope::Universe;
    message.header.kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
    };
    if !prefix.is_default() {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(prefix.addr())));
    }
    match route.next_hops.as_slice() {
        [] => {}
        [hop] => {
            match hop.gateway {
                Some(gateway) => message.attributes.push(gateway_attribute(&prefix, gateway)),
                // As `ip route` does: the kernel refuses another scope for an
                // IPv4 destination on the link.
                None if prefix.is_ipv4() => message.header.scope = RouteScope::Link,
                None => {}
            }
            message.attributes.push(RouteAttribute::Oif(index));
            if hop.onlink {
                message.header.flags |= RouteFlags::Onlink;
            }
        }
        hops => {
            let hops = hops.iter().map(|hop| next_hop(index, &prefix, hop)).collect();
            message.attributes.push(RouteAttribute::MultiPath(hops));
        }
    }
    if let Some(mtu) = route.mtu {
        message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    message
}

/// Have the route in this table.
pub(super) fn set_table(message: &mut RouteMessage, table: u32) {
    // The header has a byte for it; it is left empty where that is too small.
    message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    if message.header.table == RouteHeader::RT_TABLE_UNSPEC {
        message.attributes.push(RouteAttribute::Table(table));
    }
}

fn next_hop(index: u32, prefix: &Prefix, hop: &NextHop) -> RouteNextHop {
    let mut next = RouteNextHop::default();
    next.interface_index = index;
    // The kernel counts from 0 (rtnh_hops).
    next.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    if hop.onlink {
        next.flags = RouteNextHopFlags::Onlink;
    }
    next.attributes = hop.gateway.map(|gateway| gateway_attribute(prefix, gateway)).into_iter().collect();
    next
}

fn read_gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => {
            Some(IpAddr::V4(*v4))
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
            Some(IpAddr::V6(*v6))
        }
        _ => None,
    })
}

/// `None` for what is no route of ours by its kind: local, broadcast,
/// multicast.
pub(super) fn read_route(message: &RouteMessage) -> Option<RouteFacts> {
    let header = &message.header;
    let kind = match header.kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        _ => return None,
    };
    let mut destination = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut devices = Vec::new();
    let (mut mtu, mut metric) = (None, 0);
    let mut paths: Option<&[RouteNextHop]> = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => destination = IpAddr::V4(*v4),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => destination = IpAddr::V6(*v6),
            RouteAttribute::Oif(index) => devices.push(*index),
            RouteAttribute::MultiPath(hops) => paths = Some(hops),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let mut route = Route {
        prefix: Prefix::containing(destination, header.destination_prefix_length)?,
        kind,
        next_hops: smallvec::SmallVec::new(),
        mtu,
    };
    if kind != RouteKind::Unicast {
        // IPv6 shows the loopback device on a dropping route.
        devices.clear();
    } else if let Some(paths) = paths {
        for path in paths {
            devices.push(path.interface_index);
            route.next_hops.push(NextHop {
                gateway: read_gateway(&path.attributes),
                weight: u16::from(path.hops) + 1,
                onlink: path.flags.contains(RouteNextHopFlags::Onlink),
            });
        }
    } else {
        route.next_hops.push(NextHop {
            gateway: read_gateway(&message.attributes),
            weight: 1,
            onlink: header.flags.contains(RouteFlags::Onlink),
        });
    }
    devices.dedup();
    sort_hops(&mut route);
    Some(RouteFacts { route, devices, protocol: u8::from(header.protocol), metric })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use netlink_packet_core::{Emitable, Parseable};

    use super::*;

    fn over_the_wire<M: Emitable + Parseable<[u8]>>(message: &M) -> M {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        M::parse(&bytes).unwrap()
    }

    fn address(text: &str) -> IfAddress {
        text.parse().unwrap()
    }

    fn hop(gateway: &str, weight: u16) -> NextHop {
        NextHop { gateway: Some(gateway.parse().unwrap()), weight, onlink: false }
    }

    fn route(prefix: &str, hops: &[NextHop], mtu: Option<u32>) -> Route {
        let next_hops = hops.iter().cloned().collect();
        Route { prefix: prefix.parse().unwrap(), kind: RouteKind::Unicast, next_hops, mtu }
    }

    #[test]
    fn a_link_tells_who_wants_every_frame_of_it() {
        let read = |flags, attributes: &[LinkAttribute]| {
            let mut message = LinkMessage::default();
            message.header.flags = flags;
            message.attributes.extend_from_slice(attributes);
            let facts = read_link(&over_the_wire(&message));
            (facts.all_groups, facts.promiscuity, facts.below)
        };
        let quiet = [LinkAttribute::AllMulticast(0), LinkAttribute::Promiscuity(0)];
        assert_eq!(read(LinkFlags::Up, &quiet), (false, 0, None));
        assert_eq!(read(LinkFlags::Promisc, &quiet), (true, 0, None));
        assert_eq!(read(LinkFlags::Allmulti, &quiet), (true, 0, None));
        assert_eq!(read(LinkFlags::Up, &[LinkAttribute::AllMulticast(1)]), (true, 0, None));
        let on_another = [LinkAttribute::Promiscuity(2), LinkAttribute::Link(7)];
        assert_eq!(read(LinkFlags::Up, &on_another), (false, 2, Some(7)));
    }

    #[test]
    fn addresses_survive_the_wire() {
        let cases = [
            ("10.1.2.3/20", Some("10.1.15.255"), AddressScope::Universe),
            ("10.1.2.3/31", None, AddressScope::Universe),
            ("10.1.2.3/32", None, AddressScope::Universe),
            ("10.1.2.3/0", Some("255.255.255.255"), AddressScope::Universe),
            ("169.254.7.7/16", Some("169.254.255.255"), AddressScope::Link),
            ("fd00::5/64", None, AddressScope::Universe),
            ("fe80::5/64", None, AddressScope::Link),
        ];
        for (text, broadcast, scope) in cases {
            let message = over_the_wire(&address_message(7, address(text)));
            assert_eq!(message.header.index, 7);
            assert_eq!(message.header.scope, scope, "{text}");
            let facts = read_address(&message).unwrap();
            assert_eq!(facts.address, address(text));
            assert_eq!(facts.broadcast, broadcast.map(|b| b.parse().unwrap()), "{text}");
            let nodad = message.attributes.contains(&AddressAttribute::Flags(AddressFlags::Nodad));
            assert_eq!(nodad, address(text).addr().is_ipv6(), "{text}");
        }
    }

    #[test]
    fn routes_survive_the_wire() {
        let connected = [address("10.0.0.5/24"), address("fd00::5/64"), address("fe80::5/64")];
        let mut blackhole = route("10.9.0.0/16", &[], None);
        blackhole.kind = RouteKind::Blackhole;
        let cases = [
            route("0.0.0.0/0", &[hop("10.0.0.1", 1)], None),
            route("::/0", &[hop("fe80::1", 1)], Some(1400)),
            route("10.96.0.0/12", &[hop("10.0.0.1", 1)], Some(1440)),
            route("10.3.0.0/16", &[hop("192.0.2.1", 1)], None),
            route("10.4.0.0/16", &[hop("fd00::1", 1)], None),
            route("10.5.0.0/16", &[hop("10.0.0.1", 3), hop("192.0.2.1", 256)], None),
            route("fd01::/48", &[hop("fd00::2", 1), hop("fd00::1", 2)], Some(1300)),
            Route::via("10.7.0.0/16".parse().unwrap(), None),
            Route::via("fd07::/48".parse().unwrap(), None),
            blackhole,
        ];
        for case in cases {
            let message = over_the_wire(&route_message(9, &case, &connected));
            let facts = read_route(&message).unwrap();
            assert_eq!(facts.route, as_kernel_has_it(&case, &connected));
            assert_eq!(facts.protocol, ROUTE_PROTOCOL);
            let through_device = case.kind == RouteKind::Unicast;
            assert_eq!(facts.devices, if through_device { vec![9] } else { vec![] }, "{case}");
        }
    }

    #[test]
    fn only_a_gateway_that_no_prefix_covers_is_on_the_link() {
        let connected = [address("10.0.0.5/24"), address("fd00::5/64")];
        let onlink = |gateway: &str, prefix: &str| {
            as_kernel_has_it(&route(prefix, &[hop(gateway, 1)], None), &connected).next_hops[0].onlink
        };
        assert!(!onlink("10.0.0.1", "0.0.0.0/0"));
        assert!(onlink("10.0.1.1", "0.0.0.0/0"));
        assert!(!onlink("fd00::1", "::/0"));
        assert!(onlink("fd01::1", "::/0"));
        assert!(!onlink("fe80::1", "::/0"), "a link-local gateway is on the link by itself");
    }

    #[test]
    fn a_single_hops_weight_is_none_and_several_are_kept() {
        let one = as_kernel_has_it(&route("10.0.0.0/8", &[hop("10.0.0.1", 7)], None), &[]);
        assert_eq!(one.next_hops[0].weight, 1);
        let hops = [hop("10.0.0.2", 7), hop("10.0.0.1", 0)];
        let two = as_kernel_has_it(&route("10.0.0.0/8", &hops, None), &[]);
        assert_eq!(two.next_hops.iter().map(|h| h.weight).collect::<Vec<_>>(), [1, 7]);
    }
}
