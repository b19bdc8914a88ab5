//! `hostnet-to-host`: what VPP would drop, though the host wants it.
//!
//! VPP has no use for broadcasts, most groups of the link, router
//! advertisements once it has read them, and answers of DHCP to an address that
//! the host is yet to get. The host's programs have. The node
//! stands where VPP drops IP, so that nothing else crosses it, and hands the
//! host the whole frame as it came.
//!
//! VPP also drops what it says itself about packets of the host's: see
//! `own_error`. That goes to where VPP punts.

use std::net::Ipv4Addr;

use super::shared::frame::{ip_to_host, is_of_link, tap_of};
use super::shared::{own_error, taps};
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
const NEXT_PUNT: Next = Next::To(2);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_KEPT: u16 = 1;
const ERROR_OWN: u16 = 2;

pub(super) static NODE: Node = Node {
    name: c"hostnet-to-host",
    nexts: &[c"interface-output", c"ip4-punt"],
    errors: &[
        c"broadcasts, multicasts, advertisements and DHCP answers of the link, for the host",
        c"ICMP errors of VPP's own about packets of the host, for the host",
    ],
    function: Some(entry::<ToHost>),
    format_trace: Some(format_trace::<ToHost>),
    input: false,
};

struct ToHost;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    verdict: Verdict,
}

#[derive(Clone, Copy)]
enum Verdict {
    /// To this tap, as a whole frame.
    Kept(u32),
    /// VPP's own error, as if it came from there.
    Own(Ipv4Addr),
    Dropped,
}

/// The far end that an error of VPP's own about the host's packet is to come from.
fn own_error(ctx: &Context<'_>, packet: &Packet<'_>) -> Option<Ipv4Addr> {
    let sender = taps::find(ctx, packet.rx()).filter(|_| packet.is_locally_originated())?;
    own_error::far_end(packet.bytes(), |addr| sender.has(addr))
}

impl PacketNode for ToHost {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        if let Some(far) = own_error(ctx, packet) {
            own_error::set_source(packet.bytes_mut(), far);
            ctx.count(ERROR_OWN, 1);
            return (NEXT_PUNT, Trace { rx, verdict: Verdict::Own(far) });
        }
        let tap = tap_of(ctx, rx).filter(|_| packet.frame().is_some_and(is_of_link));
        match tap.filter(|tap| ip_to_host(packet, tap)) {
            Some(tap) => {
                ctx.count(ERROR_KEPT, 1);
                (NEXT_OUTPUT, Trace { rx, verdict: Verdict::Kept(tap.sw_if_index) })
            }
            None => (Next::Feature, Trace { rx, verdict: Verdict::Dropped }),
        }
    }

    fn format(trace: &Trace) -> String {
        let rx = trace.rx;
        match trace.verdict {
            Verdict::Kept(tap) => format!("received by sw_if_index {rx}, for the host by sw_if_index {tap}"),
            Verdict::Own(far) => format!("VPP's word on a packet from the host by sw_if_index {rx}, as {far}'s"),
            Verdict::Dropped => format!("received by sw_if_index {rx}, not for the host"),
        }
    }
}
