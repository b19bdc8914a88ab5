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

use super::shared::hops::{Hops, raise};
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
