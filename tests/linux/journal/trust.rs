//! What another user could have written is not believed, nor written through.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use hostnet::engine::journal::{JournalFault, encode};
use hostnet::linux::{JournalDir, JournalError};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Disk, NOW, journal, listed};

const NOBODY: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("journals");
    JournalDir::open(&path).unwrap();
    for (mode, fine) in [(0o755, true), (0o500, true), (0o720, false), (0o702, false), (0o1777, false)] {
        set_mode(&path, mode);
        for opened in [JournalDir::open(&path).map(Some), JournalDir::find(&path)] {
            let error = opened.err().map(|error| error.to_string());
            assert_eq!(error.is_none(), fine, "{mode:o}: {error:?}");
            assert!(fine || error.is_some_and(|error| error.contains(&format!("its mode is {mode:04o}"))));
        }
    }
    set_mode(&path, 0o700);
    chown(&path, Some(NOBODY), None).unwrap();
    let error = JournalDir::open(&path).unwrap_err().to_string();
    assert!(error.contains("belongs to the user with number 65534"), "{error}");
    chown(&path, Some(0), None).unwrap();
    JournalDir::open(&path).unwrap();
}

#[test]
fn a_link_or_a_file_in_place_of_the_directory_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (real, link, file) = (home.path().join("real"), home.path().join("link"), home.path().join("file"));
    JournalDir::open(&real).unwrap();
    symlink(&real, &link).unwrap();
    fs::write(&file, "").unwrap();
    for path in [link.clone(), home.path().join("link/"), home.path().join("link/."), file] {
        let error = JournalDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("no directory, or a link"), "{}: {error}", path.display());
    }
    symlink(home.path().join("nowhere"), home.path().join("dangling")).unwrap();
    assert!(JournalDir::open(&home.path().join("dangling")).is_err());
    assert!(!home.path().join("nowhere").exists());
}

#[test]
fn a_file_of_others_is_not_believed_and_does_not_hide_the_rest() {
    let disk = Disk::new();
    let good = journal("good", 1, 0, 1);
    disk.dir.write(&disk.lock(), &good).unwrap();
    let put = |name: &str| {
        let path = disk.file(&format!("{name}@1.journal"));
        fs::write(&path, encode(&journal(name, 1, 0, 1)).unwrap()).unwrap();
        path
    };
    set_mode(&put("a-all"), 0o606);
    set_mode(&put("b-group"), 0o660);
    chown(put("c-owner"), Some(NOBODY), None).unwrap();
    let elsewhere = disk.home.path().join("elsewhere");
    fs::rename(put("d-link"), &elsewhere).unwrap();
    symlink(&elsewhere, disk.file("d-link@1.journal")).unwrap();
    mkfifo(&disk.file("e-fifo@1.journal"), Mode::S_IRWXU).unwrap();
    fs::create_dir(disk.file("f-dir@1.journal")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(disk.file("g-sock@1.journal")).unwrap();
    let (whole, faulty) = listed(&disk.dir);
    assert_eq!(whole, [good]);
    let told: Vec<_> = faulty.iter().map(|(_, fault)| fault.to_string()).collect();
    for (told, words) in told.iter().zip([
        "mode is 0606",
        "mode is 0660",
        "user with number 65534",
        "symbolic link",
        "no regular file",
        "no regular file",
        "no regular file",
    ]) {
        assert!(told.starts_with("it is not to be trusted: ") && told.contains(words), "{told}");
    }
    assert_eq!(told.len(), 7, "{told:?}");
    let name = "d-link@1".parse().unwrap();
    assert!(matches!(disk.dir.read(&name), Err(JournalError::Fault(JournalFault::Untrusted(_)))));
    // Each can be put out of the way, the link itself and not what it names.
    let lock = disk.lock();
    for (file, fault) in &faulty {
        disk.dir.set_aside(&lock, file.as_ref(), fault).unwrap();
    }
    assert_eq!(listed(&disk.dir).1, []);
    assert!(elsewhere.exists() && disk.file("d-link@1.journal.untrusted-1").is_symlink());
}

#[test]
fn nothing_is_written_through_a_link() {
    let disk = Disk::new();
    let target = disk.home.path().join("target");
    fs::write(&target, "precious").unwrap();
    let lock = disk.lock();
    for file in ["eth0@1.journal.tmp", "eth0@1.journal", "probe.journal.tmp"] {
        symlink(&target, disk.file(file)).unwrap();
    }
    let good = journal("eth0", 1, 0, 1);
    disk.dir.write(&lock, &good).unwrap();
    disk.dir.check_writable(&lock, 1).unwrap();
    assert_eq!(disk.dir.read(&good.name()), Ok(Some(good)));
    drop(lock);
    fs::remove_file(disk.file("lock")).unwrap();
    symlink(&target, disk.file("lock")).unwrap();
    assert!(disk.dir.lock(NOW).is_err());
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn a_lock_that_others_could_hold_is_refused() {
    let disk = Disk::new();
    let path = disk.file("lock");
    drop(disk.lock());
    set_mode(&path, 0o666);
    let error = disk.dir.lock(NOW).unwrap_err().to_string();
    assert!(error.contains("of the lock: others may write it"), "{error}");
    fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    let error = disk.dir.lock(NOW).unwrap_err().to_string();
    assert!(error.contains("no regular file"), "{error}");
}
