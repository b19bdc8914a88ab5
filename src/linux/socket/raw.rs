//! Messages as bytes: what the kernel dumped goes back as it came. Many
//! requests go in one datagram, so that a table of routes takes no round trip
//! for each.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST};
use netlink_sys::SocketAddr;
use nix::errno::Errno;

use super::{ATTEMPTS, HEADER_LEN, Socket, TIMEOUT_SECONDS, kernels_words};
use crate::linux::error::Error;
use crate::linux::message::{Frame, i32_at};
use crate::linux::rtnl::{NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN};
use crate::model::RawMessage;

/// Most requests in one datagram: their acknowledgements fit into the
/// socket's default buffer many times over.
const BATCH: usize = 64;
/// Most bytes in one datagram, of the default of some 200 KiB.
const BATCH_BYTES: usize = 32 * 1024;

/// One request.
#[derive(Debug, Clone)]
pub(in crate::linux) struct RawRequest {
    /// What it is for, as errors name it.
    pub(in crate::linux) what: String,
    /// The message's type (`RTM_*`).
    pub(in crate::linux) kind: u16,
    /// Flags beside REQUEST and ACK.
    pub(in crate::linux) flags: u16,
    /// The fixed part and the attributes.
    pub(in crate::linux) body: Vec<u8>,
}

/// What an NLMSG_ERROR or NLMSG_DONE says; `skip` bytes lie between the code
/// and the extended ack.
pub(in crate::linux) fn outcome(what: &str, body: &[u8], skip: usize) -> Result<(), Error> {
    let code = i32_at(body, 0).unwrap_or(0);
    if code >= 0 {
        return Ok(());
    }
    let text = body.get(4 + skip..).and_then(kernels_words);
    Err(Error::refused(what, Errno::from_raw(code.saturating_neg()), text.as_deref()))
}

pub(in crate::linux) fn emit(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: &[u8]) {
    let length = u32::try_from(HEADER_LEN + body.len()).unwrap_or(u32::MAX);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend([0; 4]);
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
}

impl Socket {
    /// Read everything that a dump request of that type gives.
    pub(in crate::linux) fn dump_raw(&mut self, what: &str, kind: u16, body: &[u8]) -> Result<Vec<RawMessage>, Error> {
        self.read_raw(what, kind, NLM_F_DUMP, body)
    }

    /// Read one thing.
    pub(in crate::linux) fn get_raw(&mut self, what: &str, kind: u16, body: &[u8]) -> Result<Vec<RawMessage>, Error> {
        self.read_raw(what, kind, NLM_F_ACK, body)
    }

    fn read_raw(&mut self, what: &str, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<RawMessage>, Error> {
        for _ in 0..ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            let mut bytes = Vec::with_capacity(HEADER_LEN + body.len());
            emit(&mut bytes, kind, flags, self.sequence, body);
            self.send(what, &bytes)?;
            if let Some(messages) = self.collect(what)? {
                return Ok(messages);
            }
        }
        Err(Error::new(what, format!("no whole answer in {ATTEMPTS} attempts: it changes all the time")))
    }

    /// `None` when the answer is not whole.
    fn collect(&mut self, what: &str) -> Result<Option<Vec<RawMessage>>, Error> {
        let mut messages = Vec::new();
        let mut interrupted = false;
        loop {
            let Some(len) = self.next_datagram(what)? else { return Ok(None) };
            let mut rest = self.buffer.get(..len).unwrap_or_default();
            while !rest.is_empty() {
                let (frame, after) = Frame::first(rest).ok_or_else(|| Error::new(what, "malformed answer"))?;
                rest = after;
                if frame.sequence != self.sequence {
                    continue;
                }
                interrupted |= frame.flags & NLM_F_DUMP_INTR != 0;
                match frame.kind {
                    NLMSG_NOOP => {}
                    NLMSG_OVERRUN => return Ok(None),
                    NLMSG_ERROR => {
                        outcome(what, frame.body, HEADER_LEN)?;
                        return Ok(Some(messages));
                    }
                    NLMSG_DONE => {
                        outcome(what, frame.body, 0)?;
                        return Ok((!interrupted).then_some(messages));
                    }
                    _ => messages.push(RawMessage(frame.body.to_vec())),
                }
            }
        }
    }

    /// Change many things, in this order; one result each. The kernel goes on
    /// after one that it refuses.
    pub(in crate::linux) fn change_raw(&mut self, requests: &[RawRequest]) -> Vec<Result<(), Error>> {
        let mut results = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let mut bytes = Vec::new();
            let first = self.sequence.wrapping_add(1);
            let mut count = 0;
            for request in rest.iter().take(BATCH) {
                if count > 0 && bytes.len() + request.body.len() > BATCH_BYTES {
                    break;
                }
                self.sequence = self.sequence.wrapping_add(1);
                emit(&mut bytes, request.kind, NLM_F_ACK | request.flags, self.sequence, &request.body);
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            rest = later;
            let what = now.first().map_or("", |request| request.what.as_str());
            let mut answers: Vec<Option<Result<(), Error>>> = vec![None; count];
            let failed = self.send(what, &bytes).and_then(|()| self.acknowledgements(now, first, &mut answers)).err();
            let lost = |request: &RawRequest| {
                let lost = || Error::new(request.what.as_str(), "the kernel's answer was lost");
                Err(failed.clone().unwrap_or_else(lost))
            };
            results.extend(now.iter().zip(answers).map(|(request, answer)| answer.unwrap_or_else(|| lost(request))));
        }
        results
    }

    fn acknowledgements(
        &mut self,
        requests: &[RawRequest],
        first_sequence: u32,
        answers: &mut [Option<Result<(), Error>>],
    ) -> Result<(), Error> {
        let what = requests.first().map_or("", |request| request.what.as_str());
        while answers.last().is_some_and(Option::is_none) {
            // Acknowledgements come in order: what is missing before the last
            // was lost.
            let Some(len) = self.next_datagram(what)? else { return Ok(()) };
            let mut rest = self.buffer.get(..len).unwrap_or_default();
            while !rest.is_empty() {
                let (frame, after) = Frame::first(rest).ok_or_else(|| Error::new(what, "malformed answer"))?;
                rest = after;
                let at = usize::try_from(frame.sequence.wrapping_sub(first_sequence)).unwrap_or(usize::MAX);
                if let (NLMSG_ERROR, Some(slot), Some(request)) = (frame.kind, answers.get_mut(at), requests.get(at)) {
                    *slot = Some(outcome(&request.what, frame.body, HEADER_LEN));
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, what: &str, bytes: &[u8]) -> Result<(), Error> {
        loop {
            match self.raw.send_to(bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(what, &error)),
            }
        }
    }

    /// The length of the next datagram; `None` when one was lost.
    fn next_datagram(&mut self, what: &str) -> Result<Option<usize>, Error> {
        match self.receive() {
            Ok(len) => Ok(len),
            Err(Errno::ENOBUFS) => Ok(None),
            Err(Errno::EAGAIN) => {
                Err(Error::new(what, format!("the kernel did not answer within {TIMEOUT_SECONDS} s")))
            }
            Err(errno) => Err(Error::sys(what, errno)),
        }
    }
}
