//! Punt redirects, and the punt of TCP and UDP that VPP has no listener for.

use std::net::IpAddr;

use vpp_sys as sys;

use super::{Barrier, Main};

/// Whether packets received on `rx` ([`super::NO_INTERFACE`]: the default) are
/// redirected already.
pub fn redirect_exists(_main: &Main<'_>, is_ip6: bool, rx: u32) -> bool {
    // SAFETY: on the main thread; reads only.
    unsafe { sys::hns_punt_redirect_find(i32::from(is_ip6), rx) != 0 }
}

/// Redirect what is punted from `rx` to `next_hop` on `tx`. VPP's call leaks
/// when repeated, so there must be none yet.
pub fn add_redirect(barrier: &Barrier<'_>, rx: u32, tx: u32, next_hop: IpAddr) -> Result<(), String> {
    let is_ip6 = next_hop.is_ipv6();
    if redirect_exists(barrier, is_ip6, rx) {
        return Err("a punt redirect of another is there meanwhile".to_owned());
    }
    let bytes = octets(next_hop);
    // SAFETY: barrier held; the shim reads 4 or 16 bytes by the family.
    unsafe { sys::hns_punt_redirect_add(i32::from(is_ip6), rx, tx, bytes.as_ptr()) };
    Ok(())
}

/// Take [`add_redirect`] back. VPP's counter underflows when there is none, so
/// that is looked for first.
pub fn delete_redirect(barrier: &Barrier<'_>, is_ip6: bool, rx: u32) {
    if redirect_exists(barrier, is_ip6, rx) {
        // SAFETY: barrier held; the entry exists.
        unsafe { sys::hns_punt_redirect_del(i32::from(is_ip6), rx) };
    }
}

/// Which unknown ports are punted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown(u32);

impl Unknown {
    /// TCP and UDP of both families.
    pub const ALL: Self = Self(0b1111);

    /// What VPP does now.
    pub fn get(_main: &Main<'_>) -> Self {
        // SAFETY: on the main thread; reads only.
        Self(unsafe { sys::hns_punt_unknown_get() })
    }

    /// Do this from now on.
    pub fn set(self, barrier: &Barrier<'_>) {
        // SAFETY: barrier held.
        unsafe { sys::hns_punt_unknown_set(barrier.vm(), self.0) };
    }
}

/// The address as bytes on the wire; IPv4 in the first four.
pub(super) fn octets(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V6(addr) => addr.octets(),
        IpAddr::V4(addr) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&addr.octets());
            bytes
        }
    }
}
