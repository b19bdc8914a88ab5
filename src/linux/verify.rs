//! What the kernel has against what the plan says. Pure.
//!
//! What is there beyond the plan is no difference: from the moment that the
//! device appears it is the host's, whose network manager may add to it.

use std::collections::HashSet;

use super::wire::{AddressFacts, LinkFacts, RouteFacts, as_kernel_has_it};
use crate::engine::Plan;
use crate::model::{IfAddress, Route, RouteKind};

/// Every difference, in words; empty when there is none. `routes` are those
/// of our protocol number in the main table, other uplinks' among them.
pub(super) fn differences(
    plan: &Plan,
    link: &LinkFacts,
    addresses: &[AddressFacts],
    routes: &[RouteFacts],
) -> Vec<String> {
    let mut found = dress_differences(plan, link);
    if link.name != plan.device.name.as_str() {
        found.push(format!("its name is {}", link.name));
    }
    if !link.up {
        found.push("its link is down".to_owned());
    }
    // The host has those of a taken device as it had them before; VPP may have
    // one under another prefix length (`noprefixroute`, other sides).
    let prefix_counts = plan.takeover.is_none();
    address_differences(&plan.config.addresses, addresses, prefix_counts, &mut found);
    // Those of a taken device are not of our protocol; giving them to it has
    // compared them already.
    let routes_of_ours: &[Route] = if plan.takeover.is_some() { &[] } else { &plan.config.routes };
    let wanted: Vec<Route> = routes_of_ours
        .iter()
        .chain(&plan.cluster_routes)
        .map(|route| as_kernel_has_it(route, &plan.config.addresses))
        .collect();
    route_differences(&wanted, link.index, routes, &mut found);
    found
}

/// The differences of MAC and MTU.
pub(super) fn dress_differences(plan: &Plan, link: &LinkFacts) -> Vec<String> {
    let device = &plan.device;
    let mut found = Vec::new();
    if link.mac != Some(device.mac) {
        let mac = link.mac.map_or_else(|| "missing".to_owned(), |mac| mac.to_string());
        found.push(format!("its MAC is {mac}, not {}", device.mac));
    }
    if link.mtu != device.mtu {
        found.push(format!("its MTU is {}, not {}", link.mtu, device.mtu));
    }
    found
}

fn address_differences(wanted: &[IfAddress], held: &[AddressFacts], prefix_counts: bool, found: &mut Vec<String>) {
    for address in wanted {
        let is_it = |facts: &&AddressFacts| {
            facts.address == *address || (!prefix_counts && facts.address.addr() == address.addr())
        };
        match held.iter().find(is_it) {
            None => found.push(format!("address {address} is missing")),
            Some(facts) if facts.unusable => {
                found.push(format!("address {address} waits for, or failed, duplicate detection"));
            }
            Some(_) => {}
        }
    }
}

fn route_differences(wanted: &[Route], index: u32, held: &[RouteFacts], found: &mut Vec<String>) {
    // Sets: an uplink may carry a full table of routes.
    let is_here = |facts: &&RouteFacts| facts.route.kind != RouteKind::Unicast || facts.devices == [index];
    let here: HashSet<&Route> = held.iter().filter(is_here).map(|facts| &facts.route).collect();
    for route in wanted.iter().filter(|route| !here.contains(route)) {
        found.push(format!("route {route} is missing"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::model::ROUTE_PROTOCOL;

    fn address(text: &str) -> IfAddress {
        text.parse().unwrap()
    }

    fn held(text: &str, unusable: bool) -> AddressFacts {
        AddressFacts { address: address(text), broadcast: None, unusable }
    }

    #[test]
    fn the_prefix_length_of_a_taken_address_is_the_host_s() {
        let (wanted, there) = ([address("10.8.0.1/32")], [held("10.8.0.1/24", false)]);
        let differences = |prefix_counts: bool| {
            let mut found = Vec::new();
            address_differences(&wanted, &there, prefix_counts, &mut found);
            found
        };
        assert_eq!(differences(true), ["address 10.8.0.1/32 is missing"]);
        assert!(differences(false).is_empty());
    }

    #[test]
    fn missing_and_unusable_addresses_are_each_named_and_strange_ones_are_the_host_s() {
        let wanted = [address("10.0.0.1/24"), address("fd00::1/64"), address("fd00::2/64")];
        let mut found = Vec::new();
        let there = [held("10.0.0.1/24", false), held("fd00::1/64", true), held("10.9.9.9/8", false)];
        address_differences(&wanted, &there, true, &mut found);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("fd00::1/64") && found[0].contains("duplicate"));
        assert!(found[1].contains("fd00::2/64 is missing"));
    }

    #[test]
    fn a_route_of_another_device_is_not_ours() {
        let route = Route::via("10.0.0.0/8".parse().unwrap(), None);
        let there =
            |device| RouteFacts { route: route.clone(), devices: vec![device], protocol: ROUTE_PROTOCOL, metric: 0 };
        let check = |wanted: &[Route], held: &[RouteFacts]| {
            let mut found = Vec::new();
            route_differences(wanted, 3, held, &mut found);
            found
        };
        assert!(check(std::slice::from_ref(&route), &[there(3)]).is_empty());
        assert!(check(&[], &[there(4)]).is_empty());
        assert_eq!(check(std::slice::from_ref(&route), &[there(4)]).len(), 1);
        assert!(check(&[], &[there(3)]).is_empty());
    }
}
