//! Open sockets: bound to the interface, connected from its addresses,
//! listening below IP.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Usage;
use crate::linux::error::Error;

/// `TCP_ESTABLISHED` (net/tcp_states.h); a connected UDP socket has it too.
const ESTABLISHED: u8 = 1;
/// So that a thread does not hang for ever; the kernel answers at once.
const TIMEOUT_SECONDS: i64 = 20;
/// Fits every part of a dump (netlink_dump in net/netlink/af_netlink.c).
const BUFFER: usize = 64 * 1024;
/// As many peers are named.
const NAMED: usize = 5;

/// A socket of TCP or UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InetSocket {
    pub(super) protocol: &'static str,
    pub(super) established: bool,
    pub(super) local: (IpAddr, u16),
    pub(super) remote: (IpAddr, u16),
    /// The device it is bound to; 0 for none.
    pub(super) device: u32,
    pub(super) inode: u32,
}

/// Every socket of TCP and UDP in the calling thread's namespace.
pub(super) fn inet() -> Result<Vec<InetSocket>, Error> {
    let what = "list open sockets";
    let failed = |error: std::io::Error| Error::io(what, &error);
    let mut raw = RawSocket::new(NETLINK_SOCK_DIAG).map_err(failed)?;
    raw.bind_auto().map_err(failed)?;
    setsockopt(&raw, ReceiveTimeout, &TimeVal::seconds(TIMEOUT_SECONDS)).map_err(|errno| Error::sys(what, errno))?;
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        for (protocol, word) in [(IPPROTO_TCP, "TCP"), (IPPROTO_UDP, "UDP")] {
            let socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
            let states = StateFlags::all();
            let request = InetRequest { family, protocol, extensions: ExtensionFlags::empty(), states, socket_id };
            match dump(&raw, request, word, &mut sockets) {
                // No IPv6, or no such module: there are none then.
                Err(Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {}
                other => other.map_err(|errno| Error::sys(format!("{what} of {word}"), errno))?,
            }
        }
    }
    Ok(sockets)
}

fn dump(raw: &RawSocket, request: InetRequest, protocol: &'static str, found: &mut Vec<InetSocket>) -> nix::Result<()> {
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(SockDiagMessage::InetRequest(request)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    raw.send_to(&bytes, &SocketAddr::new(0, 0), 0).map_err(errno)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let (len, from) = match raw.recv_from(&mut buffer.as_mut_slice(), 0) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.map_err(errno)?,
        };
        // Only the kernel speaks from port 0.
        if from.port_number() != 0 {
            continue;
        }
        let mut rest = buffer.get(..len).unwrap_or_default();
        while !rest.is_empty() {
            let frame = NetlinkBuffer::new_checked(rest).map_err(|_| Errno::EBADMSG)?;
            let length = usize::try_from(frame.length()).unwrap_or(usize::MAX);
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest.get(..length).unwrap_or(rest));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            match message.map_err(|_| Errno::EBADMSG)?.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    let (header, id) = (&response.header, &response.header.socket_id);
                    found.push(InetSocket {
                        protocol,
                        established: header.state == ESTABLISHED,
                        local: (id.source_address.to_canonical(), id.source_port),
                        remote: (id.destination_address.to_canonical(), id.destination_port),
                        device: id.interface_id,
                        inode: header.inode,
                    });
                }
                NetlinkPayload::Error(error) => {
                    return error.code.map_or(Ok(()), |code| Err(Errno::from_raw(code.get().saturating_neg())));
                }
                NetlinkPayload::Done(done) if done.code < 0 => return Err(Errno::from_raw(done.code.saturating_neg())),
                NetlinkPayload::Done(_) => return Ok(()),
                _ => {}
            }
        }
    }
}

/// In words.
pub(super) fn say(sockets: &[InetSocket], device: u32, addresses: &[IpAddr], owners: &Owners, usage: &mut Usage) {
    let mut bound: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut sessions = Vec::new();
    for socket in sockets {
        if socket.device == device {
            bound.entry(socket.protocol).or_default().insert(owners.name(socket.inode));
        }
        let from_it = addresses.contains(&socket.local.0) && !addresses.contains(&socket.remote.0);
        if socket.protocol == "TCP" && socket.established && (from_it || socket.device == device) {
            sessions.push(socket);
        }
    }
    for (protocol, names) in bound {
        let names: Vec<String> = names.into_iter().collect();
        usage.users.push(format!("{protocol} sockets bound to it, of {}", names.join(", ")));
        // Binding is by number, and the host's new device has another.
        usage
            .interrupted
            .push(format!("{protocol} sockets bound to it, of {}, until they are opened anew", names.join(", ")));
    }
    if !sessions.is_empty() {
        let peers: BTreeSet<String> = sessions.iter().map(|socket| socket.remote.0.to_string()).collect();
        let more = peers.len().saturating_sub(NAMED);
        let mut named: Vec<String> = peers.into_iter().take(NAMED).collect();
        if more > 0 {
            named.push(format!("{more} more"));
        }
        let text = named.join(", ");
        usage.users.push(format!("{} TCP sessions, with {text}", sessions.len()));
        usage
            .interrupted
            .push(format!("{} TCP sessions, for as long as the takeover takes; they go on then", sessions.len()));
    }
}

/// Packet sockets bound to the device: DHCP clients, LLDP, capture programs.
pub(super) fn packet(root: &Path, device: u32, owners: &Owners, usage: &mut Usage) {
    let Ok(text) = fs::read_to_string(root.join("proc/thread-self/net/packet")) else {
        return;
    };
    let mut names = BTreeSet::new();
    // sk RefCnt Type Proto Iface R Rmem User Inode
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, _, index, _, _, _, inode, ..] = words.as_slice()
            && index.parse() == Ok(device)
        {
            names.insert(owners.name(inode.parse().unwrap_or(0)));
        }
    }
    if !names.is_empty() {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        usage.users.push(format!("packet sockets (DHCP, LLDP, capture) of {names}"));
        usage
            .interrupted
            .push(format!("packet sockets of {names}, until they are opened anew: restart these programs"));
    }
}

/// The programs behind sockets.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<u32, String>);

impl Owners {
    /// Of all processes that can be seen.
    pub(super) fn of(root: &Path) -> Self {
        let mut owners = BTreeMap::new();
        for process in fs::read_dir(root.join("proc")).into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
                let Ok(target) = fs::read_link(file.path()) else { continue };
                let inode =
                    target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
                if let Some(inode) = inode {
                    owners.entry(inode).or_insert_with(|| {
                        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                        format!("{} (process {pid})", name.trim())
                    });
                }
            }
        }
        Self(owners)
    }

    fn name(&self, inode: u32) -> String {
        self.0.get(&inode).cloned().unwrap_or_else(|| "a program that cannot be seen from here".to_owned())
    }
}
