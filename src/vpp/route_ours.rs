//! Routes of an uplink that was taken, in VPP's FIB under our own source:
//! `show ip fib` marks them `hostnet`, and nobody else's is touched.
//!
//! Several uplinks may have a route to the same prefix: its paths are added and
//! taken away one by one, and are shared like those of one multipath route.

use super::fib::{self, Path, PathSet, Paths, Place};
use super::{Barrier, Main, interface};
use crate::model::{NextHop, Prefix, Route, RouteKind};

/// Add the route, through the interface where it forwards, to the interface's
/// tables. Again changes nothing. VPP knows no MTU of a route: that is left out.
///
/// What a user or a routing daemon adds to VPP wins over it.
pub fn add(barrier: &Barrier<'_>, sw_if_index: u32, route: &Route) {
    let paths = PathSet::new(barrier, !route.prefix.is_ipv4(), paths(sw_if_index, route));
    fib::add(barrier, place(barrier, sw_if_index, route.prefix), &paths);
}

/// Take [`add`] back. Of what is not there nothing happens.
pub fn remove(barrier: &Barrier<'_>, sw_if_index: u32, route: &Route) {
    let place = place(barrier, sw_if_index, route.prefix);
    if fib::find(barrier, place).is_some() {
        let paths = PathSet::new(barrier, !route.prefix.is_ipv4(), paths(sw_if_index, route));
        fib::remove(barrier, place, &paths);
    }
}

/// What of the route is not in VPP as [`add`] put it, or has no effect there.
pub fn difference(main: &Main<'_>, sw_if_index: u32, route: &Route) -> Option<String> {
    let place = place(main, sw_if_index, route.prefix);
    let Some(ours) = fib::find(main, place) else { return Some(format!("route {route} is not in VPP")) };
    let found = fib::paths(main, place);
    if let Some(missing) = paths(sw_if_index, route).iter().position(|path| !found.contains(path)) {
        let hop = route.next_hops.get(missing).map_or_else(String::new, |hop| format!(" {}", words(hop)));
        return Some(format!("route {route} lacks its path{hop} in VPP"));
    }
    (!ours.best).then(|| {
        let best = fib::best_source(main, place);
        format!("route {route} has no effect in VPP: one of source '{best}' to the same prefix wins")
    })
}

fn place(main: &Main<'_>, sw_if_index: u32, prefix: Prefix) -> Place {
    Place { fib: interface::fib_index(main, sw_if_index, !prefix.is_ipv4()), prefix }
}

fn paths(sw_if_index: u32, route: &Route) -> Paths {
    match route.kind {
        RouteKind::Blackhole => Paths::from_iter([Path::Blackhole]),
        RouteKind::Unreachable => Paths::from_iter([Path::Unreachable]),
        RouteKind::Prohibit => Paths::from_iter([Path::Prohibit]),
        RouteKind::Unicast => {
            // VPP has a byte for the weight, Linux counts to 256.
            let weight = |hop: &NextHop| u8::try_from(hop.weight.max(1)).unwrap_or(u8::MAX);
            let path = |hop: &NextHop| Path::Via { sw_if_index, gateway: hop.gateway, weight: weight(hop) };
            route.next_hops.iter().map(path).collect()
        }
    }
}

fn words(hop: &NextHop) -> String {
    match hop.gateway {
        Some(gateway) => format!("via {gateway} weight {}", hop.weight),
        None => "on the link".to_owned(),
    }
}
