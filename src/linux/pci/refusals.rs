//! Why a PCI device cannot be handed to a driver, in words that say what to
//! do. Looks only.

use super::{PciBus, PciFacts, UIO_PCI_GENERIC, VFIO_PCI, text};

/// The top byte of a network controller's class (PCI Code and ID Assignment).
const CLASS_NETWORK: u32 = 0x02;

/// Drivers that VFIO counts as none, as they do no DMA (Documentation/
/// driver-api/vfio.rst).
const HARMLESS: [&str; 2] = [VFIO_PCI, "pci-stub"];

impl PciBus {
    /// Every reason for which [`PciBus::take`] would fail, or do harm.
    /// `no_iommu` is whether the user asked for VFIO without an IOMMU.
    pub fn refusals(&self, facts: &PciFacts, driver: &str, no_iommu: bool) -> Vec<String> {
        let address = &facts.device.address;
        let mut refusals = Vec::new();
        if facts.class >> 16 != CLASS_NETWORK {
            refusals.push(format!("PCI device {address} is no network card: its class is {:06x}", facts.class));
        }
        if facts.netdevs.len() > 1 {
            refusals.push(format!(
                "PCI device {address} carries several network devices ({}): all would go with it; use a driver that \
                 leaves the device to Linux, such as af-packet",
                facts.netdevs.join(", ")
            ));
        }
        if facts.virtual_functions > 0 {
            refusals.push(format!(
                "PCI device {address} has made {} virtual functions, which go when its driver goes: take one of \
                 them, or write 0 to /sys/bus/pci/devices/{address}/sriov_numvfs first",
                facts.virtual_functions
            ));
        }
        if driver == VFIO_PCI {
            refusals.extend(self.vfio(facts, no_iommu));
        }
        if driver == UIO_PCI_GENERIC && facts.is_virtual_function {
            refusals.push(format!(
                "PCI device {address} is a virtual function and has no interrupt pin, which {UIO_PCI_GENERIC} needs: \
                 use {VFIO_PCI}"
            ));
        }
        if !self.has_driver(driver) {
            refusals.extend(self.cannot_load(driver));
        }
        refusals
    }

    fn vfio(&self, facts: &PciFacts, no_iommu: bool) -> Vec<String> {
        let address = &facts.device.address;
        match &facts.iommu_group {
            Some(group) if !facts.no_iommu => {
                let stranger = |member: &&super::PciMember| {
                    let driver = member.driver.as_deref();
                    !member.is_bridge && driver.is_some_and(|driver| !HARMLESS.contains(&driver))
                };
                let say = |member: &super::PciMember| {
                    let driver = member.driver.as_deref().unwrap_or_default();
                    format!(
                        "PCI device {address} shares IOMMU group {group} with {} (driver {driver}): VFIO gives a \
                         group to one process only; unbind {} from its driver, or put the card into a slot with a \
                         group of its own",
                        member.address, member.address
                    )
                };
                facts.members.iter().filter(stranger).map(say).collect()
            }
            _ if !no_iommu => vec![format!(
                "PCI device {address} stands behind no IOMMU: switch it on in the firmware (VT-d, AMD-Vi) and on \
                 the kernel's command line (intel_iommu=on or amd_iommu=on), or ask for 'no-iommu', with which a \
                 faulty driver can overwrite any memory"
            )],
            _ => self.no_iommu_off().into_iter().collect(),
        }
    }

    /// Why VFIO's mode without an IOMMU is not to be had.
    pub(super) fn no_iommu_off(&self) -> Option<String> {
        const PARAMETER: &str = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
        match text(&self.path(PARAMETER)).as_deref() {
            Some("Y" | "1") => None,
            Some(_) => Some(format!("VFIO's mode without an IOMMU is off: echo 1 > /{PARAMETER}")),
            None if self.path("sys/module/vfio").exists() => {
                Some("this kernel's VFIO has no mode without an IOMMU (CONFIG_VFIO_NOIOMMU)".to_owned())
            }
            None => Some("module vfio is not loaded: modprobe vfio enable_unsafe_noiommu_mode=1".to_owned()),
        }
    }

    /// Whether the kernel has that PCI driver now.
    pub(super) fn has_driver(&self, driver: &str) -> bool {
        // Drivers have odder names than modules.
        !driver.is_empty()
            && !driver.starts_with('.')
            && !driver.contains('/')
            && self.path("sys/bus/pci/drivers").join(driver).exists()
    }

    /// Why a module cannot be loaded; does not load it.
    fn cannot_load(&self, driver: &str) -> Option<String> {
        if !is_name(driver) {
            return Some(format!("'{driver}' is no name of a driver"));
        }
        match self.modprobe(&["--show-depends", "--quiet", driver]) {
            // One line for each file that it would load.
            Ok(said) if said.success != Some(false) && !said.output.is_empty() => None,
            Ok(_) => Some(format!("the kernel has no driver {driver}, and no module of that name is installed")),
            Err(error) => Some(format!(
                "the kernel has no driver {driver}, and {} cannot be run to load it: {error}",
                self.modprobe.display()
            )),
        }
    }
}

/// Whether it can be the name of a driver: it goes into a path and to a
/// program.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
}
