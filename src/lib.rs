//! hostnet gives the Linux host its network back through VPP.
//!
//! The rooms, from the words up. Who may know what is checked by
//! `tests/architecture`.
//!
//! | room | what lives there |
//! |---|---|
//! | [`model`] | the words: prefix, address, route, link, host device |
//! | [`engine`] | the truth: the plan of an uplink and the machine that carries it out |
//! | [`linux`] | the kernel: netlink, network namespaces, TUN/TAP |
//! | [`helper`] | the helper thread that does the Linux side |
//! | [`guard`] | `hostnet-guard`: brings interfaces home when VPP cannot |
//! | [`bridge`] | the one crossing between VPP's main thread and the helper |
//! | [`cli`] | the command grammar: parse, run, render |
//! | `vpp` | VPP made safe; the only room with `unsafe` |
//! | `dataplane` | the engine's hands in VPP |
//! | `nodes` | one graph node a file |
//! | `plugin` | wiring: init, process node, exit |

pub mod bridge;
pub mod cli;
pub mod engine;
pub mod guard;
pub mod helper;
pub mod linux;
pub mod model;

#[cfg(feature = "vpp")]
pub mod dataplane;
#[cfg(feature = "vpp")]
pub mod nodes;
#[cfg(feature = "vpp")]
pub mod plugin;
#[cfg(feature = "vpp")]
pub mod vpp;

/// VPP puts its own `malloc` in the place of libc's, for everybody in its
/// process (`vppinfra/mem_intercept.c`): what Rust allocates came out of VPP's
/// main heap. A mirror of a full table is not to fill that, where running out
/// ends VPP; and VPP's main thread is not to wait for the heap's lock, a
/// spinlock, while the helper thread that holds it is not running.
#[cfg(feature = "vpp")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
