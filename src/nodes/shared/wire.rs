//! The little of packets that the nodes read and write. Everything goes by
//! byte offsets: headers in VPP's buffers have no alignment.

use crate::model::MacAddr;

/// Length of an Ethernet header without tags, in bytes.
pub(crate) const ETHERNET_LEN: usize = 14;
/// Ethertypes (IEEE 802 numbers).
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
/// As above.
pub(crate) const ETHERTYPE_IP6: u16 = 0x86dd;

/// `N` bytes from `at` on.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A 16-bit number in network byte order.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Write an Ethernet header at the start of `out`.
pub(crate) fn ethernet(out: &mut [u8], dst: MacAddr, src: MacAddr, ethertype: u16) {
    for (at, byte) in out.iter_mut().zip(dst.0.into_iter().chain(src.0).chain(ethertype.to_be_bytes())) {
        *at = byte;
    }
}

/// The Internet checksum (RFC 1071) of an IPv6 upper layer with its
/// pseudo-header (RFC 8200, section 8.1). `body`'s checksum field must be zero
/// to compute; over a right packet the result is zero.
pub(crate) fn checksum6(src: [u8; 16], dst: [u8; 16], next_header: u8, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let sum = sum16(&src) + sum16(&dst) + sum16(&length.to_be_bytes()) + u32::from(next_header) + sum16(body);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or(0)
}

fn sum16(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum()
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
    fn reads_beyond_the_end_are_none() {
        assert_eq!(be16(&[1, 2], 1), None);
        assert_eq!(be16(&[1, 2], 0), Some(0x0102));
        assert_eq!(array::<4>(&[1, 2], 9), None);
    }
}
