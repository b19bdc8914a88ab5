//! What one capture has against another. Pure.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

use super::normal;
use super::plan::Dressing;
use super::view::{Address, INFINITY, Nexthop, Route};
use crate::model::{Captured, RawMessage};

/// By how many seconds a lifetime may be off: it was read at another moment,
/// and rounded.
const TOLERANCE: u32 = 5;
/// Most differences of one kind that are named one by one.
const NAMED: usize = 20;

/// Every difference of what an interface is to have to what it has, in words;
/// empty when there is none. The index, the kind and the bus of the device,
/// and lifetimes off by a few seconds, are none; what has run out since is
/// not missed.
pub fn differences(want: &Captured, have: &Captured) -> Vec<String> {
    of_dressed(want, have, Dressing::Device)
}

/// The same but for what that dressing leaves to its caller. A TAP device is the
/// host's from the moment that it appears: what a network manager or a routing
/// daemon has added to it meanwhile is no difference.
pub(super) fn of_dressed(want: &Captured, have: &Captured, dressing: Dressing) -> Vec<String> {
    let mut found = unreadable(want);
    link(want, have, dressing, &mut found);
    sysctls(want, have, dressing, &mut found);
    let elapsed = match want.taken_at {
        0 => 0,
        then => u32::try_from(have.taken_at.saturating_sub(then)).unwrap_or(u32::MAX),
    };
    addresses(want, have, elapsed, dressing, &mut found);
    routes(want, have, elapsed, dressing, &mut found);
    let absent = |captured: &Captured| {
        let words = |view: &Route| format!("that the kernel has no {view}, which it makes from an address,");
        let key = |message| {
            Route::read(message).map(|view| (normal::route(message, &view, captured.link.index), words(&view)))
        };
        captured.absent_routes.iter().filter_map(key).collect::<Vec<_>>()
    };
    both_ways(&absent(want), &absent(have), dressing, &mut found);
    let named = |message: &RawMessage| Nexthop::read(message).map_or(0, |nexthop| nexthop.id);
    let nexthops = |captured: &Captured| {
        let key =
            |message| (normal::nexthop(message, captured.link.index), format!("next-hop object {}", named(message)));
        captured.nexthops.iter().map(key).collect::<Vec<_>>()
    };
    both_ways(&nexthops(want), &nexthops(have), dressing, &mut found);
    let rules = |captured: &Captured| {
        let key = |message| (normal::rule(message), format!("policy rule {message:?}"));
        captured.rules.iter().map(key).collect::<Vec<_>>()
    };
    both_ways(&rules(want), &rules(have), dressing, &mut found);
    let neighbours = |captured: &Captured| {
        let key = |message| (normal::neighbour(message), neighbour_words(message));
        captured.neighbours.iter().map(key).collect::<Vec<_>>()
    };
    both_ways(&neighbours(want), &neighbours(have), dressing, &mut found);
    found
}

/// Messages that no kernel wrote: nothing can be made of them.
fn unreadable(want: &Captured) -> Vec<String> {
    let addresses = want.addresses.iter().filter(|message| Address::read(message).is_none());
    let routes = want.routes.iter().chain(&want.absent_routes).filter(|message| Route::read(message).is_none());
    let nexthops = want.nexthops.iter().filter(|message| Nexthop::read(message).is_none());
    addresses.chain(routes).chain(nexthops).map(|message| format!("message {message:?} cannot be read")).collect()
}

fn neighbour_words(message: &RawMessage) -> String {
    const NDA_DST: u16 = 1;
    let mut all = super::message::attrs(&message.0, super::view::NDMSG);
    match all.find(|attr| attr.kind() == NDA_DST).and_then(|attr| attr.addr()) {
        Some(addr) => format!("neighbour {addr}"),
        None => format!("neighbour {message:?}"),
    }
}

fn one<T: PartialEq>(what: &str, want: &T, have: &T, show: impl Fn(&T) -> String, found: &mut Vec<String>) {
    if want != have {
        found.push(format!("its {what} is {}, not {}", show(have), show(want)));
    }
}

fn link(want: &Captured, have: &Captured, dressing: Dressing, found: &mut Vec<String>) {
    let (w, h) = (&want.link, &have.link);
    let text = |text: &Option<String>| text.as_ref().map_or_else(|| "none".to_owned(), |text| format!("'{text}'"));
    let debug = |value: &Option<u32>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    if dressing == Dressing::Device {
        one("name", &w.name, &h.name, ToString::to_string, found);
        one("MAC", &w.mac, &h.mac, ToString::to_string, found);
        one("MTU", &w.mtu, &h.mtu, ToString::to_string, found);
        let master = |master: &Option<(u32, String)>| master.as_ref().map(|(_, name)| name.clone());
        one("master", &master(&w.master), &master(&h.master), text, found);
    }
    one("administrative state", &w.up, &h.up, |up| if *up { "up" } else { "down" }.to_owned(), found);
    one("promiscuous mode", &w.promisc, &h.promisc, ToString::to_string, found);
    one("all-multicast mode", &w.allmulti, &h.allmulti, ToString::to_string, found);
    one("alias", &w.alias, &h.alias, text, found);
    one("transmit queue's length", &w.txqlen, &h.txqlen, debug, found);
    one("group", &w.group, &h.group, ToString::to_string, found);
    let mode = |mode: &Option<u8>| debug(&mode.map(u32::from));
    one("IPv6 address generation mode", &w.addr_gen_mode, &h.addr_gen_mode, mode, found);
    one("IPv6 token", &w.token, &h.token, |token| format!("{token:?}"), found);
    let names = |names: &[String]| -> Vec<(String, String)> {
        names.iter().map(|name| (name.clone(), format!("alternative name {name}"))).collect()
    };
    both_ways(&names(&w.altnames), &names(&h.altnames), dressing, found);
}

fn sysctls(want: &Captured, have: &Captured, dressing: Dressing, found: &mut Vec<String>) {
    for (key, value) in &want.sysctls {
        // The MTU of IPv6 goes with the device's.
        if dressing == Dressing::Tap && want.follows_mtu(key) {
            continue;
        }
        match have.sysctls.get(key) {
            Some(now) if now == value => {}
            Some(now) => found.push(format!("sysctl {key} is {now}, not {value}")),
            None => found.push(format!("sysctl {key} is missing (was {value})")),
        }
    }
}

/// Whether a lifetime is what it should be by now.
fn lives_as_long(want: u32, have: u32, elapsed: u32) -> bool {
    if want == INFINITY || have == INFINITY {
        return want == have;
    }
    want.saturating_sub(elapsed).abs_diff(have) <= TOLERANCE
}

fn addresses(want: &Captured, have: &Captured, elapsed: u32, dressing: Dressing, found: &mut Vec<String>) {
    let read = |captured: &Captured| -> Vec<(Vec<u8>, Address)> {
        let name = captured.link.name.as_str();
        let view = |message| Address::read(message).map(|view| (normal::address(message, &view, name), view));
        captured.addresses.iter().filter_map(view).collect()
    };
    let is_alive = |(_, view): &(Vec<u8>, Address)| view.lifetimes.1 == INFINITY || view.lifetimes.1 > elapsed;
    let mut wanted = read(want);
    wanted.retain(is_alive);
    let held = read(have);
    let before = found.len();
    let words = |all: &[(Vec<u8>, Address)]| {
        let word = |(key, view): &(Vec<u8>, Address)| (key.clone(), format!("{view} (flags {:#x})", view.flags));
        all.iter().map(word).collect::<Vec<_>>()
    };
    both_ways(&words(&wanted), &words(&held), dressing, found);
    for (key, view) in &wanted {
        let Some((_, now)) = held.iter().find(|(other, _)| other == key) else { continue };
        let (preferred, valid) = now.lifetimes;
        if !lives_as_long(view.lifetimes.0, preferred, elapsed) || !lives_as_long(view.lifetimes.1, valid, elapsed) {
            found.push(format!("{view} has lifetimes of {preferred} and {valid} s, had {:?}", view.lifetimes));
        }
    }
    let of_ours = held.iter().map(|(key, _)| key).filter(|key| wanted.iter().any(|(other, _)| other == *key));
    if found.len() == before && wanted.iter().map(|(key, _)| key).ne(of_ours) {
        found.push("its addresses stand in another order".to_owned());
    }
}

fn routes(want: &Captured, have: &Captured, elapsed: u32, dressing: Dressing, found: &mut Vec<String>) {
    let read = |captured: &Captured| -> Vec<(Vec<u8>, Route)> {
        let index = captured.link.index;
        let view = |message| Route::read(message).map(|view| (normal::route(message, &view, index), view));
        captured.routes.iter().filter_map(view).collect()
    };
    let seconds = |view: &Route| view.expires.map_or(INFINITY, |left| left / 100);
    let mut wanted = read(want);
    wanted.retain(|(_, view)| seconds(view) == INFINITY || seconds(view) > elapsed);
    let held = read(have);
    {
        let now: HashMap<&[u8], u32> = held.iter().map(|(key, view)| (key.as_slice(), seconds(view))).collect();
        for (key, view) in &wanted {
            match now.get(key.as_slice()) {
                Some(now) if !lives_as_long(seconds(view), *now, elapsed) => {
                    found.push(format!("{view} lives for {now} s, had {}", seconds(view)));
                }
                _ => {}
            }
        }
    }
    both_ways(&wanted, &held, dressing, found);
}

/// What is missing, and what is there beside; each as often as it is.
fn both_ways<K: Eq + Hash, W: Display>(want: &[(K, W)], have: &[(K, W)], dressing: Dressing, found: &mut Vec<String>) {
    let mut count: HashMap<&K, i64> = HashMap::new();
    for (key, _) in have {
        *count.entry(key).or_default() += 1;
    }
    let mut missing = Vec::new();
    for (key, words) in want {
        let left = count.entry(key).or_default();
        *left -= 1;
        if *left < 0 {
            missing.push(words);
        }
    }
    let mut beside = Vec::new();
    for (key, words) in have.iter().rev().filter(|_| dressing == Dressing::Device) {
        if let Some(left) = count.get_mut(key).filter(|left| **left > 0) {
            *left -= 1;
            beside.push(words);
        }
    }
    for (all, what) in [(missing, "is missing"), (beside, "is there beside")] {
        found.extend(all.iter().take(NAMED).map(|words| format!("{words} {what}")));
        if all.len() > NAMED {
            found.push(format!("and {} more like it: {what}", all.len() - NAMED));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;
    use crate::linux::captured::{host_config, plan};

    fn captured(messages: &[Vec<u8>]) -> Captured {
        let json = r#"{"link": {"name": "eth0", "index": 3, "mac": "02:00:00:00:00:01", "permanent_mac": null,
            "mtu": 1500, "up": true, "promisc": false, "allmulti": false, "alias": null, "altnames": [],
            "txqlen": 1000, "group": 0, "addr_gen_mode": 0, "kind": null, "vlan_id": null, "parent": null,
            "master": null}, "addresses": [], "nexthops": [], "routes": [], "rules": [], "neighbours": [],
            "sysctls": {}, "pci": null}"#;
        let mut captured: Captured = serde_json::from_str(json).unwrap();
        let messages: Vec<RawMessage> = messages.iter().cloned().map(RawMessage).collect();
        captured.addresses.clone_from(&messages);
        captured.nexthops.clone_from(&messages);
        captured.routes.clone_from(&messages);
        captured.absent_routes.clone_from(&messages);
        captured.rules.clone_from(&messages);
        captured.neighbours = messages;
        captured
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let damaged = captured(&[vec![2, 24, 0]]);
        assert_eq!(differences(&damaged, &damaged).len(), 4);
        assert!(differences(&captured(&[]), &captured(&[])).is_empty());
    }

    #[test]
    fn lifetimes_are_compared_by_what_should_remain() {
        assert!(lives_as_long(100, 60, 40) && lives_as_long(100, 62, 40) && lives_as_long(INFINITY, INFINITY, 40));
        assert!(!lives_as_long(100, 100, 40) && !lives_as_long(100, INFINITY, 0) && !lives_as_long(INFINITY, 9, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            family in prop::sample::select(vec![0_u8, 2, 10]),
            len in 0_u8..=129,
            kinds in prop::collection::vec((0_u16..40, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            cut in 0_usize..200,
        ) {
            let mut body = vec![family, len, 0, 0, 254, 2, 0, 1, 0, 0, 0, 0];
            for (kind, value) in kinds {
                crate::linux::captured::message::push(&mut body, kind, &value);
            }
            body.truncate(cut);
            let one = captured(&[body]);
            let _ = (host_config(&one), plan::steps(&one, 9, 7));
            let own = differences(&one, &one);
            prop_assert!(own.iter().all(|line| line.contains("cannot be read")), "{own:?}");
        }
    }
}
