//! VLANs that the host has on an uplink's device: each is an uplink of its own,
//! which comes and goes with the device.

use std::sync::Arc;

use super::uplink::Uplink;
use super::{Hands, Machine, Manager, Phase, Plan};
use crate::engine::UplinkId;
use crate::engine::mirror::Child;

fn is_child(uplink: &Uplink, parent: UplinkId) -> bool {
    uplink.plan.is_child_of(parent)
}

/// Whether the uplink is that of the child; another tag under the same index is
/// another device.
fn is_of(uplink: &Uplink, child: &Child) -> bool {
    uplink.plan.child.as_ref().is_some_and(|of| (of.index, of.tag) == (child.index, child.tag))
}

impl Manager {
    /// The helper tells of all VLANs on an uplink's device.
    pub(super) fn children_are(&mut self, hands: &mut Hands<'_>, parent: UplinkId, children: Vec<Child>) {
        if let Some(uplink) = self.uplink_mut(parent) {
            uplink.children = children;
            self.tend_children(hands, parent);
        }
    }

    /// Begin what is new, end what is gone. What has failed is begun anew.
    pub(super) fn tend_children(&mut self, hands: &mut Hands<'_>, parent: UplinkId) {
        let Some(uplink) = self.uplinks.iter().find(|uplink| uplink.id == parent) else { return };
        if uplink.machine.phase() != Phase::Enabled || self.exiting {
            return;
        }
        let (plan, wanted) = (Arc::clone(&uplink.plan), uplink.children.clone());
        let is_wanted = |uplink: &Uplink| wanted.iter().any(|child| is_of(uplink, child));
        self.uplinks.retain(|uplink| uplink.is_live() || !is_child(uplink, parent));
        for id in self.ids(|uplink| is_child(uplink, parent) && !is_wanted(uplink)) {
            self.end_child(hands, id);
        }
        for child in &wanted {
            let known = self.uplinks.iter_mut().find(|uplink| is_child(uplink, parent) && is_of(uplink, child));
            if let Some(known) = known {
                Arc::make_mut(&mut known.plan).device.name = child.name.clone();
                continue;
            }
            // Another one of the same index ends first: it comes back here then.
            let same = |uplink: &Uplink| uplink.plan.child.as_ref().is_some_and(|of| of.index == child.index);
            if self.uplinks.iter().any(|uplink| is_child(uplink, parent) && same(uplink)) {
                continue;
            }
            self.last_id = self.last_id.wrapping_add(1);
            let id = UplinkId(self.last_id);
            self.uplinks.push(Uplink::new(Plan::of_child(id, &plan, child), None));
            self.drive(hands, id);
        }
    }

    fn end_child(&mut self, hands: &mut Hands<'_>, id: UplinkId) {
        let Some(uplink) = self.uplink_mut(id) else { return };
        uplink.dismissed = true;
        match uplink.machine.phase() {
            Phase::Applying | Phase::Enabled => uplink.turn_back(Machine::disable),
            Phase::Undoing | Phase::Undone | Phase::Stuck => {}
        }
        self.drive(hands, id);
    }

    /// An uplink that is being undone has its children undone first: they stand
    /// on its tap. Whether it has to wait for one.
    pub(super) fn waits_for_children(&mut self, hands: &mut Hands<'_>, parent: UplinkId) -> bool {
        let undoes = self.uplinks.iter().any(|it| it.id == parent && it.machine.phase() == Phase::Undoing);
        if !undoes {
            return false;
        }
        for id in self.ids(|uplink| is_child(uplink, parent) && uplink.is_live()) {
            self.end_child(hands, id);
        }
        // One that is stuck is tried again, whatever becomes of the rest.
        let is_under_way = |uplink: &Uplink| {
            is_child(uplink, parent) && !matches!(uplink.machine.phase(), Phase::Undone | Phase::Stuck)
        };
        self.uplinks.iter().any(is_under_way)
    }

    /// A child is undone, or stuck: whoever waits for that goes on.
    pub(super) fn child_ended(&mut self, hands: &mut Hands<'_>, parent: UplinkId, has_failed: bool) {
        self.drive(hands, parent);
        // What failed would fail again at once: the next audit tries it.
        if !has_failed {
            self.tend_children(hands, parent);
        }
    }
}
