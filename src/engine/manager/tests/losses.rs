//! What goes away under our feet: the helper thread, the uplink, the tap, the
//! stack of a call that panicked, VPP itself.

use std::fs::File;
use std::os::fd::OwnedFd;

use super::lab::{Lab, facts};
use crate::engine::*;

const ID: UplinkId = UplinkId(1);

fn delete(lab: &mut Lab, sw_if_index: u32) {
    lab.call(|manager, hands| manager.interface_deleted(hands, sw_if_index));
}

/// Bring uplink 1 to where this Linux step is under way.
fn until(lab: &mut Lab, step: LinuxStep) -> ClientId {
    let client = lab.start(Lab::request(1));
    while !matches!(lab.kernel.queue.front(), Some(Command::Apply { step: s, .. }) if *s == step) {
        lab.work();
    }
    client
}

fn linux_steps() -> Vec<LinuxStep> {
    let linux = |step| match step {
        Step::Linux(step) => Some(step),
        Step::Vpp(_) => None,
    };
    Step::all(crate::model::Backend::Vhost, Origin::Vpp).filter_map(linux).collect()
}

#[test]
fn a_helper_that_dies_over_a_step_has_that_step_undone_too() {
    for step in linux_steps() {
        for carried_out in [false, true] {
            let mut lab = Lab::new();
            let client = until(&mut lab, step);
            let died = lab.kernel.die(carried_out);
            lab.report(died);
            lab.pump();
            let step = Step::Linux(step);
            let failure = format!("step {step} failed: the helper thread died: out of memory");
            assert_eq!(lab.answer(client), Err(format!("{failure}; everything was undone")));
            assert_eq!(lab.undone().first(), Some(&step));
            assert_eq!((lab.state(1), lab.error(1)), (Some("failed"), failure));
            lab.assert_clean();
        }
    }
}

#[test]
fn a_helper_that_dies_over_an_undo_has_it_retried() {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    let client = lab.stop(1);
    lab.order_may_break();
    let died = lab.kernel.die(false);
    lab.report(died);
    lab.pump();
    let told = lab.answer(client).unwrap_err();
    assert_eq!(told, "undo of linux-mirror failed: the helper thread died: out of memory, it is retried");
    lab.tick();
    assert!(lab.view(1).is_none());
    lab.assert_clean();
}

#[test]
fn a_helper_that_dies_over_a_probe_refuses_with_all_other_reasons() {
    let mut lab = Lab::new();
    lab.vpp.interfaces.get_mut(&1).unwrap().refusals.push("interface down".to_owned());
    let client = lab.start(Lab::request(1));
    let died = lab.kernel.die(false);
    lab.report(died);
    assert_eq!(lab.answer(client), Err("interface down; the helper thread died: out of memory".to_owned()));
    lab.assert_clean();
}

#[test]
fn a_helper_that_dies_idle_harms_no_enabled_uplink() {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    let died = lab.kernel.die(false);
    lab.report(died);
    assert_eq!((lab.state(1), lab.view(1).unwrap().last_error), (Some("enabled"), None));
    lab.check();
}

#[test]
fn a_command_that_cannot_be_submitted_is_a_failure_of_its_step() {
    let mut lab = Lab::new();
    lab.kernel.refuse = Some(SubmitError::Full);
    assert_eq!(lab.enable(1), Err("the helper thread's queue is full".to_owned()));
    lab.kernel.refuse = None;
    let client = until(&mut lab, LinuxStep::Dress);
    lab.order_may_break();
    lab.kernel.refuse = Some(SubmitError::Dead);
    lab.work();
    let told = "step linux-move failed: the helper thread has ended; \
                undo of linux-namespaces failed: the helper thread has ended, it is retried; \
                undo of linux-dress failed: the helper thread has ended, it is retried";
    assert_eq!(lab.answer(client), Err(told.to_owned()));
    lab.tick();
    assert_eq!(lab.state(1), Some("stuck"));
    lab.kernel.refuse = None;
    lab.tick();
    assert_eq!(lab.state(1), Some("failed"));
    lab.assert_clean();
}

#[test]
fn a_full_queue_delays_forgetting() {
    let mut lab = Lab::new();
    lab.vpp.fail_apply.insert(VppStep::Tap);
    lab.start(Lab::request(1));
    lab.work();
    lab.work();
    // The last undo is under way; its end leads to a forget.
    let undone = lab.kernel.work().unwrap();
    lab.kernel.refuse = Some(SubmitError::Full);
    lab.report(undone);
    assert_eq!(lab.state(1), Some("failed"));
    assert!(lab.manager.wants_tick());
    lab.kernel.refuse = None;
    lab.tick();
    assert!(lab.kernel.forgotten.contains(&ID));
    lab.assert_clean();
}

#[test]
fn reports_that_answer_nothing_are_dropped_with_their_file() {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    let (accepted, steps) = (lab.vpp.accepted.len(), lab.in_place(ID));
    let tun = |n: u32| {
        let file: OwnedFd = File::open("/dev/null").unwrap().into();
        Report::Applied { uplink: UplinkId(n), step: LinuxStep::TunDevice, result: Ok(Output::Tun(file)) }
    };
    for stray in [
        tun(1),
        tun(77),
        Report::Undone { uplink: ID, step: LinuxStep::Move, result: Ok(()) },
        Report::Applied { uplink: ID, step: LinuxStep::Move, result: Err("late".to_owned()) },
        Report::Probed { uplink: ID, facts: LinuxFacts::default() },
    ] {
        lab.report(stray);
    }
    assert_eq!((lab.vpp.accepted.len(), lab.in_place(ID)), (accepted, steps));
    assert_eq!(lab.state(1), Some("enabled"));
}

#[test]
fn a_report_of_another_step_than_the_one_under_way_is_dropped() {
    let mut lab = Lab::new();
    let client = until(&mut lab, LinuxStep::Dress);
    for stray in [
        Report::Applied { uplink: ID, step: LinuxStep::Namespaces, result: Err("late".to_owned()) },
        Report::Undone { uplink: ID, step: LinuxStep::Dress, result: Err("late".to_owned()) },
    ] {
        lab.report(stray);
    }
    lab.pump();
    assert!(lab.answer(client).is_ok());
    lab.check();
}

#[test]
fn deleting_the_uplink_or_the_tap_undoes_all_and_says_so() {
    for (index, cause) in [(1, "uplink host-eth0 was deleted"), (101, "tap tap0 was deleted")] {
        let mut lab = Lab::new();
        lab.enable(1).unwrap();
        delete(&mut lab, 55);
        assert_eq!(lab.state(1), Some("enabled"), "not ours");
        delete(&mut lab, index);
        assert_eq!(lab.vpp.default, None, "no black hole of punts: at once");
        assert_eq!(lab.state(1), Some("disabling"));
        lab.pump();
        assert_eq!((lab.state(1), lab.error(1).as_str()), (Some("failed"), cause));
        lab.assert_clean();
        assert_eq!(lab.manager.completed(), None);
        assert!(lab.enable(1).is_ok());
    }
}

#[test]
fn deleting_the_uplink_at_any_moment_of_enable_ends_in_a_clean_failure() {
    for step in linux_steps() {
        let mut lab = Lab::new();
        let client = until(&mut lab, step);
        delete(&mut lab, 1);
        // The step under way is answered first, late as it is.
        lab.pump();
        let told = "uplink host-eth0 was deleted; everything was undone";
        assert_eq!(lab.answer(client), Err(told.to_owned()));
        assert_eq!(lab.undone().first(), Some(&Step::Linux(step)));
        lab.assert_clean();
    }
}

#[test]
fn deleting_the_uplink_while_it_is_probed_or_undone_changes_no_answer_but_the_probe_s() {
    let mut lab = Lab::new();
    let client = lab.start(Lab::request(1));
    delete(&mut lab, 1);
    assert_eq!(lab.answer(client), Err("uplink host-eth0 was deleted".to_owned()));
    lab.pump();
    assert!(lab.view(1).is_none());
    lab.enable(1).unwrap();
    let client = lab.stop(1);
    delete(&mut lab, 1);
    lab.pump();
    assert!(lab.answer(client).is_ok());
    assert!(lab.view(1).is_none());
    lab.assert_clean();
}

#[test]
fn a_panic_in_a_step_fails_it_and_undoes_it_too() {
    let mut lab = Lab::new();
    lab.vpp.panic_apply.insert(VppStep::Features);
    let told = "step vpp-features failed: panic: in apply";
    assert_eq!(lab.enable(1), Err(format!("{told}; everything was undone")));
    assert_eq!((lab.state(1), lab.error(1).as_str()), (Some("failed"), told));
    assert_eq!(lab.undone().first(), Some(&Step::Vpp(VppStep::Features)));
    lab.assert_clean();
}

#[test]
fn panics_in_undos_are_failed_undos() {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    lab.order_may_break();
    lab.vpp.panic_undo.extend([VppStep::TapUp, VppStep::Redirect6, VppStep::Tap]);
    let told = lab.disable(1).unwrap_err();
    assert_eq!(told.matches("failed: panic: in undo, it is retried").count(), 3, "{told}");
    lab.vpp.panic_undo.clear();
    lab.tick();
    assert!(lab.view(1).is_none());
    lab.assert_clean();
}

#[test]
fn a_panic_while_looking_answers_the_client() {
    let mut lab = Lab::new();
    lab.vpp.panic_inspect = true;
    assert_eq!(lab.enable(1), Err("panic: inspect".to_owned()));
    assert_eq!(lab.disable(1), Err("panic: inspect".to_owned()));
    lab.vpp.panic_inspect = false;
    assert!(lab.enable(1).is_ok());
    lab.call(|manager, hands| manager.panicked(hands, "elsewhere"));
    assert_eq!(lab.state(1), Some("enabled"), "a panic that was not ours harms no uplink");
    lab.check();
}

#[test]
fn shutdown_undoes_everything_whatever_state_it_is_in() {
    let mut lab = Lab::new();
    lab.vpp.interfaces.insert(4, facts(4));
    lab.vpp.interfaces.insert(5, facts(5));
    lab.vpp.fail_apply.insert(VppStep::Tap);
    lab.enable(1).unwrap_err();
    lab.vpp.fail_apply.clear();
    lab.enable(2).unwrap();
    let applying = lab.start(Lab::request(4));
    lab.work();
    lab.work();
    let probing = lab.start(Lab::request(5));
    lab.call(Manager::shutdown);
    let refused = lab.start(Lab::request(1));
    lab.pump();
    let exit = || "VPP is shutting down".to_owned();
    assert_eq!(lab.manager.completed(), Some((probing, Err(exit()))));
    assert_eq!(lab.manager.completed(), Some((refused, Err(exit()))));
    assert_eq!(lab.manager.completed(), Some((applying, Err(exit() + "; everything was undone"))));
    assert!(lab.manager.is_idle());
    assert!(lab.manager.view(&lab.vpp, &lab.kernel, None).uplinks.is_empty());
    lab.assert_clean();
}

#[test]
fn shutdown_retries_what_is_stuck() {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    lab.order_may_break();
    lab.vpp.fail_undo.insert(VppStep::Mtu);
    lab.disable(1).unwrap_err();
    lab.vpp.fail_undo.clear();
    lab.call(Manager::shutdown);
    lab.pump();
    lab.assert_clean();
}
