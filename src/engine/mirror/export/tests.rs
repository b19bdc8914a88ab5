//! Exported routes against a kernel that does as it is told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::engine::mirror::KernelHop;

const DEVICE: u32 = 7;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn hops(gateways: &[&str]) -> VppLead {
    let hop = |text: &&str| NextHop { gateway: Some(text.parse().unwrap()), weight: 1, onlink: false };
    VppLead::Uplink(gateways.iter().map(hop).collect())
}

fn change(to: &str, source: u8, lead: VppLead) -> (Prefix, Option<VppRoute>) {
    (prefix(to), Some(VppRoute { source, lead }))
}

/// Both sides.
struct Both {
    mirror: ExportMirror,
    kernel: BTreeMap<Prefix, Route>,
    done: Vec<ExportChange>,
    /// The kernel refuses this one.
    refuses: Option<Prefix>,
}

impl Both {
    fn new() -> Self {
        let gateways = [Some("192.0.2.1".parse().unwrap()), None];
        let sources = vec!["API".to_owned(), "CLI".to_owned()];
        let mirror = ExportMirror::new(DEVICE, sources, PodsWay { gateways, mtu: 1440 });
        Self { mirror, kernel: BTreeMap::new(), done: Vec::new(), refuses: None }
    }

    fn begun() -> Self {
        let mut both = Self::new();
        both.dump();
        both.vpp(vec![], true);
        both
    }

    fn vpp(&mut self, changes: Vec<(Prefix, Option<VppRoute>)>, whole: bool) {
        self.mirror.vpp(VppRoutes { uplink: UplinkId(1), changes, whole });
        self.act();
    }

    fn kernel_route(route: &Route) -> KernelRoute {
        let hop = |hop: &NextHop| KernelHop {
            index: DEVICE,
            gateway: hop.gateway,
            weight: hop.weight,
            onlink: hop.onlink,
            encap: false,
        };
        KernelRoute {
            table: TABLE_MAIN,
            prefix: route.prefix,
            kind: KernelRouteKind::Unicast,
            metric: export_metric(DEVICE),
            protocol: ROUTE_PROTOCOL,
            tos: 0,
            scope: 0,
            from_source: false,
            prefsrc: None,
            nexthop_id: None,
            hops: route.next_hops.iter().map(hop).collect(),
            mtu: route.mtu,
        }
    }

    fn tell(&mut self, route: &Route, dump: bool) {
        let route = Self::kernel_route(route);
        self.mirror.event(&KernelEvent::Route { route, replaces: false, appended: false }, dump);
    }

    fn dump(&mut self) {
        self.mirror.resync_begin(Families::ALL);
        for route in self.kernel.clone().values() {
            self.tell(route, true);
        }
        self.mirror.resync_end(Families::ALL);
        self.act();
    }

    /// Somebody takes one away.
    fn take_away(&mut self, to: &str, told: bool) {
        let route = self.kernel.remove(&prefix(to)).unwrap();
        if told {
            self.mirror.event(&KernelEvent::RouteGone(Self::kernel_route(&route)), false);
        }
        self.act();
    }

    /// Rounds until nothing is left to do.
    fn act(&mut self) {
        for _ in 0..8 {
            let round = self.mirror.round(2);
            if round.is_empty() {
                return;
            }
            for change in round {
                self.done.push(change.clone());
                if self.refuses == Some(change.prefix()) {
                    self.mirror.refused(&change, "as the test wants it");
                    continue;
                }
                match change {
                    ExportChange::Set(route) => {
                        self.kernel.insert(route.prefix, route.clone());
                        self.tell(&route, false);
                    }
                    ExportChange::Delete(prefix) => {
                        if let Some(route) = self.kernel.remove(&prefix) {
                            self.mirror.event(&KernelEvent::RouteGone(Self::kernel_route(&route)), false);
                        }
                    }
                }
            }
        }
        panic!("it does not come to rest: {:?}", self.done);
    }

    fn shown(&self) -> Vec<String> {
        self.kernel.values().map(ToString::to_string).collect()
    }
}

#[test]
fn routes_come_change_and_go() {
    let mut both = Both::begun();
    both.vpp(
        vec![
            change("10.1.0.0/16", 0, hops(&["192.0.2.9"])),
            change("10.244.1.7/32", 1, VppLead::Pods),
            change("fd44::7/128", 1, VppLead::Pods),
            change("fd50::/48", 0, hops(&["fd00::9", "fd00::2"])),
        ],
        false,
    );
    assert_eq!(
        both.shown(),
        [
            "10.1.0.0/16 via 192.0.2.9 onlink",
            "10.244.1.7/32 via 192.0.2.1 onlink mtu 1440",
            "fd44::7/128 mtu 1440",
            "fd50::/48 nexthop via fd00::2 weight 1 onlink nexthop via fd00::9 weight 1 onlink",
        ]
    );
    let view = both.mirror.view();
    assert_eq!(view.from_vpp, BTreeMap::from([("API".to_owned(), 2), ("CLI".to_owned(), 2)]));
    assert_eq!((view.in_linux, view.changes, view.differences), (4, 4, 0));
    // Of IPv4 the kernel replaces; of IPv6 it would add.
    both.done.clear();
    both.vpp(vec![change("10.1.0.0/16", 0, VppLead::Pods), change("fd50::/48", 0, hops(&["fd00::3"]))], false);
    assert!(matches!(both.done.as_slice(), [ExportChange::Set(_), ExportChange::Delete(_), ExportChange::Set(_)]));
    both.vpp(["10.1.0.0/16", "fd44::7/128", "fd50::/48"].map(|to| (prefix(to), None)).to_vec(), false);
    assert_eq!(both.shown(), ["10.244.1.7/32 via 192.0.2.1 onlink mtu 1440"]);
    assert!(both.mirror.is_settled());
}

#[test]
fn nothing_is_done_before_both_sides_are_known() {
    let mut both = Both::new();
    // Of a helper before: one that stays, one that goes.
    for (to, lead) in [("10.1.0.0/16", hops(&["192.0.2.9"])), ("10.2.0.0/16", hops(&["192.0.2.9"]))] {
        both.kernel.insert(prefix(to), both.mirror.route(prefix(to), &lead));
    }
    both.vpp(vec![change("10.1.0.0/16", 0, hops(&["192.0.2.9"]))], false);
    assert_eq!((both.done.len(), both.mirror.is_settled()), (0, false));
    both.dump();
    assert_eq!(both.done, [], "VPP has not told everything");
    both.vpp(vec![], true);
    assert_eq!(both.done, [ExportChange::Delete(prefix("10.2.0.0/16"))]);
    assert_eq!(both.shown(), ["10.1.0.0/16 via 192.0.2.9 onlink"]);
    assert_eq!(both.mirror.differences(), 0, "what is left of before is no difference");
}

#[test]
fn what_somebody_takes_away_comes_back() {
    let mut both = Both::begun();
    both.vpp(vec![change("10.1.0.0/16", 0, hops(&["192.0.2.9"])), change("fd50::/48", 0, VppLead::Pods)], false);
    let there = both.shown();
    both.take_away("10.1.0.0/16", true);
    assert_eq!((both.shown(), both.mirror.differences()), (there.clone(), 0));
    // Without a word: the next reading finds it.
    both.take_away("10.1.0.0/16", false);
    both.take_away("fd50::/48", false);
    assert_eq!(both.shown().len(), 0);
    both.dump();
    assert_eq!((both.shown(), both.mirror.differences()), (there.clone(), 2));
    // Changed without a word.
    let other = both.mirror.route(prefix("10.1.0.0/16"), &hops(&["192.0.2.77"]));
    both.kernel.insert(prefix("10.1.0.0/16"), other);
    both.dump();
    assert_eq!((both.shown(), both.mirror.differences()), (there, 3));
}

#[test]
fn one_hop_of_several_that_goes_has_the_route_made_anew() {
    let mut both = Both::begun();
    both.vpp(vec![change("fd50::/48", 0, hops(&["fd00::9", "fd00::2"]))], false);
    let route = both.kernel[&prefix("fd50::/48")].clone();
    both.done.clear();
    let one = Route { next_hops: route.next_hops[..1].iter().cloned().collect(), ..route.clone() };
    both.mirror.event(&KernelEvent::RouteGone(Both::kernel_route(&one)), false);
    both.act();
    assert_eq!(both.done, [ExportChange::Delete(route.prefix), ExportChange::Set(route)]);
}

#[test]
fn only_our_protocol_and_metric_in_the_main_table_are_ours() {
    let mut both = Both::begun();
    let route = both.mirror.route(prefix("10.9.0.0/16"), &hops(&["192.0.2.9"]));
    let ours = Both::kernel_route(&route);
    let others = [
        KernelRoute { metric: 0, ..ours.clone() },
        KernelRoute { protocol: 4, ..ours.clone() },
        KernelRoute { table: 77, ..ours },
    ];
    for route in others {
        both.mirror.event(&KernelEvent::Route { route: route.clone(), replaces: false, appended: false }, false);
        both.mirror.event(&KernelEvent::RouteGone(route), false);
    }
    both.act();
    assert_eq!((both.done.len(), both.mirror.view().in_linux), (0, 0));
}

#[test]
fn what_was_refused_is_tried_again_when_asked() {
    let mut both = Both::begun();
    both.refuses = Some(prefix("10.1.0.0/16"));
    both.vpp(vec![change("10.1.0.0/16", 0, hops(&["192.0.2.9"]))], false);
    assert_eq!(both.mirror.view().refused, ["10.1.0.0/16: as the test wants it"]);
    both.done.clear();
    both.dump();
    assert_eq!(both.done, [], "not again by itself");
    both.refuses = None;
    both.mirror.retry();
    both.act();
    assert_eq!((both.shown().len(), both.mirror.view().refused.len()), (1, 0));
}
