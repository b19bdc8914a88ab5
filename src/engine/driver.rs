//! How VPP comes to drive a device of Linux's: the drivers, and which one it
//! is to be.

use std::fmt;
use std::str::FromStr;

use super::Survey;
use crate::model::Captured;

#[cfg(test)]
mod tests;

/// How VPP comes to drive a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// VPP's af-packet on the kernel's netdev, parked in a namespace.
    AfPacket,
    /// VPP's af_xdp plugin on the kernel's netdev, parked likewise.
    AfXdp,
    /// VPP's rdma plugin on the RDMA device of the card; the kernel's netdev,
    /// parked likewise, stays beside it.
    Rdma,
    /// VPP's own virtio driver on the PCI device.
    Virtio,
    /// VPP's vmxnet3 plugin on the PCI device.
    Vmxnet3,
    /// One of the drivers of VPP's `device attach` on the PCI device: whichever
    /// takes it.
    Device,
}

impl Driver {
    /// Every driver.
    pub const ALL: [Self; 6] = [Self::AfPacket, Self::AfXdp, Self::Rdma, Self::Virtio, Self::Vmxnet3, Self::Device];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::AfPacket => "af-packet",
            Self::AfXdp => "af-xdp",
            Self::Rdma => "rdma",
            Self::Virtio => "virtio",
            Self::Vmxnet3 => "vmxnet3",
            Self::Device => "device",
        }
    }

    /// Whether it drives the PCI device itself, so that the netdev goes away.
    pub fn takes_pci(self) -> bool {
        match self {
            Self::AfPacket | Self::AfXdp | Self::Rdma => false,
            Self::Virtio | Self::Vmxnet3 | Self::Device => true,
        }
    }

    /// Whether it needs nothing of a device but that it is there.
    fn takes_any(self) -> bool {
        self == Self::AfPacket
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Driver {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|driver| driver.name() == word).ok_or(())
    }
}

/// Which driver the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DriverChoice {
    /// By the card's kernel driver and what VPP has loaded.
    #[default]
    Auto,
    /// This one.
    This(Driver),
    /// VPP's dpdk plugin makes the interface, at VPP's start; until then the
    /// card is captured and taken from the kernel.
    Dpdk,
    /// The user's own VPP commands make the interface; only capture.
    None,
}

impl DriverChoice {
    /// Whether the interface comes to be without us, at VPP's start.
    pub fn is_made_at_start(self) -> bool {
        matches!(self, Self::Dpdk | Self::None)
    }
}

/// How one of VPP's drivers would come to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// VPP's driver.
    pub driver: Driver,
    /// The kernel's driver that hands the PCI device to VPP; `None` where the
    /// kernel keeps it.
    pub kernel_driver: Option<String>,
    /// Every reason against it.
    pub refusals: Vec<String>,
}

/// What VPP could do with a card. Read on the main thread, changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prospects {
    /// The drivers that are loaded.
    pub drivers: Vec<Driver>,
    /// Which driver of `device attach` takes the card.
    pub device_driver: Option<String>,
    /// Every reason of VPP's against a driver that takes the PCI device.
    pub pci_refusals: Vec<String>,
    /// The largest MTU whose frames fit into VPP's buffers by af-xdp, in bytes.
    pub xdp_mtu: u32,
    /// Whether VPP's tap plugin is loaded.
    pub tap_plugin: bool,
    /// Every reason on VPP's side against one more uplink.
    pub refusals: Vec<String>,
}

/// The name that the interface will have in VPP: after the netdev, or after
/// the PCI address (format_vlib_pci_addr with other separators; the interface
/// itself tells once it is made).
pub(super) fn vpp_name(driver: Driver, captured: &Captured) -> String {
    // No command of VPP's could name one with a dot.
    let after = |prefix: &str| format!("{prefix}-{}", captured.link.name.as_str().replace('.', "-"));
    match (driver, &captured.pci) {
        (Driver::AfXdp, _) => after("xdp"),
        (Driver::Rdma, _) => after("rdma"),
        (Driver::Device, Some(_)) => after("device"),
        (Driver::AfPacket, _) | (_, None) => after("host"),
        (driver, Some(pci)) => format!("{driver}-{}", pci.address),
    }
}

/// Every reason against that driver.
fn against(driver: Driver, survey: &Survey, prospects: &Prospects) -> Option<String> {
    if !prospects.drivers.contains(&driver) {
        return Some(format!("VPP has no {driver}: its plugin is not loaded"));
    }
    let name = &survey.captured.link.name;
    let way = survey.ways.iter().find(|way| way.driver == driver);
    let of_vpp: &[String] = if driver.takes_pci() { &prospects.pci_refusals } else { &[] };
    match (way, &survey.captured.pci) {
        (_, None) if driver.takes_pci() => Some(format!("{name} is not on the PCI bus")),
        (None, _) if driver.takes_any() => None,
        (None, Some(pci)) => Some(format!("PCI device {} cannot be looked at", pci.address)),
        (None, None) => Some(format!("{name} cannot be looked at")),
        (Some(way), _) => {
            let of_driver =
                frames_too_long(driver, survey, prospects).or_else(|| no_device_driver(driver, survey, prospects));
            let reasons: Vec<&str> = way.refusals.iter().chain(of_vpp).chain(&of_driver).map(String::as_str).collect();
            (!reasons.is_empty()).then(|| reasons.join("; "))
        }
    }
}

/// Only VPP knows which cards its drivers take.
fn no_device_driver(driver: Driver, survey: &Survey, prospects: &Prospects) -> Option<String> {
    let address = survey.captured.pci.as_ref().map_or("", |pci| &pci.address);
    (driver == Driver::Device && prospects.device_driver.is_none()).then(|| {
        format!("none of VPP's drivers takes PCI device {address}: 'show device drivers' in VPP lists those it has")
    })
}

/// af-xdp has one buffer a frame; what is longer is dropped without a word.
fn frames_too_long(driver: Driver, survey: &Survey, prospects: &Prospects) -> Option<String> {
    let (name, mtu) = (&survey.captured.link.name, survey.captured.link.mtu);
    let longest = prospects.xdp_mtu;
    (driver == Driver::AfXdp && mtu > longest).then(|| {
        format!(
            "the MTU of {name} is {mtu}, and a frame has to fit into one of VPP's buffers, which hold an MTU of \
             {longest}: lower the MTU (ip link set {name} mtu {longest}), or set 'default data-size' in the stanza \
             'buffers' of startup.conf, up to the size of a page"
        )
    })
}

/// The driver that the user asked for, or the best that is possible, and why.
///
/// The best is never one that shares a device with the kernel in a way that
/// depends on the card (af-xdp: as fast as its kernel driver's XDP is; rdma:
/// the kernel goes on seeing part of the packets), nor one that was not asked
/// for by whoever wrote VPP's startup.conf.
pub(super) fn choose(choice: DriverChoice, survey: &Survey, prospects: &Prospects) -> Result<(Driver, String), String> {
    let against = |driver: Driver| against(driver, survey, prospects);
    match choice {
        DriverChoice::This(driver) => match against(driver) {
            None => Ok((
                driver,
                match &prospects.device_driver {
                    Some(own) if driver == Driver::Device => format!("asked for; VPP's {own} takes the card"),
                    _ => "asked for".to_owned(),
                },
            )),
            Some(reason) => Err(format!("driver {driver} is not possible: {reason}")),
        },
        DriverChoice::Dpdk => {
            let pci = survey.captured.pci.as_ref();
            let address = pci.map_or("<pci-address>", |pci| &pci.address);
            Err(format!(
                "driver dpdk is not possible: VPP's dpdk plugin takes its cards at VPP's start; write 'uplink {} {{ \
                 driver dpdk }}' into the hostnet stanza of startup.conf and 'dev {address}' into its dpdk stanza, and \
                 start VPP again",
                survey.captured.link.name
            ))
        }
        DriverChoice::None => Err("driver none makes no interface: use it in startup.conf, 'hostnet enable' follows \
                                   once VPP has the interface"
            .to_owned()),
        DriverChoice::Auto => {
            let kernel = survey.captured.pci.as_ref().and_then(|pci| pci.driver.as_deref());
            let own = match kernel {
                Some("virtio-pci" | "virtio_net") => Some(Driver::Virtio),
                Some("vmxnet3") => Some(Driver::Vmxnet3),
                _ => None,
            };
            let mut why_not = match (own, kernel) {
                (None, Some(kernel)) => format!("VPP has no driver of its own for a card of {kernel}"),
                (_, _) => "the interface is no PCI card".to_owned(),
            };
            if let (Some(driver), Some(kernel)) = (own, kernel) {
                match against(driver) {
                    None => return Ok((driver, format!("the card is driven by {kernel}, and VPP has its own driver"))),
                    Some(reason) => why_not = format!("not {driver}: {reason}"),
                }
            }
            match against(Driver::AfPacket) {
                None => Ok((Driver::AfPacket, why_not)),
                Some(reason) => Err(format!("no driver is possible: {why_not}; not af-packet: {reason}")),
            }
        }
    }
}
