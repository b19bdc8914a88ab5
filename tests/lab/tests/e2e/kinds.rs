//! Uplinks of other kinds than the first one of every lab, and what they ask
//! of each other.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use etherparse::{IpNumber, PacketBuilder};
use hostnet_lab::checks::Checks;
use hostnet_lab::netns::Netns;
use hostnet_lab::time::secs;
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{ping, tcp};
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;

use crate::support::{
    Backend, Kind, clean_scenario, clean_scenario_in, cluster, disable, enable, enable_all, enable_command, options,
    scenario, shown, tap_of,
};
use crate::uplinks::two;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        clean_scenario("m01_link_local_both_ways", link_local),
        scenario("m01_vlan_sub_interface", options, vlan),
        clean_scenario("m01_uplink_by_index", by_index),
        clean_scenario("m01_polled_and_interrupted", rx_modes),
        clean_scenario_in(Kind::TwoUplinks, "m08_pods_reach_each_uplinks_host", pods_of_two),
        scenario("m08_the_second_default_route_comes_behind", two, two_defaults),
        scenario("m12_no_permission", without_permission, no_permission),
    ];
    // linux-cp makes its pairs of VPP's own taps.
    if Backend::of_this_run() == Backend::Vhost {
        tests.push(scenario("m12_linux_cp_has_a_pair", with_linux_cp, linux_cp));
    }
    tests
}

fn link_local_of(netns: &Netns) -> Result<String> {
    let said = netns.output("ip", &["-6", "-br", "addr", "show", "dev", "eth0"])?;
    let address = said.split_whitespace().find(|word| word.starts_with("fe80:"));
    let (address, _) = address.and_then(|word| word.split_once('/')).context(said.clone())?;
    Ok(format!("{address}%eth0"))
}

fn link_local(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let (host, peer) = (link_local_of(&lab.host)?, link_local_of(&lab.peer)?);
    let mut checks = Checks::new();
    // The first of each is for VPP's own address resolution.
    let _ = ping(&lab.host, &peer);
    checks.add("peer to host", ping(&lab.peer, &host));
    checks.add("host to peer", ping(&lab.host, &peer));
    checks.finish()
}

const VLAN: u16 = 7;
const VLAN_HOST: [u8; 4] = [10, 7, 0, 1];
const VLAN_PEER: [u8; 4] = [10, 7, 0, 2];

/// The frame with its tag: kernels without VLAN devices send it as it is.
fn tagged(frame: &[u8]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &[0x81, 0x00], &VLAN.to_be_bytes(), rest].concat()
}

fn vlan(lab: &Lab) -> Result<()> {
    lab.vpp.ctl(&format!("create sub-interfaces host-eth0 {VLAN}"))?;
    lab.vpp.all_quiet(&format!(
        "set interface state host-eth0.{VLAN} up
         set interface ip address host-eth0.{VLAN} {}/24",
        Ipv4Addr::from(VLAN_HOST)
    ))?;
    lab.vpp.quiet(&format!("set ip neighbor host-eth0.{VLAN} {} {}", Ipv4Addr::from(VLAN_PEER), addr::PEER_MAC))?;
    enable(lab, &format!("host-eth0.{VLAN}"), "")?;
    // Its name on the host is that of Linux's own VLAN devices.
    let device = format!("eth0.{VLAN}");
    let said = lab.host.output("ip", &["addr", "show", "dev", &device])?;
    ensure!(said.contains("10.7.0.1/24"), "{said}");

    let wire = Tap::on(&lab.peer, "eth0")?;
    let mut echo = Vec::new();
    PacketBuilder::ethernet2(mac(addr::PEER_MAC)?, mac(addr::UPLINK_MAC)?)
        .ipv4(VLAN_PEER, VLAN_HOST, 64)
        .icmpv4_echo_request(7, 1)
        .write(&mut echo, b"tagged")?;
    let host = Tap::on(&lab.host, &device)?;
    wire.send(&tagged(&echo))?;
    // On the host's device there is no tag.
    host.wait_for("the request at the host", secs(3), |frame| {
        let is_request = frame.get(12..14)? == [0x08, 0x00] && frame.get(23) == Some(&IpNumber::ICMP.0);
        (is_request && frame.get(34) == Some(&8)).then_some(())
    })?;
    // The kernel takes the tag from a frame that a packet socket receives.
    wire.wait_for("the answer on the wire", secs(3), |frame| {
        let ip = frame.get(14..).filter(|_| frame.get(12..14) == Some(&[0x08, 0x00][..]))?;
        let is_answer = ip.get(12..16)? == VLAN_HOST && ip.get(20) == Some(&0);
        // TTL 64: VPP is no hop.
        (is_answer && ip.get(8) == Some(&64)).then_some(())
    })?;
    disable(lab, &format!("host-eth0.{VLAN}"))
}

fn by_index(lab: &Lab) -> Result<()> {
    let said = lab.vpp.ctl("show interface host-eth0")?;
    let index = said
        .lines()
        .find(|line| line.starts_with("host-eth0"))
        .and_then(|line| line.split_whitespace().nth(1))
        .context(said.clone())?;
    lab.vpp.ctl(&enable_command(lab, index, ""))?;
    let state = shown(lab, "host-eth0")?.context("not shown")?;
    ensure!(state["state"] == "enabled", "{state}");
    disable(lab, index)
}

/// The tap in each of VPP's ways to wait for packets, changed under traffic.
fn rx_modes(lab: &Lab) -> Result<()> {
    let tap = tap_of(&enable_all(lab)?)?;
    let mut checks = Checks::new();
    for mode in ["polling", "interrupt", "adaptive", "interrupt"] {
        lab.vpp.quiet(&format!("set interface rx-mode {tap} {mode}"))?;
        let placed = lab.vpp.ctl("show interface rx-placement")?;
        let line = placed.lines().find(|line| line.contains(&tap)).unwrap_or_default();
        checks.that(&format!("{mode} is on"), line.contains(mode), &placed);
        checks.add(&format!("ping while {mode}"), ping(&lab.peer, addr::HOST4));
        checks.add(&format!("TCP while {mode}"), tcp(&lab.peer, &lab.host, addr::HOST4, addr::PEER4, 1_000_000));
    }
    // What arrives while the tap is down is no reason to hang afterwards.
    lab.vpp.quiet(&format!("set interface state {tap} down"))?;
    let _ = lab.host.output("ping", &["-c", "1", "-W", "1", addr::PEER4]);
    lab.vpp.quiet(&format!("set interface state {tap} up"))?;
    checks.add("after down and up", ping(&lab.host, addr::PEER4));
    checks.finish()
}

/// A pod's packet comes by neither uplink: its destination says whose it is.
fn pods_of_two(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    enable(lab, "host-eth1", &cluster())?;
    let mut checks = Checks::new();
    for (host, own, other) in [(addr::HOST4, "eth0", "eth1"), (addr::HOST4B, "eth1", "eth0")] {
        let ip: Ipv4Addr = host.parse()?;
        let to_host = |frame: &[u8]| frame.get(30..34) == Some(&ip.octets()[..]);
        let (own, other) = (Tap::on(&lab.host, own)?, Tap::on(&lab.host, other)?);
        checks.add(&format!("pod to {host}"), ping(&lab.pod, host));
        let seen = own.drain().iter().filter(|frame| to_host(frame)).count();
        checks.that(&format!("{host} on its own device"), seen >= 3, &seen.to_string());
        checks.add(&format!("{host} not on the other's"), other.none("stray", to_host));
    }
    for host in [addr::HOST6, addr::HOST6B] {
        checks.add(&format!("pod to {host}"), ping(&lab.pod, host));
    }
    disable(lab, "host-eth0")?;
    checks.add("pod to the one that is left", ping(&lab.pod, addr::HOST4B));
    // With none left our nodes are off VPP's paths.
    disable(lab, "host-eth1")?;
    let features = lab.vpp.ctl("show interface features local0")?;
    checks.that("nothing to choose", !features.contains("hostnet-"), &features);
    checks.finish()
}

fn two_defaults(lab: &Lab) -> Result<()> {
    // Of VPP's one route with two paths each uplink's host gets its own.
    lab.vpp.quiet(&format!("ip route add 0.0.0.0/0 via {} host-eth1", addr::PEER4B))?;
    enable_all(lab)?;
    enable(lab, "host-eth1", "")?;
    let said = lab.host.output("ip", &["-4", "route", "show", "default"])?;
    let mut checks = Checks::new();
    let first = said.lines().next().unwrap_or_default();
    checks.that("the first keeps its place", first.contains("dev eth0") && !first.contains("metric"), &said);
    checks.that("the second is behind", said.contains("dev eth1") && said.contains("metric"), &said);
    checks.add("both work", tcp(&lab.peer, &lab.host, addr::HOST4B, addr::PEER4B, 10_000));
    checks.finish()
}

fn without_permission() -> Options {
    let mut options = options();
    options.vpp.wrapper = ["setpriv", "--bounding-set=-sys_admin", "--"].map(str::to_owned).to_vec();
    options
}

fn no_permission(lab: &Lab) -> Result<()> {
    let before = hostnet_lab::dump::Dump::of(lab)?;
    let said = lab.vpp.ctl(&enable_command(lab, "host-eth0", ""))?;
    ensure!(said.contains("CAP_SYS_ADMIN"), "the missing permission is not named: '{}'", said.trim());
    hostnet_lab::dump::Dump::of(lab)?.same_as(&before)
}

fn with_linux_cp() -> Options {
    let mut options = options();
    options.vpp.plugins.push("linux_cp_plugin.so".to_owned());
    options
}

fn linux_cp(lab: &Lab) -> Result<()> {
    lab.vpp.quiet("lcp create host-eth0 host-if lcp0")?;
    let said = lab.vpp.ctl(&enable_command(lab, "host-eth0", ""))?;
    ensure!(said.contains("linux-cp") && said.contains("lcp delete host-eth0"), "{}", said.trim());
    lab.vpp.quiet("lcp delete host-eth0")?;
    enable(lab, "host-eth0", "").map(drop)
}
