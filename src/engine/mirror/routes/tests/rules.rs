//! Each rule by itself.

use super::*;

/// A mirror that has read the kernel once, of which everything is taken by VPP
/// at once.
struct Lab {
    mirror: RouteMirror,
    vpp: super::vpp::Vpp,
    number: u64,
}

fn lab() -> Lab {
    let mut lab =
        Lab { mirror: RouteMirror::new(UplinkId(1), OURS, false), vpp: super::vpp::Vpp::default(), number: 0 };
    lab.mirror.resync_begin(Families::ALL);
    lab.mirror.resync_end(Families::ALL);
    lab
}

impl Lab {
    fn send(&mut self, refuses: Option<&Refusal>) {
        loop {
            self.number += 1;
            let mut batch = Batch { number: self.number, ..Batch::default() };
            if !self.mirror.fill(&mut batch, 100) {
                return;
            }
            let done = self.vpp.apply(&batch, |_| refuses.cloned());
            self.mirror.done(&done);
        }
    }

    fn add(&mut self, route: KernelRoute) -> &mut Self {
        self.mirror.event(&KernelEvent::Route { route, replaces: false, appended: false });
        self
    }

    fn append(&mut self, route: KernelRoute) -> &mut Self {
        self.mirror.event(&KernelEvent::Route { route, replaces: false, appended: true });
        self
    }

    fn replace(&mut self, route: KernelRoute) -> &mut Self {
        self.mirror.event(&KernelEvent::Route { route, replaces: true, appended: false });
        self
    }

    fn delete(&mut self, route: KernelRoute) -> &mut Self {
        self.mirror.event(&KernelEvent::RouteGone(route));
        self
    }

    fn object(&mut self, id: u32, hop: Option<KernelHop>, group: &[(u32, u32)]) -> &mut Self {
        let object = KernelNexthop { id, blackhole: false, hop, group: group.to_vec() };
        self.mirror.event(&KernelEvent::Nexthop(object));
        self
    }

    /// In words what VPP has there.
    fn has(&mut self, prefix: &str) -> String {
        self.send(None);
        match self.vpp.routes.get(&(254, prefix.parse().unwrap())).map(|(_, paths)| paths) {
            None => "-".to_owned(),
            Some(Paths::Forward(paths)) => {
                let word = |path: &Path| match (path.out, path.gateway) {
                    (Out::Host, _) => "host".to_owned(),
                    (_, None) => format!("link*{}", path.weight),
                    (_, Some(gateway)) => format!("{gateway}*{}", path.weight),
                };
                paths.iter().map(word).collect::<Vec<_>>().join(" ")
            }
            Some(other) => format!("{other:?}"),
        }
    }
}

const P4: &str = "198.51.100.0/24";
const P6: &str = "2001:db8::/32";

fn four(metric: u32, gateway: &str) -> KernelRoute {
    route(P4, metric, &[hop(OURS, gateway)])
}

fn six(metric: u32, gateways: &[&str]) -> KernelRoute {
    let hops: Vec<_> = gateways.iter().map(|gateway| hop(OURS, gateway)).collect();
    route(P6, metric, &hops)
}

#[test]
fn the_lowest_metric_is_in_vpp_and_the_next_comes_in_when_it_goes() {
    let mut lab = lab();
    lab.add(four(20, "192.0.2.2")).add(four(10, "192.0.2.1"));
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    lab.delete(four(10, "192.0.2.1"));
    assert_eq!(lab.has(P4), "192.0.2.2*1");
    lab.delete(four(20, "192.0.2.2"));
    assert_eq!(lab.has(P4), "-");
    assert_eq!(lab.mirror.rows.in_use(0), 0);
}

#[test]
fn equal_ipv4_routes_become_multipath() {
    let mut lab = lab();
    lab.add(four(10, "192.0.2.2")).append(four(10, "192.0.2.3")).add(four(10, "192.0.2.1"));
    assert_eq!(lab.has(P4), "192.0.2.1*1 192.0.2.2*1 192.0.2.3*1");
    lab.replace(four(10, "192.0.2.9"));
    assert_eq!(lab.has(P4), "192.0.2.2*1 192.0.2.3*1 192.0.2.9*1", "the first is replaced");
    lab.delete(four(10, "192.0.2.9"));
    assert_eq!(lab.has(P4), "192.0.2.2*1 192.0.2.3*1");
    lab.delete(four(10, "192.0.2.2"));
    assert_eq!(lab.has(P4), "192.0.2.3*1");
}

#[test]
fn an_ipv4_delete_takes_the_one_that_is_meant() {
    let mut lab = lab();
    let other = |change: fn(&mut KernelRoute)| {
        let mut route = four(10, "192.0.2.1");
        change(&mut route);
        route
    };
    let all = [
        other(|r| r.protocol = 186),
        other(|r| r.scope = 253),
        other(|r| r.tos = 8),
        other(|r| r.kind = KernelRouteKind::Blackhole),
        other(|r| r.hops[0].gateway = None),
        other(|r| r.metric = 11),
    ];
    lab.add(four(10, "192.0.2.1"));
    for route in &all {
        lab.append(route.clone());
    }
    for route in &all {
        lab.delete(route.clone());
    }
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    assert_eq!(lab.mirror.view().in_kernel.ipv4, 1);
    assert!(lab.mirror.wants_resync().is_empty());
    lab.delete(all[0].clone());
    assert_eq!(lab.mirror.wants_resync(), Families::routes(0), "a delete that matches nothing");
    assert!(lab.mirror.wants_resync().is_empty(), "told once");
}

#[test]
fn ipv6_siblings_come_and_go_one_by_one() {
    let mut lab = lab();
    lab.add(six(10, &["fe80::1"])).add(six(10, &["fe80::2", "fe80::1"]));
    assert_eq!(lab.has(P6), "fe80::1*1 fe80::2*1");
    lab.delete(six(10, &["fe80::1"]));
    assert_eq!(lab.has(P6), "fe80::2*1");
    lab.append(six(10, &["fe80::3", "fe80::2"])).replace(six(10, &["fe80::9"]));
    assert_eq!(lab.has(P6), "fe80::9*1", "all siblings are replaced");
    lab.replace(six(10, &["fe80::1", "fe80::2", "fe80::3"])).delete(six(10, &["fe80::3", "fe80::1"]));
    assert_eq!(lab.has(P6), "fe80::2*1");
    assert!(lab.mirror.wants_resync().is_empty());
    lab.delete(six(10, &["fe80::7"]));
    assert_eq!((lab.has(P6).as_str(), lab.mirror.wants_resync()), ("fe80::2*1", Families::routes(1)));
}

#[test]
fn two_routers_that_advertise_share() {
    let mut lab = lab();
    let ra = |gateway| KernelRoute { protocol: 9, ..six(1024, &[gateway]) };
    lab.add(ra("fe80::1")).add(ra("fe80::2"));
    assert_eq!(lab.has(P6), "fe80::1*1 fe80::2*1");
    lab.delete(ra("fe80::1"));
    assert_eq!(lab.has(P6), "fe80::2*1");
    // Made by a program: the second message has both.
    lab.add(KernelRoute { protocol: 9, ..six(1024, &["fe80::3", "fe80::2"]) });
    assert_eq!(lab.has(P6), "fe80::2*1 fe80::3*1");
    lab.delete(ra("fe80::2"));
    assert_eq!(lab.has(P6), "fe80::3*1");
}

#[test]
fn a_weight_of_256_fits() {
    let mut lab = lab();
    let mut route = route(P4, 10, &[hop(OURS, "192.0.2.1"), hop(OURS, "192.0.2.2")]);
    route.hops[0].weight = 256;
    route.hops[1].weight = 64;
    lab.add(route);
    assert_eq!(lab.has(P4), "192.0.2.1*255 192.0.2.2*64");
}

#[test]
fn an_object_that_changes_changes_every_route_of_it() {
    let mut lab = lab();
    lab.object(1, Some(hop(OURS, "192.0.2.1")), &[]).object(2, Some(hop(OURS, "192.0.2.2")), &[]);
    lab.object(10, None, &[(1, 1), (2, 3)]);
    // As `nexthop_compat_mode` 1 and 0 have it: the same route.
    let by = |id, metric| KernelRoute { nexthop_id: Some(id), ..four(metric, "192.0.2.77") };
    let bare = |id, metric| KernelRoute { hops: SmallVec::default(), ..by(id, metric) };
    lab.add(by(1, 10)).replace(bare(1, 10));
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    lab.object(1, Some(hop(OURS, "192.0.2.9")), &[]);
    assert_eq!(lab.has(P4), "192.0.2.9*1");
    lab.add(bare(10, 5));
    assert_eq!(lab.has(P4), "192.0.2.2*3 192.0.2.9*1");
    lab.object(2, Some(hop(OTHER, "192.0.2.2")), &[]);
    assert_eq!(lab.has(P4), "-", "a member leaves by another device");
    lab.mirror.event(&KernelEvent::NexthopGone(2));
    assert_eq!(lab.has(P4), "192.0.2.9*1", "a member less");
    lab.mirror.event(&KernelEvent::NexthopGone(10));
    lab.mirror.event(&KernelEvent::NexthopGone(1));
    assert_eq!((lab.has(P4).as_str(), lab.mirror.view().in_kernel.ipv4), ("-", 0), "its routes go along");
    // IPv6's are told of after it.
    lab.delete(KernelRoute { nexthop_id: Some(1), ..six(10, &["fe80::1"]) });
    assert!(lab.mirror.wants_resync().is_empty());
}

#[test]
fn what_is_not_mirrored_is_counted_by_reason() {
    let mut lab = lab();
    let p = |at: u8| format!("10.{at}.0.0/16");
    let ours = |at: u8| route(&p(at), 0, &[hop(OURS, "192.0.2.1")]);
    let mut encap = ours(1);
    encap.hops[0].encap = true;
    lab.add(encap);
    lab.add(route(&p(2), 0, &[hop(OTHER, "192.0.2.1")]));
    lab.add(route(&p(3), 0, &[hop(OTHER, "192.0.2.1"), hop(OURS, "192.0.2.1")]));
    lab.add(KernelRoute { tos: 8, ..ours(4) });
    lab.add(KernelRoute { kind: KernelRouteKind::Throw, ..ours(5) });
    lab.add(KernelRoute { nexthop_id: Some(99), ..ours(6) });
    lab.add(KernelRoute { from_source: true, ..six(10, &["fe80::1"]) });
    // Silently: the kernel's own and ours.
    lab.add(KernelRoute { protocol: 2, ..ours(7) });
    lab.add(KernelRoute { protocol: 118, ..ours(8) });
    lab.add(KernelRoute { kind: KernelRouteKind::Other(3), ..ours(9) });
    lab.add(KernelRoute { table: 255, ..ours(10) });
    lab.send(None);
    assert_eq!(lab.vpp.routes.len(), 0);
    let view = lab.mirror.view();
    let counts: Vec<_> = view.not_mirrored.into_iter().collect();
    assert_eq!(
        counts,
        [
            ("encap", 1),
            ("from", 1),
            ("other-device", 1),
            ("partly-other-device", 1),
            ("throw", 1),
            ("tos", 1),
            ("unknown-nexthop-object", 1)
        ]
    );
    assert_eq!(view.in_kernel, ByFamily { ipv4: 9, ipv6: 1 });
    // They are in force all the same.
    lab.append(KernelRoute { metric: 30, ..ours(7) }).append(KernelRoute { metric: 30, ..ours(4) });
    assert_eq!((lab.has(&p(7)).as_str(), lab.has(&p(4)).as_str()), ("-", "192.0.2.1*1"));
}

#[test]
fn what_the_kernel_puts_on_the_link_is_there_in_vpp() {
    let mut lab = lab();
    let on_link = |prefix: &str, device| KernelRoute {
        protocol: 2,
        ..route(prefix, 0, &[KernelHop { gateway: None, ..hop(device, "192.0.2.1") }])
    };
    lab.add(on_link("10.9.0.2/32", OURS)).add(on_link("10.8.0.0/24", OTHER));
    let link_local = KernelHop { gateway: None, ..hop(OURS, "192.0.2.1") };
    let link_local = KernelRoute { hops: [link_local].into_iter().collect(), protocol: 2, ..six(256, &["fe80::1"]) };
    lab.add(KernelRoute { prefix: "fe80::/64".parse().unwrap(), ..link_local });
    lab.send(None);
    assert_eq!((lab.has("10.9.0.2/32").as_str(), lab.vpp.routes.len()), ("link*1", 1));
    assert!(lab.mirror.is_on_link(&"10.9.0.2/32".parse().unwrap()));
    assert!(!lab.mirror.is_on_link(&"10.8.0.0/24".parse().unwrap()));
}

#[test]
fn of_equal_routes_of_ipv4_the_first_says_whether_it_forwards() {
    let drop = |protocol| KernelRoute {
        kind: KernelRouteKind::Unreachable,
        hops: SmallVec::default(),
        protocol,
        ..four(7, "192.0.2.2")
    };
    let mut lab = lab();
    lab.add(drop(4)).append(four(7, "192.0.2.2"));
    assert_eq!(lab.has(P4), "Unreachable");
    lab.delete(drop(4)).append(drop(186));
    assert_eq!(lab.has(P4), "192.0.2.2*1");
}

#[test]
fn a_route_without_a_device_is_the_uplinks() {
    let mut lab = lab();
    let kinds = [KernelRouteKind::Blackhole, KernelRouteKind::Unreachable, KernelRouteKind::Prohibit];
    for kind in kinds {
        lab.add(KernelRoute { kind, ..route(P4, 10, &[]) }).add(KernelRoute { kind, ..route(P6, 10, &[hop(LO, "")]) });
        assert_eq!((lab.has(P4), lab.has(P6)), (format!("{kind:?}"), format!("{kind:?}")));
        lab.delete(KernelRoute { kind, ..route(P4, 10, &[]) });
        lab.delete(KernelRoute { kind, ..route(P6, 10, &[hop(LO, "")]) });
        assert_eq!((lab.has(P4), lab.has(P6)), ("-".to_owned(), "-".to_owned()));
    }
    assert!(lab.mirror.wants_resync().is_empty());
}

#[test]
fn what_the_host_routes_elsewhere_goes_to_it_when_asked_for() {
    let mut lab = Lab { mirror: RouteMirror::new(UplinkId(1), OURS, true), ..lab() };
    lab.add(route(P4, 10, &[hop(OTHER, "192.0.2.1")]));
    lab.add(route(P6, 10, &[hop(OTHER, "fe80::1"), hop(OURS, "fe80::1")]));
    assert_eq!((lab.has(P4).as_str(), lab.has(P6).as_str()), ("host", "host"));
}

fn address(index: u32, addr: [u8; 4]) -> crate::engine::mirror::KernelAddress {
    let address = crate::model::IfAddress::new(addr.into(), 24).unwrap();
    crate::engine::mirror::KernelAddress {
        index,
        address,
        far_side: false,
        no_prefix_route: false,
        tentative: false,
        refused: false,
    }
}

#[test]
fn what_goes_silently_is_asked_for() {
    let mut lab = lab();
    let (a, b) = (address(OURS, [192, 0, 2, 7]), address(OURS, [192, 0, 2, 8]));
    lab.mirror.event(&KernelEvent::Address(a));
    lab.mirror.event(&KernelEvent::Address(b));
    lab.add(KernelRoute { prefsrc: Some(a.address.addr()), ..four(10, "192.0.2.1") });
    lab.add(route(P6, 10, &[hop(OURS, "fe80::1")]));
    lab.mirror.event(&KernelEvent::AddressGone(a));
    assert_eq!(lab.mirror.wants_resync(), Families::routes(0), "routes may send from it");
    lab.mirror.event(&KernelEvent::Address(a));
    lab.mirror.event(&KernelEvent::AddressGone(b));
    assert!(lab.mirror.wants_resync().is_empty());
    lab.delete(KernelRoute { prefsrc: Some(a.address.addr()), ..four(10, "192.0.2.1") });
    lab.add(four(10, "192.0.2.1"));
    lab.mirror.event(&KernelEvent::AddressGone(a));
    assert_eq!(lab.mirror.wants_resync(), Families::routes(0), "the last one");
    lab.mirror.event(&KernelEvent::Link(link(OURS, false)));
    assert_eq!(lab.mirror.wants_resync(), Families::routes(0));
    assert_eq!((lab.has(P4).as_str(), lab.has(P6).as_str()), ("-", "fe80::1*1"), "IPv6's are told of");
    lab.mirror.event(&KernelEvent::Link(link(OURS, false)));
    assert!(lab.mirror.wants_resync().is_empty(), "it was down");
}

#[test]
fn carrier_that_is_lost_takes_next_hop_objects_along() {
    let mut lab = lab();
    lab.object(1, Some(hop(OURS, "192.0.2.1")), &[]).object(2, None, &[(1, 1)]);
    lab.add(KernelRoute { nexthop_id: Some(2), ..four(10, "192.0.2.77") });
    lab.add(four(20, "192.0.2.3"));
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    let silent = KernelLink { carrier: false, ..link(OURS, true) };
    lab.mirror.event(&KernelEvent::Link(silent.clone()));
    assert_eq!(lab.has(P4), "192.0.2.3*1", "its other routes stay");
    let families = Families { ipv4: true, ipv6: true, nexthops: true, links: false };
    assert_eq!(lab.mirror.wants_resync(), families);
    lab.mirror.event(&KernelEvent::Link(silent));
    assert!(lab.mirror.wants_resync().is_empty(), "it was lost");
}

#[test]
fn a_containers_device_that_goes_costs_no_dump() {
    let mut lab = lab();
    lab.add(route(P4, 10, &[hop(OTHER, "")]));
    lab.add(four(20, "192.0.2.1"));
    assert_eq!(lab.has(P4), "-");
    lab.mirror.event(&KernelEvent::LinkGone(OTHER));
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    assert!(lab.mirror.wants_resync().is_empty());
}

#[test]
fn a_resync_takes_out_what_was_not_told_and_touches_nothing_else() {
    let mut lab = lab();
    let other = route("10.0.0.0/8", 10, &[hop(OURS, "192.0.2.1")]);
    lab.add(four(10, "192.0.2.1")).add(other.clone()).add(six(10, &["fe80::1"]));
    lab.send(None);
    let ops = lab.vpp.ops;
    lab.mirror.resync_begin(Families::routes(0));
    lab.add(other.clone());
    lab.send(None);
    assert_eq!(lab.vpp.ops, ops);
    // Begun anew: what was seen before does not count.
    lab.mirror.resync_begin(Families::routes(0));
    lab.add(four(10, "192.0.2.1"));
    lab.mirror.resync_end(Families::routes(0));
    lab.send(None);
    assert_eq!(lab.vpp.ops, ops + 1);
    assert_eq!(
        (lab.has(P4).as_str(), lab.has("10.0.0.0/8").as_str(), lab.has(P6).as_str()),
        ("192.0.2.1*1", "-", "fe80::1*1")
    );
    assert_eq!(lab.mirror.view().swept, 1);
}

#[test]
fn what_vpp_had_before_us_stays_until_the_kernel_has_spoken() {
    let mut lab = Lab { mirror: RouteMirror::new(UplinkId(1), OURS, false), ..lab() };
    lab.vpp.routes.insert((254, P4.parse().unwrap()), (PathsId::NONE, Paths::Prohibit));
    lab.mirror.present(254, P4.parse().unwrap());
    assert_eq!(lab.has(P4), "Prohibit");
    lab.mirror.resync_begin(Families::ALL);
    assert_eq!(lab.has(P4), "Prohibit");
    lab.mirror.resync_end(Families::ALL);
    assert_eq!(lab.has(P4), "-");
}

#[test]
fn what_is_refused_waits_for_a_retry() {
    let mut lab = lab();
    lab.add(four(10, "192.0.2.1"));
    lab.send(Some(&Refusal::Heap));
    assert_eq!(lab.mirror.view().refused.into_iter().collect::<Vec<_>>(), [("heap", 1)]);
    assert!(lab.mirror.is_settled());
    assert_eq!(lab.has(P4), "-");
    lab.mirror.retry();
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    assert!(lab.mirror.view().refused.is_empty());
    // A change that is refused leaves the old one.
    lab.replace(four(10, "192.0.2.2"));
    lab.send(Some(&Refusal::Table("full".to_owned())));
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    assert_eq!(lab.mirror.view().last_table_refusal.as_deref(), Some("full"));
    lab.replace(four(10, "192.0.2.1"));
    assert!(lab.mirror.view().refused.is_empty(), "as it was: nothing is wrong");
    assert_eq!(lab.has(P4), "192.0.2.1*1");
}

#[test]
fn one_route_is_under_way_once() {
    let mut lab = lab();
    lab.add(four(10, "192.0.2.1"));
    let mut first = Batch { number: 1, ..Batch::default() };
    assert!(lab.mirror.fill(&mut first, 100));
    lab.replace(four(10, "192.0.2.2"));
    let mut second = Batch { number: 2, ..Batch::default() };
    assert!(!lab.mirror.fill(&mut second, 100));
    assert!(!lab.mirror.is_settled());
    let done = lab.vpp.apply(&first, |_| Some(Refusal::Stats));
    lab.mirror.done(&done);
    assert!(lab.mirror.view().refused.is_empty(), "what was refused is not wanted any more");
    lab.number = 2;
    assert_eq!(lab.has(P4), "192.0.2.2*1");
}

#[test]
fn an_audit_finds_what_others_did_and_mends_it() {
    let mut lab = lab();
    lab.add(four(10, "192.0.2.1")).add(six(10, &["fe80::1"]));
    lab.send(None);
    lab.vpp.routes.remove(&(254, P4.parse().unwrap()));
    lab.vpp.routes.insert((254, "10.0.0.0/8".parse().unwrap()), (PathsId::NONE, Paths::Prohibit));
    lab.vpp.routes.insert((254, "10.1.0.0/16".parse().unwrap()), (PathsId::NONE, Paths::Prohibit));
    let mut cursor = CheckCursor::default();
    lab.number = 100;
    let mut batch = Batch { number: 100, ..Batch::default() };
    assert!(!lab.mirror.fill_check(&mut batch, &mut cursor, 100));
    assert_eq!(batch.totals, [(254, false, 1), (254, true, 1)]);
    let done = lab.vpp.apply(&batch, |_| None);
    lab.mirror.done(&done);
    let view = lab.mirror.view();
    assert_eq!((view.differences, view.checked), (3, 2));
    assert_eq!(view.last_differences[0], "table 254 198.51.100.0/24: is None");
    assert_eq!(
        (lab.has(P4).as_str(), lab.has("10.0.0.0/8").as_str(), lab.has("10.1.0.0/16").as_str()),
        ("192.0.2.1*1", "-", "-")
    );
}

#[test]
fn in_a_vrf_its_table_is_the_uplinks_own() {
    let mut lab = lab();
    let vrf = |index: u32, table: u32| KernelLink { vrf_table: Some(table), ..link(index, true) };
    let device = |master: Option<u32>| KernelEvent::Link(KernelLink { master, ..link(OURS, true) });
    let all = |lab: &mut Lab, routes: &[KernelRoute]| {
        assert_eq!(lab.mirror.wants_resync(), Families { ipv4: true, ipv6: true, ..Families::default() });
        lab.mirror.resync_begin(Families::ALL);
        for route in routes {
            lab.add(route.clone());
        }
        lab.mirror.resync_end(Families::ALL);
    };
    let main = four(10, "192.0.2.1");
    let of_vrf = KernelRoute { table: 10, ..four(10, "192.0.2.9") };
    lab.mirror.event(&KernelEvent::Link(vrf(20, 10)));
    lab.mirror.event(&device(None));
    assert_eq!(lab.mirror.wants_resync(), Families::default());
    lab.add(main.clone()).add(of_vrf.clone());
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    assert!(lab.vpp.routes.keys().any(|(table, _)| *table == 10), "another table of VPP's");
    // It goes into the VRF: main is not for VPP any more, table 10 is no other.
    lab.mirror.event(&device(Some(20)));
    all(&mut lab, &[main.clone(), of_vrf.clone()]);
    assert_eq!((lab.has(P4).as_str(), lab.mirror.own_table()), ("192.0.2.9*1", 10));
    assert!(lab.vpp.routes.keys().all(|(table, _)| *table == 254));
    lab.delete(main.clone());
    assert_eq!(lab.has(P4), "192.0.2.9*1");
    lab.delete(of_vrf.clone());
    assert_eq!(lab.has(P4), "-");
    // Into another one, whose device is told of later; out of it.
    lab.mirror.event(&device(Some(21)));
    assert_eq!(lab.mirror.own_table(), 254);
    all(&mut lab, &[]);
    lab.mirror.event(&KernelEvent::Link(vrf(21, 5000)));
    all(&mut lab, &[KernelRoute { table: 5000, ..main.clone() }, of_vrf.clone()]);
    assert_eq!(lab.has(P4), "192.0.2.1*1");
    lab.mirror.event(&KernelEvent::LinkGone(21));
    all(&mut lab, &[of_vrf, KernelRoute { metric: 3, ..main }]);
    assert_eq!((lab.has(P4).as_str(), lab.mirror.own_table()), ("192.0.2.1*1", 254));
}

/// As the helper does it: the dump first, then what was told meanwhile.
#[test]
fn what_was_told_before_the_dump_came_there_may_not_go_together_with_it() {
    let (a, b, c) = (four(10, "192.0.2.1"), four(10, "192.0.2.2"), four(10, "192.0.2.3"));
    let dumped = |told: &[&KernelRoute]| {
        let mut lab = lab();
        lab.add(a.clone()).append(b.clone());
        lab.mirror.resync_begin(Families::ALL);
        for route in told {
            lab.mirror
                .event_from(&KernelEvent::Route { route: (*route).clone(), replaces: false, appended: false }, true);
        }
        lab
    };
    // In the kernel: A is replaced by C, C goes, the dump tells B. B is no longer
    // known, and so the kernel is asked, as often as is sensible.
    let mut lab = dumped(&[&b]);
    for _ in 0..3 {
        lab.replace(c.clone()).delete(c.clone());
        lab.mirror.resync_end(Families::ALL);
        assert_eq!(lab.mirror.wants_resync(), Families::routes(0));
        lab.mirror.resync_begin(Families::routes(0));
        lab.mirror.event_from(&KernelEvent::Route { route: b.clone(), replaces: false, appended: false }, true);
    }
    assert!(!lab.mirror.gave_up());
    lab.replace(c.clone()).delete(c.clone());
    lab.mirror.resync_end(Families::ALL);
    assert!(lab.mirror.wants_resync().is_empty(), "it would go on for ever");
    assert!(lab.mirror.gave_up() && !lab.mirror.gave_up(), "told once");
    // What goes together is believed: A was dumped before it was replaced.
    let mut lab = dumped(&[&a]);
    lab.replace(c.clone());
    lab.mirror.resync_end(Families::ALL);
    assert!(lab.mirror.wants_resync().is_empty());
    assert_eq!(lab.has(P4), "192.0.2.3*1");
    // A replace that leaves another beside itself perhaps took that away.
    let mut lab = dumped(&[&c]);
    lab.append(a.clone()).replace(c.clone());
    lab.mirror.resync_end(Families::ALL);
    assert_eq!(lab.mirror.wants_resync(), Families::routes(0));
}

/// A replace may have taken what was told of before the place of what the dump has
/// told: the same is not there twice.
#[test]
fn what_takes_anothers_place_is_there_once() {
    let drops = KernelRoute { kind: KernelRouteKind::Blackhole, ..route(P6, 10, &[hop(LO, "")]) };
    let leads = route(P6, 10, &[hop(OURS, "")]);
    let dumped = |route: &KernelRoute| KernelEvent::Route { route: route.clone(), replaces: false, appended: false };
    let mut lab = lab();
    lab.add(drops.clone());
    lab.mirror.resync_begin(Families::ALL);
    lab.mirror.event_from(&dumped(&leads), true);
    lab.append(drops).replace(leads.clone());
    let alone = self::lab().add(leads).has(P6);
    assert_eq!(lab.has(P6), alone);
    lab.mirror.resync_end(Families::ALL);
    assert_eq!(lab.mirror.wants_resync(), Families::routes(1), "whether the other is there is not known");
}

const ADDR: &str = "203.0.113.9/32";

/// An address of the host's on that device, as the kernel's table `local` has it.
fn local(prefix: &str, device: u32) -> KernelRoute {
    let kind = KernelRouteKind::Local;
    KernelRoute { table: 255, kind, protocol: 2, ..route(prefix, 0, &[hop(device, "")]) }
}

#[test]
fn an_address_on_another_device_is_the_hosts() {
    let mut lab = lab();
    for prefix in [ADDR, "2001:db8::9/128", "198.18.0.0/16"] {
        lab.add(local(prefix, LO));
        assert_eq!(lab.has(prefix), "Local");
    }
    let view = lab.mirror.view();
    assert_eq!((view.elsewhere.ipv4, view.elsewhere.ipv6, view.in_kernel.ipv4), (2, 1, 0));
    lab.delete(local(ADDR, LO));
    assert_eq!(lab.has(ADDR), "-");
    // The kernel's own of every host, of every link, and broadcasts.
    for (prefix, device) in [("127.0.0.0/8", LO), ("127.0.0.1/32", LO), ("::1/128", LO), ("fe80::1/128", OTHER)] {
        lab.add(local(prefix, device));
        assert_eq!(lab.has(prefix), "-");
    }
    lab.add(KernelRoute { kind: KernelRouteKind::Other(3), ..local("198.51.100.255/32", OTHER) });
    assert_eq!(lab.has("198.51.100.255/32"), "-");
    // A rule leads to another table: TPROXY.
    lab.add(KernelRoute { table: 100, ..local("0.0.0.0/0", LO) });
    lab.send(None);
    assert!(lab.vpp.routes.keys().all(|(table, _)| *table == 254));
}

#[test]
fn an_address_on_a_device_of_ours_is_vpps() {
    let mut lab = lab();
    lab.add(local(ADDR, OURS));
    assert_eq!(lab.has(ADDR), "-");
    lab.add(local(ADDR, LO));
    assert_eq!(lab.has(ADDR), "-", "on both");
    lab.delete(local(ADDR, OURS));
    assert_eq!(lab.has(ADDR), "Local");
    lab.mirror.set_siblings(BTreeSet::from([LO]));
    assert_eq!(lab.has(ADDR), "-", "the other one's uplink has it");
}

#[test]
fn the_kernel_looks_for_its_own_addresses_first() {
    let mut lab = lab();
    let unicast = || route(ADDR, 0, &[hop(OURS, "192.0.2.1")]);
    lab.add(unicast()).add(local(ADDR, LO));
    assert_eq!(lab.has(ADDR), "Local");
    lab.replace(route(ADDR, 0, &[hop(OURS, "192.0.2.2")]));
    assert_eq!(lab.has(ADDR), "Local", "of another table");
    lab.delete(local(ADDR, LO));
    assert_eq!(lab.has(ADDR), "192.0.2.2*1");
    let six = "2001:db8::9/128";
    lab.add(local(six, LO)).add(KernelRoute { protocol: 2, ..route(six, 256, &[hop(LO, "")]) });
    assert_eq!(lab.has(six), "Local");
    lab.delete(local(six, LO));
    assert_eq!(lab.has(six), "-");
}

#[test]
fn an_address_goes_with_its_device() {
    let mut lab = lab();
    lab.mirror.event(&KernelEvent::Link(link(OTHER, true)));
    lab.add(local(ADDR, OTHER));
    assert_eq!(lab.has(ADDR), "Local");
    lab.mirror.event(&KernelEvent::Link(link(OTHER, false)));
    assert_eq!(lab.has(ADDR), "Local", "while the device is there");
    lab.mirror.event(&KernelEvent::LinkGone(OTHER));
    assert_eq!(lab.has(ADDR), "-");
    assert!(lab.mirror.wants_resync().is_empty(), "one is not worth a reading");
}

#[test]
fn in_a_vrf_its_addresses_are_the_hosts() {
    let mut lab = lab();
    lab.add(local(ADDR, LO));
    let vrf = KernelLink { vrf_table: Some(1000), ..link(20, true) };
    lab.mirror.event(&KernelEvent::Link(vrf));
    lab.mirror.event(&KernelEvent::Link(KernelLink { master: Some(20), ..link(OURS, true) }));
    lab.mirror.resync_begin(Families::ALL);
    lab.add(local(ADDR, LO)).add(KernelRoute { table: 1000, ..local("203.0.113.10/32", OTHER) });
    lab.mirror.resync_end(Families::ALL);
    assert_eq!(lab.has(ADDR), "-");
    assert_eq!(lab.has("203.0.113.10/32"), "Local");
}
