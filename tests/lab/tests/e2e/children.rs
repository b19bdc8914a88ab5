//! Issue "mirror": VLANs that the host makes on its device, and VRFs that it puts
//! it into. A kernel with both has to be there: that of the emulated machine.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::machine::{Machine, MachineOptions};
use hostnet_lab::time::{secs, until};
use hostnet_lab::traffic::{ping, tcp};
use hostnet_lab::vpp::Vpp;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::mirror_support::machine_with;
use crate::takeover::knows_vlans;
use crate::takeover_support::{bare, release, take, takeover};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        takeover("v01_a_vlan_on_the_hosts_device", bare, live).with_ignored_flag(!knows_vlans()),
        takeover("v01_vlans_of_both_kinds_and_one_of_vpps_users", bare, kinds).with_ignored_flag(!knows_vlans()),
        takeover("v02_the_hosts_device_in_a_vrf", exporting, vrf).with_ignored_flag(!knows_vlans()),
    ]
}

fn exporting() -> MachineOptions {
    machine_with("export CLI")
}

const BEGIN: &str = "link set eth0 up
addr add 192.0.2.10/24 dev eth0
addr add 2001:db8:1::10/64 dev eth0 nodad";

fn begin(machine: &Machine) -> Result<std::sync::Arc<Vpp>> {
    machine.host.ip(BEGIN)?;
    // The link-local address comes a moment later.
    machine.settle()?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    Ok(vpp)
}

/// All uplinks that are VLANs.
fn children(vpp: &Vpp) -> Result<Vec<Value>> {
    let text = vpp.ctl("show hostnet json")?;
    let view: Value = serde_json::from_str(&text).context(text)?;
    let all = view["uplinks"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|uplink| !uplink["vlan"].is_null()).collect())
}

pub(crate) fn wait_child(vpp: &Vpp, device: &str) -> Result<Value> {
    until(&format!("{device} is an uplink"), secs(5), || {
        let all = children(vpp)?;
        let found = all.iter().find(|uplink| uplink["host_if"] == device && uplink["state"] == "enabled");
        ensure!(found.is_some(), "{all:#?}");
        Ok(found.cloned())
    })
}

pub(crate) fn wait_none(vpp: &Vpp) -> Result<()> {
    until("no VLAN is left", secs(5), || {
        let all = children(vpp)?;
        ensure!(all.is_empty(), "{all:#?}");
        Ok(Some(()))
    })
}

fn wait_vpp(vpp: &Vpp, command: &str, part: &str, is_there: bool) -> Result<()> {
    until(&format!("'{command}' has '{part}': {is_there}"), secs(5), || {
        let said = vpp.ctl(command)?;
        ensure!(said.contains(part) == is_there, "{said}");
        Ok(Some(()))
    })
}

fn carries(machine: &Machine, host: &str, peer: &str) -> Result<()> {
    until(&format!("{host} reaches {peer}"), secs(5), || ping(&machine.host, peer).map(Some))?;
    until(&format!("{peer} reaches {host}"), secs(5), || ping(&machine.peer, host).map(Some))?;
    tcp(&machine.host, &machine.peer, peer, host, 100_000)?;
    tcp(&machine.peer, &machine.host, host, peer, 100_000)
}

fn live(machine: &Machine) -> Result<()> {
    let vpp = begin(machine)?;
    machine.peer.ip("link add link eth0 name eth0.7 type vlan id 7
         link set eth0.7 up
         addr add 10.7.0.2/24 dev eth0.7
         addr add fd07::2/64 dev eth0.7 nodad")?;
    machine.host.ip("link add link eth0 name eth0.7 type vlan id 7")?;
    let shown = wait_child(&vpp, "eth0.7")?;
    ensure!(shown["vlan"] == "802.1Q 7", "{shown:#}");
    // Down as it is made; then as a DHCP client would: up, then addresses.
    wait_vpp(&vpp, "show interface host-eth0.7", "down", true)?;
    machine.host.ip("link set eth0.7 up\naddr add 10.7.0.1/24 dev eth0.7\naddr add fd07::1/64 dev eth0.7 nodad")?;
    carries(machine, "10.7.0.1", "10.7.0.2")?;
    carries(machine, "fd07::1", "fd07::2")?;
    // The uplink below goes on.
    carries(machine, "192.0.2.10", "192.0.2.20")?;
    let mut checks = Checks::new();
    // Routes and neighbours by it.
    machine.host.ip("route add 10.70.0.0/16 via 10.7.0.2
         route add fd70::/48 via fd07::2
         route add 10.71.0.0/16 via 10.7.0.2 table 77
         neigh add 10.7.0.99 lladdr 02:00:5e:00:00:99 dev eth0.7 nud permanent")?;
    checks.add("IPv4 route", wait_vpp(&vpp, "show ip fib 10.70.0.0/16", "host-eth0.7", true));
    checks.add("IPv6 route", wait_vpp(&vpp, "show ip6 fib fd70::/48", "host-eth0.7", true));
    checks.add("route of a table", wait_vpp(&vpp, "show ip fib table 77 10.71.0.0/16", "host-eth0.7", true));
    checks.add("neighbour", wait_vpp(&vpp, "show ip neighbors", "10.7.0.99", true));
    let said = vpp.session()?.run_within("hostnet audit host-eth0.7", secs(30))?;
    checks.that("the audit finds nothing", said.contains("are the same"), &said);
    // A lease changes.
    machine.host.ip("addr del 10.7.0.1/24 dev eth0.7\naddr add 10.7.0.9/24 dev eth0.7")?;
    checks.add("another address", carries(machine, "10.7.0.9", "10.7.0.2"));
    machine.host.ip("link set eth0.7 mtu 1400")?;
    checks.add("MTU", wait_vpp(&vpp, "show interface host-eth0.7", "1400", true));
    // Renamed, which wants it down.
    machine.host.ip("link set eth0.7 down\nlink set eth0.7 name storage")?;
    checks.add("down", wait_vpp(&vpp, "show interface host-eth0.7", "down", true));
    machine.host.ip("link set storage up")?;
    checks.add("renamed", wait_child(&vpp, "storage").map(drop));
    checks.add("up again", carries(machine, "10.7.0.9", "10.7.0.2"));
    // It goes, and nothing of it is left.
    machine.host.ip("link del storage")?;
    checks.add("gone", wait_none(&vpp));
    checks.add("VPP's side is gone", wait_vpp(&vpp, "show interface", ".7", false));
    checks.add("the redirect is gone", wait_vpp(&vpp, "show ip punt redirect", ".7", false));
    checks.add("the uplink below goes on", carries(machine, "192.0.2.10", "192.0.2.20"));
    // With the uplink below.
    machine.host.ip("link add link eth0 name eth0.7 type vlan id 7\nlink set eth0.7 up")?;
    checks.add("again", wait_child(&vpp, "eth0.7").map(drop));
    checks.add("home", release(&vpp, "eth0").map(drop));
    checks.add("none is left", wait_none(&vpp));
    checks.finish()
}

fn kinds(machine: &Machine) -> Result<()> {
    let vpp = begin(machine)?;
    // Of VPP's user: used, with its addresses, and kept.
    vpp.ctl("create sub-interfaces host-eth0 8")?;
    vpp.quiet("set interface ip address host-eth0.8 10.8.0.1/24")?;
    for (netns, last) in [(&machine.host, 1), (&machine.peer, 2)] {
        netns.ip(&format!(
            "link add link eth0 name eth0.8 type vlan id 8
             link add link eth0 name eth0.ad type vlan proto 802.1ad id 88
             link set eth0.8 up
             link set eth0.ad up
             addr add 10.88.0.{last}/24 dev eth0.ad
             addr add fd88::{last}/64 dev eth0.ad nodad"
        ))?;
    }
    machine.peer.ip("addr add 10.8.0.2/24 dev eth0.8")?;
    let mut checks = Checks::new();
    checks.add("802.1Q", wait_child(&vpp, "eth0.8").map(drop));
    checks.add("802.1ad", wait_child(&vpp, "eth0.ad").map(drop));
    checks.add("what VPP's user gave it comes to Linux", carries(machine, "10.8.0.1", "10.8.0.2"));
    // VPP's af-packet takes its tags for 802.1Q's: whether it carries is seen with
    // the cards.
    let tagged = wait_vpp(&vpp, "show interface host-eth0.88 addr", "10.88.0.1/24", true);
    checks.add("802.1ad has its address", tagged);
    machine.host.ip("link del eth0.8\nlink del eth0.ad")?;
    checks.add("gone", wait_none(&vpp));
    checks.add("VPP's user's is kept", wait_vpp(&vpp, "show interface", "host-eth0.8 ", true));
    checks.add("ours is not", wait_vpp(&vpp, "show interface", "host-eth0.88", false));
    // One that can have no IP is told, and not touched.
    vpp.quiet("delete sub-interface host-eth0.8")?;
    vpp.ctl("create sub-interfaces host-eth0 9 dot1q 9")?;
    machine.host.ip("link add link eth0 name eth0.9 type vlan id 9")?;
    let told = until("the reason is shown", secs(5), || {
        Ok(children(&vpp)?.first().and_then(|it| it["last_error"].as_str()).map(str::to_owned))
    });
    checks.that("the reason", told.as_ref().is_ok_and(|told| told.contains("exact-match")), &format!("{told:?}"));
    checks.finish()
}

/// The kernel's table of the device is the VRF's: so it is the uplink's own.
fn vrf(machine: &Machine) -> Result<()> {
    machine.host.ip(BEGIN)?;
    // The link-local address comes a moment later.
    machine.settle()?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "cluster-cidr 10.96.0.0/12")?;
    let host = &machine.host;
    let fib = |prefix: &str, part: &str, is_there: bool| {
        wait_vpp(&vpp, &format!("show ip fib table 0 {prefix}"), part, is_there)
    };
    vpp.quiet("ip route add 10.90.0.0/16 via 192.0.2.20 host-eth0")?;
    host.ip("route add 10.70.0.0/16 via 192.0.2.20
         link add vrf1 type vrf table 1010
         link set vrf1 up")?;
    fib("10.70.0.0/16", "192.0.2.20", true)?;
    // The kernel sets the device down and up for that: its routes are gone.
    host.ip("link set eth0 master vrf1
         addr replace 2001:db8:1::10/64 dev eth0 nodad
         route add vrf vrf1 10.71.0.0/16 via 192.0.2.20
         route add 10.72.0.0/16 via 192.0.2.20 dev eth0 table 1011")?;
    let mut checks = Checks::new();
    checks.add("a route of the VRF", fib("10.71.0.0/16", "192.0.2.20", true));
    checks.add("none of main", fib("10.70.0.0/16", "10.70.0.0/16", false));
    checks.add("one of another table", wait_vpp(&vpp, "show ip fib table 1011 10.72.0.0/16", "192.0.2.20", true));
    checks.add("no table of VPP's for the VRF", wait_vpp(&vpp, "show ip fib table 1010", "10.71.0.0", false));
    checks.add("it is told", wait_vpp(&vpp, "show hostnet mirror", "table 1010 is the uplink's own", true));
    let ours = |prefix: &str, table: &str| {
        until(&format!("{prefix} is in table {table}"), secs(5), || {
            let shown = host.output("ip", &["route", "show", prefix, "table", table])?;
            ensure!(shown.contains("proto 118"), "'{shown}'");
            Ok(Some(()))
        })
    };
    checks.add("the cluster's route", ours("10.96.0.0/12", "1010"));
    checks.add("the exported route", ours("10.90.0.0/16", "1010"));
    let ping = |to: &str| {
        let done = host.output("ping", &["-I", "vrf1", "-n", "-c", "3", "-w", "20", to]);
        done.map(drop)
    };
    checks.add("the VRF's programs reach the peer", ping("192.0.2.20"));
    checks.add(
        "the peer reaches the host",
        until("a ping", secs(5), || hostnet_lab::traffic::ping(&machine.peer, "192.0.2.10").map(Some)),
    );
    let said = vpp.session()?.run_within("hostnet audit host-eth0", secs(30))?;
    checks.that("the audit finds nothing", said.contains("are the same"), &said);
    // And out of it.
    host.ip(
        "link set eth0 nomaster\naddr replace 2001:db8:1::10/64 dev eth0 nodad\nroute add 10.70.0.0/16 via 192.0.2.20",
    )?;
    checks.add("main again", fib("10.70.0.0/16", "192.0.2.20", true));
    checks.add("none of the VRF", fib("10.71.0.0/16", "10.71.0.0/16", false));
    checks.add("the cluster's route is back", ours("10.96.0.0/12", "main"));
    checks.add("the exported route is back", ours("10.90.0.0/16", "main"));
    checks.add("carries", carries(machine, "192.0.2.10", "192.0.2.20"));
    checks.finish()
}
