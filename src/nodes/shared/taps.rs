//! What the nodes know of our taps. Changed under the barrier, read without a
//! lock.

use std::net::IpAddr;

use crate::model::MacAddr;
use crate::vpp::node::Context;
use crate::vpp::{Barrier, BarrierCell};

/// A tap of ours, as the nodes see it.
#[derive(Clone, Debug)]
pub struct Tap {
    /// VPP's index of the tap.
    pub sw_if_index: u32,
    /// VPP's index of its uplink.
    pub uplink: u32,
    /// MAC of VPP's side: what every neighbour of the host's resolves to.
    pub mac: MacAddr,
    /// The host's own addresses: nobody answers for those.
    pub own: Vec<IpAddr>,
}

/// A handful at most, so a list is the fastest.
static TAPS: BarrierCell<Vec<Tap>> = BarrierCell::new(Vec::new());

/// Make a tap known, or change what is known of it.
pub fn set_tap(barrier: &Barrier<'_>, tap: Tap) {
    TAPS.write(barrier, |taps| {
        taps.retain(|known| known.sw_if_index != tap.sw_if_index);
        taps.push(tap);
    });
}

/// Know a tap no more.
pub fn forget_tap(barrier: &Barrier<'_>, sw_if_index: u32) {
    TAPS.write(barrier, |taps| taps.retain(|known| known.sw_if_index != sw_if_index));
}

/// How many taps are known.
pub fn tap_count(barrier: &Barrier<'_>) -> usize {
    TAPS.write(barrier, |taps| taps.len())
}

/// VPP's index of the uplink that has the address.
pub(crate) fn uplink_of(ctx: &Context<'_>, addr: IpAddr) -> Option<u32> {
    TAPS.read(ctx).iter().find(|tap| tap.own.contains(&addr)).map(|tap| tap.uplink)
}

/// The tap of that index.
pub(crate) fn find<'n>(ctx: &'n Context<'_>, sw_if_index: u32) -> Option<&'n Tap> {
    TAPS.read(ctx).iter().find(|tap| tap.sw_if_index == sw_if_index)
}
