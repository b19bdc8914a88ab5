//! Everything that Linux has on an interface, taken away and given back.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hostnet::linux::{Dressing, NetnsFile, capture, differences, host_config, open_tun, restore, restore_first};
use hostnet::model::{Captured, IfName, Netns, RawMessage};
use nix::sched::{CloneFlags, unshare};

use crate::lab::{ip, run};

pub(crate) const NAME: &str = "lab.eth0";

/// The test thread in a namespace of its own, with a device that has a bit
/// of everything, and one beside it.
pub(crate) struct Home {
    pub(crate) own: NetnsFile,
    /// Where the device is away, and no program looks at it.
    away: NetnsFile,
}

impl Home {
    pub(crate) fn bare() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces: run them as root");
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let home = Self { own: NetnsFile::open(&Netns::Own).unwrap(), away: NetnsFile::anonymous().unwrap() };
        run("ip", &["link", "set", "dev", "lo", "up"]);
        // The other ends are elsewhere, so that the pair has a carrier and no
        // program of this namespace sees them.
        for (name, peer) in [(NAME, "peer0"), ("lab.eth1", "peer1")] {
            run("ip", &["link", "add", "dev", name, "type", "veth", "peer", "name", peer]);
            run("ip", &["link", "set", "dev", peer, "up"]);
        }
        home
    }

    pub(crate) fn new() -> Self {
        let home = Self::bare();
        for line in RICH.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            run("ip", &words);
        }
        for (key, value) in SYSCTLS {
            std::fs::write(format!("/proc/sys/net/{}", key.replace('@', NAME)), value).unwrap();
        }
        settle();
        home
    }

    pub(crate) fn capture(&self) -> Captured {
        capture(&self.own, &name()).unwrap()
    }

    /// Away and back: the kernel flushes everything.
    fn wipe(&self) {
        self.send_away();
        self.bring_back();
    }

    fn send_away(&self) {
        run("ip", &["link", "set", "dev", NAME, "netns", &self.away.path().to_string_lossy()]);
    }

    fn bring_back(&self) {
        let home = self.own.path();
        // From there, by a program that runs there.
        let there = self.away.enter().unwrap();
        run("ip", &["link", "set", "dev", NAME, "netns", &home.to_string_lossy()]);
        there.leave().unwrap();
    }

    pub(crate) fn restore(&self, captured: &Captured) -> Vec<String> {
        restore(&self.own, index(NAME), captured, Dressing::Device).unwrap()
    }
}

pub(crate) fn name() -> IfName {
    NAME.parse().unwrap()
}

pub(crate) fn index(name: &str) -> u32 {
    u32::try_from(ip(&["link", "show", "dev", name])[0]["ifindex"].as_u64().unwrap()).unwrap()
}

const SYSCTLS: [(&str, &str); 8] = [
    ("ipv4/conf/@/rp_filter", "2"),
    ("ipv4/conf/@/proxy_arp", "1"),
    ("ipv4/neigh/@/base_reachable_time_ms", "31000"),
    ("ipv6/conf/@/accept_ra", "2"),
    ("ipv6/conf/@/hop_limit", "61"),
    ("ipv6/conf/@/mtu", "1390"),
    ("ipv6/conf/@/use_tempaddr", "0"),
    ("ipv6/neigh/@/unres_qlen", "55"),
];

const RICH: &str = "
    link set dev lab.eth0 address 02:fe:77:01:02:03 mtu 1400 txqueuelen 77 group 4 alias uplink-of-the-lab
    link property add dev lab.eth0 altname lab-has-a-longer-name-than-fits
    link set dev lab.eth1 up
    addr add 10.99.0.1/24 dev lab.eth1
    -6 addr add fd99::1/64 dev lab.eth1 nodad
    link set dev lab.eth0 promisc on up
    addr add 10.77.0.5/24 dev lab.eth0 metric 5
    addr add 10.77.0.6/24 dev lab.eth0
    addr add 10.77.0.7/24 dev lab.eth0 valid_lft 3000 preferred_lft 2000
    addr add 10.78.0.5/24 brd 10.78.0.255 dev lab.eth0 label lab.eth0:x noprefixroute
    addr add 10.79.0.1 peer 10.79.0.2/32 dev lab.eth0
    addr add 169.254.77.1/16 scope link dev lab.eth0
    addr add 10.80.0.5/32 dev lab.eth0
    -6 addr add fd77::5/64 dev lab.eth0 nodad
    -6 addr add fd78::5/64 dev lab.eth0 noprefixroute valid_lft 3000 preferred_lft 2000
    -6 addr add fd79::5/64 dev lab.eth0 metric 77 nodad
    -6 addr add fd80::5/128 dev lab.eth0 home
    -6 addr add fd81::5 peer fd81::6/128 dev lab.eth0 nodad
    -6 addr add fd84::5 peer fd84::6/64 dev lab.eth0 nodad
    -6 addr add fd85::5 peer fd85::6/64 dev lab.eth0 nodad noprefixroute
    -6 addr add fd82::5/64 dev lab.eth0 nodad preferred_lft 0
    -6 addr add fd83::5/64 dev lab.eth0 nodad
    -6 route del fd83::/64 dev lab.eth0
    addr add 10.83.0.5/24 dev lab.eth0 metric 9
    route del 10.83.0.0/24 dev lab.eth0
    route add 10.78.0.0/24 dev lab.eth0 proto kernel scope link src 10.78.0.5 metric 100
    -6 route add fd78::/64 dev lab.eth0 proto kernel metric 100
    route add default via 10.77.0.1 metric 100 proto dhcp src 10.77.0.5
    route add default via 10.77.0.2 metric 600
    route add default via 10.99.0.2 metric 50
    route add 10.1.0.0/16 via 10.77.0.1 mtu lock 1300 advmss 1200 initcwnd 20
    route add 10.2.0.0/16 via 198.51.100.1 dev lab.eth0 onlink
    route add 10.3.0.0/16 dev lab.eth0 scope link
    route add 10.4.0.0/16 via inet6 fd77::1 dev lab.eth0
    route add 10.5.0.0/16 tos 0x10 via 10.77.0.1
    route add 10.6.0.0/16 nexthop via 10.77.0.1 dev lab.eth0 weight 3 nexthop via 10.77.0.2 dev lab.eth0
    route add 10.7.0.0/16 nexthop via 10.77.0.1 dev lab.eth0 nexthop via 10.99.0.2 dev lab.eth1 weight 4
    route add 192.0.2.1/32 dev lab.eth0
    route add 10.8.0.0/16 via 192.0.2.1 dev lab.eth0
    route add 10.9.0.0/16 encap ip id 5 dst 198.51.100.7 dev lab.eth0
    route add multicast 232.0.0.0/8 dev lab.eth0
    route add 10.10.0.0/16 via 10.77.0.1 proto 118
    route add default via 10.77.0.1 table 100
    route add 10.11.0.0/16 dev lab.eth0 table 1000
    -6 route add default via fe80::1 dev lab.eth0 metric 100 proto ra expires 900 pref high
    -6 route add default via fd77::1 metric 600
    -6 route add fd10::/48 via fd77::1 mtu 1280
    -6 route add fd11::/48 via fd90::77 dev lab.eth0 onlink
    -6 route add fd12::/48 dev lab.eth0
    -6 route add fd13::/48 nexthop via fd77::1 dev lab.eth0 weight 2 nexthop via fd77::2 dev lab.eth0
    -6 route add fd14::/48 nexthop via fd77::1 dev lab.eth0 nexthop via fd99::2 dev lab.eth1 weight 3
    -6 route add fd15::/48 nexthop via fd99::2 dev lab.eth1 nexthop via fd77::2 dev lab.eth0
    -6 route add fd16::/48 via fd77::1 table 100
    -6 route add fd17::/48 dev lab.eth1 metric 7
    -6 route append fd17::/48 dev lab.eth0 metric 7
    -6 route add fd18::/48 via fd77::1 proto 118
    nexthop add id 5 via 10.77.0.9 dev lab.eth0
    nexthop add id 6 via 10.99.0.9 dev lab.eth1
    nexthop add id 7 group 5,3/6
    nexthop add id 8 via 198.51.100.9 dev lab.eth0 onlink protocol static
    nexthop add id 9 group 5/8
    nexthop add id 10 via fd77::9 dev lab.eth0
    route add 10.12.0.0/16 nhid 7
    route add 10.13.0.0/16 nhid 9
    route add 10.14.0.0/16 nhid 8
    route add 10.15.0.0/16 nhid 6
    -6 route add fd19::/48 nhid 10
    rule add iif lab.eth0 table 100 priority 1000
    rule add not from 10.0.0.0/8 oif lab.eth0 fwmark 7/0xff table 1000 priority 1001
    rule add iif lab.eth1 table 100 priority 1002
    -6 rule add iif lab.eth0 to fd00::/8 table 100 priority 1003 suppress_prefixlength 0
    neigh add 10.77.0.20 lladdr 02:00:00:00:00:20 dev lab.eth0 nud permanent
    neigh add fd77::20 lladdr 02:00:00:00:00:21 dev lab.eth0 nud permanent router
    neigh add proxy 10.77.0.30 dev lab.eth0
    neigh add proxy fd77::30 dev lab.eth0
";

/// Wait until no IPv6 address of the device is tentative, and each has its
/// local route.
pub(crate) fn settle() {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let local = ip(&["-6", "route", "show", "table", "local"]);
        let waits = |info: &serde_json::Value| {
            info["family"] == "inet6"
                && (!info["tentative"].is_null() || !local.iter().any(|route| route["dst"] == info["local"]))
        };
        let links = ip(&["addr", "show", "up"]);
        if !links.iter().any(|link| link["addr_info"].as_array().into_iter().flatten().any(waits)) {
            return;
        }
        assert!(Instant::now() < deadline, "an address stays tentative: {links:?}");
    }
}

/// What `ip` shows, without what counts down and without the numbers of
/// devices.
pub(crate) fn dump() -> Vec<(String, serde_json::Value)> {
    settle();
    let mut found = Vec::new();
    for args in [
        &["addr", "show", "dev", NAME][..],
        &["-4", "route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
        &["nexthop", "show"],
        &["-4", "rule", "show"],
        &["-6", "rule", "show"],
        &["neigh", "show", "dev", NAME, "nud", "permanent"],
        &["neigh", "show", "proxy"],
    ] {
        let mut rows = ip(args);
        // The other end sees whether the device is there.
        rows.retain(|row| row["dev"].as_str().is_none_or(|dev| !dev.starts_with("peer")));
        for row in &mut rows {
            plain(row);
        }
        // IPv6 lists the tables by a hash of the moment.
        if args[0].starts_with('-') {
            rows.sort_by_key(ToString::to_string);
        }
        found.extend(rows.into_iter().map(|row| (args.join(" "), row)));
    }
    found
}

fn plain(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if key.ends_with("life_time") || key == "expires" {
                    // For ever or not is what counts here.
                    let forever = value.as_u64() == Some(u64::from(u32::MAX));
                    *value = serde_json::Value::Bool(forever);
                }
                plain(value);
            }
            for key in ["ifindex", "link_index", "gc_info", "linkinfo", "min_mtu", "max_mtu", "protodown", "link"] {
                map.remove(key);
            }
            map.retain(|key, _| {
                !key.starts_with("num_") && !key.contains("gso") && !key.contains("tso") && !key.contains("gro_")
            });
            map.retain(|key, _| !key.starts_with("promiscuity") && key != "qdisc" && key != "operstate");
        }
        serde_json::Value::Array(all) => all.iter_mut().for_each(plain),
        _ => {}
    }
}

#[track_caller]
pub(crate) fn same(before: &[(String, serde_json::Value)], after: &[(String, serde_json::Value)]) {
    let lines =
        |all: &[(String, serde_json::Value)]| all.iter().map(|(of, row)| format!("{of}: {row}")).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let missing: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
    let beside: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(missing.is_empty() && beside.is_empty(), "missing {missing:#?}\nbeside {beside:#?}");
    assert_eq!(before, after, "another order");
}

#[test]
fn everything_comes_back_to_the_device() {
    let home = Home::new();
    // Ours does not.
    let with_ours = home.capture();
    for family in ["-4", "-6"] {
        run("ip", &[family, "route", "flush", "proto", "118"]);
    }
    let before = dump();
    let captured = home.capture();
    assert_eq!(differences(&with_ours, &captured), Vec::<String>::new());
    let json = serde_json::to_string(&captured).unwrap();
    assert_eq!(serde_json::from_str::<Captured>(&json).unwrap(), captured);
    home.wipe();
    assert!(!differences(&captured, &home.capture()).is_empty());
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    same(&before, &dump());
    // Again, with nothing to do.
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    same(&before, &dump());
}

/// A device in its place, held by its file.
fn tap() -> (u32, OwnedFd) {
    let name = name();
    let file = open_tun(&name, false).unwrap();
    (index(NAME), file)
}

#[test]
fn a_tap_in_its_place_is_dressed_the_same() {
    let home = Home::new();
    for family in ["-4", "-6"] {
        run("ip", &[family, "route", "flush", "proto", "118"]);
    }
    let before = dump();
    let captured = home.capture();
    home.send_away();
    let (number, file) = tap();
    run("ip", &["link", "set", "dev", NAME, "address", "02:fe:77:01:02:03", "mtu", "1400"]);
    assert_eq!(restore(&home.own, number, &captured, Dressing::Tap).unwrap(), Vec::<String>::new());
    let dressed = home.capture();
    assert_eq!(differences(&captured, &dressed), Vec::<String>::new());
    same(&before, &dump());
    // And what the tap has goes home, what came meanwhile too.
    run("ip", &["route", "add", "10.123.0.0/16", "via", "10.77.0.1"]);
    let dressed = captured.carried_by(home.capture());
    drop(file);
    home.bring_back();
    assert_eq!(home.restore(&dressed), Vec::<String>::new());
    run("ip", &["route", "del", "10.123.0.0/16", "via", "10.77.0.1"]);
    assert_eq!(differences(&captured, &home.capture()), Vec::<String>::new());
    same(&before, &dump());
}

#[test]
fn killed_after_any_step_the_next_run_completes_it() {
    let home = Home::new();
    for family in ["-4", "-6"] {
        run("ip", &[family, "route", "flush", "proto", "118"]);
    }
    let before = dump();
    let captured = home.capture();
    let mut count = 0;
    loop {
        home.wipe();
        let all = restore_first(&home.own, index(NAME), &captured, Dressing::Device, count).unwrap();
        assert_eq!(home.restore(&captured), Vec::<String>::new(), "after {count} of {all} steps");
        if count % 10 == 0 {
            same(&before, &dump());
        }
        if count == all {
            break;
        }
        count += 1;
    }
    same(&before, &dump());
}

#[test]
fn a_device_that_was_down_stays_down_with_its_addresses() {
    let home = Home::bare();
    run("ip", &["addr", "add", "10.77.0.5/24", "dev", NAME]);
    run("ip", &["-6", "addr", "add", "fd77::5/64", "dev", NAME]);
    let captured = home.capture();
    assert!(!captured.link.up && captured.addresses.len() == 2, "{captured:?}");
    home.wipe();
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    // Somebody set it up meanwhile.
    run("ip", &["link", "set", "dev", NAME, "up"]);
    assert!(home.restore(&captured).is_empty());
    assert_eq!(differences(&captured, &home.capture()), Vec::<String>::new());
}

#[test]
fn ipv6_switched_off_stays_off_and_secrets_come_back() {
    let home = Home::bare();
    let sysctl =
        |key: &str, value: &str| std::fs::write(format!("/proc/sys/net/ipv6/conf/{NAME}/{key}"), value).unwrap();
    sysctl("stable_secret", "2001:db8::1");
    run("ip", &["link", "set", "dev", NAME, "up"]);
    settle();
    let captured = home.capture();
    assert_eq!(captured.link.addr_gen_mode, Some(2));
    assert_eq!(captured.addresses.len(), 1, "{captured:?}");
    home.wipe();
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    sysctl("disable_ipv6", "1");
    let captured = home.capture();
    assert!(captured.addresses.is_empty(), "{captured:?}");
    home.wipe();
    sysctl("disable_ipv6", "0");
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    assert!(
        ip(&["-6", "addr", "show", "dev", NAME])
            .iter()
            .all(|link| link["addr_info"].as_array().is_none_or(Vec::is_empty))
    );
}

#[test]
fn temporary_addresses_come_back_and_no_new_ones_with_them() {
    let home = Home::bare();
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{NAME}/use_tempaddr"), "2").unwrap();
    run("ip", &["link", "set", "dev", NAME, "up"]);
    let lifetimes = ["valid_lft", "3000", "preferred_lft", "2000"];
    run("ip", &[&["-6", "addr", "add", "fd77::5/64", "dev", NAME, "mngtmpaddr"][..], &lifetimes].concat());
    settle();
    let captured = home.capture();
    let of = |link: &serde_json::Value| -> Vec<String> {
        link["addr_info"].as_array().unwrap().iter().map(|info| info["local"].to_string()).collect()
    };
    let before = of(&ip(&["addr", "show", "dev", NAME])[0]);
    assert_eq!(before.len(), 3, "{before:?}");
    home.wipe();
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    settle();
    assert_eq!(of(&ip(&["addr", "show", "dev", NAME])[0]), before);
    assert_eq!(home.restore(&captured), Vec::<String>::new());
}

#[test]
fn a_port_of_a_bridge_is_one_again_and_a_lost_bridge_is_said() {
    let home = Home::bare();
    run("ip", &["link", "add", "dev", "br0", "type", "bridge"]);
    run("ip", &["link", "set", "dev", NAME, "master", "br0", "up"]);
    settle();
    let captured = home.capture();
    assert_eq!(captured.link.master.as_ref().map(|(_, name)| name.as_str()), Some("br0"));
    home.wipe();
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    assert_eq!(home.capture().link.master, captured.link.master);
    // A TAP device in its place joins none.
    home.send_away();
    let (number, file) = tap();
    assert_eq!(restore(&home.own, number, &captured, Dressing::Tap).unwrap(), Vec::<String>::new());
    assert_eq!(home.capture().link.master, None);
    drop(file);
    home.bring_back();
    run("ip", &["link", "del", "dev", "br0"]);
    let left = home.restore(&captured);
    assert!(left.iter().any(|line| line.contains("br0")), "{left:?}");
    assert!(home.capture().link.up);
}

#[test]
fn what_is_another_s_keeps_its_place_and_what_differs_is_said() {
    let home = Home::new();
    let captured = home.capture();
    home.wipe();
    // The same default route by another device, a number of ours in use, a
    // rule gone.
    run("ip", &["route", "add", "default", "via", "10.99.0.2", "metric", "100"]);
    run("ip", &["nexthop", "add", "id", "5", "via", "10.99.0.5", "dev", "lab.eth1"]);
    run("ip", &["rule", "del", "priority", "1000"]);
    let left = home.restore(&captured);
    assert!(left.iter().any(|line| line.contains("next-hop object 5")), "{left:#?}");
    assert!(!left.iter().any(|line| line.contains("route 0.0.0.0/0")), "{left:#?}");
    let defaults = ip(&["route", "show", "default", "metric", "100"]);
    let devices: Vec<&str> = defaults.iter().filter_map(|route| route["dev"].as_str()).collect();
    assert_eq!(devices, ["lab.eth1", NAME]);
    // A lifetime, a sysctl, an address beside.
    run("ip", &["addr", "change", "10.77.0.7/24", "dev", NAME, "valid_lft", "300", "preferred_lft", "200"]);
    run("ip", &["addr", "add", "10.123.0.7/24", "dev", NAME]);
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{NAME}/rp_filter"), "0").unwrap();
    let found = differences(&captured, &home.capture());
    for word in ["10.77.0.7", "10.123.0.7", "rp_filter is 0, not 2"] {
        assert!(found.iter().any(|line| line.contains(word)), "{word}: {found:#?}");
    }
}

#[test]
fn what_a_program_adds_to_a_tap_meanwhile_is_the_hosts() {
    let home = Home::new();
    let captured = home.capture();
    home.send_away();
    let (number, file) = tap();
    // A routing daemon has its own again before we are ready.
    run("ip", &["link", "set", "dev", NAME, "up"]);
    run("ip", &["addr", "add", "10.123.0.7/24", "dev", NAME]);
    run("ip", &["nexthop", "add", "id", "7777", "via", "10.123.0.1", "dev", NAME]);
    run("ip", &["route", "add", "10.124.0.0/16", "nhid", "7777"]);
    run("ip", &["neigh", "add", "10.123.0.9", "lladdr", "02:00:5e:00:00:09", "dev", NAME]);
    run("ip", &["rule", "add", "iif", NAME, "lookup", "99", "priority", "1999"]);
    assert_eq!(restore(&home.own, number, &captured, Dressing::Tap).unwrap(), Vec::<String>::new());
    // It is told where it is asked for, and kept.
    let beside = differences(&captured, &home.capture());
    for word in ["10.123.0.7", "next-hop object 7777", "10.124.0.0/16", "10.123.0.9", "policy rule"] {
        assert!(beside.iter().any(|line| line.contains(word) && line.contains("beside")), "{word}: {beside:#?}");
    }
    drop(file);
}

#[test]
fn a_gateway_whose_way_is_gone_is_on_the_link() {
    let home = Home::bare();
    run("ip", &["link", "set", "dev", NAME, "up"]);
    run("ip", &["route", "add", "192.0.2.1/32", "dev", NAME]);
    run("ip", &["route", "add", "default", "via", "192.0.2.1", "dev", NAME]);
    run("ip", &["route", "del", "192.0.2.1/32", "dev", NAME]);
    settle();
    let captured = home.capture();
    for _ in 0..2 {
        home.wipe();
        let left = home.restore(&captured);
        assert_eq!(left.len(), 2, "{left:#?}");
        let routes = ip(&["route", "show", "default"]);
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0]["flags"][0], "onlink");
    }
}

#[test]
fn lifetimes_go_on_while_the_device_is_away() {
    let home = Home::new();
    let lifetimes = ["valid_lft", "560", "preferred_lft", "50"];
    for (family, addr) in [("-4", "10.77.0.7/24"), ("-6", "fd78::5/64")] {
        run("ip", &[&[family, "addr", "change", addr, "dev", NAME], &lifetimes[..]].concat());
    }
    run("ip", &["-6", "route", "change", "default", "via", "fe80::1", "dev", NAME, "metric", "100", "expires", "40"]);
    let mut captured = home.capture();
    home.wipe();
    // As if taken a minute ago, and not before a machine that is up for minutes was:
    // 560 are 500, 50 and 40 have run out.
    captured.taken_at -= 60;
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    let routes = ip(&["-6", "route", "show", "default", "metric", "100"]);
    assert!(routes.is_empty(), "{routes:?}");
    let links = ip(&["addr", "show", "dev", NAME]);
    for addr in ["10.77.0.7", "fd78::5"] {
        let infos = links[0]["addr_info"].as_array().unwrap();
        let info = infos.iter().find(|info| info["local"] == addr).unwrap();
        let left = info["valid_life_time"].as_u64().unwrap();
        assert!((490..=500).contains(&left), "{addr}: {left}");
        assert_eq!(info["preferred_life_time"], 0, "{addr}");
    }
}

#[test]
fn a_hundred_thousand_routes_take_seconds() {
    const COUNT: u32 = 100_000;
    let home = Home::bare();
    run("ip", &["link", "set", "dev", NAME, "up"]);
    run("ip", &["addr", "add", "10.77.0.5/24", "dev", NAME]);
    settle();
    let path = std::env::temp_dir().join(format!("hostnet-routes-{}", std::process::id()));
    let mut lines = String::new();
    for number in 0..COUNT {
        let [_, a, b, c] = number.to_be_bytes();
        lines += &format!("route add {}.{b}.{c}.0/24 via 10.77.0.1\n", 20 + u32::from(a));
    }
    std::fs::write(&path, lines).unwrap();
    run("ip", &["-batch", &path.to_string_lossy()]);
    std::fs::remove_file(&path).unwrap();
    let start = Instant::now();
    let captured = home.capture();
    let read = start.elapsed();
    assert_eq!(captured.routes.len(), COUNT as usize);
    home.wipe();
    let start = Instant::now();
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    let first = start.elapsed();
    let start = Instant::now();
    assert_eq!(home.restore(&captured), Vec::<String>::new());
    let second = start.elapsed();
    // Some seconds, unoptimised; a round trip and a look for each would take
    // minutes.
    let took = format!("capture {read:?}, restore {first:?}, again {second:?}");
    assert!(read + first + second < Duration::from_secs(60), "{took}");
}

#[test]
fn vpp_gets_what_it_can_hold_and_the_rest_is_named() {
    let home = Home::new();
    let captured = home.capture();
    let (config, left) = host_config(&captured);
    let routes: Vec<String> = config.routes.iter().map(ToString::to_string).collect();
    for wanted in [
        "default via 10.77.0.1",
        "10.1.0.0/16 via 10.77.0.1 mtu 1300",
        "10.2.0.0/16 via 198.51.100.1 onlink",
        "10.3.0.0/16",
        "10.4.0.0/16 via fd77::1",
        "10.6.0.0/16 nexthop via 10.77.0.1 weight 3 nexthop via 10.77.0.2 weight 1",
        "10.13.0.0/16 nexthop via 10.77.0.9 weight 1 nexthop via 198.51.100.9 weight 1 onlink",
        "10.79.0.2/32",
        "default via fe80::1",
        "fd10::/48 via fd77::1 mtu 1280",
        "fd19::/48 via fd77::9",
    ] {
        assert!(routes.iter().any(|route| route == wanted), "{wanted}: {routes:#?}");
    }
    // The prefixes of addresses are no routes, and the best metric won.
    assert!(
        !routes
            .iter()
            .any(|route| route.starts_with("10.78.0.0/24")
                || route.contains("10.77.0.2") && route.starts_with("default"))
    );
    for (wanted, why) in [
        ("10.5.0.0/16", "type of service"),
        ("10.7.0.0/16", "another device"),
        ("10.9.0.0/16", "encapsulates"),
        ("10.12.0.0/16", "another device"),
        ("232.0.0.0/8", "multicast"),
        ("metric 600", "metric 100 is better"),
        ("fd14::/48", "another device"),
    ] {
        assert!(left.iter().any(|line| line.contains(wanted) && line.contains(why)), "{wanted}: {left:#?}");
    }
    // The mirror brings other tables, as VPP's tables of that number.
    assert!(!left.iter().chain(&routes).any(|line| line.contains("table 100")), "{left:#?} {routes:#?}");
    let addresses: Vec<String> = config.addresses.iter().map(ToString::to_string).collect();
    for wanted in ["10.77.0.5/24", "10.78.0.5/24", "10.79.0.1/32", "fd77::5/64", "fd83::5/128", "10.83.0.5/32"] {
        assert!(addresses.iter().any(|addr| addr == wanted), "{wanted}: {addresses:?}");
    }
    // Nothing of a damaged message is believed, and none stops the rest.
    let mut damaged = captured;
    damaged.routes.push(RawMessage(vec![2, 0, 0]));
    damaged.addresses.push(RawMessage(Vec::new()));
    assert_eq!(host_config(&damaged).0, config);
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let home = Home::bare();
    assert!(capture(&home.own, &"nobody".parse().unwrap()).is_err());
    let captured = home.capture();
    assert!(restore(&home.own, 9999, &captured, Dressing::Device).is_err());
}
