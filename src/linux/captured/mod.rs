//! Everything that Linux has on an interface, read and given back.
//!
//! Addresses, routes, rules, next-hop objects and neighbours stay the bytes
//! that the kernel dumped, so that nothing is lost that we have no word for:
//! `message` walks over them, `view` reads what has to be understood, `clean`
//! makes requests of them again, and `normal` what two of them are compared
//! by.

mod capture;
mod clean;
mod differences;
mod host_config;
mod link;
mod lost;
mod normal;
mod plan;
mod present;
mod restore;
mod sysctl;
mod view;

use super::message;
pub use capture::capture;
pub(super) use capture::{fleeting, proxies};
pub use differences::differences;
pub use host_config::host_config;
pub(super) use lost::{Fleeting, keep_lost, tells_of_object};
pub use plan::Dressing;
pub use restore::{restore, restore_first};
