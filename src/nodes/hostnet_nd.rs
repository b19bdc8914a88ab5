//! `hostnet-nd`: IPv6 neighbour solicitations from the host on its tap
//! (RFC 4861, section 7.2).
//!
//! To the host every neighbour is VPP, as with ARP. Stock VPP answers for
//! single addresses alone, and installs a route towards the tap with each.
//! Solicitations for the host's own addresses, duplicate address detection
//! above all (RFC 4862, section 5.4), get no answer.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use super::shared::taps;
use super::shared::wire::{ICMP6, IP6_LEN, NEIGHBOR_SOLICITATION, array, checksum6, readdress};
use crate::model::MacAddr;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// A neighbour advertisement with the target link-layer address option.
const NA_LEN: usize = 32;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Solicited and override (RFC 4861, section 4.4).
const NA_FLAGS: u8 = 0x60;
/// Every ND message has it: it never crossed a router.
const HOP_LIMIT: u8 = 255;
/// Target link-layer address, one unit of eight bytes.
const OPTION_TARGET: [u8; 2] = [2, 1];

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_ANSWERED: u16 = 1;
const ERROR_OWN: u16 = 2;
const ERROR_MALFORMED: u16 = 3;

pub(super) static NODE: Node = Node {
    name: c"hostnet-nd",
    nexts: &[c"interface-output"],
    errors: &[c"solicitations answered", c"solicitations for the host's own address, not answered", c"malformed"],
    function: Some(entry::<Nd>),
    format_trace: Some(format_trace::<Nd>),
    input: false,
};

struct Nd;

#[derive(Clone, Copy)]
struct Trace {
    target: Option<Ipv6Addr>,
    answer: Option<MacAddr>,
}

/// A neighbour solicitation.
#[derive(Debug, PartialEq, Eq)]
struct Solicitation {
    source: Ipv6Addr,
    target: Ipv6Addr,
}

/// `None` for any other packet, `Some(Err)` for a solicitation that RFC 4861,
/// section 7.1.1, says to drop.
fn read(ip: &[u8]) -> Option<Result<Solicitation, ()>> {
    if *ip.get(6)? != ICMP6 || *ip.get(IP6_LEN)? != NEIGHBOR_SOLICITATION {
        return None;
    }
    let fields = || {
        let length = usize::from(u16::from_be_bytes(array(ip, 4)?));
        let body = ip.get(IP6_LEN..IP6_LEN + length)?;
        let (source, dst) = (array::<16>(ip, 8)?, array::<16>(ip, 24)?);
        let target = Ipv6Addr::from(array::<16>(body, 8)?);
        let right =
            ip[7] == HOP_LIMIT && body[1] == 0 && !target.is_multicast() && checksum6(source, dst, ICMP6, body) == 0;
        right.then_some(Solicitation { source: source.into(), target })
    };
    Some(fields().ok_or(()))
}

/// Write the advertisement that `target` is at `mac`, from its IPv6 header on.
fn advertisement(out: &mut [u8], asked: &Solicitation, mac: MacAddr) {
    let (src, dst) = (asked.target.octets(), asked.source.octets());
    let mut na = [0_u8; NA_LEN];
    na[0] = NEIGHBOR_ADVERTISEMENT;
    na[4] = NA_FLAGS;
    na[8..24].copy_from_slice(&src);
    na[24..26].copy_from_slice(&OPTION_TARGET);
    na[26..32].copy_from_slice(&mac.0);
    let sum = checksum6(src, dst, ICMP6, &na);
    na[2..4].copy_from_slice(&sum.to_be_bytes());
    let length = u16::try_from(NA_LEN).unwrap_or(0).to_be_bytes();
    let header = [0x60, 0, 0, 0, length[0], length[1], ICMP6, HOP_LIMIT];
    for (at, byte) in out.iter_mut().zip(header.into_iter().chain(src).chain(dst).chain(na)) {
        *at = byte;
    }
}

impl PacketNode for Nd {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let mut trace = Trace { target: None, answer: None };
        let Some(tap) = taps::find(ctx, packet.rx()) else { return (Next::Feature, trace) };
        let asked = match read(packet.bytes()) {
            None => return (Next::Feature, trace),
            Some(Err(())) => return (Next::Drop(ERROR_MALFORMED), trace),
            Some(Ok(asked)) => asked,
        };
        trace.target = Some(asked.target);
        if asked.source.is_unspecified() || tap.own.contains(&asked.target.into()) {
            return (Next::Drop(ERROR_OWN), trace);
        }
        let (_, asker) = packet.l2_addresses();
        let before = packet.l2_len();
        let len = before + u16::try_from(IP6_LEN + NA_LEN).unwrap_or(0);
        if !packet.advance(-i32::from(before)) || !packet.set_len(len) {
            return (Next::Drop(ERROR_MALFORMED), trace);
        }
        let bytes = packet.bytes_mut();
        readdress(bytes, asker, tap.mac);
        advertisement(bytes.get_mut(usize::from(before)..).unwrap_or_default(), &asked, tap.mac);
        packet.set_tx(tap.sw_if_index);
        trace.answer = Some(tap.mac);
        ctx.count(ERROR_ANSWERED, 1);
        (NEXT_OUTPUT, trace)
    }

    fn format(trace: &Trace) -> String {
        let mut out = String::from("ND: ");
        // Writing to a String cannot fail.
        let _ = match (trace.target, trace.answer) {
            (None, _) => write!(out, "no solicitation, passed on"),
            (Some(target), Some(mac)) => write!(out, "{target} asked for: answered with {mac}"),
            (Some(target), None) => write!(out, "{target} asked for: the host's own, not answered"),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
        let dst = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2).octets();
        let mut ns = [0_u8; 24];
        ns[0] = NEIGHBOR_SOLICITATION;
        ns[8..].copy_from_slice(&target.octets());
        let sum = checksum6(source.octets(), dst, ICMP6, &ns);
        ns[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut ip = vec![0x60, 0, 0, 0, 0, 24, ICMP6, HOP_LIMIT];
        ip.extend(source.octets());
        ip.extend(dst);
        ip.extend(ns);
        ip
    }

    #[test]
    fn a_solicitation_is_read_and_a_bad_one_is_told_apart() {
        let (source, target) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let good = solicitation(source, target);
        assert_eq!(read(&good), Some(Ok(Solicitation { source, target })));
        let mut routed = good.clone();
        routed[7] = 64;
        assert_eq!(read(&routed), Some(Err(())));
        let mut broken = good.clone();
        broken[45] ^= 1;
        assert_eq!(read(&broken), Some(Err(())));
        let mut other = good.clone();
        other[40] = 128;
        assert_eq!(read(&other), None);
        assert_eq!(read(&good[..44]), Some(Err(())));
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn the_advertisement_is_right() {
        let asked = Solicitation { source: "fd00::1".parse().unwrap(), target: "fd00::2".parse().unwrap() };
        let mut out = [0; IP6_LEN + NA_LEN];
        advertisement(&mut out, &asked, MacAddr([7; 6]));
        assert_eq!(out[IP6_LEN], NEIGHBOR_ADVERTISEMENT);
        let (src, dst) = (array(&out, 8).unwrap(), array(&out, 24).unwrap());
        assert_eq!((Ipv6Addr::from(src), Ipv6Addr::from(dst)), (asked.target, asked.source));
        assert_eq!(checksum6(src, dst, ICMP6, &out[IP6_LEN..]), 0);
    }
}
