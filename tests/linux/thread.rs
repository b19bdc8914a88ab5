//! The helper as a thread: its signals, its namespace, its end.

use std::sync::Arc;

use hostnet::engine::{Command, LinuxStep};
use nix::sys::signal::{SigSet, Signal};

use crate::lab::{Lab, rich_plan};

#[test]
fn signals_are_blocked_on_the_helper_and_not_on_its_maker() {
    let lab = Lab::new();
    let mine = SigSet::thread_get_mask().unwrap();
    assert!(!mine.contains(Signal::SIGTERM) && !mine.contains(Signal::SIGINT));
    // The first answer means that the thread has begun.
    lab.probe(lab.netns(), None);
    let mut seen = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // Helpers of other tests come and go.
        let Ok(status) = std::fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        if field("Name:") != "hostnet-helper" {
            continue;
        }
        seen += 1;
        let blocked = u64::from_str_radix(field("SigBlk:"), 16).unwrap();
        for signal in
            [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGHUP, Signal::SIGALRM, Signal::SIGCHLD]
        {
            assert_ne!(blocked & (1 << (signal as i32 - 1)), 0, "{signal}");
        }
    }
    assert!(seen > 0);
}

#[test]
fn the_thread_is_home_after_every_step() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    // Namespaces and the TAP device both lead the thread away. Were it not
    // home again, the next anonymous namespace would be made elsewhere, and
    // /proc would tell.
    lab.apply_until(&plan, LinuxStep::LinkUp);
    let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let at_home = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "hostnet-helper")
        })
        .filter(|task| std::fs::read_link(task.path().join("ns/net")).is_ok_and(|netns| netns == own))
        .count();
    assert_eq!(at_home, 1);
}

#[test]
fn it_stops_when_told_and_when_the_other_end_is_gone() {
    let mut lab = Lab::new();
    lab.stop_helper();
    lab.start_helper();
    // Dropped without a word: `Lab` joins the thread, which must end.
    drop(lab);
}

#[test]
fn commands_after_the_end_are_refused() {
    let mut lab = Lab::new();
    lab.submit(Command::Stop);
    lab.join();
    let (main, end) = hostnet::bridge::bridge().unwrap();
    drop(end);
    assert!(main.submit(Command::Stop).is_err());
}
