//! `hostnet-guard watch`, started by the process that it is to watch.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{AccessFlags, access};

use crate::linux::error::Error;

/// Why the guard could not be started, as far as its file tells.
pub(super) fn refusal(program: &Path) -> Option<String> {
    let there = access(program, AccessFlags::X_OK);
    there.err().map(|errno| format!("the guard {} cannot be run: {}", program.display(), errno.desc()))
}

/// Start the guard of this process. When this returns, it is a child of the
/// machine's first process, in a session of its own, and has no file of ours.
pub fn start(program: &Path, journal: &Path) -> Result<(), Error> {
    let what = format!("start {}", program.display());
    let mut command = Command::new(program);
    command.arg("--journal").arg(journal).args(["watch", "--background"]).arg(std::process::id().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().map_err(|error| Error::io(&what, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(what, format!("{}: {}", output.status, words.trim())))
}
