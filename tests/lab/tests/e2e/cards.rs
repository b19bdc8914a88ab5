//! Takeover of PCI cards by VPP's own drivers. In the machine that
//! `tests/vm/run` boots alone, which has the cards (see there): it sets
//! `HOSTNET_CARDS`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::cleanup::{Debt, PREFIX, RUN_ROOT, owe, settle};
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
use crate::support::{Backend, note_time, plain, plugin};

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
        plain("p01_refusals", refusals),
    ]
}

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
    /// The tests of cards without VPP take all of them; see tests/linux/pci.rs.
    _shared: Flock<File>,
}

/// The file that is locked by whoever uses cards.
const LOCK: &str = "/run/hostnet-cards";

impl Drop for Bench {
    fn drop(&mut self) {
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
        Ok(Self { host, far, around, wire, name, address: address.to_owned(), dir, tag, _shared: shared })
    }

    fn vpp(&self, life: u8) -> Result<Vpp> {
        self.start(life, true)
    }

    fn start(&self, life: u8, huge_pages: bool) -> Result<Vpp> {
        let mut config = Config { hostnet: Some(plugin()), huge_pages, ..Config::default() };
        config.plugins = ["af_packet", "vmxnet3", "tap"].map(|name| format!("{name}_plugin.so")).to_vec();
        config.extra = format!("hostnet {{ journal {}/journal netns {}-parking }}\n", self.dir.display(), self.tag);
        Vpp::start(&self.around, &self.dir.join(life.to_string()), &format!("{}-{life}", self.tag), &config)
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
        // The carrier comes a moment after the device.
        until("everything as it was", secs(2), || {
            let now = self.seen()?;
            ensure!(now == before, "before:\n{before}\nnow:\n{now}");
            Ok(Some(()))
        })?;
        let driver = std::fs::read_link(format!("/sys/bus/pci/devices/{}/driver", self.address))?;
        ensure!(!driver.ends_with("vfio-pci") && !driver.ends_with("uio_pci_generic"), "{}", driver.display());
        self.carries()
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
    let vpp = bench.start(1, false)?;
    let before = bench.seen()?;
    for (words, wanted) in [
        ("driver virtio", "VIRTIO_F_ACCESS_PLATFORM"),
        ("driver virtio", "leave 'page-size' out"),
        ("driver vmxnet3", "is no vmxnet3 card"),
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
