//! Frames made by hand, byte for byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::wire::Mac;

/// The shortest frame on a wire, without its check sequence, in bytes.
const SHORTEST: usize = 60;
/// Every address of the link.
pub const BROADCAST: Mac = [0xff; 6];
/// Protocol numbers.
pub const ICMP: u8 = 1;
/// IGMP.
pub const IGMP: u8 = 2;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMPv6.
pub const ICMP6: u8 = 58;
/// Hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Fragment header.
pub const FRAGMENT: u8 = 44;
/// OSPF of either version.
pub const OSPF: u8 = 89;

/// Who sends to whom: MACs and addresses.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The sender's MAC.
    pub from: Mac,
    /// The receiver's MAC, where it is one machine.
    pub to: Mac,
    /// The sender's address.
    pub from4: Ipv4Addr,
    /// The receiver's.
    pub to4: Ipv4Addr,
    /// The sender's address.
    pub from6: Ipv6Addr,
    /// The receiver's.
    pub to6: Ipv6Addr,
}

/// An Ethernet frame, padded to the least length.
pub fn ethernet(dst: Mac, src: Mac, ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = [&dst[..], &src, &ethertype.to_be_bytes(), body].concat();
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}

/// An 802.3 frame with an LLC header; its type field is its length.
pub fn llc(dst: Mac, src: Mac, sap: u8, body: &[u8]) -> Vec<u8> {
    // Unnumbered information.
    let pdu = [&[sap, sap, 3], body].concat();
    ethernet(dst, src, u16::try_from(pdu.len()).unwrap_or(u16::MAX), &pdu)
}

/// The MAC of a multicast or broadcast address (RFC 1112, RFC 2464), or of the
/// one machine.
pub fn mac_of(addr: IpAddr, unicast: Mac) -> Mac {
    match addr {
        IpAddr::V4(addr) if addr.is_multicast() => {
            let [_, b, c, d] = addr.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
        // The lab's links have /24.
        IpAddr::V4(addr) if addr.octets()[3] == 255 => BROADCAST,
        IpAddr::V6(addr) if addr.is_multicast() => {
            let bytes = addr.octets();
            [0x33, 0x33, bytes[12], bytes[13], bytes[14], bytes[15]]
        }
        _ => unicast,
    }
}

/// The Internet checksum (RFC 1071).
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// What an IP packet may have beyond the usual.
#[derive(Clone, Debug)]
pub struct Ip {
    /// TTL or hop limit.
    pub hops: u8,
    /// DSCP and ECN.
    pub class: u8,
    /// IPv4 options, a multiple of four bytes.
    pub options: Vec<u8>,
    /// Identification, for IPv4.
    pub id: u16,
    /// IPv4's flags and offset.
    pub fragment: u16,
}

impl Default for Ip {
    fn default() -> Self {
        Self { hops: 64, class: 0, options: Vec::new(), id: 1, fragment: 0 }
    }
}

impl Ip {
    /// With this TTL or hop limit.
    pub fn hops(hops: u8) -> Self {
        Self { hops, ..Self::default() }
    }

    /// With the IPv4 option that routers look at (RFC 2113), and the TTL of the
    /// protocols that use it.
    pub fn router_alert() -> Self {
        Self { hops: 1, options: vec![0x94, 4, 0, 0], ..Self::default() }
    }

    /// An IPv4 packet.
    pub fn packet4(&self, src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
        let words = u8::try_from(5 + self.options.len() / 4).unwrap_or(15);
        let total = u16::try_from(usize::from(words) * 4 + body.len()).unwrap_or(u16::MAX);
        let mut header = vec![0x40 | words, self.class];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.hops, protocol, 0, 0]);
        header.extend(src.octets());
        header.extend(dst.octets());
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(body);
        header
    }

    /// An IPv6 packet.
    pub fn packet6(&self, src: Ipv6Addr, dst: Ipv6Addr, next: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
        let mut packet = vec![0x60 | self.class >> 4, self.class << 4, 0, 0, length[0], length[1], next, self.hops];
        packet.extend(src.octets());
        packet.extend(dst.octets());
        packet.extend(body);
        packet
    }
}

/// A fragment of the packet in a frame of either family, without options, tags and
/// headers of extension: this part of what its header carries. The part begins at a multiple
/// of eight bytes.
pub fn fragment(frame: &[u8], part: Range<usize>, more: bool, id: u16) -> Vec<u8> {
    let offset = u16::try_from(part.start).unwrap_or(u16::MAX);
    let (header, body) = frame.split_at(if frame[14] >> 4 == 4 { 34 } else { 54 });
    let body = &body[part];
    let mut frame = header.to_vec();
    if header.len() == 34 {
        let length = u16::try_from(20 + body.len()).unwrap_or(u16::MAX);
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[18..20].copy_from_slice(&id.to_be_bytes());
        frame[20..22].copy_from_slice(&((u16::from(more) << 13) | (offset / 8)).to_be_bytes());
        frame[24..26].fill(0);
        let sum = checksum(&[&frame[14..]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        let length = u16::try_from(8 + body.len()).unwrap_or(u16::MAX);
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        frame[20] = FRAGMENT;
        frame.extend([header[20], 0]);
        frame.extend((offset | u16::from(more)).to_be_bytes());
        frame.extend(u32::from(id).to_be_bytes());
    }
    frame.extend(body);
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}

fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => [src.octets(), dst.octets()].concat(),
        (IpAddr::V6(src), IpAddr::V6(dst)) => [src.octets(), dst.octets()].concat(),
        _ => Vec::new(),
    };
    out.extend([0, 0, 0, protocol]);
    out.extend(length);
    out
}

/// The same body with its checksum, which belongs at `at`, for these addresses.
pub fn summed(mut body: Vec<u8>, at: usize, src: IpAddr, dst: IpAddr, protocol: u8) -> Vec<u8> {
    let sum = checksum(&[&pseudo(src, dst, protocol, body.len()), &body]);
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    body
}

/// A UDP datagram.
pub fn udp(src: IpAddr, dst: IpAddr, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap_or(u16::MAX);
    let mut body = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    body.extend(data);
    summed(body, 6, src, dst, UDP)
}

/// A TCP segment that opens a connection, with data behind it.
pub fn syn(src: IpAddr, dst: IpAddr, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut body = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    body.extend([0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    body.extend(data);
    summed(body, 16, src, dst, TCP)
}

/// An ICMP or IGMP message: type, code, the next four bytes, the rest.
pub fn icmp4(kind: u8, code: u8, four: [u8; 4], rest: &[u8]) -> Vec<u8> {
    let mut body = [&[kind, code, 0, 0], &four[..], rest].concat();
    let sum = checksum(&[&body]);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    body
}

/// An ICMPv6 message between these addresses.
pub fn icmp6(src: Ipv6Addr, dst: Ipv6Addr, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let body = [&[kind, code, 0, 0], rest].concat();
    summed(body, 2, src.into(), dst.into(), ICMP6)
}

/// The hop-by-hop header with the option that routers look at (RFC 2711), of MLD.
pub fn alert6(next: u8, body: &[u8]) -> Vec<u8> {
    [&[next, 0, 5, 2, 0, 0, 1, 0], body].concat()
}

/// An ARP packet of IPv4 over Ethernet.
pub fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4];
    body.extend(operation.to_be_bytes());
    for (mac, addr) in [sender, target] {
        body.extend(mac);
        body.extend(addr.octets());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_sums_to_zero() {
        let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let packet = Ip::router_alert().packet4(src, dst, UDP, &udp(src.into(), dst.into(), (1, 2), b"abc"));
        assert_eq!(packet.len(), 24 + 11);
        assert_eq!(checksum(&[&packet[..24]]), 0);
        let sum = checksum(&[&pseudo(src.into(), dst.into(), UDP, 11), &packet[24..]]);
        assert_eq!(sum, 0);
    }

    #[test]
    fn groups_have_their_macs() {
        let unicast = [2; 6];
        assert_eq!(mac_of([224, 129, 2, 3].into(), unicast), [1, 0, 0x5e, 1, 2, 3]);
        assert_eq!(mac_of([255; 4].into(), unicast), BROADCAST);
        assert_eq!(mac_of([10, 0, 0, 1].into(), unicast), unicast);
    }
}
