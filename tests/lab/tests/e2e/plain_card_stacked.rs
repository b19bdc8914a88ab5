//! Issue "a plain card": programs of the host's that listen on devices which are
//! stacked on its own, VLANs and macvlans. They hear what they would over a veth,
//! and the wire's other groups stay off the host's device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::{Ip, UDP, ethernet, mac_of, udp};
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;
use nix::sys::socket::{setsockopt, sockopt};

use crate::children::{wait_child, wait_none};
use crate::plain_card_groups::{GROUP4, GROUP6};
use crate::support::{Kind, clean_scenario, clean_scenario_in, disable, enable_all};
use crate::takeover::knows_vlans;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario("q09_a_macvlan_hears_groups_as_over_a_veth", macvlans),
        clean_scenario_in(Kind::Workers, "q09_a_macvlan_hears_groups_as_over_a_veth_with_workers", macvlans),
        clean_scenario("q09_who_wants_every_frame_has_every_group", everything),
        clean_scenario("q09_vlans_hear_groups_as_over_a_veth", vlans).with_ignored_flag(!knows_vlans()),
    ]
}

/// A device that a program listens on.
#[derive(Clone, Copy, Debug)]
struct Device {
    name: &'static str,
    /// It is in a container's namespace.
    is_containers: bool,
    /// Of its frames, the outer one first.
    tags: &'static [u16],
    /// Of its addresses.
    network: u8,
    /// Of what has its tags VPP brings the host the groups that somebody listens to;
    /// else all, as the veth does.
    is_filtered: bool,
}

const fn device(name: &'static str, tags: &'static [u16], network: u8) -> Device {
    Device { name, is_containers: false, tags, network, is_filtered: true }
}

/// The host's own.
const UNTAGGED: Device = device("eth0", &[], 0);
const MACVLAN: Device = device("mac0", &[], 1);
const VLAN: Device = device("eth0.7", &[7], 2);
const MACVLAN_ON_VLAN: Device = device("mac7", &[7], 3);
/// VPP's user has made the sub-interface.
const USERS_VLAN: Device = device("eth0.8", &[8], 4);
/// VPP knows none of these.
const VLAN_ON_VLAN: Device = Device { is_filtered: false, ..device("eth0.7.70", &[7, 70], 5) };
const CONTAINERS_VLAN: Device = Device { is_containers: true, is_filtered: false, ..device("eth0.9", &[9], 6) };
const CONTAINERS_MACVLAN: Device = Device { is_containers: true, is_filtered: false, ..device("mac9", &[9], 7) };
/// On a macvlan.
const VLAN_ON_MACVLAN: Device = Device { is_filtered: false, ..device("mac0.10", &[10], 8) };

const MDNS4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Of no link alone.
const ROUTED: [IpAddr; 2] = [IpAddr::V4(GROUP4), IpAddr::V6(GROUP6)];
/// What a program joins.
const GROUPS: [IpAddr; 4] = [ROUTED[0], ROUTED[1], IpAddr::V4(MDNS4), IpAddr::V6(MDNS6)];
const BROADCAST: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

impl Device {
    fn own4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.network, 0, 1)
    }

    /// Gives the device, which is there, its addresses.
    fn dressing(&self) -> String {
        let (name, own4, network) = (self.name, self.own4(), self.network);
        format!("addr add {own4}/24 dev {name}\naddr add fd00:{network}::1/64 dev {name} nodad\nlink set {name} up\n")
    }

    /// A datagram from a machine of its link.
    fn frame(&self, to: IpAddr, port: u16, text: &str) -> Result<Vec<u8>> {
        let from4 = Ipv4Addr::new(10, self.network, 0, 2);
        let from6 = Ipv6Addr::new(0xfd00, self.network.into(), 0, 0, 0, 0, 0, 2);
        let body = |from: IpAddr| udp(from, to, (40_001, port), text.as_bytes());
        let (ethertype, packet) = match to {
            IpAddr::V4(to) => (0x0800, Ip::hops(8).packet4(from4, to, UDP, &body(from4.into()))),
            IpAddr::V6(to) => (0x86dd, Ip::hops(8).packet6(from6, to, UDP, &body(from6.into()))),
        };
        let plain = ethernet(mac_of(to, [0; 6]), mac(addr::PEER_MAC)?, ethertype, &packet);
        let tags: Vec<u8> = self.tags.iter().flat_map(|tag| [[0x81, 0], tag.to_be_bytes()].concat()).collect();
        Ok([&plain[..12], &tags, &plain[12..]].concat())
    }
}

/// A program that hears its device alone.
struct Program {
    v4: UdpSocket,
    v6: UdpSocket,
    /// Of the device.
    own4: Ipv4Addr,
    index: u32,
}

impl Program {
    fn on(netns: &Netns, device: &Device) -> Result<Self> {
        netns.within(|| {
            let (v4, v6) = (UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?);
            setsockopt(&v4, sockopt::BindToDevice, &device.name.into())?;
            setsockopt(&v6, sockopt::BindToDevice, &device.name.into())?;
            v4.set_read_timeout(Some(secs(5)))?;
            v6.set_nonblocking(true)?;
            Ok(Self { v4, v6, own4: device.own4(), index: nix::net::if_::if_nametoindex(device.name)? })
        })
    }

    fn listen(&self, listens: bool) -> Result<()> {
        for group in GROUPS {
            match (group, listens) {
                (IpAddr::V4(group), true) => self.v4.join_multicast_v4(&group, &self.own4)?,
                (IpAddr::V4(group), false) => self.v4.leave_multicast_v4(&group, &self.own4)?,
                (IpAddr::V6(group), true) => self.v6.join_multicast_v6(&group, self.index)?,
                (IpAddr::V6(group), false) => self.v6.leave_multicast_v6(&group, self.index)?,
            }
        }
        Ok(())
    }

    fn port(&self, to: IpAddr) -> Result<u16> {
        Ok(if to.is_ipv4() { &self.v4 } else { &self.v6 }.local_addr()?.port())
    }

    /// The next text that was sent to it by IPv4.
    fn next4(&self) -> Result<String> {
        let mut text = [0; 100];
        let length = self.v4.recv(&mut text)?;
        Ok(String::from_utf8_lossy(&text[..length]).into_owned())
    }

    /// What has come by IPv6.
    fn all6(&self) -> Vec<String> {
        let mut text = [0; 100];
        let next = || self.v6.recv(&mut text).ok().map(|length| String::from_utf8_lossy(&text[..length]).into_owned());
        std::iter::from_fn(next).collect()
    }
}

/// How often a datagram that was sent to the address came to the program, and how
/// often to the host's device.
type Heard = Vec<(IpAddr, usize, usize)>;

/// What is to be heard. The broadcast is sent twice.
fn wanted(listens: bool, is_filtered: bool) -> Heard {
    let all = GROUPS.into_iter().map(|group| {
        let comes = listens || !is_filtered || !ROUTED.contains(&group);
        (group, usize::from(listens), usize::from(comes))
    });
    all.chain([(BROADCAST, 2, 2)]).collect()
}

/// A link's far end, and the host on it.
struct Link<'a> {
    wire: Tap,
    device: Tap,
    host: &'a Netns,
    container: &'a Netns,
    /// A veth.
    is_plain: bool,
}

impl Link<'_> {
    fn netns(&self, device: &Device) -> &Netns {
        if device.is_containers { self.container } else { self.host }
    }

    /// One to each group, then the broadcasts: every host gets those, by the way
    /// of the others, and the second after whatever was under way with the first.
    fn hear(&self, device: &Device, program: &Program) -> Result<Heard> {
        static ROUND: AtomicU32 = AtomicU32::new(0);
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        let text = |to: IpAddr| format!("<{to} on {} in round {round}>", device.name);
        let send = |to: IpAddr| self.wire.send(&device.frame(to, program.port(to)?, &text(to))?);
        self.device.drain();
        GROUPS.into_iter().try_for_each(send)?;
        let (broadcast, mut heard) = (text(BROADCAST), Vec::new());
        for number in 1..=2 {
            send(BROADCAST)?;
            while heard.iter().filter(|text| **text == broadcast).count() < number {
                heard.push(program.next4().with_context(|| format!("broadcast {number}, after {heard:?}"))?);
            }
        }
        heard.extend(program.all6());
        let frames = self.device.drain_incoming();
        let count = |to: IpAddr| {
            let text = text(to);
            let has = |frame: &&Vec<u8>| frame.windows(text.len()).any(|part| part == text.as_bytes());
            (to, heard.iter().filter(|heard| **heard == text).count(), frames.iter().filter(has).count())
        };
        Ok(GROUPS.into_iter().chain([BROADCAST]).map(count).collect())
    }

    /// That is heard, soon, and goes on.
    fn comes_to(&self, device: &Device, program: &Program, wanted: &Heard) -> Result<()> {
        until("what is heard", secs(10), || {
            let heard = self.hear(device, program)?;
            ensure!(heard == *wanted, "{heard:?}, not {wanted:?}");
            Ok(Some(()))
        })?;
        let again = self.hear(device, program)?;
        ensure!(again == *wanted, "then {again:?}, not {wanted:?}");
        Ok(())
    }

    /// What is to be heard of the device's groups.
    fn wanted(&self, device: &Device, listens: bool) -> Heard {
        wanted(listens, device.is_filtered && !self.is_plain)
    }

    /// A program comes, listens, listens no more, and once again.
    fn followed(&self, device: &Device) -> Result<()> {
        let program = Program::on(self.netns(device), device)?;
        self.comes_to(device, &program, &self.wanted(device, false)).context("nobody has listened")?;
        for number in 1..=2 {
            program.listen(true)?;
            self.comes_to(device, &program, &self.wanted(device, true)).with_context(|| format!("joined, {number}"))?;
            program.listen(false)?;
            self.comes_to(device, &program, &self.wanted(device, false)).with_context(|| format!("left, {number}"))?;
        }
        Ok(())
    }

    /// Somebody looks at everything, on the device or below it: every group comes.
    fn looked_at(&self, device: &Device) -> Result<()> {
        let program = Program::on(self.netns(device), device)?;
        for (netns, name) in [(self.netns(device), device.name), (self.host, "eth0")] {
            for mode in ["allmulticast", "promisc"] {
                netns.ip(&format!("link set {name} {mode} on"))?;
                let come = self.comes_to(device, &program, &wanted(false, false));
                netns.ip(&format!("link set {name} {mode} off"))?;
                come.with_context(|| format!("{name} with {mode}"))?;
                let stay_off = self.comes_to(device, &program, &self.wanted(device, false));
                stay_off.with_context(|| format!("{name} without {mode}"))?;
            }
        }
        Ok(())
    }

    /// How many frames of no VLAN to the first groups come to the host's device. A
    /// card's filter does not look at tags.
    fn untagged(&self) -> Result<usize> {
        static ROUND: AtomicU32 = AtomicU32::new(0);
        let round = ROUND.fetch_add(1, Ordering::Relaxed);
        let mut seen: Vec<Vec<u8>> = Vec::new();
        let has = |frame: &[u8], text: &str| frame.windows(text.len()).any(|part| part == text.as_bytes());
        let text = |to: IpAddr| format!("<{to} untagged in round {round}>");
        for group in ROUTED {
            self.wire.send(&UNTAGGED.frame(group, 9, &text(group))?)?;
        }
        // As above.
        for number in 1..=2 {
            let text = format!("<broadcast {number} in round {round}>");
            self.wire.send(&UNTAGGED.frame(BROADCAST, 9, &text)?)?;
            self.device.wait_for("a broadcast", secs(5), |frame| {
                seen.push(frame.to_vec());
                has(frame, &text).then_some(())
            })?;
        }
        Ok(seen.iter().filter(|frame| ROUTED.iter().any(|group| has(frame, &text(*group)))).count())
    }

    /// VPP may be about to hear of what has changed.
    fn until_untagged(&self, count: usize) -> Result<()> {
        until(&format!("{count} untagged frames come"), secs(10), || Ok((self.untagged()? == count).then_some(())))
    }

    /// The device is set down while a program listens, and up again.
    fn ends(&self, device: &Device) -> Result<()> {
        let program = Program::on(self.netns(device), device)?;
        program.listen(true)?;
        self.comes_to(device, &program, &self.wanted(device, true)).context("joined")?;
        self.until_untagged(2).context("joined")?;
        self.host.ip(&format!("link set {} down", device.name))?;
        self.until_untagged(0).context("down")?;
        self.host.ip(&format!("link set {} up", device.name))?;
        self.comes_to(device, &program, &self.wanted(device, true)).context("up again")
    }
}

/// Two ends of a veth, the host's `eth0` among them.
fn veth(lab: &Lab) -> Result<[Netns; 3]> {
    let make = |role: &str| Netns::create(&format!("{}plain-{role}", lab.tag()));
    let [near, far, container] = [make("near")?, make("far")?, make("container")?];
    near.ip(&format!("link add eth0 type veth peer name eth0 netns {}\nlink set eth0 up", far.name()))?;
    far.ip("link set eth0 up")?;
    // Before that the kernel has no queue to send by, and drops.
    for end in [&near, &far] {
        until("the veth is up", secs(5), || Ok(end.ip("link show eth0")?.contains("state UP").then_some(())))?;
    }
    Ok([near, far, container])
}

/// The devices are made, and each has its program, over the veth and over ours.
/// `known` is when VPP knows of them.
fn as_over_veth(
    lab: &Lab,
    devices: &[Device],
    make: impl Fn(&Netns, &Netns) -> Result<()>,
    known: impl Fn() -> Result<()>,
) -> Result<()> {
    let [near, far, container] = veth(lab)?;
    let ours = Netns::create(&format!("{}container", lab.tag()))?;
    let far_end = Tap::on(&far, "eth0")?;
    let veth =
        Link { wire: Tap::on(&near, "eth0")?, device: far_end, host: &far, container: &container, is_plain: true };
    let (wire, device) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?);
    let link = Link { wire, device, host: &lab.host, container: &ours, is_plain: false };
    for link in [&veth, &link] {
        make(link.host, link.container)?;
        for device in devices {
            link.netns(device).ip(&device.dressing())?;
        }
    }
    known()?;
    let mut checks = Checks::new();
    for device in devices {
        let Device { name, is_containers, .. } = *device;
        checks.add(&format!("{name} over a veth"), veth.followed(device));
        checks.add(name, link.followed(device));
        if device.is_filtered {
            checks.add(&format!("{name}, looked at"), link.looked_at(device));
        }
        // In another namespace the host's mirror does not see a device's end.
        if !is_containers {
            checks.add(&format!("{name}, down"), link.ends(device));
        }
    }
    checks.finish()
}

/// As a sniffer does, a macvlan of this mode has the device promiscuous without its
/// flag.
fn everything(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let (wire, device) = (Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?);
    let link = Link { wire, device, host: &lab.host, container: &lab.host, is_plain: false };
    ensure!(link.untagged()? == 0, "nobody listens");
    lab.host.ip("link add all0 link eth0 type macvlan mode passthru\nlink set all0 up")?;
    link.until_untagged(2)?;
    lab.host.ip("link del all0")?;
    link.until_untagged(0)
}

fn macvlans(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let make = |host: &Netns, _: &Netns| host.ip("link add mac0 link eth0 type macvlan mode bridge").map(drop);
    as_over_veth(lab, &[MACVLAN], make, || Ok(()))
}

fn vlans(lab: &Lab) -> Result<()> {
    lab.vpp.ctl("create sub-interfaces host-eth0 8")?;
    enable_all(lab)?;
    let make = |host: &Netns, container: &Netns| {
        host.ip(&format!(
            "link add eth0.7 link eth0 type vlan id 7
             link add mac7 link eth0.7 type macvlan mode bridge
             link add eth0.8 link eth0 type vlan id 8
             link add eth0.7.70 link eth0.7 type vlan id 70
             link add mac0 link eth0 type macvlan mode bridge
             link set mac0 up
             link add mac0.10 link mac0 type vlan id 10
             link add eth0.9 link eth0 netns {} type vlan id 9",
            container.name()
        ))?;
        container.ip("link add mac9 link eth0.9 type macvlan mode bridge").map(drop)
    };
    let known = || {
        wait_child(&lab.vpp, VLAN.name)?;
        wait_child(&lab.vpp, USERS_VLAN.name).map(drop)
    };
    let known_to_vpp = [VLAN, MACVLAN_ON_VLAN, USERS_VLAN];
    let others = [VLAN_ON_VLAN, VLAN_ON_MACVLAN, CONTAINERS_VLAN, CONTAINERS_MACVLAN];
    as_over_veth(lab, &[&known_to_vpp[..], &others].concat(), make, known)?;
    let there = lab.vpp.ctl("show interface")?;
    for unknown in [".9", ".10", ".70"] {
        ensure!(!there.contains(unknown), "VPP knows {unknown}: {there}");
    }
    disable(lab, "host-eth0")?;
    wait_none(&lab.vpp)?;
    lab.vpp.quiet("delete sub-interface host-eth0.8")
}
