//! What the manager keeps of one uplink.

use std::sync::Arc;
use std::time::Duration;

use super::{ClientId, TapView};
use crate::engine::mirror::Child;
use crate::engine::{
    Action, EnableRequest, LinuxStep, Machine, Phase, Plan, Step, StepState, StepView, TakeoverView, UplinkFacts,
    UplinkId, UplinkView, VppStep,
};

/// An `enable` whose plan waits for what Linux says.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) id: UplinkId,
    pub(super) request: EnableRequest,
    pub(super) facts: UplinkFacts,
    pub(super) client: Option<ClientId>,
}

/// Who waits for an uplink, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    Enable(ClientId),
    Disable(ClientId),
}

impl Waiter {
    pub(super) fn client(self) -> ClientId {
        match self {
            Self::Enable(client) | Self::Disable(client) => client,
        }
    }
}

/// What is to be done about an uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Carry its plan on.
    Working,
    /// Likewise, and it is failed undos that are carried on with.
    Retrying,
    /// Nothing: its machine came to rest, and that was acted on.
    Resting,
}

/// An uplink whose plan was begun.
#[derive(Debug)]
pub(super) struct Uplink {
    pub(super) id: UplinkId,
    pub(super) plan: Arc<Plan>,
    pub(super) machine: Machine,
    pub(super) waiter: Option<Waiter>,
    /// When the step under way was begun; `None` when none is begun.
    pub(super) begun: Option<Duration>,
    pub(super) pace: Pace,
    /// The default punt redirect leads here, or will, or still may.
    pub(super) holds_default: bool,
    /// The user, or the exit, wants it gone: no record of a failure is kept.
    pub(super) dismissed: bool,
    /// Why the default punt redirect could not be taken over.
    pub(super) takeover_error: Option<String>,
    /// When a device was taken from the host, or its tap went down on the way
    /// back: since then the host has no network.
    pub(super) dark_since: Option<Duration>,
    /// How long that lasted, the last time.
    pub(super) interruption: Option<Duration>,
    /// How often its mirror was begun anew.
    pub(super) mirror_restarts: u32,
    /// The VLANs on its device, as they were told last.
    pub(super) children: Vec<Child>,
}

const REDIRECTS: [Step; 2] = [Step::Vpp(VppStep::Redirect4), Step::Vpp(VppStep::Redirect6)];

impl Uplink {
    pub(super) fn new(plan: Plan, waiter: Option<Waiter>) -> Self {
        Self {
            id: plan.id,
            machine: Machine::new(plan.steps()),
            holds_default: plan.default_punt,
            plan: Arc::new(plan),
            waiter,
            begun: None,
            pace: Pace::Working,
            dismissed: false,
            takeover_error: None,
            dark_since: None,
            interruption: None,
            mirror_restarts: 0,
            children: Vec::new(),
        }
    }

    /// A step begins, forward or back: does the host lose its network?
    pub(super) fn note_begin(&mut self, step: Step, forward: bool, now: Duration) {
        let goes_dark = match step {
            Step::Linux(LinuxStep::Take) => forward,
            Step::Vpp(VppStep::TapUp) => !forward,
            _ => false,
        };
        if goes_dark && self.plan.takeover.is_some() {
            self.dark_since.get_or_insert(now);
        }
    }

    /// A step ended well: does the host have its network again?
    fn note_end(&mut self, action: Action, now: Duration) {
        if matches!(action, Action::Apply(Step::Vpp(VppStep::TapUp)) | Action::Undo(Step::Linux(LinuxStep::Take)))
            && let Some(since) = self.dark_since.take()
        {
            self.interruption = Some(now.saturating_sub(since));
        }
    }

    /// The step under way has ended.
    pub(super) fn ended(&mut self, now: Duration, result: Result<(), String>) {
        let took = now.saturating_sub(self.begun.take().unwrap_or(now));
        if result.is_ok() {
            self.note_end(self.machine.action(), now);
        }
        self.machine.done(took, result);
    }

    /// For how long the host was without its network, in words.
    pub(super) fn interruption_text(&self) -> String {
        self.interruption.map_or_else(String::new, |time| {
            format!(", {}.{:03} ms without network", time.as_millis(), time.as_micros() % 1000)
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.plan.uplink_name
    }

    /// Whether something of it may be in place.
    pub(super) fn is_live(&self) -> bool {
        self.machine.phase() != Phase::Undone
    }

    /// Whether this action is under way at the helper thread.
    pub(super) fn awaits(&self, action: Action) -> bool {
        self.begun.is_some() && self.machine.action() == action
    }

    /// Whether the step under way is VPP's.
    pub(super) fn awaits_vpp(&self) -> bool {
        let is_vpps = matches!(self.machine.action(), Action::Apply(Step::Vpp(_)) | Action::Undo(Step::Vpp(_)));
        self.begun.is_some() && is_vpps
    }

    /// Leave rest, or the step under way, for undo.
    pub(super) fn turn_back(&mut self, turn: impl FnOnce(&mut Machine)) {
        if self.machine.phase() == Phase::Applying {
            // Its report will come, and will belong to nothing.
            self.begun = None;
        }
        let stuck = self.machine.phase() == Phase::Stuck;
        self.pace = if stuck { Pace::Retrying } else { Pace::Working };
        self.takeover_error = None;
        turn(&mut self.machine);
    }

    /// Whether the default redirect was here and is gone now, as far as undo
    /// is concerned.
    pub(super) fn is_free_of_default(&self) -> bool {
        let in_place = |step| self.machine.state_of(step).is_some_and(StepState::may_be_in_place);
        match self.machine.phase() {
            Phase::Applying | Phase::Enabled => false,
            Phase::Undoing | Phase::Undone | Phase::Stuck => !REDIRECTS.into_iter().any(in_place),
        }
    }

    /// Why it cannot be enabled (again) now.
    pub(super) fn busy(&self) -> Option<String> {
        let name = self.name();
        match self.machine.phase() {
            Phase::Applying => Some(format!("{name} is being enabled")),
            Phase::Enabled => Some(format!("{name} is enabled already")),
            Phase::Undoing => Some(format!("{name} is being disabled")),
            Phase::Stuck => Some(format!(
                "{name} is not wholly disabled ({}); 'hostnet disable {name}' tries at once",
                self.undo_failures()
            )),
            Phase::Undone => None,
        }
    }

    /// The failed undos, as told to the user.
    pub(super) fn undo_failures(&self) -> String {
        let tell = |record: &crate::engine::StepRecord| {
            let cause = record.error.as_deref().unwrap_or("cause unknown");
            format!("undo of {} failed: {cause}, it is retried", record.step)
        };
        self.machine.undo_failures().map(tell).collect::<Vec<_>>().join("; ")
    }

    fn state(&self) -> &'static str {
        match self.machine.phase() {
            Phase::Applying => "enabling",
            Phase::Enabled => "enabled",
            Phase::Undoing if self.pace == Pace::Retrying => "stuck",
            Phase::Undoing => "disabling",
            Phase::Undone => "failed",
            Phase::Stuck => "stuck",
        }
    }

    fn last_error(&self) -> Option<String> {
        let undo = Some(self.undo_failures()).filter(|text| !text.is_empty());
        let failure = self.machine.failure().map(str::to_owned);
        let parts: Vec<String> = [failure, undo, self.takeover_error.clone()].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    pub(super) fn view(&self, tap: Option<TapView>) -> UplinkView {
        let plan = &self.plan;
        let to_host_packets = tap.as_ref().map_or(0, |tap| tap.to_host_packets);
        let from_host_packets = tap.as_ref().map_or(0, |tap| tap.from_host_packets);
        let in_place = |step| self.machine.state_of(step) == Some(StepState::Done);
        let step_view = |record: &crate::engine::StepRecord| StepView {
            name: record.step.name(),
            state: record.state.name(),
            took_us: record.took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            error: record.error.clone(),
        };
        UplinkView {
            interface: plan.uplink_name.clone(),
            sw_if_index: plan.uplink,
            tap_sw_if_index: tap.as_ref().map(|tap| tap.sw_if_index),
            tap: tap.map(|tap| tap.name),
            host_if: plan.device.name.to_string(),
            host_netns: plan.device.netns.to_string(),
            backend: plan.backend,
            backend_reason: plan.backend_reason.clone(),
            default_punt: self.holds_default && REDIRECTS.into_iter().any(in_place),
            state: self.state(),
            vlan: plan.child.as_ref().map(|child| child.tag.to_string()),
            addresses: plan.config.addresses.clone(),
            to_host_packets,
            from_host_packets,
            takeover: plan.takeover.as_ref().map(|takeover| TakeoverView {
                linux_interface: takeover.linux_if.to_string(),
                driver: takeover.driver_name(),
                driver_reason: takeover.driver_reason.clone(),
                interruption_us: self.interruption.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
                kept: takeover.kept.clone(),
            }),
            steps: self.machine.records().iter().map(step_view).collect(),
            last_error: self.last_error(),
        }
    }
}
