//! What crosses between the engine and the helper thread.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::mirror::{Batch, BatchDone, Child, MirrorView, UplinkState, VppRoutes};
use super::{ClientId, Identity, JournalView, Kept, LinuxStep, Plan, Startup, Survey, UplinkId, UplinkRequest};
use crate::model::{IfName, Netns};

/// Work for the helper thread.
#[derive(Debug, Clone)]
pub enum Command {
    /// Look, change nothing: would the host's device be possible?
    Probe {
        /// Whom the answer is for.
        uplink: UplinkId,
        /// The namespace asked for.
        netns: Netns,
        /// The device's name, where the user gives it.
        name: Option<IfName>,
        /// What the uplink is known by: a configuration may be kept for it.
        identity: Identity,
        /// Where journals are.
        journal: PathBuf,
    },
    /// Read the journals.
    Journals {
        /// Whom the answer is for.
        client: ClientId,
        /// Where they are.
        journal: PathBuf,
    },
    /// Look at an interface that is to be taken, change nothing.
    Survey {
        /// Whom the answer is for.
        uplink: UplinkId,
        /// What is to be taken, and how.
        request: UplinkRequest,
        /// Where journals and parked devices go.
        startup: Arc<Startup>,
    },
    /// Carry out a step of the plan.
    Apply {
        /// The plan; the step's data is in it.
        plan: Arc<Plan>,
        /// Which step.
        step: LinuxStep,
    },
    /// Take a step back.
    Undo {
        /// The plan that the step was of.
        plan: Arc<Plan>,
        /// Which step.
        step: LinuxStep,
    },
    /// What became of a batch of the mirror's.
    BatchDone(Box<BatchDone>),
    /// VPP's uplink has changed.
    Changed {
        /// Which.
        uplink: UplinkId,
        /// The number of the last batch that VPP had carried out before.
        after: u64,
        /// As it is now.
        state: Box<UplinkState>,
    },
    /// The host has joined or left groups.
    Groups,
    /// Routes of VPP's other sources have changed.
    Exported(Box<VppRoutes>),
    /// Compare what the kernel and VPP have, and mend it.
    Audit {
        /// Whom the answer is for.
        client: ClientId,
        /// Which.
        uplink: UplinkId,
    },
    /// Tell of the mirrors.
    Mirrors {
        /// Whom the answer is for.
        client: ClientId,
        /// Of one uplink; of all with `None`.
        only: Option<UplinkId>,
    },
    /// Bring a card home that was taken for VPP's dpdk plugin in vain.
    GiveUp {
        /// What asked for it.
        request: Box<UplinkRequest>,
        /// Where its journal is.
        startup: Arc<Startup>,
    },
    /// Forget an uplink: close what is held for it.
    Forget {
        /// Which.
        uplink: UplinkId,
    },
    /// End the thread.
    Stop,
    /// Panic, in a test build.
    #[cfg(feature = "faults")]
    Panic,
}

/// What Linux says to a probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinuxFacts {
    /// Every reason for which the host's device cannot be made.
    pub refusals: Vec<String>,
    /// Why `/dev/vhost-net` cannot be used; `None` when it can.
    pub vhost_missing: Option<String>,
    /// What Linux had on the uplink, kept at VPP's start.
    pub kept: Option<Kept>,
}

/// What a step brings forth for the other side.
#[derive(Debug)]
pub enum Output {
    /// Nothing.
    None,
    /// The staging namespace, as a path that VPP's process can open.
    Staging(PathBuf),
    /// Our TAP device's file, non-blocking, with a virtio-net header before
    /// each frame (`IFF_VNET_HDR`, 12 bytes).
    Tun(OwnedFd),
    /// The namespace that a taken netdev is parked in, open.
    Parked(OwnedFd),
    /// Batches of the mirror's come from here on.
    Mirror,
}

/// An answer of the helper thread.
#[derive(Debug)]
pub enum Report {
    /// To [`Command::Probe`].
    Probed {
        /// Whom it is for.
        uplink: UplinkId,
        /// What was found.
        facts: LinuxFacts,
    },
    /// To [`Command::Journals`].
    Journals {
        /// Whom it is for.
        client: ClientId,
        /// What was found.
        found: Result<Vec<JournalView>, String>,
    },
    /// To [`Command::Survey`].
    Surveyed {
        /// Whom it is for.
        uplink: UplinkId,
        /// What was found, or why nothing could be.
        found: Result<Box<Survey>, String>,
    },
    /// To [`Command::Apply`].
    Applied {
        /// Whom it is for.
        uplink: UplinkId,
        /// Which step.
        step: LinuxStep,
        /// What came of it; the error names what was attempted and the cause.
        result: Result<Output, String>,
    },
    /// To [`Command::Undo`].
    Undone {
        /// Whom it is for.
        uplink: UplinkId,
        /// Which step.
        step: LinuxStep,
        /// What came of it.
        result: Result<(), String>,
    },
    /// Work of the mirror's for VPP.
    Batch(Box<Batch>),
    /// The VLANs that the host has on an uplink's device have changed, or have to
    /// be looked at again: all of them.
    Children {
        /// Whose.
        uplink: UplinkId,
        /// Each.
        children: Vec<Child>,
    },
    /// To [`Command::Audit`]: how many differences were found and mended.
    Audited {
        /// Whom it is for.
        client: ClientId,
        /// What was found.
        found: Result<u64, String>,
    },
    /// To [`Command::Mirrors`].
    Mirrors {
        /// Whom it is for.
        client: ClientId,
        /// Each.
        found: Vec<MirrorView>,
    },
    /// The helper thread has ended, and why. Always its last word.
    Died(String),
}

/// Why a command did not reach the helper thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The thread has ended.
    #[error("the helper thread has ended")]
    Dead,
    /// Its queue is full.
    #[error("the helper thread's queue is full")]
    Full,
}
