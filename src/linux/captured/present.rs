//! What was there already when it was to be added: is it that, a part of it,
//! or something else in its place?

use std::collections::{HashMap, HashSet};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use nix::errno::Errno;

use super::capture;
use super::clean;
use super::normal;
use super::view::{AF_INET6, Nexthop, Route};
use crate::linux::Error;
use crate::linux::socket::{RawRequest, Socket};
use crate::model::{Prefix, RawMessage};

/// What a table holds one route for.
type Key = (Prefix, u8, u8, u32, u32);

/// A route that is there, and what it is compared by.
type Held = (Route, Option<Vec<u8>>);

fn key(route: &Route) -> Key {
    (route.dst, route.src_len, route.tos, route.table, route.metric)
}

/// See to the routes that the kernel did not take at first. Returns what is
/// left undone, in words.
pub(super) fn settle_routes(
    socket: &mut Socket,
    index: u32,
    mut doubtful: Vec<RawRequest>,
    unreachable: Vec<RawRequest>,
) -> Vec<String> {
    let mut problems = Vec::new();
    // Another of them may be the way to the gateway; one that is gone since
    // the route was made is replaced by the word that it is on the link.
    let again = retry(socket, unreachable, &mut doubtful);
    let mut on_the_link = Vec::new();
    for (request, error) in again {
        match clean::onlink(&request.body) {
            Some(body) => on_the_link.push(RawRequest { body, ..request }),
            None => problems.push(error.to_string()),
        }
    }
    problems.extend(retry(socket, on_the_link, &mut doubtful).into_iter().map(|(_, error)| error.to_string()));
    if doubtful.is_empty() {
        return problems;
    }
    // First those through the device: they are mostly what was to be added.
    match capture::routes_through(socket, index) {
        Ok(held) => {
            let held: HashSet<Vec<u8>> = held.iter().filter_map(|message| normal_route(message, index)).collect();
            doubtful.retain(|request| {
                normal_route(&RawMessage(request.body.clone()), index).is_none_or(|wanted| !held.contains(&wanted))
            });
        }
        Err(error) => problems.push(error.to_string()),
    }
    if !doubtful.is_empty() {
        problems.extend(beside_others(socket, index, doubtful));
    }
    problems
}

fn normal_route(message: &RawMessage, index: u32) -> Option<Vec<u8>> {
    Route::read(message).map(|view| normal::route(message, &view, index))
}

/// Those that are still refused, and why.
fn retry(socket: &mut Socket, requests: Vec<RawRequest>, doubtful: &mut Vec<RawRequest>) -> Vec<(RawRequest, Error)> {
    let results = socket.change_raw(&requests);
    let mut refused = Vec::new();
    for (request, result) in requests.into_iter().zip(results) {
        match result {
            Err(error) if error.errno() == Some(Errno::EEXIST) => doubtful.push(request),
            Err(error) => refused.push((request, error)),
            Ok(()) => {}
        }
    }
    refused
}

/// Routes whose place another one has: what is left of the route itself after
/// the device went (IPv6 takes only that leg away) is made whole; what is
/// somebody else's keeps its place, and ours comes behind it.
fn beside_others(socket: &mut Socket, index: u32, requests: Vec<RawRequest>) -> Vec<String> {
    let all = match capture::every_route(socket) {
        Ok(all) => all,
        Err(error) => return vec![error.to_string()],
    };
    let wanted: HashSet<Key> =
        requests.iter().filter_map(|request| Route::read(&RawMessage(request.body.clone()))).map(|r| key(&r)).collect();
    let mut held: HashMap<Key, Vec<Held>> = HashMap::new();
    for message in &all {
        let Some(view) = Route::read(message).filter(|view| wanted.contains(&key(view))) else { continue };
        let normal = normal_route(message, index);
        held.entry(key(&view)).or_default().push((view, normal));
    }
    let mut changes = Vec::new();
    for request in requests {
        let message = RawMessage(request.body.clone());
        let Some(view) = Route::read(&message) else { continue };
        let there = held.get(&key(&view)).map(Vec::as_slice).unwrap_or_default();
        let normal = normal_route(&message, index);
        if there.iter().any(|(_, other)| *other == normal) {
            continue;
        }
        let is_part = |other: &Route| {
            other.family == AF_INET6
                && other.protocol == view.protocol
                && other.nexthop_id.is_none()
                && other
                    .legs
                    .iter()
                    .all(|leg| view.legs.iter().any(|w| (w.index, w.gateway) == (leg.index, leg.gateway)))
        };
        let flags = if there.iter().any(|(other, _)| is_part(other)) {
            NLM_F_CREATE | NLM_F_REPLACE
        } else {
            NLM_F_CREATE | NLM_F_APPEND
        };
        changes.push(RawRequest { flags, ..request });
    }
    let results = socket.change_raw(&changes);
    results.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect()
}

/// See to next-hop objects whose id was taken. Returns what is left undone,
/// in words.
pub(super) fn settle_nexthops(socket: &mut Socket, index: u32, requests: Vec<RawRequest>) -> Vec<String> {
    let all = match capture::all_nexthops(socket) {
        Ok(all) => all,
        Err(error) => return vec![error.to_string()],
    };
    let held: HashMap<u32, &RawMessage> =
        all.iter().filter_map(|message| Nexthop::read(message).map(|view| (view.id, message))).collect();
    let mut problems = Vec::new();
    for request in requests {
        let message = RawMessage(request.body.clone());
        let Some(view) = Nexthop::read(&message) else { continue };
        let Some(there) = held.get(&view.id) else { continue };
        if normal::nexthop(there, index) == normal::nexthop(&message, index) {
            continue;
        }
        // A group loses the members whose device goes.
        let is_rest = Nexthop::read(there).is_some_and(|other| {
            other.protocol == view.protocol
                && !other.members.is_empty()
                && other.members.iter().all(|member| view.members.contains(member))
        });
        if !is_rest {
            problems.push(format!("{}: its number is taken by another object", request.what));
            continue;
        }
        let change = RawRequest { flags: NLM_F_CREATE | NLM_F_REPLACE, ..request };
        problems.extend(socket.change_raw(&[change]).into_iter().filter_map(Result::err).map(|e| e.to_string()));
    }
    problems
}
