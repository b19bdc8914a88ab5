//! Issue "a plain card": what VPP says about the host's packets, what it takes
//! out of others, and what two such machines on one link say to each other.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::{BROADCAST, ICMP6, IGMP, Ip, UDP, alert6, arp, ethernet, icmp4, icmp6, mac_of, udp};
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::{ping, ping_with, tcp};
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;

use crate::plain_card::way_to_host;
use crate::support::{Kind, clean_scenario, clean_scenario_in, enable_all, options, scenario};
use crate::workers::two_workers;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("q05_the_host_learns_of_a_narrower_path", options, narrower_path),
        clean_scenario("q05_vpp_is_no_hop_of_the_hosts_path", no_hop),
        scenario("q06_neighbours_are_found_after_a_change_of_mac", options, other_mac),
        scenario("q04_what_vpp_takes_out_of_tunnels_comes_without_them", options, tunnels),
        scenario("q04_two_machines_on_a_link_make_no_storm", options, no_storm),
        scenario("q04_two_machines_with_workers_make_no_storm", two_workers, no_storm),
        clean_scenario_in(Kind::TwoUplinks, "q04_two_uplinks_on_one_link_make_no_storm", looped_uplinks),
    ]
}

/// Echo requests of this many bytes of IP, not to be fragmented.
fn large(lab: &Lab, to: &str, size: u32) -> Result<()> {
    let headers = if to.contains(':') { 48 } else { 28 };
    ping_with(&lab.host, to, &["-M", "do", "-s", &(size - headers).to_string()])
}

/// What the kernel knows of the path to there.
pub(crate) fn known_mtu(lab: &Lab, to: &str) -> Result<Option<u32>> {
    let said = lab.host.output("ip", &["route", "get", to])?;
    let mut words = said.split_ascii_whitespace().skip_while(|word| *word != "mtu");
    Ok(words.nth(1).and_then(|word| word.parse().ok()))
}

/// VPP's own path is narrower behind: by a pod's device, and by a tunnel.
fn narrower_path(lab: &Lab) -> Result<()> {
    let (tunnelled4, tunnelled6) = ("203.0.113.77", "2001:db8:77::77");
    enable_all(lab)?;
    lab.vpp.quiet("set interface mtu packet 1400 host-pod0")?;
    lab.pod.ip("link set eth0 mtu 1400")?;
    lab.vpp.ctl(&format!("create ipip tunnel src {} dst {}", addr::HOST4, addr::GW4))?;
    lab.vpp.all_quiet(&format!(
        "set interface mtu packet 1300 ipip0
         set interface state ipip0 up
         set interface unnumbered ipip0 use host-eth0
         enable ip6 interface ipip0
         ip route add {tunnelled4}/32 via ipip0
         ip route add {tunnelled6}/128 via ipip0"
    ))?;
    let mut checks = Checks::new();
    for pod in [addr::POD4, addr::POD6] {
        until(&format!("{pod} answers"), secs(5), || ping(&lab.host, pod).map(Some))?;
    }
    // Behind the tunnel nobody is: what leaves into it is seen on the wire.
    let wire = Tap::on(&lab.gw, "vpp0")?;
    for (to, mtu, protocol) in
        [(addr::POD4, 1400, None), (addr::POD6, 1400, None), (tunnelled4, 1300, Some(4)), (tunnelled6, 1300, Some(41))]
    {
        // As much as the routes to the cluster let the kernel try.
        checks.that(&format!("{to} cannot have 1440"), large(lab, to, 1440).is_err(), "it answered");
        let known = known_mtu(lab, to)?;
        checks.that(&format!("the kernel knows the path to {to}"), known == Some(mtu), &format!("{known:?}"));
        wire.drain();
        let answered = large(lab, to, mtu);
        match protocol {
            None => checks.add(&format!("{to} with {mtu}"), answered),
            Some(protocol) => {
                let is_it =
                    |frame: &[u8]| u32::try_from(frame.len()) == Ok(14 + 20 + mtu) && frame.get(23) == Some(&protocol);
                let left = wire.wait_for("a packet of the tunnel", secs(5), |frame| is_it(frame).then_some(()));
                checks.add(&format!("{to} with {mtu} leaves by the tunnel"), left);
            }
        }
    }
    lab.host.ip("route flush cache")?;
    for (host, pod) in [(addr::HOST4, addr::POD4), (addr::HOST6, addr::POD6)] {
        checks.add("a transfer that has to find out", tcp(&lab.host, &lab.pod, pod, host, 300_000));
    }
    checks.finish()
}

/// A TTL of one reaches a neighbour and a pod; two reach what is behind the
/// neighbour. The router says so itself.
fn no_hop(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    for near in [addr::PEER4, addr::PEER6, addr::POD4, addr::POD6, addr::FAR4, addr::FAR6] {
        until("it answers", secs(5), || ping(&lab.host, near).map(Some))?;
        checks.add(&format!("{near} is one hop away"), ping_with(&lab.host, near, &["-t", "1"]));
    }
    for (far, router, pod) in [(addr::POD4, addr::HOST4, "-4"), (addr::POD6, addr::HOST6, "-6")] {
        // From the peer VPP is a router, and the host no part of the way.
        let said = lab.peer.output("traceroute", &[pod, "-n", "-q", "1", "-w", "2", "-m", "3", far])?;
        checks.that(&format!("the peer's way to {far}"), said.contains(router) && said.contains(far), &said);
    }
    for (far, family) in [(addr::POD4, "-4"), (addr::POD6, "-6"), (addr::PEER4, "-4"), (addr::PEER6, "-6")] {
        let said = lab.host.output("traceroute", &[family, "-n", "-q", "1", "-w", "2", "-m", "3", far])?;
        let hops: Vec<&str> = said.lines().skip(1).collect();
        checks.that(&format!("the host's way to {far}"), hops.len() == 1 && hops[0].contains(far), &said);
    }
    checks.finish()
}

/// The host gets another MAC: VPP asks for neighbours with that, and hears what
/// they answer.
fn other_mac(lab: &Lab) -> Result<()> {
    let other = "02:00:5e:00:00:77";
    enable_all(lab)?;
    lab.host.ip(&format!("link set eth0 address {other}"))?;
    until("VPP has the MAC", secs(5), || {
        Ok(lab.vpp.ctl("show hardware-interfaces host-eth0")?.contains(other).then_some(()))
    })?;
    // Nobody has spoken to these, nor knows the host by its old MAC.
    let (new4, new6) = ("192.0.2.21", "2001:db8:1::21");
    lab.peer.ip(&format!(
        "neigh flush dev eth0
         addr add {new4}/24 dev eth0
         addr add {new6}/64 dev eth0 nodad"
    ))?;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let mut checks = Checks::new();
    for new in [new4, new6] {
        checks.add(&format!("{new} is found"), until("it answers", secs(5), || ping(&lab.host, new).map(Some)));
    }
    let (old, new) = (mac(addr::UPLINK_MAC)?, mac(other)?);
    let sent = wire.drain_incoming();
    let of = |mac: hostnet_lab::wire::Mac| sent.iter().filter(|frame| frame.get(6..12) == Some(&mac)).count();
    checks.that("everything is of the new MAC", of(old) == 0 && of(new) > 0, &format!("{} of the old", of(old)));
    checks.finish()
}

/// MPLS and segment routing: VPP's decapsulation counts what it takes out as
/// received by the uplink.
fn tunnels(lab: &Lab) -> Result<()> {
    let sid: Ipv6Addr = "fd00:99::1".parse()?;
    enable_all(lab)?;
    lab.vpp.ctl("mpls table add 0")?;
    lab.vpp.all_quiet("set interface mpls host-eth0 enable\nmpls local-label add 33 eos via ip4-lookup-in-table 0")?;
    lab.vpp.quiet(&format!("sr localsid address {sid} behavior end.dt4 0"))?;
    let way = way_to_host()?;
    let (wire, host) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?);
    let group = Ipv4Addr::new(224, 0, 0, 251);
    let mut checks = Checks::new();
    for (number, (what, dst, wanted)) in
        [("its address", way.to4, 1), ("the link", group, 0), ("all", Ipv4Addr::BROADCAST, 0)].into_iter().enumerate()
    {
        let text = |how: &str| format!("{how} number {number}.");
        let inner = |how: &str| {
            let body = udp(way.from4.into(), dst.into(), (40_001, 40_000), text(how).as_bytes());
            Ip::default().packet4(way.from4, dst, UDP, &body)
        };
        // Label 33, the only one, TTL 64.
        let label = (33_u32 << 12 | 1 << 8 | 64).to_be_bytes();
        wire.send(&ethernet(way.to, way.from, 0x8847, &[&label[..], &inner("mpls")].concat()))?;
        let outer = Ip::default().packet6(way.from6, sid, 4, &inner("srv6"));
        wire.send(&ethernet(way.to, way.from, 0x86dd, &outer))?;
        ping(&lab.peer, addr::HOST4)?;
        ping(&lab.peer, addr::HOST6)?;
        let seen = host.drain_incoming();
        for how in ["mpls", "srv6"] {
            let text = text(how);
            let has_it = |frame: &&Vec<u8>| frame.windows(text.len()).any(|part| part == text.as_bytes());
            let came: Vec<&Vec<u8>> = seen.iter().filter(has_it).collect();
            let is_bare = came.iter().all(|frame| frame.get(12..15) == Some(&[8, 0, 0x45]));
            checks.that(
                &format!("{how} for {what} comes {wanted} times, bare"),
                came.len() == wanted && is_bare,
                &format!("{came:02x?}"),
            );
        }
    }
    checks.finish()
}

/// What a machine says to all, with a number in each.
fn to_all(source: hostnet_lab::wire::Mac, own4: Ipv4Addr, own6: Ipv6Addr, numbers: usize) -> BTreeMap<String, Vec<u8>> {
    let all6 = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mdns = Ipv4Addr::new(224, 0, 0, 251);
    let mut frames = BTreeMap::new();
    for number in 0..numbers {
        let text = |kind: usize| format!("storm{kind:02}#{number:04}#");
        let datagram = |dst: Ipv4Addr, text: &str| {
            let body = udp(own4.into(), dst.into(), (5353, 5353), text.as_bytes());
            ethernet(mac_of(dst.into(), [0; 6]), source, 0x0800, &Ip::hops(255).packet4(own4, dst, UDP, &body))
        };
        let packet6 = |next, body: &[u8]| {
            ethernet(mac_of(all6.into(), [0; 6]), source, 0x86dd, &Ip::hops(255).packet6(own6, all6, next, body))
        };
        let nobody = Ipv4Addr::new(192, 0, 2, 99);
        let of_kind = |kind: usize, text: &str| {
            let mark = text.as_bytes();
            match kind {
                0 => ethernet(BROADCAST, source, 0x0806, &[&arp(1, (source, own4), ([0; 6], own4))[..], mark].concat()),
                1 => ethernet(
                    BROADCAST,
                    source,
                    0x0806,
                    &[&arp(1, (source, Ipv4Addr::UNSPECIFIED), ([0; 6], nobody))[..], mark].concat(),
                ),
                2 => datagram(Ipv4Addr::new(192, 0, 2, 255), text),
                3 => datagram(mdns, text),
                4 => {
                    let report = icmp4(0x16, 0, mdns.octets(), mark);
                    let packet = Ip::router_alert().packet4(own4, mdns, IGMP, &report);
                    ethernet(mac_of(mdns.into(), [0; 6]), source, 0x0800, &packet)
                }
                5 => packet6(UDP, &udp(own6.into(), all6.into(), (5353, 5353), mark)),
                6 => {
                    let rest = [&[0; 4], &all6.octets()[..], mark].concat();
                    packet6(0, &alert6(ICMP6, &icmp6(own6, all6, 131, 0, &rest)))
                }
                7 => {
                    let rest = [&[0x20, 0, 0, 0], &own6.octets()[..], &[2, 1], &source, &[200, 2], mark, &[0]].concat();
                    packet6(ICMP6, &icmp6(own6, all6, 136, 0, &rest))
                }
                _ => ethernet(BROADCAST, source, 0x88b5, mark),
            }
        };
        for kind in 0..9 {
            let text = text(kind);
            frames.insert(text.clone(), of_kind(kind, &text));
        }
    }
    frames
}

/// How often each was seen.
fn count(seen: &[Vec<u8>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for frame in seen {
        if let Some(mark) = frame.windows(13).find(|part| part.starts_with(b"storm") && part.ends_with(b"#")) {
            *counts.entry(String::from_utf8_lossy(mark).into_owned()).or_default() += 1;
        }
    }
    counts
}

/// Each of these once.
fn each_once(frames: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, usize> {
    frames.keys().map(|mark| (mark.clone(), 1)).collect()
}

fn same(checks: &mut Checks, what: &str, seen: &BTreeMap<String, usize>, wanted: &BTreeMap<String, usize>) {
    let other: Vec<_> = wanted
        .keys()
        .chain(seen.keys())
        .filter(|mark| seen.get(*mark) != wanted.get(*mark))
        .take(9)
        .map(|mark| (mark, seen.get(mark).copied().unwrap_or_default()))
        .collect();
    checks.that(what, other.is_empty(), &format!("{} of {} were; for one {other:?}", seen.len(), wanted.len()));
}

/// Fits into the queues on the way, though nobody takes anything out meanwhile.
const STORM: usize = 20;

/// Two machines with this on one link: what one says to all the other hears once,
/// and says nothing of it itself.
fn no_storm(lab: &Lab) -> Result<()> {
    let other = Lab::start(&options())?;
    let (other4, other6, other_mac) = ("192.0.2.11", "2001:db8:1::11", "02:00:5e:00:00:12");
    // The second link is the first one's: without machines of the same addresses.
    other.gw.ip("addr flush dev br0\nlink set peer0 down")?;
    other.vpp.all_quiet(&format!(
        "set interface ip address del host-eth0 {}/24
         set interface ip address del host-eth0 {}/64
         disable ip6 interface host-eth0
         set interface mac address host-eth0 {other_mac}
         enable ip6 interface host-eth0
         ip6 nd host-eth0 ra-suppress
         set interface ip address host-eth0 {other4}/24
         set interface ip address host-eth0 {other6}/64",
        addr::HOST4,
        addr::HOST6,
    ))?;
    lab.gw.ip(&format!(
        "link add other type veth peer name other netns {}
         link set other master br0 up",
        other.gw.name()
    ))?;
    other.gw.ip("link set other master br0 up")?;
    enable_all(lab)?;
    enable_all(&other)?;
    for (from, to) in [(&lab.host, other4), (&lab.host, other6), (&other.host, addr::HOST4), (&other.host, addr::HOST6)]
    {
        until("they know each other", secs(10), || ping(from, to).map(Some))?;
    }
    let mut checks = Checks::new();
    let first = to_all(mac(addr::UPLINK_MAC)?, addr::HOST4.parse()?, addr::HOST6.parse()?, STORM);
    let second = to_all(mac(other_mac)?, other4.parse()?, other6.parse()?, STORM);
    for (name, here, there, frames, to) in
        [("the first", lab, &other, &first, other4), ("the second", &other, lab, &second, addr::HOST4)]
    {
        let (host, hears) = (Tap::on(&here.host, "eth0")?, Tap::on(&there.host, "eth0")?);
        let (out, into) = (Tap::on(&here.gw, "vpp0")?, Tap::on(&there.gw, "vpp0")?);
        for frame in frames.values() {
            host.send(frame)?;
        }
        // Behind them, there and back.
        until("they still know each other", secs(5), || ping(&here.host, to).map(Some))?;
        let (none, once) = (BTreeMap::new(), each_once(frames));
        same(&mut checks, &format!("{name} sends each once"), &count(&out.drain_incoming()), &once);
        same(&mut checks, &format!("the other one of {name} hears each once"), &count(&hears.drain_incoming()), &once);
        same(&mut checks, &format!("{name} hears nothing of it"), &count(&host.drain_incoming()), &none);
        same(
            &mut checks,
            &format!("the other one of {name} says nothing of it"),
            &count(&into.drain_incoming()),
            &none,
        );
    }
    checks.finish()
}

/// One machine with two uplinks on one link: each hears what the other says, once,
/// and the link hears it once.
fn looped_uplinks(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    crate::support::enable(lab, "host-eth1", "")?;
    lab.gw
        .ip("link add loop0 type veth peer name loop1\nlink set loop0 master br0 up\nlink set loop1 master br1 up")?;
    until("the links are one", secs(5), || Ok(lab.gw.ip("link show loop1")?.contains("state UP").then_some(())))?;
    let mut checks = Checks::new();
    let (first, second) = (Tap::on(&lab.host, "eth0")?, Tap::on(&lab.host, "eth1")?);
    let (wire, other) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.gw, "vpp1")?);
    let frames = to_all(mac(addr::UPLINK_MAC)?, addr::HOST4.parse()?, addr::HOST6.parse()?, STORM);
    for frame in frames.values() {
        first.send(frame)?;
    }
    until("what is behind them", secs(5), || ping(&lab.host, addr::PEER4B).map(Some))?;
    until("what is behind them", secs(5), || ping(&lab.host, addr::PEER4).map(Some))?;
    let (none, once) = (BTreeMap::new(), each_once(&frames));
    same(&mut checks, "the first uplink sends each once", &count(&wire.drain_incoming()), &once);
    same(&mut checks, "the second device hears each once", &count(&second.drain_incoming()), &once);
    same(&mut checks, "the first device hears nothing", &count(&first.drain_incoming()), &none);
    same(&mut checks, "the second uplink says nothing", &count(&other.drain_incoming()), &none);
    lab.gw.ip("link del loop0").context("the links are two again")?;
    ensure!(checks.count().0 > 0, "nothing was looked at");
    checks.finish()
}
