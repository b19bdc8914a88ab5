//! Everything that the kernel has of a kind, a part at a time.

use std::os::fd::BorrowedFd;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR};
use nix::errno::Errno;

use super::decode;
use crate::engine::mirror::KernelEvent;
use crate::linux::error::Error;
use crate::linux::message::{Frame, push};
use crate::linux::netns::NetnsFile;
use crate::linux::rtnl::{
    AF_INET, AF_INET6, IFADDRMSG, IFINFOMSG, NDMSG, NHMSG, NLMSG_DONE, NLMSG_ERROR, NLMSG_HDR, NLMSG_NOOP,
    NLMSG_OVERRUN, RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETNEXTHOP, RTM_GETROUTE, RTMSG, ifla,
};
use crate::linux::socket::{NoWait, Received, emit, outcome};

/// Leave the counters out, which are most of a device's message
/// (RTEXT_FILTER_SKIP_STATS).
const SKIP_STATS: u32 = 8;

/// What to tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpKind {
    /// Devices.
    Links,
    /// Addresses of both families.
    Addresses,
    /// Next-hop objects and groups. A kernel without them (before 5.3) has
    /// none to tell of.
    Nexthops,
    /// IPv4 routes of all tables.
    Routes4,
    /// IPv6 routes of all tables.
    Routes6,
    /// Neighbours of both families, in every state; those of multicast groups
    /// and those answered for by proxy are left out.
    Neighbours,
}

impl DumpKind {
    fn name(self) -> &'static str {
        match self {
            Self::Links => "list devices",
            Self::Addresses => "list addresses",
            Self::Nexthops => "list next-hop objects",
            Self::Routes4 => "list IPv4 routes",
            Self::Routes6 => "list IPv6 routes",
            Self::Neighbours => "list neighbours",
        }
    }

    /// Type and body of the request.
    fn request(self) -> (u16, Vec<u8>) {
        let of_family = |family: u8, length: usize| {
            let mut body = vec![0; length];
            body.iter_mut().take(1).for_each(|byte| *byte = family);
            body
        };
        match self {
            Self::Links => {
                let mut body = of_family(0, IFINFOMSG);
                push(&mut body, ifla::EXT_MASK, &SKIP_STATS.to_ne_bytes());
                (RTM_GETLINK, body)
            }
            Self::Addresses => (RTM_GETADDR, of_family(0, IFADDRMSG)),
            Self::Nexthops => (RTM_GETNEXTHOP, of_family(0, NHMSG)),
            Self::Routes4 => (RTM_GETROUTE, of_family(AF_INET, RTMSG)),
            Self::Routes6 => (RTM_GETROUTE, of_family(AF_INET6, RTMSG)),
            Self::Neighbours => (RTM_GETNEIGH, of_family(0, NDMSG)),
        }
    }

    /// A kernel without IPv6 answers for it with every family's.
    fn is_told_by(self, event: &KernelEvent) -> bool {
        match event {
            KernelEvent::Route { route, .. } => {
                self == if route.prefix.is_ipv4() { Self::Routes4 } else { Self::Routes6 }
            }
            KernelEvent::Link(_) => self == Self::Links,
            KernelEvent::Address(_) => self == Self::Addresses,
            KernelEvent::Nexthop(_) => self == Self::Nexthops,
            KernelEvent::Neighbour(_) => self == Self::Neighbours,
            _ => false,
        }
    }
}

/// How far a dump is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpProgress {
    /// There is more to read.
    More,
    /// Everything was told.
    Done,
    /// It is over, but something changed meanwhile, so that it may have left
    /// something out or told of it twice: start it again
    /// (`NLM_F_DUMP_INTR`).
    Interrupted,
}

/// Tells everything of a kind as if it were new, without waiting: between two
/// reads the kernel keeps the place. What changes meanwhile the kernel tells a
/// [`Monitor`](super::Monitor) that was opened before.
///
/// What a dump of routes is worth while they change:
///
/// * IPv4: what was there all the time is told. The dump goes by the order of
///   prefixes (`fib_table_dump` in net/ipv4/fib_trie.c).
/// * IPv6: the kernel counts the prefixes that it has told and, when a route
///   was added meanwhile, begins anew behind as many of them
///   (`fib6_dump_table` in net/ipv6/ip6_fib.c). After one of those was
///   deleted too, a prefix that was there all the time is left out. The kernel
///   does not say so ([`DumpProgress::Interrupted`] never comes for routes):
///   a dump during which an IPv6 route has gone proves nothing about routes
///   that it did not tell of.
/// * IPv6: an entry between two hops of a multipath route of the same prefix
///   and metric, such as `[via A, dev x, via B]` after a replace, is left out
///   always (`fib6_dump_node`: the walk goes on behind the last hop).
#[derive(Debug)]
pub struct Dump {
    netns: NetnsFile,
    socket: NoWait,
    sequence: u32,
    running: Option<DumpKind>,
    interrupted: bool,
}

impl Dump {
    /// A socket of that namespace for one dump at a time.
    pub fn open(netns: &NetnsFile) -> Result<Self, Error> {
        let netns = netns.try_clone()?;
        let socket = Self::socket(&netns)?;
        Ok(Self { netns, socket, sequence: 0, running: None, interrupted: false })
    }

    fn socket(netns: &NetnsFile) -> Result<NoWait, Error> {
        let mut socket = NoWait::open_in(netns)?;
        socket.be_strict()?;
        Ok(socket)
    }

    /// Readable while there is something to read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Begin. One that is not at its end is given up.
    pub fn start(&mut self, kind: DumpKind) -> Result<(), Error> {
        if self.running.take().is_some() {
            // The kernel has no other way to end it early.
            self.socket = Self::socket(&self.netns)?;
        }
        let (request, body) = kind.request();
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        emit(&mut bytes, request, NLM_F_DUMP, self.sequence, &body);
        self.socket.send(kind.name(), &bytes)?;
        self.running = Some(kind);
        self.interrupted = false;
        Ok(())
    }

    /// Tell on until `max` messages are told of, or a few more: the kernel's
    /// parts are not divided. Without a dump under way it is
    /// [`DumpProgress::Done`].
    ///
    /// After an error the dump is over.
    pub fn read(&mut self, max: usize, sink: &mut dyn FnMut(KernelEvent)) -> Result<DumpProgress, Error> {
        let Some(kind) = self.running else { return Ok(DumpProgress::Done) };
        let progress = self.read_on(kind, max, sink);
        match &progress {
            Ok(DumpProgress::More) => {}
            Ok(_) => self.running = None,
            Err(_) => {
                // Nothing of it may be taken for the next one's.
                self.running = None;
                self.socket = Self::socket(&self.netns)?;
            }
        }
        progress
    }

    fn read_on(
        &mut self,
        kind: DumpKind,
        max: usize,
        sink: &mut dyn FnMut(KernelEvent),
    ) -> Result<DumpProgress, Error> {
        let what = kind.name();
        let mut told = 0;
        while told < max {
            let len = match self.socket.receive(what)? {
                Received::Datagram(len) => len,
                Received::Nothing => break,
                Received::Lost => {
                    self.interrupted = true;
                    continue;
                }
            };
            let mut rest = self.socket.datagram(len);
            while !rest.is_empty() {
                let (frame, after) = Frame::first(rest).ok_or_else(|| Error::new(what, "malformed answer"))?;
                rest = after;
                if frame.sequence != self.sequence {
                    continue;
                }
                self.interrupted |= frame.flags & NLM_F_DUMP_INTR != 0;
                match frame.kind {
                    NLMSG_NOOP => {}
                    NLMSG_OVERRUN => self.interrupted = true,
                    NLMSG_DONE => return self.end(outcome(what, frame.body, 0)),
                    NLMSG_ERROR => return self.end(outcome(what, frame.body, NLMSG_HDR)),
                    _ => {
                        told += 1;
                        if let Some(event) = decode::event(&frame).filter(|event| kind.is_told_by(event)) {
                            sink(event);
                        }
                    }
                }
            }
        }
        Ok(DumpProgress::More)
    }

    fn end(&self, result: Result<(), Error>) -> Result<DumpProgress, Error> {
        match result {
            // A kernel without such things has none of them; a namespace that
            // never had a route has no table.
            Err(error) if matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::ENOENT)) => {
                Ok(DumpProgress::Done)
            }
            Err(error) => Err(error),
            Ok(()) if self.interrupted => Ok(DumpProgress::Interrupted),
            Ok(()) => Ok(DumpProgress::Done),
        }
    }
}
