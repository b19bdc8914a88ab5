//! End to end: a real VPP with the plugin, real kernels, real packets.
//!
//! Each test has a lab of its own. The names begin with the number of the
//! promise that they prove; `HOSTNET_TAP` chooses the backend.

mod cards;
mod faults;
mod harness;
mod inputs;
mod kinds;
mod leaving;
mod loading;
mod looks;
mod monitor;
mod panics;
mod pods;
mod resolution;
mod support;
mod takeover;
mod takeover_faults;
mod takeover_kills;
mod takeover_odd;
mod takeover_session;
mod takeover_support;
mod traffic;
mod uplinks;
mod workers;

use libtest_mimic::{Arguments, Trial};

use support::Backend;

/// Tests that have nothing to do with the backend, or are to be run natively
/// only: the run with the builtin backend has them.
const ONCE: [&str; 23] = [
    "lab_",
    "load_another_version",
    "load_with_0_workers_without",
    "load_with_2_workers_without",
    "m01_tcp_gigabytes",
    "m07_",
    "m12_wrong_words",
    "m12_wrong_state_of_vpp",
    "m12_all_reasons",
    "t01_taken_and_released_with",
    "t01_taken_by_stanza",
    "t01_what_changed",
    "t01_two_uplinks",
    "t01_routes_of_each",
    "t01_dry_run",
    "t01_a_device_of_the_same_number",
    "t01_refusals",
    "t01_a_wrong_stanza",
    "t02_",
    "t04_",
    "t01_pods",
    "t05_",
    "t06_",
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::from_args();
    if !arguments.list {
        hostnet_lab::cleanup::guard()?;
    }
    let tests = [
        harness::tests(),
        loading::tests(),
        traffic::tests(),
        pods::tests(),
        looks::tests(),
        leaving::tests(),
        faults::tests(),
        uplinks::tests(),
        workers::tests(),
        panics::tests(),
        inputs::tests(),
        kinds::tests(),
        resolution::tests(),
        takeover::tests(),
        takeover_kills::tests(),
        takeover_faults::tests(),
        takeover_session::tests(),
        takeover_odd::tests(),
        cards::tests(),
    ];
    let mut tests: Vec<Trial> = tests.into_iter().flatten().collect();
    if Backend::of_this_run() == Backend::Vhost {
        tests.retain(|test| !ONCE.iter().any(|name| test.name().starts_with(name)));
    }
    let conclusion = libtest_mimic::run(&arguments, tests);
    hostnet_lab::cleanup::settle_all();
    conclusion.exit()
}
