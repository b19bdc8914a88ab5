//! The steps of a plan. Their order is the order that is safe; the reasons
//! stand with each.

use std::fmt;

use crate::model::Backend;

/// A step on Linux's side, done by the helper thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinuxStep {
    /// Open the host's namespace and make the staging namespace.
    Namespaces,
    /// Make our own TAP device in the staging namespace (builtin backend).
    TunDevice,
    /// Give the device its MAC and MTU in the staging namespace, link down.
    Dress,
    /// Move it into the host's namespace under its final name, IPv6 address
    /// generation off, link still down.
    Move,
    /// Set the link up.
    LinkUp,
    /// Add the addresses.
    Addresses,
    /// Add the uplink's routes.
    Routes,
    /// Add the routes to the cluster's CIDRs.
    ClusterRoutes,
    /// Read everything back from the kernel and compare.
    Verify,
}

/// A step on VPP's side, done on VPP's main thread under the barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VppStep {
    /// Create the tap interface.
    Tap,
    /// Give the tap the uplink's MTU.
    Mtu,
    /// Bind the tap to the uplink's IPv4 and IPv6 tables.
    Tables,
    /// Make the tap unnumbered, a child of the uplink.
    Unnumbered,
    /// Enable IPv6 on the tap; send no router advertisements.
    Ip6,
    /// Enable our nodes on the tap: ARP, ND, and what comes from the host.
    Features,
    /// Static neighbours for the punt next hops.
    Neighbours,
    /// Punt TCP and UDP that VPP has no listener for.
    PuntUnknown,
    /// The IPv4 punt redirect.
    Redirect4,
    /// The IPv6 punt redirect.
    Redirect6,
    /// Set the tap up.
    TapUp,
    /// Read back what VPP has and compare.
    Verify,
}

/// A step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// On Linux's side.
    Linux(LinuxStep),
    /// On VPP's side.
    Vpp(VppStep),
}

use LinuxStep as L;
use VppStep as V;

/// Every step, in order. The tap is complete in the staging namespace before
/// it appears under its name; Linux's side is whole before VPP punts to it;
/// the tap is up in VPP last, so the host sends nothing through half a set-up.
const ORDER: [Step; 21] = [
    Step::Linux(L::Namespaces),
    Step::Linux(L::TunDevice),
    Step::Vpp(V::Tap),
    Step::Linux(L::Dress),
    Step::Vpp(V::Mtu),
    // A table change after addresses is refused by VPP: tables first.
    Step::Vpp(V::Tables),
    Step::Vpp(V::Unnumbered),
    Step::Vpp(V::Ip6),
    Step::Vpp(V::Features),
    Step::Vpp(V::Neighbours),
    Step::Linux(L::Move),
    // Up before addresses: IPv6 routes need the link up.
    Step::Linux(L::LinkUp),
    Step::Linux(L::Addresses),
    Step::Linux(L::Routes),
    Step::Linux(L::ClusterRoutes),
    Step::Linux(L::Verify),
    Step::Vpp(V::PuntUnknown),
    Step::Vpp(V::Redirect4),
    Step::Vpp(V::Redirect6),
    Step::Vpp(V::TapUp),
    Step::Vpp(V::Verify),
];

impl Step {
    /// The steps of a plan with this backend, in order.
    pub fn all(backend: Backend) -> impl Iterator<Item = Self> {
        ORDER.into_iter().filter(move |step| *step != Self::Linux(L::TunDevice) || backend == Backend::Builtin)
    }

    /// The step's name, as shown and as the fault injection takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux(L::Namespaces) => "linux-namespaces",
            Self::Linux(L::TunDevice) => "linux-tun-device",
            Self::Linux(L::Dress) => "linux-dress",
            Self::Linux(L::Move) => "linux-move",
            Self::Linux(L::LinkUp) => "linux-link-up",
            Self::Linux(L::Addresses) => "linux-addresses",
            Self::Linux(L::Routes) => "linux-routes",
            Self::Linux(L::ClusterRoutes) => "linux-cluster-routes",
            Self::Linux(L::Verify) => "linux-verify",
            Self::Vpp(V::Tap) => "vpp-tap",
            Self::Vpp(V::Mtu) => "vpp-mtu",
            Self::Vpp(V::Tables) => "vpp-tables",
            Self::Vpp(V::Unnumbered) => "vpp-unnumbered",
            Self::Vpp(V::Ip6) => "vpp-ip6",
            Self::Vpp(V::Features) => "vpp-features",
            Self::Vpp(V::Neighbours) => "vpp-neighbours",
            Self::Vpp(V::PuntUnknown) => "vpp-punt-unknown",
            Self::Vpp(V::Redirect4) => "vpp-redirect-ip4",
            Self::Vpp(V::Redirect6) => "vpp-redirect-ip6",
            Self::Vpp(V::TapUp) => "vpp-tap-up",
            Self::Vpp(V::Verify) => "vpp-verify",
        }
    }

    /// The step of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        ORDER.into_iter().find(|step| step.name() == name)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for step in ORDER {
            assert_eq!(Step::by_name(step.name()), Some(step));
        }
        assert_eq!(Step::by_name("nonsense"), None);
    }

    #[test]
    fn the_tap_is_up_in_vpp_after_everything_that_it_leads_to() {
        let order: Vec<Step> = Step::all(Backend::Builtin).collect();
        let at = |step: Step| order.iter().position(|s| *s == step);
        assert!(at(Step::Vpp(V::TapUp)) > at(Step::Vpp(V::Redirect6)));
        assert!(at(Step::Vpp(V::Redirect4)) > at(Step::Linux(L::Verify)));
        assert!(at(Step::Vpp(V::Tables)) < at(Step::Vpp(V::Unnumbered)));
        assert_eq!(Step::all(Backend::Vhost).count(), ORDER.len() - 1);
    }
}
