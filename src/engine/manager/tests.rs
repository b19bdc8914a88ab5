//! The manager against fakes of VPP and of the helper thread.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends at the first surprise")]

mod children;
mod enable;
mod fake;
mod lab;
mod losses;
mod slow;
mod taken;
mod two;
mod walk;
