//! What the kernel tells of devices, addresses, routes, next-hop objects and
//! neighbours: as they change ([`Monitor`]), and all of them ([`Dump`]).
//! Neither waits.
//!
//! # What the kernel tells of routes
//!
//! Seen on 6.18; the tests of the kernel's events prove it anew on the kernel
//! that they run on.
//!
//! IPv4 (`fib_table_insert` in net/ipv4/fib_trie.c) keeps for each table,
//! prefix, TOS and metric an ordered list, of which the first is in force. A
//! multipath route is one of the list, and is always told as a whole.
//!
//! | Done | Told | The list |
//! |-|-|-|
//! | added, there was none | new | is this one |
//! | added before (`ip route prepend`) | new | this one goes before the others |
//! | appended | new, appended | this one goes behind the others |
//! | replaced or changed | new, replaces | this one in the first one's place |
//! | replaced by the same | nothing | |
//! | deleted | gone, as it was | without it |
//!
//! No word comes of IPv4 routes that go because their device went down or away
//! or lost its last address, or their next-hop object was deleted
//! (`fib_sync_down_dev`, `fib_flush`, `nexthop_flush_dev`). Of a multipath
//! route only all hops together go; a hop of a device that is down is dead
//! (`RTNH_F_DEAD`) and comes to life again, both without a word. Routes with the
//! source address (`RTA_PREFSRC`) of an address that is deleted go with a word
//! here, without one from older kernels.
//!
//! IPv6 (`fib6_add_rt2node` in net/ipv6/ip6_fib.c, `ip6_route_multipath_add`
//! in net/ipv6/route.c) has for each table, prefix, source and metric at most
//! one multipath route, of all routes that have a gateway, go by no next-hop
//! object and were not made by the kernel from a router's announcement
//! (`rt6_qualify_for_ecmp`); and beside it any number of others. Which of the
//! two a route with a gateway is, its message does not say: but a new one that
//! has not all hops of the multipath route stands beside it. Protocol, MTU and
//! the like are those of the hop that comes first in the message, in a dump
//! those of the oldest.
//!
//! | Done | Told | Holds then |
//! |-|-|-|
//! | added | new | this one too |
//! | hop added to the multipath route, in any way | new, with all hops | these hops, in another order |
//! | other one appended or prepended | new | this one too, behind the others |
//! | replaced | new, replaces | this one in the place of the first that is multipath as it is, or else of the first at all; no word of what went |
//! | replaced by several hops, there was none | new, replaces | these |
//! | deleted wholly | gone, with all hops | without it |
//! | hops deleted | for each: gone, with this hop alone | without these hops |
//! | some hops refused, others added | new, then for each added one: gone | as before |
//!
//! A device that goes down or away takes its IPv6 routes with a word for each
//! hop; but a hop of a multipath route with another one alive stays dead
//! without a word while the device is only down.
//!
//! Next-hop objects (net/ipv4/nexthop.c): a device that goes down or away takes
//! them, and their places in groups, without a word; routes by them as above.
//! An object deleted is told of, then the group that lost it (as changed) or is
//! empty (as gone), then each IPv6 route by it; of IPv4 routes no word. An
//! object changed is told of, then every route by it (as replacing), unless
//! `net.ipv4.nexthop_compat_mode` is 0: routes are then told by the number
//! alone, without hops.

mod decode;
#[cfg(test)]
mod decode_tests;
mod dump;

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::error::Error;
use super::message::Frame;
use super::netns::NetnsFile;
use super::rtnl::NLMSG_OVERRUN;
use super::socket::{NoWait, Received};
use crate::engine::mirror::KernelEvent;

pub use dump::{Dump, DumpKind, DumpProgress};

/// Of next-hop objects; kernels before 5.3 have none.
const RTNLGRP_NEXTHOP: u32 = 32;

/// Groups that are told of changes (enum rtnetlink_groups in
/// linux/rtnetlink.h): LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR,
/// IPV6_ROUTE and NEXTHOP.
const GROUPS: [u32; 7] = [1, 3, 5, 7, 9, 11, RTNLGRP_NEXTHOP];

/// What a waiting message takes of the kernel's room beside its own length, at
/// the very least, in bytes (`struct sk_buff`).
const OVERHEAD: usize = 200;

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOutcome {
    /// Messages read, those included that nothing was told of.
    pub messages: usize,
    /// The reading ended for their number: more may wait.
    pub more: bool,
    /// The kernel had no room for messages that came after those told so far,
    /// and dropped them. Everything from here on is told again, so this is the
    /// time for a dump.
    pub lost: bool,
}

/// Hears every change in a namespace, in its order. It stays in the namespace
/// that it was opened in.
#[derive(Debug)]
pub struct Monitor {
    socket: NoWait,
    receive_buffer: usize,
    /// After an overflow: how much room at most is taken by what came before
    /// it and is not read yet, in bytes.
    before_loss: Option<usize>,
}

impl Monitor {
    /// Listen in that namespace, with room for so many bytes of messages that
    /// are not read yet. A message of one route takes some 800 bytes of it.
    pub fn open(netns: &NetnsFile, receive_buffer: usize) -> Result<Self, Error> {
        let mut socket = NoWait::open_in(netns)?;
        // Before the first message comes.
        let receive_buffer = socket.set_receive_buffer(receive_buffer)?;
        for group in GROUPS {
            match socket.join(group) {
                Err(error)
                    if group == RTNLGRP_NEXTHOP && error.raw_os_error().map(Errno::from_raw) == Some(Errno::EINVAL) => {
                }
                joined => joined.map_err(|error| Error::io("listen to the kernel's changes", &error))?,
            }
        }
        Ok(Self { socket, receive_buffer, before_loss: None })
    }

    /// The room for messages in force, in bytes as the kernel counts: twice
    /// what was asked for, or less where neither CAP_NET_ADMIN nor
    /// net.core.rmem_max let us have it.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// Readable while messages wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Tell what waits, until so many messages are read.
    ///
    /// An overflow is told by [`ReadOutcome::lost`] when what came before it is
    /// told: until then the kernel drops whatever comes (`NETLINK_S_CONGESTED`
    /// in net/netlink/af_netlink.c), so that a dump would be too early.
    pub fn read(&mut self, max_messages: usize, sink: &mut dyn FnMut(KernelEvent)) -> Result<ReadOutcome, Error> {
        let mut outcome = ReadOutcome::default();
        while outcome.messages < max_messages {
            match self.socket.receive("read the kernel's messages")? {
                Received::Nothing => {
                    outcome.lost = self.before_loss.take().is_some();
                    return Ok(outcome);
                }
                Received::Lost => {
                    outcome.messages += 1;
                    // The kernel says it again only when all from before the
                    // last time was read.
                    if self.before_loss.replace(self.receive_buffer).is_some() {
                        outcome.lost = true;
                        outcome.more = true;
                        return Ok(outcome);
                    }
                }
                Received::Datagram(len) => {
                    outcome.messages += self.tell(len, sink);
                    // Messages that come without a pause may never let the
                    // queue be seen empty; it was, when more was read than it
                    // can hold.
                    self.before_loss = self.before_loss.map(|left| left.saturating_sub(len + OVERHEAD));
                    if self.before_loss == Some(0) {
                        self.before_loss = None;
                        outcome.lost = true;
                        outcome.more = true;
                        return Ok(outcome);
                    }
                }
            }
        }
        outcome.more = true;
        Ok(outcome)
    }

    /// Tell of the last datagram. Returns how many messages it had.
    fn tell(&mut self, len: usize, sink: &mut dyn FnMut(KernelEvent)) -> usize {
        let mut messages = 0;
        let mut rest = self.socket.datagram(len);
        while let Some((frame, after)) = Frame::first(rest) {
            rest = after;
            messages += 1;
            if frame.kind == NLMSG_OVERRUN {
                self.before_loss = Some(self.receive_buffer);
            } else if let Some(event) = decode::event(&frame) {
                sink(event);
            }
        }
        // A malformed one counts too, or the caller's bound would not hold.
        messages.max(1)
    }
}
