//! The lab itself: without the plugin it forwards, and its dumps stand still.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::daemons::{self, Bird, Frr};
use hostnet_lab::dump::Dump;
use hostnet_lab::reference::{self, Reader, Uplink};
use hostnet_lab::rtnl::{self, Rtnl, Write};
use hostnet_lab::table::FullTable;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{no_ping, ping, tcp};
use libtest_mimic::Trial;

use crate::support::scenario;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("lab_forwards_without_the_plugin", Options::default, forwards),
        scenario("lab_dumps_stand_still_and_see_changes", Options::default, dumps),
        scenario("lab_model_of_the_mirror_sees_both_sides", Options::default, model),
        scenario("lab_routing_daemons_speak", Options::default, daemons),
    ]
}

fn forwards(lab: &Lab) -> Result<()> {
    let mut checks = Checks::new();
    for (peer, pod, far, host) in
        [(addr::PEER4, addr::POD4, addr::FAR4, addr::HOST4), (addr::PEER6, addr::POD6, addr::FAR6, addr::HOST6)]
    {
        checks.add("peer to pod", tcp(&lab.peer, &lab.pod, pod, peer, 100_000));
        checks.add("pod to peer", tcp(&lab.pod, &lab.peer, peer, pod, 100_000));
        checks.add("pod to far", ping(&lab.pod, far));
        // So whoever answers in the other tests, it is the host.
        checks.add("nobody is the host", no_ping(&lab.peer, host));
    }
    checks.finish()
}

fn dumps(lab: &Lab) -> Result<()> {
    let before = Dump::of(lab)?;
    ping(&lab.peer, addr::POD4)?;
    ping(&lab.pod, addr::FAR6)?;
    Dump::of(lab)?.same_as(&before)?;
    // A change on each side, one at a time, is seen, and so is its end.
    for (change, back) in [
        ("ip route add 10.77.0.0/16 via 192.0.2.1 host-eth0", "ip route del 10.77.0.0/16"),
        ("ip punt redirect add rx all via 192.0.2.20 host-eth0", "ip punt redirect del rx all"),
        (
            "set ip neighbor host-eth0 192.0.2.66 02:00:00:00:00:66 static",
            "set ip neighbor del host-eth0 192.0.2.66 02:00:00:00:00:66 static",
        ),
        (
            "set arp proxy table-id 0 start 192.0.2.1 end 192.0.2.9",
            "set arp proxy table-id 0 start 192.0.2.1 end 192.0.2.9 del",
        ),
        (
            "set interface ip directed-broadcast host-eth0 enable",
            "set interface ip directed-broadcast host-eth0 disable",
        ),
    ] {
        lab.vpp.quiet(change)?;
        ensure!(Dump::of(lab)?.same_as(&before).is_err(), "'{change}' is not seen");
        lab.vpp.quiet(back)?;
        Dump::of(lab)?.same_as(&before)?;
    }
    for (change, back) in [
        ("link add x0 type veth peer name x1", "link del x0"),
        ("route add 10.9.0.0/16 dev lo table 77", "route del 10.9.0.0/16 dev lo table 77"),
        ("rule add from 10.9.0.0/16 lookup 77", "rule del from 10.9.0.0/16 lookup 77"),
        ("addr add 10.9.9.9/32 dev lo", "addr del 10.9.9.9/32 dev lo"),
    ] {
        lab.host.ip(change)?;
        ensure!(Dump::of(lab)?.same_as(&before).is_err(), "'{change}' is not seen");
        lab.host.ip(back)?;
        Dump::of(lab)?.same_as(&before)?;
    }
    Ok(())
}

/// Routes of the kernel's (in the peer, by a device of VPP's uplink's name), and
/// the commands that make VPP have the same.
const SAME: [(&str, &str); 13] = [
    ("10.1.0.0/16 via 192.0.2.1", "10.1.0.0/16 via 192.0.2.1 host-eth0"),
    ("10.2.0.0/16 dev eth0", "10.2.0.0/16 via host-eth0"),
    (
        "10.3.0.0/16 nexthop via 192.0.2.1 dev eth0 weight 3 nexthop via 192.0.2.2 dev eth0",
        "10.3.0.0/16 via 192.0.2.1 host-eth0 weight 3 via 192.0.2.2 host-eth0",
    ),
    ("blackhole 10.4.0.0/16", "10.4.0.0/16 via drop"),
    ("10.7.0.0/16 via 192.0.2.3 table 77", "10.7.0.0/16 table 77 via 192.0.2.3 host-eth0"),
    ("10.8.0.0/16 via inet6 fe80::7 dev eth0", "10.8.0.0/16 via fe80::7 host-eth0"),
    ("2001:db8:a1::/48 via 2001:db8:1::1", "2001:db8:a1::/48 via 2001:db8:1::1 host-eth0"),
    ("2001:db8:a2::/48 dev eth0", "2001:db8:a2::/48 via host-eth0"),
    (
        "2001:db8:a3::/48 nexthop via 2001:db8:1::1 dev eth0 nexthop via fe80::9 dev eth0",
        "2001:db8:a3::/48 via 2001:db8:1::1 host-eth0 via fe80::9 host-eth0",
    ),
    ("blackhole 2001:db8:a4::/48 metric 3", "2001:db8:a4::/48 via drop"),
    ("local 203.0.113.9/32 dev lo", "203.0.113.9/32 via local"),
    ("local 2001:db8:a9::/64 dev lo", "2001:db8:a9::/64 via local"),
    ("2001:db8:a7::/48 via fe80::8 dev eth0 table 77", "2001:db8:a7::/48 table 77 via fe80::8 host-eth0"),
];

/// Routes of the kernel's that VPP is not to have.
const NOT_VPPS: &str = "\
route add 10.1.0.0/16 via 192.0.2.9 metric 5
route add 10.20.0.0/17 via 192.0.2.9 proto 118
route add 10.21.0.0/16 via 192.0.2.9 tos 0x10
route add 10.22.0.0/16 nexthop via 192.0.2.9 dev eth0 nexthop dev other
route add 10.23.0.0/16 dev other metric 3
route add local 203.0.113.10/32 dev eth0
route add local 203.0.113.11/32 dev lo table 77
route add 10.23.0.0/16 via 192.0.2.9 metric 4
route add throw 10.24.0.0/16 table 77
route add 2001:db8:b1::/48 from 2001:db8:b2::/48 via 2001:db8:1::1";

fn model(lab: &Lab) -> Result<()> {
    lab.peer.ip(&format!("route del default\nroute del {}", addr::CLUSTER4))?;
    lab.peer.ip_with(&["-6"], &format!("route del default\nroute del {}", addr::CLUSTER6))?;
    lab.peer.ip("link add other type veth peer name other-end\nlink set other up\nlink set other-end up")?;
    lab.vpp.all_quiet("ip table add 77\nip6 table add 77")?;
    let uplink = Uplink {
        device: "eth0".to_owned(),
        sw_if_index: lab.vpp.ctl("show interface host-eth0")?.lines().nth(1).and_then(index_of).context("no index")?,
        tap: u32::MAX,
        own: [0, 0],
        to_host: false,
    };
    // What somebody enters by hand stands for what hostnet does.
    let mut reader = Reader::new(lab.vpp.api()?, "CLI");
    let others: BTreeSet<reference::Key> = reader.fib(&uplink, false)?.ours.into_keys().collect();
    let seen = |reader: &mut Reader| -> Result<reference::VppFib> {
        let mut fib = reader.fib(&uplink, false)?;
        fib.ours.retain(|key, _| !others.contains(key));
        Ok(fib)
    };
    let differences = |fib: &reference::VppFib| -> Result<Option<String>> {
        Ok(reference::differences(&reference::expected(&lab.peer, &uplink)?, fib))
    };
    for (linux, vpp) in SAME {
        lab.peer.ip(&format!("route add {linux}"))?;
        let told = differences(&seen(&mut reader)?)?.context(format!("'{linux}' is not seen"))?;
        ensure!(told.starts_with("1 routes differ"), "{told}");
        lab.vpp.quiet(&format!("ip route add {vpp}"))?;
        let fib = seen(&mut reader)?;
        if let Some(told) = differences(&fib)? {
            bail!("'{linux}' is not '{vpp}': {told}");
        }
    }
    lab.peer.ip(NOT_VPPS)?;
    let mut fib = seen(&mut reader)?;
    if let Some(told) = differences(&fib)? {
        bail!("VPP is not to have them: {told}");
    }
    // Each of VPP's must be there.
    let (key, act) = fib.ours.pop_first().context("VPP has nothing")?;
    ensure!(differences(&fib)?.is_some_and(|told| told.contains("VPP has nothing")), "a missing one is not seen");
    fib.ours.insert(key, act.clone());
    fib.ours.insert((78, key.1, key.2), act);
    ensure!(differences(&fib)?.is_some_and(|told| told.contains("nothing expected")), "a surplus one is not seen");

    // The reader for large tables sees what `ip` shows.
    let mut socket = Rtnl::open(&lab.peer)?;
    let table = FullTable::new(3000, 1000, 7);
    let eth0 = rtnl::index(&lab.peer, "eth0")?;
    socket.write(Write::Add, (eth0, 254, 17, 20), table.routes(0))?;
    let (mut by_ip, mut by_socket) = (reference::routes(&lab.peer)?, Vec::new());
    for is_ip6 in [false, true] {
        socket.routes(&lab.peer, is_ip6, |route| by_socket.push(route))?;
    }
    by_ip.sort();
    by_socket.sort();
    ensure!(by_ip.len() > 4000, "{}", by_ip.len());
    for (ip, socket) in by_ip.iter().zip(&by_socket) {
        ensure!(ip == socket, "ip shows {ip:?}, the socket {socket:?}");
    }
    ensure!(by_ip.len() == by_socket.len(), "{} and {}", by_ip.len(), by_socket.len());
    socket.write(Write::Replace, (eth0, 254, 17, 20), table.routes(1))?;
    socket.write(Write::Delete, (eth0, 254, 17, 20), table.routes(1))?;
    let left = reference::routes(&lab.peer)?.iter().filter(|route| route.protocol == 17).count();
    ensure!(left == 0, "{left} routes are left");

    // The link.
    let vpp = reader.link(&uplink)?;
    let mut linux = vpp.clone();
    ensure!(vpp.up && vpp.mtu == 1500 && vpp.mac == addr::UPLINK_MAC && vpp.addresses.len() == 2, "{vpp:?}");
    ensure!(reference::link_differences(&linux, &vpp).is_none(), "no difference");
    linux.mtu = 1400;
    ensure!(reference::link_differences(&linux, &vpp).is_some(), "the MTU is not compared");
    Ok(())
}

/// The number behind the name.
fn index_of(line: &str) -> Option<u32> {
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A route that the peer announces comes to the host's kernel, and goes.
fn daemons(lab: &Lab) -> Result<()> {
    let dir = lab.dir();
    let bird = Bird::start(&lab.peer, &dir.join("bird"), &announcing("10.33.0.0/16", "2001:db8:33::/48"))?;
    let frr = Frr::start(&lab.gw, &dir.join("frr"), &daemons::frr_bgp(addr::GW4, addr::PEER4))?;
    let has = |wanted: bool| -> Result<()> {
        until("BGP has converged", secs(60), || {
            let text = [lab.gw.output("ip", &["route"])?, lab.gw.output("ip", &["-6", "route"])?].concat();
            let there = |prefix: &str| text.lines().any(|line| line.starts_with(prefix) && line.contains("proto bgp"));
            ensure!(there("10.33.0.0/16") == wanted && there("2001:db8:33::/48") == wanted, "{text}");
            Ok(Some(()))
        })
        .with_context(|| frr.ctl("show bgp summary").unwrap_or_default())
    };
    has(true)?;
    bird.configure(&announcing("10.34.0.0/16", "2001:db8:34::/48"))?;
    has(false)?;
    bird.configure(&announcing("10.33.0.0/16", "2001:db8:33::/48"))?;
    has(true)?;
    frr.stop()?;
    bird.stop()
}

/// The peer's configuration: it announces one route of each family.
fn announcing(ip4: &str, ip6: &str) -> String {
    let bgp = daemons::bird_bgp((addr::PEER4, addr::PEER6), addr::GW4);
    format!(
        "{bgp}protocol static s4 {{ ipv4; route {ip4} blackhole; }}
         protocol static s6 {{ ipv6; route {ip6} blackhole; }}\n"
    )
}
