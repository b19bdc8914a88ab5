//! The groups that the host's device takes: read anew when somebody has joined or
//! left one.
//!
//! Kernels before 6.14 tell nobody of that. But they tell the link: the report
//! leaves by the tap after the device's filter has changed
//! (`igmp_group_added` and `igmp_group_dropped` in net/ipv4/igmp.c, the same of
//! IPv6 in net/ipv6/mcast.c), where a node of ours sees it. What is not reported,
//! such as a filter set by hand, is found by the next audit.

use crate::engine::Plan;
use crate::engine::mirror::{KernelEvent, LinkOp};
use crate::linux::{Error, Host};
use crate::model::Groups;

/// What VPP is to know of them.
#[derive(Debug, Default)]
pub(super) struct GroupsMirror {
    due: bool,
    /// The index of the device below a VLAN's.
    below: Option<u32>,
    told: Option<Groups>,
}

impl GroupsMirror {
    /// They may have changed.
    pub(super) fn look(&mut self) {
        self.due = true;
    }

    /// The kernel told something: promiscuous mode may have come or gone, on the
    /// device or on what is stacked on it, however high. What ends there takes its
    /// groups along without a report.
    pub(super) fn hear(&mut self, event: &KernelEvent, device: u32) {
        let KernelEvent::Link(link) = event else { return };
        if link.index == device {
            self.below = link.parent;
        }
        self.due |= link.index == device || Some(link.index) == self.below || link.parent.is_some();
    }

    /// VPP did not take them.
    pub(super) fn refused(&mut self) {
        self.told = None;
    }

    /// What VPP is to be told.
    pub(super) fn round(&mut self, host: &mut Host, plan: &Plan) -> Result<Option<LinkOp>, Error> {
        if !std::mem::take(&mut self.due) {
            return Ok(None);
        }
        let now = host.groups(plan)?;
        if self.told.as_ref() == Some(&now) {
            return Ok(None);
        }
        self.told = Some(now.clone());
        Ok(Some(LinkOp::SetGroups(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mirror::KernelLink;

    #[test]
    fn what_is_below_and_above_counts() {
        let link = |index, parent| KernelEvent::Link(KernelLink { index, parent, ..KernelLink::default() });
        let due = |mirror: &mut GroupsMirror, event: &KernelEvent| {
            mirror.hear(event, 9);
            std::mem::take(&mut mirror.due)
        };
        let mut mirror = GroupsMirror::default();
        assert!(!due(&mut mirror, &link(4, None)), "not known to be below");
        assert!(due(&mut mirror, &link(9, Some(4))), "itself");
        assert!(due(&mut mirror, &link(4, None)), "below");
        assert!(due(&mut mirror, &link(11, Some(10))), "on what may be on it");
        assert!(!due(&mut mirror, &link(5, None)), "another");
        assert!(!due(&mut mirror, &KernelEvent::LinkGone(4)));
    }
}
