//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

/// What `--help` says.
pub const HELP: &str = "\
hostnet-guard: gives Linux its interfaces back when the VPP that took them died

  hostnet-guard [--journal DIR] restore        bring everything home whose VPP is dead
  hostnet-guard [--journal DIR] watch <pid>    wait for that process's end, then restore;
                                               --background: return at once
  hostnet-guard [--journal DIR] show [--json]  the journals
  hostnet-guard [--journal DIR] check          whether what Linux has is what the journals say
  hostnet-guard [--journal DIR] forget <name>  that interface's device is gone for good, or the
                                               journal has no use: it is set aside

  --journal DIR  where the journals are; as 'journal' in VPP's startup.conf, /var/lib/hostnet

restore does no harm beside a living VPP or another guard, and may be killed and run again.
watch goes on after SIGTERM and SIGHUP until the process has ended; SIGINT ends it.

Exit codes
  0  everything is home, or as the journals say; or there was nothing to do
  1  something is not home, or not as its journal says; or it could not be learned
  2  the command line makes no sense
  3  a journal was not believed (restore sets it aside)
  4  everything is home, but not quite as it was, or that could not be written down
";

/// What is to be done, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Args {
    pub(super) journal: PathBuf,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Restore,
    Watch {
        pid: i32,
        background: bool,
        /// Its own doing: the part of `background` that stays.
        detached: bool,
    },
    Show {
        json: bool,
    },
    Check,
    Forget {
        name: String,
    },
    Help,
    Version,
}

/// Why the words make no sense.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// No command.
    #[error("what is to be done? write one of: restore, watch <pid>, show, check, forget <name>")]
    Nothing,
    /// Not one of the commands.
    #[error("unknown word '{0}'; expected one of: restore, watch <pid>, show, check, forget <name>")]
    Unknown(String),
    /// Something behind a whole command.
    #[error("'{0}' has no place behind '{1}'")]
    NoPlace(String, &'static str),
    /// `watch` alone.
    #[error("watch which process? write 'watch <pid>'")]
    NoPid,
    /// `forget` alone.
    #[error("forget which interface? write 'forget <name>'")]
    NoName,
    /// Not the number of a process.
    #[error("'{0}' is not the number of a process; write it as 'watch 4711'")]
    NotAPid(String),
    /// A directory that cannot be made absolute.
    #[error("--journal '{0}' names no directory")]
    Journal(String),
    /// An option that is not there, or has no value.
    #[error("{0}")]
    Option(#[from] lexopt::Error),
}

/// Understand the words behind the program's name.
pub(super) fn parse(words: Vec<OsString>) -> Result<Args, ArgsError> {
    let mut parser = lexopt::Parser::from_args(words);
    let (mut journal, mut command, mut pid, mut name) = (None, None, None, None);
    let (mut json, mut background, mut detached) = (false, false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("journal") => journal = Some(directory(&parser.value()?)?),
            Short('h') | Long("help") => return Ok(Args { journal: super::default_journal(), action: Action::Help }),
            Short('V') | Long("version") => {
                return Ok(Args { journal: super::default_journal(), action: Action::Version });
            }
            Long("json") if command == Some("show") => json = true,
            Long("background") if command == Some("watch") => background = true,
            Long("detached") if command == Some("watch") => detached = true,
            Value(word) => match command {
                None => command = Some(known(&word)?),
                Some("watch") if pid.is_none() => pid = Some(number(&word)?),
                Some("forget") if name.is_none() => name = Some(word.to_string_lossy().into_owned()),
                Some(before) => return Err(ArgsError::NoPlace(word.to_string_lossy().into_owned(), before)),
            },
            other => return Err(other.unexpected().into()),
        }
    }
    let action = match command {
        None => return Err(ArgsError::Nothing),
        Some("restore") => Action::Restore,
        Some("show") => Action::Show { json },
        Some("watch") => Action::Watch { pid: pid.ok_or(ArgsError::NoPid)?, background, detached },
        Some("forget") => Action::Forget { name: name.ok_or(ArgsError::NoName)? },
        Some(_) => Action::Check,
    };
    Ok(Args { journal: journal.unwrap_or_else(super::default_journal), action })
}

fn known(word: &OsString) -> Result<&'static str, ArgsError> {
    let all = ["restore", "watch", "show", "check", "forget"];
    let found = all.into_iter().find(|name| word == name);
    found.ok_or_else(|| ArgsError::Unknown(word.to_string_lossy().into_owned()))
}

fn number(word: &OsString) -> Result<i32, ArgsError> {
    let number = word.to_str().and_then(|word| word.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| ArgsError::NotAPid(word.to_string_lossy().into_owned()))
}

/// Absolute: the working directory may change.
fn directory(word: &OsString) -> Result<PathBuf, ArgsError> {
    std::path::absolute(word).map_err(|_| ArgsError::Journal(word.to_string_lossy().into_owned()))
}
