//! `hostnet-source`: the first node behind the host's device.
//!
//! It counts what the host sends by class and, where that was asked for, refuses
//! IP packets whose source is not the host's.

use std::net::IpAddr;

use super::shared::police::{self, count_from_host, of_class};
use super::shared::taps;
use super::shared::wire::array;
use crate::model::frame::{IP4, IP6, ethertype};
use crate::model::police::Class;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `errors`: by class in the order of their indices.
const ERROR_SENT: u16 = 1;
const ERROR_REFUSED: u16 = 9;

pub(super) static NODE: Node = Node {
    name: c"hostnet-source",
    nexts: &[],
    errors: &[
        c"arp-nd: from the host",
        c"dhcp: from the host",
        c"routing: from the host",
        c"icmp: from the host",
        c"l2: from the host",
        c"multicast: from the host",
        c"ports: from the host",
        c"rest: from the host",
        c"packets of the host with another's source, refused",
    ],
    function: Some(entry::<Source>),
    format_trace: Some(format_trace::<Source>),
    input: false,
};

struct Source;

#[derive(Clone, Copy)]
struct Trace {
    tap: u32,
    class: Class,
    /// The source that is not the host's.
    refused: Option<IpAddr>,
}

/// The source of an IP packet, if it says one: who has no address yet asks
/// without (RFC 2131, RFC 4862).
fn source(frame: &[u8]) -> Option<IpAddr> {
    let (ethertype, at) = ethertype(frame)?;
    let addr = match ethertype {
        IP4 => array::<4>(frame, at + 12).map(IpAddr::from),
        IP6 => array::<16>(frame, at + 8).map(IpAddr::from),
        _ => None,
    };
    addr.filter(|addr| !addr.is_unspecified())
}

impl PacketNode for Source {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let tap = packet.rx();
        let class = police::kind_of(ctx, packet.bytes()).class;
        let checked = taps::find(ctx, tap).is_some_and(|tap| tap.check_source);
        // An address of a VLAN's, of another uplink's or of a device that VPP does not
        // know is the host's as well.
        let is_others = |addr: &IpAddr| checked && taps::uplink_of(ctx, *addr, tap).is_none();
        let refused = source(packet.bytes()).filter(is_others);
        count_from_host(ctx, tap, class, refused.is_some());
        let next = if refused.is_some() {
            Next::Drop(ERROR_REFUSED)
        } else {
            ctx.count(of_class(ERROR_SENT, class), 1);
            Next::Feature
        };
        (next, Trace { tap, class, refused })
    }

    fn format(trace: &Trace) -> String {
        let Trace { tap, class, refused } = trace;
        match refused {
            Some(addr) => {
                format!("from the host by sw_if_index {tap}: class {class}: source {addr} is not the host's, refused")
            }
            None => format!("from the host by sw_if_index {tap}: class {class}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_either_family_behind_tags() {
        let mut frame = vec![0; 60];
        (frame[12], frame[26]) = (8, 10);
        assert_eq!(source(&frame), Some(IpAddr::from([10, 0, 0, 0])));
        frame[26] = 0;
        assert_eq!(source(&frame), None, "none yet");
        frame[12..18].copy_from_slice(&[0x81, 0, 0, 7, 0x86, 0xdd]);
        frame[26] = 0xfd;
        assert_eq!(source(&frame), "fd00::".parse().ok());
        assert_eq!(source(&frame[..41]), None);
        frame[16..18].copy_from_slice(&[8, 6]);
        assert_eq!(source(&frame), None, "ARP");
        assert_eq!(source(&[]), None);
    }

    #[test]
    fn each_class_has_its_own_counter() {
        for (class, text) in Class::ALL.into_iter().zip(NODE.errors) {
            assert_eq!(text.to_str(), Ok(format!("{class}: from the host").as_str()));
        }
        assert_eq!(NODE.errors.len(), usize::from(ERROR_REFUSED));
    }
}
