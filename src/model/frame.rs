//! The little that is read of Ethernet frames, by byte offsets: headers in
//! buffers have no alignment. What is not there is `None`.

use super::VlanTag;

/// Ethertypes.
pub const IP4: u16 = 0x0800;
/// ARP.
pub const ARP: u16 = 0x0806;
/// IPv6.
pub const IP6: u16 = 0x86dd;
/// Below, an ethertype is the length of an LLC frame (IEEE 802.3, 3.2.6).
pub const FIRST_ETHERTYPE: u16 = 0x600;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
/// A frame has at most so many tags to us; what is behind more is nobody's.
const MAX_TAGS: usize = 2;
/// Length of an IPv6 header without extensions, in bytes.
pub const IP6_LEN: usize = 40;
/// The number of ICMP.
pub const ICMP: u8 = 1;
/// The number of ICMPv6 among protocols.
pub const ICMP6: u8 = 58;
/// The number of IGMP.
pub const IGMP: u8 = 2;
/// The number of UDP.
pub const UDP: u8 = 17;
/// The header of hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;

/// `N` bytes from `at` on.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A 16-bit number in network byte order.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// The ethertype behind the tags, and where what it tells of begins. Below
/// [`FIRST_ETHERTYPE`] it is the length of an LLC frame.
pub fn ethertype(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = 12;
    for _ in 0..MAX_TAGS {
        match be16(frame, at)? {
            VLAN | SERVICE_VLAN => at += 4,
            other => return Some((other, at + 2)),
        }
    }
    Some((be16(frame, at)?, at + 2))
}

/// The outer tag, and whether it is the only one; `None` without a VLAN's. A frame with
/// a priority alone is in none (IEEE 802.1Q, 9.6).
pub fn vlan(frame: &[u8]) -> Option<(VlanTag, bool)> {
    let tag = be16(frame, 12)?;
    let id = be16(frame, 14)? & 0x0fff;
    let is_only = !matches!(be16(frame, 16), Some(VLAN | SERVICE_VLAN));
    let is_vlan = matches!(tag, VLAN | SERVICE_VLAN) && id != 0;
    is_vlan.then_some((VlanTag { id, is_ad: tag == SERVICE_VLAN }, is_only))
}

/// Whether it goes to several machines.
pub fn is_to_group(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ethertype: u16, body: &[u8]) -> Vec<u8> {
        [&[1, 0, 0x5e, 0, 0, 1][..], &[2; 6], &ethertype.to_be_bytes(), body].concat()
    }

    #[test]
    fn tags_are_skipped() {
        assert_eq!(ethertype(&frame(IP4, &[])), Some((IP4, 14)));
        let tagged = [&[0, 7][..], &[0x81, 0, 0, 8], &IP6.to_be_bytes()].concat();
        assert_eq!(ethertype(&frame(SERVICE_VLAN, &tagged)), Some((IP6, 22)));
        assert_eq!(ethertype(&frame(VLAN, &[0, 7])), None);
        assert_eq!(ethertype(&[]), None);
    }

    #[test]
    fn a_priority_is_no_vlan() {
        let tag = |id, is_ad| VlanTag { id, is_ad };
        assert_eq!(vlan(&frame(IP4, &[0; 20])), None);
        assert_eq!(vlan(&frame(VLAN, &[0xa0, 0, 8, 0])), None);
        assert_eq!(vlan(&frame(VLAN, &[0xa0, 7, 8, 0])), Some((tag(7, false), true)));
        assert_eq!(vlan(&frame(SERVICE_VLAN, &[0, 7, 0x81, 0])), Some((tag(7, true), false)));
        assert_eq!(vlan(&frame(VLAN, &[0])), None);
    }

    #[test]
    fn reads_beyond_the_end_are_none() {
        assert_eq!(be16(&[1, 2], 1), None);
        assert_eq!(be16(&[1, 2], 0), Some(0x0102));
        assert_eq!(array::<4>(&[1, 2], 9), None);
    }
}
