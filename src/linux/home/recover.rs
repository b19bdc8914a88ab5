//! What a process that died has left: brought home by whoever comes next.

use std::path::Path;
use std::time::Duration;

use super::{bring_home, is_alive};
use crate::engine::journal::{Journal, JournalPhase, TakenDevice};
use crate::engine::{JournalView, Recovery};
use crate::linux::client::Netlink;
use crate::linux::error::Error;
use crate::linux::journal::{JournalDir, JournalEntry, JournalError};
use crate::linux::netns::NetnsFile;

/// What became of one journal.
#[derive(Debug)]
pub struct Recovered {
    /// What it is filed under.
    pub file: String,
    /// The journal, where it could be believed.
    pub journal: Option<Journal>,
    /// What there is to tell: differences that are left, why it was not
    /// believed, where it was set aside.
    pub told: Vec<String>,
    /// Whether it was brought home before, so that nothing was done now.
    pub before: bool,
    /// Whether the interface is home, or was all the time.
    pub home: Result<(), String>,
}

/// The journals, as they are shown.
pub fn journals(path: &Path) -> Result<Vec<JournalView>, Error> {
    let Some(dir) = JournalDir::find(path)? else {
        return Ok(Vec::new());
    };
    Ok(dir.list()?.into_iter().map(view).collect())
}

fn view(entry: JournalEntry) -> JournalView {
    let file = entry.file.to_string_lossy().into_owned();
    match entry.content {
        Ok(journal) => JournalView {
            file,
            interface: Some(journal.interface.to_string()),
            phase: Some(journal.phase.name()),
            home: Some(journal.home.path.display().to_string()),
            device: Some(match &journal.device {
                TakenDevice::Netdev { parking, .. } => format!("netns {parking}"),
                TakenDevice::Pci { address, .. } => format!("pci {address}"),
            }),
            pid: Some(journal.owner.pid),
            alive: is_alive(&journal.owner),
            addresses: journal.captured.addresses.len(),
            routes: journal.captured.routes.len(),
            request: Some(journal.request),
            fault: None,
        },
        Err(error) => JournalView {
            file,
            interface: None,
            phase: None,
            home: None,
            device: None,
            pid: None,
            alive: false,
            addresses: 0,
            routes: 0,
            request: None,
            fault: Some(error.to_string()),
        },
    }
}

/// The words of a recovery, for whoever goes on.
pub fn recovery(one: Recovered) -> Recovery {
    Recovery {
        linux_if: one.journal.as_ref().map(|journal| journal.interface.clone()),
        words: one.journal.filter(has_its_name).map(|journal| journal.request),
        told: one.told.iter().map(|line| format!("{}: {line}", one.file)).collect(),
        home: one.home,
    }
}

/// Whether the device of that name is the one that came home.
fn has_its_name(journal: &Journal) -> bool {
    let find = || -> Result<bool, Error> {
        let home = NetnsFile::find(&journal.home)?;
        let link = Netlink::open_in(&home)?.link_by_name(&journal.interface)?;
        Ok(link.is_some_and(|link| link.mac == Some(journal.captured.link.mac)))
    };
    // Renamed by the host, it is not asked for by that name either.
    find().unwrap_or(false)
}

/// Bring every interface home whose taker is dead. Those of the living are
/// left alone and not told of. A journal that is not believed is set aside.
pub fn recover(path: &Path, patience: Duration) -> Result<Vec<Recovered>, Error> {
    let Some(dir) = JournalDir::find(path)? else {
        return Ok(Vec::new());
    };
    let lock = dir.lock(patience)?;
    let mut all = Vec::new();
    for entry in dir.list()? {
        let file = entry.file.to_string_lossy().into_owned();
        let mut journal = match entry.content {
            Ok(journal) => journal,
            Err(error) => {
                let mut told = vec![error.to_string()];
                if let JournalError::Fault(fault) = &error {
                    told.push(match dir.set_aside(&lock, &entry.file, fault) {
                        Ok(path) => format!("set aside as {}", path.display()),
                        Err(error) => error.to_string(),
                    });
                }
                all.push(Recovered { file, journal: None, told, before: false, home: Err(error.to_string()) });
                continue;
            }
        };
        if journal.phase == JournalPhase::Home {
            all.push(Recovered { file, journal: Some(journal), told: Vec::new(), before: true, home: Ok(()) });
            continue;
        }
        if is_alive(&journal.owner) {
            continue;
        }
        let (mut told, home) = match bring_home(&dir, &lock, &mut journal) {
            Ok(told) => (told, Ok(())),
            Err(error) => {
                let name = &journal.interface;
                let hint = format!("if it is gone for good, 'hostnet-guard forget {name}' ends this");
                (error.is_gone().then_some(hint).into_iter().collect(), Err(error.to_string()))
            }
        };
        if home.is_ok() && !has_its_name(&journal) {
            // Who asked for that name did not ask for the device that has it now.
            told.push(format!("{} is not taken again", journal.interface));
        }
        if home.is_ok() {
            journal.phase = JournalPhase::Home;
            // It is home; that this is not written down costs a second look.
            if let Err(error) = dir.write(&lock, &journal) {
                told.push(error.to_string());
            }
        }
        all.push(Recovered { file, journal: Some(journal), told, before: false, home });
    }
    Ok(all)
}
