//! Running modprobe.

use std::io;
use std::process::{Command, Stdio};

use nix::libc;

use super::PciBus;

/// What modprobe said.
pub(super) struct Said {
    /// Whether it succeeded; unknown within VPP, which has the kernel forget
    /// its children (SIGCHLD is ignored, vlib/unix/main.c).
    pub(super) success: Option<bool>,
    pub(super) output: String,
    pub(super) errors: String,
}

impl PciBus {
    pub(super) fn modprobe(&self, arguments: &[&str]) -> io::Result<Said> {
        let run = || -> io::Result<Said> {
            let mut child = Command::new(&self.modprobe)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            // Both end when it does; it says too little to fill either.
            let read = |from: Option<&mut dyn io::Read>| -> io::Result<String> {
                let mut bytes = Vec::new();
                from.map_or(Ok(0), |from| from.read_to_end(&mut bytes))?;
                Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
            };
            let output = read(child.stdout.as_mut().map(|pipe| pipe as &mut dyn io::Read))?;
            let errors = read(child.stderr.as_mut().map(|pipe| pipe as &mut dyn io::Read))?;
            let success = match child.wait() {
                Ok(status) => Some(status.success()),
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => None,
                Err(error) => return Err(error),
            };
            Ok(Said { success, output, errors })
        };
        run().map_err(|error| io::Error::new(error.kind(), format!("run {}: {error}", self.modprobe.display())))
    }
}
