//! How VPP's drivers would come to a card: which kernel driver hands it over,
//! and what is against it.

use super::{PciBus, PciFacts, UIO_PCI_GENERIC, VFIO_PCI, names, text};
use crate::engine::{Driver, PciWay};

/// Red Hat's vendor number, of every virtio card (virtio 1.2, section 4.1.2).
const VIRTIO_VENDOR: u16 = 0x1af4;
/// VMware's, and its vmxnet3 (drivers/net/vmxnet3/vmxnet3_defs.h).
const VMXNET3: (u16, u16) = (0x15ad, 0x07b0);
/// `VIRTIO_F_ACCESS_PLATFORM` (virtio 1.2, section 6).
const ACCESS_PLATFORM: usize = 33;

impl PciBus {
    /// The way of each of VPP's drivers to the card. `no_iommu` is whether the
    /// user asked for it without an IOMMU. Looks only.
    pub fn ways(&self, facts: &PciFacts, no_iommu: bool) -> Vec<PciWay> {
        vec![self.virtio(facts, no_iommu), self.vmxnet3(facts, no_iommu)]
    }

    fn virtio(&self, facts: &PciFacts, no_iommu: bool) -> PciWay {
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
        PciWay { driver: Driver::Virtio, kernel_driver: kernel_driver.to_owned(), refusals }
    }

    fn vmxnet3(&self, facts: &PciFacts, no_iommu: bool) -> PciWay {
        // By uio it would have no MSI-X, which VPP's driver insists on.
        let mut refusals = self.refusals(facts, VFIO_PCI, no_iommu);
        if (facts.vendor, facts.product) != VMXNET3 {
            refusals.push(format!("PCI device {} is no vmxnet3 card", facts.device.address));
        }
        PciWay { driver: Driver::Vmxnet3, kernel_driver: VFIO_PCI.to_owned(), refusals }
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
