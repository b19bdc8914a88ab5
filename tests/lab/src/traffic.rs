//! Traffic of ordinary programs: ping, and the kernel's own TCP and UDP.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::netns::Netns;
use crate::time::{scale, secs};

fn ip(text: &str) -> Result<IpAddr> {
    text.parse().with_context(|| format!("'{text}' is no address"))
}

/// An echo request and its answer, a few times; every one must come back.
pub fn ping(from: &Netns, to: &str) -> Result<()> {
    ping_with(from, to, &[])
}

/// The same with more arguments for `ping`.
pub fn ping_with(from: &Netns, to: &str, more: &[&str]) -> Result<()> {
    // With a deadline ping waits for the answers; with a time-out only
    // (`-W`) it leaves twice a round trip after the last request, too early
    // for an answer on a busy machine. It goes on sending meanwhile.
    let deadline = (3 * scale()).to_string();
    let mut args = vec!["-n", "-c", "3", "-i", "0.05", "-w", &deadline];
    args.extend_from_slice(more);
    args.push(to);
    let said = from.output("ping", &args)?;
    // None of the first three may be missing, whatever was sent after them.
    let all = (1..=3).all(|number| said.contains(&format!("icmp_seq={number} ")));
    ensure!(all, "{said}");
    Ok(())
}

/// That nothing answers an echo request.
pub fn no_ping(from: &Netns, to: &str) -> Result<()> {
    let wait = scale().to_string();
    let said = from.output("ping", &["-n", "-c", "1", "-W", &wait, to]);
    ensure!(said.is_err(), "{to} answered: {}", said.unwrap_or_default());
    Ok(())
}

/// Text that differs at every place, so that loss, doubling and swapping show.
pub fn payload(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        // xorshift64: no pattern that a checksum could miss.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// A TCP connection from `client` to `address` in `server`, with so many
/// bytes each way, compared. The server sees the client under `seen_as`.
pub fn tcp(client: &Netns, server: &Netns, address: &str, seen_as: &str, bytes: usize) -> Result<()> {
    let there = ip(address)?;
    let patience = secs(10 + bytes as u64 / 20_000_000);
    let listener = server
        .within(|| Ok(TcpListener::bind(SocketAddr::new(there, 0))?))
        .with_context(|| format!("listen on {address}"))?;
    let port = listener.local_addr()?.port();
    let expected = payload(bytes);
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&listener, &expected, patience));
        let result = client
            .within(|| {
                let to = SocketAddr::new(there, port);
                let stream = TcpStream::connect_timeout(&to, patience).with_context(|| format!("connect to {to}"))?;
                exchange(stream, &expected, true, patience)
            })
            .with_context(|| format!("TCP to {address}, the client's side"));
        if result.is_err() {
            // Let the server's accept end: it blocks until someone comes.
            let wake = server.within(|| Ok(TcpStream::connect(SocketAddr::new(there, port))?));
            drop(wake);
        }
        let served = serving.join().map_err(|_| anyhow::anyhow!("the server panicked"))?;
        result?;
        let from = served.with_context(|| format!("TCP to {address}, the server's side"))?;
        ensure!(from.ip() == ip(seen_as)?, "the server saw {from}, not {seen_as}");
        Ok(())
    })
}

fn serve(listener: &TcpListener, expected: &[u8], patience: Duration) -> Result<SocketAddr> {
    let (stream, from) = listener.accept()?;
    exchange(stream, expected, false, patience)?;
    Ok(from)
}

/// Send all, read all, compare; the client sends first.
fn exchange(mut stream: TcpStream, data: &[u8], first: bool, patience: Duration) -> Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut back = Vec::with_capacity(data.len());
    if first {
        stream.write_all(data).context("send")?;
        stream.shutdown(Shutdown::Write)?;
    }
    stream.read_to_end(&mut back).with_context(|| format!("receive, {} bytes so far", back.len()))?;
    if !first {
        stream.write_all(data).context("send")?;
        stream.shutdown(Shutdown::Write)?;
    }
    same(&back, data)
}

fn same(got: &[u8], expected: &[u8]) -> Result<()> {
    let differ = got.iter().zip(expected).position(|(a, b)| a != b);
    ensure!(differ.is_none(), "byte {} differs", differ.unwrap_or_default());
    ensure!(got.len() == expected.len(), "{} bytes of {}", got.len(), expected.len());
    Ok(())
}

/// UDP datagrams from `client` to `address` in `server` and back, compared.
pub fn udp(client: &Netns, server: &Netns, address: &str, seen_as: &str) -> Result<()> {
    let there = ip(address)?;
    let bind = |at: IpAddr| {
        let socket = UdpSocket::bind(SocketAddr::new(at, 0))?;
        socket.set_read_timeout(Some(secs(3)))?;
        Ok(socket)
    };
    let server = server.within(|| bind(there)).with_context(|| format!("bind {address}"))?;
    let port = server.local_addr()?.port();
    let any = if there.is_ipv4() { "0.0.0.0" } else { "::" };
    let client = client.within(|| {
        let socket = bind(ip(any)?)?;
        socket.connect(SocketAddr::new(there, port))?;
        Ok(socket)
    })?;
    let mut buffer = [0_u8; 2048];
    for size in [1_usize, 2, 63, 512, 1400] {
        let data = payload(size);
        client.send(&data)?;
        let (n, from) = server.recv_from(&mut buffer).with_context(|| format!("UDP of {size} bytes to {address}"))?;
        same(buffer.get(..n).unwrap_or_default(), &data)?;
        ensure!(from.ip() == ip(seen_as)?, "the server saw {from}, not {seen_as}");
        server.send_to(&data, from)?;
        let n = client.recv(&mut buffer).with_context(|| format!("UDP of {size} bytes back from {address}"))?;
        same(buffer.get(..n).unwrap_or_default(), &data)?;
    }
    Ok(())
}

/// A closed TCP port is refused by a reset, not by silence.
pub fn tcp_refused(client: &Netns, address: &str) -> Result<()> {
    let to = SocketAddr::new(ip(address)?, CLOSED_PORT);
    let begun = Instant::now();
    let result = client.within(|| Ok(TcpStream::connect_timeout(&to, secs(3)).err()))?;
    let kind = result.map(|error| error.kind());
    ensure!(
        kind == Some(std::io::ErrorKind::ConnectionRefused),
        "connect to closed {to}: {kind:?} after {:?}",
        begun.elapsed()
    );
    Ok(())
}

/// A closed UDP port is refused by a port-unreachable.
pub fn udp_refused(client: &Netns, address: &str) -> Result<()> {
    let there = ip(address)?;
    let any = if there.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let kind = client.within(|| {
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(secs(3)))?;
        socket.connect(SocketAddr::new(there, CLOSED_PORT))?;
        socket.send(b"anyone?")?;
        Ok(socket.recv(&mut [0; 16]).err().map(|error| error.kind()))
    })?;
    ensure!(kind == Some(std::io::ErrorKind::ConnectionRefused), "UDP to closed port of {address}: {kind:?}");
    Ok(())
}

/// No program of the lab listens here: discard.
const CLOSED_PORT: u16 = 9;
