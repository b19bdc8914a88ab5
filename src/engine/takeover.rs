//! What the user asks of a takeover, and where it is written in startup.conf.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::EnableRequest;
use crate::model::IfName;

/// Where journals are kept unless startup.conf says otherwise.
pub const JOURNAL_DIR: &str = "/var/lib/hostnet";
/// The namespace that taken netdevs are parked in unless startup.conf says
/// otherwise.
pub const PARKING_NETNS: &str = "hostnet-uplinks";

/// How VPP comes to drive a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// VPP's af-packet on the kernel's netdev, parked in a namespace.
    AfPacket,
    /// VPP's own virtio driver on the PCI device.
    Virtio,
    /// VPP's vmxnet3 plugin on the PCI device.
    Vmxnet3,
    /// A driver of VPP's device framework (`device attach`) on the PCI device.
    Dev,
}

impl Driver {
    /// Every driver.
    pub const ALL: [Self; 4] = [Self::AfPacket, Self::Virtio, Self::Vmxnet3, Self::Dev];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::AfPacket => "af-packet",
            Self::Virtio => "virtio",
            Self::Vmxnet3 => "vmxnet3",
            Self::Dev => "dev",
        }
    }

    /// Whether it drives the PCI device itself, so that the netdev goes away.
    pub fn takes_pci(self) -> bool {
        self != Self::AfPacket
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
    /// The user's own VPP commands make the interface; only capture.
    None,
}

/// `hostnet uplink`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkRequest {
    /// The Linux interface to take, in the namespace `enable.host_netns`.
    pub linux_if: IfName,
    /// How VPP comes to drive it.
    pub driver: DriverChoice,
    /// vfio may be used without an IOMMU.
    pub no_iommu: bool,
    /// What `hostnet enable` takes; its `sw_if_index` means nothing here.
    pub enable: EnableRequest,
}

/// The `hostnet` stanza of startup.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// Directory of the journals.
    pub journal: PathBuf,
    /// Name of the namespace (`ip netns`) that taken netdevs are parked in.
    pub netns: String,
    /// What is taken at VPP's start, in this order.
    pub uplinks: Vec<UplinkRequest>,
}

impl Default for Startup {
    fn default() -> Self {
        Self { journal: PathBuf::from(JOURNAL_DIR), netns: PARKING_NETNS.to_owned(), uplinks: Vec::new() }
    }
}
