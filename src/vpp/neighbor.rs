//! Neighbours, and the proxy ARP ranges of others.

use std::ffi::c_void;
use std::net::{IpAddr, Ipv4Addr};

use vpp_sys as sys;

use super::interface::{self, ip};
use super::punt::octets;
use super::{Barrier, Main};
use crate::model::{IfAddress, MacAddr};

/// Whether a neighbour has a route to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRoute {
    /// It has, as one that was found out.
    Yes,
    /// It has none: on a tap it would fight with the uplink's own
    /// (fib_entry_src_adj.c).
    No,
}

/// A neighbour of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its address.
    pub addr: IpAddr,
    /// Its MAC.
    pub mac: MacAddr,
    /// Set by somebody, and not found out.
    pub is_static: bool,
}

/// A static neighbour; again with another MAC changes it.
pub fn add(
    barrier: &Barrier<'_>,
    sw_if_index: u32,
    addr: IpAddr,
    mac: MacAddr,
    route: HostRoute,
) -> Result<(), String> {
    put(barrier, sw_if_index, Neighbor { addr, mac, is_static: true }, route)
}

/// A neighbour that VPP had found out before; it ages from now on.
pub fn learned(barrier: &Barrier<'_>, sw_if_index: u32, addr: IpAddr, mac: MacAddr) -> Result<(), String> {
    put(barrier, sw_if_index, Neighbor { addr, mac, is_static: false }, HostRoute::Yes)
}

fn put(_barrier: &Barrier<'_>, sw_if_index: u32, one: Neighbor, route: HostRoute) -> Result<(), String> {
    let Neighbor { addr, mac, is_static } = one;
    let (is_ip6, route) = (i32::from(addr.is_ipv6()), i32::from(route == HostRoute::Yes));
    let is_static = i32::from(is_static);
    // SAFETY: barrier held, main thread; sizes by the family.
    let rv =
        unsafe { sys::hns_neighbor_add(is_ip6, octets(addr).as_ptr(), mac.0.as_ptr(), sw_if_index, is_static, route) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP refused the neighbour {addr} (error {rv})")) }
}

/// Let VPP ask the link for neighbours in the interface's own name.
///
/// Where a network had a route before the interface got an address in it, VPP
/// asks in the name of the network, whose answers it then takes for somebody
/// else's: the address's own route comes first and finds no connected network to
/// tell (`fib_entry_src_interface_activate`), and an entry that is there already
/// does not tell it when it becomes one.
pub fn ask_in_own_name(barrier: &Barrier<'_>, sw_if_index: u32) {
    unsafe extern "C" fn visit(ctx: *mut c_void, adjacency: u32, is_ip6: i32, source: *const u8, len: u8) {
        // SAFETY: `ctx` is the vector below; `source` has the family's size.
        let (out, source) = unsafe { (&mut *ctx.cast::<Vec<_>>(), ip(is_ip6 != 0, source)) };
        // Of a network that is not connected it is looked for with each request.
        out.extend(IfAddress::new(source, len).filter(|_| len > 0).map(|source| (adjacency, source)));
    }
    let mut gleans: Vec<(u32, IfAddress)> = Vec::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not call
    // VPP.
    unsafe { sys::hns_gleans(sw_if_index, Some(visit), (&raw mut gleans).cast()) };
    let own = interface::addresses(barrier, sw_if_index);
    for (adjacency, source) in gleans {
        let is_own = own.iter().any(|own| own.addr() == source.addr());
        let Some(own) = own.iter().find(|own| own.prefix() == source.prefix()).filter(|_| !is_own) else { continue };
        let is_ip6 = i32::from(own.addr().is_ipv6());
        // SAFETY: barrier held, so that no worker reads half of it; the adjacency
        // was told of above, and nothing was deleted since.
        unsafe { sys::hns_glean_set_source(adjacency, is_ip6, octets(own.addr()).as_ptr()) };
    }
}

/// Take [`add`] back; no error when there is none.
pub fn delete(_barrier: &Barrier<'_>, sw_if_index: u32, addr: IpAddr) {
    // SAFETY: barrier held, main thread; sizes by the family.
    unsafe {
        sys::hns_neighbor_del(i32::from(addr.is_ipv6()), octets(addr).as_ptr(), sw_if_index);
    }
}

/// Forget whom VPP has found out under an address that is the interface's own from
/// now on: as long as it knows somebody there, VPP answers nobody's ARP request for
/// it (`arp_dst_fib_check` in vnet/arp/arp.c). Whom a user has set stays.
pub fn forget_found(barrier: &Barrier<'_>, sw_if_index: u32, addr: IpAddr) {
    if all(barrier, sw_if_index).iter().any(|one| one.addr == addr && !one.is_static) {
        delete(barrier, sw_if_index, addr);
    }
}

/// The neighbours on an interface.
pub fn all(_main: &Main<'_>, sw_if_index: u32) -> Vec<Neighbor> {
    unsafe extern "C" fn visit(ctx: *mut c_void, is_ip6: i32, address: *const u8, mac: *const u8, is_static: i32) {
        // SAFETY: `ctx` is the vector below; the address has its family's size,
        // the MAC six bytes.
        unsafe {
            let out = &mut *ctx.cast::<Vec<Neighbor>>();
            let mac = MacAddr(mac.cast::<[u8; 6]>().read_unaligned());
            out.push(Neighbor { addr: ip(is_ip6 != 0, address), mac, is_static: is_static != 0 });
        }
    }
    let mut out: Vec<Neighbor> = Vec::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe { sys::hns_neighbors(sw_if_index, Some(visit), (&raw mut out).cast()) };
    out
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
