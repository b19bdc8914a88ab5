//! Our nodes on VPP's feature arcs.

use std::ffi::{CStr, c_char};

use vpp_sys as sys;

use super::{Barrier, Main};

/// A node on an arc.
#[derive(Debug)]
pub struct Feature {
    /// The arc.
    pub arc: &'static CStr,
    /// The node.
    pub node: &'static CStr,
    /// Nodes of the arc that come after ours.
    pub runs_before: &'static [&'static CStr],
}

/// At load only.
pub(super) fn register(feature: &Feature) {
    let mut before: Vec<*mut c_char> = feature.runs_before.iter().map(|name| name.as_ptr().cast_mut()).collect();
    before.push(std::ptr::null_mut());
    // VPP keeps the array as long as it lives.
    let before = Box::leak(before.into_boxed_slice());
    // SAFETY: at load on the main thread; all strings are static.
    unsafe {
        sys::hns_register_feature(
            feature.arc.as_ptr().cast_mut(),
            feature.node.as_ptr().cast_mut(),
            before.as_mut_ptr(),
        );
    }
}

/// Whether the feature is on at the interface.
pub fn is_enabled(_main: &Main<'_>, feature: &Feature, sw_if_index: u32) -> bool {
    // SAFETY: on the main thread; reads only.
    unsafe { sys::hns_feature_is_enabled(feature.arc.as_ptr(), feature.node.as_ptr(), sw_if_index) > 0 }
}

/// On or off. VPP counts, so that a second "on" runs the node twice: what is
/// as wanted is left alone.
pub fn set(barrier: &Barrier<'_>, feature: &Feature, sw_if_index: u32, on: bool) -> Result<(), String> {
    if is_enabled(barrier, feature, sw_if_index) == on {
        return Ok(());
    }
    // SAFETY: barrier held; both names are static.
    let rv =
        unsafe { sys::hns_feature_enable(feature.arc.as_ptr(), feature.node.as_ptr(), sw_if_index, i32::from(on)) };
    if rv == 0 {
        Ok(())
    } else {
        Err(format!(
            "VPP refused {} on arc {} (error {rv})",
            feature.node.to_string_lossy(),
            feature.arc.to_string_lossy()
        ))
    }
}
