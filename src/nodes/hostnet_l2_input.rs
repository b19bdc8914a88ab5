//! `hostnet-l2-input`: frames of protocols that VPP does not know.
//!
//! LLDP, 802.1X, spanning tree, IS-IS and whatever else comes by an uplink is
//! the host's. VPP has one entry for all ethertypes that nobody has registered,
//! and the node stands there while there is a tap; what came by other interfaces
//! goes the way that it went without us. A protocol that VPP or one of its
//! plugins has registered, LACP for one, stays theirs.

use super::shared::frame::{FIRST_ETHERTYPE, ethertype, tap_of, to_host};
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
const NEXT_PUNT: Next = Next::To(2);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_HOST: u16 = 1;
const ERROR_UNKNOWN: u16 = 2;

pub(super) static NODE: Node = Node {
    name: c"hostnet-l2-input",
    nexts: &[c"interface-output", c"error-punt"],
    errors: &[c"frames of other protocols, for the host", c"frames of unknown protocols, not on an uplink"],
    function: Some(entry::<L2Input>),
    format_trace: Some(format_trace::<L2Input>),
    input: false,
};

struct L2Input;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    ethertype: u16,
    /// VPP's index of the tap that it goes to.
    tap: Option<u32>,
}

impl PacketNode for L2Input {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        let ethertype = packet.frame().and_then(ethertype).map_or(0, |(ethertype, _)| ethertype);
        let tap = tap_of(ctx, rx).filter(|tap| to_host(packet, tap)).map(|tap| tap.sw_if_index);
        let next = if tap.is_some() {
            ctx.count(ERROR_HOST, 1);
            NEXT_OUTPUT
        } else if ethertype < FIRST_ETHERTYPE {
            // As llc-input does.
            Next::Drop(ERROR_UNKNOWN)
        } else {
            // As ethernet-input does.
            packet.set_error(ERROR_UNKNOWN);
            NEXT_PUNT
        };
        (next, Trace { rx, ethertype, tap })
    }

    fn format(trace: &Trace) -> String {
        let Trace { rx, ethertype, tap } = trace;
        match tap {
            Some(tap) => {
                format!("received by sw_if_index {rx}, ethertype 0x{ethertype:04x}: to the host by sw_if_index {tap}")
            }
            None => format!("received by sw_if_index {rx}, ethertype 0x{ethertype:04x}: not on an uplink"),
        }
    }
}
