//! Issue "mirror", 2: what VPP's own tests of linux-cp check for routes,
//! addresses, links and neighbours, done with our commands; and what
//! linux-cp's source lets one fear.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::machine::Machine;
use hostnet_lab::reference::{self, Act};
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::ping;
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::mirror_support::{Watched, machine, machine_with, via};
use crate::support::{enable_all, options, scenario};
use crate::takeover_support::{take, takeover, with_two};

pub(crate) fn tests() -> Vec<Trial> {
    let two_bare = || hostnet_lab::machine::MachineOptions { bare: true, ..with_two() };
    vec![
        takeover("n02_routes_of_each_kind", machine, |machine| kinds(&Watched::begin(machine)?)),
        takeover("n02_link_state_mtu_and_mac_both_ways", machine, links),
        takeover("n02_the_link_local_address_follows_the_mac", machine, link_local),
        scenario("n02_routes_to_the_cluster_come_back_with_the_link_once", options, |lab| cluster_routes(lab, false)),
        scenario("n02_routes_to_the_cluster_come_back_unheard", small_buffer, |lab| cluster_routes(lab, true)),
        takeover("n02_addresses_both_ways", machine, addresses),
        takeover("n02_an_address_in_a_network_that_had_a_route", machine, routed_before),
        takeover("n02_the_helper_leaves_vpps_processor_alone", machine, processors),
        takeover("n02_neighbours", machine, |machine| neighbours(&Watched::begin(machine)?)),
        takeover("n02_metrics_beyond_a_byte", machine, |machine| metrics(&Watched::begin(machine)?)),
        takeover("n02_one_of_several_ip6_hops_is_deleted", machine, |machine| ip6_delete(&Watched::begin(machine)?)),
        takeover("n02_a_gateway_on_two_devices_is_not_halved", machine, |machine| halved(&Watched::begin(machine)?)),
        takeover("n02_two_namespaces_with_one_index", two_bare, two_uplinks),
        takeover("n02_a_resync_leaves_alone_what_is_right", || machine_with("receive-buffer 4096"), resync),
        takeover("n02_the_receive_buffer_is_not_capped", || machine_with("receive-buffer 33554432"), buffer),
        takeover("n02_what_vpp_has_of_others_stays", machine, |machine| others(&Watched::begin(machine)?)),
        takeover("n02_what_a_hand_took_from_vpp_an_audit_puts_back", machine, |machine| {
            audit(&Watched::begin(machine)?)
        }),
    ]
}

fn kinds(watched: &Watched<'_>) -> Result<()> {
    let gateway = |to: &str| via(&[(to, 1)]);
    for (prefix, to) in [("10.1.0.0/16", addr::PEER4), ("2001:db8:a1::/48", addr::PEER6)] {
        watched.linux(&format!("route add {prefix} via {to} dev eth0 metric 9"))?;
        watched.wait_at(prefix, Some(&gateway(to)?))?;
        watched.linux(&format!("route replace {prefix} dev eth0 metric 9"))?;
        watched.wait_at(prefix, Some(&gateway("-")?))?;
        watched.linux(&format!(
            "route replace {prefix} metric 9 nexthop via {to} dev eth0 nexthop via {}",
            if to == addr::PEER4 { "192.0.2.1 dev eth0 weight 3" } else { "fe80::20 dev eth0 weight 3" }
        ))?;
        let second = if to == addr::PEER4 { "192.0.2.1" } else { "fe80::20" };
        watched.wait_at(prefix, Some(&via(&[(to, 1), (second, 3)])?))?;
        for (kind, act) in
            [("blackhole", Act::Blackhole), ("unreachable", Act::Unreachable), ("prohibit", Act::Prohibit)]
        {
            watched.linux(&format!("route replace {kind} {prefix} metric 3"))?;
            watched.wait_at(prefix, Some(&act)).context(kind)?;
            watched.linux(&format!("route del {prefix} metric 3"))?;
            // The one behind it comes back.
            watched.wait_at(prefix, Some(&via(&[(to, 1), (second, 3)])?)).context(kind)?;
        }
        watched.linux(&format!("route del {prefix} metric 9"))?;
        watched.wait_at(prefix, None)?;
        // A table of the kernel's is a table of VPP's.
        watched.linux(&format!("route add {prefix} via {to} dev eth0 table 77"))?;
        watched.wait_in(77, prefix, Some(&gateway(to)?))?;
        watched.linux(&format!("route del {prefix} table 77"))?;
        watched.wait_in(77, prefix, None)?;
    }
    // A gateway of the other family; one that no route leads to.
    watched.linux("route add 10.2.0.0/16 via inet6 fe80::20 dev eth0")?;
    watched.wait_at("10.2.0.0/16", Some(&gateway("fe80::20")?))?;
    watched.linux("route add 10.3.0.0/16 via 198.51.100.9 dev eth0 onlink")?;
    watched.wait_at("10.3.0.0/16", Some(&gateway("198.51.100.9")?))?;
    // Objects: what an object becomes, its routes become; with it they go.
    watched.linux(
        "nexthop add id 41 via 192.0.2.20 dev eth0
         nexthop add id 42 via 192.0.2.1 dev eth0
         nexthop add id 43 group 41/42,3
         route add 10.4.0.0/16 nhid 41
         route add 10.5.0.0/16 nhid 43",
    )?;
    watched.wait_at("10.5.0.0/16", Some(&via(&[("192.0.2.20", 1), ("192.0.2.1", 3)])?))?;
    watched.linux("nexthop replace id 41 via 192.0.2.30 dev eth0")?;
    watched.wait_at("10.4.0.0/16", Some(&gateway("192.0.2.30")?))?;
    watched.wait_at("10.5.0.0/16", Some(&via(&[("192.0.2.30", 1), ("192.0.2.1", 3)])?))?;
    watched.linux("nexthop del id 41")?;
    watched.wait_at("10.4.0.0/16", None)?;
    watched.wait_at("10.5.0.0/16", Some(&gateway("192.0.2.1")?))?;
    watched.linux("nexthop del id 42")?;
    watched.wait_at("10.5.0.0/16", None)?;
    watched.audit()
}

/// What both sides say of a value, each in its own way.
fn links(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let vpp = machine.vpp()?;
    let name = watched.name.clone();
    watched.linux("route add 10.1.0.0/16 via 192.0.2.20")?;
    watched.linux("link set eth0 mtu 1400")?;
    watched.linux("link set eth0 address 02:00:5e:00:01:10")?;
    until("it works under another MAC", secs(10), || ping(&machine.host, addr::PEER4).map(Some))?;
    // Down takes the routes along, on both sides.
    watched.linux("link set eth0 down")?;
    watched.wait_at("10.1.0.0/16", None)?;
    watched
        .linux("link set eth0 up\nroute add 10.1.0.0/16 via 192.0.2.20\naddr add 2001:db8:1::10/64 dev eth0 nodad")?;
    watched.wait_at("10.1.0.0/16", Some(&via(&[("192.0.2.20", 1)])?))?;
    until("it works after down and up", secs(10), || ping(&machine.host, addr::PEER4).map(Some))?;

    let host = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        until(what, secs(5), || {
            let shown: Value = serde_json::from_str(&machine.host.output("ip", &["-j", "link", "show", "eth0"])?)?;
            ensure!(holds(&shown[0]), "{shown:#}");
            Ok(Some(()))
        })
    };
    vpp.quiet(&format!("set interface mtu packet 1350 {name}"))?;
    host("the MTU comes to the host", &|shown| shown["mtu"] == 1350)?;
    vpp.quiet(&format!("set interface mac address {name} 02:00:5e:00:02:10"))?;
    host("the MAC comes to the host", &|shown| shown["address"] == "02:00:5e:00:02:10")?;
    watched.agree()?;
    // Set down on VPP's side: a card without carrier, whose routes stay.
    let carrier =
        |shown: &Value| shown["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "LOWER_UP"));
    vpp.quiet(&format!("set interface state {name} down"))?;
    host("the carrier goes", &|shown| !carrier(shown))?;
    vpp.quiet(&format!("set interface state {name} up"))?;
    host("the carrier is back", &carrier)?;
    watched.agree()?;
    watched.wait_at("10.1.0.0/16", Some(&via(&[("192.0.2.20", 1)])?))?;
    until("it works", secs(10), || ping(&machine.host, addr::PEER6).map(Some))?;
    watched.audit()
}

/// With another MAC Linux has another link-local address once it is up anew;
/// so has VPP, whether it heard of each step or of their end.
fn link_local(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let vpp = machine.vpp()?;
    let steps = [
        ("02:00:5e:00:01:10", "fe80::5eff:fe00:110", false),
        ("02:00:5e:00:02:10", "fe80::5eff:fe00:210", true),
        (addr::UPLINK_MAC, "fe80::5eff:fe00:10", false),
    ];
    for (mac, link_local, stopped) in steps {
        if stopped {
            vpp.signal(Signal::SIGSTOP)?;
        }
        let done = machine.host.ip(&format!("link set eth0 address {mac}\nlink set eth0 down\nlink set eth0 up"));
        vpp.signal(Signal::SIGCONT)?;
        done?;
        let wanted: IpAddr = link_local.parse()?;
        until(&format!("{link_local} is the one of both"), secs(10), || {
            let side = reference::link(&machine.host, "eth0")?;
            ensure!(side.link_local.iter().eq([&wanted]), "Linux: {side:?}");
            Ok(Some(()))
        })?;
        watched.agree().with_context(|| link_local.to_owned())?;
    }
    watched.audit()
}

fn small_buffer() -> Options {
    let mut options = options();
    options.vpp.extra.push_str("hostnet { mirror { receive-buffer 4096 } }");
    options
}

/// Down takes our own routes along; up brings them back as they were, whether
/// the helper heard of each, of both at once, or the kernel had no room to tell.
fn cluster_routes(lab: &Lab, unheard: bool) -> Result<()> {
    let shown = enable_all(lab)?;
    let watched = Watched::enabled(lab, &shown)?;
    let device = &watched.uplink.device;
    let ours = || -> Result<Vec<String>> {
        let shown = |family: &str| lab.host.output("ip", &[family, "route", "show", "proto", "118"]);
        let mut lines: Vec<String> = [shown("-4")?, shown("-6")?].concat().lines().map(str::to_owned).collect();
        lines.sort();
        Ok(lines)
    };
    let before = ours()?;
    ensure!(before.iter().filter(|line| line.contains(addr::CLUSTER4) || line.contains(addr::CLUSTER6)).count() == 2);
    lab.host.sysctl(&[("ipv6/conf/all/keep_addr_on_down", "1")])?;
    for at_once in [false, true] {
        if at_once {
            lab.vpp.signal(Signal::SIGSTOP)?;
        }
        if unheard && at_once {
            lab.host.ip(&format!("link set {device} alias none\n").repeat(30))?;
        }
        let down = lab.host.ip(&format!("link set {device} down"));
        if !at_once {
            until("they are gone", secs(5), || Ok(ours()?.is_empty().then_some(())))?;
            // What follows is not heard together with it.
            watched.agree()?;
        }
        let up = lab.host.ip(&format!("link set {device} up"));
        lab.vpp.signal(Signal::SIGCONT)?;
        down.and(up)?;
        let back = || {
            let now = ours()?;
            ensure!(now == before, "{now:#?}, before {before:#?}");
            Ok(Some(()))
        };
        until("they are back", secs(10), back).with_context(|| format!("at once: {at_once}"))?;
        watched.agree()?;
        back().with_context(|| format!("later, at once: {at_once}"))?;
    }
    let overflows = watched.count("/overflows")?;
    ensure!((overflows > 0) == unheard, "{overflows} overflows");
    Ok(())
}

/// VPP asks the link in the name of the address, whichever came first.
fn routed_before(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let vpp = machine.vpp()?;
    machine.peer.ip("addr add 10.7.0.2/24 dev eth0\naddr add 2001:db8:7::2/64 dev eth0 nodad")?;
    // Nobody is known from before.
    let reaches = |peer: &str| {
        vpp.quiet(&format!("ip neighbor flush {} {peer} 02:00:5e:00:00:20", watched.name))?;
        until(&format!("the host reaches {peer}"), secs(5), || ping(&machine.host, peer).map(Some))
    };
    for (prefix, peer, first, second) in [
        ("10.7.0.0/24", "10.7.0.2", "10.7.0.1/24", "10.7.0.9/24"),
        ("2001:db8:7::/64", "2001:db8:7::2", "2001:db8:7::1/64 nodad", "2001:db8:7::9/64 nodad"),
    ] {
        watched.linux(&format!("route add {prefix} dev eth0 metric 9"))?;
        watched.linux(&format!("addr add {first} dev eth0"))?;
        reaches(peer).context("the route came first")?;
        // The route outlives the address.
        watched.linux(&format!("addr del {} dev eth0", first.trim_end_matches(" nodad")))?;
        watched.linux(&format!("addr add {second} dev eth0"))?;
        reaches(peer).context("another address")?;
        let name = &watched.name;
        vpp.quiet(&format!("set interface state {name} down"))?;
        vpp.quiet(&format!("set interface state {name} up"))?;
        watched.agree()?;
        machine.host.ip(&format!("addr replace {second} dev eth0"))?;
        reaches(peer).context("down and up")?;
    }
    watched.audit()
}

/// VPP pins its main thread, and a thread begins as its maker.
fn processors(machine: &Machine) -> Result<()> {
    Watched::begin(machine)?;
    let vpp = machine.vpp()?;
    let allowed = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.map(|list| list.trim().to_owned()).context("no Cpus_allowed_list")
    };
    let ours = allowed(&std::fs::read_to_string("/proc/self/status")?)?;
    let tasks = format!("/proc/{}/task", vpp.pid());
    let mains = allowed(&std::fs::read_to_string(format!("{tasks}/{}/status", vpp.pid()))?)?;
    for task in std::fs::read_dir(&tasks)? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        if status.starts_with("Name:\thostnet-helper") {
            let helpers = allowed(&status)?;
            // It may be the only one there is.
            ensure!(helpers != mains || ours == mains, "it runs on {helpers}, VPP's main thread on {mains}");
            return Ok(());
        }
    }
    anyhow::bail!("VPP has no thread hostnet-helper")
}

fn addresses(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let vpp = machine.vpp()?;
    let name = watched.name.clone();
    let has = |who: &str, address: &str, wanted: bool| {
        let (addr, len) = address.split_once('/').unwrap_or((address, ""));
        let key = (addr.parse()?, len.parse()?);
        until(&format!("{who}: {address} is {wanted}"), secs(5), || {
            let side = reference::link(&machine.host, "eth0")?;
            ensure!(side.addresses.contains(&key) == wanted, "{side:?}");
            Ok(Some(()))
        })
    };
    for (address, nodad) in [("192.0.2.30/24", ""), ("10.20.0.1/24", ""), ("2001:db8:9::1/64", "nodad")] {
        watched.linux(&format!("addr add {address} dev eth0 {nodad}")).context(address)?;
        watched.linux(&format!("addr del {address} dev eth0")).context(address)?;
        vpp.quiet(&format!("set interface ip address {name} {address}"))?;
        has("from VPP", address, true)?;
        watched.agree().context(address)?;
        vpp.quiet(&format!("set interface ip address del {name} {address}"))?;
        has("from VPP", address, false)?;
        watched.agree().context(address)?;
        // Who takes it back need not be who gave it.
        watched.linux(&format!("addr add {address} dev eth0 {nodad}"))?;
        vpp.quiet(&format!("set interface ip address del {name} {address}"))?;
        has("added by Linux, deleted by VPP", address, false)?;
        watched.agree().context(address)?;
    }
    // One of several of a network goes: who is on it stays known, nothing is lost.
    for (address, peer) in [("192.0.2.30/24", addr::PEER4), ("2001:db8:1::30/64", addr::PEER6)] {
        until("VPP knows the peer", secs(10), || ping(&machine.host, peer).map(Some))?;
        watched.linux(&format!("addr add {address} dev eth0"))?;
        watched.linux(&format!("addr del {address} dev eth0"))?;
        ping(&machine.host, peer).context("an address of the same network is gone")?;
    }
    // An address within another's network.
    watched.linux("addr add 192.0.2.77/32 dev eth0")?;
    // The first one changes: the host's own, and the tap's in VPP.
    watched.linux("addr add 192.0.2.66/24 dev eth0\naddr del 192.0.2.10/24 dev eth0")?;
    machine.host.ip("addr replace 192.0.2.66/24 dev eth0")?;
    watched.agree()?;
    until("the peer reaches the new one", secs(10), || ping(&machine.peer, "192.0.2.66").map(Some))?;
    watched.linux("addr flush dev eth0 scope global")?;
    watched.linux("addr add 192.0.2.10/24 dev eth0\naddr add 2001:db8:1::10/64 dev eth0 nodad")?;
    for (host, peer) in [(addr::HOST4, addr::PEER4), (addr::HOST6, addr::PEER6)] {
        until("all gone and back, it works", secs(10), || ping(&machine.peer, host).map(Some))?;
        until("all gone and back, it works", secs(10), || ping(&machine.host, peer).map(Some))?;
    }
    watched.audit()
}

fn neighbours(watched: &Watched<'_>) -> Result<()> {
    for neighbour in ["192.0.2.200", "2001:db8:1::200"] {
        watched.linux(&format!("neigh add {neighbour} lladdr 02:00:5e:00:00:c8 dev eth0 nud permanent"))?;
        watched.linux(&format!("neigh change {neighbour} lladdr 02:00:5e:00:00:c9 dev eth0 nud permanent"))?;
        // What was learned is VPP's own business.
        watched.linux(&format!("neigh change {neighbour} lladdr 02:00:5e:00:00:c9 dev eth0 nud reachable"))?;
        watched.linux(&format!("neigh change {neighbour} lladdr 02:00:5e:00:00:ca dev eth0 nud permanent"))?;
        watched.linux(&format!("neigh del {neighbour} dev eth0"))?;
    }
    watched.audit()
}

/// linux-cp has a byte for a metric: 256, 512 and 1024 are 0 there.
fn metrics(watched: &Watched<'_>) -> Result<()> {
    for (prefix, better, worse) in
        [("10.1.0.0/16", "192.0.2.20", "192.0.2.21"), ("2001:db8:a1::/48", "2001:db8:1::20", "2001:db8:1::21")]
    {
        for (low, high) in [(100, 512), (100, 600), (255, 256), (1023, 1024), (70_000, 4_000_000_000_u32)] {
            watched.linux(&format!(
                "route add {prefix} via {worse} dev eth0 metric {high}
                 route add {prefix} via {better} dev eth0 metric {low}"
            ))?;
            watched.wait_at(prefix, Some(&via(&[(better, 1)])?))?;
            watched.linux(&format!("route del {prefix} metric {low}"))?;
            watched.wait_at(prefix, Some(&via(&[(worse, 1)])?))?;
            watched.linux(&format!("route del {prefix} metric {high}"))?;
            watched.wait_at(prefix, None)?;
        }
    }
    // What is better by another device is not VPP's.
    watched.linux(
        "route add 10.2.0.0/16 via 192.0.2.20 dev eth0 metric 600
         route add 10.2.0.0/16 via 203.0.113.254 dev other metric 256",
    )?;
    watched.wait_at("10.2.0.0/16", None)?;
    watched.linux("route del 10.2.0.0/16 metric 256")?;
    watched.wait_at("10.2.0.0/16", Some(&via(&[("192.0.2.20", 1)])?))
}

/// linux-cp deletes the whole prefix, whatever hop is named.
fn ip6_delete(watched: &Watched<'_>) -> Result<()> {
    for prefix in ["::/0", "2001:db8:a1::/48"] {
        let (one, two) = ("2001:db8:1::20", "fe80::21");
        watched.linux(&format!(
            "route add {prefix} via {one} dev eth0 metric 20
             route append {prefix} via {two} dev eth0 metric 20
             route append {prefix} via 2001:db8:1::22 dev eth0 metric 20
             route add {prefix} via 2001:db8:1::23 dev eth0 metric 600"
        ))?;
        watched.wait_at(prefix, Some(&via(&[(one, 1), (two, 1), ("2001:db8:1::22", 1)])?))?;
        watched.linux(&format!("route del {prefix} via {two} dev eth0 metric 20"))?;
        watched.wait_at(prefix, Some(&via(&[(one, 1), ("2001:db8:1::22", 1)])?))?;
        watched.linux(&format!("route del {prefix} via 2001:db8:1::22 dev eth0 metric 20"))?;
        watched.wait_at(prefix, Some(&via(&[(one, 1)])?))?;
        watched.linux(&format!("route del {prefix} via {one} dev eth0 metric 20"))?;
        watched.wait_at(prefix, Some(&via(&[("2001:db8:1::23", 1)])?))?;
    }
    Ok(())
}

/// linux-cp puts the hops on its own devices in, and all traffic goes there.
fn halved(watched: &Watched<'_>) -> Result<()> {
    for (prefix, ours, others) in
        [("10.1.0.0/16", "192.0.2.20", "203.0.113.254"), ("2001:db8:a1::/48", "2001:db8:1::20", "2001:db8:77::2")]
    {
        watched.linux(&format!("route add {prefix} nexthop via {ours} dev eth0 nexthop via {others} dev other"))?;
        watched.wait_at(prefix, None)?;
        let told = watched.count("/routes/not_mirrored/partly-other-device")?;
        ensure!(told == 1, "{:#}", watched.mirror()?);
        watched.linux(&format!("route replace {prefix} via {ours} dev eth0"))?;
        watched.wait_at(prefix, Some(&via(&[(ours, 1)])?))?;
        watched.linux(&format!("route replace {prefix} via {others} dev other"))?;
        watched.wait_at(prefix, None)?;
        watched.linux(&format!("route del {prefix}"))?;
    }
    Ok(())
}

/// Each device's number is the kernel's own in its namespace: the same number
/// elsewhere is somebody else.
fn two_uplinks(machine: &Machine) -> Result<()> {
    let first = Watched::begin(machine)?;
    machine.host.ip("link set eth1 up\naddr add 203.0.113.10/25 dev eth1")?;
    let vpp = machine.vpp()?;
    let shown = take(&vpp, "eth1", "")?;
    let second = Watched::taken(machine, &shown)?;
    machine.host.ip("route add 10.1.0.0/16 via 192.0.2.20\nroute add 10.2.0.0/16 via 203.0.113.20")?;
    // Both have their routes in one table: each is compared by its own part.
    let part = |watched: &Watched<'_>, prefix: &str, to: &str| watched.wait_at(prefix, Some(&via(&[(to, 1)])?));
    part(&first, "10.1.0.0/16", "192.0.2.20")?;
    part(&second, "10.2.0.0/16", "203.0.113.20")?;
    // The best one of two devices.
    machine.host.ip("route add 10.3.0.0/16 via 203.0.113.20 metric 10
         route add 10.3.0.0/16 via 192.0.2.20 metric 20")?;
    part(&second, "10.3.0.0/16", "203.0.113.20")?;
    machine.host.ip("route del 10.3.0.0/16 metric 10")?;
    part(&first, "10.3.0.0/16", "192.0.2.20")?;
    // One goes home; the other's stay, and go on.
    crate::takeover_support::release(&vpp, "eth1")?;
    machine.host.ip("route add 10.4.0.0/16 via 192.0.2.20")?;
    first.agree()?;
    part(&first, "10.4.0.0/16", "192.0.2.20")
}

/// linux-cp's resync takes away what only VPP has, and forgets what went
/// meanwhile.
fn resync(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let vpp = machine.vpp()?;
    let lines = |verb: &str| {
        (0..200).map(|n| format!("route {verb} 10.1.{n}.0/24 via 192.0.2.20")).collect::<Vec<_>>().join("\n")
    };
    watched.linux(&lines("add"))?;
    vpp.quiet(&format!("set interface ip address {} 10.200.0.1/24", watched.name))?;
    vpp.quiet(&format!("ip route add 10.99.0.0/16 via 192.0.2.20 {}", watched.name))?;
    watched.agree()?;
    let sent = watched.count("/routes/sent")?;
    vpp.signal(Signal::SIGSTOP)?;
    let last = "route del 10.1.7.0/24\nroute add 10.2.0.0/16 via 192.0.2.20";
    // The kernel tells of each, and VPP has nothing to do with any.
    let others =
        |verb: &str| (0..200).map(|n| format!("route {verb} 10.3.{n}.0/24 dev other")).collect::<Vec<_>>().join("\n");
    let done = machine.host.ip(&format!("{}\n{}\n{last}", others("add"), others("del")));
    vpp.signal(Signal::SIGCONT)?;
    done?;
    watched.wait_at("10.2.0.0/16", Some(&via(&[("192.0.2.20", 1)])?))?;
    watched.agree()?;
    ensure!(watched.count("/overflows")? > 0, "{:#}", watched.mirror()?);
    // One went, one came; the rest was right.
    let sent = watched.count("/routes/sent")? - sent;
    ensure!(sent == 2, "{sent} changes were sent to VPP");
    let side = reference::link(&machine.host, "eth0")?;
    ensure!(side.addresses.contains(&("10.200.0.1".parse()?, 24)), "the address of VPP's is gone: {side:?}");
    let cli = watched.fib()?;
    let there = cli.others.contains_key(&(watched.uplink.own[0], "10.99.0.0".parse()?, 16));
    ensure!(there, "the route of VPP's own is gone");
    watched.audit()
}

/// `SO_RCVBUF` is cut to `net.core.rmem_max` without a word.
fn buffer(machine: &Machine) -> Result<()> {
    let watched = Watched::begin(machine)?;
    let has = watched.count("/receive_buffer")?;
    // The kernel counts its own bookkeeping too: the double.
    ensure!(has == 2 * 33_554_432, "{has}");
    Ok(())
}

/// Routes of VPP's other sources stand before ours, and nobody takes them.
fn others(watched: &Watched<'_>) -> Result<()> {
    let name = &watched.name;
    let at = (watched.uplink.own[0], "10.1.0.0".parse()?, 16);
    watched.vpp().quiet(&format!("ip route add 10.1.0.0/16 via 192.0.2.99 {name}"))?;
    watched.linux("route add 10.1.0.0/16 via 192.0.2.20")?;
    let shown = |wanted: bool| -> Result<()> {
        let fib = watched.fib()?;
        ensure!(fib.others.contains_key(&at) == wanted, "{:?} {:?}", fib.others.get(&at), fib.ours.get(&at));
        Ok(())
    };
    shown(true)?;
    watched.audit()?;
    watched.linux("route del 10.1.0.0/16")?;
    shown(true)?;
    watched.linux("route add 10.1.0.0/16 via 192.0.2.20")?;
    watched.vpp().quiet("ip route del 10.1.0.0/16")?;
    shown(false)?;
    watched.wait_at("10.1.0.0/16", Some(&via(&[("192.0.2.20", 1)])?))?;
    // A hand that does not know whose it is cannot take ours.
    let _ = watched.vpp().ctl(&format!("ip route del 10.1.0.0/16 via 192.0.2.20 {name}"))?;
    watched.wait_at("10.1.0.0/16", Some(&via(&[("192.0.2.20", 1)])?))
}

fn audit(watched: &Watched<'_>) -> Result<()> {
    watched.linux(
        "route add 10.1.0.0/16 via 192.0.2.20
         route add 10.2.0.0/16 via 192.0.2.20 table 77
         neigh add 192.0.2.200 lladdr 02:00:5e:00:00:c8 dev eth0 nud permanent",
    )?;
    watched.audit()?;
    let name = &watched.name;
    let mut checks = Checks::new();
    // Nobody tells of a neighbour that somebody removes.
    watched.vpp().ctl(&format!("set ip neighbor del {name} 192.0.2.200 02:00:5e:00:00:c8 static"))?;
    let said = watched.vpp().ctl(&format!("hostnet audit {name}"))?;
    checks.that("the neighbour is found and put back", said.contains("1 difference found"), &said);
    checks.add("the neighbour is back", watched.agree());
    checks.add("the second audit finds nothing", watched.audit());
    checks.finish()
}
