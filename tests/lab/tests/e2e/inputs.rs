//! 12: every wrong input is refused, named, and changes nothing.

use anyhow::{Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::dump::Dump;
use hostnet_lab::topology::{Lab, Options, addr};
use libtest_mimic::Trial;

use crate::support::{Backend, clean_scenario, enable_all, enable_command, mirrored, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        clean_scenario("m12_wrong_words", wrong_words),
        scenario("m12_wrong_state_of_vpp", options, wrong_vpp),
        scenario("m12_wrong_state_of_linux", options, wrong_linux),
        clean_scenario("m12_already_enabled", already),
        scenario("m12_all_reasons_at_once_by_dry_run", options, all_reasons),
        clean_scenario("m12_default_namespace_is_vpps_own", default_namespace),
    ];
    if Backend::of_this_run() == Backend::Builtin {
        tests.push(scenario("m12_tap_vhost_without_vhost_net", with_tap, no_vhost));
    }
    tests
}

/// Each command says all of its words and changes nothing.
fn refused(lab: &Lab, table: &[(String, &[&str])]) -> Result<()> {
    let before = Dump::of(lab)?;
    let mut checks = Checks::new();
    for (command, words) in table {
        let said = lab.vpp.ctl(command)?;
        for word in *words {
            checks.that(&format!("'{command}' names '{word}'"), said.contains(word), said.trim());
        }
        checks.that(&format!("'{command}' gives one error"), !said.trim().is_empty(), "success");
    }
    checks.add("nothing changed", Dump::of(lab)?.same_as(&before));
    checks.finish()
}

fn wrong_words(lab: &Lab) -> Result<()> {
    let long = "a-name-of-16-by-";
    let on = |rest: &str| enable_command(lab, "host-eth0", rest);
    refused(
        lab,
        &[
            ("hostnet enable".to_owned(), &["interface"]),
            (enable_command(lab, "nosuch0", ""), &["nosuch0"]),
            (enable_command(lab, "4711", ""), &["4711"]),
            (on("frobnicate"), &["frobnicate"]),
            (on("mtu 1400 mtu 1400"), &["mtu"]),
            (on(&format!("host-netns {}", lab.host.name())), &["host-netns"]),
            (on("tap builtin"), &["tap"]),
            (on("host-if a host-if b"), &["host-if"]),
            (on("dry-run dry-run"), &["dry-run"]),
            (on("mtu 67"), &["67"]),
            (on("mtu 65522"), &["65522"]),
            (on("mtu -1"), &["-1"]),
            (on("mtu many"), &["many"]),
            (on("mtu"), &["mtu"]),
            // The uplink has IPv6 addresses.
            (on("mtu 1279"), &["1279", "1280"]),
            (on("cluster-mtu 1600"), &["1600"]),
            (on("cluster-cidr 10.20.0.1/16"), &["10.20.0.1/16"]),
            (on("cluster-cidr fd00:20::1/48"), &["fd00:20::1/48"]),
            (on("cluster-cidr 10.20.0.0/33"), &["10.20.0.0/33"]),
            (on("cluster-cidr 10.20.0.0"), &["10.20.0.0"]),
            (on("cluster-cidr 10.20.0.0/16 cluster-cidr 10.20.0.0/16"), &["10.20.0.0/16"]),
            (on(&format!("host-if {long}")), &[long]),
            (on("host-if a/b"), &["a/b"]),
            (on("host-if .."), &[".."]),
            ("hostnet enable host-eth0 tap macvtap".to_owned(), &["macvtap"]),
            ("hostnet enable host-eth0 host-netns pid:zero".to_owned(), &["pid:zero"]),
            ("hostnet disable".to_owned(), &["interface"]),
            ("hostnet disable nosuch0".to_owned(), &["nosuch0"]),
            ("hostnet disable host-eth0 now".to_owned(), &["now"]),
            ("hostnet disable host-eth0".to_owned(), &["host-eth0"]),
            ("show hostnet nosuch0".to_owned(), &["nosuch0"]),
            ("show hostnet host-eth0 yaml".to_owned(), &["yaml"]),
        ],
    )
}

fn wrong_vpp(lab: &Lab) -> Result<()> {
    let loopback = lab.vpp.ctl("create loopback interface")?;
    let loopback = loopback.trim().to_owned();
    refused(
        lab,
        &[
            // Not an uplink: down, without addresses, no Linux name in its own.
            (enable_command(lab, &loopback, "host-if lan0"), &[&loopback, "down"]),
            (enable_command(lab, "local0", "host-if lan0"), &["local0"]),
        ],
    )?;
    lab.vpp.quiet("set interface state host-eth0 down")?;
    refused(lab, &[(enable_command(lab, "host-eth0", ""), &["host-eth0", "down"])])?;
    lab.vpp.quiet("set interface state host-eth0 up")?;
    lab.vpp.quiet(&format!("ip punt redirect add rx all via {} host-pod0", addr::POD4))?;
    refused(lab, &[(enable_command(lab, "host-eth0", ""), &["punt redirect"])])?;
    lab.vpp.quiet("ip punt redirect del rx all")?;
    lab.vpp.quiet("set arp proxy table-id 0 start 192.0.2.1 end 192.0.2.200")?;
    let said = lab.vpp.ctl(&enable_command(lab, "host-eth0", ""))?;
    ensure!(said.contains("192.0.2.1"), "the proxy-ARP range is not named: '{}'", said.trim());
    Ok(())
}

fn wrong_linux(lab: &Lab) -> Result<()> {
    lab.host.ip("link add eth0 type veth peer name other")?;
    let tap = Backend::of_this_run().word();
    let absent = |netns: &str| format!("hostnet enable host-eth0 host-netns {netns} tap {tap}");
    refused(
        lab,
        &[
            (enable_command(lab, "host-eth0", ""), &["eth0", lab.host.name()]),
            (absent("no-such-namespace"), &["no-such-namespace"]),
            (absent("pid:4194304"), &["4194304"]),
            (absent("/run/netns/no-such-file"), &["/run/netns/no-such-file"]),
            // A file, but no namespace.
            (absent("/etc/passwd"), &["/etc/passwd"]),
        ],
    )
}

fn already(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    // What it brings meanwhile is no change by the refused command.
    mirrored(lab)?;
    refused(lab, &[(enable_command(lab, "host-eth0", "host-if other0"), &["host-eth0", "already"])])
}

fn all_reasons(lab: &Lab) -> Result<()> {
    lab.host.ip("link add eth0 type veth peer name other")?;
    let command = enable_command(lab, "host-eth0", "mtu 1000 cluster-mtu 1400 dry-run");
    refused(lab, &[(command, &["eth0", lab.host.name(), "1000", "1400"])])
}

/// Without `host-netns` the device comes to live where VPP does.
fn default_namespace(lab: &Lab) -> Result<()> {
    let tap = Backend::of_this_run().word();
    // Its own name is taken there, by the uplink's device.
    refused(lab, &[(format!("hostnet enable host-eth0 tap {tap}"), &["eth0"])])?;
    lab.vpp.ctl(&format!("hostnet enable host-eth0 host-if wan0 tap {tap}"))?;
    let said = lab.around_vpp.output("ip", &["addr", "show", "dev", "wan0"])?;
    ensure!(said.contains(addr::HOST4), "{said}");
    Ok(())
}

fn with_tap() -> Options {
    let mut options = options();
    options.vpp.plugins.push("tap_plugin.so".to_owned());
    options
}

fn no_vhost(lab: &Lab) -> Result<()> {
    ensure!(!std::path::Path::new("/dev/vhost-net").exists(), "this machine has /dev/vhost-net: set HOSTNET_TAP=vhost");
    let command = format!("hostnet enable host-eth0 host-netns {} tap vhost", lab.host.name());
    refused(lab, &[(command, &["/dev/vhost-net"])])?;
    // And 'auto' takes the other, and says why.
    lab.vpp.ctl(&format!("hostnet enable host-eth0 host-netns {}", lab.host.name()))?;
    let shown = crate::support::shown(lab, "host-eth0")?.unwrap_or_default();
    ensure!(shown["backend"] == "builtin" && shown["state"] == "enabled", "{shown}");
    let why = shown["backend_reason"].as_str().unwrap_or_default();
    ensure!(why.contains("vhost"), "the reason is '{why}'");
    Ok(())
}
