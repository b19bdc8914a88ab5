//! The lock of the journal directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fstat};

use super::{JournalDir, TEMPORARY, distrust, is_regular};
use crate::linux::Error;

const LOCK: &str = "lock";

/// How long a waiting one sleeps between two looks: flock(2) has no time-out.
const PAUSE: Duration = Duration::from_millis(20);

/// While it lives, nobody else changes the journals. The kernel takes it from
/// a process that dies, so it also tells whether its holder lives.
#[derive(Debug)]
#[must_use = "the journals are unlocked at once when the lock is dropped"]
pub struct JournalLock {
    _file: Flock<File>,
}

impl JournalDir {
    /// Lock the journals, waiting for another holder at most so long; then the
    /// error names it, with `EAGAIN` as its number. What a writer that died has
    /// left half written is removed.
    ///
    /// The file stays where it is for ever: removed, two could hold two locks.
    pub fn lock(&self, patience: Duration) -> Result<JournalLock, Error> {
        let what = format!("lock the journals in {}", self.path.display());
        let deadline = Instant::now() + patience;
        let mut file = self.lock_file(&what)?;
        let mut locked = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => break locked,
                Err((back, Errno::EWOULDBLOCK)) => file = back,
                Err((_, errno)) => return Err(Error::sys(what, errno)),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::refused(what, Errno::EWOULDBLOCK, Some(&holder(&mut file))));
            }
            std::thread::sleep(left.min(PAUSE));
        };
        // Only for the words of others; on a full or read-only disk they have
        // to do without.
        let _ = sign(&mut locked);
        for stale in self.files(TEMPORARY)? {
            // It is never read, and the next writer of its name replaces it.
            let _ = self.unlink(&stale);
        }
        Ok(JournalLock { _file: locked })
    }

    fn lock_file(&self, what: &str) -> Result<File, Error> {
        let common = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let open = |flags| -> nix::Result<OwnedFd> {
            openat(&self.dir, OsStr::new(LOCK), common | flags, Mode::from_bits_truncate(0o600))
        };
        let opened = match open(OFlag::O_RDWR | OFlag::O_CREAT) {
            // To read journals and give uplinks back, this is enough.
            Err(Errno::EROFS) => open(OFlag::O_RDONLY).map_err(|_| Errno::EROFS),
            other => other,
        };
        let file = opened.map_err(|errno| Error::sys(what, errno))?;
        let stat = fstat(&file).map_err(|errno| Error::sys(what, errno))?;
        if !is_regular(&stat) {
            return Err(Error::new(what, "the lock is no regular file"));
        }
        match distrust(&stat) {
            Some(why) => Err(Error::new(what, format!("of the lock: {why}"))),
            None => Ok(File::from(file)),
        }
    }
}

/// Leave word of who holds the lock.
fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Who holds the lock, as far as it left word.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(program) => format!("process {pid} ({}) holds the lock", program.trim()),
            Err(_) => format!("process {pid} holds the lock"),
        },
        _ => "another process holds the lock".to_owned(),
    }
}
