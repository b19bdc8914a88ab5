//! Issue "mirror", 3: a full table, as the Internet has it, is there, comes,
//! changes, flaps and goes; each time both sides are the same in the end.
//!
//! `HOSTNET_TABLE` is how many routes it has (a million for the whole), a
//! seventh of them IPv6; `HOSTNET_FLAP_SECONDS` how long a peer flaps at least.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::say;
use hostnet_lab::daemons::Bird;
use hostnet_lab::machine::{Machine, MachineOptions};
use hostnet_lab::reference::MAIN;
use hostnet_lab::rtnl::{self, Plain, Rtnl, Write};
use hostnet_lab::session::Session;
use hostnet_lab::table::{self, FullTable};
use hostnet_lab::time::{millis, secs, until};
use hostnet_lab::topology::addr;
use hostnet_lab::traffic::ping;
use libtest_mimic::Trial;
use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::mirror_support::{Watched, machine};
use crate::takeover_support::{take, takeover};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        takeover("n03_a_table_too_large_is_refused_and_vpp_lives", small, too_large),
        takeover("n03_a_table_comes_changes_and_goes", || large("receive-buffer 268435456"), full),
        takeover("n03_a_table_flaps_through_a_small_buffer", || large("receive-buffer 65536"), full),
        takeover("n03_with_room_no_slice_is_long", roomy, short_slices),
        takeover("n03_a_table_is_in_the_kernel_at_enable", || large(""), at_enable),
        takeover("n03_a_table_comes_from_bird_while_traffic_flows", || large(""), from_bird),
        takeover("n03_two_workers_forward_while_a_table_changes", with_workers, under_workers),
    ]
}

const PROTOCOL: u8 = 186;

/// How many routes.
fn size() -> usize {
    std::env::var("HOSTNET_TABLE").ok().and_then(|text| text.parse().ok()).unwrap_or(50_000)
}

/// How long a peer flaps at least, which is three times at least.
fn flap_seconds() -> u64 {
    std::env::var("HOSTNET_FLAP_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn table() -> FullTable {
    FullTable::new(size() - size() / 7, size() / 7, 1)
}

/// With room for the table.
fn large(mirror: &str) -> MachineOptions {
    let mut options = MachineOptions { stanza: format!("mirror {{ {mirror} }}"), ..machine() };
    let (heap, stats) = if size() > 200_000 { ("4G", "1G") } else { ("1G", "256M") };
    options.vpp.heap = Some(heap.to_owned());
    options.vpp.stats = Some(stats.to_owned());
    options
}

/// As many as make each of VPP's tables grow by far more than a slice takes, were
/// they not as large from the start.
fn many() -> usize {
    size().max(400_000)
}

fn roomy() -> MachineOptions {
    let mut options = large("");
    options.vpp.extra.push_str(&table::room(many()));
    options.vpp.heap = Some("4G".to_owned());
    options.vpp.stats = Some("1G".to_owned());
    options
}

fn with_workers() -> MachineOptions {
    let mut options = large("");
    options.vpp.workers = 2;
    options
}

fn small() -> MachineOptions {
    let mut options = large("audit-interval 0");
    options.vpp.heap = Some("160M".to_owned());
    options.vpp.stats = Some("8M".to_owned());
    options
}

/// The table's routes through the host's NIC.
struct Host {
    socket: Rtnl,
    eth0: u32,
}

impl Host {
    fn open(machine: &Machine) -> Result<Self> {
        Ok(Self { socket: Rtnl::open(&machine.host)?, eth0: rtnl::index(&machine.host, "eth0")? })
    }

    fn write(&mut self, what: Write, routes: impl IntoIterator<Item = Plain>) -> Result<()> {
        self.socket.write(what, (self.eth0, MAIN, PROTOCOL, 20), routes).map(drop)
    }
}

fn settled(watched: &Watched<'_>, what: &str, begun: Instant, count: usize) -> Result<()> {
    until(&format!("{what}: both sides are the same"), secs(180), || {
        let view = watched.mirror()?;
        let of = |family: &str| view["routes"]["in_vpp"][family].as_u64().unwrap_or_default();
        let there = usize::try_from(of("ipv4") + of("ipv6"))?;
        ensure!(view["settled"] == true && there >= count, "{view:#}");
        Ok(Some(()))
    })?;
    say(&format!("        {what}: {:.2} s", begun.elapsed().as_secs_f64()));
    watched.exact().with_context(|| what.to_owned())
}

/// All that the table had is gone from VPP.
fn withdrawn(watched: &Watched<'_>, begun: Instant) -> Result<()> {
    until("all are withdrawn", secs(180), || {
        let left = watched.count("/routes/in_vpp/ipv4")? + watched.count("/routes/in_vpp/ipv6")?;
        ensure!(left < 10, "{left} are left");
        Ok(Some(()))
    })?;
    settled(watched, "all are withdrawn", begun, 0)
}

fn full(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let table = table();
    let session = Session::start(&machine.host, &machine.peer, addr::PEER4)?;
    let mut host = Host::open(machine)?;
    let begun = Instant::now();
    host.write(Write::Add, table.routes(0))?;
    say(&format!("        written: {:.2} s", begun.elapsed().as_secs_f64()));
    settled(&watched, "all come", begun, table.len())?;
    let begun = Instant::now();
    host.write(Write::Replace, table.routes(1))?;
    settled(&watched, "the next hop of all changes", begun, table.len())?;
    // A peer that flaps: the last word counts.
    let begun = Instant::now();
    let least = secs(flap_seconds());
    for round in 1.. {
        host.write(Write::Delete, table.routes(round))?;
        host.write(Write::Add, table.routes(round + 1))?;
        if round >= 3 && begun.elapsed() >= least {
            break;
        }
    }
    settled(&watched, "a peer flaps", begun, table.len())?;
    // Nobody hears it: the kernel is read anew.
    let vpp = machine.vpp()?;
    vpp.signal(Signal::SIGSTOP)?;
    let written = host.write(Write::Replace, table.routes(9));
    vpp.signal(Signal::SIGCONT)?;
    written?;
    let begun = Instant::now();
    until("it is read", secs(180), || {
        watched.exact()?;
        Ok(Some(()))
    })?;
    settled(&watched, "after silence", begun, table.len())?;
    watched.audit()?;
    session.flows()?;
    let begun = Instant::now();
    host.write(Write::Delete, table.routes(9))?;
    withdrawn(&watched, begun)?;
    session.finish().map(drop)
}

/// Issue "mirror": no gap over 5 ms in VPP's main loop. A slice is longer, even in
/// the thread's processor time, when the processor itself is lent to another
/// machine: at random. What VPP's tables take when they grow they take each time.
fn short_slices(machine: &Machine) -> Result<()> {
    let mut longest = longest_slice(machine, &Watched::begin(machine)?)?;
    for _ in 0..4 {
        if longest < LONG {
            break;
        }
        machine.vpp()?.stop()?;
        let shown = take(&*machine.start()?, "eth0", "")?;
        longest = longest_slice(machine, &Watched::taken(machine, &shown)?)?;
    }
    ensure!(longest < LONG, "five times a slice took VPP's main thread more than {LONG} us, at last {longest} us");
    Ok(())
}

/// Microseconds.
const LONG: u64 = 5000;

/// Of a large table that comes, changes and goes, in microseconds of the main
/// thread's processor time.
fn longest_slice(machine: &Machine, watched: &Watched<'_>) -> Result<u64> {
    let table = FullTable::new(many() - many() / 7, many() / 7, 1);
    let mut host = Host::open(machine)?;
    let begun = Instant::now();
    host.write(Write::Add, table.routes(0))?;
    settled(watched, "all come", begun, table.len())?;
    let begun = Instant::now();
    host.write(Write::Replace, table.routes(1))?;
    settled(watched, "the next hop of all changes", begun, table.len())?;
    let begun = Instant::now();
    host.write(Write::Delete, table.routes(1))?;
    withdrawn(watched, begun)?;
    let longest = watched.count("/longest_slice_cpu_us")?;
    say(&format!("        the longest slice: {longest} us"));
    Ok(longest)
}

/// The host has it before VPP takes the NIC, and keeps it when it gets that
/// back.
fn at_enable(machine: &Machine) -> Result<()> {
    machine.host.ip("link set eth0 up\naddr add 192.0.2.10/24 dev eth0\naddr add 2001:db8:1::10/64 dev eth0 nodad")?;
    let table = table();
    Host::open(machine)?.write(Write::Add, table.routes(0))?;
    let vpp = machine.vpp()?;
    let begun = Instant::now();
    let command = crate::takeover_support::uplink_command("eth0", "");
    let said = vpp.session()?.run_within(&command, secs(120))?;
    say(&format!("        taken: {:.2} s", begun.elapsed().as_secs_f64()));
    let shown = crate::takeover_support::taken(&vpp, "eth0")?.with_context(|| said)?;
    let watched = Watched::taken(machine, &shown)?;
    settled(&watched, "all are there", begun, table.len())?;
    watched.audit()
}

/// BIRD's configuration with the table, each next hop `shift` places on.
fn bird(table: &FullTable, shift: Option<usize>) -> String {
    let mut text = String::from(
        "router id 192.0.2.10;\n\
         protocol kernel k4 { ipv4 { import none; export all; }; }\n\
         protocol kernel k6 { ipv6 { import none; export all; }; }\n",
    );
    for is_ip4 in [true, false] {
        let channel = if is_ip4 { "ipv4" } else { "ipv6" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "protocol static s_{channel} {{ {channel};");
        for route in
            shift.into_iter().flat_map(|shift| table.routes(shift)).filter(|route| route.addr.is_ipv4() == is_ip4)
        {
            let _ = writeln!(text, "route {}/{} via {};", route.addr, route.len, route.gateway);
        }
        text += "}\n";
    }
    text
}

/// A daemon on the host brings it, changes it, takes it back.
fn from_bird(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let table = table();
    let session = Session::start(&machine.host, &machine.peer, addr::PEER4)?;
    let daemon = Bird::start(&machine.host, &machine.dir().join("bird"), &bird(&table, None))?;
    for (what, shift) in [("BIRD brings all", 0), ("BIRD changes the next hop of all", 3)] {
        let begun = Instant::now();
        daemon.configure(&bird(&table, Some(shift)))?;
        // BIRD writes to the kernel for a while, also after it has answered.
        until(what, secs(180), || {
            let there = watched.expected_large()?;
            ensure!(there.len() >= table.len(), "the kernel has {} of {}", there.len(), table.len());
            watched.exact()?;
            Ok(Some(()))
        })?;
        settled(&watched, what, begun, table.len())?;
    }
    for _ in 0..2 {
        for protocol in ["s_ipv4", "s_ipv6"] {
            daemon.ctl(&format!("restart {protocol}"))?;
        }
    }
    let begun = Instant::now();
    daemon.configure(&bird(&table, None))?;
    withdrawn(&watched, begun)?;
    session.flows()?;
    session.finish()?;
    daemon.stop()
}

/// Datagrams that go at once.
const BURST: usize = 32;

/// Datagrams to addresses of the table from the peer, until told to stop.
fn shower(machine: &Machine, to: &[IpAddr], stop: &AtomicBool, sent: &AtomicU64) -> Result<()> {
    let open = |any: &str| machine.peer.within(|| Ok(UdpSocket::bind(any)?));
    let (ip4, ip6) = (open("0.0.0.0:0")?, open("[::]:0")?);
    while !stop.load(Ordering::Relaxed) {
        for (number, addr) in to.iter().enumerate() {
            if number.is_multiple_of(BURST) {
                // The pace of the stream, not a wait for something.
                std::thread::sleep(millis(1));
            }
            let socket = if addr.is_ipv4() { &ip4 } else { &ip6 };
            match socket.send_to(&[0; 64], SocketAddr::new(*addr, 9)) {
                Ok(_) => sent.fetch_add(1, Ordering::Relaxed),
                // The wire is full, or VPP has told that it has no route now.
                Err(error)
                    if [Errno::ENOBUFS, Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::ECONNREFUSED]
                        .contains(&Errno::from_raw(error.raw_os_error().unwrap_or_default())) =>
                {
                    0
                }
                Err(error) => return Err(error).context("a datagram"),
            };
        }
    }
    Ok(())
}

/// Packets go through the prefixes that come, change and go, and through
/// neighbours that come and go.
fn under_workers(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    // Three rounds, and workers that share this machine's processors.
    let size = size() / 10;
    let table = FullTable::new(size - size / 7, size / 7, 1);
    machine.peer.ip(&format!("route add default via {}\nroute add default via {}", addr::HOST4, addr::HOST6))?;
    let to: Vec<IpAddr> = table.routes(0).map(|route| route.addr).collect();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| shower(machine, &to, &stop, &sent));
        let changed = changes(machine, &watched, &table);
        stop.store(true, Ordering::Relaxed);
        let rained = sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?;
        changed.and(rained)
    })?;
    let packets = sent.load(Ordering::Relaxed);
    let interface = machine.vpp()?.ctl(&format!("show interface {}", watched.name))?;
    let forwarded = interface
        .lines()
        .find_map(|line| line.split("tx packets").nth(1))
        .and_then(|count| count.trim().parse::<u64>().ok())
        .with_context(|| interface.clone())?;
    say(&format!("        {packets} datagrams in, {forwarded} packets out"));
    ensure!(forwarded > packets / 10, "of {packets} datagrams VPP sent {forwarded}: {interface}");
    watched.audit()
}

fn changes(machine: &Machine, watched: &Watched<'_>, table: &FullTable) -> Result<()> {
    let mut host = Host::open(machine)?;
    let mac = machine.peer.output("cat", &["/sys/class/net/eth0/address"])?;
    let mut gateways: Vec<IpAddr> = table.routes(0).map(|route| route.gateway).collect();
    gateways.sort_unstable();
    gateways.dedup();
    let neighbours = |verb: &str| -> String {
        let line = |gateway: &IpAddr| format!("neigh {verb} {gateway} lladdr {} dev eth0 nud permanent\n", mac.trim());
        gateways.iter().map(line).collect()
    };
    for round in 0..3 {
        let begun = Instant::now();
        machine.host.ip(&neighbours("replace"))?;
        host.write(Write::Add, table.routes(round))?;
        settled(watched, "all come", begun, table.len())?;
        let begun = Instant::now();
        host.write(Write::Replace, table.routes(round + 1))?;
        machine.host.ip(&neighbours("del"))?;
        settled(watched, "all change, their neighbours go", begun, table.len())?;
        let begun = Instant::now();
        machine.host.ip(&neighbours("replace"))?;
        host.write(Write::Delete, table.routes(round + 1))?;
        machine.host.ip(&neighbours("del"))?;
        withdrawn(watched, begun)?;
    }
    machine.vpp()?.alive()
}

fn too_large(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let table = FullTable::new(400_000, 100_000, 2);
    let mut host = Host::open(machine)?;
    host.write(Write::Add, table.routes(0))?;
    let refused = |view: &serde_json::Value| -> u64 {
        view["routes"]["refused"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
    };
    let vpp = machine.vpp()?;
    let view = until("VPP refuses and says so", secs(60), || {
        vpp.alive()?;
        let view = watched.mirror()?;
        ensure!(refused(&view) > 0 && view["routes"]["waiting"] == 0, "{view:#}");
        Ok(Some(view))
    })?;
    let said = vpp.ctl("show hostnet mirror")?;
    ensure!(said.contains("startup.conf"), "what to raise is not said: {said}");
    ensure!(view["routes"]["in_vpp"]["ipv4"].as_u64() > Some(10_000), "{view:#}");
    // The first may be lost to address resolution.
    until("VPP forwards", secs(5), || ping(&machine.host, addr::PEER4).map(Some))?;
    // Most of it goes: the rest fits after an audit.
    host.write(Write::Delete, table.routes(0).skip(20_000))?;
    until("the deleted are gone", secs(60), || Ok((watched.mirror()?["routes"]["waiting"] == 0).then_some(())))?;
    let said = vpp.session()?.run_within(&format!("hostnet audit {}", watched.name), secs(60))?;
    until("what is left fits", secs(60), || {
        let view = watched.mirror()?;
        ensure!(refused(&view) == 0, "{said}: {view:#}");
        watched.exact()?;
        Ok(Some(()))
    })?;
    vpp.alive()
}
