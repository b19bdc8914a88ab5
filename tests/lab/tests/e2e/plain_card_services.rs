//! Issue "a plain card", 3 and 4: programs of Debian's that speak to all on their
//! link, or move an address between machines.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::{BROADCAST, ethernet};
use hostnet_lab::netns::Netns;
use hostnet_lab::programs::{Program, Rooms};
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::ping;
use hostnet_lab::wire::Tap;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{enable_all, options, plain, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("q04_lldpd_sees_its_neighbour_and_is_seen", options, lldp),
        scenario("q04_avahi_resolves_and_is_resolved", options, mdns),
        plain("q03_keepalived_moves_an_address_between_two_nodes", moved),
    ]
}

/// The MACs of the ports that a machine's lldpd sees behind a device of its own.
fn seen_by(rooms: &Rooms<'_>, device: &str) -> Result<Vec<String>> {
    let said = rooms.output("lldpcli", &["-f", "json0", "show", "neighbors", "ports", device])?;
    let view: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
    let list = view.pointer("/lldp/0/interface").and_then(Value::as_array).cloned().unwrap_or_default();
    let port = |seen: &Value| Some(seen.pointer("/port/0/id/0/value")?.as_str()?.to_owned());
    Ok(list.iter().filter_map(port).collect())
}

fn lldp(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let host = Rooms::new(&lab.host, &lab.dir().join("rooms-host"))?;
    let beyond = Rooms::new(&lab.gw, &lab.dir().join("rooms-gw"))?;
    let mut programs = Vec::new();
    for rooms in [&host, &beyond] {
        programs.push(rooms.start("lldpd", &["-d"])?);
        until("lldpd answers", secs(20), || rooms.output("lldpcli", &["show", "chassis"]).map(Some))?;
        rooms.output("lldpcli", &["configure", "lldp", "tx-interval", "1"])?;
    }
    // A bridge keeps LLDP: whom it comes to is the port.
    let links: Value = serde_json::from_str(&lab.gw.output("ip", &["-j", "link", "show", "dev", "vpp0"])?)?;
    let port = links[0]["address"].as_str().context("vpp0 has no MAC")?;
    for (rooms, device, wanted) in [(&host, "eth0", port), (&beyond, "vpp0", addr::UPLINK_MAC)] {
        until(&format!("lldpd sees {wanted} by {device}"), secs(20), || {
            let seen = seen_by(rooms, device)?;
            ensure!(seen == [wanted], "seen: {seen:?}");
            Ok(Some(()))
        })
        .with_context(|| programs.iter().map(Program::said).collect::<String>())?;
    }
    programs.into_iter().try_for_each(Program::stop)
}

/// Ask a machine's avahi-daemon, as the C library's module for mDNS does.
fn resolve(rooms: &Rooms<'_>, question: &str) -> Result<String> {
    let mut socket = UnixStream::connect(rooms.path("run/avahi-daemon/socket"))?;
    socket.set_read_timeout(Some(secs(20)))?;
    socket.write_all(format!("{question}\n").as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

fn mdns(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut machines = Vec::new();
    for (name, netns, ip4, ip6) in
        [("host", &lab.host, addr::HOST4, addr::HOST6), ("peer", &lab.peer, addr::PEER4, addr::PEER6)]
    {
        let rooms = Rooms::new(netns, &lab.dir().join(format!("rooms-{name}")))?;
        let config = format!("[server]\nhost-name=lab-{name}\nuse-ipv4=yes\nuse-ipv6=yes\nenable-dbus=no\n");
        let conf = rooms.write("avahi.conf", &config)?;
        let mut daemon = rooms.start("avahi-daemon", &["-f", &conf])?;
        daemon.wait_said("Server startup complete", 1)?;
        machines.push((name, rooms, daemon, ip4, ip6));
    }
    let mut checks = Checks::new();
    for (who, rooms, _, own4, _) in &machines {
        for (name, _, _, ip4, ip6) in machines.iter().filter(|(.., ip4, _)| ip4 != own4) {
            for (family, address) in [("IPV4", ip4), ("IPV6", ip6)] {
                let question = format!("RESOLVE-HOSTNAME-{family} lab-{name}.local");
                let answer = resolve(rooms, &question)?;
                let right = answer.starts_with('+') && answer.contains(&format!(" {address}\n"));
                checks.that(&format!("{who}: {question} gives {address}"), right, &answer);
            }
        }
    }
    checks.finish()?;
    machines.into_iter().try_for_each(|(_, _, daemon, ..)| daemon.stop())
}

/// Addresses of the second node, in the place of those that each lab has.
mod second {
    pub(super) const HOST4: &str = "192.0.2.12";
    pub(super) const HOST6: &str = "2001:db8:1::12";
    pub(super) const MAC: &str = "02:00:5e:00:00:12";
}

/// The addresses that move.
const VIRTUAL: [&str; 2] = ["192.0.2.100", "2001:db8:1::100"];

/// Another node of a lab's own, on the first lab's segment.
fn join(first: &Lab, lab: &Lab) -> Result<()> {
    // VPP makes its address of the link of the MAC that it has then.
    lab.vpp.all_quiet(&format!(
        "set interface ip address del host-eth0 {old4}/24
         set interface ip address del host-eth0 {old6}/64
         disable ip6 interface host-eth0
         set interface mac address host-eth0 {mac}
         enable ip6 interface host-eth0
         set interface ip address host-eth0 {new4}/24
         set interface ip address host-eth0 {new6}/64",
        mac = second::MAC,
        old4 = addr::HOST4,
        old6 = addr::HOST6,
        new4 = second::HOST4,
        new6 = second::HOST6,
    ))?;
    // What else there is of the second lab is not on the segment.
    lab.gw.ip(&format!(
        "addr flush dev br0
         link set peer0 nomaster
         link add trunk type veth peer name trunk netns {}
         link set trunk master br0 up",
        first.gw.name()
    ))?;
    first.gw.ip("link set trunk master br0 up").map(drop)
}

/// What one machine says to all comes to each other one once, and never back: no
/// node sends on what it hears.
fn heard_once(labs: [&Lab; 2]) -> Result<()> {
    let [first, other] = labs;
    let machines = [&first.host, &other.host, &first.peer];
    for (sender, last) in [(0, 0x70), (1, 0x71), (2, 0x72)] {
        let taps = machines.into_iter().map(|netns| Tap::on(netns, "eth0")).collect::<Result<Vec<_>>>()?;
        let frame = ethernet(BROADCAST, [2, 0, 0x5e, 0, 0, last], 0x88b5, &[0x2a; 46]);
        taps[sender].send(&frame)?;
        for (index, tap) in taps.iter().enumerate().filter(|(index, _)| *index != sender) {
            let what = format!("what machine {sender} says to all, at machine {index}");
            tap.wait_for(&what, secs(5), |seen| (seen == frame).then_some(()))?;
        }
        // Whatever comes again has come before these answers.
        ping(&first.peer, addr::HOST4)?;
        ping(&first.peer, second::HOST4)?;
        for (index, tap) in taps.iter().enumerate() {
            let more = tap.drain_incoming().into_iter().filter(|seen| *seen == frame).count();
            ensure!(more == 0, "what machine {sender} says to all comes {more} times more to machine {index}");
        }
    }
    Ok(())
}

/// One machine's keepalived: each family has an address of its own to move.
fn keepalived(lab: &Lab, rooms: &Rooms<'_>, priority: u8) -> Result<Program> {
    let instance = |number: u8, address: &str| {
        format!(
            "vrrp_instance v{number} {{
  state BACKUP
  interface eth0
  virtual_router_id {number}
  priority {priority}
  advert_int 1
  virtual_ipaddress {{ {address} }}
}}
"
        )
    };
    let config = format!(
        "global_defs {{\n router_id {}\n}}\n{}{}",
        lab.host.name(),
        instance(4, &format!("{}/24", VIRTUAL[0])),
        instance(6, &format!("{}/64", VIRTUAL[1]))
    );
    let conf = rooms.write("keepalived.conf", &config)?;
    rooms.start("keepalived", &["-n", "-l", "-D", "-f", &conf])
}

/// The MAC that the kernel has for a neighbour.
fn neighbour(netns: &Netns, address: &str) -> Result<String> {
    let said = netns.output("ip", &["-j", "neigh", "show", "dev", "eth0", "to", address])?;
    let list: Value = serde_json::from_str(&said)?;
    Ok(list[0]["lladdr"].as_str().unwrap_or_default().to_owned())
}

/// The node of this MAC has the addresses, and all that talk to them follow: the
/// peer within a second, and both nodes' hosts, for which VPP knows their
/// neighbours.
fn follow(labs: [&Lab; 2], at: &Lab, mac: &str) -> Result<()> {
    for address in VIRTUAL {
        until(&format!("{address} comes to {mac}"), secs(20), || {
            Ok(at.host.output("ip", &["addr", "show", "dev", "eth0", "to", address])?.contains(address).then_some(()))
        })?;
    }
    let [first, _] = labs;
    for address in VIRTUAL {
        until(&format!("the peer knows {address} by {mac}"), secs(1), || {
            let seen = neighbour(&first.peer, address)?;
            ensure!(seen == mac, "the peer has '{seen}'");
            Ok(Some(()))
        })?;
        ping(&first.peer, address).with_context(|| format!("the peer and {address}"))?;
        // Who did not hear of it asks.
        first.peer.ip(&format!("neigh del {address} dev eth0"))?;
        ping(&first.peer, address).with_context(|| format!("the peer asks for {address}"))?;
        for lab in labs {
            // VPP drops the first packet to a neighbour that it does not know yet.
            until(&format!("host {} reaches {address}", lab.tag()), secs(5), || ping(&lab.host, address).map(Some))?;
        }
    }
    Ok(())
}

fn moved() -> Result<()> {
    let (first, other) = (Lab::start(&options())?, Lab::start(&options())?);
    join(&first, &other)?;
    let labs = [&first, &other];
    for lab in labs {
        enable_all(lab)?;
        // Its VPP knows the peer, as a node that is at work does.
        until("the host reaches the peer", secs(5), || {
            [addr::PEER4, addr::PEER6].into_iter().try_for_each(|peer| ping(&lab.host, peer)).map(Some)
        })?;
    }
    heard_once(labs)?;
    let rooms =
        [Rooms::new(&first.host, &first.dir().join("rooms"))?, Rooms::new(&other.host, &other.dir().join("rooms"))?];
    // The peer has to have them in use: only then it listens to announcements.
    let better = keepalived(&first, &rooms[0], 200)?;
    let told = |error: anyhow::Error| {
        error.context([rooms[0].read("keepalived.out"), rooms[1].read("keepalived.out")].concat())
    };
    for address in VIRTUAL {
        until(&format!("somebody has {address}"), secs(20), || ping(&first.peer, address).map(Some)).map_err(told)?;
    }
    let worse = keepalived(&other, &rooms[1], 50)?;
    follow(labs, &first, addr::UPLINK_MAC).map_err(told)?;
    better.stop()?;
    follow(labs, &other, second::MAC).map_err(told)?;
    let better = keepalived(&first, &rooms[0], 200)?;
    follow(labs, &first, addr::UPLINK_MAC).map_err(told)?;
    worse.stop()?;
    better.stop()
}
