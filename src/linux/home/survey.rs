//! What Linux has on an interface that is to be taken, and every reason
//! against it. Changes nothing but what a process that died has left undone.

use std::path::Path;
use std::sync::Arc;

use super::{PATIENCE, guard, parking, recover};
use crate::engine::{Driver, LinuxFacts, Startup, Survey, UplinkRequest, Way};
use crate::linux::captured;
use crate::linux::client::Netlink;
use crate::linux::error::Error;
use crate::linux::journal::JournalDir;
use crate::linux::netns::NetnsFile;
use crate::linux::pci::PciBus;
use crate::linux::probe::{place, probe};
use crate::linux::takeable::takeable;
use crate::linux::usage::{Usage, usage};
use crate::linux::wire::LinkFacts;
use crate::model::{Captured, IfName};

/// Least that a journal takes on disk, in bytes.
const JOURNAL_ROOM: usize = 64 << 10;

/// Look at the interface. An error means that it cannot be looked at.
pub fn survey(request: &UplinkRequest, startup: &Startup) -> Result<Survey, Error> {
    let mut refusals = Vec::new();
    // What a VPP that died has not given back is given back now: the interface
    // may be among it.
    match recover(&startup.journal, PATIENCE) {
        Ok(recovered) => {
            refusals.extend(recovered.into_iter().filter_map(|one| {
                let of_this = one.journal.is_some_and(|journal| journal.interface == request.linux_if);
                one.home.err().filter(|_| of_this)
            }));
        }
        Err(error) => refusals.push(error.to_string()),
    }
    let name = &request.linux_if;
    let home = &request.enable.host_netns;
    let netns = NetnsFile::open(home)?;
    let link = Netlink::open_in(&netns)?.link_by_name(name)?;
    let link =
        link.ok_or_else(|| Error::gone(format!("take {name}"), format!("there is no such device in {}", place(home))))?;
    if link.name != name.as_str() {
        let detail = format!("that is another name of {}: use that one", link.name);
        return Err(Error::new(format!("take {name}"), detail));
    }
    let captured = captured::capture(&netns, name)?;
    refusals.extend(takeable(&captured.link, link.hardware_type).err());
    if captured.link.kind.is_some() {
        refusals.extend(parking::ends_with_vpp());
    }
    refusals.extend(startup.guard.as_deref().and_then(guard::refusal));
    refusals.extend(journal_room(startup));
    refusals.extend(parking_has(startup, &captured)?);
    // The device itself has its name now; another's it must not have.
    let other_name = request.enable.host_if.as_ref().filter(|other| *other != name);
    let linux: LinuxFacts = probe(home, other_name);
    let mut ways = vec![xdp_way(&link)];
    ways.extend(pci_ways(&captured, request.no_iommu)?);
    let rdma = captured.pci.as_ref().and_then(|pci| PciBus::new().rdma_device(&pci.address));
    let (config, kept) = captured::host_config(&captured);
    Ok(Survey {
        home_ino: netns.id()?.1,
        captured: Arc::new(captured),
        config,
        kept,
        usage: usage_of(&netns, name)?,
        refusals,
        ways,
        rdma,
        linux,
    })
}

/// Who uses it and what is interrupted, a line each.
fn usage_of(netns: &NetnsFile, name: &IfName) -> Result<Vec<String>, Error> {
    let Usage { users, interrupted, managers, warnings } = usage(netns, name, Path::new("/"))?;
    let lines = |title: &'static str, all: Vec<String>| all.into_iter().map(move |line| format!("{title}: {line}"));
    let mut out: Vec<String> = lines("used by", users).collect();
    out.extend(lines("interrupted", interrupted));
    out.extend(lines("managed by", managers));
    out.extend(lines("mind", warnings));
    Ok(out)
}

/// Why the journal could not be written.
fn journal_room(startup: &Startup) -> Option<String> {
    let attempt = || -> Result<(), Error> {
        let dir = JournalDir::open(&startup.journal)?;
        let lock = dir.lock(PATIENCE)?;
        dir.check_writable(&lock, JOURNAL_ROOM)
    };
    attempt().err().map(|error| format!("the journal cannot be written: {error}"))
}

/// Whether a device of that name is parked already.
fn parking_has(startup: &Startup, captured: &Captured) -> Result<Option<String>, Error> {
    let Some(parking) = parking::find(&startup.netns)? else {
        return Ok(None);
    };
    let name = &captured.link.name;
    let there = Netlink::open_in(&parking)?.link_by_name(name)?;
    Ok(there.map(|_| {
        format!("a device {name} is in namespace {} already; VPP knows its devices by their names", startup.netns)
    }))
}

/// VPP cannot share a device with another's XDP program, and where it fails it
/// takes that one off (plugins/af_xdp/device.c).
fn xdp_way(link: &LinkFacts) -> Way {
    let refusals = link.xdp.then(|| {
        format!(
            "{} has an XDP program of somebody else's: end whoever put it there, or 'ip link set {} xdp off'",
            link.name, link.name
        )
    });
    Way { driver: Driver::AfXdp, kernel_driver: None, refusals: refusals.into_iter().collect() }
}

fn pci_ways(captured: &Captured, no_iommu: bool) -> Result<Vec<Way>, Error> {
    let Some(pci) = &captured.pci else {
        let none = format!("{} is not on the PCI bus, so no RDMA device is behind it", captured.link.name);
        return Ok(vec![Way { driver: Driver::Rdma, kernel_driver: None, refusals: vec![none] }]);
    };
    let bus = PciBus::new();
    Ok(bus.ways(&bus.facts(&pci.address)?, no_iommu))
}
