//! VPP's af_xdp and rdma on a netdev that stays a netdev. Both are plugins that
//! hide their functions; their commands are the way in, each given the name
//! that the interface is to have.
//!
//! All of it with the main thread in the netdev's namespace: see
//! [`crate::vpp::namespace`].

use std::ffi::{CStr, CString};

use vpp_sys as sys;

use super::Created;
use crate::model::IfName;
use crate::vpp::{Barrier, Main, cli, interface};

/// What of a buffer af-xdp cannot fill with a frame: VPP's headroom and the
/// kernel's (`XDP_PACKET_HEADROOM`, 256 bytes; the buffer's own header stands
/// for VPP's and is beyond the data), a link-layer header with a VLAN tag.
const XDP_OVERHEAD: u32 = 256 + 18;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its name for people.
    what: &'static str,
    pub(super) create: &'static CStr,
    delete: &'static CStr,
    prefix: &'static str,
}

/// AF_XDP sockets, one for each of the netdev's receive queues. The XDP
/// program that leads packets to them outlives VPP.
pub const AF_XDP: Plugin =
    Plugin { what: "af_xdp", create: c"create interface af_xdp", delete: c"delete interface af_xdp", prefix: "xdp" };

/// Queues of the card beside those of its netdev.
pub const RDMA: Plugin =
    Plugin { what: "rdma", create: c"create interface rdma", delete: c"delete interface rdma", prefix: "rdma" };

/// The largest MTU whose frames fit into VPP's buffers by af-xdp, in bytes.
pub fn xdp_mtu(main: &Main<'_>) -> u32 {
    // SAFETY: on the main thread; reads only.
    unsafe { sys::hns_buffer_data_size(main.vm()) }.saturating_sub(XDP_OVERHEAD)
}

/// Make an interface by af_xdp on the netdev of that name, which is up, with
/// its MAC, and as many receive queues as it has: what came by another would
/// be the kernel's, and lost.
pub fn create_xdp(barrier: &Barrier<'_>, device: &IfName) -> Result<Created, String> {
    let name = CString::new(device.as_str()).map_err(|_| format!("'{device}' has a NUL byte"))?;
    // SAFETY: the name ends with a NUL and is read only.
    let queues = unsafe { sys::hns_netdev_rx_queues(name.as_ptr()) };
    create(barrier, AF_XDP, device, &format!("host-if {device} num-rx-queues {queues} mac-reuse"))
}

/// Make an interface by rdma on the RDMA device `rdma` of the card `pci`, named
/// after the netdev.
///
/// VPP looks for the card in `/sys/class/net/<netdev>/device`, which has the
/// devices of the namespace that it was mounted in, not those of the one that
/// the main thread is in. From there the card's own folder can be reached.
pub fn create_rdma(barrier: &Barrier<'_>, device: &IfName, pci: &str, rdma: &str) -> Result<Created, String> {
    create(barrier, RDMA, device, &format!("host-if {}", rdma_path(pci, rdma)))
}

fn rdma_path(pci: &str, rdma: &str) -> String {
    format!("../../bus/pci/devices/{pci}/infiniband/{rdma}")
}

fn create(barrier: &Barrier<'_>, plugin: Plugin, device: &IfName, words: &str) -> Result<Created, String> {
    // No command of VPP's could name one with a dot.
    let name = format!("{}-{device}", plugin.prefix).replace('.', "-");
    if interface::by_name(barrier, &name).is_some() {
        return Err(format!(
            "VPP has an interface {name} already: '{} {name}' removes it",
            plugin.delete.to_string_lossy()
        ));
    }
    let refused = |reason: String| format!("VPP's {} refused {device}: {reason}", plugin.what);
    let said = cli::call(barrier, plugin.create, &format!("{words} name {name}")).map_err(refused)?;
    match interface::by_name(barrier, &name) {
        Some(sw_if_index) => Ok(Created { sw_if_index, name }),
        None => Err(refused(format!("it said '{said}'; 'show logging' may tell why"))),
    }
}

/// Delete what was made here.
pub fn delete(barrier: &Barrier<'_>, plugin: Plugin, sw_if_index: u32) -> Result<(), String> {
    let Some(found) = interface::get(barrier, sw_if_index) else { return Ok(()) };
    // SAFETY: barrier held, so on the main thread; the interface is there.
    unsafe { sys::hns_files_stay_open(sw_if_index) };
    cli::call(barrier, plugin.delete, &format!("sw_if_index {sw_if_index}"))?;
    match interface::get(barrier, sw_if_index) {
        None => Ok(()),
        Some(_) => Err(format!("VPP did not delete {}; 'show logging' may tell why", found.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_is_reached_from_the_place_where_vpp_looks_for_netdevs() {
        let path = format!("/sys/class/net/{}/device", rdma_path("0000:d8:00.0", "mlx5_0"));
        let mut plain: Vec<&str> = Vec::new();
        for part in path.split('/').skip(1) {
            match part {
                ".." => plain.truncate(plain.len().saturating_sub(1)),
                _ => plain.push(part),
            }
        }
        assert_eq!(plain.join("/"), "sys/bus/pci/devices/0000:d8:00.0/infiniband/mlx5_0/device");
    }
}
