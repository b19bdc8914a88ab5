//! Static neighbours, and the proxy ARP ranges of others.

use std::ffi::c_void;
use std::net::{IpAddr, Ipv4Addr};

use vpp_sys as sys;

use super::punt::octets;
use super::{Barrier, Main};
use crate::model::MacAddr;

/// A static neighbour without a host route: the route would fight with the
/// uplink's own (fib_entry_src_adj.c).
pub fn add(_barrier: &Barrier<'_>, sw_if_index: u32, addr: IpAddr, mac: MacAddr) -> Result<(), String> {
    // SAFETY: barrier held, main thread; sizes by the family.
    let rv =
        unsafe { sys::hns_neighbor_add(i32::from(addr.is_ipv6()), octets(addr).as_ptr(), mac.0.as_ptr(), sw_if_index) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP refused the neighbour {addr} (error {rv})")) }
}

/// Take [`add`] back; no error when there is none.
pub fn delete(_barrier: &Barrier<'_>, sw_if_index: u32, addr: IpAddr) {
    // SAFETY: barrier held, main thread; sizes by the family.
    unsafe {
        sys::hns_neighbor_del(i32::from(addr.is_ipv6()), octets(addr).as_ptr(), sw_if_index);
    }
}

/// All proxy ARP ranges: FIB index, first and last address.
pub fn proxy_arp_ranges(_main: &Main<'_>) -> Vec<(u32, Ipv4Addr, Ipv4Addr)> {
    unsafe extern "C" fn visit(ctx: *mut c_void, fib_index: u32, lo: *const u8, hi: *const u8) {
        // SAFETY: `ctx` is the vector below; both addresses have four bytes.
        unsafe {
            let out = &mut *ctx.cast::<Vec<(u32, Ipv4Addr, Ipv4Addr)>>();
            let lo = lo.cast::<[u8; 4]>().read_unaligned();
            let hi = hi.cast::<[u8; 4]>().read_unaligned();
            out.push((fib_index, lo.into(), hi.into()));
        }
    }
    let mut out: Vec<(u32, Ipv4Addr, Ipv4Addr)> = Vec::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe { sys::hns_proxy_arp_ranges(Some(visit), (&raw mut out).cast()) };
    out
}
