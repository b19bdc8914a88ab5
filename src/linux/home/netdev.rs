//! A taken device on its way back to its namespace and its name.

use super::{FAR_INDEX, is_taken_name, parking};
use crate::engine::journal::{Journal, TakenDevice};
use crate::linux::client::Netlink;
use crate::linux::error::{Error, gone_is_fine};
use crate::linux::netns::NetnsFile;
use crate::linux::pci::PciBus;
use crate::linux::tun::TAP_KIND;
use crate::linux::wire::LinkFacts;
use crate::model::{IfName, MacAddr};

/// How long a kernel driver may take to bring its network device forth.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Bring the device to its home namespace and name; its index there, and what
/// is to be told when the name was given away meanwhile.
pub(super) fn come_home(home: &NetnsFile, journal: &Journal) -> Result<(u32, Option<String>), Error> {
    let name = &journal.captured.link.name;
    let (place, link) = match &journal.device {
        TakenDevice::Netdev { parking, mac, .. } => find_parked(home, journal, parking, *mac)?,
        TakenDevice::Pci { .. } => give_driver_back(home, journal)?,
    };
    let (place, link) = match place {
        None => aside(home, link, journal)?,
        place => (place, link),
    };
    if let TakenDevice::Netdev { xdp: true, .. } = &journal.device {
        // VPP takes its program off itself, unless it died.
        Netlink::open_in(place.as_ref().unwrap_or(home))?.detach_xdp(link.index)?;
    }
    match place {
        None => at_home(home, &link, name),
        Some(place) => {
            let mut there = Netlink::open_in(&place)?;
            gone_is_fine(there.set_up(link.index, false))?;
            for attempt in 0..ATTEMPTS {
                let name = other_name(name, attempt);
                there.rename(link.index, &name)?;
                match back(&mut there, link.index, home) {
                    Err(error) if is_taken_name(&error) => {}
                    other => {
                        other?;
                        return arrived(home, &name, attempt, &journal.captured.link.name);
                    }
                }
            }
            Err(Error::new(format!("bring {name} home"), "that name and the next ones are taken there"))
        }
    }
}

/// Into the home namespace, under the number that it had there if that is free.
fn back(there: &mut Netlink, index: u32, home: &NetnsFile) -> Result<(), Error> {
    let before = index.checked_sub(FAR_INDEX).and_then(|index| i32::try_from(index).ok()).filter(|index| *index > 0);
    match before {
        Some(before) => there.move_to_as(index, home, before),
        None => there.move_to(index, home),
    }
}

const ATTEMPTS: u32 = 100;

/// The name itself, then others for want of it.
fn other_name(name: &IfName, attempt: u32) -> IfName {
    let other = || {
        let end = format!("-{attempt}");
        let room = crate::model::IFNAME_MAX - end.len();
        let stem: String =
            name.as_str().char_indices().take_while(|(at, c)| at + c.len_utf8() <= room).map(|(_, c)| c).collect();
        format!("{stem}{end}").parse().ok()
    };
    (attempt > 0).then(other).flatten().unwrap_or_else(|| name.clone())
}

fn arrived(home: &NetnsFile, name: &IfName, attempt: u32, wanted: &IfName) -> Result<(u32, Option<String>), Error> {
    let link = Netlink::open_in(home)?.link_by_name(name)?;
    let link = link.ok_or_else(|| Error::new(format!("find device {name} at home"), "it is not there"))?;
    let told = (attempt > 0).then(|| format!("the name {wanted} is taken by another device, it is called {name} now"));
    Ok((link.index, told))
}

/// A parked device that is at home under another name goes back once more if
/// its own is free again: renamed where it has addresses, it would have other
/// labels on them (`inetdev_changename` in net/ipv4/devinet.c).
fn aside(home: &NetnsFile, link: LinkFacts, journal: &Journal) -> Result<Found, Error> {
    let name = &journal.captured.link.name;
    let TakenDevice::Netdev { parking, .. } = &journal.device else { return Ok((None, link)) };
    let mut here = Netlink::open_in(home)?;
    if link.name == name.as_str() || here.link_by_name(name)?.is_some() {
        return Ok((None, link));
    }
    let place = parking::make(parking)?;
    let far = i32::try_from(link.index % FAR_INDEX).unwrap_or_default().saturating_add(FAR_INDEX.cast_signed());
    here.move_to_as(link.index, &place, far)?;
    let mut links = Netlink::open_in(&place)?.links()?.into_iter();
    let moved = links.find(|other| other.name == link.name && other.mac == link.mac);
    moved.map(|moved| (Some(place), moved)).ok_or_else(|| gone(name))
}

/// It is in its namespace already, perhaps under another name.
fn at_home(home: &NetnsFile, link: &LinkFacts, name: &IfName) -> Result<(u32, Option<String>), Error> {
    if link.name == name.as_str() {
        return Ok((link.index, None));
    }
    let mut netlink = Netlink::open_in(home)?;
    if netlink.link_by_name(name)?.is_some() {
        let told = format!("the name {name} is taken by another device, it is called {} now", link.name);
        return Ok((link.index, Some(told)));
    }
    netlink.set_up(link.index, false)?;
    netlink.rename(link.index, name)?;
    Ok((link.index, None))
}

/// Whether the device is away, where a taken one is to be; an error says what
/// is there instead.
pub(super) fn is_away(journal: &Journal) -> Result<(), Error> {
    let name = &journal.captured.link.name;
    match &journal.device {
        TakenDevice::Netdev { parking, parked_name, .. } => {
            let known = Known::of(journal);
            let what = format!("find device {parked_name} in namespace {parking}");
            let parked = parking::find(parking)?;
            let parked = parked.ok_or_else(|| Error::gone(&what, "there is no such namespace"))?;
            let links = Netlink::open_in(&parked)?.links()?;
            let found = links.iter().any(|link| known.is_parked(link));
            if found { Ok(()) } else { Err(Error::gone(what, "it is not there")) }
        }
        TakenDevice::Pci { address, taken_driver, .. } => {
            let driver = PciBus::new().facts(address)?.device.driver;
            if driver.as_ref() == Some(taken_driver) {
                return Ok(());
            }
            let driver = driver.unwrap_or_else(|| "no driver".to_owned());
            Err(Error::new(format!("find {name} with VPP"), format!("{address} has {driver}, not {taken_driver}")))
        }
    }
}

/// The device, where it is at home.
pub(super) fn find_at_home(home: &NetnsFile, journal: &Journal) -> Result<Option<LinkFacts>, Error> {
    let links = Netlink::open_in(home)?.links()?;
    Ok(Known::of(journal).at_home(&links).cloned())
}

type Found = (Option<NetnsFile>, LinkFacts);

/// Where a parked device is: in the parking namespace, at home already, or in
/// the machine's initial namespace, where the kernel puts a physical device
/// when its namespace ends.
fn find_parked(home: &NetnsFile, journal: &Journal, place: &str, mac: MacAddr) -> Result<Found, Error> {
    let known = Known::of(journal);
    for parked in parking::places(place)? {
        let links = Netlink::open_in(&parked)?.links()?;
        if let Some(link) = links.into_iter().find(|link| known.is_parked(link)) {
            return Ok((Some(parked), link));
        }
    }
    let links = Netlink::open_in(home)?.links()?;
    if let Some(link) = known.at_home(&links) {
        return Ok((None, link.clone()));
    }
    // Virtual ones end with their namespace: what is there is another's.
    if journal.captured.link.kind.is_some() {
        return Err(gone(&journal.captured.link.name));
    }
    let initial = NetnsFile::initial()?;
    let links = Netlink::open_in(&initial)?.links()?;
    let fallen = links.into_iter().find(|link| known.is_kind(link) && link.mac == Some(mac));
    fallen.map(|link| (Some(initial), link)).ok_or_else(|| gone(&journal.captured.link.name))
}

/// What a parked device is known by. Another device may have its name by now,
/// or its MAC: either alone says too little where devices are easily made.
struct Known<'a> {
    journal: &'a Journal,
    mac: MacAddr,
    parked_name: &'a IfName,
    /// At home, before it was taken; 0 where that is not known.
    index: u32,
}

impl<'j> Known<'j> {
    fn of(journal: &'j Journal) -> Self {
        let link = &journal.captured.link;
        let (mac, parked_name, index) = match &journal.device {
            TakenDevice::Netdev { mac, parked_name, index, .. } => (*mac, parked_name, *index),
            TakenDevice::Pci { .. } => (link.mac, &link.name, 0),
        };
        Self { journal, mac, parked_name, index }
    }

    fn is_kind(&self, link: &LinkFacts) -> bool {
        let kind = link.kind.as_deref();
        kind == self.journal.captured.link.kind.as_deref() && kind != Some(TAP_KIND)
    }

    fn has_name(&self, link: &LinkFacts) -> bool {
        [self.parked_name, &self.journal.captured.link.name].iter().any(|name| link.name == name.as_str())
    }

    /// A name that [`come_home`] gave it for want of its own.
    fn has_other_name(&self, link: &LinkFacts) -> bool {
        let name = &self.journal.captured.link.name;
        (1..ATTEMPTS).any(|attempt| link.name == other_name(name, attempt).as_str())
    }

    /// Nobody else puts devices there: its name is enough.
    fn is_parked(&self, link: &LinkFacts) -> bool {
        self.is_kind(link) && (self.has_name(link) || (self.has_other_name(link) && link.mac == Some(self.mac)))
    }

    /// Its own MAC, or the one that was given to it on the way home.
    fn has_mac(&self, link: &LinkFacts) -> bool {
        link.mac.is_some_and(|mac| mac == self.mac || mac == self.journal.captured.link.mac)
    }

    fn at_home<'a>(&self, links: &'a [LinkFacts]) -> Option<&'a LinkFacts> {
        let kin = || links.iter().filter(|link| self.is_kind(link));
        let by_both = kin().find(|link| self.has_mac(link) && self.has_name(link));
        let by_other_name = || kin().find(|link| self.has_mac(link) && self.has_other_name(link));
        // Hardware keeps its MAC, and the kernel gives it what name is free
        // when its namespace ends.
        let is_hardware = self.journal.captured.link.kind.is_none();
        let by_mac = || kin().find(|link| is_hardware && link.mac == Some(self.mac));
        // Renamed by whoever gave it to VPP. The kernel gives no number to
        // another device until it has given them all; or its MAC was changed
        // just before it was taken.
        let by_number = || kin().find(|link| link.index == self.index && (self.has_mac(link) || self.has_name(link)));
        by_both.or_else(by_other_name).or_else(by_mac).or_else(by_number)
    }
}

fn gone(name: &IfName) -> Error {
    Error::gone(format!("bring {name} home"), "the device is gone: neither parked nor at home")
}

fn give_driver_back(home: &NetnsFile, journal: &Journal) -> Result<Found, Error> {
    let name = &journal.captured.link.name;
    let pci = journal.captured.pci.as_ref().ok_or_else(|| gone(name))?;
    let initial = NetnsFile::initial()?;
    let found = PciBus::new().give_back(pci, &[home, &initial], PATIENCE)?;
    // A card with several: the one that has the name, or the first.
    let one = found.iter().find(|one| one.name == name.as_str()).or(found.first()).ok_or_else(|| gone(name))?;
    let (place, at) = if one.place == 0 { (None, home) } else { (Some(()), &initial) };
    let link = Netlink::open_in(at)?.link_by_index(one.index)?.ok_or_else(|| gone(name))?;
    Ok((place.map(|()| initial), link))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn other_names_are_short_enough_and_alike() {
        let name: IfName = "enp216s0f1np111".parse().unwrap();
        assert_eq!(other_name(&name, 0), name);
        assert_eq!(other_name(&name, 1).as_str(), "enp216s0f1np1-1");
        assert_eq!(other_name(&"eth0".parse().unwrap(), 12).as_str(), "eth0-12");
    }
}
