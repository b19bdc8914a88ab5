//! The numbers of rtnetlink: types of messages, lengths of their fixed parts
//! and types of attributes (linux/netlink.h, rtnetlink.h, if_link.h,
//! if_addr.h, nexthop.h, neighbour.h).

use crate::engine::mirror::TABLE_MAIN;

/// Types of messages that any family has.
pub(super) const NLMSG_NOOP: u16 = 1;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLMSG_OVERRUN: u16 = 4;

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;
pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
pub(super) const RTM_GETNEXTHOP: u16 = 106;

pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

/// Length of a message's header (struct nlmsghdr), in bytes.
pub(super) const NLMSG_HDR: usize = 16;

/// Lengths of the fixed parts, in bytes.
pub(super) const IFINFOMSG: usize = 16;
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
    pub(in super::super) const ENCAP: u16 = 8;
    pub(in super::super) const FDB: u16 = 11;
    pub(in super::super) const RES_GROUP: u16 = 12;
    /// Inside RES_GROUP: how long it has been unbalanced.
    pub(in super::super) const RES_GROUP_UNBALANCED_TIME: u16 = 4;
}

/// The next hop is on the link, whatever the routes say.
pub(super) const RTNH_F_ONLINK: u32 = 4;
/// The route is an entry of a cache (rtm_flags).
pub(super) const RTM_F_CLONED: u32 = 0x200;
pub(super) const RT_TABLE_MAIN: u32 = TABLE_MAIN;
pub(super) const RT_TABLE_LOCAL: u32 = 255;
pub(super) const RTN_UNICAST: u8 = 1;
pub(super) const RTN_LOCAL: u8 = 2;
pub(super) const RTN_BROADCAST: u8 = 3;
pub(super) const RTN_ANYCAST: u8 = 4;
pub(super) const RTN_MULTICAST: u8 = 5;
pub(super) const RTN_BLACKHOLE: u8 = 6;
pub(super) const RTN_UNREACHABLE: u8 = 7;
pub(super) const RTN_PROHIBIT: u8 = 8;
pub(super) const RTN_THROW: u8 = 9;
pub(super) const RTPROT_KERNEL: u8 = 2;
/// Of an attribute METRICS: the MTU, in bytes.
pub(super) const RTAX_MTU: u16 = 2;
/// A lifetime without end, in seconds.
pub(super) const INFINITY: u32 = u32::MAX;

/// Attributes of neighbours.
pub(super) mod nda {
    pub(in super::super) const DST: u16 = 1;
    pub(in super::super) const LLADDR: u16 = 2;
}
pub(super) const NTF_PROXY: u8 = 8;
pub(super) const NUD_PERMANENT: u16 = 0x80;

pub(super) const IFF_UP: u32 = 0x1;
pub(super) const IFF_PROMISC: u32 = 0x100;
pub(super) const IFF_ALLMULTI: u32 = 0x200;
pub(super) const IFF_LOWER_UP: u32 = 0x10000;

/// Attributes of links (linux/if_link.h), and of what they hold.
pub(super) mod ifla {
    pub(in super::super) const ADDRESS: u16 = 1;
    pub(in super::super) const IFNAME: u16 = 3;
    pub(in super::super) const MTU: u16 = 4;
    pub(in super::super) const LINK: u16 = 5;
    pub(in super::super) const MASTER: u16 = 10;
    pub(in super::super) const WIRELESS: u16 = 11;
    pub(in super::super) const TXQLEN: u16 = 13;
    pub(in super::super) const LINKINFO: u16 = 18;
    pub(in super::super) const IFALIAS: u16 = 20;
    pub(in super::super) const AF_SPEC: u16 = 26;
    pub(in super::super) const GROUP: u16 = 27;
    pub(in super::super) const EXT_MASK: u16 = 29;
    pub(in super::super) const LINK_NETNSID: u16 = 37;
    pub(in super::super) const PROP_LIST: u16 = 52;
    pub(in super::super) const ALT_IFNAME: u16 = 53;
    pub(in super::super) const PERM_ADDRESS: u16 = 54;
    pub(in super::super) const INET6_TOKEN: u16 = 7;
    pub(in super::super) const INET6_ADDR_GEN_MODE: u16 = 8;
    pub(in super::super) const INFO_KIND: u16 = 1;
    pub(in super::super) const INFO_DATA: u16 = 2;
    pub(in super::super) const VLAN_ID: u16 = 1;
    /// In an attribute INFO_DATA of kind vlan; in network byte order.
    pub(in super::super) const VLAN_PROTOCOL: u16 = 5;
    pub(in super::super) const VRF_TABLE: u16 = 1;
}
