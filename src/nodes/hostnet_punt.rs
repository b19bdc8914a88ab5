//! `hostnet-punt`: each punted packet to the host that it is for, as it came.
//!
//! What came by an uplink for its own host goes there as the frame that it was,
//! with the sender's MAC and a group's. The rest takes VPP's redirect. VPP
//! chooses that by the receive interface alone: a pod's packet to the second
//! uplink's address would go to the first one's host. So it counts as received
//! on the uplink that has the address.
//!
//! What the host itself has sent must not come back to it. VPP punts every IPv4
//! packet with options, wherever it goes to: those of the host's are led to the
//! FIB here.

use std::net::IpAddr;

use super::shared::frame::{ip_to_host, tap_of};
use super::shared::taps;
use super::shared::wire::array;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
const NEXT_LOOKUP: Next = Next::To(2);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_WHOLE: u16 = 1;
const ERROR_CHOSEN: u16 = 2;
const ERROR_OPTIONS: u16 = 3;
const ERROR_BACK: u16 = 4;

pub(super) static NODE: Node = Node {
    name: c"hostnet-punt",
    nexts: &[c"interface-output", c"ip4-lookup"],
    errors: &[
        c"packets to the host as they came",
        c"packets led to the uplink whose address they are for",
        c"packets of the host with IPv4 options, led to the FIB",
        c"packets of the host that VPP would send back to it, dropped",
    ],
    function: Some(entry::<Punt>),
    format_trace: Some(format_trace::<Punt>),
    input: false,
};

struct Punt;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    verdict: Verdict,
}

#[derive(Clone, Copy)]
enum Verdict {
    /// To this tap, as a whole frame.
    Whole(u32),
    /// By the redirect of its own interface.
    Redirect,
    /// By that of this uplink.
    Chosen(u32),
    Options,
    Back,
}

fn destination(ip: &[u8]) -> Option<IpAddr> {
    match ip.first()? >> 4 {
        4 => array::<4>(ip, 16).map(IpAddr::from),
        6 => array::<16>(ip, 24).map(IpAddr::from),
        _ => None,
    }
}

fn has_options4(ip: &[u8]) -> bool {
    ip.first().is_some_and(|byte| byte >> 4 == 4 && byte & 0x0f > 5)
}

fn decide(ctx: &Context<'_>, packet: &mut Packet<'_>, rx: u32) -> Verdict {
    // An IPv6 link-local address says nothing without its link.
    let addr = destination(packet.bytes()).filter(|addr| !matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local()));
    let other = addr.and_then(|addr| taps::uplink_of(ctx, addr, rx)).filter(|uplink| *uplink != rx);
    if let Some(sender) = taps::find(ctx, rx) {
        // The mark also says that it was here before.
        if has_options4(packet.bytes()) && !packet.is_locally_originated() {
            packet.set_locally_originated();
            return Verdict::Options;
        }
        return match other {
            // An answer of VPP's to what the host has sent, too.
            Some(uplink) => chosen(packet, uplink),
            None if addr.is_some_and(|addr| sender.has(&addr)) => Verdict::Redirect,
            None => Verdict::Back,
        };
    }
    if let Some(uplink) = other {
        return chosen(packet, uplink);
    }
    match tap_of(ctx, rx) {
        Some(tap) if ip_to_host(packet, tap) => Verdict::Whole(tap.sw_if_index),
        _ => Verdict::Redirect,
    }
}

fn chosen(packet: &mut Packet<'_>, uplink: u32) -> Verdict {
    packet.set_rx(uplink);
    Verdict::Chosen(uplink)
}

impl PacketNode for Punt {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        let verdict = decide(ctx, packet, rx);
        let (next, counted) = match verdict {
            Verdict::Whole(_) => (NEXT_OUTPUT, Some(ERROR_WHOLE)),
            Verdict::Redirect => (Next::Feature, None),
            Verdict::Chosen(_) => (Next::Feature, Some(ERROR_CHOSEN)),
            Verdict::Options => (NEXT_LOOKUP, Some(ERROR_OPTIONS)),
            Verdict::Back => (Next::Drop(ERROR_BACK), None),
        };
        if let Some(counted) = counted {
            ctx.count(counted, 1);
        }
        (next, Trace { rx, verdict })
    }

    fn format(trace: &Trace) -> String {
        let rx = trace.rx;
        match trace.verdict {
            Verdict::Whole(tap) => format!("received by sw_if_index {rx}, as it came to its host by sw_if_index {tap}"),
            Verdict::Redirect => format!("received by sw_if_index {rx}, for its host"),
            Verdict::Chosen(uplink) => format!("received by sw_if_index {rx}, for the host of sw_if_index {uplink}"),
            Verdict::Options => format!("from the host by sw_if_index {rx}, with options: to the FIB"),
            Verdict::Back => format!("from the host by sw_if_index {rx}: not back to it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_of_either_family() {
        let mut ip = [0_u8; 40];
        assert_eq!(destination(&ip), None);
        ip[0] = 0x45;
        ip[16..20].copy_from_slice(&[10, 0, 0, 7]);
        assert_eq!(destination(&ip), Some(IpAddr::from([10, 0, 0, 7])));
        ip[0] = 0x60;
        ip[24] = 0xfd;
        assert_eq!(destination(&ip), "fd00::".parse().ok());
        assert_eq!(destination(&ip[..30]), None);
        assert_eq!(destination(&[]), None);
    }

    #[test]
    fn options_are_beyond_five_words() {
        assert!(has_options4(&[0x46]));
        assert!(!has_options4(&[0x45]));
        assert!(!has_options4(&[0x60]));
        assert!(!has_options4(&[]));
    }
}
