//! `hostnet-arp`: ARP from the host on its tap (RFC 826).
//!
//! To the host every neighbour, on the link or not, is VPP. Its own addresses
//! are not: an answer for those would look like an address conflict to
//! whoever probes (RFC 5227). VPP's own proxy ARP answers for them, and its
//! ranges are the whole table's, so the node stands before it.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::shared::taps;
use super::shared::wire::{ARP_REQUEST, array, be16, readdress};
use crate::model::MacAddr;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// Length of an ARP packet of IPv4 over Ethernet, in bytes.
const ARP_LEN: u16 = 28;
const REPLY: u16 = 2;

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_REPLIED: u16 = 1;
const ERROR_OWN: u16 = 2;
const ERROR_NOT_REQUEST: u16 = 3;
const ERROR_NO_TAP: u16 = 4;
const ERROR_MALFORMED: u16 = 5;

pub(super) static NODE: Node = Node {
    name: c"hostnet-arp",
    nexts: &[c"interface-output"],
    errors: &[
        c"requests answered",
        c"probes and requests for the host's own address, not answered",
        c"replies and announcements of the host, not for VPP",
        c"not from a tap of ours",
        c"malformed",
    ],
    function: Some(entry::<Arp>),
    format_trace: Some(format_trace::<Arp>),
    input: false,
};

struct Arp;

#[derive(Clone, Copy)]
struct Trace {
    sender: Ipv4Addr,
    target: Ipv4Addr,
    answer: Option<MacAddr>,
}

/// What an ARP packet asks for.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    /// Who has this address.
    Who { sender: Ipv4Addr, target: Ipv4Addr },
    /// An address of the host's own: a probe or an announcement.
    Own,
    /// Not a question.
    Statement,
}

fn read(arp: &[u8], own: &[std::net::IpAddr]) -> Option<Question> {
    let operation = be16(arp, 6)?;
    let sender = Ipv4Addr::from(array::<4>(arp, 14)?);
    let target = Ipv4Addr::from(array::<4>(arp, 24)?);
    Some(if operation != ARP_REQUEST {
        Question::Statement
    } else if sender.is_unspecified() || sender == target || own.contains(&target.into()) {
        Question::Own
    } else {
        Question::Who { sender, target }
    })
}

/// Turn a request into the reply that `target` is at `mac`.
fn answer(arp: &mut [u8], mac: MacAddr) {
    let (Some(asker), Some(target)) = (array::<10>(arp, 8), array::<4>(arp, 24)) else { return };
    let Some(body) = arp.get_mut(6..28) else { return };
    let reply = REPLY.to_be_bytes().into_iter().chain(mac.0).chain(target).chain(asker);
    for (at, byte) in body.iter_mut().zip(reply) {
        *at = byte;
    }
}

impl PacketNode for Arp {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let mut trace = Trace { sender: Ipv4Addr::UNSPECIFIED, target: Ipv4Addr::UNSPECIFIED, answer: None };
        let Some(tap) = taps::find(ctx, packet.rx()) else {
            return (Next::Drop(ERROR_NO_TAP), trace);
        };
        let question = read(packet.bytes(), &tap.own);
        let (sender, target) = match question {
            None => return (Next::Drop(ERROR_MALFORMED), trace),
            Some(Question::Own) => return (Next::Drop(ERROR_OWN), trace),
            Some(Question::Statement) => return (Next::Drop(ERROR_NOT_REQUEST), trace),
            Some(Question::Who { sender, target }) => (sender, target),
        };
        trace.sender = sender;
        trace.target = target;
        let (_, asker) = packet.l2_addresses();
        answer(packet.bytes_mut(), tap.mac);
        let before = packet.l2_len();
        if !packet.set_len(ARP_LEN) || !packet.advance(-i32::from(before)) {
            return (Next::Drop(ERROR_MALFORMED), trace);
        }
        readdress(packet.bytes_mut(), asker, tap.mac);
        packet.set_tx(tap.sw_if_index);
        trace.answer = Some(tap.mac);
        ctx.count(ERROR_REPLIED, 1);
        (NEXT_OUTPUT, trace)
    }

    fn format(trace: &Trace) -> String {
        let mut out = format!("ARP: {} asks for {}: ", trace.sender, trace.target);
        // Writing to a String cannot fail.
        let _ = match trace.answer {
            Some(mac) => write!(out, "answered with {mac}"),
            None => write!(out, "not answered"),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::shared::wire::arp_of_test;

    fn request(sender: [u8; 4], target: [u8; 4]) -> [u8; 28] {
        arp_of_test(1, sender, target)
    }

    #[test]
    fn own_addresses_and_probes_are_never_answered() {
        let own = [[10, 0, 0, 1].into()];
        let other = read(&request([10, 0, 0, 1], [10, 0, 0, 2]), &own);
        assert!(matches!(other, Some(Question::Who { .. })));
        assert_eq!(read(&request([0; 4], [10, 0, 0, 1]), &own), Some(Question::Own));
        assert_eq!(read(&request([0; 4], [10, 0, 0, 9]), &own), Some(Question::Own));
        assert_eq!(read(&request([10, 0, 0, 5], [10, 0, 0, 5]), &own), Some(Question::Own));
        assert_eq!(read(&request([10, 0, 0, 7], [10, 0, 0, 1]), &own), Some(Question::Own));
        assert_eq!(read(&[0; 10], &own), None);
    }

    #[test]
    fn the_answer_is_the_request_turned_round() {
        let mut arp = request([10, 0, 0, 1], [10, 0, 0, 2]);
        answer(&mut arp, MacAddr([9; 6]));
        assert_eq!(be16(&arp, 6), Some(REPLY));
        assert_eq!(arp[8..18], [9, 9, 9, 9, 9, 9, 10, 0, 0, 2]);
        assert_eq!(arp[18..28], [2, 2, 2, 2, 2, 2, 10, 0, 0, 1]);
    }
}
