//! How fast VPP has the kernel's routes, beside how fast it takes routes at all.
//!
//!     make bench                       three runs of a million routes
//!     HOSTNET_BENCH_ROUTES=100000 HOSTNET_BENCH_RUNS=1 make bench
//!
//! Each run has VPPs of its own, in one table all that is compared:
//!
//! - VPP alone: `ip route add ... count N` at its command line, the limit; and
//!   a thousand at a time, for the longest that it takes in one go;
//! - import: the kernel has N routes that VPP has not, and is read;
//! - live: N routes arrive one by one, and go again;
//! - the longest time that VPP's main thread did not look at packets, by pings
//!   that pass it every two milliseconds, and by hostnet's own clocks, also where
//!   VPP was given room for all at its start;
//! - memory for each route.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::say;
use hostnet_lab::machine::{Machine, MachineOptions};
use hostnet_lab::process::Process;
use hostnet_lab::reference::MAIN;
use hostnet_lab::rtnl::{self, Plain, Rtnl, Write};
use hostnet_lab::table::{self, FullTable};
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::addr;
use hostnet_lab::vpp::Vpp;
use nix::sys::signal::Signal;
use serde_json::Value;

const PROTOCOL: u8 = 186;
/// The kernel's own routes to the link of the taken NIC, one each family, which
/// VPP has too.
const OWN: usize = 2;
/// Routes in one command.
const PIECE: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(600);

fn main() -> Result<()> {
    hostnet_lab::cleanup::guard()?;
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (routes, runs) = (number("HOSTNET_BENCH_ROUTES", 1_000_000), number("HOSTNET_BENCH_RUNS", 3));
    say(&format!("{routes} routes, {runs} runs; medians below"));
    let mut all = Vec::new();
    for run in 0..runs.max(1) {
        let run_figures = Figures::of(routes)?;
        say(&format!("run {}: {run_figures:?}", run + 1));
        all.push(run_figures);
    }
    tell(routes, &all);
    hostnet_lab::cleanup::settle_all();
    Ok(())
}

/// Of one run. Times in seconds, memory in bytes for each route, gaps in
/// milliseconds.
#[derive(Clone, Debug, Default)]
struct Figures {
    alone_add: f64,
    alone_busy: f64,
    alone_longest: f64,
    alone_delete: f64,
    alone_memory: f64,
    import: f64,
    import_busy: f64,
    import_full: f64,
    live: f64,
    live_lag: f64,
    kernel: f64,
    withdraw: f64,
    memory: f64,
    mirror_memory: f64,
    gap_idle: f64,
    gap_import: f64,
    gap_live: f64,
    slice: f64,
    slice_cpu: f64,
    slice_with_room: f64,
}

impl Figures {
    fn of(routes: usize) -> Result<Self> {
        let mut figures = Self::default();
        figures.alone(routes)?;
        figures.alone_in_pieces(routes)?;
        figures.import(routes)?;
        figures.with_room(routes)?;
        figures.live(routes)?;
        Ok(figures)
    }

    /// VPP's own rate: one command for all.
    fn alone(&mut self, routes: usize) -> Result<()> {
        let (machine, name) = begin("")?;
        let vpp = machine.vpp()?;
        let before = memory(&vpp)?;
        let mut session = vpp.session()?;
        let mut run = |verb: &str| -> Result<f64> {
            let begun = Instant::now();
            let command = format!("ip route {verb} 20.0.0.0/24 count {routes} via {} {name}", addr::PEER4);
            let said = session.run_within(&command, PATIENCE)?;
            let took = begun.elapsed().as_secs_f64();
            ensure!(!said.contains("error") && !said.contains("unknown"), "'{command}' said: {said}");
            Ok(took)
        };
        let busy = main_thread(&vpp)?;
        self.alone_add = run("add")?;
        self.alone_busy = main_thread(&vpp)? - busy;
        self.alone_memory = per_route(memory(&vpp)? - before, routes);
        self.alone_delete = run("del")?;
        Ok(())
    }

    /// What grows in VPP, it lets grow within one addition.
    fn alone_in_pieces(&mut self, routes: usize) -> Result<()> {
        let (machine, name) = begin("")?;
        let mut session = machine.vpp()?.session()?;
        for route in dense(routes).step_by(PIECE) {
            let begun = Instant::now();
            let command = format!("ip route add {}/24 count {PIECE} via {} {name}", route.addr, addr::PEER4);
            session.run_within(&command, PATIENCE)?;
            self.alone_longest = self.alone_longest.max(begun.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(())
    }

    fn note_slices(&mut self, view: &Value) {
        let ms = |field: &str| view[field].as_u64().unwrap_or_default() as f64 / 1000.0;
        self.slice = self.slice.max(ms("longest_slice_us"));
        self.slice_cpu = self.slice_cpu.max(ms("longest_slice_cpu_us"));
    }

    /// The kernel has them when VPP begins to read.
    fn import(&mut self, routes: usize) -> Result<()> {
        // Too small for any of them: the kernel's table is what is read.
        let (machine, _) = begin("receive-buffer 4096")?;
        let vpp = machine.vpp()?;
        let before = memory(&vpp)?;
        let mut socket = Rtnl::open(&machine.host)?;
        let place = (rtnl::index(&machine.host, "eth0")?, MAIN, PROTOCOL, 20);
        vpp.signal(Signal::SIGSTOP)?;
        let written = socket.write(Write::Add, place, dense(routes));
        let busy = main_thread(&vpp)?;
        vpp.signal(Signal::SIGCONT)?;
        written?;
        let begun = Instant::now();
        await_routes(&vpp, routes)?;
        self.import = begun.elapsed().as_secs_f64();
        self.import_busy = main_thread(&vpp)? - busy;
        self.memory = per_route(memory(&vpp)? - before, routes);
        let view = mirror(&vpp)?;
        let own = view["routes"]["memory_bytes"].as_u64().context("no memory_bytes")?;
        self.mirror_memory = per_route(i64::try_from(own)?, routes);
        self.note_slices(&view);

        // All of it another table: the Internet's prefixes, hundreds of next hops.
        socket.write(Write::Delete, place, dense(routes))?;
        await_routes(&vpp, 0)?;
        let full = FullTable::new(routes * 17 / 20, routes * 3 / 20, 1);
        vpp.signal(Signal::SIGSTOP)?;
        let written = socket.write(Write::Add, place, full.routes(0));
        vpp.signal(Signal::SIGCONT)?;
        written?;
        let begun = Instant::now();
        await_routes(&vpp, full.len())?;
        self.import_full = begun.elapsed().as_secs_f64();
        let gap = Gap::begin(&machine)?;
        // Read once more while pings pass: the same routes by other next hops.
        socket.write(Write::Replace, place, full.routes(1))?;
        await_routes(&vpp, full.len())?;
        self.gap_import = gap.finish()?;
        Ok(())
    }

    /// VPP has room for all from its start: none of its tables grows within an
    /// addition that could be made large before.
    fn with_room(&mut self, routes: usize) -> Result<()> {
        let (machine, _) = begin_with("receive-buffer 4096", &table::room(routes))?;
        let vpp = machine.vpp()?;
        let mut socket = Rtnl::open(&machine.host)?;
        let place = (rtnl::index(&machine.host, "eth0")?, MAIN, PROTOCOL, 20);
        let full = FullTable::new(routes * 17 / 20, routes * 3 / 20, 1);
        vpp.signal(Signal::SIGSTOP)?;
        let written = socket.write(Write::Add, place, full.routes(0));
        vpp.signal(Signal::SIGCONT)?;
        written?;
        await_routes(&vpp, full.len())?;
        let slice = mirror(&vpp)?["longest_slice_cpu_us"].as_u64().context("no longest_slice_cpu_us")?;
        self.slice_with_room = slice as f64 / 1000.0;
        Ok(())
    }

    /// They arrive one by one, and go.
    fn live(&mut self, routes: usize) -> Result<()> {
        let (machine, _) = begin("")?;
        let vpp = machine.vpp()?;
        machine.host.ip("link add other type veth peer name other-end
             link set other up
             link set other-end up
             addr add 203.0.113.1/24 dev other")?;
        let mut socket = Rtnl::open(&machine.host)?;
        // What the machine does to a ping while the kernel is busy, and VPP not.
        let elsewhere = (rtnl::index(&machine.host, "other")?, MAIN, PROTOCOL, 20);
        let by_other = || dense(routes).map(|route| Plain { gateway: Ipv4Addr::new(203, 0, 113, 2).into(), ..route });
        let gap = Gap::begin(&machine)?;
        socket.write(Write::Add, elsewhere, by_other())?;
        await_routes(&vpp, 0)?;
        self.gap_idle = gap.finish()?;
        socket.write(Write::Delete, elsewhere, by_other())?;
        await_routes(&vpp, 0)?;

        let place = (rtnl::index(&machine.host, "eth0")?, MAIN, PROTOCOL, 20);
        let gap = Gap::begin(&machine)?;
        let begun = Instant::now();
        socket.write(Write::Add, place, dense(routes))?;
        self.kernel = begun.elapsed().as_secs_f64();
        let last = Instant::now();
        await_routes(&vpp, routes)?;
        self.live = begun.elapsed().as_secs_f64();
        self.live_lag = last.elapsed().as_secs_f64();
        self.gap_live = gap.finish()?;
        let begun = Instant::now();
        socket.write(Write::Delete, place, dense(routes))?;
        await_routes(&vpp, 0)?;
        self.withdraw = begun.elapsed().as_secs_f64();
        self.note_slices(&mirror(&vpp)?);
        Ok(())
    }
}

/// A machine whose NIC is taken; VPP's name of the uplink.
fn begin(mirror: &str) -> Result<(Machine, String)> {
    begin_with(mirror, "")
}

fn begin_with(mirror: &str, extra: &str) -> Result<(Machine, String)> {
    let mut options = MachineOptions { bare: true, ..MachineOptions::default() };
    options.stanza = format!("mirror {{ {mirror} }}");
    let plugin = std::env::var_os("HOSTNET_PLUGIN").context("HOSTNET_PLUGIN names no plugin: run 'make bench'")?;
    options.vpp.hostnet = Some(plugin.into());
    options.vpp.extra.push_str(extra);
    // As VPP comes: asleep for a tenth of a millisecond in each round it would take
    // longer for what is done in slices.
    options.vpp.no_sleep = true;
    options.vpp.heap = Some("3G".to_owned());
    options.vpp.stats = Some("1G".to_owned());
    let machine = Machine::new(options)?;
    machine.host.ip("link set eth0 up\naddr add 192.0.2.10/24 dev eth0\naddr add 2001:db8:1::10/64 dev eth0 nodad")?;
    let vpp = machine.vpp()?;
    let said = vpp.ctl("hostnet uplink eth0 tap builtin")?;
    let view: Value = serde_json::from_str(&vpp.ctl("show hostnet json")?)?;
    let name = view["uplinks"][0]["interface"].as_str().with_context(|| said)?.to_owned();
    until("the mirror has begun", secs(10), || Ok((self::mirror(&vpp)?["settled"] == true).then_some(())))?;
    Ok((machine, name))
}

/// Networks of 256 addresses, one behind the other, as VPP's `count` makes them.
fn dense(routes: usize) -> impl Iterator<Item = Plain> {
    let gateway = IpAddr::from(Ipv4Addr::new(192, 0, 2, 20));
    (0..u32::try_from(routes).unwrap_or(u32::MAX)).map(move |n| {
        let addr = Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 0, 0)) + (n << 8));
        Plain { addr: addr.into(), len: 24, gateway }
    })
}

fn mirror(vpp: &Vpp) -> Result<Value> {
    let text = vpp.ctl("show hostnet mirror json")?;
    let view: Value = serde_json::from_str(&text).with_context(|| text)?;
    view.get(0).cloned().context("no mirror")
}

/// Until VPP has so many beside the link's own, and nothing is under way.
fn await_routes(vpp: &Vpp, routes: usize) -> Result<()> {
    until(&format!("VPP has {routes} routes"), PATIENCE, || {
        let view = mirror(vpp)?;
        let of = |which: &str| -> Result<usize> {
            let one = |family: &str| view["routes"][which][family].as_u64().unwrap_or_default();
            Ok(usize::try_from(one("ipv4") + one("ipv6"))?)
        };
        // Addresses of the host's other devices are there too.
        let there = of("in_vpp")?.checked_sub(of("elsewhere")?);
        ensure!(view["settled"] == true && there == Some(routes + OWN), "{view:#}");
        Ok(Some(()))
    })
}

/// Resident memory of VPP, in bytes.
fn memory(vpp: &Vpp) -> Result<i64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", vpp.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<i64>()? * 1024)
}

/// Processor time of VPP's main thread, in seconds: a busy machine does not
/// change it much.
fn main_thread(vpp: &Vpp) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{0}/task/{0}/schedstat", vpp.pid()))?;
    let nanoseconds: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
    Ok(nanoseconds as f64 / 1e9)
}

fn per_route(bytes: i64, routes: usize) -> f64 {
    bytes as f64 / routes as f64
}

/// Pings through VPP's main thread, which has no workers to leave them to.
struct Gap {
    ping: Process,
    out: std::path::PathBuf,
}

impl Gap {
    fn begin(machine: &Machine) -> Result<Self> {
        let out = machine.dir().join("ping.out");
        let file = File::create(&out)?;
        let arguments = ["-n", "-q", "-i", "0.002", addr::HOST4];
        let ping = Process::start(&machine.peer, "ping", &arguments, move |command| {
            command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null());
        })?;
        Ok(Self { ping, out })
    }

    /// The longest that an answer took, in milliseconds.
    fn finish(mut self) -> Result<f64> {
        self.ping.signal(Signal::SIGINT)?;
        self.ping.wait(secs(10))?;
        let said = std::fs::read_to_string(&self.out)?;
        let times = said.lines().find_map(|line| line.strip_prefix("rtt ")).context("no answer")?;
        // min/avg/max/mdev = a/b/c/d ms
        let longest = times.split('=').nth(1).and_then(|text| text.split('/').nth(2)).context("no times")?;
        Ok(longest.trim().parse()?)
    }
}

fn tell(routes: usize, all: &[Figures]) {
    let median = |of: &dyn Fn(&Figures) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let limit = median(&|run| run.alone_add);
    let rate = |what: &str, seconds: f64| {
        let per_second = routes as f64 / seconds;
        say(&format!("{what:48} {seconds:8.2} s {per_second:10.0} routes/s {:6.2} of VPP alone", limit / seconds));
    };
    rate("VPP alone: ip route add ... count", limit);
    rate("import: the kernel's table is read", median(&|run| run.import));
    let (alone, import) = (median(&|run| run.alone_busy), median(&|run| run.import_busy));
    say(&format!(
        "{:48} {alone:8.2} s {import:8.2} s        {:6.2} of VPP alone",
        "  the main thread's processor time",
        alone / import
    ));
    rate("import of an Internet table", median(&|run| run.import_full));
    rate("live: first change of the kernel's to VPP exact", median(&|run| run.live));
    rate("  of which the kernel itself", median(&|run| run.kernel));
    say(&format!("{:48} {:8.3} s", "live: last change of the kernel's to VPP exact", median(&|run| run.live_lag)));
    rate("withdrawal", median(&|run| run.withdraw));
    rate("VPP alone: ip route del ... count", median(&|run| run.alone_delete));
    let size = |what: &str, bytes: f64| say(&format!("{what:48} {bytes:8.0} bytes a route"));
    let (alone, memory) = (median(&|run| run.alone_memory), median(&|run| run.memory));
    size("memory of VPP alone", alone);
    size("memory of VPP with the mirror", memory);
    size("the difference: the mirror", memory - alone);
    size("the mirror by its own count", median(&|run| run.mirror_memory));
    let gap = |what: &str, ms: f64| say(&format!("{what:48} {ms:8.1} ms"));
    gap("longest ping while the kernel alone is busy", median(&|run| run.gap_idle));
    gap("longest ping while routes arrive", median(&|run| run.gap_live));
    gap("longest ping while a table is read", median(&|run| run.gap_import));
    gap(&format!("longest of {PIECE} routes in VPP alone"), median(&|run| run.alone_longest));
    gap("longest slice on VPP's main thread, by the clock", median(&|run| run.slice));
    gap("  the same in its processor time", median(&|run| run.slice_cpu));
    gap("  with room in l3fib { }, its processor time", median(&|run| run.slice_with_room));
}
