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
    told: Option<Groups>,
}

impl GroupsMirror {
    /// They may have changed.
    pub(super) fn look(&mut self) {
        self.due = true;
    }

    /// The kernel told something: promiscuous mode may have come or gone.
    pub(super) fn hear(&mut self, event: &KernelEvent, device: u32) {
        self.due |= matches!(event, KernelEvent::Link(link) if link.index == device);
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
