//! `hostnet-hop-by-hop`: IPv6 packets for VPP itself that have a header of
//! hop-by-hop options.
//!
//! Queries and reports of multicast listeners (RFC 3810) have one. VPP drops
//! what has one and is for VPP, unless somebody has registered for the protocol
//! behind; it is the host's.

use super::shared::frame::{ip_to_host, tap_of};
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_HOST: u16 = 1;
const ERROR_NOT_UPLINK: u16 = 2;

pub(super) static NODE: Node = Node {
    name: c"hostnet-hop-by-hop",
    nexts: &[c"interface-output"],
    errors: &[
        c"IPv6 packets with hop-by-hop options, for the host",
        c"IPv6 packets with hop-by-hop options, not on an uplink",
    ],
    function: Some(entry::<HopByHop>),
    format_trace: Some(format_trace::<HopByHop>),
    input: false,
};

struct HopByHop;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    /// VPP's index of the tap that it goes to.
    tap: Option<u32>,
}

impl PacketNode for HopByHop {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        match tap_of(ctx, rx).filter(|tap| ip_to_host(packet, tap)) {
            Some(tap) => {
                ctx.count(ERROR_HOST, 1);
                (NEXT_OUTPUT, Trace { rx, tap: Some(tap.sw_if_index) })
            }
            None => (Next::Drop(ERROR_NOT_UPLINK), Trace { rx, tap: None }),
        }
    }

    fn format(trace: &Trace) -> String {
        match trace.tap {
            Some(tap) => format!("received by sw_if_index {}, for the host by sw_if_index {tap}", trace.rx),
            None => format!("received by sw_if_index {}, not for a host", trace.rx),
        }
    }
}
