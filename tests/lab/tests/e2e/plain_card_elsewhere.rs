//! Issue "a plain card": addresses that the host has on other devices than the
//! uplink's, on `lo`, on a device of some kind, on a macvlan of VRRP. The kernel answers for all
//! of them on every link.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::{BROADCAST, arp, ethernet};
use hostnet_lab::netns::Netns;
use hostnet_lab::reference::Act;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::{no_ping, ping, ping_with, tcp, udp};
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;

use crate::mirror_support::Watched;
use crate::plain_card_routing::{VIRTUAL_MAC, becomes, router};
use crate::plain_card_vpp::known_mtu;
use crate::support::{
    Kind, clean_scenario, clean_scenario_in, cluster, disable, enable, enable_all, mirrored, options, scenario,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario("q09_an_address_on_another_device_is_the_hosts", elsewhere),
        clean_scenario_in(Kind::Workers, "q09_an_address_on_another_device_is_the_hosts_with_workers", elsewhere),
        clean_scenario_in(Kind::TwoUplinks, "q09_two_uplinks_lead_to_the_same_address", two_uplinks),
        scenario("q09_a_virtual_address_of_vrrp_is_the_masters", options, virtual_address),
        scenario("q09_vpp_tells_of_a_narrower_path_whatever_address_asks", options, narrower),
        clean_scenario("q09_a_macvlan_gets_what_is_sent_to_its_mac", macvlan),
        scenario("q09_arp_for_an_address_on_another_device_is_answered_once", options, asked),
    ]
}

/// On `lo`, off every link.
const LO4: &str = "198.18.9.9";
const LO6: &str = "2001:db8:99::9";
/// On a device of its own.
const OTHER4: &str = "198.18.10.1";
const OTHER6: &str = "2001:db8:9a::1";

/// The prefix that an address alone is.
fn alone(addr: &str) -> String {
    format!("{addr}/{}", if addr.contains(':') { 128 } else { 32 })
}

/// The netns sends what is for the address to the gateway.
fn lead(netns: &Netns, what: &str, addr: &str, gateway: &str) -> Result<()> {
    netns.ip(&format!("route {what} {} via {gateway}", alone(addr))).map(drop)
}

/// From the wire and from a pod; with one hop to live, too.
fn reached(lab: &Lab, checks: &mut Checks, addr: &str) {
    let (peer, pod) = if addr.contains(':') { (addr::PEER6, addr::POD6) } else { (addr::PEER4, addr::POD4) };
    checks.add(&format!("peer to {addr}"), ping(&lab.peer, addr));
    checks.add(&format!("peer to {addr}, one hop to live"), ping_with(&lab.peer, addr, &["-t", "1"]));
    checks.add(&format!("peer connects to {addr}"), tcp(&lab.peer, &lab.host, addr, peer, 100_000));
    checks.add(&format!("peer asks {addr}"), udp(&lab.peer, &lab.host, addr, peer));
    checks.add(&format!("pod to {addr}"), ping(&lab.pod, addr));
    checks.add(&format!("pod connects to {addr}"), tcp(&lab.pod, &lab.host, addr, pod, 100_000));
}

fn elsewhere(lab: &Lab) -> Result<()> {
    lab.host.ip(&format!("addr add {LO4}/32 dev lo\naddr add {LO6}/128 dev lo"))?;
    let shown = enable_all(lab)?;
    let watched = Watched::enabled(lab, &shown)?;
    watched.agree()?;
    let ways = [(LO4, addr::HOST4), (LO6, addr::HOST6), (OTHER4, addr::HOST4), (OTHER6, addr::HOST6)];
    for (addr, gateway) in ways {
        lead(&lab.peer, "add", addr, gateway)?;
    }
    let local = Some(Act::Local);
    let mut checks = Checks::new();
    for addr in [LO4, LO6] {
        watched.wait_at(&alone(addr), local.as_ref())?;
        reached(lab, &mut checks, addr);
    }
    // One that comes, on a device that comes.
    watched.linux(&format!(
        "link add other7 type veth peer name other7-x
         link set other7-x up
         addr add {OTHER4}/24 dev other7
         addr add {OTHER6}/64 dev other7 nodad
         link set other7 up"
    ))?;
    for addr in [OTHER4, OTHER6] {
        watched.wait_at(&alone(addr), local.as_ref())?;
        reached(lab, &mut checks, addr);
    }
    ensure!(watched.count("/routes/elsewhere/ipv4")? == 2, "{:#}", watched.mirror()?);
    ensure!(watched.count("/routes/elsewhere/ipv6")? == 2, "{:#}", watched.mirror()?);
    watched.audit()?;
    checks.add("VPP's own routes stand before", yields(lab, &watched));

    // Its name is nothing to VPP. Down, the kernel has its address of IPv4 all the same.
    watched.linux("link set other7 down")?;
    watched.wait_at(&alone(OTHER6), None)?;
    watched.wait_at(&alone(OTHER4), local.as_ref())?;
    checks.add("its device is down", ping(&lab.peer, OTHER4));
    watched.linux("link set other7 name other8\nlink set other8 up")?;
    watched.wait_at(&alone(OTHER4), local.as_ref())?;
    checks.add("after its device's new name", ping(&lab.peer, OTHER4));
    watched.linux("link del other8")?;
    watched.linux(&format!("addr del {LO4}/32 dev lo\naddr del {LO6}/128 dev lo"))?;
    for (addr, _) in ways {
        watched.wait_at(&alone(addr), None)?;
        checks.add(&format!("nobody has {addr}"), no_ping(&lab.peer, addr));
    }
    watched.audit()?;
    for (addr, gateway) in ways {
        lead(&lab.peer, "del", addr, gateway)?;
    }
    checks.finish()
}

/// What VPP's user routes elsewhere goes there, and an address of VPP's own is that.
fn yields(lab: &Lab, watched: &Watched<'_>) -> Result<()> {
    let pod = Tap::on(&lab.pod, "eth0")?;
    let to = LO4.parse::<Ipv4Addr>()?.octets();
    lab.vpp.quiet(&format!("ip route add {LO4}/32 via {} host-pod0", addr::POD4))?;
    no_ping(&lab.peer, LO4)?;
    pod.wait_for("the echo request at the pod", secs(5), |frame| (frame.get(30..34)? == to).then_some(()))?;
    watched.audit().context("with a route of VPP's user")?;
    lab.vpp.quiet(&format!("ip route del {LO4}/32 via {} host-pod0", addr::POD4))?;
    ping(&lab.peer, LO4)?;
    let name = lab.vpp.ctl("create loopback interface")?;
    let name = name.trim();
    lab.vpp.quiet(&format!("set interface state {name} up"))?;
    for addr in [LO4, LO6] {
        lab.vpp.quiet(&format!("set interface ip address {name} {}", alone(addr)))?;
        watched.wait_at(&alone(addr), None)?;
    }
    watched.audit().context("with addresses of VPP's own")?;
    lab.vpp.quiet(&format!("delete loopback interface intfc {name}"))?;
    for addr in [LO4, LO6] {
        watched.wait_at(&alone(addr), Some(&Act::Local))?;
        ping(&lab.peer, addr)?;
    }
    Ok(())
}

fn two_uplinks(lab: &Lab) -> Result<()> {
    lab.host.ip(&format!("addr add {LO4}/32 dev lo\naddr add {LO6}/128 dev lo"))?;
    enable_all(lab)?;
    enable(lab, "host-eth1", "")?;
    mirrored(lab)?;
    let mut checks = Checks::new();
    let ways = [(LO4, addr::HOST4, addr::HOST4B), (LO6, addr::HOST6, addr::HOST6B)];
    let audit = || -> Result<()> {
        for uplink in ["host-eth0", "host-eth1"] {
            let said = lab.vpp.session()?.run_within(&format!("hostnet audit {uplink}"), secs(60))?;
            ensure!(said.contains("are the same"), "{uplink}: {said}");
        }
        Ok(())
    };
    for (addr, first, second) in ways {
        lead(&lab.peer, "add", addr, first)?;
        checks.add(&format!("{addr} by the first"), ping(&lab.peer, addr));
        lead(&lab.peer, "replace", addr, second)?;
        checks.add(&format!("{addr} by the second"), ping(&lab.peer, addr));
        checks.add(&format!("{addr} by a pod"), ping(&lab.pod, addr));
    }
    checks.add("an audit of each finds nothing", audit());
    // One that goes and comes.
    for what in ["del", "add"] {
        lab.host.ip(&format!("addr {what} {LO4}/32 dev lo"))?;
        mirrored(lab)?;
        let there = lab.vpp.ctl(&format!("show ip fib {LO4}/32"))?;
        let has = there.contains(&format!("{LO4}/32 fib"));
        checks.that(&format!("after {what}"), has == (what == "add"), &there);
    }
    checks.add("an audit of each finds nothing again", audit());
    // What the first had too is the second's alone now.
    disable(lab, "host-eth0")?;
    mirrored(lab)?;
    for (addr, _, second) in ways {
        checks.add(&format!("{addr} by the second, alone"), ping(&lab.peer, addr));
        lead(&lab.peer, "del", addr, second)?;
    }
    let said = lab.vpp.session()?.run_within("hostnet audit host-eth1", secs(60))?;
    checks.that("an audit finds nothing at last", said.contains("are the same"), &said);
    disable(lab, "host-eth1")?;
    for (addr, _, _) in ways {
        let family = if addr.contains(':') { "ip6" } else { "ip" };
        let there = lab.vpp.ctl(&format!("show {family} fib {}", alone(addr)))?;
        checks.that("nothing is left", !there.contains("hostnet"), &there);
    }
    lab.host.ip(&format!("addr del {LO4}/32 dev lo\naddr del {LO6}/128 dev lo"))?;
    checks.finish()
}

/// On the link's network, on `lo`; and one that nobody has.
const NEAR: [u8; 4] = [192, 0, 2, 99];
const NOBODY: [u8; 4] = [192, 0, 2, 98];

/// Ask for these from the wire; the MACs that are told of each.
fn answers(lab: &Lab, targets: &[[u8; 4]]) -> Result<Vec<Vec<[u8; 6]>>> {
    let wire = Tap::on(&lab.peer, "eth0")?;
    let own = mac(addr::PEER_MAC)?;
    let peer: Ipv4Addr = addr::PEER4.parse()?;
    let ask =
        |target: [u8; 4]| wire.send(&ethernet(BROADCAST, own, 0x0806, &arp(1, (own, peer), ([0; 6], target.into()))));
    for target in targets {
        ask(*target)?;
    }
    // The host's answer to a probe comes after whatever it answered before.
    let host = addr::HOST4.parse::<Ipv4Addr>()?;
    let probe = ethernet(BROADCAST, own, 0x0806, &arp(1, (own, Ipv4Addr::UNSPECIFIED), ([0; 6], host)));
    wire.send(&probe)?;
    let mut seen = Vec::new();
    let is_answer = |frame: &[u8], of: &[u8; 4]| frame.get(20..22) == Some(&[0, 2]) && frame.get(28..32) == Some(of);
    wire.wait_for("the host's answer to a probe", secs(5), |frame| {
        seen.push(frame.to_vec());
        is_answer(frame, &host.octets()).then_some(())
    })?;
    // VPP's own way to the wire is no longer than the host's; what was on it then
    // comes before these.
    ping(&lab.peer, addr::HOST4)?;
    seen.extend(wire.drain_incoming());
    let of = |target: &[u8; 4]| {
        let told = seen.iter().filter(|frame| is_answer(frame, target));
        told.filter_map(|frame| frame.get(22..28)?.try_into().ok()).collect()
    };
    Ok(targets.iter().map(of).collect())
}

fn asked(lab: &Lab) -> Result<()> {
    let shown = enable_all(lab)?;
    let watched = Watched::enabled(lab, &shown)?;
    let near = Ipv4Addr::from(NEAR).to_string();
    watched.linux(&format!("addr add {near}/32 dev lo"))?;
    watched.wait_at(&alone(&near), Some(&Act::Local))?;
    let told = answers(lab, &[NEAR, NOBODY])?;
    ensure!(told == [vec![mac(addr::UPLINK_MAC)?], Vec::new()], "{told:?}");
    ping(&lab.peer, &near)?;
    tcp(&lab.peer, &lab.host, &near, addr::PEER4, 100_000)?;
    // The kernel decides: not for addresses of other devices.
    lab.host.sysctl(&[("ipv4/conf/eth0/arp_ignore", "1")])?;
    let told = answers(lab, &[NEAR])?;
    ensure!(told.iter().all(Vec::is_empty), "{told:?}");
    lab.host.sysctl(&[("ipv4/conf/eth0/arp_ignore", "0")])?;
    // Without it nobody answers.
    watched.linux(&format!("addr del {near}/32 dev lo"))?;
    watched.wait_at(&alone(&near), None)?;
    until("nobody answers any more", secs(10), || Ok(answers(lab, &[NEAR])?.iter().all(Vec::is_empty).then_some(())))
        .context("after it is gone")
}

const VIRTUAL4: &str = "192.0.2.77";

fn virtual_address(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    lab.host.ip(&format!(
        "link add vrrp7 link eth0 address {VIRTUAL_MAC} type macvlan mode bridge
         addr add {VIRTUAL4}/24 dev vrrp7 noprefixroute
         link set vrrp7 up"
    ))?;
    // So that the kernel answers for it with the virtual MAC alone, as FRR's manual has it.
    lab.host.sysctl(&[("ipv4/conf/eth0/arp_ignore", "1")])?;
    let host = router(&lab.host, &lab.dir().join("frr-host"), 200)?;
    becomes(&host, "Master")?;
    mirrored(lab)?;
    let told = answers(lab, &[VIRTUAL4.parse::<Ipv4Addr>()?.octets()])?;
    ensure!(told == [vec![mac(VIRTUAL_MAC)?]], "{told:?}");
    ping(&lab.peer, VIRTUAL4)?;
    tcp(&lab.peer, &lab.host, VIRTUAL4, addr::PEER4, 100_000)?;
    let known = lab.peer.ip(&format!("neigh show {VIRTUAL4}"))?;
    ensure!(known.contains(VIRTUAL_MAC), "{known}");
    host.stop()
}

/// Of both families, on a device of another MAC.
const STACKED: [&str; 2] = ["192.0.2.78", "2001:db8:1::78"];
const STACKED_MAC: &str = "02:00:5e:00:00:78";

fn macvlan(lab: &Lab) -> Result<()> {
    let shown = enable_all(lab)?;
    let watched = Watched::enabled(lab, &shown)?;
    let has = || -> Result<bool> { Ok(lab.vpp.ctl("show interface secondary-mac-address")?.contains(STACKED_MAC)) };
    let waits = |wanted: bool| until("VPP has the MAC", secs(10), || Ok((has()? == wanted).then_some(())));
    ensure!(!has()?, "it is there before");
    let [four, six] = STACKED;
    watched.linux(&format!(
        "link add stacked link eth0 address {STACKED_MAC} type macvlan mode bridge
         addr add {four}/24 dev stacked noprefixroute
         addr add {six}/64 dev stacked noprefixroute nodad
         link set stacked up"
    ))?;
    waits(true).context("up")?;
    let mut checks = Checks::new();
    for (addr, seen_as, host) in [(four, addr::PEER4, addr::HOST4), (six, addr::PEER6, addr::HOST6)] {
        watched.wait_at(&alone(addr), Some(&Act::Local))?;
        // The peer asks for nobody below: by this VPP knows it, and loses no answer.
        ping(&lab.peer, host)?;
        lab.peer.ip(&format!("neigh replace {addr} lladdr {STACKED_MAC} dev eth0"))?;
        checks.add(&format!("peer to {addr} by its MAC"), ping(&lab.peer, addr));
        checks.add(&format!("peer connects to {addr}"), tcp(&lab.peer, &lab.host, addr, seen_as, 100_000));
        lab.peer.ip(&format!("neigh del {addr} dev eth0"))?;
        checks.add(&format!("peer asks for {addr}"), ping(&lab.peer, addr));
        checks.add(&format!("pod to {addr}"), ping(&lab.pod, addr));
    }
    watched.audit()?;
    // Somebody takes it from VPP: the next audit brings it back.
    lab.vpp.quiet(&format!("set interface secondary-mac-address host-eth0 {STACKED_MAC} del"))?;
    ensure!(!has()?, "it is there still");
    watched.audit()?;
    waits(true).context("after an audit")?;
    watched.linux("link set stacked down")?;
    waits(false).context("down")?;
    watched.linux("link set stacked up")?;
    waits(true).context("up again")?;
    watched.linux("link del stacked")?;
    waits(false).context("deleted")?;
    lab.peer.ip("neigh flush dev eth0")?;
    checks.finish()
}

/// Of what the host sends from such an address VPP's own word comes back; with
/// `source-check` it may be sent.
fn narrower(lab: &Lab) -> Result<()> {
    lab.host.ip(&format!("addr add {LO4}/32 dev lo\naddr add {LO6}/128 dev lo"))?;
    enable(lab, "host-eth0", &format!("{} source-check", cluster()))?;
    mirrored(lab)?;
    lab.vpp.quiet("set interface mtu packet 1400 host-pod0")?;
    lab.pod.ip("link set eth0 mtu 1400")?;
    let mut checks = Checks::new();
    for (from, to, headers) in [(LO4, addr::POD4, 28), (LO6, addr::POD6, 48)] {
        until("it answers", secs(5), || ping_with(&lab.host, to, &["-I", from]).map(Some))?;
        let large =
            |size: u32| ping_with(&lab.host, to, &["-I", from, "-M", "do", "-s", &(size - headers).to_string()]);
        checks.that(&format!("{to} cannot have 1440 from {from}"), large(1440).is_err(), "it answered");
        let known = known_mtu(lab, to)?;
        checks.that(&format!("the kernel knows the path to {to}"), known == Some(1400), &format!("{known:?}"));
        checks.add(&format!("{to} with 1400 from {from}"), large(1400));
    }
    checks.finish()
}
