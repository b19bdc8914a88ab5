//! Who gets the packets of protocols that VPP does not know, ARP, and neighbour
//! solicitations: tables of VPP's, each for all interfaces.

use std::ffi::CStr;

use vpp_sys as sys;

use super::{Barrier, Main};

/// The nodes that stand in VPP's tables while they are on.
#[derive(Clone, Copy, Debug)]
pub struct Handlers {
    /// Gets ARP before `arp-input`.
    pub arp: &'static CStr,
    /// Gets IPv6 neighbour solicitations before VPP's own node.
    pub solicitation: &'static CStr,
    /// Gets the frames of ethertypes and LLC protocols that nobody has
    /// registered.
    pub unknown: &'static CStr,
    /// Gets IPv6 packets for VPP with a header of hop-by-hop options, where
    /// nobody has registered for the protocol behind.
    pub hop_by_hop: &'static CStr,
}

const ARP_INPUT: &CStr = c"arp-input";
const SOLICITATION: &CStr = c"icmp6-neighbor-solicitation";

fn node(main: &Main<'_>, name: &'static CStr) -> Result<u32, String> {
    // SAFETY: on the main thread; VPP reads the name.
    let index = unsafe { sys::hns_node_by_name(main.vm(), name.as_ptr()) };
    if index == u32::MAX { Err(format!("VPP has no node {}", name.to_string_lossy())) } else { Ok(index) }
}

/// Whether ARP goes to the handler: the one of them that can be another's.
pub fn are_on(main: &Main<'_>, handlers: Handlers) -> Result<bool, String> {
    let ours = node(main, handlers.arp)?;
    // SAFETY: on the main thread; reads only.
    Ok(unsafe { sys::hns_arp_handler() } == ours)
}

/// Put the nodes into VPP's tables, where nobody else is, or take them out. What
/// is as wanted is left alone.
pub fn set(barrier: &Barrier<'_>, handlers: Handlers, on: bool) -> Result<(), String> {
    let (ours, vpps) = (node(barrier, handlers.arp)?, node(barrier, ARP_INPUT)?);
    let solicitation = node(barrier, if on { handlers.solicitation } else { SOLICITATION })?;
    let (unknown, hop_by_hop) = (node(barrier, handlers.unknown)?, node(barrier, handlers.hop_by_hop)?);
    let (from, to) = if on { (vpps, ours) } else { (ours, vpps) };
    let vm = barrier.vm();
    // SAFETY: barrier held, so no node reads the tables; every index is a
    // node's. The shims change entries of nobody's to ours and back alone.
    unsafe {
        let found = sys::hns_arp_handler();
        if found == from {
            sys::hns_arp_handler_set(vm, to);
        } else if on && found != to {
            return Err("another plugin of VPP's has taken ARP for itself".to_owned());
        }
        sys::hns_solicitation_handler_set(vm, solicitation);
        sys::hns_ethertypes_set(vm, unknown, i32::from(on));
        sys::hns_llc_set(vm, unknown, i32::from(on));
        sys::hns_hop_by_hop_set(vm, hop_by_hop, i32::from(on));
    }
    Ok(())
}
