//! The kernel: rtnetlink, network namespaces, TUN/TAP; and the journals on
//! disk. The only room that names a netlink crate.
//!
//! Everything here may block and changes the namespace of the calling thread
//! for a while, so it runs on the helper thread alone. `sys` holds the
//! ioctls that nix has no safe wrapper of, and is the only file of the room
//! with `unsafe`.
#![deny(unsafe_code)]

mod captured;
mod client;
mod error;
mod groups;
pub mod home;
mod host;
mod journal;
mod message;
mod monitor;
mod netns;
pub mod pci;
mod probe;
mod rtnl;
mod socket;
mod sys;
mod takeable;
mod tun;
mod usage;
mod verify;
mod wire;

pub use captured::{Dressing, capture, differences, host_config, restore, restore_first};
pub use client::Netlink;
pub use error::Error;
pub use host::Host;
pub use journal::{JournalDir, JournalEntry, JournalError, JournalLock, boot_id};
pub use monitor::{Dump, DumpKind, DumpProgress, Monitor, ReadOutcome};
pub use netns::{NetnsFile, NetnsGuard, is_astray};
pub use probe::probe;
pub use takeable::{ARPHRD_ETHER, Takeable, takeable};
pub use tun::{VNET_HDR_LEN, open as open_tun};
pub use usage::{Usage, usage};
pub use wire::{AddressFacts, LinkFacts, RouteFacts};
