//! Whole frames between the host and its link: what they are, and the way to
//! the host's device.

use std::net::{IpAddr, Ipv4Addr};

use super::taps::{self, Tap};
use super::wire::{ICMP6, IP6_LEN, array, be16};
pub(crate) use crate::model::frame::{ARP, FIRST_ETHERTYPE, IP4, IP6, ethertype, is_to_group, vlan};
use crate::model::frame::{HOP_BY_HOP, IGMP, UDP};
use crate::vpp::node::{Context, Packet};

/// The client's port of DHCP.
const DHCP_CLIENT: u16 = 68;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// Multicast listener query, report, done, and the report of version 2.
const MLD: [u8; 4] = [130, 131, 132, 143];

/// Whether every host on the link, or every one with such a card, may want it:
/// broadcasts, groups that no router carries further, and who listens to which
/// group. Besides, what is for one host that VPP does not know by its address
/// yet: answers of DHCP (RFC 2131, section 4.1), and router advertisements.
pub(crate) fn is_of_link(frame: &[u8]) -> bool {
    let Some((ethertype, at)) = ethertype(frame) else { return false };
    let ip = frame.get(at..).unwrap_or_default();
    match ethertype {
        IP4 => is_of_link4(frame, ip) || is_dhcp_answer(ip),
        IP6 => is_of_link6(ip) || ip.get(6) == Some(&ICMP6) && ip.get(IP6_LEN) == Some(&ROUTER_ADVERTISEMENT),
        _ => false,
    }
}

/// Some relays, access points and bridges send what is for all, or for a group, in a
/// frame to one.
fn is_of_link4(frame: &[u8], ip: &[u8]) -> bool {
    let is_broadcast = frame.get(..6).is_some_and(|dst| dst == [0xff; 6]);
    let Some(dst) = array::<4>(ip, 16).map(Ipv4Addr::from) else { return false };
    // 224.0.0.0/24: RFC 5771, section 4.
    let is_of_link = dst.is_broadcast() || dst.octets()[..3] == [224, 0, 0];
    is_broadcast || is_of_link || dst.is_multicast() && ip.get(9) == Some(&IGMP)
}

/// DHCP's to its client, who may not have the address yet.
pub(crate) fn is_dhcp_answer(ip: &[u8]) -> bool {
    let port = || be16(ip, 4 * usize::from(ip.first()? & 0x0f) + 2);
    ip.get(9) == Some(&UDP) && port() == Some(DHCP_CLIENT)
}

fn is_of_link6(ip: &[u8]) -> bool {
    // Interface and link scope: RFC 4291, section 2.7.
    let of_link = array::<2>(ip, 24).is_some_and(|[first, second]| first == 0xff && second & 0x0f <= 2);
    of_link || is_mld(ip)
}

fn is_mld(ip: &[u8]) -> bool {
    // The header of hop-by-hop options says its own length, in units of eight
    // bytes without the first.
    let kind = || {
        let length = 8 * (usize::from(*ip.get(IP6_LEN + 1)?) + 1);
        ip.get(IP6_LEN + length).filter(|_| ip[6] == HOP_BY_HOP && ip[IP6_LEN] == ICMP6)
    };
    kind().is_some_and(|kind| MLD.contains(kind))
}

/// Whether it tells of groups: IGMP or MLD.
pub(crate) fn is_membership(frame: &[u8]) -> bool {
    let Some((ethertype, at)) = ethertype(frame) else { return false };
    let ip = frame.get(at..).unwrap_or_default();
    match ethertype {
        IP4 => ip.get(9) == Some(&IGMP),
        IP6 => is_mld(ip),
        _ => false,
    }
}

/// Where an IP packet goes.
pub(crate) fn destination(ip: &[u8]) -> Option<IpAddr> {
    match ip.first()? >> 4 {
        4 => array::<4>(ip, 16).map(IpAddr::from),
        6 => array::<16>(ip, 24).map(IpAddr::from),
        _ => None,
    }
}

/// The tap that takes whole frames of what came by this interface.
pub(crate) fn tap_of<'n>(ctx: &'n Context<'_>, rx: u32) -> Option<&'n Tap> {
    taps::of_uplink(ctx, rx).filter(|tap| tap.whole_frames)
}

/// Make the packet the frame that it came in, on its way to the host: for
/// `interface-output`. `false`, and nothing is done, when the frame is not
/// there any more.
pub(crate) fn to_host(packet: &mut Packet<'_>, tap: &Tap) -> bool {
    let back = packet.to_frame();
    if back {
        packet.set_tx(tap.sw_if_index);
    }
    back
}

/// The same for an IP packet of the link. Not for one that VPP has taken out of
/// another, of MPLS or of segment routing, which counts as received by the uplink
/// all the same: its frame is VPP's.
pub(crate) fn ip_to_host(packet: &mut Packet<'_>, tap: &Tap) -> bool {
    is_as_it_came(packet) && to_host(packet, tap)
}

/// The IP packet is what its frame carries, and no other inside. Some nodes of
/// VPP's hand on the frame itself.
pub(crate) fn is_as_it_came(packet: &Packet<'_>) -> bool {
    let body = packet.frame().and_then(ethertype);
    let before = usize::from(packet.l2_len());
    body.is_some_and(|(ethertype, at)| matches!(ethertype, IP4 | IP6) && (before == at || before == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(dst: [u8; 6], ethertype: u16, body: &[u8]) -> Vec<u8> {
        [&dst[..], &[2; 6], &ethertype.to_be_bytes(), body].concat()
    }

    fn ip4(dst: [u8; 4], protocol: u8) -> Vec<u8> {
        let mut ip = vec![0x45; 20];
        ip[9] = protocol;
        ip[16..].copy_from_slice(&dst);
        ip
    }

    fn ip6(dst: [u8; 2], next: u8, body: &[u8]) -> Vec<u8> {
        let mut ip = vec![0x60; 40];
        ip[6] = next;
        ip[24..26].copy_from_slice(&dst);
        ip.extend(body);
        ip
    }

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

    const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
    const GROUP6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

    #[test]
    fn the_links_own_are_told_from_the_rest() {
        let of = |dst, ethertype, body: &[u8]| is_of_link(&frame(dst, ethertype, body));
        assert!(of([0xff; 6], IP4, &ip4([192, 0, 2, 255], 17)));
        assert!(of(GROUP, IP4, &ip4([224, 0, 0, 251], 17)));
        assert!(!of(GROUP, IP4, &ip4([224, 0, 1, 1], 17)));
        assert!(of(GROUP, IP4, &ip4([239, 1, 1, 1], IGMP)));
        // In a frame to one machine, too.
        assert!(of([2; 6], IP4, &ip4([224, 0, 0, 1], 17)));
        assert!(!of([2; 6], IP4, &ip4([224, 0, 1, 1], 17)));
        assert!(!of([2; 6], IP4, &ip4([192, 0, 2, 7], IGMP)));
        assert!(of([2; 6], IP6, &ip6([0xff, 0x02], 17, &[])));
        let datagram = |port: u8| [ip4([192, 0, 2, 7], UDP), vec![0, 67, 0, port]].concat();
        let answer = datagram(68);
        assert!(of([2; 6], IP4, &answer));
        assert!(of([2; 6], IP4, &ip4([255; 4], UDP)));
        assert!(!of([2; 6], IP4, &datagram(67)));
        assert!(!of([2; 6], IP4, &answer[..22]));
        assert!(of(GROUP6, IP6, &ip6([0xff, 0x02], 17, &[])));
        assert!(of(GROUP6, IP6, &ip6([0xff, 0x12], 17, &[])));
        assert!(!of(GROUP6, IP6, &ip6([0xff, 0x05], 17, &[])));
        let report = [ICMP6, 0, 5, 2, 0, 0, 1, 0, 143];
        assert!(of(GROUP6, IP6, &ip6([0xff, 0x0e], HOP_BY_HOP, &report)));
        assert!(!of(GROUP6, IP6, &ip6([0xff, 0x0e], HOP_BY_HOP, &report[..8])));
        assert!(of([2; 6], IP6, &ip6([0xfe, 0x80], ICMP6, &[ROUTER_ADVERTISEMENT])));
        assert!(!of([2; 6], IP6, &ip6([0xfe, 0x80], ICMP6, &[128])));
        assert!(!of(GROUP, ARP, &[0; 28]));
        assert!(!of(GROUP, IP4, &[]) && !of(GROUP6, IP6, &[]));
    }
}
