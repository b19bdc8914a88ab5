//! What the kernel dumped, as requests that it takes: for another device
//! index, with less time to live, without what it only shows. Pure.

use super::capture::set_flags;
use super::message::{Attr, attrs, push, put, rewrite, u8_at, u16_at, u32_at};
use super::view::{
    Address, FIB_RULE_HDR, IFADDRMSG, INFINITY, NDMSG, NHMSG, RTMSG, RTNEXTHOP, RTNH_F_ONLINK, Route, ifa, nha, rta,
};
use crate::model::RawMessage;

/// The device's index then and now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Move {
    pub(super) fn index(self, index: u32) -> u32 {
        if index == self.from { self.to } else { index }
    }

    fn attr(self, attr: &Attr<'_>) -> Vec<u8> {
        attr.u32().map_or_else(|| attr.value.to_vec(), |index| self.index(index).to_ne_bytes().to_vec())
    }
}

/// The address to add, and to set again right afterwards: it is added without
/// duplicate detection, for which it would have to wait, and then loses the
/// mark of that. `None` when its time has run out.
pub(super) fn address(message: &RawMessage, to: u32, elapsed: u32) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let view = Address::read(message)?;
    let left = |seconds: u32| if seconds == INFINITY { INFINITY } else { seconds.saturating_sub(elapsed) };
    let (preferred, valid) = (left(view.lifetimes.0), left(view.lifetimes.1));
    if valid == 0 {
        return None;
    }
    let mut body = rewrite(&message.0, IFADDRMSG, |attr| match attr.kind() {
        ifa::CACHEINFO => {
            let mut value = attr.value.to_vec();
            put(&mut value, 0, &preferred.to_ne_bytes());
            put(&mut value, 4, &valid.to_ne_bytes());
            Some(value)
        }
        _ => Some(attr.value.to_vec()),
    });
    put(&mut body, 4, &to.to_ne_bytes());
    let mut whole = RawMessage(body);
    set_flags(&mut whole, view.flags & !STATES);
    // It failed before, so it has to be tried again.
    if view.local.is_ipv4() || view.has(ifa::F_DADFAILED | ifa::F_NODAD) {
        return Some((whole.0, None));
    }
    let mut quick = whole.clone();
    set_flags(&mut quick, (view.flags & !STATES) | ifa::F_NODAD);
    Some((quick.0, Some(whole.0)))
}

/// Flags of an address that say how it is, not what it is to be.
pub(super) const STATES: u32 = ifa::F_OPTIMISTIC | ifa::F_DADFAILED | ifa::F_DEPRECATED | ifa::F_TENTATIVE;

/// The request to take a route away that came with an address.
pub(super) fn absent_route(message: &RawMessage, moved: Move) -> Vec<u8> {
    rewrite(&message.0, RTMSG, |attr| match attr.kind() {
        rta::OIF => Some(moved.attr(attr)),
        _ => Some(attr.value.to_vec()),
    })
}

/// The route to add; `None` when its time has run out.
pub(super) fn route(message: &RawMessage, moved: Move, elapsed: u32) -> Option<Vec<u8>> {
    let view = Route::read(message)?;
    let seconds = match view.expires {
        // From hundredths; what has not run out has a second yet.
        Some(left) => Some((left / 100).checked_sub(elapsed)?.max(1)),
        None => None,
    };
    let mut body = rewrite(&message.0, RTMSG, |attr| match attr.kind() {
        rta::CACHEINFO | rta::EXPIRES => None,
        // The object says it all.
        rta::OIF | rta::GATEWAY | rta::VIA | rta::MULTIPATH | rta::ENCAP | rta::ENCAP_TYPE | rta::FLOW
            if view.nexthop_id.is_some() =>
        {
            None
        }
        rta::OIF | rta::IIF => Some(moved.attr(attr)),
        rta::MULTIPATH => Some(legs(attr.value, moved)),
        _ => Some(attr.value.to_vec()),
    });
    let onlink = if view.nexthop_id.is_some() { 0 } else { u32_at(&body, 8)? & RTNH_F_ONLINK };
    put(&mut body, 8, &onlink.to_ne_bytes());
    if let Some(seconds) = seconds {
        push(&mut body, rta::EXPIRES, &seconds.to_ne_bytes());
    }
    Some(body)
}

/// `RTNH_F_ONLINK` as a leg has it.
const LEG_ONLINK: u8 = 4;

/// The parts of a multipath attribute.
pub(super) fn each_leg(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some(length) = u16_at(bytes, 0).map(usize::from).filter(|length| *length >= RTNEXTHOP) {
        let Some(this) = bytes.get(..length) else { break };
        found.push(this);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn legs(bytes: &[u8], moved: Move) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for leg in each_leg(bytes) {
        let start = out.len();
        out.extend(leg);
        let index = u32_at(leg, 4).unwrap_or(0);
        put(&mut out, start + 4, &moved.index(index).to_ne_bytes());
        put(&mut out, start + 2, &[u8_at(leg, 2) & LEG_ONLINK]);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// The route with its gateways taken to be on the link; `None` where that
/// changes nothing.
pub(super) fn onlink(body: &[u8]) -> Option<Vec<u8>> {
    let view = Route::read(&RawMessage(body.to_vec()))?;
    if view.nexthop_id.is_some() || view.legs.iter().all(|leg| leg.gateway.is_none()) {
        return None;
    }
    let is_multipath = attrs(body, RTMSG).any(|attr| attr.kind() == rta::MULTIPATH);
    let mut out = rewrite(body, RTMSG, |attr| {
        if attr.kind() != rta::MULTIPATH {
            return Some(attr.value.to_vec());
        }
        let mut value = Vec::with_capacity(attr.value.len());
        for leg in each_leg(attr.value) {
            let start = value.len();
            value.extend(leg);
            put(&mut value, start + 2, &[u8_at(leg, 2) | LEG_ONLINK]);
            value.resize(value.len().next_multiple_of(4), 0);
        }
        Some(value)
    });
    if !is_multipath {
        put(&mut out, 8, &RTNH_F_ONLINK.to_ne_bytes());
    }
    (out != body).then_some(out)
}

/// What the kernel takes of an object beside its device and its resilience;
/// it refuses anything else that it shows (rtm_nh_policy_new in
/// net/ipv4/nexthop.c): id, group, the group's type, blackhole, gateway,
/// encapsulation, FDB.
const NHA_TAKEN: [u16; 8] = [1, 2, 3, 4, 6, 7, 8, 11];

/// The next-hop object to add.
pub(super) fn nexthop(message: &RawMessage, moved: Move) -> Vec<u8> {
    let mut body = rewrite(&message.0, NHMSG, |attr| match attr.kind() {
        nha::OIF => Some(moved.attr(attr)),
        nha::RES_GROUP => {
            let shown = |inner: &Attr<'_>| inner.kind() == nha::RES_GROUP_UNBALANCED_TIME;
            Some(rewrite(attr.value, 0, |inner| (!shown(inner)).then(|| inner.value.to_vec())))
        }
        kind if NHA_TAKEN.contains(&kind) => Some(attr.value.to_vec()),
        _ => None,
    });
    // The scope is shown only.
    put(&mut body, 1, &[0]);
    let onlink = u32_at(&body, 4).unwrap_or(0) & RTNH_F_ONLINK;
    put(&mut body, 4, &onlink.to_ne_bytes());
    body
}

/// FIB_RULE_INVERT (linux/fib_rules.h); the others say how the rule is.
const RULE_INVERT: u32 = 2;
const FRA_PRIORITY: u16 = 6;

/// The rule to add.
pub(super) fn rule(message: &RawMessage) -> Vec<u8> {
    let mut body = message.0.clone();
    let flags = u32_at(&body, 8).unwrap_or(0) & RULE_INVERT;
    put(&mut body, 8, &flags.to_ne_bytes());
    // The kernel shows no preference of 0, and without one would find its own.
    if !attrs(&body, FIB_RULE_HDR).any(|attr| attr.kind() == FRA_PRIORITY) {
        push(&mut body, FRA_PRIORITY, &0_u32.to_ne_bytes());
    }
    body
}

// Of neighbours (linux/neighbour.h).
const NDA_CACHEINFO: u16 = 3;
const NDA_PROBES: u16 = 4;
/// NTF_PROXY, NTF_EXT_LEARNED, NTF_ROUTER.
const NTF_KEPT: u8 = 0x08 | 0x10 | 0x80;

/// The neighbour to add.
pub(super) fn neighbour(message: &RawMessage, to: u32) -> Vec<u8> {
    let mut body = rewrite(&message.0, NDMSG, |attr| {
        (!matches!(attr.kind(), NDA_CACHEINFO | NDA_PROBES)).then(|| attr.value.to_vec())
    });
    put(&mut body, 4, &to.to_ne_bytes());
    let flags = u8_at(&body, 10) & NTF_KEPT;
    put(&mut body, 10, &[flags]);
    body
}
