//! The truth of an uplink: what is to be done (plan), how far it is
//! (machine), who asked for it (manager), and what is kept of it for the case
//! that all dies (journal). Pure: no clock, no I/O, no VPP.
#![forbid(unsafe_code)]

mod driver;
#[cfg(feature = "faults")]
pub mod faults;
pub mod journal;
mod machine;
mod manager;
pub mod mirror;
mod ops;
mod plan;
mod step;
mod takeover;
mod view;

/// Bounds of the policer's rates, for `cli-defs`.
pub use crate::model::police::{RATE_MAX, RATE_MIN};
pub use driver::{Driver, DriverChoice, Prospects, Way};
pub use machine::{Action, Machine, Phase, StepRecord, StepState};
pub use manager::{Answer, ClientId, Dataplane, Done, Hands, Kernel, Manager, RenderJournals, RenderMirrors, TapView};
pub use ops::{Command, LinuxFacts, Output, Report, SubmitError};
pub use plan::{
    ChildOf, EnableRequest, MTU_MAX, MTU_MIN, NO_SW_IF_INDEX, Plan, Refusals, TapChoice, UplinkFacts, UplinkId,
};
pub use step::{LinuxStep, Origin, Step, VppStep};
pub use takeover::{
    Expected, GUARD, Identity, JOURNAL_DIR, Kept, PARKING_NETNS, Recovery, Startup, Survey, Takeover, UplinkRequest,
};
pub use view::{HelperView, JournalView, NotTakenView, PanicsView, StepView, TakeoverView, UplinkView, View};
