//! The words of the trade: addresses, routes, links, the host's device. Pure.

mod address;
mod captured;
pub mod fragment;
pub mod frame;
mod groups;
mod host;
mod ifname;
mod mac;
mod netns;
pub mod police;
mod route;
mod vlan;

pub use address::{IfAddress, Prefix, PrefixError, host_len};
pub use captured::{Captured, CapturedLink, PciDevice, RawMessage};
pub use groups::Groups;
pub use host::{Backend, HostConfig, HostDevice};
pub use ifname::{IFNAME_MAX, IfName, IfNameError};
pub use mac::{MacAddr, MacError};
pub use netns::{Netns, NetnsError};
pub use route::{NextHop, ROUTE_PROTOCOL, Route, RouteKind};
pub use vlan::VlanTag;
