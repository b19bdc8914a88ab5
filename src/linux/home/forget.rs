//! A journal whose device is gone for good: whoever knows that says so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{is_alive, netdev};
use crate::engine::journal::{Journal, JournalPhase};
use crate::linux::error::Error;
use crate::linux::journal::{JournalDir, JournalEntry};

/// Set the journal of that name aside: an interface's, or as it is filed. Not
/// while a process lives that has the interface, nor while the device is where
/// it could be brought home from. Where it is now.
pub fn forget(path: &Path, name: &str, patience: Duration) -> Result<PathBuf, Error> {
    let what = format!("forget {name}");
    let none = || Error::new(&what, format!("{} has no journal of it", path.display()));
    let dir = JournalDir::find(path)?.ok_or_else(none)?;
    let lock = dir.lock(patience)?;
    let all = dir.list()?.into_iter().filter(|entry| is_called(entry, name));
    let mut found: Vec<JournalEntry> = all.collect();
    let entry = match (found.pop(), found.is_empty()) {
        (None, _) => return Err(none()),
        (Some(entry), true) => entry,
        (Some(entry), false) => {
            found.push(entry);
            let files: Vec<_> = found.iter().map(|entry| entry.file.to_string_lossy()).collect();
            return Err(Error::new(what, format!("there are several: write one of {}", files.join(", "))));
        }
    };
    if let Ok(journal) = &entry.content
        && let Some(reason) = still_needed(journal)
    {
        return Err(Error::new(what, reason));
    }
    dir.forget(&lock, &entry.file)
}

fn is_called(entry: &JournalEntry, name: &str) -> bool {
    let file = entry.file.to_string_lossy();
    let stem = file.strip_suffix(".journal").unwrap_or(&file);
    let of_device = stem.rsplit_once('@').is_some_and(|(device, _)| device == name);
    of_device || stem == name || file == name
}

fn still_needed(journal: &Journal) -> Option<String> {
    if journal.phase == JournalPhase::Home {
        return None;
    }
    if is_alive(&journal.owner) {
        return Some(format!("process {} lives and has it", journal.owner.pid));
    }
    let is_away = matches!(journal.phase, JournalPhase::Taking | JournalPhase::Taken | JournalPhase::Giving)
        && netdev::is_away(journal).is_ok();
    is_away.then(|| "its device is there: 'hostnet-guard restore' brings it home, or says how".to_owned())
}
