//! PCI devices: what one is, who drives it, and handing it from one driver to
//! another and back.
//!
//! All of it reads and writes sysfs below a root that is given, so that tests
//! bring a tree of their own. Devices are bound by `driver_override`, never
//! by `new_id`: that would also take every other card of the same kind.

mod bind;
mod facts;
mod modprobe;
mod netdev;
mod refusals;
#[cfg(test)]
mod tests;
mod wait;
mod ways;

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::error::Error;

pub use facts::{PciFacts, PciMember};
pub use netdev::PciNetdev;

/// VFIO's driver: the device behind the IOMMU, in the hands of a process.
pub const VFIO_PCI: &str = "vfio-pci";
/// The driver that hands a device to a process without an IOMMU; interrupts
/// by pin only.
pub const UIO_PCI_GENERIC: &str = "uio_pci_generic";

/// The PCI bus as sysfs shows it.
#[derive(Debug)]
pub struct PciBus {
    root: PathBuf,
    modprobe: PathBuf,
    #[cfg(test)]
    kernel: Option<tests::FakeKernel>,
}

impl Default for PciBus {
    fn default() -> Self {
        Self::new()
    }
}

impl PciBus {
    /// This machine's.
    pub fn new() -> Self {
        Self::below(Path::new("/"), Path::new("modprobe"))
    }

    /// That of the tree below `root` (with `sys`, `dev` and `proc` in it), and
    /// the program that loads a kernel module.
    pub fn below(root: &Path, modprobe: &Path) -> Self {
        Self {
            root: root.to_owned(),
            modprobe: modprobe.to_owned(),
            #[cfg(test)]
            kernel: None,
        }
    }

    /// A path of the tree.
    fn path(&self, inner: impl AsRef<Path>) -> PathBuf {
        self.root.join(inner)
    }

    /// The folder of a device; fails with `ENODEV` where it is not there
    /// (unplugged).
    fn device(&self, address: &str) -> Result<PathBuf, Error> {
        let what = || format!("find PCI device {address}");
        if !is_address(address) {
            return Err(Error::new(what(), "an address has the form 0000:d8:0a.0"));
        }
        let folder = self.path("sys/bus/pci/devices").join(address);
        if folder.exists() { Ok(folder) } else { Err(Error::sys(what(), Errno::ENODEV)) }
    }

    /// The address of the PCI device below a network device of the namespace
    /// that sysfs was mounted in; `None` where it is on no PCI bus.
    pub fn address_of(&self, netdev: &str) -> Option<String> {
        address_in(&self.path("sys/class/net").join(netdev).join("device"))
    }
}

/// The PCI address that a path of sysfs leads to: the innermost one, those
/// before it are bridges. What comes after it is a bus of the device's own,
/// such as virtio's.
fn address_in(path: &Path) -> Option<String> {
    let full = fs::canonicalize(path).ok()?;
    full.iter().rev().filter_map(|part| part.to_str()).find(|part| is_address(part)).map(str::to_owned)
}

/// Whether it reads `domain:bus:slot.function`, in hexadecimal.
fn is_address(text: &str) -> bool {
    let is_hex = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut parts = text.split(':');
    let (Some(domain), Some(bus), Some(rest), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    // Domains of virtual bridges (VMD) have more digits.
    rest.split_once('.').is_some_and(|(slot, function)| {
        is_hex(domain, 4..=8) && is_hex(bus, 2..=2) && is_hex(slot, 2..=2) && is_hex(function, 1..=1)
    })
}

/// The last part of what a symbolic link points to.
fn link_name(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned())
}

/// The trimmed text of a file that may not be there.
fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The names in a folder, sorted; none where it is not there.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}
