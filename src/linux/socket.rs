//! One rtnetlink request and its answer, over a socket that stays in the
//! namespace it was made in.

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NlasIterator, parse_string,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket as RawSocket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::time::{TimeVal, TimeValLike};

use super::error::Error;

mod events;
mod nowait;
mod raw;
pub(super) use events::Events;
pub(super) use nowait::{NoWait, Received};
pub(super) use raw::{RawRequest, emit, outcome};

/// How long the kernel may take to answer. It works on a request inside
/// `send`, so the answer is there at once; this only keeps a thread from
/// hanging for ever.
const TIMEOUT_SECONDS: i64 = 20;
/// How often a read is repeated that something else changed under.
const ATTEMPTS: usize = 8;
/// Fits every part of a dump: the kernel fills at most 32 KiB at a time, as
/// much as the reader offered last (`netlink_recvmsg` in
/// net/netlink/af_netlink.c). A single message is longer only of a device with
/// many virtual functions.
const BUFFER: usize = 64 * 1024;
/// Length of the request's header that comes back in an error (struct
/// nlmsghdr, linux/netlink.h), in bytes.
const HEADER_LEN: usize = 16;
/// The attribute with the kernel's own words (linux/netlink.h).
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A socket for one request at a time.
#[derive(Debug)]
pub(super) struct Socket {
    raw: RawSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// What came of one exchange.
enum Outcome {
    /// All of the answer.
    Whole(Vec<RouteNetlinkMessage>),
    /// Part of the answer was lost, or is of before a change: ask again.
    Again(&'static str),
}

impl Socket {
    /// A socket in the calling thread's namespace.
    pub(super) fn open() -> Result<Self, Error> {
        let what = "open a netlink socket";
        let failed = |error: std::io::Error| Error::io(what, &error);
        let mut raw = RawSocket::new(NETLINK_ROUTE).map_err(failed)?;
        raw.bind_auto().map_err(failed)?;
        raw.set_ext_ack(true).map_err(failed)?;
        // The error then holds the request's header only, and what follows
        // the header is the extended ack.
        raw.set_cap_ack(true).map_err(failed)?;
        // Without it the kernel ignores what it does not know in a dump
        // request, and answers with everything.
        raw.set_netlink_get_strict_chk(true).map_err(failed)?;
        setsockopt(&raw, ReceiveTimeout, &TimeVal::seconds(TIMEOUT_SECONDS))
            .map_err(|errno| Error::sys(what, errno))?;
        Ok(Self { raw, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// The socket itself, for what has no netlink message.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }

    /// Change something. `flags` are those beside REQUEST and ACK.
    pub(super) fn change(&mut self, what: &str, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        match self.exchange(what, message, NLM_F_ACK | flags)? {
            Outcome::Whole(_) => Ok(()),
            // Not repeated: it may have been done.
            Outcome::Again(why) => Err(Error::new(what, format!("the kernel's answer was lost: {why}"))),
        }
    }

    /// Read one thing.
    pub(super) fn get(&mut self, what: &str, message: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.read(what, message, NLM_F_ACK)
    }

    /// Read everything of a kind.
    pub(super) fn dump(
        &mut self,
        what: &str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.read(what, message, NLM_F_DUMP)
    }

    fn read(
        &mut self,
        what: &str,
        message: &RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let mut last = "";
        for _ in 0..ATTEMPTS {
            match self.exchange(what, message.clone(), flags)? {
                Outcome::Whole(messages) => return Ok(messages),
                Outcome::Again(why) => last = why,
            }
        }
        Err(Error::new(what, format!("no whole answer in {ATTEMPTS} attempts: {last}")))
    }

    fn exchange(&mut self, what: &str, message: RouteNetlinkMessage, flags: u16) -> Result<Outcome, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        loop {
            match self.raw.send_to(&bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(what, &error)),
            }
        }
        self.answer(what)
    }

    /// Collect the answer to the request of the current sequence number.
    fn answer(&mut self, what: &str) -> Result<Outcome, Error> {
        let mut messages = Vec::new();
        let mut interrupted = false;
        loop {
            let len = match self.receive() {
                Ok(Some(len)) => len,
                Ok(None) => return Ok(Outcome::Again("it did not fit into the buffer")),
                Err(Errno::ENOBUFS) => return Ok(Outcome::Again("the socket overflowed")),
                Err(Errno::EAGAIN) => {
                    let detail = format!("the kernel did not answer within {TIMEOUT_SECONDS} s");
                    return Err(Error::new(what, detail));
                }
                Err(errno) => return Err(Error::sys(what, errno)),
            };
            let mut rest = self.buffer.get(..len).unwrap_or_default();
            while !rest.is_empty() {
                let malformed = |error| Error::new(what, format!("malformed answer: {error}"));
                let frame = NetlinkBuffer::new_checked(rest).map_err(malformed)?;
                let length = usize::try_from(frame.length()).unwrap_or(usize::MAX);
                let this = rest.get(..length).unwrap_or(rest);
                // Messages begin at multiples of four bytes.
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
                // Late answers to a request that was given up.
                if frame.sequence_number() != self.sequence {
                    continue;
                }
                interrupted |= frame.flags() & NLM_F_DUMP_INTR != 0;
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(this).map_err(malformed)?;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => messages.push(inner),
                    NetlinkPayload::Noop => {}
                    NetlinkPayload::Overrun(_) => return Ok(Outcome::Again("the kernel lost data")),
                    NetlinkPayload::Error(error) => {
                        acknowledged(what, &error)?;
                        return Ok(Outcome::Whole(messages));
                    }
                    NetlinkPayload::Done(done) => {
                        if done.code < 0 {
                            let text = kernels_words(&done.extended_ack);
                            let errno = Errno::from_raw(done.code.saturating_neg());
                            return Err(Error::refused(what, errno, text.as_deref()));
                        }
                        if interrupted {
                            return Ok(Outcome::Again("the table changed during the dump"));
                        }
                        return Ok(Outcome::Whole(messages));
                    }
                    _ => return Err(Error::new(what, "an answer of an unknown kind")),
                }
            }
        }
    }

    /// The length of the next datagram, now at the start of the buffer; `None`
    /// when it was too long (the buffer has then grown).
    fn receive(&mut self) -> nix::Result<Option<usize>> {
        loop {
            // With MSG_TRUNC the kernel tells the true length.
            let received = self.raw.recv_from(&mut self.buffer.as_mut_slice(), libc::MSG_TRUNC);
            match received {
                // Only the kernel speaks from port 0: anyone may send to a
                // netlink socket.
                Ok((_, from)) if from.port_number() != 0 => {}
                Ok((len, _)) if len > self.buffer.len() => {
                    self.buffer.resize(len.next_power_of_two(), 0);
                    return Ok(None);
                }
                Ok((len, _)) => return Ok(Some(len)),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
                }
            }
        }
    }
}

fn acknowledged(what: &str, error: &ErrorMessage) -> Result<(), Error> {
    let Some(code) = error.code else {
        return Ok(());
    };
    let text = error.header.get(HEADER_LEN..).and_then(kernels_words);
    Err(Error::refused(what, Errno::from_raw(code.get().saturating_neg()), text.as_deref()))
}

/// The text in an extended ack.
fn kernels_words(attributes: &[u8]) -> Option<String> {
    NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .and_then(|attribute| parse_string(attribute.value()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_found_behind_other_attributes() {
        // NLMSGERR_ATTR_OFFS (2) = 8, then NLMSGERR_ATTR_MSG (1) = "no\0".
        let bytes = [8, 0, 2, 0, 8, 0, 0, 0, 7, 0, 1, 0, b'n', b'o', 0, 0];
        assert_eq!(kernels_words(&bytes), Some("no".to_owned()));
        assert_eq!(kernels_words(&bytes[..8]), None);
        assert_eq!(kernels_words(&[]), None);
    }

    #[test]
    fn an_acknowledgement_is_no_error_and_a_refusal_names_its_cause() {
        assert_eq!(acknowledged("try", &ErrorMessage::default()), Ok(()));
        let mut refused = ErrorMessage::default();
        refused.code = std::num::NonZeroI32::new(-libc::EEXIST);
        refused.header = vec![0; HEADER_LEN];
        let text = acknowledged("try", &refused).map_err(|error| error.to_string());
        assert_eq!(text, Err("try: File exists".to_owned()));
    }
}
