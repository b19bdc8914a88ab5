//! What the kernel's events do to the routes.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::attrs::{AttrId, Key, Verdict};
use super::rib::{self, Candidate, Candidates, How, Outcome};
use super::rows::Slot;
use super::{Families, RouteMirror, TABLE_MAIN};
use crate::engine::mirror::{
    KernelAddress, KernelEvent, KernelHop, KernelLink, KernelNexthop, KernelRoute, KernelRouteKind,
};

/// `RT_TABLE_LOCAL`: the kernel's own.
const TABLE_LOCAL: u32 = 255;

/// So many routes that go with a device are taken out here and the kernel is
/// not asked: where a container's device goes, a million others' routes are
/// not read again.
const FEW: u32 = 64;

/// Next hops in the order in which routes are compared.
type Hops = SmallVec<[KernelHop; 4]>;

/// IPv6 tells siblings in any order.
fn sorted(route: &KernelRoute) -> Option<Hops> {
    if route.prefix.is_ipv4() || route.hops.len() < 2 {
        return None;
    }
    let mut hops = Hops::from_slice(&route.hops);
    hops.sort_unstable();
    Some(hops)
}

impl RouteMirror {
    /// The kernel told something. Between [`Self::resync_begin`] and
    /// [`Self::resync_end`] a route that neither replaces nor is appended is
    /// taken for the dump's; [`Self::event_from`] need not guess.
    pub fn event(&mut self, event: &KernelEvent) {
        let dump = match event {
            KernelEvent::Route { route, .. } => self.sync.is_running(usize::from(!route.prefix.is_ipv4())),
            _ => false,
        };
        self.event_from(event, dump);
    }

    /// The kernel told something: by a dump (`NLM_F_MULTI`), or by itself.
    pub fn event_from(&mut self, event: &KernelEvent, dump: bool) {
        self.counts.events += 1;
        match event {
            KernelEvent::Route { route, replaces, appended } => {
                let how = match (replaces, appended) {
                    (true, _) => How::Replace,
                    (_, true) => How::Back,
                    _ if dump => How::Dump,
                    _ => How::Front,
                };
                self.route(route, how);
            }
            KernelEvent::RouteGone(route) => self.route_gone(route),
            KernelEvent::Nexthop(object) => self.nexthop(object),
            KernelEvent::NexthopGone(id) => self.nexthops_gone(&[*id]),
            KernelEvent::Link(link) => {
                self.follow_vrf(link);
                let was = self.sync.links.insert(link.index, (link.up, link.carrier));
                let (was_up, had_carrier) = was.map_or((true, true), |was| was);
                if !link.up && was_up {
                    self.device_down(link.index, false);
                } else if !link.carrier && had_carrier {
                    self.carrier_lost(link.index);
                }
            }
            KernelEvent::LinkGone(index) => {
                self.sync.links.remove(index);
                self.sync.vrfs.remove(index);
                self.table_again();
                self.sync.addresses.retain(|(of, _)| of != index);
                self.device_down(*index, true);
            }
            KernelEvent::Address(address) => self.address(address),
            KernelEvent::AddressGone(address) => self.address_gone(address),
            KernelEvent::Neighbour(_) | KernelEvent::NeighbourGone(_) => {}
        }
    }

    fn follow_vrf(&mut self, link: &KernelLink) {
        match link.vrf_table {
            Some(table) => drop(self.sync.vrfs.insert(link.index, table)),
            None => drop(self.sync.vrfs.remove(&link.index)),
        }
        if link.index == self.ground.host_device {
            self.sync.master = link.master;
        }
        self.table_again();
    }

    /// In another VRF the device has another table: all routes are read anew.
    fn table_again(&mut self) {
        let vrf = self.sync.master.and_then(|master| self.sync.vrfs.get(&master).copied());
        if std::mem::replace(&mut self.sync.vrf, vrf) != vrf {
            self.sync.want(Families { ipv4: true, ipv6: true, ..Families::default() });
        }
    }

    /// The kernel's table that stands for the uplink's own tables in VPP: main, or
    /// that of the VRF that the host's device is in.
    pub fn own_table(&self) -> u32 {
        self.sync.vrf.unwrap_or(TABLE_MAIN)
    }

    /// The table of a route as VPP is told of it; `None` for what is not for VPP:
    /// the kernel's own but for the host's addresses, main where the device is in a
    /// VRF, and addresses of one link, which are never routed and which VPP has a way
    /// of its own for.
    fn named(&self, route: &KernelRoute) -> Option<u32> {
        let addr = route.prefix.addr();
        let is_link_local = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
        let is_local = route.kind == KernelRouteKind::Local;
        match route.table {
            _ if is_link_local || (is_local && addr.is_loopback()) => None,
            // Where the device is in a VRF, its table has those of the VRF.
            TABLE_LOCAL => (is_local && self.own_table() == TABLE_MAIN).then_some(TABLE_MAIN),
            // A rule leads there: for a proxy of the host's own.
            other if is_local && other != self.own_table() => None,
            own if own == self.own_table() => Some(TABLE_MAIN),
            TABLE_MAIN => None,
            other => Some(other),
        }
    }

    fn route(&mut self, route: &KernelRoute, how: How) {
        let Some(table) = self.named(route) else { return };
        let family = usize::from(!route.prefix.is_ipv4());
        let hops = sorted(route);
        let attr = self.attrs.intern(&Key::of(route, hops.as_deref().unwrap_or(&route.hops)));
        let new = Candidate { attr, metric: route.metric, mark: self.sync.mark(family) };
        let table = self.table(table);
        let slot = self.rows.find_or_insert(table, &route.prefix);
        let row = self.rows.get_mut(slot);
        if row.has_none() {
            row.set_single(new);
            self.attrs.add(attr, family);
            self.touch(slot);
            return;
        }
        if row.single().is_some_and(|old| old.attr == attr && old.metric == route.metric) {
            row.set_single(new);
            return;
        }
        let old = self.rows.candidates(slot);
        let mut list = old.clone();
        let outcome = if family == 0 {
            rib::insert4(&mut list, new, how, &self.attrs)
        } else {
            rib::insert6(&mut list, new, how, &self.attrs)
        };
        // It took the place of another, and a dump told of it before.
        let is_twice = list.iter().filter(|one| one.is_same(&new)).count() > 1;
        if is_twice {
            let mut seen = false;
            list.retain(|one| !one.is_same(&new) || !std::mem::replace(&mut seen, true));
        }
        let is_running = self.sync.is_running(family);
        if outcome == Outcome::Doubt || (is_twice && !is_running) {
            self.sync.want(Families::routes(family));
        }
        if how == How::Replace && is_running {
            let is_gone = |one: &Candidate| one.mark == new.mark && !list.iter().any(|left| left.is_same(one));
            let is_beside = |one: &Candidate| one.metric == new.metric && one.mark == new.mark && !one.is_same(&new);
            self.sync.replaced(slot, old.iter().any(is_gone), is_twice || list.iter().any(is_beside));
        }
        self.set_candidates(slot, &old, &list);
        self.tidy_attr(attr);
        self.touch(slot);
    }

    fn route_gone(&mut self, route: &KernelRoute) {
        let Some(table) = self.named(route) else { return };
        let family = usize::from(!route.prefix.is_ipv4());
        let hops = sorted(route);
        let key = Key::of(route, hops.as_deref().unwrap_or(&route.hops));
        let slot = self.table_places.get(&table).and_then(|table| self.rows.find(*table, &route.prefix));
        let Some(slot) = slot else {
            self.unmatched(family, route);
            return;
        };
        let old = self.rows.candidates(slot);
        let mut list = old.clone();
        let found = if family == 0 {
            rib::delete4(&mut list, route.metric, self.attrs.find(&key))
        } else {
            rib::delete6(&mut list, route.metric, &key, &mut self.attrs)
        };
        if !found {
            self.unmatched(family, route);
        }
        self.sync.went(slot);
        self.set_candidates(slot, &old, &list);
        self.touch(slot);
    }

    /// The kernel has taken out what was not known.
    fn unmatched(&mut self, family: usize, route: &KernelRoute) {
        // Those of an object went with it before the kernel told of each.
        let went_before = route.nexthop_id.is_some_and(|id| !self.ground.nexthops.contains_key(&id));
        if self.sync.is_known(family) && !route.from_source && !went_before {
            self.counts.unmatched += 1;
            self.sync.want(Families::routes(family));
        }
    }

    pub(super) fn set_candidates(&mut self, slot: Slot, old: &Candidates, new: &Candidates) {
        let family = slot.family();
        for candidate in new {
            self.attrs.add(candidate.attr, family);
        }
        self.rows.set_candidates(slot, new);
        for candidate in old {
            if let Some(paths) = self.attrs.remove(candidate.attr, family) {
                self.paths.drop_hold(paths);
            }
        }
    }

    fn tidy_attr(&mut self, attr: AttrId) {
        if let Some(paths) = self.attrs.tidy(attr) {
            self.paths.drop_hold(paths);
        }
    }

    fn nexthop(&mut self, object: &KernelNexthop) {
        let mark = self.sync.nexthop_mark();
        if let Some((old, seen)) = self.ground.nexthops.get_mut(&object.id)
            && old == object
        {
            *seen = mark;
            return;
        }
        self.ground.nexthops.insert(object.id, (object.clone(), mark));
        let touched = self.ground.touched_by(object.id);
        self.judge_objects_again(&touched);
    }

    /// Objects are gone: IPv4 routes of them are, silently; those of IPv6 are,
    /// and the kernel tells of each.
    pub(super) fn nexthops_gone(&mut self, ids: &[u32]) {
        let ids: Vec<u32> = ids.iter().copied().filter(|id| self.ground.nexthops.remove(id).is_some()).collect();
        if ids.is_empty() {
            return;
        }
        self.take_out([true, true], |_, key| key.nexthop_id.is_some_and(|id| ids.contains(&id)));
        let groups: Vec<u32> = ids.iter().flat_map(|id| self.ground.touched_by(*id)).collect();
        self.judge_objects_again(&groups);
    }

    /// Routes of these objects may lead elsewhere now.
    fn judge_objects_again(&mut self, objects: &[u32]) {
        self.judge_again(&|key| key.nexthop_id.is_some_and(|id| objects.contains(&id)));
    }

    /// Routes with such attributes may lead elsewhere now.
    pub(super) fn judge_again(&mut self, of_them: &dyn Fn(&Key<'_>) -> bool) {
        let ids: Vec<AttrId> = self.attrs.used().filter(|(_, attr)| of_them(&attr.key())).map(|(id, _)| id).collect();
        if ids.is_empty() {
            return;
        }
        for id in &ids {
            let verdict = std::mem::replace(&mut self.attrs.get_mut(*id).verdict, Verdict::Open);
            if let Verdict::Paths(paths) = verdict {
                self.paths.drop_hold(paths);
            }
        }
        for family in [0, 1] {
            if !ids.iter().any(|id| self.attrs.get(*id).routes[family] > 0) {
                continue;
            }
            for at in 0..self.rows.places(family) {
                let slot = Slot::new(family, at);
                let row = self.rows.get(slot);
                let affected = match row.single() {
                    Some(one) => ids.contains(&one.attr),
                    None => !row.has_none() && self.rows.candidates(slot).iter().any(|one| ids.contains(&one.attr)),
                };
                if affected {
                    self.touch(slot);
                }
            }
        }
    }

    /// Take out every route of the families whose attributes are such.
    fn take_out(&mut self, families: [bool; 2], which: impl Fn(&RouteMirror, &Key<'_>) -> bool) -> u32 {
        let ids: Vec<AttrId> =
            self.attrs.used().filter(|(_, attr)| which(self, &attr.key())).map(|(id, _)| id).collect();
        let mut count = 0;
        for family in [0, 1] {
            let routes: u32 = ids.iter().map(|id| self.attrs.get(*id).routes[family]).sum();
            if !families[family] || routes == 0 {
                continue;
            }
            count += routes;
            for at in 0..self.rows.places(family) {
                let slot = Slot::new(family, at);
                let row = self.rows.get(slot);
                if row.has_none() || row.single().is_some_and(|one| !ids.contains(&one.attr)) {
                    continue;
                }
                let old = self.rows.candidates(slot);
                let new: Candidates = old.iter().filter(|one| !ids.contains(&one.attr)).copied().collect();
                if new.len() < old.len() {
                    self.set_candidates(slot, &old, &new);
                    self.touch(slot);
                }
            }
        }
        count
    }

    /// IPv4 routes that lead by the device alone go with it silently, and so
    /// do next-hop objects; IPv6 ones are told of, before it is gone.
    fn device_down(&mut self, index: u32, gone: bool) {
        let objects = self.ground.nexthops_by(index);
        // The host's addresses stay while their device does (fib_sync_down_dev).
        let goes = |key: &Key<'_>| gone || !key.is_local();
        let count = self.take_out([true, gone], |mirror, key| goes(key) && mirror.ground.leads_by(key, index).0);
        if !objects.is_empty() {
            self.objects_gone(&objects);
        } else if count > FEW || (count > 0 && index == self.ground.host_device) {
            self.sync.want(Families::routes(0));
            if gone {
                self.sync.want(Families::routes(1));
            }
        }
    }

    /// Without carrier a device keeps its routes and loses its next-hop objects,
    /// and with them IPv4 routes, all silently (nh_netdev_event in
    /// net/ipv4/nexthop.c).
    fn carrier_lost(&mut self, index: u32) {
        let objects = self.ground.nexthops_by(index);
        if !objects.is_empty() {
            self.objects_gone(&objects);
        }
    }

    /// They went silently: groups are other ones now, and IPv4 routes gone.
    fn objects_gone(&mut self, objects: &[u32]) {
        self.nexthops_gone(objects);
        self.sync.want(Families { ipv4: true, ipv6: true, nexthops: true, links: false });
    }

    fn address(&mut self, address: &KernelAddress) {
        let entry = (address.index, address.address.addr());
        if entry.1.is_ipv4() && !self.sync.addresses.contains(&entry) {
            self.sync.addresses.push(entry);
        }
    }

    /// With the last IPv4 address of a device its routes go silently; with any,
    /// those that send from it may.
    fn address_gone(&mut self, address: &KernelAddress) {
        let (index, addr) = (address.index, address.address.addr());
        if !addr.is_ipv4() {
            return;
        }
        self.sync.addresses.retain(|entry| *entry != (index, addr));
        let last = !self.sync.addresses.iter().any(|(of, _)| *of == index);
        let affected = self.attrs.used().any(|(_, attr)| {
            let key = attr.key();
            // Of those to the host itself the kernel tells.
            attr.routes[0] > 0
                && !key.is_local()
                && (key.prefsrc == Some(addr) || (last && self.ground.leads_by(&key, index).1))
        });
        if affected {
            self.sync.want(Families::routes(0));
        }
    }
}
