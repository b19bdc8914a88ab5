//! `hostnet-to-link`: what the host says to its link.
//!
//! Broadcasts, groups, announcements and probes of ARP and ND, and whatever is
//! not IP leave by the uplink as the host made them, as from a plain card: VPP
//! would drop them or, IGMP above all, bring them back. The node stands before
//! `ethernet-input`, where a frame is still whole and IP options have not led
//! it elsewhere. Unicast goes on into VPP, and so do questions for a neighbour's MAC:
//! to the host VPP itself is every neighbour. It may know their own MACs as well, by
//! their announcements, so that a MAC alone says nothing: a gateway's is that of what
//! goes to pods. But what VPP's routes cannot lead there is that machine's: a DHCP
//! server's answer to a client without an address, and what goes to an address of
//! the host's own, as balancers send it. All in a VLAN that VPP does not have is the
//! link's.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::shared::frame::{ARP, IP4, IP6, destination, ethertype, is_dhcp_answer, is_membership, is_to_group, vlan};
use super::shared::wire::{ARP_REQUEST, ICMP6, IP6_LEN, NEIGHBOR_SOLICITATION, array, be16};
use super::shared::{memberships, taps};
use crate::model::MacAddr;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// MPLS in unicast frames, which go to VPP as their next hop.
const MPLS: u16 = 0x8847;

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_IP: u16 = 1;
const ERROR_ARP: u16 = 2;
const ERROR_OTHER: u16 = 3;

pub(super) static NODE: Node = Node {
    name: c"hostnet-to-link",
    nexts: &[c"interface-output"],
    errors: &[
        c"IP to all, to groups and to machines known by their MAC, sent to the link",
        c"ARP probes, announcements and replies, sent to the link",
        c"frames of other protocols and VLANs, sent to the link",
    ],
    function: Some(entry::<ToLink>),
    format_trace: Some(format_trace::<ToLink>),
    input: false,
};

struct ToLink;

#[derive(Clone, Copy)]
struct Trace {
    dst: MacAddr,
    ethertype: u16,
    /// VPP's index of the uplink that it leaves by.
    uplink: Option<u32>,
}

/// The error that counts it, if it is for the link; `vpp` is the MAC of VPP's
/// side, `own` the host's addresses.
fn for_link(frame: &[u8], vpp: MacAddr, own: &[IpAddr]) -> Option<u16> {
    let (ethertype, at) = ethertype(frame)?;
    let body = frame.get(at..)?;
    let is_vpps = array(frame, 0) == Some(vpp.0);
    match ethertype {
        ARP => is_arp_for_link(body).then_some(ERROR_ARP),
        IP4 | IP6 if !is_to_group(frame) => (!is_vpps && is_named(body, own)).then_some(ERROR_IP),
        MPLS if !is_to_group(frame) => None,
        IP6 if is_question(body) => None,
        IP4 | IP6 => Some(ERROR_IP),
        _ if is_vpps => None,
        _ => Some(ERROR_OTHER),
    }
}

/// The machine that is to have it is known by its MAC alone.
fn is_named(ip: &[u8], own: &[IpAddr]) -> bool {
    is_dhcp_answer(ip) || destination(ip).is_some_and(|dst| own.contains(&dst))
}

/// All but a request for another's MAC. What it asks for its own sake, a probe
/// (RFC 5227), must be asked on the wire.
fn is_arp_for_link(arp: &[u8]) -> bool {
    let (sender, target) = (array::<4>(arp, 14), array::<4>(arp, 24));
    be16(arp, 6) != Some(ARP_REQUEST) || sender == Some([0; 4]) || sender == target
}

/// A solicitation for a neighbour's MAC; without a source it is a probe
/// (RFC 4862, section 5.4).
fn is_question(ip: &[u8]) -> bool {
    ip.get(6) == Some(&ICMP6)
        && ip.get(IP6_LEN) == Some(&NEIGHBOR_SOLICITATION)
        && array::<16>(ip, 8).is_some_and(|source| source != [0; 16])
}

impl PacketNode for ToLink {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let frame = packet.bytes();
        let mut trace = Trace {
            dst: MacAddr(array(frame, 0).unwrap_or_default()),
            ethertype: ethertype(frame).map_or(0, |(ethertype, _)| ethertype),
            uplink: None,
        };
        let Some(tap) = taps::find(ctx, packet.rx()) else { return (Next::Feature, trace) };
        let is_unknown = vlan(frame).is_some_and(|(vlan, is_only)| !is_only || !taps::has_vlan(ctx, packet.rx(), vlan));
        let counted = if is_unknown { Some(ERROR_OTHER) } else { for_link(frame, tap.mac, &tap.own) };
        let Some(counted) = counted else { return (Next::Feature, trace) };
        if is_membership(frame) {
            memberships::tell(ctx);
        }
        packet.set_tx(tap.uplink);
        trace.uplink = Some(tap.uplink);
        ctx.count(counted, 1);
        (NEXT_OUTPUT, trace)
    }

    fn format(trace: &Trace) -> String {
        let mut out = format!("from the host to {}, ethertype 0x{:04x}: ", trace.dst, trace.ethertype);
        // Writing to a String cannot fail.
        let _ = match trace.uplink {
            Some(uplink) => write!(out, "to the link, by sw_if_index {uplink}"),
            None => write!(out, "for VPP"),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::shared::wire::arp_of_test as arp;

    const VPP: MacAddr = MacAddr([2, 0xca, 0, 0, 0, 0]);
    const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
    const PEER: [u8; 6] = [2; 6];
    const HOST: [u8; 4] = [10, 0, 0, 1];

    fn to(dst: [u8; 6], ethertype: u16, body: &[u8]) -> Option<u16> {
        for_link(&[&dst[..], &[4; 6], &ethertype.to_be_bytes(), body].concat(), VPP, &[HOST.into()])
    }

    #[test]
    fn only_a_question_for_a_neighbour_is_vpps() {
        let (own, other, none) = ([10, 0, 0, 1], [10, 0, 0, 2], [0; 4]);
        assert_eq!(to([0xff; 6], ARP, &arp(1, own, other)), None);
        assert_eq!(to([0xff; 6], ARP, &arp(1, none, other)), Some(ERROR_ARP));
        assert_eq!(to([0xff; 6], ARP, &arp(1, own, own)), Some(ERROR_ARP));
        assert_eq!(to(PEER, ARP, &arp(2, own, other)), Some(ERROR_ARP));
        let mut ns = [0; 64];
        (ns[6], ns[40]) = (ICMP6, NEIGHBOR_SOLICITATION);
        assert_eq!(to(GROUP, IP6, &ns), Some(ERROR_IP), "a probe");
        ns[23] = 1;
        assert_eq!(to(GROUP, IP6, &ns), None);
        ns[40] = 136;
        assert_eq!(to(GROUP, IP6, &ns), Some(ERROR_IP));
    }

    #[test]
    fn unicast_ip_is_vpps_and_other_protocols_are_the_links() {
        for ethertype in [IP4, IP6, MPLS] {
            assert_eq!(to(PEER, ethertype, &[0; 40]), None);
        }
        assert_eq!(to([0xff; 6], IP4, &[0; 40]), Some(ERROR_IP));
        assert_eq!(to(PEER, 0x88cc, &[0; 40]), Some(ERROR_OTHER));
        assert_eq!(to(VPP.0, 0x88b5, &[0; 40]), None);
        // STP: a length.
        assert_eq!(to([1, 0x80, 0xc2, 0, 0, 0], 38, &[0x42; 40]), Some(ERROR_OTHER));
        // Within a VLAN it is the same.
        let tagged = [&[0, 7][..], &IP4.to_be_bytes(), &[0; 20]].concat();
        assert_eq!(to([0xff; 6], 0x8100, &tagged), Some(ERROR_IP));
        assert_eq!(to(PEER, 0x8100, &tagged), None);
    }

    #[test]
    fn a_machine_may_be_known_by_its_mac_alone() {
        let ip = |dst: [u8; 4], port| [&[0x45; 9][..], &[17; 7], &dst, &[0, 67, 0, port]].concat();
        let offered = [10, 0, 0, 9];
        assert_eq!(to(PEER, IP4, &ip(offered, 68)), Some(ERROR_IP));
        assert_eq!(to(PEER, IP4, &ip(HOST, 80)), Some(ERROR_IP));
        assert_eq!(to(PEER, IP4, &ip(offered, 80)), None);
        assert_eq!(to(VPP.0, IP4, &ip(offered, 68)), None);
        assert_eq!(to(VPP.0, IP4, &ip(HOST, 80)), None);
    }

    #[test]
    fn what_is_too_short_is_vpps() {
        assert_eq!(for_link(&[], VPP, &[]), None);
        assert_eq!(for_link(&[0xff; 13], VPP, &[]), None);
    }
}
