//! The guard that waits for the end of a process.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;

/// A process that lives until it is killed.
fn sleeper() -> Guard {
    Guard(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
}

fn started(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

impl Lab {
    /// That process has it now.
    fn give_to(&self, owner: &Guard) {
        let pid = owner.0.id();
        self.rewrite(|journal| journal.owner = Owner { pid, started: started(pid) });
    }
}

/// Wait until the process sleeps in its poll: then it listens.
fn until_it_waits(pid: u32) {
    let deadline = Instant::now() + PATIENCE;
    let waits = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.flatten().any(|task| {
            let call = fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
            call.starts_with(&format!("{} ", nix::libc::SYS_poll))
        })
    };
    while !waits() {
        assert!(Instant::now() < deadline, "it does not wait");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_it_watched_dies_and_everything_comes_home() {
    let lab = Lab::new();
    lab.take(Until::Taken);
    let owner = sleeper();
    lab.give_to(&owner);
    let mut guard = lab.start(&format!("watch {}", owner.0.id()));
    until_it_waits(guard.0.id());
    // As a service's stop sends them to all.
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        kill(pid_of(&guard.0), signal).unwrap();
    }
    // What it does of its own accord, it does at once: it has woken and lives.
    until_it_waits(guard.0.id());
    assert!(guard.0.try_wait().unwrap().is_none());
    assert_eq!(lab.phase(), JournalPhase::Taken);
    // A zombie is dead: it is waited for only afterwards.
    kill(pid_of(&owner.0), Signal::SIGKILL).unwrap();
    let (code, text) = guard.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("{NAME}: home\n")), "{text}");
    lab.is_as_before();
}

#[test]
fn a_process_that_is_gone_is_waited_for_no_more() {
    let lab = Lab::left(Until::Taken);
    let mut gone = sleeper();
    gone.0.kill().unwrap();
    gone.0.wait().unwrap();
    let (code, text) = lab.guard(&format!("watch {}", gone.0.id()));
    assert_eq!(code, 0, "{text}");
    lab.is_as_before();
}

#[test]
fn the_parking_namespace_lives_on_without_its_name() {
    let lab = Lab::new();
    let owner = sleeper();
    // It watches before there is anything, as the plugin starts it.
    let guard = lab.start(&format!("watch {}", owner.0.id()));
    until_it_waits(guard.0.id());
    lab.take(Until::Taken);
    lab.give_to(&owner);
    // Once it has heard of the journal, it holds the namespace.
    let held = || {
        let files = fs::read_dir(format!("/proc/{}/fd", guard.0.id())).unwrap();
        let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("net:[")).count() > 0
    };
    let deadline = Instant::now() + PATIENCE;
    while !held() {
        assert!(Instant::now() < deadline, "it does not hold the namespace");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The veth would go with its namespace now.
    run("ip", &["netns", "del", &lab.parking]);
    kill(pid_of(&owner.0), Signal::SIGKILL).unwrap();
    let (code, text) = guard.end();
    assert_eq!(code, 0, "{text}");
    lab.is_as_before();
}

#[test]
fn numbers_of_no_process_are_refused() {
    let lab = Lab::new();
    assert_eq!(lab.guard("watch 0").0, Outcome::Usage as i32);
}
