//! VPP's interfaces on devices that were taken from Linux: made and deleted.
//!
//! Nothing of a plugin is linked: what is not loaded is told in words.

pub mod af_packet;
mod pci;
mod vfio;
pub mod vnet_dev;

use std::ffi::CStr;

use vpp_sys as sys;

pub use pci::{create_virtio, create_vmxnet3, delete_virtio, delete_vmxnet3};
pub use vfio::{Vfio, make_room_for_rings, no_rings};

use super::{Main, cli};

/// An interface that VPP made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// VPP's index of it.
    pub sw_if_index: u32,
    /// VPP's name of it.
    pub name: String,
}

/// What can take a device, in this VPP as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "facts, each read alone")]
pub struct Drivers {
    /// `create host-interface`.
    pub af_packet: bool,
    /// `create interface af_xdp`.
    pub af_xdp: bool,
    /// `create interface rdma`.
    pub rdma: bool,
    /// `create interface virtio`, part of VPP itself.
    pub virtio: bool,
    /// `create interface vmxnet3`.
    pub vmxnet3: bool,
    /// The dpdk plugin is loaded; whether it has the card is its stanza's say.
    pub dpdk: bool,
    /// Names of the drivers of `device attach`.
    pub vnet_dev: Vec<String>,
}

/// What VPP has loaded. After VPP's init: before, it knows no commands.
pub fn drivers(main: &Main<'_>) -> Drivers {
    Drivers {
        af_packet: cli::exists(main, af_packet::CREATE),
        af_xdp: cli::exists(main, c"create interface af_xdp"),
        rdma: cli::exists(main, c"create interface rdma"),
        virtio: cli::exists(main, c"create interface virtio"),
        vmxnet3: cli::exists(main, pci::CREATE_VMXNET3),
        dpdk: plugin_is_loaded(main, c"dpdk_plugin.so"),
        vnet_dev: vnet_dev::drivers(main),
    }
}

/// Whether VPP has loaded the plugin of that file name.
pub fn plugin_is_loaded(_main: &Main<'_>, file: &CStr) -> bool {
    // SAFETY: on the main thread; looks a symbol up.
    unsafe { sys::hns_plugin_is_loaded(file.as_ptr()) != 0 }
}
