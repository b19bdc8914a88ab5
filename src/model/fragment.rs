//! Fragments of IP packets, and who the packets are for.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::frame::{IP6_LEN, array, be16};

/// IPv4's flag of more fragments, and the offset below it (RFC 791, section 3.1).
const MORE4: u16 = 0x2000;
const OFFSET4: u16 = 0x1fff;
/// The number of IPv6's header of fragments, and its length in bytes.
const FRAGMENT: u8 = 44;
const FRAGMENT_LEN: usize = 8;
/// The offset in it (RFC 8200, section 4.5).
const OFFSET6: u16 = 0xfff8;

/// A fragment of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'p> {
    /// The packet that it is of.
    pub packet: PacketId,
    /// The protocol inside, as this fragment says.
    pub protocol: u8,
    /// What is inside, of the first fragment alone: there its ports are.
    pub first: Option<&'p [u8]>,
}

/// What the fragments of one packet have in common (RFC 791, section 3.2; RFC 8200,
/// section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketId {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// Of IPv4 alone; IPv6's may differ between the fragments.
    protocol: Option<u8>,
}

impl<'p> Fragment<'p> {
    /// What an IP packet of either family is a fragment of; `None` where it is
    /// whole, or too short to tell. Of IPv6 only where the header of fragments is
    /// the first one.
    pub fn of(ip: &'p [u8]) -> Option<Self> {
        match ip.first()? >> 4 {
            4 => Self::of4(ip),
            6 => Self::of6(ip),
            _ => None,
        }
    }

    fn of4(ip: &'p [u8]) -> Option<Self> {
        let offset = be16(ip, 6)? & (MORE4 | OFFSET4);
        let (src, dst) = (array::<4>(ip, 12)?.into(), array::<4>(ip, 16)?.into());
        let protocol = *ip.get(9)?;
        let body = ip.get(4 * usize::from(ip[0] & 0x0f)..)?;
        let packet = PacketId { src, dst, id: be16(ip, 4)?.into(), protocol: Some(protocol) };
        (offset != 0).then_some(Self { packet, protocol, first: (offset & OFFSET4 == 0).then_some(body) })
    }

    fn of6(ip: &'p [u8]) -> Option<Self> {
        let header = array::<FRAGMENT_LEN>(ip, IP6_LEN).filter(|_| ip[6] == FRAGMENT)?;
        let (src, dst) = (array::<16>(ip, 8)?.into(), array::<16>(ip, 24)?.into());
        let packet = PacketId { src, dst, id: array(&header, 4).map(u32::from_be_bytes)?, protocol: None };
        let is_first = be16(&header, 2)? & OFFSET6 == 0;
        let body = ip.get(IP6_LEN + FRAGMENT_LEN..)?;
        Some(Self { packet, protocol: header[0], first: is_first.then_some(body) })
    }
}

/// Who a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The host; VPP has no use for it.
    Host,
    /// VPP itself, a tunnel's for one.
    Vpp,
}

const SETS: usize = 128;
const WAYS: usize = 4;
/// How long a first fragment is remembered, in seconds: longer than VPP waits for
/// the others (`IP4_REASS_TIMEOUT_DEFAULT_MS`, vnet/ip/reass/ip4_full_reass.c). Senders
/// use an identification again (RFC 6864, section 3).
const LIFE: f64 = 1.0;

/// The packets whose first fragments came lately. When more come at once than it
/// holds, the oldest are forgotten.
#[derive(Debug)]
pub struct Firsts {
    sets: Box<[[Option<Known>; WAYS]]>,
    /// Its seed is the process's own: nobody outside can fill one set.
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    packet: PacketId,
    owner: Owner,
    /// In seconds of the thread's clock.
    at: f64,
}

impl Default for Firsts {
    fn default() -> Self {
        Self { sets: vec![[None; WAYS]; SETS].into(), hasher: RandomState::default() }
    }
}

impl Firsts {
    /// The packet's first fragment came at `now` seconds, and is for `owner`.
    pub fn note(&mut self, packet: PacketId, owner: Owner, now: f64) {
        let age = |place: &Option<Known>| match place {
            Some(known) if known.packet == packet => f64::INFINITY,
            Some(known) if (0.0..LIFE).contains(&(now - known.at)) => now - known.at,
            _ => LIFE,
        };
        let set = self.set(&packet);
        if let Some(place) = self.sets[set].iter_mut().max_by(|a, b| age(a).total_cmp(&age(b))) {
            *place = Some(Known { packet, owner, at: now });
        }
    }

    /// Who the packet is for, where its first fragment came lately.
    pub fn owner(&self, packet: PacketId, now: f64) -> Option<Owner> {
        let known = self.sets[self.set(&packet)].iter().flatten().find(|known| known.packet == packet)?;
        (0.0..LIFE).contains(&(now - known.at)).then_some(known.owner)
    }

    fn set(&self, packet: &PacketId) -> usize {
        usize::try_from(self.hasher.hash_one(packet) % SETS as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip4(offset: u16, id: u16, body: &[u8]) -> Vec<u8> {
        let mut ip = vec![0x46; 24];
        ip[4..6].copy_from_slice(&id.to_be_bytes());
        ip[6..8].copy_from_slice(&offset.to_be_bytes());
        ip[9] = 17;
        ip[12..20].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        ip.extend(body);
        ip
    }

    fn ip6(next: u8, offset: u16, id: u32) -> Vec<u8> {
        let mut ip = vec![0x60; 40];
        ip[6] = next;
        ip.extend([17, 0]);
        ip.extend(offset.to_be_bytes());
        ip.extend(id.to_be_bytes());
        ip.extend([1, 2, 3]);
        ip
    }

    #[test]
    fn the_first_fragment_shows_what_is_inside() -> Result<(), &'static str> {
        let (first, last) = (ip4(MORE4, 7, &[1, 2]), ip4(185, 7, &[3, 4]));
        let (first, last) = (Fragment::of(&first).ok_or("first")?, Fragment::of(&last).ok_or("last")?);
        assert_eq!((first.first, last.first), (Some(&[1, 2][..]), None));
        assert_eq!((first.packet, first.protocol), (last.packet, last.protocol));
        assert_ne!(Some(first.packet), Fragment::of(&ip4(185, 8, &[])).map(|other| other.packet));
        let (first, last) = (ip6(FRAGMENT, 1, 9), ip6(FRAGMENT, 1448, 9));
        let (first, last) = (Fragment::of(&first).ok_or("first")?, Fragment::of(&last).ok_or("last")?);
        assert_eq!((first.first, last.first, first.protocol), (Some(&[1, 2, 3][..]), None, 17));
        assert_eq!(first.packet, last.packet);
        Ok(())
    }

    #[test]
    fn whole_packets_are_no_fragments() {
        // "Don't fragment" says nothing of it.
        for whole in [ip4(0, 7, &[]), ip4(0x4000, 7, &[]), ip6(17, 0, 1), vec![0x50; 60], Vec::new()] {
            assert_eq!(Fragment::of(&whole), None);
        }
        // One that stands alone has the header, too (RFC 6946).
        assert!(Fragment::of(&ip6(FRAGMENT, 0, 1)).is_some_and(|alone| alone.first.is_some()));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..80), version in 4_u8..7) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version << 4 | *first & 0x0f;
            }
            let _ = Fragment::of(&bytes);
        }
    }

    fn packet(id: u32) -> PacketId {
        PacketId { src: [1; 4].into(), dst: [2; 4].into(), id, protocol: None }
    }

    #[test]
    fn the_last_word_on_a_packet_counts_for_a_while() {
        let mut firsts = Firsts::default();
        assert_eq!(firsts.owner(packet(1), 5.0), None);
        firsts.note(packet(1), Owner::Vpp, 5.0);
        firsts.note(packet(1), Owner::Host, 5.1);
        firsts.note(packet(2), Owner::Vpp, 5.1);
        assert_eq!(firsts.owner(packet(1), 5.2), Some(Owner::Host));
        assert_eq!(firsts.owner(packet(2), 5.2), Some(Owner::Vpp));
        assert_eq!(firsts.owner(packet(2), 6.2), None);
        // The processor's clock was put back.
        assert_eq!(firsts.owner(packet(2), 1.0), None);
        let known = firsts.sets.iter().flatten().flatten().count();
        assert_eq!(known, 2);
    }

    #[test]
    fn a_flood_of_firsts_leaves_the_newest() {
        let mut firsts = Firsts::default();
        let mut now = 1.0;
        for id in 0..100_000 {
            now += 1e-6;
            firsts.note(packet(id), Owner::Vpp, now);
        }
        assert_eq!(firsts.owner(packet(99_999), now), Some(Owner::Vpp));
        assert_eq!(firsts.owner(packet(0), now), None);
        // As many as there is room for, or most of them.
        let kept = (99_000..100_000).filter(|id| firsts.owner(packet(*id), now).is_some()).count();
        assert!((SETS * WAYS * 3 / 4..=SETS * WAYS).contains(&kept), "{kept}");
    }
}
