//! Issue "takeover", 4: a failure at each step of a takeover and of the way
//! home (the test-only build).

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::dump::interfaces;
use hostnet_lab::linux_view::{Exactness, LinuxView};
use hostnet_lab::machine::Machine;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::addr;
use hostnet_lab::traffic::ping;
use libtest_mimic::Trial;

use crate::takeover_support::{is_home, release, same, seen, take, taken, takeover, uplink_command, with_faults};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        takeover("t04_a_failure_at_each_step_of_taking", with_faults, |machine| each(machine, "fail", taking)),
        takeover("t04_panics_while_taking", with_faults, |machine| each(machine, "panic", taking)),
        takeover("t04_a_failure_at_each_step_home", with_faults, |machine| each(machine, "fail", giving)),
        takeover("t04_panics_on_the_way_home", with_faults, |machine| each(machine, "panic", giving)),
    ]
}

/// The steps that are whole processes of their own, on each side: a panic is
/// caught in one place on each, and what follows is as after a failure.
const PANICKING: [&str; 7] =
    ["linux-journal", "linux-take", "vpp-uplink", "linux-move", "linux-configuration", "vpp-tap-up", "linux-commit"];

type One = fn(&Machine, &LinuxView, &str, &str) -> Result<()>;

fn each(machine: &Machine, how: &str, one: One) -> Result<()> {
    let vpp = machine.vpp()?;
    let mut before = seen(machine)?;
    let interfaces_before = interfaces(&vpp)?;
    let home = std::fs::read_link(format!("/proc/{0}/task/{0}/ns/net", vpp.pid()))?;
    let shown = take(&vpp, "eth0", "")?;
    release(&vpp, "eth0")?;
    is_home(machine, &before)?;
    let steps: Vec<&str> =
        shown["steps"].as_array().context("no steps")?.iter().filter_map(|step| step["name"].as_str()).collect();
    for step in ["linux-journal", "linux-take", "vpp-uplink", "linux-configuration", "linux-commit"] {
        ensure!(steps.contains(&step), "no step {step} in {steps:?}");
    }
    let mut checks = Checks::new();
    for step in steps.into_iter().filter(|step| how != "panic" || PANICKING.contains(step)) {
        checks.add(step, one(machine, &before, step, how));
        let now = std::fs::read_link(format!("/proc/{0}/task/{0}/ns/net", vpp.pid()))?;
        checks.that(&format!("VPP's main thread is home after {step}"), now == home, &now.display().to_string());
        let left = interfaces(&vpp)?;
        checks.that(&format!("VPP's interfaces after {step}"), left == interfaces_before, &left.join(" "));
        // The lifetimes run on.
        before = seen(machine)?;
    }
    // None of it has hurt what comes after.
    checks.add("taken after all that", take(&vpp, "eth0", "").map(drop));
    checks.add("as programs see it", same(machine, &before, Exactness::Programs));
    checks.add("and it works", ping(&machine.host, addr::PEER4));
    checks.add("from there too", ping(&machine.peer, addr::HOST6));
    checks.add("released after all that", release(&vpp, "eth0").map(drop));
    checks.add("home after all that", is_home(machine, &before));
    checks.finish()
}

fn taking(machine: &Machine, before: &LinuxView, step: &str, how: &str) -> Result<()> {
    let vpp = machine.vpp()?;
    vpp.quiet(&format!("test hostnet fault {step} {how}"))?;
    let said = vpp.ctl(&uplink_command("eth0", ""))?;
    let cause = if how == "panic" { "panic" } else { "injected failure" };
    ensure!(said.contains(cause), "the command does not name the cause, it says '{}'", said.trim());
    // A helper that panicked cannot say where.
    if how == "fail" || step.starts_with("vpp-") {
        ensure!(said.contains(step), "the command does not name the step, it says '{}'", said.trim());
    }
    // Within the command: nothing is waited for.
    ensure!(said.contains("everything was undone"), "not undone within the command: '{}'", said.trim());
    is_home(machine, before).with_context(|| format!("after '{}'", said.trim()))
}

fn giving(machine: &Machine, before: &LinuxView, step: &str, how: &str) -> Result<()> {
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    vpp.quiet(&format!("test hostnet fault undo:{step} {how}"))?;
    let said = vpp.ctl("hostnet release eth0")?;
    let log = vpp.ctl("show logging")?;
    let cause = if how == "panic" { "panic" } else { "injected failure" };
    let told = [&said, &log].iter().any(|text| text.contains(cause));
    ensure!(told, "nobody tells the cause, the command says '{}'", said.trim());
    // Tried again until it is done.
    until("it is home at last", secs(15), || Ok(taken(&vpp, "eth0")?.is_none().then_some(())))?;
    is_home(machine, before).with_context(|| format!("after '{}'", said.trim()))
}
