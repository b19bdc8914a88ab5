//! End to end: a real VPP with the plugin, real kernels, real packets.
//!
//! Each test has a lab of its own. The names begin with the number of the
//! promise that they prove; `HOSTNET_TAP` chooses the backend.

mod cards;
mod children;
mod faults;
mod fragments;
mod harness;
mod inputs;
mod kinds;
mod leaving;
mod loading;
mod looks;
mod mirror_bgp;
mod mirror_cases;
mod mirror_export;
mod mirror_linux_cp;
mod mirror_support;
mod mirror_table;
mod mirror_walk;
mod monitor;
mod panics;
mod plain_card;
mod plain_card_clients;
mod plain_card_dhcp;
mod plain_card_elsewhere;
mod plain_card_found;
mod plain_card_frames;
mod plain_card_groups;
mod plain_card_paths;
mod plain_card_police;
mod plain_card_programs;
mod plain_card_routing;
mod plain_card_services;
mod plain_card_stacked;
mod plain_card_vpp;
mod pods;
mod resolution;
mod support;
mod takeover;
mod takeover_drivers;
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
const ONCE: [&str; 40] = [
    "lab_",
    "load_another_version",
    "m03_fragments_of_tunnels_are_joined_with_workers",
    "m03_what_vpp_joins_stays_the_users_choice",
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
    "t01_af_xdp",
    "t01_rdma",
    "t01_plugins_that",
    "t01_dpdk",
    "t01_a_device_of_the_same_number",
    "t01_refusals",
    "t01_a_wrong_stanza",
    "t02_",
    "t04_",
    "t01_pods",
    "t05_",
    "t06_",
    "n01_",
    "n02_",
    "n03_",
    "n05_",
    "n06_",
    "r07_a_bulk",
    "r07_a_flood",
    "r07_floods_with_workers",
    "r07_forwarding",
    "r08_wrong_words",
    "r08_the_stanza",
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
        fragments::tests(),
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
        mirror_walk::tests(),
        mirror_cases::tests(),
        mirror_export::tests(),
        mirror_linux_cp::tests(),
        mirror_bgp::tests(),
        mirror_table::tests(),
        cards::tests(),
        children::tests(),
        takeover_drivers::tests(),
        plain_card::tests(),
        plain_card_programs::tests(),
        plain_card_routing::tests(),
        plain_card_services::tests(),
        plain_card_dhcp::tests(),
        plain_card_clients::tests(),
        plain_card_paths::tests(),
        plain_card_groups::tests(),
        plain_card_vpp::tests(),
        plain_card_elsewhere::tests(),
        plain_card_stacked::tests(),
        plain_card_police::tests(),
        plain_card_found::tests(),
    ];
    let mut tests: Vec<Trial> = tests.into_iter().flatten().collect();
    if Backend::of_this_run() == Backend::Vhost {
        tests.retain(|test| !ONCE.iter().any(|name| test.name().starts_with(name)));
    }
    let conclusion = libtest_mimic::run(&arguments, tests);
    hostnet_lab::cleanup::settle_all();
    conclusion.exit()
}
