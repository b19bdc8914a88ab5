//! Issue "a plain card", 2: routing daemons of the host's that talk to their
//! link by groups, by frames that are not IP, and by packets that live for one
//! hop only.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::daemons::Frr;
use hostnet_lab::frames::mac_of;
use hostnet_lab::machine::Machine;
use hostnet_lab::netns::Netns;
use hostnet_lab::process::Process;
use hostnet_lab::time::{scale, secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::{ping, tcp};
use hostnet_lab::wire::{Tap, hex, mac};
use libtest_mimic::Trial;

use crate::mirror_support::Watched;
use crate::support::{enable_all, options, scenario};
use crate::takeover_support::{bare, take, takeover};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("q02_routing_protocols_of_the_hosts_speak_over_it", options, speak),
        takeover("q02_sessions_of_routing_stay_up_under_load", bare, steady),
        scenario("q02_vrrp_elects_a_master_and_another_after_it", options, elected),
    ]
}

/// What the peer has behind it, by the protocol that alone tells of it: a
/// number of its networks, and the kernel's name of that protocol.
const BEHIND: [(u8, &str); 3] = [(1, "ospf"), (2, "isis"), (3, "bgp")];

const DAEMONS: [&str; 5] = ["ospfd", "ospf6d", "isisd", "bgpd", "bfdd"];

/// A device and a network for each protocol.
fn networks(peer: &Netns) -> Result<()> {
    for (number, protocol) in BEHIND {
        peer.ip(&format!(
            "link add {protocol} type veth peer name {protocol}-x
             link set {protocol}-x up
             link set {protocol} up
             addr add {}/24 dev {protocol}
             addr add {}/64 dev {protocol}",
            behind4(number),
            behind6(number)
        ))?;
    }
    Ok(())
}

fn behind4(number: u8) -> String {
    format!("198.18.{number}.1")
}

fn behind6(number: u8) -> String {
    format!("2001:db8:a{number}::1")
}

/// One side. Greetings each second and news at once, for the test's sake; and as
/// usual broadcast links, with a designated router, and BFD.
fn config(own: &str, number: u8, asn: u32, peers: [&str; 2], more: &str) -> String {
    let [peer4, peer6] = peers;
    let other = 65003 - (asn - 65000);
    let interval = 500 * scale();
    // An emulated machine is not always there in time.
    let dead = 4 + scale();
    let multiplier = 10 * scale().min(10);
    format!(
        "bfd
 profile lab
  detect-multiplier 5
  receive-interval {interval}
  transmit-interval {interval}
 exit
exit
interface eth0
 ip ospf area 0
 ip ospf hello-interval 1
 ip ospf dead-interval {dead}
 ip ospf bfd profile lab
 ipv6 ospf6 area 0
 ipv6 ospf6 hello-interval 1
 ipv6 ospf6 dead-interval {dead}
 ipv6 ospf6 bfd profile lab
 ip router isis area
 ipv6 router isis area
 isis circuit-type level-2-only
 isis hello-interval 1
 isis hello-multiplier {multiplier}
 isis bfd
 isis bfd profile lab
exit
router ospf
 ospf router-id {own}
 timers throttle lsa all 0
exit
router ospf6
 ospf6 router-id {own}
exit
router isis area
 net 49.0001.0000.0000.000{number}.00
 lsp-gen-interval 1
 is-type level-2-only
exit
router bgp {asn}
 bgp router-id {own}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor {peer4} remote-as {other}
 neighbor {peer6} remote-as {other}
 neighbor {peer4} timers connect 1
 neighbor {peer6} timers connect 1
 neighbor {peer4} bfd profile lab
 neighbor {peer6} bfd profile lab
 neighbor {peer6} ttl-security hops 1
 address-family ipv4 unicast
  neighbor {peer4} activate
 exit-address-family
 address-family ipv6 unicast
  neighbor {peer6} activate
 exit-address-family
exit
{more}"
    )
}

/// What the peer alone is told: its networks.
const ANNOUNCED: &str = "interface ospf
 ip ospf area 0
 ip ospf passive
 ipv6 ospf6 area 0
 ipv6 ospf6 passive
exit
interface isis
 ip router isis area
 ipv6 router isis area
 isis passive
exit
router bgp 65001
 address-family ipv4 unicast
  network 198.18.3.0/24
 exit-address-family
 address-family ipv6 unicast
  network 2001:db8:a3::/64
 exit-address-family
exit
";

/// Each protocol's routes come to the host's kernel and to VPP, and lead there.
fn learned(netns: &Netns, watched: &Watched<'_>, host: &Frr) -> Result<()> {
    in_kernel(netns, host)?;
    watched.agree()?;
    for (number, _) in BEHIND {
        for there in [behind4(number), behind6(number)] {
            ping(netns, &there).with_context(|| format!("the host reaches {there}\n{}", sessions(host)))?;
        }
    }
    Ok(())
}

fn in_kernel(netns: &Netns, host: &Frr) -> Result<()> {
    for (number, protocol) in BEHIND {
        for (family, prefix) in [("-4", format!("198.18.{number}.0/24")), ("-6", format!("2001:db8:a{number}::/64"))] {
            until(&format!("{protocol} tells of {prefix}"), secs(60), || {
                let words = [family, "route", "show", &prefix, "proto", protocol];
                Ok(netns.output("ip", &words)?.contains("eth0").then_some(()))
            })
            .with_context(|| sessions(host))?;
        }
    }
    Ok(())
}

/// And VPP's own traffic follows them.
fn forwarded(lab: &Lab) -> Result<()> {
    for (number, _) in BEHIND {
        for there in [behind4(number), behind6(number)] {
            ping(&lab.pod, &there).with_context(|| format!("the pod reaches {there}"))?;
        }
    }
    Ok(())
}

fn sessions(frr: &Frr) -> String {
    let ask = |what: &&str| format!("{what}\n{}", frr.ctl(what).unwrap_or_else(|error| format!("{error:#}")));
    [
        "show ip ospf neighbor",
        "show ipv6 ospf6 neighbor",
        "show isis neighbor",
        "show bgp summary",
        "show bfd peers brief",
    ]
    .iter()
    .map(ask)
    .collect()
}

/// How often each session of BGP came up; an error while one is down.
fn ups(host: &Frr) -> Result<Vec<u64>> {
    let said = host.ctl("show bgp neighbors json")?;
    let view: serde_json::Value = serde_json::from_str(&said)?;
    let all = [addr::PEER4, addr::PEER6].map(|peer| &view[peer]);
    ensure!(all.iter().all(|peer| peer["bgpState"] == "Established"), "{}", sessions(host));
    all.iter().map(|peer| peer["connectionsEstablished"].as_u64().context("not counted")).collect()
}

/// Every session of BFD is up, those of each protocol's neighbours.
fn bfd(host: &Frr) -> Result<serde_json::Value> {
    until("all sessions of BFD are up", secs(60), || {
        let said = host.ctl("show bfd peers json")?;
        let peers: serde_json::Value = serde_json::from_str(&said)?;
        let list = peers.as_array().context("no list")?;
        // By each family's addresses, and by the link's own of OSPFv3.
        ensure!(list.len() >= 3 && list.iter().all(|peer| peer["status"] == "up"), "{said}");
        Ok(Some(peers))
    })
}

/// How often each session of BFD went down.
fn downs(host: &Frr) -> Result<Vec<(String, u64)>> {
    let said = host.ctl("show bfd peers counters json")?;
    let peers: serde_json::Value = serde_json::from_str(&said)?;
    let list = peers.as_array().context("no list")?;
    let of = |peer: &serde_json::Value| {
        let name = peer["peer"].as_str().context("no peer")?.to_owned();
        Ok((name, peer["session-down"].as_u64().with_context(|| said.clone())?))
    };
    list.iter().map(of).collect()
}

fn speak(lab: &Lab) -> Result<()> {
    let shown = enable_all(lab)?;
    let watched = Watched::enabled(lab, &shown)?;
    networks(&lab.peer)?;
    let start =
        |netns: &Netns, name: &str, config: &str| Frr::start_with(netns, &lab.dir().join(name), config, &DAEMONS);
    let beyond = config(addr::PEER4, 1, 65001, [addr::HOST4, addr::HOST6], ANNOUNCED);
    let peer = start(&lab.peer, "frr-peer", &beyond)?;
    let own = config(addr::HOST4, 2, 65002, [addr::PEER4, addr::PEER6], "");
    let host = start(&lab.host, "frr-host", &own)?;
    learned(&lab.host, &watched, &host)?;
    forwarded(lab)?;
    bfd(&host).with_context(|| sessions(&host))?;
    let first = ups(&host)?;
    // The other way round: what lived for one hop is now to come with 255, and
    // the other family's lives for one.
    for (frr, asn, [peer4, peer6]) in
        [(&peer, 65001, [addr::HOST4, addr::HOST6]), (&host, 65002, [addr::PEER4, addr::PEER6])]
    {
        frr.configure(&format!(
            "router bgp {asn}\nneighbor {peer4} ttl-security hops 1\nno neighbor {peer6} ttl-security hops 1"
        ))?;
    }
    host.ctl("clear bgp *")?;
    until("BGP has come up again", secs(60), || {
        let now = ups(&host)?;
        ensure!(now.iter().zip(&first).all(|(now, first)| now > first), "{first:?}, then {now:?}");
        Ok(Some(()))
    })?;
    learned(&lab.host, &watched, &host)?;
    forwarded(lab)?;
    bfd(&host).with_context(|| sessions(&host))?;
    host.stop()?;
    peer.stop()
}

/// What the kernel tells of its routes. A route that comes and goes is put to it
/// at both ends, so that what is between is known to be heard.
struct Told {
    _monitor: Process,
    out: std::path::PathBuf,
}

const MARK: &str = "198.18.99.0/24";

impl Told {
    fn begin(machine: &Machine) -> Result<Self> {
        let out = machine.dir().join("monitor.out");
        let file = File::create(&out)?;
        let monitor = Process::start(&machine.host, "ip", &["monitor", "route"], move |command| {
            command.stdout(file);
        })?;
        let told = Self { _monitor: monitor, out };
        told.mark(machine)?;
        Ok(told)
    }

    fn mark(&self, machine: &Machine) -> Result<()> {
        let marks = || -> Result<usize> { Ok(self.gone()?.iter().filter(|line| line.contains(MARK)).count()) };
        let before = marks()?;
        until("the kernel's words are heard", secs(10), || {
            machine.host.ip(&format!("route add {MARK} dev lo\nroute del {MARK} dev lo"))?;
            Ok((marks()? > before).then_some(()))
        })
    }

    fn gone(&self) -> Result<Vec<String>> {
        let said = std::fs::read_to_string(&self.out)?;
        Ok(said.lines().filter(|line| line.starts_with("Deleted")).map(str::to_owned).collect())
    }

    /// What was deleted meanwhile.
    fn finish(self, machine: &Machine) -> Result<Vec<String>> {
        self.mark(machine)?;
        Ok(self.gone()?.into_iter().filter(|line| !line.contains(MARK)).collect())
    }
}

/// They began on the kernel's own NIC; VPP takes it, and they stay, for
/// `HOSTNET_LOAD_SECONDS`, while TCP takes what it can both ways.
fn steady(machine: &Machine) -> Result<()> {
    machine.host.ip("link set eth0 up\naddr add 192.0.2.10/24 dev eth0\naddr add 2001:db8:1::10/64 dev eth0 nodad")?;
    networks(&machine.peer)?;
    let start =
        |netns: &Netns, name: &str, config: &str| Frr::start_with(netns, &machine.dir().join(name), config, &DAEMONS);
    let peer = start(&machine.peer, "frr-peer", &config(addr::PEER4, 1, 65001, [addr::HOST4, addr::HOST6], ANNOUNCED))?;
    let host = start(&machine.host, "frr-host", &config(addr::HOST4, 2, 65002, [addr::PEER4, addr::PEER6], ""))?;
    in_kernel(&machine.host, &host)?;
    let shown = take(&*machine.vpp()?, "eth0", "")?;
    let watched = Watched::taken(machine, &shown)?;
    bfd(&host).with_context(|| sessions(&host))?;
    learned(&machine.host, &watched, &host)?;

    let told = Told::begin(machine)?;
    let before = (ups(&host)?, downs(&host)?);
    ensure!(!before.1.is_empty(), "no session of BFD is counted");
    let seconds = std::env::var("HOSTNET_LOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let end = Instant::now() + secs(seconds);
    while Instant::now() < end {
        for (from, to, there, seen_as) in [
            (&machine.host, &machine.peer, addr::PEER4, addr::HOST4),
            (&machine.peer, &machine.host, addr::HOST6, addr::PEER6),
        ] {
            tcp(from, to, there, seen_as, 5_000_000)?;
        }
    }
    let after = (ups(&host)?, downs(&host)?);
    ensure!(after == before, "sessions went down: {before:?}, then {after:?}");
    learned(&machine.host, &watched, &host)?;
    let gone = told.finish(machine)?;
    ensure!(gone.is_empty(), "{gone:#?}");
    host.stop()?;
    peer.stop()
}

/// The MAC of a virtual router of VRRP (RFC 9568, section 7.3).
pub(crate) const VIRTUAL_MAC: &str = "00:00:5e:00:01:07";

/// One side of VRRP; FRR wants a device for the virtual router.
pub(crate) fn router(netns: &Netns, dir: &Path, priority: u8) -> Result<Frr> {
    let config = format!(
        "interface eth0
 vrrp 7 version 3
 vrrp 7 priority {priority}
 vrrp 7 advertisement-interval 1000
 vrrp 7 ip 192.0.2.77
"
    );
    Frr::start_with(netns, dir, &config, &["vrrpd"])
}

pub(crate) fn becomes(frr: &Frr, status: &str) -> Result<()> {
    until(&format!("it becomes {status}"), secs(20), || {
        let said = frr.ctl("show vrrp json")?;
        let view: serde_json::Value = serde_json::from_str(&said)?;
        Ok((view.pointer("/0/v4/status").context(said)? == status).then_some(()))
    })
}

/// Advertisements leave and arrive, with the virtual router's own MAC.
fn elected(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    for netns in [&lab.host, &lab.peer] {
        netns.ip(&format!(
            "link add vrrp7 link eth0 address {VIRTUAL_MAC} type macvlan mode bridge
             addr add 192.0.2.77/24 dev vrrp7 noprefixroute
             link set vrrp7 up"
        ))?;
    }
    let group = mac_of("224.0.0.18".parse()?, [0; 6]);
    let advertised = [&group[..], &mac(VIRTUAL_MAC)?].concat();
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let host = router(&lab.host, &lab.dir().join("frr-host"), 200)?;
    let peer = router(&lab.peer, &lab.dir().join("frr-peer"), 100)?;
    becomes(&host, "Master").context("the host")?;
    becomes(&peer, "Backup").context("the peer")?;
    let sent = wire.wait_for("the host's advertisement", secs(10), |frame| {
        frame.starts_with(&advertised).then(|| frame.to_vec())
    })?;
    // IPv4's time to live and protocol.
    ensure!(sent.get(22..24) == Some(&[255, 112]), "{}", hex(&sent));
    host.stop()?;
    becomes(&peer, "Master").context("the peer, after the host")?;
    let host = router(&lab.host, &lab.dir().join("frr-host-again"), 200)?;
    becomes(&host, "Master").context("the host again")?;
    becomes(&peer, "Backup").context("the peer again")?;
    host.stop()?;
    peer.stop()
}
