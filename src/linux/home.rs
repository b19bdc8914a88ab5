//! The way of an interface from Linux into VPP's hands, and home again.
//!
//! The journal tells at every instant how to give it back: it is written
//! before each thing that could not be taken back without it. Everything here
//! may be killed at any point and run again, by the helper thread, by
//! `hostnet-guard`, or by a helper after the next start of VPP.

mod away;
mod check;
mod forget;
mod fresh;
mod guard;
mod kept;
mod netdev;
mod owner;
mod parking;
mod recover;
mod survey;
mod watch;

pub use away::{commit, foresee_tap, give_back, recall, strike, take, write_journal};
pub use check::{Checked, Standing, check};
pub use forget::forget;
pub use fresh::Fresh;
pub use guard::start as start_guard;
pub use kept::{give_up, keep, keep_and_take, probe};
pub use owner::{is_alive, this_process};
pub use recover::{Recovered, journals, recover, recovery};
pub use survey::survey;
pub use watch::{detach, in_background, watch};

use std::time::Duration;

use nix::errno::Errno;

use super::captured::{self, Dressing};
use super::client::Netlink;
use super::error::{Error, gone_is_fine};
use super::journal::{JournalDir, JournalLock};
use super::netns::NetnsFile;
use super::tun::TAP_KIND;
use super::wire::LinkFacts;
use crate::engine::journal::{Journal, JournalPhase, JournalTap, TakenDevice};
use crate::model::{Captured, IfName};

/// How long somebody else may hold the journals.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is added to the number of a device while it is parked: no namespace
/// comes to such numbers by counting.
const FAR_INDEX: u32 = 1 << 30;

/// The index of a tap that is not in its place yet.
const FORESEEN: u32 = 0;

/// Bring an interface home: what the tap carries is written down and the tap
/// deleted, the device comes back to its namespace and name and gets all that
/// it had. What could not be given back is told, in words; the journal stays.
///
/// An error means that the device is not home.
pub fn bring_home(dir: &JournalDir, lock: &JournalLock, journal: &mut Journal) -> Result<Vec<String>, Error> {
    let home = NetnsFile::find(&journal.home).map_err(|error| stays_away(error, journal))?;
    let mut told = Vec::new();
    if let Some(done) = brought_before(&home, journal)? {
        return Ok(done);
    }
    if journal.phase == JournalPhase::Taken
        && let Err(error) = note_recalled(&home, journal).and_then(|()| dir.write(lock, journal))
    {
        // A disk that is full now must not keep the host from its network.
        told.push(error.to_string());
    }
    delete_tap(&home, journal)?;
    let (index, renamed) = netdev::come_home(&home, journal)?;
    told.extend(renamed);
    told.extend(captured::restore(&home, index, &journal.captured, Dressing::Device)?);
    Ok(told)
}

/// Where a device is that has no way home.
fn stays_away(error: Error, journal: &Journal) -> Error {
    let name = &journal.captured.link.name;
    match (&journal.device, error.is_gone()) {
        (_, false) => error,
        (TakenDevice::Netdev { parking, parked_name, .. }, true) => Error::gone(
            format!("bring {name} home"),
            format!(
                "{error}; the device stays in namespace {parking}, 'ip -n {parking} link set {parked_name} netns \
                 <other>' takes it from there"
            ),
        ),
        (TakenDevice::Pci { address, taken_driver, .. }, true) => Error::gone(
            format!("bring {name} home"),
            format!("{error}; the device {address} stays with driver {taken_driver}"),
        ),
    }
}

/// On a disk that cannot be written, nothing tells that an interface was
/// brought home: the journal still says that VPP has it. Where the tap is gone
/// and the device is at home with addresses, it was; what it has now is newer
/// than what the journal has. Its differences are told.
fn brought_before(home: &NetnsFile, journal: &Journal) -> Result<Option<Vec<String>>, Error> {
    let Some(tap) = journal.tap.as_ref().filter(|_| journal.phase == JournalPhase::Taken) else { return Ok(None) };
    if find_tap(home, tap)?.is_some() {
        return Ok(None);
    }
    let Some(link) = netdev::find_at_home(home, journal)? else { return Ok(None) };
    let Ok(name) = link.name.parse() else { return Ok(None) };
    let now = captured::capture(home, &name)?;
    if !now.link.up || now.addresses.is_empty() {
        return Ok(None);
    }
    let mut told = vec!["it was at home already, it is left as it is".to_owned()];
    told.extend(captured::differences(&journal.captured, &now));
    Ok(Some(told))
}

/// Take what the tap carries into the journal, as the truth from here on.
fn note_recalled(home: &NetnsFile, journal: &mut Journal) -> Result<(), Error> {
    if let Some(tap) = &journal.tap
        && let Some((name, link)) = find_tap(home, tap)?
    {
        let mut now = merged(&journal.captured, tap, captured::capture(home, &name)?);
        if link.up && !link.carrier {
            captured::keep_lost(&journal.captured, &mut now);
        }
        journal.captured = now;
    }
    journal.phase = JournalPhase::Giving;
    Ok(())
}

/// The tap as it is now, if it is there. One that was only foreseen is known
/// by its looks.
fn find_tap(home: &NetnsFile, tap: &JournalTap) -> Result<Option<(IfName, LinkFacts)>, Error> {
    let mut netlink = Netlink::open_in(home)?;
    let named = |link: &LinkFacts| link.name == tap.name.as_str();
    let is_it = |link: &LinkFacts| link.kind.as_deref() == Some(TAP_KIND) && (named(link) || link.mac == Some(tap.mac));
    let link = match tap.index {
        FORESEEN => netlink.link_by_name(&tap.name)?.filter(|link| named(link) && link.mac == Some(tap.mac)),
        index => netlink.link_by_index(index)?,
    };
    Ok(link.filter(is_it).and_then(|link| Some((link.name.parse().ok()?, link))))
}

fn delete_tap(home: &NetnsFile, journal: &Journal) -> Result<(), Error> {
    let Some(tap) = &journal.tap else { return Ok(()) };
    match find_tap(home, tap)? {
        Some((_, link)) => gone_is_fine(Netlink::open_in(home)?.delete_link(link.index)),
        None => Ok(()),
    }
}

/// What the host made of its device while VPP had it. Name, MAC and MTU are the
/// tap's own where somebody changed them on it.
fn merged(before: &Captured, tap: &JournalTap, now: Captured) -> Captured {
    let is = now.link.clone();
    let mut merged = before.carried_by(now);
    if is.name != tap.name {
        merged.link.name = is.name;
    }
    if is.mac != tap.mac {
        merged.link.mac = is.mac;
    }
    if is.mtu != tap.mtu {
        merged.link.mtu = is.mtu;
    }
    merged
}

fn is_taken_name(error: &Error) -> bool {
    error.errno() == Some(Errno::EEXIST)
}
