//! Full and read-only disks: a small file system on `/mnt`, which only the
//! child that this test starts can see.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use hostnet::engine::journal::encode;
use hostnet::linux::JournalDir;
use nix::errno::Errno;

use super::{NOW, journal, listed, names};
use crate::child::run_child;
use crate::lab::run;

fn on_tmpfs(options: &str, test: &str) {
    let mount = format!("mount -t tmpfs -o mode=0700,{options} none /mnt && exec \"$@\"");
    run_child(&["unshare", "--mount", "sh", "-ec", &mount, "sh"], test);
}

#[test]
fn on_a_full_disk_the_old_one_stays() {
    on_tmpfs("size=512k", "journal::disk::full");
}

/// Leave so many bytes free.
fn fill(leave: u64) {
    let path = "/mnt/ballast";
    let _ = std::fs::remove_file(path);
    let stat = nix::sys::statvfs::statvfs("/mnt").unwrap();
    let free = stat.blocks_available() * stat.fragment_size();
    let length = usize::try_from(free.saturating_sub(leave)).unwrap();
    File::create(path).unwrap().write_all(&vec![7; length]).unwrap();
}

#[test]
#[ignore = "run by on_a_full_disk_the_old_one_stays"]
fn full() {
    let path = Path::new("/mnt/journals");
    let dir = JournalDir::open(path).unwrap();
    let lock = dir.lock(NOW).unwrap();
    let (old, new) = (journal("eth0", 1, 0, 400), journal("eth0", 1, 1, 400));
    let length = encode(&new).unwrap().len();
    let (mut seen, mut promised) = ((0, 0), (0, 0));
    for leave in (0..26).map(|pages| pages * 4096) {
        fill(u64::MAX);
        dir.write(&lock, &old).unwrap();
        fill(leave);
        match dir.write(&lock, &new) {
            Ok(()) => {
                assert_eq!(listed(&dir), (vec![new.clone()], Vec::new()), "{leave} left");
                seen.0 += 1;
            }
            Err(error) => {
                assert_eq!(error.errno(), Some(Errno::ENOSPC), "{error}");
                assert!(error.to_string().contains("write /mnt/journals/eth0@1.journal: No space"), "{error}");
                assert_eq!(listed(&dir), (vec![old.clone()], Vec::new()), "{leave} left");
                seen.1 += 1;
            }
        }
        assert_eq!(names(path), ["eth0@1.journal", "lock"]);
        // It promises nothing that does not hold: room for a first one, and
        // for a second one in its place.
        dir.remove(&lock, &old.name()).unwrap();
        fill(leave);
        match dir.check_writable(&lock, length) {
            Ok(()) => {
                dir.write(&lock, &old).unwrap();
                dir.write(&lock, &new).unwrap();
                promised.0 += 1;
            }
            Err(error) => {
                assert_eq!(error.errno(), Some(Errno::ENOSPC), "{error}");
                promised.1 += 1;
            }
        }
        assert!(!path.join("probe.journal.tmp").exists());
    }
    assert!(seen.0 > 2 && seen.1 > 2 && promised.0 > 2 && promised.1 > 2, "{seen:?} {promised:?}");
    // Full to the last byte, what is there can still be given back: read,
    // locked, set aside and removed.
    drop(lock);
    fill(u64::MAX);
    let lock = dir.lock(NOW).unwrap();
    dir.write(&lock, &old).unwrap();
    drop(lock);
    fill(0);
    let lock = JournalDir::open(path).unwrap().lock(NOW).unwrap();
    assert_eq!(listed(&dir), (vec![old.clone()], Vec::new()));
    assert_eq!(dir.check_writable(&lock, 1).unwrap_err().errno(), Some(Errno::ENOSPC));
    dir.remove(&lock, &old.name()).unwrap();
    assert_eq!(names(path), ["lock"]);
}

#[test]
fn without_an_inode_left_nothing_is_written() {
    on_tmpfs("size=512k,nr_inodes=4", "journal::disk::no_inode");
}

#[test]
#[ignore = "run by without_an_inode_left_nothing_is_written"]
fn no_inode() {
    // Root, directory, lock, journal: there is none left for a second file.
    let dir = JournalDir::open(Path::new("/mnt/journals")).unwrap();
    let lock = dir.lock(NOW).unwrap();
    let old = journal("eth0", 1, 0, 3);
    dir.write(&lock, &old).unwrap();
    let error = dir.write(&lock, &journal("eth0", 1, 1, 3)).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENOSPC), "{error}");
    assert_eq!(dir.check_writable(&lock, 1).unwrap_err().errno(), Some(Errno::ENOSPC));
    assert_eq!(listed(&dir), (vec![old], Vec::new()));
}

#[test]
fn a_read_only_disk_is_read_and_nothing_else() {
    on_tmpfs("size=512k", "journal::disk::read_only");
}

#[test]
#[ignore = "run by a_read_only_disk_is_read_and_nothing_else"]
fn read_only() {
    let path = Path::new("/mnt/journals");
    let never_locked = JournalDir::open(Path::new("/mnt/new")).unwrap();
    let dir = JournalDir::open(path).unwrap();
    let old = journal("eth0", 1, 0, 3);
    dir.write(&dir.lock(NOW).unwrap(), &old).unwrap();
    let stale = path.join("eth0@1.journal.tmp");
    std::fs::write(&stale, "half").unwrap();
    run("mount", &["-o", "remount,ro", "/mnt"]);
    // Opened again, as the next program would.
    let dir = JournalDir::open(path).unwrap();
    let lock = dir.lock(NOW).unwrap();
    assert_eq!(JournalDir::open(path).unwrap().lock(NOW).unwrap_err().errno(), Some(Errno::EAGAIN));
    assert_eq!(listed(&dir), (vec![old.clone()], Vec::new()));
    let fault = hostnet::engine::journal::JournalFault::Damaged(String::new());
    for (what, result) in [
        ("write", dir.write(&lock, &journal("eth0", 1, 1, 3))),
        ("write", dir.write(&lock, &journal("eth1", 1, 1, 3))),
        ("write journals in", dir.check_writable(&lock, 100)),
        ("remove", dir.remove(&lock, &old.name())),
        ("set", dir.set_aside(&lock, "eth0@1.journal".as_ref(), &fault).map(|_| ())),
        ("lock", never_locked.lock(NOW).map(|_| ())),
        ("make", JournalDir::open(Path::new("/mnt/other")).map(|_| ())),
    ] {
        let error = result.unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EROFS), "{what}: {error}");
        let text = error.to_string();
        assert!(text.starts_with(what) && text.contains("/mnt/") && text.contains("Read-only"), "{what}: {text}");
    }
    assert_eq!(listed(&dir), (vec![old.clone()], Vec::new()));
    drop(lock);
    run("mount", &["-o", "remount,rw", "/mnt"]);
    let lock = dir.lock(NOW).unwrap();
    assert!(!stale.exists());
    dir.write(&lock, &old).unwrap();
}
