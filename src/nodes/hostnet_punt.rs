//! `hostnet-punt`: with several uplinks, a punted packet goes to the host
//! whose address it is for, wherever it came by.
//!
//! VPP chooses a punt redirect by the receive interface alone. That is right
//! for what comes by the uplink itself; a pod's packet to the second uplink's
//! address would go to the first one's host. So it counts as received on the
//! uplink that has the address, whose redirect then takes it. With one uplink
//! the node is not on the path.

use std::net::IpAddr;

use super::shared::taps;
use super::shared::wire::array;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The number of [`NODE`]'s `errors`.
const ERROR_CHOSEN: u16 = 1;

pub(super) static NODE: Node = Node {
    name: c"hostnet-punt",
    nexts: &[],
    errors: &[c"packets led to the uplink whose address they are for"],
    function: Some(entry::<Punt>),
    format_trace: Some(format_trace::<Punt>),
    input: false,
};

struct Punt;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    /// VPP's index of the uplink that it was led to.
    uplink: Option<u32>,
}

fn destination(ip: &[u8]) -> Option<IpAddr> {
    match ip.first()? >> 4 {
        4 => array::<4>(ip, 16).map(IpAddr::from),
        6 => array::<16>(ip, 24).map(IpAddr::from),
        _ => None,
    }
}

impl PacketNode for Punt {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        // An IPv6 link-local address says nothing without its link.
        let addr =
            destination(packet.bytes()).filter(|addr| !matches!(addr, IpAddr::V6(a) if a.is_unicast_link_local()));
        let uplink = addr.and_then(|addr| taps::uplink_of(ctx, addr)).filter(|uplink| *uplink != rx);
        if let Some(uplink) = uplink {
            packet.set_rx(uplink);
            ctx.count(ERROR_CHOSEN, 1);
        }
        (Next::Feature, Trace { rx, uplink })
    }

    fn format(trace: &Trace) -> String {
        match trace.uplink {
            Some(uplink) => format!("received by sw_if_index {}, for the host of sw_if_index {uplink}", trace.rx),
            None => format!("received by sw_if_index {}, for its host", trace.rx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_of_either_family() {
        let mut ip = [0_u8; 40];
        assert_eq!(destination(&ip), None);
        ip[0] = 0x45;
        ip[16..20].copy_from_slice(&[10, 0, 0, 7]);
        assert_eq!(destination(&ip), Some(IpAddr::from([10, 0, 0, 7])));
        ip[0] = 0x60;
        ip[24] = 0xfd;
        assert_eq!(destination(&ip), "fd00::".parse().ok());
        assert_eq!(destination(&ip[..30]), None);
        assert_eq!(destination(&[]), None);
    }
}
