//! Emulated network cards, taken and given back. They are there in the
//! machine that `tests/vm/run` boots (see the cards in it); `--ignored` has
//! these tests run there, and nowhere else: they take cards from the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use hostnet::linux::NetnsFile;
use hostnet::linux::pci::{PciBus, PciFacts, UIO_PCI_GENERIC, VFIO_PCI};
use hostnet::model::{Netns, PciDevice};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::lab::run;

/// How long an emulated card may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The peer's namespace. Named so that dumps of whoever works beside leave it
/// out.
const FAR: &str = "hostnet-test-far";
/// How long for what is not to happen.
const SOON: Duration = Duration::from_millis(300);

/// The MACs that `tests/vm/run` gives the cards: the card to take, and the one
/// at the other end of its wire.
struct Wire {
    card: &'static str,
    peer: &'static str,
    /// The kernel's driver of the card.
    driver: &'static str,
    /// The driver that it can be taken by: VFIO behind an IOMMU only, Debian's
    /// kernel has no mode without.
    taker: &'static str,
}

const WIRES: [Wire; 3] = [
    Wire { card: "52:54:00:00:01:01", peer: "52:54:00:00:01:02", driver: "virtio-pci", taker: UIO_PCI_GENERIC },
    Wire { card: "52:54:00:00:02:01", peer: "52:54:00:00:02:02", driver: "vmxnet3", taker: VFIO_PCI },
    Wire { card: "52:54:00:00:03:01", peer: "52:54:00:00:03:02", driver: "virtio-pci", taker: VFIO_PCI },
];

/// Those that VFIO can take.
fn behind_iommu() -> impl Iterator<Item = &'static Wire> {
    WIRES.iter().filter(|wire| wire.taker == VFIO_PCI)
}

/// The file that is locked by whoever uses cards: tests with VPP do too
/// (tests/lab/tests/e2e/cards.rs).
const LOCK: &str = "/run/hostnet-cards";

/// The cards are one test's at a time.
struct Cards {
    bus: PciBus,
    initial: NetnsFile,
    _alone: Flock<fs::File>,
}

impl Cards {
    fn new() -> Self {
        let alone = Flock::lock(fs::File::create(LOCK).unwrap(), FlockArg::LockExclusive).unwrap();
        Self { bus: PciBus::new(), initial: NetnsFile::initial().unwrap(), _alone: alone }
    }

    /// The card of that MAC, at home.
    fn facts(&self, mac: &str) -> PciFacts {
        let name = named(mac).unwrap_or_else(|| panic!("no network device has MAC {mac}: {:?}", devices()));
        self.bus.facts(&self.bus.address_of(&name).unwrap()).unwrap()
    }

    /// Home again, with everything as it was.
    fn back(&self, wire: &Wire, before: &PciFacts) {
        self.back_in(wire, before, &[&self.initial]);
    }

    fn back_in(&self, wire: &Wire, before: &PciFacts, places: &[&NetnsFile]) {
        let found = self.bus.give_back(&before.device, places, PATIENCE).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].place, 0);
        let index = fs::read_to_string(format!("/sys/class/net/{}/ifindex", found[0].name)).unwrap();
        assert_eq!(index.trim(), found[0].index.to_string());
        assert_eq!(named(wire.card), Some(found[0].name.clone()));
        let after = self.bus.facts(&before.device.address).unwrap();
        assert_eq!(after.device, before.device);
        assert_eq!((after.iommu_group, after.members), (before.iommu_group.clone(), before.members.clone()));
        carries(wire);
    }
}

/// The network devices of this namespace by MAC.
fn devices() -> BTreeMap<String, String> {
    let names = fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| {
            let mac = fs::read_to_string(format!("/sys/class/net/{name}/address")).ok()?;
            Some((mac.trim().to_owned(), name))
        })
        .collect()
}

fn named(mac: &str) -> Option<String> {
    devices().remove(mac)
}

/// The card works: a ping through its wire. The peer is in a namespace of its
/// own for it.
fn carries(wire: &Wire) {
    let (card, peer) = (named(wire.card).unwrap(), named(wire.peer).unwrap());
    let far = Far::new(&peer);
    run("ip", &["addr", "add", "192.0.2.1/24", "dev", &card]);
    run("ip", &["link", "set", &card, "up"]);
    let heard = Process::new("ping").args(["-q", "-c", "1", "-w", "30", "192.0.2.2"]).output().unwrap();
    run("ip", &["link", "set", &card, "down"]);
    run("ip", &["addr", "flush", "dev", &card]);
    drop(far);
    assert!(heard.status.success(), "{card} to {peer}: {}", String::from_utf8_lossy(&heard.stdout));
}

/// The peer's namespace; its card comes back when it goes.
struct Far(String);

impl Far {
    fn new(peer: &str) -> Self {
        run("ip", &["netns", "add", FAR]);
        let far = Self(peer.to_owned());
        run("ip", &["link", "set", peer, "netns", FAR, "name", "far0"]);
        run("ip", &["-n", FAR, "addr", "add", "192.0.2.2/24", "dev", "far0"]);
        run("ip", &["-n", FAR, "link", "set", "far0", "up"]);
        far
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        for args in [&["-n", FAR, "link", "set", "far0", "netns", "1", "name", &self.0][..], &["netns", "del", FAR]] {
            let ended = Process::new("ip").args(args).status();
            assert!(std::thread::panicking() || ended.is_ok_and(|status| status.success()), "ip {args:?}");
        }
    }
}

#[test]
#[ignore = "run by the emulated machine: needs the cards of the emulated machine"]
fn pci_vfio_takes_and_gives_back() {
    let cards = Cards::new();
    for wire in behind_iommu() {
        let before = cards.facts(wire.card);
        assert_eq!(before.device.driver.as_deref(), Some(wire.driver));
        assert!(before.iommu_group.is_some() && !before.no_iommu, "{before:?}");
        assert_eq!(cards.bus.refusals(&before, VFIO_PCI, false), Vec::<String>::new());
        let address = &before.device.address;
        for round in 0..2 {
            let file = cards.bus.take(address, VFIO_PCI, PATIENCE).unwrap().unwrap();
            // Again changes nothing.
            assert_eq!(cards.bus.take(address, VFIO_PCI, PATIENCE).unwrap().as_ref(), Some(&file));
            fs::File::options().read(true).write(true).open(&file).unwrap();
            let group = before.iommu_group.as_deref().unwrap();
            assert_eq!(file, Path::new("/dev/vfio").join(group));
            let taken = cards.bus.facts(address).unwrap();
            assert_eq!(taken.device.driver.as_deref(), Some(VFIO_PCI), "round {round}");
            assert_eq!((taken.no_iommu, taken.netdevs), (false, Vec::new()));
            assert_eq!(named(wire.card), None);
            assert_eq!(cards.bus.netdevs(address, &[&cards.initial]).unwrap(), Vec::new());
            cards.back(wire, &before);
            cards.back(wire, &before);
        }
    }
}

#[test]
#[ignore = "run by the emulated machine: needs the cards of the emulated machine"]
fn pci_uio_takes_and_gives_back() {
    let cards = Cards::new();
    for wire in &WIRES {
        let before = cards.facts(wire.card);
        assert_eq!(cards.bus.refusals(&before, UIO_PCI_GENERIC, false), Vec::<String>::new());
        let address = &before.device.address;
        let file = cards.bus.take(address, UIO_PCI_GENERIC, PATIENCE).unwrap().unwrap();
        assert!(file.starts_with("/dev") && file.to_string_lossy().contains("uio"), "{}", file.display());
        fs::File::open(&file).unwrap();
        // From one to the other without going home.
        if wire.taker == VFIO_PCI {
            cards.bus.take(address, VFIO_PCI, PATIENCE).unwrap().unwrap();
            assert!(!file.exists());
        }
        cards.back(wire, &before);
    }
}

/// Where a run that was killed may have left it, made by hand.
#[test]
#[ignore = "run by the emulated machine: needs the cards of the emulated machine"]
fn pci_given_back_from_wherever_a_killed_run_left_it() {
    let cards = Cards::new();
    for wire in &WIRES {
        let before = cards.facts(wire.card);
        let folder = Path::new("/sys/bus/pci/devices").join(&before.device.address);
        let override_it = |text: &str| fs::write(folder.join("driver_override"), text).unwrap();
        let unbind = || fs::write(folder.join("driver/unbind"), &before.device.address).unwrap();
        let take = || cards.bus.take(&before.device.address, wire.taker, PATIENCE).unwrap();
        // Taking: before the unbinding, before the binding, after it.
        override_it(wire.taker);
        cards.back(wire, &before);
        override_it(wire.taker);
        unbind();
        cards.back(wire, &before);
        take();
        // Giving back: before the unbinding, before the binding.
        override_it("\n");
        cards.back(wire, &before);
        take();
        override_it("\n");
        unbind();
        cards.back(wire, &before);
        // An override of the user's comes home too.
        override_it(wire.driver);
        let mine = cards.facts(wire.card);
        assert_eq!(mine.device.driver_override.as_deref(), Some(wire.driver));
        take();
        cards.back(wire, &mine);
        override_it("\n");
    }
}

#[test]
#[ignore = "run by the emulated machine: needs the cards of the emulated machine"]
fn pci_comes_home_to_the_initial_namespace_and_is_found_where_it_was_moved_on() {
    let cards = Cards::new();
    for wire in &WIRES {
        let before = cards.facts(wire.card);
        let name = named(wire.card).unwrap();
        run("ip", &["netns", "add", "home"]);
        let home = NetnsFile::open(&Netns::Path("/run/netns/home".into())).unwrap();
        run("ip", &["link", "set", &name, "netns", "home", "name", "eth-home"]);
        // There already: nobody has to wait.
        let found = cards.bus.give_back(&before.device, &[&cards.initial, &home], PATIENCE).unwrap();
        assert_eq!((found.len(), found[0].place, found[0].name.as_str()), (1, 1, "eth-home"));
        let error = cards.bus.give_back(&before.device, &[&cards.initial], SOON).unwrap_err();
        assert!(error.to_string().contains("none appeared"), "{error}");
        cards.bus.take(&before.device.address, wire.taker, PATIENCE).unwrap();
        cards.back_in(wire, &before, &[&cards.initial, &home]);
        run("ip", &["netns", "del", "home"]);
    }
}

#[test]
#[ignore = "run by the emulated machine: needs the cards of the emulated machine"]
fn pci_held_open_is_not_unbound_until_it_is_let_go() {
    let cards = Cards::new();
    for wire in behind_iommu() {
        let before = cards.facts(wire.card);
        let file = cards.bus.take(&before.device.address, VFIO_PCI, PATIENCE).unwrap().unwrap();
        let held = fs::File::options().read(true).write(true).open(&file).unwrap();
        let error = cards.bus.give_back(&before.device, &[&cards.initial], SOON).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EBUSY), "{error}");
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        std::thread::scope(|scope| {
            scope.spawn(move || drop(held));
            cards.back(wire, &before);
        });
    }
}

#[test]
#[ignore = "run by the emulated machine: needs the cards of the emulated machine"]
fn pci_unplugged_says_so_and_comes_back_when_plugged_in() {
    let cards = Cards::new();
    for wire in &WIRES {
        let before = cards.facts(wire.card);
        let address = &before.device.address;
        for taken in [false, true] {
            if taken {
                cards.bus.take(address, wire.taker, PATIENCE).unwrap();
            }
            fs::write(format!("/sys/bus/pci/devices/{address}/remove"), "1").unwrap();
            let errors = [
                cards.bus.facts(address).unwrap_err(),
                cards.bus.take(address, wire.taker, PATIENCE).unwrap_err(),
                cards.bus.give_back(&before.device, &[&cards.initial], PATIENCE).unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.errno(), Some(Errno::ENODEV), "{error}");
                assert!(error.to_string().contains(address), "{error}");
            }
            fs::write("/sys/bus/pci/rescan", "1").unwrap();
            cards.back(wire, &before);
        }
    }
}

#[test]
#[ignore = "run by the emulated machine: needs the cards of the emulated machine"]
fn pci_refusals_are_those_of_the_real_kernel() {
    let cards = Cards::new();
    let before = cards.facts(WIRES[0].card);
    let said = cards.bus.refusals(&before, VFIO_PCI, false).join("\n");
    assert!(said.contains("stands behind no IOMMU"), "{said}");
    run("modprobe", &["vfio"]);
    let said = cards.bus.refusals(&before, VFIO_PCI, true).join("\n");
    assert!(said.contains("CONFIG_VFIO_NOIOMMU"), "{said}");
    // The refusal is right: it cannot be taken, and comes home.
    let error = cards.bus.take(&before.device.address, VFIO_PCI, PATIENCE).unwrap_err();
    assert!(error.to_string().contains("to driver vfio-pci"), "{error}");
    cards.back(&WIRES[0], &before);
    let said = cards.bus.refusals(&before, "no-such-driver", false).join("\n");
    assert!(said.contains("no module of that name"), "{said}");
    let error = cards.bus.take(&before.device.address, "no-such-driver", PATIENCE).unwrap_err();
    assert!(error.to_string().contains("load kernel module no-such-driver"), "{error}");
    cards.back(&WIRES[0], &before);
    // Without a driver of its own it goes home to none.
    let none = PciDevice { driver: None, ..before.device.clone() };
    assert_eq!(cards.bus.give_back(&none, &[&cards.initial], PATIENCE), Ok(Vec::new()));
    assert_eq!(cards.bus.facts(&none.address).unwrap().device.driver, None);
    cards.back(&WIRES[0], &before);
}
