//! The uplink's two sides but for routes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::netns::Netns;

/// One side of the uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSide {
    /// Without link-local ones of IPv6.
    pub addresses: BTreeSet<(IpAddr, u8)>,
    /// Those of IPv6; VPP has room for one.
    pub link_local: BTreeSet<IpAddr>,
    /// In bytes.
    pub mtu: u32,
    /// The MAC.
    pub mac: String,
    /// Set up by the administrator.
    pub up: bool,
    /// Permanent neighbours.
    pub neighbours: BTreeMap<IpAddr, String>,
}

pub(super) fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

pub(super) fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The host's device.
pub fn link(netns: &Netns, device: &str) -> Result<LinkSide> {
    let addr: Value = serde_json::from_str(&netns.output("ip", &["-j", "-d", "addr", "show", "dev", device])?)?;
    let shown = addr.get(0).context("no device is shown")?;
    let has = |word: &str| shown["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == word));
    let mut side = LinkSide {
        mtu: u32::try_from(shown["mtu"].as_u64().context("no MTU")?)?,
        mac: shown["address"].as_str().context("no MAC")?.to_owned(),
        up: has("UP"),
        ..LinkSide::default()
    };
    for one in shown["addr_info"].as_array().into_iter().flatten() {
        let addr: IpAddr = one["local"].as_str().context("no address")?.parse()?;
        let len = u8::try_from(one["prefixlen"].as_u64().context("no length")?)?;
        if one["tentative"] == true || one["dadfailed"] == true {
            continue;
        }
        if is_link_local(addr) {
            side.link_local.insert(addr);
        } else {
            side.addresses.insert((addr, len));
        }
    }
    let neighbours: Value = serde_json::from_str(&netns.output("ip", &["-j", "neigh", "show", "dev", device])?)?;
    for one in neighbours.as_array().into_iter().flatten() {
        let permanent = one["state"].as_array().is_some_and(|state| state.iter().any(|word| word == "PERMANENT"));
        if let (true, Some(addr), Some(mac)) = (permanent, one["dst"].as_str(), one["lladdr"].as_str()) {
            side.neighbours.insert(addr.parse()?, mac.to_owned());
        }
    }
    Ok(side)
}

/// VPP refuses an address within another's prefix unless its length is the
/// same: such a one has the wider prefix's length there.
fn as_vpp_holds(addresses: &BTreeSet<(IpAddr, u8)>) -> BTreeSet<(IpAddr, u8)> {
    let within = |addr: IpAddr, of: (IpAddr, u8)| match (addr, of.0) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u32::from(a) ^ u32::from(b)).checked_shr(32 - u32::from(of.1)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (u128::from(a) ^ u128::from(b)).checked_shr(128 - u32::from(of.1)).unwrap_or(0) == 0
        }
        _ => false,
    };
    let widest = |(addr, len): (IpAddr, u8)| {
        let around = addresses.iter().filter(|other| within(addr, **other)).map(|other| other.1);
        (addr, around.min().unwrap_or(len))
    };
    addresses.iter().copied().map(widest).collect()
}

/// Every difference between the host's device and VPP's uplink.
pub fn link_differences(linux: &LinkSide, vpp: &LinkSide) -> Option<String> {
    let linux = &LinkSide { addresses: as_vpp_holds(&linux.addresses), ..linux.clone() };
    let mut told = String::new();
    let mut tell = |what: &str, linux: &dyn std::fmt::Debug, vpp: &dyn std::fmt::Debug| {
        // Writing to a String cannot fail.
        let _ = writeln!(told, "  {what}: Linux has {linux:?}, VPP {vpp:?}");
    };
    if linux.addresses != vpp.addresses {
        let only = |a: &LinkSide, b: &LinkSide| a.addresses.difference(&b.addresses).copied().collect::<Vec<_>>();
        tell("addresses, alone", &only(linux, vpp), &only(vpp, linux));
    }
    // VPP keeps its own where Linux has none: IPv6 needs one.
    if !linux.link_local.is_empty() && vpp.link_local.is_disjoint(&linux.link_local) {
        tell("link-local", &linux.link_local, &vpp.link_local);
    }
    if linux.mtu != vpp.mtu {
        tell("MTU", &linux.mtu, &vpp.mtu);
    }
    if linux.mac != vpp.mac {
        tell("MAC", &linux.mac, &vpp.mac);
    }
    if linux.up != vpp.up {
        tell("up", &linux.up, &vpp.up);
    }
    if linux.neighbours != vpp.neighbours {
        tell("permanent neighbours", &linux.neighbours, &vpp.neighbours);
    }
    (!told.is_empty()).then_some(told)
}
