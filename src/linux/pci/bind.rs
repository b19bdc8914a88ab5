//! From one driver to another, and back.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::facts::driver_override;
use super::netdev::Watch;
use super::refusals::is_name;
use super::{PciBus, PciNetdev, VFIO_PCI, link_name, names, text, wait};
use crate::linux::error::Error;
use crate::linux::netns::NetnsFile;
use crate::model::PciDevice;

/// What the kernel takes as no `driver_override` (driver_set_override in
/// drivers/base/driver.c).
const NO_OVERRIDE: &str = "\n";

impl PciBus {
    /// Hand a device to a driver, whoever has it now, and wait until a process
    /// can open it. Gives the file that it is opened by, such as
    /// `/dev/vfio/12`; `None` for a driver that has none.
    ///
    /// Idempotent. After an error the device may have no driver:
    /// [`PciBus::give_back`] goes on from wherever it stopped.
    pub fn take(&self, address: &str, driver: &str, patience: Duration) -> Result<Option<PathBuf>, Error> {
        let deadline = Instant::now() + patience;
        let what = format!("give PCI device {address} to driver {driver}");
        let folder = self.device(address)?;
        if !self.has_driver(driver) {
            self.load(driver)?;
        }
        // Before it is unbound: whoever has it bound by then binds it to this.
        self.set_override(&folder, Some(driver))?;
        if link_name(&folder.join("driver")).as_deref() != Some(driver) {
            self.unbind(address, &folder)?;
            self.bind(address, &folder, driver, &what)?;
        }
        let Some(file) = self.file_of(&folder, driver) else {
            return Ok(None);
        };
        let is_there = || file.exists().then_some(());
        wait::for_file(file.parent().unwrap_or(Path::new("/")), deadline, &is_there)?
            .ok_or_else(|| Error::new(what, format!("{} did not appear within {patience:?}", file.display())))?;
        Ok(Some(file))
    }

    /// Give a device back to the driver that it had, with the `driver_override`
    /// that it had, and wait for its network devices to appear in one of
    /// `places`. They come in the machine's initial namespace
    /// ([`NetnsFile::initial`]) under a name of the kernel's choice; the other
    /// places are for an earlier run that moved them on and then ended.
    ///
    /// Idempotent, from whatever state. None appear where the device had no
    /// driver. Fails with `ENODEV` when the device is not there any more.
    pub fn give_back(
        &self,
        device: &PciDevice,
        places: &[&NetnsFile],
        patience: Duration,
    ) -> Result<Vec<PciNetdev>, Error> {
        let deadline = Instant::now() + patience;
        // First: what comes before it listens is not heard of.
        let mut watch = Watch::open(places)?;
        self.give_driver_back(device, deadline)?;
        let address = &device.address;
        if device.driver.is_none() {
            return Ok(Vec::new());
        }
        watch.wait(self, address, deadline)?.ok_or_else(|| {
            let driver = device.driver.as_deref().unwrap_or_default();
            Error::new(
                format!("wait for the network device on PCI device {address}"),
                format!("driver {driver} has it, but none appeared within {patience:?}"),
            )
        })
    }

    /// [`PciBus::give_back`] without the wait for network devices.
    pub(super) fn give_driver_back(&self, device: &PciDevice, deadline: Instant) -> Result<(), Error> {
        let address = &device.address;
        let folder = self.device(address)?;
        let wanted = device.driver.as_deref();
        self.set_override(&folder, device.driver_override.as_deref())?;
        let now = link_name(&folder.join("driver"));
        if now.as_deref() == wanted {
            return Ok(());
        }
        if now.as_deref() == Some(VFIO_PCI) {
            // The kernel holds the thread that unbinds it until then, for ever.
            self.wait_for_holders(&folder, address, deadline)?;
        }
        self.unbind(address, &folder)?;
        let Some(wanted) = wanted else {
            return Ok(());
        };
        if !self.has_driver(wanted) {
            // A driver's name need not be that of its module.
            let alias = text(&folder.join("modalias"));
            self.load(alias.as_deref().unwrap_or(wanted)).or_else(|_| self.load(wanted))?;
        }
        self.bind(address, &folder, wanted, &format!("give PCI device {address} back to driver {wanted}"))
    }

    fn wait_for_holders(&self, folder: &Path, address: &str, deadline: Instant) -> Result<(), Error> {
        let Some(file) = self.file_of(folder, VFIO_PCI) else {
            return Ok(());
        };
        let free = || self.holders(&file).is_empty().then_some(());
        let done = wait::for_file(&file, deadline, &free)?;
        done.ok_or_else(|| {
            let holders: Vec<String> = self.holders(&file).iter().map(ToString::to_string).collect();
            Error::refused(
                format!("take PCI device {address} from driver {VFIO_PCI}"),
                Errno::EBUSY,
                Some(&format!("{} is held open by process {}", file.display(), holders.join(", "))),
            )
        })
    }

    fn set_override(&self, folder: &Path, driver: Option<&str>) -> Result<(), Error> {
        if driver_override(folder).as_deref() == driver {
            return Ok(());
        }
        self.write(&folder.join("driver_override"), driver.unwrap_or(NO_OVERRIDE))
    }

    fn unbind(&self, address: &str, folder: &Path) -> Result<(), Error> {
        let driver = folder.join("driver");
        if !driver.exists() {
            return Ok(());
        }
        match self.write(&driver.join("unbind"), address) {
            // Another one was quicker.
            Err(_) if !driver.exists() && folder.exists() => Ok(()),
            other => other,
        }
    }

    fn bind(&self, address: &str, folder: &Path, driver: &str, what: &str) -> Result<(), Error> {
        let now = || link_name(&folder.join("driver"));
        let probed = self.write(&self.path("sys/bus/pci/drivers_probe"), address);
        if now().as_deref() == Some(driver) {
            return Ok(());
        }
        // Another driver claims the same kind of card, and was asked first.
        self.unbind(address, folder)?;
        // The kernel tells why only whoever asks for this very driver.
        let bound = self.write(&self.path("sys/bus/pci/drivers").join(driver).join("bind"), address);
        if now().as_deref() == Some(driver) {
            return Ok(());
        }
        let why = bound.and(probed).err().map_or_else(|| "the driver did not take it".to_owned(), |e| e.to_string());
        Err(Error::new(what, why))
    }

    /// Load a kernel module, by its name or an alias of it.
    fn load(&self, module: &str) -> Result<(), Error> {
        let what = format!("load kernel module {module}");
        // An alias has colons, and nothing that a name has not.
        if !is_name(&module.replace(':', "_")) {
            return Err(Error::new(what, "it is no name of a module"));
        }
        let said = self.modprobe(&[module]).map_err(|error| Error::io(what.clone(), &error))?;
        match (said.success, said.errors.as_str()) {
            (Some(true), _) | (None, "") => Ok(()),
            (_, "") => Err(Error::new(what, "modprobe failed")),
            (_, errors) => Err(Error::new(what, errors)),
        }
    }

    /// The file by which a process opens the device of that driver.
    pub(super) fn file_of(&self, folder: &Path, driver: &str) -> Option<PathBuf> {
        if driver != VFIO_PCI {
            let device = names(&folder.join("uio")).into_iter().next()?;
            return Some(self.path("dev").join(device));
        }
        // Without an IOMMU there is a group only from the binding on.
        let group = link_name(&folder.join("iommu_group"))?;
        let prefix = if self.is_no_iommu(&group) { "noiommu-" } else { "" };
        Some(self.path("dev/vfio").join(format!("{prefix}{group}")))
    }

    /// One write, as sysfs wants it.
    #[cfg_attr(not(test), allow(clippy::unused_self, reason = "a test's bus has a kernel of its own"))]
    fn write(&self, path: &Path, value: &str) -> Result<(), Error> {
        #[cfg(test)]
        if let Some(kernel) = &self.kernel {
            return kernel.write(path, value);
        }
        let written =
            fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
        written.map_err(|error| Error::io(format!("write {} to {}", value.trim_end(), path.display()), &error))
    }
}
