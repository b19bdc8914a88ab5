//! 6: a failure at each step in turn leaves nothing.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::dump::Dump;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::ping;
use libtest_mimic::Trial;

use crate::support::{Kind, clean_scenario_in, cluster, disable, enable_all, enable_command, shown};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        clean_scenario_in(Kind::Faults, "m06_a_failure_at_each_vpp_step_leaves_nothing", |lab| {
            each(lab, "vpp-", "fail")
        }),
        clean_scenario_in(Kind::Faults, "m06_a_failure_at_each_linux_step_leaves_nothing", |lab| {
            each(lab, "linux-", "fail")
        }),
        clean_scenario_in(Kind::Faults, "m06_a_panic_at_each_vpp_step_leaves_nothing", |lab| {
            each(lab, "vpp-", "panic")
        }),
        clean_scenario_in(Kind::Faults, "m06_a_failing_undo_is_shown_and_retried", failing_undo),
    ]
}

/// The steps of an enabled uplink whose names begin so.
fn steps(lab: &Lab, prefix: &str) -> Result<Vec<String>> {
    let shown = enable_all(lab)?;
    disable(lab, "host-eth0")?;
    let steps: Vec<String> = shown["steps"]
        .as_array()
        .context("no steps")?
        .iter()
        .filter_map(|step| step["name"].as_str())
        .filter(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .collect();
    ensure!(!steps.is_empty(), "no step begins with {prefix}");
    Ok(steps)
}

fn each(lab: &Lab, prefix: &str, how: &str) -> Result<()> {
    let before = Dump::of(lab)?;
    let mut checks = Checks::new();
    for step in steps(lab, prefix)? {
        checks.add(&step, one(lab, &step, how, &before));
    }
    // None of it has hurt what comes after.
    checks.add("enable after all that", enable_all(lab).map(drop));
    checks.add("and it works", ping(&lab.peer, addr::HOST4));
    checks.finish()
}

fn one(lab: &Lab, step: &str, how: &str, before: &Dump) -> Result<()> {
    lab.vpp.quiet(&format!("test hostnet fault {step} {how}"))?;
    let said = lab.vpp.ctl(&enable_command(lab, "host-eth0", &cluster()))?;
    ensure!(said.contains(step), "enable does not name the step, it says '{}'", said.trim());
    let cause = if how == "panic" { "panic" } else { "injected failure" };
    ensure!(said.contains(cause), "enable does not name the cause, it says '{}'", said.trim());
    Dump::of(lab)?.same_as(before)
}

fn failing_undo(lab: &Lab) -> Result<()> {
    let before = Dump::of(lab)?;
    let mut checks = Checks::new();
    for step in ["linux-addresses", "linux-move", "vpp-neighbours", "vpp-tap"] {
        enable_all(lab)?;
        lab.vpp.quiet(&format!("test hostnet fault undo:{step} fail"))?;
        let said = lab.vpp.ctl("hostnet disable host-eth0")?;
        let log = lab.vpp.ctl("show logging")?;
        let told = [&said, &log].iter().any(|text| text.contains(step) && text.contains("injected"));
        checks.that(&format!("the undo of {step} is named"), told, &said);
        // It is tried again until it is done; then nothing is left.
        let over = until("undone at last", secs(15), || {
            let state = shown(lab, "host-eth0")?.map(|shown| shown["state"].clone());
            Ok(state.is_none_or(|state| state == "failed").then_some(()))
        });
        checks.add(&format!("the undo of {step} is retried"), over);
        checks.add(&format!("nothing is left of {step}"), Dump::of(lab)?.same_as(&before));
    }
    checks.finish()
}
