//! VPP's drivers that take a card by its PCI address: virtio, which is part of
//! VPP, and vmxnet3, a plugin that hides its functions and installs no header,
//! so that its commands are the way in.
//!
//! The card must be with vfio-pci (or uio) already; none is bound here.

use std::ffi::{CStr, CString};

use vpp_sys as sys;

use super::Created;
use crate::vpp::cli::text_of;
use crate::vpp::{Barrier, Main, cli, interface};

pub(super) const CREATE_VMXNET3: &CStr = c"create interface vmxnet3";
const DELETE_VMXNET3: &CStr = c"delete interface vmxnet3";

/// A PCI address as VPP has it; `text` is as in sysfs, such as `0000:d8:0a.0`.
pub(super) fn address(_main: &Main<'_>, text: &str) -> Result<u32, String> {
    let wrong = || format!("'{text}' is not a PCI address; write it as 0000:d8:0a.0");
    let c_text = CString::new(text).map_err(|_| wrong())?;
    let mut address = 0;
    // SAFETY: on the main thread; VPP copies the text.
    let read = unsafe { sys::hns_pci_address(c_text.as_ptr(), &raw mut address) };
    if read != 0 { Ok(address) } else { Err(wrong()) }
}

/// Make an interface on a virtio-net card; VPP names it by its PCI address.
/// VPP sets the card's queues up: it needs the card's memory, not its netdev.
pub fn create_virtio(barrier: &Barrier<'_>, pci: &str) -> Result<Created, String> {
    let address = address(barrier, pci)?;
    let mut raw = sys::hns_created_t::default();
    // SAFETY: barrier held; the shim fills `raw`.
    unsafe { sys::hns_virtio_create(barrier.vm(), address, &raw mut raw) };
    let text = text_of(&raw.error);
    if raw.rv != 0 || !text.is_empty() {
        let reason = if text.is_empty() { format!("error {}", raw.rv) } else { text };
        return Err(format!("VPP's virtio driver refused {pci}: {reason}"));
    }
    created(barrier, raw.sw_if_index)
}

/// Delete what [`create_virtio`] made.
pub fn delete_virtio(barrier: &Barrier<'_>, sw_if_index: u32) -> Result<(), String> {
    // SAFETY: barrier held; the shim checks that it is one.
    let rv = unsafe { sys::hns_virtio_delete(barrier.vm(), sw_if_index) };
    if rv == 0 { Ok(()) } else { Err(format!("interface {sw_if_index} is not a virtio card's (error {rv})")) }
}

/// Make an interface on a vmxnet3 card.
pub fn create_vmxnet3(barrier: &Barrier<'_>, pci: &str) -> Result<Created, String> {
    address(barrier, pci)?;
    let said = cli::call(barrier, CREATE_VMXNET3, pci)
        .map_err(|reason| format!("VPP's vmxnet3 driver refused {pci}: {reason}"))?;
    let sw_if_index = interface::by_name(barrier, &said)
        .ok_or_else(|| format!("VPP's vmxnet3 driver made no interface on {pci}: it said '{said}'"))?;
    created(barrier, sw_if_index)
}

/// Delete what [`create_vmxnet3`] made.
pub fn delete_vmxnet3(barrier: &Barrier<'_>, sw_if_index: u32) -> Result<(), String> {
    cli::call(barrier, DELETE_VMXNET3, &format!("sw_if_index {sw_if_index}")).map(|_| ())
}

fn created(main: &Main<'_>, sw_if_index: u32) -> Result<Created, String> {
    let found = interface::get(main, sw_if_index).ok_or("the interface is gone again")?;
    Ok(Created { sw_if_index, name: found.name })
}
