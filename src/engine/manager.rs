//! Who wants which uplink enabled, and how far each is. All of it runs on
//! VPP's main thread and never waits: what takes time is the helper thread's,
//! and goes on when its report comes.

mod children;
mod drive;
mod hands;
mod mirror;
mod takeover;
mod uplink;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

pub use hands::{Dataplane, Done, Hands, Kernel, TapView};
pub use mirror::RenderMirrors;
pub use takeover::RenderJournals;
use takeover::{NotTaken, Surveying};
use uplink::{Pace, Probe, Uplink, Waiter};

use super::{
    Action, Command, EnableRequest, Identity, LinuxFacts, LinuxStep, Machine, PanicsView, Phase, Plan, Refusals,
    Report, Startup, Step, Takeover, UplinkId, View,
};
use crate::model::{IfName, Netns};

/// Names whoever waits for an answer: a command under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// What a client is told: a text either way, without a line end at its end
/// but for a dry-run's plan.
pub type Answer = Result<String, String>;

/// What is called right now, so that a panic is laid at the right door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scene {
    /// Nothing of an uplink's.
    #[default]
    Elsewhere,
    /// A client's request is looked at; nothing is changed yet.
    Request(ClientId),
    /// A step of this uplink.
    Step(UplinkId),
    /// This uplink takes the default punt redirect over.
    TakeOver(UplinkId),
}

/// All uplinks, and who waits for them.
///
/// The default punt redirect (`rx all`) belongs to one uplink at a time: to
/// the first, and once that one has it undone, to the next enabled one. From
/// then on that one's plan says `default_punt`.
#[derive(Debug, Default)]
pub struct Manager {
    last_id: u32,
    startup: Arc<Startup>,
    probes: Vec<Probe>,
    surveys: Vec<Surveying>,
    /// Who waits for the journals, and how they are written for it.
    readers: Vec<(ClientId, RenderJournals)>,
    /// Who waits for the mirrors, and how they are written for it.
    mirror_readers: Vec<(ClientId, RenderMirrors)>,
    /// Who waits for an audit, and of which interface of VPP's.
    auditors: Vec<(ClientId, u32)>,
    /// Enables of VPP's start, by the clients that stand for them.
    at_start: Vec<(ClientId, IfName)>,
    /// What startup.conf or a journal asked for in vain.
    not_taken: Vec<NotTaken>,
    uplinks: Vec<Uplink>,
    answers: VecDeque<(ClientId, Answer)>,
    /// What the helper thread has still to be told to forget.
    forgets: Vec<UplinkId>,
    scene: Scene,
    exiting: bool,
    panics: PanicsView,
}

impl Manager {
    /// A manager of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enable an uplink, or say what that would do. The answer comes by
    /// [`Self::completed`], perhaps at once.
    pub fn enable(&mut self, hands: &mut Hands<'_>, request: EnableRequest, client: ClientId) {
        self.scene = Scene::Request(client);
        let begun = self.begin(hands, request, client);
        self.scene = Scene::Elsewhere;
        if let Err(reason) = begun {
            self.answer(Some(client), Err(reason));
        }
    }

    /// Disable an uplink. The answer comes by [`Self::completed`].
    pub fn disable(&mut self, hands: &mut Hands<'_>, sw_if_index: u32, client: ClientId) {
        if let Some(probe) = self.probes.iter().find(|probe| probe.request.sw_if_index == sw_if_index) {
            let busy = format!("{} is being enabled", probe.facts.name);
            return self.answer(Some(client), Err(busy));
        }
        let Some(uplink) = self.uplinks.iter().find(|uplink| uplink.plan.uplink == sw_if_index) else {
            let unknown = self.unknown(hands, sw_if_index, client);
            return self.answer(Some(client), Err(unknown));
        };
        if let Some(child) = &uplink.plan.child {
            let (name, device, below) = (uplink.name(), &uplink.plan.device.name, &child.uplink_name);
            let text = format!("{name} is a VLAN of {below}: delete {device} in Linux, or disable {below}");
            return self.answer(Some(client), Err(text));
        }
        let id = uplink.id;
        self.turn_off(hands, id, client);
    }

    /// Undo an uplink's plan for this client.
    fn turn_off(&mut self, hands: &mut Hands<'_>, id: UplinkId, client: ClientId) {
        let Some(uplink) = self.uplink_mut(id) else { return };
        match uplink.machine.phase() {
            Phase::Enabled | Phase::Stuck => {
                uplink.turn_back(Machine::disable);
                uplink.dismissed = true;
                uplink.waiter = Some(Waiter::Disable(client));
            }
            // A retry of the tick's own: as good as one for this client.
            Phase::Undoing if uplink.pace == Pace::Retrying && uplink.waiter.is_none() => {
                uplink.dismissed = true;
                uplink.waiter = Some(Waiter::Disable(client));
            }
            Phase::Undone => {
                let cleared = format!("hostnet: {} is disabled; its failure is cleared", uplink.name());
                self.uplinks.retain(|uplink| uplink.id != id);
                return self.answer(Some(client), Ok(cleared));
            }
            Phase::Applying | Phase::Undoing => {
                let busy = uplink.busy().unwrap_or_default();
                return self.answer(Some(client), Err(busy));
            }
        }
        self.drive(hands, id);
    }

    /// A word of the helper thread. What answers no step under way is
    /// dropped; so is a file that it brings.
    pub fn report(&mut self, hands: &mut Hands<'_>, report: Report) {
        match report {
            Report::Probed { uplink, facts } => self.probed(hands, uplink, &facts),
            Report::Journals { client, found } => self.journals_read(client, found),
            Report::Surveyed { uplink, found } => self.surveyed(hands, uplink, found),
            Report::Audited { client, found } => self.audited(client, found),
            Report::Mirrors { client, found } => self.mirrors_read(client, &found),
            Report::Batch(batch) => hands.vpp.mirror(*batch),
            Report::Children { uplink, children } => self.children_are(hands, uplink, children),
            Report::Applied { uplink, step: LinuxStep::Mirror, result } if self.is_enabled(uplink) => {
                self.began_anew(hands, uplink, result);
            }
            Report::Applied { uplink, step, result } => {
                if let Some(plan) = self.awaiting(uplink, Action::Apply(Step::Linux(step))) {
                    // Part of the step: VPP's side is to take it over.
                    self.scene = Scene::Step(uplink);
                    let result = result.map(|output| hands.vpp.accept(&plan, output));
                    self.scene = Scene::Elsewhere;
                    self.conclude(hands, uplink, result);
                    self.drive(hands, uplink);
                }
            }
            Report::Undone { uplink, step, result } => {
                if self.awaiting(uplink, Action::Undo(Step::Linux(step))).is_some() {
                    self.conclude(hands, uplink, result);
                    self.drive(hands, uplink);
                }
            }
            Report::Died(text) => self.helper_died(hands, &text),
        }
    }

    /// Somebody deleted an interface of VPP's. To be called while it still is
    /// there or right after, before its index can have a new owner.
    pub fn interface_deleted(&mut self, hands: &mut Hands<'_>, sw_if_index: u32) {
        while let Some(at) = self.probes.iter().position(|probe| probe.request.sw_if_index == sw_if_index) {
            let probe = self.probes.remove(at);
            self.answer(probe.client, Err(format!("uplink {} was deleted", probe.facts.name)));
        }
        for id in self.ids(Uplink::is_live) {
            let tap = hands.vpp.tap(id).filter(|tap| tap.sw_if_index == sw_if_index);
            let Some(uplink) = self.uplink_mut(id) else { continue };
            let cause = match tap {
                _ if uplink.plan.uplink == sw_if_index => format!("uplink {} was deleted", uplink.name()),
                Some(tap) => format!("tap {} was deleted", tap.name),
                None => continue,
            };
            // While undoing or stuck, undo goes on as it does.
            if matches!(uplink.machine.phase(), Phase::Applying | Phase::Enabled) {
                uplink.turn_back(|machine| machine.abandon(cause));
            }
            self.drive(hands, id);
        }
    }

    /// A call of this manager panicked and was caught outside, with this text.
    /// Whatever was under way then counts as failed. May panic itself when an
    /// undo does: catch that too and call again, each time one step fewer is
    /// left.
    pub fn panicked(&mut self, hands: &mut Hands<'_>, text: &str) {
        self.note_panic("process", text);
        let cause = format!("panic: {text}");
        match std::mem::take(&mut self.scene) {
            Scene::Elsewhere => {}
            Scene::Request(client) => self.answer(Some(client), Err(cause)),
            Scene::Step(id) => self.lost(hands, id, cause),
            Scene::TakeOver(id) => self.takeover_failed(id, &cause),
        }
        self.drive_all(hands);
    }

    /// Remember a panic that touched nothing of ours, to be shown.
    pub fn note_panic(&mut self, place: &str, text: &str) {
        self.panics.count += 1;
        self.panics.last = Some(format!("{place}: {text}"));
    }

    /// Try again what failed and is owed: failed undos, the default punt
    /// redirect without a holder. To be called about once a second while
    /// [`Self::wants_tick`].
    pub fn tick(&mut self, hands: &mut Hands<'_>) {
        self.send_forgets(hands);
        for id in self.ids(|uplink| uplink.machine.phase() == Phase::Stuck) {
            if let Some(uplink) = self.uplink_mut(id) {
                uplink.turn_back(Machine::retry);
            }
            self.drive(hands, id);
        }
        self.hand_default_over(hands);
    }

    /// Whether there is something for [`Self::tick`].
    pub fn wants_tick(&self) -> bool {
        let stuck = self.uplinks.iter().any(|uplink| uplink.machine.phase() == Phase::Stuck);
        stuck || !self.forgets.is_empty() || self.wants_default()
    }

    /// VPP exits: begin to undo everything, and enable nothing more. Reports
    /// are to be delivered until [`Self::is_idle`].
    pub fn shutdown(&mut self, hands: &mut Hands<'_>) {
        const EXIT: &str = "VPP is shutting down";
        self.exiting = true;
        for probe in std::mem::take(&mut self.probes) {
            self.answer(probe.client, Err(EXIT.to_owned()));
        }
        self.refuse_surveys(EXIT);
        self.uplinks.retain(Uplink::is_live);
        // All turn before one is driven, or the default punt redirect would
        // wander through those that are next.
        for uplink in &mut self.uplinks {
            uplink.dismissed = true;
            match uplink.machine.phase() {
                Phase::Applying => uplink.turn_back(|machine| machine.abandon(EXIT.to_owned())),
                Phase::Enabled | Phase::Stuck => uplink.turn_back(Machine::disable),
                Phase::Undoing | Phase::Undone => {}
            }
        }
        // VPP's side takes no time any more.
        self.resume(hands);
        self.drive_all(hands);
    }

    /// VPP is on its way out.
    pub fn is_exiting(&self) -> bool {
        self.exiting
    }

    /// Whether nothing is under way. What is stuck counts as idle: it waits
    /// for the tick.
    pub fn is_idle(&self) -> bool {
        self.probes.is_empty()
            && self.surveys.is_empty()
            && self.uplinks.iter().all(|uplink| uplink.pace == Pace::Resting)
    }

    /// The next answer to a client.
    pub fn completed(&mut self) -> Option<(ClientId, Answer)> {
        self.answers.pop_front()
    }

    /// This client went away and gets no answer. What it asked for goes on.
    pub fn cancel(&mut self, client: ClientId) {
        for probe in &mut self.probes {
            probe.client = probe.client.filter(|waiting| *waiting != client);
        }
        for survey in &mut self.surveys {
            survey.client = survey.client.filter(|waiting| *waiting != client);
        }
        for uplink in &mut self.uplinks {
            uplink.waiter = uplink.waiter.filter(|waiter| waiter.client() != client);
        }
        self.readers.retain(|(reader, _)| *reader != client);
        self.mirror_readers.retain(|(reader, _)| *reader != client);
        self.auditors.retain(|(reader, _)| *reader != client);
        self.answers.retain(|(waiting, _)| *waiting != client);
    }

    /// Whether an answer to this client is still to come.
    pub fn serves(&self, client: ClientId) -> bool {
        let waits = |waiter: &Option<Waiter>| waiter.as_ref().is_some_and(|waiter| waiter.client() == client);
        self.probes.iter().any(|probe| probe.client == Some(client))
            || self.surveys.iter().any(|survey| survey.client == Some(client))
            || self.readers.iter().any(|(reader, _)| *reader == client)
            || self.mirror_readers.iter().any(|(reader, _)| *reader == client)
            || self.auditors.iter().any(|(auditor, _)| *auditor == client)
            || self.uplinks.iter().any(|uplink| waits(&uplink.waiter))
            || self.answers.iter().any(|(waiting, _)| *waiting == client)
    }

    /// VPP's index of an uplink of ours by its name or index, whether or not
    /// VPP still has the interface.
    pub fn find(&self, word: &str) -> Option<u32> {
        let index = word.parse::<u32>().ok();
        let plans = || self.uplinks.iter().map(|uplink| &uplink.plan);
        let by_name = plans().find(|plan| plan.uplink_name == word);
        by_name.or_else(|| plans().find(|plan| Some(plan.uplink) == index)).map(|plan| plan.uplink)
    }

    /// The uplinks, each with VPP's index of its interface.
    pub fn uplinks(&self) -> impl Iterator<Item = (UplinkId, u32)> {
        self.uplinks.iter().filter(|uplink| uplink.is_live()).map(|uplink| (uplink.id, uplink.plan.uplink))
    }

    /// What `show hostnet` shows, of one uplink (`sw_if_index`) or of all.
    pub fn view(&self, vpp: &dyn Dataplane, kernel: &dyn Kernel, only: Option<u32>) -> View {
        let wanted = |uplink: &&Uplink| only.is_none_or(|index| index == uplink.plan.uplink);
        let uplinks = self.uplinks.iter().filter(wanted);
        View {
            version: env!("CARGO_PKG_VERSION"),
            helper: kernel.view(),
            panics: self.panics.clone(),
            not_taken: self.not_taken.iter().map(NotTaken::view).collect(),
            uplinks: uplinks.map(|uplink| uplink.view(vpp.tap(uplink.id))).collect(),
        }
    }

    fn begin(&mut self, hands: &mut Hands<'_>, request: EnableRequest, client: ClientId) -> Result<(), String> {
        let index = request.sw_if_index;
        if self.exiting {
            return Err("VPP is shutting down".to_owned());
        }
        if let Some(probe) = self.probes.iter().find(|probe| probe.request.sw_if_index == index) {
            return Err(format!("{} is being enabled", probe.facts.name));
        }
        if let Some(busy) = self.uplinks.iter().filter(|u| u.plan.uplink == index).find_map(Uplink::busy) {
            return Err(busy);
        }
        for uplink in self.uplinks.iter().filter(|uplink| uplink.is_live()) {
            if let Some(tap) = hands.vpp.tap(uplink.id).filter(|tap| tap.sw_if_index == index) {
                let name = uplink.name();
                return Err(format!("{} is hostnet's own tap of {name}; it cannot be an uplink", tap.name));
            }
        }
        let mut facts = hands.vpp.inspect(index, &self.live_plans())?;
        facts.refusals.extend(self.startup.mirror.refusals(&hands.vpp.route_sources()));
        self.last_id = self.last_id.wrapping_add(1);
        let id = UplinkId(self.last_id);
        let name = Plan::device_name(&request, &facts);
        let identity = Identity::new(&facts.name, facts.mac, name);
        let name = request.host_if.clone();
        let (netns, journal) = (request.host_netns.clone(), self.startup.journal.clone());
        let command = Command::Probe { uplink: id, netns, name, identity, journal };
        let probe = Probe { id, request, facts, client: Some(client) };
        match hands.kernel.submit(command) {
            Ok(()) => {
                self.probes.push(probe);
                Ok(())
            }
            Err(error) => Err(self.refusal(&probe, error.to_string())),
        }
    }

    /// The plan of an `enable`, or every reason against it. What other uplinks
    /// hold is looked at now, not when the request came: they went on since.
    fn plan(&self, probe: &Probe, linux: &LinuxFacts) -> Result<Plan, Refusals> {
        let mut facts = probe.facts.clone();
        facts.default_punt = !self.uplinks.iter().any(|uplink| uplink.holds_default);
        let netns = &probe.request.host_netns;
        if let Some(name) = Plan::device_name(&probe.request, &facts) {
            facts.refusals.extend(self.device_is_anothers(&name, netns));
        }
        match &linux.kept {
            Some(kept) => Takeover::of_kept(probe.id, &probe.request, &facts, linux, kept, &self.startup),
            None => Plan::build(probe.id, &probe.request, &facts, linux),
        }
    }

    /// The refusals of a host's device that other uplinks of ours have.
    fn device_is_anothers(&self, name: &IfName, netns: &Netns) -> Vec<String> {
        let same = |uplink: &&Uplink| uplink.plan.device.name == *name && uplink.plan.device.netns == *netns;
        let tell = |uplink: &Uplink| {
            let owner = uplink.name();
            format!("host device {name} in namespace {netns} is that of uplink {owner}: add another 'host-if <name>'")
        };
        self.uplinks.iter().filter(|uplink| uplink.is_live()).filter(same).map(tell).collect()
    }

    /// Every reason against an `enable` for which Linux cannot be asked.
    fn refusal(&self, probe: &Probe, reason: String) -> String {
        let linux = LinuxFacts { refusals: vec![reason.clone()], ..LinuxFacts::default() };
        self.plan(probe, &linux).map_or_else(|refusals| refusals.to_string(), |_| reason)
    }

    fn probed(&mut self, hands: &mut Hands<'_>, id: UplinkId, linux: &LinuxFacts) {
        let Some(at) = self.probes.iter().position(|probe| probe.id == id) else { return };
        let probe = self.probes.remove(at);
        let mut plan = match self.plan(&probe, linux) {
            Ok(plan) => plan,
            Err(refusals) => return self.answer(probe.client, Err(refusals.to_string())),
        };
        plan.follow(&self.startup.mirror, &probe.facts);
        if probe.request.dry_run {
            return self.answer(probe.client, Ok(plan.describe()));
        }
        // Only now does the record of an earlier failure give way.
        let same = |old: &Plan| old.uplink == plan.uplink || old.uplink_name == plan.uplink_name;
        self.uplinks.retain(|uplink| uplink.is_live() || !same(&uplink.plan));
        if plan.default_punt {
            self.clear_takeover_errors();
        }
        self.uplinks.push(Uplink::new(plan, probe.client.map(Waiter::Enable)));
        self.drive(hands, id);
    }

    fn helper_died(&mut self, hands: &mut Hands<'_>, text: &str) {
        let cause = format!("the helper thread died: {text}");
        for probe in std::mem::take(&mut self.probes) {
            let refusal = self.refusal(&probe, cause.clone());
            self.answer(probe.client, Err(refusal));
        }
        self.refuse_surveys(&cause);
        self.refuse_mirror_readers(&cause);
        // All are marked before one is driven: what is submitted from here on
        // is a new thread's and is not lost.
        for id in self.ids(|uplink| uplink.begun.is_some() && !uplink.awaits_vpp()) {
            self.lost(hands, id, cause.clone());
        }
        self.mirror_again(hands);
        self.drive_all(hands);
    }

    fn unknown(&mut self, hands: &mut Hands<'_>, sw_if_index: u32, client: ClientId) -> String {
        self.scene = Scene::Request(client);
        let facts = hands.vpp.inspect(sw_if_index, &self.live_plans());
        self.scene = Scene::Elsewhere;
        let name = match facts {
            Ok(facts) => facts.name,
            Err(reason) => return reason,
        };
        let known: Vec<&str> = self.uplinks.iter().map(Uplink::name).collect();
        if known.is_empty() {
            format!("{name} is not enabled; no uplink is")
        } else {
            format!("{name} is not enabled; enabled: {}", known.join(", "))
        }
    }

    fn live_plans(&self) -> Vec<Arc<Plan>> {
        self.uplinks.iter().filter(|uplink| uplink.is_live()).map(|uplink| Arc::clone(&uplink.plan)).collect()
    }

    /// The uplink's plan, if this action of it is the helper thread's now.
    fn awaiting(&self, id: UplinkId, action: Action) -> Option<Arc<Plan>> {
        let uplink = self.uplinks.iter().find(|uplink| uplink.id == id)?;
        uplink.awaits(action).then(|| Arc::clone(&uplink.plan))
    }

    fn ids(&self, which: impl Fn(&Uplink) -> bool) -> Vec<UplinkId> {
        self.uplinks.iter().filter(|uplink| which(uplink)).map(|uplink| uplink.id).collect()
    }

    fn uplink_mut(&mut self, id: UplinkId) -> Option<&mut Uplink> {
        self.uplinks.iter_mut().find(|uplink| uplink.id == id)
    }

    fn answer(&mut self, client: Option<ClientId>, answer: Answer) {
        let Some(client) = client else { return };
        match self.at_start.iter().position(|(of, _)| *of == client) {
            Some(at) => {
                let (_, linux_if) = self.at_start.remove(at);
                self.not_taken.extend(answer.err().map(|reason| NotTaken { linux_if, reason }));
            }
            None => self.answers.push_back((client, answer)),
        }
    }
}
