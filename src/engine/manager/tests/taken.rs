//! Uplinks that are taken from Linux.

use super::lab::Lab;
use crate::engine::takeover::tests::survey;
use crate::engine::*;
use crate::model::{Backend, IfName};

fn name() -> IfName {
    "enp1s0".parse().unwrap()
}

fn request() -> UplinkRequest {
    UplinkRequest { linux_if: name(), driver: DriverChoice::Auto, no_iommu: false, enable: EnableRequest::default() }
}

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.kernel.survey = Some(Ok(survey(None, &[])));
    lab
}

impl Lab {
    fn take(&mut self, request: &UplinkRequest) -> Answer {
        let client = ClientId(1000);
        self.call(|manager, hands| manager.take(hands, request, "", Some(client)));
        self.pump();
        self.answer(client)
    }

    fn take_at_start(&mut self, request: &UplinkRequest) {
        self.call(|manager, hands| manager.take(hands, request, "", None));
        self.pump();
    }

    fn release(&mut self) -> Answer {
        let client = ClientId(1001);
        self.call(|manager, hands| manager.release(hands, &name(), client));
        self.pump();
        self.answer(client)
    }

    fn all(&self) -> View {
        self.manager.view(&self.vpp, &self.kernel, None)
    }
}

#[test]
fn take_and_release_go_through_every_step_and_tell_the_interruption() {
    let mut lab = lab();
    let told = lab.take(&request()).unwrap();
    assert!(told.contains("made51 is enabled") && told.contains("ms without network"), "{told}");
    lab.check();
    let steps: Vec<Step> = Step::all(Backend::Vhost, Origin::Taken).collect();
    let view = lab.all().uplinks.remove(0);
    assert_eq!((view.interface.as_str(), view.sw_if_index), ("made51", 51));
    let taken = view.takeover.unwrap();
    assert_eq!((taken.linux_interface.as_str(), taken.driver), ("enp1s0", "af-packet"));
    assert!(taken.interruption_us > Some(0));
    assert!(lab.take(&request()).unwrap_err().contains("is enabled already"));

    let told = lab.release().unwrap();
    assert!(told.contains("enp1s0 is home again") && told.contains("without network"), "{told}");
    assert_eq!(lab.undone(), steps.into_iter().rev().collect::<Vec<_>>());
    lab.assert_clean();
    assert!(lab.release().unwrap_err().contains("no interface is"));
}

#[test]
fn disable_by_the_interface_that_was_made_releases_too() {
    let mut lab = lab();
    lab.take(&request()).unwrap();
    assert!(lab.disable(51).unwrap().contains("home again"));
    lab.assert_clean();
}

#[test]
fn a_failure_at_each_step_brings_the_device_home() {
    for step in Step::all(Backend::Vhost, Origin::Taken) {
        let mut lab = lab();
        match step {
            Step::Linux(step) => drop(lab.kernel.fail_apply.insert(step)),
            Step::Vpp(step) => drop(lab.vpp.fail_apply.insert(step)),
        }
        let told = lab.take(&request()).unwrap_err();
        assert!(told.contains(step.name()) && told.contains("everything was undone"), "{told}");
        lab.assert_clean();
        assert_eq!(lab.all().uplinks.len(), 1, "the failure is shown");
        // And is forgotten once it works.
        lab.kernel.fail_apply.clear();
        lab.vpp.fail_apply.clear();
        lab.take(&request()).unwrap();
        assert_eq!(lab.all().uplinks.len(), 1);
    }
}

#[test]
fn what_was_asked_for_at_start_and_refused_is_shown_until_it_is_taken() {
    let mut lab = Lab::new();
    lab.kernel.survey = Some(Err("enp1s0 is not there".to_owned()));
    lab.take_at_start(&request());
    let view = lab.all();
    assert_eq!(view.not_taken.len(), 1);
    assert_eq!(view.not_taken[0].reason, "enp1s0 is not there");
    assert!(lab.take(&request()).unwrap_err().contains("not there"));
    assert!(lab.all().not_taken.is_empty(), "whoever asked again was told");
    lab.take_at_start(&request());
    assert!(lab.release().unwrap().contains("cleared"));
    assert!(lab.all().not_taken.is_empty());
    lab.assert_clean();
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let mut lab = lab();
    let mut request = request();
    request.enable.dry_run = true;
    let told = lab.take(&request).unwrap();
    assert!(told.contains("Takeover of enp1s0"), "{told}");
    lab.assert_clean();
    assert!(lab.all().uplinks.is_empty());
}

#[test]
fn refusals_of_both_sides_are_told_at_once() {
    let mut lab = lab();
    lab.vpp.prospect_refusals = vec!["a redirect".to_owned()];
    let mut survey = survey(None, &[]);
    survey.refusals.push("a bridge port".to_owned());
    lab.kernel.survey = Some(Ok(survey));
    let told = lab.take(&request()).unwrap_err();
    assert!(told.contains("a redirect") && told.contains("a bridge port"), "{told}");
    lab.assert_clean();
}

#[test]
fn the_helpers_death_while_it_looks_is_told() {
    let mut lab = lab();
    let client = ClientId(7);
    lab.call(|manager, hands| manager.take(hands, &request(), "", Some(client)));
    let died = lab.kernel.die(false);
    lab.report(died);
    assert!(lab.answer(client).unwrap_err().contains("out of memory"));
    lab.assert_clean();
}

#[test]
fn the_exit_brings_it_home() {
    let mut lab = lab();
    lab.take(&request()).unwrap();
    lab.call(Manager::shutdown);
    lab.pump();
    assert!(lab.manager.is_idle());
    lab.assert_clean();
    lab.take_at_start(&request());
    assert_eq!(lab.all().not_taken[0].reason, "VPP is shutting down");
}

#[test]
fn what_was_kept_for_an_interface_of_vpps_is_used_in_place_of_what_vpp_has() {
    let mut lab = Lab::new();
    let survey = survey(None, &[]);
    let words = "enp1s0 driver none".to_owned();
    lab.kernel.kept =
        Some(Kept { captured: survey.captured, home_ino: 7, config: survey.config, kept: Vec::new(), words });
    lab.enable(3).unwrap();
    let view = lab.view(3).unwrap();
    assert_eq!(view.host_if, "enp1s0", "the name comes from what was kept");
    assert_eq!(view.sw_if_index, 3);
    assert_eq!(view.takeover.unwrap().driver, "none");
    let steps: Vec<Step> = Step::all(Backend::Vhost, Origin::Captured).collect();
    assert!(!steps.contains(&Step::Linux(LinuxStep::Take)));
    lab.disable(3).unwrap();
    assert_eq!(lab.undone(), steps.into_iter().rev().collect::<Vec<_>>());
    lab.assert_clean();
}

#[test]
fn what_dpdk_was_to_make_is_enabled_or_shown_or_brought_home() {
    let mut lab = lab();
    // The interface is there, and refused.
    lab.vpp.interfaces.get_mut(&1).unwrap().refusals.push("no room".to_owned());
    lab.call(|manager, hands| manager.enable_at_start(hands, Lab::request(1), name()));
    lab.pump();
    let not = &lab.all().not_taken[0];
    assert!(not.linux_interface == "enp1s0" && not.reason.contains("no room"), "{not:?}");
    // Nobody waits for that answer.
    assert_eq!(lab.manager.completed(), None);
    // It is not there.
    let request = UplinkRequest { driver: DriverChoice::Dpdk, ..request() };
    lab.call(|manager, hands| manager.give_up(hands, &request, "dpdk has made none".to_owned()));
    lab.pump();
    assert_eq!(lab.kernel.given_up, [name()]);
    assert!(lab.all().not_taken[1].reason.contains("has made none"));
    // It is there.
    lab.vpp.interfaces.get_mut(&1).unwrap().refusals.clear();
    lab.call(|manager, hands| manager.enable_at_start(hands, Lab::request(1), name()));
    lab.pump();
    assert_eq!(lab.state(1), Some("enabled"));
    assert_eq!(lab.manager.completed(), None);
}
