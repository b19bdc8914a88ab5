//! A writer that is killed at any instant leaves whole journals.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hostnet::engine::journal::Journal;
use hostnet::linux::JournalDir;
use nix::errno::Errno;

use super::{Disk, NOW, journal, listed, names};

const DIR: &str = "HOSTNET_TEST_JOURNALS";
const FROM: &str = "HOSTNET_TEST_FROM";
const KILLS: u64 = 200;

/// One of those that the writer writes: both uplinks in turn, of all lengths
/// up to some pages.
fn written(number: u64) -> Journal {
    let routes = usize::try_from(number * 37 % 300).unwrap();
    journal(if number.is_multiple_of(2) { "even" } else { "odd" }, 1, number, routes)
}

/// The test below in a process of its own, which ends with this.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Writer {
    /// Start it, and wait until it has written once.
    fn start(path: &Path, from: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "journal::kills::writer", "--test-threads=1", "--nocapture"])
            .env(DIR, path)
            .env(FROM, from.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let writer = Self(child);
        assert!(lines.map_while(Result::ok).any(|line| line.contains("it writes")), "the writer ended");
        writer
    }
}

#[test]
#[ignore = "run by a_killed_writer_leaves_whole_journals"]
fn writer() {
    let dir = JournalDir::open(std::env::var_os(DIR).unwrap().as_ref()).unwrap();
    let lock = dir.lock(NOW).unwrap();
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    dir.write(&lock, &written(from)).unwrap();
    std::io::stdout().write_all(b"it writes\n").unwrap();
    // Far more than there is time for.
    for number in from + 1..from + 1_000_000 {
        dir.write(&lock, &written(number)).unwrap();
    }
}

fn has_temporary(disk: &Disk) -> bool {
    names(&disk.path()).iter().any(|name| name.contains(".tmp"))
}

#[test]
fn a_killed_writer_leaves_whole_journals() {
    let disk = Disk::new();
    let mut random = u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
    let (mut next, mut half_written) = (0, 0);
    for round in 0..KILLS {
        let writer = Writer::start(&disk.path(), next);
        let locked = disk.dir.lock(NOW).unwrap_err();
        assert_eq!(locked.errno(), Some(Errno::EAGAIN));
        assert!(locked.to_string().contains(&format!("process {} ", writer.0.id())), "{locked}");
        // Any instant of the next few writes.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros((random >> 33) % 5000));
        drop(writer);
        half_written += u32::from(has_temporary(&disk));
        let (mut whole, faulty) = listed(&disk.dir);
        assert_eq!(faulty, [], "round {round}");
        whole.sort_by_key(|journal| journal.request.parse::<u64>().unwrap());
        let last: u64 = whole.last().unwrap().request.parse().unwrap();
        assert!(last >= next, "round {round}: {last} is older than {next}");
        let expected: Vec<_> = (last.saturating_sub(1)..=last).map(written).collect();
        assert_eq!(whole, expected, "round {round}");
        // The lock went with its holder, and with the lock comes the cleaning.
        drop(disk.lock());
        assert!(!has_temporary(&disk));
        next = last + 1;
    }
    assert!(half_written > 0, "no kill came while a file was written");
}
