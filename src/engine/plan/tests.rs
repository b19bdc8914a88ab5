//! What a plan decides, and every reason against one.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use super::*;
use crate::model::IfAddress;

fn address(text: &str) -> IfAddress {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn facts() -> UplinkFacts {
    UplinkFacts {
        route_sources: Vec::new(),
        sw_if_index: 1,
        name: "host-eth0".to_owned(),
        linux_name: "eth0".parse().ok(),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        tables: (7, 8),
        config: HostConfig { addresses: vec![address("10.0.0.9/24"), address("fd00::9/64")], routes: Vec::new() },
        tap_plugin: true,
        default_punt: true,
        refusals: Vec::new(),
        unready: Vec::new(),
    }
}

fn build(request: &EnableRequest, facts: &UplinkFacts, linux: &LinuxFacts) -> Result<Plan, Vec<String>> {
    Plan::build(UplinkId(3), request, facts, linux).map_err(|refusals| refusals.0)
}

fn plan(request: &EnableRequest, facts: &UplinkFacts) -> Plan {
    build(request, facts, &LinuxFacts::default()).unwrap()
}

fn refusals(request: &EnableRequest, facts: &UplinkFacts) -> Vec<String> {
    build(request, facts, &LinuxFacts::default()).unwrap_err()
}

fn cluster(cidr: &str) -> EnableRequest {
    EnableRequest { cluster_cidrs: vec![prefix(cidr)], ..EnableRequest::default() }
}

/// The one cluster route, as `ip route` would print it.
fn route(request: &EnableRequest, facts: &UplinkFacts) -> String {
    let plan = plan(request, facts);
    assert_eq!(plan.cluster_routes.len(), 1);
    plan.cluster_routes[0].to_string()
}

#[test]
fn the_device_takes_after_the_uplink_and_options_come_first() {
    let own = plan(&EnableRequest::default(), &facts());
    assert_eq!((own.device.name.as_str(), own.device.mtu), ("eth0", 1500));
    assert_eq!((own.device.mac, own.tables, own.default_punt), (facts().mac, (7, 8), true));
    assert_eq!((own.id, own.uplink, own.config), (UplinkId(3), 1, facts().config));
    let request = EnableRequest {
        host_if: "lan".parse().ok(),
        mtu: Some(9000),
        host_netns: Netns::Name("blue".to_owned()),
        ..EnableRequest::default()
    };
    let asked = plan(&request, &facts());
    assert_eq!((asked.device.name.as_str(), asked.device.mtu), ("lan", 9000));
    assert_eq!(asked.device.netns, request.host_netns);
    assert_ne!(asked.device.staging_name, asked.device.name);
}

#[test]
fn the_backend_is_the_one_asked_for_or_the_best_there_is() {
    // choice, tap plugin, /dev/vhost-net: the backend, and words of the reason
    let table = [
        (TapChoice::Auto, true, true, Some(Backend::Vhost), "/dev/vhost-net opens"),
        (TapChoice::Auto, true, false, Some(Backend::Builtin), "no such device"),
        (TapChoice::Auto, false, true, Some(Backend::Builtin), "tap plugin is not loaded"),
        (TapChoice::Auto, false, false, Some(Backend::Builtin), "no such device and VPP's tap plugin"),
        (TapChoice::Vhost, true, true, Some(Backend::Vhost), "asked for"),
        (TapChoice::Vhost, true, false, None, "no such device"),
        (TapChoice::Vhost, false, true, None, "tap plugin is not loaded"),
        (TapChoice::Vhost, false, false, None, "'tap builtin'"),
        (TapChoice::Builtin, true, true, Some(Backend::Builtin), "asked for"),
        (TapChoice::Builtin, false, false, Some(Backend::Builtin), "asked for"),
    ];
    for (tap, tap_plugin, vhost, backend, words) in table {
        let linux =
            LinuxFacts { vhost_missing: (!vhost).then(|| "no such device".to_owned()), ..LinuxFacts::default() };
        let request = EnableRequest { tap, ..EnableRequest::default() };
        match (build(&request, &UplinkFacts { tap_plugin, ..facts() }, &linux), backend) {
            (Ok(plan), Some(backend)) => {
                assert_eq!(plan.backend, backend, "{tap:?} {tap_plugin} {vhost}");
                assert!(plan.backend_reason.contains(words), "{}", plan.backend_reason);
            }
            (Err(reasons), None) => assert!(reasons.len() == 1 && reasons[0].contains(words), "{reasons:?}"),
            (result, _) => assert_eq!(result.is_ok(), backend.is_some(), "{tap:?} {tap_plugin} {vhost}"),
        }
    }
}

#[test]
fn the_builtin_backend_makes_its_own_device() {
    let tun = Step::Linux(crate::engine::LinuxStep::TunDevice);
    for (tap, has) in [(TapChoice::Vhost, false), (TapChoice::Builtin, true)] {
        let plan = plan(&EnableRequest { tap, ..EnableRequest::default() }, &facts());
        assert_eq!(plan.steps().any(|step| step == tun), has);
    }
}

#[test]
fn every_reason_is_named_at_once() {
    let facts = UplinkFacts {
        linux_name: None,
        tap_plugin: false,
        refusals: vec!["interface host-eth0 is down".to_owned()],
        ..facts()
    };
    let linux = LinuxFacts { refusals: vec!["no namespace blue".to_owned()], vhost_missing: None, kept: None };
    let request = EnableRequest {
        tap: TapChoice::Vhost,
        mtu: Some(1000),
        cluster_mtu: Some(1001),
        cluster_cidrs: vec![prefix("fd00:10::/64")],
        ..EnableRequest::default()
    };
    let reasons = build(&request, &facts, &linux).unwrap_err();
    let words = [
        "interface host-eth0 is down",
        "no namespace blue",
        "add 'host-if <name>'",
        "mtu 1000 is too small for IPv6",
        "tap vhost is not possible",
        "cluster-mtu 1001 exceeds the device's MTU 1000",
        "cluster-mtu 1001 is too small for IPv6 cluster-cidr fd00:10::/64",
    ];
    assert_eq!(reasons.len(), words.len(), "{reasons:?}");
    for (reason, words) in reasons.iter().zip(words) {
        assert!(reason.contains(words), "'{words}' in '{reason}'");
    }
    assert_eq!(Refusals(vec!["a".to_owned(), "b".to_owned()]).to_string(), "a; b");
}

#[test]
fn the_mtu_has_its_bounds() {
    let four =
        UplinkFacts { config: HostConfig { addresses: vec![address("10.0.0.9/24")], routes: Vec::new() }, ..facts() };
    for (mtu, good) in [(67, false), (68, true), (65_521, true), (65_522, false)] {
        let request = EnableRequest { mtu: Some(mtu), ..EnableRequest::default() };
        assert_eq!(build(&request, &four, &LinuxFacts::default()).is_ok(), good, "{mtu}");
        let own = UplinkFacts { mtu, ..four.clone() };
        assert_eq!(build(&EnableRequest::default(), &own, &LinuxFacts::default()).is_ok(), good, "{mtu}");
    }
    for (mtu, good) in [(1279, false), (1280, true)] {
        let request = EnableRequest { mtu: Some(mtu), ..EnableRequest::default() };
        assert_eq!(build(&request, &facts(), &LinuxFacts::default()).is_ok(), good, "{mtu} with IPv6");
    }
}

#[test]
fn the_cluster_mtu_is_the_uplink_s_less_60_unless_told() {
    assert_eq!(route(&cluster("10.96.0.0/12"), &facts()), "10.96.0.0/12 via 10.0.0.1 mtu 1440");
    for (mtu, of_cluster) in [(9000, 1440), (1480, 1440), (1400, 1400)] {
        let request = EnableRequest { mtu: Some(mtu), ..cluster("10.96.0.0/12") };
        assert_eq!(route(&request, &facts()), format!("10.96.0.0/12 via 10.0.0.1 mtu {of_cluster}"));
    }
    let request = EnableRequest { cluster_mtu: Some(1500), ..cluster("10.96.0.0/12") };
    assert_eq!(route(&request, &facts()), "10.96.0.0/12 via 10.0.0.1 mtu 1500");
    let request = EnableRequest { cluster_mtu: Some(1501), ..cluster("10.96.0.0/12") };
    assert!(refusals(&request, &facts())[0].contains("exceeds"));
}

#[test]
fn a_cluster_route_goes_through_the_default_gateway_of_its_family() {
    let mut facts = facts();
    let gateway = |text: &str| text.parse().ok();
    facts.config.routes = vec![
        Route::via(prefix("192.168.0.0/16"), gateway("10.0.0.77")),
        Route::via(prefix("0.0.0.0/0"), gateway("10.0.0.254")),
        Route::via(prefix("::/0"), gateway("fe80::1")),
    ];
    assert_eq!(route(&cluster("10.96.0.0/12"), &facts), "10.96.0.0/12 via 10.0.0.254 mtu 1440");
    assert_eq!(route(&cluster("fd00:10::/64"), &facts), "fd00:10::/64 via fe80::1 mtu 1440");
    facts.config.routes[1].next_hops[0].onlink = true;
    assert_eq!(route(&cluster("10.96.0.0/12"), &facts), "10.96.0.0/12 via 10.0.0.254 onlink mtu 1440");
    facts.config.routes[1] = Route::via(prefix("0.0.0.0/0"), None);
    assert_eq!(
        route(&cluster("10.96.0.0/12"), &facts),
        "10.96.0.0/12 via 10.0.0.1 mtu 1440",
        "a default route on the link has no gateway"
    );
}

#[test]
fn without_a_gateway_a_cluster_route_goes_through_a_neighbour() {
    let mut facts = facts();
    facts.config.addresses = vec![address("10.0.0.1/24"), address("fe80::9/64"), address("fd00::1/64")];
    assert_eq!(route(&cluster("10.96.0.0/12"), &facts), "10.96.0.0/12 via 10.0.0.2 mtu 1440");
    assert_eq!(route(&cluster("fd00:10::/64"), &facts), "fd00:10::/64 via fd00::2 mtu 1440");
    facts.config.addresses = vec![address("10.0.0.1/32"), address("fe80::9/64")];
    for cidr in ["10.96.0.0/12", "fd00:10::/64"] {
        let reasons = refusals(&cluster(cidr), &facts);
        assert!(reasons.len() == 1 && reasons[0].contains(cidr), "{reasons:?}");
        assert!(reasons[0].contains("neither a default gateway nor a subnet"), "{reasons:?}");
    }
}

#[test]
fn a_cluster_cidr_that_is_a_route_already_is_refused() {
    let mut facts = facts();
    facts.config.routes = vec![Route::via(prefix("10.96.0.0/12"), "10.0.0.77".parse().ok())];
    let reasons = refusals(&cluster("10.96.0.0/12"), &facts);
    assert_eq!(reasons, ["cluster-cidr 10.96.0.0/12 is a route of the uplink already (10.96.0.0/12 via 10.0.0.77)"]);
}

#[test]
fn the_description_tells_both_sides() {
    let mut facts = facts();
    facts.config.routes = vec![Route::via(prefix("0.0.0.0/0"), "10.0.0.254".parse().ok())];
    let text = plan(&cluster("10.96.0.0/12"), &facts).describe();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for line in [
        "tap unnumbered, use host-eth0",
        "tap MTU 1500, tables ip4 7 ip6 8",
        "ip punt redirect rx all via 169.254.0.1 tap",
        "device eth0 MAC 02:00:00:00:00:01 MTU 1500",
        "address 10.0.0.9/24",
        "address fd00::9/64",
        "route default via 10.0.0.254",
        "route 10.96.0.0/12 via 10.0.0.254 mtu 1440",
    ] {
        assert!(lines.contains(&line), "{line}\n{text}");
    }
    facts.default_punt = false;
    let text = plan(&EnableRequest::default(), &facts).describe();
    assert!(text.contains("ip punt redirect host-eth0 via 169.254.0.1 tap"), "{text}");
}
