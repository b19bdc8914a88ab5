//! 11: a panic of ours kills nobody (the test-only build).

use anyhow::{Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::ping;
use libtest_mimic::Trial;

use crate::support::{Kind, clean_scenario_in, enable_all, options_with_faults, plugin_with_faults, scenario};
use crate::workers::two_workers;

pub(crate) fn tests() -> Vec<Trial> {
    let place =
        |name: &str, place: &'static str| clean_scenario_in(Kind::Faults, name, move |lab| survives(lab, place));
    vec![
        place("m11_panic_in_a_command", "command"),
        scenario("m11_panic_in_the_helper", options_with_faults, |lab| survives(lab, "helper")),
        place("m11_panic_in_the_process", "process"),
        scenario("m11_panics_with_two_workers", faults_and_workers, |lab| {
            for place in ["command", "helper", "process"] {
                survives_once(lab, place)?;
            }
            Ok(())
        }),
    ]
}

fn faults_and_workers() -> Options {
    let mut options = two_workers();
    options.vpp.hostnet = Some(plugin_with_faults());
    options
}

fn survives(lab: &Lab, place: &str) -> Result<()> {
    enable_all(lab)?;
    survives_once(lab, place)?;
    // What was set up goes on working.
    let mut checks = Checks::new();
    checks.add("peer to host", ping(&lab.peer, addr::HOST4));
    checks.add("host to peer", ping(&lab.host, addr::PEER6));
    checks.finish()
}

fn survives_once(lab: &Lab, place: &str) -> Result<()> {
    let said = lab.vpp.ctl(&format!("test hostnet panic {place}"))?;
    if place == "command" {
        ensure!(said.contains("panic"), "the command does not say that it panicked: '{}'", said.trim());
    } else {
        // The panic happens elsewhere; it is shown when it has.
        until("the panic is shown", secs(5), || {
            let said = lab.vpp.ctl("show hostnet verbose")?;
            ensure!(said.contains("panic"), "{said}");
            Ok(Some(()))
        })?;
    }
    lab.vpp.alive()?;
    ping(&lab.peer, addr::POD4)?;
    ping(&lab.pod, addr::PEER6)
}
