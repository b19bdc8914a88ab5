//! The journal of an uplink that was taken from Linux: what is needed to give
//! it back, whoever dies. Here its words and its format; the files are the
//! `linux` room's.
//!
//! A journal is a header line and a body:
//!
//! ```text
//! hostnet-journal <version> <length of the body, bytes> <SHA-256>\n
//! <body: one JSON object>
//! ```
//!
//! The SHA-256 (FIPS 180-4, lower-case hexadecimal) is of the first three
//! words of the header, each with its space behind it, and the body: a flipped
//! bit in the version must not pass for another version. The header stays as
//! it is in every version, so that a newer journal is told from a damaged one.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::{Captured, IfName, MacAddr};

/// The version that is written. Any change of what the body may hold, fields
/// of [`Captured`] included, makes a new one.
pub const JOURNAL_VERSION: u32 = 1;

const MAGIC: &str = "hostnet-journal";

/// Longest header that is looked for, in bytes; a true one is shorter.
const HEADER_MAX: usize = 256;

/// How far the taking, or the giving back, of an uplink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalPhase {
    /// Written down at VPP's start, before any driver of VPP's could touch the
    /// device, which the user's own commands hand to VPP. What was captured is
    /// the truth.
    Kept,
    /// On the way to VPP: what was captured is the truth, the tap may be half
    /// dressed.
    Taking,
    /// VPP has it: what the tap carries now is the truth; without a tap, what
    /// was captured.
    Taken,
    /// On the way home: what was captured, just now from the tap, is the truth.
    Giving,
    /// Home again after the death of who took it. VPP, started again, takes it
    /// anew; nothing else follows from it.
    Home,
}

impl JournalPhase {
    /// The phase as it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Taking => "taking",
            Self::Taken => "taken",
            Self::Giving => "giving",
            Self::Home => "home",
        }
    }
}

/// A process that takes uplinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since boot: a number comes again.
    pub started: u64,
}

/// The namespace that the uplink was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeNetns {
    /// A file that stood for it. It may stand for another one by now: see
    /// `dev` and `ino`.
    pub path: PathBuf,
    /// Device number of its file (`st_dev`).
    pub dev: u64,
    /// Inode number of its file (`st_ino`); unique as long as the namespace
    /// lives.
    pub ino: u64,
}

/// Where the device is while VPP has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenDevice {
    /// Still a network device of Linux, in a namespace of its own.
    Netdev {
        /// The namespace's name, as `ip netns` has it.
        parking: String,
        /// The device's MAC, by which it is known again.
        mac: MacAddr,
        /// Its name there.
        parked_name: IfName,
        /// The kernel's index of it at home. One that stays there, for the
        /// user's own commands, keeps it under whatever name.
        index: u32,
        /// VPP puts an XDP program on it, which outlives VPP; it had none.
        #[serde(default, skip_serializing_if = "is_false")]
        xdp: bool,
    },
    /// No network device any more: VPP drives it by way of another driver.
    Pci {
        /// Its address, such as `0000:d8:0a.0`.
        address: String,
        /// The driver to give it back to; none if it had none.
        original_driver: Option<String>,
        /// The driver that it has for VPP, such as `vfio-pci`.
        taken_driver: String,
    },
}

/// Left out where it is false: journals of the other drivers stay as they are.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The tap that stands for the uplink in its home namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalTap {
    /// The name that it was given.
    pub name: IfName,
    /// The kernel's index of it; 0 while it is not in its place for certain.
    pub index: u32,
    /// The MAC that it was given.
    pub mac: MacAddr,
    /// The MTU that it was given, in bytes.
    pub mtu: u32,
}

/// All that is needed to give one uplink back to Linux.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The boot of the machine that it was written in
    /// (`/proc/sys/kernel/random/boot_id`); in another one nothing of it holds.
    pub boot_id: String,
    /// Who took it.
    pub owner: Owner,
    /// How far it is.
    pub phase: JournalPhase,
    /// The uplink's name in Linux.
    pub interface: IfName,
    /// Where it was taken from.
    pub home: HomeNetns,
    /// Where it is now.
    pub device: TakenDevice,
    /// The tap in its place, once there is one.
    pub tap: Option<JournalTap>,
    /// Everything that Linux had on it.
    pub captured: Captured,
    /// The words of the command that took it, to go on after a restart.
    pub request: String,
}

impl Journal {
    /// What it is filed under.
    pub fn name(&self) -> JournalName {
        JournalName { interface: self.interface.clone(), home_ino: self.home.ino }
    }
}

/// What a journal is filed under. Two uplinks of different namespaces may have
/// one name, so the namespace is part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalName {
    /// The uplink's name in Linux.
    pub interface: IfName,
    /// Inode number of its home namespace.
    pub home_ino: u64,
}

impl fmt::Display for JournalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.interface, self.home_ino))
    }
}

/// A text that no journal is filed under.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the name of a journal; it is written as <device>@<inode of its namespace>")]
pub struct JournalNameError(String);

impl FromStr for JournalName {
    type Err = JournalNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || JournalNameError(text.to_owned());
        // A device's name may hold an '@' too, so the last one counts.
        let (interface, ino) = text.rsplit_once('@').ok_or_else(wrong)?;
        let interface = interface.parse().map_err(|_| wrong())?;
        let name = Self { interface, home_ino: ino.parse().map_err(|_| wrong())? };
        // One text each: no sign, no leading zero.
        if name.to_string() == text { Ok(name) } else { Err(wrong()) }
    }
}

/// Why a journal is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalFault {
    /// It is not as it was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Another user may have written it.
    #[error("it is not to be trusted: {0}")]
    Untrusted(String),
    /// A newer hostnet wrote it.
    #[error("a newer hostnet wrote it: its format has version {version}, the newest known here is {JOURNAL_VERSION}")]
    Newer {
        /// The version of its format.
        version: u32,
    },
    /// The machine was started anew since.
    #[error("it is of another boot of the machine, {boot_id}")]
    OtherBoot {
        /// The boot that it was written in.
        boot_id: String,
    },
}

impl JournalFault {
    /// One word for it, fit for a file's name.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Damaged(_) => "damaged",
            Self::Untrusted(_) => "untrusted",
            Self::Newer { .. } => "newer",
            Self::OtherBoot { .. } => "other-boot",
        }
    }
}

fn damaged<T>(why: impl Into<String>) -> Result<T, JournalFault> {
    Err(JournalFault::Damaged(why.into()))
}

/// Write a journal. An error means that it holds what JSON has no words for,
/// such as a path that is not UTF-8.
pub fn encode(journal: &Journal) -> serde_json::Result<Vec<u8>> {
    let body = serde_json::to_vec(journal)?;
    let mut bytes = header(JOURNAL_VERSION, &body).into_bytes();
    bytes.extend(body);
    Ok(bytes)
}

/// Read a journal: exactly what was written, in this boot, or the reason
/// against it.
pub fn decode(bytes: &[u8], boot_id: &str) -> Result<Journal, JournalFault> {
    if bytes.is_empty() {
        return damaged("it is empty");
    }
    let Some(end) = bytes.iter().take(HEADER_MAX).position(|byte| *byte == b'\n') else {
        return damaged("it has no header line");
    };
    let (head, body) = bytes.split_at(end + 1);
    let version = checked_version(head, body)?;
    if version > JOURNAL_VERSION {
        return Err(JournalFault::Newer { version });
    }
    if version != JOURNAL_VERSION {
        return damaged(format!("format version {version} never was"));
    }
    let journal: Journal = match serde_json::from_slice(body) {
        Ok(journal) => journal,
        Err(error) => return damaged(format!("its body makes no sense: {error}")),
    };
    // What this version would have left unread, it must not believe to have
    // read: written anew it has to be the same.
    if !serde_json::to_vec(&journal).is_ok_and(|again| again == body) {
        return damaged("it holds what its version has no place for");
    }
    if journal.boot_id != boot_id {
        return Err(JournalFault::OtherBoot { boot_id: journal.boot_id });
    }
    Ok(journal)
}

/// The version in the header, which is of exactly this body.
fn checked_version(head: &[u8], body: &[u8]) -> Result<u32, JournalFault> {
    let words: Vec<&str> = std::str::from_utf8(head).unwrap_or_default().trim_end().split(' ').collect();
    let [MAGIC, version, length, _] = words.as_slice() else {
        return damaged("its first line is not a journal's header");
    };
    let (Ok(version), Ok(length)) = (version.parse::<u32>(), length.parse::<usize>()) else {
        return damaged("its header has no version or no length");
    };
    if length != body.len() {
        return damaged(format!("its header promises {length} bytes, {} are there", body.len()));
    }
    if header(version, body).as_bytes() != head {
        return damaged("its SHA-256 is another one");
    }
    Ok(version)
}

fn header(version: u32, body: &[u8]) -> String {
    let mut line = format!("{MAGIC} {version} {} ", body.len());
    let digest = Sha256::new().chain_update(&line).chain_update(body).finalize();
    for byte in digest {
        let half = |value: u8| char::from_digit(u32::from(value), 16);
        line.extend([half(byte >> 4), half(byte & 15)].into_iter().flatten());
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests;
