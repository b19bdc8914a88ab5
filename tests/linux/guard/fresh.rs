//! Of what VPP's death takes off the tap, the journal has it as it was last.

use std::time::Instant;

use hostnet::engine::UplinkId;
use hostnet::linux::home::Fresh;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::lab::ip;

const UPLINK: UplinkId = UplinkId(7);

/// What is watched is the process's: one test at a time.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// What the helper thread does, until the journal is as it should be.
#[track_caller]
fn tend_until(fresh: &mut Fresh, what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        fresh.tend();
        if is() {
            return;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        let patience = fresh.patience().unwrap();
        let mut files: Vec<PollFd<'_>> = fresh.files().map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
        poll(&mut files, PollTimeout::try_from(patience).unwrap()).unwrap();
    }
}

fn ip_all(lines: &str) {
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        run("ip", &line.split_whitespace().collect::<Vec<_>>());
    }
}

/// Whether the journal has these bytes of a message.
fn has(lab: &Lab, bytes: &[u8]) -> bool {
    let captured = lab.journal().captured;
    let all = captured.nexthops.iter().chain(&captured.routes).chain(&captured.neighbours);
    all.into_iter().any(|message| message.0.windows(bytes.len()).any(|part| part == bytes))
}

fn lose_carrier(file: OwnedFd) {
    drop(file);
    // The kernel's own worker looks at links that lost their carrier.
    let deadline = Instant::now() + PATIENCE;
    let there = || ip(&["nexthop", "show", "dev", NAME]).iter().any(|object| !object["id"].is_null());
    while there() {
        assert!(Instant::now() < deadline, "the kernel keeps next-hop objects without a carrier");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_goes_with_the_carrier_comes_home_as_it_was_last() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let lab = Lab::new();
    let takeover = Arc::new(lab.takeover());
    let file = lab.take_by(&takeover, Until::Taken).unwrap();
    let mut fresh = Fresh::default();
    assert_eq!((fresh.files().count(), fresh.patience()), (0, None));
    fresh.start(UPLINK, &takeover);
    ip_all(
        "nexthop replace id 5 via 10.77.0.44 dev lab.eth0
         route del 10.14.0.0/16
         nexthop del id 8
         nexthop add id 901 via 10.77.0.45 dev lab.eth0
         nexthop add id 902 via fd77::45 dev lab.eth0
         route add 10.150.0.0/16 nhid 901
         route replace 10.13.0.0/16 nhid 901
         -6 route add fd50::/48 nhid 902",
    );
    // DST of a route, GATEWAY of an object.
    tend_until(&mut fresh, "the new objects are in the journal", || {
        has(&lab, &[8, 0, 6, 0, 10, 77, 0, 44]) && has(&lab, &[8, 0, 1, 0, 10, 150, 0, 0])
    });
    // Of these the kernel tells nobody.
    ip_all(
        "neigh del proxy 10.77.0.30 dev lab.eth0
         neigh add proxy 10.77.0.31 dev lab.eth0
         neigh add proxy fd77::31 dev lab.eth0",
    );
    tend_until(&mut fresh, "the new proxies are in the journal", || {
        has(&lab, &[8, 0, 1, 0, 10, 77, 0, 31]) && !has(&lab, &[8, 0, 1, 0, 10, 77, 0, 30])
    });
    lose_carrier(file);
    fresh.stop(UPLINK);
    lab.orphan();
    lab.restored();
    // The same done to the device itself, back again.
    ip_all(
        "neigh add proxy 10.77.0.30 dev lab.eth0
         neigh del proxy 10.77.0.31 dev lab.eth0
         neigh del proxy fd77::31 dev lab.eth0
         -6 route del fd50::/48
         route replace 10.13.0.0/16 nhid 9
         route del 10.150.0.0/16
         nexthop del id 902
         nexthop del id 901
         nexthop add id 8 via 198.51.100.9 dev lab.eth0 onlink protocol static
         nexthop replace id 9 group 5/8
         route add 10.14.0.0/16 nhid 8
         nexthop replace id 5 via 10.77.0.9 dev lab.eth0",
    );
    lab.is_as_before();
}

#[test]
fn nothing_is_written_without_a_change() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let lab = Lab::new();
    let takeover = Arc::new(lab.takeover());
    let _file = lab.take_by(&takeover, Until::Taken).unwrap();
    let mut fresh = Fresh::default();
    fresh.start(UPLINK, &takeover);
    let written = || {
        let entry = fs::read_dir(lab.path())
            .unwrap()
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().ends_with(".journal"));
        std::os::unix::fs::MetadataExt::ino(&entry.unwrap().metadata().unwrap())
    };
    let before = written();
    // Changes of no concern, and two looks at the proxies.
    let begun = Instant::now();
    run("ip", &["route", "add", "10.151.0.0/16", "via", "10.77.0.1"]);
    tend_until(&mut fresh, "time goes by", || begun.elapsed() > Duration::from_millis(700));
    assert_eq!(written(), before);
    // Another one that looks after it goes on where this one ended.
    drop(fresh);
    let mut fresh = Fresh::resume();
    run("ip", &["nexthop", "add", "id", "903", "via", "10.77.0.46", "dev", NAME]);
    tend_until(&mut fresh, "the new object is in the journal", || has(&lab, &[8, 0, 6, 0, 10, 77, 0, 46]));
    assert_ne!(written(), before);
    fresh.stop(UPLINK);
    assert_eq!((fresh.files().count(), fresh.patience()), (0, None));
    assert_eq!(Fresh::resume().files().count(), 0);
}
