//! Issue "a plain card", 1 and 6: further clients that get the host its address
//! from the link, and what they make of one that another machine has.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::programs::{Program, Rooms};
use hostnet_lab::time::{millis, secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::ping;
use hostnet_lab::wire::Tap;
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::mirror_support::Watched;
use crate::plain_card_dhcp::{Server, asks, gateway_mac, has, leased, undressed};
use crate::support::{disable, enable, enable_command, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("q01_dhclient_gets_and_renews_a_lease", options, dhclient),
        scenario("q01_udhcpc_gets_renews_and_declines", options, udhcpc),
        scenario("q06_networkmanager_sees_who_has_its_address", options, by_hand),
        scenario("q06_networkmanager_declines_what_another_has", options, by_dhcp),
        scenario("q06_networkmanager_and_a_device_of_its_own", options, its_own),
    ]
}

const EVERYONE: [u8; 6] = [0xff; 6];

/// The address that the server has for the host first, and the one after it.
const FIRST: &str = "192.0.2.50";
const SECOND: &str = "192.0.2.51";

/// A host without an address of IPv4, and rooms for it and for the server.
fn begin(lab: &Lab) -> Result<(Watched<'_>, Rooms<'_>, Rooms<'_>)> {
    undressed(lab)?;
    let shown = enable(lab, "host-eth0", "")?;
    let rooms = |netns, name| Rooms::new(netns, &lab.dir().join(name));
    Ok((Watched::enabled(lab, &shown)?, rooms(&lab.host, "rooms-host")?, rooms(&lab.gw, "rooms-gw")?))
}

/// A server that has both addresses for one client.
fn server_of_two<'a>(rooms: &'a Rooms<'a>) -> Result<Server<'a>> {
    let range = format!("--dhcp-range={FIRST},{SECOND},255.255.255.0,2m");
    // One after another: who the client is does not choose.
    Server::start(rooms, &[range, "--dhcp-sequential-ip".to_owned()])
}

/// The peer has it too, or no longer.
fn peer_has(lab: &Lab, address: &str, is: bool) -> Result<()> {
    lab.peer.ip(&format!("addr {} {address}/24 dev eth0", if is { "add" } else { "del" })).map(drop)
}

/// It speaks by packet sockets until it has a lease, and by UDP afterwards.
fn dhclient(lab: &Lab) -> Result<()> {
    let (watched, ours, theirs) = begin(lab)?;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let route = "198.51.100.0/24";
    let server = Server::start4(&theirs, FIRST, FIRST, route)?;
    ours.folder("lib/dhcp", "root")?;
    let mut client = ours.start("dhclient", &["-4", "-d", "-v", "eth0"])?;
    asks(&wire, "the first request, by broadcast", "255.255.255.255", EVERYONE, "0.0.0.0")?;
    has(lab, &watched, FIRST, route).with_context(|| client.said())?;
    asks(&wire, "a renewal by unicast", addr::GW4, gateway_mac(lab)?, FIRST)?;
    client.wait_said(&format!("DHCPACK of {FIRST} from {}", addr::GW4), 2)?;
    ensure!(leased(&lab.host)? == [format!("{FIRST}/24")], "the lease was lost");
    server.stop()
}

/// It asks the link for an address, too, before it takes it.
fn udhcpc(lab: &Lab) -> Result<()> {
    let (watched, ours, theirs) = begin(lab)?;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    let server = server_of_two(&theirs)?;
    peer_has(lab, FIRST, true)?;
    // Two seconds until it asks again, not twenty.
    let words = ["-f", "-i", "eth0", "-a", "-A", "2"];
    let mut client = ours.start("udhcpc", &words)?;
    asks(&wire, "the first request, by broadcast", "255.255.255.255", EVERYONE, "0.0.0.0")?;
    has(lab, &watched, SECOND, "0.0.0.0/0").with_context(|| client.said())?;
    let said = server.process.said();
    ensure!(said.contains(&format!("DHCPDECLINE(br0) {FIRST}")), "{said}");
    // It would renew at half of the lease's minutes only.
    client.signal(Signal::SIGUSR1)?;
    asks(&wire, "a renewal by unicast", addr::GW4, gateway_mac(lab)?, SECOND)?;
    client.wait_said(&format!("lease of {SECOND} obtained"), 2)?;
    client.stop()?;
    server.stop()?;

    // When nobody has it, it is good enough.
    peer_has(lab, FIRST, false)?;
    std::fs::remove_file(theirs.path("leases"))?;
    let server = server_of_two(&theirs)?;
    let client = ours.start("udhcpc", &words)?;
    has(lab, &watched, FIRST, "0.0.0.0/0").with_context(|| client.said())?;
    client.stop()?;
    server.stop()
}

/// A bus that hides nothing from anybody: it is in the rooms.
const BUS: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

const MANAGER: &str = "[main]
plugins=keyfile
auth-polkit=false
dns=none
hostname-mode=none
no-auto-default=*
[keyfile]
path=/var/lib/NetworkManager/profiles
";

/// `$1` is the bus's file, `$2` the manager's. Where `/sys` is read-only it waits
/// for no udev, as in a container.
const BEGIN: &str = "set -e
mount -t sysfs -o ro sysfs /sys
dbus-daemon --config-file=\"$1\" --fork --nopidfile
exec NetworkManager --debug --log-level=INFO --config \"$2\" --config-dir /nonexistent --system-config-dir /nonexistent";

/// NetworkManager with a bus of its own.
struct Manager(Program);

impl Manager {
    fn start(rooms: &Rooms<'_>) -> Result<Self> {
        for folder in ["run/dbus", "run/NetworkManager", "lib/NetworkManager/profiles"] {
            rooms.folder(folder, "root")?;
        }
        let (bus, manager) = (rooms.write("bus.conf", BUS)?, rooms.write("nm.conf", MANAGER)?);
        let mut it = Self(rooms.start("/bin/sh", &["-c", BEGIN, "sh", &bus, &manager])?);
        until("NetworkManager knows the device", secs(20), || {
            it.0.alive()?;
            let kind = it.ctl("-g GENERAL.TYPE device show eth0")?;
            ensure!(kind.trim() == "tun", "its type is {kind}");
            Ok(Some(()))
        })?;
        Ok(it)
    }

    /// A command of `nmcli`.
    fn ctl(&self, command: &str) -> Result<String> {
        self.0.beside("nmcli", &command.split(' ').collect::<Vec<_>>())
    }

    /// A profile for the device, that asks the link about its addresses. With
    /// autoconnect it makes a device of its own where ours is not there yet.
    fn add(&self, name: &str, kind: &str, addresses: &str) -> Result<()> {
        let ask = millis(1000).as_millis();
        self.ctl(&format!(
            "connection add con-name {name} type {kind} ifname eth0 autoconnect no \
             ipv4.may-fail no ipv4.dad-timeout {ask} {addresses}"
        ))
        .map(drop)
    }

    /// A profile of the one kind that applies.
    fn add_tap(&self, lab: &Lab, name: &str, addresses: &str) -> Result<()> {
        let said = lab.host.output("ip", &["-d", "-j", "link", "show", "dev", "eth0"])?;
        let links: Value = serde_json::from_str(&said)?;
        let data = &links[0]["linkinfo"]["info_data"];
        ensure!(data["type"] == "tap" && data["pi"] == false, "the device is {data}");
        let word = |name: &str| if data[name] == true { "yes" } else { "no" };
        let kind = format!("tun mode tap vnet-hdr {} multi-queue {}", word("vnet_hdr"), word("multi_queue"));
        self.add(name, &kind, addresses)
    }

    fn up(&self, name: &str) -> Result<()> {
        let wait = secs(30).as_secs();
        self.ctl(&format!("--wait {wait} connection up {name}")).map(drop)
    }

    /// It says who has the first address, and has said so once.
    fn conflict(&mut self) -> Result<()> {
        let text = format!("IPv4 address {FIRST} is used on network");
        self.0.wait_said(&text, 1)?;
        let said = self.0.said();
        let who = format!("(eth0) from host {}", addr::PEER_MAC.to_uppercase());
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(&text)).collect();
        ensure!(lines.len() == 1 && lines[0].contains(&who), "{lines:#?}");
        Ok(())
    }
}

fn by_hand(lab: &Lab) -> Result<()> {
    let (watched, ours, _) = begin(lab)?;
    let mut manager = Manager::start(&ours)?;
    let addresses = format!(
        "ipv4.method manual ipv4.addresses {FIRST}/24 ipv4.gateway {} \
         ipv6.method manual ipv6.addresses {}/64 ipv6.gateway {}",
        addr::GW4,
        addr::HOST6,
        addr::GW6
    );
    manager.add("card", "ethernet", &addresses)?;
    let refused = manager.up("card").err().context("a profile of type ethernet applies")?;
    ensure!(format!("{refused:#}").contains("No suitable device found"), "{refused:#}");
    manager.add_tap(lab, "tap", &addresses)?;
    peer_has(lab, FIRST, true)?;
    let refused = manager.up("tap").err().context("it takes what the peer has")?;
    ensure!(format!("{refused:#}").contains("IP configuration could not be reserved"), "{refused:#}");
    manager.conflict()?;
    ensure!(leased(&lab.host)?.is_empty(), "the host has it");
    // Of what nobody else has it hears nothing.
    peer_has(lab, FIRST, false)?;
    manager.up("tap")?;
    until("the host reaches the gateway", secs(5), || ping(&lab.host, addr::GW4).map(Some))?;
    has(lab, &watched, FIRST, "0.0.0.0/0").with_context(|| manager.0.said())?;
    until("the peer reaches the host", secs(10), || ping(&lab.peer, addr::HOST6).map(Some))?;
    manager.conflict()?;
    // The device is ours: it goes when we take it back.
    disable(lab, "host-eth0")?;
    ensure!(lab.host.ip("link show dev eth0").is_err(), "the device is still there");
    manager.0.stop()
}

fn by_dhcp(lab: &Lab) -> Result<()> {
    let (watched, ours, theirs) = begin(lab)?;
    let mut manager = Manager::start(&ours)?;
    let server = Server::start4(&theirs, FIRST, FIRST, "198.51.100.0/24")?;
    manager.add_tap(lab, "tap", "ipv4.method auto ipv4.dhcp-timeout infinity ipv6.method ignore")?;
    peer_has(lab, FIRST, true)?;
    manager.ctl("--wait 0 connection up tap")?;
    manager.conflict()?;
    until("the client declines it", secs(30), || {
        Ok(server.process.said().contains(&format!("DHCPDECLINE(br0) {FIRST}")).then_some(()))
    })
    .with_context(|| manager.0.said())?;
    ensure!(leased(&lab.host)?.is_empty(), "the host has it");
    // By itself it would ask the server again soon, but the link much later.
    peer_has(lab, FIRST, false)?;
    manager.up("tap")?;
    has(lab, &watched, FIRST, "198.51.100.0/24").with_context(|| manager.0.said())?;
    manager.0.stop()?;
    server.stop()
}

/// A profile that connects by itself has a device made for it where ours is not yet
/// there, and keeps ours out, until both are deleted.
fn its_own(lab: &Lab) -> Result<()> {
    let (_, ours, _) = begin(lab)?;
    let manager = Manager::start(&ours)?;
    disable(lab, "host-eth0")?;
    let addresses = format!("ipv4.method manual ipv4.addresses {FIRST}/24 ipv6.method ignore");
    manager.add("own", "tun mode tap", &format!("{addresses} connection.autoconnect yes"))?;
    until("NetworkManager has made it", secs(20), || lab.host.ip("link show dev eth0").map(Some))
        .with_context(|| manager.0.said())?;
    let said = lab.vpp.ctl(&enable_command(lab, "host-eth0", ""))?;
    ensure!(said.contains("device name eth0 is taken"), "{said}");
    manager.ctl("device delete eth0")?;
    // With it, it may take for its own what comes under that name, and undress it.
    manager.ctl("connection delete own")?;
    enable(lab, "host-eth0", "").with_context(|| manager.0.said())?;
    until("NetworkManager leaves ours alone", secs(20), || {
        let state = manager.ctl("-g GENERAL.STATE device show eth0")?;
        ensure!(state.contains("connected (externally)"), "its state is {state}");
        Ok(Some(()))
    })
    .with_context(|| manager.0.said())?;
    manager.0.stop()
}
