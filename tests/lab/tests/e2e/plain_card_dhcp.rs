//! Issue "a plain card", 1 and 6: the host's addresses come from its link, by
//! DHCP and by router advertisements, and what another has is seen.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::netns::Netns;
use hostnet_lab::programs::{Program, Rooms};
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::ping;
use hostnet_lab::wire::{Mac, Tap, mac};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::mirror_support::{Watched, via};
use crate::support::{enable, enable_all, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("q01_dhcp_gives_renews_rebinds_and_changes", options, leases),
        scenario("q01_dhcp_declines_what_another_has", options, declined),
        scenario("q01_dhcpv6_gives_an_address_and_renews", options, leases6),
        scenario("q01_radvd_gives_deprecates_and_renews_a_prefix", options, prefixes),
    ]
}

/// A network card without addresses of its own: VPP's uplink has none of IPv4,
/// and no route that leads by one.
pub(crate) fn undressed(lab: &Lab) -> Result<()> {
    lab.vpp.all_quiet(&format!("ip route del 0.0.0.0/0\nset interface ip address del host-eth0 {}/24", addr::HOST4))
}

/// A server of DHCP on the wire's bridge. Times as short as they can be: it gives
/// leases of two minutes at least, and says itself when to renew and rebind.
pub(crate) struct Server<'a> {
    rooms: &'a Rooms<'a>,
    pub(crate) process: Program,
}

impl<'a> Server<'a> {
    pub(crate) fn start(rooms: &'a Rooms<'a>, words: &[String]) -> Result<Self> {
        Self::on(rooms, "br0", words)
    }

    /// On another device.
    pub(crate) fn on(rooms: &'a Rooms<'a>, device: &str, words: &[String]) -> Result<Self> {
        let conf = rooms.write("dnsmasq.conf", "")?;
        let common = [
            format!("--conf-file={conf}"),
            format!("--dhcp-leasefile={}", rooms.path("leases").display()),
            format!("--interface={device}"),
        ];
        let fixed = [
            "--no-daemon",
            "--port=0",
            "--bind-interfaces",
            "--dhcp-authoritative",
            "--no-ping",
            "--dhcp-option=option:T1,3",
            "--dhcp-option=option:T2,6",
        ];
        let words: Vec<&str> = fixed.into_iter().chain(common.iter().chain(words).map(String::as_str)).collect();
        let mut process = rooms.start("dnsmasq", &words)?;
        until("dnsmasq has begun", secs(10), || {
            process.alive()?;
            Ok(process.said().contains("started").then_some(()))
        })?;
        Ok(Self { rooms, process })
    }

    /// Addresses from one to another, and a route by a gateway.
    pub(crate) fn start4(rooms: &'a Rooms<'a>, from: &str, to: &str, route: &str) -> Result<Self> {
        Self::start(
            rooms,
            &[
                format!("--dhcp-range={from},{to},255.255.255.0,2m"),
                // The routes of classless clients are in there, the default one too.
                format!("--dhcp-option=121,0.0.0.0/0,{gw},{route},{gw}", gw = addr::GW4),
            ],
        )
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.process.stop()?;
        // The next one begins with a log of its own.
        std::fs::remove_file(self.rooms.path("dnsmasq.out")).map_err(Into::into)
    }
}

fn client(rooms: &Rooms<'_>, config: &str) -> Result<Program> {
    rooms.folder("lib/dhcpcd", "root")?;
    let conf = rooms.write("dhcpcd.conf", config)?;
    rooms.start("dhcpcd", &["-B", "-d", "-f", &conf, "eth0"])
}

const CLIENT4: &str = "ipv4only\noption classless_static_routes\n";

/// The lease that it has now, by what the kernel has.
pub(crate) fn leased(host: &Netns) -> Result<Vec<String>> {
    let said = host.output("ip", &["-4", "-o", "addr", "show", "dev", "eth0", "scope", "global"])?;
    Ok(said.lines().filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned).collect())
}

/// What a request of DHCP looks like on the wire: where it goes, and the address
/// that the client has.
fn request(frame: &[u8]) -> Option<(Mac, Ipv4Addr, Ipv4Addr)> {
    const IP: usize = 14;
    let four = |at: usize| <[u8; 4]>::try_from(frame.get(at..at + 4)?).ok().map(Ipv4Addr::from);
    // IPv4 and UDP without options, from port 68 to port 67.
    let is_it = frame.get(12..15)? == [8, 0, 0x45] && frame.get(IP + 20..IP + 24)? == [0, 68, 0, 67];
    if !is_it {
        return None;
    }
    Some((frame.get(..6)?.try_into().ok()?, four(IP + 16)?, four(IP + 28 + 12)?))
}

/// Wait for a request by the wire that goes to this address and MAC, of a client
/// that has this address.
pub(crate) fn asks(wire: &Tap, what: &str, dst: &str, dst_mac: Mac, has: &str) -> Result<()> {
    let (dst, has): (Ipv4Addr, Ipv4Addr) = (dst.parse()?, has.parse()?);
    wire.wait_for(what, secs(30), |frame| (request(frame)? == (dst_mac, dst, has)).then_some(()))
}

/// The host has this address alone and this route, and so has VPP.
pub(crate) fn has(lab: &Lab, watched: &Watched<'_>, address: &str, route: &str) -> Result<()> {
    until(&format!("the host has {address} alone"), secs(40), || {
        let seen = leased(&lab.host)?;
        ensure!(seen == [format!("{address}/24")], "it has {seen:?}");
        Ok(Some(()))
    })?;
    watched.wait_at_within(route, Some(&via(&[(addr::GW4, 1)])?), secs(20))?;
    watched.agree()?;
    let said = lab.vpp.ctl("show interface address host-eth0")?;
    ensure!(said.contains(&format!("{address}/24")), "VPP has {said}");
    ping(&lab.host, addr::FAR4)
}

fn leases(lab: &Lab) -> Result<()> {
    undressed(lab)?;
    let shown = enable(lab, "host-eth0", "")?;
    let watched = Watched::enabled(lab, &shown)?;
    let (ours, theirs) =
        (Rooms::new(&lab.host, &lab.dir().join("rooms-host"))?, Rooms::new(&lab.gw, &lab.dir().join("rooms-gw"))?);
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let everyone = [0xff; 6];
    let (first, route) = ("192.0.2.50", "198.51.100.0/24");
    let server = Server::start4(&theirs, first, first, route)?;
    let mut dhcpcd = client(&ours, CLIENT4)?;
    asks(&wire, "the first request, by broadcast", "255.255.255.255", everyone, "0.0.0.0")?;
    has(lab, &watched, first, route).with_context(|| dhcpcd.said())?;

    // It renews by unicast, and that is heard.
    let gateway = gateway_mac(lab)?;
    asks(&wire, "a renewal by unicast", addr::GW4, gateway, first)?;
    dhcpcd.wait_said(&format!("acknowledged {first}"), 2)?;

    // The server is gone from its address, and another one has its leases.
    server.stop()?;
    let elsewhere = "192.0.2.2";
    lab.gw.ip(&format!("addr del {}/24 dev br0\naddr add {elsewhere}/24 dev br0", addr::GW4))?;
    let server = Server::start4(&theirs, first, first, route)?;
    asks(&wire, "a request by broadcast of who has an address", "255.255.255.255", everyone, first)?;
    dhcpcd.wait_said(&format!("acknowledged {first} from {elsewhere}"), 1)?;
    ensure!(leased(&lab.host)? == [format!("{first}/24")], "the lease was lost");

    // Another address, and another route.
    server.stop()?;
    lab.gw.ip(&format!("addr add {}/24 dev br0", addr::GW4))?;
    let (second, other) = ("192.0.2.60", "198.51.100.0/25");
    let server = Server::start4(&theirs, second, second, other)?;
    has(lab, &watched, second, other).with_context(|| dhcpcd.said())?;
    watched.wait_at(route, None)?;
    server.stop()
}

/// The MAC of the bridge that has the gateway's addresses.
pub(crate) fn gateway_mac(lab: &Lab) -> Result<Mac> {
    let links: serde_json::Value = serde_json::from_str(&lab.gw.output("ip", &["-j", "link", "show", "dev", "br0"])?)?;
    mac(links[0]["address"].as_str().context("no MAC")?)
}

/// The client asks the link for an address before it takes it.
fn declined(lab: &Lab) -> Result<()> {
    undressed(lab)?;
    enable(lab, "host-eth0", "")?;
    let (ours, theirs) =
        (Rooms::new(&lab.host, &lab.dir().join("rooms-host"))?, Rooms::new(&lab.gw, &lab.dir().join("rooms-gw"))?);
    let (taken, free) = ("192.0.2.50", "192.0.2.51");
    lab.peer.ip(&format!("addr add {taken}/24 dev eth0"))?;
    let server = Server::start(
        &theirs,
        &[
            format!("--dhcp-range={taken},{free},255.255.255.0,2m"),
            // One after another, so that the one that is taken is the first.
            "--dhcp-sequential-ip".to_owned(),
        ],
    )?;
    let mut dhcpcd = client(&ours, CLIENT4)?;
    until("the client has the other address", secs(60), || {
        let seen = leased(&lab.host)?;
        ensure!(seen == [format!("{free}/24")], "the host has {seen:?}");
        Ok(Some(()))
    })
    .with_context(|| dhcpcd.said())?;
    let said = server.process.said();
    ensure!(said.contains(&format!("DHCPDECLINE(br0) {taken}")), "{said}");
    // Of the one that it has, it hears of nobody else's.
    dhcpcd.wait_said(&format!("DAD completed for {free}"), 1)?;
    server.stop()
}

/// What radvd is told: a prefix with these lifetimes in seconds.
fn advertising(flags: &str, autonomous: &str, valid: u32, preferred: u32) -> String {
    format!(
        "interface br0 {{
  AdvSendAdvert on;
  MinRtrAdvInterval 3;
  MaxRtrAdvInterval 4;
  {flags}
  prefix 2001:db8:77::/64 {{
    AdvAutonomous {autonomous};
    AdvValidLifetime {valid};
    AdvPreferredLifetime {preferred};
  }};
  RDNSS 2001:db8:1::53 {{ }};
}};
"
    )
}

fn radvd(rooms: &Rooms<'_>, config: &str) -> Result<Program> {
    let conf = rooms.write("radvd.conf", config)?;
    let pid = rooms.path("radvd.pid");
    let pid = pid.to_str().context("a path that is not UTF-8")?;
    rooms.start("radvd", &["-n", "-m", "stderr", "-d", "2", "-C", &conf, "-p", pid])
}

/// A client of DHCPv6, which it uses since the router says that there is one.
fn leases6(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let (ours, theirs) =
        (Rooms::new(&lab.host, &lab.dir().join("rooms-host"))?, Rooms::new(&lab.gw, &lab.dir().join("rooms-gw"))?);
    let router = radvd(&theirs, &advertising("AdvManagedFlag on;", "off", 600, 600))?;
    lab.gw.ip("addr add 2001:db8:77::1/64 dev br0")?;
    let server = Server::start(&theirs, &["--dhcp-range=2001:db8:77::50,2001:db8:77::50,64,2m".to_owned()])?;
    let mut dhcpcd = client(&ours, "ipv6only\nipv6rs\nia_na\n")?;
    let there = || {
        until("the host has the address", secs(40), || {
            Ok(lab
                .host
                .output("ip", &["-6", "addr", "show", "dev", "eth0"])?
                .contains("2001:db8:77::50/")
                .then_some(()))
        })
    };
    there().with_context(|| dhcpcd.said())?;
    // Its neighbours reach it there, once the mirror has brought it to VPP: one
    // that asked before asks again a second later.
    until("its neighbours reach it", secs(10), || ping(&lab.gw, "2001:db8:77::50").map(Some))?;
    // Its lease is for minutes: it is told to.
    ours.output("dhcpcd", &["-6", "--renew", "eth0"])?;
    until("the server has renewed it", secs(30), || Ok(server.process.said().contains("DHCPRENEW(br0)").then_some(())))
        .with_context(|| dhcpcd.said())?;
    dhcpcd.wait_said("REPLY6 received", 2)?;
    there()?;
    ping(&lab.gw, "2001:db8:77::50")?;
    server.stop()?;
    router.stop()
}

/// The address of the prefix as the kernel has it: whether it is deprecated.
fn of_prefix(host: &Netns) -> Result<Option<(String, bool)>> {
    let said = host.output("ip", &["-j", "-6", "addr", "show", "dev", "eth0", "scope", "global"])?;
    let view: serde_json::Value = serde_json::from_str(&said)?;
    let list = view[0]["addr_info"].as_array().cloned().unwrap_or_default();
    let ours = list.iter().find(|entry| entry["local"].as_str().is_some_and(|text| text.starts_with("2001:db8:77:")));
    Ok(ours.and_then(|entry| Some((entry["local"].as_str()?.to_owned(), entry["deprecated"] == true))))
}

/// The kernel makes itself an address; the resolver is a program's.
fn prefixes(lab: &Lab) -> Result<()> {
    let shown = enable_all(lab)?;
    let watched = Watched::enabled(lab, &shown)?;
    lab.host.sysctl(&[("ipv6/conf/eth0/accept_ra", "2"), ("ipv6/conf/eth0/autoconf", "1")])?;
    lab.gw.ip("addr add 2001:db8:77::1/64 dev br0")?;
    let (ours, theirs) =
        (Rooms::new(&lab.host, &lab.dir().join("rooms-host"))?, Rooms::new(&lab.gw, &lab.dir().join("rooms-gw"))?);
    ours.folder("run/rdnssd", "nobody")?;
    let resolver = ours.start("rdnssd", &["-f", "-u", "nobody", "-H", "/bin/true"])?;
    let router = radvd(&theirs, &advertising("", "on", 600, 300))?;
    let wait = |what: &str, deprecated: bool| {
        until(what, secs(30), || {
            let seen = of_prefix(&lab.host)?;
            Ok(seen.filter(|(_, is)| *is == deprecated).map(|(address, _)| address))
        })
    };
    let address = wait("the host has an address of the prefix", false).with_context(|| router.said())?;
    until("the host knows the resolver", secs(30), || {
        Ok(ours.read("run/rdnssd/resolv.conf").contains("nameserver 2001:db8:1::53").then_some(()))
    })
    .with_context(|| resolver.said())?;
    until("the host has a route of the router's", secs(10), || {
        let routes = lab.host.output("ip", &["-6", "route", "show", "default", "proto", "ra"])?;
        Ok(routes.contains("via fe80:").then_some(()))
    })?;
    watched.agree()?;
    ping(&lab.gw, &address)?;
    ensure!(lab.vpp.ctl("show interface address host-eth0")?.contains(&address), "VPP has no {address}");
    for (deprecated, preferred) in [(true, 0), (false, 300)] {
        theirs.write("radvd.conf", &advertising("", "on", 600, preferred))?;
        router.signal(Signal::SIGHUP)?;
        let still = wait(&format!("the prefix is deprecated: {deprecated}"), deprecated)?;
        ensure!(still == address, "{still} is another than {address}");
        watched.agree()?;
        ping(&lab.gw, &address)?;
    }
    resolver.stop()?;
    router.stop()
}
