//! Routes of VPP's other sources, as the host is to have them: those that were
//! asked for, by source.
//!
//! They carry our protocol number and a metric of their own, behind whatever
//! the host itself has. So what is exported is found in the kernel, and nothing
//! of it ever goes back: neither do routes of our protocol come to VPP, nor
//! those of our source in VPP to Linux.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;
use smallvec::SmallVec;

use super::differences::Differences;
use super::routes::Families;
use super::{KernelEvent, KernelRoute, KernelRouteKind, TABLE_MAIN};
use crate::engine::UplinkId;
use crate::model::{NextHop, Prefix, ROUTE_PROTOCOL, Route, RouteKind};

/// The metric of what is exported, less the device's index: behind those that
/// network managers give, and those of our other routes.
const METRIC: u32 = 118_000;
/// IPv6 has no smaller MTU (RFC 8200, section 5).
const IP6_MTU_MIN: u32 = 1280;
/// So many refusals are told.
const REFUSALS: usize = 32;

/// The metric of exported routes by the device of this index.
pub fn export_metric(index: u32) -> u32 {
    METRIC.saturating_add(index)
}

/// Where a route of VPP's leads, for the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VppLead {
    /// By the uplink, to these next hops.
    Uplink(SmallVec<[NextHop; 1]>),
    /// Elsewhere in VPP: to pods, into tunnels.
    Pods,
}

/// A route of one of the sources asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VppRoute {
    /// The place of its source among those asked for.
    pub source: u8,
    /// Where it leads.
    pub lead: VppLead,
}

/// What VPP tells of the routes asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VppRoutes {
    /// Whose.
    pub uplink: UplinkId,
    /// New, changed, or gone.
    pub changes: Vec<(Prefix, Option<VppRoute>)>,
    /// With these everything has been told once.
    pub whole: bool,
}

/// How the host reaches what is in VPP: as the cluster's prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodsWay {
    /// The next hop for IPv4 and for IPv6; `None`: on the link, where VPP answers
    /// for all.
    pub gateways: [Option<IpAddr>; 2],
    /// The MTU of such routes, in bytes.
    pub mtu: u32,
}

/// Something that the kernel is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportChange {
    /// This route, whatever is exported to its prefix now.
    Set(Route),
    /// Nothing that is exported to this prefix.
    Delete(Prefix),
}

impl ExportChange {
    /// The destination.
    pub fn prefix(&self) -> Prefix {
        match self {
            Self::Set(route) => route.prefix,
            Self::Delete(prefix) => *prefix,
        }
    }
}

/// What an [`ExportMirror`] tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportView {
    /// Routes of VPP's that the host is to have, by source.
    pub from_vpp: BTreeMap<String, u64>,
    /// Exported routes that the host has.
    pub in_linux: u64,
    /// Changes that went to Linux.
    pub changes: u64,
    /// What the kernel did not have as it was left, found by reading it anew.
    pub differences: u64,
    /// The last of them, in words.
    pub last_differences: Vec<String>,
    /// What the kernel refused, and why; tried again by the next audit.
    pub refused: Vec<String>,
}

/// What the kernel has of ours to a prefix.
#[derive(Clone, Debug)]
struct Held {
    /// `None`: something else than any route of ours.
    route: Option<Route>,
    /// Seen by the reading under way.
    marked: bool,
}

/// The exported routes of one uplink. Lives on the helper thread.
#[derive(Debug)]
pub struct ExportMirror {
    /// Index of the host's device.
    device: u32,
    /// The kernel's table of the device.
    table: u32,
    sources: Vec<String>,
    pods: PodsWay,
    wanted: BTreeMap<Prefix, (u8, Route)>,
    linux: BTreeMap<Prefix, Held>,
    /// To be compared.
    queue: BTreeSet<Prefix>,
    /// VPP has told everything once.
    told: bool,
    /// So has the kernel, of each family; and is doing it again.
    known: [bool; 2],
    reading: [bool; 2],
    refused: BTreeMap<Prefix, String>,
    changes: u64,
    differences: Differences,
}

impl ExportMirror {
    /// By the host's device with this index.
    pub fn new(device: u32, sources: Vec<String>, pods: PodsWay) -> Self {
        Self {
            device,
            table: TABLE_MAIN,
            sources,
            pods,
            wanted: BTreeMap::new(),
            linux: BTreeMap::new(),
            queue: BTreeSet::new(),
            told: false,
            known: [false; 2],
            reading: [false; 2],
            refused: BTreeMap::new(),
            changes: 0,
            differences: Differences::default(),
        }
    }

    /// Whether such a route of the kernel's is one that we exported.
    pub fn is_ours(&self, route: &KernelRoute) -> bool {
        route.protocol == ROUTE_PROTOCOL && route.table == self.table && route.metric == export_metric(self.device)
    }

    /// The device is in another VRF: with that the kernel has dropped its routes.
    pub fn set_table(&mut self, table: u32) {
        if std::mem::replace(&mut self.table, table) != table {
            self.linux.clear();
            self.queue.extend(self.wanted.keys().copied());
            self.retry();
        }
    }

    /// VPP told.
    pub fn vpp(&mut self, routes: VppRoutes) {
        for (prefix, route) in routes.changes {
            match route {
                Some(VppRoute { source, lead }) => {
                    let route = self.route(prefix, &lead);
                    self.wanted.insert(prefix, (source, route));
                }
                None => drop(self.wanted.remove(&prefix)),
            }
            self.refused.remove(&prefix);
            self.queue.insert(prefix);
        }
        self.told |= routes.whole;
    }

    /// The route as the kernel will tell of it.
    fn route(&self, prefix: Prefix, lead: &VppLead) -> Route {
        let family = usize::from(!prefix.is_ipv4());
        let (mut next_hops, mtu) = match lead {
            VppLead::Uplink(hops) => (hops.clone(), None),
            VppLead::Pods => {
                let hop = NextHop { gateway: self.pods.gateways[family], weight: 1, onlink: true };
                let least = if prefix.is_ipv4() { 0 } else { IP6_MTU_MIN };
                (SmallVec::from_iter([hop]), Some(self.pods.mtu.max(least)))
            }
        };
        let single = next_hops.len() == 1;
        for hop in &mut next_hops {
            // Whatever addresses the host has, VPP answers for the gateway.
            hop.onlink = hop.gateway.is_some();
            hop.weight = if single { 1 } else { hop.weight.clamp(1, 256) };
        }
        next_hops.sort_by_key(|hop| (hop.gateway, hop.weight));
        Route { prefix, kind: RouteKind::Unicast, next_hops, mtu }
    }

    /// The kernel told, by a dump or by itself.
    pub fn event(&mut self, event: &KernelEvent, dump: bool) {
        match event {
            KernelEvent::Route { route, .. } if self.is_ours(route) => {
                let held = Held { route: self.read(route), marked: true };
                let right = held.route.is_some() && held.route.as_ref() == self.right(&route.prefix);
                let before = self.linux.insert(route.prefix, held);
                if !right {
                    let was_right = before.is_some_and(|before| before.route.as_ref() == self.right(&route.prefix));
                    if dump && was_right && !self.queue.contains(&route.prefix) {
                        self.differences.add(format!("exported route to {} was changed in Linux", route.prefix));
                    }
                    self.queue.insert(route.prefix);
                }
            }
            KernelEvent::RouteGone(route) if self.is_ours(route) => {
                let gone = self.read(route);
                match self.linux.get_mut(&route.prefix) {
                    // One hop of several: what is left is made anew.
                    Some(held) if held.route != gone && !route.prefix.is_ipv4() => held.route = None,
                    _ => drop(self.linux.remove(&route.prefix)),
                }
                self.queue.insert(route.prefix);
            }
            _ => {}
        }
    }

    fn right(&self, prefix: &Prefix) -> Option<&Route> {
        self.wanted.get(prefix).map(|(_, route)| route)
    }

    fn read(&self, route: &KernelRoute) -> Option<Route> {
        let is_plain = route.kind == KernelRouteKind::Unicast && route.tos == 0 && route.nexthop_id.is_none();
        if !is_plain || route.hops.iter().any(|hop| hop.index != self.device || hop.encap) {
            return None;
        }
        let hop = |hop: &super::KernelHop| NextHop { gateway: hop.gateway, weight: hop.weight, onlink: hop.onlink };
        let mut next_hops: SmallVec<[NextHop; 1]> = route.hops.iter().map(hop).collect();
        next_hops.sort_by_key(|hop| (hop.gateway, hop.weight));
        Some(Route { prefix: route.prefix, kind: RouteKind::Unicast, next_hops, mtu: route.mtu })
    }

    /// The kernel is about to tell all that it has of these.
    pub fn resync_begin(&mut self, families: Families) {
        for (family, begins) in [families.ipv4, families.ipv6].into_iter().enumerate() {
            self.reading[family] |= begins;
            if begins {
                let of_family = |(prefix, _): &(&Prefix, &mut Held)| usize::from(!prefix.is_ipv4()) == family;
                self.linux.iter_mut().filter(of_family).for_each(|(_, held)| held.marked = false);
            }
        }
    }

    /// It has told all: what it did not tell is gone.
    pub fn resync_end(&mut self, families: Families) {
        for (family, ends) in [families.ipv4, families.ipv6].into_iter().enumerate() {
            if !ends {
                continue;
            }
            let is_gone = |(prefix, held): &(&Prefix, &Held)| usize::from(!prefix.is_ipv4()) == family && !held.marked;
            let gone: Vec<Prefix> = self.linux.iter().filter(is_gone).map(|(prefix, _)| *prefix).collect();
            for prefix in gone {
                self.linux.remove(&prefix);
                if self.queue.insert(prefix) && self.wanted.contains_key(&prefix) {
                    self.differences.add(format!("exported route to {prefix} was gone from Linux"));
                }
            }
            self.known[family] = true;
            self.reading[family] = false;
        }
    }

    /// Try again what was refused.
    pub fn retry(&mut self) {
        self.queue.extend(std::mem::take(&mut self.refused).into_keys());
    }

    /// Nothing is left to be compared.
    pub fn is_settled(&self) -> bool {
        self.told && self.queue.is_empty()
    }

    /// Differences found, ever.
    pub fn differences(&self) -> u64 {
        self.differences.count()
    }

    /// At most about so many changes, in order; what is returned counts as done:
    /// a refusal is to be told. Nothing before both sides are known.
    pub fn round(&mut self, max: usize) -> Vec<ExportChange> {
        let mut changes = Vec::new();
        if !self.told || self.known != [true; 2] || self.reading != [false; 2] {
            return changes;
        }
        while changes.len() < max
            && let Some(prefix) = self.queue.pop_first()
        {
            let held = self.linux.get(&prefix);
            match self.wanted.get(&prefix) {
                _ if self.refused.contains_key(&prefix) => {}
                None if held.is_some() => {
                    self.linux.remove(&prefix);
                    changes.push(ExportChange::Delete(prefix));
                }
                Some((_, route)) if held.is_none_or(|held| held.route.as_ref() != Some(route)) => {
                    // IPv6 takes another one of the same metric for a sibling.
                    if held.is_some() && !prefix.is_ipv4() {
                        changes.push(ExportChange::Delete(prefix));
                    }
                    changes.push(ExportChange::Set(route.clone()));
                    self.linux.insert(prefix, Held { route: Some(route.clone()), marked: true });
                }
                _ => {}
            }
        }
        self.changes += changes.len() as u64;
        changes
    }

    /// The kernel refused.
    pub fn refused(&mut self, change: &ExportChange, reason: &str) {
        self.linux.remove(&change.prefix());
        self.refused.insert(change.prefix(), reason.to_owned());
    }

    /// What it tells of itself.
    pub fn view(&self) -> ExportView {
        let mut from_vpp: BTreeMap<String, u64> = self.sources.iter().map(|name| (name.clone(), 0)).collect();
        for (source, _) in self.wanted.values() {
            if let Some(count) = self.sources.get(usize::from(*source)).and_then(|name| from_vpp.get_mut(name)) {
                *count += 1;
            }
        }
        ExportView {
            from_vpp,
            in_linux: self.linux.len() as u64,
            changes: self.changes,
            differences: self.differences(),
            last_differences: self.differences.last(),
            refused: self.refused.iter().take(REFUSALS).map(|(prefix, why)| format!("{prefix}: {why}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
