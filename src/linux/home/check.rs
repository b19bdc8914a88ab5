//! Whether what Linux has is what the journals say. Changes nothing.

use std::path::Path;

use super::{find_tap, is_alive, merged, netdev};
use crate::engine::journal::{Journal, JournalPhase};
use crate::linux::captured;
use crate::linux::error::Error;
use crate::linux::journal::JournalDir;
use crate::linux::netns::NetnsFile;

/// How an interface stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// At home, as the journal says.
    Home,
    /// With a living VPP, as the journal says.
    Taken,
    /// A living VPP takes it, or gives it back, just now.
    OnTheWay,
    /// Its VPP is dead, and it was not brought home.
    Left,
    /// Its journal is not believed.
    Unknown,
}

impl Standing {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Home => "at home",
            Self::Taken => "taken",
            Self::OnTheWay => "on the way",
            Self::Left => "left behind",
            Self::Unknown => "not known",
        }
    }
}

/// What is to be said of one journal.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The interface; the file's name where the journal is not believed.
    pub interface: String,
    /// How it stands.
    pub standing: Standing,
    /// What is not as the journal says.
    pub differences: Vec<String>,
    /// What was changed on the tap since the journal was written; it comes
    /// home like the rest.
    pub changes: Vec<String>,
}

/// Compare every journal with what Linux has. Needs no lock.
pub fn check(path: &Path) -> Result<Vec<Checked>, Error> {
    let Some(dir) = JournalDir::find(path)? else {
        return Ok(Vec::new());
    };
    let one = |entry: crate::linux::JournalEntry| match entry.content {
        Ok(journal) => checked(&journal),
        Err(error) => Checked {
            interface: entry.file.to_string_lossy().into_owned(),
            standing: Standing::Unknown,
            differences: vec![error.to_string()],
            changes: Vec::new(),
        },
    };
    Ok(dir.list()?.into_iter().map(one).collect())
}

fn checked(journal: &Journal) -> Checked {
    let alive = is_alive(&journal.owner);
    let standing = match journal.phase {
        JournalPhase::Home => Standing::Home,
        _ if !alive => Standing::Left,
        JournalPhase::Taken => Standing::Taken,
        JournalPhase::Kept | JournalPhase::Taking | JournalPhase::Giving => Standing::OnTheWay,
    };
    let (mut differences, mut changes) = (Vec::new(), Vec::new());
    let looked = match standing {
        Standing::Home => at_home(journal).map(|found| differences = found),
        Standing::Taken => taken(journal).map(|found| (differences, changes) = found),
        Standing::Left => {
            let pid = journal.owner.pid;
            differences.push(format!("process {pid}, which had it, is dead; 'hostnet-guard restore' brings it home"));
            Ok(())
        }
        Standing::OnTheWay | Standing::Unknown => Ok(()),
    };
    differences.extend(looked.err().map(|error| error.to_string()));
    Checked { interface: journal.interface.to_string(), standing, differences, changes }
}

fn at_home(journal: &Journal) -> Result<Vec<String>, Error> {
    let home = NetnsFile::find(&journal.home)?;
    let Some(link) = netdev::find_at_home(&home, journal)? else {
        return Ok(vec!["the device is not at home".to_owned()]);
    };
    let name = link.name.parse().map_err(|_| Error::new("look at the device", "its name makes no sense"))?;
    Ok(captured::differences(&journal.captured, &captured::capture(&home, &name)?))
}

/// What is not as the journal says, and what was changed on the tap.
fn taken(journal: &Journal) -> Result<(Vec<String>, Vec<String>), Error> {
    let mut differences: Vec<String> = netdev::is_away(journal).err().iter().map(ToString::to_string).collect();
    let home = NetnsFile::find(&journal.home)?;
    let tap = match &journal.tap {
        Some(tap) => find_tap(&home, tap)?.map(|(name, _)| (tap, name)),
        None => None,
    };
    let Some((tap, name)) = tap else {
        differences.push("the tap in its place is gone".to_owned());
        return Ok((differences, Vec::new()));
    };
    let now = merged(&journal.captured, tap, captured::capture(&home, &name)?);
    Ok((differences, captured::differences(&journal.captured, &now)))
}
