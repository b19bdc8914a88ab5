//! Carrying plans out: what happens between a request and its answer.

use std::sync::Arc;

use super::uplink::{Pace, Uplink, Waiter};
use super::{Hands, Manager, Scene};
use crate::engine::{Action, Command, Phase, Plan, Step, SubmitError, UplinkId};

impl Manager {
    /// Carry an uplink's plan on until it waits for the helper thread or rests.
    pub(super) fn drive(&mut self, hands: &mut Hands<'_>, id: UplinkId) {
        loop {
            self.release_default(hands, id);
            let Some(uplink) = self.uplink_mut(id) else { return };
            if uplink.pace == Pace::Resting || uplink.begun.is_some() {
                return;
            }
            if self.waits_for_children(hands, id) {
                return;
            }
            let Some(uplink) = self.uplink_mut(id) else { return };
            let plan = Arc::clone(&uplink.plan);
            let result = match uplink.machine.action() {
                Action::Apply(step) => self.run(hands, plan, step, true),
                Action::Undo(step) => self.run(hands, plan, step, false),
                Action::Idle | Action::Finished => return self.settle(hands, id),
            };
            match result {
                Some(result) => self.conclude(hands, id, result),
                None => return,
            }
        }
    }

    pub(super) fn drive_all(&mut self, hands: &mut Hands<'_>) {
        for id in self.ids(|_| true) {
            self.drive(hands, id);
        }
    }

    /// Run a step, forward or back. `None` when the answer is the helper's, or
    /// VPP's side takes its time.
    fn run(&mut self, hands: &mut Hands<'_>, plan: Arc<Plan>, step: Step, forward: bool) -> Option<Result<(), String>> {
        let begun = (hands.now)();
        let id = plan.id;
        if let Some(uplink) = self.uplink_mut(id) {
            uplink.begun = Some(begun);
            uplink.note_begin(step, forward, begun);
        }
        self.scene = Scene::Step(id);
        let result = match (step, forward) {
            (Step::Vpp(step), true) => hands.vpp.apply(&plan, step),
            (Step::Vpp(step), false) => hands.vpp.undo(&plan, step),
            (Step::Linux(step), forward) => {
                let command = if forward { Command::Apply { plan, step } } else { Command::Undo { plan, step } };
                hands.kernel.submit(command).err().map(|error| Err(error.to_string()))
            }
        };
        if let (Step::Vpp(step), Some(Ok(()))) = (step, &result) {
            self.note_interface(hands, id, step);
        }
        self.scene = Scene::Elsewhere;
        result
    }

    /// VPP's side has news of a step that takes its time: look at each that is
    /// under way there.
    pub fn resume(&mut self, hands: &mut Hands<'_>) {
        for id in self.ids(Uplink::awaits_vpp) {
            let Some(uplink) = self.uplink_mut(id) else { continue };
            let (plan, action) = (Arc::clone(&uplink.plan), uplink.machine.action());
            self.scene = Scene::Step(id);
            let (step, result) = match action {
                Action::Apply(Step::Vpp(step)) => (step, hands.vpp.apply(&plan, step)),
                Action::Undo(Step::Vpp(step)) => (step, hands.vpp.undo(&plan, step)),
                _ => continue,
            };
            if let Some(Ok(())) = result {
                self.note_interface(hands, id, step);
            }
            self.scene = Scene::Elsewhere;
            if let Some(result) = result {
                self.conclude(hands, id, result);
                self.drive(hands, id);
            }
        }
    }

    /// The step under way has ended.
    pub(super) fn conclude(&mut self, hands: &Hands<'_>, id: UplinkId, result: Result<(), String>) {
        if let Some(uplink) = self.uplink_mut(id) {
            uplink.ended((hands.now)(), result);
        }
    }

    /// Nobody knows how the step under way ended.
    pub(super) fn lost(&mut self, hands: &Hands<'_>, id: UplinkId, cause: String) {
        if let Some(uplink) = self.uplink_mut(id) {
            let now = (hands.now)();
            let took = now.saturating_sub(uplink.begun.take().unwrap_or(now));
            uplink.machine.lost(took, cause);
        }
    }

    /// An uplink's machine has come to rest: answer, and clean up after it.
    fn settle(&mut self, hands: &mut Hands<'_>, id: UplinkId) {
        let Some(uplink) = self.uplink_mut(id) else { return };
        uplink.pace = Pace::Resting;
        let waiter = uplink.waiter.take();
        match uplink.machine.phase() {
            // Neither is a rest; the next drive goes on.
            Phase::Applying | Phase::Undoing => {}
            Phase::Enabled => {
                // A panic in here must not leave the client waiting.
                self.scene = waiter.map_or(Scene::Elsewhere, |waiter| Scene::Request(waiter.client()));
                let text = self.enabled_text(hands, id);
                self.scene = Scene::Elsewhere;
                self.answer(waiter.map(Waiter::client), Ok(text));
                self.hand_default_over(hands);
                self.tend_children(hands, id);
            }
            Phase::Stuck => {
                let text = stuck_text(uplink, waiter);
                let parent = uplink.plan.child.as_ref().map(|child| child.parent);
                self.answer(waiter.map(Waiter::client), Err(text));
                if let Some(parent) = parent {
                    self.child_ended(hands, parent, true);
                }
            }
            Phase::Undone => {
                let answer = undone_answer(uplink, waiter);
                let parent = uplink.plan.child.as_ref().map(|child| child.parent);
                let has_failed = uplink.machine.failure().is_some();
                if uplink.dismissed || uplink.machine.failure().is_none() {
                    self.uplinks.retain(|uplink| uplink.id != id);
                }
                self.uplinks.retain(|uplink| uplink.is_live() || !uplink.plan.is_child_of(id));
                self.answer(waiter.map(Waiter::client), answer);
                self.forget(hands, id);
                if let Some(parent) = parent {
                    self.child_ended(hands, parent, has_failed);
                }
            }
        }
    }

    fn enabled_text(&self, hands: &Hands<'_>, id: UplinkId) -> String {
        let Some(uplink) = self.uplinks.iter().find(|uplink| uplink.id == id) else {
            return String::new();
        };
        let plan = &uplink.plan;
        let tap = hands.vpp.tap(id).map_or_else(|| "tap".to_owned(), |tap| format!("tap {}", tap.name));
        format!(
            "hostnet: {} is enabled, host device {}, {tap} ({}){}",
            plan.uplink_name,
            plan.device.name,
            plan.backend,
            uplink.interruption_text()
        )
    }

    fn forget(&mut self, hands: &mut Hands<'_>, id: UplinkId) {
        hands.vpp.forget(id);
        self.forgets.push(id);
        self.send_forgets(hands);
    }

    /// Tell the helper thread what is over. A full queue is tried again by the
    /// tick; a thread that has ended holds nothing.
    pub(super) fn send_forgets(&mut self, hands: &mut Hands<'_>) {
        self.forgets.retain(|&uplink| match hands.kernel.submit(Command::Forget { uplink }) {
            Ok(()) | Err(SubmitError::Dead) => false,
            Err(SubmitError::Full) => true,
        });
    }

    /// Once the holder of the default punt redirect has it undone, the next
    /// enabled uplink gets it: before the rest of the undo, so that packets
    /// lack a way for as short as can be.
    fn release_default(&mut self, hands: &mut Hands<'_>, id: UplinkId) {
        if let Some(uplink) = self.uplink_mut(id)
            && uplink.holds_default
            && uplink.is_free_of_default()
        {
            uplink.holds_default = false;
            self.hand_default_over(hands);
        }
    }

    /// Give the default punt redirect, if nobody holds it, to the first
    /// enabled uplink that can take it.
    pub(super) fn hand_default_over(&mut self, hands: &mut Hands<'_>) {
        if !self.wants_default() {
            return;
        }
        for id in self.ids(could_hold_default) {
            let Some(uplink) = self.uplink_mut(id) else { continue };
            let mut plan = Plan::clone(&uplink.plan);
            plan.default_punt = true;
            self.scene = Scene::TakeOver(id);
            let result = hands.vpp.take_default_punt(&plan);
            self.scene = Scene::Elsewhere;
            match result {
                Ok(()) => {
                    self.clear_takeover_errors();
                    if let Some(uplink) = self.uplink_mut(id) {
                        uplink.plan = Arc::new(plan);
                        uplink.holds_default = true;
                    }
                    return;
                }
                Err(cause) => self.takeover_failed(id, &cause),
            }
        }
    }

    pub(super) fn takeover_failed(&mut self, id: UplinkId, cause: &str) {
        if let Some(uplink) = self.uplink_mut(id) {
            uplink.takeover_error =
                Some(format!("taking the default punt redirect over failed: {cause}, it is retried"));
        }
    }

    pub(super) fn clear_takeover_errors(&mut self) {
        for uplink in &mut self.uplinks {
            uplink.takeover_error = None;
        }
    }

    /// Whether the default punt redirect has no holder but could have one.
    pub(super) fn wants_default(&self) -> bool {
        !self.uplinks.iter().any(|uplink| uplink.holds_default) && self.uplinks.iter().any(could_hold_default)
    }
}

/// A VLAN's redirect is for what comes by it.
fn could_hold_default(uplink: &Uplink) -> bool {
    uplink.machine.phase() == Phase::Enabled && uplink.plan.child.is_none()
}

fn stuck_text(uplink: &Uplink, waiter: Option<Waiter>) -> String {
    let undo = uplink.undo_failures();
    match (waiter, uplink.machine.failure()) {
        (Some(Waiter::Enable(_)), Some(failure)) => format!("{failure}; {undo}"),
        (Some(Waiter::Enable(_) | Waiter::Disable(_)) | None, _) => undo,
    }
}

fn undone_answer(uplink: &Uplink, waiter: Option<Waiter>) -> super::Answer {
    match waiter {
        Some(Waiter::Enable(_)) => {
            let failure = uplink.machine.failure().unwrap_or("it was disabled meanwhile");
            Err(format!("{failure}; everything was undone"))
        }
        Some(Waiter::Disable(_)) | None => Ok(match &uplink.plan.takeover {
            Some(takeover) if takeover.driver.is_some() => {
                format!("hostnet: {} is home again{}", takeover.linux_if, uplink.interruption_text())
            }
            Some(takeover) if takeover.made_by == "dpdk" => format!(
                "hostnet: {} is disabled; the card stays with VPP's dpdk plugin, which gives none back, and comes home \
                 when VPP has ended",
                uplink.name()
            ),
            Some(_) | None => format!("hostnet: {} is disabled", uplink.name()),
        }),
    }
}
