//! Which class a frame is of.

use std::fmt;
use std::str::FromStr;

use super::CLASSES;
use crate::model::frame::{
    ARP, FIRST_ETHERTYPE, HOP_BY_HOP, ICMP, ICMP6, IGMP, IP4, IP6, IP6_LEN, UDP, array, be16, ethertype, is_to_group,
};

/// A class of what goes to the host, or comes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// ARP, and ND with router advertisements and redirects.
    ArpNd,
    /// DHCP and DHCPv6.
    Dhcp,
    /// OSPF, IS-IS, BGP, BFD and their like.
    Routing,
    /// ICMP, ICMPv6 but ND, IGMP.
    Icmp,
    /// What is not IP: LLDP, LACP, 802.1X, spanning tree.
    L2,
    /// Broadcasts and other multicasts of IP.
    Multicast,
    /// TCP and UDP of the listed ports, either end's.
    Ports,
    /// All else: TCP and UDP above all.
    Rest,
}

use Class::{ArpNd, Dhcp, Icmp, L2, Multicast, Ports, Rest, Routing};

impl Class {
    /// Every class, in the order of its index.
    pub const ALL: [Self; CLASSES] = [ArpNd, Dhcp, Routing, Icmp, L2, Multicast, Ports, Rest];

    /// From 0 on.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            ArpNd => "arp-nd",
            Dhcp => "dhcp",
            Routing => "routing",
            Icmp => "icmp",
            L2 => "l2",
            Multicast => "multicast",
            Ports => "ports",
            Rest => "rest",
        }
    }

    /// Packets per second, unless another rate is asked for. Each is far more than
    /// a host has any use for, and all together far less than the way to it
    /// carries; where bulk transfers are, it is [`super::STANDING`] times as much.
    pub(super) const fn default_rate(self) -> u32 {
        match self {
            Dhcp | L2 => 1000,
            ArpNd | Icmp => 5000,
            Routing => 10_000,
            Multicast => 20_000,
            Ports => 50_000,
            Rest => 200_000,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|class| class.name() == text).ok_or(())
    }
}

/// What the policer tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The class.
    pub class: Class,
    /// A segment of a TCP connection that stands: one without SYN.
    pub standing: bool,
}

impl From<Class> for Kind {
    fn from(class: Class) -> Self {
        Self { class, standing: false }
    }
}

/// RARP (RFC 903).
const RARP: u16 = 0x8035;
/// IS-IS by ethertype: in jumbo frames, and of TRILL (RFC 6325).
const ISIS: [u16; 2] = [0x8870, 0x22f4];
/// The LLC service access point of OSI's network layer, IS-IS above all.
const SAP_OSI: u8 = 0xfe;
/// Ethertypes whose frames carry the data of others: MPLS, PPPoE sessions, MACsec.
const DATA: [u16; 4] = [0x8847, 0x8848, 0x8864, 0x88e5];

const TCP: u8 = 6;
/// EIGRP, OSPF, PIM, VRRP; RSVP.
const ROUTING: [u8; 5] = [88, 89, 103, 112, 46];
/// BGP, LDP.
const ROUTING_TCP: [u16; 2] = [179, 646];
/// BFD, its echo, multihop, of LAGs and seamless; RIP, RIPng, LDP, Babel; HSRP.
const ROUTING_UDP: [u16; 11] = [3784, 3785, 4784, 6784, 7784, 520, 521, 646, 6696, 1985, 2029];
/// DHCP and DHCPv6, server and client.
const DHCP: [u16; 4] = [67, 68, 546, 547];
/// ICMPv6 from router solicitation to redirect (RFC 4861).
const ND: std::ops::RangeInclusive<u8> = 133..=137;
/// An IPv4 fragment's offset, in the 16 bits of flags and offset.
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// Where TCP's flags are, in bytes from its header on, and SYN among them.
const TCP_FLAGS: usize = 13;
const SYN: u8 = 2;
/// Extension headers that are looked behind, at the most.
const MAX_EXTENSIONS: usize = 8;

/// The class of a frame, of which the beginning is enough. `ports` are those of
/// class `ports`, which wins over all other ports' classes: who lists one wants
/// it there.
pub fn classify(frame: &[u8], ports: &[u16]) -> Kind {
    let Some((ethertype, at)) = ethertype(frame) else { return L2.into() };
    let body = frame.get(at..).unwrap_or_default();
    match ethertype {
        IP4 => ip4(body, ports, is_to_group(frame)),
        IP6 => ip6(body, ports, is_to_group(frame)),
        ARP | RARP => ArpNd.into(),
        length if length < FIRST_ETHERTYPE => {
            let is_osi = body.starts_with(&[SAP_OSI, SAP_OSI]);
            if is_osi { Routing.into() } else { L2.into() }
        }
        other if ISIS.contains(&other) => Routing.into(),
        other if DATA.contains(&other) => Rest.into(),
        _ => L2.into(),
    }
}

fn ip4(ip: &[u8], ports: &[u16], to_group: bool) -> Kind {
    let (Some(first), Some(protocol), Some(fragment)) = (ip.first(), ip.get(9), be16(ip, 6)) else {
        return Rest.into();
    };
    let length = usize::from(first & 0x0f) * 4;
    // Behind the first fragment's beginning there are no ports.
    let is_first = fragment & FRAGMENT_OFFSET == 0;
    let upper = if is_first { ip.get(length..).unwrap_or_default() } else { &[] };
    match *protocol {
        ICMP => Icmp.into(),
        protocol => layer4(protocol, upper, ports, to_group),
    }
}

fn ip6(ip: &[u8], ports: &[u16], to_group: bool) -> Kind {
    /// Headers that say their length in units of eight bytes without the first
    /// (RFC 8200): hop-by-hop, routing, destination options, mobility, HIP, shim.
    const OPTIONS: [u8; 6] = [HOP_BY_HOP, 43, 60, 135, 139, 140];
    /// Says it in units of four bytes, less two (RFC 4302).
    const AUTHENTICATION: u8 = 51;
    const FRAGMENT: u8 = 44;
    let Some(mut next) = ip.get(6).copied() else { return Rest.into() };
    let mut at = IP6_LEN;
    let mut whole = true;
    for _ in 0..MAX_EXTENSIONS {
        let length = match next {
            FRAGMENT => {
                whole &= be16(ip, at + 2).is_some_and(|offset| offset & 0xfff8 == 0);
                Some(8)
            }
            AUTHENTICATION => ip.get(at + 1).map(|units| (usize::from(*units) + 2) * 4),
            other if OPTIONS.contains(&other) => ip.get(at + 1).map(|units| (usize::from(*units) + 1) * 8),
            _ => break,
        };
        let (Some(length), Some(behind)) = (length, ip.get(at)) else { break };
        next = *behind;
        at += length;
        if !whole {
            break;
        }
    }
    let upper = if whole { ip.get(at..).unwrap_or_default() } else { &[] };
    match next {
        ICMP6 if upper.first().is_some_and(|kind| ND.contains(kind)) => ArpNd.into(),
        ICMP6 => Icmp.into(),
        protocol => layer4(protocol, upper, ports, to_group),
    }
}

/// What is above either IP. `upper` is empty where there is nothing to be read.
fn layer4(protocol: u8, upper: &[u8], ports: &[u16], to_group: bool) -> Kind {
    let other = if to_group { Multicast } else { Rest };
    let both = array::<2>(upper, 0).map(u16::from_be_bytes).zip(be16(upper, 2));
    let is_any = |(from, to): (u16, u16), list: &[u16]| list.contains(&from) || list.contains(&to);
    match (protocol, both) {
        (IGMP, _) => Icmp.into(),
        (protocol, _) if ROUTING.contains(&protocol) => Routing.into(),
        (TCP, Some(both)) => {
            let class = match both {
                both if is_any(both, ports) => Ports,
                both if is_any(both, &ROUTING_TCP) => Routing,
                _ => other,
            };
            Kind { class, standing: upper.get(TCP_FLAGS).is_some_and(|flags| flags & SYN == 0) }
        }
        (UDP, Some(both)) => match both {
            both if is_any(both, ports) => Ports.into(),
            (_, to) if DHCP.contains(&to) => Dhcp.into(),
            // To the port alone: whoever sends chooses the other one.
            (_, to) if ROUTING_UDP.contains(&to) => Routing.into(),
            _ => other.into(),
        },
        _ => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 5];
    const HOST: [u8; 6] = [2; 6];

    fn frame(dst: [u8; 6], ethertype: u16, body: &[u8]) -> Vec<u8> {
        [&dst[..], &[4; 6], &ethertype.to_be_bytes(), body].concat()
    }

    fn v4(protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut ip = vec![0; 20];
        (ip[0], ip[9]) = (0x45, protocol);
        ip.extend(body);
        ip
    }

    fn v6(next: u8, body: &[u8]) -> Vec<u8> {
        let mut ip = vec![0; 40];
        (ip[0], ip[6]) = (0x60, next);
        ip.extend(body);
        ip
    }

    fn ports(from: u16, to: u16) -> Vec<u8> {
        [from.to_be_bytes(), to.to_be_bytes(), [0; 2], [0; 2]].concat()
    }

    fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
        let mut segment = vec![0; 20];
        segment[..4].copy_from_slice(&ports(from, to)[..4]);
        (segment[12], segment[13]) = (0x50, flags);
        segment
    }

    /// The class over both families, which must be the same.
    #[track_caller]
    fn both(dst: [u8; 6], protocol: u8, body: &[u8]) -> Kind {
        let four = classify(&frame(dst, IP4, &v4(protocol, body)), &[22, 830]);
        assert_eq!(classify(&frame(dst, IP6, &v6(protocol, body)), &[22, 830]), four);
        four
    }

    #[test]
    fn protocols_that_are_not_ip() {
        let of = |ethertype, body: &[u8]| classify(&frame(GROUP, ethertype, body), &[]).class;
        assert_eq!(of(ARP, &[0; 28]), ArpNd);
        assert_eq!(of(RARP, &[]), ArpNd);
        for l2 in [0x88cc, 0x8809, 0x888e, 0x8863, 0x88b5, 0xffff] {
            assert_eq!(of(l2, &[0; 40]), L2, "{l2:x}");
        }
        assert_eq!(of(38, &[0x42, 0x42, 3]), L2, "spanning tree");
        assert_eq!(of(100, &[0xfe, 0xfe, 3, 0x83]), Routing, "IS-IS");
        assert_eq!(of(0x8870, &[0xfe, 0xfe, 3]), Routing);
        assert_eq!(of(0x8847, &[0; 40]), Rest);
        // Behind a tag, or two, it is the same; what is behind three is nobody's.
        let tagged = |inner: &[u8]| [&[0, 7][..], inner].concat();
        let arp = [&ARP.to_be_bytes()[..], &[0; 28]].concat();
        assert_eq!(of(0x8100, &tagged(&arp)), ArpNd);
        let two = tagged(&[&[0x81, 0][..], &tagged(&arp)].concat());
        assert_eq!(of(0x88a8, &two), ArpNd);
        assert_eq!(of(0x8100, &tagged(&[&[0x81, 0][..], &two].concat())), L2);
    }

    #[test]
    fn protocols_of_ip() {
        for (protocol, class) in [(88, Routing), (89, Routing), (103, Routing), (112, Routing), (2, Icmp)] {
            assert_eq!(both(GROUP, protocol, &[0; 20]).class, class, "{protocol}");
            assert_eq!(both(HOST, protocol, &[0; 20]).class, class, "{protocol}");
        }
        for protocol in [4, 41, 47, 50, 132, 255] {
            assert_eq!(both(HOST, protocol, &[0; 20]).class, Rest, "{protocol}");
            assert_eq!(both(GROUP, protocol, &[0; 20]).class, Multicast, "{protocol}");
        }
        assert_eq!(classify(&frame(GROUP, IP4, &v4(ICMP, &[8])), &[]).class, Icmp);
        for (kind, class) in [(128, Icmp), (2, Icmp), (143, Icmp), (132, Icmp), (138, Icmp)]
            .into_iter()
            .chain(ND.map(|kind| (kind, ArpNd)))
        {
            assert_eq!(classify(&frame(GROUP, IP6, &v6(ICMP6, &[kind])), &[]).class, class, "{kind}");
        }
        // MLD behind hop-by-hop options.
        let mld = [ICMP6, 0, 5, 2, 0, 0, 1, 0, 143];
        assert_eq!(classify(&frame(GROUP, IP6, &v6(HOP_BY_HOP, &mld)), &[]).class, Icmp);
    }

    #[test]
    fn ports_of_udp() {
        for (to, class) in [(67, Dhcp), (68, Dhcp), (546, Dhcp), (547, Dhcp), (3784, Routing), (4784, Routing)] {
            assert_eq!(both(HOST, UDP, &ports(9, to)).class, class, "{to}");
            assert_eq!(both(GROUP, UDP, &ports(9, to)).class, class, "{to}");
            // Whoever floods chooses his own port.
            assert_eq!(both(HOST, UDP, &ports(to, 9)).class, Rest, "{to}");
        }
        assert_eq!(both(GROUP, UDP, &ports(5353, 5353)).class, Multicast);
        assert_eq!(both(HOST, UDP, &ports(53, 4000)).class, Rest);
        assert_eq!(both(HOST, UDP, &ports(830, 4000)), Kind::from(Ports));
        assert_eq!(both(HOST, UDP, &ports(4000, 22)), Kind::from(Ports));
        // Who lists a port wants it there.
        let bfd = frame(HOST, IP4, &v4(UDP, &ports(9, 3784)));
        assert_eq!(classify(&bfd, &[3784]).class, Ports);
    }

    #[test]
    fn segments_of_tcp() {
        for (from, to, class) in
            [(9, 22, Ports), (22, 9, Ports), (179, 9, Routing), (9, 179, Routing), (646, 9, Routing), (443, 9, Rest)]
        {
            for (flags, standing) in [(2, false), (0x12, false), (0x10, true), (0x18, true), (4, true), (1, true)] {
                assert_eq!(both(HOST, TCP, &tcp(from, to, flags)), Kind { class, standing }, "{from} {to} {flags}");
            }
        }
        // Flags that are not there are none of a connection's.
        assert_eq!(both(HOST, TCP, &tcp(9, 22, 0x10)[..13]), Kind::from(Ports));
    }

    #[test]
    fn options_extensions_and_fragments() {
        let mut options = v4(TCP, &[]);
        options[0] = 0x47;
        options.extend([&[0; 8][..], &tcp(9, 22, 0x10)].concat());
        assert_eq!(classify(&frame(HOST, IP4, &options), &[22]), Kind { class: Ports, standing: true });
        // A later fragment's bytes are no ports.
        let mut later = v4(UDP, &ports(22, 22));
        later[7] = 1;
        assert_eq!(classify(&frame(HOST, IP4, &later), &[22]).class, Rest);
        assert_eq!(classify(&frame(GROUP, IP4, &later), &[22]).class, Multicast);
        let segment = tcp(9, 22, 0x10);
        let behind = |extension: &[u8]| [extension, &segment].concat();
        for (next, extension) in [
            (HOP_BY_HOP, &[TCP, 0, 0, 0, 0, 0, 0, 0][..]),
            (60, &[43, 0, 0, 0, 0, 0, 0, 0, TCP, 0, 0, 0, 0, 0, 0, 0]),
            (51, &[TCP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (44, &[TCP, 0, 0, 1, 0, 0, 0, 9]),
        ] {
            let kind = classify(&frame(HOST, IP6, &v6(next, &behind(extension))), &[22]);
            assert_eq!(kind, Kind { class: Ports, standing: true }, "{next}");
        }
        let later = v6(44, &behind(&[TCP, 0, 0, 8, 0, 0, 0, 9]));
        assert_eq!(classify(&frame(HOST, IP6, &later), &[22]), Kind::from(Rest));
        // More headers than are looked behind.
        let many = v6(60, &behind(&[60, 0, 0, 0, 0, 0, 0, 0].repeat(9)));
        assert_eq!(classify(&frame(HOST, IP6, &many), &[22]), Kind::from(Rest));
    }

    #[test]
    fn every_word_is_a_class_and_has_its_index() {
        for (index, class) in Class::ALL.into_iter().enumerate() {
            assert_eq!(class.index(), index);
            assert_eq!(class.name().parse(), Ok(class));
        }
        assert_eq!("all".parse::<Class>(), Err(()));
    }

    proptest::proptest! {
        #[test]
        fn no_frame_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = classify(&bytes, &[22]);
        }

        /// Whatever is cut off a frame, and whatever of it is wrong.
        #[test]
        fn no_damaged_frame_panics(
            kind in 0..6_usize, cut in 0..120_usize, at in 12..100_usize, byte in proptest::num::u8::ANY
        ) {
            let mut frame = match kind {
                0 => frame(HOST, IP4, &v4(TCP, &tcp(1, 22, 2))),
                1 => frame(GROUP, IP6, &v6(HOP_BY_HOP, &[ICMP6, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0])),
                2 => frame(HOST, IP6, &v6(44, &[TCP, 0, 0, 0, 0, 0, 0, 0])),
                3 => frame(GROUP, 0x8100, &[0, 7, 8, 6, 0, 1]),
                4 => frame(GROUP, 3, &[0xfe, 0xfe, 3]),
                _ => frame(HOST, IP6, &v6(51, &[60, 255, 0, 0])),
            };
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
            frame.truncate(cut);
            let _ = classify(&frame, &[22]);
        }
    }
}
