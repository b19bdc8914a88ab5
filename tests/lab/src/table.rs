//! A full table: as many routes as the Internet has, with its distribution of
//! prefix lengths, over a few hundred next hops. The same every time.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::rtnl::Plain;

/// Length and share in thousandths: the table of IPv4 as route collectors
/// showed it in 2024.
const LENGTHS4: [(u8, u32); 17] = [
    (24, 617),
    (22, 115),
    (23, 103),
    (21, 52),
    (20, 45),
    (19, 26),
    (18, 14),
    (16, 14),
    (17, 8),
    (15, 2),
    (14, 1),
    (13, 1),
    (12, 1),
    (11, 1),
    (10, 0),
    (9, 0),
    (8, 0),
];
/// The same of IPv6.
const LENGTHS6: [(u8, u32); 17] = [
    (48, 468),
    (32, 118),
    (40, 105),
    (44, 92),
    (36, 52),
    (46, 38),
    (47, 31),
    (45, 25),
    (29, 22),
    (42, 18),
    (38, 9),
    (33, 8),
    (34, 5),
    (35, 3),
    (28, 3),
    (31, 2),
    (30, 1),
];
/// First bits of what registries have given out, of IPv6.
const REGISTRIES6: [u16; 6] = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00];

/// A small generator (splitmix64): its numbers are the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.number() % n.max(1)
    }

    /// A place in a list of so many.
    pub fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }

    /// One of them; none of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }
}

/// A stanza of startup.conf that gives VPP room for so many routes at its start.
pub fn room(routes: usize) -> String {
    let room = routes * 11 / 10;
    format!("l3fib {{ load-balance-pool-size {room} fib-entry-pool-size {room} ip4-mtrie-pool-size 100000 }}\n")
}

/// The table.
#[derive(Clone, Debug)]
pub struct FullTable {
    prefixes: Vec<(IpAddr, u8, u16)>,
    hops: [Vec<IpAddr>; 2],
}

impl FullTable {
    /// So many routes of each family, over next hops on the lab's first wire
    /// (192.0.2.0/24, 2001:db8:1::/64). Nobody answers at most of them.
    pub fn new(ip4: usize, ip6: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Not .0 to .19, where machines of the lab are, and not .255.
        let hops4 = (30..250).map(|n| Ipv4Addr::new(192, 0, 2, n).into()).collect();
        let hops6 = (1..=200).map(|n| Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 7, n).into()).collect();
        let hops: [Vec<IpAddr>; 2] = [hops4, hops6];
        let mut prefixes = Vec::with_capacity(ip4 + ip6);
        let mut seen = HashSet::with_capacity(ip4 + ip6);
        for (count, is_ip6) in [(ip4, false), (ip6, true)] {
            let end = prefixes.len() + count;
            while prefixes.len() < end {
                let prefix = if is_ip6 { prefix6(&mut random) } else { prefix4(&mut random) };
                let Some((addr, len)) = prefix.filter(|prefix| seen.insert(*prefix)) else { continue };
                // A few have most of it, as with transit providers.
                let spread = 1 + random.index(hops.get(usize::from(is_ip6)).map_or(1, Vec::len));
                prefixes.push((addr, len, u16::try_from(random.index(spread)).unwrap_or(0)));
            }
        }
        Self { prefixes, hops }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.prefixes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// The routes; each next hop is the one `shift` places on.
    pub fn routes(&self, shift: usize) -> impl Iterator<Item = Plain> + '_ {
        self.prefixes.iter().filter_map(move |(addr, len, hop)| {
            let hops = self.hops.get(usize::from(addr.is_ipv6()))?;
            let gateway = *hops.get((usize::from(*hop) + shift) % hops.len())?;
            Some(Plain { addr: *addr, len: *len, gateway })
        })
    }
}

fn length(random: &mut Random, of: &[(u8, u32)]) -> u8 {
    let total: u32 = of.iter().map(|(_, share)| share).sum();
    let mut at = u32::try_from(random.below(total.into())).unwrap_or(0);
    for (len, share) in of {
        if at < *share {
            return *len;
        }
        at -= share;
    }
    24
}

/// Unicast that anybody may announce: no private ranges, none of the lab's.
fn prefix4(random: &mut Random) -> Option<(IpAddr, u8)> {
    let len = length(random, &LENGTHS4);
    let addr = Ipv4Addr::from(u32::try_from(random.number() >> 32).ok()? & (u32::MAX << (32 - len)));
    let taken = match addr.octets() {
        [0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203, ..] => true,
        [first, ..] => first >= 224,
    };
    (!taken).then_some((addr.into(), len))
}

fn prefix6(random: &mut Random) -> Option<(IpAddr, u8)> {
    let len = length(random, &LENGTHS6);
    let first = u128::from(*random.pick(&REGISTRIES6)?) << 112;
    // Within the first registry's part another two bytes tell the network.
    let rest = u128::from(random.number() >> 16) << 64;
    let addr = Ipv6Addr::from((first | rest) & (u128::MAX << (128 - u32::from(len))));
    // Documentation.
    let taken = addr.segments().first_chunk() == Some(&[0x2001, 0xdb8]);
    (!taken).then_some((addr.into(), len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_every_time_each_prefix_once_and_without_host_bits() {
        let table = FullTable::new(20_000, 5_000, 1);
        let routes: Vec<Plain> = table.routes(0).collect();
        assert_eq!(routes, FullTable::new(20_000, 5_000, 1).routes(0).collect::<Vec<_>>());
        assert_eq!(routes.len(), 25_000);
        let places: HashSet<_> = routes.iter().map(|route| (route.addr, route.len)).collect();
        assert_eq!(places.len(), 25_000);
        let of_24 = routes.iter().filter(|route| route.len == 24).count();
        assert!((11_000..14_000).contains(&of_24), "{of_24}");
        for route in &routes {
            let clean = match route.addr {
                IpAddr::V4(v4) => u32::from(v4).checked_shl(route.len.into()).unwrap_or(0) == 0,
                IpAddr::V6(v6) => u128::from(v6) << route.len == 0,
            };
            assert!(clean, "{route:?}");
        }
        // A shift changes every next hop.
        assert!(table.routes(1).zip(&routes).all(|(a, b)| a.gateway != b.gateway));
        let hops: HashSet<IpAddr> = routes.iter().map(|route| route.gateway).collect();
        assert!(hops.len() > 300, "{}", hops.len());
    }
}
