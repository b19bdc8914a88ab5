//! VPP's tap plugin and linux-cp. Neither needs to be loaded: both are looked
//! for when they are needed.

use std::ffi::CString;

use vpp_sys as sys;

use super::cli::text_of;
use super::{Barrier, Main};
use crate::model::{IfName, MacAddr};

/// Whether the tap plugin is loaded.
pub fn is_loaded(_main: &Main<'_>) -> bool {
    // SAFETY: on the main thread; looks a symbol up.
    unsafe { sys::hns_tap_plugin_is_loaded() != 0 }
}

/// Whether linux-cp has a pair on the interface.
pub fn linux_cp_has_pair(_main: &Main<'_>, sw_if_index: u32) -> bool {
    // SAFETY: on the main thread; reads linux-cp's table through its own
    // function.
    unsafe { sys::hns_lcp_pair_exists(sw_if_index) != 0 }
}

/// What a tap is to be.
#[derive(Debug)]
pub struct Create<'a> {
    /// Path of the namespace that the host's device is made in.
    pub namespace: &'a str,
    /// Name of the host's device.
    pub host_if: &'a IfName,
    /// MAC of the host's device.
    pub host_mac: MacAddr,
    /// MAC of VPP's side.
    pub mac: MacAddr,
    /// MTU of the host's device, in bytes.
    pub host_mtu: u32,
    /// The host's device outlives VPP (`TUNSETPERSIST`): whoever made it has
    /// to delete it.
    pub persist: bool,
}

/// Make a tap over vhost-net; VPP's index of it. VPP's main thread changes
/// into the namespace and back inside (plugins/tap/tap.c).
pub fn create(barrier: &Barrier<'_>, args: &Create<'_>) -> Result<u32, String> {
    let c_string = |text: &str| CString::new(text).map_err(|_| format!("'{text}' has a NUL byte"));
    let namespace = c_string(args.namespace)?;
    let host_if = c_string(args.host_if.as_str())?;
    let mut raw = sys::hns_tap_create_t {
        host_namespace: namespace.as_ptr().cast_mut().cast(),
        host_if_name: host_if.as_ptr().cast_mut().cast(),
        host_mac: args.host_mac.0,
        mac: args.mac.0,
        host_mtu: args.host_mtu,
        persist: u8::from(args.persist),
        ..Default::default()
    };
    // SAFETY: barrier held; the shim copies both strings, which live here.
    let rv = unsafe { sys::hns_tap_create(barrier.vm(), &raw mut raw) };
    if rv == 0 {
        return Ok(raw.sw_if_index);
    }
    let text = text_of(&raw.error);
    Err(if text.is_empty() { format!("VPP's tap plugin refused (error {rv})") } else { text })
}

/// Delete a tap made by [`create`].
pub fn delete(barrier: &Barrier<'_>, sw_if_index: u32) -> Result<(), String> {
    // SAFETY: barrier held; the plugin checks that it is a tap.
    let rv = unsafe { sys::hns_tap_delete(barrier.vm(), sw_if_index) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP's tap plugin refused (error {rv})")) }
}

/// Give the host's device of such a tap carrier, or take it.
pub fn set_carrier(_barrier: &Barrier<'_>, sw_if_index: u32, up: bool) -> Result<(), String> {
    // SAFETY: barrier held; the interface is a tap of the plugin's.
    let rv = unsafe { sys::hns_tap_set_carrier(sw_if_index, i32::from(up)) };
    if rv == 0 { Ok(()) } else { Err(format!("VPP's tap plugin refused the carrier (error {rv})")) }
}
