//! Issue "takeover", 1: what VPP takes comes home whole, and meanwhile nobody
//! on the host sees a difference.

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::linux_view::{Exactness, LinuxView};
use hostnet_lab::machine::Machine;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{addr, dress_pod};
use hostnet_lab::traffic::{ping, tcp};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::support::plain;
use crate::takeover_support::{
    await_taken, bare, is_home, machine, refused, release, same, seen, take, taken, takeover, uplink_command, with_two,
    with_workers,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        takeover("t01_taken_and_released_by_command", machine, by_command),
        takeover("t01_taken_and_released_with_two_workers", with_workers, by_command),
        takeover("t01_taken_by_stanza_home_by_disable_and_by_exit", stanza, by_stanza),
        takeover("t01_taken_by_stanza_with_two_workers", || with(stanza(), 2), by_stanza),
        takeover("t01_a_vlan", machine, vlan).with_ignored_flag(!knows_vlans()),
        takeover("t01_kept_for_the_users_own_commands", own_commands, kept),
        takeover("t01_what_changed_meanwhile_comes_home", machine, changes),
        takeover("t01_two_uplinks_at_once", with_two, two),
        takeover("t01_routes_of_each_kind_in_vpp", machine, routes),
        takeover("t01_pods_reach_a_taken_host", machine, pods),
        takeover("t01_a_device_of_the_same_number_is_untouched", machine, same_number),
        takeover("t01_unfinished_checksums_and_long_segments", machine, offloads),
        takeover("t01_dry_run_changes_nothing", machine, dry_run),
        takeover("t01_refusals", machine, refusals),
        plain("t01_a_wrong_stanza_is_refused_with_words", wrong_stanza),
    ]
}

fn with(mut options: hostnet_lab::machine::MachineOptions, workers: u32) -> hostnet_lab::machine::MachineOptions {
    options.vpp.workers = workers;
    options
}

/// VPP takes the NIC at its start; it is started by the test.
fn stanza() -> hostnet_lab::machine::MachineOptions {
    let tap = crate::support::Backend::of_this_run().word();
    let mut options = machine();
    options.stanza = format!("uplink eth0 {{ driver auto tap {tap} }}");
    options.start = false;
    options
}

fn works(machine: &Machine) -> Result<()> {
    let mut checks = Checks::new();
    for (peer, host) in [(addr::PEER4, addr::HOST4), (addr::PEER6, addr::HOST6)] {
        checks.add("host to peer", ping(&machine.host, peer));
        checks.add("peer to host", ping(&machine.peer, host));
        checks.add("TCP to peer", tcp(&machine.host, &machine.peer, peer, host, 300_000));
        checks.add("TCP to host", tcp(&machine.peer, &machine.host, host, peer, 300_000));
    }
    checks.finish()
}

fn by_command(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    let namespace = || std::fs::read_link(format!("/proc/{0}/task/{0}/ns/net", vpp.pid()));
    let home = namespace()?;
    let before = seen(machine)?;
    for round in 0..2 {
        let shown = take(&vpp, "eth0", "").with_context(|| format!("round {round}"))?;
        ensure!(shown["takeover"]["driver"] == "af-packet", "{shown:#}");
        ensure!(namespace()? == home, "VPP's main thread is not home");
        same(machine, &before, Exactness::Programs).context("as programs see it while it is taken")?;
        let link = machine.host.output("ip", &["-d", "link", "show", "eth0"])?;
        ensure!(link.contains(" tun "), "the host's device is no tap: {link}");
        works(machine)?;
        let again = vpp.ctl(&uplink_command("eth0", ""))?;
        ensure!(again.contains("is enabled already"), "taken twice: '{}'", again.trim());
        release(&vpp, "eth0")?;
        ensure!(namespace()? == home, "VPP's main thread is not home");
        is_home(machine, &before).context("after release")?;
        ping(&machine.host, addr::PEER4)?;
        ping(&machine.peer, addr::HOST6)?;
    }
    vpp.alive()
}

fn by_stanza(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    let vpp = machine.start()?;
    let shown = await_taken(&vpp, "eth0")?;
    same(machine, &before, Exactness::Programs)?;
    works(machine)?;
    let name = shown["interface"].as_str().context("no name")?;
    let said = vpp.ctl(&format!("hostnet disable {name}"))?;
    ensure!(said.contains("is home again"), "disable said '{}'", said.trim());
    is_home(machine, &before).context("after disable")?;
    take(&vpp, "eth0", "")?;
    vpp.stop()?;
    is_home(machine, &before).context("after SIGTERM")?;
    // The next one takes it anew.
    let vpp = machine.start()?;
    await_taken(&vpp, "eth0")?;
    same(machine, &before, Exactness::Programs)?;
    vpp.signal(Signal::SIGTERM)?;
    until("VPP has ended", secs(20), || Ok(vpp.ended_well()?.then_some(())))?;
    is_home(machine, &before).context("after the second SIGTERM")
}

/// Whether this kernel has VLANs, and shows it.
pub(crate) fn knows_vlans() -> bool {
    std::path::Path::new("/proc/net/vlan").exists()
}

fn vlan(machine: &Machine) -> Result<()> {
    machine.peer.ip("link add link eth0 name eth0.7 type vlan id 7
         link set eth0.7 up
         addr add 203.0.113.20/24 dev eth0.7
         addr add 2001:db8:7::20/64 dev eth0.7 nodad")?;
    machine.host.ip("link add link eth0 name eth0.7 type vlan id 7
         link set eth0.7 up
         addr add 203.0.113.10/25 dev eth0.7
         addr add 2001:db8:7::10/64 dev eth0.7 nodad
         route add 10.90.0.0/16 via 203.0.113.20 dev eth0.7 metric 600
         route add 10.90.0.0/16 via 203.0.113.21 dev eth0.7 metric 100 table 90
         rule add iif eth0.7 lookup 90 pref 1100")?;
    machine.settle()?;
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    for _ in 0..2 {
        let shown = take(&vpp, "eth0.7", "")?;
        same(machine, &before, Exactness::Programs)?;
        // VPP's own commands can name it.
        ensure!(shown["interface"] == "host-eth0-7", "{shown:#}");
        vpp.quiet("set interface state host-eth0-7 up")?;
        for (peer, host) in [("203.0.113.20", "203.0.113.10"), ("2001:db8:7::20", "2001:db8:7::10")] {
            // VPP drops what comes before it knows a neighbour.
            until("VPP has learned its neighbour", secs(5), || ping(&machine.host, peer).map(Some))?;
            tcp(&machine.peer, &machine.host, host, peer, 100_000)?;
        }
        // The parent stays with Linux, and works.
        ping(&machine.host, addr::PEER4)?;
        release(&vpp, "eth0.7")?;
        is_home(machine, &before)?;
    }
    ping(&machine.host, "203.0.113.20")
}

/// The user's own commands will give the NIC to VPP.
fn own_commands() -> hostnet_lab::machine::MachineOptions {
    hostnet_lab::machine::MachineOptions { stanza: "uplink eth0 { driver none }".to_owned(), start: false, ..bare() }
}

/// What Linux had at VPP's start is found again when the interface is enabled,
/// whatever has become of the NIC in Linux until then.
fn kept(machine: &Machine) -> Result<()> {
    machine.host.ip(&format!(
        "link property add dev eth0 altname the-hosts-first
         link set eth0 up
         addr add {h4}/24 dev eth0
         addr add {h6}/64 dev eth0 nodad
         route add default via {p4} dev eth0 metric 100
         route add 10.50.0.0/16 via {p4} dev eth0 table 77",
        h4 = addr::HOST4,
        h6 = addr::HOST6,
        p4 = addr::PEER4,
    ))?;
    machine.settle()?;
    let before = seen(machine)?;
    let vpp = machine.start()?;
    let journal = vpp.ctl("show hostnet journal")?;
    ensure!(journal.contains("eth0: kept"), "{journal}");
    give_away(machine)?;
    vpp.ctl(&format!("create host-interface name phys0 hw-addr {}", addr::UPLINK_MAC))?;
    let tap = crate::support::Backend::of_this_run().word();
    for round in 0..2 {
        let said = vpp.ctl(&format!("hostnet enable host-phys0 tap {tap}"))?;
        ensure!(said.contains("host device eth0"), "round {round}: '{}'", said.trim());
        // The NIC itself is still to be seen, under its other name.
        let routes = |view: &LinuxView| ["routes4", "routes6"].map(|part| view.part(part).clone());
        until("the host has its routes", secs(3), || Ok((routes(&seen(machine)?) == routes(&before)).then_some(())))
            .with_context(|| format!("round {round}"))?;
        let shown = machine.host.output("ip", &["-br", "addr", "show", "eth0"])?;
        ensure!(shown.contains(addr::HOST4) && shown.contains(addr::HOST6), "round {round}: {shown}");
        // VPP drops what comes before it knows a neighbour.
        for peer in [addr::PEER4, addr::PEER6] {
            until("VPP has learned its neighbour", secs(5), || ping(&machine.host, peer).map(Some))?;
        }
        works(machine)?;
        if round == 0 {
            let said = vpp.ctl("hostnet disable host-phys0")?;
            ensure!(said.contains("host-phys0 is disabled"), "'{}'", said.trim());
            let shown = vpp.ctl("show interface address")?;
            ensure!(!shown.contains(addr::HOST4), "an address is left: {shown}");
        }
    }
    vpp.stop()?;
    ensure!(machine.host.output("ip", &["link", "show", "eth0"]).is_err(), "the tap outlived VPP's end in good order");
    // It is still as the user's commands left it: the next start brings it
    // home, and keeps what it has anew.
    let vpp = machine.start()?;
    same(machine, &before, Exactness::Device).context("after a start of VPP")?;
    give_away(machine)?;
    vpp.ctl(&format!("create host-interface name phys0 hw-addr {}", addr::UPLINK_MAC))?;
    let said = vpp.ctl(&format!("hostnet enable host-phys0 tap {tap}"))?;
    ensure!(said.contains("host device eth0"), "'{}'", said.trim());
    vpp.kill()?;
    let journal = machine.journal();
    let guard = crate::support::guard();
    let words = ["--journal", journal.to_str().context("not UTF-8")?, "restore"];
    machine.host.output(guard.to_str().context("not UTF-8")?, &words)?;
    same(machine, &before, Exactness::Device).context("after SIGKILL and the guard")?;
    ping(&machine.host, addr::PEER4)
}

/// As a driver of VPP's would have it, from the host's point of view.
fn give_away(machine: &Machine) -> Result<()> {
    machine.host.ip("link set eth0 down\nlink set eth0 name phys0\naddr flush dev phys0")?;
    machine.host.sysctl(&[("ipv6/conf/phys0/disable_ipv6", "1")])?;
    machine.host.ip("link set phys0 promisc on up").map(drop)
}

/// What is done to the tap is what the host wants of its NIC.
fn changes(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    let change = "\
        addr add 192.0.2.99/24 dev eth0
        addr del 192.0.2.11/24 dev eth0
        addr change 192.0.2.77/32 dev eth0 valid_lft 9000 preferred_lft 8000
        addr add 2001:db8:1::99/64 dev eth0 nodad valid_lft 700 preferred_lft 600
        route add 10.99.0.0/16 via 192.0.2.20 dev eth0 metric 77 proto static
        route del 10.50.0.0/16 via 192.0.2.20 dev eth0 table 77
        route replace default via 192.0.2.20 dev eth0 metric 600 mtu 1200
        route add 2001:db8:99::/64 via 2001:db8:1:0:ff::1 dev eth0
        neigh add 192.0.2.222 lladdr 02:00:5e:00:00:de dev eth0 nud permanent
        rule add oif eth0 lookup 77 pref 1099
        link set eth0 alias another-word txqueuelen 555
        link set eth0 mtu 1400";
    let settings = [("ipv4/conf/eth0/arp_announce", "2"), ("ipv6/conf/eth0/accept_ra", "2")];
    // What it comes to without a takeover: the same, done to the NIC.
    let original = seen(machine)?;
    machine.host.ip(change)?;
    machine.host.sysctl(&settings)?;
    let expected = seen(machine)?;
    ensure!(expected.same_as(&original, Exactness::Programs).is_err(), "the view does not see the changes");
    let undo = "\
        link set eth0 mtu 1450
        link set eth0 alias first-uplink txqueuelen 777
        addr del 192.0.2.99/24 dev eth0
        addr change 192.0.2.77/32 dev eth0 valid_lft 4000 preferred_lft 3000
        addr del 2001:db8:1::99/64 dev eth0
        route del 10.99.0.0/16 metric 77
        route add 10.50.0.0/16 via 192.0.2.20 dev eth0 table 77
        route replace default via 192.0.2.20 dev eth0 metric 600
        route del 2001:db8:99::/64
        neigh del 192.0.2.222 dev eth0
        rule del pref 1099
        addr add 192.0.2.11/24 dev eth0 label eth0:b";
    machine.host.ip(undo)?;
    machine.host.sysctl(&[("ipv4/conf/eth0/arp_announce", "0"), ("ipv6/conf/eth0/accept_ra", "0")])?;
    take(&vpp, "eth0", "")?;
    machine.host.ip(change)?;
    machine.host.sysctl(&settings)?;
    same(machine, &expected, Exactness::Programs)?;
    release(&vpp, "eth0")?;
    is_home(machine, &expected)
}

fn two(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    // At once: from two sessions.
    std::thread::scope(|scope| -> Result<()> {
        let mut both = Vec::new();
        for device in ["eth0", "eth1"] {
            let mut session = vpp.session()?;
            both.push(scope.spawn(move || session.run(&uplink_command(device, ""))));
        }
        for one in both {
            let said = one.join().map_err(|_| anyhow::anyhow!("panic"))??;
            ensure!(said.contains("is enabled"), "'{}'", said.trim());
        }
        Ok(())
    })?;
    for device in ["eth0", "eth1"] {
        let shown = taken(&vpp, device)?.with_context(|| format!("{device} is not shown"))?;
        ensure!(shown["state"] == "enabled", "{shown:#}");
    }
    same(machine, &before, Exactness::Programs)?;
    let reach = |machine: &Machine| -> Result<()> {
        for (peer, host) in [(addr::PEER4, addr::HOST4), (addr::PEER4B, addr::HOST4B), (addr::PEER6B, addr::HOST6B)] {
            tcp(&machine.peer, &machine.host, host, peer, 100_000)?;
            ping(&machine.host, peer)?;
        }
        Ok(())
    };
    reach(machine)?;
    // The first goes home, the other stays.
    release(&vpp, "eth0")?;
    same(machine, &before, Exactness::Programs)?;
    reach(machine)?;
    take(&vpp, "eth0", "")?;
    reach(machine)?;
    vpp.stop()?;
    is_home(machine, &before)?;
    reach(machine)
}

fn routes(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    let mut checks = Checks::new();
    for (prefix, words) in [
        // The best metric wins; equal ones are one multipath.
        ("0.0.0.0/0", &["192.0.2.1 host-eth0"][..]),
        ("198.51.100.0/24", &["192.0.2.20 host-eth0"]),
        ("10.60.0.0/16", &["192.0.2.20 host-eth0", "192.0.2.1 host-eth0", "weight=3"]),
        ("10.52.0.0/16", &["203.0.113.99 host-eth0"]),
        ("10.61.0.0/16", &["fe80::20 host-eth0"]),
        ("10.70.0.0/16", &["192.0.2.20 host-eth0"]),
        ("10.71.0.0/16", &["192.0.2.20 host-eth0", "192.0.2.1 host-eth0", "weight=3"]),
        ("::/0", &["2001:db8:1:0:ff::1 host-eth0"]),
        ("2001:db8:60::/64", &["2001:db8:1::20 host-eth0", "2001:db8:1:0:ff::1 host-eth0", "weight=3"]),
        ("2001:db8:61::/64", &["fe80::20 host-eth0"]),
        ("2001:db8:70::/64", &["2001:db8:1::20 host-eth0"]),
    ] {
        let family = if prefix.contains(':') { "ip6" } else { "ip" };
        let shown = vpp.ctl(&format!("show {family} fib {prefix} detail"))?;
        let missing: Vec<&str> =
            ["hostnet "].iter().chain(words).copied().filter(|word| !shown.contains(word)).collect();
        let right = if missing.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("no {missing:?} in:\n{shown}")) };
        checks.add(prefix, right);
    }
    checks.finish()?;
    // A user's route wins, and ours comes back when it goes.
    vpp.quiet("ip route add 10.70.0.0/16 via 192.0.2.33 host-eth0")?;
    let shown = vpp.ctl("show ip fib 10.70.0.0/16")?;
    ensure!(shown.contains("192.0.2.33"), "{shown}");
    vpp.quiet("ip route del 10.70.0.0/16 via 192.0.2.33 host-eth0")?;
    let shown = vpp.ctl("show ip fib 10.70.0.0/16")?;
    ensure!(shown.contains("192.0.2.20"), "{shown}");
    release(&vpp, "eth0")?;
    for family in ["ip", "ip6"] {
        let shown = vpp.ctl(&format!("show {family} fib detail"))?;
        ensure!(!shown.contains("hostnet"), "left in VPP:\n{shown}");
    }
    Ok(())
}

/// VPP's af-packet knows its netdev by number, and looks that up where VPP is.
fn same_number(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    let link = machine.parking()?.output("ip", &["-o", "link", "show", "eth0"])?;
    let number = link.split(':').next().context("no number")?;
    machine.host.ip(&format!(
        "link add same index {number} type veth peer name same-peer
         link set same up
         link set same-peer up"
    ))?;
    let look = || machine.host.output("ip", &["-d", "addr", "show", "same"]);
    let before = look()?;
    vpp.all_quiet(
        "set interface state host-eth0 down
         set interface mtu packet 1300 host-eth0
         set interface promiscuous on host-eth0
         set interface state host-eth0 up
         set interface promiscuous off host-eth0
         set interface mtu packet 1450 host-eth0",
    )?;
    // The host's own device follows; the other one has nothing to do with it.
    until("the host's device has its MTU again", secs(3), || {
        let shown = machine.host.output("ip", &["link", "show", "eth0"])?;
        Ok((shown.contains("mtu 1450") && shown.contains("LOWER_UP")).then_some(()))
    })?;
    ensure!(look()? == before, "before:\n{before}\nnow:\n{}", look()?);
    release(&vpp, "eth0")?;
    ensure!(look()? == before, "before:\n{before}\nafter the release:\n{}", look()?);
    ping(&machine.host, addr::PEER4)
}

fn pods(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    machine.host.ip(&format!(
        "link add pod0 mtu 1450 type veth peer name eth0 mtu 1450 address {} netns {}
         link set pod0 up",
        addr::POD_MAC,
        machine.pod.name()
    ))?;
    dress_pod(&machine.pod)?;
    machine.pod.output("ethtool", &["-K", "eth0", "tx", "off", "tso", "off", "gso", "off"])?;
    machine.settle()?;
    let before = seen(machine)?;
    let clusters = format!("cluster-cidr {} cluster-cidr {}", addr::CLUSTER4, addr::CLUSTER6);
    take(&vpp, "eth0", &clusters)?;
    let said = vpp.ctl(&format!("create host-interface v2 name pod0 hw-addr {}", addr::POD_GW_MAC))?;
    ensure!(said.trim() == "host-pod0", "{said}");
    vpp.all_quiet(&format!(
        "set interface mtu packet 1450 host-pod0
         set interface state host-pod0 up
         set interface unnumbered host-pod0 use host-eth0
         enable ip6 interface host-pod0
         ip6 nd host-pod0 ra-suppress
         set ip neighbor host-pod0 {p4} {mac} static
         set ip neighbor host-pod0 {p6} {mac} static
         ip route add {p4}/32 via {p4} host-pod0
         ip route add {p6}/128 via {p6} host-pod0",
        p4 = addr::POD4,
        p6 = addr::POD6,
        mac = addr::POD_MAC
    ))?;
    for (host, pod) in [(addr::HOST4, addr::POD4), (addr::HOST6, addr::POD6)] {
        ping(&machine.pod, host).context("pod to host")?;
        tcp(&machine.pod, &machine.host, host, pod, 300_000).context("pod to host")?;
        tcp(&machine.host, &machine.pod, pod, host, 300_000).context("host to pod")?;
    }
    vpp.all_quiet("set interface unnumbered del host-pod0")?;
    release(&vpp, "eth0")?;
    // VPP still has the pod's device; it listens on it, and sets it down.
    vpp.quiet("delete host-interface name pod0")?;
    machine.host.ip("link set pod0 up")?;
    is_home(machine, &before)
}

/// A veth hands over what its other end left to a card to finish: checksums,
/// and segments longer than the MTU. The lab has that off elsewhere.
fn offloads(machine: &Machine) -> Result<()> {
    let settings = ["-K", "eth0", "tx", "on", "tso", "on", "gso", "on"];
    machine.peer.output("ethtool", &settings)?;
    let shown = machine.peer.output("ethtool", &["-k", "eth0"])?;
    for word in ["tx-checksumming: on", "tcp-segmentation-offload: on"] {
        ensure!(shown.contains(word), "no '{word}' in {shown}");
    }
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    for (peer, host) in [(addr::PEER4, addr::HOST4), (addr::PEER6, addr::HOST6)] {
        // VPP drops what comes before it knows a neighbour.
        until("VPP has learned its neighbour", secs(5), || ping(&machine.host, peer).map(Some))?;
        tcp(&machine.peer, &machine.host, host, peer, 20_000_000).context("peer to host")?;
        tcp(&machine.host, &machine.peer, peer, host, 20_000_000).context("host to peer")?;
    }
    vpp.alive()?;
    release(&vpp, "eth0")?;
    is_home(machine, &before)?;
    tcp(&machine.peer, &machine.host, addr::HOST4, addr::PEER4, 1_000_000)
}

fn dry_run(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    let said = vpp.ctl(&uplink_command("eth0", "dry-run"))?;
    is_home(machine, &before)?;
    ensure!(taken(&vpp, "eth0")?.is_none(), "a dry run is shown");
    let mut checks = Checks::new();
    for word in [
        "Takeover of eth0",
        "driver af-packet",
        "moves to namespace",
        "journal in",
        "captured:",
        "default route",
        addr::HOST4,
        addr::HOST6,
    ] {
        checks.that(&format!("the plan has '{word}'"), said.contains(word), &said);
    }
    checks.finish()
}

fn refusals(machine: &Machine) -> Result<()> {
    let said = machine.host.ip("link add br9 type bridge
         link add port9 type veth peer name other9
         link set port9 master br9
         tuntap add dev tap9 mode tap")?;
    ensure!(said.is_empty(), "{said}");
    let mut checks = Checks::new();
    for (device, more, why) in [
        ("port9", "", "is a port of br9"),
        ("br9", "", "a bridge"),
        ("tap9", "", "a TUN/TAP device"),
        ("lo", "", "the loopback device"),
        ("nonesuch", "", "no such device"),
        ("the-hosts-first", "", "no such device"),
        ("eth0", "driver virtio", "not on the PCI bus"),
        ("eth0", "driver vmxnet3", "vmxnet3"),
        ("eth0", "driver none", "driver none"),
        ("eth0", "host-netns nonesuch", "nonesuch"),
        ("eth0", "host-if bystander", "bystander"),
    ] {
        checks.add(&format!("{device} {more}"), refused(machine, &uplink_command(device, more), why));
    }
    checks.add("release of what is not taken", refused(machine, "hostnet release eth0", "eth0 is not taken"));
    checks.finish()
}

fn wrong_stanza() -> Result<()> {
    for (stanza, why) in [
        ("driver af-packet", "unknown word 'driver'"),
        ("uplink eth0 { driver nonesuch }", "nonesuch"),
        ("uplink eth0 { driver auto mtu }", "mtu"),
        ("uplink eth0\nuplink eth0", "eth0"),
        ("journal /x", "journal"),
    ] {
        let mut options = machine();
        stanza.clone_into(&mut options.stanza);
        options.bare = true;
        match Machine::new(options) {
            Ok(_) => bail!("VPP started with '{stanza}'"),
            Err(error) => {
                let words = format!("{error:#}");
                ensure!(words.contains("hostnet stanza of startup.conf") && words.contains(why), "{stanza}: {words}");
            }
        }
    }
    Ok(())
}
