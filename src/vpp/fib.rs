//! VPP's FIB under a source of our own: paths prepared once, routes that name
//! them, the tables that they are in, and what is there of ours.

use std::ffi::c_void;
use std::net::IpAddr;

use smallvec::SmallVec;
use vpp_sys as sys;

use super::cli::text_of;
use super::interface::{self, ip};
use super::punt::octets;
use super::{Barrier, Main, NO_INTERFACE};
use crate::model::Prefix;

/// One path of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Forward.
    Via {
        /// Through this interface.
        sw_if_index: u32,
        /// To this gateway, of whichever family; `None` for the link itself.
        gateway: Option<IpAddr>,
        /// The share of traffic, 1 to 255.
        weight: u8,
    },
    /// Drop silently.
    Blackhole,
    /// Drop and answer ICMP unreachable.
    Unreachable,
    /// Drop and answer ICMP prohibited.
    Prohibit,
    /// To VPP itself: what it does not listen for is punted.
    Local,
}

impl Path {
    fn raw(&self) -> sys::hns_path_t {
        let nowhere = |flags| sys::hns_path_t { flags, sw_if_index: NO_INTERFACE, weight: 1, ..Default::default() };
        match *self {
            Self::Via { sw_if_index, gateway, weight } => {
                let flags = match gateway {
                    None => 0,
                    Some(IpAddr::V4(_)) => sys::HNS_PATH_GATEWAY,
                    Some(IpAddr::V6(_)) => sys::HNS_PATH_GATEWAY6,
                };
                let gateway = gateway.map_or([0; 16], octets);
                sys::hns_path_t { flags, sw_if_index, gateway, weight: weight.max(1) }
            }
            Self::Blackhole => nowhere(sys::HNS_PATH_DROP),
            Self::Unreachable => nowhere(sys::HNS_PATH_UNREACHABLE),
            Self::Prohibit => nowhere(sys::HNS_PATH_PROHIBIT),
            Self::Local => nowhere(sys::HNS_PATH_LOCAL),
        }
    }

    fn of(raw: &sys::hns_path_t) -> Self {
        let gateway = (raw.flags & (sys::HNS_PATH_GATEWAY | sys::HNS_PATH_GATEWAY6) != 0).then(|| {
            // SAFETY: sixteen bytes, of which IPv4 has the first four.
            unsafe { ip(raw.flags & sys::HNS_PATH_GATEWAY6 != 0, raw.gateway.as_ptr()) }
        });
        match raw.flags {
            sys::HNS_PATH_DROP => Self::Blackhole,
            sys::HNS_PATH_UNREACHABLE => Self::Unreachable,
            sys::HNS_PATH_PROHIBIT => Self::Prohibit,
            sys::HNS_PATH_LOCAL => Self::Local,
            _ => Self::Via { sw_if_index: raw.sw_if_index, gateway, weight: raw.weight },
        }
    }

    fn order(&self) -> (u32, u32, [u8; 16], u8) {
        let raw = self.raw();
        (raw.flags, raw.sw_if_index, raw.gateway, raw.weight)
    }
}

/// A few paths.
pub type Paths = SmallVec<[Path; 1]>;

/// Paths as VPP wants them, made once for any number of routes of one family.
#[derive(Debug)]
pub struct PathSet {
    // The raw pointer keeps it on the thread that made it, VPP's main thread.
    raw: *mut sys::hns_paths_t,
    ip6: bool,
    paths: Paths,
}

impl PathSet {
    /// For routes of IPv4, or of IPv6. At least one path.
    pub fn new(_main: &Main<'_>, ip6: bool, mut paths: Paths) -> Self {
        paths.sort_by_key(Path::order);
        let all: SmallVec<[sys::hns_path_t; 1]> = paths.iter().map(Path::raw).collect();
        let n = u32::try_from(all.len()).unwrap_or(0);
        // SAFETY: on the main thread; `n` paths are read and copied.
        let raw = unsafe { sys::hns_paths_make(i32::from(ip6), all.as_ptr(), n) };
        Self { raw, ip6, paths }
    }

    /// It leads to VPP itself.
    pub fn is_local(&self) -> bool {
        self.paths.contains(&Path::Local)
    }
}

impl Drop for PathSet {
    fn drop(&mut self) {
        // SAFETY: made by `new` on this thread, freed once.
        unsafe { sys::hns_paths_free(self.raw) };
    }
}

/// Where a route is: its table by VPP's index, and the prefix.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// VPP's index of the table of the prefix's family.
    pub fib: u32,
    /// The destination.
    pub prefix: Prefix,
}

impl Place {
    fn parts(&self) -> (u32, i32, [u8; 16], u8) {
        let ip6 = i32::from(!self.prefix.is_ipv4());
        (self.fib, ip6, octets(self.prefix.addr()), self.prefix.prefix_len())
    }
}

/// Add these paths to those of the route that are there of ours.
pub fn add(_barrier: &Barrier<'_>, place: Place, paths: &PathSet) {
    let (fib, ip6, prefix, len) = place.parts();
    // SAFETY: barrier held; the prefix is read by its family, the paths are
    // copied.
    unsafe { sys::hns_route_add(fib, ip6, prefix.as_ptr(), len, paths.raw) };
}

/// Take these paths from the route; with the last one it goes. There must be
/// one of ours.
pub fn remove(_barrier: &Barrier<'_>, place: Place, paths: &PathSet) {
    let (fib, ip6, prefix, len) = place.parts();
    // SAFETY: as in `add`.
    unsafe { sys::hns_route_remove(fib, ip6, prefix.as_ptr(), len, paths.raw) };
}

/// Make these the paths of our route, whatever they were; VPP's number of the
/// entry. The workers go on meanwhile, as with VPP's own ways of adding routes:
/// its API (`ip_api_hookup`, `vnet/ip/ip_api.c:2149`), its command line
/// (`ip_route_command`, `vnet/ip/lookup.c:581`) and linux-cp
/// (`plugins/linux-cp/lcp_router.c:1600`) all mark them as safe beside workers.
/// VPP takes the barrier itself where one of its arrays moves
/// (`load_balance.c:93`, `ip4_mtrie.c:87`, `fib_entry.c:530`) and where the last
/// route lets go of an adjacency (`adj_last_lock_gone`, `vnet/adj/adj.c:265`).
pub fn update(_main: &Main<'_>, place: Place, paths: &PathSet) -> u32 {
    debug_assert_eq!(paths.ip6, !place.prefix.is_ipv4());
    let (fib, ip6, prefix, len) = place.parts();
    // SAFETY: on the main thread, without the barrier as told above. The prefix
    // is read by its family, the paths are copied.
    unsafe { sys::hns_route_update(fib, ip6, prefix.as_ptr(), len, paths.raw) }
}

/// Take our route away; whether there was one.
///
/// VPP deletes without the barrier too, but then it waits for each of the
/// workers to go round its loop once, for every route
/// (`fib_entry_src_action_uninstall`, `vnet/fib/fib_entry_src.c:750`;
/// `vlib_worker_wait_one_loop`, `vlib/threads.c:1610`). A worker without traffic
/// sleeps up to 10 ms (`vlib/file.c:108`) and a busy one takes its time: a full
/// table is hours. With the barrier held there is no wait.
pub fn delete(_barrier: &Barrier<'_>, place: Place) -> bool {
    let (fib, ip6, prefix, len) = place.parts();
    // SAFETY: barrier held; the shim looks whether it is ours.
    unsafe { sys::hns_route_delete(fib, ip6, prefix.as_ptr(), len) != 0 }
}

/// What VPP has of ours for a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// VPP's number of the entry.
    pub entry: u32,
    /// Ours is the one in force.
    pub best: bool,
}

/// Our route there, if there is one.
pub fn find(main: &Main<'_>, place: Place) -> Option<Found> {
    look(main, place, std::ptr::null_mut()).map(|(found, _)| found)
}

/// Compare our route there with these paths. `Err` has what is there instead;
/// no path at all where there is no route of ours.
pub fn compare(main: &Main<'_>, place: Place, paths: &PathSet) -> Result<Found, Paths> {
    let Some((found, same)) = look(main, place, paths.raw) else { return Err(Paths::new()) };
    if same {
        return Ok(found);
    }
    let there = self::paths(main, place);
    if there == paths.paths { Ok(found) } else { Err(there) }
}

fn look(_main: &Main<'_>, place: Place, paths: *mut sys::hns_paths_t) -> Option<(Found, bool)> {
    let (fib, ip6, prefix, len) = place.parts();
    let mut entry = 0;
    // SAFETY: on the main thread; the prefix is read by its family, `paths` is
    // null or of `PathSet`.
    let state = unsafe { sys::hns_route_state(fib, ip6, prefix.as_ptr(), len, paths, &raw mut entry) };
    let found = Found { entry, best: state & sys::HNS_ROUTE_BEST != 0 };
    (state & sys::HNS_ROUTE_OURS != 0).then_some((found, state & sys::HNS_ROUTE_SAME != 0))
}

/// The paths of our route there, in a fixed order.
pub fn paths(_main: &Main<'_>, place: Place) -> Paths {
    unsafe extern "C" fn visit(ctx: *mut c_void, path: *const sys::hns_path_t) {
        // SAFETY: `ctx` is the list below; the path is the shim's.
        let (out, path) = unsafe { (&mut *ctx.cast::<Paths>(), *path) };
        out.push(Path::of(&path));
    }
    let (fib, ip6, prefix, len) = place.parts();
    let mut out = Paths::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe { sys::hns_route_paths(fib, ip6, prefix.as_ptr(), len, Some(visit), (&raw mut out).cast()) };
    out.sort_by_key(Path::order);
    out
}

/// The source whose route is in force there.
pub fn best_source(_main: &Main<'_>, place: Place) -> String {
    let (fib, ip6, prefix, len) = place.parts();
    let mut name = [0_u8; 64];
    // SAFETY: on the main thread; a NUL-terminated name is written.
    unsafe { sys::hns_route_best_source(fib, ip6, prefix.as_ptr(), len, name.as_mut_ptr(), name.len() as u64) };
    text_of(&name)
}

/// A route of ours, as the walk finds it.
#[derive(Clone, Copy, Debug)]
pub struct Ours {
    /// VPP's number of the entry.
    pub entry: u32,
    /// The destination.
    pub prefix: Prefix,
    /// Where its first path leads, [`NO_INTERFACE`] for nowhere.
    pub sw_if_index: u32,
}

/// Look at `n` of VPP's entries, from number `from` on, for routes of ours in
/// this table; where to go on, `None` at the end. Between two calls anything may
/// change.
pub fn ours(_main: &Main<'_>, fib: u32, ip6: bool, from: u32, n: u32, out: &mut Vec<Ours>) -> Option<u32> {
    struct Walk<'a> {
        out: &'a mut Vec<Ours>,
        ip6: bool,
    }
    unsafe extern "C" fn visit(ctx: *mut c_void, entry: u32, prefix: *const u8, len: u8, sw_if_index: u32) {
        // SAFETY: `ctx` is the walk below; the prefix has the family's size.
        let (walk, addr) = unsafe {
            let walk = &mut *ctx.cast::<Walk<'_>>();
            let ip6 = walk.ip6;
            (walk, ip(ip6, prefix))
        };
        walk.out.extend(Prefix::containing(addr, len).map(|prefix| Ours { entry, prefix, sw_if_index }));
    }
    let mut walk = Walk { out, ip6 };
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    let next = unsafe { sys::hns_routes_ours(fib, i32::from(ip6), from, n, Some(visit), (&raw mut walk).cast()) };
    (next != u32::MAX).then_some(next)
}

/// A table that stays while this is held: made if there was none.
#[derive(Debug)]
#[must_use = "the table is held until `release`"]
pub struct Table {
    fib: u32,
    ip6: bool,
}

impl Table {
    /// Hold the table of that number.
    pub fn hold(_barrier: &Barrier<'_>, number: u32, ip6: bool) -> Result<Self, String> {
        // SAFETY: barrier held: VPP's arrays of tables may move.
        let fib = unsafe { sys::hns_table_lock(i32::from(ip6), number) };
        if fib == u32::MAX { Err(format!("VPP makes no table {number}")) } else { Ok(Self { fib, ip6 }) }
    }

    /// VPP's index of it.
    pub fn fib(&self) -> u32 {
        self.fib
    }

    /// Hold it no longer; without another user it goes.
    pub fn release(self, _barrier: &Barrier<'_>) {
        // SAFETY: barrier held; held once by `hold`.
        unsafe { sys::hns_table_unlock(i32::from(self.ip6), self.fib) };
    }
}

/// Make the interface's tables as large as VPP's own pools of entries and of
/// load balances, where startup.conf has made those large (`l3fib`): what grows
/// later grows within one addition, with a million routes for a tenth of a
/// second. Tables that are in use already are left alone, and those that are large
/// enough.
pub fn prepare(barrier: &Barrier<'_>, sw_if_index: u32) {
    let [ip4, ip6] = [false, true].map(|ip6| interface::fib_index(barrier, sw_if_index, ip6));
    if ip4 != u32::MAX && ip6 != u32::MAX {
        // SAFETY: barrier held: counters may move. The interface is in the tables.
        unsafe { sys::hns_prepare(ip4, ip6) };
    }
}

/// [`prepare`] the tables that every interface is in at first. At VPP's start it
/// keeps no packet waiting.
pub fn prepare_default(_barrier: &Barrier<'_>) {
    // SAFETY: barrier held: counters may move. VPP's init has made both tables.
    unsafe { sys::hns_prepare(0, 0) };
}

/// How many routes of ours a table has.
pub fn count(_main: &Main<'_>, fib: u32, ip6: bool) -> u64 {
    // SAFETY: on the main thread; the table is held, or an interface is in it.
    u64::from(unsafe { sys::hns_table_count(i32::from(ip6), fib) })
}

/// What has no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// VPP's main heap.
    Heap,
    /// VPP's statistics segment.
    Stats,
}

/// Whether VPP can take this many more routes into the table: it aborts when it
/// runs out. With 0: whether it can change what it has. A few microseconds.
pub fn room(_main: &Main<'_>, fib: u32, ip6: bool, routes: u32) -> Result<(), Full> {
    // SAFETY: on the main thread; the table is held, or an interface is in it.
    // What is allocated inside is freed inside.
    match u32::try_from(unsafe { sys::hns_room(routes, fib, i32::from(ip6)) }) {
        Ok(sys::HNS_ROOM_PLENTY) => Ok(()),
        Ok(sys::HNS_ROOM_STATS) => Err(Full::Stats),
        _ => Err(Full::Heap),
    }
}
