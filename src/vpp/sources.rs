//! Who has put routes into VPP's FIB, and the routes of some of them.

use std::ffi::{CStr, c_char, c_void};
use std::net::IpAddr;

use vpp_sys as sys;

use super::interface::ip;
use super::{Main, NO_INTERFACE};
use crate::model::Prefix;

/// VPP's sources of routes: number and name.
pub fn all(_main: &Main<'_>) -> Vec<(u8, String)> {
    unsafe extern "C" fn visit(ctx: *mut c_void, source: u8, name: *const c_char) {
        // SAFETY: `ctx` is the list below; the name is VPP's, NUL-terminated.
        let (out, name) = unsafe { (&mut *ctx.cast::<Vec<(u8, String)>>(), CStr::from_ptr(name)) };
        out.push((source, name.to_string_lossy().into_owned()));
    }
    let mut out = Vec::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe { sys::hns_sources(Some(visit), (&raw mut out).cast()) };
    out
}

/// How many routes a source has in a table.
pub fn count(_main: &Main<'_>, fib: u32, ip6: bool, source: u8) -> u32 {
    // SAFETY: on the main thread; an interface is in the table.
    unsafe { sys::hns_source_count(i32::from(ip6), fib, source) }
}

/// A path of a route in force, of one of the sources asked for. Paths of one
/// entry come one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Sourced {
    /// VPP's number of the entry.
    pub entry: u32,
    /// VPP's number of the source.
    pub source: u8,
    /// The destination.
    pub prefix: Prefix,
    /// Where the path leads.
    pub kind: Kind,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// To VPP itself.
    Local,
    /// Nowhere.
    Drop,
    /// Through an interface, if it is known which.
    Via {
        /// The interface; a recursive path's is what it resolves to.
        sw_if_index: Option<u32>,
        /// The gateway, of whichever family; `None` for the link itself.
        gateway: Option<IpAddr>,
        /// The share of traffic.
        weight: u8,
        /// With labels.
        labels: bool,
    },
}

impl Kind {
    fn of(raw: &sys::hns_path_t) -> Self {
        if raw.flags & sys::HNS_PATH_LOCAL != 0 {
            return Self::Local;
        }
        if raw.flags & sys::HNS_PATH_DROP != 0 {
            return Self::Drop;
        }
        let ip6 = raw.flags & sys::HNS_PATH_GATEWAY6 != 0;
        let gateway = (ip6 || raw.flags & sys::HNS_PATH_GATEWAY != 0).then(|| {
            // SAFETY: sixteen bytes, of which IPv4 has the first four.
            unsafe { ip(ip6, raw.gateway.as_ptr()) }
        });
        let sw_if_index = Some(raw.sw_if_index).filter(|index| *index != NO_INTERFACE);
        let labels = raw.flags & sys::HNS_PATH_LABELS != 0;
        Self::Via { sw_if_index, gateway, weight: raw.weight, labels }
    }
}

/// Look at `n` of VPP's entries, from number `from` on, for routes in these
/// tables (IPv4's, IPv6's) that are in force for a wanted source (`true` at its
/// number); where to go on, `None` at the end. Between two calls anything may
/// change.
pub fn routes(
    _main: &Main<'_>,
    wanted: &[bool],
    fibs: (u32, u32),
    from: u32,
    n: u32,
    out: &mut Vec<Sourced>,
) -> Option<u32> {
    unsafe extern "C" fn visit(
        ctx: *mut c_void,
        source: u8,
        entry: u32,
        is_ip6: i32,
        prefix: *const u8,
        len: u8,
        path: *const sys::hns_path_t,
    ) {
        // SAFETY: `ctx` is the list of the caller; the prefix has the family's
        // size, the path is the shim's.
        let (out, addr, path) = unsafe { (&mut *ctx.cast::<Vec<Sourced>>(), ip(is_ip6 != 0, prefix), *path) };
        let kind = Kind::of(&path);
        out.extend(Prefix::containing(addr, len).map(|prefix| Sourced { entry, source, prefix, kind }));
    }
    let bytes: [u8; 256] = std::array::from_fn(|number| u8::from(wanted.get(number) == Some(&true)));
    // SAFETY: on the main thread; a byte for each possible source; `visit` is
    // called only inside and does not call VPP.
    let next = unsafe {
        sys::hns_routes_sourced(bytes.as_ptr(), 256, fibs.0, fibs.1, from, n, Some(visit), (&raw mut *out).cast())
    };
    (next != u32::MAX).then_some(next)
}
