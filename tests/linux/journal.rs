//! The journals on a real disk. Needs root, but no namespace but of mounts.

mod disk;
mod kills;
mod trust;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use hostnet::engine::journal::{HomeNetns, Journal, JournalFault, JournalPhase, TakenDevice, encode};
use hostnet::linux::{JournalDir, JournalError, JournalLock, boot_id};
use hostnet::model::{Captured, CapturedLink, MacAddr, RawMessage};
use nix::errno::Errno;

const NOW: Duration = Duration::ZERO;
const PATIENCE: Duration = Duration::from_secs(30);

/// A journal that tells by its request which one it is, and is as long as its
/// routes make it.
fn journal(interface: &str, home_ino: u64, number: u64, routes: usize) -> Journal {
    let link = CapturedLink {
        txqlen: Some(1000),
        addr_gen_mode: Some(0),
        kind: Some("veth".to_owned()),
        ..CapturedLink::new(interface.parse().unwrap(), 7, MacAddr([2, 0, 0, 0, 0, 1]), 1500)
    };
    Journal {
        boot_id: boot_id().unwrap(),
        owner: hostnet::engine::journal::Owner { pid: 1, started: 1 },
        phase: [JournalPhase::Taking, JournalPhase::Taken, JournalPhase::Giving][usize::try_from(number % 3).unwrap()],
        interface: interface.parse().unwrap(),
        home: HomeNetns { path: "/proc/1/ns/net".into(), dev: 4, ino: home_ino },
        device: TakenDevice::Netdev {
            parking: "hostnet-uplinks".to_owned(),
            mac: link.mac,
            parked_name: interface.parse().unwrap(),
            index: 7,
            xdp: false,
        },
        tap: None,
        captured: Captured { routes: vec![RawMessage(vec![7; 48]); routes], ..Captured::new(link) },
        request: number.to_string(),
    }
}

/// A directory of journals that goes with the test.
struct Disk {
    home: tempfile::TempDir,
    dir: JournalDir,
}

impl Disk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = JournalDir::open(&home.path().join("a/journals")).unwrap();
        Self { home, dir }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("a/journals")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn lock(&self) -> JournalLock {
        self.dir.lock(NOW).unwrap()
    }
}

/// What is in a directory.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The journals that are believed, and the faults of the others by file.
fn listed(dir: &JournalDir) -> (Vec<Journal>, Vec<(String, JournalFault)>) {
    let mut whole = Vec::new();
    let mut faulty = Vec::new();
    for entry in dir.list().unwrap() {
        match entry.content {
            Ok(journal) => whole.push(journal),
            Err(JournalError::Fault(fault)) => faulty.push((entry.file.into_string().unwrap(), fault)),
            Err(JournalError::Io(error)) => panic!("{error}"),
        }
    }
    (whole, faulty)
}

#[test]
fn what_is_written_is_read_until_it_is_removed() {
    let disk = Disk::new();
    let lock = disk.lock();
    let one = journal("eth0", 1, 0, 3);
    // The same name in another namespace, and a name that looks like a file's.
    let others = [journal("eth0", 2, 1, 0), journal("lock", 1, 2, 0), journal(".a@1.journal", 1, 2, 0)];
    assert_eq!(disk.dir.read(&one.name()), Ok(None));
    for journal in others.iter().chain([&one]) {
        disk.dir.write(&lock, journal).unwrap();
        assert_eq!(disk.dir.read(&journal.name()), Ok(Some(journal.clone())));
    }
    assert_eq!(
        names(&disk.path()),
        [".a@1.journal@1.journal", "eth0@1.journal", "eth0@2.journal", "lock", "lock@1.journal"]
    );
    let newer = journal("eth0", 1, 1, 0);
    disk.dir.write(&lock, &newer).unwrap();
    let [second, third, first] = others.clone();
    assert_eq!(listed(&disk.dir), (vec![first, newer.clone(), second, third], Vec::new()));
    for _ in 0..2 {
        disk.dir.remove(&lock, &newer.name()).unwrap();
        assert_eq!(disk.dir.read(&newer.name()), Ok(None));
    }
    assert_eq!(listed(&disk.dir).0.len(), 3);
}

#[test]
fn nobody_else_may_look_into_it() {
    let disk = Disk::new();
    disk.dir.write(&disk.lock(), &journal("eth0", 1, 0, 3)).unwrap();
    let mode = |path: PathBuf| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(disk.path()), 0o700);
    assert_eq!(mode(disk.file("eth0@1.journal")), 0o600);
    assert_eq!(mode(disk.file("lock")), 0o600);
}

#[test]
fn a_directory_that_is_not_there_is_found_missing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("journals");
    assert!(JournalDir::find(&path).unwrap().is_none());
    assert!(!path.exists());
    JournalDir::open(&path).unwrap();
    assert!(JournalDir::find(&path).unwrap().is_some());
}

#[test]
fn a_directory_that_is_removed_meanwhile_takes_no_journal() {
    let disk = Disk::new();
    let lock = disk.lock();
    fs::remove_dir_all(disk.path()).unwrap();
    let error = disk.dir.write(&lock, &journal("eth0", 1, 0, 3)).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENOENT), "{error}");
    assert_eq!(disk.dir.check_writable(&lock, 100).unwrap_err().errno(), Some(Errno::ENOENT));
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let disk = Disk::new();
    let lock = disk.lock();
    let good = journal("eth0", 1, 0, 3);
    disk.dir.write(&lock, &good).unwrap();
    let wrong = Journal { boot_id: "another".to_owned(), ..good.clone() };
    let error = disk.dir.write(&lock, &wrong).unwrap_err().to_string();
    assert!(error.contains("another boot"), "{error}");
    assert_eq!(listed(&disk.dir), (vec![good], Vec::new()));
    assert_eq!(names(&disk.path()), ["eth0@1.journal", "lock"]);
}

#[test]
fn one_that_is_not_believed_is_listed_beside_the_others() {
    let disk = Disk::new();
    let good = journal("good", 1, 0, 3);
    disk.dir.write(&disk.lock(), &good).unwrap();
    let bytes = encode(&good).unwrap();
    let old = encode(&Journal { boot_id: "another".to_owned(), ..journal("old", 1, 0, 0) }).unwrap();
    fs::write(disk.file("old@1.journal"), old).unwrap();
    fs::write(disk.file("cut@1.journal"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(disk.file("empty@1.journal"), "").unwrap();
    // A true journal under a name that is not its own.
    fs::write(disk.file("good@2.journal"), &bytes).unwrap();
    fs::write(disk.file("good.journal"), &bytes).unwrap();
    // These are none.
    fs::write(disk.file("good@1.journal.damaged-1"), "").unwrap();
    fs::write(disk.file("notes.txt"), "").unwrap();
    let (whole, faulty) = listed(&disk.dir);
    assert_eq!(whole, [good]);
    let words: Vec<_> = faulty.iter().map(|(file, fault)| (file.as_str(), fault.word())).collect();
    assert_eq!(
        words,
        [
            ("cut@1.journal", "damaged"),
            ("empty@1.journal", "damaged"),
            ("good.journal", "damaged"),
            ("good@2.journal", "damaged"),
            ("old@1.journal", "other-boot"),
        ]
    );
    let told = faulty[3].1.to_string();
    assert!(told.contains("it is the one of good@1"), "{told}");
    let name = "good@2".parse().unwrap();
    assert!(matches!(disk.dir.read(&name), Err(JournalError::Fault(JournalFault::Damaged(_)))));
}

#[test]
fn a_file_cut_at_any_byte_is_never_believed() {
    let disk = Disk::new();
    let good = journal("eth0", 1, 0, 2);
    disk.dir.write(&disk.lock(), &good).unwrap();
    let path = disk.file("eth0@1.journal");
    let file = fs::File::options().write(true).open(&path).unwrap();
    for length in (0..file.metadata().unwrap().len()).rev() {
        file.set_len(length).unwrap();
        let read = disk.dir.read(&good.name());
        assert!(matches!(read, Err(JournalError::Fault(JournalFault::Damaged(_)))), "{length}: {read:?}");
    }
}

#[test]
fn what_is_set_aside_overwrites_nothing() {
    let disk = Disk::new();
    let lock = disk.lock();
    let file = OsString::from("eth0@1.journal");
    fs::write(disk.file("eth0@1.journal.damaged-2"), "by hand").unwrap();
    for (content, number) in [("a", 3), ("b", 4), ("c", 5)] {
        fs::write(disk.file("eth0@1.journal"), content).unwrap();
        let (_, faulty) = listed(&disk.dir);
        let aside = disk.dir.set_aside(&lock, &file, &faulty[0].1).unwrap();
        assert_eq!(aside, disk.file(&format!("eth0@1.journal.damaged-{number}")));
        assert_eq!(fs::read_to_string(aside).unwrap(), content);
        assert_eq!(listed(&disk.dir), (Vec::new(), Vec::new()));
    }
    assert_eq!(fs::read_to_string(disk.file("eth0@1.journal.damaged-2")).unwrap(), "by hand");
    // Gone already, or none of ours to move.
    let fault = JournalFault::Newer { version: 2 };
    let gone = disk.dir.set_aside(&lock, &file, &fault).unwrap_err();
    assert_eq!(gone.errno(), Some(Errno::ENOENT), "{gone}");
    fs::write(disk.home.path().join("x.journal"), "").unwrap();
    for wrong in ["lock", "../../x.journal", "eth0@1.journal.damaged-1"] {
        assert!(disk.dir.set_aside(&lock, &OsString::from(wrong), &fault).is_err(), "{wrong}");
    }
    assert_eq!(names(&disk.path()).len(), 5);
}

#[test]
fn of_what_is_set_aside_the_newest_of_each_device_are_kept() {
    let disk = Disk::new();
    let lock = disk.lock();
    // Of the same name elsewhere, which is after a new start of the machine
    // the same device; and of others, one with a name that looks alike.
    let others = ["eth00@1.journal.damaged-1", "eth0@x.journal.damaged-2", "eth0@1.journal.damaged-x", "lock"];
    for other in &others[..3] {
        fs::write(disk.file(other), "other").unwrap();
    }
    fs::write(disk.file("eth0@2.journal.other-boot-9"), "old").unwrap();
    for number in 10..20_u32 {
        let file = OsString::from("eth0@1.journal");
        fs::write(disk.file("eth0@1.journal"), number.to_string()).unwrap();
        let fault = JournalFault::Newer { version: number };
        let (aside, word) = if number % 2 == 0 {
            (disk.dir.set_aside(&lock, &file, &fault).unwrap(), "newer")
        } else {
            (disk.dir.forget(&lock, &file).unwrap(), "forgotten")
        };
        assert_eq!(aside, disk.file(&format!("eth0@1.journal.{word}-{number}")));
    }
    let kept = ["forgotten-15", "newer-16", "forgotten-17", "newer-18", "forgotten-19"];
    let mut expected: Vec<String> = kept.iter().map(|end| format!("eth0@1.journal.{end}")).collect();
    expected.extend(others.map(str::to_owned));
    expected.sort();
    let mut there = names(&disk.path());
    there.sort();
    assert_eq!(there, expected);
    assert_eq!(fs::read_to_string(disk.file("eth0@1.journal.newer-16")).unwrap(), "16");
}

#[test]
fn the_lock_is_one_for_all_and_says_who_has_it() {
    let disk = Disk::new();
    let lock = disk.lock();
    let other = JournalDir::open(&disk.path()).unwrap();
    let error = other.lock(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EAGAIN));
    let own = format!("process {} (", std::process::id());
    assert!(error.to_string().contains(&own), "{error}");
    // Journals are read all the same.
    assert_eq!(listed(&other), (Vec::new(), Vec::new()));
    drop(lock);
    drop(other.lock(NOW).unwrap());
}

#[test]
fn who_waits_for_the_lock_gets_it_when_it_is_free() {
    let disk = Disk::new();
    let lock = disk.lock();
    let path = disk.path();
    let (tell, told) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let other = JournalDir::open(&path).unwrap();
        tell.send("waits").unwrap();
        let lock = other.lock(PATIENCE).unwrap();
        tell.send("has it").unwrap();
        other.write(&lock, &journal("eth0", 1, 0, 0)).unwrap();
    });
    assert_eq!(told.recv_timeout(PATIENCE), Ok("waits"));
    assert_eq!(told.recv_timeout(Duration::from_millis(100)), Err(mpsc::RecvTimeoutError::Timeout));
    drop(lock);
    assert_eq!(told.recv_timeout(PATIENCE), Ok("has it"));
    waiting.join().unwrap();
    assert_eq!(listed(&disk.dir).0.len(), 1);
}

#[test]
fn a_reader_beside_a_writer_reads_whole_ones() {
    let disk = Disk::new();
    let lock = disk.lock();
    let name = journal("eth0", 1, 0, 0).name();
    disk.dir.write(&lock, &journal("eth0", 1, 0, 0)).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while last < 200 {
                let read = disk.dir.read(&name).unwrap().unwrap();
                let number = read.request.parse().unwrap();
                assert!(number >= last, "{number} after {last}");
                assert_eq!(read, journal("eth0", 1, number, usize::try_from(number).unwrap()));
                last = number;
            }
        });
        for number in 1..=200_u64 {
            disk.dir.write(&lock, &journal("eth0", 1, number, usize::try_from(number).unwrap())).unwrap();
        }
        reader.join().unwrap();
    });
}
