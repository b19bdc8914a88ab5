//! The helper thread against the real kernel, driven through the bridge with
//! the builtin TAP device. Each test has a network namespace of its own.
//! Needs root.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::format_push_string,
    reason = "a test fails by panicking, and its code is read, not documented"
)]

mod captured;
mod child;
#[cfg(feature = "faults")]
mod faults;
mod guard;
mod journal;
mod kernel;
mod lab;
mod monitor;
mod pci;
mod refusals;
mod steps;
mod thread;
mod usage;
