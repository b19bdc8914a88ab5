//! Who gets the packets of protocols that VPP does not know, ARP, neighbour
//! solicitations, and fragments: tables of VPP's, each for all interfaces.

use std::ffi::CStr;

use vpp_sys as sys;

use super::node::Context;
use super::{Barrier, BarrierCell, Main};

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
    /// Gets IPv6 fragments to VPP's own addresses, where VPP would join them. Those
    /// of IPv4 are dropped, for a feature of `ip4-drop` to find.
    pub fragments: &'static CStr,
}

/// VPP joined IPv4 fragments to its own addresses until our nodes came.
static JOINED4: BarrierCell<bool> = BarrierCell::new(false);

const ARP_INPUT: &CStr = c"arp-input";
const SOLICITATION: &CStr = c"icmp6-neighbor-solicitation";
const FRAGMENTS6: &CStr = c"ip6-local-full-reassembly";

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
    let fragments = node(barrier, if on { handlers.fragments } else { FRAGMENTS6 })?;
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
        // Where the user has turned it off, VPP punts them, and it stays off.
        if sys::hns_joins(1) != 0 {
            sys::hns_fragments6_set(fragments);
        }
    }
    JOINED4.write(barrier, |joined| join4(joined, on));
    Ok(())
}

/// Let VPP join IPv4 fragments no longer, or again where it did.
fn join4(joined: &mut bool, on: bool) {
    // SAFETY: on the main thread, as the caller holds the barrier, and no node reads
    // what is changed.
    unsafe {
        if on && sys::hns_joins(0) != 0 {
            *joined = true;
            sys::hns_joins4_set(0);
        } else if !on && std::mem::take(joined) {
            sys::hns_joins4_set(1);
        }
    }
}

/// Whether VPP joined IPv4 fragments to its own addresses before our nodes came.
pub fn joined4(ctx: &Context<'_>) -> bool {
    *JOINED4.read(ctx)
}

/// Whether VPP has a use for a packet to an address of its own, by the protocol
/// inside and the bytes that it begins with; `None` where those would tell, and are not there.
pub fn takes(ctx: &Context<'_>, is_ip6: bool, protocol: u8, body: Option<&[u8]>) -> Option<bool> {
    let body = body.unwrap_or_default();
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    // SAFETY: the call's own vm; the shim reads that many bytes at most, and tables
    // that change under the barrier alone.
    match unsafe { sys::hns_takes(ctx.vm(), i32::from(is_ip6), protocol, body.as_ptr(), length) } {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
