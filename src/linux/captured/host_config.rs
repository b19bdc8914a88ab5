//! What VPP can hold of what Linux had. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use smallvec::SmallVec;

use super::view::{
    Address, Leg, Nexthop, RT_TABLE_MAIN, RTN_BLACKHOLE, RTN_PROHIBIT, RTN_UNICAST, RTN_UNREACHABLE, RTNH_F_ONLINK,
    Route as View, ifa,
};
use crate::model::{Captured, HostConfig, IfAddress, NextHop, Prefix, Route, RouteKind, host_len};

/// The addresses and the main table's routes of an interface as VPP is to
/// have them, and in words what it cannot hold, which stays on the host's
/// side alone. The best metric of a prefix wins, equal ones become one route
/// with several next hops.
pub fn host_config(captured: &Captured) -> (HostConfig, Vec<String>) {
    let mut left = Vec::new();
    let mut routes = routes(captured, &mut left);
    let addresses = addresses(captured, &mut routes, &mut left);
    // What follows from an address VPP makes by itself.
    let connected: HashSet<Prefix> = addresses.iter().map(IfAddress::prefix).collect();
    let is_plain = |route: &Route| {
        matches!(route.next_hops.as_slice(), [hop] if hop.gateway.is_none()) && route.kind == RouteKind::Unicast
    };
    let routes = routes.into_values().filter(|route| !(is_plain(route) && connected.contains(&route.prefix)));
    (HostConfig { addresses, routes: routes.collect() }, left)
}

fn addresses(captured: &Captured, routes: &mut BTreeMap<Order, Route>, left: &mut Vec<String>) -> Vec<IfAddress> {
    let mut found: Vec<IfAddress> = Vec::new();
    let absent: HashSet<Prefix> = captured.absent_routes.iter().filter_map(View::read).map(|view| view.dst).collect();
    let makes_route = |view: &Address| {
        let prefix = view.prefix().filter(|prefix| !absent.contains(prefix));
        prefix.filter(|_| !view.has(ifa::F_NOPREFIXROUTE))
    };
    let made: HashSet<Prefix> =
        captured.addresses.iter().filter_map(Address::read).filter_map(|view| makes_route(&view)).collect();
    for view in captured.addresses.iter().filter_map(Address::read) {
        if view.has(ifa::F_DADFAILED) {
            left.push(format!("{view}: somebody else has it (duplicate detection failed)"));
            continue;
        }
        let Some(prefix) = view.prefix() else { continue };
        let full = host_len(view.local);
        let has_route = made.contains(&prefix) || routes.contains_key(&order(&prefix));
        let mut len = if has_route { view.prefix_len } else { full };
        // VPP knows no other side: the way to it is a route.
        let mut far_side = view.far_side();
        if view.local.is_ipv4() && view.local != view.peer {
            len = full;
            far_side = makes_route(&view);
        }
        if let Some(prefix) = far_side {
            routes.entry(order(&prefix)).or_insert_with(|| Route::via(prefix, None));
        }
        if let Some(address) = IfAddress::new(view.local, len).filter(|address| !found.contains(address)) {
            found.push(address);
        }
    }
    found
}

/// The order of the routes, and what there is one for.
type Order = (bool, std::net::IpAddr, u8);

fn order(prefix: &Prefix) -> Order {
    (!prefix.is_ipv4(), prefix.addr(), prefix.prefix_len())
}

fn routes(captured: &Captured, left: &mut Vec<String>) -> BTreeMap<Order, Route> {
    let objects: HashMap<u32, Nexthop> =
        captured.nexthops.iter().filter_map(Nexthop::read).map(|nexthop| (nexthop.id, nexthop)).collect();
    let mut held: BTreeMap<Order, (u32, Route)> = BTreeMap::new();
    // Those of other tables come by the mirror, as VPP tables of that number.
    for view in captured.routes.iter().filter_map(View::read).filter(|view| view.table == RT_TABLE_MAIN) {
        let route = match convert(&view, captured.link.index, &objects) {
            Ok(route) => route,
            Err(why) => {
                left.push(format!("{view}: {why}"));
                continue;
            }
        };
        let key = order(&route.prefix);
        let Some((metric, best)) = held.get_mut(&key) else {
            held.insert(key, (view.metric, route));
            continue;
        };
        if view.metric == *metric && best.kind == RouteKind::Unicast && route.kind == RouteKind::Unicast {
            for hop in route.next_hops {
                if !best.next_hops.contains(&hop) {
                    best.next_hops.push(hop);
                }
            }
        } else if view.metric < *metric {
            left.push(format!("route {best} metric {metric}: metric {} is better", view.metric));
            (*metric, *best) = (view.metric, route);
        } else {
            left.push(format!("{view}: metric {metric} is better"));
        }
    }
    held.into_iter().map(|(key, (_, route))| (key, route)).collect()
}

fn convert(view: &View, index: u32, objects: &HashMap<u32, Nexthop>) -> Result<Route, String> {
    let mut kind = match view.kind {
        RTN_UNICAST => RouteKind::Unicast,
        RTN_BLACKHOLE => RouteKind::Blackhole,
        RTN_UNREACHABLE => RouteKind::Unreachable,
        RTN_PROHIBIT => RouteKind::Prohibit,
        _ => return Err("VPP holds no route of that kind here".to_owned()),
    };
    if view.src_len != 0 {
        return Err("it holds for some sources only".to_owned());
    }
    if view.tos != 0 {
        return Err("it holds for one type of service only".to_owned());
    }
    if view.dst.addr().is_multicast() {
        return Err("it is a route to multicast groups".to_owned());
    }
    let mut next_hops = SmallVec::new();
    if kind == RouteKind::Unicast {
        let legs = match view.nexthop_id {
            None => view.legs.clone(),
            Some(id) => match by_objects(id, objects)? {
                None => {
                    kind = RouteKind::Blackhole;
                    Vec::new()
                }
                Some(legs) => legs,
            },
        };
        for leg in legs {
            next_hops.push(hop(&leg, index)?);
        }
    }
    Ok(Route { prefix: view.dst, kind, next_hops, mtu: view.mtu })
}

fn hop(leg: &Leg, index: u32) -> Result<NextHop, String> {
    if leg.index != index {
        return Err("it goes through another device as well".to_owned());
    }
    if leg.encap {
        return Err("it encapsulates".to_owned());
    }
    let onlink = u32::from(leg.flags) & RTNH_F_ONLINK != 0;
    Ok(NextHop { gateway: leg.gateway, weight: u16::from(leg.hops) + 1, onlink })
}

/// The legs of an object or a group; `None` for a blackhole.
fn by_objects(id: u32, objects: &HashMap<u32, Nexthop>) -> Result<Option<Vec<Leg>>, String> {
    let elsewhere = |id: u32| format!("its next-hop object {id} goes through another device");
    let object = objects.get(&id).ok_or_else(|| elsewhere(id))?;
    if object.blackhole {
        return Ok(None);
    }
    let members = if object.members.is_empty() { vec![(id, 0)] } else { object.members.clone() };
    let mut legs = Vec::new();
    for (member, hops) in members {
        let object = objects.get(&member).ok_or_else(|| elsewhere(member))?;
        let index = object.oif.ok_or_else(|| elsewhere(member))?;
        let flags = if object.onlink { 4 } else { 0 };
        legs.push(Leg { index, gateway: object.gateway, hops, flags, encap: object.encap });
    }
    Ok(Some(legs))
}
