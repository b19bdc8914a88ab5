//! Raw frames: what goes over a link, seen and sent by hand.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto, socket,
};
use std::os::fd::AsFd as _;

use crate::netns::Netns;
use crate::time::left;

/// A MAC address.
pub type Mac = [u8; 6];

/// The MAC address that a text stands for.
pub fn mac(text: &str) -> Result<Mac> {
    let mut bytes = [0; 6];
    let mut parts = text.trim().split(':');
    for byte in &mut bytes {
        let part = parts.next().with_context(|| format!("'{text}' is no MAC address"))?;
        *byte = u8::from_str_radix(part, 16)?;
    }
    Ok(bytes)
}

/// A socket on one link that sees every frame on it, in and out, and sends.
#[derive(Debug)]
pub struct Tap {
    socket: OwnedFd,
    link: LinkAddr,
}

impl Tap {
    /// On a device of a namespace. Frames are kept from now on.
    pub fn on(netns: &Netns, device: &str) -> Result<Self> {
        netns
            .within(|| {
                let index = usize::try_from(if_nametoindex(device)?)?;
                let link = getifaddrs()?
                    .filter_map(|entry| entry.address?.as_link_addr().copied())
                    .find(|link| link.ifindex() == index)
                    .context("the device has no link address")?;
                let socket = socket(
                    AddressFamily::Packet,
                    SockType::Raw,
                    SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                    SockProtocol::EthAll,
                )?;
                // The address carries protocol 0: "as the socket has it".
                bind(socket.as_raw_fd(), &link)?;
                let tap = Self { socket, link };
                // What came from other devices before the bind.
                tap.drain();
                Ok(tap)
            })
            .with_context(|| format!("packet socket on {device} in {}", netns.name()))
    }

    /// Send a whole frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        sendto(self.socket.as_raw_fd(), frame, &self.link, MsgFlags::empty())?;
        Ok(())
    }

    fn take(&self) -> Option<Vec<u8>> {
        self.take_with_way().map(|(frame, _)| frame)
    }

    /// A frame, and whether it came in.
    fn take_with_way(&self) -> Option<(Vec<u8>, bool)> {
        /// `PACKET_OUTGOING` of linux/if_packet.h.
        const OUTGOING: u8 = 4;
        let mut buffer = vec![0; 70_000];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((n, from)) => {
                    buffer.truncate(n);
                    return Some((buffer, from.is_none_or(|from| from.pkttype() != OUTGOING)));
                }
                Err(Errno::EINTR) => {}
                // Nothing there, or the link is gone: nothing to see.
                Err(_) => return None,
            }
        }
    }

    /// All frames seen and not yet taken.
    pub fn drain(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.take()).collect()
    }

    /// Those of them that came in.
    pub fn drain_incoming(&self) -> Vec<Vec<u8>> {
        let all = std::iter::from_fn(|| self.take_with_way());
        all.filter_map(|(frame, is_incoming)| is_incoming.then_some(frame)).collect()
    }

    /// Wait until a frame is there, at most so long.
    pub fn wait(&self, timeout: Duration) -> Result<()> {
        let mut files = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut files, PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX))?;
        Ok(())
    }

    /// Wait for a frame that `wanted` accepts.
    pub fn wait_for<T>(&self, what: &str, timeout: Duration, mut wanted: impl FnMut(&[u8]) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + timeout;
        let mut others = 0_usize;
        loop {
            while let Some(frame) = self.take() {
                match wanted(&frame) {
                    Some(found) => return Ok(found),
                    None => others += 1,
                }
            }
            if Instant::now() >= deadline {
                bail!("{what}: not seen within {timeout:?}; {others} other frames were");
            }
            self.wait(left(deadline))?;
        }
    }

    /// That no frame comes which `unwanted` accepts. Send something after the
    /// cause that surely comes later (a ping's answer), then call this: frames
    /// keep their order, so there is nothing to wait for.
    pub fn none(&self, what: &str, unwanted: impl Fn(&[u8]) -> bool) -> Result<()> {
        let seen: Vec<Vec<u8>> = self.drain().into_iter().filter(|frame| unwanted(frame)).collect();
        if let Some(first) = seen.first() {
            bail!("{what}: {} such frames, the first {}", seen.len(), hex(first));
        }
        Ok(())
    }
}

/// The first bytes of a frame, to look at.
pub fn hex(frame: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in frame.iter().take(100) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
