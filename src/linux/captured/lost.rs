//! What the kernel takes off a device that has no carrier any more, as a TAP
//! device has none whose process died: next-hop objects and the groups of them
//! (`nexthop_flush_dev` in net/ipv4/nexthop.c), the routes by them, and
//! neighbour proxies (`__neigh_ifdown` in net/core/neighbour.c). Pure.

use std::collections::HashSet;

use super::capture::is_proxy;
use super::clean::{self, Move};
use super::message::{put, rewrite, u32_at};
use super::normal;
use super::view::{Nexthop, RTMSG, Route, rta};
use crate::model::{Captured, RawMessage};

/// Where rta_cacheinfo has the time that remains, in hundredths of a second
/// (linux/rtnetlink.h).
const RTA_EXPIRES: usize = 8;

fn is_by_object(message: &RawMessage) -> bool {
    Route::read(message).is_some_and(|view| view.nexthop_id.is_some())
}

/// A route by an object as it would be on the other device, with so many more
/// seconds to live; `None` when its time has run out.
fn route(message: &RawMessage, moved: Move, more: i64) -> Option<RawMessage> {
    let view = Route::read(message)?;
    let left = match view.expires {
        Some(left) => Some(u32::try_from(i64::from(left) + more * 100).ok().filter(|left| *left > 0)?),
        None => None,
    };
    Some(RawMessage(rewrite(&message.0, RTMSG, |attr| match attr.kind() {
        // The object says it all.
        rta::GATEWAY | rta::VIA | rta::MULTIPATH | rta::ENCAP | rta::ENCAP_TYPE => None,
        rta::OIF => attr.u32().map(|index| moved.index(index).to_ne_bytes().to_vec()),
        rta::CACHEINFO => {
            let mut value = attr.value.to_vec();
            put(&mut value, RTA_EXPIRES, &left.unwrap_or(0).to_ne_bytes());
            Some(value)
        }
        _ => Some(attr.value.to_vec()),
    })))
}

fn seconds(from: u64, to: u64) -> i64 {
    let seconds = |of: u64| i64::try_from(of).unwrap_or(0);
    seconds(to) - seconds(from)
}

/// Take over from `before` what `now` has lost with its carrier.
pub(in crate::linux) fn keep_lost(before: &Captured, now: &mut Captured) {
    let moved = Move { from: before.link.index, to: now.link.index };
    let id = |message: &RawMessage| Nexthop::read(message).map(|nexthop| nexthop.id);
    let there: HashSet<u32> = now.nexthops.iter().filter_map(id).collect();
    let mut kept = HashSet::new();
    for message in &before.nexthops {
        if let Some(id) = id(message).filter(|id| !there.contains(id)) {
            kept.insert(id);
            now.nexthops.push(RawMessage(clean::nexthop(message, moved)));
        }
    }
    let more = seconds(now.taken_at, before.taken_at);
    let key = |view: &Route| (view.dst, view.src_len, view.tos, view.table, view.metric);
    let routes: HashSet<_> = now.routes.iter().filter_map(Route::read).map(|view| key(&view)).collect();
    for message in &before.routes {
        let lost = |view: &Route| view.nexthop_id.is_some_and(|id| kept.contains(&id)) && !routes.contains(&key(view));
        if Route::read(message).as_ref().is_some_and(lost) {
            now.routes.extend(route(message, moved, more));
        }
    }
    for message in before.neighbours.iter().filter(|message| is_proxy(message)) {
        let message = RawMessage(clean::neighbour(message, now.link.index));
        if !now.neighbours.iter().any(|other| clean::neighbour(other, now.link.index) == message.0) {
            now.neighbours.push(message);
        }
    }
}

/// What a device has that it would lose with its carrier.
#[derive(Debug, Clone)]
pub(in crate::linux) struct Fleeting {
    /// The device.
    pub(super) index: u32,
    /// When it was read, in seconds since boot.
    pub(super) taken_at: u64,
    pub(super) nexthops: Vec<RawMessage>,
    pub(super) routes: Vec<RawMessage>,
    pub(super) proxies: Vec<RawMessage>,
}

impl Fleeting {
    /// Put it in place of what was captured of these before, which may have
    /// been on another device. Whether that makes a difference.
    pub(in crate::linux) fn replace(self, captured: &mut Captured) -> bool {
        let index = captured.link.index;
        let moved = Move { from: self.index, to: index };
        let more = seconds(captured.taken_at, self.taken_at);
        let nexthops = self.nexthops.iter().map(|message| RawMessage(clean::nexthop(message, moved)));
        let nexthops: Vec<RawMessage> = nexthops.collect();
        let routes: Vec<RawMessage> = self.routes.iter().filter_map(|message| route(message, moved, more)).collect();
        let proxies = self.proxies.iter().map(|message| RawMessage(clean::neighbour(message, index)));
        let proxies: Vec<RawMessage> = proxies.collect();

        let objects = |all: &[RawMessage]| all.iter().map(|one| normal::nexthop(one, index)).collect::<Vec<_>>();
        let normal = |one: &RawMessage| Route::read(one).map(|view| normal::route(one, &view, index));
        let ways = |all: &[RawMessage]| all.iter().filter(|one| is_by_object(one)).map(normal).collect::<Vec<_>>();
        let answers =
            |all: &[RawMessage]| all.iter().filter(|one| is_proxy(one)).map(normal::neighbour).collect::<Vec<_>>();
        if objects(&captured.nexthops) == objects(&nexthops)
            && ways(&captured.routes) == ways(&routes)
            && answers(&captured.neighbours) == answers(&proxies)
        {
            return false;
        }
        captured.nexthops = nexthops;
        captured.routes.retain(|message| !is_by_object(message));
        captured.routes.extend(routes);
        captured.neighbours.retain(|message| !is_proxy(message));
        captured.neighbours.extend(proxies);
        true
    }
}

/// Whether a route that the kernel tells of is by an object.
pub(in crate::linux) fn tells_of_object(body: &[u8]) -> bool {
    super::message::attrs(body, RTMSG).any(|attr| attr.kind() == rta::NH_ID && u32_at(attr.value, 0) != Some(0))
}
