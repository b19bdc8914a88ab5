//! What the nodes know of our taps. Changed under the barrier, read without a
//! lock.

use std::collections::HashSet;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use crate::model::{Groups, MacAddr, VlanTag};
use crate::vpp::node::Context;
use crate::vpp::{Barrier, BarrierCell};

/// Addresses, to be looked up for every packet.
pub type Addresses = HashSet<IpAddr, RandomState>;

/// A tap of ours, as the nodes see it.
#[derive(Clone, Debug)]
pub struct Tap {
    /// VPP's index of the tap.
    pub sw_if_index: u32,
    /// VPP's index of its uplink.
    pub uplink: u32,
    /// MAC of VPP's side: what every neighbour of the host's resolves to.
    pub mac: MacAddr,
    /// Its VLAN on the tap below, where it is one.
    pub vlan: Option<VlanTag>,
    /// The host's own addresses: nobody answers for those.
    pub own: Vec<IpAddr>,
    /// Those that it has on devices that VPP does not know.
    pub elsewhere: Addresses,
    /// The groups that the host's device takes.
    pub groups: Groups,
    /// Frames go between it and its uplink as they are. Not where the uplink is
    /// a VLAN and the tap is not: one has a tag that the other has not.
    pub whole_frames: bool,
    /// IP packets with another's source are refused. Of a VLAN's it is that of
    /// the tap below.
    pub check_source: bool,
}

/// A handful at most, so a list is the fastest.
static TAPS: BarrierCell<Vec<Tap>> = BarrierCell::new(Vec::new());

/// Make a tap known, or change what is known of it.
pub fn set_tap(barrier: &Barrier<'_>, tap: Tap) {
    super::firsts::prepare(barrier);
    TAPS.write(barrier, |taps| {
        taps.retain(|known| known.sw_if_index != tap.sw_if_index);
        taps.push(tap);
    });
}

/// The host's own addresses are these from now on, where the tap is known.
pub fn set_own(barrier: &Barrier<'_>, sw_if_index: u32, own: Vec<IpAddr>) {
    TAPS.write(barrier, |taps| {
        if let Some(tap) = taps.iter_mut().find(|tap| tap.sw_if_index == sw_if_index) {
            tap.own = own;
        }
    });
}

/// The host has these on other devices from now on, where the tap is known.
pub fn set_elsewhere(barrier: &Barrier<'_>, sw_if_index: u32, elsewhere: Addresses) {
    TAPS.write(barrier, |taps| {
        if let Some(tap) = taps.iter_mut().find(|tap| tap.sw_if_index == sw_if_index) {
            tap.elsewhere = elsewhere;
        }
    });
}

/// The host's device takes these groups from now on, where the tap is known.
pub fn set_groups(barrier: &Barrier<'_>, sw_if_index: u32, groups: Groups) {
    TAPS.write(barrier, |taps| {
        if let Some(tap) = taps.iter_mut().find(|tap| tap.sw_if_index == sw_if_index) {
            tap.groups = groups;
        }
    });
}

/// Know a tap no more.
pub fn forget_tap(barrier: &Barrier<'_>, sw_if_index: u32) {
    TAPS.write(barrier, |taps| taps.retain(|known| known.sw_if_index != sw_if_index));
    super::police::discount_tap(barrier, sw_if_index);
}

/// The uplink is no more: what its tap sends must not go to whoever gets the
/// index next.
pub fn forget_uplink(barrier: &Barrier<'_>, sw_if_index: u32) {
    TAPS.write(barrier, |taps| taps.retain(|known| known.uplink != sw_if_index));
}

/// How many taps are known.
pub fn tap_count(barrier: &Barrier<'_>) -> usize {
    TAPS.write(barrier, |taps| taps.len())
}

impl Tap {
    /// The host has the address, on this device or another.
    pub(crate) fn has(&self, addr: &IpAddr) -> bool {
        self.own.contains(addr) || self.elsewhere.contains(addr)
    }
}

/// VPP's index of the uplink whose host has the address; this one's, if so.
pub(crate) fn uplink_of(ctx: &Context<'_>, addr: IpAddr, rx: u32) -> Option<u32> {
    let taps = TAPS.read(ctx);
    let uplink_of = |tap: Option<&Tap>| tap.map(|tap| tap.uplink);
    uplink_of(taps.iter().find(|tap| tap.own.contains(&addr)))
        // Of several with the same host the one by which it came.
        .or_else(|| uplink_of(taps.iter().find(|tap| [tap.uplink, tap.sw_if_index].contains(&rx) && tap.has(&addr))))
        .or_else(|| uplink_of(taps.iter().find(|tap| tap.elsewhere.contains(&addr))))
}

/// The tap of the uplink of that index.
pub(crate) fn of_uplink<'n>(ctx: &'n Context<'_>, sw_if_index: u32) -> Option<&'n Tap> {
    TAPS.read(ctx).iter().find(|tap| tap.uplink == sw_if_index)
}

/// The tap of that index.
pub(crate) fn find<'n>(ctx: &'n Context<'_>, sw_if_index: u32) -> Option<&'n Tap> {
    TAPS.read(ctx).iter().find(|tap| tap.sw_if_index == sw_if_index)
}

/// Whether VPP has that VLAN on the tap.
pub(crate) fn has_vlan(ctx: &Context<'_>, tap: u32, vlan: VlanTag) -> bool {
    TAPS.read(ctx).iter().any(|child| child.vlan == Some(vlan) && ctx.below(child.sw_if_index) == tap)
}
