//! VPP's command line socket, spoken as `vppctl` speaks it.
//!
//! After connecting VPP sends telnet options and asks for the terminal type;
//! the answer `vppctl` makes the session non-interactive: no echo, no prompt,
//! no pager, a NUL after each command's output (vlib/unix/cli.c).

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::time::{left, secs};

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;
const TERMINAL_TYPE: u8 = 24;

/// A session.
#[derive(Debug)]
pub struct Cli {
    stream: UnixStream,
}

impl Cli {
    /// Connect and agree on the kind of session.
    pub fn connect(socket: &Path, timeout: Duration) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
        let mut cli = Self { stream };
        let deadline = Instant::now() + timeout;
        let mut greeting = Vec::new();
        let question = [IAC, SB, TERMINAL_TYPE, 1, IAC, SE];
        while !greeting.windows(question.len()).any(|window| window == question) {
            cli.read_some(&mut greeting, deadline).context("VPP's greeting")?;
        }
        let mut answer = vec![IAC, SB, TERMINAL_TYPE, 0];
        answer.extend_from_slice(b"vppctl");
        answer.extend_from_slice(&[IAC, SE]);
        cli.stream.write_all(&answer)?;
        Ok(cli)
    }

    fn read_some(&mut self, into: &mut Vec<u8>, deadline: Instant) -> Result<()> {
        ensure!(Instant::now() < deadline, "no answer in time");
        self.stream.set_read_timeout(Some(left(deadline)))?;
        let mut chunk = [0_u8; 16_384];
        match self.stream.read(&mut chunk) {
            Ok(0) => bail!("VPP closed the connection"),
            Ok(n) => into.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            // A machine that was stopped for a while goes on so.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                bail!("no answer in time")
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Run a command; its output with plain line ends. VPP tells errors in the
    /// output too.
    pub fn run(&mut self, command: &str) -> Result<String> {
        self.run_within(command, secs(30))
    }

    /// The same with a time-out of its own.
    pub fn run_within(&mut self, command: &str, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        let mut answer = Vec::new();
        (|| {
            // In one piece: VPP takes whatever it reads at once for a command.
            self.stream.write_all(format!("{command}\n").as_bytes())?;
            while !is_whole(&answer) {
                self.read_some(&mut answer, deadline)?;
            }
            Ok::<(), anyhow::Error>(())
        })()
        .with_context(|| format!("VPP command '{command}', so far: {}", String::from_utf8_lossy(&answer)))?;
        Ok(clean(&answer))
    }
}

/// Whether the NUL after a command's output has come. Some output has one within
/// (the name in `show hardware-interfaces` of an af_xdp interface), and may be read
/// up to there; but `vlib_cli_output` ends all of it with a line's end.
fn is_whole(answer: &[u8]) -> bool {
    answer.last() == Some(&0) && {
        let text = clean(answer);
        text.is_empty() || text.ends_with('\n')
    }
}

/// Without telnet options, NULs and carriage returns.
fn clean(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match *first {
            // The greeting's options that came after the question.
            IAC if tail.first() == Some(&SB) => {
                let end = tail.iter().position(|byte| *byte == SE).map_or(tail.len(), |at| at + 1);
                rest = tail.get(end..).unwrap_or_default();
            }
            IAC => rest = tail.get(2..).unwrap_or_default(),
            0 | b'\r' => {}
            byte => text.push(byte),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_text_is_taken_out() {
        let raw = [&[IAC, 253, 31, IAC, SB, 31, 1, IAC, SE][..], b"one\r\ntwo\r\n\0"].concat();
        assert_eq!(clean(&raw), "one\ntwo\n");
    }

    #[test]
    fn a_nul_within_the_output_is_not_its_end() {
        for whole in [&b"\0"[..], b"one\r\n\0", b"netdev eth0\0\r\n  flags: up\r\n\0", &[IAC, 253, 31, 0]] {
            assert!(is_whole(whole), "{whole:?}");
        }
        for part in [&b""[..], b"one\r\n", b"netdev eth0\0", b"netdev eth0\0\r\n"] {
            assert!(!is_whole(part), "{part:?}");
        }
    }
}
