//! Issue "mirror", VPP to Linux: routes that VPP's other sources hold, by
//! source, when asked for.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::machine::Machine;
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::ping;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::mirror_support::{Watched, machine, machine_with, via};
use crate::support::{enable, options, scenario};
use crate::takeover_support::{release, takeover};

pub(crate) fn tests() -> Vec<Trial> {
    let exporting = || machine_with("export API CLI");
    vec![
        takeover("n06_routes_of_vpps_sources_come_to_linux", exporting, |machine| follow(&Watched::begin(machine)?)),
        takeover("n06_exported_routes_do_not_echo", exporting, |machine| echo(&Watched::begin(machine)?)),
        takeover("n06_exported_routes_are_put_back", exporting, |machine| put_back(&Watched::begin(machine)?)),
        takeover("n06_release_takes_exported_routes_away", exporting, away),
        takeover("n06_ten_thousand_routes_of_vpps", exporting, |machine| many(&Watched::begin(machine)?)),
        takeover("n06_without_export_nothing_comes", machine, |machine| nothing(&Watched::begin(machine)?)),
        takeover("n06_unknown_sources_are_refused", || machine_with("export bgp hostnet CLI"), refused),
        scenario("n06_routes_from_before_enable_are_followed", exporting_lab, before),
    ]
}

fn exporting_lab() -> Options {
    let mut options = options();
    options.vpp.extra.push_str("hostnet { mirror { export CLI } }");
    options
}

/// What the host has of our protocol, as `ip route` has it, with the words that
/// are to be looked at.
fn ours(host: &Netns) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for family in ["-4", "-6"] {
        let text = host.output("ip", &["-j", "-d", family, "route", "show", "proto", "118"])?;
        let routes: Vec<Value> = serde_json::from_str(&text).context(text)?;
        for route in routes {
            let mut hops: Vec<String> = match route["nexthops"].as_array() {
                Some(hops) => hops.iter().map(gateway).collect(),
                None => vec![gateway(&route)],
            };
            hops.sort();
            let mtu = route["metrics"][0]["mtu"].as_u64().map_or_else(String::new, |mtu| format!(" mtu {mtu}"));
            let to = route["dst"].as_str().context("no destination")?;
            found.push(format!("{to} {}{mtu}", hops.join(", ")));
        }
    }
    found.sort();
    Ok(found)
}

fn gateway(hop: &Value) -> String {
    let via = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str()).unwrap_or("-");
    format!("{via} {}", hop["dev"].as_str().unwrap_or("-"))
}

fn wait_ours(host: &Netns, wanted: &[&str]) -> Result<()> {
    until("the host has what VPP exports", secs(5), || {
        let found = ours(host)?;
        ensure!(found == wanted, "it has {found:?}, not {wanted:?}");
        Ok(Some(()))
    })
}

/// A pod's interface of VPP's; the routes lead into it.
fn pod(watched: &Watched<'_>) -> Result<()> {
    let vpp = watched.vpp();
    vpp.ctl("loopback create-interface instance 7")?;
    vpp.quiet("set interface state loop7 up")?;
    vpp.quiet("set interface ip address loop7 10.20.0.1/24")?;
    vpp.quiet("set interface ip address loop7 fd00:20::1/64")
}

fn follow(watched: &Watched<'_>) -> Result<()> {
    let (host, vpp, name) = (watched.host, watched.vpp(), &watched.name);
    pod(watched)?;
    vpp.quiet(&format!("ip route add 10.90.0.0/16 via 192.0.2.20 {name}"))?;
    vpp.quiet(&format!("ip route add 2001:db8:90::/48 via {} {name}", addr::PEER6))?;
    vpp.quiet("ip route add 10.244.1.0/24 via 10.20.0.2 loop7")?;
    vpp.quiet("ip route add 2001:db8:91::/48 via fd00:20::2 loop7")?;
    // The MTU of the wire is 1450; the pods' way is through a neighbour.
    wait_ours(
        host,
        &[
            "10.244.1.0/24 192.0.2.1 eth0 mtu 1390",
            "10.90.0.0/16 192.0.2.20 eth0",
            "2001:db8:90::/48 2001:db8:1::20 eth0",
            "2001:db8:91::/48 2001:db8:1::1 eth0 mtu 1390",
        ],
    )?;
    let view = watched.mirror()?;
    ensure!(view["export"]["from_vpp"]["CLI"] == 4 && view["export"]["in_linux"] == 4, "{view:#}");
    watched.audit()?;
    // Another hop; a path beside; another source before it; each gone again.
    vpp.quiet(&format!("ip route add 10.90.0.0/16 via 192.0.2.1 {name}"))?;
    vpp.quiet(&format!("ip route add 2001:db8:90::/48 via fe80::20 {name}"))?;
    let both4 = "10.90.0.0/16 192.0.2.1 eth0, 192.0.2.20 eth0";
    let both6 = "2001:db8:90::/48 2001:db8:1::20 eth0, fe80::20 eth0";
    let pods = ["10.244.1.0/24 192.0.2.1 eth0 mtu 1390", "2001:db8:91::/48 2001:db8:1::1 eth0 mtu 1390"];
    wait_ours(host, &[pods[0], both4, both6, pods[1]])?;
    vpp.quiet(&format!("ip route del 10.90.0.0/16 via 192.0.2.20 {name}"))?;
    vpp.quiet(&format!("ip route del 2001:db8:90::/48 via {} {name}", addr::PEER6))?;
    wait_ours(host, &[pods[0], "10.90.0.0/16 192.0.2.1 eth0", "2001:db8:90::/48 fe80::20 eth0", pods[1]])?;
    // The number of routes stays, what they are does not.
    vpp.all_quiet(&format!("ip route del 10.90.0.0/16\nip route add 10.91.0.0/16 via 192.0.2.1 {name}"))?;
    wait_ours(host, &[pods[0], "10.91.0.0/16 192.0.2.1 eth0", "2001:db8:90::/48 fe80::20 eth0", pods[1]])?;
    vpp.all_quiet("ip route del 10.91.0.0/16\nip route del 2001:db8:90::/48\nip route del 10.244.1.0/24")?;
    wait_ours(host, &[pods[1]])?;
    // An interface that goes takes its routes along.
    vpp.quiet("loopback delete-interface intfc loop7")?;
    wait_ours(host, &[])?;
    // To drop, to VPP itself, to all of a link: none for the host.
    vpp.all_quiet("ip route add 10.95.0.0/16 via drop\nip route add 10.96.0.1/32 via local")?;
    vpp.quiet(&format!("ip route add 10.97.0.0/16 via 192.0.2.20 {name}"))?;
    wait_ours(host, &["10.97.0.0/16 192.0.2.20 eth0"])?;
    watched.audit()
}

fn echo(watched: &Watched<'_>) -> Result<()> {
    let (host, vpp, name) = (watched.host, watched.vpp(), &watched.name);
    watched.linux("route add 10.1.0.0/16 via 192.0.2.20\nroute add 10.2.0.0/16 via 192.0.2.20 metric 50")?;
    watched.wait_at("10.1.0.0/16", Some(&via(&[("192.0.2.20", 1)])?))?;
    let sent = watched.count("/routes/sent")?;
    // Beside the host's own and to places where it has none.
    vpp.quiet(&format!("ip route add 10.1.0.0/16 via 192.0.2.1 {name}"))?;
    vpp.quiet(&format!("ip route add 10.3.0.0/16 via 192.0.2.1 {name}"))?;
    wait_ours(host, &["10.1.0.0/16 192.0.2.1 eth0", "10.3.0.0/16 192.0.2.1 eth0"])?;
    let got = host.output("ip", &["route", "get", "10.1.0.1"])?;
    ensure!(got.contains("via 192.0.2.20"), "the host's own is not the first: {got}");
    watched.audit()?;
    ensure!(watched.count("/routes/sent")? == sent, "something came back to VPP: {:#}", watched.mirror()?);
    // The host takes and gives what it likes.
    watched.linux("route add 10.3.0.0/16 via 192.0.2.20\nroute del 10.1.0.0/16 via 192.0.2.20")?;
    wait_ours(host, &["10.1.0.0/16 192.0.2.1 eth0", "10.3.0.0/16 192.0.2.1 eth0"])?;
    ensure!(watched.count("/export/changes")? == 2, "{:#}", watched.mirror()?);
    watched.audit()
}

fn put_back(watched: &Watched<'_>) -> Result<()> {
    let (host, vpp, name) = (watched.host, watched.vpp(), &watched.name);
    vpp.quiet(&format!("ip route add 10.90.0.0/16 via 192.0.2.20 {name}"))?;
    vpp.quiet(&format!("ip route add 2001:db8:90::/48 via {} {name}", addr::PEER6))?;
    let both = ["10.90.0.0/16 192.0.2.20 eth0", "2001:db8:90::/48 2001:db8:1::20 eth0"];
    wait_ours(host, &both)?;
    host.ip("route flush proto 118")?;
    wait_ours(host, &both)?;
    host.ip_with(&["-6"], "route flush proto 118")?;
    wait_ours(host, &both)?;
    // The kernel drops them without a word; they come back with the link.
    host.ip("link set eth0 down")?;
    until("the routes are gone", secs(5), || Ok(ours(host)?.is_empty().then_some(())))?;
    host.ip("link set eth0 up")?;
    wait_ours(host, &both)?;
    // With its last address the device loses IPv4 altogether.
    host.ip("addr del 192.0.2.10/24 dev eth0")?;
    wait_ours(host, &both)?;
    host.ip("addr add 192.0.2.10/24 dev eth0")?;
    watched.agree()?;
    watched.audit()?;
    wait_ours(host, &both)
}

fn away(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let (vpp, name) = (machine.vpp()?, watched.name.clone());
    vpp.quiet(&format!("ip route add 10.90.0.0/16 via 192.0.2.20 {name}"))?;
    wait_ours(&machine.host, &["10.90.0.0/16 192.0.2.20 eth0"])?;
    release(&vpp, "eth0")?;
    let left = ours(&machine.host)?;
    ensure!(left.is_empty(), "it went home with {left:?}");
    Ok(())
}

fn many(watched: &Watched<'_>) -> Result<()> {
    let (host, vpp, name) = (watched.host, watched.vpp(), &watched.name);
    vpp.ctl(&format!("ip route add 100.64.0.0/32 count 10000 via 192.0.2.20 {name}"))?;
    let count = |wanted: u64| {
        until(&format!("the host has {wanted} routes"), secs(20), || {
            let has = u64::try_from(ours(host)?.len())?;
            ensure!(has == wanted, "it has {has}");
            Ok(Some(()))
        })
    };
    count(10000)?;
    watched.audit()?;
    // Not by the clock: other programs' turns on a busy machine are not ours.
    let longest = watched.count("/longest_slice_cpu_us")?;
    ensure!(longest < 5000, "VPP's main thread stood {longest} us");
    vpp.ctl(&format!("ip route del 100.64.0.0/32 count 9999 via 192.0.2.20 {name}"))?;
    count(1)
}

fn nothing(watched: &Watched<'_>) -> Result<()> {
    let (host, vpp, name) = (watched.host, watched.vpp(), &watched.name);
    vpp.quiet(&format!("ip route add 10.90.0.0/16 via 192.0.2.20 {name}"))?;
    watched.audit()?;
    ensure!(ours(host)?.is_empty() && watched.mirror()?["export"].is_null(), "{:?}", ours(host)?);
    Ok(())
}

fn refused(machine: &Machine) -> Result<()> {
    let said = machine.vpp()?.ctl("hostnet uplink eth0")?;
    let mut checks = Checks::new();
    for part in [
        "export 'bgp': is no source of VPP's routes; write one or more of: ",
        "API, CLI",
        "export 'hostnet': is not of",
    ] {
        checks.that(part, said.contains(part), &said);
    }
    checks.that("what is right is not named", !said.contains("export 'CLI'"), &said);
    checks.finish()
}

/// Without a takeover, routes of VPP's user come to the host at `enable`: those
/// of a source that is exported are followed from there on.
fn before(lab: &Lab) -> Result<()> {
    enable(lab, "host-eth0", "")?;
    let far = until("the default route is there", secs(5), || {
        Ok(ours(&lab.host)?.into_iter().find(|route| route.starts_with("default")))
    })?;
    ensure!(far == "default 192.0.2.1 eth0", "{far}");
    ping(&lab.host, addr::FAR4)?;
    lab.vpp.quiet(&format!("ip route del 0.0.0.0/0 via {} host-eth0", addr::GW4))?;
    until("the default route is gone", secs(5), || {
        Ok((!ours(&lab.host)?.iter().any(|route| route.starts_with("default 192"))).then_some(()))
    })?;
    lab.vpp.quiet(&format!("ip route add 0.0.0.0/0 via {} host-eth0", addr::PEER4))?;
    until("the new one is there", secs(5), || {
        Ok(ours(&lab.host)?.iter().any(|route| route == "default 192.0.2.20 eth0").then_some(()))
    })
}
