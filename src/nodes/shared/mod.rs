//! What the nodes share.

pub(super) mod tap_output;
pub(super) mod taps;
pub(super) mod wire;
