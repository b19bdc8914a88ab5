//! The mirrors, as the manager sees them: who asks for what, and what a new
//! helper thread has to begin anew.

use super::{ClientId, Hands, Manager};
use crate::engine::mirror::MirrorView;
use crate::engine::{Command, LinuxStep, Output, Phase, UplinkId};

/// How mirrors are written for whoever asked.
pub type RenderMirrors = fn(&[MirrorView]) -> String;

/// A mirror that fails again and again is not begun for ever.
const RESTARTS: u32 = 5;

impl Manager {
    /// Tell of the mirror of one uplink (`sw_if_index`) or of all. The answer
    /// comes by [`Self::completed`].
    pub fn mirrors(&mut self, hands: &mut Hands<'_>, only: Option<u32>, render: RenderMirrors, client: ClientId) {
        let found = only.map(|index| self.mirrored(index)).transpose();
        let asked = found
            .and_then(|only| hands.kernel.submit(Command::Mirrors { client, only }).map_err(|error| error.to_string()));
        match asked {
            Ok(()) => self.mirror_readers.push((client, render)),
            Err(reason) => self.answer(Some(client), Err(reason)),
        }
    }

    /// Compare both sides of an uplink and mend what differs. The answer comes
    /// by [`Self::completed`].
    pub fn audit(&mut self, hands: &mut Hands<'_>, sw_if_index: u32, client: ClientId) {
        let asked = self.mirrored(sw_if_index).and_then(|uplink| {
            hands.kernel.submit(Command::Audit { client, uplink }).map_err(|error| error.to_string())
        });
        match asked {
            Ok(()) => self.auditors.push((client, sw_if_index)),
            Err(reason) => self.answer(Some(client), Err(reason)),
        }
    }

    fn mirrored(&self, sw_if_index: u32) -> Result<UplinkId, String> {
        let uplink = self.uplinks.iter().find(|uplink| uplink.plan.uplink == sw_if_index);
        match uplink {
            Some(uplink) if uplink.machine.phase() == Phase::Enabled => Ok(uplink.id),
            Some(uplink) => Err(format!("{} is not enabled", uplink.name())),
            None => {
                let known: Vec<&str> = self.uplinks.iter().map(super::Uplink::name).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(format!("that interface is not enabled; enabled: {known}"))
            }
        }
    }

    pub(super) fn mirrors_read(&mut self, client: ClientId, found: &[MirrorView]) {
        if let Some(at) = self.mirror_readers.iter().position(|(reader, _)| *reader == client) {
            let (_, render) = self.mirror_readers.remove(at);
            self.answer(Some(client), Ok(render(found)));
        }
    }

    pub(super) fn audited(&mut self, client: ClientId, found: Result<u64, String>) {
        let Some(at) = self.auditors.iter().position(|(reader, _)| *reader == client) else { return };
        let (_, sw_if_index) = self.auditors.remove(at);
        let name = self.uplinks.iter().find(|uplink| uplink.plan.uplink == sw_if_index);
        let name = name.map_or_else(|| sw_if_index.to_string(), |uplink| uplink.name().to_owned());
        let answer = found.map(|differences| match differences {
            0 => format!("hostnet: {name}: Linux and VPP are the same"),
            1 => format!("hostnet: {name}: 1 difference found and mended; 'show hostnet mirror' names it"),
            many => {
                format!("hostnet: {name}: {many} differences found and mended; 'show hostnet mirror' names the last")
            }
        });
        self.answer(Some(client), answer);
    }

    /// Whoever waits for the thread's word on mirrors gets none.
    pub(super) fn refuse_mirror_readers(&mut self, reason: &str) {
        let readers = std::mem::take(&mut self.mirror_readers).into_iter().map(|(client, _)| client);
        let auditors = std::mem::take(&mut self.auditors).into_iter().map(|(client, _)| client);
        for client in readers.chain(auditors).collect::<Vec<_>>() {
            self.answer(Some(client), Err(reason.to_owned()));
        }
    }

    pub(super) fn is_enabled(&self, id: UplinkId) -> bool {
        self.uplinks.iter().any(|uplink| uplink.id == id && uplink.machine.phase() == Phase::Enabled)
    }

    /// A mirror was begun anew for an uplink that was enabled long since.
    pub(super) fn began_anew(&mut self, hands: &mut Hands<'_>, id: UplinkId, result: Result<Output, String>) {
        let Some(uplink) = self.uplink_mut(id) else { return };
        let plan = std::sync::Arc::clone(&uplink.plan);
        match result {
            Ok(output) => hands.vpp.accept(&plan, output),
            Err(reason) => log::error!("{}: its mirror is not begun anew: {reason}", plan.uplink_name),
        }
    }

    /// The mirrors went with the helper thread: a new one begins them anew.
    pub(super) fn mirror_again(&mut self, hands: &mut Hands<'_>) {
        for id in self.ids(|uplink| uplink.machine.phase() == Phase::Enabled) {
            let Some(uplink) = self.uplink_mut(id) else { continue };
            if uplink.mirror_restarts >= RESTARTS {
                log::error!(
                    "{}: its mirror ended {RESTARTS} times; 'hostnet disable' and 'enable' begin it anew",
                    uplink.name()
                );
                continue;
            }
            uplink.mirror_restarts += 1;
            let plan = std::sync::Arc::clone(&uplink.plan);
            if let Err(error) = hands.kernel.submit(Command::Apply { plan, step: LinuxStep::Mirror }) {
                log::error!("{id:?}: its mirror is not begun anew: {error}");
            }
        }
    }
}
