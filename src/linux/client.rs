//! What we ask of the kernel over rtnetlink, one function each.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage, LinkXdp,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::error::Error;
use super::netns::NetnsFile;
use super::socket::Socket;
use super::sys;
use super::wire::{self, AddressFacts, LinkFacts, RouteFacts};
use crate::model::{IfAddress, IfName, MacAddr, Prefix, Route, RouteKind};

/// The metric of a route that comes behind another's, less the device's index:
/// beyond those that network managers give.
const METRIC_BEHIND: u32 = 20_000;

/// A typed rtnetlink client. It speaks of the namespace it was opened in,
/// wherever its thread goes afterwards.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
}

impl Netlink {
    /// A client of the calling thread's namespace.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open()? })
    }

    /// A client of that namespace.
    pub fn open_in(netns: &NetnsFile) -> Result<Self, Error> {
        let guard = netns.enter()?;
        let client = Self::open()?;
        guard.leave()?;
        Ok(client)
    }

    /// The device of that name or alternative name.
    pub fn link_by_name(&mut self, name: &IfName) -> Result<Option<LinkFacts>, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
        self.link(&format!("look up device {name}"), message)
    }

    /// The device of that index.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<LinkFacts>, Error> {
        self.link(&format!("look up device number {index}"), of_index(index))
    }

    /// Whether the device is to take frames to more MACs than its own.
    pub fn has_more_macs(&mut self, index: u32) -> Result<bool, Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = index;
        let what = format!("list the MACs of device number {index}");
        let answers = self.socket.dump(&what, &Message::GetNeighbour(message))?;
        // Those of groups are told, too; and, of a bridge's port, whom it leads to.
        let is_one = |answer: &Message| match answer {
            Message::NewNeighbour(entry) if entry.header.flags.contains(NeighbourFlags::Own) => {
                entry.attributes.iter().any(|attribute| match attribute {
                    NeighbourAttribute::LinkLayerAddress(mac) => mac.first().is_some_and(|first| first & 1 == 0),
                    _ => false,
                })
            }
            _ => false,
        };
        Ok(answers.iter().any(is_one))
    }

    /// Every device of the namespace.
    pub fn links(&mut self) -> Result<Vec<LinkFacts>, Error> {
        let answers = self.socket.dump("list devices", &Message::GetLink(LinkMessage::default()))?;
        let read = |answer: &Message| match answer {
            Message::NewLink(link) => Some(wire::read_link(link)),
            _ => None,
        };
        Ok(answers.iter().filter_map(read).collect())
    }

    fn link(&mut self, what: &str, message: LinkMessage) -> Result<Option<LinkFacts>, Error> {
        let answers = match self.socket.get(what, &Message::GetLink(message)) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => return Ok(None),
            other => other?,
        };
        let link = answers.iter().find_map(|answer| match answer {
            Message::NewLink(link) => Some(wire::read_link(link)),
            _ => None,
        });
        link.map(Some).ok_or_else(|| Error::new(what, "the kernel answered without the device"))
    }

    fn set(&mut self, what: &str, index: u32, attributes: Vec<LinkAttribute>) -> Result<(), Error> {
        let mut message = of_index(index);
        message.attributes = attributes;
        self.socket.change(what, Message::SetLink(message), 0)
    }

    /// Set the MAC.
    pub fn set_mac(&mut self, index: u32, mac: MacAddr) -> Result<(), Error> {
        self.set(&format!("set MAC {mac}"), index, vec![LinkAttribute::Address(mac.0.to_vec())])
    }

    /// Let the kernel finish checksums and segments before it hands a frame to
    /// the device.
    pub fn disable_tx_checksum_offload(&mut self, name: &IfName) -> Result<(), Error> {
        let what = || format!("switch the checksum offload of {name} off");
        sys::disable_tx_checksum_offload(self.socket.fd(), name).map_err(|errno| Error::sys(what(), errno))
    }

    /// Have a TAP device say that its link has this speed, in Mbit/s.
    pub fn set_speed(&mut self, name: &IfName, speed: u32) -> Result<(), Error> {
        sys::set_speed(self.socket.fd(), name, speed)
            .map_err(|errno| Error::sys(format!("set speed {speed} Mbit/s of {name}"), errno))
    }

    /// Set the MTU, in bytes.
    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Error> {
        self.set(&format!("set MTU {mtu}"), index, vec![LinkAttribute::Mtu(mtu)])
    }

    /// Set the link up or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), Error> {
        let mut message = of_index(index);
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        let what = if up { "set the link up" } else { "set the link down" };
        self.socket.change(what, Message::SetLink(message), 0)
    }

    /// Have the device take frames for every MAC, or only those for it.
    pub fn set_promisc(&mut self, index: u32, on: bool) -> Result<(), Error> {
        let mut message = of_index(index);
        message.header.change_mask = LinkFlags::Promisc;
        message.header.flags = if on { LinkFlags::Promisc } else { LinkFlags::empty() };
        self.socket.change("set promiscuous mode", Message::SetLink(message), 0)
    }

    /// Take the device's XDP program off, whoever put it there; none is no
    /// error. One that is attached by a link of BPF (`bpf_link_create`) goes
    /// with whoever holds that, and is an error here.
    pub fn detach_xdp(&mut self, index: u32) -> Result<(), Error> {
        // -1 stands for none. Said for each mode that one may be in: without a
        // mode the kernel means the driver's, and finds no other
        // (XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE, linux/if_link.h).
        for mode in [1 << 1, 1 << 2] {
            let xdp = vec![LinkXdp::Fd(-1), LinkXdp::Flags(mode)];
            self.set("take the XDP program off", index, vec![LinkAttribute::Xdp(xdp)])?;
        }
        Ok(())
    }

    /// Give the device another name.
    pub fn rename(&mut self, index: u32, name: &IfName) -> Result<(), Error> {
        let attributes = vec![LinkAttribute::IfName(name.as_str().to_owned())];
        self.set(&format!("rename the device to {name}"), index, attributes)
    }

    /// Move the device into another namespace; fails with `EEXIST` when its
    /// name is taken there. A new name in the same request would not be
    /// atomic: the kernel moves first and renames then, so the device would
    /// show up under the old name, and stay so where the new one is taken
    /// (do_setlink in net/core/rtnetlink.c).
    pub fn move_to(&mut self, index: u32, netns: &NetnsFile) -> Result<(), Error> {
        let attributes = vec![LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd())];
        self.set("move the device to another namespace", index, attributes)
    }

    /// The same, under that number there if it is free.
    pub fn move_to_as(&mut self, index: u32, netns: &NetnsFile, wanted: i32) -> Result<(), Error> {
        let attributes = vec![LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd()), LinkAttribute::NewIfIndex(wanted)];
        match self.set("move the device to another namespace", index, attributes) {
            Err(error) if error.errno() == Some(Errno::EBUSY) => self.move_to(index, netns),
            other => other,
        }
    }

    /// Have the kernel make no IPv6 address of its own, or, whenever the link comes
    /// up from now on, the link-local one of the MAC (`eui64`). Fails with
    /// `EAFNOSUPPORT` on a device that has no IPv6.
    pub fn set_ip6_address_generation(&mut self, index: u32, on: bool) -> Result<(), Error> {
        let mode = AfSpecInet6::AddrGenMode(if on { In6AddrGenMode::Eui64 } else { In6AddrGenMode::None });
        let attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])];
        self.set("switch IPv6 address generation", index, attributes)
    }

    /// Delete the device.
    pub fn delete_link(&mut self, index: u32) -> Result<(), Error> {
        self.socket.change("delete the device", Message::DelLink(of_index(index)), 0)
    }

    /// Add an address; fails when the device has it.
    pub fn add_address(&mut self, index: u32, address: IfAddress) -> Result<(), Error> {
        let message = Message::NewAddress(wire::address_message(index, address));
        self.socket.change(&format!("add address {address}"), message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Delete an address.
    pub fn delete_address(&mut self, index: u32, address: IfAddress) -> Result<(), Error> {
        let message = Message::DelAddress(wire::address_message(index, address));
        self.socket.change(&format!("delete address {address}"), message, 0)
    }

    /// The device's addresses, IPv4 first.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<AddressFacts>, Error> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = AddressMessage::default();
            message.header.family = family;
            message.header.index = index;
            let answers = match self.socket.dump("list addresses", &Message::GetAddress(message)) {
                // A kernel without IPv6.
                Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => continue,
                other => other?,
            };
            found.extend(answers.iter().filter_map(|answer| match answer {
                Message::NewAddress(address) if address.header.index == index => wire::read_address(address),
                _ => None,
            }));
        }
        found.sort();
        Ok(found)
    }

    /// Add a route of ours through the device, which has the addresses
    /// `connected`, to that table; fails when it has a route to that destination.
    ///
    /// Where the namespace has a route to the same destination by another
    /// device (a second default above all), that one keeps its place: ours
    /// comes behind it, with a metric of its own.
    pub fn add_route(&mut self, index: u32, route: &Route, connected: &[IfAddress], table: u32) -> Result<(), Error> {
        let what = format!("add route {route}");
        let mut message = wire::route_message(index, route, connected);
        wire::set_table(&mut message, table);
        let added = self.socket.change(&what, Message::NewRoute(message.clone()), NLM_F_CREATE | NLM_F_EXCL);
        match added {
            Err(error) if error.errno() == Some(Errno::EEXIST) && route.kind == RouteKind::Unicast => {
                message.attributes.push(RouteAttribute::Priority(METRIC_BEHIND.saturating_add(index)));
                self.socket.change(&what, Message::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
            }
            other => other,
        }
    }

    /// Have this route of ours with that metric, whatever was there with it: of
    /// IPv6 there must be none.
    pub fn set_route(&mut self, index: u32, route: &Route, metric: u32, table: u32) -> Result<(), Error> {
        let mut message = wire::route_message(index, route, &[]);
        wire::set_table(&mut message, table);
        message.attributes.push(RouteAttribute::Priority(metric));
        self.socket.change(&format!("set route {route}"), Message::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Have no route of ours to that destination with that metric.
    pub fn unset_route(&mut self, index: u32, prefix: Prefix, metric: u32, table: u32) -> Result<(), Error> {
        let mut message = wire::route_message(index, &Route::via(prefix, None), &[]);
        wire::set_table(&mut message, table);
        // Of any: a route with a gateway has another than one without.
        message.header.scope = RouteScope::NoWhere;
        message.attributes.push(RouteAttribute::Priority(metric));
        self.socket.change(&format!("delete route {prefix}"), Message::DelRoute(message), 0)
    }

    /// Delete a route of ours, added with the same arguments.
    pub fn delete_route(&mut self, index: u32, route: &Route, connected: &[IfAddress]) -> Result<(), Error> {
        let message = Message::DelRoute(wire::route_message(index, route, connected));
        self.socket.change(&format!("delete route {route}"), message, 0)
    }

    /// The main table's routes of that protocol number, IPv4 first.
    pub fn routes(&mut self, protocol: u8) -> Result<Vec<RouteFacts>, Error> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.table = RouteHeader::RT_TABLE_MAIN;
            message.header.protocol = RouteProtocol::from(protocol);
            let answers = match self.socket.dump("list routes", &Message::GetRoute(message)) {
                // A namespace that never had a route has no table yet; a
                // kernel without IPv6 none at all.
                Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP)) => continue,
                other => other?,
            };
            // The kernel filters; a filter that it did not apply must not
            // make a stranger's route ours.
            found.extend(answers.iter().filter_map(|answer| match answer {
                Message::NewRoute(route) if route.header.table == RouteHeader::RT_TABLE_MAIN => {
                    wire::read_route(route).filter(|facts| facts.protocol == protocol)
                }
                _ => None,
            }));
        }
        Ok(found)
    }
}

fn of_index(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}
