//! Interfaces: facts, state, MTU, tables, the unnumbered tie, IPv6.

use std::ffi::{CString, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vpp_sys as sys;

use super::cli::text_of;
use super::punt::octets;
use super::{Barrier, Main, neighbor};
use crate::model::{IfAddress, MacAddr};

/// What VPP says of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "facts, each read alone")]
pub struct Interface {
    /// VPP's index.
    pub sw_if_index: u32,
    /// Index of the interface that this is a sub-interface of; else its own.
    pub sup_sw_if_index: u32,
    /// VPP's name.
    pub name: String,
    /// Name of the device class, such as `af-packet` or `tap`.
    pub device_class: String,
    /// The MAC; zero where it has none.
    pub mac: MacAddr,
    /// Layer-3 MTU, in bytes.
    pub mtu: u32,
    /// FIB table ids of IPv4 and IPv6.
    pub tables: (u32, u32),
    /// Hardware or a VLAN sub-interface of Ethernet.
    pub ethernet: bool,
    /// Administratively up.
    pub admin_up: bool,
    /// Borrows another's address.
    pub unnumbered: bool,
    /// In a bridge domain or a cross-connect.
    pub l2: bool,
    /// The link of its hardware is up.
    pub link_up: bool,
    /// The link's speed in kbit/s; 0 where VPP does not know it.
    pub link_kbps: u32,
}

/// The interface of that index, if there is one.
pub fn get(_main: &Main<'_>, sw_if_index: u32) -> Option<Interface> {
    let mut raw = sys::hns_interface_t::default();
    // SAFETY: on the main thread; the shim checks the index and fills `raw`.
    if unsafe { sys::hns_interface(sw_if_index, &raw mut raw) } == 0 {
        return None;
    }
    Some(Interface {
        sw_if_index,
        sup_sw_if_index: raw.sup_sw_if_index,
        name: text_of(&raw.name),
        device_class: text_of(&raw.dev_class),
        mac: MacAddr(raw.mac),
        mtu: raw.mtu,
        tables: (raw.table4, raw.table6),
        ethernet: raw.is_ethernet != 0,
        admin_up: raw.is_admin_up != 0,
        unnumbered: raw.is_unnumbered != 0,
        l2: raw.is_l2 != 0,
        link_up: raw.is_link_up != 0,
        link_kbps: raw.link_kbps,
    })
}

/// The index of the interface with exactly that name.
pub fn by_name(_main: &Main<'_>, name: &str) -> Option<u32> {
    // SAFETY: on the main thread; VPP copies the text.
    let index = unsafe { sys::hns_interface_by_name(name.as_ptr(), name.len() as u64) };
    (index != super::NO_INTERFACE).then_some(index)
}

/// Give the interface another name. The old one is free from then on.
pub fn rename(_barrier: &Barrier<'_>, sw_if_index: u32, name: &str) -> Result<(), String> {
    let name = CString::new(name).map_err(|_| format!("'{name}' cannot be a name"))?;
    // SAFETY: barrier held; the interface was made just before; VPP copies the
    // text, and at most `room` bytes of an error's are written.
    reason(|text, room| unsafe { sys::hns_interface_rename(sw_if_index, name.as_ptr(), text, room) })
}

/// Packets received and sent, all threads together.
pub fn counters(_main: &Main<'_>, sw_if_index: u32) -> (u64, u64) {
    let (mut rx, mut tx) = (0, 0);
    // SAFETY: on the main thread; VPP's counters are grown when an interface
    // is made, so the index of a living interface is inside.
    unsafe { sys::hns_interface_counters(sw_if_index, &raw mut rx, &raw mut tx) };
    (rx, tx)
}

/// The interface's own addresses, not those it borrows.
pub fn addresses(_main: &Main<'_>, sw_if_index: u32) -> Vec<IfAddress> {
    unsafe extern "C" fn visit(ctx: *mut c_void, is_ip6: i32, address: *const u8, len: u8) {
        // SAFETY: `ctx` is the vector below; `address` has the family's size.
        let (out, addr) = unsafe { (&mut *ctx.cast::<Vec<IfAddress>>(), ip(is_ip6 != 0, address)) };
        out.extend(IfAddress::new(addr, len));
    }
    let mut out: Vec<IfAddress> = Vec::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe { sys::hns_addresses(sw_if_index, Some(visit), (&raw mut out).cast()) };
    out
}

/// # Safety
/// `bytes` points to 4 bytes, or 16 for IPv6.
pub(super) unsafe fn ip(is_ip6: bool, bytes: *const u8) -> IpAddr {
    // SAFETY: the caller's promise; read without regard to alignment.
    unsafe {
        if is_ip6 {
            IpAddr::V6(Ipv6Addr::from(bytes.cast::<[u8; 16]>().read_unaligned()))
        } else {
            IpAddr::V4(Ipv4Addr::from(bytes.cast::<[u8; 4]>().read_unaligned()))
        }
    }
}

/// Up or down; VPP's reason when it refuses.
pub fn set_admin_up(_barrier: &Barrier<'_>, sw_if_index: u32, up: bool) -> Result<(), String> {
    let mut text = [0_u8; 256];
    // SAFETY: barrier held; at most 256 bytes of text are written.
    let n = unsafe { sys::hns_interface_set_admin(sw_if_index, i32::from(up), text.as_mut_ptr(), text.len() as u64) };
    match usize::try_from(n) {
        Ok(n) if n > 0 => Err(String::from_utf8_lossy(&text[..n.min(text.len())]).into_owned()),
        _ => Ok(()),
    }
}

/// The layer-3 MTU, in bytes.
pub fn set_mtu(_barrier: &Barrier<'_>, sw_if_index: u32, mtu: u32) {
    // SAFETY: barrier held; the interface was looked up under it.
    unsafe { sys::hns_interface_set_mtu(sw_if_index, mtu) };
}

/// What the hardware may send and take, in bytes of the IP packet; VPP sets the
/// layer-3 MTU to the same. A driver that cannot change it gives its reason. An
/// af-packet interface sets its netdev's MTU: see [`super::namespace`].
pub fn set_hw_mtu(_barrier: &Barrier<'_>, sw_if_index: u32, mtu: u32) -> Result<(), String> {
    // SAFETY: barrier held; the interface was looked up under it; at most `room`
    // bytes of text are written.
    reason(|text, room| unsafe { sys::hns_interface_set_hw_mtu(sw_if_index, mtu, text, room) })
}

/// The MAC. An af-packet interface sets its netdev's: see [`super::namespace`].
pub fn set_mac(_barrier: &Barrier<'_>, sw_if_index: u32, mac: MacAddr) -> Result<(), String> {
    // SAFETY: as in `set_hw_mtu`; VPP reads six bytes.
    reason(|text, room| unsafe { sys::hns_interface_set_mac(sw_if_index, mac.0.as_ptr(), text, room) })
}

/// Whether frames for this MAC are the interface's, by its own or another of its MACs.
pub fn has_mac(_main: &Main<'_>, sw_if_index: u32, mac: MacAddr) -> bool {
    // SAFETY: on the main thread; the interface was looked up on it; VPP reads six
    // bytes.
    unsafe { sys::hns_interface_has_mac(sw_if_index, mac.0.as_ptr()) != 0 }
}

/// Take frames for this MAC beside the interface's own, or no longer. With the
/// driver's reason where its filter does not follow: VPP does all the same.
pub fn set_second_mac(_barrier: &Barrier<'_>, sw_if_index: u32, mac: MacAddr, on: bool) -> Result<(), String> {
    // SAFETY: as in `set_mac`.
    reason(|text, room| unsafe {
        sys::hns_interface_second_mac(sw_if_index, mac.0.as_ptr(), i32::from(on), text, room)
    })
}

/// Take frames for any MAC, or only for the interface's own.
pub fn set_promiscuous(_barrier: &Barrier<'_>, sw_if_index: u32, on: bool) -> Result<(), String> {
    // SAFETY: barrier held; the interface was looked up under it.
    let set = unsafe { sys::hns_interface_set_promiscuous(sw_if_index, i32::from(on)) };
    if set != 0 { Ok(()) } else { Err("the interface is not Ethernet".to_owned()) }
}

/// Whether frames for any MAC are taken.
pub fn is_promiscuous(_main: &Main<'_>, sw_if_index: u32) -> bool {
    // SAFETY: on the main thread; reads only.
    unsafe { sys::hns_interface_is_promiscuous(sw_if_index) != 0 }
}

/// Every interface's index.
pub fn all(_main: &Main<'_>) -> Vec<u32> {
    unsafe extern "C" fn visit(ctx: *mut c_void, sw_if_index: u32) {
        // SAFETY: `ctx` is the vector below.
        unsafe { &mut *ctx.cast::<Vec<u32>>() }.push(sw_if_index);
    }
    let mut out: Vec<u32> = Vec::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe { sys::hns_interfaces(Some(visit), (&raw mut out).cast()) };
    out
}

/// Give the interface an address; VPP's reason when it refuses. IPv6 link-local
/// ones are [`set_link_local`]'s. Another machine that had it is forgotten.
pub fn add_address(barrier: &Barrier<'_>, sw_if_index: u32, address: IfAddress) -> Result<(), String> {
    change_address(barrier, sw_if_index, address, false)?;
    neighbor::forget_found(barrier, sw_if_index, address.addr());
    Ok(())
}

/// Take [`add_address`] back.
pub fn delete_address(barrier: &Barrier<'_>, sw_if_index: u32, address: IfAddress) -> Result<(), String> {
    change_address(barrier, sw_if_index, address, true)
}

fn change_address(barrier: &Barrier<'_>, sw_if_index: u32, address: IfAddress, delete: bool) -> Result<(), String> {
    let bytes = octets(address.addr());
    let is_ip6 = i32::from(address.addr().is_ipv6());
    // SAFETY: barrier held; the shim reads 4 or 16 bytes by the family and
    // writes at most `room` bytes of text.
    reason(|text, room| unsafe {
        let delete = i32::from(delete);
        sys::hns_address(barrier.vm(), sw_if_index, is_ip6, bytes.as_ptr(), address.prefix_len(), delete, text, room)
    })
}

/// Make this the interface's IPv6 link-local address. Where IPv6 is off, VPP
/// turns it on for this, and [`disable_ip6`] is to be called for it once.
pub fn set_link_local(_barrier: &Barrier<'_>, sw_if_index: u32, address: Ipv6Addr) -> Result<(), String> {
    let bytes = address.octets();
    // SAFETY: barrier held; the shim reads 16 bytes.
    let rv = unsafe { sys::hns_ip6_set_link_local(sw_if_index, bytes.as_ptr()) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP refused the link-local address {address} (error {rv})")) }
}

/// VPP's reason, of a shim that gives the length of the text that it wrote.
fn reason(call: impl FnOnce(*mut u8, u64) -> u64) -> Result<(), String> {
    let mut text = [0_u8; 256];
    let written = call(text.as_mut_ptr(), text.len() as u64);
    match usize::try_from(written) {
        Ok(n) if n > 0 => Err(String::from_utf8_lossy(&text[..n.min(text.len())]).into_owned()),
        _ => Ok(()),
    }
}

/// Take frames for any MAC. The interface must be Ethernet.
pub fn accept_all_macs(_barrier: &Barrier<'_>, sw_if_index: u32) -> Result<(), String> {
    // SAFETY: barrier held; the interface was made just before.
    let taken = unsafe { sys::hns_interface_accept_all(sw_if_index) };
    if taken != 0 { Ok(()) } else { Err("VPP refused to take frames for every MAC".to_owned()) }
}

/// Bind the interface to the tables of both families.
pub fn bind_tables(_barrier: &Barrier<'_>, sw_if_index: u32, (ip4, ip6): (u32, u32)) -> Result<(), String> {
    // SAFETY: barrier held; VPP checks the table and the interface's state.
    let rv = unsafe { [sys::hns_bind_table(sw_if_index, 0, ip4), sys::hns_bind_table(sw_if_index, 1, ip6)] };
    if rv == [0, 0] { Ok(()) } else { Err(format!("VPP refused the tables: ip4 {}, ip6 {}", rv[0], rv[1])) }
}

/// Borrow the addresses of `lender`, or stop it.
pub fn set_unnumbered(_barrier: &Barrier<'_>, sw_if_index: u32, lender: u32, enable: bool) -> Result<(), String> {
    // SAFETY: barrier held; the shim sizes the vectors that vnet writes
    // unchecked.
    let rv = unsafe { sys::hns_interface_unnumbered(sw_if_index, lender, i32::from(enable)) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP refused unnumbered (error {rv})")) }
}

/// Let an unnumbered interface follow its lender's addresses: VPP has copied
/// once where they begin, and leaves that when they change
/// (vnet_sw_interface_update_unnumbered, interface.c:1687). VPP changes
/// addresses under the barrier, which is held where this is called.
pub(super) fn borrow_again(_main: &Main<'_>, sw_if_index: u32, lender: u32) {
    // SAFETY: on the main thread while VPP changes addresses, or with the
    // barrier; the shim checks both indices.
    unsafe { sys::hns_interface_borrow(sw_if_index, lender) };
}

/// VPP's IPv6 on the link: link-local address, neighbour discovery.
pub fn enable_ip6(_barrier: &Barrier<'_>, sw_if_index: u32) -> Result<(), String> {
    // SAFETY: barrier held.
    let rv = unsafe { sys::hns_ip6_enable(sw_if_index) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP refused IPv6 (error {rv})")) }
}

/// Take [`enable_ip6`] back.
pub fn disable_ip6(_barrier: &Barrier<'_>, sw_if_index: u32) {
    // SAFETY: barrier held. The one error, "not enabled", is what is wanted.
    unsafe { sys::hns_ip6_disable(sw_if_index) };
}

/// The IPv6 link-local address, where IPv6 is on.
pub fn link_local(_main: &Main<'_>, sw_if_index: u32) -> Option<Ipv6Addr> {
    let mut bytes = [0_u8; 16];
    // SAFETY: on the main thread; 16 bytes are written.
    let found = unsafe { sys::hns_ip6_link_local(sw_if_index, bytes.as_mut_ptr()) };
    (found != 0).then(|| Ipv6Addr::from(bytes))
}

/// Send no router advertisements on the interface.
pub fn suppress_router_advertisements(barrier: &Barrier<'_>, sw_if_index: u32) -> Result<(), String> {
    // SAFETY: barrier held.
    let rv = unsafe { sys::hns_ra_suppress(barrier.vm(), sw_if_index) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP refused ra-suppress (error {rv})")) }
}

/// Whether VPP sends router advertisements on the interface.
pub fn sends_router_advertisements(_main: &Main<'_>, sw_if_index: u32) -> bool {
    // SAFETY: on the main thread; reads only.
    unsafe { sys::hns_ra_is_sent(sw_if_index) != 0 }
}

/// The index of the interface's FIB, as proxy ARP names it.
pub fn fib_index(_main: &Main<'_>, sw_if_index: u32, is_ip6: bool) -> u32 {
    // SAFETY: on the main thread; reads only.
    unsafe { sys::hns_fib_index(sw_if_index, i32::from(is_ip6)) }
}
