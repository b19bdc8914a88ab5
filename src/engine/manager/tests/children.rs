//! VLANs on an uplink's device: they come and go with it.

use super::lab::Lab;
use crate::engine::mirror::Child;
use crate::engine::*;
use crate::model::{MacAddr, VlanTag};

const PARENT: UplinkId = UplinkId(1);

fn child(index: u32, name: &str, id: u16) -> Child {
    let tag = VlanTag { id, is_ad: false };
    Child { index, name: name.parse().unwrap(), tag, mtu: 1500, mac: MacAddr([2, 0, 0, 0, 0, 1]), up: true }
}

fn enabled() -> Lab {
    let mut lab = Lab::new();
    lab.enable(1).unwrap();
    lab
}

fn tell(lab: &mut Lab, children: &[Child]) {
    lab.report(Report::Children { uplink: PARENT, children: children.to_vec() });
    lab.pump();
}

/// Names of device and VLAN, and states, of all but the first uplink.
fn shown(lab: &Lab) -> Vec<String> {
    let view = lab.manager.view(&lab.vpp, &lab.kernel, None);
    let children = view.uplinks.iter().filter(|uplink| uplink.vlan.is_some());
    children.map(|it| format!("{} {} {}", it.host_if, it.vlan.as_deref().unwrap_or(""), it.state)).collect()
}

#[test]
fn they_come_are_renamed_and_go() {
    let mut lab = enabled();
    tell(&mut lab, &[child(9, "eth0.7", 7), child(10, "eth0.8", 8)]);
    assert_eq!(shown(&lab), ["eth0.7 802.1Q 7 enabled", "eth0.8 802.1Q 8 enabled"]);
    lab.check();
    assert_eq!(lab.vpp.default, Some(PARENT));
    // Told again, and under another name.
    tell(&mut lab, &[child(9, "storage", 7), child(10, "eth0.8", 8)]);
    assert_eq!(shown(&lab), ["storage 802.1Q 7 enabled", "eth0.8 802.1Q 8 enabled"]);
    assert_eq!(lab.undone(), [], "a name is no reason to begin anew");
    // Another VLAN under the same index.
    tell(&mut lab, &[child(9, "eth0.70", 70)]);
    assert_eq!(shown(&lab), ["eth0.70 802.1Q 70 enabled"]);
    tell(&mut lab, &[]);
    assert_eq!(shown(&lab), Vec::<String>::new());
    lab.check();
    lab.disable(1).unwrap();
    lab.assert_clean();
}

#[test]
fn they_are_undone_before_the_uplink_below() {
    let mut lab = enabled();
    tell(&mut lab, &[child(9, "eth0.7", 7)]);
    let id = UplinkId(2);
    assert!(!lab.in_place(id).is_empty());
    let client = lab.stop(1);
    while !lab.in_place(id).is_empty() {
        assert!(lab.undone().iter().zip(lab.vpp.world.undone.borrow().iter()).all(|(_, (of, _))| *of == id));
        lab.work();
    }
    lab.pump();
    lab.answer(client).unwrap();
    lab.assert_clean();
    assert_eq!(shown(&lab), Vec::<String>::new());
}

#[test]
fn one_that_fails_is_shown_and_begun_anew_when_told_again() {
    let mut lab = enabled();
    lab.vpp.fail_apply.insert(VppStep::Unnumbered);
    tell(&mut lab, &[child(9, "eth0.7", 7)]);
    assert_eq!(shown(&lab), ["eth0.7 802.1Q 7 failed"]);
    lab.check();
    lab.vpp.fail_apply.clear();
    tell(&mut lab, &[child(9, "eth0.7", 7)]);
    assert_eq!(shown(&lab), ["eth0.7 802.1Q 7 enabled"]);
    lab.disable(1).unwrap();
    lab.assert_clean();
}

#[test]
fn one_that_cannot_be_undone_keeps_nobody_waiting() {
    let mut lab = enabled();
    tell(&mut lab, &[child(9, "eth0.7", 7)]);
    lab.order_may_break();
    lab.vpp.fail_undo.insert(VppStep::Features);
    let client = lab.stop(1);
    lab.pump();
    assert!(lab.answer(client).is_err(), "the uplink below has features too");
    lab.vpp.fail_undo.clear();
    lab.tick();
    lab.tick();
    lab.assert_clean();
}

#[test]
fn nobody_disables_one_by_hand() {
    let mut lab = enabled();
    tell(&mut lab, &[child(9, "eth0.7", 7)]);
    let index = lab.manager.view(&lab.vpp, &lab.kernel, None).uplinks[1].sw_if_index;
    let error = lab.disable(index).unwrap_err();
    assert!(error.contains("delete eth0.7 in Linux, or disable host-eth0"), "{error}");
    assert_eq!(shown(&lab), ["eth0.7 802.1Q 7 enabled"]);
}

#[test]
fn nothing_comes_of_one_while_the_uplink_is_not_enabled_or_vpp_exits() {
    let mut lab = Lab::new();
    let client = lab.start(Lab::request(1));
    lab.work();
    lab.report(Report::Children { uplink: PARENT, children: vec![child(9, "eth0.7", 7)] });
    assert_eq!(shown(&lab), Vec::<String>::new());
    lab.pump();
    lab.answer(client).unwrap();
    assert_eq!(shown(&lab), ["eth0.7 802.1Q 7 enabled"], "it is not forgotten");
    lab.call(Manager::shutdown);
    lab.pump();
    assert!(lab.manager.is_idle());
    lab.assert_clean();
}
