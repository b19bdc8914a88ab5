//! What the kernel tells: the words of a netlink notification, or of a dump.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::model::{IfAddress, MacAddr, Prefix};

/// `RT_TABLE_MAIN`: the uplink's own tables in VPP.
pub const TABLE_MAIN: u32 = 254;

/// Something that the kernel told. A dump tells everything of a kind as if it
/// were new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// A device, new or changed.
    Link(KernelLink),
    /// A device is gone; its index.
    LinkGone(u32),
    /// An address, new or changed.
    Address(KernelAddress),
    /// An address is gone.
    AddressGone(KernelAddress),
    /// A route, new or changed.
    Route {
        /// The route, with all of its next hops.
        route: KernelRoute,
        /// It took the place of one of the same prefix, TOS and metric
        /// (`NLM_F_REPLACE`).
        replaces: bool,
        /// It goes behind those of the same prefix, TOS and metric
        /// (`NLM_F_APPEND`).
        appended: bool,
    },
    /// A route is gone; of IPv6 perhaps one next hop of several.
    RouteGone(KernelRoute),
    /// A next-hop object or group, new or changed.
    Nexthop(KernelNexthop),
    /// A next-hop object is gone; its number.
    NexthopGone(u32),
    /// A neighbour, new or changed.
    Neighbour(KernelNeighbour),
    /// A neighbour is gone.
    NeighbourGone(KernelNeighbour),
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelLink {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Set up by its administrator.
    pub up: bool,
    /// It has carrier.
    pub carrier: bool,
    /// In bytes.
    pub mtu: u32,
    /// Of Ethernet devices.
    pub mac: Option<MacAddr>,
    /// Index of the bridge, bond or VRF that it is a port of.
    pub master: Option<u32>,
    /// Index of the device that it is stacked on.
    pub parent: Option<u32>,
    /// The VLAN id, where it is a VLAN.
    pub vlan_id: Option<u16>,
    /// It is a VLAN of 802.1ad, not of 802.1Q.
    pub vlan_ad: bool,
    /// What made it, such as `vlan`; `None` for hardware.
    pub kind: Option<String>,
    /// The table of a VRF.
    pub vrf_table: Option<u32>,
}

#[cfg(test)]
impl KernelLink {
    /// Hardware that is up and alone.
    pub(super) fn of_test(index: u32, name: &str) -> Self {
        Self { index, name: name.to_owned(), up: true, carrier: true, mtu: 1500, ..Self::default() }
    }
}

/// An address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the kernel's flags, each with its own meaning")]
pub struct KernelAddress {
    /// Index of the device.
    pub index: u32,
    /// The address with its prefix length.
    pub address: IfAddress,
    /// The prefix is that of another side (`IFA_ADDRESS` is not `IFA_LOCAL`).
    pub far_side: bool,
    /// The kernel makes no route to the prefix (`IFA_F_NOPREFIXROUTE`).
    pub no_prefix_route: bool,
    /// Duplicate address detection has not ended yet.
    pub tentative: bool,
    /// Duplicate address detection has found somebody else with it.
    pub refused: bool,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KernelRouteKind {
    /// Forward (`RTN_UNICAST`).
    Unicast,
    /// Drop silently.
    Blackhole,
    /// Drop and answer ICMP unreachable.
    Unreachable,
    /// Drop and answer ICMP prohibited.
    Prohibit,
    /// Look on in the next table (`RTN_THROW`).
    Throw,
    /// To the host itself (`RTN_LOCAL`).
    Local,
    /// Any other (broadcast, anycast, multicast, NAT): never ours.
    Other(u8),
}

/// A route, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelRoute {
    /// Number of its table (254 is main).
    pub table: u32,
    /// The destination.
    pub prefix: Prefix,
    /// What it does.
    pub kind: KernelRouteKind,
    /// Its metric (`RTA_PRIORITY`): the lowest is in force.
    pub metric: u32,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
    /// Type of service; VPP has no routes by it.
    pub tos: u8,
    /// Its scope (`rtm_scope`).
    pub scope: u8,
    /// It holds for some sources only (IPv6 `from`); VPP has no such routes.
    pub from_source: bool,
    /// The address that the host is to send from (`RTA_PREFSRC`).
    pub prefsrc: Option<IpAddr>,
    /// The next-hop object that it goes by (`RTA_NH_ID`).
    pub nexthop_id: Option<u32>,
    /// The next hops as the message has them; with an object they may be
    /// missing (`nexthop_compat_mode` 0).
    pub hops: SmallVec<[KernelHop; 1]>,
    /// The MTU metric, in bytes.
    pub mtu: Option<u32>,
}

impl KernelRoute {
    /// It says that the prefix is on the link of this device, in this table.
    pub fn is_on_link(&self, device: u32, table: u32) -> bool {
        self.table == table && leads_to_link(self.kind, self.nexthop_id, &self.hops, device)
    }
}

/// Whether a route of this kind makes its destinations neighbours on the link of
/// this device.
pub(super) fn leads_to_link(kind: KernelRouteKind, object: Option<u32>, hops: &[KernelHop], device: u32) -> bool {
    let is_it = |hop: &KernelHop| hop.index == device && hop.gateway.is_none();
    kind == KernelRouteKind::Unicast && object.is_none() && matches!(hops, [hop] if is_it(hop))
}

/// One next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelHop {
    /// Index of the device; 0 where the message names none.
    pub index: u32,
    /// The gateway, of whichever family; `None` for a destination on the link.
    pub gateway: Option<IpAddr>,
    /// 1 to 256.
    pub weight: u16,
    /// The gateway is on the link whatever the routes say.
    pub onlink: bool,
    /// It encapsulates (`RTA_ENCAP`), which VPP is not told to do.
    pub encap: bool,
}

/// A next-hop object or a group of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelNexthop {
    /// Its number.
    pub id: u32,
    /// It drops what comes.
    pub blackhole: bool,
    /// Where it leads; `None` for a group and for one that drops.
    pub hop: Option<KernelHop>,
    /// The members of a group: number and weight (1 to 65536).
    pub group: Vec<(u32, u32)>,
}

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelNeighbour {
    /// Index of the device.
    pub index: u32,
    /// Its address.
    pub addr: IpAddr,
    /// Its MAC, where it is known.
    pub mac: Option<MacAddr>,
    /// Set by an administrator (`NUD_PERMANENT`), not found out.
    pub permanent: bool,
}
