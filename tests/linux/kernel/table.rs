//! Routes by what was told of them, as the kernel's own lists.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hostnet::engine::mirror::{KernelHop, KernelRoute, KernelRouteKind};
use hostnet::model::Prefix;

/// Table, prefix, TOS, metric, and whether it is for some sources only.
type Key = (u32, Prefix, u8, u32, bool);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Routes(BTreeMap<Key, Vec<KernelRoute>>);

/// Whether it is, or may become, one with others of its prefix and metric.
fn is_ecmp(route: &KernelRoute) -> bool {
    !route.prefix.is_ipv4()
        && route.kind == KernelRouteKind::Unicast
        && route.nexthop_id.is_none()
        && route.hops.iter().all(|hop| hop.gateway.is_some())
}

fn key(route: &KernelRoute) -> Key {
    (route.table, route.prefix, route.tos, route.metric, route.from_source)
}

/// What tells the hops of a route apart.
fn way(hop: &KernelHop) -> (u32, Option<IpAddr>) {
    (hop.index, hop.gateway)
}

impl Routes {
    pub(super) fn all(&self) -> impl Iterator<Item = &KernelRoute> {
        self.0.values().flatten()
    }

    pub(super) fn add(&mut self, route: KernelRoute, replaces: bool, appended: bool) {
        let list = self.0.entry(key(&route)).or_default();
        let ecmp = is_ecmp(&route);
        if route.prefix.is_ipv4() {
            match (replaces, list.first_mut()) {
                (true, Some(first)) => *first = route,
                _ if appended => list.push(route),
                _ => list.insert(0, route),
            }
            return;
        }
        let alike = list.iter().position(|other| is_ecmp(other) == ecmp);
        let first = (!list.is_empty()).then_some(0);
        // One that hops were added to is told with all of them: without those
        // that are there, it stands beside.
        let has_hop = |hop: &KernelHop| route.hops.iter().any(|other| way(other) == way(hop));
        let grown = list.iter().position(|other| ecmp && is_ecmp(other) && other.hops.iter().all(has_hop));
        match if replaces { alike.or(first) } else { grown } {
            Some(at) => list[at] = route,
            None => list.push(route),
        }
    }

    pub(super) fn delete(&mut self, route: &KernelRoute) {
        let list = self.0.entry(key(route)).or_default();
        let leg = |other: &KernelRoute| is_ecmp(route) && is_ecmp(other) && route.hops.len() < other.hops.len();
        if let Some(at) = list.iter().position(leg) {
            let is_it = |hop: &KernelHop| route.hops.iter().any(|gone| way(gone) == way(hop));
            let before = list[at].hops.len();
            list[at].hops.retain(|hop| !is_it(hop));
            assert_eq!(list[at].hops.len() + route.hops.len(), before, "{route:?} of {list:?}");
            if let [hop] = list[at].hops.as_mut_slice() {
                // A route of one hop has no weight.
                hop.weight = 1;
            }
        } else {
            let mut wanted = route.clone();
            wanted.hops.sort();
            let is_it = |other: &KernelRoute| {
                let mut other = other.clone();
                other.hops.sort();
                other == wanted
            };
            let at = list.iter().position(is_it);
            let at = at.unwrap_or_else(|| panic!("gone, but never told of: {route:?}, there: {list:?}"));
            list.remove(at);
        }
        if list.is_empty() {
            self.0.remove(&key(route));
        }
    }

    /// The hops of IPv6 have an order of their own in each message.
    pub(super) fn sort_hops(&mut self) {
        for route in self.0.values_mut().flatten().filter(|route| !route.prefix.is_ipv4()) {
            route.hops.sort();
        }
    }

    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(other.0.keys().filter(|key| !self.0.contains_key(key)));
        let differ = keys.filter(|key| self.0.get(key) != other.0.get(key));
        differ.map(|key| format!("{key:?}: told {:?}, there {:?}", self.0.get(key), other.0.get(key))).collect()
    }

    /// Destinations here that the other one has otherwise, or not at all.
    pub(super) fn unlike(&self, other: &Self) -> Vec<String> {
        let (mut ours, mut theirs) = (self.clone(), other.clone());
        ours.sort_hops();
        theirs.sort_hops();
        let unlike = ours.0.iter().filter_map(|(key, list)| match theirs.0.get(key) {
            None => Some(key.1.to_string()),
            Some(there) if there != list => Some(format!("hops of {}", key.1)),
            Some(_) => None,
        });
        unlike.collect()
    }
}
