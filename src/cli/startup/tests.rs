//! The stanza, as people write it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::super::words::{from_words, to_words};
use super::super::{Request, parse};
use super::*;
use crate::engine::mirror::MirrorOptions;
use crate::engine::{Driver, DriverChoice, EnableRequest, TapChoice};

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse_startup(text).unwrap_err().to_string();
    assert_eq!(error, expected, "{text}");
}

fn plain(name: &str) -> UplinkRequest {
    UplinkRequest {
        linux_if: name.parse().unwrap(),
        driver: DriverChoice::Auto,
        no_iommu: false,
        enable: EnableRequest::default(),
    }
}

#[test]
fn everything_at_once() {
    let text = "
        # What is taken at the start.
        uplink enp216s0f1 { driver af-packet no-iommu cluster-cidr 10.96.0.0/12
                            cluster-cidr 10.244.0.0/16 } # the pods'
        uplink enp216s0f0{tap builtin}uplink eth2
        journal /run/hostnet\r
        netns parked";
    let mut first = plain("enp216s0f1");
    first.driver = DriverChoice::This(Driver::AfPacket);
    first.no_iommu = true;
    first.enable.cluster_cidrs = vec!["10.96.0.0/12".parse().unwrap(), "10.244.0.0/16".parse().unwrap()];
    let mut second = plain("enp216s0f0");
    second.enable.tap = TapChoice::Builtin;
    let expected = Startup {
        journal: PathBuf::from("/run/hostnet"),
        netns: "parked".to_owned(),
        guard: None,
        mirror: MirrorOptions::default(),
        police: Config::default(),
        uplinks: vec![first, second, plain("eth2")],
    };
    assert_eq!(parse_startup(text), Ok(expected));
}

#[test]
fn the_defaults() {
    for text in ["", " \n", "# nothing"] {
        assert_eq!(parse_startup(text), Ok(Startup::default()), "{text}");
    }
    for text in ["uplink eth0", "uplink eth0 {}", "uplink eth0 { driver auto tap auto }"] {
        assert_eq!(parse_startup(text), Ok(Startup { uplinks: vec![plain("eth0")], ..Startup::default() }), "{text}");
    }
}

#[test]
fn the_policer() {
    let text = "police{ icmp rate 200 burst 50 ports 22,830 rate 9 multicast off } journal /j";
    let started = parse_startup(text).unwrap();
    assert_eq!((started.journal, started.police.ports()), (PathBuf::from("/j"), &[22, 830][..]));
    let limit = |class| started.police.limit(class);
    assert_eq!((limit(Class::Icmp).rate, limit(Class::Icmp).burst, limit(Class::Ports).rate), (200, 50, 9));
    assert!(!limit(Class::Multicast).on && limit(Class::Rest).on);
    let off = parse_startup("police { all off l2 on }").unwrap().police;
    assert!(Class::ALL.into_iter().all(|class| off.limit(class).on == (class == Class::L2)));
    assert_eq!(parse_startup("police { }"), Ok(Startup::default()));
    let how = "; write it as 'police { <class> rate <n> burst <n> ports <port,...> <class> off }'";
    refused("police", &format!("police: its classes stand in braces{how}"));
    refused("police { icmp off", &format!("police: its '{{' is never closed{how}"));
    refused("police { icmp off icmp on }", &format!("police: 'icmp' is given twice{how}"));
    refused("police { } police { }", "'police' is given twice; give it once");
    refused(
        "police { ssh off }",
        "police ssh: unknown class 'ssh'; expected one of: arp-nd, dhcp, routing, icmp, l2, multicast, ports, rest, all",
    );
    refused("police { icmp rate 0 }", "police icmp: rate 0 is out of range; expected 1 to 100000000");
    refused(
        "police { icmp rest off }",
        "police icmp: what is to be done with the class? write rate <n>, burst <n>, on or off",
    );
}

#[test]
fn a_hash_within_a_word_is_no_comment() {
    // VPP's command line keeps them, and Linux takes such names.
    assert_eq!(parse_startup("uplink eth#0 netns x").map(|s| s.netns), Ok("x".to_owned()));
    assert_eq!(parse_startup("uplink eth0 {#driver none\n}").map(|s| s.uplinks), Ok(vec![plain("eth0")]));
}

#[test]
fn an_interface_that_is_called_as_an_option() {
    assert_eq!(parse_startup("uplink mtu { mtu 1500 }").map(|s| s.uplinks[0].enable.mtu), Ok(Some(1500)));
}

#[test]
fn a_guard_with_and_without_its_place() {
    let guard = |text| parse_startup(text).map(|startup| startup.guard);
    let default = Ok(Some(PathBuf::from("/usr/sbin/hostnet-guard")));
    for text in ["guard", "guard uplink eth0", "guard journal /x", "uplink eth0 { } guard\nnetns x"] {
        assert_eq!(guard(text), default, "{text}");
    }
    assert_eq!(guard("guard /opt/guard netns x"), Ok(Some(PathBuf::from("/opt/guard"))));
    refused(
        "guard bin/guard",
        "guard 'bin/guard' is not an absolute path; write it as /usr/sbin/hostnet-guard, or leave it out",
    );
    refused("guard guard", "'guard' is given twice; give it once");
    refused("guard /a guard /b", "'guard' is given twice; give it once");
    refused(
        "guard { }",
        "'{' has no place here; only 'uplink <linux-interface>', 'mirror' and 'police' have braces behind them",
    );
}

#[test]
fn words_that_have_no_place() {
    refused("foo", "unknown word 'foo'; expected one of: uplink, journal, netns, guard, mirror, police");
    refused("uplink eth0 eth1", "unknown word 'eth1'; expected one of: uplink, journal, netns, guard, mirror, police");
    refused(
        "uplink eth0 driver auto",
        "unknown word 'driver'; expected one of: uplink, journal, netns, guard, mirror, police; \
         options stand in braces, as 'uplink <linux-interface> { ... }'",
    );
    refused(
        "uplink eth0 { driver auto foo }",
        "uplink eth0: unknown word 'foo'; expected one of: no-iommu, host-if, host-netns, tap, mtu, cluster-cidr, \
         cluster-mtu, source-check",
    );
    refused(
        "uplink eth0 { driver auto dry-run }",
        "uplink eth0: 'dry-run' has no place in startup.conf; give it to the command",
    );
}

#[test]
fn words_without_a_value() {
    for text in ["uplink", "uplink { driver auto }", "uplink journal /x", "uplink }"] {
        refused(text, "'uplink' has no value; write it as 'uplink <linux-interface> [{ options }]'");
    }
    refused("journal netns x", "'journal' has no value; write it as 'journal </directory>'");
    refused("netns # x", "'netns' has no value; write it as 'netns <name>'");
    refused("uplink a { mtu }", "uplink a: 'mtu' has no value; write it as 'mtu <n>'");
}

#[test]
fn braces() {
    refused("uplink a { driver auto", "uplink a: its '{' is never closed; write '}' behind its options");
    refused(
        "uplink a { driver auto uplink b { }",
        "uplink a: '{' within its braces; write '}' behind its options first",
    );
    refused("uplink a { } }", "'}' closes nothing; take it away, or write the '{' that it closes");
    let open = "'{' has no place here; only 'uplink <linux-interface>', 'mirror' and 'police' have braces behind them";
    refused("{ uplink a }", open);
    refused("uplink a { } { }", open);
    refused("journal /x { }", open);
}

#[test]
fn the_same_twice() {
    let same = "uplink a is given twice in one namespace; give it once, with all of its options";
    refused("uplink a uplink b uplink a { driver none }", same);
    refused("uplink a { host-netns x } uplink a { host-netns /var/run/netns/x }", same);
    assert!(parse_startup("uplink a uplink a { host-netns x }").is_ok());
    refused("journal /a journal /a", "'journal' is given twice; give it once");
    refused("netns a netns b", "'netns' is given twice; give it once");
    refused("uplink a { mtu 1500 mtu 1500 }", "uplink a: 'mtu' is given twice; give it once");
}

#[test]
fn values() {
    for word in ["var/lib", "./x", "~/x"] {
        let text = format!("journal '{word}' is not an absolute path; write it as /var/lib/hostnet");
        refused(&format!("journal {word}"), &text);
    }
    for word in ["a/b", "/run/netns/x", "..", "pid:7"] {
        refused(
            &format!("netns {word}"),
            &format!("netns '{word}' is not a name of 'ip netns'; write it as hostnet-uplinks, without '/' or 'pid:'"),
        );
    }
    refused(
        "uplink a { driver e1000 }",
        "uplink a: unknown driver 'e1000'; expected one of: auto, af-packet, af-xdp, rdma, virtio, vmxnet3, device, dpdk, none",
    );
    refused("uplink a { mtu 1 }", "uplink a: mtu 1 is out of range; expected 68 to 65521");
    refused(
        "uplink a/b",
        "uplink a/b: linux-interface: 'a/b' is not a device name; \
         Linux takes no empty name, '.', '..', '/', ':', '%' or white space",
    );
}

#[test]
fn every_option_of_the_command_has_its_place_in_the_stanza_or_is_refused_by_name() {
    use super::super::grammar::ValueKind;
    for argument in grammar::UPLINK.arguments.iter().filter(|argument| !argument.positional) {
        let text = match argument.kind {
            ValueKind::U32 { max, .. } => max.to_string(),
            ValueKind::Words(words) => (*words.last().unwrap()).to_owned(),
            ValueKind::Prefix => "::/0".to_owned(),
            ValueKind::Flag => String::new(),
            _ => "name".to_owned(),
        };
        let options = format!("{} {text}", argument.name);
        let line = parse(&grammar::UPLINK, &format!("a {options}"), &|_| None).unwrap();
        match parse_startup(&format!("uplink a {{ {options} }}")) {
            Ok(startup) => assert_eq!(line, Request::Uplink(startup.uplinks[0].clone())),
            Err(error) => assert_eq!((argument.name, error.to_string().contains("'dry-run'")), ("dry-run", true)),
        }
        // The journal's words say it too.
        let Request::Uplink(request) = line else { unreachable!() };
        assert_ne!(request, plain("a"), "{options}");
        assert_eq!(from_words(&to_words(&request)), Ok(request));
    }
}

#[test]
fn the_words_of_a_request() {
    let mut request = plain("eth0");
    assert_eq!(to_words(&request), "eth0");
    request.driver = DriverChoice::This(Driver::Vmxnet3);
    request.enable.host_netns = Netns::Pid(7);
    request.enable.dry_run = true;
    assert_eq!(to_words(&request), "eth0 driver vmxnet3 host-netns pid:7 dry-run");
    for damaged in ["", "  ", "eth0 mtu", "eth0 x", "a/b", "eth0 eth1"] {
        assert!(from_words(damaged).is_err(), "{damaged}");
    }
}

fn ifname() -> impl Strategy<Value = crate::model::IfName> {
    let option = prop::sample::select(vec!["mtu", "tap", "driver", "dry-run", "host-if", "linux-interface"]);
    prop_oneof![4 => "[a-z!-~]{1,15}".prop_filter_map("a name", |name| name.parse().ok()),
        1 => option.prop_map(|name| name.parse().unwrap())]
}

fn netns() -> impl Strategy<Value = Netns> {
    prop_oneof![
        Just(Netns::Own),
        "[!-~]{1,9}".prop_filter_map("a name", |name| name.parse().ok()),
        (1u32..).prop_map(Netns::Pid),
        "/[!-~]{0,9}".prop_map(|path| Netns::Path(PathBuf::from(path))),
    ]
}

fn prefixes() -> impl Strategy<Value = Vec<crate::model::Prefix>> {
    let v4 = (any::<u32>(), 0u32..33).prop_map(|(bits, len)| {
        let bits = bits & u32::MAX.checked_shl(32 - len).unwrap_or(0);
        format!("{}/{len}", std::net::Ipv4Addr::from(bits))
    });
    let v6 = (any::<u128>(), 0u32..129).prop_map(|(bits, len)| {
        let bits = bits & u128::MAX.checked_shl(128 - len).unwrap_or(0);
        format!("{}/{len}", std::net::Ipv6Addr::from(bits))
    });
    // No set of them: the order is the user's.
    prop::collection::vec(prop_oneof![v4, v6], 0..4).prop_map(|texts| {
        let mut prefixes: Vec<crate::model::Prefix> = Vec::new();
        for text in texts {
            let prefix = text.parse().unwrap();
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
        prefixes
    })
}

prop_compose! {
    fn request()(
        linux_if in ifname(),
        driver in prop::sample::select(
            [DriverChoice::Auto, DriverChoice::None].into_iter()
                .chain(Driver::ALL.map(DriverChoice::This)).collect::<Vec<_>>()),
        no_iommu in any::<bool>(),
        host_if in prop::option::of(ifname()),
        host_netns in netns(),
        tap in prop::sample::select(vec![TapChoice::Auto, TapChoice::Vhost, TapChoice::Builtin]),
        mtu in prop::option::of(crate::engine::MTU_MIN..=crate::engine::MTU_MAX),
        cluster_cidrs in prefixes(),
        cluster_mtu in prop::option::of(crate::engine::MTU_MIN..=crate::engine::MTU_MAX),
        source_check in any::<bool>(),
        dry_run in any::<bool>(),
    ) -> UplinkRequest {
        let enable = EnableRequest {
            sw_if_index: 0, host_if, host_netns, tap, mtu, cluster_cidrs, cluster_mtu, source_check, dry_run
        };
        UplinkRequest { linux_if, driver, no_iommu, enable }
    }
}

proptest! {
    #[test]
    fn words_of_a_request_make_the_same_request(request in request()) {
        prop_assert_eq!(from_words(&to_words(&request)), Ok(request));
    }

    #[test]
    fn what_a_line_asks_for_is_what_its_words_ask_for(request in request()) {
        // The same words on a line: refused for a name that is an option's word, else the same.
        if let Ok(parsed) = parse(&grammar::UPLINK, &to_words(&request), &|_| None) {
            prop_assert_eq!(parsed, Request::Uplink(request));
        }
    }

    #[test]
    fn no_text_panics(text in "(?s).*") {
        let _ = parse_startup(&text);
        let _ = from_words(&text);
    }

    #[test]
    fn no_shuffle_of_words_panics(words in prop::collection::vec(prop::sample::select(vec![
        "uplink", "eth0", "eth1", "{", "}", "journal", "/x", "netns", "x", "driver", "auto", "mtu", "1500", "tap",
        "cluster-cidr", "fd00::/8", "dry-run", "#", "\n", "{}", "}{", "é{",
    ]), 0..14)) {
        let text = words.join(" ");
        let _ = from_words(&text);
        if let Ok(startup) = parse_startup(&text) {
            // What was understood is said again by its words.
            for request in startup.uplinks {
                prop_assert_eq!(from_words(&to_words(&request)), Ok(request));
            }
        }
    }
}

#[test]
fn the_mirror() {
    let mirror = |text: &str| parse_startup(&format!("mirror {text}")).map(|startup| startup.mirror);
    let default = MirrorOptions::default();
    assert_eq!(mirror("{ }"), Ok(default));
    assert_eq!(
        mirror("{ receive-buffer 65536 audit-interval 0 kernel-only to-host }"),
        Ok(MirrorOptions { receive_buffer: 65536, audit_interval: None, to_host: true, export: Vec::new() })
    );
    let export = |text: &str| mirror(text).map(|options| options.export);
    assert_eq!(export("{ export API DHCP audit-interval 7 }"), Ok(vec!["API".to_owned(), "DHCP".to_owned()]));
    let refused = |text: &str, part: &str| {
        let error = mirror(text).map_err(|error| error.to_string()).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    };
    refused("", "its options stand in braces");
    refused("{", "never closed");
    refused("{ receive-buffer }", "'receive-buffer }': a number from 4096");
    refused("{ receive-buffer 12 }", "'receive-buffer 12': a number");
    refused("{ audit-interval 100000 }", "from 0 to 86400");
    refused("{ kernel-only drop }", "'drop', where only 'to-host' can");
    refused("{ audit-interval 1 audit-interval 2 }", "given twice");
    refused("{ export }", "stands no source");
    refused("{ export API", "never closed");
    refused("{ export API API }", "'export API' is given twice");
    refused("{ export API export CLI }", "'export' is given twice");
    refused("{ rcvbuf 1 }", "unknown word 'rcvbuf'");
}
