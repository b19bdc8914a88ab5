//! 1: the host's own stack talks with a peer, both ways, both families.

use anyhow::Result;
use hostnet_lab::checks::Checks;
use hostnet_lab::counters::Counters;
use hostnet_lab::time::{scale, secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{ping, ping_with, tcp, tcp_refused, udp, udp_refused};
use libtest_mimic::Trial;

use crate::support::{clean_scenario, enable_all, options, scenario};

/// The host's address and the peer's, for each family.
const PAIRS: [(&str, &str); 2] = [(addr::HOST4, addr::PEER4), (addr::HOST6, addr::PEER6)];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario("m01_ping_both_ways", pings),
        clean_scenario("m01_tcp_both_ways", |lab| tcp_both_ways(lab, 1_000_000)),
        clean_scenario("m01_udp_both_ways", udp_both_ways),
        clean_scenario("m01_closed_ports_are_refused_by_the_host", closed_ports),
        clean_scenario("m01_beyond_the_gateway", beyond_the_gateway),
        clean_scenario("m01_large_packets_are_fragmented_and_joined", large_packets),
        scenario("m01_first_contact_with_an_unknown_peer", options, first_contact),
        scenario("m01_tcp_jumbo", jumbo, |lab| {
            jumbo_ping(lab)?;
            tcp_both_ways(lab, 20_000_000)
        }),
        scenario("m01_tcp_gigabytes_offloaded", offloaded, |lab| tcp_both_ways(lab, 500_000_000)),
        scenario("m01_tcp_offloaded", offloaded, |lab| tcp_both_ways(lab, 20_000_000)),
        scenario(
            "m01_tcp_offloaded_jumbo",
            || Options { offload: true, ..jumbo() },
            |lab| tcp_both_ways(lab, 20_000_000),
        ),
    ]
}

fn jumbo() -> Options {
    Options { mtu: 9000, ..options() }
}

fn offloaded() -> Options {
    Options { offload: true, ..options() }
}

fn pings(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    for (host, peer) in PAIRS {
        let group = if host.contains(':') { "Icmp6InEchos" } else { "Icmp.InEchos" };
        let before = Counters::of(&lab.host)?;
        checks.add("peer to host", ping(&lab.peer, host));
        // VPP itself would answer without the host's stack ever knowing.
        let echoes = Counters::of(&lab.host)?.since(&before, group);
        checks.that("the host's stack has seen the echoes", echoes >= 3, &format!("{group} {echoes}"));
        checks.add("host to peer", ping(&lab.host, peer));
    }
    checks.finish()
}

fn tcp_both_ways(lab: &Lab, bytes: usize) -> Result<()> {
    enable_all(lab)?;
    let bytes = bytes / scale() as usize;
    let mut checks = Checks::new();
    for (host, peer) in PAIRS {
        let before = Counters::of(&lab.host)?;
        checks.add("peer connects to host", tcp(&lab.peer, &lab.host, host, peer, bytes));
        checks.add("host connects to peer", tcp(&lab.host, &lab.peer, peer, host, bytes));
        let after = Counters::of(&lab.host)?;
        let (passive, active) = (after.since(&before, "Tcp.PassiveOpens"), after.since(&before, "Tcp.ActiveOpens"));
        checks.that(
            "the host's stack has opened them",
            (passive, active) == (1, 1),
            &format!("passive {passive}, active {active}"),
        );
        let errors = after.since(&before, "Tcp.InCsumErrors");
        checks.that("no bad checksum reached the host", errors == 0, &errors.to_string());
    }
    checks.finish()
}

fn udp_both_ways(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    for (host, peer) in PAIRS {
        let counter = if host.contains(':') { "Udp6InDatagrams" } else { "Udp.InDatagrams" };
        let before = Counters::of(&lab.host)?;
        checks.add("peer to host", udp(&lab.peer, &lab.host, host, peer));
        checks.add("host to peer", udp(&lab.host, &lab.peer, peer, host));
        let seen = Counters::of(&lab.host)?.since(&before, counter);
        checks.that("the host's stack has seen them", seen == 10, &format!("{counter} {seen}"));
    }
    checks.finish()
}

fn closed_ports(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    for (host, _) in PAIRS {
        let (unreachable, no_port) = if host.contains(':') {
            ("Icmp6OutDestUnreachs", "Udp6NoPorts")
        } else {
            ("Icmp.OutDestUnreachs", "Udp.NoPorts")
        };
        let before = Counters::of(&lab.host)?;
        checks.add("TCP", tcp_refused(&lab.peer, host));
        checks.add("UDP", udp_refused(&lab.peer, host));
        let after = Counters::of(&lab.host)?;
        // The refusals are the host's, not VPP's.
        for name in ["Tcp.OutRsts", unreachable, no_port] {
            let moved = after.since(&before, name);
            checks.that("the host has refused", moved == 1, &format!("{name} {moved}"));
        }
    }
    checks.finish()
}

fn beyond_the_gateway(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    for (far, host) in [(addr::FAR4, addr::HOST4), (addr::FAR6, addr::HOST6)] {
        checks.add("host to far", ping(&lab.host, far));
        checks.add("host connects to far", tcp(&lab.host, &lab.gw, far, host, 100_000));
        checks.add("far to host", ping_with(&lab.gw, host, &["-I", far]));
    }
    checks.finish()
}

/// Nobody knows the peer yet, neither VPP nor the host: its answers to VPP's
/// own address resolution must not mislead the host.
fn first_contact(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let (new4, new6) = ("192.0.2.77", "2001:db8:1::77");
    lab.peer.ip(&format!("addr add {new4}/24 dev eth0\naddr add {new6}/64 dev eth0"))?;
    let mut checks = Checks::new();
    for new in [new4, new6] {
        // VPP drops what waits for address resolution, so the first may be lost.
        let answered = until("the new peer answers", secs(5), || ping(&lab.host, new).map(Some));
        checks.add(new, answered);
        checks.add("and goes on answering", ping(&lab.host, new));
    }
    checks.finish()
}

/// Packets over the MTU come in fragments and go out in fragments.
fn large_packets(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    for (host, peer) in PAIRS {
        checks.add("peer to host", ping_with(&lab.peer, host, &["-s", "4000"]));
        checks.add("host to peer", ping_with(&lab.host, peer, &["-s", "4000"]));
    }
    checks.finish()
}

/// One packet of the whole MTU, not to be fragmented.
fn jumbo_ping(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    for ((host, peer), size) in PAIRS.into_iter().zip(["8972", "8952"]) {
        checks.add("peer to host", ping_with(&lab.peer, host, &["-M", "do", "-s", size]));
        checks.add("host to peer", ping_with(&lab.host, peer, &["-M", "do", "-s", size]));
    }
    checks.finish()?;
    crate::support::disable(lab, "host-eth0")
}
