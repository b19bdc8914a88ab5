//! What the tests of a takeover share: the machine with its NIC, the commands,
//! a report of everything when one fails.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::linux_view::{Exactness, LinuxView};
use hostnet_lab::machine::{Machine, MachineOptions};
use hostnet_lab::time::{secs, until};
use hostnet_lab::vpp::Vpp;
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::support::{Backend, plugin, plugin_with_faults, reports};

/// The machine with the plugin.
pub(crate) fn machine() -> MachineOptions {
    let mut options = MachineOptions::default();
    options.vpp.hostnet = Some(plugin());
    if Backend::of_this_run() == Backend::Vhost {
        options.vpp.plugins.push("tap_plugin.so".to_owned());
    }
    options
}

/// With the build that injects failures.
pub(crate) fn with_faults() -> MachineOptions {
    let mut options = machine();
    options.vpp.hostnet = Some(plugin_with_faults());
    options
}

/// With two workers.
pub(crate) fn with_workers() -> MachineOptions {
    let mut options = machine();
    options.vpp.workers = 2;
    options
}

/// With a second NIC.
pub(crate) fn with_two() -> MachineOptions {
    MachineOptions { uplinks: 2, ..machine() }
}

/// With next to nothing on its NIC.
pub(crate) fn bare() -> MachineOptions {
    MachineOptions { bare: true, ..machine() }
}

/// A test: a machine, what is done to it, a report when that fails.
pub(crate) fn takeover(
    name: &str,
    options: impl FnOnce() -> MachineOptions + Send + 'static,
    run: impl FnOnce(&Machine) -> Result<()> + Send + 'static,
) -> Trial {
    let title = name.to_owned();
    Trial::test(name, move || {
        let begun = std::time::Instant::now();
        let machine = Machine::new(options()).map_err(|error| Failed::from(format!("{error:#}")))?;
        let failure = match catch_unwind(AssertUnwindSafe(|| run(&machine))) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(panic) => Some(format!("panic: {}", panic.downcast_ref::<String>().map_or("", String::as_str))),
        };
        crate::support::note_time(&title, begun);
        let Some(failure) = failure else { return Ok(()) };
        let path = reports().join(format!("{title}-{}.txt", Backend::of_this_run().word()));
        let text = format!("{title}\n\n{failure}\n\n{}", report(&machine));
        let told = match std::fs::write(&path, text) {
            Ok(()) => format!("everything that could be seen: {}", path.display()),
            Err(error) => format!("no report: {}: {error}", path.display()),
        };
        Err(Failed::from(format!("{failure}\n{told}")))
    })
}

fn report(machine: &Machine) -> String {
    let mut text = String::new();
    if let Ok(vpp) = machine.vpp() {
        for command in [
            "show hostnet verbose",
            "show hostnet mirror",
            "show hostnet journal",
            "show interface",
            "show interface address",
            "show ip fib",
            "show ip6 fib",
            "show ip neighbors",
            "show errors",
            "show logging",
        ] {
            let said = vpp.ctl(command).unwrap_or_else(|error| format!("{error:#}"));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "===== vpp# {command}\n{said}");
        }
        let _ = writeln!(text, "===== VPP's own words\n{}", vpp.last_words());
    }
    let parking = machine.parking();
    let namespaces = machine.namespaces();
    for (role, netns) in namespaces.into_iter().chain(parking.iter().map(|netns| ("parking", netns))) {
        for arguments in [
            &["-d", "-s", "addr"][..],
            &["route", "show", "table", "all"],
            &["-6", "route", "show", "table", "all"],
            &["rule"],
            &["nexthop"],
            &["neigh"],
        ] {
            let said = netns.output("ip", arguments).unwrap_or_else(|error| format!("{error:#}"));
            let _ = writeln!(text, "===== {role}$ ip {}\n{said}", arguments.join(" "));
        }
    }
    text
}

/// What the host has, with all that belongs to its NICs.
pub(crate) fn seen(machine: &Machine) -> Result<LinuxView> {
    LinuxView::of(&machine.host, &["eth0", "eth1", "bystander"])
}

/// That the NIC is home with everything, and nothing of ours is left: no tap,
/// no journal of it, nothing parked.
pub(crate) fn is_home(machine: &Machine, before: &LinuxView) -> Result<()> {
    same(machine, before, Exactness::Device)?;
    nothing_is_left(machine)
}

/// No journal, nothing parked.
pub(crate) fn nothing_is_left(machine: &Machine) -> Result<()> {
    let journals: Vec<String> = std::fs::read_dir(machine.journal())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".journal"))
        .collect();
    ensure!(journals.is_empty(), "journals are left: {journals:?}");
    if let Ok(parking) = machine.parking() {
        let links = parking.output("ip", &["-br", "link"])?;
        ensure!(links.lines().all(|line| line.starts_with("lo ")), "left parked: {links}");
    }
    Ok(())
}

/// That the host has what it had. Link-local things come by themselves, a
/// moment later.
pub(crate) fn same(machine: &Machine, before: &LinuxView, how: Exactness) -> Result<()> {
    until("the host is as before", secs(3), || {
        seen(machine)?.same_as(before, how)?;
        Ok(Some(()))
    })
}

/// `hostnet uplink` for a device of the host's.
pub(crate) fn uplink_command(device: &str, more: &str) -> String {
    let tap = Backend::of_this_run().word();
    format!("hostnet uplink {device} tap {tap} {more}").trim_end().to_owned()
}

/// Take it and see that it is taken; what `show hostnet json` says of it.
pub(crate) fn take(vpp: &Vpp, device: &str, more: &str) -> Result<Value> {
    let said = vpp.ctl(&uplink_command(device, more))?;
    let shown = taken(vpp, device)?.with_context(|| format!("{device} is not taken: '{}'", said.trim()))?;
    ensure!(shown["state"] == "enabled", "taking {device} said '{}' and led to {shown:#}", said.trim());
    // What VPP can hold it has; the rest is told, not lost.
    Ok(shown)
}

/// What `show hostnet json` says of a taken device.
pub(crate) fn taken(vpp: &Vpp, device: &str) -> Result<Option<Value>> {
    let text = vpp.ctl("show hostnet json")?;
    let view: Value = serde_json::from_str(&text).with_context(|| format!("'show hostnet json' said: {text}"))?;
    let uplinks = view["uplinks"].as_array().context("no list of uplinks")?;
    Ok(uplinks.iter().rev().find(|shown| shown["takeover"]["linux_interface"] == device).cloned())
}

/// Wait until VPP has taken it by itself, at its start.
pub(crate) fn await_taken(vpp: &Vpp, device: &str) -> Result<Value> {
    until(&format!("{device} is taken"), secs(20), || {
        Ok(taken(vpp, device)?.filter(|shown| shown["state"] == "enabled"))
    })
    .with_context(|| vpp.ctl("show hostnet").unwrap_or_default())
}

/// Give it back by `hostnet release`; what that said.
pub(crate) fn release(vpp: &Vpp, device: &str) -> Result<String> {
    let said = vpp.ctl(&format!("hostnet release {device}"))?;
    ensure!(said.contains("is home again"), "'hostnet release {device}' said '{}'", said.trim());
    ensure!(taken(vpp, device)?.is_none(), "{device} is still shown after '{}'", said.trim());
    Ok(said)
}

/// A refusal: the command says why, and nothing is changed.
pub(crate) fn refused(machine: &Machine, command: &str, why: &str) -> Result<()> {
    let before = seen(machine)?;
    let said = machine.vpp()?.ctl(command)?;
    ensure!(said.contains(why), "'{command}' does not say '{why}' but '{}'", said.trim());
    is_home(machine, &before)
}
