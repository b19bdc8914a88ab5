//! Waiting by event: for a file of `/dev`, and for those who hold it open.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{PciBus, names};
use crate::linux::error::Error;

impl PciBus {
    /// The processes that hold the file open, of those that can be seen.
    pub(super) fn holders(&self, file: &Path) -> Vec<u32> {
        let holds = |pid: u32| {
            let open = self.path("proc").join(pid.to_string()).join("fd");
            names(&open).iter().any(|fd| fs::read_link(open.join(fd)).is_ok_and(|target| target == file))
        };
        names(&self.path("proc")).iter().filter_map(|name| name.parse().ok()).filter(|pid| holds(*pid)).collect()
    }
}

/// Look, and look again at each event of the file or folder `path`, until
/// `look` finds something; `None` at the deadline.
pub(super) fn for_file<T>(path: &Path, deadline: Instant, look: &dyn Fn() -> Option<T>) -> Result<Option<T>, Error> {
    let what = || format!("watch {}", path.display());
    let failed = |errno| Error::sys(what(), errno);
    let notify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
    let events = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_CLOSE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_ATTRIB;
    loop {
        // The folder itself may be yet to come: then its parent tells.
        let mut watched = path;
        while let Err(errno) = notify.add_watch(watched, events) {
            watched = match watched.parent() {
                Some(parent) if errno == Errno::ENOENT => parent,
                _ => return Err(failed(errno)),
            };
        }
        // After the watch: what happens between the two is an event.
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        if !ready(&mut [PollFd::new(notify.as_fd(), PollFlags::POLLIN)], deadline).map_err(failed)? {
            return Ok(look());
        }
        while notify.read_events().is_ok() {}
    }
}

/// Wait until one of the files is ready; false at the deadline.
pub(super) fn ready(files: &mut [PollFd<'_>], deadline: Instant) -> nix::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that it does not spin in the last millisecond.
        let left = i32::try_from(left.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
        match poll(files, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Err(Errno::EINTR) => {}
            Ok(0) if Instant::now() < deadline => {}
            other => return other.map(|count| count > 0),
        }
    }
}
