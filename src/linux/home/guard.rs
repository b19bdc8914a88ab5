//! `hostnet-guard watch`, started by the process that it is to watch.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
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
    let failed = |error: &std::io::Error| Error::io(&what, error);
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let mut words = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // Its end is the program's: the part that stays does not have it.
        stderr.read_to_string(&mut words).map_err(|error| failed(&error))?;
    }
    let ended = match child.wait() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        // VPP has the kernel take its dead children: then only words tell.
        Err(error) if error.raw_os_error() == Some(Errno::ECHILD as i32) && words.is_empty() => return Ok(()),
        Err(error) if error.raw_os_error() == Some(Errno::ECHILD as i32) => "it failed".to_owned(),
        Err(error) => return Err(failed(&error)),
    };
    Err(Error::new(what, format!("{ended}: {}", words.trim())))
}
