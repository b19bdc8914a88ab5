//! The uplink itself: addresses, MTU, MAC, state, neighbours, and the tap that
//! follows it.

use std::net::IpAddr;

use super::super::uplink::{AF_PACKET, as_vpp_holds};
use super::super::{Family, Uplink, set_group_features};
use super::macs::Macs;
use crate::engine::mirror::{LinkOp, UplinkState};
use crate::model::{Backend, IfAddress, MacAddr};
use crate::nodes;
use crate::vpp::neighbor::{HostRoute, Neighbor};
use crate::vpp::uplink::af_packet;
use crate::vpp::{Barrier, Main, driver, interface, namespace, neighbor, tap_plugin};

/// Carry out one operation. `held` are the addresses that Linux has.
pub(super) fn apply(
    barrier: &Barrier<'_>,
    uplink: &mut Uplink,
    sw_if_index: u32,
    held: &mut Vec<IfAddress>,
    macs: &mut Macs,
    op: &LinkOp,
) -> Result<(), String> {
    if interface::get(barrier, sw_if_index).is_none() {
        return Err("the interface is gone".to_owned());
    }
    let result = match *op {
        LinkOp::AddAddress(address) => change_addresses(barrier, sw_if_index, held, address, true),
        LinkOp::DeleteAddress(address) => change_addresses(barrier, sw_if_index, held, address, false),
        LinkOp::SetLinkLocal(address) if interface::link_local(barrier, sw_if_index) == Some(address) => Ok(()),
        LinkOp::SetLinkLocal(address) => interface::set_link_local(barrier, sw_if_index, address),
        LinkOp::SetMtu(mtu) => set_mtu(barrier, uplink, sw_if_index, mtu),
        LinkOp::SetMac(mac) => set_mac(barrier, uplink, sw_if_index, mac),
        LinkOp::SetUp(up) => within(barrier, uplink, || interface::set_admin_up(barrier, sw_if_index, up)),
        LinkOp::AddNeighbour(addr, mac) => neighbor::add(barrier, sw_if_index, addr, mac, HostRoute::Yes),
        LinkOp::DeleteNeighbour(addr) => {
            neighbor::delete(barrier, sw_if_index, addr);
            Ok(())
        }
        LinkOp::SetMacs(ref all) => macs.set(barrier, uplink.id, sw_if_index, all),
        LinkOp::SetGroups(ref groups) => match uplink.living_tap() {
            Some(tap) => {
                nodes::set_groups(barrier, tap.sw_if_index, groups.clone());
                set_group_features(barrier, sw_if_index, groups)
            }
            None => Err("the tap is gone".to_owned()),
        },
        // It has that of the uplink below.
        LinkOp::SetTapCarrier(_) if uplink.sub.is_some() => Ok(()),
        LinkOp::SetTapCarrier(up) => match uplink.living_tap() {
            Some(tap) if tap.backend == Backend::Vhost => tap_plugin::set_carrier(barrier, tap.sw_if_index, up),
            Some(tap) => driver::set_carrier(barrier, tap.sw_if_index, up),
            None => Err("the tap is gone".to_owned()),
        },
    };
    if matches!(op, LinkOp::AddAddress(_) | LinkOp::DeleteAddress(_) | LinkOp::SetLinkLocal(_)) {
        follow_addresses(barrier, uplink, sw_if_index);
    }
    result
}

/// With the main thread where the uplink's netdev is, if it has one.
fn within<R>(barrier: &Barrier<'_>, uplink: &Uplink, work: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    namespace::within(barrier, uplink.taken.as_ref().and_then(super::super::taken::Taken::netns), work)
}

/// Nobody answers on the tap for the host's own addresses.
pub(super) fn follow_addresses(barrier: &Barrier<'_>, uplink: &Uplink, sw_if_index: u32) {
    let Some(tap) = uplink.living_tap() else { return };
    let mut own: Vec<IpAddr> = interface::addresses(barrier, sw_if_index).iter().map(IfAddress::addr).collect();
    own.extend(interface::link_local(barrier, sw_if_index).map(IpAddr::V6));
    nodes::set_own(barrier, tap.sw_if_index, own);
}

/// What is to be there when one address comes or goes, and what has to be
/// changed for it: addresses to take away, then addresses to add.
fn change(
    there: &[IfAddress],
    held: &[IfAddress],
    address: IfAddress,
    add: bool,
) -> (Vec<IfAddress>, Vec<IfAddress>, Vec<IfAddress>) {
    let goes = |one: &IfAddress| if add { one.addr() == address.addr() } else { *one == address };
    let mut wanted: Vec<IfAddress> = held.iter().copied().filter(|one| !goes(one)).collect();
    if add {
        wanted.push(address);
    }
    // What VPP's user has put there stays, as far as it does not overlap.
    let ours = as_vpp_holds(held);
    let foreign = there.iter().filter(|one| !ours.contains(one) && one.addr() != address.addr());
    let all: Vec<IfAddress> = wanted.iter().chain(foreign).copied().collect();
    let after = as_vpp_holds(&all);
    let gone = there.iter().filter(|one| !after.contains(one)).copied().collect();
    let new = after.iter().filter(|one| !there.contains(one)).copied().collect();
    (wanted, gone, new)
}

fn change_addresses(
    barrier: &Barrier<'_>,
    sw_if_index: u32,
    held: &mut Vec<IfAddress>,
    address: IfAddress,
    add: bool,
) -> Result<(), String> {
    let there = interface::addresses(barrier, sw_if_index);
    // What VPP's user took away is not put back for another's sake.
    held.retain(|one| there.iter().any(|has| has.addr() == one.addr()));
    let (wanted, gone, new) = change(&there, held, address, add);
    let known = if gone.is_empty() { Vec::new() } else { neighbor::all(barrier, sw_if_index) };
    let mut done: Vec<(IfAddress, bool)> = Vec::new();
    let steps = gone.iter().map(|one| (*one, false)).chain(new.iter().map(|one| (*one, true)));
    for (one, is_add) in steps {
        if let Err(reason) = step(barrier, sw_if_index, one, is_add) {
            // As it was before: no address is lost for one that VPP refuses.
            for (one, was_add) in done.into_iter().rev() {
                if let Err(again) = step(barrier, sw_if_index, one, !was_add) {
                    log::error!("address {one} is not as it was: {again}");
                }
            }
            return Err(format!("address {one}: {reason}"));
        }
        done.push((one, is_add));
    }
    *held = wanted;
    keep_neighbours(barrier, sw_if_index, &known);
    Ok(())
}

/// With an address VPP forgets the neighbours of its prefix, and drops what
/// comes until it has found them anew. Those that another address of the
/// interface is on one link with stay.
fn keep_neighbours(barrier: &Barrier<'_>, sw_if_index: u32, known: &[Neighbor]) {
    if known.is_empty() {
        return;
    }
    let (there, addresses) = (neighbor::all(barrier, sw_if_index), interface::addresses(barrier, sw_if_index));
    let is_lost = |one: &&Neighbor| {
        let is_there = there.iter().any(|other| other.addr == one.addr);
        // Of an address that came to the host from another machine that one is no more.
        let is_own = addresses.iter().any(|address| address.addr() == one.addr);
        let is_covered = addresses.iter().any(|address| address.prefix().contains(one.addr));
        !one.is_static && !is_there && !is_own && is_covered
    };
    for one in known.iter().filter(is_lost) {
        if let Err(reason) = neighbor::learned(barrier, sw_if_index, one.addr, one.mac) {
            log::warn!("{reason}; it is found anew");
        }
    }
}

fn step(barrier: &Barrier<'_>, sw_if_index: u32, address: IfAddress, add: bool) -> Result<(), String> {
    if add {
        interface::add_address(barrier, sw_if_index, address)
    } else {
        interface::delete_address(barrier, sw_if_index, address)
    }
}

fn set_mtu(barrier: &Barrier<'_>, uplink: &Uplink, sw_if_index: u32, mtu: u32) -> Result<(), String> {
    let found = interface::get(barrier, sw_if_index).ok_or("the interface is gone")?;
    let set = within(barrier, uplink, || {
        // The wire's is that of the uplink below, which carries the tag as well.
        if uplink.sub.is_some() {
            let below = interface::get(barrier, found.sup_sw_if_index).map_or(0, |below| below.mtu);
            return if mtu > below { Err(format!("the uplink below has {below}")) } else { Ok(()) };
        }
        if found.device_class == AF_PACKET {
            return af_packet::set_netdev_mtu(barrier, &found.name, mtu);
        }
        interface::set_hw_mtu(barrier, sw_if_index, mtu)
    });
    // Not able to change is no harm as long as it can carry what is wanted.
    if let Err(reason) = set
        && found.mtu < mtu
    {
        return Err(format!("MTU {mtu} of {}: {reason}", found.name));
    }
    interface::set_mtu(barrier, sw_if_index, mtu);
    if let Some(tap) = uplink.living_tap() {
        interface::set_mtu(barrier, tap.sw_if_index, mtu);
    }
    Ok(())
}

/// The uplink's MAC is the host's: what leads to the host follows.
fn set_mac(barrier: &Barrier<'_>, uplink: &Uplink, sw_if_index: u32, mac: MacAddr) -> Result<(), String> {
    // A VLAN has its own towards the host alone: the wire's is that of the uplink
    // below.
    if uplink.sub.is_none() {
        within(barrier, uplink, || interface::set_mac(barrier, sw_if_index, mac))?;
    }
    let Some(tap) = uplink.living_tap().filter(|tap| tap.neighbours) else { return Ok(()) };
    [Family::Ip4, Family::Ip6]
        .into_iter()
        .try_for_each(|family| neighbor::add(barrier, tap.sw_if_index, family.next_hop(), mac, HostRoute::No))
}

/// The interface as VPP has it.
pub(super) fn state(main: &Main<'_>, sw_if_index: u32, held: &[IfAddress], is_child: bool) -> Option<UplinkState> {
    let found = interface::get(main, sw_if_index)?;
    Some(UplinkState {
        addresses: as_linux_holds(&interface::addresses(main, sw_if_index), held),
        link_local: interface::link_local(main, sw_if_index),
        mac: found.mac,
        mtu: found.mtu,
        up: found.admin_up,
        carrier: found.link_up,
        // A VLAN's device tells the speed of the one below by itself.
        speed: (!is_child && !matches!(found.link_kbps, 0 | u32::MAX)).then_some(found.link_kbps / 1000),
        neighbours: neighbor::all(main, sw_if_index)
            .iter()
            .filter(|one| one.is_static)
            .map(|one| (one.addr, one.mac))
            .collect(),
    })
}

/// The reverse of [`as_vpp_holds`]: VPP's addresses with the lengths that Linux
/// has them with, where it has them.
fn as_linux_holds(there: &[IfAddress], held: &[IfAddress]) -> Vec<IfAddress> {
    // One that VPP's user took away widens no other.
    let is_in = |list: &[IfAddress], one: &IfAddress| list.iter().any(|other| other.addr() == one.addr());
    let of_linux = held.iter().filter(|one| is_in(there, one));
    let all: Vec<IfAddress> = of_linux.chain(there.iter().filter(|one| !is_in(held, one))).copied().collect();
    let forms = as_vpp_holds(&all);
    let mut out = Vec::new();
    for address in there {
        let linux: Vec<IfAddress> = held.iter().copied().filter(|one| one.addr() == address.addr()).collect();
        if linux.is_empty() || !forms.contains(address) {
            out.push(*address);
        } else {
            out.extend(linux);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn list(texts: &[&str]) -> Vec<IfAddress> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn one(text: &str) -> IfAddress {
        list(&[text])[0]
    }

    #[test]
    fn a_service_address_takes_the_wider_length_and_gives_it_back() {
        let (host, service) = (list(&["192.0.2.1/24"]), one("192.0.2.9/32"));
        let (held, gone, new) = change(&host, &host, service, true);
        assert_eq!((gone, new), (vec![], list(&["192.0.2.9/24"])));
        // The wide one goes: what it covered has its own length again.
        let there = list(&["192.0.2.1/24", "192.0.2.9/24"]);
        let (held, gone, new) = change(&there, &held, host[0], false);
        assert_eq!((held, gone, new), (vec![service], there, vec![service]));
        // The wide one comes after.
        let (_, gone, new) = change(&[service], &[service], host[0], true);
        assert_eq!((gone, new), (vec![service], list(&["192.0.2.9/24", "192.0.2.1/24"])));
    }

    #[test]
    fn a_length_that_vpp_has_anyway_changes_nothing() {
        let (there, held) = (list(&["192.0.2.1/24", "192.0.2.9/24"]), list(&["192.0.2.1/24", "192.0.2.9/32"]));
        let (held, gone, new) = change(&there, &held, one("192.0.2.9/24"), true);
        assert_eq!((held, gone, new), (there, vec![], vec![]));
        let (held, gone, new) = change(&list(&["10.0.0.1/32"]), &list(&["10.0.0.1/32"]), one("10.0.0.1/8"), true);
        assert_eq!((held, gone, new), (list(&["10.0.0.1/8"]), list(&["10.0.0.1/32"]), list(&["10.0.0.1/8"])));
    }

    #[test]
    fn what_a_user_of_vpp_added_stays() {
        let (there, held) = (list(&["192.0.2.1/24", "10.0.0.1/8"]), list(&["192.0.2.1/24"]));
        let (_, gone, new) = change(&there, &held, held[0], false);
        assert_eq!((gone, new), (held, vec![]));
        let (_, gone, new) = change(&there, &[], there[1], false);
        assert_eq!((gone, new), (list(&["10.0.0.1/8"]), vec![]));
    }

    #[test]
    fn what_is_there_already_is_not_touched() {
        let there = list(&["192.0.2.1/24", "192.0.2.9/24"]);
        let held = list(&["192.0.2.1/24", "192.0.2.9/32"]);
        let (_, gone, new) = change(&there, &held, held[1], true);
        assert_eq!((gone, new), (vec![], vec![]));
    }

    #[test]
    fn linux_is_told_its_own_lengths() {
        let held = list(&["192.0.2.1/24", "192.0.2.9/32"]);
        assert_eq!(as_linux_holds(&list(&["192.0.2.1/24", "192.0.2.9/24"]), &held), held);
        // Of VPP's user's own, and one that VPP's user gave another length.
        let there = list(&["192.0.2.1/24", "10.0.0.1/8"]);
        assert_eq!(as_linux_holds(&there, &held), there);
        assert_eq!(as_linux_holds(&list(&["192.0.2.9/28"]), &held), list(&["192.0.2.9/28"]));
        // The wide one was taken away in VPP: what it had widened is told as it is.
        assert_eq!(as_linux_holds(&list(&["192.0.2.9/24"]), &held), list(&["192.0.2.9/24"]));
    }
}
