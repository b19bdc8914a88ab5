//! Messages made by hand, whole, cut short and spoilt.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use proptest::prelude::*;

use super::decode::event;
use crate::engine::mirror::{KernelEvent, KernelHop, KernelLink, KernelNeighbour, KernelRoute, KernelRouteKind};
use crate::linux::message::{Frame, push};
use crate::linux::rtnl::{
    AF_INET, AF_INET6, RTM_DELADDR, RTM_DELLINK, RTM_DELNEIGH, RTM_DELNEXTHOP, RTM_DELROUTE, RTM_F_CLONED, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWNEXTHOP, RTM_NEWROUTE, RTN_BLACKHOLE, RTN_LOCAL, RTN_MULTICAST, RTN_UNICAST,
    RTNH_F_ONLINK, ifa, ifla, nda, nha, rta,
};
use crate::model::MacAddr;

const AF_BRIDGE: u8 = 7;
const TABLE: u32 = 1000;

/// A fixed part and attributes.
fn body(fixed: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = fixed.to_vec();
    for (kind, value) in attributes {
        push(&mut body, *kind, value);
    }
    body
}

fn tell(kind: u16, flags: u16, body: &[u8]) -> Option<KernelEvent> {
    event(&Frame { kind, flags, sequence: 0, body })
}

fn route_head(family: u8, length: u8, kind: u8, flags: u32) -> Vec<u8> {
    [&[family, length, 0, 0, 0xfc, 4, 0, kind][..], &flags.to_ne_bytes()].concat()
}

fn bytes(text: &str) -> Vec<u8> {
    match text.parse().unwrap() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn via(family: u16, gateway: &str) -> Vec<u8> {
    [&family.to_ne_bytes()[..], &bytes(gateway)].concat()
}

fn way(index: u32, hops: u8, flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut way = body(&[&[0, 0, flags, hops][..], &index.to_ne_bytes()].concat(), attributes);
    let length = u16::try_from(way.len()).unwrap().to_ne_bytes();
    way[..2].copy_from_slice(&length);
    way
}

fn hop(index: u32, gateway: Option<&str>, weight: u16) -> KernelHop {
    let gateway = gateway.map(|text| text.parse().unwrap());
    KernelHop { index, gateway, weight, onlink: false, encap: false }
}

fn route(event: Option<KernelEvent>) -> KernelRoute {
    match event {
        Some(KernelEvent::Route { route, .. } | KernelEvent::RouteGone(route)) => route,
        other => panic!("{other:?}"),
    }
}

fn multipath() -> Vec<u8> {
    let ways = [
        way(3, 2, 0, &[(rta::GATEWAY, &bytes("10.0.0.2"))]),
        way(4, 255, 4, &[(rta::VIA, &via(10, "fd00::2"))]),
        way(5, 0, 1, &[(rta::ENCAP, &[0; 52]), (rta::ENCAP_TYPE, &[2, 0])]),
    ]
    .concat();
    body(
        &route_head(AF_INET, 16, RTN_UNICAST, 0),
        &[(rta::DST, &[10, 2, 0, 0]), (rta::TABLE, &TABLE.to_ne_bytes()), (rta::MULTIPATH, &ways)],
    )
}

fn single() -> Vec<u8> {
    body(
        &route_head(AF_INET, 16, RTN_UNICAST, RTNH_F_ONLINK),
        &[
            (rta::TABLE, &TABLE.to_ne_bytes()),
            (rta::DST, &[10, 1, 0, 0]),
            (rta::PRIORITY, &[7, 0, 0, 0]),
            (rta::PREFSRC, &[10, 0, 0, 1]),
            (rta::METRICS, &body(&[], &[(8, &[1, 0, 0, 0]), (2, &1300_u32.to_ne_bytes())])),
            (rta::NH_ID, &[9, 0, 0, 0]),
            (rta::GATEWAY, &[10, 0, 0, 2]),
            (rta::OIF, &[3, 0, 0, 0]),
        ],
    )
}

#[test]
fn a_route_is_read_with_everything_it_has() {
    let expected = KernelRoute {
        table: TABLE,
        prefix: "10.1.0.0/16".parse().unwrap(),
        kind: KernelRouteKind::Unicast,
        metric: 7,
        protocol: 4,
        tos: 0,
        scope: 0,
        from_source: false,
        prefsrc: Some("10.0.0.1".parse().unwrap()),
        nexthop_id: Some(9),
        hops: [KernelHop { onlink: true, ..hop(3, Some("10.0.0.2"), 1) }].into_iter().collect(),
        mtu: Some(1300),
    };
    for (flags, replaces, appended) in
        [(NLM_F_CREATE, false, false), (NLM_F_REPLACE, true, false), (NLM_F_CREATE | NLM_F_APPEND, false, true)]
    {
        let expected = KernelEvent::Route { route: expected.clone(), replaces, appended };
        assert_eq!(tell(RTM_NEWROUTE, flags, &single()), Some(expected));
    }
    assert_eq!(tell(RTM_DELROUTE, 0, &single()), Some(KernelEvent::RouteGone(expected)));
}

#[test]
fn the_hops_of_a_multipath_route_are_read() {
    let found = route(tell(RTM_NEWROUTE, 0, &multipath()));
    let expected = [
        hop(3, Some("10.0.0.2"), 3),
        KernelHop { onlink: true, ..hop(4, Some("fd00::2"), 256) },
        KernelHop { encap: true, ..hop(5, None, 1) },
    ];
    assert_eq!(found.hops.as_slice(), expected);
}

#[test]
fn odd_routes_are_told_as_they_are() {
    let oif: &[u8] = &[1, 0, 0, 0];
    // Without a table attribute the byte holds, without a destination it is
    // the default route.
    let found = route(tell(RTM_NEWROUTE, 0, &body(&route_head(AF_INET6, 0, RTN_UNICAST, 0), &[(rta::OIF, oif)])));
    assert_eq!((found.table, found.prefix), (252, "::/0".parse().unwrap()));
    assert_eq!(found.hops.as_slice(), [hop(1, None, 1)]);
    // The loopback device of a route that drops is no hop.
    let found = route(tell(RTM_NEWROUTE, 0, &body(&route_head(AF_INET6, 0, RTN_BLACKHOLE, 0), &[(rta::OIF, oif)])));
    assert_eq!((found.kind, found.hops.len()), (KernelRouteKind::Blackhole, 0));
    let found = route(tell(RTM_NEWROUTE, 0, &body(&route_head(AF_INET6, 0, RTN_LOCAL, 0), &[(rta::OIF, oif)])));
    assert_eq!((found.kind, found.hops.len()), (KernelRouteKind::Local, 1));
    // By an object alone.
    let by_object = body(&route_head(AF_INET, 0, RTN_UNICAST, 0), &[(rta::NH_ID, &[9, 0, 0, 0])]);
    let found = route(tell(RTM_NEWROUTE, 0, &by_object));
    assert_eq!((found.nexthop_id, found.hops.len()), (Some(9), 0));
    let mut from = route_head(AF_INET6, 0, RTN_UNICAST, 0);
    from[2] = 64;
    assert!(route(tell(RTM_NEWROUTE, 0, &from)).from_source);
    let none = [
        route_head(AF_INET, 0, RTN_UNICAST, RTM_F_CLONED),
        // Multicast forwarding has families of its own.
        route_head(128, 0, RTN_UNICAST, 0),
        body(&route_head(AF_INET, 32, RTN_UNICAST, 0), &[(rta::DST, &bytes("fd00::"))]),
        route_head(AF_INET, 33, RTN_UNICAST, 0),
    ];
    for body in none {
        assert_eq!(tell(RTM_NEWROUTE, 0, &body), None, "{body:?}");
    }
}

fn link_body(family: u8, kind: &str, data: &[u8]) -> Vec<u8> {
    let head = [&[family, 0, 1, 0, 7, 0, 0, 0][..], &0x11043_u32.to_ne_bytes(), &[0; 4]].concat();
    let info = body(&[], &[(ifla::INFO_KIND, kind.as_bytes()), (ifla::INFO_DATA, data)]);
    body(
        &head,
        &[
            (ifla::IFNAME, b"eth0.7\0"),
            (ifla::MTU, &1400_u32.to_ne_bytes()),
            (ifla::LINK, &[5, 0, 0, 0]),
            (ifla::MASTER, &[6, 0, 0, 0]),
            (ifla::ADDRESS, &[2, 0, 0, 0, 0, 9]),
            (ifla::LINKINFO | 0x8000, &info),
        ],
    )
}

#[test]
fn links_are_read_with_what_is_below_and_above_them() {
    let plain = KernelLink {
        index: 7,
        name: "eth0.7".to_owned(),
        up: true,
        carrier: true,
        mtu: 1400,
        mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        master: Some(6),
        parent: Some(5),
        vlan_id: None,
        vlan_ad: false,
        kind: None,
        vrf_table: None,
    };
    let id = body(&[], &[(2, &[0; 8]), (ifla::VLAN_ID, &[7, 0])]);
    let ad = body(&[], &[(ifla::VLAN_ID, &[7, 0]), (ifla::VLAN_PROTOCOL, &[0x88, 0xa8])]);
    let table = body(&[], &[(ifla::VRF_TABLE, &500_u32.to_ne_bytes())]);
    let cases = [
        ("vlan", &id, KernelLink { vlan_id: Some(7), vlan_ad: false, ..plain.clone() }),
        ("vlan", &ad, KernelLink { vlan_id: Some(7), vlan_ad: true, ..plain.clone() }),
        ("vrf", &table, KernelLink { vrf_table: Some(500), ..plain.clone() }),
        ("macvlan", &table, plain.clone()),
        // What stands there is the peer, above nothing.
        ("veth", &table, KernelLink { parent: None, ..plain.clone() }),
    ];
    for (kind, data, expected) in cases {
        let expected = KernelLink { kind: Some(kind.to_owned()), ..expected };
        assert_eq!(tell(RTM_NEWLINK, 0, &link_body(0, kind, data)), Some(KernelEvent::Link(expected)));
    }
    let mut elsewhere = link_body(0, "vlan", &id);
    push(&mut elsewhere, ifla::LINK_NETNSID, &[0; 4]);
    let Some(KernelEvent::Link(link)) = tell(RTM_NEWLINK, 0, &elsewhere) else { panic!() };
    assert_eq!(link.parent, None);
    assert_eq!(tell(RTM_DELLINK, 0, &link_body(0, "vlan", &id)), Some(KernelEvent::LinkGone(7)));
    // A port that leaves its bridge is not gone, and wireless news is none.
    assert_eq!(tell(RTM_DELLINK, 0, &link_body(AF_BRIDGE, "veth", &[])), None);
    assert_eq!(tell(RTM_NEWLINK, 0, &link_body(AF_BRIDGE, "veth", &[])), None);
    let mut wireless = link_body(0, "veth", &[]);
    push(&mut wireless, ifla::WIRELESS, &[0; 8]);
    assert_eq!(tell(RTM_NEWLINK, 0, &wireless), None);
}

fn address_body() -> Vec<u8> {
    let attributes: [(u16, &[u8]); 3] =
        [(ifa::ADDRESS, &[10, 0, 9, 2]), (ifa::LOCAL, &[10, 0, 9, 1]), (ifa::FLAGS, &[0x40, 0, 0, 0])];
    body(&[AF_INET, 32, 0, 0, 3, 0, 0, 0], &attributes)
}

#[test]
fn an_address_is_the_devices_own() {
    let Some(KernelEvent::Address(found)) = tell(RTM_NEWADDR, 0, &address_body()) else { panic!() };
    assert_eq!(
        (found.index, found.address.to_string().as_str(), found.tentative || found.refused),
        (3, "10.0.9.1/32", true)
    );
    assert_eq!(tell(RTM_DELADDR, 0, &address_body()), Some(KernelEvent::AddressGone(found)));
    let attributes: [(u16, &[u8]); 1] = [(ifa::ADDRESS, &bytes("fe80::1"))];
    let v6 = body(&[AF_INET6, 64, 0x08, 0, 3, 0, 0, 0], &attributes);
    let Some(KernelEvent::Address(found)) = tell(RTM_NEWADDR, 0, &v6) else { panic!() };
    assert_eq!((found.address.to_string().as_str(), found.tentative || found.refused), ("fe80::1/64", true));
}

fn group_body() -> Vec<u8> {
    let members = [1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0, 0];
    body(&[0; 8], &[(nha::ID, &[3, 0, 0, 0]), (nha::GROUP, &members)])
}

#[test]
fn next_hop_objects_are_read() {
    let Some(KernelEvent::Nexthop(group)) = tell(RTM_NEWNEXTHOP, 0, &group_body()) else { panic!() };
    assert_eq!((group.id, group.hop, group.group), (3, None, vec![(1, 3), (2, 65536)]));
    let head = [2, 253, 4, 0, 4, 0, 0, 0];
    let attributes: [(u16, &[u8]); 3] =
        [(nha::ID, &[5, 0, 0, 0]), (nha::OIF, &[3, 0, 0, 0]), (nha::GATEWAY, &bytes("fd00::2"))];
    let Some(KernelEvent::Nexthop(found)) = tell(RTM_NEWNEXTHOP, 0, &body(&head, &attributes)) else { panic!() };
    let expected = KernelHop { onlink: true, ..hop(3, Some("fd00::2"), 1) };
    assert_eq!((found.id, found.hop, found.blackhole), (5, Some(expected), false));
    assert_eq!(tell(RTM_DELNEXTHOP, 0, &body(&head, &attributes)), Some(KernelEvent::NexthopGone(5)));
    let drops = body(&head, &[(nha::ID, &[4, 0, 0, 0]), (nha::BLACKHOLE, &[])]);
    let Some(KernelEvent::Nexthop(found)) = tell(RTM_NEWNEXTHOP, 0, &drops) else { panic!() };
    assert_eq!((found.blackhole, found.hop), (true, None));
    let fdb = body(&head, &[(nha::ID, &[4, 0, 0, 0]), (nha::FDB, &[])]);
    assert_eq!(tell(RTM_NEWNEXTHOP, 0, &fdb), None);
}

fn neighbour_body(family: u8, state: u16, flags: u8, kind: u8) -> Vec<u8> {
    let head = [&[family, 0, 0, 0, 3, 0, 0, 0][..], &state.to_ne_bytes(), &[flags, kind]].concat();
    body(&head, &[(nda::DST, &[10, 0, 0, 7]), (nda::LLADDR, &[2, 0, 0, 0, 0, 7])])
}

#[test]
fn neighbours_are_those_that_a_route_may_lead_to() {
    let expected = KernelNeighbour {
        index: 3,
        addr: "10.0.0.7".parse().unwrap(),
        mac: Some(MacAddr([2, 0, 0, 0, 0, 7])),
        permanent: true,
    };
    let message = neighbour_body(AF_INET, 0x80, 0, RTN_UNICAST);
    assert_eq!(tell(RTM_NEWNEIGH, 0, &message), Some(KernelEvent::Neighbour(expected)));
    assert_eq!(tell(RTM_DELNEIGH, 0, &message), Some(KernelEvent::NeighbourGone(expected)));
    let stale = neighbour_body(AF_INET, 4, 0, RTN_UNICAST);
    let stale_event = KernelEvent::Neighbour(KernelNeighbour { permanent: false, ..expected });
    assert_eq!(tell(RTM_NEWNEIGH, 0, &stale), Some(stale_event));
    for other in [
        neighbour_body(AF_BRIDGE, 0x80, 0, RTN_UNICAST),
        neighbour_body(AF_INET, 0x40, 0, RTN_MULTICAST),
        neighbour_body(AF_INET, 0, 8, RTN_UNICAST),
    ] {
        assert_eq!(tell(RTM_NEWNEIGH, 0, &other), None);
    }
}

fn samples() -> Vec<(u16, Vec<u8>)> {
    let vlan = body(&[], &[(ifla::VLAN_ID, &[7, 0])]);
    let routes = [single(), multipath()].into_iter().map(|body| (RTM_NEWROUTE, body));
    let others = [
        (RTM_NEWLINK, link_body(0, "vlan", &vlan)),
        (RTM_NEWADDR, address_body()),
        (RTM_NEWNEXTHOP, group_body()),
        (RTM_NEWNEIGH, neighbour_body(AF_INET, 0x80, 0, RTN_UNICAST)),
    ];
    routes.chain(others).collect()
}

#[test]
fn messages_cut_short_anywhere_are_taken() {
    for (kind, body) in samples() {
        assert!(tell(kind, 0, &body).is_some());
        // The fixed part alone, or less, never makes more than it says.
        let told = (0..body.len()).filter(|length| tell(kind, 0, &body[..*length]).is_some()).count();
        assert!(told < body.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn spoilt_messages_are_taken(
        sample in 0_usize..6,
        kind in prop::option::of(prop::sample::select(vec![16_u16, 17, 20, 21, 24, 25, 28, 29, 104, 105])),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        length in any::<prop::sample::Index>(),
    ) {
        let (own, mut body) = samples().swap_remove(sample);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(length.index(body.len()) + 1);
        let _ = tell(kind.unwrap_or(own), u16::MAX, &body);
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 16_u16..110) {
        let _ = tell(kind, 0, &bytes);
        let mut rest = bytes.as_slice();
        while let Some((frame, after)) = Frame::first(rest) {
            prop_assert!(after.len() < rest.len());
            let _ = event(&frame);
            rest = after;
        }
    }
}
