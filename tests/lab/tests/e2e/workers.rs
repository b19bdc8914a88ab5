//! 10: two workers and traffic between others, which is none of our business.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::time::{millis, scale};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{ping, tcp};
use libtest_mimic::Trial;
use nix::sys::socket::{setsockopt, sockopt};

use crate::support::{Kind, clean_scenario_in, cluster, disable, enable, enable_all, options};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario_in(Kind::Workers, "m10_enable_in_a_loop_under_traffic_loses_nothing", under_traffic),
        clean_scenario_in(Kind::Workers, "m10_others_packets_cross_no_node_of_ours", no_node_of_ours),
        clean_scenario_in(Kind::Workers, "m10_host_traffic_with_two_workers", host_traffic),
    ]
}

pub(crate) fn two_workers() -> Options {
    let mut options = options();
    options.vpp.workers = 2;
    options
}

fn host_traffic(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    for (host, peer, pod) in [(addr::HOST4, addr::PEER4, addr::POD4), (addr::HOST6, addr::PEER6, addr::POD6)] {
        let bytes = 5_000_000 / scale() as usize;
        checks.add("peer to host", tcp(&lab.peer, &lab.host, host, peer, bytes));
        checks.add("host to peer", tcp(&lab.host, &lab.peer, peer, host, bytes));
        checks.add("pod to host", tcp(&lab.pod, &lab.host, host, pod, bytes));
    }
    checks.finish()
}

/// What became of a stream of datagrams.
#[derive(Debug, PartialEq, Eq)]
struct Stream {
    sent: u64,
    lost: u64,
    /// The first gaps: expected number, number that came.
    gaps: Vec<(u64, u64)>,
}

/// Bytes.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Datagrams from the peer to the pod while `meanwhile` runs.
fn stream(lab: &Lab, to: &str, meanwhile: impl FnOnce() -> Result<()>) -> Result<Stream> {
    let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
    let receiver = lab.pod.within(|| Ok(UdpSocket::bind(any)?))?;
    let port = receiver.local_addr()?.port();
    let sender = lab.peer.within(|| {
        let socket = UdpSocket::bind(any)?;
        socket.connect((to, port))?;
        Ok(socket)
    })?;
    receiver.set_read_timeout(Some(millis(300)))?;
    // What this test's own thread is late for is not VPP's loss.
    setsockopt(&receiver, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    let stop = AtomicBool::new(false);
    // The uplink's ring has 160 blocks, and each packet of a slow stream takes
    // one: a faster stream would overflow it whenever the machine is busy.
    let gap = Duration::from_millis(2) * scale();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                sender.send(&sent.to_be_bytes())?;
                sent += 1;
                // The pace of the stream, not a wait for something.
                std::thread::sleep(gap);
            }
            Ok::<u64, anyhow::Error>(sent)
        });
        let receiving = scope.spawn(|| {
            let (mut received, mut next) = (0_u64, 0_u64);
            let mut gaps = Vec::new();
            let mut buffer = [0_u8; 8];
            // Silence after the end of the sending ends it.
            loop {
                match receiver.recv(&mut buffer) {
                    Ok(_) => {
                        let number = u64::from_be_bytes(buffer);
                        if number != next && gaps.len() < 20 {
                            gaps.push((next, number));
                        }
                        next = number + 1;
                        received += 1;
                    }
                    Err(_) if stop.load(Ordering::Relaxed) => return (received, gaps),
                    Err(_) => {}
                }
            }
        });
        let result = meanwhile();
        stop.store(true, Ordering::Relaxed);
        let sent = sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        let (received, gaps) = receiving.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
        result?;
        Ok(Stream { sent, lost: sent.saturating_sub(received), gaps })
    })
}

const LOOP_FOR: Duration = Duration::from_secs(3);

fn under_traffic(lab: &Lab) -> Result<()> {
    let mut checks = Checks::new();
    for pod in [addr::POD4, addr::POD6] {
        // Neighbours are learned here, not in the measurement.
        ping(&lab.peer, pod)?;
        let without = stream(lab, pod, || {
            std::thread::sleep(LOOP_FOR);
            Ok(())
        })?;
        let mut rounds = 0;
        let with = stream(lab, pod, || {
            let until = Instant::now() + LOOP_FOR;
            while Instant::now() < until {
                enable(lab, "host-eth0", &cluster())?;
                disable(lab, "host-eth0")?;
                rounds += 1;
            }
            Ok(())
        })
        .context("the loop of enable and disable")?;
        let seen = format!("{pod}: {rounds} rounds: {with:?}; without us {without:?}");
        checks.that("rounds were made", rounds > 0 && with.sent > 100, &seen);
        checks.that("nothing is lost that is not lost without us", with.lost <= without.lost, &seen);
    }
    checks.finish()
}

/// Vectors that our own nodes have seen, by name.
fn our_vectors(lab: &Lab) -> Result<u64> {
    let text = lab.vpp.ctl("show runtime")?;
    let mut vectors = 0;
    for line in text.lines().filter(|line| line.starts_with("hostnet")) {
        // Name, state (may be two words), calls, vectors, suspends, clocks,
        // vectors a call.
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = words.iter().rev().nth(3).copied().unwrap_or_default();
        vectors += word.parse::<u64>().with_context(|| format!("no count of vectors in: {line}"))?;
    }
    Ok(vectors)
}

fn no_node_of_ours(lab: &Lab) -> Result<()> {
    let arcs = |name: &str| lab.vpp.ctl(&format!("show interface features {name}"));
    let pod_before = arcs("host-pod0")?;
    let unicast = |text: &str| -> String {
        text.split("\n\n").filter(|arc| arc.contains("-unicast:")).collect::<Vec<_>>().join("\n")
    };
    let uplink_before = unicast(&arcs("host-eth0")?);
    enable_all(lab)?;
    let mut checks = Checks::new();
    let pod_after = arcs("host-pod0")?;
    checks.that(
        "the pod's interface has the features it had",
        pod_after == pod_before,
        &hostnet_lab::dump::diff(&pod_before, &pod_after),
    );
    let uplink_after = unicast(&arcs("host-eth0")?);
    ensure!(!uplink_after.is_empty(), "no unicast arc was found");
    checks.that(
        "the uplink's unicast arcs too",
        uplink_after == uplink_before,
        &hostnet_lab::dump::diff(&uplink_before, &uplink_after),
    );
    // That the count works: traffic of the host does move it.
    let start = our_vectors(lab)?;
    ping(&lab.peer, addr::HOST4)?;
    let with_host = our_vectors(lab)?;
    checks.that("the host's packets do cross them", with_host > start, &format!("{start} then {with_host}"));
    tcp(&lab.peer, &lab.pod, addr::POD4, addr::PEER4, 3_000_000)?;
    tcp(&lab.pod, &lab.peer, addr::PEER6, addr::POD6, 3_000_000)?;
    let crossed = our_vectors(lab)? - with_host;
    // The host's kernel says a few words of its own (ND, MLD) meanwhile; the
    // streams are thousands of packets.
    checks.that("others' packets do not", crossed < 50, &format!("{crossed} vectors"));
    checks.finish()
}
