//! The frames that a card carries between a host and its link, a class each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hostnet_lab::frames::{
    BROADCAST, HOP_BY_HOP, ICMP, ICMP6, IGMP, Ip, OSPF, TCP, UDP, Way, alert6, arp, ethernet, fragment, icmp4, icmp6,
    llc, mac_of, syn, udp,
};
use hostnet_lab::wire::Mac;

/// A class: what is sent, and the text in every frame of it.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) mark: String,
    pub(crate) frames: Vec<Vec<u8>>,
}

/// The text in the frames of a class, of eight bytes.
pub(crate) fn mark(number: usize) -> String {
    format!("q08#{number:03}#")
}

const IP4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IP6: u16 = 0x86dd;
const ALL4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const SUBNET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 255);
const ALL6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Nobody has these.
const NOBODY4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const NOBODY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x99);
/// A port that nobody listens on.
const PORTS: (u16, u16) = (40_001, 40_000);

/// The classes of one direction, as they are collected.
struct List {
    way: Way,
    all: Vec<Class>,
}

impl List {
    /// A class of frames, made with its mark.
    fn add(&mut self, name: &'static str, frames: impl FnOnce(&Way, &[u8]) -> Vec<Vec<u8>>) {
        let mark = mark(self.all.len());
        let frames = frames(&self.way, mark.as_bytes());
        self.all.push(Class { name, mark, frames });
    }

    fn ip4(
        &mut self,
        name: &'static str,
        dst: Ipv4Addr,
        ip: &Ip,
        protocol: u8,
        body: impl FnOnce(&Way, &[u8]) -> Vec<u8>,
    ) {
        self.add(name, |way, mark| {
            let packet = ip.packet4(way.from4, dst, protocol, &body(way, mark));
            vec![ethernet(mac_of(dst.into(), way.to), way.from, IP4, &packet)]
        });
    }

    fn ip6(&mut self, name: &'static str, dst: Ipv6Addr, ip: &Ip, next: u8, body: impl FnOnce(&Way, &[u8]) -> Vec<u8>) {
        self.add(name, |way, mark| vec![frame6(way, way.from6, dst, ip, next, &body(way, mark))]);
    }

    /// A UDP datagram to this address.
    fn udp(&mut self, name: &'static str, dst: impl Into<IpAddr>, ip: &Ip) {
        match dst.into() {
            IpAddr::V4(dst) => {
                self.ip4(name, dst, ip, UDP, |way, mark| udp(way.from4.into(), dst.into(), PORTS, mark));
            }
            IpAddr::V6(dst) => {
                self.ip6(name, dst, ip, UDP, |way, mark| udp(way.from6.into(), dst.into(), PORTS, mark));
            }
        }
    }

    /// These parts of a packet to this address.
    fn fragments(&mut self, name: &'static str, dst: IpAddr, protocol: u8, parts: &[(usize, usize, bool)]) {
        let id = u16::try_from(self.all.len()).unwrap_or(u16::MAX);
        self.add(name, |way, mark| {
            let marks = mark.repeat(8);
            let src = if dst.is_ipv4() { IpAddr::from(way.from4) } else { way.from6.into() };
            let body = match (protocol, dst) {
                (UDP, _) => udp(src, dst, PORTS, &marks),
                // Answers to nothing: a request would be answered, with the same mark.
                (ICMP, _) => icmp4(0, 0, [1; 4], &marks),
                (ICMP6, IpAddr::V6(dst)) => icmp6(way.from6, dst, 129, 0, &[&[1; 4], &marks[..]].concat()),
                _ => mark.repeat(9),
            };
            let whole = match dst {
                IpAddr::V4(to) => {
                    ethernet(mac_of(dst, way.to), way.from, IP4, &Ip::default().packet4(way.from4, to, protocol, &body))
                }
                IpAddr::V6(to) => frame6(way, way.from6, to, &Ip::default(), protocol, &body),
            };
            parts.iter().map(|(from, to, more)| fragment(&whole, *from..*to, *more, id)).collect()
        });
    }

    fn arp(&mut self, name: &'static str, dst: Mac, packet: impl FnOnce(&Way) -> Vec<u8>) {
        // Behind the packet there is room up to the shortest frame.
        self.add(name, |way, mark| vec![ethernet(dst, way.from, ARP, &[&packet(way)[..], mark].concat())]);
    }

    /// An ND message with an option that nobody knows, for the mark.
    fn nd(&mut self, name: &'static str, src: Ipv6Addr, dst: Ipv6Addr, kind: u8, rest: &[u8]) {
        self.add(name, |way, mark| {
            let rest = [rest, &[200, 2, 0, 0, 0, 0], mark, &[0, 0]].concat();
            vec![frame6(way, src, dst, &Ip::hops(255), ICMP6, &icmp6(src, dst, kind, 0, &rest))]
        });
    }
}

fn frame6(way: &Way, src: Ipv6Addr, dst: Ipv6Addr, ip: &Ip, next: u8, body: &[u8]) -> Vec<u8> {
    ethernet(mac_of(dst.into(), way.to), way.from, IP6, &ip.packet6(src, dst, next, body))
}

/// A target with its MAC, as NS, NA and redirects have it.
fn with_mac(first: [u8; 4], target: Ipv6Addr, option: u8, mac: Mac) -> Vec<u8> {
    [&first[..], &target.octets(), &[option, 1], &mac].concat()
}

/// `ff02::1:ff00:0/104` with the address's last three bytes.
fn solicited(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let low = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low)
}

/// What a machine on the link sends to the host.
pub(crate) fn to_host(way: Way) -> Vec<Class> {
    let mut list = List { way, all: Vec::new() };
    ip4(&mut list);
    errors4(&mut list);
    groups4(&mut list);
    arp_from_link(&mut list);
    ip6(&mut list);
    groups6(&mut list);
    nd_from_link(&mut list);
    l2(&mut list);
    malformed(&mut list);
    strange(&mut list);
    // To an address that is yet to come.
    let offered = Ipv4Addr::new(192, 0, 2, 98);
    list.ip4("4 DHCP answer", offered, &Ip::default(), UDP, |way, mark| {
        udp(way.from4.into(), offered.into(), (67, 68), mark)
    });
    list.all
}

/// What the host sends.
pub(crate) fn from_host(way: Way) -> Vec<Class> {
    let mut list = List { way, all: Vec::new() };
    ip4(&mut list);
    groups4(&mut list);
    arp_from_host(&mut list);
    ip6(&mut list);
    groups6(&mut list);
    nd_from_host(&mut list);
    l2(&mut list);
    list.all
}

fn ip4(list: &mut List) {
    let Way { to4, .. } = list.way;
    list.udp("4 UDP", to4, &Ip::default());
    list.ip4("4 TCP", to4, &Ip::default(), TCP, |way, mark| syn(way.from4.into(), to4.into(), PORTS, mark));
    // Replies to nothing: a request would be answered, with the same mark.
    list.ip4("4 ICMP echo", to4, &Ip::default(), ICMP, |_, mark| icmp4(0, 0, [1; 4], mark));
    list.ip4("4 OSPF", to4, &Ip::hops(1), OSPF, |_, mark| mark.to_vec());
    list.ip4("4 GRE", to4, &Ip::default(), 47, |_, mark| [&[0, 0, 0x88, 0xb5], mark].concat());
    list.ip4("4 ESP", to4, &Ip::default(), 50, |_, mark| mark.to_vec());
    list.ip4("4 SCTP", to4, &Ip::default(), 132, |_, mark| [&[0; 12], mark].concat());
    list.udp("4 TTL 1", to4, &Ip::hops(1));
    list.udp("4 TTL 255", to4, &Ip::hops(255));
    list.udp("4 DSCP and ECN", to4, &Ip { class: 0xb9, ..Ip::default() });
    let record_route = vec![7, 7, 4, 0, 0, 0, 0, 0];
    list.udp("4 record route", to4, &Ip { options: record_route, ..Ip::default() });
    list.ip4("4 RSVP, router alert", to4, &Ip { hops: 64, ..Ip::router_alert() }, 46, |_, mark| mark.to_vec());
    fragments(list, to4);
    list.add("4 UDP without a checksum", |way, mark| {
        let mut body = udp(way.from4.into(), to4.into(), PORTS, mark);
        body[6..8].fill(0);
        vec![ethernet(way.to, way.from, IP4, &Ip::default().packet4(way.from4, to4, UDP, &body))]
    });
}

/// A card delivers what came, and the kernel waits for what did not. A row of one packet's
/// fragments each: from, to, and whether there are more.
fn fragments(list: &mut List, dst: impl Into<IpAddr>) {
    let dst = dst.into();
    let icmp = if dst.is_ipv4() { ICMP } else { ICMP6 };
    let (first, middle, last) = ((0, 24, true), (24, 48, true), (48, 72, false));
    let mut add = |four, six, protocol, parts: &[(usize, usize, bool)]| {
        list.fragments(if dst.is_ipv4() { four } else { six }, dst, protocol, parts);
    };
    add("4 fragments", "6 fragments", UDP, &[first, middle, last]);
    add("4 fragments of ICMP", "6 fragments of ICMP", icmp, &[first, last]);
    add("4 fragments of OSPF", "6 fragments of OSPF", OSPF, &[first, middle, last]);
    add("4 fragments, the first one last", "6 fragments, the first one last", UDP, &[last, middle, first]);
    add("4 fragments, the first one missing", "6 fragments, the first one missing", UDP, &[middle, last]);
    add("4 fragments, one missing", "6 fragments, one missing", UDP, &[first, last]);
    add("4 fragments, one twice", "6 fragments, one twice", UDP, &[first, middle, middle, last]);
    add("4 fragments that overlap", "6 fragments that overlap", UDP, &[first, (16, 48, true), last]);
    add("4 fragments beyond the end", "6 fragments beyond the end", UDP, &[first, last, (48, 72, true)]);
    add("4 fragment of an odd length", "6 fragment of an odd length", UDP, &[(0, 21, true)]);
}

/// Errors about the host's own packets.
fn errors4(list: &mut List) {
    let Way { to4, .. } = list.way;
    for (name, kind, code, four) in [
        ("4 port unreachable", 3, 3, [0; 4]),
        ("4 fragmentation needed", 3, 4, [0, 0, 5, 0]),
        ("4 time exceeded", 11, 0, [0; 4]),
        ("4 redirect", 5, 1, NOBODY4.octets()),
    ] {
        list.ip4(name, to4, &Ip::default(), ICMP, |way, mark| {
            let about = udp(to4.into(), way.from4.into(), PORTS, mark);
            icmp4(kind, code, four, &Ip::default().packet4(to4, way.from4, UDP, &about))
        });
    }
}

fn groups4(list: &mut List) {
    let group = |last| Ipv4Addr::new(224, 0, 0, last);
    let routed = Ipv4Addr::new(239, 1, 2, 3);
    // As a DHCP client that has no address yet.
    list.add("4 limited broadcast", |way, mark| {
        let (src, dst) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
        let body = udp(src.into(), dst.into(), (68, 67), mark);
        vec![ethernet(BROADCAST, way.from, IP4, &Ip::default().packet4(src, dst, UDP, &body))]
    });
    list.udp("4 limited broadcast with a source", Ipv4Addr::BROADCAST, &Ip::default());
    list.udp("4 subnet broadcast", SUBNET, &Ip::default());
    list.udp("4 224.0.0.1", ALL4, &Ip::hops(1));
    list.ip4("4 224.0.0.5 OSPF", group(5), &Ip::hops(1), OSPF, |_, mark| mark.to_vec());
    list.ip4("4 224.0.0.18 VRRP", group(18), &Ip::hops(255), 112, |_, mark| mark.to_vec());
    list.udp("4 224.0.0.251 mDNS", group(251), &Ip::hops(255));
    list.udp("4 routed group", routed, &Ip::hops(8));
    for (name, dst, protocol) in [
        ("4 fragments to 224.0.0.5", group(5), OSPF),
        ("4 fragments to 224.0.0.251", group(251), UDP),
        ("4 fragments to all", Ipv4Addr::BROADCAST, UDP),
        ("4 fragments to all of the subnet", SUBNET, UDP),
        ("4 fragments to a routed group", routed, UDP),
    ] {
        list.fragments(name, dst.into(), protocol, &[(0, 40, true), (40, 72, false)]);
    }
    list.ip4("4 IGMP query", ALL4, &Ip::router_alert(), IGMP, |_, mark| icmp4(0x11, 100, [0; 4], mark));
    list.ip4("4 IGMPv2 report", routed, &Ip::router_alert(), IGMP, |_, mark| icmp4(0x16, 0, routed.octets(), mark));
    list.ip4("4 IGMPv3 report", group(22), &Ip::router_alert(), IGMP, |_, mark| icmp4(0x22, 0, [0; 4], mark));
    list.ip4("4 IGMP without options", group(22), &Ip::hops(1), IGMP, |_, mark| icmp4(0x22, 0, [0; 4], mark));
}

fn arp_from_link(list: &mut List) {
    let Way { from, to, from4, to4, .. } = list.way;
    let none = [0; 6];
    list.arp("ARP request for the host", BROADCAST, |_| arp(1, (from, from4), (none, to4)));
    list.arp("ARP request from another subnet", BROADCAST, |_| {
        arp(1, (from, Ipv4Addr::new(203, 0, 113, 99)), (none, to4))
    });
    list.arp("ARP request for another machine", BROADCAST, |_| arp(1, ([2, 9, 9, 9, 9, 9], NOBODY4), (none, to4)));
    list.arp("ARP announcement from another subnet", BROADCAST, |_| {
        arp(1, (from, Ipv4Addr::new(203, 0, 113, 98)), (none, Ipv4Addr::new(203, 0, 113, 98)))
    });
    list.arp("ARP announcement", BROADCAST, |_| arp(1, (from, from4), (none, from4)));
    list.arp("ARP reply to all", BROADCAST, |_| arp(2, (from, from4), (BROADCAST, from4)));
    list.arp("ARP reply to the host", to, |_| arp(2, (from, from4), (to, to4)));
    list.arp("ARP reply to the host's probe", to, |_| arp(2, (from, NOBODY4), (to, Ipv4Addr::UNSPECIFIED)));
    list.arp("ARP probe", BROADCAST, |_| arp(1, (from, Ipv4Addr::UNSPECIFIED), (none, NOBODY4)));
    list.arp("ARP probe for the host's address", BROADCAST, |_| arp(1, (from, Ipv4Addr::UNSPECIFIED), (none, to4)));
}

fn arp_from_host(list: &mut List) {
    let Way { from, from4, .. } = list.way;
    let (none, unspecified) = ([0; 6], Ipv4Addr::UNSPECIFIED);
    list.arp("ARP request", BROADCAST, |_| arp(1, (from, from4), (none, NOBODY4)));
    list.arp("ARP announcement", BROADCAST, |_| arp(1, (from, from4), (none, from4)));
    list.arp("ARP announcement of a virtual address", BROADCAST, |_| arp(1, (from, NOBODY4), (none, NOBODY4)));
    list.arp("ARP reply to all", BROADCAST, |_| arp(2, (from, from4), (BROADCAST, from4)));
    list.arp("ARP probe", BROADCAST, |_| arp(1, (from, unspecified), (none, NOBODY4)));
    list.arp("ARP probe for its own address", BROADCAST, |_| arp(1, (from, unspecified), (none, from4)));
}

fn ip6(list: &mut List) {
    let Way { to6, .. } = list.way;
    list.udp("6 UDP", to6, &Ip::default());
    list.ip6("6 TCP", to6, &Ip::default(), TCP, |way, mark| syn(way.from6.into(), to6.into(), PORTS, mark));
    list.ip6("6 ICMP echo", to6, &Ip::default(), ICMP6, |way, mark| {
        icmp6(way.from6, to6, 129, 0, &[&[1; 4], mark].concat())
    });
    list.ip6("6 OSPF", to6, &Ip::hops(1), OSPF, |_, mark| mark.to_vec());
    list.udp("6 hop limit 1", to6, &Ip::hops(1));
    list.udp("6 hop limit 255", to6, &Ip::hops(255));
    list.udp("6 traffic class", to6, &Ip { class: 0xb9, ..Ip::default() });
    list.ip6("6 destination options", to6, &Ip::default(), 60, |way, mark| {
        [&[UDP, 0, 1, 4, 0, 0, 0, 0], &udp(way.from6.into(), to6.into(), PORTS, mark)[..]].concat()
    });
    list.ip6("6 hop-by-hop options", to6, &Ip::default(), HOP_BY_HOP, |way, mark| {
        alert6(UDP, &udp(way.from6.into(), to6.into(), PORTS, mark))
    });
    fragments(list, to6);
    list.fragments("6 fragment that is all", to6.into(), UDP, &[(0, 72, false)]);
    for (name, kind, code, four) in
        [("6 port unreachable", 1, 4, [0; 4]), ("6 too big", 2, 0, [0, 0, 5, 0]), ("6 time exceeded", 3, 0, [0; 4])]
    {
        list.ip6(name, to6, &Ip::default(), ICMP6, |way, mark| {
            let about = udp(to6.into(), way.from6.into(), PORTS, mark);
            let about = Ip::default().packet6(to6, way.from6, UDP, &about);
            icmp6(way.from6, to6, kind, code, &[&four[..], &about].concat())
        });
    }
}

fn groups6(list: &mut List) {
    let group = |last| Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, last);
    let routed = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 0x1234);
    list.udp("6 ff02::1", ALL6, &Ip::hops(1));
    list.ip6("6 ff02::5 OSPF", group(5), &Ip::hops(1), OSPF, |_, mark| mark.to_vec());
    list.udp("6 ff02::fb mDNS", group(0xfb), &Ip::hops(255));
    list.udp("6 ff02::1:2 DHCP", Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2), &Ip::hops(1));
    list.udp("6 routed group", routed, &Ip::hops(8));
    for (name, dst, protocol) in [
        ("6 fragments to ff02::5", group(5), OSPF),
        ("6 fragments to ff02::fb", group(0xfb), UDP),
        ("6 fragments to a routed group", routed, UDP),
    ] {
        list.fragments(name, dst.into(), protocol, &[(0, 40, true), (40, 72, false)]);
    }
    for (name, dst, kind) in [
        ("6 MLD query", ALL6, 130),
        ("6 MLDv1 report", routed, 131),
        ("6 MLDv1 report of a link's group", group(0xfb), 131),
        ("6 MLDv2 report", group(0x16), 143),
    ] {
        list.ip6(name, dst, &Ip::hops(1), HOP_BY_HOP, |way, mark| {
            let rest = [&[0; 4], &routed.octets()[..], mark].concat();
            alert6(ICMP6, &icmp6(way.from6, dst, kind, 0, &rest))
        });
    }
}

fn nd_from_link(list: &mut List) {
    let Way { from, from6, to6, .. } = list.way;
    let any = Ipv6Addr::UNSPECIFIED;
    let (solicited_override, override_only) = ([0x60, 0, 0, 0], [0x20, 0, 0, 0]);
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5eff, 0xfe00, 0x20);
    list.nd("ND solicitation for the host", from6, solicited(to6), 135, &with_mac([0; 4], to6, 1, from));
    list.nd("ND solicitation to the host", from6, to6, 135, &with_mac([0; 4], to6, 1, from));
    list.nd("ND probe for the host's address", any, solicited(to6), 135, &[&[0; 4], &to6.octets()[..]].concat());
    list.nd("ND probe", any, solicited(NOBODY6), 135, &[&[0; 4], &NOBODY6.octets()[..]].concat());
    list.nd("ND advertisement to all", from6, ALL6, 136, &with_mac(override_only, from6, 2, from));
    list.nd("ND advertisement to the host", from6, to6, 136, &with_mac(solicited_override, from6, 2, from));
    list.nd("ND router solicitation", router, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2), 133, &[0; 4]);
    // It is nobody's default router: no lifetime.
    list.nd("ND router advertisement", router, ALL6, 134, &[64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let redirect = [&[0; 4], &NOBODY6.octets()[..], &NOBODY6.octets()].concat();
    list.nd("ND redirect", router, to6, 137, &redirect);
}

fn nd_from_host(list: &mut List) {
    let Way { from, from6, .. } = list.way;
    let any = Ipv6Addr::UNSPECIFIED;
    let routers = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    list.nd("ND solicitation", from6, solicited(NOBODY6), 135, &with_mac([0; 4], NOBODY6, 1, from));
    list.nd("ND probe", any, solicited(NOBODY6), 135, &[&[0; 4], &NOBODY6.octets()[..]].concat());
    list.nd("ND probe for its own address", any, solicited(from6), 135, &[&[0; 4], &from6.octets()[..]].concat());
    list.nd("ND advertisement to all", from6, ALL6, 136, &with_mac([0x20, 0, 0, 0], from6, 2, from));
    list.nd("ND router solicitation", any, routers, 133, &[0; 4]);
    list.nd("ND router advertisement", from6, ALL6, 134, &[64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

fn l2(list: &mut List) {
    let nearest = |last| [1, 0x80, 0xc2, 0, 0, last];
    let marked = |first: &'static [u8]| move |mark: &[u8]| [first, mark].concat();
    for (name, dst, ethertype, first) in [
        ("L2 LLDP", nearest(14), 0x88cc, &b"\x02\x07\x04\x02\x00\x5e\x00\x00\x20\x04\x09\x07"[..]),
        ("L2 LACP", nearest(2), 0x8809, b"\x01\x01"),
        ("L2 EAPOL", nearest(3), 0x888e, b"\x02\x01\x00\x00"),
        ("L2 EAPOL to one machine", list.way.to, 0x888e, b"\x02\x01\x00\x00"),
        ("L2 an ethertype of its own", list.way.to, 0x88b5, b""),
        ("L2 an ethertype of its own to all", BROADCAST, 0x88b5, b""),
        // VLANs that nobody made. Two: the kernel takes one off.
        ("L2 VLANs", BROADCAST, 0x8100, b"\x00\x4d\x81\x00\x00\x4e\x88\xb5"),
    ] {
        list.add(name, |way, mark| vec![ethernet(dst, way.from, ethertype, &marked(first)(mark))]);
    }
    // Cisco's discovery protocol, and its spanning tree of a VLAN's.
    for (name, last, protocol) in [("L2 CDP", 0xcc, [0x20, 0]), ("L2 PVST+", 0xcd, [1, 0x0b])] {
        let snap = [&[0, 0, 0x0c], &protocol[..]].concat();
        list.add(name, |way, mark| {
            vec![llc([1, 0, 0x0c, 0xcc, 0xcc, last], way.from, 0xaa, &[&snap[..], mark].concat())]
        });
    }
    list.add("L2 STP", |way, mark| vec![llc(nearest(0), way.from, 0x42, mark)]);
    list.add("L2 IS-IS", |way, mark| vec![llc(nearest(0x14), way.from, 0xfe, &marked(&[0x83, 0x1b, 1, 0])(mark))]);
}

/// What a card delivers, and the kernel drops.
fn malformed(list: &mut List) {
    let Way { to4, to6, .. } = list.way;
    let mut bad = |name, spoil: fn(&mut [u8])| {
        list.add(name, |way, mark| {
            let body = udp(way.from4.into(), to4.into(), PORTS, mark);
            let mut packet = Ip::default().packet4(way.from4, to4, UDP, &body);
            spoil(&mut packet);
            vec![ethernet(way.to, way.from, IP4, &packet)]
        });
    };
    bad("4 wrong header checksum", |packet| packet[10] ^= 1);
    bad("4 wrong UDP checksum", |packet| packet[26] ^= 1);
    bad("4 wrong version", |packet| packet[0] = 0x75);
    bad("4 from an address without a route", |packet| {
        packet[12..16].fill(0);
        packet[10..12].fill(0);
        let sum = hostnet_lab::frames::checksum(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        // UDP's may be left out.
        packet[26..28].fill(0);
    });
    bad("4 longer than its frame", |packet| {
        packet[2] = 4;
        // The checksum goes with it.
        packet[10..12].fill(0);
        let sum = hostnet_lab::frames::checksum(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
    });
    list.add("6 wrong UDP checksum", |way, mark| {
        let mut body = udp(way.from6.into(), to6.into(), PORTS, mark);
        body[6] ^= 1;
        vec![frame6(way, way.from6, to6, &Ip::default(), UDP, &body)]
    });
    list.add("6 longer than its frame", |way, mark| {
        let mut frame =
            frame6(way, way.from6, to6, &Ip::default(), UDP, &udp(way.from6.into(), to6.into(), PORTS, mark));
        frame[18] = 4;
        vec![frame]
    });
}

/// What no good machine sends, or not to one machine.
fn strange(list: &mut List) {
    let Way { to4, to6, .. } = list.way;
    let datagram = |way: &Way, src: Ipv4Addr, dst: Ipv4Addr, mark: &[u8]| {
        let packet = Ip::default().packet4(src, dst, UDP, &udp(src.into(), dst.into(), PORTS, mark));
        ethernet(way.to, way.from, IP4, &packet)
    };
    for (name, src) in [
        ("4 from 127.0.0.1", Ipv4Addr::LOCALHOST),
        ("4 from a group", ALL4),
        ("4 from all", Ipv4Addr::BROADCAST),
        ("4 from all of the subnet", SUBNET),
        ("4 from the host's own address", to4),
        ("4 from class E", Ipv4Addr::new(240, 0, 0, 1)),
    ] {
        list.add(name, |way, mark| vec![datagram(way, src, to4, mark)]);
    }
    for (name, src) in [
        ("6 from ::1", Ipv6Addr::LOCALHOST),
        ("6 from ::", Ipv6Addr::UNSPECIFIED),
        ("6 from a group", ALL6),
        ("6 from the host's own address", to6),
        ("6 from a link-local address", Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99)),
    ] {
        list.add(name, |way, mark| {
            vec![frame6(way, src, to6, &Ip::default(), UDP, &udp(src.into(), to6.into(), PORTS, mark))]
        });
    }
    list.udp("4 TTL 0", to4, &Ip::hops(0));
    list.udp("6 hop limit 0", to6, &Ip::hops(0));
    for (name, dst) in [
        ("4 224.0.0.1 to one machine", ALL4),
        ("4 a routed group to one machine", Ipv4Addr::new(239, 1, 2, 3)),
        ("4 all to one machine", Ipv4Addr::BROADCAST),
        ("4 all of the subnet to one machine", SUBNET),
        ("4 to 0.0.0.0", Ipv4Addr::UNSPECIFIED),
        ("4 to class E", Ipv4Addr::new(240, 0, 0, 1)),
    ] {
        list.add(name, |way, mark| vec![datagram(way, way.from4, dst, mark)]);
    }
    list.udp("6 to ::1", Ipv6Addr::LOCALHOST, &Ip::default());
    list.add("6 ff02::fb to one machine", |way, mark| {
        let dst = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
        let mut frame =
            frame6(way, way.from6, dst, &Ip::default(), UDP, &udp(way.from6.into(), dst.into(), PORTS, mark));
        frame[..6].copy_from_slice(&way.to);
        vec![frame]
    });
    list.add("4 to the host, in a frame to all", |way, mark| {
        vec![[&BROADCAST, &datagram(way, way.from4, to4, mark)[6..]].concat()]
    });
    list.add("4 with the host's own MAC as source", |way, mark| {
        let mut frame = datagram(way, way.from4, to4, mark);
        frame.copy_within(..6, 6);
        vec![frame]
    });
    for (name, ethertype, first) in [
        ("L2 priority", 0x8100, &b"\xa0\x00\x08\x00"[..]),
        ("L2 service VLAN", 0x88a8, b"\x00\x05\x08\x00"),
        ("L2 MPLS", 0x8847, b"\x00\x02\x11\x40"),
        ("L2 PPPoE", 0x8864, b"\x11\x00\x00\x01\x00\x10\x00\x21"),
        ("L2 PTP", 0x88f7, b"\x00\x02"),
        ("L2 MACsec", 0x88e5, b"\x00\x02"),
    ] {
        list.add(name, |way, mark| {
            let frame = datagram(way, way.from4, to4, mark);
            vec![ethernet(way.to, way.from, ethertype, &[first, &frame[14..]].concat())]
        });
    }
}
