//! A netlink socket that never waits.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::BUFFER;
use crate::linux::error::Error;
use crate::linux::netns::NetnsFile;

/// What a read gave.
pub(in crate::linux) enum Received {
    /// A datagram of that length.
    Datagram(usize),
    /// There is none.
    Nothing,
    /// One or more are lost.
    Lost,
}

/// A socket for requests whose answers are read later, or for listening.
#[derive(Debug)]
pub(in crate::linux) struct NoWait {
    raw: RawSocket,
    buffer: Vec<u8>,
}

impl NoWait {
    /// A socket in that namespace; it stays there.
    pub(in crate::linux) fn open_in(netns: &NetnsFile) -> Result<Self, Error> {
        let guard = netns.enter()?;
        let socket = Self::open();
        guard.leave()?;
        socket.map_err(|error| Error::io("open a netlink socket", &error))
    }

    /// A socket in the calling thread's namespace.
    pub(in crate::linux) fn open() -> std::io::Result<Self> {
        let mut raw = RawSocket::new(NETLINK_ROUTE)?;
        raw.bind_auto()?;
        raw.set_non_blocking(true)?;
        Ok(Self { raw, buffer: vec![0; BUFFER] })
    }

    /// A dump request that the kernel does not understand wholly is refused,
    /// and an error says why.
    pub(in crate::linux) fn be_strict(&mut self) -> Result<(), Error> {
        let set = self.raw.set_netlink_get_strict_chk(true).and_then(|()| self.raw.set_ext_ack(true));
        set.and_then(|()| self.raw.set_cap_ack(true)).map_err(|error| Error::io("set a netlink socket up", &error))
    }

    /// Hear what is told to that group.
    pub(in crate::linux) fn join(&mut self, group: u32) -> std::io::Result<()> {
        self.raw.add_membership(group)
    }

    /// Set how much may wait in the kernel, in bytes: beyond the system's limit
    /// (net.core.rmem_max) if we may. Returns what holds, as the kernel counts
    /// it: twice as much as asked for, its own overhead included (socket(7)).
    pub(in crate::linux) fn set_receive_buffer(&self, bytes: usize) -> Result<usize, Error> {
        let what = "set the size of a netlink socket's buffer";
        let set = setsockopt(&self.raw, sockopt::RcvBufForce, &bytes)
            .or_else(|_| setsockopt(&self.raw, sockopt::RcvBuf, &bytes));
        set.and_then(|()| getsockopt(&self.raw, sockopt::RcvBuf)).map_err(|errno| Error::sys(what, errno))
    }

    pub(in crate::linux) fn fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }

    pub(in crate::linux) fn send(&self, what: &str, bytes: &[u8]) -> Result<(), Error> {
        loop {
            match self.raw.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(what, &error)),
            }
        }
    }

    pub(in crate::linux) fn receive(&mut self, what: &str) -> Result<Received, Error> {
        loop {
            // With MSG_TRUNC the kernel tells the true length.
            match self.raw.recv_from(&mut self.buffer.as_mut_slice(), libc::MSG_TRUNC) {
                // Only the kernel speaks from port 0: anyone may send to a
                // netlink socket.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok((len, _)) if len > self.buffer.len() => {
                    self.buffer.resize(len.next_power_of_two(), 0);
                    return Ok(Received::Lost);
                }
                Ok((len, _)) => return Ok(Received::Datagram(len)),
                Err(error) => match error.raw_os_error().map_or(Errno::EIO, Errno::from_raw) {
                    Errno::EINTR => {}
                    Errno::EAGAIN => return Ok(Received::Nothing),
                    Errno::ENOBUFS => return Ok(Received::Lost),
                    errno => return Err(Error::sys(what, errno)),
                },
            }
        }
    }

    /// The last datagram, which had that length.
    pub(in crate::linux) fn datagram(&self, len: usize) -> &[u8] {
        self.buffer.get(..len).unwrap_or_default()
    }
}
