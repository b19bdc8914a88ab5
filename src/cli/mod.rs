//! The commands: grammar (data of `cli-defs`), parse, render; and the stanza
//! of startup.conf, over the same grammar. Pure; VPP calls in through the
//! `vpp` room with the rest of the line as text.

pub mod grammar;
mod parse;
mod render;
mod request;
mod startup;
mod words;

pub use parse::{Cause, ParseError, Resolve, parse, resolve_interface};
pub use render::{
    Layout, render, render_counters, render_journals, render_journals_json, render_mirrors, render_mirrors_json,
    render_police,
};
pub use request::Request;
#[cfg(feature = "faults")]
pub use request::{FaultMode, PanicPlace};
pub use startup::{StartupError, parse_startup};
pub use words::{from_words, to_words};
