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

/// Whether one of the process's open files is that.
fn holds(pid: u32, file: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    files.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| link.to_string_lossy().contains(file))
}

#[track_caller]
fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn until_it_watches(guard: &Guard) {
    until("it watches", || holds(guard.0.id(), "pidfd"));
}

#[test]
fn what_it_watched_dies_and_everything_comes_home() {
    let lab = Lab::new();
    lab.take(Until::Taken);
    let owner = sleeper();
    lab.give_to(&owner);
    let mut guard = lab.start(&format!("watch {}", owner.0.id()));
    until_it_watches(&guard);
    // What a service's stop sends to all: SIGTERM (15) and SIGHUP (1) wait. The
    // thread that works here has another beside it, so none is sent.
    let tasks = fs::read_dir(format!("/proc/{}/task", guard.0.id())).unwrap().flatten();
    let blocked = tasks.map(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
        u64::from_str_radix(mask, 16).unwrap()
    });
    assert!(blocked.into_iter().any(|mask| mask == 1 << 14 | 1));
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
    until_it_watches(&guard);
    lab.take(Until::Taken);
    lab.give_to(&owner);
    // Once it has heard of the journal, it holds the namespace.
    until("it holds the namespace", || holds(guard.0.id(), &lab.parking));
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
