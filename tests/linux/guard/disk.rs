//! Journals that are not believed, and disks that cannot be written.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::*;

impl Lab {
    fn file(&self) -> PathBuf {
        let name = format!("{}.journal", self.journal().name());
        self.path().join(name)
    }

    /// What the directory has beside the lock.
    fn files(&self) -> Vec<String> {
        let all = fs::read_dir(self.path()).unwrap().flatten();
        let mut all: Vec<String> = all.map(|entry| entry.file_name().into_string().unwrap()).collect();
        all.retain(|name| name != "lock");
        all
    }
}

#[test]
fn what_is_not_believed_is_set_aside_and_changes_nothing() {
    let lab = Lab::left(Until::Taken);
    let (file, whole) = (lab.file(), fs::read(lab.file()).unwrap());
    let there = dump();
    let half = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[half] ^= 4;
    let mut of_other_boot = lab.journal();
    of_other_boot.boot_id = "5f0b8a52-8f0e-4b8a-9a52-0c6f4d1d2a77".to_owned();
    let newer = newer(&whole);
    let faults = [
        ("damaged", whole[..half].to_vec()),
        ("damaged", Vec::new()),
        ("damaged", flipped),
        ("other-boot", hostnet::engine::journal::encode(&of_other_boot).unwrap()),
        ("newer", newer),
    ];
    for (word, bytes) in faults {
        fs::write(&file, &bytes).unwrap();
        for command in ["check", "show"] {
            let (code, text) = lab.guard(command);
            assert_eq!(code, Outcome::NotBelieved as i32, "{word}: {text}");
        }
        let (code, text) = lab.guard("restore");
        assert_eq!(code, Outcome::NotBelieved as i32, "{word}: {text}");
        assert!(text.contains("nothing was done") && text.contains("set aside as"), "{word}: {text}");
        let [aside] = lab.files().try_into().unwrap();
        assert!(aside.contains(&format!(".journal.{word}-1")), "{aside}");
        assert_eq!(fs::read(lab.path().join(&aside)).unwrap(), bytes);
        fs::remove_file(lab.path().join(aside)).unwrap();
        same(&there, &dump());
    }
    // With the true one it comes home.
    fs::write(&file, &whole).unwrap();
    lab.restored();
    lab.is_as_before();
}

/// The same journal, as if of the next version.
fn newer(whole: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    let body = &whole[whole.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    let version = hostnet::engine::journal::JOURNAL_VERSION + 1;
    let mut head = format!("hostnet-journal {version} {} ", body.len());
    for byte in Sha256::new().chain_update(&head).chain_update(body).finalize() {
        write!(head, "{byte:02x}").unwrap();
    }
    [head.as_bytes(), b"\n", body].concat()
}

/// The journals on a disk of their own.
struct Disk(PathBuf);

impl Disk {
    fn new(lab: &Lab) -> Self {
        let path = lab.path();
        fs::create_dir(&path).unwrap();
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("size=512k,mode=700")).unwrap();
        Self(path)
    }

    fn make_read_only(&self, yes: bool) {
        let flags = if yes { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let remount =
            || mount(None::<&str>, &self.0, None::<&str>, MsFlags::MS_REMOUNT | flags, Some("size=512k,mode=700"));
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut done = remount();
        // The kernel closes the files of a process a moment after its end, and
        // tells nobody; one open for writing keeps the disk writable.
        while done == Err(Errno::EBUSY) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
            done = remount();
        }
        done.unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Brings it home twice, and leaves alone what was changed in between.
fn comes_home_unwritten(lab: &Lab) {
    let (code, text) = lab.guard("restore");
    assert_eq!(code, Outcome::Differs as i32, "{text}");
    assert!(text.contains(&format!("{NAME}: home, but:\n  write ")), "{text}");
    assert_eq!(lab.phase(), JournalPhase::Taken);
    lab.is_as_before();
    run("ip", &["addr", "add", "10.200.0.5/24", "dev", NAME]);
    let there = dump();
    let (code, text) = lab.guard("restore");
    assert_eq!(code, Outcome::Differs as i32, "{text}");
    assert!(text.contains("it was at home already, it is left as it is"), "{text}");
    same(&there, &dump());
    run("ip", &["addr", "del", "10.200.0.5/24", "dev", NAME]);
}

#[test]
fn on_a_read_only_disk_it_comes_home_and_says_so() {
    let lab = Lab::new();
    let disk = Disk::new(&lab);
    lab.take(Until::Taken);
    lab.orphan();
    disk.make_read_only(true);
    comes_home_unwritten(&lab);
    disk.make_read_only(false);
    let (_, text) = lab.guard("restore");
    assert!(text.contains("it was at home already"), "{text}");
    assert_eq!(lab.phase(), JournalPhase::Home);
    lab.is_as_before();
}

#[test]
fn on_a_full_disk_it_comes_home_and_says_so() {
    let lab = Lab::new();
    let disk = Disk::new(&lab);
    lab.take(Until::Taken);
    lab.orphan();
    let filler = disk.0.join("filler");
    let full = fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    assert_eq!(full.raw_os_error(), Some(nix::libc::ENOSPC));
    comes_home_unwritten(&lab);
}
