//! Issue "a plain card", protection and sight: a flood of one class leaves the
//! host's sessions alive, and every packet of the host's is counted somewhere.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::{BROADCAST, ICMP, Ip, OSPF, TCP, UDP, arp, ethernet, icmp4, mac_of, syn, udp};
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{millis, secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::{ping, tcp};
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{Backend, cluster, disable, enable, enable_all, options, scenario, tap_of};
use crate::workers::two_workers;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("r07_floods_with_the_rates_of_the_start", options, floods_with_defaults),
        scenario("r07_a_flood_is_policed_in_its_class_alone", options, |lab| floods(lab, &CLASSES)),
        scenario("r07_floods_with_workers", two_workers, floods_with_workers),
        scenario("r07_what_reaches_the_host_with_and_without", options, with_and_without),
        scenario("r07_a_bulk_transfer_is_not_cut", options, bulk),
        scenario("r07_forwarding_costs_the_same", options, forwarding),
        scenario("r08_counters_and_traces_tell", options, told),
        scenario("r08_what_leaves_by_a_vlan_of_the_tap_is_policed_with_it", options, by_a_vlan),
        scenario("r08_wrong_words_change_nothing", options, wrong_words),
        scenario("r08_the_stanza_sets_it", stanza, by_stanza),
        scenario("r09_sources_that_are_not_the_hosts", options, sources),
    ]
}

const IP4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const LLDP: u16 = 0x88cc;
const CLASSES: [&str; 8] = ["arp-nd", "dhcp", "routing", "icmp", "l2", "multicast", "ports", "rest"];

fn peer4() -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 20)
}

fn host4() -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 10)
}

/// A frame of the class, from the peer; `number` makes it another one.
fn frame(class: &str, number: u64) -> Result<Vec<u8>> {
    let (from, to) = (mac(addr::PEER_MAC)?, mac(addr::UPLINK_MAC)?);
    let port = 1024 + u16::try_from(number % 60_000)?;
    let ip = |dst: Ipv4Addr, protocol: u8, body: &[u8]| {
        let packet = Ip::default().packet4(peer4(), dst, protocol, body);
        ethernet(mac_of(IpAddr::V4(dst), to), from, IP4, &packet)
    };
    let datagram = |dst: Ipv4Addr, to: u16| udp(peer4().into(), dst.into(), (port, to), b"flood");
    Ok(match class {
        // Of somebody else, which the host overhears.
        "arp-nd" => {
            let nobody = Ipv4Addr::new(192, 0, 2, 77);
            ethernet(BROADCAST, from, ARP, &arp(1, (from, peer4()), ([0; 6], nobody)))
        }
        "dhcp" => {
            let packet = Ip::default().packet4(peer4(), Ipv4Addr::BROADCAST, UDP, &datagram(Ipv4Addr::BROADCAST, 68));
            ethernet(BROADCAST, from, IP4, &packet)
        }
        "routing" => ip(Ipv4Addr::new(224, 0, 0, 5), OSPF, &[2; 40]),
        "icmp" => ip(host4(), ICMP, &icmp4(8, 0, [0, 7, 0, 7], b"flood")),
        "l2" => ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], from, LLDP, &[0; 40]),
        "multicast" => ip(Ipv4Addr::new(224, 0, 0, 251), UDP, &datagram(Ipv4Addr::new(224, 0, 0, 251), 5353)),
        "ports" => ip(host4(), TCP, &syn(peer4().into(), host4().into(), (port, 22), &[])),
        "rest" => ip(host4(), UDP, &datagram(host4(), 9)),
        _ => bail!("no class '{class}'"),
    })
}

/// Send frames of a class as fast as can be while `meanwhile` runs; how many.
fn flood<T>(lab: &Lab, class: &str, meanwhile: impl FnOnce(&AtomicU64) -> Result<T>) -> Result<T> {
    /// Then VPP may have a turn, where the machine has no processor for each.
    const AT_ONCE: usize = 64;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let frames = (0..256).map(|number| frame(class, number)).collect::<Result<Vec<_>>>()?;
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut all = frames.iter().cycle();
            while !stop.load(Ordering::Relaxed) {
                for frame in all.by_ref().take(AT_ONCE) {
                    // The device's queue may be full.
                    let ok = wire.send(frame).is_ok();
                    sent.fetch_add(u64::from(ok), Ordering::Relaxed);
                }
                wire.drain();
                std::thread::yield_now();
            }
        });
        let result = meanwhile(&sent);
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// A session of requests and answers over one TCP connection that stands.
struct Talk {
    name: &'static str,
    stream: TcpStream,
    server: Option<JoinHandle<()>>,
}

const REQUEST: [u8; 200] = [7; 200];

impl Talk {
    /// From the peer to a port of the host's.
    fn begin(peer: &Netns, host: &Netns, name: &'static str, port: u16) -> Result<Self> {
        let to = SocketAddr::new(host4().into(), port);
        let listener = host.within(|| Ok(TcpListener::bind(to)?)).with_context(|| format!("listen on {to}"))?;
        let stream = peer.within(|| Ok(TcpStream::connect_timeout(&to, secs(20))?)).context(name)?;
        // A flood of SYNs may have come in between, were there one: there is none.
        let (mut served, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        served.set_nodelay(true)?;
        // TCP's own patience with a lossy way, and a busy machine's.
        stream.set_read_timeout(Some(secs(60)))?;
        let server = std::thread::spawn(move || {
            // It must be there, or a SYN is answered with a reset.
            let _listener = listener;
            let mut request = REQUEST;
            while served.read_exact(&mut request).is_ok() && served.write_all(&request).is_ok() {}
        });
        Ok(Self { name, stream, server: Some(server) })
    }

    fn ask(&mut self) -> Result<()> {
        let mut answer = [0; REQUEST.len()];
        self.stream.write_all(&REQUEST).and_then(|()| self.stream.read_exact(&mut answer)).context(self.name)?;
        ensure!(answer == REQUEST, "{}: another answer", self.name);
        Ok(())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // The server's reading ends.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// The host's sessions: one of SSH's port, one of BGP's.
fn talks(lab: &Lab) -> Result<[Talk; 2]> {
    let mut talks = [Talk::begin(&lab.peer, &lab.host, "SSH", 22)?, Talk::begin(&lab.peer, &lab.host, "BGP", 179)?];
    talks.iter_mut().try_for_each(Talk::ask)?;
    Ok(talks)
}

fn json(lab: &Lab, command: &str) -> Result<Value> {
    let text = lab.vpp.ctl(command)?;
    serde_json::from_str(&text).with_context(|| format!("'{command}' said: {text}"))
}

/// What passed and what was policed of a class.
fn counted(lab: &Lab, class: &str) -> Result<(u64, u64)> {
    let view = json(lab, "show hostnet police json")?;
    let found = view["classes"].as_array().and_then(|all| all.iter().find(|shown| shown["class"] == class));
    let found = found.with_context(|| format!("class {class} in {view:#}"))?;
    let number = |name: &str| found[name].as_u64().with_context(|| format!("{name} in {found}"));
    Ok((number("passed")?, number("policed")?))
}

/// Each class with a flood of its own, while the sessions go on.
fn floods(lab: &Lab, classes: &[&'static str]) -> Result<()> {
    /// Less than any machine sends.
    const RATE: &str = "rate 200 burst 50";
    enable_all(lab)?;
    let mut talks = talks(lab)?;
    for class in classes {
        lab.vpp.quiet(&format!("hostnet police {class} {RATE}"))?;
        lab.vpp.quiet("clear hostnet counters")?;
        flood(lab, class, |_| {
            until(&format!("a flood of {class} is policed"), secs(30), || {
                Ok((counted(lab, class)?.1 > 500).then_some(()))
            })?;
            for _ in 0..5 {
                talks.iter_mut().try_for_each(Talk::ask).with_context(|| format!("while {class} is flooded"))?;
            }
            Ok(())
        })?;
        let mut others = String::new();
        for other in CLASSES.iter().filter(|other| *other != class) {
            let (_, policed) = counted(lab, other)?;
            if policed > 0 {
                // Writing to a String cannot fail.
                let _ = write!(others, " {other} {policed}");
            }
        }
        ensure!(others.is_empty(), "a flood of {class} led to policing of{others}");
        // As before, so that the next class is the only one that is so slow.
        lab.vpp.quiet(&format!("hostnet police {class} rate 100000"))?;
    }
    Ok(())
}

fn floods_with_workers(lab: &Lab) -> Result<()> {
    floods(lab, &["icmp", "l2", "ports"])?;
    let view = json(lab, "show hostnet police json")?;
    ensure!(view["threads"] == 3, "{view:#}");
    Ok(())
}

fn floods_with_defaults(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut talks = talks(lab)?;
    for class in CLASSES {
        flood(lab, class, |sent| {
            // Beyond the burst of most classes.
            until("the flood is under way", secs(30), || Ok((sent.load(Ordering::Relaxed) > 5000).then_some(())))?;
            for _ in 0..5 {
                talks.iter_mut().try_for_each(Talk::ask).with_context(|| format!("while {class} is flooded"))?;
            }
            Ok(())
        })?;
        let (passed, policed) = counted(lab, class)?;
        ensure!(passed > 0, "nothing of {class} reached the host; {policed} policed");
    }
    Ok(())
}

/// Packets that the host's kernel has received on its device.
fn received(lab: &Lab) -> Result<u64> {
    let text = lab.host.output("ip", &["-s", "-j", "link", "show", "eth0"])?;
    let view: Value = serde_json::from_str(&text)?;
    view[0]["stats64"]["rx"]["packets"].as_u64().with_context(|| format!("no count in {text}"))
}

fn with_and_without(lab: &Lab) -> Result<()> {
    const FRAMES: u64 = 1000;
    /// So many wait in the uplink's ring at the most.
    const CHUNK: u64 = 50;
    enable_all(lab)?;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let send = || -> Result<(u64, u64, u64)> {
        lab.vpp.quiet("clear hostnet counters")?;
        let before = received(lab)?;
        let mut sent = 0;
        while sent < FRAMES {
            for number in 0..CHUNK {
                wire.send(&frame("l2", number)?)?;
            }
            sent += CHUNK;
            until("VPP has seen them", secs(20), || {
                let (passed, policed) = counted(lab, "l2")?;
                Ok((passed + policed >= sent).then_some(()))
            })?;
        }
        let (passed, policed) = counted(lab, "l2")?;
        // What passed is on its way.
        let came = until("the host has them", secs(20), || {
            let came = received(lab)? - before;
            Ok((came >= passed).then_some(came))
        })?;
        Ok((passed, policed, came))
    };
    let mut checks = Checks::new();
    // In the time that this takes a few more pass than the burst.
    lab.vpp.quiet("hostnet police l2 rate 1 burst 10")?;
    let (passed, policed, came) = send()?;
    let told = format!("{passed} passed, {policed} policed, {came} came");
    checks.that("with the policer the host gets little", passed >= 10 && came < FRAMES / 2, &told);
    checks.that("the rest was policed", passed + policed == FRAMES && policed > FRAMES / 2, &told);
    for (off, on) in [("l2 off", "l2 on"), ("all off", "all on")] {
        lab.vpp.quiet(&format!("hostnet police {off}"))?;
        let (passed, policed, came) = send()?;
        let told = format!("{passed} passed, {policed} policed, {came} came");
        checks.that(&format!("{off}: the host gets all"), passed == FRAMES && policed == 0 && came >= FRAMES, &told);
        lab.vpp.quiet(&format!("hostnet police {on}"))?;
        let (_, policed, _) = send()?;
        checks.that(&format!("{on}: with the rate that it had"), policed > FRAMES / 2, &policed.to_string());
    }
    checks.finish()
}

fn bulk(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    for (host, peer) in [(addr::HOST4, addr::PEER4), (addr::HOST6, addr::PEER6)] {
        tcp(&lab.peer, &lab.host, host, peer, 20_000_000)?;
        tcp(&lab.host, &lab.peer, peer, host, 20_000_000)?;
    }
    for class in CLASSES {
        let (passed, policed) = counted(lab, class)?;
        ensure!(policed == 0, "{class}: {policed} policed, {passed} passed");
    }
    let (passed, _) = counted(lab, "rest")?;
    ensure!(passed > 1000, "the transfer was not seen: {passed}");
    Ok(())
}

/// Nodes that packets from the peer to the pod have crossed, and the clocks of
/// those between the drivers, for each packet.
fn crossed(lab: &Lab, frame: &[u8]) -> Result<(Vec<String>, f64)> {
    const FRAMES: u64 = 4000;
    const CHUNK: u64 = 100;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let pod = Tap::on(&lab.pod, "eth0")?;
    lab.vpp.ctl("clear runtime")?;
    let (mut sent, mut arrived) = (0, 0);
    while sent < FRAMES {
        for _ in 0..CHUNK {
            wire.send(frame)?;
        }
        sent += CHUNK;
        // A few may be lost on a busy machine's rings: those are not waited for.
        until("they arrive at the pod", secs(20), || {
            let came = pod.drain_incoming().iter().filter(|came| came.windows(5).any(|part| part == b"flood")).count();
            arrived += u64::try_from(came)?;
            Ok((arrived + CHUNK / 2 >= sent).then_some(()))
        })?;
    }
    let (mut names, mut clocks, mut packets) = (Vec::new(), 0.0, 0.0_f64);
    for line in lab.vpp.ctl("show runtime")?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Name, state (one word or two), calls, vectors, suspends, clocks, vectors a call.
        let [.., _calls, vectors, _suspends, each, _] = words[..] else { continue };
        let (Ok(vectors), Ok(each)) = (vectors.parse::<f64>(), each.parse::<f64>()) else { continue };
        if vectors < 2000.0 {
            continue;
        }
        names.push(words[0].to_owned());
        // The drivers' are system calls.
        if !words[0].contains("af-packet") && !words[0].ends_with("-tx") {
            clocks += vectors * each;
            packets = packets.max(vectors);
        }
    }
    names.sort();
    ensure!(packets > 0.0, "no packet was seen");
    Ok((names, clocks / packets))
}

fn forwarding(lab: &Lab) -> Result<()> {
    const ROUNDS: usize = 7;
    /// The same, but for what a busy machine does to single rounds.
    const MOST: f64 = 1.3;
    let pod: Ipv4Addr = addr::POD4.parse()?;
    let data = udp(peer4().into(), pod.into(), (9, 9), b"flood");
    let packet = Ip::default().packet4(peer4(), pod, UDP, &data);
    let frame = ethernet(mac(addr::UPLINK_MAC)?, mac(addr::PEER_MAC)?, IP4, &packet);
    ping(&lab.peer, addr::POD4)?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (names, clocks) = crossed(lab, &frame)?;
        without.push(clocks);
        enable_all(lab)?;
        let (with_us, clocks) = crossed(lab, &frame)?;
        with.push(clocks);
        disable(lab, "host-eth0")?;
        ensure!(names == with_us, "other nodes were crossed: {names:?} without, {with_us:?} with");
        ensure!(names.iter().any(|name| name == "ip4-lookup"), "{names:?}");
    }
    let median = |list: &mut Vec<f64>| {
        list.sort_by(f64::total_cmp);
        list[ROUNDS / 2]
    };
    let (without, with) = (median(&mut without), median(&mut with));
    ensure!(with <= without * MOST, "clocks of a packet: {without:.0} without, {with:.0} with");
    Ok(())
}

fn told(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    lab.vpp.quiet("clear hostnet counters")?;
    lab.vpp.ctl("clear trace")?;
    lab.vpp.ctl("trace add af-packet-input 500")?;
    ping(&lab.peer, addr::HOST4)?;
    ping(&lab.peer, addr::HOST6)?;
    let mut checks = Checks::new();
    let view = json(lab, "show hostnet counters host-eth0 json")?;
    let icmp = |view: &Value, name: &str| {
        let classes = view["uplinks"][0]["classes"].as_array().cloned().unwrap_or_default();
        classes.iter().find(|shown| shown["class"] == "icmp").and_then(|shown| shown[name].as_u64())
    };
    for name in ["to_host_passed", "from_host_passed"] {
        checks.that(name, icmp(&view, name) >= Some(6), &format!("{view:#}"));
    }
    for name in ["to_host_policed", "from_host_refused"] {
        checks.that(name, icmp(&view, name) == Some(0), &format!("{view:#}"));
    }
    let nodes = view["nodes"].as_array().cloned().unwrap_or_default();
    let has =
        |reason: &str| nodes.iter().any(|shown| shown["reason"] == reason && shown["packets"].as_u64() >= Some(6));
    checks.that("nodes' counters", has("icmp: passed to the host") && has("icmp: from the host"), &format!("{view:#}"));
    let errors = lab.vpp.ctl("show errors")?;
    checks.that("show errors", errors.contains("icmp: passed to the host"), &errors);
    let trace = lab.vpp.ctl("show trace max 500")?;
    checks.that("the trace of what passes", trace.contains("class icmp: passes"), &trace);
    // And of what the host sends.
    trace_from_host(lab)?;
    ping(&lab.host, addr::PEER4)?;
    let trace = lab.vpp.ctl("show trace max 500")?;
    checks.that("the trace of what the host sends", trace.contains(": class icmp\n"), &trace);
    // What is too much, in the trace too.
    lab.vpp.quiet("hostnet police l2 rate 1 burst 1")?;
    lab.vpp.ctl("clear trace")?;
    lab.vpp.ctl("trace add af-packet-input 50")?;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    for number in 0..20 {
        wire.send(&frame("l2", number)?)?;
    }
    until("20 frames are counted", secs(20), || {
        let (passed, policed) = counted(lab, "l2")?;
        Ok((passed + policed >= 20).then_some(()))
    })?;
    let trace = lab.vpp.ctl("show trace max 50")?;
    checks.that("the trace of what is policed", trace.contains("class l2: policed, more than"), &trace);
    let errors = lab.vpp.ctl("show errors")?;
    checks.that("show errors", errors.contains("l2: policed"), &errors);
    let text = lab.vpp.ctl("show hostnet counters")?;
    checks.that("as text", text.contains("To host") && text.contains("hostnet-police"), &text);
    // The host's own question is answered whatever the class has left.
    lab.vpp.quiet("hostnet police arp-nd rate 1 burst 1")?;
    for number in 30..40 {
        lab.host.ip(&format!("route replace 192.0.2.{number} dev eth0"))?;
        lab.host.ip("neigh flush dev eth0")?;
        ping(&lab.host, addr::PEER4)?;
    }
    lab.vpp.quiet("clear hostnet counters")?;
    let view = json(lab, "show hostnet counters json")?;
    checks.that("cleared", icmp(&view, "to_host_passed") == Some(0), &format!("{view:#}"));
    checks.finish()
}

/// Trace what the host sends from now on.
fn trace_from_host(lab: &Lab) -> Result<()> {
    let node = match Backend::of_this_run() {
        Backend::Builtin => "hostnet-tap-input",
        Backend::Vhost => "tap-input",
    };
    lab.vpp.ctl("clear trace")?;
    lab.vpp.ctl(&format!("trace add {node} 100"))?;
    Ok(())
}

/// VPP knows a VLAN on the tap by an interface of its own; its frames go by the
/// same device.
fn by_a_vlan(lab: &Lab) -> Result<()> {
    const FRAMES: u64 = 200;
    let tap = tap_of(&enable_all(lab)?)?;
    lab.vpp.ctl(&format!("create sub-interfaces {tap} 7"))?;
    lab.vpp.all_quiet(&format!(
        "set interface state {tap}.7 up\n\
         set interface ip address {tap}.7 10.7.0.1/24\n\
         set ip neighbor {tap}.7 10.7.0.2 02:00:5e:00:00:77 static\n\
         hostnet police rest rate 1 burst 10\n\
         clear hostnet counters"
    ))?;
    let behind = Ipv4Addr::new(10, 7, 0, 2);
    let data = udp(peer4().into(), behind.into(), (9, 9), b"flood");
    let packet = Ip::default().packet4(peer4(), behind, UDP, &data);
    let frame = ethernet(mac(addr::UPLINK_MAC)?, mac(addr::PEER_MAC)?, IP4, &packet);
    let (wire, host) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?);
    for _ in 0..FRAMES {
        wire.send(&frame)?;
    }
    host.wait_for("the first ones leave by the tap", secs(10), |frame| {
        frame.windows(5).any(|part| part == b"flood").then_some(())
    })?;
    until("the rest is policed with what the device gets", secs(10), || {
        let (passed, policed) = counted(lab, "rest")?;
        ensure!(passed >= 10 && passed + policed >= FRAMES && policed > FRAMES / 2, "{passed} and {policed}");
        Ok(Some(()))
    })?;
    lab.vpp.ctl(&format!("delete sub-interface {tap}.7"))?;
    disable(lab, "host-eth0")
}

fn wrong_words(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let settings = || -> Result<String> {
        let mut view = json(lab, "show hostnet police json")?;
        for class in view["classes"].as_array_mut().into_iter().flatten() {
            class["passed"] = Value::Null;
            class["policed"] = Value::Null;
        }
        Ok(view.to_string())
    };
    let before = settings()?;
    let mut checks = Checks::new();
    for (line, text) in [
        ("", "is missing"),
        ("ssh rate 5", "unknown class 'ssh'"),
        ("icmp", "what is to be done"),
        ("icmp rate", "'rate' has no value"),
        ("icmp rate 0", "rate 0 is out of range"),
        ("icmp rate fast", "rate 'fast' is not a number"),
        ("icmp burst 100000001", "burst 100000001 is out of range"),
        ("icmp rate 1 rate 2", "'rate' is given twice"),
        ("icmp on off", "'on' and 'off' are given together"),
        ("icmp off rate 5", "a rate and 'off' are given together"),
        ("all rate 5", "'all' has no rate of its own"),
        ("icmp 22", "behind class 'ports' only"),
        ("ports ssh", "'ssh' is no port"),
        ("ports 22,70000", "'70000' is no port"),
        ("ports 22,22", "port 22 is given twice"),
        ("icmp rate 5 now", "'now' is no port"),
    ] {
        let said = lab.vpp.ctl(&format!("hostnet police {line}"))?;
        checks.that(&format!("'{line}'"), said.contains(text) && said.trim().lines().count() == 1, said.trim());
    }
    for (command, text) in [
        ("show hostnet police yaml", "unknown word 'yaml'"),
        ("show hostnet counters nosuch0", "unknown interface 'nosuch0'"),
        ("show hostnet counters host-pod0", "no counters of its own"),
        ("clear hostnet counters now", "unknown word 'now'"),
    ] {
        let said = lab.vpp.ctl(command)?;
        checks.that(command, said.contains(text), said.trim());
    }
    let after = settings()?;
    checks.that("nothing changed", after == before, &format!("{before}\n{after}"));
    // A right one does.
    lab.vpp.quiet("hostnet police ports 22,830 rate 7 burst 3")?;
    let after = json(lab, "show hostnet police json")?;
    checks.that("the ports", after["ports"] == serde_json::json!([22, 830]), &after.to_string());
    let text = lab.vpp.ctl("show hostnet police")?;
    let is_set = text.lines().any(|line| line.split_whitespace().take(3).eq(["ports", "7", "3"]));
    checks.that("the rate", is_set && text.contains("ports: 22,830"), &text);
    checks.finish()
}

fn stanza() -> hostnet_lab::topology::Options {
    let mut options = options();
    options.vpp.extra.push_str("hostnet { police { icmp rate 77 burst 5 ports 22,830 multicast off } }");
    options
}

fn by_stanza(lab: &Lab) -> Result<()> {
    let view = json(lab, "show hostnet police json")?;
    let of = |class: &str| view["classes"].as_array().and_then(|all| all.iter().find(|c| c["class"] == class)).cloned();
    ensure!(of("icmp").is_some_and(|icmp| icmp["rate"] == 77 && icmp["burst"] == 5 && icmp["on"] == true), "{view:#}");
    ensure!(of("multicast").is_some_and(|class| class["on"] == false), "{view:#}");
    ensure!(view["ports"] == serde_json::json!([22, 830]), "{view:#}");
    Ok(())
}

fn sources(lab: &Lab) -> Result<()> {
    let mine: Ipv4Addr = addr::HOST4.parse()?;
    let others = Ipv4Addr::new(203, 0, 113, 77);
    let frame = |source: Ipv4Addr, mark: &[u8]| -> Result<Vec<u8>> {
        let data = udp(source.into(), peer4().into(), (9, 9), mark);
        let packet = Ip::default().packet4(source, peer4(), UDP, &data);
        Ok(ethernet(mac("02:ca:11:c0:fd:00")?, mac(addr::UPLINK_MAC)?, IP4, &packet))
    };
    let has = |mark: &'static [u8]| move |frame: &[u8]| frame.windows(mark.len()).any(|part| part == mark);
    let refused = || -> Result<u64> {
        let view = json(lab, "show hostnet counters json")?;
        let classes = view["uplinks"][0]["classes"].as_array().context("no classes")?;
        Ok(classes.iter().filter_map(|class| class["from_host_refused"].as_u64()).sum())
    };
    enable_all(lab)?;
    ping(&lab.host, addr::PEER4)?;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    Tap::on(&lab.host, "eth0")?.send(&frame(others, b"first#")?)?;
    wire.wait_for("without the check it is routed", secs(5), |frame| has(b"first#")(frame).then_some(()))?;
    ensure!(refused()? == 0, "nothing is to be refused yet");
    disable(lab, "host-eth0")?;

    enable(lab, "host-eth0", &format!("{} source-check", cluster()))?;
    ping(&lab.host, addr::PEER4)?;
    ping(&lab.host, addr::PEER6)?;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let host = Tap::on(&lab.host, "eth0")?;
    trace_from_host(lab)?;
    host.send(&frame(others, b"second#")?)?;
    host.send(&frame(mine, b"third#")?)?;
    // They keep their order.
    let seen = wire.wait_for("the host's own is routed", secs(5), |frame| {
        (has(b"second#")(frame) || has(b"third#")(frame)).then(|| has(b"third#")(frame))
    })?;
    ensure!(seen, "another's source was not refused");
    until("it is counted", millis(5000), || Ok((refused()? == 1).then_some(())))?;
    let trace = lab.vpp.ctl("show trace max 100")?;
    ensure!(trace.contains("source 203.0.113.77 is not the host's, refused"), "{trace}");
    // An address that the host gets is its own from then on.
    lab.host.ip("addr add 203.0.113.77/32 dev eth0")?;
    until("the new address may speak", secs(20), || {
        host.send(&frame(others, b"fourth#")?)?;
        Ok(wire.drain().iter().any(|frame| has(b"fourth#")(frame)).then_some(()))
    })
}
