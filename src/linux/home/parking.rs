//! The namespace that taken netdevs are parked in.
//!
//! It is a name of `ip netns`, made in the mount namespace of the machine's
//! first process: VPP may have one of its own (systemd's `PrivateMounts=`, a
//! container, `ip netns exec`), which ends with VPP, and a name in it would
//! take the namespace and every virtual device in it along.

use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use parking_lot::Mutex;

use crate::linux::error::Error;
use crate::linux::netns::NetnsFile;
use crate::model::Netns;

/// Where the names of `ip netns` are; `/var/run`, where it looks, is a link
/// that could lead back into our own mount namespace.
const NAMED: &str = "/run/netns";

/// The mount namespace of the machine's first process.
const FIRST: &str = "/proc/1/ns/mnt";

/// Those that this process has parked devices in, by their names: somebody may
/// take the name away, and the devices are to come home all the same.
static HELD: Mutex<Vec<(String, NetnsFile)>> = Mutex::new(Vec::new());

/// Every namespace that devices may be parked in under that name: the one that
/// has it, and the one that had it.
pub(super) fn places(name: &str) -> Result<Vec<NetnsFile>, Error> {
    let mut places: Vec<NetnsFile> = find(name)?.into_iter().collect();
    for (_, held) in HELD.lock().iter().filter(|(of, _)| of == name) {
        let id = held.id()?;
        if !places.iter().any(|place| place.id().is_ok_and(|other| other == id)) {
            places.push(held.try_clone()?);
        }
    }
    Ok(places)
}

/// Remember it for as long as this process lives.
fn hold(name: &str, netns: &NetnsFile) -> Result<(), Error> {
    let id = netns.id()?;
    let mut held = HELD.lock();
    if !held.iter().any(|(of, other)| of == name && other.id().is_ok_and(|other| other == id)) {
        held.push((name.to_owned(), netns.try_clone()?));
    }
    Ok(())
}

/// The file that stands for the namespace, as seen by this process.
pub(super) fn path(name: &str) -> PathBuf {
    let of_first = Path::new("/proc/1/root/run/netns").join(name);
    if of_first.exists() { of_first } else { Path::new(NAMED).join(name) }
}

/// The namespace, if it is there.
pub(super) fn find(name: &str) -> Result<Option<NetnsFile>, Error> {
    match NetnsFile::open(&Netns::Path(path(name))) {
        Ok(found) => Ok(Some(found)),
        // Without a number: the file is there and stands for none any more.
        Err(error) if error.is_gone() || error.errno().is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why the namespace would end with VPP, and with it every virtual device in
/// it; `None` when it lives on.
pub(super) fn ends_with_vpp() -> Option<String> {
    if std::fs::File::open(FIRST).is_ok() {
        return None;
    }
    // Mounts made in a slave of another mount namespace stay in it
    // (mount_namespaces(7)); field 5 is the place, tags follow field 6.
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let below = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let place = fields.nth(4)?;
        let tags: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
        Path::new(NAMED).starts_with(place).then_some((place.len(), tags))
    });
    let (_, tags) = below.max_by_key(|(len, _)| *len)?;
    let is_slave =
        tags.iter().any(|tag| tag.starts_with("master:")) && !tags.iter().any(|tag| tag.starts_with("shared:"));
    is_slave.then(|| {
        "VPP runs in a mount namespace of its own and cannot reach the machine's: the namespace that the device \
         is parked in, and with it the device, would end with VPP"
            .to_owned()
    })
}

/// The namespace, made if it is not there. It lives until its name is removed
/// (ip-netns(8)).
pub(super) fn make(name: &str) -> Result<NetnsFile, Error> {
    let found = match find(name)? {
        Some(found) => found,
        None => make_new(name)?,
    };
    hold(name, &found)?;
    Ok(found)
}

fn make_new(name: &str) -> Result<NetnsFile, Error> {
    let made = NetnsFile::anonymous()?;
    name_it(name, &made)?;
    Ok(made)
}

/// Give the namespace its name again, if that is gone.
pub(super) fn keep(name: &str, file: &NetnsFile) -> Result<(), Error> {
    match find(name)? {
        Some(_) => Ok(()),
        None => name_it(name, file),
    }
}

fn name_it(name: &str, file: &NetnsFile) -> Result<(), Error> {
    let what = format!("make network namespace {name}");
    let source = file.path();
    // A thread of its own: whoever enters a mount namespace shares its root
    // and working directory with nobody from then on.
    std::thread::scope(|scope| {
        let work = || -> Result<(), Error> {
            enter_first_mount_namespace().map_err(|errno| Error::sys(&what, errno))?;
            give_name(&source, name, &what)
        };
        let builder = std::thread::Builder::new().name("hostnet-netns".to_owned());
        match builder.spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(Error::new(&what, "the thread for it panicked"))),
            Err(error) => Err(Error::io(&what, &error)),
        }
    })
}

fn enter_first_mount_namespace() -> nix::Result<()> {
    let inode = |path: &str| std::fs::metadata(path).map(|facts| facts.ino()).ok();
    let (first, own) = (inode(FIRST), inode("/proc/thread-self/ns/mnt"));
    if first.is_none() || first == own {
        // Ours already, or not to be seen: then ours has to do.
        return Ok(());
    }
    let Ok(file) = std::fs::File::open(FIRST) else { return Ok(()) };
    unshare(CloneFlags::CLONE_FS)?;
    setns(file, CloneFlags::CLONE_NEWNS)
}

/// As `ip netns add` does it.
fn give_name(source: &Path, name: &str, what: &str) -> Result<(), Error> {
    let failed = |errno: Errno| Error::sys(what, errno);
    std::fs::create_dir_all(NAMED).map_err(|error| Error::io(what, &error))?;
    // Shared, so that other mount namespaces see it come; for that it has to
    // be a mount point.
    let none = None::<&str>;
    let shared = || mount(none, NAMED, none, MsFlags::MS_SHARED | MsFlags::MS_REC, none);
    match shared() {
        Err(Errno::EINVAL) => {
            mount(Some(NAMED), NAMED, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).map_err(failed)?;
            shared().map_err(failed)?;
        }
        other => other.map_err(failed)?,
    }
    let path = Path::new(NAMED).join(name);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    file.map_err(|error| Error::io(what, &error))?;
    mount(Some(source), &path, none, MsFlags::MS_BIND, none).map_err(failed)
}
