//! Routes of the mirror in VPP: tables, sets of paths, and what has room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::locals::Locals;
use super::macs::Macs;
use super::words::words;
use super::{Deadline, Job};
use crate::engine::mirror::{Out, Paths, PathsId, Refusal, RouteOp, TABLE_MAIN};
use crate::engine::{Plan, UplinkId};
use crate::vpp::fib::{self, Full, PathSet, Place, Table};
use crate::vpp::{Barrier, Main, Pauses, interface};

/// Routes that one look at VPP's memory is good for.
const ROOM_FOR: u32 = 256;
/// Routes between two looks at the clock: some microseconds.
const AT_ONCE: usize = 8;
/// How long the workers stand still at a time, about, while routes are deleted
/// or the uplink is changed: a card holds what comes meanwhile.
pub(super) const STILL: Duration = Duration::from_micros(100);
/// Entries of VPP's that the walk passes between two looks at the clock.
const WALK_AT_ONCE: u32 = 1024;

/// A table of the kernel's in VPP, held while it has routes of ours.
#[derive(Debug)]
struct Used {
    number: u32,
    ip6: bool,
    table: Table,
    /// Routes that this uplink has in it.
    count: u64,
}

/// What another uplink has in a table of VPP's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    fib: u32,
    ip6: bool,
    count: u64,
}

#[derive(Debug)]
struct Set {
    paths: Arc<Paths>,
    /// For IPv4 and IPv6, each when the first route wants it.
    made: [Option<PathSet>; 2],
}

/// What the last look at VPP's memory found.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// In which table.
    fib: u32,
    ip6: bool,
    /// Routes that it is still good for.
    left: u32,
    new: Result<(), Full>,
    /// Whether what is there may be changed.
    change: Result<(), Full>,
}

/// VPP's entries that were compared, or put there, since an audit began: by
/// VPP's number.
#[derive(Debug, Default)]
struct Seen(Vec<u64>);

impl Seen {
    fn mark(&mut self, entry: u32) {
        let (word, bit) = (entry as usize / 64, entry % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    fn has(&self, entry: u32) -> bool {
        self.0.get(entry as usize / 64).is_some_and(|word| word & (1 << (entry % 64)) != 0)
    }
}

/// What else is in VPP's tables.
#[derive(Debug)]
pub(super) struct Others<'a> {
    /// Of the other uplinks.
    pub(super) shares: Vec<Share>,
    /// Of all.
    pub(super) locals: &'a mut Locals,
    pub(super) macs: &'a mut Macs,
}

impl Others<'_> {
    fn share(&self, fib: u32, ip6: bool) -> bool {
        self.shares.iter().any(|share| (share.fib, share.ip6) == (fib, ip6))
    }
}

#[derive(Debug)]
pub(super) struct Routes {
    id: UplinkId,
    /// The uplink, while it is there.
    uplink: Option<u32>,
    tap: Option<u32>,
    /// VPP's numbers of the uplink's own tables.
    own_tables: (u32, u32),
    used: Vec<Used>,
    sets: HashMap<PathsId, Set>,
    room: Option<Room>,
    /// While an audit is under way.
    seen: Option<Seen>,
    /// Where the walk of the end is, and whether that is over.
    ending: u32,
    ended: bool,
}

impl Routes {
    pub(super) fn new(main: &Main<'_>, id: UplinkId, uplink: u32, tap: Option<u32>) -> Self {
        fib::prepare(&main.barrier(), uplink);
        let own_tables = interface::get(main, uplink).map_or((0, 0), |found| found.tables);
        Self {
            id,
            uplink: Some(uplink),
            tap,
            own_tables,
            used: Vec::new(),
            sets: HashMap::new(),
            room: None,
            seen: None,
            ending: 0,
            ended: false,
        }
    }

    /// Lead through these interfaces from now on.
    pub(super) fn lead(&mut self, main: &Main<'_>, uplink: u32, tap: Option<u32>) {
        let used = std::mem::take(&mut self.used);
        *self = Self::new(main, self.id, uplink, tap);
        self.used = used;
    }

    pub(super) fn interface_deleted(&mut self, sw_if_index: u32) {
        for place in [&mut self.uplink, &mut self.tap] {
            if *place == Some(sw_if_index) {
                *place = None;
            }
        }
        // Others get the index next.
        for set in self.sets.values_mut() {
            set.made = [None, None];
        }
    }

    pub(super) fn know(&mut self, id: PathsId, paths: Arc<Paths>) {
        self.sets.insert(id, Set { paths, made: [None, None] });
    }

    /// After a batch: sets that are not named any longer, tables without routes.
    pub(super) fn forget(&mut self, main: &Main<'_>, ids: &[PathsId]) {
        for id in ids {
            self.sets.remove(id);
        }
        self.release(main);
    }

    fn release(&mut self, main: &Main<'_>) {
        if self.used.iter().all(|used| used.count > 0) {
            return;
        }
        let barrier = main.barrier();
        for used in std::mem::take(&mut self.used) {
            if used.count > 0 {
                self.used.push(used);
            } else {
                used.table.release(&barrier);
            }
        }
        // What stood for the table is no longer valid.
        self.room = None;
    }

    /// What of VPP's tables is this uplink's.
    pub(super) fn shares(&self) -> impl Iterator<Item = Share> + '_ {
        self.used.iter().map(|used| Share { fib: used.table.fib(), ip6: used.ip6, count: used.count })
    }

    fn find(&self, number: u32, ip6: bool) -> Option<usize> {
        self.used.iter().position(|used| (used.number, used.ip6) == (number, ip6))
    }

    /// The table's place in `used`.
    fn table(&mut self, main: &Main<'_>, number: u32, ip6: bool) -> Result<usize, Refusal> {
        if let Some(at) = self.find(number, ip6) {
            return Ok(at);
        }
        let own = if ip6 { self.own_tables.1 } else { self.own_tables.0 };
        let vpp = if number == TABLE_MAIN { own } else { number };
        let table = Table::hold(&main.barrier(), vpp, ip6).map_err(Refusal::Table)?;
        // Routes of ours that are there already, from before the mirror.
        self.used.push(Used { number, ip6, table, count: 0 });
        Ok(self.used.len() - 1)
    }

    fn set(&mut self, main: &Main<'_>, id: PathsId, ip6: bool) -> Result<&PathSet, Refusal> {
        let unknown = || Refusal::Table(format!("its paths, number {}, are not known", id.0));
        let Self { sets, uplink, tap, .. } = self;
        let set = sets.get_mut(&id).ok_or_else(unknown)?;
        let made = &mut set.made[usize::from(ip6)];
        if made.is_none() {
            *made = Some(PathSet::new(main, ip6, vpp_paths(&set.paths, *uplink, *tap, ip6)?));
        }
        made.as_ref().ok_or(Refusal::Gone)
    }

    /// Whether VPP has room, looked at anew every so many routes.
    fn room(&mut self, main: &Main<'_>, fib: u32, ip6: bool) -> Room {
        let fresh = self.room.filter(|room| (room.fib, room.ip6) == (fib, ip6) && room.left > 0);
        let mut room = fresh.unwrap_or_else(|| {
            let new = fib::room(main, fib, ip6, ROOM_FOR);
            let change = if new.is_ok() { Ok(()) } else { fib::room(main, fib, ip6, 0) };
            Room { fib, ip6, left: ROOM_FOR, new, change }
        });
        room.left -= 1;
        self.room = Some(room);
        room
    }

    /// Carry out the routes of a batch; whether all are done with.
    pub(super) fn apply(
        &mut self,
        main: &Main<'_>,
        job: &mut Job,
        others: &mut Others<'_>,
        deadline: Deadline,
    ) -> bool {
        let mut pauses = Pauses::new(main, STILL);
        while let Some(op) = job.batch.routes.get(job.routes) {
            let result = if op.paths == PathsId::NONE {
                self.delete(pauses.hold(), op, others)
            } else {
                pauses.end();
                self.put(main, op, others)
            };
            if let Err(refusal) = result {
                job.done.refused.push((job.routes, refusal));
            }
            job.routes += 1;
            // While the workers stand still after each one, or the next would hold
            // them anew.
            let look = pauses.is_held() || job.routes.is_multiple_of(AT_ONCE);
            if look && deadline.passed() && !pauses.goes_on() {
                return false;
            }
        }
        true
    }

    fn delete(&mut self, barrier: &Barrier<'_>, op: &RouteOp, others: &mut Others<'_>) -> Result<(), Refusal> {
        let ip6 = !op.prefix.is_ipv4();
        // Without the table there is no route of ours, but for one that is older
        // than the mirror, such as of the takeover.
        let is_held = self.find(op.table, ip6).is_some();
        let at = self.table(barrier, op.table, ip6)?;
        let place = Place { fib: self.used[at].table.fib(), prefix: op.prefix };
        // Another uplink has brought its own in the place of ours already.
        let shared = is_held && others.share(place.fib, ip6);
        let is_anothers = shared
            && fib::paths(barrier, place)
                .iter()
                .any(|path| matches!(path, fib::Path::Via { sw_if_index, .. } if !self.leads(*sw_if_index)));
        let local = others.locals.drop_hold(self.id, place);
        let is_gone = if local.is_anothers { local.had } else { !is_anothers && fib::delete(barrier, place) };
        if is_gone {
            let used = &mut self.used[at];
            used.count = used.count.saturating_sub(1);
        }
        Ok(())
    }

    fn put(&mut self, main: &Main<'_>, op: &RouteOp, others: &mut Others<'_>) -> Result<(), Refusal> {
        let ip6 = !op.prefix.is_ipv4();
        let at = self.table(main, op.table, ip6)?;
        let place = Place { fib: self.used[at].table.fib(), prefix: op.prefix };
        let room = self.room(main, place.fib, ip6);
        if let Err(full) = room.new {
            let there = fib::find(main, place).is_some();
            if !there || room.change.is_err() {
                return Err(refusal(full));
            }
        }
        let before = fib::count(main, place.fib, ip6);
        let id = self.id;
        let set = self.set(main, op.paths, ip6)?;
        let entry = fib::update(main, place, set);
        // Each counts it that has it.
        let is_double = set.is_local() && others.locals.hold(id, place);
        if !set.is_local() {
            others.locals.drop_hold(id, place);
        }
        if is_double || fib::count(main, place.fib, ip6) > before {
            self.used[at].count += 1;
        }
        if let Some(seen) = &mut self.seen {
            seen.mark(entry);
        }
        Ok(())
    }

    /// Compare the routes of a batch; whether all are done with.
    pub(super) fn check(&mut self, main: &Main<'_>, job: &mut Job, deadline: Deadline) -> bool {
        while let Some(op) = job.batch.routes.get(job.routes) {
            match self.look(main, op) {
                Ok(None) => {}
                Ok(Some(difference)) => job.done.differing.push((job.routes, difference)),
                Err(refusal) => job.done.refused.push((job.routes, refusal)),
            }
            job.routes += 1;
            if job.routes.is_multiple_of(AT_ONCE) && deadline.passed() {
                return false;
            }
        }
        true
    }

    fn look(&mut self, main: &Main<'_>, op: &RouteOp) -> Result<Option<String>, Refusal> {
        let ip6 = !op.prefix.is_ipv4();
        let at = self.table(main, op.table, ip6)?;
        let place = Place { fib: self.used[at].table.fib(), prefix: op.prefix };
        let mut seen = self.seen.take().unwrap_or_default();
        let there = fib::find(main, place);
        if let Some(found) = there {
            seen.mark(found.entry);
        }
        self.seen = Some(seen);
        if op.paths == PathsId::NONE {
            let name = |index| name(main, index);
            return Ok(there.map(|_| format!("{}, not none", words(&fib::paths(main, place), name))));
        }
        let result = fib::compare(main, place, self.set(main, op.paths, ip6)?);
        Ok(result.err().map(|paths| words(&paths, |index| name(main, index))))
    }

    /// Compare how many routes there are, and look for those that are too many;
    /// whether all is done.
    pub(super) fn compare_totals(
        &mut self,
        main: &Main<'_>,
        job: &mut Job,
        others: &Others<'_>,
        deadline: Deadline,
    ) -> bool {
        if job.batch.totals.is_empty() {
            return true;
        }
        while let Some(used) = self.used.get(job.tables) {
            let (fib, ip6, number) = (used.table.fib(), used.ip6, used.number);
            let of_table = |(table, of6, _): &&(u32, bool, u64)| (*table, *of6) == (number, ip6);
            let wanted = job.batch.totals.iter().find(of_table).map_or(0, |(_, _, count)| *count);
            let mut shared = others.shares.iter().filter(|share| (share.fib, share.ip6) == (fib, ip6)).peekable();
            let is_shared = shared.peek().is_some();
            let of_others: u64 = shared.map(|share| share.count).sum();
            let can_tell = wanted == 0 || self.seen.is_some();
            let there = fib::count(main, fib, ip6) + others.locals.doubles(fib, ip6);
            if there != wanted + of_others && can_tell {
                let mut found = Vec::new();
                let next = fib::ours(main, fib, ip6, job.walk, WALK_AT_ONCE, &mut found);
                found.retain(|one| !self.seen.as_ref().is_some_and(|seen| seen.has(one.entry)));
                found.retain(|one| !is_shared || self.leads(one.sw_if_index));
                job.done.surplus.extend(found.into_iter().map(|one| (number, one.prefix)));
                if let Some(next) = next {
                    job.walk = next;
                    if deadline.passed() {
                        return false;
                    }
                    continue;
                }
            }
            job.walk = 0;
            job.tables += 1;
        }
        self.seen = None;
        true
    }

    fn leads(&self, sw_if_index: u32) -> bool {
        [self.uplink, self.tap].contains(&Some(sw_if_index))
    }

    /// Take all of the uplink's routes away; whether that is over.
    pub(super) fn end(&mut self, main: &Main<'_>, others: &mut Others<'_>, deadline: Deadline) -> bool {
        let mut pauses = Pauses::new(main, STILL);
        while let Some(used) = self.used.last() {
            let (fib, ip6) = (used.table.fib(), used.ip6);
            let is_shared = others.share(fib, ip6);
            let mut found = Vec::new();
            let next = if fib::count(main, fib, ip6) == 0 {
                None
            } else {
                fib::ours(main, fib, ip6, self.ending, WALK_AT_ONCE, &mut found)
            };
            for one in found {
                let place = Place { fib, prefix: one.prefix };
                let local = others.locals.drop_hold(self.id, place);
                let is_ours = !is_shared || local.had || self.leads(one.sw_if_index);
                if is_ours && !local.is_anothers {
                    fib::delete(pauses.hold(), place);
                }
                if deadline.passed() && !pauses.goes_on() {
                    // This piece is gone through again: what is gone stays so.
                    return false;
                }
            }
            self.ending = next.unwrap_or_default();
            if next.is_none()
                && let Some(used) = self.used.pop()
            {
                used.table.release(&main.barrier());
            }
            if deadline.passed() {
                return false;
            }
        }
        others.locals.forget(self.id);
        self.ended = true;
        true
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }
}

fn refusal(full: Full) -> Refusal {
    match full {
        Full::Heap => Refusal::Heap,
        Full::Stats => Refusal::Stats,
    }
}

fn name(main: &Main<'_>, sw_if_index: u32) -> String {
    interface::get(main, sw_if_index).map_or_else(|| format!("gone ({sw_if_index})"), |found| found.name)
}

fn vpp_paths(paths: &Paths, uplink: Option<u32>, tap: Option<u32>, ip6: bool) -> Result<fib::Paths, Refusal> {
    match paths {
        Paths::Blackhole => Ok(fib::Paths::from_iter([fib::Path::Blackhole])),
        Paths::Unreachable => Ok(fib::Paths::from_iter([fib::Path::Unreachable])),
        Paths::Prohibit => Ok(fib::Paths::from_iter([fib::Path::Prohibit])),
        Paths::Local => Ok(fib::Paths::from_iter([fib::Path::Local])),
        Paths::Forward(all) => all
            .iter()
            .map(|path| {
                let (sw_if_index, gateway) = match path.out {
                    Out::Uplink => (uplink, path.gateway),
                    Out::Host if ip6 => (tap, Some(Plan::PUNT_NEXT_HOP6.into())),
                    Out::Host => (tap, Some(Plan::PUNT_NEXT_HOP4.into())),
                };
                let sw_if_index = sw_if_index.ok_or(Refusal::Gone)?;
                Ok(fib::Path::Via { sw_if_index, gateway, weight: path.weight })
            })
            .collect(),
    }
}
