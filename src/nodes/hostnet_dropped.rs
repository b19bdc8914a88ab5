//! `hostnet-dropped`: frames of the link in which VPP finds a fault.
//!
//! A card delivers what is sent to it, whatever is inside, and the host's kernel
//! decides: what has a wrong checksum, length or version, comes from where no
//! route leads to or from the host's own address, or has the tag of a VLAN that
//! nobody has made. So with frames of SNAP (Cisco's discovery and spanning tree)
//! and, where VPP does not do MPLS on the uplink, of MPLS. The node stands where VPP
//! drops whatever it drops; what other nodes drop, a policy for one, stays dropped.
//!
//! VPP starts that arc once a frame of packets, for the last packet's interface,
//! so that none knows its next feature: what stays dropped ends it here.

use super::hostnet_arp_input::is_vpps;
use super::shared::frame::{ARP, ethertype, is_as_it_came, is_to_group, tap_of, to_host};
use super::shared::taps::Tap;
use crate::vpp::node::{Context, Fault, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_DROP: Next = Next::To(0);
const NEXT_OUTPUT: Next = Next::To(1);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_FAULTY: u16 = 1;
const ERROR_UNUSED: u16 = 2;

pub(super) static NODE: Node = Node {
    name: c"hostnet-dropped",
    nexts: &[c"drop", c"interface-output"],
    errors: &[
        c"packets of the link that VPP finds a fault in, for the host",
        c"frames of VLANs and protocols that VPP has no use for, for the host",
    ],
    function: Some(entry::<Dropped>),
    format_trace: Some(format_trace::<Dropped>),
    input: false,
};

struct Dropped;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    fault: Option<Fault>,
    /// VPP's index of the tap that it goes to.
    tap: Option<u32>,
}

/// A card takes it: it is to its MAC, or to several.
fn is_for_us(packet: &Packet<'_>, fault: Fault) -> bool {
    let is_addressed = packet.frame().is_some_and(is_to_group) || packet.is_to_own_mac();
    // What it has no use for is in the frame's own head. ARP of others is copied
    // before VPP reads it.
    is_addressed && (fault == Fault::Unused || is_as_it_came(packet))
}

fn taken<'n>(ctx: &'n Context<'_>, packet: &mut Packet<'_>, fault: Fault) -> Option<&'n Tap> {
    let tap = tap_of(ctx, packet.rx()).filter(|_| is_for_us(packet, fault))?;
    let has_it = |frame: &[u8]| match ethertype(frame) {
        Some((ARP, at)) => !frame.get(at..).is_some_and(|arp| is_vpps(arp, &tap.own)),
        _ => false,
    };
    if packet.frame().is_some_and(has_it) {
        return None;
    }
    to_host(packet, tap).then_some(tap)
}

impl PacketNode for Dropped {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        let fault = packet.fault();
        let tap = fault.and_then(|fault| taken(ctx, packet, fault)).map(|tap| tap.sw_if_index);
        let next = match (tap, fault) {
            (Some(_), Some(fault)) => {
                ctx.count(if fault == Fault::Unused { ERROR_UNUSED } else { ERROR_FAULTY }, 1);
                NEXT_OUTPUT
            }
            _ => NEXT_DROP,
        };
        (next, Trace { rx, fault, tap })
    }

    fn format(trace: &Trace) -> String {
        let Trace { rx, fault, tap } = trace;
        match (fault, tap) {
            (Some(fault), Some(tap)) => {
                format!("received by sw_if_index {rx}, fault: {fault:?}, for the host by sw_if_index {tap}")
            }
            (Some(fault), None) => format!("received by sw_if_index {rx}, fault: {fault:?}, not for the host"),
            (None, _) => format!("received by sw_if_index {rx}, dropped"),
        }
    }
}
