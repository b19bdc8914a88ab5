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
    /// Write down what Linux has on the interface, before it is taken.
    Journal,
    /// Take the device from Linux: into the parking namespace, or off its
    /// kernel driver. Undone: home again, with everything that it had.
    Take,
    /// Move it into the host's namespace under its final name, IPv6 address
    /// generation off, link still down.
    Move,
    /// Set the link up.
    LinkUp,
    /// Add the addresses.
    Addresses,
    /// Add the uplink's routes.
    Routes,
    /// Give it what was captured from the taken device: addresses, routes,
    /// rules, neighbours, settings.
    Configuration,
    /// Add the routes to the cluster's CIDRs.
    ClusterRoutes,
    /// Read everything back from the kernel and compare.
    Verify,
    /// Write down that the takeover is whole: what the tap carries is the
    /// truth from here on. Undone: write down what it carries.
    Commit,
    /// Listen to the kernel, and keep both sides the same from here on. Undone:
    /// no longer, and nothing of it is left in VPP.
    Mirror,
}

/// A step on VPP's side, done on VPP's main thread under the barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VppStep {
    /// Make VPP's interface on the taken device, with its addresses and routes.
    Uplink,
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

/// Where an uplink and its configuration come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The interface is VPP's, and so is its configuration.
    Vpp,
    /// The interface is VPP's; its configuration is what Linux had.
    Captured,
    /// Both are taken from Linux.
    Taken,
    /// A VLAN that the host has made on the device of another uplink.
    Child,
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
const ORDER: [Step; 27] = [
    Step::Linux(L::Namespaces),
    Step::Linux(L::TunDevice),
    Step::Vpp(V::Tap),
    Step::Linux(L::Dress),
    Step::Vpp(V::Mtu),
    // The tap is all but there when the device goes away, and the journal is
    // on disk: from here until the tap is up the host has no network.
    Step::Linux(L::Journal),
    Step::Linux(L::Take),
    Step::Vpp(V::Uplink),
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
    Step::Linux(L::Configuration),
    Step::Linux(L::ClusterRoutes),
    Step::Linux(L::Verify),
    // What both sides have is whole before changes of it are followed. Before
    // the redirects: on the way back nothing of the helper's is waited for until
    // they are gone.
    Step::Linux(L::Mirror),
    Step::Vpp(V::PuntUnknown),
    Step::Vpp(V::Redirect4),
    Step::Vpp(V::Redirect6),
    Step::Vpp(V::TapUp),
    Step::Vpp(V::Verify),
    Step::Linux(L::Commit),
];

impl Step {
    /// The steps of a plan with this backend, in order.
    pub fn all(backend: Backend, origin: Origin) -> impl Iterator<Item = Self> {
        ORDER.into_iter().filter(move |step| match step {
            // The device is there, with what the host has given it.
            Self::Linux(step) if origin == Origin::Child => *step == L::Mirror,
            Self::Linux(L::TunDevice) => backend == Backend::Builtin,
            Self::Linux(L::Take) => origin == Origin::Taken,
            Self::Linux(L::Journal | L::Configuration | L::Commit) | Self::Vpp(V::Uplink) => origin != Origin::Vpp,
            Self::Linux(L::Addresses | L::Routes) => origin == Origin::Vpp,
            _ => true,
        })
    }

    /// Every step of any plan, in order.
    pub fn every() -> impl Iterator<Item = Self> {
        ORDER.into_iter()
    }

    /// The step's name, as shown and as the fault injection takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linux(L::Namespaces) => "linux-namespaces",
            Self::Linux(L::TunDevice) => "linux-tun-device",
            Self::Linux(L::Dress) => "linux-dress",
            Self::Linux(L::Journal) => "linux-journal",
            Self::Linux(L::Take) => "linux-take",
            Self::Linux(L::Move) => "linux-move",
            Self::Linux(L::LinkUp) => "linux-link-up",
            Self::Linux(L::Addresses) => "linux-addresses",
            Self::Linux(L::Routes) => "linux-routes",
            Self::Linux(L::ClusterRoutes) => "linux-cluster-routes",
            Self::Linux(L::Configuration) => "linux-configuration",
            Self::Linux(L::Verify) => "linux-verify",
            Self::Linux(L::Commit) => "linux-commit",
            Self::Linux(L::Mirror) => "linux-mirror",
            Self::Vpp(V::Uplink) => "vpp-uplink",
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
        let order: Vec<Step> = Step::all(Backend::Builtin, Origin::Vpp).collect();
        let at = |step: Step| order.iter().position(|s| *s == step);
        assert!(at(Step::Vpp(V::TapUp)) > at(Step::Vpp(V::Redirect6)));
        assert!(at(Step::Vpp(V::Redirect4)) > at(Step::Linux(L::Verify)));
        assert!(at(Step::Vpp(V::Tables)) < at(Step::Vpp(V::Unnumbered)));
        assert_eq!(Step::all(Backend::Vhost, Origin::Vpp).count(), order.len() - 1);
    }

    #[test]
    fn nothing_is_taken_before_it_is_written_down_and_nothing_shown_on_the_way_is_the_truth() {
        let order: Vec<Step> = Step::all(Backend::Builtin, Origin::Taken).collect();
        let at = |step: Step| order.iter().position(|s| *s == step);
        assert!(at(Step::Linux(L::Journal)) < at(Step::Linux(L::Take)));
        assert!(at(Step::Linux(L::Take)) < at(Step::Vpp(V::Uplink)));
        assert!(at(Step::Vpp(V::Uplink)) < at(Step::Vpp(V::Unnumbered)));
        assert!(at(Step::Linux(L::Take)) < at(Step::Linux(L::Move)));
        assert_eq!(order.last(), Some(&Step::Linux(L::Commit)));
    }
}
