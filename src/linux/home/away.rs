//! The steps of a takeover on Linux's side, and their undoing.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::captured;
use super::{FAR_INDEX, FORESEEN, PATIENCE, bring_home, note_recalled, owner, parking};
use crate::engine::journal::{HomeNetns, Journal, JournalName, JournalPhase, JournalTap, TakenDevice};
use crate::engine::{Driver, Plan, Takeover};
use crate::linux::client::Netlink;
use crate::linux::error::Error;
use crate::linux::journal::{JournalDir, JournalError, JournalLock, boot_id};
use crate::linux::netns::NetnsFile;
use crate::linux::pci::PciBus;
use crate::linux::wire::LinkFacts;
use crate::model::{Captured, Netns};

/// Journals that are newer than those on disk, which could not be written.
static UNWRITTEN: Mutex<BTreeMap<JournalName, Journal>> = Mutex::new(BTreeMap::new());

/// The journals, locked, and the journal of this takeover if it is there.
pub(super) struct Held {
    pub(super) dir: JournalDir,
    pub(super) lock: JournalLock,
    name: JournalName,
}

impl Held {
    fn open(takeover: &Takeover) -> Result<Self, Error> {
        Self::open_within(takeover, PATIENCE)
    }

    /// Waits for another holder at most so long; then the error is `EAGAIN`.
    pub(super) fn open_within(takeover: &Takeover, patience: Duration) -> Result<Self, Error> {
        let dir = JournalDir::open(&takeover.journal)?;
        let lock = dir.lock(patience)?;
        let name = JournalName { interface: takeover.linux_if.clone(), home_ino: takeover.home_ino };
        Ok(Self { dir, lock, name })
    }

    pub(super) fn read(&self) -> Result<Option<Journal>, Error> {
        if let Some(journal) = UNWRITTEN.lock().get(&self.name) {
            return Ok(Some(journal.clone()));
        }
        self.dir.read(&self.name).map_err(|error| match error {
            JournalError::Io(error) => error,
            JournalError::Fault(fault) => Error::new(format!("read the journal {}", self.name), fault.to_string()),
        })
    }

    /// Write it down; in memory alone, for want of a disk. Only on the way
    /// home: it must not be kept from its end by a disk that is full.
    fn write_anyhow(&self, journal: &Journal) -> Option<Error> {
        let error = self.dir.write(&self.lock, journal).err();
        let mut unwritten = UNWRITTEN.lock();
        match &error {
            Some(_) => unwritten.insert(self.name.clone(), journal.clone()),
            None => unwritten.remove(&self.name),
        };
        error
    }

    /// Take it away.
    fn remove(&self) -> Result<(), Error> {
        self.dir.remove(&self.lock, &self.name)?;
        UNWRITTEN.lock().remove(&self.name);
        Ok(())
    }

    fn must(&self) -> Result<Journal, Error> {
        self.read()?.ok_or_else(|| Error::new(format!("read the journal {}", self.name), "it is gone"))
    }
}

/// Write down what Linux has on the interface. Fails when that is no longer
/// what the plan was made of.
pub fn write_journal(takeover: &Takeover) -> Result<(), Error> {
    let held = Held::open(takeover)?;
    if takeover.driver.is_none() {
        // Written at VPP's start.
        return held.must().map(drop);
    }
    let home = NetnsFile::open(&takeover.home)?;
    let captured = captured::capture(&home, &takeover.linux_if)?;
    let differences = captured::differences(&takeover.captured, &captured);
    if !differences.is_empty() {
        let what = format!("write down what Linux has on {}", takeover.linux_if);
        return Err(Error::new(what, format!("it changed just now, try again: {}", differences.join("; "))));
    }
    if let Some(other) = held.read()?
        && other.phase != JournalPhase::Home
        && owner::is_alive(&other.owner)
        && other.owner != owner::this_process()
    {
        let what = format!("take {}", takeover.linux_if);
        return Err(Error::new(what, format!("process {} has it", other.owner.pid)));
    }
    let words = &takeover.words;
    let journal = journal(JournalPhase::Taking, &takeover.home, &home, device(takeover), captured, words)?;
    // Room for the second one too, which is written on the way back.
    let bytes = crate::engine::journal::encode(&journal).map_or(0, |bytes| bytes.len());
    held.dir.check_writable(&held.lock, bytes)?;
    held.dir.write(&held.lock, &journal)?;
    Ok(())
}

/// A journal of this process's, without a tap.
pub(super) fn journal(
    phase: JournalPhase,
    netns: &Netns,
    home: &NetnsFile,
    device: TakenDevice,
    captured: Captured,
    words: &str,
) -> Result<Journal, Error> {
    let (dev, ino) = home.id()?;
    // A path of this thread's would stand for another namespace elsewhere.
    let path = match netns {
        Netns::Own => format!("/proc/{}/ns/net", std::process::id()).into(),
        other => other.path(),
    };
    Ok(Journal {
        boot_id: boot_id()?,
        owner: owner::this_process(),
        phase,
        interface: captured.link.name.clone(),
        home: HomeNetns { path, dev, ino },
        device,
        tap: None,
        captured,
        request: words.to_owned(),
    })
}

fn device(takeover: &Takeover) -> TakenDevice {
    match (&takeover.captured.pci, &takeover.kernel_driver) {
        (Some(pci), Some(taken_driver)) => TakenDevice::Pci {
            address: pci.address.clone(),
            original_driver: pci.driver.clone(),
            taken_driver: taken_driver.clone(),
        },
        _ => TakenDevice::Netdev {
            parking: takeover.parking.clone(),
            mac: takeover.captured.link.mac,
            parked_name: takeover.linux_if.clone(),
            index: takeover.captured.link.index,
            xdp: takeover.driver == Some(Driver::AfXdp),
        },
    }
}

/// Take the journal of a takeover away. Not before the interface is home: its
/// way there may have failed, and cannot be gone again without the journal.
/// One that is gone for good has no way any more; a card that was unplugged may
/// be plugged in again. What was kept for the user's own commands is kept on.
pub fn strike(takeover: &Takeover) -> Result<(), Error> {
    let held = Held::open(takeover)?;
    let Some(mut journal) = held.read()? else { return Ok(()) };
    if takeover.driver.is_none() {
        return held.dir.write(&held.lock, &Journal { phase: JournalPhase::Kept, tap: None, ..journal });
    }
    if journal.phase != JournalPhase::Home {
        match bring_home(&held.dir, &held.lock, &mut journal) {
            Err(error) if error.is_gone() && !may_return(&journal) => {
                log::error!("{}: given up: {error}", takeover.linux_if);
            }
            other => drop(other?),
        }
    }
    held.remove()
}

/// Whether a device that is gone may come again, and has a home then: hardware
/// does when it is plugged in, a virtual device would be another one.
fn may_return(journal: &Journal) -> bool {
    journal.captured.link.kind.is_none() && NetnsFile::find(&journal.home).is_ok()
}

/// Take the device from Linux; for a netdev, the namespace that it is parked
/// in. On error it is home again.
pub fn take(takeover: &Takeover) -> Result<Option<NetnsFile>, Error> {
    let held = Held::open(takeover)?;
    let mut journal = held.must()?;
    let taken = match &journal.device {
        TakenDevice::Pci { address, taken_driver, .. } => {
            PciBus::new().take(address, taken_driver, PATIENCE).map(|_| None)
        }
        TakenDevice::Netdev { .. } => park(takeover).map(Some),
    };
    taken.map_err(|error| match bring_home(&held.dir, &held.lock, &mut journal) {
        Ok(_) => error,
        Err(second) => error.and(&second),
    })
}

/// Move the device into the parking namespace and set it up there as VPP needs
/// it: everything that comes by the wire, nothing of the kernel's own.
fn park(takeover: &Takeover) -> Result<NetnsFile, Error> {
    let home = NetnsFile::open(&takeover.home)?;
    let parking = parking::make(&takeover.parking)?;
    let mut here = Netlink::open_in(&home)?;
    let link = found(&mut here, takeover)?;
    // VPP's af-packet looks its netdev up by number, and in its own namespace
    // when a user changes the interface: there it finds none of this number.
    let far = i32::try_from(link.index % FAR_INDEX).unwrap_or_default().saturating_add(FAR_INDEX.cast_signed());
    here.move_to_as(link.index, &parking, far)?;
    let mut there = Netlink::open_in(&parking)?;
    let link = found(&mut there, takeover)?;
    if takeover.driver == Some(Driver::AfXdp) && link.xdp {
        // Since it was looked at. VPP would fail, and take it off doing so.
        let what = format!("take {}", takeover.linux_if);
        return Err(Error::new(what, "it has got an XDP program just now"));
    }
    // A namespace without IPv6 makes none either.
    let _ = there.set_ip6_address_generation(link.index, false);
    // Its MAC is VPP's now, but multicast groups are filtered by whom the
    // kernel knows to have joined them.
    there.set_promisc(link.index, true)?;
    there.set_up(link.index, true)?;
    Ok(parking)
}

fn found(netlink: &mut Netlink, takeover: &Takeover) -> Result<LinkFacts, Error> {
    let name = &takeover.linux_if;
    let link = netlink.link_by_name(name)?;
    link.ok_or_else(|| Error::gone(format!("find device {name}"), "it is gone"))
}

/// Bring the device home with all that it had, as the journal has it. Said
/// again after it was done, it does no harm.
pub fn give_back(takeover: &Takeover) -> Result<Vec<String>, Error> {
    let held = Held::open(takeover)?;
    let Some(mut journal) = held.read()?.filter(|journal| journal.phase != JournalPhase::Home) else {
        return Ok(Vec::new());
    };
    let mut told = bring_home(&held.dir, &held.lock, &mut journal)?;
    journal.phase = JournalPhase::Home;
    // It is home; that this is not written down costs a second look.
    told.extend(held.write_anyhow(&journal).map(|error| error.to_string()));
    Ok(told)
}

/// The tap comes into its place next: it outlives whoever made it, so it has to
/// be known before that.
pub fn foresee_tap(plan: &Plan, takeover: &Takeover) -> Result<(), Error> {
    let held = Held::open(takeover)?;
    let mut journal = held.must()?;
    journal.tap = Some(tap_of(plan, FORESEEN));
    held.dir.write(&held.lock, &journal)
}

fn tap_of(plan: &Plan, index: u32) -> JournalTap {
    let device = &plan.device;
    JournalTap { name: device.name.clone(), index, mac: device.mac, mtu: device.mtu }
}

/// The takeover is whole: from here on the tap carries the truth.
pub fn commit(plan: &Plan, takeover: &Takeover, index: u32) -> Result<(), Error> {
    let held = Held::open(takeover)?;
    let mut journal = held.must()?;
    journal.tap = Some(tap_of(plan, index));
    journal.phase = JournalPhase::Taken;
    held.dir.write(&held.lock, &journal)
}

/// Write down what the tap carries now: it goes in a moment.
pub fn recall(takeover: &Takeover) -> Result<(), Error> {
    let held = Held::open(takeover)?;
    let Some(mut journal) = held.read()? else { return Ok(()) };
    if journal.phase != JournalPhase::Taken {
        return Ok(());
    }
    match NetnsFile::find(&journal.home) {
        Ok(home) => {
            note_recalled(&home, &mut journal)?;
            if let Some(error) = held.write_anyhow(&journal) {
                log::warn!("{}: {error}", takeover.linux_if);
            }
            Ok(())
        }
        // Gone, and the tap with it: what was written down last is the truth.
        Err(error) if error.is_gone() => Ok(()),
        Err(error) => Err(error),
    }
}
