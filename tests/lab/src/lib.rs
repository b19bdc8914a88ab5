//! A lab of network namespaces around a VPP of its own.
//!
//! It links no VPP: it starts one, as a user would, and looks at it from the
//! outside, through its command line socket and through real packets.
//!
//! ```text
//!   peer ---+
//!           |  br0            eth0          pod0
//!   gw -----+------ (wire) ------- vpp ----------- pod
//!  (bridge and router)              |
//!                                  host  (the plugin's device)
//! ```
//!
//! | module | what is there |
//! |---|---|
//! | [`time`] | deadlines, scaled for slow machines |
//! | [`netns`] | namespaces: make, enter, sweep |
//! | [`process`] | children that never outlive us |
//! | [`cleanup`] | what is undone whatever happens |
//! | [`cli`] | VPP's command line socket |
//! | [`vpp`] | a VPP process and its configuration |
//! | [`topology`] | the lab itself |
//! | [`machine`] | a lab whose host has a NIC that VPP takes |
//! | [`linux_view`] | what a host's programs see, field by field |
//! | [`session`] | a TCP session that goes on while things happen |
//! | [`dump`] | everything that can be seen, for comparing |
//! | [`traffic`] | ping, TCP, UDP by the kernel's own sockets |
//! | [`wire`] | raw frames: capture, injection, building |
//! | [`counters`] | the kernel's own counters |
//! | [`api`] | VPP's binary API, for reading by the million |
//! | [`rtnl`] | the kernel's routes by the million |
//! | [`reference`] | what VPP must have for what the kernel has |
//! | [`daemons`] | FRR and BIRD |
//! | [`programs`] | programs of a distribution, each machine with its own /run |
//! | [`table`] | a full table's worth of routes |
//! | [`checks`] | several findings of one test |

pub mod api;
pub mod checks;
pub mod cleanup;
pub mod cli;
pub mod counters;
pub mod daemons;
pub mod dump;
pub mod frames;
pub mod linux_view;
pub mod machine;
pub mod netns;
pub mod process;
pub mod programs;
pub mod reference;
pub mod rtnl;
pub mod session;
pub mod table;
pub mod time;
pub mod topology;
pub mod traffic;
pub mod vpp;
pub mod wire;
