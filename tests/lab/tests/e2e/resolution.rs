//! 13: how the host resolves addresses on its device.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use etherparse::PacketBuilder;
use hostnet_lab::checks::Checks;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::wire::{Mac, Tap, mac};
use libtest_mimic::Trial;

use crate::support::{clean_scenario, enable_all};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario("m13_arp_is_answered_for_every_target_but_the_hosts_own", arp),
        clean_scenario("m13_nd_is_answered_for_every_target_but_the_hosts_own", nd),
        clean_scenario("m13_conflict_detection_of_programs_is_content", programs),
    ]
}

const BROADCAST: Mac = [0xff; 6];

/// An ARP request as a host sends it.
fn arp_request(sender: Ipv4Addr, target: Ipv4Addr) -> Result<Vec<u8>> {
    let own = mac(addr::UPLINK_MAC)?;
    let mut frame = Vec::from(BROADCAST);
    frame.extend(own);
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(own);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    // The smallest frame of Ethernet, as on a wire.
    frame.resize(60, 0);
    Ok(frame)
}

/// Whom an ARP answer is about, and the MAC that it gives.
fn arp_answer(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let is_answer = frame.get(12..14)? == [0x08, 0x06] && frame.get(20..22)? == [0, 2];
    let sender: [u8; 4] = frame.get(28..32)?.try_into().ok()?;
    let mac: Mac = frame.get(22..28)?.try_into().ok()?;
    is_answer.then(|| (Ipv4Addr::from(sender), mac))
}

fn arp(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let tap = Tap::on(&lab.host, "eth0")?;
    let (host, none): (Ipv4Addr, Ipv4Addr) = (addr::HOST4.parse()?, Ipv4Addr::UNSPECIFIED);
    let ask = |target: Ipv4Addr| -> Result<Mac> {
        tap.send(&arp_request(host, target)?)?;
        tap.wait_for(&format!("an answer for {target}"), secs(3), |frame| {
            arp_answer(frame).filter(|(about, _)| *about == target).map(|(_, mac)| mac)
        })
    };
    let mut checks = Checks::new();
    let mut given = Vec::new();
    for (what, target) in [
        ("a peer on the link", addr::PEER4),
        ("the gateway", addr::GW4),
        ("nobody on the link", "192.0.2.250"),
        ("off the link", "203.0.113.99"),
        ("link-local", "169.254.7.7"),
        ("the pod", addr::POD4),
    ] {
        let answer = ask(target.parse()?);
        given.extend(answer.as_ref().ok().copied());
        checks.add(what, answer.map(drop));
    }
    let first = given.first().copied().context("no answer at all")?;
    checks.that("one MAC for all", given.iter().all(|mac| *mac == first), &format!("{given:x?}"));
    checks.that("not the host's own", first != mac(addr::UPLINK_MAC)?, &format!("{first:x?}"));

    // Probes and announcements of the host's own address, then one that is
    // answered: what would be answered before it has been by then.
    tap.drain();
    tap.send(&arp_request(none, host)?)?;
    tap.send(&arp_request(host, host)?)?;
    tap.send(&arp_request(addr::PEER4.parse()?, host)?)?;
    let marker: Ipv4Addr = "192.0.2.251".parse()?;
    tap.send(&arp_request(host, marker)?)?;
    let mut about_host = 0;
    tap.wait_for("the marker's answer", secs(3), |frame| {
        let (about, _) = arp_answer(frame)?;
        about_host += usize::from(about == host);
        (about == marker).then_some(())
    })?;
    checks.that("the host's own address is never answered", about_host == 0, &about_host.to_string());
    checks.finish()
}

/// A neighbour solicitation as a host sends it; with no source, for duplicate
/// address detection.
fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Result<Vec<u8>> {
    let own = mac(addr::UPLINK_MAC)?;
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut body = target.octets().to_vec();
    if !source.is_unspecified() {
        // Source link-layer address option.
        body.extend([1, 1]);
        body.extend(own);
    }
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(own, [0x33, 0x33, 0xff, a, b, c])
        .ipv6(source.octets(), group.octets(), 255)
        .icmpv6_raw(135, 0, [0; 4])
        .write(&mut frame, &body)?;
    Ok(frame)
}

/// Whom an advertisement is about, and the MAC that it gives.
fn advertisement(frame: &[u8]) -> Option<(Ipv6Addr, Mac)> {
    let is_answer = frame.get(12..14)? == [0x86, 0xdd] && frame.get(20)? == &58 && frame.get(54)? == &136;
    let target: [u8; 16] = frame.get(62..78)?.try_into().ok()?;
    // Target link-layer address option.
    let option = frame.get(78..80)? == [2, 1];
    let mac: Mac = frame.get(80..86)?.try_into().ok()?;
    (is_answer && option).then(|| (Ipv6Addr::from(target), mac))
}

fn nd(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let tap = Tap::on(&lab.host, "eth0")?;
    let (host, none): (Ipv6Addr, Ipv6Addr) = (addr::HOST6.parse()?, Ipv6Addr::UNSPECIFIED);
    let local: Ipv6Addr = "fe80::5eff:fe00:10".parse()?;
    let mut checks = Checks::new();
    let mut given = Vec::new();
    for (what, source, target) in [
        ("a peer on the link", host, addr::PEER6),
        ("a peer, asked from the link-local address", local, addr::PEER6),
        ("the gateway", host, addr::GW6),
        ("nobody on the link", host, "2001:db8:1::ffff"),
        ("off the link", host, "2001:db8:99::1"),
        ("a link-local neighbour", local, "fe80::1234"),
        ("the pod", host, addr::POD6),
    ] {
        let target: Ipv6Addr = target.parse()?;
        tap.send(&solicitation(source, target)?)?;
        let answer = tap.wait_for(&format!("an answer for {target}"), secs(3), |frame| {
            advertisement(frame).filter(|(about, _)| *about == target).map(|(_, mac)| mac)
        });
        given.extend(answer.as_ref().ok().copied());
        checks.add(what, answer.map(drop));
    }
    let first = given.first().copied().context("no answer at all")?;
    checks.that("one MAC for all", given.iter().all(|mac| *mac == first), &format!("{given:x?}"));
    checks.that("not the host's own", first != mac(addr::UPLINK_MAC)?, &format!("{first:x?}"));

    tap.drain();
    for own in [host, local] {
        tap.send(&solicitation(none, own)?)?;
        tap.send(&solicitation(addr::PEER6.parse()?, own)?)?;
    }
    let marker: Ipv6Addr = "2001:db8:1::fffe".parse()?;
    tap.send(&solicitation(host, marker)?)?;
    let mut about_host = 0;
    tap.wait_for("the marker's answer", secs(3), |frame| {
        let (about, _) = advertisement(frame)?;
        about_host += usize::from(about == host || about == local);
        (about == marker).then_some(())
    })?;
    checks.that("the host's own addresses are never answered", about_host == 0, &about_host.to_string());
    checks.finish()
}

fn programs(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    // `arping -D` succeeds when nobody answers.
    let said = lab.host.output("arping", &["-D", "-c", "2", "-w", "3", "-I", "eth0", addr::HOST4]);
    checks.add("arping -D finds the host's address free", said.map(drop));
    let said = lab.host.output("arping", &["-c", "1", "-w", "3", "-I", "eth0", addr::PEER4]);
    checks.add("arping finds a peer", said.map(drop));
    // The kernel's own detection, by setting the address anew.
    lab.host.ip(&format!("addr del {0}/64 dev eth0\naddr add {0}/64 dev eth0", addr::HOST6))?;
    let settled = until("the kernel's detection ends", secs(6), || {
        let said = lab.host.output("ip", &["-6", "addr", "show", "dev", "eth0"])?;
        Ok((!said.contains("tentative")).then_some(said))
    });
    checks.add(
        "the kernel finds its own address free",
        settled.and_then(|said| {
            ensure!(!said.contains("dadfailed") && said.contains(addr::HOST6), "{said}");
            Ok(())
        }),
    );
    checks.finish()
}
