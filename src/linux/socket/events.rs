//! What the kernel tells by itself, to whoever has joined a group.

use std::os::fd::BorrowedFd;

use super::{NoWait, Received};
use crate::linux::error::Error;
use crate::linux::message::Frame;

/// What is done, for its errors.
const LISTEN: &str = "listen to the kernel";
/// Most datagrams that are read at a time: whoever reads has other work too.
const AT_ONCE: usize = 256;

/// A socket that only listens.
#[derive(Debug)]
pub(in crate::linux) struct Events(NoWait);

impl Events {
    /// Listen to these groups (`RTNLGRP_*`, linux/rtnetlink.h) of the calling
    /// thread's namespace.
    pub(in crate::linux) fn open(groups: &[u32]) -> Result<Self, Error> {
        let joined = NoWait::open().and_then(|mut socket| {
            groups.iter().try_for_each(|group| socket.join(*group))?;
            Ok(Self(socket))
        });
        joined.map_err(|error| Error::io(LISTEN, &error))
    }

    /// Readable when something waits.
    pub(in crate::linux) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// Hand over what waits, each message's type (`RTM_*`) and body; `false`
    /// when some were lost.
    pub(in crate::linux) fn drain(&mut self, mut tell: impl FnMut(u16, &[u8])) -> Result<bool, Error> {
        for _ in 0..AT_ONCE {
            match self.0.receive(LISTEN)? {
                Received::Nothing => return Ok(true),
                Received::Lost => return Ok(false),
                Received::Datagram(len) => {
                    let mut rest = self.0.datagram(len);
                    while let Some((frame, after)) = Frame::first(rest) {
                        tell(frame.kind, frame.body);
                        rest = after;
                    }
                }
            }
        }
        Ok(true)
    }
}
