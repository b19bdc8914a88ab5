//! Issue "mirror", 1: a random walk on both sides. After each burst kernel, VPP
//! and an independent model agree; again after lost messages, and after VPP was
//! killed.
//!
//! `HOSTNET_WALK` is the number of operations (ten thousand for the whole),
//! `HOSTNET_SEED` where the walk begins.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::machine::Machine;
use hostnet_lab::reference::Route;
use hostnet_lab::table::Random;
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::mirror_support::{Watched, machine, machine_with};
use crate::takeover_support::{await_taken, takeover};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        takeover("n01_random_walk_on_both_sides_then_sigkill", machine, walk),
        takeover("n01_random_walk_with_messages_lost", || machine_with("receive-buffer 4096"), lossy),
        takeover(
            "n01_random_walk_with_kernel_only_routes_to_the_host",
            || machine_with("kernel-only to-host"),
            to_host,
        ),
    ]
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Operations of a walk, a tenth of the whole if it is to be short.
fn length() -> u64 {
    number("HOSTNET_WALK", 600)
}

const TABLES: [&str; 4] = ["", "", "table 77", "table 78"];
const METRICS: [&str; 5] = ["", "", "metric 10", "metric 20", "metric 600"];
const PROTOCOLS: [&str; 6] = ["", "", "proto bgp", "proto static", "proto ospf", "proto 118"];
const GATEWAYS4: [&str; 4] = ["192.0.2.20", "192.0.2.21", "192.0.2.22", "192.0.2.1"];
const GATEWAYS6: [&str; 4] = ["2001:db8:1::20", "2001:db8:1::21", "fe80::20", "fe80::21"];
const OTHER4: &str = "203.0.113.254";
const OTHER6: &str = "2001:db8:77::2";
const ADDRESSES: [&str; 10] = [
    "192.0.2.10/24",
    "192.0.2.11/24",
    "192.0.2.77/32",
    "10.200.0.1/24",
    "10.200.0.2/24",
    "10.201.0.1/32",
    "2001:db8:1::10/64",
    "2001:db8:1::11/64",
    "2001:db8:200::1/64",
    "2001:db8:201::1/128",
];
const NEIGHBOURS: [&str; 4] = ["192.0.2.200", "192.0.2.201", "2001:db8:1::200", "2001:db8:1::201"];
const MACS: [&str; 3] = ["02:00:5e:00:00:10", "02:00:5e:00:01:10", "02:00:5e:00:02:10"];
const MTUS: [&str; 3] = ["1450", "1400", "1300"];

/// One operation of a side, by its command.
#[derive(Debug)]
enum Op {
    Linux(String),
    Vpp(String),
}

/// Makes operations.
struct Walk {
    random: Random,
    uplink: String,
}

impl Walk {
    fn one(&mut self, of: &[&'static str]) -> &'static str {
        self.random.pick(of).copied().unwrap_or_default()
    }

    fn prefix(&mut self, is_ip6: bool) -> String {
        let (a, b, c) = (1 + self.random.below(5), 1 + self.random.below(3), 1 + self.random.below(2));
        match (is_ip6, self.random.below(10)) {
            (false, 0) => "0.0.0.0/0".to_owned(),
            (false, 1..=4) => format!("10.{a}.0.0/16"),
            (false, 5..=8) => format!("10.{a}.{b}.0/24"),
            (false, _) => format!("10.{a}.{b}.{c}/32"),
            (true, 0) => "::/0".to_owned(),
            (true, 1..=4) => format!("2001:db8:a{a}::/48"),
            (true, 5..=8) => format!("2001:db8:a{a}:{b}::/64"),
            (true, _) => format!("2001:db8:a{a}:{b}::{c}/128"),
        }
    }

    fn gateway(&mut self, is_ip6: bool) -> &'static str {
        self.one(if is_ip6 { &GATEWAYS6 } else { &GATEWAYS4 })
    }

    /// Where a route leads.
    fn hops(&mut self, is_ip6: bool) -> String {
        let gateway = self.gateway(is_ip6);
        let other = if is_ip6 { OTHER6 } else { OTHER4 };
        match self.random.below(20) {
            0..=7 => format!("via {gateway} dev eth0"),
            8 => "dev eth0".to_owned(),
            9 if is_ip6 => "via 2001:db8:ffff::9 dev eth0 onlink".to_owned(),
            9 => "via 198.51.100.99 dev eth0 onlink".to_owned(),
            10..=13 => {
                let hops = (0..=1 + self.random.below(2)).map(|_| {
                    format!("nexthop via {} dev eth0 weight {}", self.gateway(is_ip6), 1 + self.random.below(4))
                });
                hops.collect::<Vec<_>>().join(" ")
            }
            14 => format!("nexthop via {gateway} dev eth0 nexthop via {other} dev other"),
            15 => format!("via {other} dev other"),
            16 if !is_ip6 => format!("via inet6 {} dev eth0", self.gateway(true)),
            _ if is_ip6 => format!("nhid {}", [51, 52, 53, 61, 62].get(self.random.index(5)).unwrap_or(&51)),
            _ => format!("nhid {}", [41, 42, 43, 45, 63, 64].get(self.random.index(6)).unwrap_or(&41)),
        }
    }

    fn route(&mut self) -> String {
        let is_ip6 = self.random.below(2) == 0;
        let prefix = self.prefix(is_ip6);
        let (table, metric, protocol) = (self.one(&TABLES), self.one(&METRICS), self.one(&PROTOCOLS));
        match self.random.below(20) {
            0..=4 => format!("route del {prefix} {table} {metric}"),
            5 => format!("route del {prefix} via {} {table}", self.gateway(is_ip6)),
            6..=7 => {
                let kind = self.one(&["blackhole", "unreachable", "prohibit", "throw"]);
                let verb = self.one(&["add", "replace"]);
                format!("route {verb} {kind} {prefix} {table} {metric} {protocol}")
            }
            8 if is_ip6 => {
                format!("route add {prefix} from 2001:db8:b0::/48 via {} dev eth0 {table}", self.gateway(true))
            }
            8 => format!("route add {prefix} tos 0x10 via {} dev eth0 {table}", self.gateway(false)),
            _ => {
                let verb = self.one(&["add", "add", "add", "replace", "replace", "append", "prepend", "change"]);
                let hops = self.hops(is_ip6);
                format!("route {verb} {prefix} {table} {metric} {protocol} {hops}")
            }
        }
    }

    fn nexthop(&mut self) -> String {
        let (id4, id6) = (41 + self.random.below(3), 51 + self.random.below(3));
        let (w, v) = (1 + self.random.below(4), 1 + self.random.below(4));
        match self.random.below(10) {
            0..=1 => format!("nexthop replace id {id4} via {} dev eth0", self.gateway(false)),
            2..=3 => format!("nexthop replace id {id6} via {} dev eth0", self.gateway(true)),
            4 => format!("nexthop replace id 61 group 51,{w}/{id6},{v}"),
            5 => format!("nexthop replace id 63 group 41,{w}/42,{v}/43"),
            6 => format!("nexthop replace id 64 group {id4}"),
            7 => format!("nexthop replace id 62 group {id6}"),
            8 => "nexthop replace id 45 blackhole".to_owned(),
            _ => format!(
                "nexthop del id {}",
                [41, 42, 43, 45, 51, 52, 61, 63, 64].get(self.random.index(9)).unwrap_or(&41)
            ),
        }
    }

    fn linux(&mut self, into: &mut Vec<Op>) {
        let text = match self.random.below(100) {
            0..=64 => self.route(),
            65..=76 => self.nexthop(),
            77..=86 => {
                let address = self.one(&ADDRESSES);
                let nodad = if address.contains(':') { "nodad" } else { "" };
                match self.random.below(3) {
                    0 => format!("addr del {address} dev eth0"),
                    _ => format!("addr add {address} dev eth0 {nodad}"),
                }
            }
            87..=91 => {
                let neighbour = self.one(&NEIGHBOURS);
                match self.random.below(3) {
                    0 => format!("neigh del {neighbour} dev eth0"),
                    _ => format!("neigh replace {neighbour} lladdr {} dev eth0 nud permanent", self.one(&MACS)),
                }
            }
            92..=93 => format!("link set eth0 mtu {}", self.one(&MTUS)),
            94 => format!("link set eth0 address {}", self.one(&MACS)),
            95 => "route flush proto bgp".to_owned(),
            96 => "route flush table 77".to_owned(),
            97 => "route flush root 2001:db8:a1::/48".to_owned(),
            _ => {
                into.push(Op::Linux("link set eth0 down".to_owned()));
                if self.random.below(2) == 0 {
                    into.push(Op::Linux(self.route()));
                }
                "link set eth0 up".to_owned()
            }
        };
        into.push(Op::Linux(text));
    }

    fn vpp(&mut self, into: &mut Vec<Op>) {
        let uplink = self.uplink.clone();
        let is_ip6 = self.random.below(2) == 0;
        let text = match self.random.below(20) {
            0..=4 => format!("set interface ip address {uplink} {}", self.one(&ADDRESSES)),
            5..=7 => format!("set interface ip address del {uplink} {}", self.one(&ADDRESSES)),
            8..=10 => format!("set interface mtu packet {} {uplink}", self.one(&MTUS)),
            11..=12 => format!("set interface mac address {uplink} {}", self.one(&MACS)),
            13..=15 => format!("ip route add {} via {} {uplink}", self.prefix(is_ip6), self.gateway(is_ip6)),
            16..=18 => format!("ip route del {}", self.prefix(is_ip6)),
            _ => {
                into.push(Op::Vpp(format!("set interface state {uplink} down")));
                format!("set interface state {uplink} up")
            }
        };
        into.push(Op::Vpp(text));
    }

    /// Some operations on end; those of VPP in about one burst of two.
    fn burst(&mut self, most: u64) -> Vec<Op> {
        let mut ops = Vec::new();
        let with_vpp = self.random.below(2) == 0;
        for _ in 0..=self.random.below(most) {
            if with_vpp && self.random.below(4) == 0 {
                self.vpp(&mut ops);
            } else {
                self.linux(&mut ops);
            }
        }
        ops
    }
}

/// Carry them out in their order, whatever comes of each: what the kernel or
/// VPP refuses changes nothing.
fn carry_out(watched: &Watched<'_>, ops: &[Op]) -> Result<()> {
    for side in ops.chunk_by(|a, b| matches!((a, b), (Op::Linux(_), Op::Linux(_)))) {
        if let Some(Op::Vpp(command)) = side.first() {
            watched.vpp().ctl(command)?;
            continue;
        }
        let lines = side.iter().map(|op| match op {
            Op::Linux(text) | Op::Vpp(text) => format!("{text}\n"),
        });
        ip_force(watched, &lines.collect::<String>());
    }
    Ok(())
}

fn ip_force(watched: &Watched<'_>, lines: &str) {
    // It ends with an error when one of them was refused.
    let mut ip = Command::new("ip");
    ip.args(["-n", watched.host.name(), "-force", "-batch", "-"]);
    drop(hostnet_lab::netns::run(&mut ip, lines));
}

/// Objects for the routes to go by.
const OBJECTS: &str = "\
nexthop add id 41 via 192.0.2.20 dev eth0
nexthop add id 42 via 192.0.2.21 dev eth0
nexthop add id 43 via 192.0.2.22 dev eth0
nexthop add id 45 blackhole
nexthop add id 51 via 2001:db8:1::20 dev eth0
nexthop add id 52 via 2001:db8:1::21 dev eth0
nexthop add id 53 via fe80::20 dev eth0
nexthop add id 61 group 51,2/52
nexthop add id 62 group 53
nexthop add id 63 group 41/42,3
nexthop add id 64 group 43";

fn begin_walk(watched: &Watched<'_>) -> Result<Walk> {
    watched.linux(OBJECTS)?;
    let seed = number("HOSTNET_SEED", 20_260_921);
    Ok(Walk { random: Random::new(seed), uplink: watched.name.clone() })
}

/// So many operations, in bursts.
fn go(watched: &Watched<'_>, walk: &mut Walk, mut left: u64) -> Result<()> {
    while left > 0 {
        let ops = walk.burst(40.min(left));
        left = left.saturating_sub(ops.len() as u64);
        carry_out(watched, &ops)?;
        let kernel = watched.kernel()?;
        let said = || format!("{left} operations before the end, after {ops:#?}");
        watched.agree().with_context(said)?;
        // What comes from Linux does not go back there. A link that comes up
        // brings routes of the kernel's own a little later.
        let quiet = |op: &Op| matches!(op, Op::Linux(text) if !text.starts_with("link"));
        if ops.iter().all(quiet) {
            let after = watched.kernel()?;
            let gone: Vec<&Route> = kernel.iter().filter(|route| !after.contains(route)).collect();
            let new: Vec<&Route> = after.iter().filter(|route| !kernel.contains(route)).collect();
            let same = gone.is_empty() && new.is_empty();
            ensure!(same, "the mirror changed Linux's routes: gone {gone:#?}, new {new:#?}; {}", said());
        }
    }
    Ok(())
}

fn walk(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    watched.agree()?;
    let mut walk = begin_walk(&watched)?;
    go(&watched, &mut walk, length())?;
    watched.audit()?;
    let differences = watched.count("/routes/differences")?;
    ensure!(differences == 0, "audits found {differences} differences on the way");

    // Changes while nobody listens.
    watched.vpp().kill()?;
    for _ in 0..3 {
        let ops: Vec<Op> = walk.burst(40).into_iter().filter(|op| matches!(op, Op::Linux(_))).collect();
        carry_out(&watched, &ops)?;
    }
    drop(watched);
    let vpp = machine.start()?;
    let shown = await_taken(&vpp, "eth0")?;
    let watched = Watched::taken(machine, &shown)?;
    watched.agree().context("after SIGKILL and a new start")?;
    walk.uplink.clone_from(&watched.name);
    go(&watched, &mut walk, length() / 5)?;
    watched.audit()
}

fn lossy(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    watched.agree()?;
    let mut walk = begin_walk(&watched)?;
    for _ in 0..(length() / 100).max(2) {
        // Nobody reads: the kernel's queue is soon full.
        watched.vpp().signal(Signal::SIGSTOP)?;
        let ops: Vec<Op> = (0..5).flat_map(|_| walk.burst(40)).filter(|op| matches!(op, Op::Linux(_))).collect();
        let carried = carry_out(&watched, &ops);
        watched.vpp().signal(Signal::SIGCONT)?;
        carried?;
        watched.agree().with_context(|| format!("after {ops:#?}"))?;
    }
    let (overflows, resyncs) = (watched.count("/overflows")?, watched.count("/resyncs")?);
    ensure!(overflows > 0 && resyncs > overflows, "{overflows} overflows, {resyncs} resyncs");
    go(&watched, &mut walk, length() / 2)?;
    watched.audit()
}

fn to_host(machine: &Machine) -> Result<()> {
    let mut watched = Watched::begin(machine)?;
    watched.uplink.to_host = true;
    watched.agree()?;
    let mut walk = begin_walk(&watched)?;
    go(&watched, &mut walk, length() / 2)?;
    watched.audit()
}
