//! VPP's C headers in Rust: items bound by bindgen at build time from the
//! installed headers, and C shims (`shim/`) for what Rust cannot link: static
//! inlines, macros, variadic functions, process loops. No logic.
//!
//! Everything here is as unsafe as C; `src/vpp` of the plugin makes it safe.

// All allowances of generated code live on this one module.
#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used
)]
mod bindings {
    use super::*;
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use bindings::*;

/// Types of VPP that Rust only passes along: their fields are VPP's business
/// and differ between its versions.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug)]
        #[allow(non_camel_case_types)]
        pub struct $name {
            _opaque: [u8; 0],
        }
    )*};
}

opaque! {
    /// A thread's main structure (vlib/main.h).
    vlib_main_t;
    /// A node's runtime on one thread (vlib/node.h).
    vlib_node_runtime_t;
    /// A vector of packets on its way to a node (vlib/node.h).
    vlib_frame_t;
    /// A packet, or a part of one (vlib/buffer.h).
    vlib_buffer_t;
    /// A registered command (vlib/cli.h).
    vlib_cli_command_t;
    /// Input of a command (vppinfra/format.h).
    unformat_input_t;
    /// An error with its text (vppinfra/error_bootstrap.h).
    clib_error_t;
}
