//! Routes of ours in VPP's FIB, under a source of our own: `show ip fib` marks
//! them `hostnet`, and nobody else's is touched.
//!
//! Several uplinks may have a route to the same prefix: its paths are added and
//! taken away one by one, and are shared like those of one multipath route.

use std::ffi::c_void;
use std::net::IpAddr;

use smallvec::SmallVec;
use vpp_sys as sys;

use super::cli::text_of;
use super::punt::octets;
use super::{Barrier, Main, NO_INTERFACE, interface};
use crate::model::{NextHop, Prefix, Route, RouteKind};

type Paths = SmallVec<[sys::hns_path_t; 1]>;

/// Add the route, through the interface where it forwards, to the interface's
/// tables. Again changes nothing. VPP knows no MTU of a route: that is left out.
///
/// What a user or a routing daemon adds to VPP wins over it.
pub fn add(barrier: &Barrier<'_>, sw_if_index: u32, route: &Route) {
    let (prefix, is_ip6, fib) = place(barrier, sw_if_index, route.prefix);
    let (paths, n) = paths(sw_if_index, route);
    // SAFETY: barrier held; the shim reads the prefix by its family and `n`
    // paths, and copies both.
    unsafe { sys::hns_route_add(fib, is_ip6, prefix.as_ptr(), route.prefix.prefix_len(), paths.as_ptr(), n) };
}

/// Take [`add`] back. Of what is not there nothing happens.
pub fn remove(barrier: &Barrier<'_>, sw_if_index: u32, route: &Route) {
    let (prefix, is_ip6, fib) = place(barrier, sw_if_index, route.prefix);
    let (paths, n) = paths(sw_if_index, route);
    let (state, _) = state(barrier, sw_if_index, route.prefix);
    if state & sys::HNS_ROUTE_OURS != 0 {
        // SAFETY: as in `add`.
        unsafe { sys::hns_route_remove(fib, is_ip6, prefix.as_ptr(), route.prefix.prefix_len(), paths.as_ptr(), n) };
    }
}

/// What of the route is not in VPP as [`add`] put it, or has no effect there.
pub fn difference(main: &Main<'_>, sw_if_index: u32, route: &Route) -> Option<String> {
    let (state, best) = state(main, sw_if_index, route.prefix);
    if state & sys::HNS_ROUTE_OURS == 0 {
        return Some(format!("route {route} is not in VPP"));
    }
    let found = found_paths(main, sw_if_index, route.prefix);
    let (wanted, _) = paths(sw_if_index, route);
    if let Some(missing) = wanted.iter().position(|path| !found.iter().any(|other| same(path, other))) {
        let hop = route.next_hops.get(missing).map_or_else(String::new, |hop| format!(" {}", words(hop)));
        return Some(format!("route {route} lacks its path{hop} in VPP"));
    }
    (state & sys::HNS_ROUTE_BEST == 0)
        .then(|| format!("route {route} has no effect in VPP: one of source '{best}' to the same prefix wins"))
}

/// The prefix as bytes, whether it is of IPv6, and the index of its table.
fn place(main: &Main<'_>, sw_if_index: u32, prefix: Prefix) -> ([u8; 16], i32, u32) {
    let is_ip6 = !prefix.is_ipv4();
    (octets(prefix.addr()), i32::from(is_ip6), interface::fib_index(main, sw_if_index, is_ip6))
}

/// The route's paths, and how many they are.
fn paths(sw_if_index: u32, route: &Route) -> (Paths, u32) {
    let dropping = |flags| {
        let path = sys::hns_path_t { flags, sw_if_index: NO_INTERFACE, weight: 1, ..Default::default() };
        Paths::from_iter([path])
    };
    let paths = match route.kind {
        RouteKind::Blackhole => dropping(sys::HNS_PATH_DROP),
        RouteKind::Unreachable => dropping(sys::HNS_PATH_UNREACHABLE),
        RouteKind::Prohibit => dropping(sys::HNS_PATH_PROHIBIT),
        RouteKind::Unicast => route.next_hops.iter().map(|hop| path(sw_if_index, hop)).collect(),
    };
    let n = u32::try_from(paths.len()).unwrap_or(0);
    (paths, n)
}

fn path(sw_if_index: u32, hop: &NextHop) -> sys::hns_path_t {
    let flags = match hop.gateway {
        None => 0,
        Some(IpAddr::V4(_)) => sys::HNS_PATH_GATEWAY,
        Some(IpAddr::V6(_)) => sys::HNS_PATH_GATEWAY6,
    };
    // VPP has a byte for it, Linux counts to 256.
    let weight = u8::try_from(hop.weight.max(1)).unwrap_or(u8::MAX);
    sys::hns_path_t { flags, sw_if_index, gateway: hop.gateway.map_or([0; 16], octets), weight }
}

/// Whether it is ours, and whose is in force.
fn state(main: &Main<'_>, sw_if_index: u32, prefix: Prefix) -> (u32, String) {
    let (bytes, is_ip6, fib) = place(main, sw_if_index, prefix);
    let mut best = [0_u8; 64];
    let (text, room) = (best.as_mut_ptr(), best.len() as u64);
    // SAFETY: on the main thread; the shim reads the prefix by its family and
    // writes a NUL-terminated name.
    let state = unsafe { sys::hns_route_state(fib, is_ip6, bytes.as_ptr(), prefix.prefix_len(), text, room) };
    (state, text_of(&best))
}

fn found_paths(main: &Main<'_>, sw_if_index: u32, prefix: Prefix) -> Paths {
    unsafe extern "C" fn visit(ctx: *mut c_void, path: *const sys::hns_path_t) {
        // SAFETY: `ctx` is the vector below; the path is the shim's.
        let (out, path) = unsafe { (&mut *ctx.cast::<Paths>(), *path) };
        out.push(path);
    }
    let (bytes, is_ip6, fib) = place(main, sw_if_index, prefix);
    let mut out = Paths::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe {
        sys::hns_route_paths(fib, is_ip6, bytes.as_ptr(), prefix.prefix_len(), Some(visit), (&raw mut out).cast());
    }
    out
}

fn same(a: &sys::hns_path_t, b: &sys::hns_path_t) -> bool {
    (a.flags, a.sw_if_index, a.gateway, a.weight) == (b.flags, b.sw_if_index, b.gateway, b.weight)
}

fn words(hop: &NextHop) -> String {
    match hop.gateway {
        Some(gateway) => format!("via {gateway} weight {}", hop.weight),
        None => "on the link".to_owned(),
    }
}
