//! How far an uplink's plan is: a state machine that does nothing itself. It
//! names the next action and is told what came of it.

use std::time::Duration;

use super::Step;

#[cfg(test)]
mod tests;

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Being applied.
    Applying,
    /// In place.
    Done,
    /// Not in place: applying it failed, and it cleaned up after itself.
    Failed,
    /// Being undone.
    Undoing,
    /// Taken back.
    Undone,
    /// Perhaps still in place: undoing it failed.
    UndoFailed,
}

impl StepState {
    /// The state as `show hostnet` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Applying => "applying",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::UndoFailed => "undo-failed",
        }
    }

    /// Whether something of the step may be there, so that it has to be undone.
    pub fn may_be_in_place(self) -> bool {
        match self {
            Self::Applying | Self::Done | Self::Undoing | Self::UndoFailed => true,
            Self::Waiting | Self::Failed | Self::Undone => false,
        }
    }
}

/// What is known of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// Which step.
    pub step: Step,
    /// How far it is.
    pub state: StepState,
    /// How long its last run, apply or undo, took.
    pub took: Option<Duration>,
    /// Its last error, of apply or undo.
    pub error: Option<String>,
}

/// Where the plan as a whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Steps are being applied.
    Applying,
    /// Every step is in place.
    Enabled,
    /// Steps are being undone.
    Undoing,
    /// Nothing is in place: after a failure, or after disable.
    Undone,
    /// Every step was undone but those whose undo failed; they wait for
    /// [`Machine::retry`].
    Stuck,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Apply this step, then say [`Machine::done`].
    Apply(Step),
    /// Undo this step, then say [`Machine::done`].
    Undo(Step),
    /// Nothing, until somebody asks: enabled or stuck.
    Idle,
    /// Nothing, ever: everything is undone.
    Finished,
}

/// The state machine of one uplink's plan.
///
/// ```text
///               done(Ok) of the last step
///   new ---> Applying ------------------> Enabled
///               |                            |
///               | done(Err), lost,           | disable, abandon
///               | disable, abandon           |
///               v                            |
///            Undoing <-----------------------+
///             |   |  ^
///  all undone |   |  | retry, disable
///             |   |  |
///             v   v  |
///        Undone  Stuck
///                  (a pass ended with failed undos)
/// ```
///
/// Undo goes backwards. A step that fails cleans up after itself, so undo
/// begins with the step before it. A step whose result nobody knows (the
/// helper thread died, VPP's side panicked, the uplink vanished meanwhile) may
/// be in place, so undo begins with that step; undos are idempotent.
/// An undo that fails stops nothing: the rest goes on, for every step left in
/// place is worse than an order broken once.
#[derive(Clone, Debug)]
pub struct Machine {
    records: Vec<StepRecord>,
    phase: Phase,
    /// The step under way; meaningful while applying or undoing.
    cursor: usize,
    failure: Option<String>,
}

#[derive(Debug)]
enum Event {
    Succeeded,
    Failed(String),
    Lost(String),
    Disable,
    Abandon(String),
    Retry,
}

impl Machine {
    /// A machine that is about to apply the first of these steps.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        let record = |step| StepRecord { step, state: StepState::Waiting, took: None, error: None };
        let records = steps.into_iter().map(record).collect();
        let mut machine = Self { records, phase: Phase::Applying, cursor: 0, failure: None };
        machine.apply_at(0);
        machine
    }

    /// What is to be done now. The same until [`Self::done`] or a request
    /// changes it.
    pub fn action(&self) -> Action {
        match (self.phase, self.records.get(self.cursor)) {
            (Phase::Applying, Some(record)) => Action::Apply(record.step),
            (Phase::Undoing, Some(record)) => Action::Undo(record.step),
            // The cursor is in range while applying or undoing.
            (Phase::Applying | Phase::Undoing, None) | (Phase::Enabled | Phase::Stuck, _) => Action::Idle,
            (Phase::Undone, _) => Action::Finished,
        }
    }

    /// The action under way has ended. Ignored when none is.
    pub fn done(&mut self, took: Duration, result: Result<(), String>) {
        let event = match result {
            Ok(()) => Event::Succeeded,
            Err(cause) => Event::Failed(cause),
        };
        self.ended(took, event);
    }

    /// The action under way has ended and nobody knows how: a step counts as
    /// applied and is undone, an undo counts as failed. Ignored when none is.
    pub fn lost(&mut self, took: Duration, cause: String) {
        self.ended(took, Event::Lost(cause));
    }

    /// Take everything back, as the user wishes.
    pub fn disable(&mut self) {
        self.turn(Event::Disable);
    }

    /// Take everything back, for this cause, which is then [`Self::failure`].
    /// A step under way may be in place and is undone too. Ignored when undo
    /// is under way or over.
    pub fn abandon(&mut self, cause: String) {
        self.turn(Event::Abandon(cause));
    }

    /// Try the failed undos again, in reverse order. Ignored unless stuck.
    pub fn retry(&mut self) {
        self.turn(Event::Retry);
    }

    /// Where the plan is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Each step, in the plan's order.
    pub fn records(&self) -> &[StepRecord] {
        &self.records
    }

    /// Why everything is, or was, undone; `None` unless something failed.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The steps whose undo failed, in the plan's order.
    pub fn undo_failures(&self) -> impl Iterator<Item = &StepRecord> {
        self.records.iter().filter(|record| record.state == StepState::UndoFailed)
    }

    /// How far a step is; `None` when the plan has no such step.
    pub fn state_of(&self, step: Step) -> Option<StepState> {
        self.records.iter().find(|record| record.step == step).map(|record| record.state)
    }

    fn ended(&mut self, took: Duration, event: Event) {
        if let (Phase::Applying | Phase::Undoing, Some(record)) = (self.phase, self.records.get_mut(self.cursor)) {
            record.took = Some(took);
        }
        self.turn(event);
    }

    /// The one transition function.
    fn turn(&mut self, event: Event) {
        match (self.phase, event) {
            (Phase::Applying, Event::Succeeded) => {
                self.mark(StepState::Done, None);
                self.apply_at(self.cursor + 1);
            }
            (Phase::Applying, Event::Failed(cause)) => {
                self.failure = Some(self.step_failed(&cause));
                self.mark(StepState::Failed, Some(cause));
                self.undo_below(self.cursor);
            }
            (Phase::Applying, Event::Lost(cause)) => {
                self.failure = Some(self.step_failed(&cause));
                self.mark(StepState::Applying, Some(cause));
                self.undo_below(self.cursor + 1);
            }
            (Phase::Applying, Event::Abandon(cause)) => {
                self.mark(StepState::Applying, Some(cause.clone()));
                self.failure = Some(cause);
                self.undo_below(self.cursor + 1);
            }
            (Phase::Enabled, Event::Abandon(cause)) => {
                self.failure = Some(cause);
                self.undo_below(self.records.len());
            }
            (Phase::Undoing, Event::Succeeded) => {
                self.mark(StepState::Undone, None);
                self.undo_below(self.cursor);
            }
            (Phase::Undoing, Event::Failed(cause) | Event::Lost(cause)) => {
                self.mark(StepState::UndoFailed, Some(cause));
                self.undo_below(self.cursor);
            }
            (Phase::Applying | Phase::Enabled, Event::Disable) | (Phase::Stuck, Event::Disable | Event::Retry) => {
                self.undo_below(self.records.len());
            }
            // A late result has no action to belong to; what is undone or on
            // its way there needs no second reason.
            (Phase::Applying, Event::Retry)
            | (Phase::Enabled, Event::Succeeded | Event::Failed(_) | Event::Lost(_) | Event::Retry)
            | (Phase::Undoing, Event::Disable | Event::Abandon(_) | Event::Retry)
            | (Phase::Stuck, Event::Succeeded | Event::Failed(_) | Event::Lost(_) | Event::Abandon(_))
            | (Phase::Undone, _) => {}
        }
    }

    fn step_failed(&self, cause: &str) -> String {
        let name = self.records.get(self.cursor).map_or("", |record| record.step.name());
        format!("step {name} failed: {cause}")
    }

    fn mark(&mut self, state: StepState, error: Option<String>) {
        if let Some(record) = self.records.get_mut(self.cursor) {
            record.state = state;
            record.error = error.or(record.error.take());
        }
    }

    fn apply_at(&mut self, index: usize) {
        self.cursor = index;
        if index < self.records.len() {
            self.mark(StepState::Applying, None);
            self.phase = Phase::Applying;
        } else {
            self.phase = Phase::Enabled;
        }
    }

    /// Go on with the highest step below `limit` that may be in place.
    fn undo_below(&mut self, limit: usize) {
        let next = self.records.iter().take(limit).rposition(|record| record.state.may_be_in_place());
        if let Some(index) = next {
            self.cursor = index;
            self.mark(StepState::Undoing, None);
            self.phase = Phase::Undoing;
        } else if self.undo_failures().next().is_some() {
            self.phase = Phase::Stuck;
        } else {
            self.phase = Phase::Undone;
        }
    }
}
