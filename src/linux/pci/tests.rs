//! On a tree that looks like sysfs, with a kernel that is played.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{PciBus, UIO_PCI_GENERIC, VFIO_PCI, is_address, link_name};
use crate::engine::Driver;
use crate::linux::error::Error;
use crate::model::PciDevice;

const CARD: &str = "0000:d8:0a.0";
const SOON: Duration = Duration::from_millis(50);

/// A temporary folder, gone with it.
struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Tree {
    /// One virtio card with its driver, and the drivers of VFIO and UIO.
    fn new(test: &str) -> Self {
        let root = std::env::temp_dir().join(format!("hostnet-pci-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let tree = Self(root);
        tree.card(CARD, "0x020000");
        for driver in ["virtio-pci", "other", VFIO_PCI, UIO_PCI_GENERIC] {
            tree.put(&format!("sys/bus/pci/drivers/{driver}/bind"), "");
            tree.put(&format!("sys/bus/pci/drivers/{driver}/unbind"), "");
        }
        tree.put("sys/bus/pci/drivers_probe", "");
        tree.drive(CARD, Some("virtio-pci"));
        let virtio = format!("{}/virtio3", Self::real(CARD));
        tree.put(&format!("{virtio}/net/eth7/address"), "");
        tree.link("sys/class/net/eth7", &format!("{virtio}/net/eth7"));
        tree.link(&format!("{virtio}/net/eth7/device"), &virtio);
        tree
    }

    /// Behind a bridge.
    fn real(address: &str) -> String {
        format!("sys/devices/pci0000:00/0000:00:1c.0/{address}")
    }

    fn card(&self, address: &str, class: &str) {
        let real = Self::real(address);
        for (file, text) in [
            ("class", class),
            ("vendor", "0x1af4\n"),
            ("device", "0x1000\n"),
            ("driver_override", "(null)\n"),
            ("numa_node", "-1\n"),
            ("modalias", "pci:v00001AF4\n"),
        ] {
            self.put(&format!("{real}/{file}"), text);
        }
        self.link(&format!("sys/bus/pci/devices/{address}"), &real);
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.0.join(target), path).unwrap();
    }

    fn drive(&self, address: &str, driver: Option<&str>) {
        let link = self.0.join(Self::real(address)).join("driver");
        let _ = fs::remove_file(&link);
        if let Some(driver) = driver {
            symlink(self.0.join("sys/bus/pci/drivers").join(driver), link).unwrap();
        }
    }

    fn group(&self, group: &str, addresses: &[&str]) {
        for address in addresses {
            let real = Self::real(address);
            self.link(&format!("sys/kernel/iommu_groups/{group}/devices/{address}"), &real);
            self.link(&format!("{real}/iommu_group"), &format!("sys/kernel/iommu_groups/{group}"));
        }
    }

    fn bus(&self) -> PciBus {
        PciBus::below(&self.0, Path::new("false"))
    }

    /// With a kernel behind it that lets so many writes through.
    fn alive(&self, writes: usize) -> PciBus {
        let kernel = FakeKernel { root: self.0.clone(), left: Cell::new(writes), said: RefCell::default() };
        PciBus { kernel: Some(kernel), ..self.bus() }
    }

    fn original() -> PciDevice {
        PciDevice { address: CARD.to_owned(), driver: Some("virtio-pci".to_owned()), driver_override: None }
    }

    fn state(&self) -> (Option<String>, Option<String>) {
        let device = self.bus().facts(CARD).unwrap().device;
        (device.driver, device.driver_override)
    }
}

/// What Linux does at a write into sysfs; dead after so many writes.
#[derive(Debug)]
pub(super) struct FakeKernel {
    root: PathBuf,
    left: Cell<usize>,
    said: RefCell<Vec<String>>,
}

impl FakeKernel {
    pub(super) fn write(&self, path: &Path, value: &str) -> Result<(), Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(Error::new("killed", "here"));
        };
        self.left.set(left);
        let full = fs::canonicalize(path).unwrap();
        let inner = full.strip_prefix(&self.root).unwrap().to_str().unwrap().to_owned();
        self.said.borrow_mut().push(format!("{} > {inner}", value.trim()));
        let device = self.root.join(Tree::real(CARD));
        let driver = device.join("driver");
        let set = |name: &str| symlink(self.root.join("sys/bus/pci/drivers").join(name), &driver).unwrap();
        if inner.ends_with("driver_override") {
            fs::write(path, if value == "\n" { "(null)" } else { value }).unwrap();
        } else if inner.ends_with("/unbind") {
            assert_eq!(link_name(&driver).unwrap(), full.parent().unwrap().file_name().unwrap().to_str().unwrap());
            fs::remove_file(&driver).unwrap();
        } else {
            let wish = super::facts::driver_override(&device);
            let probed = inner.ends_with("drivers_probe");
            // A driver without the override's blessing takes what it knows.
            let name = match (wish, probed) {
                (Some(name), _) => name,
                (None, true) if self.root.join("other-first").exists() => "other".to_owned(),
                _ => "virtio-pci".to_owned(),
            };
            if driver.exists() {
                return Err(Error::sys("bind", Errno::EBUSY));
            }
            set(&name);
        }
        Ok(())
    }
}

#[test]
fn addresses_are_told_from_other_names() {
    for good in [CARD, "10000:e1:00.0", "0000:FF:1f.7"] {
        assert!(is_address(good), "{good}");
    }
    for bad in ["", "d8:0a.0", "0000:d8:0a", "0000:d8:0a.0/..", "pci0000:00", "0000:d8:0a.0:1", "+000:d8:0a.0"] {
        assert!(!is_address(bad), "{bad}");
        assert!(PciBus::new().facts(bad).is_err());
    }
}

#[test]
fn facts_are_found_below_virtio_and_behind_a_bridge() {
    let tree = Tree::new("facts");
    let bus = tree.bus();
    assert_eq!(bus.address_of("eth7").as_deref(), Some(CARD));
    assert_eq!(bus.address_of("lo"), None);
    let facts = bus.facts(CARD).unwrap();
    assert_eq!(facts.device, Tree::original());
    assert_eq!((facts.vendor, facts.product, facts.class), (0x1af4, 0x1000, 0x02_0000));
    assert_eq!((facts.netdevs, facts.numa, facts.iommu_group), (vec!["eth7".to_owned()], None, None));
    let gone = bus.facts("0000:d8:0b.0").unwrap_err();
    assert!(gone.is_gone(), "{gone}");
}

#[test]
fn a_device_without_iommu_is_refused_with_what_to_do() {
    let tree = Tree::new("refusals");
    let refusals = |no_iommu| {
        let bus = tree.bus();
        bus.refusals(&bus.facts(CARD).unwrap(), VFIO_PCI, no_iommu).join("\n")
    };
    assert!(refusals(false).contains("intel_iommu=on"));
    assert!(refusals(true).contains("modprobe vfio enable_unsafe_noiommu_mode=1"));
    tree.put("sys/module/vfio/parameters/other", "");
    assert!(refusals(true).contains("CONFIG_VFIO_NOIOMMU"));
    tree.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "N\n");
    assert!(refusals(true).contains("echo 1 > /sys/module/vfio"));
    tree.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    assert_eq!(refusals(true), "");
    assert!(refusals(false).contains("no-iommu"));
    // Bound by VFIO before: the group is not that of an IOMMU.
    tree.group("7", &[CARD]);
    tree.put("sys/kernel/iommu_groups/7/name", "vfio-noiommu\n");
    assert_eq!(refusals(true), "");
    assert!(refusals(false).contains("no-iommu"));
}

#[test]
fn a_shared_group_is_refused_unless_the_others_are_harmless() {
    let tree = Tree::new("group");
    tree.card("0000:d8:0a.1", "0x010000");
    tree.card("0000:d8:00.0", "0x060400");
    tree.group("12", &[CARD, "0000:d8:0a.1", "0000:d8:00.0"]);
    tree.drive("0000:d8:00.0", Some("pcieport"));
    let bus = tree.bus();
    let refusals = || bus.refusals(&bus.facts(CARD).unwrap(), VFIO_PCI, false).join("\n");
    assert_eq!(refusals(), "");
    tree.drive("0000:d8:0a.1", Some("other"));
    let said = refusals();
    assert!(said.contains("0000:d8:0a.1 (driver other)") && !said.contains("0000:d8:00.0"), "{said}");
    tree.drive("0000:d8:0a.1", Some(VFIO_PCI));
    assert_eq!(refusals(), "");
}

#[test]
fn what_is_no_plain_network_card_and_what_cannot_be_loaded_is_refused() {
    let tree = Tree::new("plain");
    let bus = tree.bus();
    let mut facts = bus.facts(CARD).unwrap();
    assert_eq!(bus.refusals(&facts, UIO_PCI_GENERIC, false), Vec::<String>::new());
    facts.class = 0x01_0802;
    facts.netdevs.push("eth8".to_owned());
    facts.virtual_functions = 4;
    facts.is_virtual_function = true;
    let said = bus.refusals(&facts, UIO_PCI_GENERIC, false);
    assert_eq!(said.len(), 4, "{said:?}");
    let facts = bus.facts(CARD).unwrap();
    assert!(bus.refusals(&facts, "nothing", false)[0].contains("no module of that name"));
    assert!(bus.refusals(&facts, "--version", false)[0].contains("no name"));
    let without = PciBus::below(&tree.0, Path::new("no-such-program"));
    assert!(without.refusals(&facts, "nothing", false)[0].contains("no-such-program"));
    let error = bus.take(CARD, "nothing", SOON).unwrap_err().to_string();
    assert!(error.contains("load kernel module nothing"), "{error}");
    assert_eq!(tree.state(), (Some("virtio-pci".to_owned()), None));
}

#[test]
fn taking_waits_for_the_file_and_giving_back_brings_the_driver_home() {
    let tree = Tree::new("take");
    tree.group("12", &[CARD]);
    let bus = tree.alive(100);
    let error = bus.take(CARD, VFIO_PCI, SOON).unwrap_err().to_string();
    assert!(error.contains("dev/vfio/12 did not appear"), "{error}");
    // It comes while it is waited for, folder and all.
    let file = tree.0.join("dev/vfio/12");
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| tree.put("dev/vfio/12", ""));
        bus.take(CARD, VFIO_PCI, Duration::from_secs(20)).unwrap()
    });
    assert_eq!(taken, Some(file));
    assert_eq!(tree.state(), (Some(VFIO_PCI.to_owned()), Some(VFIO_PCI.to_owned())));
    bus.give_driver_back(&Tree::original(), Instant::now()).unwrap();
    assert_eq!(tree.state(), (Some("virtio-pci".to_owned()), None));
    let said = bus.kernel.as_ref().unwrap().said.borrow().clone();
    bus.give_driver_back(&Tree::original(), Instant::now()).unwrap();
    assert_eq!(*bus.kernel.as_ref().unwrap().said.borrow(), said, "at home it writes nothing");
}

#[test]
fn killed_after_any_write_it_goes_on_and_comes_home() {
    for (driver, wish) in [("virtio-pci", None), ("virtio-pci", Some("virtio-pci")), ("other", Some("other"))] {
        let tree = Tree::new("killed");
        tree.group("12", &[CARD]);
        tree.put("dev/vfio/12", "");
        // A driver that takes the card unasked must not keep it.
        tree.put("other-first", "");
        let home =
            PciDevice { driver: Some(driver.to_owned()), driver_override: wish.map(str::to_owned), ..Tree::original() };
        let home_state = (home.driver.clone(), home.driver_override.clone());
        let mut complete = 0;
        for taking in 0..6 {
            for giving in 0..6 {
                let taken = tree.alive(taking).take(CARD, VFIO_PCI, SOON);
                complete += usize::from(taken.is_ok());
                let _ = tree.alive(giving).give_driver_back(&home, Instant::now());
                tree.alive(9).give_driver_back(&home, Instant::now()).unwrap();
                assert_eq!(tree.state(), home_state, "killed after {taking} and {giving} writes");
            }
        }
        assert!(complete > 0, "the taking itself was never reached");
    }
}

#[test]
fn who_holds_the_device_is_named_and_it_is_not_unbound_from_under_him() {
    let tree = Tree::new("holders");
    tree.group("12", &[CARD]);
    tree.put("dev/vfio/12", "");
    let bus = tree.alive(100);
    bus.take(CARD, VFIO_PCI, SOON).unwrap();
    tree.link("proc/4711/fd/5", "dev/vfio/12");
    let error = bus.give_driver_back(&Tree::original(), Instant::now() + SOON).unwrap_err();
    assert!(error.to_string().contains("process 4711"), "{error}");
    assert_eq!(error.errno(), Some(Errno::EBUSY));
    assert_eq!(tree.state().0.as_deref(), Some(VFIO_PCI));
    // He lets go while he is waited for.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            fs::remove_file(tree.0.join("proc/4711/fd/5")).unwrap();
            drop(fs::File::open(tree.0.join("dev/vfio/12")).unwrap());
        });
        bus.give_driver_back(&Tree::original(), Instant::now() + Duration::from_secs(20)).unwrap();
    });
    assert_eq!(tree.state(), (Some("virtio-pci".to_owned()), None));
}

#[test]
fn each_of_vpps_drivers_has_its_way_to_its_own_cards_alone() {
    let tree = Tree::new("ways");
    tree.group("12", &[CARD]);
    let bus = tree.bus();
    let way = |no_iommu, driver| {
        let ways = bus.ways(&bus.facts(CARD).unwrap(), no_iommu);
        let way = ways.into_iter().find(|way| way.driver == driver).unwrap();
        (way.kernel_driver, way.refusals.join("\n"))
    };
    assert_eq!(way(false, Driver::Virtio), (Some(VFIO_PCI.to_owned()), String::new()));
    assert!(way(false, Driver::Vmxnet3).1.contains("is no vmxnet3 card"));
    // Bit 33, counted from the left.
    let features = format!("{}1{}", "0".repeat(33), "0".repeat(30));
    tree.put(&format!("{}/virtio3/features", Tree::real(CARD)), &features);
    assert!(way(false, Driver::Virtio).1.contains("iommu_platform=off"));
    tree.put(&format!("{}/virtio3/features", Tree::real(CARD)), &"1".repeat(33));
    tree.put(&format!("{}/vendor", Tree::real(CARD)), "0x15ad\n");
    tree.put(&format!("{}/device", Tree::real(CARD)), "0x07b0\n");
    assert_eq!(way(false, Driver::Vmxnet3), (Some(VFIO_PCI.to_owned()), String::new()));
    assert!(way(false, Driver::Virtio).1.contains("is no virtio card"));
}

#[test]
fn without_an_iommu_virtio_goes_by_uio_where_vfio_has_no_such_mode() {
    let tree = Tree::new("ways-without");
    let bus = tree.bus();
    let virtio = |no_iommu| {
        let ways = bus.ways(&bus.facts(CARD).unwrap(), no_iommu);
        let way = ways.into_iter().find(|way| way.driver == Driver::Virtio).unwrap();
        (way.kernel_driver, way.refusals.join("\n"))
    };
    assert!(virtio(false).1.contains("'no-iommu'"));
    // VPP would end for want of them.
    assert!(virtio(true).1.contains("has no I/O ports"));
    tree.put(&format!("{}/resource0", Tree::real(CARD)), "");
    assert_eq!(virtio(true), (Some(UIO_PCI_GENERIC.to_owned()), String::new()));
    tree.put("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    assert_eq!(virtio(true), (Some(VFIO_PCI.to_owned()), String::new()));
}

#[test]
fn rdma_is_for_cards_whose_rdma_device_can_be_opened() {
    let tree = Tree::new("rdma");
    let bus = tree.bus();
    let refused = || {
        let ways = bus.ways(&bus.facts(CARD).unwrap(), false);
        let way = ways.into_iter().find(|way| way.driver == Driver::Rdma).unwrap();
        assert_eq!(way.kernel_driver, None, "the kernel keeps the card");
        way.refusals.join("\n")
    };
    assert!(refused().contains("kernel driver virtio-pci"), "{}", refused());
    let real = Tree::real(CARD);
    tree.drive(CARD, Some("mlx5_core"));
    assert!(refused().contains("mlx5_ib"), "{}", refused());
    tree.put(&format!("{real}/infiniband/mlx5_3/name"), "");
    assert_eq!(bus.rdma_device(CARD).as_deref(), Some("mlx5_3"));
    assert!(refused().contains("ib_uverbs"), "{}", refused());
    tree.put(&format!("{real}/infiniband_verbs/uverbs0/dev"), "");
    assert!(refused().contains("ib_uverbs"), "{}", refused());
    tree.put("dev/infiniband/uverbs0", "");
    assert_eq!(refused(), "");
    tree.put("sys/module/ib_core/parameters/netns_mode", "N\n");
    assert!(refused().contains("netns shared"), "{}", refused());
}
