//! What Linux had on interfaces that the user's own commands give to VPP:
//! written down at VPP's start, before any driver can touch them, and found
//! again when they are enabled.

use std::path::Path;
use std::sync::Arc;

use super::away::journal;
use super::{PATIENCE, bring_home, owner};
use crate::engine::journal::{Journal, JournalPhase, TakenDevice};
use crate::engine::{DriverChoice, Expected, Identity, Kept, LinuxFacts, Startup, UplinkRequest};
use crate::linux::client::Netlink;
use crate::linux::error::Error;
use crate::linux::journal::JournalDir;
use crate::linux::netns::NetnsFile;
use crate::linux::pci::{PciBus, VFIO_PCI};
use crate::linux::takeable::takeable;
use crate::linux::{captured, probe as tap_probe};
use crate::model::{IfName, Netns};

/// Write down what Linux has on the interface, and take its card from the
/// kernel, for VPP's dpdk plugin. An error leaves it at home.
pub fn keep_and_take(request: &UplinkRequest, startup: &Startup, words: &str) -> Result<Expected, Error> {
    let name = &request.linux_if;
    let what = || format!("take {name} for VPP's dpdk plugin");
    let home = NetnsFile::open(&request.enable.host_netns)?;
    let captured = captured::capture(&home, name)?;
    let pci = captured.pci.clone().ok_or_else(|| Error::new(what(), "it is not on the PCI bus"))?;
    let link = Netlink::open_in(&home)?.link_by_name(name)?;
    let bus = PciBus::new();
    let mut refusals = bus.refusals(&bus.facts(&pci.address)?, VFIO_PCI, request.no_iommu);
    refusals.extend(link.and_then(|link| takeable(&captured.link, link.hardware_type).err()));
    if !refusals.is_empty() {
        return Err(Error::new(what(), refusals.join("; ")));
    }
    keep(request, startup, words)?;
    if let Err(error) = bus.take(&pci.address, VFIO_PCI, PATIENCE) {
        return Err(match give_up(request, startup) {
            Ok(()) => error,
            Err(second) => error.and(&second),
        });
    }
    Ok(Expected {
        linux_if: name.clone(),
        pci: pci.address,
        mac: captured.link.permanent_mac.unwrap_or(captured.link.mac),
    })
}

/// Bring a card home that was taken for VPP's dpdk plugin, which did not take
/// it.
pub fn give_up(request: &UplinkRequest, startup: &Startup) -> Result<(), Error> {
    let dir = JournalDir::open(&startup.journal)?;
    let lock = dir.lock(PATIENCE)?;
    let us = owner::this_process();
    let is_it = |journal: &Journal| {
        journal.phase == JournalPhase::Kept && journal.owner == us && journal.interface == request.linux_if
    };
    for mut journal in dir.list()?.into_iter().filter_map(|entry| entry.content.ok()).filter(is_it) {
        bring_home(&dir, &lock, &mut journal)?;
        dir.remove(&lock, &journal.name())?;
    }
    Ok(())
}

/// Write down what Linux has on the interface. `words` asked for it.
pub fn keep(request: &UplinkRequest, startup: &Startup, words: &str) -> Result<(), Error> {
    let netns = &request.enable.host_netns;
    let home = NetnsFile::open(netns)?;
    let captured = captured::capture(&home, &request.linux_if)?;
    let device = match &captured.pci {
        Some(pci) => TakenDevice::Pci {
            address: pci.address.clone(),
            original_driver: pci.driver.clone(),
            // Otherwise the user's choice, made later.
            taken_driver: if request.driver == DriverChoice::Dpdk { VFIO_PCI.to_owned() } else { String::new() },
        },
        None => TakenDevice::Netdev {
            parking: startup.netns.clone(),
            mac: captured.link.mac,
            parked_name: request.linux_if.clone(),
            index: captured.link.index,
            xdp: false,
        },
    };
    let dir = JournalDir::open(&startup.journal)?;
    let lock = dir.lock(PATIENCE)?;
    let journal = journal(JournalPhase::Kept, netns, &home, device, captured, words)?;
    dir.write(&lock, &journal)
}

/// What Linux says to the host's device of an uplink that is VPP's; with what
/// was kept for it.
pub fn probe(netns: &Netns, name: Option<IfName>, identity: &Identity, journals: &Path) -> LinuxFacts {
    let (kept, problem) = match find(netns, identity, journals) {
        Ok(kept) => (kept, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let name =
        name.or_else(|| kept.as_ref().map(|kept| kept.captured.link.name.clone())).or_else(|| identity.name.clone());
    let mut facts = tap_probe(netns, name.as_ref());
    facts.refusals.extend(problem);
    facts.kept = kept;
    facts
}

fn find(netns: &Netns, identity: &Identity, journals: &Path) -> Result<Option<Kept>, Error> {
    let Some(dir) = JournalDir::find(journals)? else {
        return Ok(None);
    };
    let Ok(home_ino) = NetnsFile::open(netns).and_then(|file| file.id()) else {
        // The probe of the namespace itself tells that.
        return Ok(None);
    };
    let us = owner::this_process();
    let is_ours = |journal: &Journal| {
        journal.phase == JournalPhase::Kept && journal.owner == us && journal.home.ino == home_ino.1
    };
    let journals = dir.list()?.into_iter().filter_map(|entry| entry.content.ok()).filter(is_ours);
    let fitting = journals.filter_map(|journal| Some((identity.fits(&journal.captured)?, journal)));
    let best = fitting.min_by_key(|(rank, _)| *rank);
    Ok(best.map(|(_, journal)| {
        let (config, kept) = captured::host_config(&journal.captured);
        Kept { home_ino: journal.home.ino, captured: Arc::new(journal.captured), config, kept, words: journal.request }
    }))
}
