//! VLAN sub-interfaces with one tag, that can have IP.

use vpp_sys as sys;

use super::{Barrier, Main};
use crate::model::VlanTag;

/// What an interface has of a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    None,
    /// This one.
    Exact(u32),
    /// This one, which takes frames with further tags too (`exact-match` was
    /// left out): it can have no IP.
    Other(u32),
}

/// The sub-interface of that VLAN.
pub fn find(_main: &Main<'_>, sup_sw_if_index: u32, tag: VlanTag) -> Found {
    let mut sw_if_index = 0;
    // SAFETY: on the main thread; reads VPP's interfaces, writes one number.
    let found = unsafe { sys::hns_sub_find(sup_sw_if_index, tag.id, i32::from(tag.is_ad), &raw mut sw_if_index) };
    match u32::try_from(found) {
        Ok(sys::HNS_SUB_EXACT) => Found::Exact(sw_if_index),
        Ok(sys::HNS_SUB_OTHER) => Found::Other(sw_if_index),
        _ => Found::None,
    }
}

/// Make one. The interface must be there; of sub-interfaces there are none.
pub fn create(_barrier: &Barrier<'_>, sup_sw_if_index: u32, tag: VlanTag) -> Result<u32, String> {
    let mut sw_if_index = 0;
    // SAFETY: barrier held; the caller has looked the interface up under it.
    let rv = unsafe { sys::hns_sub_create(sup_sw_if_index, tag.id, i32::from(tag.is_ad), &raw mut sw_if_index) };
    if rv == 0 { Ok(sw_if_index) } else { Err(format!("VPP refused a sub-interface of {tag} (error {rv})")) }
}

/// Delete one.
pub fn delete(_barrier: &Barrier<'_>, sw_if_index: u32) -> Result<(), String> {
    // SAFETY: barrier held; VPP checks the index.
    let rv = unsafe { sys::hns_sub_delete(sw_if_index) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP refused to delete a sub-interface (error {rv})")) }
}
