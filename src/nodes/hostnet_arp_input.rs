//! `hostnet-arp-input`: ARP from the link, before VPP reads it.
//!
//! VPP answers questions for the host's addresses. All else that the link says
//! the host must hear as well, of announcements, of answers to its own probes
//! (RFC 5227) and of those who claim or probe its address, which VPP drops at
//! once. VPP's features on ARP come too late for those, so that the node stands
//! before `arp-input`: all ARP crosses it while there is a tap.

use super::shared::frame::tap_of;
use super::shared::wire::{ARP_REQUEST, array, be16};
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_ARP: Next = Next::To(1);
const NEXT_OUTPUT: Next = Next::To(2);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_COPIED: u16 = 1;
const ERROR_NO_COPY: u16 = 2;

pub(super) static NODE: Node = Node {
    name: c"hostnet-arp-input",
    nexts: &[c"arp-input", c"interface-output"],
    errors: &[c"ARP packets of the link, copied to the host", c"ARP packets of the link without room for a copy"],
    function: Some(entry::<ArpInput>),
    format_trace: Some(format_trace::<ArpInput>),
    input: false,
};

struct ArpInput;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    /// VPP's index of the tap that has a copy.
    copied: Option<u32>,
}

/// Whether VPP alone has to do with it: somebody else asks for one of the host's
/// addresses. Where VPP does not answer, `hostnet-dropped` has it.
pub(super) fn is_vpps(arp: &[u8], own: &[std::net::IpAddr]) -> bool {
    let (Some(sender), Some(target)) = (array::<4>(arp, 14), array::<4>(arp, 24)) else { return false };
    be16(arp, 6) == Some(ARP_REQUEST)
        && sender != [0; 4]
        && !own.contains(&sender.into())
        && own.contains(&target.into())
}

impl PacketNode for ArpInput {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        let tap = tap_of(ctx, rx).filter(|tap| !is_vpps(packet.bytes(), &tap.own));
        let copied = tap.map(|tap| tap.sw_if_index).filter(|tap| packet.copy_frame(NEXT_OUTPUT, *tap));
        match (tap, copied) {
            (Some(_), Some(_)) => ctx.count(ERROR_COPIED, 1),
            (Some(_), None) => ctx.count(ERROR_NO_COPY, 1),
            (None, _) => {}
        }
        (NEXT_ARP, Trace { rx, copied })
    }

    fn format(trace: &Trace) -> String {
        match trace.copied {
            Some(tap) => format!("received by sw_if_index {}, a copy for the host by sw_if_index {tap}", trace.rx),
            None => format!("received by sw_if_index {}, for VPP", trace.rx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::shared::wire::arp_of_test as arp;

    #[test]
    fn only_a_question_for_the_hosts_address_is_vpps() {
        let (host, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let own = [host.into()];
        assert!(is_vpps(&arp(1, other, host), &own));
        assert!(!is_vpps(&arp(1, [0; 4], host), &own), "a probe");
        assert!(!is_vpps(&arp(1, host, host), &own), "a conflict");
        assert!(!is_vpps(&arp(1, host, other), &own), "a conflict");
        assert!(!is_vpps(&arp(2, other, host), &own));
        assert!(!is_vpps(&arp(1, other, other), &own));
        assert!(!is_vpps(&[], &own));
    }
}
