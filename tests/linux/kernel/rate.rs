//! How fast everything is read, and what a dump of IPv6 routes is worth.
#![allow(clippy::print_stdout, reason = "figures for whoever asks for them")]

use std::time::{Duration, Instant};

use hostnet::engine::mirror::KernelEvent;
use hostnet::linux::{DumpKind, DumpProgress};
use nix::time::{ClockId, clock_gettime};

use super::loss::{batch, routes};
use super::{Lab, dump_each};

/// Processor time of this thread: others' work does not count.
fn worked() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap())
}

/// Everything is told, at whatever rate. The figures say something of a release
/// build, an idle machine and more routes (`HOSTNET_RATE_ROUTES`) only.
#[test]
fn rate_of_dumps_and_events() {
    let count = std::env::var("HOSTNET_RATE_ROUTES").map_or(20_000, |text| text.parse().unwrap());
    let mut lab = Lab::bare(1 << 30);
    println!("room for messages: {} bytes", lab.monitor.receive_buffer());
    lab.run("link set dev lo up");
    lab.run("link add dev da type veth peer name pa");
    lab.run("link set dev pa up");
    lab.run("link set dev da up");
    lab.run("addr add 192.168.0.1/24 dev da");
    lab.hear();
    batch(&routes(count, "via 192.168.0.2"));
    let is_ours = |event: &KernelEvent| matches!(event, KernelEvent::Route { route, .. } if route.hops.iter().any(|hop| hop.gateway.is_some()));
    let start = Instant::now();
    let mut told = 0;
    while lab.monitor.read(1000, &mut |event| told += u32::from(is_ours(&event))).unwrap().more {}
    let took = start.elapsed();
    println!("events: {told} in {took:?}: {:.2} M/s", f64::from(told) / took.as_secs_f64() / 1e6);
    assert_eq!(told, count);
    let mut dump = lab.dump();
    for _ in 0..5 {
        let (start, work) = (Instant::now(), worked());
        let mut told = 0;
        let progress = dump_each(&mut dump, DumpKind::Routes4, &mut |event| {
            std::hint::black_box(&event);
            told += 1;
        });
        let took = start.elapsed();
        let work = worked().saturating_sub(work);
        println!(
            "dump: {told} in {took:?}: {:.2} M/s; this thread's own time {work:?}: {:.2} M/s",
            f64::from(told) / took.as_secs_f64() / 1e6,
            f64::from(told) / work.as_secs_f64() / 1e6
        );
        assert_eq!(progress, DumpProgress::Done);
        assert!(told >= count);
    }
}

/// The kernel's own weakness, which the room's words tell of: nothing rests on
/// its being there.
#[test]
fn rate_of_prefixes_that_an_ipv6_dump_leaves_out() {
    const COUNT: u32 = 6000;
    let lab = Lab::bare(8 << 20);
    lab.run("link set dev lo up");
    let lines: Vec<String> = (0..COUNT).map(|number| format!("route add fd10:{number:x}::/32 dev lo")).collect();
    batch(&lines.join("\n"));
    let mut dump = lab.dump();
    dump.start(DumpKind::Routes6).unwrap();
    let mut told = std::collections::BTreeSet::new();
    let mut sink = |event| {
        if let KernelEvent::Route { route, .. } = event {
            told.insert(route.prefix.to_string());
        }
    };
    assert_eq!(dump.read(1000, &mut sink).unwrap(), DumpProgress::More);
    let gone: Vec<String> = (0..500).map(|number| format!("route del fd10:{number:x}::/32")).collect();
    batch(&gone.join("\n"));
    lab.run("-6 route add fd20::/32 dev lo");
    let end = loop {
        match dump.read(1000, &mut sink).unwrap() {
            DumpProgress::More => {}
            end => break end,
        }
    };
    let missing = (500..COUNT).filter(|number| !told.contains(&format!("fd10:{number:x}::/32"))).count();
    assert!(missing <= gone.len(), "{missing}");
    println!("{end:?}: {missing} prefixes that were there all the time were not told of");
}
