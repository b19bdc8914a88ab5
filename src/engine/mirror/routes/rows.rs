//! One row a prefix, a few words each.
//!
//! Rows stay where they are, so that a number names one and a cursor can go
//! over them while they change; an index finds them by prefix.

use std::hash::{BuildHasher, Hash};
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::rib::{Candidate, Candidates};
use crate::engine::mirror::PathsId;
use crate::model::Prefix;

/// Rows in one piece of memory: a table that grows is never copied.
const CHUNK: usize = 4096;

/// Marks IPv6 in a [`Slot`].
const SIX: u32 = 1 << 31;

/// Names a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot(u32);

impl Slot {
    pub(super) fn new(family: usize, at: usize) -> Self {
        let at = u32::try_from(at).unwrap_or(SIX - 1) & (SIX - 1);
        Self(if family == 0 { at } else { at | SIX })
    }

    /// 0 for IPv4, 1 for IPv6.
    pub(super) fn family(self) -> usize {
        usize::from(self.0 & SIX != 0)
    }

    fn at(self) -> usize {
        (self.0 & (SIX - 1)) as usize
    }
}

/// What is known of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The attributes of the one candidate, or where more are kept.
    candidates: u32,
    /// Of the one candidate.
    metric: u32,
    /// What VPP has, once the batches under way are done.
    pub(super) actual: PathsId,
    /// The mark of the one candidate.
    mark: u16,
    /// What it counts as; 0 is nothing.
    pub(super) class: u8,
    state: u8,
}

const NO_CANDIDATE: u32 = u32::MAX;
const MANY: u8 = 1;
const QUEUED: u8 = 2;
const DIRTY: u8 = 4;
const FLYING: u8 = 8;
const REFUSAL_SHIFT: u8 = 4;

impl Row {
    const EMPTY: Self =
        Self { candidates: NO_CANDIDATE, metric: 0, actual: PathsId::NONE, mark: 0, class: 0, state: 0 };

    fn is(&self, bit: u8) -> bool {
        self.state & bit != 0
    }

    fn set(&mut self, bit: u8, on: bool) {
        if on {
            self.state |= bit;
        } else {
            self.state &= !bit;
        }
    }

    /// The candidate, where there is exactly one.
    pub(super) fn single(&self) -> Option<Candidate> {
        let one = !self.is(MANY) && self.candidates != NO_CANDIDATE;
        one.then_some(Candidate { attr: super::attrs::AttrId(self.candidates), metric: self.metric, mark: self.mark })
    }

    pub(super) fn set_single(&mut self, candidate: Candidate) {
        self.candidates = candidate.attr.0;
        self.metric = candidate.metric;
        self.mark = candidate.mark;
    }

    pub(super) fn has_none(&self) -> bool {
        !self.is(MANY) && self.candidates == NO_CANDIDATE
    }

    /// It is in the queue.
    pub(super) fn queued(&self) -> bool {
        self.is(QUEUED)
    }

    pub(super) fn set_queued(&mut self, on: bool) {
        self.set(QUEUED, on);
    }

    /// It has to be looked at when what is under way has come back.
    pub(super) fn dirty(&self) -> bool {
        self.is(DIRTY)
    }

    pub(super) fn set_dirty(&mut self, on: bool) {
        self.set(DIRTY, on);
    }

    /// It is in a batch under way.
    pub(super) fn flying(&self) -> bool {
        self.is(FLYING)
    }

    pub(super) fn set_flying(&mut self, on: bool) {
        self.set(FLYING, on);
    }

    /// Why VPP did not take it: a number, 0 for that it did.
    pub(super) fn refusal(&self) -> usize {
        usize::from(self.state >> REFUSAL_SHIFT)
    }

    pub(super) fn set_refusal(&mut self, refusal: u8) {
        self.state = (self.state & ((1 << REFUSAL_SHIFT) - 1)) | (refusal << REFUSAL_SHIFT);
    }

    fn is_idle(&self) -> bool {
        self.has_none() && self.actual == PathsId::NONE && self.state == 0 && self.class == 0
    }
}

/// IPv4: table, address and length in 8 bytes.
type Key4 = u64;

/// IPv6: the address, then table and length.
type Key6 = [u32; 5];

fn key4(table: u32, addr: Ipv4Addr, len: u8) -> Key4 {
    u64::from(table) << 38 | u64::from(addr.to_bits()) << 6 | u64::from(len)
}

fn key6(table: u32, addr: Ipv6Addr, len: u8) -> Key6 {
    let segments = addr.segments();
    let word = |at: usize| u32::from(segments[at]) << 16 | u32::from(segments[at + 1]);
    [word(0), word(2), word(4), word(6), table << 8 | u32::from(len)]
}

#[derive(Clone, Copy, Debug)]
struct Keyed<K> {
    key: K,
    row: Row,
}

#[derive(Debug)]
struct Store<K> {
    chunks: Vec<Vec<Keyed<K>>>,
    len: usize,
    free: Vec<u32>,
    index: HashTable<u32>,
}

impl<K: Copy + Eq + Hash> Store<K> {
    fn new() -> Self {
        Self { chunks: Vec::new(), len: 0, free: Vec::new(), index: HashTable::new() }
    }

    fn at(&self, at: usize) -> &Keyed<K> {
        &self.chunks[at / CHUNK][at % CHUNK]
    }

    fn at_mut(&mut self, at: usize) -> &mut Keyed<K> {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }

    fn find(&self, hasher: &RandomState, key: &K) -> Option<usize> {
        self.index.find(hasher.hash_one(key), |at| self.at(*at as usize).key == *key).map(|at| *at as usize)
    }

    fn find_or_insert(&mut self, hasher: &RandomState, key: K) -> usize {
        let hash = hasher.hash_one(key);
        let chunks = &self.chunks;
        let key_at = |at: &u32| chunks[*at as usize / CHUNK][*at as usize % CHUNK].key;
        match self.index.entry(hash, |at| key_at(at) == key, |at| hasher.hash_one(key_at(at))) {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get() as usize,
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let at = self.free.pop().unwrap_or_else(|| u32::try_from(self.len).unwrap_or(SIX - 1));
                entry.insert(at);
                let keyed = Keyed { key, row: Row::EMPTY };
                let at = at as usize;
                if at < self.len {
                    *self.at_mut(at) = keyed;
                } else {
                    if at.is_multiple_of(CHUNK) {
                        self.chunks.push(Vec::with_capacity(CHUNK));
                    }
                    self.chunks[at / CHUNK].push(keyed);
                    self.len += 1;
                }
                at
            }
        }
    }

    fn free(&mut self, hasher: &RandomState, at: usize) {
        let number = u32::try_from(at).unwrap_or(SIX - 1);
        let hash = hasher.hash_one(self.at(at).key);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == number) {
            entry.remove();
            self.free.push(number);
        }
    }

    fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Keyed<K>>()
            + self.free.capacity() * size_of::<u32>()
            + self.index.allocation_size()
    }
}

/// Several candidates of one prefix, best first.
type Many = Vec<Candidate>;

/// All rows, of both families and all tables.
#[derive(Debug)]
pub(super) struct Rows {
    four: Store<Key4>,
    six: Store<Key6>,
    hasher: RandomState,
    many: Vec<Many>,
    many_free: Vec<u32>,
}

impl Rows {
    pub(super) fn new() -> Self {
        Self {
            four: Store::new(),
            six: Store::new(),
            hasher: RandomState::default(),
            many: Vec::new(),
            many_free: Vec::new(),
        }
    }

    /// Places of rows of a family, some of them idle.
    pub(super) fn places(&self, family: usize) -> usize {
        if family == 0 { self.four.len } else { self.six.len }
    }

    /// Rows of a family that are in use.
    #[cfg(test)]
    pub(super) fn in_use(&self, family: usize) -> usize {
        if family == 0 { self.four.index.len() } else { self.six.index.len() }
    }

    pub(super) fn get(&self, slot: Slot) -> &Row {
        if slot.family() == 0 { &self.four.at(slot.at()).row } else { &self.six.at(slot.at()).row }
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Row {
        if slot.family() == 0 { &mut self.four.at_mut(slot.at()).row } else { &mut self.six.at_mut(slot.at()).row }
    }

    /// The place of the table, and the prefix.
    pub(super) fn prefix(&self, slot: Slot) -> Option<(u32, Prefix)> {
        let (table, addr, len) = if slot.family() == 0 {
            let key = self.four.at(slot.at()).key;
            let addr = u32::try_from(key >> 6 & u64::from(u32::MAX)).unwrap_or(0);
            ((key >> 38) as u32, IpAddr::V4(Ipv4Addr::from_bits(addr)), (key & 63) as u8)
        } else {
            let key = self.six.at(slot.at()).key;
            let addr = key[..4].iter().fold(0, |bits: u128, word| bits << 32 | u128::from(*word));
            (key[4] >> 8, IpAddr::V6(Ipv6Addr::from_bits(addr)), (key[4] & 255) as u8)
        };
        Prefix::containing(addr, len).map(|prefix| (table, prefix))
    }

    pub(super) fn find(&self, table: u32, prefix: &Prefix) -> Option<Slot> {
        match prefix.addr() {
            IpAddr::V4(addr) => {
                self.four.find(&self.hasher, &key4(table, addr, prefix.prefix_len())).map(|at| Slot::new(0, at))
            }
            IpAddr::V6(addr) => {
                self.six.find(&self.hasher, &key6(table, addr, prefix.prefix_len())).map(|at| Slot::new(1, at))
            }
        }
    }

    pub(super) fn find_or_insert(&mut self, table: u32, prefix: &Prefix) -> Slot {
        let len = prefix.prefix_len();
        match prefix.addr() {
            IpAddr::V4(addr) => Slot::new(0, self.four.find_or_insert(&self.hasher, key4(table, addr, len))),
            IpAddr::V6(addr) => Slot::new(1, self.six.find_or_insert(&self.hasher, key6(table, addr, len))),
        }
    }

    /// Give the row back if nothing is left to know.
    pub(super) fn tidy(&mut self, slot: Slot) {
        if !self.get(slot).is_idle() {
            return;
        }
        if slot.family() == 0 {
            self.four.free(&self.hasher, slot.at());
        } else {
            self.six.free(&self.hasher, slot.at());
        }
    }

    /// The candidates, best first.
    pub(super) fn candidates(&self, slot: Slot) -> Candidates {
        let row = self.get(slot);
        if row.is(MANY) {
            return Candidates::from_slice(&self.many[row.candidates as usize]);
        }
        row.single().into_iter().collect()
    }

    pub(super) fn set_candidates(&mut self, slot: Slot, candidates: &Candidates) {
        let row = *self.get(slot);
        if row.is(MANY) && candidates.len() > 1 {
            let many = &mut self.many[row.candidates as usize];
            many.clear();
            many.extend_from_slice(candidates);
            return;
        }
        if row.is(MANY) {
            self.many[row.candidates as usize] = Many::new();
            self.many_free.push(row.candidates);
        }
        let place = (candidates.len() > 1).then(|| self.place(candidates));
        let row = self.get_mut(slot);
        row.set(MANY, place.is_some());
        row.candidates = NO_CANDIDATE;
        match (place, candidates.first()) {
            (Some(place), _) => row.candidates = place,
            (None, Some(candidate)) => row.set_single(*candidate),
            (None, None) => {}
        }
    }

    fn place(&mut self, candidates: &Candidates) -> u32 {
        if let Some(place) = self.many_free.pop() {
            self.many[place as usize] = candidates.to_vec();
            return place;
        }
        self.many.push(candidates.to_vec());
        u32::try_from(self.many.len() - 1).unwrap_or(u32::MAX)
    }

    /// What it takes of memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let many: usize = self.many.iter().map(|many| many.capacity() * size_of::<Candidate>()).sum();
        self.four.bytes()
            + self.six.bytes()
            + many
            + self.many.capacity() * size_of::<Many>()
            + self.many_free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<Keyed<Key4>>(), 24);
        assert_eq!(size_of::<Keyed<Key6>>(), 36);
    }

    #[test]
    fn a_prefix_comes_back_as_it_went_in() {
        let mut rows = Rows::new();
        for text in ["0.0.0.0/0", "255.255.255.255/32", "10.1.2.0/24", "::/0", "2001:db8:1:2:3:4:5:6/128"] {
            let prefix: Prefix = text.parse().unwrap();
            for table in [0, 1, 70000] {
                let slot = rows.find_or_insert(table, &prefix);
                assert_eq!(rows.prefix(slot), Some((table, prefix)));
                assert_eq!(rows.find(table, &prefix), Some(slot));
            }
        }
        let prefix = "10.1.2.0/24".parse().unwrap();
        let slot = rows.find_or_insert(1, &prefix);
        rows.tidy(slot);
        assert_eq!((rows.find(1, &prefix), rows.in_use(0), rows.in_use(1)), (None, 8, 6));
        assert_eq!(rows.find_or_insert(1, &prefix), slot, "its place is used again");
    }
}
