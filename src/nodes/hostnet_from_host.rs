//! `hostnet-from-host`: what the host sends, on its way to VPP's FIB.
//!
//! The host is no router's hop away from the wire: VPP must not take a TTL of
//! its packets, or DHCPv6 and eBGP with a hop limit of 1 die. VPP's rewrite
//! takes one, so one is put on top here; only at 255 is the packet marked
//! locally originated instead, which spares it the rewrite's decrement, but
//! also lets IPv6 be fragmented on its way.
//!
//! To an IPv6 link-local address the host speaks on the uplink's link: from
//! here on the packet counts as received there.

use super::shared::taps;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The number of [`NODE`]'s `errors`.
const ERROR_SENT: u16 = 1;

pub(super) static NODE: Node = Node {
    name: c"hostnet-from-host",
    nexts: &[],
    errors: &[c"packets of the host, TTL and hop limit kept"],
    function: Some(entry::<FromHost>),
    format_trace: Some(format_trace::<FromHost>),
    input: false,
};

struct FromHost;

#[derive(Clone, Copy)]
struct Trace {
    tap: u32,
    /// TTL or hop limit as the host sent it.
    hops: u8,
    /// VPP's index of the uplink, for a link-local destination.
    link: Option<u32>,
}

/// What the rewrite's decrement must find.
#[derive(Debug, PartialEq, Eq)]
enum Hops {
    /// One more was put on.
    Raised,
    /// There is no more than 255.
    Full,
    /// Not IP.
    None,
}

fn raise(ip: &mut [u8]) -> (Hops, u8) {
    let at = match ip.first().map(|byte| byte >> 4) {
        Some(4) => 8,
        Some(6) => 7,
        _ => return (Hops::None, 0),
    };
    let Some(hops) = ip.get(at).copied() else { return (Hops::None, 0) };
    let Some(more) = hops.checked_add(1) else { return (Hops::Full, hops) };
    ip[at] = more;
    if at == 8 {
        raise_checksum4(ip);
    }
    (Hops::Raised, hops)
}

/// The IPv4 header checksum after the TTL grew by one (RFC 1624, equation 3):
/// the 16-bit word that the TTL is the high byte of grew by 0x0100.
fn raise_checksum4(ip: &mut [u8]) {
    let Some(field) = ip.get_mut(10..12) else { return };
    let old = u16::from_be_bytes([field[0], field[1]]);
    let (sum, borrow) = old.overflowing_sub(0x0100);
    let new = if borrow { sum.wrapping_sub(1) } else { sum };
    field.copy_from_slice(&new.to_be_bytes());
}

fn is_to_link_local(ip: &[u8]) -> bool {
    ip.first().is_some_and(|byte| byte >> 4 == 6)
        && ip.get(24).is_some_and(|byte| *byte == 0xfe)
        && ip.get(25).is_some_and(|byte| byte & 0xc0 == 0x80)
}

impl PacketNode for FromHost {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let tap = packet.rx();
        let (raised, hops) = raise(packet.bytes_mut());
        if raised == Hops::Full {
            packet.set_locally_originated();
        }
        let link = is_to_link_local(packet.bytes()).then(|| taps::find(ctx, tap).map(|tap| tap.uplink)).flatten();
        if let Some(uplink) = link {
            packet.set_rx(uplink);
        }
        ctx.count(ERROR_SENT, 1);
        (Next::Feature, Trace { tap, hops, link })
    }

    fn format(trace: &Trace) -> String {
        let hops = trace.hops;
        match trace.link {
            Some(uplink) => format!(
                "from the host by sw_if_index {}: TTL {hops} kept, link-local, on the link of sw_if_index {uplink}",
                trace.tap
            ),
            None => format!("from the host by sw_if_index {}: TTL {hops} kept", trace.tap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum4(ip: &[u8]) -> u16 {
        let sum: u32 = ip.chunks(2).map(|p| u32::from(u16::from_be_bytes([p[0], p[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0)
    }

    #[test]
    fn the_ttl_grows_by_one_and_the_checksum_stays_right() {
        for ttl in 0..255_u8 {
            for tail in [0_u8, 1, 0x7f, 0xff] {
                let mut ip = [0x45, 0, 0, 40, 1, 2, 0, 0, ttl, 6, 0, 0, 10, 0, 0, 1, tail, 0xff, 0, tail];
                let sum = checksum4(&ip);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                assert_eq!(raise(&mut ip), (Hops::Raised, ttl));
                assert_eq!((ip[8], checksum4(&ip)), (ttl + 1, 0), "TTL {ttl}, {tail}");
            }
        }
    }

    #[test]
    fn at_255_nothing_is_written() {
        let mut ip = [0x60; 40];
        ip[7] = 255;
        let before = ip;
        assert_eq!(raise(&mut ip), (Hops::Full, 255));
        assert_eq!(ip, before);
        assert_eq!(raise(&mut []), (Hops::None, 0));
        assert_eq!(raise(&mut [0x45]), (Hops::None, 0));
    }

    #[test]
    fn link_local_is_fe80_10() {
        let mut ip = [0_u8; 40];
        ip[0] = 0x60;
        ip[24..26].copy_from_slice(&[0xfe, 0xbf]);
        assert!(is_to_link_local(&ip));
        ip[25] = 0xc0;
        assert!(!is_to_link_local(&ip));
        assert!(!is_to_link_local(&[]));
    }
}
