//! Network namespaces: open, enter for a while, make anonymous ones.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::fstat;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use super::error::Error;
use super::sys;
use crate::engine::journal::HomeNetns;
use crate::model::Netns;

/// The namespace of the calling thread; `/proc/self` would be that of the
/// process's first thread.
const OF_THIS_THREAD: &str = "/proc/thread-self/ns/net";

/// Where the names of `ip netns` are.
const NAMED: &str = "/var/run/netns";

thread_local! {
    static ASTRAY: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread once failed to return from a namespace. It must then
/// do nothing more: it would do it in the wrong one.
pub fn is_astray() -> bool {
    ASTRAY.get()
}

/// An open network namespace. The namespace lives at least as long.
#[derive(Debug)]
pub struct NetnsFile(OwnedFd);

impl NetnsFile {
    /// Open a namespace. The error names it, and what is wrong with it.
    pub fn open(netns: &Netns) -> Result<Self, Error> {
        let path = netns.path();
        let what = match netns {
            Netns::Own => "open the network namespace of this process".to_owned(),
            _ => format!("open network namespace {netns} ({})", path.display()),
        };
        let file = open(&path, &what)?;
        // First the file system: an ioctl may mean anything to another file.
        let is_namespace = fstatfs(&file).map(|stat| stat.filesystem_type() == NSFS_MAGIC);
        let is_net = match is_namespace {
            Ok(true) => sys::is_net_namespace(file.as_fd()),
            other => other,
        };
        match is_net {
            Ok(true) => Ok(Self(file)),
            Ok(false) => Err(Error::new(what, "the file is not a network namespace")),
            Err(errno) => Err(Error::sys(what, errno)),
        }
    }

    /// The machine's initial namespace, into which the kernel puts the network
    /// devices of hardware: that of its first process, so far as that one can
    /// be seen.
    pub fn initial() -> Result<Self, Error> {
        Self::open(&Netns::Path(PathBuf::from("/proc/1/ns/net")))
    }

    /// The namespace that a journal tells of, wherever a file stands for it
    /// now: the same path, this process's own, a name of `ip netns`, or any
    /// process in it. Fails with `ENODEV` when nothing stands for it any more.
    pub fn find(home: &HomeNetns) -> Result<Self, Error> {
        let is_it = |file: &Self| file.id().is_ok_and(|id| id == (home.dev, home.ino));
        let open = |path: PathBuf| Self::open(&Netns::Path(path)).ok().filter(is_it);
        let below = |dir: &str, end: &str| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            // Joined with nothing, a path ends in a slash, and is no file's.
            let path = |entry: std::fs::DirEntry| if end.is_empty() { entry.path() } else { entry.path().join(end) };
            entries.map(path).collect()
        };
        let first = [home.path.clone(), PathBuf::from(OF_THIS_THREAD), PathBuf::from("/proc/1/ns/net")];
        let named = || below(NAMED, "").into_iter();
        let processes = || below("/proc", "ns/net").into_iter();
        let found = first.into_iter().find_map(open).or_else(|| named().find_map(open));
        found
            .or_else(|| processes().find_map(open))
            .ok_or_else(|| Error::gone(format!("find network namespace {}", home.path.display()), "it is gone"))
    }

    /// Device and inode number, which tell namespaces apart for as long as
    /// they live.
    pub fn id(&self) -> Result<(u64, u64), Error> {
        let stat = fstat(&self.0).map_err(|errno| Error::sys("look at a network namespace", errno))?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// Make a namespace that has no name and holds nothing but a loopback
    /// device; it ends with its last open file, socket and device.
    pub fn anonymous() -> Result<Self, Error> {
        let what = "make a network namespace (needs CAP_SYS_ADMIN)";
        let home = home()?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Error::sys(what, errno))?;
        // From here on the thread is away, whatever comes.
        let guard = NetnsGuard { home, on_this_thread: PhantomData };
        let file = open(Path::new(OF_THIS_THREAD), what)?;
        guard.leave()?;
        Ok(Self(file))
    }

    /// A second file of the same namespace.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let cloned = self.0.try_clone();
        cloned.map(Self).map_err(|error| Error::io("hold a network namespace", &error))
    }

    /// Enter it with the calling thread until the guard goes.
    pub fn enter(&self) -> Result<NetnsGuard, Error> {
        let what = "enter a network namespace (needs CAP_SYS_ADMIN)";
        let home = home()?;
        setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::sys(what, errno))?;
        Ok(NetnsGuard { home, on_this_thread: PhantomData })
    }

    /// A path that opens this namespace from any thread of this process, for
    /// as long as this file is open.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }
}

impl From<NetnsFile> for OwnedFd {
    fn from(netns: NetnsFile) -> Self {
        netns.0
    }
}

impl AsFd for NetnsFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// While it lives, the thread that made it is in another namespace. It goes
/// home when dropped; where that fails, [`is_astray`] says so from then on.
#[derive(Debug)]
#[must_use = "the thread goes home at once when the guard is dropped"]
pub struct NetnsGuard {
    home: OwnedFd,
    // A namespace is the thread's own: the guard is neither Send nor Sync.
    on_this_thread: PhantomData<*const ()>,
}

impl NetnsGuard {
    /// Go home now, and learn whether it worked.
    pub fn leave(self) -> Result<(), Error> {
        drop(self);
        refuse_astray()
    }
}

impl Drop for NetnsGuard {
    fn drop(&mut self) {
        if setns(&self.home, CloneFlags::CLONE_NEWNET).is_err() {
            ASTRAY.set(true);
        }
    }
}

fn refuse_astray() -> Result<(), Error> {
    if is_astray() {
        return Err(Error::new("return to the own network namespace", "it failed; this thread does nothing more"));
    }
    Ok(())
}

fn home() -> Result<OwnedFd, Error> {
    refuse_astray()?;
    open(Path::new(OF_THIS_THREAD), "open the own network namespace")
}

fn open(path: &Path, what: &str) -> Result<OwnedFd, Error> {
    // The standard library opens every file close-on-exec. A FIFO that a user
    // names by mistake must not hold this thread up.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    file.map(OwnedFd::from).map_err(|error| Error::io(what, &error))
}
