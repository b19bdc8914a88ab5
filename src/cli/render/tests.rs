//! What people and scripts see, letter by letter.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::engine::PanicsView;
use crate::model::{Backend, IfAddress};

fn address(text: &str, len: u8) -> IfAddress {
    IfAddress::new(text.parse().unwrap(), len).unwrap()
}

fn step(name: &'static str, state: &'static str, took_us: Option<u64>, error: Option<&str>) -> StepView {
    StepView { name, state, took_us, error: error.map(str::to_owned) }
}

fn good() -> UplinkView {
    UplinkView {
        vlan: None,
        interface: "host-eth0".to_owned(),
        sw_if_index: 1,
        tap: Some("tap0".to_owned()),
        tap_sw_if_index: Some(3),
        host_if: "eth0".to_owned(),
        host_netns: "-".to_owned(),
        backend: Backend::Vhost,
        backend_reason: "/dev/vhost-net opens and the tap plugin is loaded".to_owned(),
        default_punt: true,
        state: "enabled",
        addresses: vec![address("192.0.2.7", 24), address("2001:db8::7", 64)],
        to_host_packets: 1207,
        from_host_packets: 98,
        takeover: None,
        steps: vec![step("linux-namespaces", "done", Some(87), None), step("vpp-tap", "done", Some(12_345), None)],
        last_error: None,
    }
}

fn failed() -> UplinkView {
    UplinkView {
        vlan: None,
        interface: "avf-0/d8/a/0".to_owned(),
        sw_if_index: 2,
        tap: None,
        tap_sw_if_index: None,
        host_if: "enp216s0f1".to_owned(),
        host_netns: "blue".to_owned(),
        backend: Backend::Builtin,
        backend_reason: "/dev/vhost-net does not open".to_owned(),
        default_punt: false,
        state: "failed",
        addresses: Vec::new(),
        to_host_packets: 0,
        from_host_packets: 0,
        takeover: None,
        steps: vec![
            step("linux-namespaces", "undone", Some(1000), None),
            step("linux-tun-device", "failed", Some(7), Some("open /dev/net/tun:\n  no such device")),
            step("vpp-tap", "waiting", None, None),
        ],
        last_error: Some("linux-tun-device: open /dev/net/tun: no such device".to_owned()),
    }
}

fn view(uplinks: Vec<UplinkView>) -> View {
    let helper = HelperView { state: "running", commands: 12, reports: 11, died: None };
    View { version: "0.1.0", helper, panics: PanicsView::default(), not_taken: Vec::new(), uplinks }
}

fn dead(uplinks: Vec<UplinkView>) -> View {
    let helper = HelperView { state: "dead", commands: 3, reports: 2, died: Some("panic: boom".to_owned()) };
    View { helper, ..view(uplinks) }
}

#[test]
fn without_an_uplink_it_says_what_to_do() {
    let text = "hostnet: no uplink is enabled; 'hostnet enable <interface>' connects the host\n";
    assert_eq!(render(&view(vec![]), None, Layout::Table), text);
    assert_eq!(
        render(&view(vec![good()]), Some(9), Layout::Table),
        "hostnet: the interface with sw_if_index 9 is not enabled; 'hostnet enable 9' connects the host\n"
    );
    assert_eq!(
        render(&view(vec![]), None, Layout::Verbose),
        format!("hostnet 0.1.0\nhelper thread: running, 12 commands, 11 reports\n{text}")
    );
}

#[test]
fn a_line_each_uplink_and_the_error_of_a_failed_one() {
    let expected = "\
Interface     Tap   Host device  Namespace  Backend  State    To host  From host  Addresses
host-eth0     tap0  eth0         -          vhost    enabled     1207         98  192.0.2.7/24, 2001:db8::7/64
avf-0/d8/a/0  -     enp216s0f1   blue       builtin  failed         0          0  -
  failed: linux-tun-device: open /dev/net/tun: no such device
";
    assert_eq!(render(&view(vec![good(), failed()]), None, Layout::Table), expected);
}

#[test]
fn an_old_error_of_an_enabled_uplink_is_for_verbose_only_and_a_stuck_one_shows_it() {
    let old = UplinkView { last_error: Some("of yesterday".to_owned()), ..good() };
    assert!(!render(&view(vec![old.clone()]), None, Layout::Table).contains("yesterday"));
    assert!(render(&view(vec![old]), None, Layout::Verbose).contains("  last error    of yesterday\n"));
    let stuck = UplinkView { state: "stuck", last_error: Some("undo of vpp-tap:\nbusy".to_owned()), ..good() };
    assert!(render(&view(vec![stuck]), None, Layout::Table).ends_with("\n  stuck: undo of vpp-tap: busy\n"));
}

#[test]
fn a_dead_helper_is_seen_at_once() {
    let expected = "\
hostnet: the helper thread is dead: panic: boom
Interface  Tap   Host device  Namespace  Backend  State    To host  From host  Addresses
host-eth0  tap0  eth0         -          vhost    enabled     1207         98  192.0.2.7/24, 2001:db8::7/64
";
    assert_eq!(render(&dead(vec![good()]), None, Layout::Table), expected);
    let text = render(&dead(vec![]), None, Layout::Table);
    assert!(text.starts_with("hostnet: the helper thread is dead: panic: boom\nhostnet: no uplink"), "{text}");
    let text = render(&dead(vec![]), None, Layout::Verbose);
    assert!(text.contains("helper thread: dead, 3 commands, 2 reports\n  died: panic: boom\n"), "{text}");
}

#[test]
fn verbose() {
    let expected = "\
hostnet 0.1.0
helper thread: running, 12 commands, 11 reports

host-eth0 (sw_if_index 1): enabled
  tap           tap0 (sw_if_index 3)
  host device   eth0, namespace -
  backend       vhost: /dev/vhost-net opens and the tap plugin is loaded
  default punt  yes
  addresses     192.0.2.7/24
                2001:db8::7/64
  packets       1207 to the host, 98 from the host
  last error    none
  step                  state                time
  linux-namespaces      done             0.087 ms
  vpp-tap               done            12.345 ms

avf-0/d8/a/0 (sw_if_index 2): failed
  tap           -
  host device   enp216s0f1, namespace blue
  backend       builtin: /dev/vhost-net does not open
  default punt  no, that of the uplink only
  addresses     -
  packets       0 to the host, 0 from the host
  last error    linux-tun-device: open /dev/net/tun: no such device
  step                  state                time
  linux-namespaces      undone           1.000 ms
  linux-tun-device      failed           0.007 ms  open /dev/net/tun: no such device
  vpp-tap               waiting                 -
";
    assert_eq!(render(&view(vec![good(), failed()]), None, Layout::Verbose), expected);
}

#[test]
fn json_is_stable() {
    let expected = r#"{
  "version": "0.1.0",
  "helper": {
    "state": "running",
    "commands": 12,
    "reports": 11,
    "died": null
  },
  "panics": {
    "count": 0,
    "last": null
  },
  "not_taken": [],
  "uplinks": [
    {
      "interface": "avf-0/d8/a/0",
      "sw_if_index": 2,
      "tap": null,
      "tap_sw_if_index": null,
      "host_if": "enp216s0f1",
      "host_netns": "blue",
      "backend": "builtin",
      "backend_reason": "/dev/vhost-net does not open",
      "default_punt": false,
      "state": "failed",
      "vlan": null,
      "addresses": [],
      "to_host_packets": 0,
      "from_host_packets": 0,
      "takeover": null,
      "steps": [
        {
          "name": "linux-namespaces",
          "state": "undone",
          "took_us": 1000,
          "error": null
        },
        {
          "name": "linux-tun-device",
          "state": "failed",
          "took_us": 7,
          "error": "open /dev/net/tun:\n  no such device"
        },
        {
          "name": "vpp-tap",
          "state": "waiting",
          "took_us": null,
          "error": null
        }
      ],
      "last_error": "linux-tun-device: open /dev/net/tun: no such device"
    }
  ]
}
"#;
    assert_eq!(render(&view(vec![good(), failed()]), Some(2), Layout::Json), expected);
    let all: serde_json::Value = serde_json::from_str(&render(&view(vec![good()]), None, Layout::Json)).unwrap();
    assert_eq!(all["uplinks"][0]["addresses"][1], "2001:db8::7/64");
    let empty: serde_json::Value = serde_json::from_str(&render(&view(vec![good()]), Some(9), Layout::Json)).unwrap();
    assert_eq!(empty["uplinks"].as_array().map(Vec::len), Some(0));
}

#[test]
fn json_wins_over_verbose() {
    assert_eq!(Layout::of(true, true), Layout::Json);
    assert_eq!(Layout::of(true, false), Layout::Verbose);
    assert_eq!(Layout::of(false, false), Layout::Table);
}
