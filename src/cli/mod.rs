//! The commands: grammar (data of `cli-defs`), parse, render. Pure; VPP calls
//! in through the `vpp` room with the rest of the line as text.

pub mod grammar;
mod parse;
mod render;

pub use parse::{Cause, ParseError, Request, Resolve, parse, resolve_interface};
#[cfg(feature = "faults")]
pub use parse::{FaultMode, PanicPlace};
pub use render::{Layout, render};
