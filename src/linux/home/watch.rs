//! Waiting for the end of a process that takes interfaces.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::parking;
use crate::engine::journal::TakenDevice;
use crate::linux::error::Error;
use crate::linux::journal::JournalDir;
use crate::linux::netns::NetnsFile;
use crate::linux::sys;

/// How often a directory of journals is looked for that is not there yet.
const LOOK_MS: u16 = 1000;

/// Wait until the process has ended; one that is gone already has. Meanwhile
/// the namespaces that its devices are parked in are held open, and have their
/// names again when this returns.
pub fn watch(journals: &Path, pid: i32) -> Result<(), Error> {
    let Some(process) = open_process(pid)? else { return Ok(()) };
    let mut held = Held::new(journals);
    loop {
        held.look();
        let mut files = vec![PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        files.extend(held.news.as_ref().map(|news| PollFd::new(news.as_fd(), PollFlags::POLLIN)));
        let limit = if held.news.is_some() { PollTimeout::NONE } else { PollTimeout::from(LOOK_MS) };
        match poll(&mut files, limit) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys(format!("wait for process {pid}"), errno)),
        }
        if files.first().and_then(PollFd::any) == Some(true) {
            held.look();
            held.give_names();
            return Ok(());
        }
    }
}

fn open_process(pid: i32) -> Result<Option<OwnedFd>, Error> {
    let what = format!("watch process {pid}");
    let Some(number) = Pid::from_raw(pid).filter(|_| pid > 0) else {
        return Err(Error::new(what, "no process has such a number"));
    };
    match pidfd_open(number, PidfdFlags::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(errno) if errno == rustix::io::Errno::SRCH => Ok(None),
        Err(errno) => Err(Error::sys(what, Errno::from_raw(errno.raw_os_error()))),
    }
}

/// The namespaces of parked devices, by their names.
struct Held {
    journals: PathBuf,
    /// Tells of every change in the directory.
    news: Option<Inotify>,
    parked: BTreeMap<String, NetnsFile>,
}

impl Held {
    fn new(journals: &Path) -> Self {
        Self { journals: journals.to_owned(), news: None, parked: BTreeMap::new() }
    }

    /// Hold what the journals name. What goes wrong here hinders no watching.
    fn look(&mut self) {
        if let Some(news) = &self.news {
            // Only that there is any counts.
            while news.read_events().is_ok_and(|events| !events.is_empty()) {}
        } else if self.journals.is_dir() {
            self.news = listen(&self.journals).ok();
        }
        let Ok(Some(dir)) = JournalDir::find(&self.journals) else { return };
        for entry in dir.list().unwrap_or_default() {
            if let Ok(journal) = entry.content
                && let TakenDevice::Netdev { parking, .. } = journal.device
                && let Ok(Some(file)) = parking::find(&parking)
            {
                self.parked.insert(parking, file);
            }
        }
    }

    /// A name may have gone with the mount namespace of the dead.
    fn give_names(&self) {
        for (name, file) in &self.parked {
            // Without it, what is to be brought home says that it is not there.
            let _ = parking::keep(name, file);
        }
    }
}

fn listen(directory: &Path) -> nix::Result<Inotify> {
    let news = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    news.add_watch(directory, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE)?;
    Ok(news)
}

/// Run this program again, with these words, as nobody's child: it has no file
/// of this process, and its working directory keeps nothing from being
/// unmounted.
pub fn in_background(words: &[OsString]) -> Result<(), Error> {
    let what = "start the guard in the background";
    sys::close_files_on_exec().map_err(|errno| Error::sys(what, errno))?;
    let program = std::env::current_exe().map_err(|error| Error::io(what, &error))?;
    let mut command = Command::new(program);
    command.args(words).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop).map_err(|error| Error::io(what, &error))
}

/// Into a session of its own: whatever ends the one that it comes from.
pub fn detach() -> Result<(), Error> {
    nix::unistd::setsid().map(drop).map_err(|errno| Error::sys("make a session", errno))
}
