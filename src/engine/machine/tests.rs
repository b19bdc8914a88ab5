//! The machine against a table of its transitions that was written from the
//! description, and against random histories.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first surprise")]

use proptest::prelude::*;

use super::*;
use crate::engine::{LinuxStep, VppStep};
use crate::model::Backend;

const A: Step = Step::Linux(LinuxStep::Namespaces);
const B: Step = Step::Vpp(VppStep::Tap);
const TOOK: Duration = Duration::from_micros(7);

fn failed() -> Result<(), String> {
    Err("no".to_owned())
}

fn text() -> String {
    "gone".to_owned()
}

/// The phases a two-step machine can be in, with what is under way.
#[derive(Clone, Copy, Debug)]
enum At {
    ApplyA,
    ApplyB,
    Enabled,
    /// On the way back after a disable; A is in place below.
    UndoB,
    UndoA,
    /// Undo of B failed, A is undone.
    StuckB,
    /// The retry of that.
    RetryB,
    Undone,
}

#[derive(Clone, Copy, Debug)]
enum Ev {
    Ok,
    Err,
    Lost,
    Disable,
    Abandon,
    Retry,
}

fn bring(at: At) -> Machine {
    let mut m = Machine::new([A, B]);
    let ok = |m: &mut Machine| m.done(TOOK, Ok(()));
    if matches!(at, At::ApplyA) {
        return m;
    }
    ok(&mut m);
    if matches!(at, At::ApplyB) {
        return m;
    }
    ok(&mut m);
    if matches!(at, At::Enabled) {
        return m;
    }
    m.disable();
    if matches!(at, At::UndoB) {
        return m;
    }
    if matches!(at, At::StuckB | At::RetryB) {
        m.done(TOOK, failed());
        ok(&mut m);
        if matches!(at, At::RetryB) {
            m.retry();
        }
        return m;
    }
    ok(&mut m);
    if matches!(at, At::UndoA) {
        return m;
    }
    ok(&mut m);
    m
}

fn send(m: &mut Machine, event: Ev) {
    match event {
        Ev::Ok => m.done(TOOK, Ok(())),
        Ev::Err => m.done(TOOK, failed()),
        Ev::Lost => m.lost(TOOK, text()),
        Ev::Disable => m.disable(),
        Ev::Abandon => m.abandon(text()),
        Ev::Retry => m.retry(),
    }
}

#[test]
fn the_transition_table() {
    use Action::{Apply, Finished, Idle, Undo};
    use Phase as P;
    // In the order of the events above.
    type Row = (At, [(Phase, Action); 6]);
    let table: [Row; 8] = [
        (
            At::ApplyA,
            [
                (P::Applying, Apply(B)),
                (P::Undone, Finished),
                (P::Undoing, Undo(A)),
                (P::Undoing, Undo(A)),
                (P::Undoing, Undo(A)),
                (P::Applying, Apply(A)),
            ],
        ),
        (
            At::ApplyB,
            [
                (P::Enabled, Idle),
                (P::Undoing, Undo(A)),
                (P::Undoing, Undo(B)),
                (P::Undoing, Undo(B)),
                (P::Undoing, Undo(B)),
                (P::Applying, Apply(B)),
            ],
        ),
        (
            At::Enabled,
            [
                (P::Enabled, Idle),
                (P::Enabled, Idle),
                (P::Enabled, Idle),
                (P::Undoing, Undo(B)),
                (P::Undoing, Undo(B)),
                (P::Enabled, Idle),
            ],
        ),
        (
            At::UndoB,
            [
                (P::Undoing, Undo(A)),
                (P::Undoing, Undo(A)),
                (P::Undoing, Undo(A)),
                (P::Undoing, Undo(B)),
                (P::Undoing, Undo(B)),
                (P::Undoing, Undo(B)),
            ],
        ),
        (
            At::UndoA,
            [
                (P::Undone, Finished),
                (P::Stuck, Idle),
                (P::Stuck, Idle),
                (P::Undoing, Undo(A)),
                (P::Undoing, Undo(A)),
                (P::Undoing, Undo(A)),
            ],
        ),
        (
            At::StuckB,
            [
                (P::Stuck, Idle),
                (P::Stuck, Idle),
                (P::Stuck, Idle),
                (P::Undoing, Undo(B)),
                (P::Stuck, Idle),
                (P::Undoing, Undo(B)),
            ],
        ),
        (
            At::RetryB,
            [
                (P::Undone, Finished),
                (P::Stuck, Idle),
                (P::Stuck, Idle),
                (P::Undoing, Undo(B)),
                (P::Undoing, Undo(B)),
                (P::Undoing, Undo(B)),
            ],
        ),
        (At::Undone, [(P::Undone, Finished); 6]),
    ];
    let events = [Ev::Ok, Ev::Err, Ev::Lost, Ev::Disable, Ev::Abandon, Ev::Retry];
    for (at, row) in table {
        for (event, want) in events.into_iter().zip(row) {
            let mut m = bring(at);
            send(&mut m, event);
            assert_eq!((m.phase(), m.action()), want, "{at:?} on {event:?}");
        }
    }
}

#[test]
fn a_failure_is_told_with_its_step_and_kept_in_its_record() {
    let mut m = bring(At::ApplyB);
    m.done(TOOK, Err("no buffers".to_owned()));
    assert_eq!(m.failure(), Some("step vpp-tap failed: no buffers"));
    let record =
        StepRecord { step: B, state: StepState::Failed, took: Some(TOOK), error: Some("no buffers".to_owned()) };
    assert_eq!(m.records().last(), Some(&record));
    m.abandon(text());
    m.done(TOOK, Ok(()));
    assert_eq!(m.failure(), Some("step vpp-tap failed: no buffers"), "the first cause counts");
}

#[test]
fn an_abandoned_plan_tells_the_cause_and_a_disabled_one_has_none() {
    let mut m = bring(At::Enabled);
    m.abandon(text());
    assert_eq!(m.failure(), Some("gone"));
    assert_eq!(bring(At::Undone).failure(), None);
}

#[test]
fn a_failed_undo_is_listed_until_its_retry_succeeds() {
    let mut m = bring(At::StuckB);
    let names: Vec<Step> = m.undo_failures().map(|record| record.step).collect();
    assert_eq!(names, [B]);
    assert_eq!(m.state_of(B).map(StepState::name), Some("undo-failed"));
    m.retry();
    m.done(TOOK, Ok(()));
    assert_eq!(m.undo_failures().count(), 0);
    assert_eq!(m.state_of(B), Some(StepState::Undone));
}

#[test]
fn a_plan_without_steps_is_enabled_and_undone_at_once() {
    let mut m = Machine::new([]);
    assert_eq!((m.phase(), m.action()), (Phase::Enabled, Action::Idle));
    m.disable();
    assert_eq!((m.phase(), m.action()), (Phase::Undone, Action::Finished));
}

/// How the way forward ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Err,
    Lost,
    Disable,
    Abandon,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Err), Just(End::Lost), Just(End::Disable), Just(End::Abandon)]
}

/// Run the undo that is under way; which undos fail is drawn from `fails`,
/// one after the other. What was undone well and what was not, in order.
fn undo_pass(m: &mut Machine, fails: &mut impl Iterator<Item = bool>) -> (Vec<Step>, Vec<Step>) {
    let (mut well, mut badly) = (Vec::new(), Vec::new());
    while let Action::Undo(step) = m.action() {
        if fails.next().unwrap_or(false) {
            badly.push(step);
            m.done(TOOK, failed());
        } else {
            well.push(step);
            m.done(TOOK, Ok(()));
        }
    }
    (well, badly)
}

proptest! {
    #[test]
    fn whatever_fails_every_step_in_place_is_undone_once_and_backwards(
        good in 0_usize..22,
        end in end(),
        fails in proptest::collection::vec(any::<bool>(), 0..60),
    ) {
        let steps: Vec<Step> = Step::all(Backend::Builtin, crate::engine::Origin::Vpp).collect();
        let good = good.min(steps.len());
        let mut m = Machine::new(steps.iter().copied());
        for step in &steps[..good] {
            prop_assert_eq!(m.action(), Action::Apply(*step));
            m.done(TOOK, Ok(()));
        }
        let whole = good == steps.len();
        prop_assert_eq!(m.phase() == Phase::Enabled, whole);
        let expected_len = match end {
            // There is no step left that could fail.
            End::Err | End::Lost if whole => { m.disable(); good }
            End::Err => { m.done(TOOK, failed()); good }
            End::Lost => { m.lost(TOOK, text()); good + 1 }
            End::Disable => { m.disable(); (good + 1).min(steps.len()) }
            End::Abandon => { m.abandon(text()); (good + 1).min(steps.len()) }
        };
        let mut owed: Vec<Step> = steps[..expected_len].iter().rev().copied().collect();
        let mut fails = fails.into_iter();
        loop {
            let mut peek = Vec::new();
            let mut recorded = fails.by_ref().inspect(|fail| peek.push(*fail));
            let (well, badly) = undo_pass(&mut m, &mut recorded);
            // The pass took every owed step, in the owed order.
            let mut met: Vec<Step> = Vec::new();
            let (mut w, mut b) = (well.iter(), badly.iter());
            for index in 0..owed.len() {
                let fail = peek.get(index).copied().unwrap_or(false);
                met.extend(if fail { b.next() } else { w.next() });
            }
            prop_assert_eq!(&met, &owed);
            prop_assert_eq!(well.len() + badly.len(), owed.len());
            for step in well {
                prop_assert_eq!(m.state_of(step), Some(StepState::Undone));
            }
            owed = badly;
            if owed.is_empty() {
                break;
            }
            prop_assert_eq!((m.phase(), m.action()), (Phase::Stuck, Action::Idle));
            m.retry();
        }
        prop_assert_eq!((m.phase(), m.action()), (Phase::Undone, Action::Finished));
        prop_assert!(!m.records().iter().any(|record| record.state.may_be_in_place()));
    }
}
