//! What an address, a route, a next-hop object and a neighbour say, read from
//! their bytes (linux/if_addr.h, rtnetlink.h, nexthop.h, neighbour.h). Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{Attr, Attrs, Way, Ways, attrs, u8_at, u32_at};
use crate::linux::rtnl::RTAX_MTU;
pub(super) use crate::linux::rtnl::{
    AF_INET, AF_INET6, FIB_RULE_HDR, IFADDRMSG, INFINITY, NDMSG, NHMSG, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTMSG,
    RTN_ANYCAST, RTN_BLACKHOLE, RTN_BROADCAST, RTN_LOCAL, RTN_MULTICAST, RTN_PROHIBIT, RTN_UNICAST, RTN_UNREACHABLE,
    RTNEXTHOP, RTNH_F_ONLINK, RTPROT_KERNEL, ifa, nha, rta,
};
use crate::model::{Prefix, RawMessage};

/// An address.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) family: u8,
    pub(super) prefix_len: u8,
    pub(super) flags: u32,
    /// The device's own.
    pub(super) local: IpAddr,
    /// The other side's on a point-to-point link, else the same.
    pub(super) peer: IpAddr,
    pub(super) broadcast: Option<IpAddr>,
    pub(super) metric: u32,
    /// Seconds that remain: preferred, valid.
    pub(super) lifetimes: (u32, u32),
}

impl Address {
    pub(super) fn read(message: &RawMessage) -> Option<Self> {
        let body = &message.0;
        let (mut local, mut peer, mut broadcast) = (None, None, None);
        let mut flags = u32::from(u8_at(body, 2));
        let mut metric = 0;
        let mut lifetimes = (INFINITY, INFINITY);
        for attr in attrs(body, IFADDRMSG) {
            match attr.kind() {
                ifa::ADDRESS => peer = attr.addr(),
                ifa::LOCAL => local = attr.addr(),
                ifa::BROADCAST => broadcast = attr.addr(),
                ifa::FLAGS => flags = attr.u32()?,
                ifa::RT_PRIORITY => metric = attr.u32()?,
                ifa::CACHEINFO => lifetimes = (u32_at(attr.value, 0)?, u32_at(attr.value, 4)?),
                _ => {}
            }
        }
        Some(Self {
            family: u8_at(body, 0),
            prefix_len: u8_at(body, 1),
            flags,
            local: local.or(peer)?,
            peer: peer.or(local)?,
            broadcast,
            metric,
            lifetimes,
        })
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The prefix that the kernel makes a route to, were it not told otherwise:
    /// of IPv4 the other side's, where there is one.
    pub(super) fn prefix(&self) -> Option<Prefix> {
        Prefix::containing(if self.family == AF_INET6 { self.local } else { self.peer }, self.prefix_len)
    }

    /// The other side, to which IPv6 makes a route in any case, a moment after
    /// the address is usable (__ipv6_ifa_notify in net/ipv6/addrconf.c).
    pub(super) fn far_side(&self) -> Option<Prefix> {
        Prefix::containing(self.peer, 128).filter(|_| self.family == AF_INET6 && self.local != self.peer)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {}", self.local)?;
        if self.local != self.peer {
            write!(f, " peer {}", self.peer)?;
        }
        write!(f, "/{}", self.prefix_len)
    }
}

/// One way of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leg {
    pub(super) index: u32,
    pub(super) gateway: Option<IpAddr>,
    /// The weight less one.
    pub(super) hops: u8,
    pub(super) flags: u8,
    pub(super) encap: bool,
}

/// A route.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) family: u8,
    pub(super) dst: Prefix,
    pub(super) src_len: u8,
    pub(super) tos: u8,
    pub(super) table: u32,
    pub(super) protocol: u8,
    pub(super) scope: u8,
    pub(super) kind: u8,
    pub(super) metric: u32,
    pub(super) prefsrc: Option<IpAddr>,
    pub(super) nexthop_id: Option<u32>,
    pub(super) legs: Vec<Leg>,
    /// The MTU metric, in bytes.
    pub(super) mtu: Option<u32>,
    /// Hundredths of a second that remain (USER_HZ); `None` for ever.
    pub(super) expires: Option<u32>,
}

impl Route {
    pub(super) fn read(message: &RawMessage) -> Option<Self> {
        let body = &message.0;
        let family = u8_at(body, 0);
        let mut dst = match family {
            AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => return None,
        };
        let flags = u32_at(body, 8)?;
        let mut single =
            Leg { index: 0, gateway: None, hops: 0, flags: u8::try_from(flags & 0xff).ok()?, encap: false };
        let mut route = Self {
            family,
            dst: Prefix::containing(dst, 0)?,
            src_len: u8_at(body, 2),
            tos: u8_at(body, 3),
            table: u32::from(u8_at(body, 4)),
            protocol: u8_at(body, 5),
            scope: u8_at(body, 6),
            kind: u8_at(body, 7),
            metric: 0,
            prefsrc: None,
            nexthop_id: None,
            legs: Vec::new(),
            mtu: None,
            expires: None,
        };
        for attr in attrs(body, RTMSG) {
            match attr.kind() {
                rta::DST => dst = attr.addr()?,
                rta::OIF => single.index = attr.u32()?,
                rta::PRIORITY => route.metric = attr.u32()?,
                rta::PREFSRC => route.prefsrc = attr.addr(),
                rta::TABLE => route.table = attr.u32()?,
                rta::NH_ID => route.nexthop_id = attr.u32(),
                rta::MULTIPATH => route.legs = legs(attr.value),
                rta::METRICS => {
                    route.mtu = attr.nested().find(|metric| metric.kind() == RTAX_MTU).and_then(|metric| metric.u32());
                }
                rta::CACHEINFO => route.expires = u32_at(attr.value, 8).filter(|left| *left != 0),
                _ => read_hop(&mut single, &attr),
            }
        }
        route.dst = Prefix::containing(dst, u8_at(body, 1))?;
        if route.legs.is_empty() {
            route.legs.push(single);
        }
        Some(route)
    }

    /// Whether one of its legs is on that device.
    pub(super) fn uses(&self, index: u32) -> bool {
        self.legs.iter().any(|leg| leg.index == index)
    }
}

fn read_hop(leg: &mut Leg, attr: &Attr<'_>) {
    match attr.kind() {
        rta::GATEWAY => leg.gateway = attr.addr(),
        rta::VIA => leg.gateway = attr.via(),
        rta::ENCAP_TYPE => leg.encap = true,
        _ => {}
    }
}

fn legs(bytes: &[u8]) -> Vec<Leg> {
    let leg = |way: Way<'_>| {
        let mut leg = Leg { index: way.index, gateway: None, hops: way.hops, flags: way.flags, encap: false };
        way.attrs.for_each(|attr| read_hop(&mut leg, &attr));
        leg
    };
    Ways(bytes).map(leg).collect()
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RTN_UNICAST => "route ",
            RTN_LOCAL => "local route ",
            RTN_BROADCAST => "broadcast route ",
            RTN_ANYCAST => "anycast route ",
            RTN_MULTICAST => "multicast route ",
            RTN_BLACKHOLE => "blackhole route ",
            RTN_UNREACHABLE => "unreachable route ",
            RTN_PROHIBIT => "prohibit route ",
            _ => "special route ",
        })?;
        write!(f, "{}", self.dst)?;
        for leg in &self.legs {
            if let Some(gateway) = leg.gateway {
                write!(f, " via {gateway}")?;
            }
        }
        if let Some(id) = self.nexthop_id {
            write!(f, " nhid {id}")?;
        }
        if self.table != RT_TABLE_MAIN {
            write!(f, " table {}", self.table)?;
        }
        if self.tos != 0 {
            write!(f, " tos {:#x}", self.tos)?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        Ok(())
    }
}

/// A next-hop object.
#[derive(Debug, Clone)]
pub(super) struct Nexthop {
    pub(super) id: u32,
    pub(super) protocol: u8,
    pub(super) onlink: bool,
    pub(super) oif: Option<u32>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) blackhole: bool,
    pub(super) encap: bool,
    /// Of a group: the objects, with their weights less one.
    pub(super) members: Vec<(u32, u8)>,
}

impl Nexthop {
    pub(super) fn read(message: &RawMessage) -> Option<Self> {
        let body = &message.0;
        let mut nexthop = Self {
            id: 0,
            protocol: u8_at(body, 2),
            onlink: u32_at(body, 4)? & RTNH_F_ONLINK != 0,
            oif: None,
            gateway: None,
            blackhole: false,
            encap: false,
            members: Vec::new(),
        };
        for attr in attrs(body, NHMSG) {
            match attr.kind() {
                nha::ID => nexthop.id = attr.u32()?,
                nha::OIF => nexthop.oif = attr.u32(),
                nha::GATEWAY => nexthop.gateway = attr.addr(),
                nha::BLACKHOLE => nexthop.blackhole = true,
                nha::ENCAP_TYPE => nexthop.encap = true,
                // struct nexthop_grp: id, weight, three bytes.
                nha::GROUP => {
                    let member = |bytes: &[u8]| Some((u32_at(bytes, 0)?, u8_at(bytes, 4)));
                    nexthop.members = attr.value.chunks_exact(8).filter_map(member).collect();
                }
                _ => {}
            }
        }
        Some(nexthop)
    }
}

/// A text inside a message, such as a rule's device.
pub(super) fn text_of(mut all: Attrs<'_>, kind: u16) -> Option<&str> {
    all.find(|attr| attr.kind() == kind).and_then(|attr| attr.text())
}
