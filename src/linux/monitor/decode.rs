//! Messages of the kernel as events. Pure; takes any bytes, and needs no
//! memory of the heap for a route of one next hop.
//!
//! What the messages hold: `fib_dump_info` (net/ipv4/fib_semantics.c),
//! `rt6_fill_node` (net/ipv6/route.c), `rtnl_fill_ifinfo`
//! (net/core/rtnetlink.c), `nh_fill_node` (net/ipv4/nexthop.c),
//! `neigh_fill_info` (net/core/neighbour.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_REPLACE};

use crate::engine::mirror::{
    KernelAddress, KernelEvent, KernelHop, KernelLink, KernelNeighbour, KernelNexthop, KernelRoute, KernelRouteKind,
};
use crate::linux::message::{Attr, Frame, Way, Ways, attrs, u8_at, u16_at, u32_at};
use crate::linux::rtnl::{
    AF_INET, AF_INET6, AF_UNSPEC, IFADDRMSG, IFF_LOWER_UP, IFF_UP, IFINFOMSG, NDMSG, NHMSG, NTF_PROXY, NUD_PERMANENT,
    RTAX_MTU, RTM_DELADDR, RTM_DELLINK, RTM_DELNEIGH, RTM_DELNEXTHOP, RTM_DELROUTE, RTM_F_CLONED, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWNEXTHOP, RTM_NEWROUTE, RTMSG, RTN_BLACKHOLE, RTN_LOCAL, RTN_PROHIBIT, RTN_THROW,
    RTN_UNICAST, RTN_UNREACHABLE, RTNH_F_ONLINK, ifa, ifla, nda, nha, rta,
};
use crate::linux::takeable::ARPHRD_ETHER;
use crate::model::{IfAddress, MacAddr, Prefix};

/// What that message tells; `None` for what is not the mirror's: ports and
/// neighbours of bridges, wireless events, cached routes, neighbours that
/// stand for a multicast group or that are answered for by proxy, and what is
/// malformed.
pub(super) fn event(frame: &Frame<'_>) -> Option<KernelEvent> {
    let body = frame.body;
    Some(match frame.kind {
        RTM_NEWROUTE => KernelEvent::Route {
            route: route(body)?,
            replaces: frame.flags & NLM_F_REPLACE != 0,
            appended: frame.flags & NLM_F_APPEND != 0,
        },
        RTM_DELROUTE => KernelEvent::RouteGone(route(body)?),
        RTM_NEWLINK => KernelEvent::Link(link(body)?),
        RTM_DELLINK => KernelEvent::LinkGone(link_index(body)?),
        RTM_NEWADDR => KernelEvent::Address(address(body)?),
        RTM_DELADDR => KernelEvent::AddressGone(address(body)?),
        RTM_NEWNEXTHOP => KernelEvent::Nexthop(nexthop(body)?),
        RTM_DELNEXTHOP => KernelEvent::NexthopGone(nexthop(body)?.id),
        RTM_NEWNEIGH => KernelEvent::Neighbour(neighbour(body)?),
        RTM_DELNEIGH => KernelEvent::NeighbourGone(neighbour(body)?),
        _ => return None,
    })
}

/// The address that a missing one stands for, by family.
fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        AF_INET6 => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => None,
    }
}

fn route(body: &[u8]) -> Option<KernelRoute> {
    let mut destination = unspecified(u8_at(body, 0))?;
    let flags = u32_at(body, 8)?;
    if flags & RTM_F_CLONED != 0 {
        return None;
    }
    let kind = match u8_at(body, 7) {
        RTN_UNICAST => KernelRouteKind::Unicast,
        RTN_BLACKHOLE => KernelRouteKind::Blackhole,
        RTN_UNREACHABLE => KernelRouteKind::Unreachable,
        RTN_PROHIBIT => KernelRouteKind::Prohibit,
        RTN_THROW => KernelRouteKind::Throw,
        RTN_LOCAL => KernelRouteKind::Local,
        other => KernelRouteKind::Other(other),
    };
    let mut route = KernelRoute {
        table: u32::from(u8_at(body, 4)),
        prefix: Prefix::containing(destination, 0)?,
        kind,
        metric: 0,
        protocol: u8_at(body, 5),
        tos: u8_at(body, 3),
        scope: u8_at(body, 6),
        from_source: u8_at(body, 2) != 0,
        prefsrc: None,
        nexthop_id: None,
        hops: smallvec::SmallVec::new(),
        mtu: None,
    };
    let mut single = KernelHop { index: 0, gateway: None, weight: 1, onlink: flags & RTNH_F_ONLINK != 0, encap: false };
    let mut ways = None;
    for attr in attrs(body, RTMSG) {
        match attr.kind() {
            rta::DST => destination = attr.addr().filter(|addr| addr.is_ipv4() == destination.is_ipv4())?,
            rta::OIF => single.index = attr.u32()?,
            rta::PRIORITY => route.metric = attr.u32()?,
            rta::PREFSRC => route.prefsrc = attr.addr(),
            rta::TABLE => route.table = attr.u32()?,
            rta::NH_ID => route.nexthop_id = attr.u32(),
            rta::MULTIPATH => ways = Some(Ways(attr.value)),
            rta::METRICS => {
                route.mtu = attr.nested().find(|metric| metric.kind() == RTAX_MTU).and_then(|metric| metric.u32());
            }
            _ => read_hop(&mut single, &attr),
        }
    }
    route.prefix = Prefix::containing(destination, u8_at(body, 1))?;
    match kind {
        // IPv6 shows the loopback device.
        KernelRouteKind::Blackhole
        | KernelRouteKind::Unreachable
        | KernelRouteKind::Prohibit
        | KernelRouteKind::Throw => {}
        _ => match ways {
            Some(ways) => route.hops.extend(ways.map(|way| hop(&way))),
            None if single.index == 0 && single.gateway.is_none() => {}
            None => route.hops.push(single),
        },
    }
    Some(route)
}

fn read_hop(hop: &mut KernelHop, attr: &Attr<'_>) {
    match attr.kind() {
        rta::GATEWAY => hop.gateway = attr.addr(),
        rta::VIA => hop.gateway = attr.via(),
        rta::ENCAP | rta::ENCAP_TYPE => hop.encap = true,
        _ => {}
    }
}

fn hop(way: &Way<'_>) -> KernelHop {
    let onlink = u32::from(way.flags) & RTNH_F_ONLINK != 0;
    let weight = u16::from(way.hops) + 1;
    let mut hop = KernelHop { index: way.index, gateway: None, weight, onlink, encap: false };
    way.attrs.clone().for_each(|attr| read_hop(&mut hop, &attr));
    hop
}

/// The index in a message of a device that is not about a port of a bridge,
/// nor, as to IPv6, about what the device has of that.
fn link_index(body: &[u8]) -> Option<u32> {
    if u8_at(body, 0) != AF_UNSPEC {
        return None;
    }
    u32_at(body, 4).filter(|index| *index != 0)
}

/// The peer's index stands where that of the device below stands otherwise.
const PAIRS: [&str; 3] = ["veth", "netkit", "vxcan"];

fn link(body: &[u8]) -> Option<KernelLink> {
    let flags = u32_at(body, 8)?;
    let mut link = KernelLink {
        index: link_index(body)?,
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        ..KernelLink::default()
    };
    let is_ethernet = u16_at(body, 2)? == ARPHRD_ETHER;
    let mut is_elsewhere = false;
    let mut data = None;
    for attr in attrs(body, IFINFOMSG) {
        match attr.kind() {
            ifla::IFNAME => link.name = lossy(&attr),
            ifla::MTU => link.mtu = attr.u32()?,
            ifla::ADDRESS if is_ethernet => link.mac = mac(&attr),
            ifla::MASTER => link.master = attr.u32().filter(|index| *index != 0),
            ifla::LINK => link.parent = attr.u32().filter(|index| *index != 0),
            ifla::LINK_NETNSID => is_elsewhere = true,
            ifla::WIRELESS => return None,
            ifla::LINKINFO => {
                for inner in attr.nested() {
                    match inner.kind() {
                        ifla::INFO_KIND => link.kind = Some(lossy(&inner)),
                        ifla::INFO_DATA => data = Some(inner.nested()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let kind = link.kind.as_deref().unwrap_or_default();
    if is_elsewhere || PAIRS.contains(&kind) {
        link.parent = None;
    }
    let find = |kind: u16| data.clone().into_iter().flatten().find(|attr| attr.kind() == kind);
    match kind {
        "vlan" => {
            link.vlan_id = find(ifla::VLAN_ID).and_then(|attr| u16_at(attr.value, 0));
            link.vlan_ad = find(ifla::VLAN_PROTOCOL).is_some_and(|attr| attr.value == ETHERTYPE_AD);
        }
        "vrf" => link.vrf_table = find(ifla::VRF_TABLE).and_then(|attr| attr.u32()),
        _ => {}
    }
    (!link.name.is_empty()).then_some(link)
}

/// `ETH_P_8021AD`, as it stands in a frame.
const ETHERTYPE_AD: [u8; 2] = [0x88, 0xa8];

/// A name may have any bytes.
fn lossy(attr: &Attr<'_>) -> String {
    let text = attr.value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn mac(attr: &Attr<'_>) -> Option<MacAddr> {
    <[u8; 6]>::try_from(attr.value).ok().map(MacAddr)
}

fn address(body: &[u8]) -> Option<KernelAddress> {
    let family = unspecified(u8_at(body, 0))?;
    let mut flags = u32::from(u8_at(body, 2));
    let (mut local, mut address) = (None, None);
    for attr in attrs(body, IFADDRMSG) {
        match attr.kind() {
            ifa::LOCAL => local = attr.addr(),
            // On a point-to-point link that is the other side's.
            ifa::ADDRESS => address = attr.addr(),
            ifa::FLAGS => flags = attr.u32()?,
            _ => {}
        }
    }
    let addr = local.or(address).filter(|addr| addr.is_ipv4() == family.is_ipv4())?;
    Some(KernelAddress {
        index: u32_at(body, 4)?,
        address: IfAddress::new(addr, u8_at(body, 1))?,
        far_side: address.is_some_and(|address| address != addr),
        no_prefix_route: flags & ifa::F_NOPREFIXROUTE != 0,
        tentative: flags & ifa::F_TENTATIVE != 0,
        refused: flags & ifa::F_DADFAILED != 0,
    })
}

fn nexthop(body: &[u8]) -> Option<KernelNexthop> {
    let onlink = u32_at(body, 4)? & RTNH_F_ONLINK != 0;
    let mut nexthop = KernelNexthop { id: 0, blackhole: false, hop: None, group: Vec::new() };
    let mut hop = KernelHop { index: 0, gateway: None, weight: 1, onlink, encap: false };
    for attr in attrs(body, NHMSG) {
        match attr.kind() {
            nha::ID => nexthop.id = attr.u32()?,
            nha::OIF => hop.index = attr.u32()?,
            nha::GATEWAY => hop.gateway = attr.addr(),
            nha::ENCAP | nha::ENCAP_TYPE => hop.encap = true,
            nha::BLACKHOLE => nexthop.blackhole = true,
            nha::GROUP => nexthop.group = attr.value.chunks_exact(8).filter_map(member).collect(),
            // For forwarding tables of bridges: no route goes by it.
            nha::FDB => return None,
            _ => {}
        }
    }
    if !nexthop.blackhole && hop.index != 0 {
        nexthop.hop = Some(hop);
    }
    (nexthop.id != 0).then_some(nexthop)
}

/// Number and weight of a group's member (struct nexthop_grp): the weight less
/// one in two bytes that do not stand as a number; kernels before 6.12 have
/// zero in the high one.
fn member(bytes: &[u8]) -> Option<(u32, u32)> {
    let weight = u16::from_le_bytes([u8_at(bytes, 4), u8_at(bytes, 5)]);
    Some((u32_at(bytes, 0)?, u32::from(weight) + 1))
}

fn neighbour(body: &[u8]) -> Option<KernelNeighbour> {
    unspecified(u8_at(body, 0))?;
    let (mut addr, mut mac) = (None, None);
    for attr in attrs(body, NDMSG) {
        match attr.kind() {
            nda::DST => addr = attr.addr(),
            nda::LLADDR => mac = self::mac(&attr),
            _ => {}
        }
    }
    // ndm_type is what a route to the address would be.
    let is_other = !matches!(u8_at(body, 11), 0 | RTN_UNICAST);
    if is_other || u8_at(body, 10) & NTF_PROXY != 0 {
        return None;
    }
    let permanent = u16_at(body, 8)? & NUD_PERMANENT != 0;
    Some(KernelNeighbour { index: u32_at(body, 4)?, addr: addr?, mac, permanent })
}
