//! VPP's interface of an uplink that was taken from Linux: what Linux had is
//! put on it, looked at, and taken off again.
//!
//! All of it is idempotent. An af-packet interface wants the open file of its
//! netdev's namespace (see [`crate::vpp::namespace`]); others want `None`.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use crate::model::{IfAddress, MacAddr, Route};
use crate::vpp::{Barrier, Main, interface, namespace, route_ours};

/// Device class of VPP's af-packet.
pub(super) const AF_PACKET: &str = "af-packet";

/// What the interface is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The MAC of the host's device.
    pub mac: MacAddr,
    /// The MTU of the host's device, in bytes.
    pub mtu: u32,
    /// Take frames for any MAC.
    pub promiscuous: bool,
    /// The host's addresses; at most one of them IPv6 link-local.
    pub addresses: Vec<IfAddress>,
    /// Its driver has given it MAC and MTU, and set it up: to ask again may make
    /// the driver's process and ours wait for each other.
    pub dressed: bool,
}

/// What [`configure`] changed, for [`unconfigure`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// Addresses that were not there before, in the order of their adding.
    added: Vec<IfAddress>,
    /// IPv6 was off.
    enabled_ip6: bool,
    /// The interface was down.
    brought_up: bool,
}

impl Configured {
    /// All of it, on an interface that was made for it.
    pub(super) fn all(wanted: &Wanted) -> Self {
        let enabled_ip6 = link_local(&wanted.addresses).is_some();
        Self { added: as_vpp_holds(&wanted.addresses), enabled_ip6, brought_up: false }
    }
}

/// Every reason for which VPP cannot take these addresses into the tables of
/// IPv4 and IPv6. `own` is the interface that is to have them, if it is there.
pub fn refusals(main: &Main<'_>, own: Option<u32>, tables: (u32, u32), addresses: &[IfAddress]) -> Vec<String> {
    let mut found = Vec::new();
    let link_local = addresses.iter().filter(|address| address.is_link_local6()).count();
    if link_local > 1 {
        found.push(format!("VPP has one IPv6 link-local address an interface; this device has {link_local}"));
    }
    for other in interface::all(main).into_iter().filter(|index| Some(*index) != own) {
        let Some(there) = interface::get(main, other) else { continue };
        for taken in interface::addresses(main, other) {
            for address in addresses.iter().filter(|address| !address.is_link_local6()) {
                let same_table =
                    if address.addr().is_ipv4() { there.tables.0 == tables.0 } else { there.tables.1 == tables.1 };
                if same_table && overlap(*address, taken) {
                    found.push(format!(
                        "address {address} overlaps {taken} of VPP's interface {}; VPP has a prefix on one \
                         interface only: 'set interface ip address del {} {taken}' removes it",
                        there.name, there.name
                    ));
                }
            }
        }
    }
    found
}

/// Make the interface what is wanted, and bring it up. On an error what was
/// done is undone.
pub fn configure(
    barrier: &Barrier<'_>,
    sw_if_index: u32,
    netns: Option<BorrowedFd<'_>>,
    wanted: &Wanted,
) -> Result<Configured, String> {
    let mut done = Configured::default();
    let result = namespace::within(barrier, netns, || apply(barrier, sw_if_index, wanted, &mut done));
    match result {
        Ok(()) => Ok(done),
        Err(reason) => match unconfigure(barrier, sw_if_index, netns, &done) {
            Ok(()) => Err(reason),
            Err(undo) => Err(format!("{reason}; and its undoing failed: {undo}")),
        },
    }
}

fn apply(barrier: &Barrier<'_>, sw_if_index: u32, wanted: &Wanted, done: &mut Configured) -> Result<(), String> {
    let found = interface::get(barrier, sw_if_index).ok_or("the interface is gone")?;
    let name = &found.name;
    if wanted.dressed {
        return add_addresses(barrier, sw_if_index, &wanted.addresses, done);
    }
    if found.mac != wanted.mac {
        interface::set_mac(barrier, sw_if_index, wanted.mac)
            .map_err(|reason| format!("MAC {} of {name}: {reason}", wanted.mac))?;
    }
    // An af-packet's netdev has its MTU already, and VPP would add the frame's
    // overhead to it twice. Others may be unable to change: no harm as long as
    // they can carry what is wanted.
    if found.device_class != AF_PACKET
        && let Err(reason) = interface::set_hw_mtu(barrier, sw_if_index, wanted.mtu)
        && found.mtu < wanted.mtu
    {
        return Err(format!("MTU {} of {name}: {reason}", wanted.mtu));
    }
    interface::set_mtu(barrier, sw_if_index, wanted.mtu);
    interface::set_promiscuous(barrier, sw_if_index, wanted.promiscuous)
        .map_err(|reason| format!("promiscuous mode of {name}: {reason}"))?;
    // Up before the addresses: VPP sizes its tables of them then.
    if !found.admin_up {
        interface::set_admin_up(barrier, sw_if_index, true).map_err(|reason| format!("{name} up: {reason}"))?;
        done.brought_up = true;
    }
    add_addresses(barrier, sw_if_index, &wanted.addresses, done)
}

fn add_addresses(
    barrier: &Barrier<'_>,
    sw_if_index: u32,
    addresses: &[IfAddress],
    done: &mut Configured,
) -> Result<(), String> {
    // First, because the first IPv6 address would make VPP choose one itself.
    if let Some(link_local) = link_local(addresses) {
        let before = interface::link_local(barrier, sw_if_index);
        if before != Some(link_local) {
            interface::set_link_local(barrier, sw_if_index, link_local)?;
            done.enabled_ip6 = before.is_none();
        }
    }
    let there = interface::addresses(barrier, sw_if_index);
    for address in as_vpp_holds(addresses) {
        if !there.contains(&address) {
            interface::add_address(barrier, sw_if_index, address)
                .map_err(|reason| format!("address {address}: {reason}"))?;
            done.added.push(address);
        }
    }
    Ok(())
}

/// Take back what [`configure`] did: its addresses, IPv6, and up. MAC, MTU and
/// promiscuous mode stay, for the interface is deleted next.
pub fn unconfigure(
    barrier: &Barrier<'_>,
    sw_if_index: u32,
    netns: Option<BorrowedFd<'_>>,
    done: &Configured,
) -> Result<(), String> {
    namespace::within(barrier, netns, || {
        if interface::get(barrier, sw_if_index).is_none() {
            return Ok(());
        }
        let mut first = Ok(());
        let there = interface::addresses(barrier, sw_if_index);
        for address in done.added.iter().rev().filter(|address| there.contains(address)) {
            let result = interface::delete_address(barrier, sw_if_index, *address);
            first = first.and(result.map_err(|reason| format!("address {address}: {reason}")));
        }
        if done.enabled_ip6 {
            interface::disable_ip6(barrier, sw_if_index);
        }
        if done.brought_up {
            first = first.and(interface::set_admin_up(barrier, sw_if_index, false));
        }
        first
    })
}

/// What of the interface is not as wanted, in words.
pub fn differences(main: &Main<'_>, sw_if_index: u32, wanted: &Wanted) -> Vec<String> {
    let Some(found) = interface::get(main, sw_if_index) else {
        return vec![format!("VPP has no interface {sw_if_index}")];
    };
    let name = &found.name;
    let mut told = Vec::new();
    if found.mac != wanted.mac {
        told.push(format!("the MAC of {name} is {}, not {}", found.mac, wanted.mac));
    }
    if found.mtu != wanted.mtu {
        told.push(format!("the MTU of {name} is {}, not {}", found.mtu, wanted.mtu));
    }
    if interface::is_promiscuous(main, sw_if_index) != wanted.promiscuous {
        let is = if wanted.promiscuous { "not promiscuous" } else { "promiscuous" };
        told.push(format!("{name} is {is}"));
    }
    if !found.admin_up {
        told.push(format!("{name} is down"));
    }
    let there = interface::addresses(main, sw_if_index);
    for address in as_vpp_holds(&wanted.addresses) {
        if !there.contains(&address) {
            told.push(format!("{name} lacks the address {address}"));
        }
    }
    if let Some(wanted) = link_local(&wanted.addresses) {
        let found = interface::link_local(main, sw_if_index);
        if found != Some(wanted) {
            let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
            told.push(format!("the link-local address of {name} is {found}, not {wanted}"));
        }
    }
    told
}

/// Add at most `n` of the routes that are left, so that the workers do not
/// stand still for long; whether none is left.
pub fn add_routes<'r>(
    barrier: &Barrier<'_>,
    sw_if_index: u32,
    routes: &mut impl Iterator<Item = &'r Route>,
    n: usize,
) -> bool {
    each(routes, n, |route| route_ours::add(barrier, sw_if_index, route))
}

/// Take [`add_routes`] back, in the same way. Before the interface is deleted:
/// VPP would keep the routes, leading nowhere.
pub fn remove_routes<'r>(
    barrier: &Barrier<'_>,
    sw_if_index: u32,
    routes: &mut impl Iterator<Item = &'r Route>,
    n: usize,
) -> bool {
    each(routes, n, |route| route_ours::remove(barrier, sw_if_index, route))
}

/// Add what differs of at most `n` of the routes that are left to `told`;
/// whether none is left.
pub fn route_differences<'r>(
    main: &Main<'_>,
    sw_if_index: u32,
    routes: &mut impl Iterator<Item = &'r Route>,
    n: usize,
    told: &mut Vec<String>,
) -> bool {
    each(routes, n, |route| told.extend(route_ours::difference(main, sw_if_index, route)))
}

fn each<'r>(routes: &mut impl Iterator<Item = &'r Route>, n: usize, mut work: impl FnMut(&Route)) -> bool {
    for _ in 0..n {
        match routes.next() {
            Some(route) => work(route),
            None => return true,
        }
    }
    false
}

fn link_local(addresses: &[IfAddress]) -> Option<Ipv6Addr> {
    addresses.iter().find_map(|address| match address.addr() {
        IpAddr::V6(addr) if address.is_link_local6() => Some(addr),
        _ => None,
    })
}

fn overlap(a: IfAddress, b: IfAddress) -> bool {
    a.prefix().contains(b.addr()) || b.prefix().contains(a.addr())
}

/// The addresses as VPP can have them, without link-local ones. VPP refuses an
/// address within another's prefix unless its length is the same, where Linux
/// has for instance a service's address as /32 beside the host's /24: such a one
/// gets the wider prefix's length, and is the host's all the same.
pub(super) fn as_vpp_holds(addresses: &[IfAddress]) -> Vec<IfAddress> {
    let globals = || addresses.iter().copied().filter(|address| !address.is_link_local6());
    let mut out = Vec::new();
    for address in globals() {
        let widest = globals().filter(|other| overlap(address, *other)).map(|other| other.prefix_len()).min();
        let held = widest.and_then(|len| IfAddress::new(address.addr(), len)).unwrap_or(address);
        // The same address with two lengths is one to VPP.
        if !out.contains(&held) {
            out.push(held);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn held(addresses: &[&str]) -> Vec<String> {
        let addresses: Vec<IfAddress> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        as_vpp_holds(&addresses).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_within_another_ones_prefix_gets_its_length() {
        assert_eq!(
            held(&["192.0.2.9/32", "192.0.2.1/24", "10.0.0.1/8"]),
            ["192.0.2.9/24", "192.0.2.1/24", "10.0.0.1/8"]
        );
        assert_eq!(held(&["192.0.2.1/24", "192.0.2.1/32"]), ["192.0.2.1/24"]);
        assert_eq!(held(&["fe80::1/64", "2001:db8::1/64", "2001:db8::2/128"]), ["2001:db8::1/64", "2001:db8::2/64"]);
        assert_eq!(held(&["192.0.2.1/32", "192.0.2.2/32"]), ["192.0.2.1/32", "192.0.2.2/32"]);
    }
}
