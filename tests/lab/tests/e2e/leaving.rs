//! 5 and 7: what `disable` and VPP's clean exit leave, once and many times.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::dump::Dump;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::ping;
use libtest_mimic::Trial;

use crate::support::{
    clean_scenario, cluster, disable, enable, enable_all, enable_command, mirrored, options, scenario,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario("m05_disable_leaves_all_as_before", disable_leaves_nothing),
        scenario("m05_clean_exit_leaves_all_as_before", options, exit_leaves_nothing),
        clean_scenario("m05_dry_run_changes_nothing", dry_run),
        scenario("m05_enable_at_startup_by_exec", options, twice),
        scenario("m07_two_hundred_rounds_leak_nothing", rounds_options, rounds),
    ]
}

fn disable_leaves_nothing(lab: &Lab) -> Result<()> {
    let before = Dump::of(lab)?;
    enable_all(lab)?;
    mirrored(lab)?;
    let enabled = Dump::of(lab)?;
    ensure!(enabled.same_as(&before).is_err(), "the dumps do not see an enabled uplink");
    // With traffic, so that what grows by use would be seen too.
    ping(&lab.peer, addr::HOST4)?;
    ping(&lab.pod, addr::HOST6)?;
    disable(lab, "host-eth0")?;
    Dump::of(lab)?.same_as(&before)?;
    // And it can be done again.
    enable_all(lab)?;
    ping(&lab.peer, addr::HOST4)?;
    mirrored(lab)?;
    // VPP's tap shows how far its rings have turned.
    let tap = "vpp show tap";
    Dump::of(lab)?.without(tap).same_as(&enabled.without(tap)).context("the second time")?;
    disable(lab, "host-eth0")?;
    Dump::of(lab)?.same_as(&before).context("the second time")
}

fn exit_leaves_nothing(lab: &Lab) -> Result<()> {
    // VPP's packet sockets make their devices promiscuous: not ours to compare.
    let linux = |lab: &Lab| Ok::<_, anyhow::Error>(Dump::of_linux(lab)?.without("linux vpp"));
    let before = linux(lab)?;
    let links = lab.around_vpp.output("ip", &["-br", "link"])?;
    enable_all(lab)?;
    ensure!(linux(lab)?.same_as(&before).is_err(), "the dumps do not see an enabled uplink");
    lab.vpp.stop()?;
    linux(lab)?.same_as(&before)?;
    let now = lab.around_vpp.output("ip", &["-br", "link"])?;
    ensure!(now == links, "links around VPP before:\n{links}now:\n{now}");
    Ok(())
}

fn dry_run(lab: &Lab) -> Result<()> {
    let before = Dump::of(lab)?;
    let said = lab.vpp.ctl(&enable_command(lab, "host-eth0", &format!("{} dry-run", cluster())))?;
    Dump::of(lab)?.same_as(&before)?;
    let mut checks = Checks::new();
    for word in ["169.254.0.1", addr::HOST4, addr::HOST6, "eth0", addr::CLUSTER4, "1440", "VPP", "Linux"] {
        checks.that(&format!("the plan has '{word}'"), said.contains(word), &said);
    }
    checks.finish()
}

/// A second VPP in the first one's place, that enables by itself at its start.
fn twice(lab: &Lab) -> Result<()> {
    let mut options = options();
    let host = lab.host.name();
    let tap = crate::support::Backend::of_this_run().word();
    lab.vpp.stop()?;
    options.vpp.exec = Some(format!(
        "create host-interface name eth0 hw-addr {mac}
enable ip6 interface host-eth0
set interface state host-eth0 up
set interface ip address host-eth0 {h4}/24
set interface ip address host-eth0 {h6}/64
hostnet enable host-eth0 host-netns {host} tap {tap}
ip route add 0.0.0.0/0 via {g4} host-eth0
",
        mac = addr::UPLINK_MAC,
        h4 = addr::HOST4,
        h6 = addr::HOST6,
        g4 = addr::GW4,
    ));
    let dir = lab.dir().join("second");
    let tag = format!("{}second", lab.tag());
    let vpp = hostnet_lab::vpp::Vpp::start(&lab.around_vpp, &dir, &tag, &options.vpp)?;
    let shown = until("enabled by exec", secs(10), || {
        let said = vpp.ctl("show hostnet json")?;
        Ok(said.contains("\"enabled\"").then_some(said))
    });
    shown.with_context(|| vpp.last_words())?;
    // The first may be lost to address resolution.
    until("the host answers", secs(5), || ping(&lab.peer, addr::HOST4).map(Some))?;
    // The command after it was run as well.
    let routes = vpp.ctl("show ip fib 0.0.0.0/0")?;
    ensure!(routes.contains(addr::GW4), "{routes}");
    vpp.stop()
}

fn rounds_options() -> Options {
    let mut options = options();
    // VPP's log keeps the last so many messages: full before the measuring.
    "logging { size 50 }".clone_into(&mut options.vpp.extra);
    options
}

/// VPP's log keeps its lines until there are as many as it keeps at most.
const WARM: usize = 100;
const ROUNDS: usize = 210;
/// Objects that come and go with learned neighbours.
const FEW: u64 = 20;
/// Bytes: VPP shows its heap in steps of a hundredth of a mebibyte, pools grow
/// by the neighbours that it learns, and VPP itself never frees three 24-byte
/// keys of each `ip6_link_enable` (the hashes of its RA and MLD). A leak of 256
/// bytes a round is more, in a third of the rounds.
const HEAP_NOISE: u64 = 16 * 1024;

fn rounds(lab: &Lab) -> Result<()> {
    let round = |count: usize| -> Result<()> {
        for n in 0..count {
            enable(lab, "host-eth0", &cluster()).with_context(|| format!("round {n}"))?;
            disable(lab, "host-eth0").with_context(|| format!("round {n}"))?;
        }
        Ok(())
    };
    // VPP's pools and vectors grow to the size that they need at first.
    round(WARM)?;
    // The dump first: VPP keeps the room that its long outputs took.
    let dump = Dump::of(lab)?;
    let before = Usage::of(lab)?;
    // A vector that has to double, or a table of VPP's that fills, does so once
    // or twice; a leak shows in every third.
    let mut heaps = vec![before.heap];
    for _ in 0..3 {
        round(ROUNDS / 3)?;
        heaps.push(Usage::of(lab)?.heap);
    }
    let after = Usage::of(lab)?;
    Dump::of(lab)?.same_as(&dump)?;
    let mut checks = Checks::new();
    checks.that("file descriptors", after.files == before.files, &format!("{} then {}", before.files, after.files));
    checks.that("threads", after.threads == before.threads, &format!("{} then {}", before.threads, after.threads));
    checks.that("graph nodes", after.nodes == before.nodes, &hostnet_lab::dump::diff(&before.nodes, &after.nodes));
    for (kind, now) in &after.fib {
        let was = before.fib.get(kind).copied().unwrap_or(0);
        // Neighbours that VPP learns meanwhile have entries too, a few; what
        // is lost each round would be 200.
        checks.that(&format!("FIB: {kind}"), *now <= was + FEW, &format!("{was} then {now}"));
    }
    let grown = heaps.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min().unwrap_or_default();
    let mut seen = format!("seen, in bytes: {heaps:?}");
    if grown >= HEAP_NOISE {
        // Whose it is: what is held longer than the rounds that VPP traces.
        lab.vpp.ctl("memory-trace on main-heap")?;
        round(WARM)?;
        seen += &lab.vpp.ctl("show memory main-heap verbose")?;
    }
    checks.that("VPP's heap", grown < HEAP_NOISE, &seen);
    checks.finish()
}

struct Usage {
    files: usize,
    threads: usize,
    nodes: String,
    fib: BTreeMap<String, u64>,
    heap: u64,
}

impl Usage {
    fn of(lab: &Lab) -> Result<Self> {
        let proc = format!("/proc/{}", lab.vpp.pid());
        let count = |what: &str| Ok::<_, anyhow::Error>(std::fs::read_dir(format!("{proc}/{what}"))?.count());
        let heap = lab.vpp.ctl("show memory main-heap verbose")?;
        let mut nodes = String::new();
        for line in lab.vpp.ctl("show vlib graph")?.lines() {
            // A node's line is the one that begins it.
            if !line.starts_with(' ') {
                // Writing to a String cannot fail.
                let _ = writeln!(nodes, "{}", line.split_whitespace().next().unwrap_or_default());
            }
        }
        Ok(Self {
            files: count("fd")?,
            threads: count("task")?,
            nodes,
            fib: fib_objects(&lab.vpp.ctl("show fib memory")?),
            heap: used(&heap).with_context(|| format!("no used bytes in: {heap}"))?,
        })
    }
}

/// Objects in use by kind, of lines such as
/// `            Entry               72     25   /    28      1800/2016`.
fn fib_objects(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| {
            let (left, _) = line.split_once('/')?;
            let mut words: Vec<&str> = left.split_whitespace().collect();
            let in_use = words.pop()?.parse().ok()?;
            words.pop();
            Some((words.join(" "), in_use))
        })
        .collect()
}

/// The bytes in use: `total: 256.00M, used: 34.56M, …`, or exactly where VPP
/// tells them so.
fn used(text: &str) -> Option<u64> {
    let after = text.split("used: ").nth(1)?;
    let figure: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let unit = after.chars().nth(figure.len())?;
    let (whole, part) = figure.split_once('.').unwrap_or((&figure, "0"));
    let scale: u64 = match unit {
        'K' => 1 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        _ => 1,
    };
    let part_scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    Some(whole.parse::<u64>().ok()? * scale + part.parse::<u64>().ok()? * scale / part_scale)
}
