//! Steps of VPP's side that take their time.

use super::lab::Lab;
use crate::engine::takeover::tests::survey;
use crate::engine::*;

const CLIENT: ClientId = ClientId(2000);

/// One whose interface is being made, and goes on being made.
fn making() -> Lab {
    let mut lab = Lab::new();
    lab.kernel.survey = Some(Ok(survey(None, &[])));
    lab.vpp.slow.insert(VppStep::Uplink);
    let request = UplinkRequest {
        linux_if: "enp1s0".parse().unwrap(),
        driver: DriverChoice::Auto,
        no_iommu: false,
        enable: EnableRequest::default(),
    };
    lab.call(|manager, hands| manager.take(hands, &request, "", Some(CLIENT)));
    lab.pump();
    assert!(lab.under_way("applying"));
    lab
}

impl Lab {
    fn resume(&mut self) {
        self.call(Manager::resume);
        self.pump();
    }

    /// Whether the slow step is that far, and the client still waits.
    fn under_way(&self, state: &str) -> bool {
        let view = self.manager.view(&self.vpp, &self.kernel, None);
        let step = view.uplinks[0].steps.iter().find(|step| step.name == "vpp-uplink").unwrap().state;
        step == state && self.manager.serves(CLIENT)
    }

    fn news(&mut self) {
        self.vpp.ready = true;
        self.resume();
        self.vpp.ready = false;
    }
}

#[test]
fn the_plan_waits_for_it_and_goes_on() {
    let mut lab = making();
    // News of another's is none of its.
    lab.resume();
    assert!(lab.under_way("applying"));
    lab.news();
    assert!(lab.answer(CLIENT).unwrap().contains("made51 is enabled"));
    lab.check();
    lab.call(|manager, hands| manager.release(hands, &"enp1s0".parse().unwrap(), CLIENT));
    lab.pump();
    assert!(lab.under_way("undoing"));
    lab.news();
    assert!(lab.answer(CLIENT).unwrap().contains("is home again"));
    lab.assert_clean();
}

#[test]
fn a_failure_comes_late_as_well_and_is_undone() {
    let mut lab = making();
    lab.vpp.fail_apply.insert(VppStep::Uplink);
    lab.news();
    let told = lab.answer(CLIENT).unwrap_err();
    assert!(told.contains("vpp-uplink") && told.contains("everything was undone"), "{told}");
    lab.assert_clean();
}

#[test]
fn the_helpers_death_is_not_its_own() {
    let mut lab = making();
    let died = lab.kernel.die(false);
    lab.report(died);
    assert!(lab.under_way("applying"));
    lab.news();
    assert!(lab.answer(CLIENT).unwrap().contains("made51 is enabled"));
}

#[test]
fn a_panic_in_it_is_a_failure_with_its_undoing() {
    let mut lab = making();
    lab.vpp.panic_apply.insert(VppStep::Uplink);
    // It may be in place, so it is undone.
    lab.news();
    assert!(lab.answer(CLIENT).unwrap_err().contains("panic"));
    lab.assert_clean();
}

#[test]
fn at_vpps_exit_nothing_takes_time() {
    // While it is made, and while it is taken away.
    for away in [false, true] {
        let mut lab = making();
        if away {
            lab.news();
            assert!(lab.answer(CLIENT).is_ok());
            lab.call(|manager, hands| manager.release(hands, &"enp1s0".parse().unwrap(), CLIENT));
            lab.pump();
            assert!(lab.under_way("undoing"));
        }
        lab.vpp.ready = true;
        lab.call(Manager::shutdown);
        lab.pump();
        assert!(lab.manager.is_idle());
        lab.assert_clean();
    }
}
