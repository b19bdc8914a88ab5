//! Issue "a plain card": what an outsider's tests found once, held from then on.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::{BROADCAST, ICMP, ICMP6, Ip, OSPF, UDP, arp, ethernet, icmp4, icmp6, mac_of, udp};
use hostnet_lab::programs::Rooms;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::ping;
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;

use crate::plain_card::way_to_host;
use crate::plain_card_dhcp::Server;
use crate::support::{clean_scenario, enable_all, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("q08_frames_over_several_buffers_come_whole", jumbo, large),
        scenario("q08_frames_in_vlans_of_nobodys_leave", options, vlans),
        scenario("q01_dhcp_is_served_by_the_host", options, serves),
        scenario("q04_a_neighbours_own_mac_leads_nothing_past_vpp", options, announced),
        scenario("q01_a_link_that_comes_back_has_its_link_local_address", options, flapped),
        clean_scenario("q04_what_is_of_a_pods_link_stays_there", pods_link),
    ]
}

fn jumbo() -> Options {
    let mut options = options();
    options.mtu = 9000;
    options
}

/// A buffer of VPP's has 2048 bytes.
fn large(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    until("the host answers", secs(5), || ping(&lab.peer, addr::HOST4).map(Some))?;
    let way = way_to_host()?;
    let group = Ipv4Addr::new(224, 0, 0, 5);
    let subnet = Ipv4Addr::new(192, 0, 2, 255);
    let (wire, host) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?);
    let mut checks = Checks::new();
    for size in [2000, 2100, 4200, 8900] {
        let body = vec![0x5a; size];
        let ip4 = |dst: Ipv4Addr, protocol, body: &[u8]| {
            let packet = Ip::hops(1).packet4(way.from4, dst, protocol, body);
            ethernet(mac_of(dst.into(), way.to), way.from, 0x0800, &packet)
        };
        let datagram = |dst: Ipv4Addr| ip4(dst, UDP, &udp(way.from4.into(), dst.into(), (9, 9), &body));
        let ip6 = Ip::default().packet6(way.from6, way.to6, OSPF, &body);
        for (what, frame) in [
            ("OSPF to its group", ip4(group, OSPF, &body)),
            ("a broadcast", datagram(subnet)),
            ("a datagram", datagram(way.to4)),
            ("OSPF over IPv6", ethernet(way.to, way.from, 0x86dd, &ip6)),
            ("another protocol", ethernet(way.to, way.from, 0x88b5, &body)),
            ("another protocol to all", ethernet(BROADCAST, way.from, 0x88b5, &body)),
        ] {
            wire.send(&frame)?;
            let came = host.wait_for(what, secs(5), |seen| (seen == frame).then_some(()));
            checks.add(&format!("{what}, {size} bytes"), came);
        }
    }
    checks.finish()
}

/// A container's VLAN, for one: VPP knows nothing of it.
fn vlans(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let way = way_to_host()?;
    let (wire, host) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?);
    let tagged = |tags: &[u8], ethertype: u16, body: &[u8]| {
        let inside = [&tags[2..], &ethertype.to_be_bytes(), body].concat();
        ethernet(way.from, way.to, u16::from_be_bytes([tags[0], tags[1]]), &inside)
    };
    let datagram =
        Ip::default().packet4(way.to4, way.from4, UDP, &udp(way.to4.into(), way.from4.into(), (9, 9), b"in a VLAN"));
    let question = arp(1, (way.to, way.to4), ([0; 6], way.from4));
    let mut checks = Checks::new();
    for (what, tags) in [("one tag", &[0x81, 0, 0, 9][..]), ("two tags", &[0x81, 0, 0, 9, 0x81, 0, 0, 10])] {
        for (which, ethertype, body) in [("a datagram", 0x0800, &datagram[..]), ("a question", 0x0806, &question)] {
            let frame = tagged(tags, ethertype, body);
            host.send(&frame)?;
            // The kernel takes the outer tag off for who looks at the wire.
            let bare = [&frame[..12], &frame[16..]].concat();
            let left = wire.wait_for(what, secs(5), |seen| (seen == bare).then_some(()));
            checks.add(&format!("{which} with {what}"), left);
        }
    }
    checks.finish()
}

/// Its client has no address yet: the server names its MAC.
fn serves(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let rooms = |netns, name| Rooms::new(netns, &lab.dir().join(name));
    let (ours, theirs) = (rooms(&lab.host, "rooms-host")?, rooms(&lab.peer, "rooms-peer")?);
    let server = Server::on(&ours, "eth0", &["--dhcp-range=192.0.2.50,192.0.2.50,255.255.255.0,2m".to_owned()])?;
    let mut client = theirs.start("udhcpc", &["-f", "-i", "eth0"])?;
    client.wait_said("lease of 192.0.2.50 obtained", 1)?;
    client.stop()?;
    server.stop()
}

/// The gateway says its MAC to all, and the host's kernel believes it: what goes by it
/// to a pod is VPP's as before.
fn announced(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let (gw4, gw6): (Ipv4Addr, Ipv6Addr) = (addr::GW4.parse()?, addr::GW6.parse()?);
    for pod in [addr::POD4, addr::POD6] {
        until("the pod answers", secs(5), || ping(&lab.host, pod).map(Some))?;
    }
    // As its next hop on the way to the pods, the gateway is in both tables.
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let own: hostnet_lab::wire::Mac = [2, 0, 0x5e, 0, 0, 1];
    let rest = [&[0xa0, 0, 0, 0], &gw6.octets()[..], &[2, 1], &own].concat();
    let all6: Ipv6Addr = "ff02::1".parse()?;
    let advertisement = Ip::hops(255).packet6(gw6, all6, ICMP6, &icmp6(gw6, all6, 136, 0, &rest));
    until("the host believes it", secs(5), || {
        wire.send(&ethernet(BROADCAST, own, 0x0806, &arp(1, (own, gw4), ([0; 6], gw4))))?;
        wire.send(&ethernet(mac_of(all6.into(), own), own, 0x86dd, &advertisement))?;
        ping(&lab.peer, addr::HOST4)?;
        let has =
            |gw| Ok::<_, anyhow::Error>(lab.host.output("ip", &["neigh", "show", gw])?.contains("02:00:5e:00:00:01"));
        Ok((has(addr::GW4)? && has(addr::GW6)?).then_some(()))
    })?;
    for pod in [addr::POD4, addr::POD6] {
        ping(&lab.host, pod)?;
    }
    Ok(())
}

fn flapped(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let link_local = || lab.host.output("ip", &["-6", "-o", "addr", "show", "dev", "eth0", "scope", "link"]);
    let before = link_local()?;
    ensure!(before.contains("fe80::"), "it has none: {before}");
    lab.host.ip("link set eth0 down")?;
    ensure!(link_local()?.is_empty(), "it has it without a link");
    lab.host.ip("link set eth0 up")?;
    until("the address is back", secs(10), || Ok((link_local()?.contains("fe80::5eff:fe00:10/64")).then_some(())))?;
    until("the peer reaches it", secs(10), || ping(&lab.peer, "fe80::5eff:fe00:10%eth0").map(Some))
}

/// A pod says who its neighbours are, and who is the better router.
fn pods_link(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let (pod, host) = (Tap::on(&lab.pod, "eth0")?, Tap::on(&lab.host, "eth0")?);
    let (from, to) = (mac(addr::POD_MAC)?, mac(addr::POD_GW_MAC)?);
    let (pod4, pod6, gw6): (Ipv4Addr, Ipv6Addr, Ipv6Addr) =
        (addr::POD4.parse()?, addr::POD6.parse()?, addr::GW6.parse()?);
    let (host4, host6): (Ipv4Addr, Ipv6Addr) = (addr::HOST4.parse()?, addr::HOST6.parse()?);
    until("the host answers", secs(5), || ping(&lab.pod, addr::HOST6).map(Some))?;
    let v4 = |dst: Ipv4Addr, protocol, body: &[u8]| {
        ethernet(mac_of(dst.into(), to), from, 0x0800, &Ip::hops(255).packet4(pod4, dst, protocol, body))
    };
    let v6 = |dst: Ipv6Addr, kind, rest: &[u8]| {
        let packet = Ip::hops(255).packet6(pod6, dst, ICMP6, &icmp6(pod6, dst, kind, 0, rest));
        ethernet(mac_of(dst.into(), to), from, 0x86dd, &packet)
    };
    let all6 = "ff02::1".parse()?;
    let routers = "ff02::2".parse()?;
    let about = Ip::default().packet4(host4, addr::FAR4.parse()?, UDP, &[0; 8]);
    let advertisement = [&[0x20, 0, 0, 0], &gw6.octets()[..], &[2, 1], &from].concat();
    let redirect = [&[0; 4], &pod6.octets()[..], &gw6.octets()].concat();
    host.drain();
    for frame in [
        v6(host6, 136, &advertisement),
        v6(all6, 136, &advertisement),
        v6(routers, 133, &[0; 4]),
        v6(host6, 137, &redirect),
        v6(all6, 128, &[0; 8]),
        v4(host4, ICMP, &icmp4(5, 1, pod4.octets(), &about)),
        v4("224.0.0.251".parse()?, UDP, &udp(pod4.into(), "224.0.0.251".parse()?, (5353, 5353), b"mDNS")),
    ] {
        pod.send(&frame)?;
    }
    // Behind them; the kernel's own requests for neighbours are VPP's.
    ping(&lab.pod, addr::HOST6)?;
    ping(&lab.pod, addr::HOST4)?;
    let came = host.drain_incoming();
    let is_echo = |frame: &[u8]| match frame.get(12..14) {
        Some([8, 0]) => {
            frame.get(23) == Some(&ICMP) && frame.get(34) == Some(&8) && frame.get(30..34) == Some(&host4.octets())
        }
        _ => frame.get(20) == Some(&ICMP6) && frame.get(54) == Some(&128) && frame.get(38..54) == Some(&host6.octets()),
    };
    let has = |frame: &[u8], part: &[u8]| frame.windows(part.len()).any(|bytes| bytes == part);
    let is_pods = |frame: &&Vec<u8>| has(frame, &pod4.octets()) || has(frame, &pod6.octets());
    let (echoes, others): (Vec<_>, Vec<_>) = came.iter().filter(is_pods).partition(|frame| is_echo(frame));
    ensure!(echoes.len() >= 2, "the pings were not seen");
    ensure!(others.is_empty(), "{others:02x?}");
    Ok(())
}
