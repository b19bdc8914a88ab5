//! Uplinks that are taken from Linux: what comes before their plan.

use std::sync::Arc;

use super::uplink::{Uplink, Waiter};
use super::{ClientId, Hands, Manager, Scene};
use crate::engine::{
    Command, EnableRequest, JournalView, NotTakenView, Origin, Startup, Survey, Takeover, UplinkId, UplinkRequest,
    VppStep,
};
use crate::model::{IfName, Netns};

/// A takeover whose plan waits for what Linux says.
#[derive(Debug)]
pub(super) struct Surveying {
    pub(super) id: UplinkId,
    pub(super) request: UplinkRequest,
    /// The words that ask for it.
    pub(super) words: String,
    pub(super) client: Option<ClientId>,
}

/// How the journals are written for whoever asked.
pub type RenderJournals = fn(&[JournalView]) -> String;

/// A takeover that startup.conf or a journal asked for and that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotTaken {
    pub(super) linux_if: IfName,
    pub(super) reason: String,
}

impl NotTaken {
    pub(super) fn view(&self) -> NotTakenView {
        NotTakenView { linux_interface: self.linux_if.to_string(), reason: self.reason.clone() }
    }
}

impl Manager {
    /// What startup.conf says; before the first takeover.
    pub fn set_startup(&mut self, startup: Startup) {
        self.startup = Arc::new(startup);
    }

    /// What startup.conf says.
    pub fn startup(&self) -> &Arc<Startup> {
        &self.startup
    }

    /// Take an interface from Linux and enable it, or say what that would do.
    /// The answer comes by [`Self::completed`], perhaps at once; without a
    /// client, a refusal is shown. `words` ask for the same, in a journal.
    pub fn take(&mut self, hands: &mut Hands<'_>, request: &UplinkRequest, words: &str, client: Option<ClientId>) {
        self.not_taken.retain(|not| not.linux_if != request.linux_if);
        self.scene = client.map_or(Scene::Elsewhere, Scene::Request);
        let begun = self.begin_survey(hands, request, words, client);
        self.scene = Scene::Elsewhere;
        if let Err(reason) = begun {
            self.refuse(request, client, reason);
        }
    }

    /// Give a taken interface back. The answer comes by [`Self::completed`].
    pub fn release(&mut self, hands: &mut Hands<'_>, linux_if: &IfName, client: ClientId) {
        if self.surveys.iter().any(|survey| survey.request.linux_if == *linux_if) {
            return self.answer(Some(client), Err(format!("{linux_if} is being taken")));
        }
        let before = self.not_taken.len();
        self.not_taken.retain(|not| not.linux_if != *linux_if);
        // The last one: records of earlier failures may stand before it.
        match self.uplinks.iter().rev().find(|uplink| takes(uplink, linux_if)) {
            Some(uplink) => self.turn_off(hands, uplink.id, client),
            None if self.not_taken.len() < before => {
                let cleared = format!("hostnet: {linux_if} was not taken; its failure is cleared");
                self.answer(Some(client), Ok(cleared));
            }
            None => {
                let taken: Vec<String> = self.uplinks.iter().filter_map(linux_name).collect();
                let taken = if taken.is_empty() { "no interface is".to_owned() } else { taken.join(", ") };
                self.answer(Some(client), Err(format!("{linux_if} is not taken; taken: {taken}")));
            }
        }
    }

    /// Enable an interface that VPP's dpdk plugin made of a card that was
    /// `linux_if`; a refusal is shown.
    pub fn enable_at_start(&mut self, hands: &mut Hands<'_>, request: EnableRequest, linux_if: IfName) {
        // A client of nobody's: what it is told is looked at here.
        let client = ClientId(u64::MAX - u64::from(request.sw_if_index));
        self.at_start.push((client, linux_if));
        self.enable(hands, request, client);
    }

    /// VPP's dpdk plugin does not take what was taken from Linux for it: bring
    /// that home, and show why.
    pub fn give_up(&mut self, hands: &mut Hands<'_>, request: &UplinkRequest, reason: String) {
        let (request, startup) = (Box::new(request.clone()), Arc::clone(&self.startup));
        self.not_taken.push(NotTaken { linux_if: request.linux_if.clone(), reason });
        // That it is not brought home is the least: the guard does it later.
        if let Err(error) = hands.kernel.submit(Command::GiveUp { request, startup }) {
            self.not_taken
                .extend(self.not_taken.last().cloned().map(|not| NotTaken { reason: error.to_string(), ..not }));
        }
    }

    /// Show what came of an interface that a VPP that died had taken, and that
    /// could not be brought home.
    pub fn note_not_taken(&mut self, linux_if: IfName, reason: String) {
        self.not_taken.push(NotTaken { linux_if, reason });
    }

    /// Read the journals for this client. The answer comes by
    /// [`Self::completed`], written by `render`.
    pub fn journals(&mut self, hands: &mut Hands<'_>, render: RenderJournals, client: ClientId) {
        let command = Command::Journals { client, journal: self.startup.journal.clone() };
        match hands.kernel.submit(command) {
            Ok(()) => self.readers.push((client, render)),
            Err(error) => self.answer(Some(client), Err(error.to_string())),
        }
    }

    /// The helper has read the journals.
    pub(super) fn journals_read(&mut self, client: ClientId, found: Result<Vec<JournalView>, String>) {
        if let Some(at) = self.readers.iter().position(|(reader, _)| *reader == client) {
            let (_, render) = self.readers.remove(at);
            self.answer(Some(client), found.map(|found| render(&found)));
        }
    }

    fn begin_survey(
        &mut self,
        hands: &mut Hands<'_>,
        request: &UplinkRequest,
        words: &str,
        client: Option<ClientId>,
    ) -> Result<(), String> {
        let name = &request.linux_if;
        if self.exiting {
            return Err("VPP is shutting down".to_owned());
        }
        let same = |other: &IfName, home: &Netns| other == name && *home == request.enable.host_netns;
        if self.surveys.iter().any(|other| same(&other.request.linux_if, &other.request.enable.host_netns)) {
            return Err(format!("{name} is being taken"));
        }
        let taken = |uplink: &&Uplink| uplink.plan.takeover.as_ref().is_some_and(|t| same(&t.linux_if, &t.home));
        if let Some(busy) = self.uplinks.iter().filter(taken).find_map(Uplink::busy) {
            return Err(busy);
        }
        self.last_id = self.last_id.wrapping_add(1);
        let id = UplinkId(self.last_id);
        let command = Command::Survey { uplink: id, request: request.clone(), startup: Arc::clone(&self.startup) };
        hands.kernel.submit(command).map_err(|error| error.to_string())?;
        self.surveys.push(Surveying { id, request: request.clone(), words: words.to_owned(), client });
        Ok(())
    }

    /// The helper has looked at the interface.
    pub(super) fn surveyed(&mut self, hands: &mut Hands<'_>, id: UplinkId, found: Result<Box<Survey>, String>) {
        let Some(at) = self.surveys.iter().position(|survey| survey.id == id) else { return };
        let Surveying { request, words, client, .. } = self.surveys.remove(at);
        let survey = match found {
            Ok(survey) => *survey,
            Err(reason) => return self.refuse(&request, client, reason),
        };
        self.scene = client.map_or(Scene::Elsewhere, Scene::Request);
        let pci = survey.captured.pci.as_ref().map(|pci| pci.address.clone());
        let mut prospects = hands.vpp.prospects(pci.as_deref());
        prospects.refusals.extend(self.startup.mirror.refusals(&hands.vpp.route_sources()));
        self.scene = Scene::Elsewhere;
        let enable = &request.enable;
        let device = enable.host_if.as_ref().unwrap_or(&request.linux_if);
        prospects.refusals.extend(self.device_is_anothers(device, &enable.host_netns));
        let mut plan = match Takeover::plan(id, &request, &words, &self.startup, survey, prospects) {
            Ok(plan) => plan,
            Err(refusals) => return self.refuse(&request, client, refusals.to_string()),
        };
        plan.default_punt = !self.uplinks.iter().any(|uplink| uplink.holds_default);
        plan.mirror = self.startup.mirror.clone();
        if enable.dry_run {
            return self.answer(client, Ok(plan.describe()));
        }
        // Only now does the record of an earlier failure give way.
        self.uplinks.retain(|uplink| uplink.is_live() || !takes(uplink, &request.linux_if));
        if plan.default_punt {
            self.clear_takeover_errors();
        }
        self.uplinks.push(Uplink::new(plan, client.map(Waiter::Enable)));
        self.drive(hands, id);
    }

    fn refuse(&mut self, request: &UplinkRequest, client: Option<ClientId>, reason: String) {
        if client.is_none() {
            self.not_taken.push(NotTaken { linux_if: request.linux_if.clone(), reason: reason.clone() });
        }
        self.answer(client, Err(reason));
    }

    /// Nobody will look at the interfaces any more.
    pub(super) fn refuse_surveys(&mut self, reason: &str) {
        for (client, _) in std::mem::take(&mut self.readers) {
            self.answer(Some(client), Err(reason.to_owned()));
        }
        for survey in std::mem::take(&mut self.surveys) {
            self.refuse(&survey.request, survey.client, reason.to_owned());
        }
    }

    /// VPP's interface was made on a taken device, or is gone again: from now
    /// on the plan knows it.
    pub(super) fn note_interface(&mut self, hands: &Hands<'_>, id: UplinkId, step: VppStep) {
        if step != VppStep::Uplink {
            return;
        }
        let interface = hands.vpp.interface(id);
        if let Some(uplink) = self.uplink_mut(id) {
            let plan = Arc::make_mut(&mut uplink.plan);
            if !matches!(plan.origin(), Origin::Taken | Origin::Child) {
                return;
            }
            match interface {
                Some((sw_if_index, name)) => (plan.uplink, plan.uplink_name) = (sw_if_index, name),
                None => plan.uplink = crate::engine::NO_SW_IF_INDEX,
            }
        }
    }
}

fn linux_name(uplink: &Uplink) -> Option<String> {
    uplink.plan.takeover.as_ref().map(|takeover| takeover.linux_if.to_string())
}

fn takes(uplink: &Uplink, linux_if: &IfName) -> bool {
    uplink.plan.takeover.as_ref().is_some_and(|takeover| takeover.linux_if == *linux_if)
}
