//! What an address, a route, a next-hop object and a neighbour say, read from
//! their bytes (linux/if_addr.h, rtnetlink.h, nexthop.h, neighbour.h). Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::message::{Attr, Attrs, addr, attrs, u8_at, u16_at, u32_at};
use crate::model::{Prefix, RawMessage};

pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

/// Lengths of the fixed parts, in bytes.
pub(super) const IFADDRMSG: usize = 8;
pub(super) const RTMSG: usize = 12;
pub(super) const NHMSG: usize = 8;
pub(super) const NDMSG: usize = 12;
pub(super) const FIB_RULE_HDR: usize = 12;
/// Of a multipath leg (struct rtnexthop).
pub(super) const RTNEXTHOP: usize = 8;

pub(super) mod ifa {
    pub(in super::super) const ADDRESS: u16 = 1;
    pub(in super::super) const LOCAL: u16 = 2;
    pub(in super::super) const LABEL: u16 = 3;
    pub(in super::super) const BROADCAST: u16 = 4;
    pub(in super::super) const CACHEINFO: u16 = 6;
    pub(in super::super) const FLAGS: u16 = 8;
    pub(in super::super) const RT_PRIORITY: u16 = 9;
    /// IPv4: secondary; IPv6: temporary.
    pub(in super::super) const F_SECONDARY: u32 = 0x01;
    pub(in super::super) const F_NODAD: u32 = 0x02;
    pub(in super::super) const F_OPTIMISTIC: u32 = 0x04;
    pub(in super::super) const F_DADFAILED: u32 = 0x08;
    pub(in super::super) const F_DEPRECATED: u32 = 0x20;
    pub(in super::super) const F_TENTATIVE: u32 = 0x40;
    pub(in super::super) const F_NOPREFIXROUTE: u32 = 0x200;
    pub(in super::super) const F_STABLE_PRIVACY: u32 = 0x800;
}

pub(super) mod rta {
    pub(in super::super) const DST: u16 = 1;
    pub(in super::super) const IIF: u16 = 3;
    pub(in super::super) const OIF: u16 = 4;
    pub(in super::super) const GATEWAY: u16 = 5;
    pub(in super::super) const PRIORITY: u16 = 6;
    pub(in super::super) const PREFSRC: u16 = 7;
    pub(in super::super) const METRICS: u16 = 8;
    pub(in super::super) const MULTIPATH: u16 = 9;
    pub(in super::super) const FLOW: u16 = 11;
    pub(in super::super) const CACHEINFO: u16 = 12;
    pub(in super::super) const TABLE: u16 = 15;
    pub(in super::super) const VIA: u16 = 18;
    pub(in super::super) const ENCAP_TYPE: u16 = 21;
    pub(in super::super) const ENCAP: u16 = 22;
    pub(in super::super) const EXPIRES: u16 = 23;
    pub(in super::super) const NH_ID: u16 = 30;
}

pub(super) mod nha {
    pub(in super::super) const ID: u16 = 1;
    pub(in super::super) const GROUP: u16 = 2;
    pub(in super::super) const BLACKHOLE: u16 = 4;
    pub(in super::super) const OIF: u16 = 5;
    pub(in super::super) const GATEWAY: u16 = 6;
    pub(in super::super) const ENCAP_TYPE: u16 = 7;
    pub(in super::super) const RES_GROUP: u16 = 12;
    /// Inside RES_GROUP: how long it has been unbalanced.
    pub(in super::super) const RES_GROUP_UNBALANCED_TIME: u16 = 4;
}

/// The next hop is on the link, whatever the routes say.
pub(super) const RTNH_F_ONLINK: u32 = 4;
pub(super) const RT_TABLE_MAIN: u32 = 254;
pub(super) const RT_TABLE_LOCAL: u32 = 255;
pub(super) const RTN_UNICAST: u8 = 1;
pub(super) const RTN_LOCAL: u8 = 2;
pub(super) const RTN_BROADCAST: u8 = 3;
pub(super) const RTN_ANYCAST: u8 = 4;
pub(super) const RTN_MULTICAST: u8 = 5;
pub(super) const RTN_BLACKHOLE: u8 = 6;
pub(super) const RTN_UNREACHABLE: u8 = 7;
pub(super) const RTN_PROHIBIT: u8 = 8;
pub(super) const RTPROT_KERNEL: u8 = 2;
/// A lifetime without end, in seconds.
pub(super) const INFINITY: u32 = u32::MAX;

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

const RTAX_MTU: u16 = 2;

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
        // The family comes first (struct rtvia).
        rta::VIA => leg.gateway = attr.value.get(2..).and_then(addr),
        rta::ENCAP_TYPE => leg.encap = true,
        _ => {}
    }
}

fn legs(mut bytes: &[u8]) -> Vec<Leg> {
    let mut found = Vec::new();
    while let Some(length) = u16_at(bytes, 0).map(usize::from).filter(|length| *length >= RTNEXTHOP) {
        let (Some(this), Some(index)) = (bytes.get(..length), u32_at(bytes, 4)) else { break };
        let mut leg = Leg { index, gateway: None, hops: u8_at(this, 3), flags: u8_at(this, 2), encap: false };
        for attr in attrs(this, RTNEXTHOP) {
            read_hop(&mut leg, &attr);
        }
        found.push(leg);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
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
