//! VPP made safe: the only room of `src` with `unsafe`.
//!
//! What may be called where is in the types. [`Main`] exists only while C has
//! called us on VPP's main thread; [`Barrier`] only while all workers stand
//! still; a [`node::Frame`] only inside a graph node. Every entry from C
//! passes [`guard`], so no panic leaves Rust.

#![allow(unsafe_code, reason = "the fence: see the table of rooms in tests/architecture")]

mod cell;
pub mod changes;
pub mod cli;
pub mod driver;
pub mod feature;
pub mod fib;
mod guard;
pub mod interface;
pub mod log;
mod main_thread;
pub mod namespace;
pub mod neighbor;
pub mod node;
pub mod process;
pub mod protocol;
pub mod punt;
pub mod registration;
pub mod route;
pub mod route_ours;
pub mod sources;
pub mod sub;
pub mod tap_plugin;
pub mod uplink;

pub use cell::{BarrierCell, MainCell, WorkerCell};
pub use guard::guard;
pub use main_thread::{Barrier, Main, Pauses};

/// VPP's "no interface" (`~0`); as a punt redirect's receive interface: any.
pub const NO_INTERFACE: u32 = u32::MAX;
