//! Word of groups that the host has joined or left, from the workers to VPP's
//! main thread.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::vpp::node::Context;
use crate::vpp::process::signal_from_node;

/// There is news that the main thread has not taken.
static NEWS: AtomicBool = AtomicBool::new(false);

/// The host told its link of groups. However often it does, the main thread is
/// called once until it has taken note.
pub(crate) fn tell(ctx: &Context<'_>) {
    if !NEWS.swap(true, Ordering::AcqRel) {
        signal_from_node(ctx);
    }
}

/// Whether there is news. As long as it is not taken, no worker calls.
pub fn has_membership_news() -> bool {
    NEWS.load(Ordering::Acquire)
}

/// Take note of it: what comes from here on is news again.
pub fn take_membership_news() {
    NEWS.store(false, Ordering::Release);
}
