//! What the kernel tells as things change, against what it has then.

mod loss;
mod rate;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use hostnet::engine::mirror::{KernelAddress, KernelEvent, KernelLink, KernelNeighbour, KernelNexthop};
use hostnet::linux::{Dump, DumpKind, DumpProgress, Monitor, NetnsFile};
use hostnet::model::{IfAddress, Netns};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

use crate::captured::settle;
use crate::lab::run;
use table::Routes;

const ALL: [DumpKind; 6] = [
    DumpKind::Links,
    DumpKind::Addresses,
    DumpKind::Nexthops,
    DumpKind::Routes4,
    DumpKind::Routes6,
    DumpKind::Neighbours,
];

/// Everything that was told, put together.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct World {
    links: BTreeMap<u32, KernelLink>,
    addresses: BTreeMap<(u32, IfAddress), KernelAddress>,
    nexthops: BTreeMap<u32, KernelNexthop>,
    /// Permanent ones: the others come and go by themselves.
    neighbours: BTreeMap<(u32, IpAddr), KernelNeighbour>,
    routes: Routes,
}

impl World {
    fn apply(&mut self, event: KernelEvent) {
        match event {
            KernelEvent::Link(link) => drop(self.links.insert(link.index, link)),
            KernelEvent::LinkGone(index) => drop(self.links.remove(&index)),
            KernelEvent::Address(address) => drop(self.addresses.insert((address.index, address.address), address)),
            KernelEvent::AddressGone(address) => drop(self.addresses.remove(&(address.index, address.address))),
            KernelEvent::Nexthop(nexthop) => drop(self.nexthops.insert(nexthop.id, nexthop)),
            KernelEvent::NexthopGone(id) => drop(self.nexthops.remove(&id)),
            KernelEvent::Neighbour(neighbour) if neighbour.permanent => {
                self.neighbours.insert((neighbour.index, neighbour.addr), neighbour);
            }
            KernelEvent::Neighbour(neighbour) | KernelEvent::NeighbourGone(neighbour) => {
                self.neighbours.remove(&(neighbour.index, neighbour.addr));
            }
            KernelEvent::Route { route, replaces, appended } => self.routes.add(route, replaces, appended),
            KernelEvent::RouteGone(route) => self.routes.delete(&route),
        }
    }
}

fn is_readable(fd: BorrowedFd<'_>, milliseconds: u16) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(milliseconds)).unwrap() > 0
}

fn wait(fd: BorrowedFd<'_>) {
    assert!(is_readable(fd, 20_000), "the kernel said nothing for 20 s");
}

fn dump_each(dump: &mut Dump, kind: DumpKind, sink: &mut dyn FnMut(KernelEvent)) -> DumpProgress {
    dump.start(kind).unwrap();
    loop {
        match dump.read(1000, sink).unwrap() {
            DumpProgress::More => {}
            end => return end,
        }
    }
}

/// A namespace with two pairs of devices, heard from the beginning.
struct Lab {
    own: NetnsFile,
    monitor: Monitor,
    told: World,
}

impl Lab {
    /// Nothing but a loopback device.
    fn bare(receive_buffer: usize) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces: run them as root");
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let own = NetnsFile::open(&Netns::Own).unwrap();
        let monitor = Monitor::open(&own, receive_buffer).unwrap();
        let mut lab = Self { own, monitor, told: World::default() };
        lab.told = lab.dumped();
        lab
    }

    fn new() -> Self {
        let mut lab = Self::bare(8 << 20);
        lab.run(SETUP);
        lab.agree("the lab itself");
        lab
    }

    #[allow(clippy::unused_self, reason = "a lab's maker is in its namespace; nobody else is to call it")]
    fn run(&self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            run("ip", &line.split_whitespace().collect::<Vec<_>>());
        }
    }

    fn dump(&self) -> Dump {
        Dump::open(&self.own).unwrap()
    }

    /// What the kernel has.
    fn dumped(&self) -> World {
        let mut dump = self.dump();
        let mut world = World::default();
        for kind in ALL {
            // Each way of being told of, before it is put together.
            while dump_each(&mut dump, kind, &mut |event| world.apply(as_appended(event))) != DumpProgress::Done {}
        }
        world
    }

    /// Hear what was told up to now.
    fn hear(&mut self) -> Vec<KernelEvent> {
        let mut events = Vec::new();
        loop {
            let outcome = self.monitor.read(10, &mut |event| events.push(event)).unwrap();
            assert!(!outcome.lost, "the buffer was large enough");
            if !outcome.more {
                break;
            }
        }
        for event in &events {
            self.told.apply(event.clone());
        }
        events
    }

    /// What was told makes what is there, as soon as all of it was told.
    fn agree(&mut self, after: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            settle();
            self.hear();
            let mut there = self.dumped();
            let mut told = self.told.clone();
            there.routes.sort_hops();
            told.routes.sort_hops();
            if told == there {
                return;
            }
            // The kernel does some things a moment later.
            if !is_readable(self.monitor.fd(), 2000) || Instant::now() > deadline {
                assert_eq!(told.routes.differences(&there.routes), Vec::<String>::new(), "after: {after}");
                assert_eq!(told, there, "after: {after}");
            }
        }
    }

    /// After each of those commands.
    fn agree_after_each(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.run(line);
            self.agree(line);
        }
    }
}

/// A dump has those of a prefix in their order.
fn as_appended(event: KernelEvent) -> KernelEvent {
    match event {
        KernelEvent::Route { route, .. } => KernelEvent::Route { route, replaces: false, appended: true },
        other => other,
    }
}

const SETUP: &str = "
    link set dev lo up
    link add dev da type veth peer name pa
    link add dev db type veth peer name pb
    link set dev pa up
    link set dev pb up
    link set dev da up
    link set dev db up
    addr add 10.0.0.1/24 dev da
    addr add 10.0.1.1/24 dev db
    -6 addr add fd00::1/64 dev da nodad
    -6 addr add fd01::1/64 dev db nodad
";

#[test]
fn ipv4_routes_are_told_as_they_are() {
    Lab::new().agree_after_each(
        "
        route add 10.1.0.0/16 via 10.0.0.2
        route replace 10.1.0.0/16 via 10.0.0.3
        route replace 10.1.0.0/16 via 10.0.0.3
        route change 10.1.0.0/16 via 10.0.0.4
        route add 10.1.0.0/16 via 10.0.0.5 metric 5
        route append 10.1.0.0/16 via 10.0.0.6
        route prepend 10.1.0.0/16 via 10.0.0.7
        route append 10.1.0.0/16 via 10.0.0.8
        route replace 10.1.0.0/16 via 10.0.0.9
        route replace 10.1.0.0/16 via 10.0.0.10 metric 5
        route del 10.1.0.0/16 via 10.0.0.6
        route append 10.1.0.0/16 nexthop via 10.0.0.2 weight 3 nexthop via 10.0.1.2
        route append blackhole 10.1.0.0/16
        route replace 10.1.0.0/16 nexthop via 10.0.0.2 nexthop via 10.0.1.2 weight 256
        route del 10.1.0.0/16
        route add 10.1.0.0/16 tos 0x10 via 10.0.0.2
        route replace 10.1.0.0/16 tos 0x10 via 10.0.0.3
        route append 10.1.0.0/16 dev da table 77
        route del 10.1.0.0/16 metric 5
        route replace 10.2.0.0/16 nexthop via 10.0.0.2 nexthop via 10.0.1.2
        route change 10.2.0.0/16 nexthop via 10.0.0.2 weight 9 nexthop via 10.0.1.2
        route append 10.2.0.0/16 dev da
        route del 10.2.0.0/16 nexthop via 10.0.0.2 weight 9 nexthop via 10.0.1.2
        route add 10.3.0.0/16 via 9.9.9.9 dev da onlink
        route add 10.4.0.0/16 via inet6 fd00::2 dev da mtu 1300 src 10.0.0.1
        route add 10.5.0.0/16 nexthop via inet6 fd00::2 dev da nexthop via 9.9.9.9 dev db onlink
        route add 10.6.0.0/16 encap ip id 5 dst 10.0.0.3 dev da
        route add throw 10.7.0.0/16 table 1000
        route add unreachable 10.8.0.0/16
        route add prohibit 10.9.0.0/16 metric 9
        route add default via 10.0.0.2 table 1000
        route add default via 10.0.0.2 proto 118
        route add local 10.10.0.0/16 dev lo
        route replace 10.3.0.0/16 via 10.0.0.2 mtu lock 1400
        route flush 10.1.0.0/16
        route flush table 1000
        ",
    );
}

#[test]
fn ipv6_routes_are_told_as_they_are() {
    Lab::new().agree_after_each(
        "
        -6 route add fd10::/48 via fd00::2
        -6 route replace fd10::/48 via fd00::3
        -6 route change fd10::/48 via fd00::4
        -6 route add fd10::/48 via fd00::5 metric 5
        -6 route append fd10::/48 via fd00::6
        -6 route append fd10::/48 via fd01::7
        -6 route append fd10::/48 dev da
        -6 route prepend fd10::/48 dev db
        -6 route del fd10::/48 via fd00::6
        -6 route replace fd10::/48 via fd00::9
        -6 route replace fd10::/48 dev da metric 5
        -6 route replace blackhole fd10::/48
        -6 route del fd10::/48 via fd00::9
        -6 route replace fd11::/48 nexthop via fd00::2 nexthop via fd01::2 nexthop via fd00::3
        -6 route replace fd11::/48 nexthop via fd00::2 weight 9 nexthop via fd01::2
        -6 route append fd11::/48 nexthop via fd00::a weight 7 nexthop via fd01::a
        -6 route del fd11::/48 nexthop via fd00::a weight 7 nexthop via fd01::2
        -6 route append fd11::/48 via fd00::4
        -6 route prepend fd11::/48 via fd00::5
        -6 route append fd11::/48 dev da
        -6 route replace fd11::/48 via fd00::6
        -6 route del fd11::/48
        -6 route del fd11::/48
        -6 route replace fd12::/48 dev da
        -6 route replace fd12::/48 via fd00::2
        -6 route replace fd12::/48 dev db
        -6 route replace fd12::/48 nexthop via fd00::2 nexthop via fd01::2
        -6 route replace unreachable fd12::/48
        -6 route add fd13::/48 from fd55::/64 via fd00::2
        -6 route append fd13::/48 via fd00::2
        -6 route append fd13::/48 from fd55::/64 via fd00::3
        -6 route add fd14::/48 via fd90::2 dev da onlink mtu 1300 src fd00::1
        -6 route add fd15::/48 encap ip6 id 5 dst fd00::3 dev da
        -6 route add throw fd16::/48 table 1000
        -6 route add default via fe80::1 dev da proto ra metric 100
        -6 route append default via fe80::2 dev da proto ra metric 100
        -6 route add default via fe80::1 dev da table 1000
        -6 route flush fd12::/48
        -6 route flush table 1000
        ",
    );
}

#[test]
fn a_route_that_was_only_partly_appended_is_told_of_as_it_is() {
    let mut lab = Lab::new();
    lab.run("-6 route add fd10::/48 nexthop via fd00::2 nexthop via fd01::2");
    let twice = ["-6", "route", "append", "fd10::/48", "nexthop", "via", "fd00::b", "nexthop", "via", "fd00::2"];
    assert!(!std::process::Command::new("ip").args(twice).output().unwrap().status.success());
    lab.agree("a refused command");
}

#[test]
fn next_hop_objects_are_told_as_they_are() {
    let mut lab = Lab::new();
    lab.agree_after_each(
        "
        nexthop add id 1 via 10.0.0.2 dev da
        nexthop add id 2 via 10.0.1.2 dev db
        nexthop add id 3 group 1,3/2
        nexthop add id 4 blackhole
        nexthop add id 5 via fd00::2 dev da
        nexthop add id 6 dev da
        nexthop add id 7 via fd01::2 dev db onlink
        nexthop add id 8 group 5/7
        nexthop add id 9 group 1/2 type resilient buckets 32
        nexthop add id 11 encap ip id 5 dst 10.0.0.3 dev da
        route add 10.1.0.0/16 nhid 1
        route add 10.2.0.0/16 nhid 3
        route add 10.3.0.0/16 nhid 4
        route add 10.4.0.0/16 nhid 5
        -6 route add fd10::/48 nhid 5
        -6 route add fd11::/48 nhid 8
        -6 route append fd10::/48 via fd01::2
        -6 route replace fd10::/48 via fd01::3
        nexthop replace id 1 via 10.0.0.7 dev da
        nexthop replace id 5 via fd00::7 dev da
        nexthop replace id 3 group 1
        route replace 10.2.0.0/16 nhid 2
        -6 route replace fd11::/48 nhid 7
        -6 route del fd10::/48 nhid 5
        nexthop del id 8
        ",
    );
    std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
    // Told by number alone from now on; what came before is so in the dump too.
    lab.told = lab.dumped();
    lab.agree_after_each(
        "
        route replace 10.1.0.0/16 nhid 3
        -6 route add fd12::/48 nhid 5
        nexthop replace id 5 via fd00::8 dev da
        ",
    );
    let by_number = |route: &hostnet::engine::mirror::KernelRoute| route.nexthop_id == Some(3) && route.hops.is_empty();
    assert!(lab.told.routes.all().any(by_number), "{:#?}", lab.told.routes);
}

#[test]
fn links_addresses_and_neighbours_are_told_as_they_are() {
    let mut lab = Lab::new();
    lab.agree_after_each(
        "
        link set dev da mtu 1400
        neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 dev da nud permanent
        neigh replace 10.0.0.7 lladdr 02:00:00:00:00:08 dev da nud permanent
        neigh add 10.0.0.8 lladdr 02:00:00:00:00:07 dev da nud permanent
        neigh change 10.0.0.7 lladdr 02:00:00:00:00:08 dev da nud stale
        neigh del 10.0.0.8 dev da
        neigh add fd00::7 lladdr 02:00:00:00:00:08 dev da nud permanent
        neigh add 10.0.1.9 lladdr 02:00:00:00:00:09 dev db nud permanent extern_learn
        neigh add proxy 10.0.0.10 dev da
        link set dev da address 02:00:00:00:aa:aa
        addr add 10.0.9.1 peer 10.0.9.2/32 dev da
        addr add 10.0.8.1/24 dev da
        addr add 10.0.8.2/24 dev da
        addr del 10.0.8.1/24 dev da
        -6 addr add fd09::1/64 dev da
        -6 addr change fd09::1/64 dev da preferred_lft 0 valid_lft 1000
        -6 addr del fd09::1/64 dev da
        link set dev pa name pa2
        link set dev pa2 down
        link set dev pa2 up
        link add dev dc type veth peer name pc
        link del dev dc
        ",
    );
    let veth = lab.told.links.values().find(|link| link.name == "da").unwrap();
    assert_eq!((veth.kind.as_deref(), veth.parent, veth.mtu, veth.up), (Some("veth"), None, 1400, true));
    let carrier = |lab: &Lab| lab.told.links.values().find(|link| link.name == "da").unwrap().carrier;
    lab.run("link set dev pa2 down");
    lab.agree("the peer is down");
    assert!(!carrier(&lab));
    lab.run("link set dev pa2 up");
    lab.agree("the peer is up");
    assert!(carrier(&lab));
}

/// Events tell of it: the dump passes over what stands between two hops.
#[test]
fn a_dump_leaves_out_what_stands_between_the_hops_of_an_ipv6_route() {
    let mut lab = Lab::new();
    lab.agree_after_each(
        "
        -6 route add fd10::/48 via fd00::2
        -6 route append fd10::/48 dev da
        ",
    );
    lab.run("-6 route append fd10::/48 via fd01::2");
    lab.hear();
    let told = |world: &World| world.routes.all().filter(|route| route.prefix.to_string() == "fd10::/48").count();
    assert_eq!((told(&lab.told), told(&lab.dumped())), (2, 1));
    lab.run("-6 route del fd10::/48 via fd01::2");
    lab.agree("nothing stands between any more");
}

/// What goes without a word, which is why the mirror looks anew after it.
#[test]
fn what_goes_silently_is_what_the_room_says() {
    let mut lab = Lab::new();
    lab.agree_after_each(
        "
        link add dev dc type veth peer name pc
        link set dev pc up
        link set dev dc up
        addr add 10.0.2.1/24 dev dc
        nexthop add id 1 via 10.0.0.2 dev da
        nexthop add id 2 via 10.0.1.2 dev db
        nexthop add id 3 group 1/2
        route add 10.1.0.0/16 via 10.0.2.2
        route add 10.2.0.0/16 nexthop via 10.0.2.2 nexthop via 10.0.1.2
        route add 10.3.0.0/16 via 10.0.1.2
        route add 10.4.0.0/16 nhid 1
        route add 10.5.0.0/16 nhid 3
        -6 route add fd11::/48 nexthop via fd00::2 nexthop via fd01::2
        -6 route add fd12::/48 via fd01::2
        ",
    );
    // Its last address: the routes by that device, connected and all.
    lab.run("addr del 10.0.2.1/24 dev dc");
    assert_eq!(lab.unsaid(), ["10.1.0.0/16"]);
    // An object: the IPv4 routes by it.
    lab.run("nexthop del id 1");
    assert_eq!(lab.unsaid(), ["10.4.0.0/16", "hops of 10.5.0.0/16"]);
    // A device down: IPv4 routes, objects and groups; of IPv6 each word comes.
    lab.run("link set dev db down");
    assert_eq!(
        lab.unsaid(),
        ["10.0.1.0/24", "10.0.1.255/32", "10.2.0.0/16", "10.3.0.0/16", "10.5.0.0/16", "nexthop 2", "nexthop 3"]
    );
    // The dead hop went on living; now the last goes, each with its word.
    lab.run("link set dev da down");
    assert_eq!(lab.unsaid(), ["10.0.0.0/24", "10.0.0.255/32"]);
}

impl Lab {
    /// What is not there any more, or otherwise, without having been told.
    fn unsaid(&mut self) -> Vec<String> {
        let there = loop {
            settle();
            self.hear();
            let there = self.dumped();
            if self.hear().is_empty() {
                break there;
            }
        };
        let mut gone = self.told.routes.unlike(&there.routes);
        gone.extend(
            self.told.nexthops.keys().filter(|id| !there.nexthops.contains_key(id)).map(|id| format!("nexthop {id}")),
        );
        gone.sort();
        assert_eq!(there.routes.unlike(&self.told.routes).iter().filter(|text| !gone.contains(text)).count(), 0);
        self.told = there;
        gone
    }
}
