//! `hostnet-nd-input`: IPv6 neighbour solicitations from the link, before VPP
//! reads them.
//!
//! VPP answers questions for the host's addresses. Somebody else's duplicate
//! address detection for one of those is the host's to answer: it must know of
//! the conflict, and VPP's advertisement is solicited and to all nodes at once,
//! which RFC 4861, section 7.1.2, tells every receiver to drop.

use std::net::Ipv6Addr;

use super::shared::frame::{ip_to_host, tap_of};
use super::shared::wire::array;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// Where the target is: behind the IPv6 header and eight bytes of the message.
const TARGET: usize = 48;

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_VPP: Next = Next::To(1);
const NEXT_OUTPUT: Next = Next::To(2);
/// The number of [`NODE`]'s `errors`.
const ERROR_HOST: u16 = 1;

pub(super) static NODE: Node = Node {
    name: c"hostnet-nd-input",
    nexts: &[c"icmp6-neighbor-solicitation", c"interface-output"],
    errors: &[c"probes of others for the host's addresses, for the host"],
    function: Some(entry::<NdInput>),
    format_trace: Some(format_trace::<NdInput>),
    input: false,
};

struct NdInput;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    /// VPP's index of the tap that it goes to.
    tap: Option<u32>,
}

/// What duplicate address detection asks for: it has no source (RFC 4862,
/// section 5.4.2).
fn probed(ip: &[u8]) -> Option<Ipv6Addr> {
    let source: [u8; 16] = array(ip, 8)?;
    let target = Ipv6Addr::from(array::<16>(ip, TARGET)?);
    (source == [0; 16]).then_some(target)
}

impl PacketNode for NdInput {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        let tap = probed(packet.bytes())
            .and_then(|target| tap_of(ctx, rx).filter(|tap| tap.own.contains(&target.into())))
            .filter(|tap| ip_to_host(packet, tap));
        match tap {
            Some(tap) => {
                ctx.count(ERROR_HOST, 1);
                (NEXT_OUTPUT, Trace { rx, tap: Some(tap.sw_if_index) })
            }
            None => (NEXT_VPP, Trace { rx, tap: None }),
        }
    }

    fn format(trace: &Trace) -> String {
        match trace.tap {
            Some(tap) => format!("received by sw_if_index {}, a probe for the host by sw_if_index {tap}", trace.rx),
            None => format!("received by sw_if_index {}, for VPP", trace.rx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_source_is_a_probe() {
        let mut ip = [0; 64];
        ip[48] = 0xfd;
        assert_eq!(probed(&ip), "fd00::".parse().ok());
        ip[23] = 1;
        assert_eq!(probed(&ip), None);
        assert_eq!(probed(&ip[..60]), None);
        assert_eq!(probed(&[]), None);
    }
}
