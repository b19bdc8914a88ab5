//! What the user asks of a takeover, and where it is written in startup.conf.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::driver::{Driver, DriverChoice, Prospects, Way, choose, vpp_name};
use super::mirror::MirrorOptions;
use super::plan::NO_SW_IF_INDEX;
use super::{EnableRequest, LinuxFacts, Plan, Refusals, UplinkFacts, UplinkId};
use crate::model::{Captured, HostConfig, IfName, MacAddr, Netns, police};

#[cfg(test)]
pub(super) mod tests;

/// Where journals are kept unless startup.conf says otherwise.
pub const JOURNAL_DIR: &str = "/var/lib/hostnet";
/// The namespace that taken netdevs are parked in unless startup.conf says
/// otherwise.
pub const PARKING_NETNS: &str = "hostnet-uplinks";

/// The program that brings uplinks home when VPP died, where `make install`
/// puts it.
pub const GUARD: &str = "/usr/sbin/hostnet-guard";

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
    /// The program `hostnet-guard`, where the plugin is to start it: for those
    /// whose VPP no systemd cleans up after.
    pub guard: Option<PathBuf>,
    /// How the mirror works.
    pub mirror: MirrorOptions,
    /// What of each class reaches the host.
    pub police: police::Config,
    /// What is taken at VPP's start, in this order.
    pub uplinks: Vec<UplinkRequest>,
}

impl Default for Startup {
    fn default() -> Self {
        let journal = PathBuf::from(JOURNAL_DIR);
        Self {
            journal,
            netns: PARKING_NETNS.to_owned(),
            guard: None,
            mirror: MirrorOptions::default(),
            police: police::Config::default(),
            uplinks: Vec::new(),
        }
    }
}

/// What an interface of VPP's is known by in Linux.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its MAC.
    pub mac: MacAddr,
    /// Its name in Linux, where VPP's name tells it or the user does.
    pub name: Option<IfName>,
    /// Its PCI address, where VPP's name tells it.
    pub pci: Option<String>,
}

impl Identity {
    /// Of an interface with that name in VPP.
    pub fn new(vpp_name: &str, mac: MacAddr, name: Option<IfName>) -> Self {
        Self { mac, name, pci: pci_address(vpp_name) }
    }

    /// How well it fits what was captured: by PCI address, MAC or name, the
    /// best first; `None` when it does not.
    pub fn fits(&self, captured: &Captured) -> Option<u8> {
        let pci = captured.pci.as_ref().map(|pci| &pci.address);
        if let (Some(own), Some(theirs)) = (&self.pci, pci) {
            return (own == theirs).then_some(0);
        }
        let link = &captured.link;
        if self.mac == link.mac || Some(self.mac) == link.permanent_mac {
            return Some(1);
        }
        (self.name.as_ref() == Some(&link.name)).then_some(2)
    }
}

/// The PCI address in a name that VPP's drivers give: `avf-0/d8/a/0` has
/// domain, bus, slot and function, dpdk's `TenGigabitEthernetd8/0/1` the last
/// three; all hexadecimal.
fn pci_address(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('/').collect();
    let hex = |text: &str| u16::from_str_radix(text, 16).ok();
    let (domain, bus, slot, function) = match *parts.as_slice() {
        [first, bus, slot, function] => {
            let (_, domain) = first.rsplit_once('-')?;
            (hex(domain)?, hex(bus)?, hex(slot)?, hex(function)?)
        }
        [first, slot, function] => {
            // The bus follows the speed's "Ethernet", which ends in no digit
            // but may end like one: "t" is none of them.
            let (_, bus) = first.rsplit_once("Ethernet")?;
            (0, hex(bus)?, hex(slot)?, hex(function)?)
        }
        _ => return None,
    };
    (bus <= 0xff && slot <= 0x1f && function <= 7).then(|| format!("{domain:04x}:{bus:02x}:{slot:02x}.{function}"))
}

/// What Linux had on an interface that the user's own commands give to VPP,
/// kept at VPP's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// All of it.
    pub captured: Arc<Captured>,
    /// Inode number of the namespace that it was in.
    pub home_ino: u64,
    /// What VPP is to have of it.
    pub config: HostConfig,
    /// What VPP cannot hold and the host alone keeps, and why.
    pub kept: Vec<String>,
    /// The words of startup.conf that asked for it.
    pub words: String,
}

/// What Linux has on an interface that is to be taken. Changes nothing.
#[derive(Clone, Debug)]
pub struct Survey {
    /// All of it.
    pub captured: Arc<Captured>,
    /// Inode number of the namespace that it is in.
    pub home_ino: u64,
    /// What VPP is to have of it.
    pub config: HostConfig,
    /// What VPP cannot hold and the host alone keeps, and why.
    pub kept: Vec<String>,
    /// Who uses the interface and what will be interrupted, a line each.
    pub usage: Vec<String>,
    /// Every reason against taking it at all.
    pub refusals: Vec<String>,
    /// How the drivers that ask more of a device than that it is there would
    /// come to it.
    pub ways: Vec<Way>,
    /// The RDMA device on its card, such as `mlx5_0`, if there is one.
    pub rdma: Option<String>,
    /// What Linux says to the host's device.
    pub linux: LinuxFacts,
}

/// A card that VPP's dpdk plugin is to make an interface of, at VPP's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What it was in Linux.
    pub linux_if: IfName,
    /// Its PCI address.
    pub pci: String,
    /// The MAC that it was made with, which the interface begins with.
    pub mac: MacAddr,
}

impl Expected {
    /// Whether VPP's interface of that name, MAC and device class is it.
    pub fn is_it(&self, name: &str, mac: MacAddr, device_class: &str) -> bool {
        device_class == "dpdk" && pci_address(name).map_or(mac == self.mac, |address| address == self.pci)
    }
}

/// What became of an interface that a VPP that died had taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The interface, where its journal could be believed.
    pub linux_if: Option<IfName>,
    /// The words that asked for it.
    pub words: Option<String>,
    /// What there is to tell of it.
    pub told: Vec<String>,
    /// Whether it is home.
    pub home: Result<(), String>,
}

/// A takeover, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// The Linux interface.
    pub linux_if: IfName,
    /// The namespace that it is taken from and comes home to.
    pub home: Netns,
    /// Inode number of that namespace's file.
    pub home_ino: u64,
    /// How VPP drives it; `None`: somebody else's doing, see `made_by`.
    pub driver: Option<Driver>,
    /// Who made VPP's interface where we did not: `none`, the user's own
    /// commands, or `dpdk`, VPP's plugin of that name.
    pub made_by: &'static str,
    /// Why that driver.
    pub driver_reason: String,
    /// The kernel's driver that hands the PCI device to VPP, where VPP's driver
    /// takes that.
    pub kernel_driver: Option<String>,
    /// The RDMA device that VPP uses, where its driver is that of RDMA.
    pub rdma: Option<String>,
    /// Name of the namespace that a netdev is parked in.
    pub parking: String,
    /// Directory of the journal.
    pub journal: PathBuf,
    /// The guard to start before anything is taken, if one was asked for.
    pub guard: Option<PathBuf>,
    /// What Linux has on it.
    pub captured: Arc<Captured>,
    /// What VPP cannot hold of it and the host alone keeps.
    pub kept: Vec<String>,
    /// Who uses it, and what is interrupted.
    pub usage: Vec<String>,
    /// The words that ask for it, to go on after a restart.
    pub words: String,
}

impl Takeover {
    /// The plan of a takeover, or every reason against it.
    pub fn plan(
        id: UplinkId,
        request: &UplinkRequest,
        words: &str,
        startup: &Startup,
        survey: Survey,
        prospects: Prospects,
    ) -> Result<Plan, Refusals> {
        let choice = choose(request.driver, &survey, &prospects);
        let link = &survey.captured.link;
        let mut facts = UplinkFacts {
            sw_if_index: NO_SW_IF_INDEX,
            name: vpp_name(choice.as_ref().map_or(Driver::AfPacket, |(driver, _)| *driver), &survey.captured),
            linux_name: Some(request.linux_if.clone()),
            mac: link.mac,
            mtu: link.mtu,
            tables: (0, 0),
            config: survey.config,
            tap_plugin: prospects.tap_plugin,
            route_sources: Vec::new(),
            default_punt: false,
            refusals: prospects.refusals,
            unready: Vec::new(),
        };
        facts.refusals.extend(survey.refusals);
        let choice = choice.map_err(|reason| facts.refusals.push(reason));
        let mut plan = Plan::build(id, &request.enable, &facts, &survey.linux)?;
        // Its refusal would have ended in the error above.
        let Ok((driver, driver_reason)) = choice else { return Err(Refusals(facts.refusals)) };
        plan.takeover = Some(Arc::new(Self {
            linux_if: request.linux_if.clone(),
            home: request.enable.host_netns.clone(),
            home_ino: survey.home_ino,
            driver: Some(driver),
            made_by: driver.name(),
            driver_reason,
            kernel_driver: survey.ways.into_iter().find(|way| way.driver == driver).and_then(|way| way.kernel_driver),
            rdma: survey.rdma.filter(|_| driver == Driver::Rdma),
            parking: startup.netns.clone(),
            journal: startup.journal.clone(),
            guard: startup.guard.clone(),
            captured: survey.captured,
            kept: survey.kept,
            usage: survey.usage,
            words: words.to_owned(),
        }));
        Ok(plan)
    }

    /// The plan of an uplink that is VPP's, with a configuration that was kept
    /// for it; or every reason against it.
    pub fn of_kept(
        id: UplinkId,
        request: &EnableRequest,
        facts: &UplinkFacts,
        linux: &LinuxFacts,
        kept: &Kept,
        startup: &Startup,
    ) -> Result<Plan, Refusals> {
        let link = &kept.captured.link;
        let by_dpdk = kept.words.contains(" driver dpdk");
        let facts = UplinkFacts {
            linux_name: Some(link.name.clone()),
            mac: link.mac,
            mtu: link.mtu,
            config: kept.config.clone(),
            unready: Vec::new(),
            ..facts.clone()
        };
        let mut plan = Plan::build(id, request, &facts, linux)?;
        plan.takeover = Some(Arc::new(Self {
            linux_if: link.name.clone(),
            home: request.host_netns.clone(),
            home_ino: kept.home_ino,
            driver: None,
            made_by: if by_dpdk { "dpdk" } else { "none" },
            driver_reason: if by_dpdk {
                "VPP's dpdk plugin took the card at VPP's start".to_owned()
            } else {
                "VPP's interface is of your own commands".to_owned()
            },
            kernel_driver: None,
            rdma: None,
            parking: startup.netns.clone(),
            journal: startup.journal.clone(),
            captured: Arc::clone(&kept.captured),
            kept: kept.kept.clone(),
            usage: Vec::new(),
            guard: startup.guard.clone(),
            words: kept.words.clone(),
        }));
        Ok(plan)
    }

    /// How VPP drives it, as it is shown.
    pub fn driver_name(&self) -> &'static str {
        self.driver.map_or(self.made_by, Driver::name)
    }

    /// Whether the PCI device itself is taken from Linux.
    pub fn takes_pci(&self) -> bool {
        self.driver.is_some_and(Driver::takes_pci)
    }

    /// What it does to Linux, a line each thing.
    pub(super) fn describe(&self, out: &mut String) {
        let link = &self.captured.link;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "Takeover of {}, namespace {}:", self.linux_if, self.home);
        let _ = writeln!(out, "  driver {}: {}", self.driver_name(), self.driver_reason);
        let _ = match &self.captured.pci {
            Some(pci) if self.takes_pci() => {
                let driver = pci.driver.as_deref().unwrap_or("none");
                let next = self.kernel_driver.as_deref().unwrap_or("none");
                writeln!(out, "  PCI device {} from its kernel driver {driver} to {next}", pci.address)
            }
            _ if self.driver.is_none() => writeln!(out, "  what Linux had on {}, kept at VPP's start", link.name),
            _ => writeln!(out, "  {} moves to namespace {}", link.name, self.parking),
        };
        let _ = writeln!(out, "  journal in {}", self.journal.display());
        if let Some(guard) = &self.guard {
            let _ = writeln!(out, "  guard {}", guard.display());
        }
        let captured = &self.captured;
        let _ = writeln!(
            out,
            "  captured: {} addresses, {} routes, {} rules, {} next-hop objects, {} neighbours, {} sysctls",
            captured.addresses.len(),
            captured.routes.len(),
            captured.rules.len(),
            captured.nexthops.len(),
            captured.neighbours.len(),
            captured.sysctls.len()
        );
        for line in &self.usage {
            let _ = writeln!(out, "  {line}");
        }
        for line in &self.kept {
            let _ = writeln!(out, "  only on the host: {line}");
        }
    }
}
