//! What crosses between the mirror and VPP's main thread.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::engine::UplinkId;
use crate::model::{Groups, IfAddress, MacAddr, Prefix};

/// Names a set of paths, once and for all in the life of one mirror.
///
/// A million routes have a few hundred different sets of paths: each goes over
/// once, routes name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathsId(pub u32);

impl PathsId {
    /// No route.
    pub const NONE: Self = Self(0);
}

/// What a route does in VPP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Paths {
    /// Forward: at least one.
    Forward(SmallVec<[Path; 1]>),
    /// Drop silently.
    Blackhole,
    /// Drop and answer ICMP unreachable.
    Unreachable,
    /// Drop and answer ICMP prohibited.
    Prohibit,
    /// Hand it to the host, as what is for the uplink's own addresses: as it came.
    Local,
}

/// One path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// Where it leaves.
    pub out: Out,
    /// The gateway, of whichever family; `None` for a destination on the link.
    pub gateway: Option<IpAddr>,
    /// The share of traffic, 1 to 255: VPP has a byte for it.
    pub weight: u8,
}

/// Where a path leaves VPP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Out {
    /// By the uplink.
    Uplink,
    /// To the host, by the tap.
    Host,
}

/// One route in VPP as it is to be, of our own source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteOp {
    /// Number of the kernel's table; 254 stands for the uplink's own.
    pub table: u32,
    /// The destination.
    pub prefix: Prefix,
    /// What is to be there; [`PathsId::NONE`] for nothing.
    pub paths: PathsId,
}

/// Something that VPP's uplink, or a neighbour on it, is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkOp {
    /// Have this address, with this length and no other.
    AddAddress(IfAddress),
    /// Have it no longer.
    DeleteAddress(IfAddress),
    /// Have this IPv6 link-local address.
    SetLinkLocal(Ipv6Addr),
    /// This MTU, in bytes; the tap's too.
    SetMtu(u32),
    /// This MAC.
    SetMac(MacAddr),
    /// Up or down.
    SetUp(bool),
    /// A static neighbour.
    AddNeighbour(IpAddr, MacAddr),
    /// No longer static: forgotten.
    DeleteNeighbour(IpAddr),
    /// The tap's carrier, as the uplink has it.
    SetTapCarrier(bool),
    /// The host's device takes the frames of these groups.
    SetGroups(Groups),
    /// Devices stacked on the host's have these MACs of their own.
    SetMacs(Vec<MacAddr>),
}

/// Work for VPP's main thread, carried out in order and in slices of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Whose.
    pub uplink: UplinkId,
    /// Counted up by one per uplink.
    pub number: u64,
    /// Compare with what VPP has; change nothing.
    pub check: bool,
    /// Done first, each with its own result.
    pub link: Vec<LinkOp>,
    /// Sets of paths that routes name from here on.
    pub paths: Vec<(PathsId, Arc<Paths>)>,
    /// The routes.
    pub routes: Vec<RouteOp>,
    /// Sets of paths that no route names any longer, after this batch.
    pub forget: Vec<PathsId>,
    /// With `check`: how many routes of our source VPP is to have, by table
    /// and family (`true`: IPv6), compared after the routes.
    pub totals: Vec<(u32, bool, u64)>,
}

/// Why VPP did not take a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// VPP's main heap is nearly full.
    Heap,
    /// VPP's statistics segment is nearly full.
    Stats,
    /// The table cannot be used, and why.
    Table(String),
    /// The interface is gone.
    Gone,
}

/// What came of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchDone {
    /// Whose.
    pub uplink: UplinkId,
    /// Which batch.
    pub number: u64,
    /// Places in `link` that failed, and why.
    pub link_failed: Vec<(usize, String)>,
    /// Places in `routes` that VPP did not take, and why.
    pub refused: Vec<(usize, Refusal)>,
    /// With `check`: places in `routes` that VPP has otherwise, in words.
    pub differing: Vec<(usize, String)>,
    /// With `check`: routes of our source that VPP has and that are in no
    /// expected total: table and prefix of each that has to go.
    pub surplus: Vec<(u32, Prefix)>,
    /// The uplink as it is after the batch, where that had `link` or `check`.
    pub state: Option<UplinkState>,
    /// Time on VPP's main thread, in all.
    pub took: Duration,
    /// The longest slice of it without a break.
    pub longest: Duration,
    /// The most of the processor's time that a slice took: without what the
    /// kernel gave to others meanwhile.
    pub longest_cpu: Duration,
}

/// VPP's uplink as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkState {
    /// As Linux has them, where VPP holds them with a wider prefix; without
    /// link-local ones of IPv6.
    pub addresses: Vec<IfAddress>,
    /// The IPv6 link-local one.
    pub link_local: Option<Ipv6Addr>,
    /// Of the interface.
    pub mac: MacAddr,
    /// In bytes.
    pub mtu: u32,
    /// Set up by its administrator.
    pub up: bool,
    /// The wire is there.
    pub carrier: bool,
    /// In Mbit/s, where VPP knows it.
    pub speed: Option<u32>,
    /// The static neighbours on it.
    pub neighbours: Vec<(IpAddr, MacAddr)>,
}
