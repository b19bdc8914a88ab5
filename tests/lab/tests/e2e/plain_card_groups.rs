//! Issue "a plain card": groups that the host joins and leaves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::{IGMP, Ip, UDP, ethernet, icmp4, mac_of, udp};
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{left, secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::ping;
use hostnet_lab::wire::{Mac, Tap, mac};
use libtest_mimic::Trial;

use crate::support::{disable, enable_all, options, scenario};
use crate::workers::two_workers;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("q04_groups_come_while_the_host_listens", options, |lab| followed(lab, USUAL)),
        scenario("q04_groups_of_a_mac_that_every_host_has_come_too", options, |lab| followed(lab, SHARED)),
        scenario("q04_groups_come_while_the_host_listens_with_workers", two_workers, |lab| followed(lab, USUAL)),
        scenario("q04_reports_without_end_keep_nobody_busy", options, reports),
        scenario("q04_groups_that_vpp_routes_go_both_ways", options, both_ways),
    ]
}

/// Groups that routers carry.
pub(crate) const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
pub(crate) const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 0x1234);

/// One of each family.
type Groups = (Ipv4Addr, Ipv6Addr);
const USUAL: Groups = (GROUP4, GROUP6);
/// These have the MACs of 224.0.0.1 and ff02::1.
const SHARED: Groups = (Ipv4Addr::new(225, 0, 0, 1), Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 1));

/// While it lives, a program listens to both.
pub(crate) struct Listener(#[allow(dead_code, reason = "held open")] [UdpSocket; 2]);

impl Listener {
    pub(crate) fn on(netns: &Netns, device: &str) -> Result<Self> {
        Self::to(USUAL, netns, device)
    }

    fn to((group4, group6): Groups, netns: &Netns, device: &str) -> Result<Self> {
        netns.within(|| {
            let index = nix::net::if_::if_nametoindex(device)?;
            let (v4, v6) = (UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?);
            // By the device's address; the host's device has a route to it alone.
            let own = if device == "eth0" { addr::HOST4.parse()? } else { Ipv4Addr::UNSPECIFIED };
            v4.join_multicast_v4(&group4, &own)?;
            v6.join_multicast_v6(&group6, index)?;
            Ok(Self([v4, v6]))
        })
    }
}

/// A datagram to a group with this text.
fn frame(group: IpAddr, text: &str) -> Result<Vec<u8>> {
    let (from, to): (Mac, Mac) = (mac(addr::PEER_MAC)?, mac_of(group, [0; 6]));
    Ok(match group {
        IpAddr::V4(dst) => {
            let src: Ipv4Addr = addr::PEER4.parse()?;
            let body = udp(src.into(), group, (40_001, 40_000), text.as_bytes());
            ethernet(to, from, 0x0800, &Ip::hops(8).packet4(src, dst, UDP, &body))
        }
        IpAddr::V6(dst) => {
            let src: Ipv6Addr = addr::PEER6.parse()?;
            let body = udp(src.into(), group, (40_001, 40_000), text.as_bytes());
            ethernet(to, from, 0x86dd, &Ip::hops(8).packet6(src, dst, UDP, &body))
        }
    })
}

/// How often a datagram to a group that is sent now comes to the host as it was.
fn copies(lab: &Lab, group: IpAddr) -> Result<usize> {
    let (wire, host) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?);
    let sent = frame(group, "to a group")?;
    wire.send(&sent)?;
    // Behind it, on whichever way through VPP, twice.
    for _ in 0..2 {
        ping(&lab.peer, addr::HOST4)?;
        ping(&lab.peer, addr::HOST6)?;
    }
    Ok(host.drain_incoming().iter().filter(|seen| **seen == sent).count())
}

/// VPP knows of what the host has just joined, or left.
pub(crate) fn until_vpp_knows(lab: &Lab, listens: bool) -> Result<()> {
    until_vpp_knows_of(USUAL, lab, listens)
}

fn until_vpp_knows_of((group4, group6): Groups, lab: &Lab, listens: bool) -> Result<()> {
    let (wire, host) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?);
    for group in [IpAddr::from(group4), group6.into()] {
        let what = format!("{group} comes: {listens}");
        let mut number = 0;
        until(&what, secs(10), || {
            number += 1;
            let sent = frame(group, &format!("group {number}"))?;
            host.drain();
            wire.send(&sent)?;
            ping(&lab.peer, addr::HOST4)?;
            let came = host.drain_incoming().contains(&sent);
            Ok((came == listens).then_some(()))
        })?;
    }
    Ok(())
}

/// Whether the node stands in the uplink's way.
fn is_on(lab: &Lab) -> Result<bool> {
    Ok(lab.vpp.ctl("show interface features host-eth0")?.contains("hostnet-groups"))
}

fn followed(lab: &Lab, both: Groups) -> Result<()> {
    enable_all(lab)?;
    for peer in [addr::PEER4, addr::PEER6] {
        until("the peer answers", secs(5), || ping(&lab.host, peer).map(Some))?;
    }
    let groups = [IpAddr::from(both.0), both.1.into()];
    let mut checks = Checks::new();
    let mut see = |when: &str, wanted: usize| -> Result<()> {
        for group in groups {
            let seen = copies(lab, group).with_context(|| format!("{group} {when}"))?;
            checks.that(&format!("{group} {when} comes {wanted} times"), seen == wanted, &seen.to_string());
        }
        Ok(())
    };
    see("that nobody listens to", 0)?;
    ensure!(!is_on(lab)?, "the node is on while the host listens to nothing");
    // Twice: it is followed, not learnt once.
    for _ in 0..2 {
        let listener = Listener::to(both, &lab.host, "eth0")?;
        until_vpp_knows_of(both, lab, true)?;
        see("that the host listens to", 1)?;
        drop(listener);
        until_vpp_knows_of(both, lab, false)?;
        see("that the host has left", 0)?;
    }
    // Who looks at everything sees every group, as on a card.
    lab.host.ip("link set eth0 promisc on")?;
    until_vpp_knows_of(both, lab, true)?;
    see("that a sniffer looks at", 1)?;
    lab.host.ip("link set eth0 promisc off")?;
    until_vpp_knows_of(both, lab, false)?;
    let listener = Listener::to(both, &lab.host, "eth0")?;
    until_vpp_knows_of(both, lab, true)?;
    ensure!(is_on(lab)?, "the node is off while the host listens");
    disable(lab, "host-eth0")?;
    ensure!(!is_on(lab)?, "the node is left on");
    drop(listener);
    checks.finish()
}

/// How often our process on VPP's main thread was woken.
fn wakes(lab: &Lab) -> Result<u64> {
    let said = lab.vpp.ctl("show runtime")?;
    let line = said.lines().find(|line| line.starts_with("hostnet-process")).context("no such process")?;
    // Calls, vectors, suspends.
    line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).nth(2).context(line.to_owned())
}

/// The host tells of groups without end: a worker calls the main thread for it, and
/// the helper looks, no more than twenty times a second.
fn reports(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let (host, wire) = (Tap::on(&lab.host, "eth0")?, Tap::on(&lab.gw, "vpp0")?);
    let own: Ipv4Addr = addr::HOST4.parse()?;
    let report = Ip::router_alert().packet4(own, GROUP4, IGMP, &icmp4(0x16, 0, GROUP4.octets(), b""));
    let report = ethernet(mac_of(GROUP4.into(), [0; 6]), mac(addr::UPLINK_MAC)?, 0x0800, &report);
    let (before, begin) = (wakes(lab)?, Instant::now());
    for _ in 0..300 {
        host.send(&report)?;
        // One after the other, or VPP takes them together.
        wire.wait_for("the report on the wire", secs(5), |frame| (frame == report).then_some(()))?;
    }
    let (woken, took) = (wakes(lab)? - before, begin.elapsed());
    // Called, waited for the time, and a look that finds a change and its answer.
    let allowed = 4 * (u64::try_from(took.as_millis())? / 50 + 2);
    ensure!((1..=allowed).contains(&woken), "woken {woken} times in {took:?}");
    // And the last word is heard.
    let _listener = Listener::on(&lab.host, "eth0")?;
    until_vpp_knows(lab, true)
}

/// VPP's own routes for a group lead to a pod; the host listens as well.
fn both_ways(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    for group in [IpAddr::from(GROUP4), GROUP6.into()] {
        for path in ["via host-eth0 Accept", "via host-pod0 Forward"] {
            lab.vpp.quiet(&format!("ip mroute add {group} {path}"))?;
        }
    }
    let _listener = Listener::on(&lab.host, "eth0")?;
    until_vpp_knows(lab, true)?;
    let (wire, host, pod) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?, Tap::on(&lab.pod, "eth0")?);
    let mut checks = Checks::new();
    for group in [IpAddr::from(GROUP4), GROUP6.into()] {
        let text = format!("both ways {group}");
        let sent = frame(group, &text)?;
        wire.send(&sent)?;
        let has_it = |frame: &[u8]| frame.windows(text.len()).any(|part| part == text.as_bytes());
        let deadline = Instant::now() + secs(5);
        pod.wait_for(&format!("{group} at the pod"), left(deadline), |frame| has_it(frame).then_some(()))?;
        host.wait_for(&format!("{group} at the host"), left(deadline), |frame| (frame == sent).then_some(()))?;
        ping(&lab.peer, addr::HOST4)?;
        ping(&lab.pod, addr::PEER4)?;
        let again = [host.drain(), pod.drain()].concat().iter().filter(|frame| has_it(frame)).count();
        checks.that(&format!("{group} comes once to each"), again == 0, &format!("{again} more"));
        let back = wire.drain_incoming().iter().filter(|frame| has_it(frame)).count();
        checks.that(&format!("{group} does not come back"), back == 0, &format!("{back} did"));
    }
    checks.finish()
}
