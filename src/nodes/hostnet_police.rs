//! `hostnet-police`: the last node before the host's device.
//!
//! Whatever goes to the host, by whichever way, leaves by its tap: the node
//! stands there, looks at the frame's class, and drops what is more than the
//! class may have. What is not for the host never comes here.
//!
//! What VPP answers to the host's own packets (ARP and ND, ICMP errors) passes
//! unmeasured: it is as much as the host asked for.

use super::shared::police::{self, Verdict, of_class};
use crate::model::police::Kind;
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `errors`: what passed and what was policed, each by
/// class in the order of their indices.
const ERROR_PASSED: u16 = 1;
const ERROR_POLICED: u16 = 9;
const ERROR_NO_TAP: u16 = 17;

pub(super) static NODE: Node = Node {
    name: c"hostnet-police",
    nexts: &[],
    errors: &[
        c"arp-nd: passed to the host",
        c"dhcp: passed to the host",
        c"routing: passed to the host",
        c"icmp: passed to the host",
        c"l2: passed to the host",
        c"multicast: passed to the host",
        c"ports: passed to the host",
        c"rest: passed to the host",
        c"arp-nd: policed",
        c"dhcp: policed",
        c"routing: policed",
        c"icmp: policed",
        c"l2: policed",
        c"multicast: policed",
        c"ports: policed",
        c"rest: policed",
        c"not by a tap of ours",
    ],
    function: Some(entry::<Police>),
    format_trace: Some(format_trace::<Police>),
    input: false,
};

struct Police;

#[derive(Clone, Copy)]
struct Trace {
    tap: u32,
    kind: Kind,
    verdict: Verdict,
}

impl PacketNode for Police {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        // A VLAN's goes by its own tap, whose ring is that of the one below.
        let tap = ctx.below(packet.tx());
        let is_answer = ctx.below(packet.rx()) == tap;
        let kind = police::kind_of(ctx, packet.bytes());
        let verdict = police::decide(ctx, tap, kind, is_answer);
        let next = match verdict {
            Verdict::Police => Next::Drop(of_class(ERROR_POLICED, kind.class)),
            Verdict::Pass | Verdict::Answer => {
                ctx.count(of_class(ERROR_PASSED, kind.class), 1);
                Next::Feature
            }
            Verdict::Unknown => {
                ctx.count(ERROR_NO_TAP, 1);
                Next::Feature
            }
        };
        (next, Trace { tap, kind, verdict })
    }

    fn format(trace: &Trace) -> String {
        let Trace { tap, kind, verdict } = trace;
        let standing = if kind.standing { " of a TCP connection" } else { "" };
        let decided = match verdict {
            Verdict::Pass => "passes",
            Verdict::Answer => "passes unmeasured, as VPP's answer to the host",
            Verdict::Police => "policed, more than its class may have",
            Verdict::Unknown => "passes, not by a tap of ours",
        };
        format!("to the host by sw_if_index {tap}: class {}{standing}: {decided}", kind.class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::police::Class;

    #[test]
    fn each_class_has_its_own_counters() {
        for class in Class::ALL {
            let text = |first| NODE.errors[usize::from(of_class(first, class)) - 1].to_str();
            assert_eq!(text(ERROR_PASSED), Ok(format!("{class}: passed to the host").as_str()));
            assert_eq!(text(ERROR_POLICED), Ok(format!("{class}: policed").as_str()));
        }
        assert_eq!(NODE.errors.len(), usize::from(ERROR_NO_TAP));
    }
}
