//! Takeover of PCI cards by VPP's own drivers. In the machine that
//! `tests/vm/run` boots alone, which has the cards (see there): it sets
//! `HOSTNET_CARDS`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::cleanup::{Debt, PREFIX, RUN_ROOT, owe, settle};
use hostnet_lab::dump::interfaces;
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{secs, until};
use hostnet_lab::traffic::{ping, tcp};
use hostnet_lab::vpp::{Config, Vpp};
use libtest_mimic::Trial;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::monitor;
use crate::support::{Backend, guard, note_time, plain, plugin, plugin_with_faults};

pub(crate) fn tests() -> Vec<Trial> {
    if std::env::var_os("HOSTNET_CARDS").is_none() {
        return Vec::new();
    }
    let life = |name: &'static str, case: Case| plain(name, move || whole_life(name, &case));
    vec![
        life("p01_vmxnet3", Case { wire: 2, words: "driver vmxnet3", driver: "vmxnet3", hot: Some("vmxnet3") }),
        life("p01_virtio_by_vfio", Case { wire: 4, words: "", driver: "virtio", hot: Some("virtio-net-pci") }),
        // Whoever unplugs a card from under uio asks nobody.
        life("p01_virtio_by_uio", Case { wire: 1, words: "driver virtio no-iommu", driver: "virtio", hot: None }),
        life("p01_device", Case { wire: 5, words: "driver device", driver: "device", hot: Some("e1000e") }),
        plain("p01_device_that_its_driver_refuses", refused_by_driver),
        plain("p01_device_failures", device_failures),
        crate::takeover_drivers::with_plugin(plain("p01_dpdk", dpdk), DPDK),
        crate::takeover_drivers::with_plugin(plain("p01_dpdk_without_the_card", dpdk_without_the_card), DPDK),
        plain("p01_refusals", refusals),
    ]
}

const DPDK: &str = "dpdk_plugin.so";

struct Case {
    wire: u8,
    words: &'static str,
    driver: &'static str,
    /// It is unplugged while it is taken: what QEMU calls such a card.
    hot: Option<&'static str>,
}

/// A card with its host, and the machine at the other end of its wire.
struct Bench {
    host: Netns,
    far: Netns,
    around: Netns,
    dir: PathBuf,
    tag: String,
    wire: u8,
    name: String,
    address: String,
    /// Tests of the same card come one after the other.
    _wire: Flock<File>,
    /// The tests of cards without VPP take all of them; see tests/linux/pci.rs.
    _shared: Flock<File>,
}

/// How VPP is started.
#[derive(Default)]
struct Start {
    small_pages: bool,
    /// With the plugin whose steps can be made to fail.
    faults: bool,
    /// More words of the `hostnet` stanza.
    words: String,
    /// The dpdk stanza, with its plugin.
    dpdk: String,
}

/// The file that is locked by whoever uses cards.
const LOCK: &str = "/run/hostnet-cards";

impl Drop for Bench {
    fn drop(&mut self) {
        // Whatever a failed test left of its card: the next one wants it.
        let _ = self.restore();
        // The cards first: with the namespace they would get new names.
        let _ = self.host.ip(&format!("link set {} netns 1", self.name));
        let _ = self.far.ip(&format!("link set far0 netns 1 name far{}", self.wire));
        settle(&Debt::Dir(self.dir.clone()));
    }
}

fn mac(wire: u8, end: u8) -> String {
    format!("52:54:00:00:0{wire}:0{end}")
}

fn device_of(mac: &str) -> Result<String> {
    until(&format!("a device with MAC {mac}"), secs(3), || {
        for entry in std::fs::read_dir("/sys/class/net")?.flatten() {
            if std::fs::read_to_string(entry.path().join("address")).is_ok_and(|text| text.trim() == mac) {
                return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
            }
        }
        Ok(None)
    })
}

const HOST4: &str = "192.0.2.10";
const FAR4: &str = "192.0.2.20";
const HOST6: &str = "2001:db8:1::10";
const FAR6: &str = "2001:db8:1::20";

impl Bench {
    fn new(wire: u8) -> Result<Self> {
        let lock = Flock::lock(File::create(LOCK)?, FlockArg::LockShared);
        let shared = lock.map_err(|(_, errno)| errno).context(LOCK)?;
        let own = Flock::lock(File::create(format!("{LOCK}-{wire}"))?, FlockArg::LockExclusive);
        let own = own.map_err(|(_, errno)| errno).context("the wire")?;
        let tag = format!("{PREFIX}{}-card{wire}", std::process::id());
        let dir = Path::new(RUN_ROOT).join(&tag);
        owe(Debt::Dir(dir.clone()));
        std::fs::create_dir_all(&dir)?;
        let make = |role: &str| Netns::create(&format!("{tag}-{role}"));
        let (host, far, around) = (make("host")?, make("far")?, make("vpp")?);
        let card = device_of(&mac(wire, 1))?;
        let device = std::fs::canonicalize(format!("/sys/class/net/{card}/device"))?;
        let is_address = |part: &&str| part.len() == 12 && part.split(':').count() == 3;
        let address = device.to_str().and_then(|path| path.rsplit('/').find(is_address)).context("no PCI address")?;
        let peer = device_of(&mac(wire, 2))?;
        let name = format!("card{wire}");
        for (device, netns, name) in [(&card, &host, name.as_str()), (&peer, &far, "far0")] {
            let words = ["link", "set", device, "down", "netns", netns.name(), "name", name];
            ensure!(std::process::Command::new("ip").args(words).status()?.success(), "move {device}");
        }
        for netns in [&host, &far] {
            netns.sysctl(&[("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0")])?;
        }
        far.ip(&format!(
            "link set lo up\nlink set far0 up\naddr add {FAR4}/24 dev far0\naddr add {FAR6}/64 dev far0 nodad"
        ))?;
        host.ip(&format!(
            "link set lo up\nlink set {name} mtu 1400 up\nlink set {name} alias uplink-of-mine
             addr add {HOST4}/24 dev {name}\naddr add 192.0.2.11/24 dev {name}\naddr add {HOST6}/64 dev {name} nodad
             route add default via {FAR4} metric 100\nroute add default via 192.0.2.21 metric 600
             route add default via {FAR6} metric 1024\nroute add 198.51.100.0/24 via {FAR4} table 77
             rule add iif {name} lookup 77 pref 1000
             neigh add 192.0.2.99 lladdr 02:00:5e:00:00:99 dev {name} nud permanent"
        ))?;
        // Some cards take their time for a carrier, and the kernel follows.
        until("the card has its addresses", secs(5), || {
            let shown = host.output("ip", &["-6", "addr", "show", "dev", &name])?;
            Ok((shown.contains("fe80:") && !shown.contains("tentative")).then_some(()))
        })?;
        Ok(Self { host, far, around, wire, name, address: address.to_owned(), dir, tag, _wire: own, _shared: shared })
    }

    fn vpp(&self, life: u8) -> Result<Vpp> {
        self.start(life, &Start::default())
    }

    fn start(&self, life: u8, start: &Start) -> Result<Vpp> {
        let hostnet = if start.faults { plugin_with_faults() } else { plugin() };
        let mut config = Config { hostnet: Some(hostnet), huge_pages: !start.small_pages, ..Config::default() };
        config.plugins = ["af_packet", "vmxnet3", "tap"].map(|name| format!("{name}_plugin.so")).to_vec();
        if !start.dpdk.is_empty() {
            config.plugins.push(DPDK.to_owned());
        }
        let (journal, tag, Start { words, dpdk, .. }) = (self.journal(), &self.tag, start);
        config.extra = format!("hostnet {{ journal {} netns {tag}-parking {words} }}\n{dpdk}\n", journal.display());
        Vpp::start(&self.around, &self.dir.join(life.to_string()), &format!("{}-{life}", self.tag), &config)
    }

    /// Bring home what a dead VPP has left.
    fn restore(&self) -> Result<String> {
        let journal = self.journal();
        let words = ["--journal", journal.to_str().context("not UTF-8")?, "restore"];
        self.around.output(guard().to_str().context("not UTF-8")?, &words)
    }

    fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    fn uplink(&self, vpp: &Vpp, words: &str) -> Result<String> {
        let tap = Backend::of_this_run().word();
        vpp.ctl(&format!("hostnet uplink {} {words} host-netns {} tap {tap}", self.name, self.host.name()))
    }

    /// What the host has, but for numbers that the kernel gives.
    fn seen(&self) -> Result<String> {
        let name = &self.name;
        let mut text = self.host.output("ip", &["addr", "show", "dev", name])?;
        text = text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned());
        for words in [
            &["route", "show", "table", "all"][..],
            &["-6", "route", "show", "table", "all"],
            &["rule"],
            &["neigh", "show", "nud", "permanent"],
        ] {
            let shown = self.host.output("ip", words)?;
            text += &shown
                .lines()
                .filter(|line| !line.contains("ff00::/8"))
                .map(|line| line.to_owned() + "\n")
                .collect::<String>();
        }
        Ok(text)
    }

    fn is_home(&self, before: &str) -> Result<()> {
        self.is_back(before)?;
        self.carries()
    }

    /// With all that it had, and its own driver.
    fn is_back(&self, before: &str) -> Result<()> {
        // The carrier comes a moment after the device.
        until("everything as it was", secs(2), || {
            let now = self.seen()?;
            ensure!(now == before, "before:\n{before}\nnow:\n{now}");
            Ok(Some(()))
        })?;
        let driver = std::fs::read_link(format!("/sys/bus/pci/devices/{}/driver", self.address))?;
        ensure!(!driver.ends_with("vfio-pci") && !driver.ends_with("uio_pci_generic"), "{}", driver.display());
        Ok(())
    }

    fn carries(&self) -> Result<()> {
        for (from, to) in [(&self.far, HOST4), (&self.far, HOST6), (&self.host, FAR4), (&self.host, FAR6)] {
            until(&format!("a ping to {to}"), secs(3), || ping(from, to).map(Some))?;
        }
        tcp(&self.far, &self.host, HOST4, FAR4, 200_000)?;
        tcp(&self.host, &self.far, FAR6, HOST6, 200_000)
    }
}

fn uplink_of(vpp: &Vpp) -> Result<Option<Value>> {
    let text = vpp.ctl("show hostnet json")?;
    let view: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    Ok(view["uplinks"].as_array().and_then(|all| all.last()).cloned())
}

fn is_taken(vpp: &Vpp, case: &Case) -> Result<()> {
    until("the uplink is enabled", secs(5), || {
        let shown = uplink_of(vpp)?.context("nothing is taken")?;
        ensure!(shown["state"] == "enabled" && shown["takeover"]["driver"] == case.driver, "{shown:#}");
        Ok(Some(()))
    })
}

fn whole_life(name: &str, case: &Case) -> Result<()> {
    let begun = std::time::Instant::now();
    let lived = live(case);
    note_time(name, begun);
    lived
}

fn live(case: &Case) -> Result<()> {
    let bench = Bench::new(case.wire)?;
    let vpp = bench.vpp(1)?;
    let before = bench.seen()?;
    // Twice: VPP keeps things of the first time.
    for round in 1..=2 {
        let said = bench.uplink(&vpp, case.words)?;
        ensure!(said.contains(" is enabled"), "round {round}: {said}\n{}", vpp.last_words());
        is_taken(&vpp, case).with_context(|| format!("round {round}: {said}\n{}", vpp.last_words()))?;
        let during = bench.seen()?;
        ensure!(during.contains(HOST4) && during.contains("metric 600") && during.contains("lookup 77"), "{during}");
        bench.carries().with_context(|| format!("taken\n{}", vpp.last_words()))?;
        // Of these VPP's driver of vmxnet3 alone knows a speed: what QEMU's card
        // says, where a tap of its own says 10 or 10000.
        if case.driver == "vmxnet3" {
            until("the host's device has the card's speed", secs(5), || {
                let shown = bench.host.output("ethtool", &[&bench.name])?;
                ensure!(shown.contains("Speed: 1000Mb/s") && shown.contains("Duplex: Full"), "{shown}");
                Ok(Some(()))
            })?;
        }
        if round == 1 {
            let said = vpp.ctl(&format!("hostnet release {}", bench.name))?;
            ensure!(said.contains("is home again"), "{said}\n{}", vpp.last_words());
            bench.is_home(&before).context("released")?;
        }
    }
    // It dies; another one goes on from the journal.
    kill(Pid::from_raw(vpp.pid()), Signal::SIGKILL)?;
    drop(vpp);
    let vpp = bench.vpp(2)?;
    is_taken(&vpp, case).with_context(|| format!("after a death\n{}", vpp.last_words()))?;
    bench.carries().with_context(|| format!("after a death\n{}", vpp.last_words()))?;
    if let Some(kind) = case.hot {
        unplug(&bench, &vpp, &before, kind)?;
    }
    vpp.stop()?;
    bench.is_home(&before).context("after VPP's clean end")
}

/// The card goes and comes again, while VPP lives.
fn unplug(bench: &Bench, vpp: &Vpp, before: &str, kind: &str) -> Result<()> {
    let (wire, folder) = (bench.wire, Path::new("/sys/bus/pci/devices").join(&bench.address));
    let id = format!("card{wire}.1");
    monitor::unplug(&id, secs(3))?;
    monitor::await_unplugged(&id, secs(6)).with_context(|| vpp.last_words())?;
    ensure!(!folder.exists(), "{} is still there", folder.display());
    vpp.alive()?;
    until("it is told", secs(3), || {
        let shown = uplink_of(vpp)?.context("nothing is shown")?.to_string();
        ensure!(shown.contains(&format!("find PCI device {}", bench.address)), "{shown}");
        Ok(Some(()))
    })?;
    let card = json!({
        "driver": kind,
        "id": id,
        "bus": format!("port{wire}"),
        "netdev": format!("wire{wire}.1"),
        "mac": mac(wire, 1),
    });
    monitor::plug(&card, secs(3))?;
    until("it is home again", secs(6), || {
        // The record of it stays, with nothing left to undo.
        let shown = uplink_of(vpp)?.unwrap_or_default();
        ensure!(shown.is_null() || shown["state"] == "failed", "{shown:#}");
        Ok(Some(()))
    })?;
    bench.is_home(before).with_context(|| format!("plugged in again\n{}", vpp.last_words()))?;
    let journals = vpp.ctl("show hostnet journal")?;
    ensure!(!journals.contains(&bench.name), "{journals}");
    Ok(())
}

fn refusals() -> Result<()> {
    let bench = Bench::new(3)?;
    // Every reason is told, so also the one for which VPP would end when its
    // driver allocates its rings.
    let vpp = bench.start(1, &Start { small_pages: true, ..Start::default() })?;
    let before = bench.seen()?;
    for (words, wanted) in [
        ("driver virtio", "VIRTIO_F_ACCESS_PLATFORM"),
        ("driver virtio", "leave 'page-size' out"),
        ("driver vmxnet3", "is no vmxnet3 card"),
        ("driver device", "none of VPP's drivers takes PCI device"),
        ("driver virtio no-iommu", "VIRTIO_F_ACCESS_PLATFORM"),
    ] {
        let said = bench.uplink(&vpp, words)?;
        ensure!(said.contains(wanted), "{words}: no '{wanted}' in: {said}");
    }
    // What cannot be done is told where another way is taken.
    let said = bench.uplink(&vpp, "dry-run")?;
    ensure!(said.contains("driver af-packet: not virtio") && said.contains("VIRTIO_F_ACCESS_PLATFORM"), "{said}");
    bench.is_home(&before)?;
    vpp.alive()
}

/// While this file is there, the lab's driver fails with the card open; see
/// tests/vm/driver.
const REFUSES: &str = "/run/hostnet-driver-refuses";

/// VPP 26.06 would keep the card, and abort the second time.
fn refused_by_driver() -> Result<()> {
    let bench = Bench::new(5)?;
    let vpp = bench.vpp(1)?;
    let before = bench.seen()?;
    File::create(REFUSES)?;
    let refused = (1..=3).try_for_each(|round| {
        let said = bench.uplink(&vpp, "driver device")?;
        ensure!(said.contains("driver refused the card") && said.contains("undone"), "round {round}: {said}");
        bench.is_home(&before).with_context(|| format!("round {round}\n{}", vpp.last_words()))
    });
    std::fs::remove_file(REFUSES)?;
    refused?;
    // VPP ends while its driver is at work: the card comes home all the same.
    let said = bench.uplink(&vpp, "driver device")?;
    ensure!(said.contains(" is enabled"), "{said}\n{}", vpp.last_words());
    // The user's own command deletes the interface: all of it is undone.
    let said = vpp.ctl(&format!("device remove-interface device-{}", bench.name))?;
    ensure!(said.trim().is_empty(), "{said}");
    until("it is undone", secs(5), || {
        let shown = uplink_of(&vpp)?.unwrap_or_default();
        Ok((shown.is_null() || shown["state"] == "failed").then_some(()))
    })?;
    bench.is_home(&before).with_context(|| vpp.last_words())?;
    vpp.alive()
}

/// A failure at each step, there and back; VPP's death at last, and the guard.
fn device_failures() -> Result<()> {
    let bench = Bench::new(5)?;
    let vpp = bench.start(1, &Start { faults: true, ..Start::default() })?;
    let before = bench.seen()?;
    let interfaces_before = interfaces(&vpp)?;
    let take = || {
        let said = bench.uplink(&vpp, "driver device")?;
        ensure!(said.contains(" is enabled"), "{said}\n{}", vpp.last_words());
        Ok(())
    };
    for step in ["linux-take", "vpp-uplink", "vpp-unnumbered", "linux-move", "vpp-verify", "linux-commit"] {
        vpp.quiet(&format!("test hostnet fault {step} fail"))?;
        let said = bench.uplink(&vpp, "driver device")?;
        ensure!(said.contains(step) && said.contains("everything was undone"), "{step}: {said}");
        bench.is_back(&before).with_context(|| format!("{step}\n{}", vpp.last_words()))?;
        ensure!(interfaces(&vpp)? == interfaces_before, "{step}: an interface is left in VPP");
    }
    for step in ["vpp-uplink", "linux-take"] {
        take().context(step)?;
        vpp.quiet(&format!("test hostnet fault undo:{step} fail"))?;
        let said = vpp.ctl(&format!("hostnet release {}", bench.name))?;
        ensure!(said.contains("injected failure"), "{step}: {said}");
        until("it is home at last", secs(5), || {
            let shown = uplink_of(&vpp)?.unwrap_or_default();
            Ok((shown.is_null()).then_some(()))
        })
        .context(step)?;
        bench.is_back(&before).with_context(|| format!("undo of {step}\n{}", vpp.last_words()))?;
        ensure!(interfaces(&vpp)? == interfaces_before, "undo of {step}: an interface is left in VPP");
    }
    take()?;
    vpp.kill()?;
    bench.restore()?;
    bench.is_home(&before).context("by the guard")
}

/// The bench's card in a stanza of dpdk's that is `dpdk`, and more words.
fn dpdk_start(bench: &Bench, dpdk: &str, more: &str) -> Start {
    let (tap, name, host) = (Backend::of_this_run().word(), &bench.name, bench.host.name());
    let words = format!("uplink {name} {{ driver dpdk host-netns {host} tap {tap} }} {more}");
    Start { words, dpdk: format!("dpdk {{ {dpdk} }}"), ..Start::default() }
}

/// The card is taken before the dpdk stanza is carried out, enabled when dpdk
/// has made its interface, and comes home when VPP has ended.
fn dpdk() -> Result<()> {
    let bench = Bench::new(5)?;
    let before = bench.seen()?;
    let case = Case { wire: 5, words: "", driver: "dpdk", hot: None };
    let watched = format!("guard {}", guard().display());
    for (life, more) in [(1, watched.as_str()), (2, "")] {
        let vpp = bench.start(life, &dpdk_start(&bench, &format!("dev {}", bench.address), more))?;
        is_taken(&vpp, &case).with_context(|| format!("life {life}\n{}", vpp.last_words()))?;
        let during = bench.seen()?;
        ensure!(during.contains(HOST4) && during.contains("metric 600") && during.contains("lookup 77"), "{during}");
        bench.carries().with_context(|| format!("life {life}\n{}", vpp.last_words()))?;
        if life == 1 {
            // The guard that watches does the rest.
            vpp.stop()?;
        } else {
            vpp.kill()?;
            bench.restore()?;
        }
        bench.is_home(&before).with_context(|| format!("life {life}"))?;
    }
    // A running VPP's dpdk takes no card any more.
    let vpp = bench.vpp(3)?;
    let said = bench.uplink(&vpp, "driver dpdk")?;
    ensure!(said.contains("startup.conf"), "{said}");
    bench.is_home(&before)?;
    vpp.alive()
}

/// The dpdk stanza does not have the card: it goes home by itself.
fn dpdk_without_the_card() -> Result<()> {
    let bench = Bench::new(5)?;
    let before = bench.seen()?;
    let vpp = bench.start(1, &dpdk_start(&bench, "no-pci", ""))?;
    until("the card is given up", secs(10), || {
        let shown = vpp.ctl("show hostnet")?;
        ensure!(shown.contains("made no interface"), "{shown}");
        Ok(Some(()))
    })?;
    bench.is_home(&before).with_context(|| vpp.last_words())?;
    vpp.alive()
}
