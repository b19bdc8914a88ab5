//! 8 and 9: two uplinks, and things that vanish while in use.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::dump::Dump;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{ping, tcp};
use hostnet_lab::wire::Tap;
use libtest_mimic::Trial;

use crate::support::{
    Backend, Kind, clean_scenario, clean_scenario_in, disable, enable, enable_all, options, scenario, shown, tap_of,
};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        clean_scenario_in(Kind::TwoUplinks, "m08_two_uplinks_each_its_own", two_uplinks),
        clean_scenario_in(Kind::TwoUplinks, "m08_disabling_the_first_leaves_the_second", |lab| {
            one_of_two(lab, "host-eth0")
        }),
        clean_scenario_in(Kind::TwoUplinks, "m08_disabling_the_second_leaves_the_first", |lab| {
            one_of_two(lab, "host-eth1")
        }),
        scenario("m09_uplink_deleted_while_enabled", options, uplink_deleted),
        clean_scenario("m09_host_device_deleted_while_enabled", device_deleted),
    ];
    // VPP has no command that deletes a tap of the builtin backend.
    if Backend::of_this_run() == Backend::Vhost {
        tests.push(scenario("m09_tap_deleted_while_enabled", options, tap_deleted));
    }
    tests
}

pub(crate) fn two() -> Options {
    Options { uplinks: 2, ..options() }
}

const FIRST: [(&str, &str); 2] = [(addr::HOST4, addr::PEER4), (addr::HOST6, addr::PEER6)];
const SECOND: [(&str, &str); 2] = [(addr::HOST4B, addr::PEER4B), (addr::HOST6B, addr::PEER6B)];

fn works(lab: &Lab, checks: &mut Checks, pairs: [(&str, &str); 2]) {
    for (host, peer) in pairs {
        checks.add(&format!("peer to {host}"), ping(&lab.peer, host));
        checks.add(&format!("host to {peer}"), ping(&lab.host, peer));
        checks.add(&format!("connect to {host}"), tcp(&lab.peer, &lab.host, host, peer, 10_000));
    }
}

fn two_uplinks(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    enable(lab, "host-eth1", "")?;
    let mut checks = Checks::new();
    works(lab, &mut checks, FIRST);
    works(lab, &mut checks, SECOND);
    // What comes by one uplink is seen on its own device only.
    for (host, own, other) in [(addr::HOST4, "eth0", "eth1"), (addr::HOST4B, "eth1", "eth0")] {
        let (own, other) = (Tap::on(&lab.host, own)?, Tap::on(&lab.host, other)?);
        ping(&lab.peer, host)?;
        let ip: std::net::Ipv4Addr = host.parse()?;
        let to_host = |frame: &[u8]| frame.get(30..34) == Some(&ip.octets()[..]);
        let seen = own.drain().iter().filter(|frame| to_host(frame)).count();
        checks.that(&format!("{host} on its own device"), seen >= 3, &seen.to_string());
        checks.add(&format!("{host} not on the other's"), other.none("stray", to_host));
    }
    checks.finish()
}

fn one_of_two(lab: &Lab, gone: &str) -> Result<()> {
    let before = Dump::of(lab)?;
    enable_all(lab)?;
    enable(lab, "host-eth1", "")?;
    disable(lab, gone)?;
    let (other, pairs) = if gone == "host-eth0" { ("host-eth1", SECOND) } else { ("host-eth0", FIRST) };
    let mut checks = Checks::new();
    works(lab, &mut checks, pairs);
    disable(lab, other)?;
    checks.add("both disabled", Dump::of(lab)?.same_as(&before));
    checks.finish()
}

/// After something vanished: VPP lives, nothing punts into the void, the
/// state tells it.
fn aftermath(lab: &Lab, what: &str) -> Result<()> {
    lab.vpp.alive()?;
    until("the state tells it", secs(5), || {
        let said = shown(lab, "host-eth0")?;
        let told = match &said {
            // Forgotten is told by the last words on it, in the log.
            None => lab.vpp.ctl("show logging")?.contains(what),
            Some(shown) => shown["state"] != "enabled" && shown["last_error"].is_string(),
        };
        Ok(told.then_some(()))
    })?;
    for command in ["show ip punt redirect", "show ip6 punt redirect"] {
        until("no redirect is left", secs(5), || {
            let said = lab.vpp.ctl(command)?;
            Ok((!said.contains("via:")).then_some(())).and_then(|found| {
                ensure!(found.is_some(), "{said}");
                Ok(found)
            })
        })?;
    }
    Ok(())
}

fn uplink_deleted(lab: &Lab) -> Result<()> {
    let tap = tap_of(&enable_all(lab)?)?;
    lab.vpp.quiet("delete host-interface name eth0")?;
    aftermath(lab, "host-eth0")?;
    until("the tap is gone", secs(5), || Ok((!lab.vpp.ctl("show interface")?.contains(&tap)).then_some(())))?;
    until("the host's device is gone", secs(5), || {
        Ok((!lab.host.output("ip", &["link"])?.contains("eth0")).then_some(()))
    })?;
    // The same uplink anew.
    lab.vpp.ctl(&format!("create host-interface name eth0 hw-addr {}", addr::UPLINK_MAC))?;
    lab.vpp.all_quiet(&format!(
        "enable ip6 interface host-eth0
         set interface state host-eth0 up
         set interface ip address host-eth0 {}/24
         set interface ip address host-eth0 {}/64",
        addr::HOST4,
        addr::HOST6
    ))?;
    enable(lab, "host-eth0", "").context("the uplink made anew")?;
    // The first may be lost to address resolution: it begins anew as well.
    for host in [addr::HOST4, addr::HOST6] {
        until("the host answers", secs(5), || ping(&lab.peer, host).map(Some))?;
    }
    Ok(())
}

fn tap_deleted(lab: &Lab) -> Result<()> {
    let tap = tap_of(&enable_all(lab)?)?;
    lab.vpp.quiet(&format!("delete tap {tap}"))?;
    aftermath(lab, &tap)?;
    again(lab)
}

fn device_deleted(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    lab.host.ip("link del eth0")?;
    // The kernel's device is gone, so is what VPP's tap stood on.
    lab.vpp.alive()?;
    ping(&lab.peer, addr::POD4)?;
    again(lab)
}

/// Off and on once more: whatever is left of the old must not be in the way.
fn again(lab: &Lab) -> Result<()> {
    // What has lost its tap is being taken back already.
    until("nothing is under way", secs(10), || {
        let shown = shown(lab, "host-eth0")?;
        ensure!(shown.as_ref().is_none_or(|shown| shown["state"] != "disabling"), "{shown:#?}");
        Ok(Some(()))
    })?;
    if shown(lab, "host-eth0")?.is_some() {
        disable(lab, "host-eth0")?;
    }
    enable_all(lab)?;
    ping(&lab.peer, addr::HOST4)?;
    ping(&lab.peer, addr::HOST6)
}
