//! The host's device and what it carries.

use std::fmt;

use serde::Serialize;

use super::{IfAddress, IfName, MacAddr, Netns, Route};

/// How VPP and the host's device are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// VPP's own tap plugin, over `/dev/vhost-net`.
    Vhost,
    /// Our own TAP driver, over `/dev/net/tun`.
    Builtin,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Vhost => "vhost",
            Self::Builtin => "builtin",
        })
    }
}

/// The host's device as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDevice {
    /// Its final name.
    pub name: IfName,
    /// Its name while it is dressed in the staging namespace.
    pub staging_name: IfName,
    /// The namespace it ends in.
    pub netns: Netns,
    /// Its MAC address: the uplink's own.
    pub mac: MacAddr,
    /// Its MTU, in bytes of the IP packet.
    pub mtu: u32,
}

/// The addresses and routes of a host's device: read from VPP's uplink, or
/// captured from Linux before the uplink was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostConfig {
    /// All addresses, IPv6 link-local included.
    pub addresses: Vec<IfAddress>,
    /// All routes through the device but those that the kernel makes from
    /// the addresses.
    pub routes: Vec<Route>,
}
