//! VPP's binary API over its socket: only what a test wants to read exactly,
//! and by the million.
//!
//! A message is `{u64 0, u32 length, u32 0}` (`msgbuf_t`, vlibapi/api_common.h)
//! and so many bytes; numbers are in network order. Which number a message has
//! VPP tells at the beginning.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::time::{left, secs};

/// Numbers that never change (vlibmemory/vl_memory_msg_enum.h counts memclnt.api
/// from 1 on).
const SOCKCLNT_CREATE: u16 = 15;
const SOCKCLNT_CREATE_REPLY: u16 = 16;
const HEADER: usize = 16;
const NAME: usize = 64;

/// A connection.
#[derive(Debug)]
pub struct Api {
    stream: UnixStream,
    ids: HashMap<String, u16>,
    client: u32,
    context: u32,
    /// Read and not yet looked at, from `at` on.
    input: Vec<u8>,
    at: usize,
}

impl Api {
    /// Connect to a socket (`socksvr { socket-name }`).
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| format!("connect to {}", socket.display()))?;
        let mut api = Self { stream, ids: HashMap::new(), client: 0, context: 0, input: Vec::new(), at: 0 };
        let mut hello = Vec::from(SOCKCLNT_CREATE.to_be_bytes());
        hello.extend(7_u32.to_be_bytes());
        hello.extend(text::<NAME>("hostnet-lab"));
        api.write(&hello)?;
        let answer = api.read(Instant::now() + secs(10))?;
        let mut fields = Fields::of(&answer);
        ensure!(fields.u16()? == SOCKCLNT_CREATE_REPLY, "VPP answers strangely");
        fields.skip(8)?;
        ensure!(fields.u32()? == 0, "VPP refuses the connection");
        api.client = fields.u32()?;
        for _ in 0..fields.u16()? {
            let id = fields.u16()?;
            let name = fields.take(NAME)?;
            let name = String::from_utf8_lossy(name);
            // The checksum of its fields follows: this reads VPP 26.06.
            if let Some((name, _)) = name.trim_end_matches('\0').rsplit_once('_') {
                api.ids.insert(name.to_owned(), id);
            }
        }
        Ok(api)
    }

    fn id(&self, name: &str) -> Result<u16> {
        self.ids.get(name).copied().with_context(|| format!("this VPP has no message {name}"))
    }

    fn write(&mut self, message: &[u8]) -> Result<()> {
        let mut out = vec![0; HEADER];
        out.splice(8..12, u32::try_from(message.len())?.to_be_bytes());
        out.extend_from_slice(message);
        Ok(self.stream.write_all(&out)?)
    }

    fn send(&mut self, name: &str, body: &[u8]) -> Result<u32> {
        self.context += 1;
        let mut message = Vec::from(self.id(name)?.to_be_bytes());
        message.extend(self.client.to_be_bytes());
        message.extend(self.context.to_be_bytes());
        message.extend_from_slice(body);
        self.write(&message).with_context(|| name.to_owned())?;
        Ok(self.context)
    }

    /// The next message, with its number at the front.
    fn read(&mut self, deadline: Instant) -> Result<Vec<u8>> {
        loop {
            let rest = self.input.get(self.at..).unwrap_or_default();
            if let Some(length) = rest.get(8..12) {
                let length = u32::from_be_bytes(length.try_into()?) as usize;
                if let Some(message) = rest.get(HEADER..HEADER + length) {
                    let message = message.to_vec();
                    self.at += HEADER + length;
                    return Ok(message);
                }
            }
            self.input.drain(..self.at);
            self.at = 0;
            ensure!(Instant::now() < deadline, "no answer in time");
            self.stream.set_read_timeout(Some(left(deadline)))?;
            let mut chunk = vec![0; 1 << 20];
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("VPP closed the connection"),
                Ok(n) => self.input.extend_from_slice(chunk.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ask and get the one answer: what follows its context.
    pub fn call(&mut self, name: &str, body: &[u8]) -> Result<Vec<u8>> {
        let context = self.send(name, body)?;
        let wanted = self.id(&format!("{name}_reply"))?;
        let deadline = Instant::now() + secs(30);
        loop {
            let message = self.read(deadline).with_context(|| name.to_owned())?;
            let mut fields = Fields::of(&message);
            if fields.u16()? == wanted && fields.u32()? == context {
                return Ok(fields.0.to_vec());
            }
        }
    }

    /// Ask for all of a kind; each answer's fields, behind its context.
    pub fn dump(
        &mut self,
        name: &str,
        body: &[u8],
        timeout: Duration,
        mut each: impl FnMut(Fields<'_>) -> Result<()>,
    ) -> Result<()> {
        let context = self.send(&format!("{name}_dump"), body)?;
        // What ends it: answered behind all the others.
        let end = self.send("control_ping", &[])?;
        let (details, pong) = (self.id(&format!("{name}_details"))?, self.id("control_ping_reply")?);
        let deadline = Instant::now() + timeout;
        loop {
            let message = self.read(deadline).with_context(|| format!("{name}_dump"))?;
            let mut fields = Fields::of(&message);
            match (fields.u16()?, fields.u32()?) {
                (id, of) if id == details && of == context => each(fields)?,
                (id, of) if id == pong && of == end => return Ok(()),
                _ => {}
            }
        }
    }
}

/// A text in so many bytes, filled up with NULs.
pub fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (to, from) in bytes.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    bytes
}

/// The fields of a message, taken from the front.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Of such bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("a message of VPP's ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    /// Leave so many bytes out.
    pub fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(drop)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// Sixteen bytes, of which IPv4 uses four.
    pub fn address(&mut self, is_ip6: bool) -> Result<IpAddr> {
        let bytes: [u8; 16] = self.take(16)?.try_into()?;
        if is_ip6 {
            return Ok(Ipv6Addr::from(bytes).into());
        }
        let [a, b, c, d, ..] = bytes;
        Ok(Ipv4Addr::new(a, b, c, d).into())
    }

    /// Family, address, length (`vl_api_prefix_t`).
    pub fn prefix(&mut self) -> Result<(IpAddr, u8)> {
        let is_ip6 = self.u8()? == 1;
        Ok((self.address(is_ip6)?, self.u8()?))
    }
}
