//! What two messages are compared by: the device's index, what only shows a
//! state and the order of attributes left out. Pure.

use super::capture::set_flags;
use super::clean::{self, Move, STATES, each_leg};
use super::message::{put, rewrite, sorted};
use super::view::{AF_INET6, Address, FIB_RULE_HDR, IFADDRMSG, NDMSG, NHMSG, RTMSG, Route, ifa, rta};
use crate::model::RawMessage;

/// Stands for the device in question.
const THE_DEVICE: u32 = u32::MAX;

/// An address without its lifetimes. That one is temporary, or made from a
/// secret, the kernel keeps for itself: no request can say it.
pub(super) fn address(message: &RawMessage, view: &Address, name: &str) -> Vec<u8> {
    let kept_back = if view.family == AF_INET6 { ifa::F_SECONDARY | ifa::F_STABLE_PRIVACY } else { 0 };
    let mut body = RawMessage(rewrite(&message.0, IFADDRMSG, |attr| match attr.kind() {
        ifa::CACHEINFO => None,
        // The usual label is the device's name.
        ifa::LABEL if attr.text() == Some(name) => None,
        _ => Some(attr.value.to_vec()),
    }));
    set_flags(&mut body, view.flags & !(STATES | kept_back));
    put(&mut body.0, 4, &[0; 4]);
    sorted(&body.0, IFADDRMSG)
}

/// A route without its lifetime.
pub(super) fn route(message: &RawMessage, view: &Route, index: u32) -> Vec<u8> {
    // With no time gone none has run out.
    let body = clean::route(message, Move { from: index, to: THE_DEVICE }, 0).unwrap_or_default();
    let body = rewrite(&body, RTMSG, |attr| match attr.kind() {
        rta::EXPIRES => None,
        // IPv6 has them in an order of its own.
        rta::MULTIPATH if view.family == AF_INET6 => {
            let mut legs: Vec<Vec<u8>> = each_leg(attr.value)
                .into_iter()
                .map(|leg| {
                    let mut leg = leg.to_vec();
                    leg.resize(leg.len().next_multiple_of(4), 0);
                    leg
                })
                .collect();
            legs.sort();
            Some(legs.concat())
        }
        _ => Some(attr.value.to_vec()),
    });
    sorted(&body, RTMSG)
}

pub(super) fn nexthop(message: &RawMessage, index: u32) -> Vec<u8> {
    sorted(&clean::nexthop(message, Move { from: index, to: THE_DEVICE }), NHMSG)
}

pub(super) fn rule(message: &RawMessage) -> Vec<u8> {
    sorted(&clean::rule(message), FIB_RULE_HDR)
}

pub(super) fn neighbour(message: &RawMessage) -> Vec<u8> {
    sorted(&clean::neighbour(message, THE_DEVICE), NDMSG)
}
