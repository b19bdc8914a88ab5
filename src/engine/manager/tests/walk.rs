//! A random walk over everything that can happen, in any order.

use proptest::prelude::*;

use super::lab::Lab;
use crate::engine::*;

#[derive(Clone, Copy, Debug)]
enum Op {
    Enable { index: u32, dry_run: bool },
    Disable(u32),
    Cancel(u64),
    Work,
    Pump,
    Tick,
    Die { carried_out: bool },
    DeleteUplink(u32),
    DeleteTap(u32),
    Refuse(Option<SubmitError>),
    Fail { step: Step, forward: bool },
    Panic { step: VppStep, forward: bool },
    Takeover { fails: bool, panics: bool },
    Heal,
}

fn step() -> impl Strategy<Value = Step> {
    let steps: Vec<Step> = Step::all(crate::model::Backend::Vhost, Origin::Vpp).collect();
    proptest::sample::select(steps)
}

fn op() -> impl Strategy<Value = Op> {
    let vpp = step().prop_filter_map("VPP's", |step| match step {
        Step::Vpp(step) => Some(step),
        Step::Linux(_) => None,
    });
    let index = 1_u32..4;
    prop_oneof![
        6 => (index.clone(), proptest::bool::weighted(0.1)).prop_map(|(index, dry_run)| Op::Enable { index, dry_run }),
        4 => index.clone().prop_map(Op::Disable),
        1 => (1_u64..20).prop_map(Op::Cancel),
        12 => Just(Op::Work),
        8 => Just(Op::Pump),
        3 => Just(Op::Tick),
        1 => any::<bool>().prop_map(|carried_out| Op::Die { carried_out }),
        1 => index.prop_map(Op::DeleteUplink),
        1 => (101_u32..106).prop_map(Op::DeleteTap),
        1 => prop_oneof![Just(Some(SubmitError::Full)), Just(Some(SubmitError::Dead)), Just(None)].prop_map(Op::Refuse),
        2 => (step(), any::<bool>()).prop_map(|(step, forward)| Op::Fail { step, forward }),
        1 => (vpp, any::<bool>()).prop_map(|(step, forward)| Op::Panic { step, forward }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(fails, panics)| Op::Takeover { fails, panics }),
        3 => Just(Op::Heal),
    ]
}

fn heal(lab: &mut Lab) {
    lab.kernel.refuse = None;
    lab.kernel.fail_apply.clear();
    lab.kernel.fail_undo.clear();
    lab.vpp.fail_apply.clear();
    lab.vpp.fail_undo.clear();
    lab.vpp.panic_apply.clear();
    lab.vpp.panic_undo.clear();
    lab.vpp.fail_takeover = false;
    lab.vpp.panic_takeover = false;
}

fn perform(lab: &mut Lab, op: Op, asked: &mut Vec<ClientId>) {
    match op {
        Op::Enable { index, dry_run } => {
            // Index 3 has no Linux name of its own.
            let host_if = "lan0".parse().ok().filter(|_| index == 3);
            asked.push(lab.start(EnableRequest { host_if, dry_run, ..Lab::request(index) }));
        }
        Op::Disable(index) => asked.push(lab.stop(index)),
        Op::Cancel(n) => {
            lab.manager.cancel(ClientId(n));
            asked.retain(|client| client.0 != n);
        }
        Op::Work => lab.work(),
        Op::Pump => lab.pump(),
        Op::Tick => drop(lab.call(Manager::tick)),
        Op::Die { carried_out } => {
            let died = lab.kernel.die(carried_out);
            lab.report(died);
        }
        Op::DeleteUplink(index) | Op::DeleteTap(index) => {
            lab.call(|manager, hands| manager.interface_deleted(hands, index));
        }
        Op::Refuse(error) => lab.kernel.refuse = error,
        Op::Fail { step: Step::Linux(step), forward: true } => drop(lab.kernel.fail_apply.insert(step)),
        Op::Fail { step: Step::Linux(step), forward: false } => drop(lab.kernel.fail_undo.insert(step)),
        Op::Fail { step: Step::Vpp(step), forward: true } => drop(lab.vpp.fail_apply.insert(step)),
        Op::Fail { step: Step::Vpp(step), forward: false } => drop(lab.vpp.fail_undo.insert(step)),
        Op::Panic { step, forward: true } => drop(lab.vpp.panic_apply.insert(step)),
        Op::Panic { step, forward: false } => drop(lab.vpp.panic_undo.insert(step)),
        Op::Takeover { fails, panics } => {
            lab.vpp.fail_takeover = fails;
            lab.vpp.panic_takeover = panics;
        }
        Op::Heal => heal(lab),
    }
}

/// Everybody who asked and did not go away is answered, once.
fn collect(lab: &mut Lab, asked: &mut Vec<ClientId>) {
    while let Some((client, _)) = lab.manager.completed() {
        let at = asked.iter().position(|waiting| *waiting == client);
        asked.remove(at.expect("an answer that somebody waits for, once"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_left_behind_and_nobody_without_an_answer(ops in proptest::collection::vec(op(), 0..120)) {
        let mut lab = Lab::new();
        lab.order_may_break();
        let mut asked = Vec::new();
        for op in ops {
            perform(&mut lab, op, &mut asked);
            collect(&mut lab, &mut asked);
            lab.check();
        }
        heal(&mut lab);
        lab.pump();
        lab.tick();
        collect(&mut lab, &mut asked);
        prop_assert!(asked.is_empty(), "{asked:?}");
        prop_assert!(lab.manager.is_idle() && !lab.manager.wants_tick());
        lab.check();
        lab.call(Manager::shutdown);
        lab.pump();
        lab.assert_clean();
        prop_assert!(lab.manager.view(&lab.vpp, &lab.kernel, None).uplinks.is_empty());
    }

    /// As long as no undo fails, the fakes also object to every wrong order.
    #[test]
    fn the_order_of_undo_holds_as_long_as_no_undo_fails(ops in proptest::collection::vec(op(), 0..120)) {
        let mut lab = Lab::new();
        let mut asked = Vec::new();
        for op in ops {
            let spoils_undo = match op {
                Op::Fail { forward, .. } | Op::Panic { forward, .. } => !forward,
                Op::Refuse(_) | Op::Die { .. } => true,
                _ => false,
            };
            if !spoils_undo {
                perform(&mut lab, op, &mut asked);
                lab.check();
            }
        }
    }
}
