//! The host's addresses that are not VPP's own, as routes to VPP itself.
//!
//! Such a route names no interface: that of one uplink is that of any other in the
//! same table, and goes with the last.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::super::Uplink;
use crate::engine::UplinkId;
use crate::model::Prefix;
use crate::nodes;
use crate::vpp::Barrier;
use crate::vpp::fib::Place;

/// What [`Locals::drop_hold`] found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dropped {
    /// The uplink had it.
    pub(super) had: bool,
    /// Another one has it still.
    pub(super) is_anothers: bool,
}

/// Whose they are, by VPP's index of the table and the prefix.
#[derive(Debug, Default)]
pub(super) struct Locals {
    held: HashMap<(u32, Prefix), SmallVec<[UplinkId; 2]>, RandomState>,
    /// Uplinks whose nodes do not know theirs yet.
    news: Vec<UplinkId>,
}

impl Locals {
    /// The uplink has it; whether it had not, and another has.
    pub(super) fn hold(&mut self, id: UplinkId, place: Place) -> bool {
        let holders = self.held.entry((place.fib, place.prefix)).or_default();
        if holders.contains(&id) {
            return false;
        }
        holders.push(id);
        let is_anothers = holders.len() > 1;
        self.changed(id);
        is_anothers
    }

    /// The uplink has it no longer.
    pub(super) fn drop_hold(&mut self, id: UplinkId, place: Place) -> Dropped {
        let key = (place.fib, place.prefix);
        let Some(holders) = self.held.get_mut(&key) else { return Dropped::default() };
        let before = holders.len();
        holders.retain(|holder| *holder != id);
        let dropped = Dropped { had: holders.len() < before, is_anothers: !holders.is_empty() };
        if !dropped.is_anothers {
            self.held.remove(&key);
        }
        if dropped.had {
            self.changed(id);
        }
        dropped
    }

    /// What the uplinks count for themselves and is once in the table, beyond the
    /// first.
    pub(super) fn doubles(&self, fib: u32, ip6: bool) -> u64 {
        let of_table = self.held.iter().filter(|((of, prefix), _)| *of == fib && prefix.is_ipv4() != ip6);
        of_table.map(|(_, holders)| holders.len() as u64 - 1).sum()
    }

    /// The uplink has ended.
    pub(super) fn forget(&mut self, id: UplinkId) {
        self.held.retain(|_, holders| {
            holders.retain(|holder| *holder != id);
            !holders.is_empty()
        });
        self.news.retain(|news| *news != id);
    }

    /// The uplink's nodes are to be told: they know nothing yet, or not all.
    pub(super) fn changed(&mut self, id: UplinkId) {
        if !self.news.contains(&id) {
            self.news.push(id);
        }
    }

    /// Whether [`Self::tell`] has something to say.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Let the nodes know.
    pub(super) fn tell(&mut self, barrier: &Barrier<'_>, uplinks: &[Uplink]) {
        for id in std::mem::take(&mut self.news) {
            let tap = uplinks.iter().find(|uplink| uplink.id == id).and_then(Uplink::living_tap);
            let Some(tap) = tap else { continue };
            let of_it = self.held.iter().filter(|(_, holders)| holders.contains(&id));
            let addresses = of_it.filter_map(|((_, prefix), _)| prefix.host()).collect();
            nodes::set_elsewhere(barrier, tap.sw_if_index, addresses);
        }
    }
}
