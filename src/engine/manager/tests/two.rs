//! Two uplinks: who has the default punt redirect.

use super::lab::Lab;
use crate::engine::*;

const ONE: UplinkId = UplinkId(1);
const TWO: UplinkId = UplinkId(2);

fn defaults(lab: &Lab) -> Vec<bool> {
    let view = lab.manager.view(&lab.vpp, &lab.kernel, None);
    view.uplinks.iter().map(|uplink| uplink.default_punt).collect()
}

fn both() -> Lab {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    lab.enable(2).unwrap();
    assert_eq!(lab.vpp.default, Some(ONE));
    assert_eq!(defaults(&lab), [true, false]);
    assert_eq!(lab.vpp.others, [ONE], "inspect was told whose the rest is");
    lab.check();
    lab
}

#[test]
fn the_second_takes_over_as_soon_as_the_first_has_its_redirect_undone() {
    let mut lab = both();
    let client = lab.stop(1);
    assert_eq!(lab.vpp.default, Some(TWO), "while the first waits for the helper thread");
    assert_eq!(lab.state(1), Some("disabling"));
    assert_eq!(defaults(&lab), [false, true]);
    lab.pump();
    lab.answer(client).unwrap();
    lab.check();
    lab.enable(1).unwrap();
    assert_eq!(defaults(&lab), [true, false], "the second keeps it");
    lab.check();
    lab.disable(2).unwrap();
    assert_eq!(defaults(&lab), [true]);
    lab.check();
    lab.disable(1).unwrap();
    lab.assert_clean();
}

#[test]
fn disabling_the_second_leaves_the_first_as_it_is() {
    let mut lab = both();
    lab.disable(2).unwrap();
    assert_eq!((lab.vpp.default, defaults(&lab)), (Some(ONE), vec![true]));
    lab.check();
}

#[test]
fn a_deleted_first_uplink_hands_over_too() {
    let mut lab = both();
    lab.call(|manager, hands| manager.interface_deleted(hands, 1));
    assert_eq!(lab.vpp.default, Some(TWO));
    lab.pump();
    assert_eq!(lab.state(1), Some("failed"));
    lab.check();
}

#[test]
fn a_failed_takeover_is_shown_and_retried() {
    for panic in [false, true] {
        let mut lab = both();
        lab.vpp.fail_takeover = !panic;
        lab.vpp.panic_takeover = panic;
        lab.disable(1).unwrap();
        let cause = if panic { "panic: in takeover" } else { "VPP keeps the default" };
        let told = format!("taking the default punt redirect over failed: {cause}, it is retried");
        assert_eq!((lab.state(2), lab.error(2)), (Some("enabled"), told.clone()));
        assert!(lab.manager.wants_tick());
        lab.tick();
        assert_eq!((defaults(&lab), lab.error(2)), (vec![false], told));
        lab.vpp.fail_takeover = false;
        lab.vpp.panic_takeover = false;
        lab.tick();
        assert_eq!((defaults(&lab), lab.view(2).unwrap().last_error), (vec![true], None));
        lab.check();
        lab.disable(2).unwrap();
        lab.assert_clean();
    }
}

#[test]
fn an_orphaned_default_goes_to_the_next_that_is_enabled() {
    let mut lab = both();
    lab.vpp.fail_takeover = true;
    lab.disable(1).unwrap();
    lab.enable(1).unwrap();
    assert_eq!(defaults(&lab), [false, true]);
    assert_eq!(lab.view(2).unwrap().last_error, None, "the redirect has a holder again");
    lab.check();
}

#[test]
fn one_that_fails_before_its_redirect_leaves_the_default_to_the_other() {
    let mut lab = Lab::new();
    let first = lab.start(Lab::request(1));
    lab.work();
    // The first is to have the default and is on its way; the second passes it.
    let second = lab.start(Lab::request(2));
    lab.kernel.queue.rotate_left(1);
    lab.work();
    let first_step = lab.kernel.queue.pop_front().unwrap();
    lab.pump();
    assert!(lab.answer(second).is_ok());
    assert_eq!(lab.vpp.default, None, "it is the first's");
    lab.check();
    lab.kernel.fail_apply.insert(LinuxStep::Dress);
    lab.kernel.queue.push_back(first_step);
    lab.pump();
    assert!(lab.answer(first).is_err());
    assert_eq!(lab.vpp.default, Some(TWO));
    lab.check();
}

#[test]
fn a_redirect_that_cannot_be_undone_stays_the_first_s_until_it_is() {
    let mut lab = both();
    lab.order_may_break();
    lab.vpp.fail_undo.insert(VppStep::Redirect4);
    lab.disable(1).unwrap_err();
    assert_eq!(lab.vpp.default, Some(ONE));
    lab.check();
    lab.vpp.fail_undo.clear();
    lab.tick();
    assert_eq!(lab.vpp.default, Some(TWO));
    lab.check();
}

#[test]
fn one_host_device_name_in_one_namespace_has_one_uplink() {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    lab.vpp.interfaces.get_mut(&3).unwrap().refusals.push("interface down".to_owned());
    for dry_run in [false, true] {
        let request = EnableRequest { host_if: "eth0".parse().ok(), dry_run, ..Lab::request(3) };
        let client = lab.start(request.clone());
        lab.pump();
        let told = "interface down; host device eth0 in namespace - is that of uplink host-eth0: \
                    add another 'host-if <name>'";
        assert_eq!(lab.answer(client), Err(told.to_owned()));
    }
    lab.vpp.interfaces.get_mut(&3).unwrap().refusals.clear();
    let request =
        EnableRequest { host_if: "eth0".parse().ok(), host_netns: "blue".parse().unwrap(), ..Lab::request(3) };
    let client = lab.start(request);
    lab.pump();
    assert!(lab.answer(client).is_ok(), "another namespace is another device");
    lab.check();
}

#[test]
fn at_exit_the_default_does_not_wander() {
    let mut lab = both();
    lab.vpp.fail_takeover = true;
    lab.call(Manager::shutdown);
    let view = lab.manager.view(&lab.vpp, &lab.kernel, None);
    assert!(view.uplinks.iter().all(|uplink| uplink.last_error.is_none()), "nothing was taken over");
    lab.pump();
    lab.assert_clean();
}
