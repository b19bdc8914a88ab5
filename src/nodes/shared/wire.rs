//! The little of packets that the nodes read and write. Everything goes by
//! byte offsets: headers in VPP's buffers have no alignment.

use crate::model::MacAddr;
pub(crate) use crate::model::frame::{ICMP6, IP6_LEN, array, be16};

/// The operation of an ARP packet that asks (RFC 826).
pub(crate) const ARP_REQUEST: u16 = 1;
/// The type of an ICMPv6 message that asks for a neighbour (RFC 4861).
pub(crate) const NEIGHBOR_SOLICITATION: u8 = 135;

/// Readdress the frame that begins with `out`: its tags and its ethertype stay,
/// as an answer wants it.
pub(crate) fn readdress(out: &mut [u8], dst: MacAddr, src: MacAddr) {
    for (at, byte) in out.iter_mut().zip(dst.0.into_iter().chain(src.0)) {
        *at = byte;
    }
}

/// The Internet checksum (RFC 1071) of an IPv6 upper layer with its
/// pseudo-header (RFC 8200, section 8.1). `body`'s checksum field must be zero
/// to compute; over a right packet the result is zero.
pub(crate) fn checksum6(src: [u8; 16], dst: [u8; 16], next_header: u8, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    folded(sum16(&src) + sum16(&dst) + sum16(&length.to_be_bytes()) + u32::from(next_header) + sum16(body))
}

/// The same of bytes alone, of an IPv4 header for one.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    folded(sum16(bytes))
}

fn folded(sum: u32) -> u16 {
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or(0)
}

fn sum16(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum()
}

/// An ARP packet of one with MAC 02:02:02:02:02:02.
#[cfg(test)]
pub(crate) fn arp_of_test(operation: u8, sender: [u8; 4], target: [u8; 4]) -> [u8; 28] {
    let mut arp = [0; 28];
    arp[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, operation]);
    arp[8..14].copy_from_slice(&[2; 6]);
    arp[14..18].copy_from_slice(&sender);
    arp[24..].copy_from_slice(&target);
    arp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_packet_with_its_checksum_is_zero() {
        let (src, dst) = ([0xfe; 16], [0x20; 16]);
        let mut body = [0x88, 0, 0, 0, 1, 2, 3, 4, 5];
        let sum = checksum6(src, dst, 58, &body);
        assert_ne!(sum, 0);
        body[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(checksum6(src, dst, 58, &body), 0);
        body[8] ^= 1;
        assert_ne!(checksum6(src, dst, 58, &body), 0);
    }

    #[test]
    fn an_answer_keeps_the_tags_of_the_question() {
        let mut frame = [0; 20];
        frame[12..].copy_from_slice(&[0x81, 0, 0, 7, 8, 6, 1, 2]);
        readdress(&mut frame, MacAddr([1; 6]), MacAddr([2; 6]));
        assert_eq!(frame[..6], [1; 6]);
        assert_eq!(frame[6..12], [2; 6]);
        assert_eq!(frame[12..], [0x81, 0, 0, 7, 8, 6, 1, 2]);
    }
}
