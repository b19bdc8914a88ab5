//! What the nodes share.

pub(super) mod firsts;
pub(super) mod frame;
pub(super) mod hops;
pub(super) mod memberships;
pub(super) mod own_error;
pub(super) mod police;
pub(super) mod tap_output;
pub(super) mod taps;
pub(super) mod wire;
