//! A VPP and a helper thread that keep account of what is in place, fail
//! where they are told to, and object to a wrong order.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::super::*;
use crate::engine::mirror::Batch;
use crate::engine::{
    Driver, HelperView, Kept, LinuxStep, Origin, Output, Prospects, SubmitError, Survey, UplinkFacts, VppStep,
};

/// What both sides have in place.
#[derive(Default)]
pub(super) struct World {
    /// In the order it was applied.
    pub(super) in_place: RefCell<Vec<(UplinkId, Step)>>,
    /// Every undo that went well.
    pub(super) undone: RefCell<Vec<(UplinkId, Step)>>,
    /// Undos fail, so a step may be undone before a later one.
    pub(super) order_may_break: Cell<bool>,
}

impl World {
    /// Take a step out of the account; later steps of it must be out before.
    fn take_out(&self, id: UplinkId, step: Step) {
        self.undone.borrow_mut().push((id, step));
        let mut in_place = self.in_place.borrow_mut();
        if let Some(at) = in_place.iter().position(|entry| *entry == (id, step)) {
            let later = in_place[at + 1..].iter().find(|(other, _)| *other == id);
            if !self.order_may_break.get() {
                assert_eq!(later, None, "{step} of {id:?} is undone before a later step");
            }
            in_place.remove(at);
        }
    }
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "what is to go wrong, each by itself")]
pub(super) struct FakeVpp {
    pub(super) world: Rc<World>,
    /// The interfaces that can be uplinks.
    pub(super) interfaces: BTreeMap<u32, UplinkFacts>,
    pub(super) taps: BTreeMap<UplinkId, u32>,
    /// Whose the default punt redirect is.
    pub(super) default: Option<UplinkId>,
    pub(super) fail_apply: HashSet<VppStep>,
    pub(super) fail_undo: HashSet<VppStep>,
    pub(super) fail_takeover: bool,
    pub(super) panic_apply: HashSet<VppStep>,
    pub(super) panic_undo: HashSet<VppStep>,
    pub(super) panic_inspect: bool,
    pub(super) panic_takeover: bool,
    pub(super) accepted: Vec<Output>,
    pub(super) forgotten: Vec<UplinkId>,
    /// What the last inspect was told of our other uplinks.
    pub(super) others: Vec<UplinkId>,
    pub(super) prospect_refusals: Vec<String>,
    /// The interfaces made on taken devices.
    pub(super) made: BTreeMap<UplinkId, u32>,
    /// Steps that take their time, each way, until [`FakeVpp::ready`].
    pub(super) slow: HashSet<VppStep>,
    pub(super) ready: bool,
    next_tap: u32,
}

fn blow(text: &str) {
    // Without the panic hook, which would write to the tests' output.
    resume_unwind(Box::new(text.to_owned()));
}

impl FakeVpp {
    /// Whether a step ends within the call.
    fn in_time(&self, step: VppStep) -> bool {
        self.ready || !self.slow.contains(&step)
    }

    fn apply_now(&mut self, plan: &Plan, step: VppStep) -> Result<(), String> {
        let entry = (plan.id, Step::Vpp(step));
        assert!(!self.world.in_place.borrow().contains(&entry), "{step:?} is applied twice");
        if self.fail_apply.contains(&step) {
            return Err(format!("VPP refuses {step:?}"));
        }
        self.world.in_place.borrow_mut().push(entry);
        match step {
            VppStep::Uplink => {
                let index =
                    if matches!(plan.origin(), Origin::Taken | Origin::Child) { 50 + plan.id.0 } else { plan.uplink };
                self.made.insert(plan.id, index);
            }
            VppStep::Unnumbered if plan.takeover.is_some() => {
                assert_eq!(Some(&plan.uplink), self.made.get(&plan.id), "the plan knows its interface");
            }
            VppStep::Tap => {
                self.next_tap += 1;
                self.taps.insert(plan.id, 100 + self.next_tap);
            }
            VppStep::Redirect4 if plan.default_punt => {
                assert_eq!(self.default, None, "the default redirect is taken");
                self.default = Some(plan.id);
            }
            _ => {}
        }
        if self.panic_apply.contains(&step) {
            blow("in apply");
        }
        Ok(())
    }

    fn undo_now(&mut self, plan: &Plan, step: VppStep) -> Result<(), String> {
        if self.panic_undo.contains(&step) {
            blow("in undo");
        }
        if self.fail_undo.contains(&step) {
            return Err(format!("VPP keeps {step:?}"));
        }
        self.world.take_out(plan.id, Step::Vpp(step));
        match step {
            VppStep::Tap => drop(self.taps.remove(&plan.id)),
            VppStep::Uplink => drop(self.made.remove(&plan.id)),
            VppStep::Redirect4 if self.default == Some(plan.id) => self.default = None,
            _ => {}
        }
        Ok(())
    }
}

impl Dataplane for FakeVpp {
    fn inspect(&mut self, sw_if_index: u32, others: &[Arc<Plan>]) -> Result<UplinkFacts, String> {
        if self.panic_inspect {
            blow("inspect");
        }
        self.others = others.iter().map(|plan| plan.id).collect();
        self.interfaces.get(&sw_if_index).cloned().ok_or(format!("no interface {sw_if_index}"))
    }

    fn prospects(&mut self, _: Option<&str>) -> Prospects {
        Prospects {
            drivers: Driver::ALL.to_vec(),
            tap_plugin: true,
            refusals: self.prospect_refusals.clone(),
            ..Prospects::default()
        }
    }

    fn route_sources(&self) -> Vec<String> {
        ["interface", "API", "CLI"].map(str::to_owned).to_vec()
    }

    fn interface(&self, id: UplinkId) -> Option<(u32, String)> {
        self.made.get(&id).map(|index| (*index, format!("made{index}")))
    }

    fn accept(&mut self, _: &Plan, output: Output) {
        self.accepted.push(output);
    }

    fn apply(&mut self, plan: &Plan, step: VppStep) -> Done {
        self.in_time(step).then(|| self.apply_now(plan, step))
    }

    fn undo(&mut self, plan: &Plan, step: VppStep) -> Done {
        self.in_time(step).then(|| self.undo_now(plan, step))
    }

    fn take_default_punt(&mut self, plan: &Plan) -> Result<(), String> {
        assert!(plan.default_punt);
        assert!(self.default.is_none() || self.default == Some(plan.id), "the default redirect is taken");
        if self.panic_takeover {
            blow("in takeover");
        }
        if self.fail_takeover {
            return Err("VPP keeps the default".to_owned());
        }
        self.default = Some(plan.id);
        Ok(())
    }

    fn mirror(&mut self, _: Batch) {}

    fn tap(&self, id: UplinkId) -> Option<TapView> {
        let sw_if_index = *self.taps.get(&id)?;
        let name = format!("tap{}", sw_if_index - 101);
        Some(TapView { name, sw_if_index, to_host_packets: 5, from_host_packets: 6 })
    }

    fn forget(&mut self, id: UplinkId) {
        assert!(!self.forgotten.contains(&id), "{id:?} is forgotten twice");
        self.forgotten.push(id);
    }
}

#[derive(Default)]
pub(super) struct FakeKernel {
    pub(super) world: Rc<World>,
    pub(super) queue: VecDeque<Command>,
    /// Cards that were brought home, which VPP's dpdk plugin did not take.
    pub(super) given_up: Vec<IfName>,
    pub(super) refuse: Option<SubmitError>,
    pub(super) fail_apply: HashSet<LinuxStep>,
    pub(super) fail_undo: HashSet<LinuxStep>,
    pub(super) probe_refusals: Vec<String>,
    pub(super) forgotten: BTreeSet<UplinkId>,
    /// What is kept for whatever interface is enabled.
    pub(super) kept: Option<Kept>,
    /// What a survey says.
    pub(super) survey: Option<Result<Survey, String>>,
}

impl Kernel for FakeKernel {
    fn submit(&mut self, command: Command) -> Result<(), SubmitError> {
        if let Some(error) = self.refuse {
            if let (SubmitError::Dead, Command::Forget { uplink }) = (error, command) {
                // What the thread held has gone with it.
                self.forgotten.insert(uplink);
            }
            return Err(error);
        }
        self.queue.push_back(command);
        Ok(())
    }

    fn view(&self) -> HelperView {
        HelperView { state: "running", commands: 0, reports: 0, died: None }
    }
}

impl FakeKernel {
    /// Carry out the oldest command, as the helper thread would.
    pub(super) fn work(&mut self) -> Option<Report> {
        match self.queue.pop_front()? {
            #[cfg(feature = "faults")]
            Command::Panic => None,
            Command::Probe { uplink, .. } => {
                let facts =
                    LinuxFacts { refusals: self.probe_refusals.clone(), vhost_missing: None, kept: self.kept.clone() };
                Some(Report::Probed { uplink, facts })
            }
            Command::Journals { client, .. } => Some(Report::Journals { client, found: Ok(Vec::new()) }),
            Command::Survey { uplink, .. } => {
                let found = self.survey.clone().expect("a survey is told before it is asked for");
                Some(Report::Surveyed { uplink, found: found.map(Box::new) })
            }
            Command::Apply { plan, step } => {
                let uplink = plan.id;
                let result = if self.fail_apply.contains(&step) {
                    Err(format!("Linux refuses {step:?}"))
                } else {
                    // The mirror is begun anew when the helper thread died.
                    let entry = (uplink, Step::Linux(step));
                    if step != LinuxStep::Mirror || !self.world.in_place.borrow().contains(&entry) {
                        self.world.in_place.borrow_mut().push(entry);
                    }
                    Ok(match step {
                        LinuxStep::Namespaces => Output::Staging(PathBuf::from("/staging")),
                        _ => Output::None,
                    })
                };
                Some(Report::Applied { uplink, step, result })
            }
            Command::Undo { plan, step } => {
                let uplink = plan.id;
                let result = if self.fail_undo.contains(&step) {
                    Err(format!("Linux keeps {step:?}"))
                } else {
                    self.world.take_out(uplink, Step::Linux(step));
                    Ok(())
                };
                Some(Report::Undone { uplink, step, result })
            }
            Command::GiveUp { request, .. } => {
                self.given_up.push(request.linux_if);
                None
            }
            Command::Forget { uplink } => {
                self.forgotten.insert(uplink);
                None
            }
            Command::Audit { client, .. } => Some(Report::Audited { client, found: Ok(0) }),
            Command::Mirrors { client, .. } => Some(Report::Mirrors { client, found: Vec::new() }),
            Command::BatchDone(_)
            | Command::Changed { .. }
            | Command::Groups
            | Command::Exported(_)
            | Command::Stop => None,
        }
    }

    /// Die over the oldest command, which is carried out or not; the rest of
    /// the queue is lost.
    pub(super) fn die(&mut self, carried_out: bool) -> Report {
        if carried_out {
            drop(self.work());
        }
        for lost in self.queue.drain(..) {
            // What the thread held has gone with it.
            if let Command::Forget { uplink } = lost {
                self.forgotten.insert(uplink);
            }
        }
        Report::Died("out of memory".to_owned())
    }
}
