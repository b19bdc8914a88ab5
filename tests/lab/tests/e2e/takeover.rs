//! VPP's side of taking a device from Linux: its interface in a namespace, its
//! addresses and routes, the stanza of startup.conf (the test-only build).

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::dump::Dump;
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options};
use libtest_mimic::Trial;

use crate::support::{options_with_faults, plain, plugin, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("t01_af_packet_in_a_namespace", options_with_faults, |lab| in_a_namespace(lab, 0)),
        scenario("t01_af_packet_in_a_namespace_with_workers", workers, |lab| in_a_namespace(lab, 0)),
        scenario("t01_af_packet_many_times", options_with_faults, |lab| in_a_namespace(lab, 5)),
        scenario("t01_panic_in_a_namespace", options_with_faults, panic),
        scenario("t01_routes_of_each_kind", options_with_faults, routes),
        scenario("t01_refusals", options_with_faults, refusals),
        scenario("t01_empty_stanza", || stanza("hostnet { }\n"), |lab| lab.vpp.alive()),
        plain("t01_wrong_stanza", || {
            let words = refused("hostnet {\n  # a word\n  uplink eth0 { driver auto }\n}\n")?;
            ensure!(
                words
                    .contains("hostnet stanza of startup.conf: unknown word 'uplink' in 'uplink eth0 { driver auto }'"),
                "{words}"
            );
            // Of both stanzas, as VPP has it for every plugin.
            let words = refused("hostnet { }\nhostnet { journal /x }\n")?;
            ensure!(words.contains("unknown word 'journal' in 'journal /x'"), "{words}");
            Ok(())
        }),
    ]
}

fn workers() -> Options {
    let mut options = options_with_faults();
    options.vpp.workers = 2;
    options
}

fn stanza(text: &str) -> Options {
    let mut options = Options::default();
    options.vpp.hostnet = Some(plugin());
    options.vpp.extra = text.to_owned();
    options
}

/// VPP does not start with this stanza; its last words.
fn refused(text: &str) -> Result<String> {
    match Lab::start(&stanza(text)) {
        Ok(_) => bail!("VPP started with {text}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// A namespace with a device for VPP in it, and one with the wire's other end.
struct Parked {
    parking: Netns,
    far: Netns,
}

/// The devices' names: VPP's, and the wire's other end.
const DEVICE: &str = "up0";
const FAR: &str = "far0";

impl Parked {
    /// The device gets an index that another one has where VPP is: a setting
    /// made in the wrong namespace would be seen there.
    fn new(lab: &Lab) -> Result<Self> {
        let parking = Netns::create(&format!("{}parking", lab.tag()))?;
        let far = Netns::create(&format!("{}far", lab.tag()))?;
        let victim = lab.around_vpp.output("cat", &["/sys/class/net/eth0/ifindex"])?;
        lab.around_vpp.ip("link add bystander type dummy\nlink set bystander up")?;
        parking.ip(&format!(
            "link add {DEVICE} index {} type veth peer name {FAR} netns {}",
            index_of(lab, "bystander").with_context(|| format!("after {victim}"))?,
            far.name()
        ))?;
        far.ip(&format!("link set {FAR} up\naddr add 198.18.0.1/24 dev {FAR}"))?;
        parking.ip(&format!("link set {DEVICE} address 02:00:5e:00:00:77 mtu 1400"))?;
        Ok(Self { parking, far })
    }

    fn make(&self, lab: &Lab) -> Result<String> {
        lab.vpp.ctl(&format!("test hostnet uplink make device {DEVICE} netns {}", self.parking.name()))
    }
}

fn index_of(lab: &Lab, device: &str) -> Result<u32> {
    let shown = lab.around_vpp.output("ip", &["-o", "link", "show", device])?;
    let number = shown.split(':').next().context("no index")?;
    Ok(number.trim().parse()?)
}

/// The namespace that VPP's main thread is in.
fn namespace_of_vpp(lab: &Lab) -> Result<PathBuf> {
    let pid = lab.vpp.pid();
    let path = format!("/proc/{pid}/task/{pid}/ns/net");
    std::fs::read_link(&path).context(path)
}

/// What can be seen of VPP and all namespaces, the parking one as well.
fn seen(lab: &Lab, parked: &Parked) -> Result<(Dump, String)> {
    // The link's own state, without what traffic counts.
    let shown = parked.parking.output("ip", &["-d", "addr"])?;
    Ok((Dump::of(lab)?, shown))
}

fn in_a_namespace(lab: &Lab, more: u32) -> Result<()> {
    let parked = Parked::new(lab)?;
    let home = namespace_of_vpp(lab)?;
    // VPP sets the netdev up, for as long as it has it.
    let (before, _) = seen(lab, &parked)?;
    for _ in 0..=more {
        let said = parked.make(lab)?;
        ensure!(said.trim() == format!("host-{DEVICE}"), "{said}");
        ensure!(namespace_of_vpp(lab)? == home, "VPP's main thread is not home");
        let again = parked.make(lab)?;
        ensure!(again.contains("VPP has an interface host-up0 already"), "{again}");

        let linux = parked.parking.output("ip", &["-d", "link", "show", DEVICE])?;
        ensure!(linux.contains(",UP") && linux.contains("mtu 1400 "), "not up, or another MTU: {linux}");
        let shown = lab.vpp.ctl("show interface address")?;
        for address in ["198.18.0.2/24", "198.18.0.9/24", "2001:db8:77::2/64"] {
            ensure!(shown.contains(address), "no {address}: {shown}");
        }
        let shown = lab.vpp.ctl("show ip6 interface host-up0")?;
        ensure!(shown.contains("fe80::77"), "{shown}");

        // VPP answers on the wire: what it makes is the device in there.
        until("VPP answers ARP", secs(10), || {
            // Nobody answers the ping itself: VPP has no plugin for it.
            let _ = parked.far.output("ping", &["-n", "-c", "1", "-W", "1", "198.18.0.9"]);
            let shown = parked.far.output("ip", &["neigh", "show", "198.18.0.9"])?;
            ensure!(shown.contains("02:00:5e:00:00:77"), "{shown}");
            Ok(Some(()))
        })?;

        let said = lab.vpp.ctl("test hostnet uplink delete")?;
        ensure!(said.trim() == "12 routes missed, ours left: []", "{said}");
        ensure!(namespace_of_vpp(lab)? == home, "VPP's main thread is not home");
        let (after, linux) = seen(lab, &parked)?;
        after.same_as(&before)?;
        ensure!(linux.contains("02:00:5e:00:00:77") && linux.contains("mtu 1400 "), "{linux}");
        ensure!(!linux.contains("promiscuity 1"), "still promiscuous: {linux}");
    }
    Ok(())
}

fn panic(lab: &Lab) -> Result<()> {
    let parked = Parked::new(lab)?;
    let home = namespace_of_vpp(lab)?;
    let said = lab.vpp.ctl(&format!("test hostnet uplink panic netns {}", parked.parking.name()))?;
    ensure!(said.contains("injected panic in a namespace"), "{said}");
    ensure!(namespace_of_vpp(lab)? == home, "VPP's main thread is not home after a panic");
    let gone = lab.vpp.ctl("test hostnet uplink make device nonesuch netns /dev/null")?;
    ensure!(gone.contains("cannot be entered"), "{gone}");
    let gone = lab.vpp.ctl(&format!("test hostnet uplink make device nonesuch netns {}", parked.parking.name()))?;
    ensure!(gone.contains("VPP's af-packet refused nonesuch: Invalid interface name"), "{gone}");
    ensure!(namespace_of_vpp(lab)? == home, "VPP's main thread is not home after an error");
    lab.vpp.alive()
}

fn routes(lab: &Lab) -> Result<()> {
    let parked = Parked::new(lab)?;
    let said = parked.make(lab)?;
    ensure!(said.trim() == format!("host-{DEVICE}"), "{said}");
    let mut checks = Checks::new();
    for (prefix, words) in [
        ("198.18.1.0/24", &["ip4 via 198.18.0.1 host-up0"][..]),
        ("198.18.2.0/24", &["198.18.0.1 host-up0", "198.18.0.3 host-up0", "weight=3"]),
        ("198.18.3.0/24", &["attached:", "host-up0"]),
        ("198.18.4.0/24", &["fe80::1 host-up0"]),
        ("198.18.5.0/24", &["203.0.113.99 host-up0"]),
        ("198.18.6.0/24", &["dpo-drop"]),
        ("198.18.7.0/24", &["unreachable"]),
        ("198.18.8.0/24", &["prohibited"]),
        ("198.18.9.9/32", &["198.18.9.9 host-up0"]),
        ("2001:db8:78::/64", &["2001:db8:77::1 host-up0"]),
        ("2001:db8:79::/64", &["dpo-drop"]),
        ("2001:db8:7a::1/128", &["fe80::1 host-up0"]),
    ] {
        let family = if prefix.contains(':') { "ip6" } else { "ip" };
        let shown = lab.vpp.ctl(&format!("show {family} fib {prefix} detail"))?;
        let missing: Vec<&str> =
            ["hostnet "].iter().chain(words).copied().filter(|word| !shown.contains(word)).collect();
        let right = if missing.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("no {missing:?} in:\n{shown}")) };
        checks.add(prefix, right);
    }
    checks.finish()?;
    // A user's route wins, and ours comes back when it goes.
    lab.vpp.quiet("ip route add 198.18.1.0/24 via 192.0.2.20 host-eth0")?;
    let shown = lab.vpp.ctl("show ip fib 198.18.1.0/24")?;
    ensure!(shown.contains("192.0.2.20"), "{shown}");
    lab.vpp.quiet("ip route del 198.18.1.0/24 via 192.0.2.20 host-eth0")?;
    let said = lab.vpp.ctl("test hostnet uplink delete")?;
    ensure!(said.trim() == "12 routes missed, ours left: []", "{said}");
    lab.vpp.alive()
}

fn refusals(lab: &Lab) -> Result<()> {
    let said = lab.vpp.ctl("test hostnet uplink overlap")?;
    ensure!(
        said.contains("address 192.0.2.77/25 overlaps 192.0.2.10/24 of VPP's interface host-eth0"),
        "not told who has it: {said}"
    );
    let said = lab.vpp.ctl("test hostnet uplink drivers")?;
    for word in ["af_packet: true", "virtio: true", "vmxnet3: false", "dpdk: false", "rdma: false", "vnet_dev: []"] {
        ensure!(said.contains(word), "no '{word}': {said}");
    }
    let said = lab.vpp.ctl("test hostnet uplink cards")?;
    for word in [
        "'ff:1f' is not a PCI address; write it as 0000:d8:0a.0",
        "VPP's virtio driver refused 0000:ff:1f.7: ",
        "VPP's vmxnet3 driver refused 0000:ff:1f.7: VPP has no command 'create interface vmxnet3'; its plugin is not loaded",
        "'device attach' takes a while and cannot be done from here",
        "VPP has no driver 'iavf' for 'device attach'; loaded: none",
        "VPP cannot detach pci/0000:ff:1f.7: unknown device",
    ] {
        ensure!(said.contains(word), "no '{word}': {said}");
    }
    lab.vpp.alive()
}
