//! What the kernel has at one prefix, and what its messages do to that.
//!
//! IPv4 (`net/ipv4/fib_trie.c`): an ordered list of whole routes by TOS and
//! metric. IPv6 (`net/ipv6/ip6_fib.c`): by metric at most one group of
//! siblings (routes with a gateway) and single routes beside it.
//!
//! Routes to the host itself come of another table, which the kernel asks first:
//! they stand beside the others, and change nothing of their order.

use smallvec::SmallVec;

use super::attrs::{AttrId, Attrs, Key};
use crate::engine::mirror::KernelHop;

/// One route of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) attr: AttrId,
    pub(super) metric: u32,
    /// The resync that has seen it last.
    pub(super) mark: u16,
}

impl Candidate {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.attr == other.attr && self.metric == other.metric
    }
}

/// All routes of a prefix: by metric, then in the kernel's order.
pub(super) type Candidates = SmallVec<[Candidate; 4]>;

/// How a route comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// In front of those of its TOS and metric.
    Front,
    /// Behind them.
    Back,
    /// In place of the first of them.
    Replace,
    /// By a dump: behind those that the dump has told.
    Dump,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The list is right.
    Done,
    /// The list is perhaps right: the kernel is to be asked.
    Doubt,
}

/// Put in an IPv4 route.
pub(super) fn insert4(list: &mut Candidates, new: Candidate, how: How, attrs: &Attrs) -> Outcome {
    let tos = attrs.get(new.attr).key().tos;
    let is_local = attrs.get(new.attr).key().is_local();
    let in_group = |old: &Candidate| {
        let key = attrs.get(old.attr).key();
        old.metric == new.metric && key.tos == tos && key.is_local() == is_local
    };
    let first = list.iter().position(in_group);
    let exact = list.iter().position(|old| old.is_same(&new));
    match (how, exact) {
        (How::Replace, Some(at)) => {
            // The kernel does not replace a route by itself: its object has
            // changed. Or routes differ in what is not known here.
            list[at].mark = new.mark;
            let same = first == exact || attrs.get(new.attr).key().nexthop_id.is_some();
            return if same { Outcome::Done } else { Outcome::Doubt };
        }
        (How::Replace, None) => {
            if let Some(first) = first {
                list[first] = new;
                return Outcome::Done;
            }
        }
        (How::Front | How::Back, Some(at)) => {
            list[at].mark = new.mark;
            return Outcome::Done;
        }
        (How::Dump, Some(at)) => {
            list.remove(at);
        }
        _ => {}
    }
    let behind_metric = list.partition_point(|old| old.metric <= new.metric);
    let first = list.iter().position(in_group);
    let at = match how {
        How::Front | How::Replace => first,
        How::Back => list.iter().rposition(in_group).map(|at| at + 1),
        How::Dump => list.iter().rposition(|old| in_group(old) && old.mark == new.mark).map(|at| at + 1).or(first),
    };
    list.insert(at.unwrap_or(behind_metric), new);
    Outcome::Done
}

/// Take out an IPv4 route; `false` if it is not there.
pub(super) fn delete4(list: &mut Candidates, metric: u32, attr: Option<AttrId>) -> bool {
    let at = list.iter().position(|old| old.metric == metric && Some(old.attr) == attr);
    if let Some(at) = at {
        list.remove(at);
    }
    at.is_some()
}

fn same_hop(a: &KernelHop, b: &KernelHop) -> bool {
    a.index == b.index && a.gateway == b.gateway
}

/// Two single IPv6 routes that the kernel takes for the same.
fn same_single(a: &Key<'_>, b: &Key<'_>) -> bool {
    if a.nexthop_id.is_some() || b.nexthop_id.is_some() {
        return a.nexthop_id == b.nexthop_id;
    }
    if a.kind != b.kind {
        return false;
    }
    match (a.hops, b.hops) {
        ([a], [b]) => same_hop(a, b),
        (a, b) => a == b,
    }
}

/// Put in an IPv6 route. A message tells all siblings of the route.
pub(super) fn insert6(list: &mut Candidates, new: Candidate, how: How, attrs: &Attrs) -> Outcome {
    let key = attrs.get(new.attr).key();
    let at_metric = |old: &Candidate| {
        let old_key = attrs.get(old.attr).key();
        old.metric == new.metric && old_key.from_source == key.from_source && old_key.is_local() == key.is_local()
    };
    let ecmp = key.is_ecmp();
    let alike = |old: &Candidate| at_metric(old) && attrs.get(old.attr).key().is_ecmp() == ecmp;
    let mut outcome = Outcome::Done;
    // One that a user made of a router's advertisement looks like the kernel's.
    let others = list.iter().filter(|old| at_metric(old)).count();
    let ra = list.iter().any(|old| at_metric(old) && attrs.get(old.attr).key().is_ra());
    if how == How::Replace && others > 1 && (ra || key.is_ra()) {
        outcome = Outcome::Doubt;
    }
    let same = if ecmp {
        list.iter().position(alike)
    } else {
        list.iter().position(|old| alike(old) && same_single(&attrs.get(old.attr).key(), &key))
    };
    let first_alike = list.iter().position(alike);
    let place = match how {
        // Its object has changed, or it takes the place of another.
        How::Replace if key.nexthop_id.is_some() && same.is_some() => {
            if same != first_alike {
                outcome = Outcome::Doubt;
            }
            same
        }
        How::Replace => first_alike.or_else(|| list.iter().position(at_metric)),
        _ => same,
    };
    if let Some(place) = place {
        list[place] = new;
    } else {
        let behind = list.partition_point(|old| old.metric <= new.metric);
        list.insert(behind, new);
    }
    if ecmp {
        // Now known to be siblings: they have become part of the group.
        let absorbed = |old: &Candidate| {
            let old_key = attrs.get(old.attr).key();
            let is_part = |hop: &KernelHop| key.hops.iter().any(|new| same_hop(new, hop));
            old.attr != new.attr && at_metric(old) && old_key.is_ra() && !old_key.is_ecmp() && {
                !old_key.hops.is_empty() && old_key.nexthop_id.is_none() && old_key.hops.iter().all(is_part)
            }
        };
        list.retain(|old| !absorbed(old));
    }
    outcome
}

/// Take out an IPv6 route, or some next hops of one; `false` if something of
/// it is not there.
pub(super) fn delete6(list: &mut Candidates, metric: u32, key: &Key<'_>, attrs: &mut Attrs) -> bool {
    if !key.hops.iter().all(|hop| hop.gateway.is_some()) || key.hops.is_empty() {
        return delete_single6(list, metric, key, attrs);
    }
    let group = list.iter().position(|old| {
        let old_key = attrs.get(old.attr).key();
        old.metric == metric && old_key.from_source == key.from_source && old_key.is_ecmp()
    });
    let hops_of = |at: usize| SmallVec::<[KernelHop; 4]>::from_slice(attrs.get(list[at].attr).key().hops);
    let mut left = group.map(hops_of).unwrap_or_default();
    let before = left.len();
    let mut singles: SmallVec<[KernelHop; 4]> = SmallVec::new();
    for hop in key.hops {
        match left.iter().position(|old| same_hop(old, hop)) {
            Some(at) => drop(left.remove(at)),
            None => singles.push(*hop),
        }
    }
    match group {
        Some(at) if left.is_empty() => drop(list.remove(at)),
        Some(at) if left.len() < before => {
            // The group's own attributes stay, not those of the hop that went.
            let key = attrs.get(list[at].attr).key().with_hops(&left);
            list[at].attr = attrs.intern(&key);
        }
        _ => {}
    }
    singles.iter().fold(true, |all, hop| {
        let key = key.with_hops(std::slice::from_ref(hop));
        delete_single6(list, metric, &key, attrs) && all
    })
}

fn delete_single6(list: &mut Candidates, metric: u32, key: &Key<'_>, attrs: &Attrs) -> bool {
    let at = list.iter().position(|old| {
        let old_key = attrs.get(old.attr).key();
        old.metric == metric
            && old_key.from_source == key.from_source
            && !old_key.is_ecmp()
            && same_single(&old_key, key)
    });
    if let Some(at) = at {
        list.remove(at);
    }
    at.is_some()
}
