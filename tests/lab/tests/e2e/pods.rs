//! 2 and 3: pods on the node, and tunnels that VPP terminates.

use anyhow::{Context as _, Result, ensure};
use etherparse::{IpNumber, PacketBuilder};
use hostnet_lab::checks::Checks;
use hostnet_lab::time::secs;
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{ping, tcp, udp};
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;

use crate::support::{clean_scenario, enable_all, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario("m02_pod_and_host_talk_and_nothing_is_on_the_uplink", pod_and_host),
        scenario("m03_ipip_stays_in_vpp", options, ipip),
        scenario("m03_vxlan_stays_in_vpp", with_vxlan, vxlan),
    ]
}

fn pod_and_host(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let uplink = Tap::on(&lab.gw, "vpp0")?;
    let mut checks = Checks::new();
    for (pod, host) in [(addr::POD4, addr::HOST4), (addr::POD6, addr::HOST6)] {
        checks.add("pod to host", ping(&lab.pod, host));
        checks.add("pod connects to host", tcp(&lab.pod, &lab.host, host, pod, 100_000));
        checks.add("pod asks host", udp(&lab.pod, &lab.host, host, pod));
        checks.add("host to pod", ping(&lab.host, pod));
        checks.add("host connects to pod", tcp(&lab.host, &lab.pod, pod, host, 100_000));
        checks.add("host asks pod", udp(&lab.host, &lab.pod, pod, host));
    }
    // A later packet that does pass the uplink bounds the wait, and shows that
    // the look-out sees.
    ping(&lab.peer, addr::HOST4)?;
    let mut seen_any = false;
    let of_pod = uplink.drain().into_iter().filter(|frame| {
        seen_any = true;
        let has = |text: &str| octets(text).is_ok_and(|ip| contains(frame, &ip));
        has(addr::POD4) || has(addr::POD6)
    });
    let of_pod = of_pod.count();
    ensure!(seen_any, "the look-out on the uplink saw nothing at all");
    checks.that("nothing of it on the uplink", of_pod == 0, &format!("{of_pod} frames"));
    checks.finish()
}

fn octets(text: &str) -> Result<Vec<u8>> {
    Ok(match text.parse()? {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    })
}

pub(crate) fn contains(frame: &[u8], bytes: &[u8]) -> bool {
    frame.windows(bytes.len()).any(|window| window == bytes)
}

const PORT: u16 = 4000;
/// In every inner packet.
pub(crate) const MARK: &[u8] = b"through the tunnel";

/// A UDP packet for the pod from somewhere behind the tunnel, without a link
/// header.
fn inner(ip6: bool) -> Result<Vec<u8>> {
    let mut packet = Vec::new();
    if ip6 {
        PacketBuilder::ipv6(octets("fd00:99::1")?.try_into().unwrap_or_default(), ip16(addr::POD6)?, 64)
            .udp(PORT, PORT)
            .write(&mut packet, MARK)?;
    } else {
        PacketBuilder::ipv4([10, 99, 0, 1], ip4(addr::POD4)?, 64).udp(PORT, PORT).write(&mut packet, MARK)?;
    }
    Ok(packet)
}

fn ip4(text: &str) -> Result<[u8; 4]> {
    octets(text)?.try_into().ok().context("not IPv4")
}

fn ip16(text: &str) -> Result<[u8; 16]> {
    octets(text)?.try_into().ok().context("not IPv6")
}

/// Send frames from the peer; each must come to the pod, none to the host.
fn through(lab: &Lab, frames: &[(&str, Vec<u8>)]) -> Result<()> {
    // The peer's and VPP's neighbours are known from here on.
    ping(&lab.peer, addr::HOST4)?;
    ping(&lab.peer, addr::HOST6)?;
    let wire = Tap::on(&lab.peer, "eth0")?;
    let pod = Tap::on(&lab.pod, "eth0")?;
    let host = Tap::on(&lab.host, "eth0")?;
    let mut checks = Checks::new();
    for (what, frame) in frames {
        wire.send(frame)?;
        let came = pod.wait_for(what, secs(3), |frame| contains(frame, MARK).then_some(()));
        checks.add(what, came);
    }
    // The host's answers come after whatever came before.
    ping(&lab.peer, addr::HOST4)?;
    ping(&lab.peer, addr::HOST6)?;
    checks.add("none of it at the host", host.none("of the tunnel", |frame| contains(frame, MARK)));
    checks.finish()
}

fn ipip(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    through(lab, &ipip_frames(lab)?)
}

/// Tunnels, and a frame of each.
pub(crate) fn ipip_frames(lab: &Lab) -> Result<Vec<(&'static str, Vec<u8>)>> {
    for (local, remote) in [(addr::HOST4, addr::PEER4), (addr::HOST6, addr::PEER6)] {
        let name = lab.vpp.ctl(&format!("create ipip tunnel src {local} dst {remote}"))?;
        let name = name.trim();
        lab.vpp.all_quiet(&format!("set interface state {name} up\nset interface unnumbered {name} use host-eth0"))?;
    }
    let mut frames = Vec::new();
    for (what, in6) in [("IPIP over IPv4", false), ("IPv6 in IPv4", true)] {
        let mut frame = Vec::new();
        let next = if in6 { IpNumber::IPV6 } else { IpNumber::IPV4 };
        PacketBuilder::ethernet2(mac(addr::PEER_MAC)?, mac(addr::UPLINK_MAC)?)
            .ipv4(ip4(addr::PEER4)?, ip4(addr::HOST4)?, 64)
            .write(&mut frame, next, &inner(in6)?)?;
        frames.push((what, frame));
    }
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac(addr::PEER_MAC)?, mac(addr::UPLINK_MAC)?)
        .ipv6(ip16(addr::PEER6)?, ip16(addr::HOST6)?, 64)
        .write(&mut frame, IpNumber::IPV4, &inner(false)?)?;
    frames.push(("IPIP over IPv6", frame));
    Ok(frames)
}

/// VPP has VXLAN.
pub(crate) fn with_vxlan() -> Options {
    let mut options = options();
    options.vpp.plugins.push("vxlan_plugin.so".to_owned());
    options
}

const VXLAN_PORT: u16 = 4789;

fn vxlan(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    through(lab, &vxlan_frames(lab)?)
}

/// Tunnels, and frames of them.
pub(crate) fn vxlan_frames(lab: &Lab) -> Result<Vec<(&'static str, Vec<u8>)>> {
    // A bridge domain with a loopback in it, routed to the pod.
    let inside = "02:00:5e:00:00:77";
    let name = lab.vpp.ctl(&format!("create loopback interface mac {inside}"))?;
    let name = name.trim();
    lab.vpp.all_quiet(&format!(
        "set interface l2 bridge {name} 7 bvi
         set interface state {name} up
         set interface ip address {name} 10.99.0.254/24
         set interface ip address {name} fd00:99::fe/64"
    ))?;
    for (vni, local, remote) in [(7, addr::HOST4, addr::PEER4), (8, addr::HOST6, addr::PEER6)] {
        let tunnel = lab.vpp.ctl(&format!("create vxlan tunnel src {local} dst {remote} vni {vni}"))?;
        lab.vpp.quiet(&format!("set interface l2 bridge {} 7", tunnel.trim()))?;
    }
    let mut frames = Vec::new();
    for (what, vni, outer6, in6) in [
        ("VXLAN over IPv4", 7, false, false),
        ("VXLAN over IPv4, IPv6 inside", 7, false, true),
        ("VXLAN over IPv6", 8, true, false),
    ] {
        let mut payload = vec![8, 0, 0, 0, 0, 0, vni, 0];
        payload.extend_from_slice(&mac(inside)?);
        payload.extend_from_slice(&mac("02:00:5e:00:00:99")?);
        payload.extend_from_slice(if in6 { &[0x86, 0xdd] } else { &[8, 0] });
        payload.extend(inner(in6)?);
        let mut frame = Vec::new();
        let outer = PacketBuilder::ethernet2(mac(addr::PEER_MAC)?, mac(addr::UPLINK_MAC)?);
        if outer6 {
            outer
                .ipv6(ip16(addr::PEER6)?, ip16(addr::HOST6)?, 64)
                .udp(40_000, VXLAN_PORT)
                .write(&mut frame, &payload)?;
        } else {
            outer.ipv4(ip4(addr::PEER4)?, ip4(addr::HOST4)?, 64).udp(40_000, VXLAN_PORT).write(&mut frame, &payload)?;
        }
        frames.push((what, frame));
    }
    Ok(frames)
}
