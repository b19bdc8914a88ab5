//! A kernel that is written down plainly: what `fib_trie.c`, `ip6_fib.c` and
//! `nexthop.c` of Linux 6.18 keep and tell. It shares no code with the mirror.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// One route: of IPv4 with all its hops, of IPv6 with one hop.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) route: KernelRoute,
    /// Made by the kernel of a router's advertisement.
    pub(super) addrconf: bool,
}

impl Entry {
    fn ecmp(&self) -> bool {
        !self.addrconf && self.route.nexthop_id.is_none() && self.route.hops.iter().any(|hop| hop.gateway.is_some())
    }
}

#[derive(Default)]
pub(super) struct Kernel {
    pub(super) routes: BTreeMap<(u32, Prefix), Vec<Entry>>,
    pub(super) nexthops: BTreeMap<u32, KernelNexthop>,
    down: BTreeSet<u32>,
    /// What it has told and nobody has read.
    pub(super) told: Vec<KernelEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verb {
    Prepend,
    Append,
    Replace,
}

fn new_route(route: KernelRoute, verb: Verb) -> KernelEvent {
    KernelEvent::Route { route, replaces: verb == Verb::Replace, appended: verb == Verb::Append }
}

impl Kernel {
    fn hops_down(&self, route: &KernelRoute) -> bool {
        route.hops.iter().any(|hop| self.down.contains(&hop.index))
            || route.nexthop_id.is_some_and(|id| !self.nexthops.contains_key(&id))
    }

    pub(super) fn insert(&mut self, route: &KernelRoute, verb: Verb) {
        if self.hops_down(route) {
            return;
        }
        if route.prefix.is_ipv4() { self.insert4(route, verb) } else { self.insert6(route, verb) }
    }

    fn insert4(&mut self, route: &KernelRoute, verb: Verb) {
        let list = self.routes.entry((route.table, route.prefix)).or_default();
        let same_key = |e: &Entry| e.route.tos == route.tos && e.route.metric == route.metric;
        let first = list.iter().position(same_key);
        let last = list.iter().rposition(same_key);
        let entry = Entry { route: route.clone(), addrconf: false };
        if list.contains(&entry) {
            return;
        }
        match (verb, first) {
            (_, None) => list.push(entry),
            (Verb::Replace, Some(at)) => list[at] = entry,
            (Verb::Prepend, Some(at)) => list.insert(at, entry),
            (Verb::Append, _) => list.insert(last.unwrap() + 1, entry),
        }
        self.told.push(new_route(route.clone(), verb));
    }

    /// The siblings of an entry, itself first.
    fn whole(list: &[Entry], at: usize) -> KernelRoute {
        let mut route = list[at].route.clone();
        if list[at].ecmp() {
            let others = list.iter().enumerate().filter(|(i, e)| {
                *i != at && e.ecmp() && e.route.metric == route.metric && e.route.from_source == route.from_source
            });
            let hops: Vec<_> = others.flat_map(|(_, e)| e.route.hops.clone()).collect();
            route.hops.extend(hops);
        }
        route
    }

    fn insert6(&mut self, route: &KernelRoute, verb: Verb) {
        let key = (route.table, route.prefix);
        let list = self.routes.entry(key).or_default();
        let legs: Vec<Entry> = if route.nexthop_id.is_some() {
            vec![Entry { route: route.clone(), addrconf: false }]
        } else {
            let leg = |hop: &KernelHop| KernelRoute { hops: [*hop].into_iter().collect(), ..route.clone() };
            route.hops.iter().map(|hop| Entry { route: leg(hop), addrconf: route.protocol == 9 }).collect()
        };
        // The multipath API takes gateways only; the kernel's own has one hop.
        if legs.len() > 1 && legs.iter().any(|leg| !leg.ecmp()) {
            return;
        }
        let same_metric = |e: &Entry| e.route.metric == route.metric && e.route.from_source == route.from_source;
        let duplicate = |e: &Entry, leg: &Entry| {
            if e.route.nexthop_id.is_some() || leg.route.nexthop_id.is_some() {
                return e.route.nexthop_id == leg.route.nexthop_id;
            }
            e.route.hops[0].index == leg.route.hops[0].index && e.route.hops[0].gateway == leg.route.hops[0].gateway
        };
        let mut there = list.iter().filter(|e| same_metric(e));
        let mut twice = legs.iter().enumerate().any(|(i, leg)| legs[..i].iter().any(|other| duplicate(other, leg)));
        twice |= there.any(|e| legs.iter().any(|leg| duplicate(e, leg)));
        if twice {
            return;
        }
        let mut verb = verb;
        if verb == Verb::Replace {
            let alike = list.iter().position(|e| same_metric(e) && e.ecmp() == legs[0].ecmp());
            let at = alike.or_else(|| list.iter().position(same_metric));
            if let Some(at) = at {
                let was_ecmp = list[at].ecmp();
                let metric = route.metric;
                list[at] = legs[0].clone();
                let mut i = 0;
                list.retain(|e| {
                    let keep = i == at
                        || !(was_ecmp && e.ecmp() && e.route.metric == metric)
                        || e.route.from_source != route.from_source;
                    i += 1;
                    keep
                });
                let rest = legs[1..].iter().cloned();
                list.extend(rest);
            } else {
                list.extend(legs.iter().cloned());
                if legs.len() == 1 {
                    verb = Verb::Prepend;
                }
            }
        } else {
            list.extend(legs.iter().cloned());
        }
        let at = list.iter().position(|e| *e == legs[0]).unwrap();
        let whole = Self::whole(list, at);
        self.told.push(new_route(whole, verb));
    }

    /// Delete one entry, or the whole group that it is of.
    pub(super) fn delete(&mut self, key: (u32, Prefix), at: usize, group: bool) {
        let Some(list) = self.routes.get_mut(&key) else { return };
        if list.is_empty() {
            return;
        }
        let at = at % list.len();
        if group && list[at].ecmp() && !key.1.is_ipv4() {
            let whole = Self::whole(list, at);
            let (metric, from) = (whole.metric, whole.from_source);
            list.retain(|e| !(e.ecmp() && e.route.metric == metric && e.route.from_source == from));
            self.told.push(KernelEvent::RouteGone(whole));
        } else {
            let gone = list.remove(at);
            self.told.push(KernelEvent::RouteGone(gone.route));
        }
    }

    pub(super) fn set_nexthop(&mut self, object: &KernelNexthop) {
        let bad_hop = object.hop.is_some_and(|hop| self.down.contains(&hop.index));
        if bad_hop || object.group.iter().any(|(id, _)| !self.nexthops.contains_key(id)) {
            return;
        }
        let is_new = self.nexthops.insert(object.id, object.clone()).is_none();
        self.told.push(KernelEvent::Nexthop(object.clone()));
        let uses = |id: u32| {
            id == object.id
                || self.nexthops.get(&id).is_some_and(|group| group.group.iter().any(|(m, _)| *m == object.id))
        };
        if !is_new {
            // nexthop_compat_mode 1.
            for entry in self.routes.values().flatten().filter(|e| e.route.nexthop_id.is_some_and(uses)) {
                self.told.push(new_route(entry.route.clone(), Verb::Replace));
            }
        }
    }

    pub(super) fn delete_nexthop(&mut self, id: u32, silent: bool) {
        if self.nexthops.remove(&id).is_none() {
            return;
        }
        if !silent {
            self.told.push(KernelEvent::NexthopGone(id));
        }
        for (key, list) in &mut self.routes {
            for entry in list.extract_if(.., |e| e.route.nexthop_id == Some(id)) {
                if !key.1.is_ipv4() {
                    self.told.push(KernelEvent::RouteGone(entry.route));
                }
            }
        }
        let mut empty = Vec::new();
        for group in self.nexthops.values_mut().filter(|group| group.group.iter().any(|(m, _)| *m == id)) {
            group.group.retain(|(m, _)| *m != id);
            if group.group.is_empty() {
                empty.push(group.id);
            } else if !silent {
                self.told.push(KernelEvent::Nexthop(group.clone()));
            }
        }
        for id in empty {
            self.delete_nexthop(id, silent);
        }
    }

    pub(super) fn set_link(&mut self, index: u32, up: bool) {
        let changed = if up { self.down.remove(&index) } else { self.down.insert(index) };
        if !changed {
            return;
        }
        self.told.push(KernelEvent::Link(link(index, up)));
        if up {
            return;
        }
        let objects: Vec<u32> =
            self.nexthops.values().filter(|o| o.hop.is_some_and(|hop| hop.index == index)).map(|o| o.id).collect();
        for id in objects {
            self.delete_nexthop(id, true);
        }
        let by = |e: &Entry| !e.route.hops.is_empty() && e.route.hops.iter().all(|hop| hop.index == index);
        for (key, list) in &mut self.routes {
            if key.1.is_ipv4() {
                list.retain(|e| !by(e));
                continue;
            }
            let old = list.clone();
            list.retain(|e| {
                let sibling_lives = e.ecmp()
                    && old.iter().any(|o| {
                        o.ecmp()
                            && o.route.metric == e.route.metric
                            && o.route.from_source == e.route.from_source
                            && !self.down.contains(&o.route.hops[0].index)
                    });
                let goes = by(e) && !sibling_lives;
                if goes {
                    self.told.push(KernelEvent::RouteGone(e.route.clone()));
                }
                !goes
            });
        }
    }

    /// The lines of a dump for one prefix.
    pub(super) fn dump(&self, key: &(u32, Prefix)) -> Vec<KernelEvent> {
        let Some(list) = self.routes.get(key) else { return Vec::new() };
        let mut lines = Vec::new();
        let mut groups = BTreeSet::new();
        for (at, entry) in list.iter().enumerate() {
            let route = if key.1.is_ipv4() { entry.route.clone() } else { Self::whole(list, at) };
            if !key.1.is_ipv4() && entry.ecmp() && !groups.insert((route.metric, route.from_source)) {
                continue;
            }
            lines.push(new_route(route, Verb::Prepend));
        }
        lines
    }

    /// What VPP is to have, from nothing but what is here.
    pub(super) fn wanted(&self, to_host: bool) -> BTreeMap<(u32, Prefix), Paths> {
        let all = self.routes.iter().filter_map(|(key, list)| self.wanted_at(list, to_host).map(|p| (*key, p)));
        all.collect()
    }

    fn wanted_at(&self, list: &[Entry], to_host: bool) -> Option<Paths> {
        let plain: Vec<&Entry> = list.iter().filter(|e| e.route.tos == 0 && !e.route.from_source).collect();
        let best = plain.iter().map(|e| e.route.metric).min()?;
        let force: Vec<&Entry> = plain.into_iter().filter(|e| e.route.metric == best).collect();
        let mut weights: BTreeMap<Option<IpAddr>, u32> = BTreeMap::new();
        let (mut elsewhere, mut drops) = (false, Vec::new());
        let on_link = |route: &KernelRoute| {
            let is_it = |hop: &KernelHop| hop.index == OURS && hop.gateway.is_none();
            route.kind == KernelRouteKind::Unicast && matches!(route.hops.as_slice(), [hop] if is_it(hop))
        };
        let alone = force.len() == 1;
        let drop_of = |route: &KernelRoute| match route.kind {
            KernelRouteKind::Blackhole => Some((0, Paths::Blackhole)),
            KernelRouteKind::Unreachable => Some((1, Paths::Unreachable)),
            KernelRouteKind::Prohibit => Some((2, Paths::Prohibit)),
            _ => None,
        };
        // IPv4: the first has the word.
        let is_ipv4 = force.iter().all(|e| e.route.prefix.is_ipv4());
        let first = force.first().and_then(|e| drop_of(&e.route)).filter(|_| is_ipv4);
        let quiet = |e: &&Entry| [2, 118].contains(&e.route.protocol);
        if let (Some((_, drop)), false) = (first, force.iter().any(quiet)) {
            return Some(drop);
        }
        for entry in force {
            let route = &entry.route;
            if route.protocol == 118 || (route.protocol == 2 && !(alone && on_link(route))) {
                return None;
            }
            let mut hops: Vec<(KernelHop, u32)> = route.hops.iter().map(|hop| (*hop, u32::from(hop.weight))).collect();
            match route.kind {
                KernelRouteKind::Unicast => {}
                KernelRouteKind::Throw | KernelRouteKind::Other(_) => return None,
                _ => {
                    drops.extend(drop_of(route));
                    continue;
                }
            }
            if let Some(id) = route.nexthop_id {
                let object = &self.nexthops[&id];
                hops = match object.hop {
                    Some(hop) => vec![(hop, 1)],
                    None => object.group.iter().map(|(id, w)| (self.nexthops[id].hop.unwrap(), *w)).collect(),
                };
            }
            for (hop, weight) in hops {
                elsewhere |= hop.index != OURS;
                *weights.entry(hop.gateway).or_default() += weight;
            }
        }
        if elsewhere {
            let host = Path { out: Out::Host, gateway: None, weight: 1 };
            return to_host.then(|| Paths::Forward([host].into_iter().collect()));
        }
        if weights.is_empty() {
            drops.sort_by_key(|(order, _)| *order);
            return drops.into_iter().map(|(_, drop)| drop).next();
        }
        let path = |(gateway, weight): (Option<IpAddr>, u32)| Path {
            out: Out::Uplink,
            gateway,
            weight: u8::try_from(weight).unwrap(),
        };
        Some(Paths::Forward(weights.into_iter().map(path).collect()))
    }
}
