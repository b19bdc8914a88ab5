//! Routes of VPP's other sources, looked for where somebody asked for them.
//!
//! VPP tells nobody of its routes. So it is asked, in pieces: how many routes a
//! source has, ten times a second, which is a few reads of memory; and by going
//! through its entries, at once when the number is another one, else at leisure.
//! Only what has changed since is told.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Deadline;
use crate::engine::UplinkId;
use crate::engine::mirror::{VppLead, VppRoute, VppRoutes};
use crate::model::{NextHop, Prefix};
use crate::vpp::sources::{self, Kind, Sourced};
use crate::vpp::{Main, interface};

/// How often VPP is asked.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// The longest piece of what is done at leisure.
const LEISURE: Duration = Duration::from_micros(250);
/// Entries of VPP's between two looks at the clock.
const AT_ONCE: u32 = 256;
/// Changes that are told in one piece, and pieces that wait to be taken.
const PIECE: usize = 2048;
const PIECES: usize = 8;

#[derive(Debug)]
struct Known {
    route: VppRoute,
    round: u32,
}

/// Interfaces that mean something to it.
#[derive(Debug)]
pub(super) struct Around {
    pub(super) uplink: u32,
    /// Ours that lead to hosts, or are followed themselves: other uplinks, taps.
    pub(super) ours: Vec<u32>,
}

/// The search for one uplink.
#[derive(Debug)]
pub(super) struct Export {
    id: UplinkId,
    /// By VPP's number: the place among those asked for.
    places: HashMap<u8, u8>,
    wanted: Vec<bool>,
    known: HashMap<Prefix, Known>,
    round: u32,
    /// Where the round under way goes on.
    at: Option<u32>,
    /// It is not to wait.
    urgent: bool,
    /// A round has ended.
    whole: bool,
    counts: Vec<u32>,
    next: Instant,
    changes: Vec<(Prefix, Option<VppRoute>)>,
}

impl Export {
    /// For these sources, by name; `None` for none.
    pub(super) fn new(main: &Main<'_>, id: UplinkId, names: &[String]) -> Option<Self> {
        if names.is_empty() {
            return None;
        }
        let all = sources::all(main);
        let mut places = HashMap::new();
        let mut wanted = vec![false; usize::from(u8::MAX) + 1];
        for (place, name) in names.iter().enumerate() {
            for (number, _) in all.iter().filter(|(_, other)| other == name) {
                places.insert(*number, u8::try_from(place).unwrap_or(u8::MAX));
                wanted[usize::from(*number)] = true;
            }
        }
        Some(Self {
            id,
            places,
            wanted,
            known: HashMap::new(),
            round: 0,
            at: None,
            urgent: false,
            whole: false,
            counts: Vec::new(),
            next: Instant::now(),
            changes: Vec::new(),
        })
    }

    /// There is something to do right now.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent && self.at.is_some()
    }

    /// Begin to go through all of VPP's entries.
    pub(super) fn begin(&mut self) {
        self.at = Some(0);
        self.urgent = true;
        self.round = self.round.wrapping_add(1);
    }

    /// Look if it is time to; then for a piece, or until the deadline where it
    /// is urgent.
    pub(super) fn look(&mut self, main: &Main<'_>, around: &Around, deadline: Deadline, out: &mut Vec<VppRoutes>) {
        let now = Instant::now();
        if out.len() >= PIECES || (now < self.next && !self.is_urgent()) {
            return;
        }
        if now >= self.next {
            self.next = now + TICK;
            let counts = self.count(main, around);
            if counts != self.counts || !self.whole {
                self.counts = counts;
                self.urgent |= self.at.is_some();
                if self.at.is_none() {
                    self.begin();
                }
            } else if self.at.is_none() && (!self.known.is_empty() || self.counts.iter().any(|count| *count > 0)) {
                // The number may be the same with other routes.
                self.begin();
                self.urgent = false;
            }
        }
        let deadline = if self.urgent { deadline } else { Deadline(now + LEISURE) };
        self.go_on(main, around, deadline, out);
    }

    fn count(&self, main: &Main<'_>, around: &Around) -> Vec<u32> {
        let fibs = [false, true].map(|ip6| interface::fib_index(main, around.uplink, ip6));
        let mut counts = Vec::new();
        for number in (0..=u8::MAX).filter(|number| self.wanted[usize::from(*number)]) {
            counts.extend([false, true].map(|ip6| sources::count(main, fibs[usize::from(ip6)], ip6, number)));
        }
        counts
    }

    /// Go on with the round under way; whether there is none left.
    pub(super) fn go_on(
        &mut self,
        main: &Main<'_>,
        around: &Around,
        deadline: Deadline,
        out: &mut Vec<VppRoutes>,
    ) -> bool {
        let fib = |ip6| interface::fib_index(main, around.uplink, ip6);
        let fibs = (fib(false), fib(true));
        while let Some(at) = self.at {
            let mut found = Vec::new();
            let next = sources::routes(main, &self.wanted, fibs, at, AT_ONCE, &mut found);
            for paths in found.chunk_by(|one, other| one.entry == other.entry) {
                self.found(paths, around);
            }
            self.at = next;
            if next.is_none() {
                self.end();
            }
            self.tell(out);
            if deadline.passed() {
                break;
            }
        }
        self.at.is_none()
    }

    fn found(&mut self, paths: &[Sourced], around: &Around) {
        let Some(first) = paths.first() else { return };
        let Some(lead) = lead(paths, around).filter(|_| is_a_destination(&first.prefix)) else { return };
        let route = VppRoute { source: self.places.get(&first.source).copied().unwrap_or_default(), lead };
        let round = self.round;
        match self.known.get_mut(&first.prefix) {
            Some(known) if known.route == route => known.round = round,
            _ => {
                self.changes.push((first.prefix, Some(route.clone())));
                self.known.insert(first.prefix, Known { route, round });
            }
        }
    }

    /// What was not found is gone.
    fn end(&mut self) {
        let Self { known, changes, round, .. } = self;
        known.retain(|prefix, known| {
            if known.round != *round {
                changes.push((*prefix, None));
            }
            known.round == *round
        });
        self.urgent = false;
    }

    fn tell(&mut self, out: &mut Vec<VppRoutes>) {
        let ended = self.at.is_none();
        while self.changes.len() >= PIECE {
            let rest = self.changes.split_off(PIECE);
            let changes = std::mem::replace(&mut self.changes, rest);
            out.push(VppRoutes { uplink: self.id, changes, whole: false });
        }
        if ended && (!self.changes.is_empty() || !self.whole) {
            let changes = std::mem::take(&mut self.changes);
            out.push(VppRoutes { uplink: self.id, changes, whole: true });
            self.whole = true;
        }
    }
}

/// The host has routes of its own to the rest.
fn is_a_destination(prefix: &Prefix) -> bool {
    match prefix.addr() {
        IpAddr::V4(addr) => !addr.is_multicast() && !addr.is_broadcast(),
        IpAddr::V6(addr) => !addr.is_multicast() && !addr.is_unicast_link_local(),
    }
}

/// Where these paths of one entry lead, if that is for the host to know.
fn lead(paths: &[Sourced], around: &Around) -> Option<VppLead> {
    let mut hops: SmallVec<[NextHop; 1]> = SmallVec::new();
    let mut elsewhere = false;
    for path in paths {
        match path.kind {
            Kind::Local => return None,
            Kind::Drop => {}
            Kind::Via { sw_if_index: Some(index), .. } if around.ours.contains(&index) => return None,
            Kind::Via { sw_if_index, gateway, weight, labels: false } if sw_if_index == Some(around.uplink) => {
                hops.push(NextHop { gateway, weight: u16::from(weight.max(1)), onlink: false });
            }
            Kind::Via { .. } => elsewhere = true,
        }
    }
    match (elsewhere, hops.is_empty()) {
        // VPP knows which packet goes which way.
        (true, _) => Some(VppLead::Pods),
        (false, false) => Some(VppLead::Uplink(hops)),
        (false, true) => None,
    }
}
