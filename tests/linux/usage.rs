//! Who uses an interface, asked of the real kernel. A manager's files are
//! those of an empty tree: the machine's own say nothing of this namespace.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use hostnet::linux::{NetnsFile, Usage, usage};
use hostnet::model::Netns;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt};

use crate::lab::{Lab, run};

fn look(lab: &Lab, name: &str) -> Usage {
    usage(&NetnsFile::open(&lab.netns()).unwrap(), &name.parse().unwrap(), Path::new("/")).unwrap()
}

fn has(lines: &[String], parts: &[&str]) -> bool {
    lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn usage_of_an_idle_device_is_nothing() {
    let lab = Lab::new();
    run("ip", &["link", "add", "lab0", "type", "veth", "peer", "name", "lab1"]);
    let usage = look(&lab, "lab0");
    assert_eq!((usage.users, usage.interrupted), (Vec::new(), Vec::new()));
    let netns = NetnsFile::open(&lab.netns()).unwrap();
    let error = hostnet::linux::usage(&netns, &"lab9".parse().unwrap(), Path::new("/")).unwrap_err();
    assert_eq!(error.errno(), Some(nix::errno::Errno::ENODEV));
    assert!(NetnsFile::open(&Netns::Own).is_ok());
}

#[test]
fn usage_tells_routes_sockets_ports_and_queues() {
    let lab = Lab::new();
    run("ip", &["link", "add", "lab0", "type", "veth", "peer", "name", "lab1"]);
    run("ip", &["addr", "add", "192.0.2.1/24", "dev", "lab0"]);
    run("ip", &["addr", "add", "198.51.100.1/24", "dev", "lab1"]);
    run("ip", &["link", "set", "lab0", "up"]);
    run("ip", &["link", "set", "lab1", "up"]);
    run("ip", &["route", "add", "default", "via", "192.0.2.9", "metric", "7"]);
    run("ip", &["-6", "route", "add", "default", "via", "fe80::9", "dev", "lab0", "table", "77"]);
    run("ip", &["route", "add", "10.0.0.0/8", "nexthop", "via", "192.0.2.8", "nexthop", "via", "192.0.2.9"]);
    run("tc", &["qdisc", "add", "dev", "lab0", "clsact"]);
    run("ip", &["link", "set", "lab0", "promisc", "on"]);
    // A session from its address to another device's.
    let listener = TcpListener::bind("198.51.100.1:0").unwrap();
    let kind = (SockType::Stream, SockFlag::SOCK_CLOEXEC);
    let file = socket(AddressFamily::Inet, kind.0, kind.1, None).unwrap();
    nix::sys::socket::bind(
        std::os::fd::AsRawFd::as_raw_fd(&file),
        &"192.0.2.1:0".parse::<nix::sys::socket::SockaddrIn>().unwrap(),
    )
    .unwrap();
    let far: nix::sys::socket::SockaddrIn = listener.local_addr().unwrap().to_string().parse().unwrap();
    nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&file), &far).unwrap();
    let _session = TcpStream::from(file);
    // A DHCP client, as it were: one socket bound below IP, one to the device.
    let bound = socket(AddressFamily::Inet, SockType::Datagram, kind.1, None).unwrap();
    setsockopt(&bound, sockopt::BindToDevice, &"lab0".into()).unwrap();
    nix::sys::socket::bind(
        std::os::fd::AsRawFd::as_raw_fd(&bound),
        &"0.0.0.0:68".parse::<nix::sys::socket::SockaddrIn>().unwrap(),
    )
    .unwrap();

    let usage = look(&lab, "lab0");
    let mine = format!("(process {})", std::process::id());
    for parts in [
        &["IPv4 default route", "via 192.0.2.9", "metric 7"][..],
        &["IPv6 default route", "via fe80::9", "in table 77"],
        &["other IPv4 routes"],
        &["tc: clsact"],
        &["promiscuous"],
        &["1 TCP sessions, with 198.51.100.1"],
        &["UDP sockets bound to it", &mine],
    ] {
        assert!(has(&usage.users, parts), "{parts:?}: {usage:#?}");
    }
    for parts in [&["tc: clsact"][..], &["1 TCP sessions"], &["UDP sockets"]] {
        assert!(has(&usage.interrupted, parts), "{parts:?}: {usage:#?}");
    }
    // Of the other device none of it but what is its own.
    let other = look(&lab, "lab1");
    assert!(!has(&other.users, &["default route"]) && !has(&other.users, &["tc:"]), "{other:#?}");
}

#[test]
fn usage_tells_ports_children_and_packet_sockets() {
    let lab = Lab::new();
    run("ip", &["link", "add", "lab0", "type", "veth", "peer", "name", "lab1"]);
    run("ip", &["link", "add", "bridge0", "type", "bridge"]);
    run("ip", &["link", "set", "lab1", "master", "bridge0"]);
    run("ip", &["link", "add", "link", "lab0", "name", "vtap0", "type", "macvtap"]);
    let index = nix::net::if_::if_nametoindex("lab0").unwrap();
    let usage = look(&lab, "lab0");
    assert!(has(&usage.users, &["macvtap vtap0 is stacked on it"]), "{index}: {usage:#?}");
    assert!(has(&usage.interrupted, &["macvtap vtap0 loses its link"]), "{usage:#?}");
    let port = look(&lab, "lab1");
    assert!(has(&port.users, &["port of bridge bridge0"]), "{port:#?}");
    // A packet socket that hears every device is nobody's in particular.
    let kind = SockFlag::SOCK_CLOEXEC;
    let _all = socket(AddressFamily::Packet, SockType::Raw, kind, SockProtocol::EthAll).unwrap();
    assert!(!has(&look(&lab, "lab0").users, &["packet sockets"]));
}
