//! The routes of one uplink: what the kernel has, what VPP is to have of it,
//! and what VPP has. The difference is what is sent.
//!
//! A route in the kernel is a [`rib::Candidate`] of its prefix's row; the one
//! in force says by its attributes which paths VPP is to have; the row keeps
//! which ones VPP has. Nothing else is kept, so nothing can contradict it.

mod attrs;
mod audit;
mod desired;
mod kernel;
mod paths;
mod rib;
mod rows;
mod sync;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeSet, HashMap, VecDeque};

use smallvec::SmallVec;

use super::event::TABLE_MAIN;
use super::{Batch, BatchDone, PathsId, Refusal, RouteOp};
use crate::engine::UplinkId;
use crate::model::Prefix;
use attrs::{AttrId, Attrs, Reason, Verdict};
use desired::{Ground, Resolved};
use paths::{PathSets, UNKNOWN};
use rib::Candidate;
use rows::{Row, Rows, Slot};

pub use audit::CheckCursor;
pub use sync::Families;
pub use view::{ByFamily, RouteMirrorView};

/// The class of a row whose prefix VPP is to have; greater ones are a
/// [`Reason`] for that it is not, 0 is neither.
const DESIRED: u8 = 1;

/// The kinds of [`Refusal`], and none.
const REFUSALS: [&str; 5] = ["", "heap", "stats", "table", "gone"];

/// A table of the kernel's.
#[derive(Debug)]
struct Table {
    number: u32,
    /// Prefixes that VPP has of us, by family.
    in_vpp: [u64; 2],
}

/// A batch under way.
#[derive(Debug)]
struct Sent {
    number: u64,
    /// The place of the first of ours in the batch.
    first: usize,
    /// What was there before.
    before: Vec<(Slot, PathsId)>,
    /// What a check expects.
    expected: Option<Vec<RouteOp>>,
}

/// The routes of one uplink.
#[derive(Debug)]
pub struct RouteMirror {
    uplink: UplinkId,
    ground: Ground,
    attrs: Attrs,
    paths: PathSets,
    rows: Rows,
    tables: Vec<Table>,
    table_places: HashMap<u32, u32>,
    /// The place of the table that was named last.
    last_table: u32,
    queue: VecDeque<Slot>,
    sent: VecDeque<Sent>,
    sync: sync::Sync,
    withdrawn: bool,
    /// Prefixes by family that VPP is to have, then those by reason that not.
    classes: [[u64; 2 + Reason::ALL.len()]; 2],
    /// Rows that VPP refused, by the kind of refusal.
    refused: [u64; REFUSALS.len()],
    counts: view::Counts,
}

/// What VPP is to have at a prefix.
struct Judged {
    class: u8,
    paths: PathsId,
    /// A resync has seen some of what it is made of, not yet all.
    half_seen: bool,
}

impl Judged {
    const NOTHING: Self = Self { class: 0, paths: PathsId::NONE, half_seen: false };

    fn not(reason: Reason) -> Self {
        Self { class: DESIRED + 1 + reason as u8, ..Self::NOTHING }
    }
}

impl RouteMirror {
    /// Of an uplink whose host device has this index. `to_host`: VPP sends to
    /// the host what the host routes by other devices.
    pub fn new(uplink: UplinkId, host_device: u32, to_host: bool) -> Self {
        Self {
            uplink,
            ground: Ground { host_device, siblings: BTreeSet::new(), to_host, nexthops: HashMap::new() },
            attrs: Attrs::default(),
            paths: PathSets::default(),
            rows: Rows::new(),
            // Audits look there even if the kernel never had a route.
            tables: vec![Table { number: TABLE_MAIN, in_vpp: [0, 0] }],
            table_places: HashMap::from([(TABLE_MAIN, 0)]),
            last_table: 0,
            queue: VecDeque::new(),
            sent: VecDeque::new(),
            sync: sync::Sync::default(),
            withdrawn: false,
            classes: [[0; 2 + Reason::ALL.len()]; 2],
            refused: [0; REFUSALS.len()],
            counts: view::Counts::default(),
        }
    }

    /// Host devices of the other uplinks in the same namespace.
    pub fn set_siblings(&mut self, siblings: BTreeSet<u32>) {
        if self.ground.siblings != siblings {
            self.ground.siblings = siblings;
            self.judge_again(&|_| true);
        }
    }

    /// VPP has something of our source there since before us, not known what.
    /// It is replaced or removed, once the kernel's routes are known.
    pub fn present(&mut self, table: u32, prefix: Prefix) {
        let place = self.table(table);
        let slot = self.rows.find_or_insert(place, &prefix);
        if self.rows.get(slot).actual == PathsId::NONE {
            self.set_actual(slot, UNKNOWN);
        }
        self.touch(slot);
    }

    /// Put into the batch what is to change, at most `max` routes in it all
    /// told. `false`: nothing was to be put in. A number of batches may be
    /// under way; they have to be done in order.
    pub fn fill(&mut self, batch: &mut Batch, max: usize) -> bool {
        batch.uplink = self.uplink;
        let first = batch.routes.len();
        let forgotten = batch.forget.len();
        let mut before = Vec::new();
        while batch.routes.len() < max {
            let Some(slot) = self.queue.pop_front() else { break };
            let row = self.rows.get_mut(slot);
            row.set_queued(false);
            row.set_dirty(false);
            let old = row.actual;
            let Some(new) = self.change(slot, old) else {
                self.rows.tidy(slot);
                continue;
            };
            let Some((place, prefix)) = self.rows.prefix(slot) else { continue };
            if let Some(paths) = self.paths.add(new) {
                batch.paths.push((new, paths));
            }
            self.set_actual(slot, new);
            self.rows.get_mut(slot).set_flying(true);
            before.push((slot, old));
            batch.routes.push(RouteOp { table: self.tables[place as usize].number, prefix, paths: new });
        }
        if self.queue.is_empty() && self.queue.capacity() > 65536 {
            self.queue = VecDeque::new();
        }
        self.paths.forget(&mut batch.forget);
        self.counts.sent += before.len() as u64;
        let any = !before.is_empty() || batch.forget.len() > forgotten;
        if !before.is_empty() {
            self.sent.push_back(Sent { number: batch.number, first, before, expected: None });
        }
        any
    }

    /// What is to take the place of `old`, if anything now.
    fn change(&mut self, slot: Slot, old: PathsId) -> Option<PathsId> {
        let judged = self.judge(slot);
        let new = if self.withdrawn { PathsId::NONE } else { judged.paths };
        // Not before the kernel has told everything: the sweep comes back to it.
        let early = new == PathsId::NONE && old == UNKNOWN && !self.sync.is_known(slot.family());
        let wait = !self.withdrawn && (judged.half_seen || early);
        (new != old && !wait).then_some(new)
    }

    /// A batch has come back.
    pub fn done(&mut self, done: &BatchDone) {
        while let Some(at) = self.sent.iter().position(|sent| sent.number == done.number) {
            let Some(sent) = self.sent.remove(at) else { break };
            let mut refused: HashMap<usize, &Refusal> = HashMap::new();
            for (place, refusal) in &done.refused {
                if let Some(place) = place.checked_sub(sent.first) {
                    refused.insert(place, refusal);
                }
            }
            for (at, (slot, old)) in sent.before.iter().enumerate() {
                self.landed(*slot, *old, refused.get(&at).copied());
            }
            self.checked(&sent, done);
        }
    }

    fn landed(&mut self, slot: Slot, old: PathsId, refused: Option<&Refusal>) {
        self.rows.get_mut(slot).set_flying(false);
        if let Some(refusal) = refused {
            let new = self.rows.get(slot).actual;
            self.set_actual(slot, old);
            self.paths.remove(new);
            self.counts.refusals += 1;
            let kind = self.counts.refusal(refusal);
            if !self.rows.get(slot).dirty() {
                self.rows.get_mut(slot).set_refusal(kind);
                self.refused[usize::from(kind)] += 1;
                return;
            }
        } else {
            self.paths.remove(old);
        }
        if self.rows.get(slot).dirty() {
            self.enqueue(slot);
        } else {
            self.rows.tidy(slot);
        }
    }

    /// What VPP refused is to be tried again.
    pub fn retry(&mut self) {
        if self.refused.iter().all(|count| *count == 0) {
            return;
        }
        self.touch_all(|row| row.refusal() != 0);
    }

    /// VPP is to have nothing of us any more, whatever the kernel tells.
    pub fn withdraw(&mut self) {
        self.withdrawn = true;
        self.touch_all(|_| true);
    }

    /// Nothing is to be sent now, and nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.sent.is_empty() && !self.paths.has_idle()
    }

    fn touch_all(&mut self, which: impl Fn(&Row) -> bool) {
        for family in [0, 1] {
            for at in 0..self.rows.places(family) {
                let slot = Slot::new(family, at);
                if which(self.rows.get(slot)) {
                    self.touch(slot);
                }
            }
        }
    }

    /// The row is not as it was: count it, and have it sent if VPP is to know.
    fn touch(&mut self, slot: Slot) {
        let judged = self.judge(slot);
        let class = if self.withdrawn { 0 } else { judged.class };
        let want = if self.withdrawn { PathsId::NONE } else { judged.paths };
        let family = slot.family();
        let row = self.rows.get_mut(slot);
        if row.class != class {
            // How many are neither is not kept: rows begin so.
            if row.class != 0 {
                self.classes[family][usize::from(row.class)] -= 1;
            }
            if class != 0 {
                self.classes[family][usize::from(class)] += 1;
            }
            row.class = class;
        }
        if row.refusal() != 0 {
            self.refused[row.refusal()] -= 1;
            row.set_refusal(0);
        }
        if row.flying() {
            row.set_dirty(true);
        } else if want != row.actual {
            row.set_dirty(true);
            self.enqueue(slot);
        } else if !row.queued() {
            self.rows.tidy(slot);
        }
    }

    fn enqueue(&mut self, slot: Slot) {
        let row = self.rows.get_mut(slot);
        if !row.queued() {
            row.set_queued(true);
            self.queue.push_back(slot);
        }
    }

    fn set_actual(&mut self, slot: Slot, paths: PathsId) {
        let row = self.rows.get_mut(slot);
        let (had, has) = (row.actual != PathsId::NONE, paths != PathsId::NONE);
        row.actual = paths;
        if had != has
            && let Some((place, _)) = self.rows.prefix(slot)
        {
            let count = &mut self.tables[place as usize].in_vpp[slot.family()];
            *count = if has { *count + 1 } else { *count - 1 };
        }
    }

    /// The place of a table, made if need be.
    fn table(&mut self, number: u32) -> u32 {
        if self.tables.get(self.last_table as usize).is_some_and(|table| table.number == number) {
            return self.last_table;
        }
        let next = u32::try_from(self.tables.len()).unwrap_or(u32::MAX);
        let place = *self.table_places.entry(number).or_insert(next);
        if place == next {
            self.tables.push(Table { number, in_vpp: [0, 0] });
        }
        self.last_table = place;
        place
    }

    fn verdict(&mut self, id: AttrId) -> Verdict {
        let attr = self.attrs.get(id);
        if attr.verdict != Verdict::Open {
            return attr.verdict;
        }
        let verdict = match self.ground.resolve(&attr.key()) {
            Resolved::Silent => Verdict::Silent,
            Resolved::Yields => Verdict::Yields,
            Resolved::Not(reason) => Verdict::Not(reason),
            Resolved::Paths(paths) => {
                let paths = self.paths.intern(paths);
                self.paths.hold(paths);
                Verdict::Paths(paths)
            }
        };
        self.attrs.get_mut(id).verdict = verdict;
        verdict
    }

    /// Whether the main table has a route to the prefix on the host device's own
    /// link.
    pub fn is_on_link(&self, prefix: &Prefix) -> bool {
        let main = self.table_places.get(&TABLE_MAIN);
        let slot = main.and_then(|table| self.rows.find(*table, prefix));
        let candidates = slot.map(|slot| self.rows.candidates(slot)).unwrap_or_default();
        candidates.iter().any(|one| self.ground.is_on_link(&self.attrs.get(one.attr).key()))
    }

    /// What VPP is to have at the row.
    fn judge(&mut self, slot: Slot) -> Judged {
        let row = self.rows.get(slot);
        if row.has_none() {
            return Judged::NOTHING;
        }
        if let Some(one) = row.single() {
            return self.judge_one(one);
        }
        let all = self.rows.candidates(slot);
        // Those to the host itself are in a table that the kernel asks first.
        let is_local = |candidate: &&Candidate| self.attrs.get(candidate.attr).key().is_local();
        let local: SmallVec<[Candidate; 4]> = all.iter().filter(is_local).copied().collect();
        if !local.is_empty() {
            return self.judge_local(&local);
        }
        let competes = |candidate: &&Candidate| self.attrs.get(candidate.attr).key().competes();
        let mut competing = all.iter().filter(competes).peekable();
        let Some(best) = competing.peek().map(|best| **best) else {
            return Judged::NOTHING;
        };
        let equal: SmallVec<[Candidate; 4]> =
            competing.take_while(|candidate| candidate.metric == best.metric).copied().collect();
        // Of IPv4 the kernel itself takes the first alone; of what forwards VPP
        // has room for all.
        if equal.len() == 1 { self.judge_one(best) } else { self.judge_equal(slot.family(), &equal) }
    }

    /// An address of the host's, perhaps on several devices.
    fn judge_local(&mut self, all: &[Candidate]) -> Judged {
        let mut judged = Judged::NOTHING;
        for one in all {
            judged = self.judge_one(*one);
            if judged.paths == PathsId::NONE {
                break;
            }
        }
        judged
    }

    fn judge_one(&mut self, one: Candidate) -> Judged {
        if !self.attrs.get(one.attr).key().competes() {
            return Judged::NOTHING;
        }
        match self.verdict(one.attr) {
            Verdict::Open | Verdict::Silent | Verdict::Yields => Judged::NOTHING,
            Verdict::Not(reason) => Judged::not(reason),
            Verdict::Paths(paths) => Judged { class: DESIRED, paths, half_seen: false },
        }
    }

    fn judge_equal(&mut self, family: usize, equal: &[Candidate]) -> Judged {
        let verdicts: SmallVec<[Verdict; 4]> = equal.iter().map(|one| self.verdict(one.attr)).collect();
        let seen = equal.iter().filter(|one| one.mark == self.sync.mark(family)).count();
        let half_seen = seen > 0 && seen < equal.len();
        // Beside the link itself: VPP's own way to it stands before any of ours.
        let is_kernels_own = |one: &Candidate| self.attrs.get(one.attr).key().is_kernels_own();
        let has_silent = verdicts.contains(&Verdict::Silent) || equal.iter().any(is_kernels_own);
        if has_silent || verdicts.iter().all(|verdict| *verdict == Verdict::Yields) {
            return Judged { half_seen, ..Judged::NOTHING };
        }
        // The kernel takes the first of IPv4: one that drops has the word.
        if let (0, Some(Verdict::Paths(first))) = (family, verdicts.first())
            && !matches!(self.paths.get(*first), Some(super::Paths::Forward(_)))
        {
            return Judged { class: DESIRED, paths: *first, half_seen };
        }
        let sets = verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Paths(paths) => self.paths.get(*paths),
            _ => None,
        });
        let reason = verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Not(reason) => Some(*reason),
            _ => None,
        });
        if let Some(reason) = reason {
            let forwards = sets.clone().any(|paths| matches!(paths, super::Paths::Forward(_)));
            let partly = forwards && reason == Reason::OtherDevice;
            return Judged { half_seen, ..Judged::not(if partly { Reason::PartlyOtherDevice } else { reason }) };
        }
        let Some(joined) = desired::join(&sets) else { return Judged { half_seen, ..Judged::NOTHING } };
        Judged { class: DESIRED, paths: self.paths.intern(joined), half_seen }
    }
}
