//! Reading again what the kernel has: mark and sweep.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::rib::Candidates;
use super::rows::Slot;
use super::{RouteMirror, UNKNOWN};

/// What to read again from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "a set of four")]
pub struct Families {
    /// IPv4 routes.
    pub ipv4: bool,
    /// IPv6 routes.
    pub ipv6: bool,
    /// Next-hop objects: to be read before routes.
    pub nexthops: bool,
    /// Links, then addresses.
    pub links: bool,
}

impl Families {
    /// Everything.
    pub const ALL: Self = Self { ipv4: true, ipv6: true, nexthops: true, links: true };

    /// Routes of a family: 0 for IPv4, 1 for IPv6.
    pub(super) fn routes(family: usize) -> Self {
        Self { ipv4: family == 0, ipv6: family == 1, ..Self::default() }
    }

    /// Nothing at all.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4 || other.ipv4,
            ipv6: self.ipv6 || other.ipv6,
            nexthops: self.nexthops || other.nexthops,
            links: self.links || other.links,
        }
    }

    /// This without that.
    fn except(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4 && !other.ipv4,
            ipv6: self.ipv6 && !other.ipv6,
            nexthops: self.nexthops && !other.nexthops,
            links: self.links && !other.links,
        }
    }
}

/// Rows that are remembered as [`Sync::displaced`] at the most.
const DISPLACED: usize = 65_536;
/// So many times in succession a family is read again because what was heard of
/// its dump and after it does not go together.
const REPEATS: u8 = 3;

/// What is being read, and what has to be.
#[derive(Debug, Default)]
pub(super) struct Sync {
    wanted: Families,
    running: Families,
    /// Routes of the family have been read wholly once.
    known: [bool; 2],
    marks: [u16; 2],
    nexthop_mark: u16,
    /// Rows where a replace took the place of what the dump under way has told. It
    /// was perhaps told before the dump came there, and another route went.
    displaced: HashSet<Slot>,
    /// A family whose rows are perhaps not what the kernel has, and how many times
    /// in succession that was so.
    in_doubt: [bool; 2],
    doubts: [u8; 2],
    gave_up: bool,
    /// Whether a link is up, and whether it has carrier, as far as told.
    pub(super) links: HashMap<u32, (bool, bool)>,
    /// The table of each VRF, by its device's index; the index of what the host's
    /// device is a port of; and the table of the VRF that it is in.
    pub(super) vrfs: HashMap<u32, u32>,
    pub(super) master: Option<u32>,
    pub(super) vrf: Option<u32>,
    /// IPv4 addresses with the index of their device.
    pub(super) addresses: Vec<(u32, IpAddr)>,
}

impl Sync {
    pub(super) fn want(&mut self, families: Families) {
        self.wanted = self.wanted.or(families);
    }

    pub(super) fn is_running(&self, family: usize) -> bool {
        if family == 0 { self.running.ipv4 } else { self.running.ipv6 }
    }

    /// What the kernel has of the family is known, and not being read again.
    pub(super) fn is_known(&self, family: usize) -> bool {
        self.known[family] && !self.is_running(family)
    }

    /// A replace was told while a dump is under way, perhaps of before the dump
    /// came there. Then what it has taken away was perhaps another, and what it
    /// left beside itself is perhaps what it took away.
    pub(super) fn replaced(&mut self, slot: Slot, took_what_is_told: bool, left_some: bool) {
        self.in_doubt[slot.family()] |= left_some;
        if took_what_is_told && self.displaced.len() < DISPLACED {
            self.displaced.insert(slot);
        } else if took_what_is_told {
            self.in_doubt[slot.family()] = true;
        }
    }

    /// A route went. What went by a replace before may be there all the same: the
    /// dump is to be repeated.
    pub(super) fn went(&mut self, slot: Slot) {
        self.in_doubt[slot.family()] |= self.displaced.contains(&slot);
    }

    pub(super) fn mark(&self, family: usize) -> u16 {
        self.marks[family]
    }

    pub(super) fn nexthop_mark(&self) -> u16 {
        self.nexthop_mark
    }

    /// Whether there was any.
    fn forget_doubt(&mut self, family: usize) -> bool {
        self.displaced.retain(|slot| slot.family() != family);
        std::mem::take(&mut self.in_doubt[family])
    }

    /// Its dump has ended, and what was told meanwhile is heard.
    fn end_doubt(&mut self, family: usize) {
        if !self.forget_doubt(family) {
            self.doubts[family] = 0;
        } else if self.doubts[family] < REPEATS {
            self.doubts[family] += 1;
            self.want(Families::routes(family));
        } else {
            self.doubts[family] = 0;
            self.gave_up = true;
        }
    }
}

impl RouteMirror {
    /// What has to be read again from the kernel; told once.
    pub fn wants_resync(&mut self) -> Families {
        std::mem::take(&mut self.sync.wanted)
    }

    /// Whether routes are in doubt that are not read again now, since that has not
    /// helped: too much goes on. Told once; for an audit when it is quieter.
    pub fn gave_up(&mut self) -> bool {
        std::mem::take(&mut self.sync.gave_up)
    }

    /// The kernel is about to tell all that it has of these. One that was begun
    /// and has not ended begins anew.
    pub fn resync_begin(&mut self, families: Families) {
        let sync = &mut self.sync;
        sync.wanted = sync.wanted.except(families);
        sync.running = sync.running.or(families);
        for (family, begins) in [families.ipv4, families.ipv6].into_iter().enumerate() {
            sync.marks[family] = sync.marks[family].wrapping_add(u16::from(begins));
            if begins {
                sync.forget_doubt(family);
            }
        }
        sync.nexthop_mark = sync.nexthop_mark.wrapping_add(u16::from(families.nexthops));
        if families.links {
            sync.links.clear();
            sync.addresses.clear();
        }
        self.counts.resyncs += 1;
    }

    /// The kernel has told all that it has of these: what it did not tell is
    /// gone.
    pub fn resync_end(&mut self, families: Families) {
        let ends = families.except(families.except(self.sync.running));
        self.sync.running = self.sync.running.except(ends);
        if ends.nexthops {
            let mark = self.sync.nexthop_mark;
            let nexthops = self.ground.nexthops.iter();
            let gone: Vec<u32> = nexthops.filter(|(_, (_, seen))| *seen != mark).map(|(id, _)| *id).collect();
            self.nexthops_gone(&gone);
        }
        for family in [0, 1] {
            if [ends.ipv4, ends.ipv6][family] {
                self.sync.known[family] = true;
                self.sweep(family);
                self.sync.end_doubt(family);
            }
        }
    }

    fn sweep(&mut self, family: usize) {
        let mark = self.sync.mark(family);
        for at in 0..self.rows.places(family) {
            let slot = Slot::new(family, at);
            let row = self.rows.get(slot);
            let is_unknown = row.actual == UNKNOWN;
            let stale = match row.single() {
                Some(one) => one.mark != mark,
                None => !row.has_none() && self.rows.candidates(slot).iter().any(|one| one.mark != mark),
            };
            if stale {
                let old = self.rows.candidates(slot);
                let new: Candidates = old.iter().filter(|one| one.mark == mark).copied().collect();
                self.counts.swept += (old.len() - new.len()) as u64;
                self.set_candidates(slot, &old, &new);
            }
            if stale || (is_unknown && self.rows.get(slot).refusal() == 0) {
                self.touch(slot);
            }
        }
    }
}
