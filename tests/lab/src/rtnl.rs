//! The kernel's routes by rtnetlink, written and read by the million.
//!
//! `ip -batch` takes a minute for a full table; this takes seconds. It shares
//! no code with the plugin.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::net::if_::{if_indextoname, if_nametoindex};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};

use crate::netns::Netns;
use crate::reference::{Hop, Route};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_ENCAP: u16 = 22;
/// What goes to the kernel at once, in bytes.
const CHUNK: usize = 32 << 10;

/// What to do with routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Add; one that is there is an error.
    Add,
    /// Add, or take the place of the one that is there.
    Replace,
    /// Delete.
    Delete,
}

/// A plain route to write: one gateway, one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Destination.
    pub addr: IpAddr,
    /// Its length.
    pub len: u8,
    /// Of the same family.
    pub gateway: IpAddr,
}

/// A socket in a namespace.
#[derive(Debug)]
pub struct Rtnl {
    socket: OwnedFd,
    sequence: u32,
}

impl Rtnl {
    /// In that namespace.
    pub fn open(netns: &Netns) -> Result<Self> {
        netns.within(|| {
            let socket =
                socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))?;
            setsockopt(&socket, sockopt::SndBuf, &(1 << 20))?;
            Ok(Self { socket, sequence: 0 })
        })
    }

    /// Write routes through a device into a table, with a protocol and a metric
    /// (0: the kernel's own choice); how many.
    pub fn write(
        &mut self,
        what: Write,
        (device, table, protocol, metric): (u32, u32, u8, u32),
        routes: impl IntoIterator<Item = Plain>,
    ) -> Result<u64> {
        let (kind, flags) = match what {
            Write::Add => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL),
            Write::Replace => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE),
            Write::Delete => (RTM_DELROUTE, 0),
        };
        let (mut chunk, mut count, mut last) = (Vec::with_capacity(2 * CHUNK), 0, 0);
        for route in routes {
            count += 1;
            last = chunk.len();
            self.sequence += 1;
            let family = if route.addr.is_ipv4() { AF_INET } else { AF_INET6 };
            chunk.extend(0_u32.to_ne_bytes());
            chunk.extend(kind.to_ne_bytes());
            chunk.extend((NLM_F_REQUEST | flags).to_ne_bytes());
            chunk.extend(self.sequence.to_ne_bytes());
            chunk.extend(0_u32.to_ne_bytes());
            // rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
            chunk.extend([family, route.len, 0, 0, 0, protocol, 0, 1]);
            chunk.extend(0_u32.to_ne_bytes());
            attribute(&mut chunk, RTA_TABLE, &table.to_ne_bytes());
            address(&mut chunk, RTA_DST, route.addr);
            address(&mut chunk, RTA_GATEWAY, route.gateway);
            attribute(&mut chunk, RTA_OIF, &device.to_ne_bytes());
            if metric > 0 {
                attribute(&mut chunk, RTA_PRIORITY, &metric.to_ne_bytes());
            }
            let length = u32::try_from(chunk.len() - last)?;
            chunk.splice(last..last + 4, length.to_ne_bytes());
            if chunk.len() >= CHUNK {
                self.flush(&mut chunk, last)?;
            }
        }
        if !chunk.is_empty() {
            self.flush(&mut chunk, last)?;
        }
        Ok(count)
    }

    /// Send all; the last one is to be acknowledged.
    fn flush(&mut self, chunk: &mut Vec<u8>, last: usize) -> Result<()> {
        let flags = half(chunk, last + 6).context("no message")? | NLM_F_ACK;
        chunk.splice(last + 6..last + 8, flags.to_ne_bytes());
        send(self.socket.as_raw_fd(), chunk, MsgFlags::empty()).context("routes to the kernel")?;
        chunk.clear();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for message in messages(buffer.get(..count).unwrap_or_default()) {
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                let code = -i32::from_ne_bytes(message.body.get(..4).context("a short answer")?.try_into()?);
                ensure!(code == 0, "the kernel refuses a route: {}", Errno::from_raw(code));
                if message.sequence == self.sequence {
                    return Ok(());
                }
            }
        }
    }

    /// Everything that the kernel has of a family, as [`Route`]s. A table that
    /// changes meanwhile is an error.
    pub fn routes(&mut self, netns: &Netns, is_ip6: bool, mut each: impl FnMut(Route)) -> Result<()> {
        let names = netns.within(|| {
            Ok((1..4096).filter_map(|index| Some((index, if_indextoname(index).ok()?.into_string().ok()?))).collect())
        })?;
        self.sequence += 1;
        let mut request = Vec::from(28_u32.to_ne_bytes());
        request.extend(RTM_GETROUTE.to_ne_bytes());
        request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend([0; 4]);
        request.extend([if is_ip6 { AF_INET6 } else { AF_INET }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for message in messages(buffer.get(..count).unwrap_or_default()) {
                if message.sequence != self.sequence {
                    continue;
                }
                ensure!(message.flags & NLM_F_DUMP_INTR == 0, "the kernel's table changed while it was read");
                match message.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => bail!("the kernel refuses a dump"),
                    RTM_NEWROUTE => each(route(message.body, &names).context("a route that cannot be read")?),
                    _ => {}
                }
            }
        }
    }
}

/// The number of a device.
pub fn index(netns: &Netns, device: &str) -> Result<u32> {
    netns.within(|| if_nametoindex(device).with_context(|| device.to_owned()))
}

fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Sixteen bytes at most.
    to.extend((u16::try_from(value.len()).unwrap_or(16) + 4).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

fn address(to: &mut Vec<u8>, kind: u16, value: IpAddr) {
    match value {
        IpAddr::V4(v4) => attribute(to, kind, &v4.octets()),
        IpAddr::V6(v6) => attribute(to, kind, &v6.octets()),
    }
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = word(bytes, 0)? as usize;
        let whole = bytes.get(..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: half(whole, 4)?,
            flags: half(whole, 6)?,
            sequence: word(whole, 8)?,
            body: whole.get(16..)?,
        })
    })
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let value = bytes.get(4..length)?;
        let kind = half(bytes, 2)? & 0x3fff;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn gateway(kind: u16, value: &[u8]) -> Option<IpAddr> {
    match kind {
        RTA_GATEWAY => ip(value),
        // The family before it.
        RTA_VIA => ip(value.get(2..)?),
        _ => None,
    }
}

/// A body of `RTM_NEWROUTE`.
fn route(body: &[u8], names: &BTreeMap<u32, String>) -> Option<Route> {
    let [family, len, from_len, tos, table, protocol, _scope, kind] = *body.first_chunk()?;
    let name = |index: u32| names.get(&index).cloned().unwrap_or_default();
    let any: IpAddr = if family == AF_INET { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let (mut route, mut hop) = (
        Route { table: table.into(), addr: any, len, kind, protocol, tos, from: from_len > 0, metric: 0, hops: vec![] },
        Hop { device: String::new(), gateway: None, weight: 1, encap: false },
    );
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            RTA_TABLE => route.table = word(value, 0)?,
            RTA_DST => route.addr = ip(value)?,
            RTA_SRC => route.from = true,
            RTA_PRIORITY => route.metric = word(value, 0)?,
            RTA_OIF => hop.device = name(word(value, 0)?),
            RTA_GATEWAY | RTA_VIA => hop.gateway = gateway(kind, value),
            RTA_ENCAP => hop.encap = true,
            RTA_MULTIPATH => {
                let mut rest = value;
                while let Some(length) = half(rest, 0).map(usize::from).filter(|length| *length >= 8) {
                    let mut one = Hop {
                        device: name(word(rest, 4)?),
                        gateway: None,
                        weight: u16::from(*rest.get(3)?) + 1,
                        encap: false,
                    };
                    for (kind, value) in attributes(rest.get(8..length)?) {
                        one.gateway = gateway(kind, value).or(one.gateway);
                        one.encap |= kind == RTA_ENCAP;
                    }
                    route.hops.push(one);
                    rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    if route.hops.is_empty() && (hop.gateway.is_some() || !hop.device.is_empty()) {
        route.hops.push(hop);
    }
    Some(route)
}
