//! What is lost is known to be lost, and nothing after it is.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hostnet::engine::mirror::{KernelEvent, KernelLink};
use hostnet::linux::{DumpKind, DumpProgress};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sendto, socket};

use super::{Lab, dump_each, is_readable, wait};
use crate::lab::run;

/// Many commands in one run of the program.
pub(super) fn batch(lines: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    run("ip", &["-batch", &file.path().to_string_lossy()]);
}

pub(super) fn routes(count: u32, end: &str) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let [_, a, b, c] = number.to_be_bytes();
        writeln!(lines, "route add 10.{a}.{b}.{c}/32 {end}").unwrap();
    }
    lines
}

#[test]
fn an_overflow_is_told_when_what_came_before_it_is_and_the_socket_goes_on() {
    let mut lab = Lab::bare(16 * 1024);
    lab.run("link set dev lo up");
    batch(&routes(2000, "dev lo"));
    let mut told = 0;
    let mut reads = 0;
    let mut lost = 0;
    loop {
        let outcome =
            lab.monitor.read(7, &mut |event| told += u32::from(matches!(event, KernelEvent::Route { .. }))).unwrap();
        reads += 1;
        lost += u32::from(outcome.lost);
        assert!(outcome.messages <= 8, "{outcome:?}");
        assert!(!outcome.lost || reads > 1, "what came before the loss is told first");
        if !outcome.more {
            break;
        }
    }
    assert_eq!(lost, 1);
    assert!(told > 2 && told < 2000, "{told}");
    // A dump now, and every change from here on.
    let mut count = 0;
    let mut dump = lab.dump();
    let is_ours = |event: &KernelEvent| matches!(event, KernelEvent::Route { route, .. } if route.table == 254);
    let progress = dump_each(&mut dump, DumpKind::Routes4, &mut |event| count += u32::from(is_ours(&event)));
    assert_eq!((progress, count), (DumpProgress::Done, 2000));
    lab.run("route add 10.200.0.0/16 dev lo");
    wait(lab.monitor.fd());
    let events = lab.hear();
    assert!(matches!(events.as_slice(), [KernelEvent::Route { .. }]), "{events:?}");
}

#[test]
fn messages_that_come_without_a_pause_do_not_hide_a_loss() {
    let mut lab = Lab::bare(16 * 1024);
    lab.run("link set dev lo up");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Threads of a test share its namespace.
        scope.spawn(|| {
            let lines = routes(1000, "dev lo") + &routes(1000, "dev lo").replace("add", "del");
            while !stop.load(Ordering::Relaxed) {
                batch(&lines);
            }
        });
        // One at a time, and slower than they come: the queue is never seen
        // empty.
        let mut lost = 0;
        let deadline = Instant::now() + Duration::from_secs(30);
        while lost < 2 && Instant::now() < deadline {
            wait(lab.monitor.fd());
            let outcome = lab.monitor.read(1, &mut drop).unwrap();
            lost += u32::from(outcome.lost && outcome.more);
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(lost, 2, "it is told without the queue's being seen empty");
    });
}

#[test]
fn only_the_kernel_is_believed() {
    let mut lab = Lab::bare(1 << 20);
    lab.run("link set dev lo up");
    lab.hear();
    // Ours is the only socket of this kind in the namespace that listens.
    let text = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let port = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let port =
        port.filter(|words| words[1] == "0" && words[3] != "00000000").map(|words| words[2].parse::<u32>().unwrap());
    let ports: Vec<u32> = port.collect();
    let [port] = ports.as_slice() else { panic!("{text}") };
    let forger =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute).unwrap();
    // RTM_DELLINK of the loopback device.
    let mut message = vec![32, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 3, 1, 0, 0, 0];
    message.resize(32, 0);
    let address = NetlinkAddr::new(*port, 0);
    sendto(std::os::fd::AsRawFd::as_raw_fd(&forger), &message, &address, MsgFlags::empty()).unwrap();
    wait(lab.monitor.fd());
    assert_eq!(lab.hear(), []);
    lab.run("link set dev lo mtu 1500");
    wait(lab.monitor.fd());
    let events = lab.hear();
    let told = |event: &KernelEvent| matches!(event, KernelEvent::Link(KernelLink { mtu: 1500, .. }));
    assert!(events.iter().any(told), "{events:?}");
}

#[test]
fn the_room_for_messages_is_what_was_asked_for_and_nothing_waits() {
    let mut lab = Lab::bare(4 << 20);
    assert_eq!(lab.monitor.receive_buffer(), 8 << 20);
    lab.hear();
    let outcome = lab.monitor.read(1000, &mut drop).unwrap();
    assert_eq!((outcome.messages, outcome.more, outcome.lost), (0, false, false));
    assert!(!is_readable(lab.monitor.fd(), 0));
}

#[test]
fn a_dump_under_way_is_given_up_for_another() {
    let lab = Lab::bare(8 << 20);
    lab.run("link set dev lo up");
    batch(&routes(5000, "dev lo"));
    let mut dump = lab.dump();
    assert_eq!(dump.read(10, &mut drop).unwrap(), DumpProgress::Done);
    dump.start(DumpKind::Routes4).unwrap();
    let mut count = 0;
    assert_eq!(dump.read(10, &mut |_| count += 1).unwrap(), DumpProgress::More);
    assert!((10..2000).contains(&count), "{count}");
    let mut links = Vec::new();
    let progress = dump_each(&mut dump, DumpKind::Links, &mut |event| links.push(event));
    assert_eq!(progress, DumpProgress::Done);
    assert!(matches!(links.as_slice(), [KernelEvent::Link(link)] if link.name == "lo"), "{links:?}");
}

#[test]
fn a_change_during_a_dump_interrupts_it_where_the_kernel_says_so() {
    let lab = Lab::bare(8 << 20);
    lab.run("link set dev lo up");
    let mut lines = String::new();
    for number in 1..3000 {
        writeln!(lines, "nexthop add id {number} blackhole").unwrap();
    }
    batch(&lines);
    let mut dump = lab.dump();
    dump.start(DumpKind::Nexthops).unwrap();
    assert_eq!(dump.read(10, &mut drop).unwrap(), DumpProgress::More);
    lab.run("nexthop del id 7");
    let end = loop {
        match dump.read(10, &mut drop).unwrap() {
            DumpProgress::More => {}
            end => break end,
        }
    };
    assert_eq!(end, DumpProgress::Interrupted);
    let mut count = 0;
    assert_eq!(dump_each(&mut dump, DumpKind::Nexthops, &mut |_| count += 1), DumpProgress::Done);
    assert_eq!(count, 2998);
}
