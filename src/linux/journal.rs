//! The journals of taken uplinks on disk: a file each, in a directory that
//! nobody else may write.
//!
//! | file | what it is |
//! |---|---|
//! | `<device>@<inode of its namespace>.journal` | a journal, whole at every instant |
//! | `….journal.tmp` | one that was being written, dead if nobody holds the lock |
//! | `….journal.<why>-<n>` | one that was set aside: not believed, or forgotten; the newest of each device |
//! | `lock` | locked by who changes something here |
//!
//! Every file is reached by the directory's descriptor: a directory that is put
//! in its place later is not looked at.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, open, openat, renameat, renameat2};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::{UnlinkatFlags, fsync, geteuid, unlinkat};

pub use lock::JournalLock;

use super::error::{Error, gone_is_fine};
use crate::engine::journal::{Journal, JournalFault, JournalName, decode, encode};

mod lock;

const JOURNAL: &str = ".journal";
const TEMPORARY: &str = ".journal.tmp";
/// No journal's temporary file: those have an '@'.
const PROBE: &str = "probe.journal.tmp";

/// Longest journal, in bytes: some million routes. What is longer is none, and
/// would only fill the memory.
const LONGEST: u64 = 1 << 30;

/// How many journals of a device are kept that were set aside.
const KEPT_ASIDE: usize = 5;

/// What ends the name of one that was forgotten, as a fault's word does.
const FORGOTTEN: &str = "forgotten";

/// Least that [`JournalDir::check_writable`] writes, in bytes.
const LEAST_ROOM: usize = 64 << 10;

/// The boot of the machine that this is (`random(4)`).
pub fn boot_id() -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    let what = format!("read {path}");
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(&what, &error))?;
    match text.trim() {
        "" => Err(Error::new(what, "it is empty")),
        id => Ok(id.to_owned()),
    }
}

/// Why a journal cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It is there, and not believed.
    #[error(transparent)]
    Fault(#[from] JournalFault),
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] Error),
}

/// A file that is, or should be, a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its name in the directory.
    pub file: OsString,
    /// What it holds.
    pub content: Result<Journal, JournalError>,
}

/// The directory of the journals, open.
#[derive(Debug)]
pub struct JournalDir {
    path: PathBuf,
    dir: OwnedFd,
    boot_id: String,
}

impl JournalDir {
    /// Open the directory; it is made, with mode 0700, if it is not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if let Some(found) = Self::find(path)? {
            return Ok(found);
        }
        let what = format!("make the journal directory {}", path.display());
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| Error::io(&what, &error))?;
        let found = Self::find(path)?.ok_or_else(|| Error::new(&what, "it is gone again"))?;
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let above = open(above, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        above.and_then(fsync).map_err(|errno| Error::sys(what, errno))?;
        Ok(found)
    }

    /// Open the directory if it is there. One that another user may write, or
    /// a symbolic link to one, is an error.
    pub fn find(path: &Path) -> Result<Option<Self>, Error> {
        let what = format!("open the journal directory {}", path.display());
        // Without a slash at its end, which would follow a link.
        let path: PathBuf = path.components().collect();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = match open(&path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Err(Error::new(what, "it is no directory, or a link to one")),
            Err(errno) => return Err(Error::sys(what, errno)),
        };
        let stat = fstat(&dir).map_err(|errno| Error::sys(&what, errno))?;
        if let Some(why) = distrust(&stat) {
            return Err(Error::new(what, why));
        }
        Ok(Some(Self { path, dir, boot_id: boot_id()? }))
    }

    /// Where a file of that name is, for people.
    fn at(&self, file: &OsStr) -> PathBuf {
        self.path.join(file)
    }

    /// Put a journal in place of the one of its name, if there is one. At every
    /// instant, whoever dies, the old one or the new one is there, whole; after
    /// an error, either. What [`Self::read`] would refuse is not written.
    pub fn write(&self, _lock: &JournalLock, journal: &Journal) -> Result<(), Error> {
        let file = file_of(&journal.name());
        let what = format!("write {}", self.at(&file).display());
        let bytes = encode(journal).map_err(|error| Error::new(&what, error.to_string()))?;
        match decode(&bytes, &self.boot_id) {
            Ok(read) if read == *journal && bytes.len() as u64 <= LONGEST => {}
            Ok(_) => return Err(Error::new(what, "it could not be read again")),
            Err(fault) => return Err(Error::new(what, format!("it could not be read again: {fault}"))),
        }
        let temporary = OsString::from(format!("{}{TEMPORARY}", journal.name()));
        let renamed = self.put(&temporary, &bytes).map_err(|error| Error::io(&what, &error)).and_then(|()| {
            let renamed = renameat(&self.dir, temporary.as_os_str(), &self.dir, file.as_os_str());
            renamed.map_err(|errno| Error::sys(&what, errno))
        });
        renamed.map_err(|error| self.clean_after(error, &temporary))?;
        self.sync(&what)
    }

    /// Write a file that is on the disk when this returns, though its name may
    /// not be.
    fn put(&self, file: &OsStr, bytes: &[u8]) -> std::io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create = || openat(&self.dir, file, flags, Mode::from_bits_truncate(0o600));
        let opened = match create() {
            // Under the lock it is one whose writer died.
            Err(Errno::EEXIST) => unlinkat(&self.dir, file, UnlinkatFlags::NoRemoveDir).and_then(|()| create()),
            other => other,
        };
        let mut opened = File::from(opened?);
        opened.write_all(bytes)?;
        opened.sync_all()
    }

    fn clean_after(&self, error: Error, file: &OsStr) -> Error {
        match self.unlink(file) {
            Ok(()) => error,
            Err(second) => error.and(&second),
        }
    }

    /// Remove a file, which may be gone already.
    fn unlink(&self, file: &OsStr) -> Result<(), Error> {
        let removed = unlinkat(&self.dir, file, UnlinkatFlags::NoRemoveDir);
        gone_is_fine(removed.map_err(|errno| Error::sys(format!("remove {}", self.at(file).display()), errno)))
    }

    fn sync(&self, what: &str) -> Result<(), Error> {
        fsync(&self.dir).map_err(|errno| Error::sys(what, errno))
    }

    /// The journal of that name, if there is one. Needs no lock.
    pub fn read(&self, name: &JournalName) -> Result<Option<Journal>, JournalError> {
        self.read_file(&file_of(name))
    }

    fn read_file(&self, file: &OsStr) -> Result<Option<Journal>, JournalError> {
        let Some(bytes) = self.bytes(file)? else { return Ok(None) };
        let journal = decode(&bytes, &self.boot_id)?;
        if file_of(&journal.name()) != file {
            return Err(JournalFault::Damaged(format!("it is the one of {}", journal.name())).into());
        }
        Ok(Some(journal))
    }

    fn bytes(&self, file: &OsStr) -> Result<Option<Vec<u8>>, JournalError> {
        let what = format!("read {}", self.at(file).display());
        let untrusted = |why: &str| Err(JournalFault::Untrusted(why.to_owned()).into());
        // A FIFO must not hold this thread up.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = match openat(&self.dir, file, flags, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return untrusted("it is a symbolic link"),
            Err(Errno::ENXIO) => return untrusted("it is no regular file"),
            Err(errno) => return Err(Error::sys(what, errno).into()),
        };
        let stat = fstat(&opened).map_err(|errno| Error::sys(&what, errno))?;
        if !is_regular(&stat) {
            return untrusted("it is no regular file");
        }
        if let Some(why) = distrust(&stat) {
            return untrusted(&why);
        }
        let mut bytes = Vec::new();
        let read = File::from(opened).take(LONGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| Error::io(&what, &error))?;
        if bytes.len() as u64 > LONGEST {
            return Err(JournalFault::Damaged(format!("it is longer than {LONGEST} bytes")).into());
        }
        Ok(Some(bytes))
    }

    /// Every journal, in the order of the file names; those that are not
    /// believed, or cannot be read, with the reason. Needs no lock.
    pub fn list(&self) -> Result<Vec<JournalEntry>, Error> {
        let mut entries = Vec::new();
        for file in self.files(JOURNAL)? {
            let content = match self.read_file(&file) {
                // Removed meanwhile.
                Ok(None) => continue,
                Ok(Some(journal)) => Ok(journal),
                Err(error) => Err(error),
            };
            entries.push(JournalEntry { file, content });
        }
        Ok(entries)
    }

    /// The names that end so, sorted.
    fn files(&self, end: &str) -> Result<Vec<OsString>, Error> {
        let what = format!("list {}", self.path.display());
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        // Opened anew: the descriptor's copies would share one position.
        let dir = Dir::openat(&self.dir, ".", flags, Mode::empty()).map_err(|errno| Error::sys(&what, errno))?;
        let mut files = Vec::new();
        for entry in dir {
            let entry = entry.map_err(|errno| Error::sys(&what, errno))?;
            let name = entry.file_name().to_bytes();
            if name.ends_with(end.as_bytes()) {
                files.push(OsString::from_vec(name.to_vec()));
            }
        }
        files.sort();
        Ok(files)
    }

    /// Remove a journal, which may be gone already; it stays gone.
    pub fn remove(&self, _lock: &JournalLock, name: &JournalName) -> Result<(), Error> {
        let file = file_of(name);
        self.unlink(&file)?;
        self.sync(&format!("remove {}", self.at(&file).display()))
    }

    /// Give a file of [`Self::list`], which is not believed, another name, so
    /// that it is not looked at again, and return where it is now. Nothing is
    /// overwritten by it; of each device's the newest are kept.
    pub fn set_aside(&self, lock: &JournalLock, file: &OsStr, fault: &JournalFault) -> Result<PathBuf, Error> {
        self.put_aside(lock, file, fault.word())
    }

    /// The same with one that is believed, and has no use any more.
    pub fn forget(&self, lock: &JournalLock, file: &OsStr) -> Result<PathBuf, Error> {
        self.put_aside(lock, file, FORGOTTEN)
    }

    fn put_aside(&self, _lock: &JournalLock, file: &OsStr, word: &str) -> Result<PathBuf, Error> {
        let what = format!("set {} aside", self.at(file).display());
        if !file.as_bytes().ends_with(JOURNAL.as_bytes()) || file.as_bytes().contains(&b'/') {
            return Err(Error::new(what, "it is none of the journals"));
        }
        let device = device_of(file.as_bytes());
        let mut there = self.aside_of(device)?;
        // Numbers go on, so that they tell which is the newest.
        let first = there.last().map_or(1, |(number, _)| number.saturating_add(1));
        for number in first.. {
            let mut aside = file.to_owned();
            aside.push(format!(".{word}-{number}"));
            let flags = RenameFlags::RENAME_NOREPLACE;
            match renameat2(&self.dir, file, &self.dir, aside.as_os_str(), flags) {
                Ok(()) => {
                    there.push((number, aside.clone()));
                    for (_, old) in there.iter().rev().skip(KEPT_ASIDE) {
                        // One more than there should be does no harm.
                        let _ = self.unlink(old);
                    }
                    self.sync(&what)?;
                    return Ok(self.at(&aside));
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::sys(what, errno)),
            }
        }
        Err(Error::new(what, "every number is taken"))
    }

    /// What was set aside of a device, the oldest first, each with its number.
    fn aside_of(&self, device: &[u8]) -> Result<Vec<(u32, OsString)>, Error> {
        let all = self.files("")?.into_iter();
        let numbered = all.filter_map(|file| Some((number_aside(file.as_bytes(), device)?, file)));
        let mut found: Vec<_> = numbered.collect();
        found.sort();
        Ok(found)
    }

    /// Whether a journal of so many bytes can be written here, tried with a
    /// file of twice the size: while one is replaced, the old one and the new
    /// one are there.
    pub fn check_writable(&self, _lock: &JournalLock, bytes: usize) -> Result<(), Error> {
        let what = format!("write journals in {}", self.path.display());
        let room = bytes.saturating_mul(2).max(LEAST_ROOM);
        let put = self.put(OsStr::new(PROBE), &noise(room)).map_err(|error| Error::io(&what, &error));
        put.map_err(|error| self.clean_after(error, OsStr::new(PROBE)))?;
        self.unlink(OsStr::new(PROBE))?;
        self.sync(&what)
    }
}

fn file_of(name: &JournalName) -> OsString {
    OsString::from(format!("{name}{JOURNAL}"))
}

/// The device in a journal's name; it may hold an '@' itself.
fn device_of(file: &[u8]) -> &[u8] {
    let end = file.iter().rposition(|byte| *byte == b'@').unwrap_or(file.len());
    file.get(..end).unwrap_or_default()
}

/// The number of a file that was set aside of that device.
fn number_aside(file: &[u8], device: &[u8]) -> Option<u32> {
    let of_it = file.strip_prefix(device)?.strip_prefix(b"@")?;
    let (ino, word) = std::str::from_utf8(of_it).ok()?.split_once(JOURNAL)?;
    let is_ino = !ino.is_empty() && ino.bytes().all(|byte| byte.is_ascii_digit());
    let number = word.strip_prefix('.')?.rsplit_once('-')?.1.parse().ok()?;
    is_ino.then_some(number)
}

fn is_regular(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Why others could have written what has this status, if they could.
fn distrust(stat: &FileStat) -> Option<String> {
    if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
        return Some(format!("it belongs to the user with number {}", stat.st_uid));
    }
    let mode = stat.st_mode & 0o7777;
    (mode & 0o022 != 0).then(|| format!("others may write it, its mode is {mode:04o}"))
}

/// Bytes that no file system stores in less room (xorshift, Marsaglia 2003).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_ne_bytes()
    });
    words.flatten().take(length).collect()
}
