//! `hostnet-guard`: gives Linux its interfaces back when VPP cannot. Links no
//! VPP; the work itself is the `linux` room's.
#![forbid(unsafe_code)]

mod args;
mod syslog;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use crate::cli::{render_journals, render_journals_json};
use crate::engine::JournalView;
use crate::linux::home::{self, Checked, Recovered, Standing};
use args::{Action, Args};

pub use args::{ArgsError, HELP};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Everything is home, or as the journals say; or there was nothing to do.
    Done = 0,
    /// Something is not home, or not as its journal says; or it could not be
    /// learned.
    NotHome = 1,
    /// The words make no sense.
    Usage = 2,
    /// A journal was not believed, so what it was of is not known.
    NotBelieved = 3,
    /// Everything is home, but not quite as it was, or that could not be
    /// written down.
    Differs = 4,
}

impl Outcome {
    /// The worse of the two: what is not home comes before what may be so, and
    /// that before what is home.
    fn and(self, other: Self) -> Self {
        let weight = |one: Self| match one {
            Self::Done => 0,
            Self::Differs => 1,
            Self::NotBelieved => 2,
            Self::NotHome => 3,
            Self::Usage => 4,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

/// How long another process may hold the journals. A guard has nothing better
/// to do than to wait, but a service's stop waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Do what the words say. Answers go to `out`, what went wrong to `err`.
pub fn run(words: impl IntoIterator<Item = OsString>, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let words: Vec<OsString> = words.into_iter().collect();
    let Args { journal, action } = match args::parse(words) {
        Ok(args) => args,
        Err(error) => {
            let _ = writeln!(err, "hostnet-guard: {error}\nTry 'hostnet-guard --help'.");
            return Outcome::Usage;
        }
    };
    let done = match action {
        Action::Help => say(out, HELP).map(|()| Outcome::Done),
        Action::Version => say(out, concat!("hostnet-guard ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| Outcome::Done),
        Action::Restore => restore(&journal, out),
        Action::Show { json } => show(&journal, json, out),
        Action::Check => check(&journal, out),
        Action::Forget { name } => forget(&journal, &name, out),
        Action::Watch { pid, background: true, .. } => background(&journal, pid),
        Action::Watch { pid, detached, background: false } => watch(&journal, pid, detached, out),
    };
    done.unwrap_or_else(|reason| {
        let _ = writeln!(err, "hostnet-guard: {reason}");
        Outcome::NotHome
    })
}

/// A reader that went away changes nothing of what was done.
#[allow(clippy::unnecessary_wraps, reason = "it stands among those that may fail")]
fn say(out: &mut dyn Write, text: &str) -> Result<(), String> {
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
    Ok(())
}

fn restore(journal: &Path, out: &mut dyn Write) -> Result<Outcome, String> {
    let all = home::recover(journal, PATIENCE).map_err(|error| error.to_string())?;
    // Those of the living were not touched.
    let living = home::journals(journal).map_err(|error| error.to_string())?;
    let (text, outcome) = told(&all, &living);
    say(out, &text)?;
    Ok(outcome)
}

/// What became of each journal.
fn told(all: &[Recovered], journals: &[JournalView]) -> (String, Outcome) {
    let (mut text, mut outcome) = (String::new(), Outcome::Done);
    for one in all {
        let name = one.journal.as_ref().map_or(one.file.as_str(), |journal| journal.interface.as_str());
        let (line, of_this) = match (&one.home, &one.journal) {
            (Ok(()), _) if one.before => (format!("{name}: was home already"), Outcome::Done),
            (Ok(()), _) if one.told.is_empty() => (format!("{name}: home"), Outcome::Done),
            (Ok(()), _) => (format!("{name}: home, but:"), Outcome::Differs),
            (Err(reason), Some(_)) => (format!("{name}: not home: {reason}"), Outcome::NotHome),
            // The reason is the first thing that is told.
            (Err(_), None) => (format!("{name}: not believed, nothing was done:"), Outcome::NotBelieved),
        };
        add(&mut text, &line, &one.told);
        outcome = outcome.and(of_this);
    }
    for view in journals.iter().filter(|view| view.alive && view.phase != Some("home")) {
        let name = view.interface.as_deref().unwrap_or(&view.file);
        add(&mut text, &format!("{name}: process {} lives and has it, left alone", view.pid.unwrap_or_default()), &[]);
    }
    if text.is_empty() {
        text.push_str("nothing to do: no journal\n");
    }
    (text, outcome)
}

fn add(text: &mut String, line: &str, below: &[String]) {
    text.push_str(line);
    text.push('\n');
    for line in below {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
}

fn show(journal: &Path, json: bool, out: &mut dyn Write) -> Result<Outcome, String> {
    let journals = home::journals(journal).map_err(|error| error.to_string())?;
    say(out, &if json { render_journals_json(&journals) } else { render_journals(&journals) })?;
    let faulty = journals.iter().any(|journal| journal.fault.is_some());
    Ok(if faulty { Outcome::NotBelieved } else { Outcome::Done })
}

fn check(journal: &Path, out: &mut dyn Write) -> Result<Outcome, String> {
    let all = home::check(journal).map_err(|error| error.to_string())?;
    let (text, outcome) = compared(&all);
    say(out, &text)?;
    Ok(outcome)
}

fn forget(journal: &Path, name: &str, out: &mut dyn Write) -> Result<Outcome, String> {
    let path = home::forget(journal, name, PATIENCE).map_err(|error| error.to_string())?;
    say(out, &format!("{name}: forgotten, its journal is {} now\n", path.display()))?;
    Ok(Outcome::Done)
}

fn compared(all: &[Checked]) -> (String, Outcome) {
    let (mut text, mut outcome) = (String::new(), Outcome::Done);
    for one in all {
        let changes = one.changes.iter().map(|change| format!("changed since, comes home too: {change}"));
        let below: Vec<String> = one.differences.iter().cloned().chain(changes).collect();
        add(&mut text, &format!("{}: {}", one.interface, one.standing.name()), &below);
        outcome = outcome.and(match one.standing {
            Standing::Unknown => Outcome::NotBelieved,
            Standing::Home | Standing::Taken | Standing::OnTheWay if one.differences.is_empty() => Outcome::Done,
            Standing::Left | Standing::Home | Standing::Taken | Standing::OnTheWay => Outcome::NotHome,
        });
    }
    if all.is_empty() {
        text.push_str("no journal\n");
    }
    (text, outcome)
}

fn background(journal: &Path, pid: i32) -> Result<Outcome, String> {
    let words = ["--journal".into(), journal.into(), "watch".into(), "--detached".into(), pid.to_string().into()];
    home::in_background(&words).map(|()| Outcome::Done).map_err(|error| error.to_string())
}

fn watch(journal: &Path, pid: i32, detached: bool, out: &mut dyn Write) -> Result<Outcome, String> {
    // A service's stop says so to all of its processes. This one ends when the
    // other has ended, soon enough; Ctrl-C ends it at once.
    let stop: SigSet = [Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    stop.thread_block().map_err(|errno| format!("block signals: {}", errno.desc()))?;
    if detached {
        home::detach().map_err(|error| error.to_string())?;
    }
    home::watch(journal, pid).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    let done = restore(journal, &mut text);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if let Err(reason) = &done {
        add(&mut text, reason, &[]);
    }
    if detached {
        syslog::send(&text, matches!(done, Ok(Outcome::Done)));
    }
    say(out, &text)?;
    done
}

/// Where journals are unless the words say otherwise.
fn default_journal() -> PathBuf {
    PathBuf::from(crate::engine::JOURNAL_DIR)
}

#[cfg(test)]
mod tests;
