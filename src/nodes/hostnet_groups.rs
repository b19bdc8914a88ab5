//! `hostnet-groups`: multicast from the link for groups that the host listens to.
//!
//! The host gets a copy of the frame as it came, and the packet goes on: VPP may
//! have routes for the group, to pods for one. What is of the link alone is not
//! copied, for VPP drops it and `hostnet-to-host` stands there. The node is on
//! while the host listens to more than every host does.

use super::shared::frame::{is_as_it_came, is_of_link, is_to_group, tap_of};
use super::shared::wire::array;
use crate::model::{Groups, MacAddr};
use crate::vpp::node::{Context, Next, Node, Packet, PacketNode, entry, format_trace};

/// The numbers of [`NODE`]'s `nexts`.
const NEXT_OUTPUT: Next = Next::To(1);
/// The numbers of [`NODE`]'s `errors`.
const ERROR_COPIED: u16 = 1;
const ERROR_NO_COPY: u16 = 2;

pub(super) static NODE: Node = Node {
    name: c"hostnet-groups",
    nexts: &[c"interface-output"],
    errors: &[c"packets of groups, copied to the host", c"packets of groups without room for a copy"],
    function: Some(entry::<ToGroup>),
    format_trace: Some(format_trace::<ToGroup>),
    input: false,
};

struct ToGroup;

#[derive(Clone, Copy)]
struct Trace {
    rx: u32,
    group: MacAddr,
    /// VPP's index of the tap that has a copy.
    copied: Option<u32>,
}

fn group(frame: &[u8]) -> MacAddr {
    MacAddr(array(frame, 0).unwrap_or_default())
}

fn is_wanted(frame: &[u8], groups: &Groups) -> bool {
    // In a frame to its own MAC a card takes everything.
    (!is_to_group(frame) || groups.takes(group(frame))) && !is_of_link(frame)
}

impl PacketNode for ToGroup {
    type Trace = Trace;

    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Trace) {
        let rx = packet.rx();
        let mut trace = Trace { rx, group: packet.frame().map(group).unwrap_or_default(), copied: None };
        let wanted = tap_of(ctx, rx).filter(|tap| packet.frame().is_some_and(|frame| is_wanted(frame, &tap.groups)));
        if let Some(tap) = wanted.filter(|_| is_as_it_came(packet)) {
            trace.copied = packet.copy_frame(NEXT_OUTPUT, tap.sw_if_index).then_some(tap.sw_if_index);
            ctx.count(if trace.copied.is_some() { ERROR_COPIED } else { ERROR_NO_COPY }, 1);
        }
        (Next::Feature, trace)
    }

    fn format(trace: &Trace) -> String {
        let Trace { rx, group, .. } = trace;
        match trace.copied {
            Some(tap) => {
                format!("received by sw_if_index {rx} for {group}, a copy for the host by sw_if_index {tap}")
            }
            None => format!("received by sw_if_index {rx} for {group}, not for the host"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(dst: [u8; 6], to: [u8; 4]) -> Vec<u8> {
        let mut ip = vec![0x45; 20];
        ip[16..].copy_from_slice(&to);
        [&dst[..], &[2; 6], &[8, 0], &ip].concat()
    }

    #[test]
    fn joined_groups_are_wanted_and_the_links_come_another_way() {
        let (joined, link) = ([1, 0, 0x5e, 1, 2, 3], [1, 0, 0x5e, 0, 0, 0xfb]);
        let groups = Groups::new(false, vec![(MacAddr(joined), 1), (MacAddr(link), 1)]);
        assert!(is_wanted(&frame(joined, [239, 1, 2, 3]), &groups));
        // The same MAC, as a card has it.
        assert!(is_wanted(&frame(joined, [224, 129, 2, 3]), &groups));
        assert!(!is_wanted(&frame([1, 0, 0x5e, 1, 2, 4], [239, 1, 2, 4]), &groups));
        assert!(!is_wanted(&frame(link, [224, 0, 0, 251]), &groups));
        assert!(is_wanted(&frame(link, [239, 0, 0, 251]), &groups));
        assert!(is_wanted(&frame([2; 6], [239, 1, 2, 3]), &groups));
        assert!(!is_wanted(&frame([2; 6], [224, 0, 0, 251]), &groups));
    }
}
