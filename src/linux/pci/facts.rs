//! What a PCI device is, and who drives it.

use std::path::Path;

use super::{PciBus, link_name, names, text};
use crate::linux::error::Error;
use crate::model::PciDevice;

/// A PCI device as sysfs shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciFacts {
    /// Where it is and who drives it: what a journal keeps.
    pub device: PciDevice,
    /// Who made it, and what it is.
    pub vendor: u16,
    /// See `vendor`.
    pub product: u16,
    /// Class, subclass and interface, a byte each; 0x02 on top is network.
    pub class: u32,
    /// Its IOMMU group; `None` where no IOMMU stands before it.
    pub iommu_group: Option<String>,
    /// Whether the group is one of VFIO's own making, behind no IOMMU.
    pub no_iommu: bool,
    /// The others of its group.
    pub members: Vec<PciMember>,
    /// The NUMA node it is at, where there are several.
    pub numa: Option<u32>,
    /// The network devices on it, in the namespace that sysfs was mounted in.
    pub netdevs: Vec<String>,
    /// How many virtual functions it has made.
    pub virtual_functions: u32,
    /// Whether it is a virtual function of another device.
    pub is_virtual_function: bool,
}

/// Another device of an IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciMember {
    /// Its address.
    pub address: String,
    /// Its driver.
    pub driver: Option<String>,
    /// A bridge; the kernel lets it keep its driver.
    pub is_bridge: bool,
}

/// The top byte of a bridge's class (PCI Code and ID Assignment).
const CLASS_BRIDGE: u32 = 0x06;

impl PciBus {
    /// What the device of that address is; fails with `ENODEV` where it is
    /// not there.
    pub fn facts(&self, address: &str) -> Result<PciFacts, Error> {
        let folder = self.device(address)?;
        let iommu_group = link_name(&folder.join("iommu_group"));
        let members = iommu_group.as_deref().map(|group| self.members(group, address)).unwrap_or_default();
        Ok(PciFacts {
            device: PciDevice {
                address: address.to_owned(),
                driver: link_name(&folder.join("driver")),
                driver_override: driver_override(&folder),
            },
            vendor: number(&folder.join("vendor")).and_then(|id| u16::try_from(id).ok()).unwrap_or(0),
            product: number(&folder.join("device")).and_then(|id| u16::try_from(id).ok()).unwrap_or(0),
            class: number(&folder.join("class")).unwrap_or(0),
            no_iommu: iommu_group.as_deref().is_some_and(|group| self.is_no_iommu(group)),
            iommu_group,
            members,
            // -1 where the machine has one node only.
            numa: text(&folder.join("numa_node")).and_then(|node| node.parse().ok()),
            netdevs: netdevs(&folder),
            virtual_functions: number(&folder.join("sriov_numvfs")).unwrap_or(0),
            is_virtual_function: folder.join("physfn").exists(),
        })
    }

    fn members(&self, group: &str, but: &str) -> Vec<PciMember> {
        let folder = self.path("sys/kernel/iommu_groups").join(group).join("devices");
        let member = |address: String| {
            let folder = folder.join(&address);
            let is_bridge = number(&folder.join("class")).is_some_and(|class| class >> 16 == CLASS_BRIDGE);
            PciMember { driver: link_name(&folder.join("driver")), is_bridge, address }
        };
        names(&folder).into_iter().filter(|address| address != but).map(member).collect()
    }

    /// VFIO gives a device without IOMMU a group of that name
    /// (vfio_noiommu_group_alloc in drivers/vfio/group.c).
    pub(super) fn is_no_iommu(&self, group: &str) -> bool {
        let name = self.path("sys/kernel/iommu_groups").join(group).join("name");
        text(&name).is_some_and(|name| name == "vfio-noiommu")
    }
}

/// Its `driver_override`, where one is set: the kernel prints none as `(null)`.
pub(super) fn driver_override(folder: &Path) -> Option<String> {
    text(&folder.join("driver_override")).filter(|name| !name.is_empty() && name != "(null)")
}

/// On the device itself, or on a bus of its own such as virtio's.
pub(super) fn netdevs(folder: &Path) -> Vec<String> {
    let mut found = names(&folder.join("net"));
    for inner in names(folder) {
        // A link leads to another device, or to a class.
        let inner = folder.join(inner);
        if inner.is_dir() && !inner.is_symlink() {
            found.extend(names(&inner.join("net")));
        }
    }
    found
}

/// A number, in hexadecimal with `0x` before it or in decimal.
fn number(path: &Path) -> Option<u32> {
    let text = text(path)?;
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
