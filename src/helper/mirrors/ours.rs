//! Routes of ours that the host has of `enable`: put back when they go.

use std::collections::BTreeSet;

use crate::engine::Plan;
use crate::engine::mirror::{Families, KernelEvent, KernelRoute, export_metric};
use crate::model::{Prefix, ROUTE_PROTOCOL, Route};

/// What is known of them.
#[derive(Debug)]
pub(super) struct Ours {
    /// Index of the host's device.
    device: u32,
    routes: Vec<Route>,
    /// Somebody took these away, or they went with the link.
    lost: BTreeSet<Prefix>,
    /// The kernel told that it has these.
    told: BTreeSet<Prefix>,
}

impl Ours {
    /// Routes to the cluster, and those of VPP's that the host was given.
    pub(super) fn new(plan: &Plan, device: u32) -> Self {
        let of_vpp: &[Route] = if plan.takeover.is_none() { &plan.config.routes } else { &[] };
        let routes = plan.cluster_routes.iter().chain(of_vpp).cloned().collect();
        Self { device, routes, lost: BTreeSet::new(), told: BTreeSet::new() }
    }

    /// The kernel told something, by itself or by a dump.
    pub(super) fn hear(&mut self, event: &KernelEvent) {
        match event {
            KernelEvent::Route { route, .. } if self.is_one(route) => {
                self.lost.remove(&route.prefix);
                self.told.insert(route.prefix);
            }
            KernelEvent::RouteGone(route) if self.is_one(route) => {
                self.told.remove(&route.prefix);
                self.lost.insert(route.prefix);
            }
            _ => {}
        }
    }

    /// All of them are to be put where they belong: the link is up again, without
    /// which the kernel drops those of IPv4 silently; or they belong elsewhere.
    pub(super) fn all(&mut self) {
        self.lost.extend(self.routes.iter().map(|route| route.prefix));
    }

    /// The kernel is about to tell all that it has.
    pub(super) fn resync_begin(&mut self, families: Families) {
        self.told.retain(|prefix| !is_of(families, prefix));
    }

    /// It has told: what it did not tell went silently.
    pub(super) fn resync_end(&mut self, families: Families) {
        let prefixes = self.routes.iter().map(|route| route.prefix);
        let went = prefixes.filter(|prefix| is_of(families, prefix) && !self.told.contains(prefix));
        self.lost.extend(went);
    }

    /// Those that are to be put back now; told once, each once: a second would
    /// stand behind the first as if that were a stranger's.
    pub(super) fn take(&mut self) -> Vec<Route> {
        let lost = std::mem::take(&mut self.lost);
        self.routes.iter().filter(|route| lost.contains(&route.prefix)).cloned().collect()
    }

    fn is_one(&self, route: &KernelRoute) -> bool {
        route.protocol == ROUTE_PROTOCOL
            && route.metric != export_metric(self.device)
            && route.hops.iter().any(|hop| hop.index == self.device)
    }
}

fn is_of(families: Families, prefix: &Prefix) -> bool {
    if prefix.is_ipv4() { families.ipv4 } else { families.ipv6 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mirror::{KernelHop, KernelRouteKind};

    const DEVICE: u32 = 7;
    const IPV4: Families = Families { ipv4: true, ipv6: false, nexthops: false, links: false };

    fn ours(prefixes: &[&str]) -> Ours {
        let routes = prefixes.iter().filter_map(|text| Some(Route::via(text.parse().ok()?, None))).collect();
        Ours { device: DEVICE, routes, lost: BTreeSet::new(), told: BTreeSet::new() }
    }

    fn route(prefix: &str, protocol: u8, metric: u32, index: u32) -> Option<KernelRoute> {
        let hop = KernelHop { index, gateway: None, weight: 1, onlink: false, encap: false };
        Some(KernelRoute {
            table: 254,
            prefix: prefix.parse().ok()?,
            kind: KernelRouteKind::Unicast,
            metric,
            protocol,
            tos: 0,
            scope: 0,
            from_source: false,
            prefsrc: None,
            nexthop_id: None,
            hops: [hop].into_iter().collect(),
            mtu: None,
        })
    }

    fn new(ours: &mut Ours, route: Option<KernelRoute>) {
        if let Some(route) = route {
            ours.hear(&KernelEvent::Route { route, replaces: false, appended: false });
        }
    }

    fn gone(ours: &mut Ours, route: Option<KernelRoute>) {
        if let Some(route) = route {
            ours.hear(&KernelEvent::RouteGone(route));
        }
    }

    fn taken(ours: &mut Ours) -> Vec<String> {
        ours.take().iter().map(|route| route.prefix.to_string()).collect()
    }

    #[test]
    fn one_that_went_is_put_back_once_and_one_that_came_back_is_not() {
        let mut ours = ours(&["10.0.0.0/8", "fd00::/8"]);
        gone(&mut ours, route("fd00::/8", 118, 0, DEVICE));
        ours.all();
        assert_eq!(taken(&mut ours), ["10.0.0.0/8", "fd00::/8"]);
        assert!(taken(&mut ours).is_empty());
        gone(&mut ours, route("10.0.0.0/8", 118, 0, DEVICE));
        new(&mut ours, route("10.0.0.0/8", 118, 0, DEVICE));
        assert!(taken(&mut ours).is_empty());
    }

    #[test]
    fn what_a_reading_does_not_tell_went_silently() {
        let mut ours = ours(&["10.0.0.0/8", "10.96.0.0/12", "fd00::/8"]);
        ours.resync_begin(IPV4);
        new(&mut ours, route("10.0.0.0/8", 118, 0, DEVICE));
        // Strangers, another device's, an exported one.
        new(&mut ours, route("10.96.0.0/12", 4, 0, DEVICE));
        new(&mut ours, route("10.96.0.0/12", 118, 0, DEVICE + 1));
        new(&mut ours, route("10.96.0.0/12", 118, export_metric(DEVICE), DEVICE));
        ours.resync_end(IPV4);
        assert_eq!(taken(&mut ours), ["10.96.0.0/12"], "IPv6 was not read");
        // What goes while it is read, after it was told, is gone as well.
        ours.resync_begin(IPV4);
        new(&mut ours, route("10.0.0.0/8", 118, 0, DEVICE));
        new(&mut ours, route("10.96.0.0/12", 118, 0, DEVICE));
        gone(&mut ours, route("10.0.0.0/8", 118, 0, DEVICE));
        ours.resync_end(IPV4);
        assert_eq!(taken(&mut ours), ["10.0.0.0/8"]);
    }
}
