//! What Linux had on interfaces that the user's own commands give to VPP:
//! written down at VPP's start, before any driver can touch them, and found
//! again when they are enabled.

use std::path::Path;
use std::sync::Arc;

use super::away::journal;
use super::{PATIENCE, owner};
use crate::engine::journal::{Journal, JournalPhase, TakenDevice};
use crate::engine::{Identity, Kept, LinuxFacts, Startup, UplinkRequest};
use crate::linux::error::Error;
use crate::linux::journal::JournalDir;
use crate::linux::netns::NetnsFile;
use crate::linux::{captured, probe as tap_probe};
use crate::model::{IfName, Netns};

/// Write down what Linux has on the interface. `words` asked for it.
pub fn keep(request: &UplinkRequest, startup: &Startup, words: &str) -> Result<(), Error> {
    let netns = &request.enable.host_netns;
    let home = NetnsFile::open(netns)?;
    let captured = captured::capture(&home, &request.linux_if)?;
    let device = match &captured.pci {
        Some(pci) => TakenDevice::Pci {
            address: pci.address.clone(),
            original_driver: pci.driver.clone(),
            // The user's choice, made later.
            taken_driver: String::new(),
        },
        None => TakenDevice::Netdev {
            parking: startup.netns.clone(),
            mac: captured.link.mac,
            parked_name: request.linux_if.clone(),
            index: captured.link.index,
        },
    };
    let dir = JournalDir::open(&startup.journal)?;
    let lock = dir.lock(PATIENCE)?;
    let journal = journal(JournalPhase::Kept, netns, &home, device, captured, words)?;
    dir.write(&lock, &journal)
}

/// What Linux says to the host's device of an uplink that is VPP's; with what
/// was kept for it.
pub fn probe(netns: &Netns, name: Option<IfName>, identity: &Identity, journals: &Path) -> LinuxFacts {
    let (kept, problem) = match find(netns, identity, journals) {
        Ok(kept) => (kept, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let name =
        name.or_else(|| kept.as_ref().map(|kept| kept.captured.link.name.clone())).or_else(|| identity.name.clone());
    let mut facts = tap_probe(netns, name.as_ref());
    facts.refusals.extend(problem);
    facts.kept = kept;
    facts
}

fn find(netns: &Netns, identity: &Identity, journals: &Path) -> Result<Option<Kept>, Error> {
    let Some(dir) = JournalDir::find(journals)? else {
        return Ok(None);
    };
    let Ok(home_ino) = NetnsFile::open(netns).and_then(|file| file.id()) else {
        // The probe of the namespace itself tells that.
        return Ok(None);
    };
    let us = owner::this_process();
    let is_ours = |journal: &Journal| {
        journal.phase == JournalPhase::Kept && journal.owner == us && journal.home.ino == home_ino.1
    };
    let journals = dir.list()?.into_iter().filter_map(|entry| entry.content.ok()).filter(is_ours);
    let fitting = journals.filter_map(|journal| Some((identity.fits(&journal.captured)?, journal)));
    let best = fitting.min_by_key(|(rank, _)| *rank);
    Ok(best.map(|(_, journal)| {
        let (config, kept) = captured::host_config(&journal.captured);
        Kept { home_ino: journal.home.ino, captured: Arc::new(journal.captured), config, kept, words: journal.request }
    }))
}
