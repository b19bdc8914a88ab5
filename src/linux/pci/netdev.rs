//! The network devices on a PCI device, in whatever namespace, and waiting for
//! them.

use std::os::fd::AsFd;
use std::time::Instant;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;
use nix::poll::{PollFd, PollFlags};

use super::facts::netdevs;
use super::{PciBus, address_in, is_address, wait};
use crate::linux::error::Error;
use crate::linux::netns::NetnsFile;
use crate::linux::socket::Socket;

/// A network device on a PCI device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciNetdev {
    /// Which of the places that were named it is in.
    pub place: usize,
    /// Its name at this moment; udev may give it another.
    pub name: String,
    /// The kernel's index of it.
    pub index: u32,
}

impl PciBus {
    /// The network devices on the PCI device, in the namespaces `places`.
    pub fn netdevs(&self, address: &str, places: &[&NetnsFile]) -> Result<Vec<PciNetdev>, Error> {
        Watch::open(places)?.look(self, address)
    }

    fn is_of(&self, link: &LinkMessage, address: &str, by_name: &[String]) -> bool {
        let (mut bus, mut device, mut name) = (None, None, None);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::ParentDevBusName(text) => bus = Some(text),
                LinkAttribute::ParentDevName(text) => device = Some(text),
                LinkAttribute::IfName(text) => name = Some(text),
                _ => {}
            }
        }
        match (bus, device) {
            (Some(bus), Some(device)) if bus == "pci" => device == address,
            // A bus of the PCI device's own, such as virtio's.
            (Some(bus), Some(device)) => {
                let link = self.path("sys/bus").join(bus).join("devices").join(device);
                address_in(&link).as_deref() == Some(address)
            }
            // Linux before 5.14 does not say; sysfs knows its own namespace.
            _ => name.is_some_and(|name| by_name.contains(name)),
        }
    }
}

/// One namespace that is looked at, and listened to.
struct Place {
    events: RawSocket,
    socket: Socket,
}

/// The namespaces in which a network device may appear.
pub(super) struct Watch(Vec<Place>);

impl Watch {
    /// From here on nothing is missed.
    pub(super) fn open(places: &[&NetnsFile]) -> Result<Self, Error> {
        places.iter().map(|netns| Place::open(netns)).collect::<Result<_, _>>().map(Self)
    }

    fn look(&mut self, bus: &PciBus, address: &str) -> Result<Vec<PciNetdev>, Error> {
        debug_assert!(is_address(address));
        let by_name = netdevs(&bus.device(address)?);
        let mut found = Vec::new();
        for (place, watched) in self.0.iter_mut().enumerate() {
            let links = watched.socket.dump("list devices", &Message::GetLink(LinkMessage::default()))?;
            found.extend(links.iter().filter_map(|link| match link {
                Message::NewLink(link) if bus.is_of(link, address, &by_name) => {
                    let name = link.attributes.iter().find_map(|attribute| match attribute {
                        LinkAttribute::IfName(name) => Some(name.clone()),
                        _ => None,
                    })?;
                    Some(PciNetdev { place, name, index: link.header.index })
                }
                _ => None,
            }));
        }
        Ok(found)
    }

    /// Look, and look again at each event; `None` at the deadline. Fails when
    /// the PCI device goes meanwhile.
    pub(super) fn wait(
        &mut self,
        bus: &PciBus,
        address: &str,
        deadline: Instant,
    ) -> Result<Option<Vec<PciNetdev>>, Error> {
        loop {
            let found = self.look(bus, address)?;
            if !found.is_empty() {
                return Ok(Some(found));
            }
            let mut files: Vec<PollFd<'_>> =
                self.0.iter().map(|place| PollFd::new(place.events.as_fd(), PollFlags::POLLIN)).collect();
            if !wait::ready(&mut files, deadline).map_err(|errno| Error::sys("wait for network devices", errno))? {
                return Ok(None);
            }
            for place in &self.0 {
                place.drain();
            }
        }
    }
}

impl Place {
    fn open(netns: &NetnsFile) -> Result<Self, Error> {
        let guard = netns.enter()?;
        let place = Self::open_here();
        guard.leave()?;
        place
    }

    fn open_here() -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io("listen to device events", &error);
        let mut events = RawSocket::new(NETLINK_ROUTE).map_err(failed)?;
        let group = u32::try_from(libc::RTMGRP_LINK).unwrap_or(1);
        events.bind(&SocketAddr::new(0, group)).map_err(failed)?;
        events.set_non_blocking(true).map_err(failed)?;
        Ok(Self { events, socket: Socket::open()? })
    }

    /// What the events say does not matter, nor whether some were lost: after
    /// each the kernel is asked.
    fn drain(&self) {
        let mut buffer = vec![0_u8; 4096];
        loop {
            match self.events.recv_from(&mut buffer.as_mut_slice(), 0) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}
