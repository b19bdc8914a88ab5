//! How VPP's drivers would come to a card: which kernel driver hands it over,
//! and what is against it.

use super::{PciBus, PciFacts, UIO_PCI_GENERIC, VFIO_PCI, names, text};
use crate::engine::{Driver, Way};

/// Red Hat's vendor number, of every virtio card (virtio 1.2, section 4.1.2).
const VIRTIO_VENDOR: u16 = 0x1af4;
/// VMware's, and its vmxnet3 (drivers/net/vmxnet3/vmxnet3_defs.h).
const VMXNET3: (u16, u16) = (0x15ad, 0x07b0);
/// `VIRTIO_F_ACCESS_PLATFORM` (virtio 1.2, section 6).
const ACCESS_PLATFORM: usize = 33;

impl PciBus {
    /// The way of each of VPP's drivers to the card. `no_iommu` is whether the
    /// user asked for it without an IOMMU. Looks only.
    pub fn ways(&self, facts: &PciFacts, no_iommu: bool) -> Vec<Way> {
        vec![
            self.rdma(facts),
            self.virtio(facts, no_iommu),
            self.vmxnet3(facts, no_iommu),
            self.of_framework(facts, no_iommu),
        ]
    }

    /// VPP's rdma plugin would end VPP where it cannot open the device: every
    /// way to that is looked for (plugins/rdma/device.c).
    fn rdma(&self, facts: &PciFacts) -> Way {
        let address = &facts.device.address;
        let mut refusals = Vec::new();
        match facts.device.driver.as_deref() {
            Some("mlx5_core") => refusals.extend(self.rdma_missing(address)),
            other => refusals.push(format!(
                "PCI device {address} has the kernel driver {}; VPP's rdma plugin drives cards of mlx5_core only \
                 (ConnectX-4 and later)",
                other.unwrap_or("none")
            )),
        }
        Way { driver: Driver::Rdma, kernel_driver: None, refusals }
    }

    fn rdma_missing(&self, address: &str) -> Option<String> {
        let folder = self.path("sys/bus/pci/devices").join(address);
        if self.rdma_device(address).is_none() {
            return Some(format!("PCI device {address} has no RDMA device: load the module mlx5_ib"));
        }
        let verbs = names(&folder.join("infiniband_verbs"));
        let opens = |name: &String| {
            let file = self.path("dev/infiniband").join(name);
            std::fs::OpenOptions::new().read(true).write(true).open(file).is_ok()
        };
        if !verbs.iter().any(opens) {
            return Some(format!(
                "the RDMA device of PCI device {address} cannot be opened: load the module ib_uverbs, and see \
                 /dev/infiniband"
            ));
        }
        let shared = text(&self.path("sys/module/ib_core/parameters/netns_mode"));
        (shared.as_deref() == Some("N")).then(|| {
            "the kernel gives RDMA devices to one network namespace each, and VPP stays in its own: 'rdma system set \
             netns shared'"
                .to_owned()
        })
    }

    /// The RDMA device on the card, such as `mlx5_0`.
    pub fn rdma_device(&self, address: &str) -> Option<String> {
        names(&self.path("sys/bus/pci/devices").join(address).join("infiniband")).into_iter().next()
    }

    fn virtio(&self, facts: &PciFacts, no_iommu: bool) -> Way {
        let address = &facts.device.address;
        let has_iommu = facts.iommu_group.is_some() && !facts.no_iommu;
        // The kernel's driver has to go by uio where VFIO has no such mode.
        let by_uio = !has_iommu && no_iommu && self.no_iommu_off().is_some();
        let kernel_driver = if by_uio { UIO_PCI_GENERIC } else { VFIO_PCI };
        let mut refusals = self.refusals(facts, kernel_driver, no_iommu);
        if facts.vendor != VIRTIO_VENDOR {
            refusals.push(format!("PCI device {address} is no virtio card"));
        } else if self.virtio_feature(address, ACCESS_PLATFORM) {
            refusals.push(format!(
                "PCI device {address} does its DMA through the IOMMU (VIRTIO_F_ACCESS_PLATFORM), which VPP's virtio \
                 driver does not know of: switch it off in the hypervisor (QEMU: iommu_platform=off), or use af-packet"
            ));
        }
        // VPP opens them whatever the card is, and ends when that fails.
        if by_uio && !self.path("sys/bus/pci/devices").join(address).join("resource0").exists() {
            refusals.push(format!(
                "PCI device {address} has no I/O ports, without which VPP's virtio driver cannot use it by \
                 {UIO_PCI_GENERIC}: use af-packet"
            ));
        }
        Way { driver: Driver::Virtio, kernel_driver: Some(kernel_driver.to_owned()), refusals }
    }

    fn vmxnet3(&self, facts: &PciFacts, no_iommu: bool) -> Way {
        // By uio it would have no MSI-X, which VPP's driver insists on.
        let mut refusals = self.refusals(facts, VFIO_PCI, no_iommu);
        if (facts.vendor, facts.product) != VMXNET3 {
            refusals.push(format!("PCI device {} is no vmxnet3 card", facts.device.address));
        }
        Way { driver: Driver::Vmxnet3, kernel_driver: Some(VFIO_PCI.to_owned()), refusals }
    }

    /// Which cards its drivers take VPP itself tells. They use MSI-X.
    fn of_framework(&self, facts: &PciFacts, no_iommu: bool) -> Way {
        let refusals = self.refusals(facts, VFIO_PCI, no_iommu);
        Way { driver: Driver::Device, kernel_driver: Some(VFIO_PCI.to_owned()), refusals }
    }

    /// Whether the kernel's driver has agreed on that feature with the card:
    /// sysfs shows a digit each, the lowest first.
    fn virtio_feature(&self, address: &str, bit: usize) -> bool {
        let folder = self.path("sys/bus/pci/devices").join(address);
        let features = |name: &String| text(&folder.join(name).join("features"));
        let found = names(&folder).iter().filter(|name| name.starts_with("virtio")).find_map(features);
        found.is_some_and(|features| features.as_bytes().get(bit) == Some(&b'1'))
    }
}
