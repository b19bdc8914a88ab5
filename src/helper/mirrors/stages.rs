//! How far a mirror is with what takes more than one piece of work.

use std::collections::VecDeque;

use crate::engine::ClientId;
use crate::engine::mirror::{CheckCursor, Families};
use crate::linux::DumpKind;

/// The kernel is read anew.
#[derive(Debug)]
pub(super) struct Resync {
    pub(super) families: Families,
    pub(super) kinds: VecDeque<DumpKind>,
    /// The first of `kinds` is being read.
    pub(super) running: bool,
    /// The dumps are over; what came meanwhile is heard before the sweep.
    pub(super) read: bool,
    /// An IPv6 route went meanwhile: its dump proves nothing.
    pub(super) undermined: bool,
    pub(super) repeats: u32,
}

/// Both sides are compared.
#[derive(Debug)]
pub(super) struct Audit {
    pub(super) clients: Vec<ClientId>,
    pub(super) cursor: CheckCursor,
    pub(super) stage: Stage,
    /// Differences known before.
    pub(super) before: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The kernel is to be read first.
    Kernel,
    /// Batches of checks go out.
    Checking,
    /// What they found is mended.
    Mending,
}
