//! The plan: everything that enabling an uplink will do, decided before the
//! first change.

use std::fmt;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::mirror::{Child, MirrorOptions, PodsWay};
use super::{LinuxFacts, Origin, Step, Takeover};
use crate::model::{
    Backend, HostConfig, HostDevice, IfName, MacAddr, Netns, NextHop, Prefix, Route, RouteKind, VlanTag,
};

#[cfg(test)]
mod tests;

/// Smallest MTU of a host's device, in bytes (ETH_MIN_MTU, linux/if_ether.h).
pub const MTU_MIN: u32 = 68;
/// Largest MTU of a host's device, in bytes: a TAP device's limit less the
/// Ethernet header (drivers/net/tun.c).
pub const MTU_MAX: u32 = 65_521;
/// IPv6 does not run below this MTU (RFC 8200, section 5).
const IP6_MTU_MIN: u32 = 1280;
/// What encapsulation takes of a pod's packet, in bytes; the published
/// design's constant.
const CLUSTER_OVERHEAD: u32 = 60;

/// Names an uplink between the engine, the helper and VPP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UplinkId(pub u32);

/// Which backend the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TapChoice {
    /// vhost where it can be had, else builtin.
    #[default]
    Auto,
    /// VPP's tap plugin.
    Vhost,
    /// Our own driver.
    Builtin,
}

/// `hostnet enable`, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnableRequest {
    /// VPP's index of the uplink (`sw_if_index`).
    pub sw_if_index: u32,
    /// Name of the host's device.
    pub host_if: Option<IfName>,
    /// Its namespace.
    pub host_netns: Netns,
    /// The backend.
    pub tap: TapChoice,
    /// MTU of the host's device, in bytes.
    pub mtu: Option<u32>,
    /// The service and pod CIDRs.
    pub cluster_cidrs: Vec<Prefix>,
    /// MTU of the routes to them, in bytes.
    pub cluster_mtu: Option<u32>,
    /// Refuse what the host sends with another's source.
    pub source_check: bool,
    /// Say what would be done; change nothing.
    pub dry_run: bool,
}

/// VPP's index of no interface (`~0`).
pub const NO_SW_IF_INDEX: u32 = u32::MAX;

/// What VPP says of an uplink. Read on the main thread, changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UplinkFacts {
    /// VPP's index of it.
    pub sw_if_index: u32,
    /// VPP's name of it.
    pub name: String,
    /// The Linux device that VPP's interface stands on, where its name says
    /// so (`host-eth0` stands on `eth0`).
    pub linux_name: Option<IfName>,
    /// Its MAC.
    pub mac: MacAddr,
    /// Its MTU, in bytes of the IP packet.
    pub mtu: u32,
    /// The FIB table ids of IPv4 and IPv6.
    pub tables: (u32, u32),
    /// Its addresses and the routes through it.
    pub config: HostConfig,
    /// The source of each of the routes, by VPP's name of it.
    pub route_sources: Vec<String>,
    /// Whether VPP's tap plugin is loaded.
    pub tap_plugin: bool,
    /// Whether our uplinks before this one leave the default redirect to us.
    pub default_punt: bool,
    /// Every reason on VPP's side for which it cannot be enabled.
    pub refusals: Vec<String>,
    /// Those that a configuration captured from Linux mends.
    pub unready: Vec<String>,
}

/// Every reason for which a plan was refused; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals(pub Vec<String>);

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, reason) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            f.write_str(reason)?;
        }
        Ok(())
    }
}

/// Everything that enabling an uplink will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name between the rooms.
    pub id: UplinkId,
    /// VPP's index of the uplink; [`NO_SW_IF_INDEX`] before a takeover has
    /// made the interface.
    pub uplink: u32,
    /// VPP's name of the uplink.
    pub uplink_name: String,
    /// The FIB table ids of IPv4 and IPv6.
    pub tables: (u32, u32),
    /// The host's device.
    pub device: HostDevice,
    /// How it is joined to VPP.
    pub backend: Backend,
    /// Why that backend.
    pub backend_reason: String,
    /// The device's addresses and routes.
    pub config: HostConfig,
    /// The routes to the cluster's CIDRs.
    pub cluster_routes: Vec<Route>,
    /// How the host reaches what else is in VPP.
    pub pods: PodsWay,
    /// The punt redirect is the default one (`rx all`); otherwise only that
    /// of the uplink itself.
    pub default_punt: bool,
    /// What the host sends with another's source is refused.
    pub source_check: bool,
    /// The uplink is taken from Linux first.
    pub takeover: Option<Arc<Takeover>>,
    /// How both sides are kept the same.
    pub mirror: MirrorOptions,
    /// It is a VLAN on another uplink's device.
    pub child: Option<ChildOf>,
}

/// What the plan of a VLAN knows of the uplink below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildOf {
    /// The uplink below.
    pub parent: UplinkId,
    /// VPP's index of it.
    pub uplink: u32,
    /// VPP's name of it.
    pub uplink_name: String,
    /// The kernel's index of the VLAN's device.
    pub index: u32,
    /// The VLAN.
    pub tag: VlanTag,
    /// The device was set up when it was found.
    pub up: bool,
}

impl Plan {
    /// The next hop of the IPv4 punt redirect: of the published design, never
    /// on a wire.
    pub const PUNT_NEXT_HOP4: Ipv4Addr = Ipv4Addr::new(169, 254, 0, 1);
    /// The next hop of the IPv6 punt redirect, likewise.
    pub const PUNT_NEXT_HOP6: Ipv6Addr = Ipv6Addr::new(0xfc00, 0xffff, 0xffff, 0xffff, 0xca11, 0xc000, 0xfd10, 0xfffe);

    /// The name of the host's device that a request leads to.
    pub fn device_name(request: &EnableRequest, facts: &UplinkFacts) -> Option<IfName> {
        request.host_if.clone().or_else(|| facts.linux_name.clone())
    }

    /// Decide everything, or name every reason against it.
    pub fn build(
        id: UplinkId,
        request: &EnableRequest,
        facts: &UplinkFacts,
        linux: &LinuxFacts,
    ) -> Result<Self, Refusals> {
        let mut refusals: Vec<String> = Vec::new();
        refusals.extend(facts.refusals.iter().cloned());
        refusals.extend(facts.unready.iter().cloned());
        refusals.extend(linux.refusals.iter().cloned());

        let name = Self::device_name(request, facts);
        if name.is_none() {
            refusals.push(format!(
                "interface {} does not tell the name of the host's device: add 'host-if <name>'",
                facts.name
            ));
        }
        let mtu = request.mtu.unwrap_or(facts.mtu);
        if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
            refusals.push(format!("MTU {mtu} of {} is out of range {MTU_MIN} to {MTU_MAX}: add 'mtu <n>'", facts.name));
        }
        let has_ip6 = facts.config.addresses.iter().any(|a| a.addr().is_ipv6());
        if has_ip6 && (MTU_MIN..IP6_MTU_MIN).contains(&mtu) {
            refusals.push(format!(
                "mtu {mtu} is too small for IPv6, which {} has addresses of: at least {IP6_MTU_MIN}",
                facts.name
            ));
        }
        let (backend, backend_reason) = match choose_backend(request.tap, facts, linux) {
            Ok(choice) => choice,
            Err(reason) => {
                refusals.push(reason);
                (Backend::Vhost, String::new())
            }
        };
        // Encapsulation costs on the uplink, whatever the device's own MTU is.
        let cluster_mtu = request.cluster_mtu.unwrap_or_else(|| facts.mtu.saturating_sub(CLUSTER_OVERHEAD).min(mtu));
        if request.cluster_mtu.is_some_and(|n| n > mtu) {
            refusals.push(format!("cluster-mtu {cluster_mtu} exceeds the device's MTU {mtu}"));
        }
        let mut cluster_routes = Vec::new();
        for cidr in &request.cluster_cidrs {
            if !cidr.is_ipv4() && cluster_mtu < IP6_MTU_MIN {
                refusals.push(format!(
                    "cluster-mtu {cluster_mtu} is too small for IPv6 cluster-cidr {cidr}: at least {IP6_MTU_MIN}"
                ));
            }
            match cluster_route(*cidr, cluster_mtu, &facts.config) {
                Ok(route) => cluster_routes.push(route),
                Err(reason) => refusals.push(reason),
            }
        }
        let Some(name) = name.filter(|_| refusals.is_empty()) else {
            return Err(Refusals(refusals));
        };
        let staging_name = staging_name(id);
        let device = HostDevice { name, staging_name, netns: request.host_netns.clone(), mac: facts.mac, mtu };
        Ok(Self {
            id,
            uplink: facts.sw_if_index,
            uplink_name: facts.name.clone(),
            tables: facts.tables,
            device,
            backend,
            backend_reason,
            config: facts.config.clone(),
            cluster_routes,
            pods: PodsWay {
                gateways: [true, false].map(|is_ipv4| cluster_hop(is_ipv4, &facts.config)?.gateway),
                mtu: cluster_mtu,
            },
            default_punt: facts.default_punt,
            source_check: request.source_check,
            takeover: None,
            mirror: MirrorOptions::default(),
            child: None,
        })
    }

    /// Of a VLAN that the host has on the device of this uplink.
    pub(super) fn of_child(id: UplinkId, parent: &Self, child: &Child) -> Self {
        Self {
            id,
            uplink: NO_SW_IF_INDEX,
            uplink_name: format!("{}.{}", parent.uplink_name, child.tag.id),
            tables: parent.tables,
            device: HostDevice {
                name: child.name.clone(),
                staging_name: child.name.clone(),
                netns: parent.device.netns.clone(),
                mac: child.mac,
                mtu: child.mtu,
            },
            backend: parent.backend,
            backend_reason: format!("{} on {}", child.tag, parent.device.name),
            // What it has, the mirror finds.
            config: HostConfig::default(),
            cluster_routes: Vec::new(),
            pods: PodsWay::default(),
            default_punt: false,
            // Its frames cross the tap below, which does it.
            source_check: false,
            takeover: None,
            // Both are for all of the host, and the uplink below does them.
            mirror: MirrorOptions { to_host: false, export: Vec::new(), ..parent.mirror.clone() },
            child: Some(ChildOf {
                parent: parent.id,
                uplink: parent.uplink,
                uplink_name: parent.uplink_name.clone(),
                index: child.index,
                tag: child.tag,
                up: child.up,
            }),
        }
    }

    /// Whether it is of a VLAN on the device of this uplink.
    pub(super) fn is_child_of(&self, parent: UplinkId) -> bool {
        self.child.as_ref().is_some_and(|child| child.parent == parent)
    }

    /// Mirror like that. Routes of sources that are exported live are the
    /// mirror's from the beginning on.
    pub(super) fn follow(&mut self, options: &MirrorOptions, facts: &UplinkFacts) {
        self.mirror = options.clone();
        if self.takeover.is_none() {
            let sources = facts.route_sources.iter().map(Some).chain(std::iter::repeat(None));
            let stays = |(_, source): &(&Route, Option<&String>)| source.is_none_or(|it| !options.export.contains(it));
            self.config.routes =
                facts.config.routes.iter().zip(sources).filter(stays).map(|(it, _)| it.clone()).collect();
        }
    }

    /// Where the uplink and its configuration come from.
    pub fn origin(&self) -> Origin {
        match &self.takeover {
            None if self.child.is_some() => Origin::Child,
            None => Origin::Vpp,
            Some(takeover) if takeover.driver.is_none() => Origin::Captured,
            Some(_) => Origin::Taken,
        }
    }

    /// The steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = Step> + use<> {
        Step::all(self.backend, self.origin())
    }

    /// The plan as text: VPP's side and Linux's, a line each thing.
    pub fn describe(&self) -> String {
        let mut out = String::new();
        let d = &self.device;
        let rx = if self.default_punt { "rx all" } else { self.uplink_name.as_str() };
        // Writing to a String cannot fail.
        if let Some(takeover) = &self.takeover {
            takeover.describe(&mut out);
        }
        let _ = writeln!(out, "VPP:");
        if self.takeover.is_some() {
            let _ = writeln!(out, "  uplink {} MAC {} with the addresses and routes below", self.uplink_name, d.mac);
        }
        let _ = writeln!(out, "  tap to {} ({}: {})", d.name, self.backend, self.backend_reason);
        let _ = writeln!(out, "  tap MTU {}, tables ip4 {} ip6 {}", d.mtu, self.tables.0, self.tables.1);
        let _ = writeln!(out, "  tap unnumbered, use {}", self.uplink_name);
        let _ = writeln!(out, "  tap IPv6 on, no router advertisements");
        let _ = writeln!(out, "  tap features hostnet-arp, hostnet-nd, hostnet-from-host");
        let _ = writeln!(out, "  tap neighbours {} and {} at {}", Self::PUNT_NEXT_HOP4, Self::PUNT_NEXT_HOP6, d.mac);
        let _ = writeln!(out, "  punt unknown TCP and UDP, IPv4 and IPv6");
        let _ = writeln!(out, "  ip punt redirect {rx} via {} tap", Self::PUNT_NEXT_HOP4);
        let _ = writeln!(out, "  ip6 punt redirect {rx} via {} tap", Self::PUNT_NEXT_HOP6);
        let _ = writeln!(out, "  tap up");
        let _ = writeln!(out, "Linux, namespace {}:", d.netns);
        let _ = writeln!(out, "  device {} MAC {} MTU {}", d.name, d.mac, d.mtu);
        for address in &self.config.addresses {
            let _ = writeln!(out, "  address {address}");
        }
        for route in self.config.routes.iter().chain(&self.cluster_routes) {
            let _ = writeln!(out, "  route {route}");
        }
        out
    }
}

fn choose_backend(choice: TapChoice, facts: &UplinkFacts, linux: &LinuxFacts) -> Result<(Backend, String), String> {
    let vhost_missing = match (&linux.vhost_missing, facts.tap_plugin) {
        (None, true) => None,
        (Some(reason), true) => Some(reason.clone()),
        (None, false) => Some("VPP's tap plugin is not loaded".to_owned()),
        (Some(reason), false) => Some(format!("{reason} and VPP's tap plugin is not loaded")),
    };
    match (choice, vhost_missing) {
        (TapChoice::Auto, None) => Ok((Backend::Vhost, "/dev/vhost-net opens and the tap plugin is loaded".to_owned())),
        (TapChoice::Auto, Some(reason)) => Ok((Backend::Builtin, reason)),
        (TapChoice::Vhost, None) => Ok((Backend::Vhost, "asked for".to_owned())),
        (TapChoice::Vhost, Some(reason)) => {
            Err(format!("tap vhost is not possible: {reason}; load vhost_net and tap_plugin.so, or use 'tap builtin'"))
        }
        (TapChoice::Builtin, _) => Ok((Backend::Builtin, "asked for".to_owned())),
    }
}

fn staging_name(id: UplinkId) -> IfName {
    // Alone in its staging namespace; the number helps whoever looks there.
    let text = format!("hostnet{}", id.0 % 10_000_000);
    #[allow(clippy::expect_used, reason = "at most 14 bytes, letters and digits only")]
    let name = text.parse().expect("a valid device name");
    name
}

/// A route to a cluster's CIDR.
fn cluster_route(cidr: Prefix, mtu: u32, config: &HostConfig) -> Result<Route, String> {
    if let Some(route) = config.routes.iter().find(|route| route.prefix == cidr) {
        return Err(format!("cluster-cidr {cidr} is a route of the uplink already ({route})"));
    }
    let hop = cluster_hop(cidr.is_ipv4(), config).ok_or_else(|| {
        format!(
            "no next hop for cluster-cidr {cidr}: the uplink has neither a default gateway nor a subnet of that family"
        )
    })?;
    Ok(Route { prefix: cidr, kind: RouteKind::Unicast, next_hops: [hop].into_iter().collect(), mtu: Some(mtu) })
}

/// The way into VPP: through the default gateway or, without one, through a
/// neighbour in a subnet of the uplink.
fn cluster_hop(is_ipv4: bool, config: &HostConfig) -> Option<NextHop> {
    let same_family = |addr: &IpAddr| addr.is_ipv4() == is_ipv4;
    let default_hop = config
        .routes
        .iter()
        .filter(|route| route.prefix.is_default() && route.prefix.is_ipv4() == is_ipv4)
        .flat_map(|route| route.next_hops.iter())
        .find(|hop| hop.gateway.is_some());
    if let Some(hop) = default_hop {
        return Some(NextHop { gateway: hop.gateway, weight: 1, onlink: hop.onlink });
    }
    let own: Vec<IpAddr> = config.addresses.iter().map(super::super::model::IfAddress::addr).collect();
    let neighbour = config
        .addresses
        .iter()
        .filter(|address| !address.is_link_local6() && same_family(&address.addr()))
        .find_map(|address| address.prefix().first_host_except(&own));
    neighbour.map(|gateway| NextHop { gateway: Some(gateway), weight: 1, onlink: false })
}
