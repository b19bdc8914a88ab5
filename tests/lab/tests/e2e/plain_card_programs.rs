//! Issue "a plain card": the kernel and programs at work over it, that know
//! nothing of VPP.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::{BROADCAST, ICMP6, Ip, UDP, ethernet, icmp6, mac_of, udp};
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{scale, secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::ping;
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;

use crate::support::{Kind, clean_scenario, clean_scenario_in, disable, enable, enable_all, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario("q01_a_router_advertisement_gives_the_host_an_address", advertised),
        scenario("q04_datagrams_to_all_and_to_groups_arrive_once", options, groups),
        scenario("q04_a_vlans_uplink_sends_nothing_without_its_tag", options, vlan_of_vpps_user),
        clean_scenario_in(Kind::TwoUplinks, "q04_each_uplink_has_its_own_link", two_links),
        scenario("q06_an_address_conflict_is_seen_by_both_sides", options, conflicts),
    ]
}

/// Whether somebody has the address, as duplicate address detection asks
/// (RFC 5227).
fn is_taken(asker: &Netns, address: &str) -> Result<bool> {
    let wait = scale().to_string();
    match asker.output("arping", &["-D", "-c", "1", "-w", &wait, "-I", "eth0", address]) {
        Ok(_) => Ok(false),
        // It fails when somebody answers, too.
        Err(error) if format!("{error:#}").contains("Received 1 response") => Ok(true),
        Err(error) => Err(error),
    }
}

/// An IPv6 address as the kernel sees it when it has asked for another's.
fn kernel_finds(asker: &Netns, address: &str) -> Result<&'static str> {
    asker.ip(&format!("addr add {address}/64 dev eth0"))?;
    let found = until("the kernel has asked", secs(5), || {
        let said = asker.ip(&format!("addr show dev eth0 to {address}"))?;
        let taken = said.contains("dadfailed");
        Ok((taken || !said.contains("tentative")).then_some(if taken { "taken" } else { "free" }))
    });
    asker.ip(&format!("addr del {address}/64 dev eth0"))?;
    found
}

fn conflicts(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let ask = [("ipv6/conf/eth0/accept_dad", "1"), ("ipv6/conf/eth0/dad_transmits", "1")];
    lab.peer.sysctl(&ask)?;
    lab.host.sysctl(&ask)?;
    let mut checks = Checks::new();
    let (free4, free6) = ("192.0.2.88", "2001:db8:1::88");
    for (who, asker, address, taken) in [
        ("the host, its own", &lab.host, addr::HOST4, false),
        ("the host, a free one", &lab.host, free4, false),
        ("the host, the peer's", &lab.host, addr::PEER4, true),
        ("the peer, a free one", &lab.peer, free4, false),
        ("the peer, the host's", &lab.peer, addr::HOST4, true),
    ] {
        let found = is_taken(asker, address)?;
        checks.that(&format!("{who} is taken: {taken}"), found == taken, &found.to_string());
    }
    for (who, asker, address, wanted) in [
        ("the host, a free one", &lab.host, free6, "free"),
        ("the host, the peer's", &lab.host, addr::PEER6, "taken"),
        ("the peer, the host's", &lab.peer, addr::HOST6, "taken"),
    ] {
        let found = kernel_finds(asker, address)?;
        checks.that(&format!("{who} is {wanted}"), found == wanted, found);
    }
    checks.finish()
}

/// A datagram of the kernel's own from one namespace to an address of many, and
/// how often it arrives in the other one and at its sender.
fn datagrams(from: &Netns, to: &Netns, device: &str, own: &str, dst: &str) -> Result<(usize, usize)> {
    let dst: IpAddr = dst.parse()?;
    let (here, there) = (Tap::on(from, device)?, Tap::on(to, device)?);
    let text = format!("to {dst} from {own}");
    let index = from.within(|| Ok(nix::net::if_::if_nametoindex(device)?))?;
    from.within(|| {
        let socket = match dst {
            IpAddr::V4(_) => {
                let socket = UdpSocket::bind((own, 0))?;
                socket.set_broadcast(true)?;
                socket
            }
            IpAddr::V6(_) => UdpSocket::bind(("::", 0))?,
        };
        let to = match dst {
            IpAddr::V4(dst) => SocketAddr::from((dst, 5000)),
            IpAddr::V6(dst) => SocketAddrV6::new(dst, 5000, 0, index).into(),
        };
        socket.send_to(text.as_bytes(), to)?;
        Ok(())
    })?;
    let has_it = |frame: &[u8]| frame.windows(text.len()).any(|part| part == text.as_bytes());
    there.wait_for(&text, secs(5), |frame| has_it(frame).then_some(()))?;
    // Whatever comes again has come before this.
    ping(from, if own == addr::HOST4 { addr::PEER4 } else { addr::HOST4 })?;
    let count = |frames: Vec<Vec<u8>>| frames.iter().filter(|frame| has_it(frame)).count();
    Ok((1 + count(there.drain()), count(here.drain_incoming())))
}

/// What programs send to all, not made by hand: the kernel's checksums, its
/// choice of the way, its MACs.
fn groups(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    // No route of the host's leads there; a program names its device or address.
    lab.host.ip("route add 224.0.0.0/4 dev eth0\nroute add 255.255.255.255/32 dev eth0")?;
    lab.peer.ip("route add 224.0.0.0/4 dev eth0\nroute add 255.255.255.255/32 dev eth0")?;
    let mut checks = Checks::new();
    for (from, to, own) in [(&lab.host, &lab.peer, addr::HOST4), (&lab.peer, &lab.host, addr::PEER4)] {
        for dst in ["255.255.255.255", "192.0.2.255", "224.0.0.251", "ff02::1", "ff02::fb"] {
            let seen = datagrams(from, to, "eth0", own, dst).with_context(|| format!("{dst} from {own}"))?;
            checks.that(
                &format!("{dst} from {own} arrives once, and does not come back"),
                seen == (1, 0),
                &format!("{seen:?}"),
            );
        }
    }
    checks.finish()
}

/// With two uplinks each link's frames are that link's.
fn two_links(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    enable(lab, "host-eth1", "")?;
    let mut checks = Checks::new();
    for (index, other) in [(0, 1), (1, 0)] {
        let (wire, host) = (Tap::on(&lab.gw, &format!("vpp{index}"))?, Tap::on(&lab.host, &format!("eth{index}"))?);
        let strays = [Tap::on(&lab.gw, &format!("vpp{other}"))?, Tap::on(&lab.host, &format!("eth{other}"))?];
        let body = [0x2a; 46];
        for (what, from, to) in [("from the host", &host, &wire), ("to the host", &wire, &host)] {
            let frame = ethernet(BROADCAST, [2, 0, 0x5e, 0, 0, 0x77], 0x88b5 + index, &body);
            from.send(&frame)?;
            let came = to.wait_for(what, secs(5), |seen| (seen == frame).then_some(()));
            checks.add(&format!("{what} by link {index}"), came);
            let seen = strays.iter().flat_map(Tap::drain).filter(|seen| *seen == frame).count();
            checks.that(&format!("{what} by link {index} alone"), seen == 0, &seen.to_string());
        }
    }
    checks.finish()
}

/// The uplink is a VLAN's sub-interface: its frames have a tag, and the host's
/// have none.
fn vlan_of_vpps_user(lab: &Lab) -> Result<()> {
    let (address, peer) = ("10.7.0.1", [2, 0, 0x5e, 0, 0, 0x77]);
    lab.vpp.ctl("create sub-interfaces host-eth0 7 dot1q 7 exact-match")?;
    lab.vpp.all_quiet(&format!(
        "set interface state host-eth0.7 up
         set interface ip address host-eth0.7 {address}/24
         set ip neighbor host-eth0.7 10.7.0.2 02:00:5e:00:00:77 static"
    ))?;
    enable(lab, "host-eth0.7", "host-if vlan7")?;
    let (wire, host) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "vlan7")?);
    let (own, to4) = (mac(addr::UPLINK_MAC)?, address.parse()?);
    host.send(&ethernet(BROADCAST, own, 0x88b5, b"q08#000#"))?;
    // Unicast passes both ways, by VPP's FIB and its redirect.
    let data = udp([10, 7, 0, 1].into(), [10, 7, 0, 2].into(), (9, 9), b"q08#001#");
    host.send(&ethernet(peer, own, 0x0800, &Ip::default().packet4(to4, [10, 7, 0, 2].into(), UDP, &data)))?;
    let has = |mark: &'static [u8]| move |frame: &[u8]| frame.windows(8).any(|part| part == mark);
    let sent =
        wire.wait_for("the host's datagram", secs(5), |frame| has(b"q08#001#")(frame).then(|| frame.to_vec()))?;
    ensure!(sent.get(..12) == Some(&[peer, own].concat()[..]), "{sent:02x?}");
    let mut stray = Tap::on(&lab.gw, "vpp0")?.drain();
    stray.extend(wire.drain());
    ensure!(!stray.iter().any(|frame| has(b"q08#000#")(frame)), "a frame left without its tag: {stray:02x?}");
    let data = udp([10, 7, 0, 2].into(), [10, 7, 0, 1].into(), (9, 9), b"q08#002#");
    let packet = Ip::default().packet4([10, 7, 0, 2].into(), to4, UDP, &data);
    wire.send(&ethernet(own, peer, 0x8100, &[&[0, 7, 8, 0], &packet[..]].concat()))?;
    let came =
        host.wait_for("the datagram to the host", secs(5), |frame| has(b"q08#002#")(frame).then(|| frame.to_vec()))?;
    ensure!(came.get(12..14) == Some(&[8, 0]), "a tag came along: {came:02x?}");
    disable(lab, "host-eth0.7")
}

/// The kernel makes itself an address of what a router advertises, as it does on
/// a plain card, and a default route.
fn advertised(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    lab.host.sysctl(&[("ipv6/conf/eth0/accept_ra", "2"), ("ipv6/conf/eth0/autoconf", "1")])?;
    let router: Ipv6Addr = "fe80::77".parse()?;
    let all: Ipv6Addr = "ff02::1".parse()?;
    let prefix: Ipv6Addr = "2001:db8:77::".parse()?;
    // Hop limit 64, a router for ten minutes; then the prefix, on the link and
    // for addresses, valid and preferred for ten minutes.
    let lifetime = 600_u32.to_be_bytes();
    let option = [&[3, 4, 64, 0xc0][..], &lifetime, &lifetime, &[0; 4], &prefix.octets()].concat();
    let body = [&[64, 0, 2, 88, 0, 0, 0, 0, 0, 0, 0, 0][..], &option].concat();
    let message = icmp6(router, all, 134, 0, &body);
    let packet = Ip::hops(255).packet6(router, all, ICMP6, &message);
    let frame = ethernet(mac_of(all.into(), [0; 6]), [2, 0, 0x5e, 0, 0, 0x77], 0x86dd, &packet);
    Tap::on(&lab.gw, "vpp0")?.send(&frame)?;
    until("the host has an address of it", secs(5), || {
        Ok(lab.host.ip("addr show dev eth0")?.contains("2001:db8:77:").then_some(()))
    })?;
    until("the host has a route of it", secs(5), || {
        let routes = lab.host.output("ip", &["-6", "route", "show", "default"])?;
        Ok(routes.contains("via fe80::77").then_some(()))
    })
}
