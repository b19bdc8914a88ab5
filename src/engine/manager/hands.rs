//! What the manager works with. Traits, so that the engine knows neither VPP
//! nor the kernel and is tested against fakes of both.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::mirror::Batch;
use crate::engine::{Command, HelperView, Output, Plan, Prospects, SubmitError, UplinkFacts, UplinkId, VppStep};

/// The tap of an uplink as VPP has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapView {
    /// VPP's name of it.
    pub name: String,
    /// VPP's index of it (`sw_if_index`).
    pub sw_if_index: u32,
    /// Packets that VPP sent to the host since `enable`.
    pub to_host_packets: u64,
    /// Packets that the host sent into VPP since `enable`.
    pub from_host_packets: u64,
}

/// How a step of VPP's side ended; `None` while it is under way.
pub type Done = Option<Result<(), String>>;

/// VPP's side. All calls come on VPP's main thread and do not wait.
pub trait Dataplane {
    /// Read an interface and every reason on VPP's side against enabling it;
    /// change nothing. `others` are the plans of our uplinks that may have
    /// something in VPP: what belongs to them is no reason. An error says that
    /// there is no such interface.
    fn inspect(&mut self, sw_if_index: u32, others: &[Arc<Plan>]) -> Result<UplinkFacts, String>;

    /// What VPP could do with a device that is to be taken, a card with that
    /// PCI address or none; change nothing.
    fn prospects(&mut self, pci: Option<&str>) -> Prospects;

    /// VPP's sources of routes, by name (`show fib source`).
    fn route_sources(&self) -> Vec<String>;

    /// The interface that [`VppStep::Uplink`] made for a taken device, while
    /// it is there: its index and its name.
    fn interface(&self, id: UplinkId) -> Option<(u32, String)>;

    /// Take what a Linux step of the plan brought forth, for later steps.
    fn accept(&mut self, plan: &Plan, output: Output);

    /// Carry out a step. On error nothing of the step is left in place; the
    /// error names the cause. `None`: it takes its time; the same is to be
    /// called again when VPP has news ([`super::Manager::resume`]), or its
    /// undoing.
    fn apply(&mut self, plan: &Plan, step: VppStep) -> Done;

    /// Take a step back. Idempotent: what is not there any more, deleted
    /// interfaces included, is no error. Undo of a redirect also removes the
    /// default redirect of its family if it leads to this plan's tap, whether
    /// or not `plan.default_punt` says so.
    /// May take its time as well.
    fn undo(&mut self, plan: &Plan, step: VppStep) -> Done;

    /// Let the default punt redirect, which leads nowhere now, lead to the tap
    /// of this enabled uplink, beside the uplink's own redirect. On error it
    /// leads nowhere as before. Idempotent.
    fn take_default_punt(&mut self, plan: &Plan) -> Result<(), String>;

    /// Work of the mirror's: begin it. What comes of it goes to the helper
    /// thread.
    fn mirror(&mut self, batch: Batch);

    /// The uplink's tap, while it is there.
    fn tap(&self, id: UplinkId) -> Option<TapView>;

    /// Nothing of this uplink is in place any more: drop what is held for it.
    fn forget(&mut self, id: UplinkId);
}

/// Linux's side: the way to the helper thread.
pub trait Kernel {
    /// Hand a command over, without waiting. Starts the helper thread where
    /// none runs; the last reports of a dead one are delivered before.
    fn submit(&mut self, command: Command) -> Result<(), SubmitError>;

    /// The helper thread's health.
    fn view(&self) -> HelperView;
}

/// What the manager works with, lent for one call.
pub struct Hands<'a> {
    /// VPP's side.
    pub vpp: &'a mut dyn Dataplane,
    /// Linux's side.
    pub kernel: &'a mut dyn Kernel,
    /// The time since some fixed moment, monotonic. A function, for several
    /// steps of VPP's side run within one call and each is timed.
    pub now: &'a dyn Fn() -> Duration,
}

impl fmt::Debug for Hands<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hands").finish_non_exhaustive()
    }
}
