//! Issue "mirror", 2 and 4: VPP's own linux-cp in the same cases, for the
//! figures and claims that are made of it. It needs vhost-net, so it runs in the
//! emulated machine alone.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::checks::say;
use hostnet_lab::rtnl::{self, Rtnl, Write};
use hostnet_lab::table::FullTable;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use libtest_mimic::Trial;

use crate::support::{Backend, enable_all, options, scenario};

/// Where routes of a daemon's are put.
const TABLE_MAIN: u32 = 254;
/// `RTPROT_BGP`.
const PROTOCOL: u8 = 186;
const METRIC: u32 = 20;
/// Routes of a backlog.
const ROUTES: usize = 20_000;
/// Rounds of both at the most.
const ROUNDS: usize = 3;

pub(crate) fn tests() -> Vec<Trial> {
    if Backend::of_this_run() != Backend::Vhost {
        return Vec::new();
    }
    vec![
        scenario("n04_linux_cp_in_the_same_cases", with_linux_cp, cases),
        scenario("n04_a_backlog_beside_linux_nl", || for_figures(options()), beside),
    ]
}

/// The emulated machine shares its processors: each one's best round is what it
/// takes, and as long as these do not tell, there is another round. While linux-cp's
/// VPP is there, the lab's does nothing.
fn beside(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let device = rtnl::index(&lab.host, "eth0")?;
    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        theirs = theirs.min(backlog_of_linux_cp(&Lab::start(&for_figures(with_linux_cp()))?)?);
        ours = ours.min(backlog(lab, device)?);
        let ratio = theirs / ours;
        say(&format!("        {ROUTES} routes: hostnet {ours:.1} s, linux-nl {theirs:.1} s: {ratio:.2}"));
        if ours < theirs {
            return Ok(());
        }
        lab.host.ip(&format!("route flush proto {PROTOCOL}"))?;
        until("VPP has none of them", secs(10), || Ok(shown(lab, &last_prefix()?)?.is_empty().then_some(())))?;
    }
    bail!("hostnet took {ours:.1} s at best, linux-nl {theirs:.1} s")
}

fn for_figures(options: Options) -> Options {
    let mut options = large(options);
    options.vpp.no_sleep = true;
    options
}

fn large(mut options: Options) -> Options {
    options.vpp.stats = Some("128M".to_owned());
    options.vpp.heap = Some("512M".to_owned());
    options
}

fn with_linux_cp() -> Options {
    let mut options = Options::default();
    for plugin in ["tap_plugin.so", "linux_cp_plugin.so", "linux_nl_plugin.so"] {
        options.vpp.plugins.push(plugin.to_owned());
    }
    large(options)
}

/// The host's device is linux-cp's; it has heard of a first route.
fn pair(lab: &Lab) -> Result<()> {
    let host = lab.host.name();
    lab.vpp.ctl(&format!("lcp default netns {host}"))?;
    lab.vpp.ctl("lcp create host-eth0 host-if eth0")?;
    lab.host.ip(&format!(
        "link set eth0 up
         addr add {}/24 dev eth0
         addr add {}/64 dev eth0 nodad
         link add other type veth peer name other-end
         link set other up
         link set other-end up
         addr add 203.0.113.130/25 dev other
         route add 10.9.0.0/16 via 192.0.2.20 proto static",
        addr::HOST4,
        addr::HOST6
    ))?;
    shows(lab, "10.9.0.0/16", "via 192.0.2.20").context("linux-cp has heard of the first route")
}

fn shown(lab: &Lab, prefix: &str) -> Result<String> {
    let family = if prefix.contains(':') { "ip6" } else { "ip" };
    let said = lab.vpp.ctl(&format!("show {family} fib {prefix}"))?;
    // Without an entry of its own the prefix's cover is shown.
    Ok(if said.contains(prefix) { said } else { String::new() })
}

fn shows(lab: &Lab, prefix: &str, word: &str) -> Result<()> {
    until(&format!("{prefix}: {word}"), secs(10), || {
        let said = shown(lab, prefix)?;
        ensure!(said.contains(word), "{said}");
        Ok(Some(()))
    })
}

/// What each of these comes to with hostnet is in the tests `n02_*`.
fn cases(lab: &Lab) -> Result<()> {
    pair(lab)?;
    // A byte for a metric: 512 is 0 there, and beats 100.
    lab.host.ip("route add 10.1.0.0/16 via 192.0.2.20 proto static metric 100
         route add 10.1.0.0/16 via 192.0.2.21 proto static metric 512
         route add 10.8.0.0/16 via 192.0.2.20 proto static")?;
    shows(lab, "10.8.0.0/16", "via 192.0.2.20")?;
    let metric = shown(lab, "10.1.0.0/16")?;
    say(&format!("        metrics 100 and 512: {}", hops(&metric)));
    ensure!(metric.contains("via 192.0.2.21"), "linux-cp has room for metrics now: {metric}");
    // A next hop by a device that is no pair's is left out.
    lab.host
        .ip("route add 10.2.0.0/16 proto static nexthop via 192.0.2.20 dev eth0 nexthop via 203.0.113.254 dev other
         route add 10.7.0.0/16 via 192.0.2.20 proto static")?;
    shows(lab, "10.7.0.0/16", "via 192.0.2.20")?;
    let halved = shown(lab, "10.2.0.0/16")?;
    say(&format!("        half by another device: {}", hops(&halved)));
    ensure!(halved.contains("via 192.0.2.20"), "linux-cp does not halve a route now: {halved}");
    // Deleting one of several IPv6 next hops takes the prefix.
    let prefix = "2001:db8:a1::/48";
    lab.host.ip(&format!("route add {prefix} via 2001:db8:1::20 dev eth0 proto static"))?;
    shows(lab, prefix, "via 2001:db8:1::20")?;
    lab.host.ip(&format!("route append {prefix} via 2001:db8:1::21 dev eth0 proto static"))?;
    shows(lab, prefix, "via 2001:db8:1::21")?;
    lab.host.ip(&format!(
        "route del {prefix} via 2001:db8:1::21 dev eth0
         route add 2001:db8:a2::/48 via 2001:db8:1::20 dev eth0 proto static"
    ))?;
    shows(lab, "2001:db8:a2::/48", "via 2001:db8:1::20")?;
    let left = shown(lab, prefix)?;
    say(&format!("        one of two IPv6 next hops deleted: {}", hops(&left)));
    ensure!(!left.contains("via 2001:db8:1::20"), "linux-cp deletes one next hop now: {left}");
    Ok(())
}

/// The next hops of what VPP shows, in a line.
fn hops(shown: &str) -> String {
    let hops: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split_once(" via ").map(|(_, to)| to.split_whitespace().next().unwrap_or("?")))
        .collect();
    if hops.is_empty() { "nothing".to_owned() } else { hops.join(", ") }
}

fn table() -> FullTable {
    FullTable::new(ROUTES, 0, 3)
}

fn last_prefix() -> Result<String> {
    let last = table().routes(0).last().context("an empty table")?;
    Ok(format!("{}/{}", last.addr, last.len))
}

/// Seconds from the first route that is written until VPP has the last.
fn backlog(lab: &Lab, device: u32) -> Result<f64> {
    let mut socket = Rtnl::open(&lab.host)?;
    let begun = Instant::now();
    socket.write(Write::Add, (device, TABLE_MAIN, PROTOCOL, METRIC), table().routes(0))?;
    shows(lab, &last_prefix()?, "via 192.0.2")?;
    Ok(begun.elapsed().as_secs_f64())
}

fn backlog_of_linux_cp(lab: &Lab) -> Result<f64> {
    pair(lab)?;
    backlog(lab, rtnl::index(&lab.host, "eth0")?)
}
