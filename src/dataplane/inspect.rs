//! What VPP says of an interface that is to be an uplink, and every reason
//! against it. Changes nothing.

use std::net::IpAddr;
use std::sync::Arc;

use super::Family;
use crate::engine::{Plan, UplinkFacts};
use crate::model::{HostConfig, IfAddress, IfName, Route};
use crate::vpp::{Main, NO_INTERFACE, fib, interface, neighbor, punt, route, tap_plugin};

/// VPP's IPv6 link-local addresses have no prefix length; Linux's have this
/// (RFC 4291, section 2.5.6).
const LINK_LOCAL_LEN: u8 = 64;

pub(super) fn inspect(
    main: &Main<'_>,
    sw_if_index: u32,
    others: &[Arc<Plan>],
    ours: &[(Family, u32)],
) -> Result<UplinkFacts, String> {
    let found = interface::get(main, sw_if_index)
        .ok_or_else(|| format!("there is no interface with sw_if_index {sw_if_index}"))?;
    let name = &found.name;
    let (mut refusals, mut unready) = (Vec::new(), Vec::new());
    if !found.ethernet || found.mac.is_zero() {
        refusals.push(format!("interface {name} is not an Ethernet interface; the host's device needs its MAC"));
    }
    if !found.admin_up {
        unready.push(format!("interface {name} is down: 'set interface state {name} up' first"));
    }
    if found.unnumbered {
        refusals.push(format!("interface {name} is unnumbered; an uplink needs addresses of its own"));
    }
    if found.l2 {
        refusals.push(format!("interface {name} is in a bridge domain or cross-connect; an uplink is layer 3"));
    }
    if tap_plugin::linux_cp_has_pair(main, sw_if_index) {
        refusals.push(format!("linux-cp has a pair on {name}: 'lcp delete {name}' first"));
    }
    refusals.extend(foreign_redirects(main, sw_if_index, name, ours));
    refusals.extend(foreign_proxy_arp(main, sw_if_index, found.tables.0));

    let mut addresses = interface::addresses(main, sw_if_index);
    let link_local =
        interface::link_local(main, sw_if_index).and_then(|addr| IfAddress::new(IpAddr::V6(addr), LINK_LOCAL_LEN));
    addresses.extend(link_local.filter(|address| !addresses.contains(address)));
    let mut routes = route::through(main, sw_if_index);
    mark_onlink(&mut routes, &addresses);

    let place = |route: &Route| {
        let fib = interface::fib_index(main, sw_if_index, !route.prefix.is_ipv4());
        fib::Place { fib, prefix: route.prefix }
    };
    let route_sources = routes.iter().map(|route| fib::best_source(main, place(route))).collect();

    Ok(UplinkFacts {
        route_sources,
        sw_if_index,
        linux_name: linux_name(name),
        mac: found.mac,
        mtu: found.mtu,
        tables: found.tables,
        config: HostConfig { addresses, routes },
        tap_plugin: tap_plugin::is_loaded(main),
        // The manager knows better when the plan is made.
        default_punt: !others.iter().any(|plan| plan.default_punt),
        refusals,
        unready,
        name: found.name,
    })
}

/// `host-eth0` stands on `eth0`: the name that VPP's af-packet gives.
fn linux_name(name: &str) -> Option<IfName> {
    name.strip_prefix("host-").and_then(|rest| rest.parse().ok())
}

/// Every reason on VPP's side against one more uplink, whichever it is.
pub(super) fn refusals_of_all(main: &Main<'_>, ours: &[(Family, u32)]) -> Vec<String> {
    let mut found = foreign_redirects(main, NO_INTERFACE, "all", ours);
    // Looked for under one interface only.
    found.dedup();
    // A taken uplink is in the default tables, which have the index 0.
    found.extend(proxy_arp_in(main, 0, 0));
    found
}

fn foreign_redirects(main: &Main<'_>, sw_if_index: u32, name: &str, ours: &[(Family, u32)]) -> Vec<String> {
    let mut found = Vec::new();
    for (family, text) in [(Family::Ip4, "ip"), (Family::Ip6, "ip6")] {
        for (rx, rx_text) in [(NO_INTERFACE, "all"), (sw_if_index, name)] {
            let is_ours = ours.contains(&(family, rx));
            if !is_ours && punt::redirect_exists(main, family == Family::Ip6, rx) {
                found.push(format!(
                    "a punt redirect is there that is not hostnet's: '{text} punt redirect del rx {rx_text}' removes it"
                ));
            }
        }
    }
    found
}

fn foreign_proxy_arp(main: &Main<'_>, sw_if_index: u32, table: u32) -> Vec<String> {
    proxy_arp_in(main, interface::fib_index(main, sw_if_index, false), table)
}

fn proxy_arp_in(main: &Main<'_>, fib: u32, table: u32) -> Vec<String> {
    neighbor::proxy_arp_ranges(main)
        .into_iter()
        .filter(|(of, _, _)| *of == fib)
        .map(|(_, lo, hi)| {
            format!(
                "proxy ARP range {lo} - {hi} of table {table} overlaps with what hostnet answers on the tap: \
                 'set arp proxy table-id {table} start {lo} end {hi} del' removes it"
            )
        })
        .collect()
}

/// A gateway that no address's prefix covers is on the link because the route
/// says so.
fn mark_onlink(routes: &mut [Route], addresses: &[IfAddress]) {
    for hop in routes.iter_mut().flat_map(|route| route.next_hops.iter_mut()) {
        if let Some(gateway) = hop.gateway {
            let link_local = matches!(gateway, IpAddr::V6(a) if a.is_unicast_link_local());
            hop.onlink = !link_local && !addresses.iter().any(|address| address.prefix().contains(gateway));
        }
    }
}
