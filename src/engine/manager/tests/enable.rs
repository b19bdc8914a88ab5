//! One uplink: enable, disable, and every answer to them.

use std::collections::HashSet;

use super::lab::Lab;
use crate::engine::*;
use crate::model::{Backend, Netns};

fn all_steps() -> Vec<Step> {
    Step::all(Backend::Vhost, Origin::Vpp).collect()
}

/// Let this step fail, forward or back.
fn fail(lab: &mut Lab, step: Step, forward: bool) {
    match (step, forward) {
        (Step::Linux(step), true) => drop(lab.kernel.fail_apply.insert(step)),
        (Step::Linux(step), false) => drop(lab.kernel.fail_undo.insert(step)),
        (Step::Vpp(step), true) => drop(lab.vpp.fail_apply.insert(step)),
        (Step::Vpp(step), false) => drop(lab.vpp.fail_undo.insert(step)),
    }
}

fn heal(lab: &mut Lab) {
    lab.kernel.fail_apply.clear();
    lab.kernel.fail_undo.clear();
    lab.vpp.fail_apply.clear();
    lab.vpp.fail_undo.clear();
}

fn cause(step: Step, forward: bool) -> String {
    let verb = if forward { "refuses" } else { "keeps" };
    match step {
        Step::Linux(step) => format!("Linux {verb} {step:?}"),
        Step::Vpp(step) => format!("VPP {verb} {step:?}"),
    }
}

#[test]
fn enable_puts_every_step_in_place_and_disable_takes_all_back() {
    let mut lab = Lab::new();
    let text = "hostnet: host-eth0 is enabled, host device eth0, tap tap0 (vhost)";
    assert_eq!(lab.enable(1), Ok(text.to_owned()));
    lab.check();
    let view = lab.view(1).unwrap();
    assert_eq!((view.state, view.last_error.clone(), view.default_punt), ("enabled", None, true));
    assert_eq!((view.tap.as_deref(), view.tap_sw_if_index), (Some("tap0"), Some(101)));
    assert_eq!((view.to_host_packets, view.from_host_packets), (5, 6));
    assert_eq!((view.host_if.as_str(), view.host_netns.as_str()), ("eth0", "-"));
    assert!(view.steps.iter().all(|step| step.state == "done" && step.took_us > Some(0)), "{:?}", view.steps);
    let staged = matches!(lab.vpp.accepted.first(), Some(Output::Staging(path)) if path.ends_with("staging"));
    assert!(staged, "what Linux brought forth reached VPP's side");

    assert_eq!(lab.disable(1), Ok("hostnet: host-eth0 is disabled".to_owned()));
    let mut steps = all_steps();
    steps.reverse();
    assert_eq!(lab.undone(), steps);
    assert!(lab.view(1).is_none());
    lab.assert_clean();
}

#[test]
fn a_failure_at_any_step_undoes_what_was_before_it_and_names_it() {
    for (index, step) in all_steps().into_iter().enumerate() {
        let mut lab = Lab::new();
        fail(&mut lab, step, true);
        let failure = format!("step {step} failed: {}", cause(step, true));
        assert_eq!(lab.enable(1), Err(format!("{failure}; everything was undone")));
        let mut before = all_steps();
        before.truncate(index);
        before.reverse();
        assert_eq!(lab.undone(), before);
        lab.assert_clean();
        assert_eq!(lab.state(1), Some("failed"));
        assert_eq!(lab.error(1), failure);
        let shown = lab.view(1).unwrap();
        let shown = shown.steps.get(index).unwrap();
        assert_eq!((shown.state, shown.error.clone()), ("failed", Some(cause(step, true))));

        heal(&mut lab);
        assert!(lab.enable(1).is_ok(), "a failed uplink can be enabled again");
        assert_eq!((lab.state(1), lab.view(1).unwrap().last_error), (Some("enabled"), None));
        lab.check();
    }
}

#[test]
fn a_failed_undo_at_any_step_leaves_only_that_step_and_is_retried() {
    for step in all_steps() {
        let mut lab = Lab::new();
        lab.enable(1).unwrap();
        lab.order_may_break();
        fail(&mut lab, step, false);
        let failure = format!("undo of {step} failed: {}, it is retried", cause(step, false));
        assert_eq!(lab.disable(1), Err(failure.clone()));
        assert_eq!((lab.state(1), lab.error(1)), (Some("stuck"), failure.clone()));
        assert_eq!(lab.in_place(UplinkId(1)), [step]);
        assert!(lab.manager.is_idle() && lab.manager.wants_tick());
        lab.tick();
        assert_eq!((lab.state(1), lab.in_place(UplinkId(1))), (Some("stuck"), vec![step]));
        assert!(lab.enable(1).unwrap_err().contains("'hostnet disable host-eth0' tries at once"));
        assert_eq!(lab.disable(1), Err(failure), "a disable retries and waits");
        heal(&mut lab);
        lab.tick();
        assert!(lab.view(1).is_none(), "the disable that was asked for is complete");
        assert_eq!(lab.manager.completed(), None);
        lab.assert_clean();
    }
}

#[test]
fn a_disable_of_a_stuck_uplink_retries_and_waits_for_it() {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    lab.order_may_break();
    lab.kernel.fail_undo = HashSet::from([LinuxStep::Move, LinuxStep::Namespaces]);
    lab.vpp.fail_undo.insert(VppStep::Tap);
    let told = lab.disable(1).unwrap_err();
    let at = |text: &str| told.find(&format!("undo of {text} failed")).unwrap();
    assert!(at("linux-namespaces") < at("vpp-tap") && at("vpp-tap") < at("linux-move"), "{told}");
    heal(&mut lab);
    let before = lab.undone().len();
    assert_eq!(lab.disable(1), Ok("hostnet: host-eth0 is disabled".to_owned()));
    let retried = [Step::Linux(LinuxStep::Move), Step::Vpp(VppStep::Tap), Step::Linux(LinuxStep::Namespaces)];
    assert_eq!(lab.undone().split_off(before), retried);
    lab.assert_clean();
}

#[test]
fn a_disable_joins_the_retry_of_the_tick() {
    let mut lab = Lab::new();
    lab.kernel.fail_undo.insert(LinuxStep::Namespaces);
    lab.vpp.fail_apply.insert(VppStep::Tap);
    lab.order_may_break();
    lab.enable(1).unwrap_err();
    heal(&mut lab);
    lab.call(Manager::tick);
    assert_eq!(lab.state(1), Some("stuck"), "not 'disabling': nobody asked for that");
    let client = lab.stop(1);
    let second = lab.stop(1);
    assert_eq!(lab.answer(second), Err("host-eth0 is being disabled".to_owned()));
    lab.pump();
    assert_eq!(lab.answer(client), Ok("hostnet: host-eth0 is disabled".to_owned()));
    assert!(lab.view(1).is_none());
    lab.assert_clean();
}

#[test]
fn a_failure_with_a_failed_undo_tells_both_and_ends_as_failed() {
    let mut lab = Lab::new();
    lab.order_may_break();
    lab.kernel.fail_apply.insert(LinuxStep::Addresses);
    lab.vpp.fail_undo.insert(VppStep::Tap);
    let told = "step linux-addresses failed: Linux refuses Addresses; \
                undo of vpp-tap failed: VPP keeps Tap, it is retried";
    assert_eq!(lab.enable(1), Err(told.to_owned()));
    assert_eq!((lab.state(1), lab.error(1).as_str()), (Some("stuck"), told));
    heal(&mut lab);
    lab.tick();
    assert_eq!(lab.state(1), Some("failed"));
    assert_eq!(lab.error(1), "step linux-addresses failed: Linux refuses Addresses");
    lab.assert_clean();
    assert_eq!(lab.disable(1), Ok("hostnet: host-eth0 is disabled; its failure is cleared".to_owned()));
    assert!(lab.view(1).is_none());
}

#[test]
fn what_is_busy_is_refused_by_its_state() {
    let mut lab = Lab::new();
    let probing = lab.start(Lab::request(1));
    for client in [lab.start(Lab::request(1)), lab.stop(1)] {
        assert_eq!(lab.manager.completed(), Some((client, Err("host-eth0 is being enabled".to_owned()))));
    }
    lab.work();
    assert_eq!(lab.state(1), Some("enabling"));
    for client in [lab.start(Lab::request(1)), lab.stop(1)] {
        assert_eq!(lab.manager.completed(), Some((client, Err("host-eth0 is being enabled".to_owned()))));
    }
    lab.pump();
    assert!(lab.answer(probing).is_ok());
    assert_eq!(lab.enable(1), Err("host-eth0 is enabled already".to_owned()));
    let stopping = lab.stop(1);
    assert_eq!(lab.state(1), Some("disabling"));
    for client in [lab.start(Lab::request(1)), lab.stop(1)] {
        assert_eq!(lab.manager.completed(), Some((client, Err("host-eth0 is being disabled".to_owned()))));
    }
    lab.pump();
    assert!(lab.answer(stopping).is_ok());
    lab.assert_clean();
}

#[test]
fn unknown_interfaces_and_our_own_taps_are_refused() {
    let mut lab = Lab::new();
    assert_eq!(lab.enable(9), Err("no interface 9".to_owned()));
    assert_eq!(lab.disable(9), Err("no interface 9".to_owned()));
    assert_eq!(lab.disable(2), Err("host-eth1 is not enabled; no uplink is".to_owned()));
    lab.enable(1).unwrap();
    assert_eq!(lab.disable(2), Err("host-eth1 is not enabled; enabled: host-eth0".to_owned()));
    let told = "tap0 is hostnet's own tap of host-eth0; it cannot be an uplink";
    assert_eq!(lab.enable(101), Err(told.to_owned()));
    lab.check();
}

#[test]
fn a_refusal_names_every_reason_and_changes_nothing() {
    for dry_run in [false, true] {
        let mut lab = Lab::new();
        lab.vpp.interfaces.get_mut(&3).unwrap().refusals.push("interface down".to_owned());
        lab.kernel.probe_refusals.push("no such namespace".to_owned());
        let client = lab.start(EnableRequest { dry_run, mtu: Some(60), ..Lab::request(3) });
        lab.pump();
        let told = lab.answer(client).unwrap_err();
        for reason in ["interface down", "no such namespace", "'host-if <name>'", "MTU 60"] {
            assert!(told.contains(reason), "{reason}: {told}");
        }
        assert!(lab.view(3).is_none() && lab.undone().is_empty());
        lab.assert_clean();
    }
}

#[test]
fn dry_run_tells_the_plan_and_changes_nothing() {
    let mut lab = Lab::new();
    lab.vpp.fail_apply.insert(VppStep::Tap);
    lab.enable(1).unwrap_err();
    let undone = lab.undone().len();
    let client = lab.start(EnableRequest { dry_run: true, ..Lab::request(1) });
    lab.pump();
    let text = lab.answer(client).unwrap();
    assert!(text.contains("tap to eth0 (vhost") && text.contains("Linux, namespace -:"), "{text}");
    assert_eq!(lab.state(1), Some("failed"), "not even the record of the failure goes");
    assert_eq!(lab.undone().len(), undone);
    lab.assert_clean();
}

#[test]
fn the_probe_asks_for_the_device_and_namespace_of_the_request() {
    let mut lab = Lab::new();
    let netns = Netns::Name("blue".to_owned());
    lab.start(EnableRequest { host_netns: netns.clone(), host_if: "lan".parse().ok(), ..Lab::request(1) });
    let asked = lab.kernel.queue.front();
    let as_asked = matches!(asked, Some(Command::Probe { netns: n, name: Some(name), .. })
        if *n == netns && name.as_str() == "lan");
    assert!(as_asked, "{asked:?}");
}

#[test]
fn a_client_that_went_away_gets_no_answer() {
    let mut lab = Lab::new();
    let client = lab.start(Lab::request(1));
    lab.manager.cancel(client);
    lab.pump();
    assert_eq!(lab.state(1), Some("enabled"), "what was asked for goes on");
    let client = lab.stop(1);
    lab.manager.cancel(client);
    lab.pump();
    assert!(lab.view(1).is_none());
    let client = lab.start(Lab::request(9));
    lab.manager.cancel(client);
    assert_eq!(lab.manager.completed(), None);
    lab.assert_clean();
}

#[test]
fn ids_are_never_used_twice() {
    let mut lab = Lab::new();
    for _ in 0..3 {
        lab.enable(1).unwrap();
        lab.disable(1).unwrap();
    }
    assert_eq!(lab.vpp.forgotten, [UplinkId(1), UplinkId(2), UplinkId(3)]);
}
