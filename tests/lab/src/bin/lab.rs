//! `make run`: the lab with the plugin at work in it, to look around in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use hostnet_lab::checks::{Checks, say};
use hostnet_lab::cleanup;
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{ping, tcp};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("lab: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    cleanup::guard()?;
    let plugin = std::env::var_os("HOSTNET_PLUGIN").map(PathBuf::from);
    let plugin = plugin.context("HOSTNET_PLUGIN does not name the plugin's file: use 'make run'")?;
    let mut options = Options::default();
    options.vpp.hostnet = Some(plugin);
    if Path::new("/dev/vhost-net").exists() {
        options.vpp.plugins.push("tap_plugin.so".to_owned());
    }
    let lab = Lab::start(&options)?;
    let failed = work(&lab)?;
    let once = std::env::var("ONCE").is_ok_and(|value| !value.is_empty() && value != "0");
    if once {
        return Ok(failed == 0);
    }
    look_around(&lab)?;
    cleanup::end_with(i32::from(failed > 0));
    loop {
        // The signal's thread ends the process.
        std::thread::park();
    }
}

fn show(title: &str, text: &str) {
    say(&format!("\n{title}\n{}", text.trim_end()));
}

/// The main job, what it looks like, and whether it works: how many checks
/// failed.
fn work(lab: &Lab) -> Result<usize> {
    let enable = format!(
        "hostnet enable host-eth0 host-netns {} cluster-cidr {} cluster-cidr {} cluster-cidr {}",
        lab.host.name(),
        addr::CLUSTER4,
        addr::SERVICES4,
        addr::CLUSTER6
    );
    for command in [enable.as_str(), "show hostnet", "show ip punt redirect", "show ip6 punt redirect", "show int addr"]
    {
        show(&format!("vpp# {command}"), &lab.vpp.ctl(command)?);
    }
    for arguments in [&["addr"][..], &["route"], &["-6", "route"]] {
        let said = lab.host.output("ip", arguments)?;
        show(&format!("host$ ip {}", arguments.join(" ")), &said);
    }
    say("");
    let mut checks = Checks::loud();
    for (family, host, peer, pod, far) in [
        ("IPv4", addr::HOST4, addr::PEER4, addr::POD4, addr::FAR4),
        ("IPv6", addr::HOST6, addr::PEER6, addr::POD6, addr::FAR6),
    ] {
        let bytes = 1_000_000;
        let mut check = |what: &str, result| checks.add(&format!("{family} {what}"), result);
        check("ping peer to host", ping(&lab.peer, host));
        check("ping host to peer", ping(&lab.host, peer));
        check("ping pod to host", ping(&lab.pod, host));
        check("ping host to pod", ping(&lab.host, pod));
        check("ping host to beyond the gateway", ping(&lab.host, far));
        check("TCP peer to host", tcp(&lab.peer, &lab.host, host, peer, bytes));
        check("TCP host to peer", tcp(&lab.host, &lab.peer, peer, host, bytes));
        check("TCP pod to host", tcp(&lab.pod, &lab.host, host, pod, bytes));
        check("TCP host to pod", tcp(&lab.host, &lab.pod, pod, host, bytes));
    }
    let (made, failed) = checks.count();
    say(&format!("\n{} of {made} checks pass", made - failed));
    Ok(failed)
}

fn look_around(lab: &Lab) -> Result<()> {
    let vppctl = hostnet_lab::vpp::prefix()?.join("bin/vppctl");
    say("\nThe lab stays up until Ctrl-C. Look around, from another terminal:");
    say(&format!("  {} -s {}", vppctl.display(), lab.vpp.socket().display()));
    for (role, netns) in lab.namespaces() {
        let what = match role {
            "host" => "the host: its device eth0 is the plugin's",
            "peer" => "a machine on the wire",
            "gw" => "the wire's bridge br0, and the gateway",
            "pod" => "a container behind VPP",
            _ => "where VPP runs",
        };
        say(&format!("  ip netns exec {} bash    # {what}", netns.name()));
    }
    Ok(())
}
