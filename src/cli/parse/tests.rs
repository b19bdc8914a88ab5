//! The parser, by lines that people write.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::grammar::{COMMANDS, command};
#[cfg(feature = "faults")]
use super::super::request::{FaultMode, PanicPlace};
use super::*;
use crate::engine::{Driver, DriverChoice, EnableRequest, TapChoice, UplinkRequest};
use crate::model::police::{Change, Class};

/// VPP with three interfaces, one of them badly named.
fn resolve(word: &str) -> Option<u32> {
    let names = ["local0", "host-eth0", "avf-0/d8/a/0", "1"];
    let by_name = |word: &str| names.iter().position(|name| *name == word).and_then(|at| u32::try_from(at).ok());
    resolve_interface(word, by_name, |index| index < 4)
}

fn run(path: &str, rest: &str) -> Result<Request, String> {
    parse(command(path).unwrap(), rest, &resolve).map_err(|error| error.to_string())
}

fn enable(rest: &str) -> Result<EnableRequest, String> {
    match run("hostnet enable", rest)? {
        Request::Enable(request) => Ok(request),
        other => Err(format!("{other:?}")),
    }
}

#[track_caller]
fn refused(path: &str, rest: &str, text: &str) {
    assert_eq!(run(path, rest), Err(format!("{path}: {text}")), "{path} {rest}");
}

#[test]
fn everything_at_once() {
    let line = "avf-0/d8/a/0 host-if enp216s0f1 host-netns pid:7 tap builtin mtu 9000 cluster-cidr 10.96.0.0/12 \
                cluster-cidr fd00:10::/32 cluster-mtu 1400 source-check dry-run";
    let expected = EnableRequest {
        sw_if_index: 2,
        host_if: Some("enp216s0f1".parse().unwrap()),
        host_netns: Netns::Pid(7),
        tap: TapChoice::Builtin,
        mtu: Some(9000),
        cluster_cidrs: vec!["10.96.0.0/12".parse().unwrap(), "fd00:10::/32".parse().unwrap()],
        cluster_mtu: Some(1400),
        source_check: true,
        dry_run: true,
    };
    assert_eq!(enable(line), Ok(expected.clone()));
    // Order does not matter, nor does white space.
    let line = "\tdry-run cluster-mtu 1400  cluster-cidr 10.96.0.0/12 tap builtin avf-0/d8/a/0 mtu 9000 \
                host-netns pid:7 source-check cluster-cidr fd00:10::/32 host-if enp216s0f1\r\n";
    assert_eq!(enable(line), Ok(expected));
}

#[test]
fn the_defaults() {
    assert_eq!(enable("host-eth0"), Ok(EnableRequest { sw_if_index: 1, ..EnableRequest::default() }));
}

#[test]
fn an_interface_by_name_by_number_and_a_name_that_looks_like_a_number() {
    assert_eq!(enable("2").map(|r| r.sw_if_index), Ok(2));
    // Interface 3 is called "1": the name wins.
    assert_eq!(enable("1").map(|r| r.sw_if_index), Ok(3));
    for no in ["4", "+2", "0x2", "2 2", "-1", "99999999999"] {
        assert!(enable(no).is_err(), "{no}");
    }
}

#[test]
fn every_tap_choice() {
    for (word, tap) in [("auto", TapChoice::Auto), ("vhost", TapChoice::Vhost), ("builtin", TapChoice::Builtin)] {
        assert_eq!(enable(&format!("1 tap {word}")).map(|r| r.tap), Ok(tap));
    }
    refused("hostnet enable", "1 tap virtio", "unknown tap 'virtio'; expected one of: auto, vhost, builtin");
}

#[test]
fn words_that_have_no_place() {
    refused(
        "hostnet enable",
        "host-eth0 foo",
        "unknown word 'foo'; expected one of: host-if, host-netns, tap, mtu, cluster-cidr, cluster-mtu, source-check, \
         dry-run",
    );
    refused(
        "hostnet enable",
        "host-eth0 mtu 1500 cluster-cidr 10.0.0.0/8 dry-run 1400",
        "unknown word '1400'; expected one of: host-if, host-netns, tap, cluster-cidr, cluster-mtu, \
         source-check",
    );
    refused("hostnet disable", "host-eth0 now", "unknown word 'now'; expected the end of the line");
    refused("show hostnet", "host-eth0 json x", "unknown word 'x'; expected 'verbose' or the end of the line");
    refused(
        "show hostnet",
        "verbos",
        "unknown interface 'verbos'; expected a name or index of 'show interface', or one of: verbose, json",
    );
}

#[test]
fn interfaces_that_are_not_there() {
    refused("hostnet enable", "eth9", "unknown interface 'eth9'; expected a name or index of 'show interface'");
    refused("hostnet disable", "7", "unknown interface '7'; expected a name or index of 'show interface'");
    refused("hostnet disable", "", "<interface> is missing; usage: hostnet disable <interface>");
    let usage = command("hostnet enable").unwrap().usage;
    refused("hostnet enable", "mtu 1500", &format!("<interface> is missing; usage: {usage}"));
    refused("hostnet enable", "  ", &format!("<interface> is missing; usage: {usage}"));
}

#[test]
fn options_given_twice() {
    refused("hostnet enable", "1 mtu 1500 mtu 1500", "'mtu' is given twice; give it once");
    refused("hostnet enable", "1 mtu 1500 mtu", "'mtu' is given twice; give it once");
    refused("hostnet enable", "1 dry-run dry-run", "'dry-run' is given twice; give it once");
    refused("hostnet enable", "1 host-if a tap auto host-if b", "'host-if' is given twice; give it once");
    refused(
        "hostnet enable",
        "1 cluster-cidr fd00::/64 cluster-cidr 10.0.0.0/8 cluster-cidr fd00:0::/64",
        "'cluster-cidr fd00:0::/64' is given twice; give each value once",
    );
    refused("show hostnet", "json json", "'json' is given twice; give it once");
}

#[test]
fn options_without_a_value() {
    refused("hostnet enable", "1 mtu", "'mtu' has no value; write it as 'mtu <n>'");
    refused("hostnet enable", "1 host-if dry-run", "'host-if' has no value; write it as 'host-if <name>'");
    refused("hostnet enable", "1 tap", "'tap' has no value; write it as 'tap auto|vhost|builtin'");
    refused("hostnet enable", "1 host-netns", "'host-netns' has no value; write it as 'host-netns <name|pid:N|/path>'");
}

#[test]
fn numbers() {
    for name in ["mtu", "cluster-mtu"] {
        for bad in ["0", "67", "65522", "4294967296", "18446744073709551616"] {
            let text = format!("{name} {bad} is out of range; expected 68 to 65521");
            refused("hostnet enable", &format!("1 {name} {bad}"), &text);
        }
        for bad in ["+1500", "-1", "0x5dc", "1500b", "1.5", "big"] {
            let text = format!("{name} '{bad}' is not a number; expected 68 to 65521");
            refused("hostnet enable", &format!("1 {name} {bad}"), &text);
        }
    }
    assert_eq!(enable("1 mtu 68 cluster-mtu 65521").map(|r| (r.mtu, r.cluster_mtu)), Ok((Some(68), Some(65521))));
}

#[test]
fn values_of_the_model() {
    refused(
        "hostnet enable",
        "1 cluster-cidr 10.96.0.1/12",
        "cluster-cidr: '10.96.0.1/12' has host bits set; the prefix is 10.96.0.0/12",
    );
    refused(
        "hostnet enable",
        "1 cluster-cidr 10.96.0.0",
        "cluster-cidr: '10.96.0.0' is not a prefix; write it as 10.96.0.0/12 or fd00:10:96::/112",
    );
    refused(
        "hostnet enable",
        "1 host-if sixteen-bytes-xx",
        "host-if: device name 'sixteen-bytes-xx' has 16 bytes; Linux takes at most 15",
    );
    let invalid = "host-if: 'a/b' is not a device name; \
                   Linux takes no empty name, '.', '..', '/', ':', '%' or white space";
    refused("hostnet enable", "1 host-if a/b", invalid);
    refused(
        "hostnet enable",
        "1 host-netns pid:0",
        "host-netns: 'pid:0' does not name a network namespace; write a name of 'ip netns', pid:N or /path",
    );
}

#[test]
fn show_and_disable() {
    let show = |sw_if_index, verbose, json| Ok(Request::Show { sw_if_index, verbose, json });
    assert_eq!(run("show hostnet", ""), show(None, false, false));
    assert_eq!(run("show hostnet", "verbose"), show(None, true, false));
    assert_eq!(run("show hostnet", "json host-eth0"), show(Some(1), false, true));
    assert_eq!(run("hostnet disable", "avf-0/d8/a/0"), Ok(Request::Disable { sw_if_index: 2 }));
}

#[test]
fn uplink_takes_what_enable_takes_and_its_own() {
    let options = "host-if eth9 host-netns pid:7 tap vhost mtu 9000 cluster-cidr 10.96.0.0/12 cluster-mtu 1400 dry-run";
    let request = UplinkRequest {
        linux_if: "eth0".parse().unwrap(),
        driver: DriverChoice::This(Driver::Virtio),
        no_iommu: true,
        enable: EnableRequest { sw_if_index: 0, ..enable(&format!("1 {options}")).unwrap() },
    };
    let line = format!("eth0 driver virtio no-iommu {options}");
    assert_eq!(run("hostnet uplink", &line), Ok(Request::Uplink(request.clone())));
    assert_eq!(run("hostnet uplink", &format!("{options} no-iommu driver virtio eth0")), Ok(Request::Uplink(request)));
    let request = UplinkRequest {
        linux_if: "eth0".parse().unwrap(),
        driver: DriverChoice::Auto,
        no_iommu: false,
        enable: EnableRequest::default(),
    };
    assert_eq!(run("hostnet uplink", "eth0"), Ok(Request::Uplink(request)));
}

#[test]
fn the_words_of_driver_are_those_of_the_engine() {
    let argument = command("hostnet uplink").unwrap().arguments.iter().find(|a| a.name == "driver").unwrap();
    let ValueKind::Words(words) = argument.kind else { unreachable!("{:?}", argument.kind) };
    let engine: Vec<&str> = Driver::ALL.iter().map(|driver| driver.name()).collect();
    assert_eq!(words, [&["auto"], engine.as_slice(), &["dpdk", "none"]].concat());
    for word in words {
        let expected = match *word {
            "auto" => DriverChoice::Auto,
            "dpdk" => DriverChoice::Dpdk,
            "none" => DriverChoice::None,
            word => DriverChoice::This(word.parse().unwrap()),
        };
        let got = run("hostnet uplink", &format!("x driver {word}"));
        assert!(matches!(&got, Ok(Request::Uplink(request)) if request.driver == expected), "{word}: {got:?}");
    }
    refused(
        "hostnet uplink",
        "x driver e1000",
        "unknown driver 'e1000'; expected one of: auto, af-packet, af-xdp, rdma, virtio, vmxnet3, device, dpdk, none",
    );
    for word in ["avf", "iavf", "ena"] {
        let said = run("hostnet uplink", &format!("x driver {word}")).unwrap_err();
        assert!(said.contains("'driver device'"), "{said}");
    }
}

#[test]
fn uplink_and_release_without_a_right_name() {
    let usage = command("hostnet uplink").unwrap().usage;
    refused("hostnet uplink", "driver auto", &format!("<linux-interface> is missing; usage: {usage}"));
    refused(
        "hostnet uplink",
        "sixteen-bytes-xx",
        "linux-interface: device name 'sixteen-bytes-xx' has 16 bytes; Linux takes at most 15",
    );
    refused(
        "hostnet uplink",
        "a b",
        "unknown word 'b'; expected one of: driver, no-iommu, host-if, host-netns, tap, mtu, cluster-cidr, \
         cluster-mtu, source-check, dry-run",
    );
    assert_eq!(run("hostnet release", "eth0"), Ok(Request::Release { linux_if: "eth0".parse().unwrap() }));
    refused("hostnet release", "", "<linux-interface> is missing; usage: hostnet release <linux-interface>");
    refused("hostnet release", "eth0 now", "unknown word 'now'; expected the end of the line");
}

#[test]
fn the_journal() {
    assert_eq!(run("show hostnet journal", ""), Ok(Request::ShowJournal { json: false }));
    assert_eq!(run("show hostnet journal", "json"), Ok(Request::ShowJournal { json: true }));
    // As VPP hands it over.
    assert_eq!(run("show hostnet", "journal json"), Ok(Request::ShowJournal { json: true }));
    refused("show hostnet journal", "verbose", "unknown word 'verbose'; expected 'json' or the end of the line");
}

#[test]
fn what_startup_conf_refuses_is_an_option_of_a_command() {
    for name in LINE_ONLY {
        assert!(COMMANDS.iter().flat_map(|c| c.arguments).any(|a| !a.positional && a.name == *name), "{name}");
    }
}

#[test]
fn every_example_parses_and_no_argument_is_left_over() {
    for command in COMMANDS {
        let rest = command.example.strip_prefix(command.path).unwrap();
        let parsed = parse(command, rest, &|_| Some(1));
        assert!(parsed.is_ok(), "{}: {parsed:?}", command.example);
        // Every optional argument makes a difference to the request: none of
        // them is read and then forgotten.
        for argument in command.arguments.iter().filter(|a| !a.required) {
            let text = match argument.kind {
                ValueKind::Flag => argument.name.to_owned(),
                ValueKind::Interface => "x".to_owned(),
                ValueKind::U32 { max, .. } => format!("{} {max}", argument.name),
                ValueKind::Words(words) => format!("{} {}", argument.name, words.last().unwrap()),
                ValueKind::Prefix => format!("{} ::/0", argument.name),
                ValueKind::Ports => "1,2".to_owned(),
                ValueKind::IfName | ValueKind::Netns => format!("{} name", argument.name),
                ValueKind::Step => "vpp-tap".to_owned(),
            };
            // Of the classes, the one that takes every option.
            let word = |argument: &ArgumentDef| match argument.kind {
                ValueKind::Words(words) => words.iter().find(|w| **w == "ports").unwrap_or(&words[0]).to_string() + " ",
                _ => "x ".to_owned(),
            };
            let required: String = command.arguments.iter().filter(|a| a.required).map(word).collect();
            let without = parse(command, &required, &|_| Some(1));
            let with = parse(command, &format!("{required}{text}"), &|_| Some(1)).unwrap();
            assert_ne!(Ok(with), without, "{} {text}", command.path);
        }
    }
}

#[test]
fn the_policer() {
    let path = "hostnet police";
    let icmp = Change { class: Some(Class::Icmp), ..Change::default() };
    let ports = Change { class: Some(Class::Ports), ports: Some(vec![22, 830]), ..Change::default() };
    for (line, change) in [
        ("icmp rate 7 burst 9", Change { rate: Some(7), burst: Some(9), ..icmp.clone() }),
        ("burst 9 icmp on", Change { burst: Some(9), on: Some(true), ..icmp.clone() }),
        ("icmp off", Change { on: Some(false), ..icmp }),
        ("all off", Change { on: Some(false), ..Change::default() }),
        ("ports 22,830", ports.clone()),
        ("ports 22,830 rate 5", Change { rate: Some(5), ..ports.clone() }),
        ("ports none", Change { ports: Some(Vec::new()), ..ports }),
    ] {
        assert_eq!(run(path, line), Ok(Request::Police(change)), "{line}");
    }
    let classes = "arp-nd, dhcp, routing, icmp, l2, multicast, ports, rest, all";
    let usage = command(path).unwrap().usage;
    for (line, text) in [
        ("", format!("<arp-nd|dhcp|routing|icmp|l2|multicast|ports|rest|all> is missing; usage: {usage}")),
        ("ssh rate 5", format!("unknown class 'ssh'; expected one of: {classes}")),
        ("icmp", "what is to be done with the class? write rate <n>, burst <n>, on or off".to_owned()),
        ("icmp rate", "'rate' has no value; write it as 'rate <n>'".to_owned()),
        ("icmp rate 0", "rate 0 is out of range; expected 1 to 100000000".to_owned()),
        ("icmp rate -1", "rate '-1' is not a number; expected 1 to 100000000".to_owned()),
        ("icmp burst 100000001", "burst 100000001 is out of range; expected 1 to 100000000".to_owned()),
        ("icmp rate 1 rate 2", "'rate' is given twice; give it once".to_owned()),
        ("icmp on off", "'on' and 'off' are given together; give one of them".to_owned()),
        ("icmp off rate 5", "a rate and 'off' are given together; give one of them".to_owned()),
        ("all rate 5", "'all' has no rate of its own; write it with one class, or 'all on' or 'all off'".to_owned()),
        ("icmp 22", "ports can be listed behind class 'ports' only; write 'ports 22,830'".to_owned()),
        ("ports ssh", "port-list: 'ssh' is no port; expected 1 to 65535, as in 22,830, or 'none'".to_owned()),
        ("ports 22,22", "port-list: port 22 is given twice; give it once".to_owned()),
        ("ports 22 23", "unknown word '23'; expected one of: rate, burst, on, off".to_owned()),
    ] {
        refused(path, line, &text);
    }
}

#[test]
fn the_cause_comes_without_the_path_for_vpp_to_add() {
    let error = parse(command("hostnet enable").unwrap(), "1 mtu", &resolve).unwrap_err();
    assert_eq!(error.cause.to_string(), "'mtu' has no value; write it as 'mtu <n>'");
}

#[cfg(feature = "faults")]
#[test]
fn faults() {
    use crate::engine::{LinuxStep, VppStep};
    let fault = |step, undo, mode| Ok(Request::Fault { step, undo, mode });
    let path = "test hostnet fault";
    assert_eq!(run(path, "vpp-tap panic"), fault(Step::Vpp(VppStep::Tap), false, FaultMode::Panic));
    assert_eq!(run(path, "undo:linux-dress fail"), fault(Step::Linux(LinuxStep::Dress), true, FaultMode::Fail));
    refused(path, "vpp-tap die", "unknown how 'die'; expected one of: fail, panic");
    refused(path, "vpp-tap", "<fail|panic> is missing; usage: test hostnet fault <step|undo:step> <fail|panic>");
    assert!(run(path, "nonsense fail").unwrap_err().contains("linux-namespaces, "));
    let path = "test hostnet panic";
    for (word, place) in
        [("command", PanicPlace::Command), ("process", PanicPlace::Process), ("helper", PanicPlace::Helper)]
    {
        assert_eq!(run(path, word), Ok(Request::Panic { place }));
    }
}

proptest::proptest! {
    #[test]
    fn no_line_panics(line in "\\PC*", path in 0..COMMANDS.len()) {
        let _ = parse(&COMMANDS[path], &line, &resolve);
    }

    #[test]
    fn no_shuffle_of_words_panics(words in proptest::collection::vec(proptest::sample::select(vec![
        "1", "host-eth0", "host-if", "mtu", "1500", "tap", "auto", "cluster-cidr", "fd00::/8", "dry-run", "json",
        "verbose", "undo:", "x", "", "driver", "none", "no-iommu",
    ]), 0..9), path in 0..COMMANDS.len()) {
        let _ = parse(&COMMANDS[path], &words.join(" "), &resolve);
    }
}
