//! `hostnet-punt`: each punted packet to the host that it is for, as it came.
//!
//! What came by an uplink for its own host goes there as the frame that it was,
//! with the sender's MAC and a group's. The rest takes VPP's redirect. VPP
//! chooses that by the receive interface alone: a pod's packet to the second
//! uplink's address would go to the first one's host. So it counts as received
//! on the uplink that has the address.
//!
//! What is of another link alone is not the host's: a pod's advertisement of a
//! neighbour or its redirect would lead the host's packets elsewhere.
//!
//! What the host itself has sent must not come back to it. VPP punts every IPv4
//! packet with options, wherever it goes to: those of the host's are led to the
//! FIB here.

use std::net::IpAddr;

use super::shared::frame::{destination, ip_to_host, tap_of};
use super::shared::taps;
use super::shared::wire::{ICMP6, IP6_LEN};
use crate::model::frame::ICMP;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The type of an ICMP redirect, and those of ICMPv6 that ND has.
const REDIRECT4: u8 = 5;
const ND: std::ops::RangeInclusive<u8> = 133..=137;

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
const NEXT_LOOKUP: Next = Next::To(2);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_WHOLE: u16 = 1;
const ERROR_CHOSEN: u16 = 2;
const ERROR_OPTIONS: u16 = 3;
const ERROR_BACK: u16 = 4;
const ERROR_LINK: u16 = 5;

pub(super) static NODE: Node = Node {
    name: c"hostnet-punt",
    nexts: &[c"interface-output", c"ip4-lookup"],
    errors: &[
        c"packets to the host as they came",
        c"packets led to the uplink whose address they are for",
        c"packets of the host with IPv4 options, led to the FIB",
        c"packets of the host that VPP would send back to it, dropped",
        c"packets of another link than the host's, dropped",
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
    /// Of another link.
    Link,
}

/// Only for machines on the link that it is sent on: ND (RFC 4861, section 6 to 8),
/// redirects, and groups that no router carries further.
fn is_of_link_alone(ip: &[u8]) -> bool {
    match destination(ip) {
        Some(IpAddr::V4(dst)) => {
            let at = 4 * usize::from(ip[0] & 0x0f);
            dst.octets()[..3] == [224, 0, 0] || ip.get(9) == Some(&ICMP) && ip.get(at) == Some(&REDIRECT4)
        }
        Some(IpAddr::V6(dst)) => {
            let [first, second, ..] = dst.octets();
            let is_nd = || ip.get(IP6_LEN).is_some_and(|kind| ND.contains(kind));
            first == 0xff && second & 0x0f <= 2 || ip.get(6) == Some(&ICMP6) && is_nd()
        }
        // VPP hands on a router solicitation with its frame's head.
        None => true,
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
    if taps::of_uplink(ctx, rx).is_none() && is_of_link_alone(packet.bytes()) {
        return Verdict::Link;
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
            Verdict::Link => (Next::Drop(ERROR_LINK), None),
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
            Verdict::Link => format!("received by sw_if_index {rx}, of that link alone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_own_are_told_from_what_is_routed() {
        let ip4 = |dst: [u8; 4], protocol, kind| [&[0x45; 9][..], &[protocol; 7], &dst, &[kind]].concat();
        assert!(is_of_link_alone(&ip4([224, 0, 0, 251], 17, 0)));
        assert!(is_of_link_alone(&ip4([192, 0, 2, 7], ICMP, REDIRECT4)));
        assert!(!is_of_link_alone(&ip4([192, 0, 2, 7], ICMP, 3)));
        assert!(!is_of_link_alone(&ip4([192, 0, 2, 7], 17, REDIRECT4)));
        let ip6 = |dst: [u8; 2], kind| [&[0x60; 6][..], &[ICMP6; 18], &dst, &[0; 14], &[kind]].concat();
        assert!(is_of_link_alone(&ip6([0xff, 2], 128)));
        assert!(is_of_link_alone(&ip6([0xfd, 0], 136)));
        assert!(!is_of_link_alone(&ip6([0xfd, 0], 128)));
        assert!(!is_of_link_alone(&ip6([0xff, 0x0e], 128)));
        assert!(is_of_link_alone(&[0x33; 60]));
    }

    #[test]
    fn options_are_beyond_five_words() {
        assert!(has_options4(&[0x46]));
        assert!(!has_options4(&[0x45]));
        assert!(!has_options4(&[0x60]));
        assert!(!has_options4(&[]));
    }
}
