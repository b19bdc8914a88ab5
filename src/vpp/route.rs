//! The routes of VPP's FIB through an interface.

use std::ffi::c_void;
use std::net::IpAddr;

use vpp_sys as sys;

use super::Main;
use super::interface::ip;
use crate::model::{NextHop, Prefix, Route, RouteKind};

struct Walk {
    routes: Vec<Route>,
    /// VPP's index of the entry that the last route is of.
    entry: Option<u32>,
}

/// Every route through the interface but those that VPP makes by itself (from
/// addresses and neighbours). Paths of one entry become next hops of one route.
pub fn through(_main: &Main<'_>, sw_if_index: u32) -> Vec<Route> {
    unsafe extern "C" fn visit(
        ctx: *mut c_void,
        is_ip6: i32,
        prefix: *const u8,
        len: u8,
        entry: u32,
        gateway: *const u8,
        weight: u8,
    ) {
        // SAFETY: `ctx` is the walk below; the addresses have the family's
        // size, `gateway` may be null.
        let (walk, addr, gateway): (_, _, Option<IpAddr>) = unsafe {
            let gateway = (!gateway.is_null()).then(|| ip(is_ip6 != 0, gateway));
            (&mut *ctx.cast::<Walk>(), ip(is_ip6 != 0, prefix), gateway)
        };
        let Some(prefix) = Prefix::containing(addr, len) else { return };
        let hop = NextHop { gateway, weight: u16::from(weight.max(1)), onlink: false };
        match walk.routes.last_mut() {
            Some(route) if walk.entry == Some(entry) => route.next_hops.push(hop),
            _ => {
                walk.entry = Some(entry);
                walk.routes.push(Route {
                    prefix,
                    kind: RouteKind::Unicast,
                    next_hops: [hop].into_iter().collect(),
                    mtu: None,
                });
            }
        }
    }
    let mut walk = Walk { routes: Vec::new(), entry: None };
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe { sys::hns_routes_through(sw_if_index, Some(visit), (&raw mut walk).cast()) };
    walk.routes
}
