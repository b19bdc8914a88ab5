//! Read everything that Linux has on an interface.

use std::collections::HashSet;
use std::net::IpAddr;

use nix::errno::Errno;
use nix::time::ClockId;

use super::lost::Fleeting;
use super::message::{attrs, push, put, u8_at, u32_at};
use super::view::{
    AF_INET, AF_INET6, Address, FIB_RULE_HDR, IFADDRMSG, NDMSG, NHMSG, Nexthop, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTMSG,
    RTN_ANYCAST, RTN_BROADCAST, RTN_LOCAL, RTN_MULTICAST, RTN_UNICAST, RTPROT_KERNEL, Route, ifa, rta, text_of,
};
use super::{link, sysctl};
use crate::linux::Error;
use crate::linux::netns::NetnsFile;
use crate::linux::rtnl::{NTF_PROXY, NUD_PERMANENT, RTM_GETADDR, RTM_GETNEIGH, RTM_GETNEXTHOP, RTM_GETROUTE};
use crate::linux::socket::Socket;
use crate::model::{Captured, IfName, Prefix, ROUTE_PROTOCOL, RawMessage};

const RTM_GETRULE: u16 = 34;

/// Attributes of rules (linux/fib_rules.h).
pub(super) const FRA_IIFNAME: u16 = 3;
pub(super) const FRA_OIFNAME: u16 = 17;
pub(super) const FRA_PROTOCOL: u16 = 21;
/// Of neighbours (linux/neighbour.h).
const NDA_IFINDEX: u16 = 8;
/// Where ndmsg has its flags.
const NDM_FLAGS: usize = 10;

/// Metric of the routes that the kernel makes from IPv6 addresses
/// (IP6_RT_PRIO_ADDRCONF).
const METRIC_ADDRCONF: u32 = 256;

/// Everything that Linux has on the interface of that name. Addresses of the
/// IPv6 autoconfiguration and routes that a router announced come with the
/// lifetimes that remain.
///
/// Left out is what the kernel makes from the addresses by itself, and what
/// is ours ([`ROUTE_PROTOCOL`]).
///
/// Fails when the device is not there, or changes all the time.
pub fn capture(netns: &NetnsFile, name: &IfName) -> Result<Captured, Error> {
    let guard = netns.enter()?;
    let found = Socket::open().and_then(|mut socket| {
        let link = link::by_name(&mut socket, name)?;
        read(&mut socket, link.index)
    });
    guard.leave()?;
    found
}

/// The same by its index, for a thread that is in the namespace.
pub(super) fn read(socket: &mut Socket, index: u32) -> Result<Captured, Error> {
    let link = link::by_index(socket, index)?;
    let addresses = addresses(socket, index)?;
    // Theirs are the lifetimes that count; the kernel may take its time for
    // the rest, while somebody else holds its locks.
    let taken_at = now();
    let nexthops = nexthops(socket, index)?;
    let ids: HashSet<u32> = nexthops.iter().filter_map(Nexthop::read).map(|nexthop| nexthop.id).collect();
    let views: Vec<Address> = addresses.iter().filter_map(Address::read).collect();
    let mut made_prefixes = HashSet::new();
    let mut routes = Vec::new();
    for message in routes_through(socket, index)? {
        let Some(route) = Route::read(&message) else { continue };
        if !route.uses(index) && !route.nexthop_id.is_some_and(|id| ids.contains(&id)) {
            continue;
        }
        if is_made_from(&route, &views, link.master.is_some()) {
            if route.kind == RTN_UNICAST {
                made_prefixes.insert(route.dst);
            }
        } else if route.protocol != ROUTE_PROTOCOL {
            routes.push(message);
        }
    }
    // A device that is down has no routes; in a VRF they are in its table,
    // which we do not know.
    let absent_routes =
        if link.up && link.master.is_none() { absent(&views, &made_prefixes, index) } else { Vec::new() };
    let sysctls = sysctl::read(&link.name);
    let pci = link::pci(socket.fd(), &link.name);
    Ok(Captured {
        taken_at,
        addresses,
        nexthops,
        routes,
        absent_routes,
        rules: rules(socket, link.name.as_str())?,
        neighbours: neighbours(socket, index)?,
        sysctls,
        pci,
        link,
    })
}

/// Seconds since boot; 0 where the clock cannot be read, which no Linux does.
pub(super) fn now() -> u64 {
    ClockId::CLOCK_BOOTTIME.now().ok().and_then(|time| u64::try_from(time.tv_sec()).ok()).unwrap_or(0)
}

/// A dump of what the kernel may not have at all: a family, a kind of object,
/// a table.
fn dump(socket: &mut Socket, what: &str, kind: u16, body: &[u8]) -> Result<Vec<RawMessage>, Error> {
    let missing = |error: &Error| {
        matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::ENOENT | Errno::EPFNOSUPPORT))
    };
    match socket.dump_raw(what, kind, body) {
        Err(error) if missing(&error) => Ok(Vec::new()),
        other => other,
    }
}

fn of_family(family: u8, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    put(&mut body, 0, &[family]);
    body
}

pub(super) fn addresses(socket: &mut Socket, index: u32) -> Result<Vec<RawMessage>, Error> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut body = of_family(family, IFADDRMSG);
        put(&mut body, 4, &index.to_ne_bytes());
        let answers = dump(socket, "list addresses", RTM_GETADDR, &body)?;
        found.extend(answers.into_iter().filter(|message| u32_at(&message.0, 4) == Some(index)));
    }
    Ok(found)
}

/// Every object of the namespace.
pub(super) fn all_nexthops(socket: &mut Socket) -> Result<Vec<RawMessage>, Error> {
    dump(socket, "list next-hop objects", RTM_GETNEXTHOP, &[0; NHMSG])
}

/// The objects that name the device, then the groups with one of them.
fn nexthops(socket: &mut Socket, index: u32) -> Result<Vec<RawMessage>, Error> {
    let all = all_nexthops(socket)?;
    let views: Vec<Option<Nexthop>> = all.iter().map(Nexthop::read).collect();
    let ours: HashSet<u32> =
        views.iter().flatten().filter(|nexthop| nexthop.oif == Some(index)).map(|nexthop| nexthop.id).collect();
    let (mut singles, mut groups) = (Vec::new(), Vec::new());
    for (message, view) in all.into_iter().zip(views) {
        let Some(view) = view.filter(|view| view.protocol != ROUTE_PROTOCOL) else { continue };
        if ours.contains(&view.id) {
            singles.push(message);
        } else if view.members.iter().any(|(id, _)| ours.contains(id)) {
            groups.push(message);
        }
    }
    singles.extend(groups);
    Ok(singles)
}

/// All routes through the device, of all tables, as far as the kernel tells;
/// one that does not know the filter gives everything.
pub(super) fn routes_through(socket: &mut Socket, index: u32) -> Result<Vec<RawMessage>, Error> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut body = of_family(family, RTMSG);
        push(&mut body, rta::OIF, &index.to_ne_bytes());
        found.extend(dump(socket, "list routes", RTM_GETROUTE, &body)?);
    }
    Ok(found)
}

/// Every route of the namespace.
pub(super) fn every_route(socket: &mut Socket) -> Result<Vec<RawMessage>, Error> {
    let mut found = dump(socket, "list routes", RTM_GETROUTE, &of_family(AF_INET, RTMSG))?;
    found.extend(dump(socket, "list routes", RTM_GETROUTE, &of_family(AF_INET6, RTMSG))?);
    Ok(found)
}

fn rules(socket: &mut Socket, name: &str) -> Result<Vec<RawMessage>, Error> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let answers = dump(socket, "list rules", RTM_GETRULE, &of_family(family, FIB_RULE_HDR))?;
        found.extend(answers.into_iter().filter(|message| {
            let all = attrs(&message.0, FIB_RULE_HDR);
            let is_ours = all.clone().any(|a| a.kind() == FRA_PROTOCOL && a.value.first() == Some(&ROUTE_PROTOCOL));
            !is_ours && [FRA_IIFNAME, FRA_OIFNAME].iter().any(|kind| text_of(all.clone(), *kind) == Some(name))
        }));
    }
    Ok(found)
}

/// What it would lose with its carrier; see [`Fleeting`].
pub(in crate::linux) fn fleeting(socket: &mut Socket, index: u32) -> Result<Fleeting, Error> {
    let nexthops = nexthops(socket, index)?;
    let ids: HashSet<u32> = nexthops.iter().filter_map(Nexthop::read).map(|nexthop| nexthop.id).collect();
    let by_object = |message: &RawMessage| {
        let view = Route::read(message).filter(|view| view.protocol != ROUTE_PROTOCOL);
        view.and_then(|view| view.nexthop_id).is_some_and(|id| ids.contains(&id))
    };
    let mut routes = if ids.is_empty() { Vec::new() } else { routes_through(socket, index)? };
    routes.retain(by_object);
    Ok(Fleeting { index, taken_at: now(), nexthops, routes, proxies: proxies(socket, index)? })
}

fn neighbours(socket: &mut Socket, index: u32) -> Result<Vec<RawMessage>, Error> {
    let mut found = neighbours_with(socket, index, 0)?;
    found.extend(proxies(socket, index)?);
    Ok(found)
}

/// Whether a neighbour is one that the host answers for.
pub(super) fn is_proxy(message: &RawMessage) -> bool {
    u8_at(&message.0, NDM_FLAGS) & NTF_PROXY != 0
}

/// The addresses that the host answers for on the device.
pub(in crate::linux) fn proxies(socket: &mut Socket, index: u32) -> Result<Vec<RawMessage>, Error> {
    neighbours_with(socket, index, NTF_PROXY)
}

fn neighbours_with(socket: &mut Socket, index: u32, flags: u8) -> Result<Vec<RawMessage>, Error> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut body = of_family(family, NDMSG);
        put(&mut body, NDM_FLAGS, &[flags]);
        push(&mut body, NDA_IFINDEX, &index.to_ne_bytes());
        let answers = dump(socket, "list neighbours", RTM_GETNEIGH, &body)?;
        found.extend(answers.into_iter().filter(|message| {
            // struct ndmsg: the state at 8, the flags at 10.
            let is_proxy = is_proxy(message);
            let is_permanent = u16::from_ne_bytes([u8_at(&message.0, 8), u8_at(&message.0, 9)]) == NUD_PERMANENT;
            let is_wanted = if flags == NTF_PROXY { is_proxy } else { is_permanent && !is_proxy };
            u32_at(&message.0, 4) == Some(index) && is_wanted
        }));
    }
    Ok(found)
}

/// Whether the kernel makes this route by itself when it is given the
/// addresses (fib_add_ifaddr in net/ipv4/fib_frontend.c, addrconf_prefix_route
/// in net/ipv6/addrconf.c).
fn is_made_from(route: &Route, addresses: &[Address], in_vrf: bool) -> bool {
    if route.protocol != RTPROT_KERNEL || route.legs.iter().any(|leg| leg.gateway.is_some()) {
        return false;
    }
    // The tables of a VRF are its own.
    let is_in = |table: u32| route.table == table || in_vrf;
    let mut same_family = addresses.iter().filter(|address| address.family == route.family);
    let dst = route.dst.addr();
    match route.kind {
        RTN_LOCAL => is_in(RT_TABLE_LOCAL) && same_family.any(|address| address.local == dst),
        RTN_BROADCAST => {
            is_in(RT_TABLE_LOCAL)
                && same_family
                    .any(|address| address.broadcast == Some(dst) || address.prefix().is_some_and(|p| is_edge(&p, dst)))
        }
        RTN_ANYCAST => {
            is_in(RT_TABLE_LOCAL)
                && same_family.any(|address| address.prefix().is_some_and(|prefix| prefix.addr() == dst))
        }
        // All multicast groups: with the device itself.
        RTN_MULTICAST => is_in(RT_TABLE_LOCAL) && route.family == AF_INET6 && route.dst.prefix_len() == 8,
        RTN_UNICAST => {
            let makes = |address: &Address| {
                let by_prefix = makes_prefix_route(address) && address.prefix() == Some(route.dst);
                (by_prefix || address.far_side() == Some(route.dst)) && route.metric == route_metric(address)
            };
            is_in(RT_TABLE_MAIN) && same_family.any(makes)
        }
        _ => false,
    }
}

/// The first or the last address of an IPv4 prefix.
fn is_edge(prefix: &Prefix, addr: IpAddr) -> bool {
    let (IpAddr::V4(first), IpAddr::V4(addr)) = (prefix.addr(), addr) else { return false };
    let hosts = u32::MAX.checked_shr(u32::from(prefix.prefix_len())).unwrap_or(0);
    addr == first || addr.to_bits() == first.to_bits() | hosts
}

/// Whether the kernel makes a route to its prefix.
fn makes_prefix_route(address: &Address) -> bool {
    let is_secondary = address.family == AF_INET && address.has(ifa::F_SECONDARY);
    // IPv4 makes one to the prefix of an own address only where it holds more
    // than that.
    let is_alone = address.family == AF_INET && address.prefix_len == 32 && address.local == address.peer;
    !address.has(ifa::F_NOPREFIXROUTE) && !is_secondary && !is_alone
}

/// The routes to prefixes of addresses that are not there, as requests to
/// delete them: taken away by hand, or never made for an address that a
/// router gave without saying that the prefix is on the link.
fn absent(addresses: &[Address], made: &HashSet<Prefix>, index: u32) -> Vec<RawMessage> {
    /// RT_SCOPE_NOWHERE: any.
    const ANY_SCOPE: u8 = 255;
    /// What rtmsg has room for of the table's number.
    const MAIN: u8 = RT_TABLE_MAIN.to_le_bytes()[0];
    let mut found: Vec<RawMessage> = Vec::new();
    for address in addresses.iter().filter(|address| makes_prefix_route(address) && !address.local.is_loopback()) {
        for prefix in address.prefix().into_iter().filter(|prefix| !made.contains(prefix)) {
            // struct rtmsg.
            let mut body = vec![
                address.family,
                prefix.prefix_len(),
                0,
                0,
                MAIN,
                RTPROT_KERNEL,
                ANY_SCOPE,
                RTN_UNICAST,
                0,
                0,
                0,
                0,
            ];
            match prefix.addr() {
                IpAddr::V4(addr) => push(&mut body, rta::DST, &addr.octets()),
                IpAddr::V6(addr) => push(&mut body, rta::DST, &addr.octets()),
            }
            push(&mut body, rta::OIF, &index.to_ne_bytes());
            push(&mut body, rta::PRIORITY, &route_metric(address).to_ne_bytes());
            let message = RawMessage(body);
            if !found.contains(&message) {
                found.push(message);
            }
        }
    }
    found
}

/// The metric of the route that the kernel makes from it.
fn route_metric(address: &Address) -> u32 {
    match address.metric {
        0 if address.family == AF_INET6 => METRIC_ADDRCONF,
        metric => metric,
    }
}

/// Set the flags of an address; the fixed part has room for the first eight.
pub(super) fn set_flags(message: &mut RawMessage, flags: u32) {
    let mut body =
        super::message::rewrite(&message.0, IFADDRMSG, |attr| (attr.kind() != ifa::FLAGS).then(|| attr.value.to_vec()));
    push(&mut body, ifa::FLAGS, &flags.to_ne_bytes());
    put(&mut body, 2, &[u8::try_from(flags & 0xff).unwrap_or(0)]);
    message.0 = body;
}
