//! `hostnet-fragments`: fragments to VPP's own addresses, which are the host's.
//!
//! VPP joins them before it looks what is inside, and what it has no use for it
//! punts as one packet: a host would see none of what was lost or damaged on the
//! way, and never a fragment. So VPP is told not to join them, and they come here:
//! of IPv6 by the protocol, of IPv4 when they are dropped. What VPP has a use for,
//! a tunnel above all, is joined by its own nodes now; the rest is punted as it is.
//!
//! Ports are in the first fragment alone. Another one follows that; where it came
//! before it, both get it, and one of them will never have the rest.

use super::shared::firsts;
use crate::model::fragment::{Fragment, Owner};
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};
use crate::vpp::protocol;

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_PUNT4: Next = Next::To(1);
const NEXT_PUNT6: Next = Next::To(2);
const NEXT_JOIN4: Next = Next::To(3);
const NEXT_JOIN6: Next = Next::To(4);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_HOST: u16 = 1;
const ERROR_VPP: u16 = 2;
const ERROR_BOTH: u16 = 3;

pub(super) static NODE: Node = Node {
    name: c"hostnet-fragments",
    nexts: &[c"ip4-punt", c"ip6-punt", c"ip4-full-reassembly", c"ip6-full-reassembly"],
    errors: &[
        c"fragments for the host",
        c"fragments for VPP itself, to be joined",
        c"fragments before their packet's first one, for both",
    ],
    function: Some(entry::<Fragments>),
    format_trace: Some(format_trace::<Fragments>),
    input: false,
};

struct Fragments;

#[derive(Clone, Copy)]
enum Trace {
    Owner(Owner),
    Both,
    NotOurs,
}

/// Who the fragment is for, where that can be told.
fn owner(ctx: &Context<'_>, fragment: &Fragment<'_>, is_ip6: bool) -> Option<Owner> {
    match (fragment.first, protocol::takes(ctx, is_ip6, fragment.protocol, fragment.first)) {
        (Some(_), Some(takes)) => {
            let owner = if takes { Owner::Vpp } else { Owner::Host };
            firsts::note(ctx, fragment.packet, owner);
            Some(owner)
        }
        // Only the first one's protocol counts (RFC 8200, section 4.5).
        (_, takes) => {
            let by_protocol = takes.map(|takes| if takes { Owner::Vpp } else { Owner::Host });
            firsts::owner(ctx, fragment.packet).or(by_protocol)
        }
    }
}

impl PacketNode for Fragments {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let is_ip6 = packet.bytes().first().is_some_and(|byte| byte >> 4 == 6);
        if !is_ip6 && !packet.is_unjoined() {
            return (Next::Feature, Trace::NotOurs);
        }
        let (punt, join) = if is_ip6 { (NEXT_PUNT6, NEXT_JOIN6) } else { (NEXT_PUNT4, NEXT_JOIN4) };
        // One that cannot be read: the kernel may say what is wrong with it.
        let found = Fragment::of(packet.bytes()).map_or(Some(Owner::Host), |fragment| owner(ctx, &fragment, is_ip6));
        match found {
            // The user wants no fragments joined.
            Some(Owner::Vpp) if !is_ip6 && !protocol::joined4(ctx) => (Next::Feature, Trace::NotOurs),
            Some(owner @ Owner::Host) => {
                ctx.count(ERROR_HOST, 1);
                (punt, Trace::Owner(owner))
            }
            Some(owner @ Owner::Vpp) => {
                ctx.count(ERROR_VPP, 1);
                (join, Trace::Owner(owner))
            }
            None => {
                // Without a buffer for it the host loses what VPP may want.
                packet.copy(punt);
                ctx.count(ERROR_BOTH, 1);
                (join, Trace::Both)
            }
        }
    }

    fn format(trace: &Trace) -> String {
        match trace {
            Trace::Owner(Owner::Host) => "a fragment for the host",
            Trace::Owner(Owner::Vpp) => "a fragment for VPP, to be joined",
            Trace::Both => "a fragment before its packet's first one, for the host and VPP",
            Trace::NotOurs => "dropped, no fragment",
        }
        .to_owned()
    }
}
