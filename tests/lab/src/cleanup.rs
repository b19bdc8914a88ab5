//! What is undone whatever happens: on drop, on panic, on SIGINT and SIGTERM.
//! After a SIGKILL of ours the kernel ends our children (they asked for it,
//! see [`crate::process`]), and the next start sweeps what is left.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What every lab's names begin with; the process id follows.
pub const PREFIX: &str = "hn";
/// Where the run-time files of every lab live. Not below the repository:
/// sockets cannot live on every file system.
pub const RUN_ROOT: &str = "/run/hostnet-lab";
/// Where `ip netns` keeps its names.
pub const NETNS_DIR: &str = "/run/netns";

/// Where VPP's shared memory is.
const SHM: &str = "/dev/shm";

/// Something to undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Debt {
    /// A child process.
    Process(i32),
    /// A named namespace.
    Netns(String),
    /// A lab's directory, and VPP's shared memory of that name.
    Dir(PathBuf),
}

static EXIT_CODE: AtomicI32 = AtomicI32::new(-1);

/// End with this code on a signal, in place of the shell's code for it.
pub fn end_with(code: i32) {
    EXIT_CODE.store(code, Ordering::Relaxed);
}

static DEBTS: Mutex<Vec<Debt>> = Mutex::new(Vec::new());

fn debts() -> std::sync::MutexGuard<'static, Vec<Debt>> {
    DEBTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Remember to undo it.
pub fn owe(debt: Debt) {
    debts().push(debt);
}

/// It is undone, or about to be by the caller.
pub fn settled(debt: &Debt) {
    debts().retain(|other| other != debt);
}

/// A lab's directory, while it lives; gone on drop.
#[derive(Debug)]
pub struct RunDir(pub PathBuf);

impl RunDir {
    /// Make the directory of the lab of that tag.
    pub fn make(tag: &str) -> Result<Self> {
        let dir = Path::new(RUN_ROOT).join(tag);
        owe(Debt::Dir(dir.clone()));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(Self(dir))
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        settle(&Debt::Dir(self.0.clone()));
    }
}

/// Undo it now.
pub fn settle(debt: &Debt) {
    settled(debt);
    undo(debt);
}

fn undo(debt: &Debt) {
    // Best effort each: this also runs for what is half made or gone already.
    match debt {
        Debt::Process(pid) => {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        Debt::Netns(name) => {
            let path = Path::new(NETNS_DIR).join(name);
            let _ = umount2(&path, MntFlags::MNT_DETACH);
            let _ = std::fs::remove_file(&path);
        }
        Debt::Dir(path) => {
            let _ = std::fs::remove_dir_all(path);
            // VPP's shared memory of the same name, where VPP was killed.
            let stem = path.file_name().unwrap_or_default().to_string_lossy().into_owned() + "-";
            for name in names(SHM).into_iter().filter(|name| name.starts_with(&stem)) {
                let _ = std::fs::remove_file(Path::new(SHM).join(name));
            }
        }
    }
}

/// Undo everything, the youngest first.
pub fn settle_all() {
    let all: Vec<Debt> = std::mem::take(&mut *debts());
    // Processes first: they hold the rest.
    for debt in all.iter().filter(|debt| matches!(debt, Debt::Process(_))) {
        undo(debt);
    }
    for debt in all.iter().rev().filter(|debt| !matches!(debt, Debt::Process(_))) {
        undo(debt);
    }
}

/// The signals that end us in good order.
const ENDING: [i32; 3] = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];

/// Call first in `main`: undo everything on SIGINT, SIGTERM and SIGHUP, then
/// end with the shell's code for it; and sweep what dead labs have left.
pub fn guard() -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(ENDING)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let signal = signals.forever().next().unwrap_or(0);
        settle_all();
        let code = EXIT_CODE.load(Ordering::Relaxed);
        std::process::exit(if code < 0 { 128 + signal } else { code });
    })?;
    sweep();
    Ok(())
}

/// The process id that a lab's name (`hn<pid>-…`) was made by.
fn owner(name: &str) -> Option<i32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

fn names(dir: &str) -> Vec<String> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Remove what labs of dead processes have left.
pub fn sweep() {
    let dead = |name: &String| owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    for name in names(NETNS_DIR).into_iter().filter(dead) {
        undo(&Debt::Netns(name));
    }
    for name in names(RUN_ROOT).into_iter().filter(dead) {
        undo(&Debt::Dir(Path::new(RUN_ROOT).join(name)));
    }
    for name in names(SHM).into_iter().filter(dead) {
        let _ = std::fs::remove_file(Path::new(SHM).join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_labs_name_tells_its_owner() {
        assert_eq!(owner("hn123-4-host"), Some(123));
        assert_eq!(owner("hn-4"), None);
        assert_eq!(owner("hnx-4"), None);
        assert_eq!(owner("other"), None);
    }
}
