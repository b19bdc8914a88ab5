//! A TCP session with data flowing both ways all the time, every byte checked,
//! that tells for how long nothing came.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::netns::Netns;
use crate::time::{millis, secs, until};

/// Bytes that go at once, and how often.
const CHUNK: usize = 1024;
const EVERY: Duration = Duration::from_millis(2);

/// The session; ended on drop.
#[derive(Debug)]
pub struct Session {
    ends: [Arc<End>; 2],
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct End {
    name: &'static str,
    received: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Instant,
    longest: Duration,
    error: Option<String>,
}

impl End {
    fn new(name: &'static str) -> Arc<Self> {
        let state = State { last: Instant::now(), longest: Duration::ZERO, error: None };
        Arc::new(Self { name, received: AtomicU64::new(0), state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, text: String) {
        self.state().error.get_or_insert(text);
    }

    fn failure(&self) -> Result<()> {
        match &self.state().error {
            Some(text) => bail!("the {}'s end: {text}", self.name),
            None => Ok(()),
        }
    }
}

impl Session {
    /// From a socket of `client`'s to `address` in `server`.
    pub fn start(client: &Netns, server: &Netns, address: &str) -> Result<Self> {
        let there = address.parse().with_context(|| format!("'{address}' is no address"))?;
        let listener = server.within(|| Ok(TcpListener::bind(SocketAddr::new(there, 0))?))?;
        let to = listener.local_addr()?;
        let near = client.within(|| Ok(TcpStream::connect_timeout(&to, secs(10))?)).context("connect")?;
        let (far, _) = listener.accept()?;
        let stop = Arc::new(AtomicBool::new(false));
        let ends = [End::new("host"), End::new("peer")];
        let mut threads = Vec::new();
        for (stream, end) in [near, far].into_iter().zip(&ends) {
            stream.set_nodelay(true)?;
            // Wakes now and then to see whether it is to stop.
            stream.set_read_timeout(Some(millis(200)))?;
            stream.set_write_timeout(Some(secs(60)))?;
            let (reading, writing) = (stream.try_clone()?, stream);
            let (of_reader, of_writer) = (Arc::clone(end), Arc::clone(end));
            let (until_reader, until_writer) = (Arc::clone(&stop), Arc::clone(&stop));
            threads.push(std::thread::spawn(move || read(&reading, &of_reader, &until_reader)));
            threads.push(std::thread::spawn(move || write(&writing, &of_writer, &until_writer)));
        }
        let session = Self { ends, stop, threads };
        session.flows()?;
        Ok(session)
    }

    /// That data comes now, at both ends, and has come whole so far.
    pub fn flows(&self) -> Result<()> {
        for end in &self.ends {
            let before = end.received.load(Ordering::Relaxed);
            until(&format!("data comes to the {}", end.name), secs(20), || {
                end.failure()?;
                Ok((end.received.load(Ordering::Relaxed) > before + 4 * CHUNK as u64).then_some(()))
            })?;
        }
        Ok(())
    }

    /// The longest time without data, at either end, since this was asked
    /// last.
    pub fn longest_gap(&self) -> Duration {
        let take = |end: &Arc<End>| std::mem::take(&mut end.state().longest);
        self.ends.iter().map(take).max().unwrap_or_default()
    }

    /// End it; an error when a byte was wrong.
    pub fn finish(mut self) -> Result<u64> {
        self.end()?;
        for end in &self.ends {
            end.failure()?;
        }
        let total: u64 = self.ends.iter().map(|end| end.received.load(Ordering::Relaxed)).sum();
        ensure!(total > 0, "nothing was received");
        Ok(total)
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a thread of the session panicked"))?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nobody asks any more.
        let _ = self.end();
    }
}

/// The byte at a place of the stream.
fn byte_at(place: u64) -> u8 {
    // The high bits of a multiplication differ at every place.
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn write(mut stream: &TcpStream, end: &End, stop: &AtomicBool) {
    let mut place = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let chunk: Vec<u8> = (place..).take(CHUNK).map(byte_at).collect();
        if let Err(error) = stream.write_all(&chunk) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            return end.fail(format!("send: {error}"));
        }
        place += CHUNK as u64;
        std::thread::sleep(EVERY);
    }
}

fn read(mut stream: &TcpStream, end: &End, stop: &AtomicBool) {
    let mut place = 0_u64;
    let mut buffer = vec![0_u8; 64 * CHUNK];
    while !stop.load(Ordering::Relaxed) {
        let count = match stream.read(&mut buffer) {
            Ok(0) if stop.load(Ordering::Relaxed) => return,
            Ok(0) => return end.fail("the other end closed".to_owned()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            // The other end has closed, with data that it has not read.
            Err(_) if stop.load(Ordering::Relaxed) => return,
            Err(error) => return end.fail(format!("receive: {error}")),
        };
        let wrong = buffer.iter().take(count).zip(place..).find(|(byte, at)| **byte != byte_at(*at));
        if let Some((_, at)) = wrong {
            return end.fail(format!("byte {at} is wrong"));
        }
        place += count as u64;
        end.received.store(place, Ordering::Relaxed);
        let mut state = end.state();
        let now = Instant::now();
        state.longest = state.longest.max(now.duration_since(state.last));
        state.last = now;
    }
}
