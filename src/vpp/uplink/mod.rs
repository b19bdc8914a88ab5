//! VPP's interfaces on devices that were taken from Linux: made and deleted.
//!
//! Nothing of a plugin is linked: what is not loaded is told in words.

pub mod af_packet;
pub mod device;
pub mod netdev;
mod pci;
mod vfio;

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
#[allow(clippy::struct_excessive_bools, reason = "each is there or not, by itself")]
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
    /// Any driver of `device attach`.
    pub device: bool,
}

/// What VPP has loaded. After VPP's init: before, it knows no commands.
pub fn drivers(main: &Main<'_>) -> Drivers {
    Drivers {
        af_packet: cli::exists(main, af_packet::CREATE),
        af_xdp: cli::exists(main, netdev::AF_XDP.create),
        rdma: cli::exists(main, netdev::RDMA.create),
        virtio: cli::exists(main, c"create interface virtio"),
        vmxnet3: cli::exists(main, pci::CREATE_VMXNET3),
        device: device::any(main),
    }
}
