//! 4: everything looks as the published page of the design shows it.

use anyhow::{Context as _, Result};
use hostnet_lab::checks::Checks;
use hostnet_lab::topology::{Lab, addr};
use libtest_mimic::Trial;

use crate::support::{Backend, clean_scenario, enable, enable_all, tap_of, view};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario("m04_vpp_looks_as_published", vpp_side),
        clean_scenario("m04_host_looks_as_published", host_side),
        clean_scenario("m04_show_hostnet_tells_it", show_hostnet),
        clean_scenario("m04_options_are_obeyed", obeyed),
        clean_scenario("m04_packet_trace_reads_well", trace),
    ]
}

fn vpp_side(lab: &Lab) -> Result<()> {
    let tap = tap_of(&enable_all(lab)?)?;
    let mac = addr::UPLINK_MAC.replace(':', "");
    let mut checks = Checks::new();
    let mut expect = |command: &str, wanted: &[&str]| -> Result<()> {
        let said = lab.vpp.ctl(command)?;
        for word in wanted {
            checks.that(&format!("'{command}' has '{word}'"), said.contains(word), &said);
        }
        Ok(())
    };
    let next4 = format!("169.254.0.1 {tap}");
    expect("show ip punt redirect", &["rx local0 via:", "attached-nexthop", &next4, &mac])?;
    let next6 = format!("fc00:ffff:ffff:ffff:ca11:c000:fd10:fffe {tap}");
    expect("show ip6 punt redirect", &["rx local0 via:", "attached-nexthop", &next6, &mac])?;
    // VPP leaves a space at the line's end.
    expect("show int addr", &[&format!("{tap} (up): \n  unnumbered, use host-eth0")])?;
    expect("show ip neighbors", &["169.254.0.1", addr::UPLINK_MAC])?;
    checks.finish()
}

fn host_side(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let mut checks = Checks::new();
    let said = lab.host.output("ip", &["-d", "addr", "show", "dev", "eth0"])?;
    for word in [
        "mtu 1500".to_owned(),
        format!("link/ether {}", addr::UPLINK_MAC),
        "tun type tap".to_owned(),
        format!("inet {}/24", addr::HOST4),
        format!("inet6 {}/64 scope global", addr::HOST6),
        // VPP's own on the uplink, of its MAC.
        "inet6 fe80::5eff:fe00:10/64 scope link".to_owned(),
    ] {
        checks.that(&format!("ip addr has '{word}'"), said.contains(&word), &said);
    }
    let said = lab.host.output("ip", &["-4", "addr", "show", "dev", "eth0"])?;
    checks.that("IPv4 of scope global", said.contains("scope global"), &said);
    let addresses = lab.host.output("ip", &["-o", "addr", "show", "dev", "eth0"])?;
    let count = addresses.lines().count();
    checks.that("no address of another's making", count == 3, &addresses);
    let said = lab.host.output("ip", &["-4", "route"])?;
    for route in [
        format!("default via {} dev eth0", addr::GW4),
        format!("192.0.2.0/24 dev eth0 proto kernel scope link src {}", addr::HOST4),
        format!("{} via {} dev eth0", addr::CLUSTER4, addr::GW4),
        format!("{} via {} dev eth0", addr::SERVICES4, addr::GW4),
    ] {
        checks.that(&format!("ip route has '{route}'"), said.contains(&route), &said);
    }
    let reduced = said.lines().filter(|line| line.starts_with("10.")).all(|line| line.contains("mtu 1440"));
    checks.that("reduced MTU on IPv4 cluster routes", reduced, &said);
    let said = lab.host.output("ip", &["-6", "route"])?;
    let cluster6 = said.lines().find(|line| line.starts_with(addr::CLUSTER6)).unwrap_or_default();
    checks.that("reduced MTU on IPv6 cluster routes", cluster6.contains("mtu 1440"), &said);
    checks.that("the cluster's next hop", cluster6.contains(&format!("via {}", addr::GW6)), &said);
    let default6 = format!("default via {} dev eth0", addr::GW6);
    checks.that("IPv6 default route", said.contains(&default6), &said);
    let path = lab.host.output("ip", &["route", "get", addr::POD4])?;
    checks.that("the pod by the cluster route", path.contains("dev eth0"), &path);
    checks.finish()
}

fn show_hostnet(lab: &Lab) -> Result<()> {
    let empty = view(lab)?;
    let mut checks = Checks::new();
    checks.that("no uplink at first", empty["uplinks"].as_array().is_some_and(Vec::is_empty), &empty.to_string());
    let shown = enable_all(lab)?;
    let tap = tap_of(&shown)?;
    let backend = Backend::of_this_run().word();
    checks.that("backend", shown["backend"] == backend, &shown.to_string());
    if backend == "vhost" {
        checks.that("named as VPP names a tap", tap.starts_with("tap"), &tap);
    }
    for (key, value) in [("host_if", "eth0"), ("host_netns", lab.host.name()), ("interface", "host-eth0")] {
        checks.that(key, shown[key] == value, &shown.to_string());
    }
    let steps = shown["steps"].as_array().context("no steps")?;
    let done = steps.iter().all(|step| step["state"] == "done");
    checks.that("every step done", done && !steps.is_empty(), &shown["steps"].to_string());
    hostnet_lab::traffic::ping(&lab.peer, addr::HOST4)?;
    let moved = crate::support::shown(lab, "host-eth0")?.context("gone")?;
    for key in ["to_host_packets", "from_host_packets"] {
        let count = moved[key].as_u64().unwrap_or(0);
        let before = shown[key].as_u64().unwrap_or(0);
        checks.that(&format!("{key} counted"), count >= before + 3, &format!("{before} then {count}"));
    }
    let line = lab.vpp.ctl("show hostnet")?;
    for word in ["host-eth0", &tap, "eth0", lab.host.name(), backend, "enabled", addr::HOST4, addr::HOST6] {
        checks.that(&format!("'show hostnet' has '{word}'"), line.contains(word), &line);
    }
    let only = lab.vpp.ctl("show hostnet host-eth0 verbose")?;
    for word in ["vpp-tap-up", "linux-addresses", "helper"] {
        checks.that(&format!("verbose has '{word}'"), only.contains(word), &only);
    }
    checks.finish()
}

fn obeyed(lab: &Lab) -> Result<()> {
    enable(lab, "host-eth0", &format!("host-if wan0 mtu 1400 cluster-cidr {} cluster-mtu 1300", addr::CLUSTER4))?;
    let mut checks = Checks::new();
    let said = lab.host.output("ip", &["link", "show", "dev", "wan0"])?;
    checks.that("name and MTU", said.contains("mtu 1400"), &said);
    let said = lab.host.output("ip", &["route", "show", addr::CLUSTER4])?;
    checks.that("MTU of the cluster's route", said.contains("mtu 1300"), &said);
    checks.finish()
}

/// The tap's part of a packet trace names the interface and the packet.
fn trace(lab: &Lab) -> Result<()> {
    let tap = tap_of(&enable_all(lab)?)?;
    for node in ["af-packet-input", "hostnet-tap-input", "tap-input"] {
        // Only the running backend has its node; VPP refuses the other.
        let _ = lab.vpp.ctl(&format!("trace add {node} 20"))?;
    }
    hostnet_lab::traffic::ping(&lab.peer, addr::HOST4)?;
    let said = lab.vpp.ctl("show trace max 100")?;
    let mut checks = Checks::new();
    for word in [tap.as_str(), addr::HOST4, "hostnet-punt", "as it came to its host"] {
        checks.that(&format!("the trace has '{word}'"), said.contains(word), &said);
    }
    checks.finish()
}
