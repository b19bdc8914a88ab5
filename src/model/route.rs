//! Routes of the host.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use smallvec::SmallVec;

use super::Prefix;

/// The protocol number (rtnetlink's `rtm_protocol`) of every route that
/// hostnet puts into Linux. It marks what is ours, so that it is found again
/// after a crash and nothing else is touched. The number is free in
/// iproute2's `rt_protos`; `ip route show proto 118` lists ours.
pub const ROUTE_PROTOCOL: u8 = 118;

/// What a route does with its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Forward through the next hops.
    #[default]
    Unicast,
    /// Drop silently.
    Blackhole,
    /// Drop and answer ICMP unreachable.
    Unreachable,
    /// Drop and answer ICMP prohibited.
    Prohibit,
}

/// One next hop of a route on the host's device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct NextHop {
    /// The gateway; `None` for a destination on the link itself.
    pub gateway: Option<IpAddr>,
    /// The share of traffic among the next hops, 1 to 256.
    pub weight: u16,
    /// The gateway is on the link even where no address's prefix says so.
    pub onlink: bool,
}

/// A route of the host through its device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Route {
    /// The destination.
    pub prefix: Prefix,
    /// Forward or drop.
    pub kind: RouteKind,
    /// The next hops; usually one, none for the dropping kinds.
    pub next_hops: SmallVec<[NextHop; 1]>,
    /// The route's MTU metric, in bytes of the IP packet.
    pub mtu: Option<u32>,
}

impl Route {
    /// A route through one gateway, or on the link with `None`.
    pub fn via(prefix: Prefix, gateway: Option<IpAddr>) -> Self {
        let hop = NextHop { gateway, weight: 1, onlink: false };
        Self { prefix, kind: RouteKind::Unicast, next_hops: SmallVec::from_iter([hop]), mtu: None }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => {}
            RouteKind::Blackhole => f.write_str("blackhole ")?,
            RouteKind::Unreachable => f.write_str("unreachable ")?,
            RouteKind::Prohibit => f.write_str("prohibit ")?,
        }
        if self.prefix.is_default() {
            f.write_str("default")?;
        } else {
            write!(f, "{}", self.prefix)?;
        }
        let many = self.next_hops.len() > 1;
        for hop in &self.next_hops {
            if many {
                f.write_str(" nexthop")?;
            }
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            if many {
                write!(f, " weight {}", hop.weight)?;
            }
            if hop.onlink {
                f.write_str(" onlink")?;
            }
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}
