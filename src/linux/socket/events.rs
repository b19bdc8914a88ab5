//! What the kernel tells by itself, to whoever has joined a group.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket as RawSocket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use super::{BUFFER, raw};
use crate::linux::error::Error;

/// Most datagrams that are read at a time: whoever reads has other work too.
const AT_ONCE: usize = 256;

/// A socket that only listens.
#[derive(Debug)]
pub(in crate::linux) struct Events {
    raw: RawSocket,
    buffer: Vec<u8>,
}

impl Events {
    /// Listen to these groups (`RTNLGRP_*`, linux/rtnetlink.h) of the calling
    /// thread's namespace.
    pub(in crate::linux) fn open(groups: &[u32]) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io("listen to the kernel", &error);
        let mut raw = RawSocket::new(NETLINK_ROUTE).map_err(failed)?;
        raw.bind_auto().map_err(failed)?;
        raw.set_non_blocking(true).map_err(failed)?;
        for group in groups {
            raw.add_membership(*group).map_err(failed)?;
        }
        Ok(Self { raw, buffer: vec![0; BUFFER] })
    }

    /// Readable when something waits.
    pub(in crate::linux) fn fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }

    /// Hand over what waits, each message's type (`RTM_*`) and body; `false`
    /// when some were lost.
    pub(in crate::linux) fn drain(&mut self, mut tell: impl FnMut(u16, &[u8])) -> Result<bool, Error> {
        for _ in 0..AT_ONCE {
            match self.raw.recv_from(&mut self.buffer.as_mut_slice(), 0) {
                // Anyone may send to a netlink socket; the kernel is port 0.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok((len, _)) => {
                    let mut rest = self.buffer.get(..len).unwrap_or_default();
                    while let Some((frame, after)) = raw::first(rest) {
                        tell(frame.kind, frame.body);
                        rest = after;
                    }
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return Ok(true),
                    Some(Errno::EINTR) => {}
                    Some(Errno::ENOBUFS) => return Ok(false),
                    _ => return Err(Error::io("listen to the kernel", &error)),
                },
            }
        }
        Ok(true)
    }
}
