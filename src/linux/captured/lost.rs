//! What the kernel takes off a device that has no carrier any more, as a TAP
//! device has none whose process died. Pure.

use std::collections::HashSet;

use super::clean::{self, Move};
use super::view::{Nexthop, Route};
use crate::model::{Captured, RawMessage};

/// Where ndmsg has its flags (linux/neighbour.h), and the one of proxies.
const NDM_FLAGS: usize = 10;
const NTF_PROXY: u8 = 0x08;

/// Take over from `before` what `now` has lost with its carrier: next-hop
/// objects and the groups of them (`nexthop_flush_dev` in
/// net/ipv4/nexthop.c), the routes by them, and neighbour proxies
/// (`__neigh_ifdown` in net/core/neighbour.c).
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
    let elapsed = now.taken_at.saturating_sub(before.taken_at);
    let elapsed = u32::try_from(elapsed).unwrap_or(u32::MAX);
    let key = |view: &Route| (view.dst, view.src_len, view.tos, view.table, view.metric);
    let routes: HashSet<_> = now.routes.iter().filter_map(Route::read).map(|view| key(&view)).collect();
    for message in &before.routes {
        let lost = |view: &Route| view.nexthop_id.is_some_and(|id| kept.contains(&id)) && !routes.contains(&key(view));
        if Route::read(message).as_ref().is_some_and(lost)
            && let Some(body) = clean::route(message, moved, elapsed)
        {
            now.routes.push(RawMessage(body));
        }
    }
    let is_proxy = |message: &&RawMessage| message.0.get(NDM_FLAGS).is_some_and(|flags| flags & NTF_PROXY != 0);
    for message in before.neighbours.iter().filter(is_proxy) {
        let message = RawMessage(clean::neighbour(message, now.link.index));
        if !now.neighbours.iter().any(|other| clean::neighbour(other, now.link.index) == message.0) {
            now.neighbours.push(message);
        }
    }
}
