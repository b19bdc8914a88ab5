//! Fragments: what is the host's comes to it as it is, what is VPP's is joined by
//! VPP.

use anyhow::{Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::frames::fragment;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{ping, ping_with};
use hostnet_lab::wire::Tap;
use libtest_mimic::Trial;

use crate::pods::{MARK, contains, ipip_frames, vxlan_frames, with_vxlan};
use crate::support::{clean_scenario, disable, enable_all, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("m03_fragments_of_tunnels_are_joined", with_vxlan, of_tunnels),
        scenario("m03_fragments_of_tunnels_are_joined_with_workers", with_workers, of_tunnels),
        clean_scenario("m02_fragments_of_a_pod_come_to_the_host", of_a_pod),
        scenario("m03_what_vpp_joins_stays_the_users_choice", options, choice),
    ]
}

fn with_workers() -> Options {
    let mut options = with_vxlan();
    options.vpp.workers = 2;
    options
}

/// What the outer packet carries, in bytes: to the end of what its header says.
fn carried(frame: &[u8]) -> usize {
    let at = if frame[14] >> 4 == 4 { 16 } else { 18 };
    let length = usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    if at == 16 { length - 20 } else { length }
}

/// The outer packets come in fragments. Where the first one comes first, the host gets none
/// of them; else it gets the other one, as VPP does: its ports are not to be seen. Of IPIP
/// every one tells what it is.
fn of_tunnels(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let frames = [vxlan_frames(lab)?, ipip_frames(lab)?].concat();
    let mut checks = Checks::new();
    tunnelled(lab, &mut checks, &frames, 100)?;
    // VPP joins its own as before.
    disable(lab, "host-eth0")?;
    tunnelled(lab, &mut checks, &frames, 200)?;
    enable_all(lab)?;
    tunnelled(lab, &mut checks, &frames, 300)?;
    checks.finish()
}

fn tunnelled(lab: &Lab, checks: &mut Checks, frames: &[(&str, Vec<u8>)], first_id: u16) -> Result<()> {
    for pod in [addr::POD4, addr::POD6] {
        until("the peer is known", secs(5), || ping(&lab.peer, pod).map(Some))?;
    }
    let wire = Tap::on(&lab.peer, "eth0")?;
    let pod = Tap::on(&lab.pod, "eth0")?;
    let host = Tap::on(&lab.host, "eth0").ok();
    let mut id = first_id;
    for (what, frame) in frames {
        for reversed in [false, true] {
            id += 1;
            let all = carried(frame);
            let mut parts = [fragment(frame, 0..24, true, id), fragment(frame, 24..all, false, id)];
            if reversed {
                parts.reverse();
            }
            pod.drain();
            if let Some(host) = &host {
                host.drain();
            }
            for part in &parts {
                wire.send(part)?;
            }
            let how = if reversed { "the last one first" } else { "in order" };
            let came = pod.wait_for(what, secs(3), |frame| contains(frame, MARK).then_some(()));
            checks.add(&format!("{what} in fragments, {how}"), came);
            let Some(host) = &host else { continue };
            // Behind it, on the same way.
            ping(&lab.peer, addr::HOST4)?;
            ping(&lab.peer, addr::HOST6)?;
            let seen = host.drain().iter().filter(|frame| contains(frame, MARK)).count();
            let wanted = usize::from(reversed && what.starts_with("VXLAN"));
            checks.that(&format!("{what} {how}: {wanted} at the host"), seen == wanted, &seen.to_string());
        }
    }
    Ok(())
}

/// A pod's fragments come by the redirect: the pod is on no link of the host's.
fn of_a_pod(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    let host = Tap::on(&lab.host, "eth0")?;
    for (name, addr) in [("IPv4", addr::HOST4), ("IPv6", addr::HOST6)] {
        until("the host answers", secs(5), || ping(&lab.pod, addr).map(Some))?;
        host.drain();
        checks.add(&format!("a large question of {name}"), ping_with(&lab.pod, addr, &["-s", "4000"]));
        let longest = host.drain_incoming().iter().map(Vec::len).max().unwrap_or_default();
        checks.that(&format!("{name} came in fragments"), (1000..=1514).contains(&longest), &longest.to_string());
    }
    checks.finish()
}

/// Whether VPP joins fragments to its own addresses is the user's choice, by its API.
fn choice(lab: &Lab) -> Result<()> {
    let mut api = lab.vpp.api()?;
    let mut is_on = || {
        let said = api.call("ip_local_reass_get", &[])?;
        ensure!(said.get(..4) == Some(&[0; 4]), "VPP refuses to tell: {said:?}");
        Ok((said.get(4) == Some(&1), said.get(5) == Some(&1)))
    };
    ensure!(is_on()? == (true, true), "VPP joins none by itself");
    ping(&lab.peer, addr::POD4)?;
    let mut checks = Checks::new();
    let tunnels = ipip_frames(lab)?;
    let (wire, pod) = (Tap::on(&lab.peer, "eth0")?, Tap::on(&lab.pod, "eth0")?);
    let mut id = 400;
    for wanted in [(false, false), (true, false), (false, true), (true, true)] {
        let body = [u8::from(wanted.0), u8::from(wanted.1)];
        lab.vpp.api()?.call("ip_local_reass_enable_disable", &body)?;
        ensure!(is_on()? == wanted, "VPP does not do as it is told");
        enable_all(lab)?;
        for addr in [addr::HOST4, addr::HOST6] {
            until("the host answers", secs(5), || ping(&lab.peer, addr).map(Some))?;
            let answered = ping_with(&lab.peer, addr, &["-s", "4000"]);
            checks.add(&format!("a large question to {addr} with {wanted:?}"), answered);
        }
        for (what, frame) in &tunnels {
            let joined = if what.ends_with("over IPv6") { wanted.1 } else { wanted.0 };
            id += 1;
            pod.drain();
            for part in [fragment(frame, 0..24, true, id), fragment(frame, 24..carried(frame), false, id)] {
                wire.send(&part)?;
            }
            // Behind them.
            ping(&lab.peer, addr::POD4)?;
            let came = pod.drain_incoming().iter().filter(|frame| contains(frame, MARK)).count();
            let as_told = came == usize::from(joined);
            checks.that(&format!("{what} with {wanted:?}"), as_told, &format!("{came} at the pod"));
        }
        disable(lab, "host-eth0")?;
        let found = is_on()?;
        checks.that("it is as before", found == wanted, &format!("{found:?} instead of {wanted:?}"));
    }
    checks.finish()
}
