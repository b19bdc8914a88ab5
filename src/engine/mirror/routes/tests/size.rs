//! How much memory, and how fast.

use std::time::Instant;

use super::*;

/// Route number `n` of a table as full as the Internet's: four of five are of
/// IPv4, by 300 next hops. What lengths they have makes no difference here.
fn full(n: u32) -> KernelRoute {
    let scrambled = n.wrapping_mul(0x9E37_79B1);
    let gateway = 1 + (scrambled >> 8) % 300;
    let (addr, len): (IpAddr, u8) = if n % 5 == 4 {
        let bits = 0x2000_u128 << 112 | u128::from(n) << 64;
        (IpAddr::V6(bits.into()), if scrambled >> 31 == 0 { 64 } else { 72 })
    } else {
        (IpAddr::V4((n << 8).into()), if scrambled >> 30 == 0 { 25 } else { 24 })
    };
    let gateway: IpAddr = match addr {
        IpAddr::V4(_) => IpAddr::V4((10 << 24 | gateway).into()),
        IpAddr::V6(_) => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::try_from(gateway).unwrap()]),
    };
    let hop = KernelHop { index: OURS, gateway: Some(gateway), weight: 1, onlink: false, encap: false };
    let prefix = Prefix::containing(addr, len).unwrap();
    KernelRoute { protocol: 186, metric: 20, prefix, ..route("0.0.0.0/0", 20, &[hop]) }
}

/// Have VPP take everything, four batches under way as at work; the number of
/// routes sent.
fn drain(mirror: &mut RouteMirror, number: &mut u64, window: usize) -> usize {
    let mut sent = 0;
    let mut under_way = std::collections::VecDeque::new();
    loop {
        let mut batch = Batch { number: *number, ..Batch::default() };
        *number += 1;
        let any = mirror.fill(&mut batch, 2048);
        if any {
            sent += batch.routes.len();
            under_way.push_back(batch.number);
        }
        if under_way.len() >= window || !any {
            let Some(number) = under_way.pop_front() else { return sent };
            mirror.done(&BatchDone { number, ..BatchDone::default() });
        }
    }
}

fn load(count: u32) -> (RouteMirror, u64) {
    let mut mirror = RouteMirror::new(UplinkId(1), OURS, false);
    let mut number = 1;
    mirror.resync_begin(Families::ALL);
    for n in 0..count {
        let route = full(n);
        mirror.event(&KernelEvent::Route { route, replaces: false, appended: false });
        if n % 2048 == 0 {
            drain(&mut mirror, &mut number, 4);
        }
    }
    mirror.resync_end(Families::ALL);
    drain(&mut mirror, &mut number, 4);
    (mirror, number)
}

#[test]
fn a_full_table_takes_less_than_120_bytes_a_route() {
    // Just over and just under a power of two of the index, and a million.
    for count in [1_000_000, 1_180_000] {
        let (mirror, _) = load(count);
        let view = mirror.view();
        assert_eq!(view.in_vpp.ipv4 + view.in_vpp.ipv6, u64::from(count));
        let each = view.memory_bytes / u64::from(count);
        assert!(each < 120, "{each} bytes a route: {view:?}");
    }
}

/// `cargo test --release --no-default-features --lib size -- --ignored
/// --nocapture`: rates on this machine.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "it prints figures")]
fn rates() {
    let rss = || -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let count = 1_000_000;
    let say = |what: &str, start: Instant| {
        let took = start.elapsed();
        println!("{what}: {took:?}, {:.2} million routes/s", f64::from(count) / took.as_secs_f64() / 1e6);
    };
    let events: Vec<KernelEvent> =
        (0..count).map(|n| KernelEvent::Route { route: full(n), replaces: false, appended: false }).collect();
    let mut changed = events.clone();
    for event in &mut changed {
        if let KernelEvent::Route { route, replaces, .. } = event {
            *replaces = true;
            route.hops[0].gateway = Some(if route.prefix.is_ipv4() { [10, 9, 9, 9].into() } else { [9; 8].into() });
        }
    }
    let before = rss();
    let mut mirror = RouteMirror::new(UplinkId(1), OURS, false);
    let mut number = 1;
    let mut feed = |mirror: &mut RouteMirror, events: &[KernelEvent]| {
        let mut sent = 0;
        for chunk in events.chunks(2048) {
            for event in chunk {
                mirror.event(event);
            }
            sent += drain(mirror, &mut number, 4);
        }
        sent
    };
    mirror.resync_begin(Families::ALL);
    let start = Instant::now();
    assert_eq!(feed(&mut mirror, &events), events.len());
    say("event + fill + done, new", start);
    mirror.resync_end(Families::ALL);
    let bytes = mirror.view().memory_bytes;
    let each = |bytes: u64| bytes as f64 / f64::from(count);
    println!("memory: {:.1} bytes a route counted, {:.1} by RSS", each(bytes), each(rss() - before));
    mirror.resync_begin(Families::ALL);
    let start = Instant::now();
    assert_eq!(feed(&mut mirror, &events), 0);
    say("a second dump", start);
    let start = Instant::now();
    mirror.resync_end(Families::ALL);
    say("its sweep", start);
    let start = Instant::now();
    assert_eq!(feed(&mut mirror, &changed), events.len());
    say("replaced", start);
    let start = Instant::now();
    mirror.withdraw();
    println!("withdraw: {:?} before the first batch", start.elapsed());
    assert_eq!(drain(&mut mirror, &mut number, 4), events.len());
    say("withdraw", start);
}
