//! The steps that give an interface back, in their order. Pure.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};

use super::clean::{self, Move};
use super::view::{AF_INET6, Address, Nexthop, Route};
use crate::linux::rtnl::{RTM_DELROUTE, RTM_NEWADDR, RTM_NEWNEIGH, RTM_NEWNEXTHOP, RTM_NEWROUTE};
use crate::linux::socket::RawRequest;
use crate::model::{Captured, RawMessage};

const RTM_NEWRULE: u16 = 32;

/// What is dressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dressing {
    /// The device itself: everything, its name, MAC, MTU and master included.
    Device,
    /// A TAP device in its place: name, MAC and MTU are its maker's, and it
    /// joins no bridge or bond.
    Tap,
}

/// What a message is, which says what a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Address,
    AbsentRoute,
    Nexthop,
    Route,
    Rule,
    Neighbour,
}

/// One step.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Name, MAC, MTU, master.
    Identity,
    /// Alias, alternative names, transmit queue, group.
    Details,
    /// No IPv6 addresses of the kernel's own making.
    NoGeneration,
    /// Sysctls; `false`: before addresses, those held back that would have
    /// the kernel make some.
    Sysctls(bool),
    /// Up or down.
    State,
    /// One message.
    Send(Role, RawRequest),
    /// Routes that were there, or could not be added yet.
    SettleRoutes,
    /// How the kernel is to make IPv6 addresses from now on.
    Generation,
    /// Promiscuous and all-multicast mode.
    Modes,
}

/// All steps for a device of that index, so many seconds after the capture.
pub(super) fn steps(want: &Captured, index: u32, elapsed: u32) -> Vec<Step> {
    let moved = Move { from: want.link.index, to: index };
    let mut steps = vec![
        Step::Identity,
        Step::Details,
        Step::NoGeneration,
        Step::Sysctls(false),
        // A secret for addresses switches their generation on.
        Step::NoGeneration,
        // Down stays down: addresses can be had, routes there were none.
        Step::State,
    ];
    addresses(want, index, elapsed, &mut steps);
    for message in &want.absent_routes {
        let what = "take a route away that came with an address".to_owned();
        steps.push(send(Role::AbsentRoute, what, RTM_DELROUTE, 0, clean::absent_route(message, moved)));
    }
    let create = NLM_F_CREATE | NLM_F_EXCL;
    for message in &want.nexthops {
        let id = Nexthop::read(message).map_or(0, |nexthop| nexthop.id);
        let what = format!("add next-hop object {id}");
        steps.push(send(Role::Nexthop, what, RTM_NEWNEXTHOP, create, clean::nexthop(message, moved)));
    }
    let mut routes: Vec<(Route, &RawMessage)> =
        want.routes.iter().filter_map(|message| Route::read(message).map(|view| (view, message))).collect();
    // A gateway has to be reached by a route that has none, or by one of a
    // narrower scope (RT_SCOPE_LINK 253, RT_SCOPE_UNIVERSE 0).
    routes.sort_by_key(|(view, _)| {
        (view.legs.iter().any(|leg| leg.gateway.is_some()) || view.nexthop_id.is_some(), u8::MAX - view.scope)
    });
    for (view, message) in routes {
        if let Some(body) = clean::route(message, moved, elapsed) {
            steps.push(send(Role::Route, format!("add {view}"), RTM_NEWROUTE, create, body));
        }
    }
    steps.push(Step::SettleRoutes);
    for message in &want.rules {
        let what = format!("add policy rule {message:?}");
        steps.push(send(Role::Rule, what, RTM_NEWRULE, create, clean::rule(message)));
    }
    for message in &want.neighbours {
        let what = format!("add neighbour {message:?}");
        let body = clean::neighbour(message, index);
        steps.push(send(Role::Neighbour, what, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body));
    }
    steps.extend([Step::Sysctls(true), Step::Generation, Step::Modes]);
    steps
}

fn send(role: Role, what: String, kind: u16, flags: u16, body: Vec<u8>) -> Step {
    Step::Send(role, RawRequest { what, kind, flags, body })
}

fn addresses(want: &Captured, index: u32, elapsed: u32, steps: &mut Vec<Step>) {
    let views = want.addresses.iter().filter_map(|message| Address::read(message).map(|view| (view, message)));
    let (six, mut all): (Vec<_>, Vec<_>) = views.partition(|(view, _)| view.family == AF_INET6);
    // IPv6 puts a new address before the others of its scope
    // (ipv6_link_dev_addr in net/ipv6/addrconf.c).
    all.extend(six.into_iter().rev());
    for (view, message) in all {
        let Some((first, then)) = clean::address(message, index, elapsed) else { continue };
        for body in [Some(first), then].into_iter().flatten() {
            let what = format!("add {view}");
            steps.push(send(Role::Address, what, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body));
        }
    }
}
