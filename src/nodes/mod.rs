//! The graph nodes: one a file, the file named as the node. Only packets for
//! or from the host cross them, and ARP and ND: they are features of our own taps and
//! of the paths on which VPP punts and drops, and stand where it has no use for
//! a protocol.

mod hostnet_arp;
mod hostnet_arp_input;
mod hostnet_dropped;
mod hostnet_fragments;
mod hostnet_from_host;
mod hostnet_groups;
mod hostnet_hop_by_hop;
mod hostnet_l2_input;
mod hostnet_nd;
mod hostnet_nd_input;
mod hostnet_police;
mod hostnet_punt;
mod hostnet_source;
mod hostnet_tap_input;
mod hostnet_to_host;
mod hostnet_to_link;
mod shared;

pub use shared::memberships::{has_membership_news, take_membership_news};
pub use shared::police::{clear_counts, count_tap, counts, set_police};
pub use shared::tap_output::DRIVER;
pub use shared::taps::{
    Addresses, Tap, forget_tap, forget_uplink, set_elsewhere, set_groups, set_own, set_tap, tap_count,
};

use crate::vpp::feature::Feature;
use crate::vpp::node::Node;
use crate::vpp::protocol::Handlers;

/// Every node, for the registration.
pub static NODES: [&Node; 16] = [
    &hostnet_arp::NODE,
    &hostnet_nd::NODE,
    &hostnet_punt::NODE,
    &hostnet_from_host::NODE,
    &hostnet_tap_input::NODE,
    &hostnet_to_host::NODE,
    &hostnet_to_link::NODE,
    &hostnet_arp_input::NODE,
    &hostnet_nd_input::NODE,
    &hostnet_l2_input::NODE,
    &hostnet_hop_by_hop::NODE,
    &hostnet_groups::NODE,
    &hostnet_dropped::NODE,
    &hostnet_police::NODE,
    &hostnet_source::NODE,
    &hostnet_fragments::NODE,
];

/// The features of a tap; all are enabled together.
pub static FEATURES: [Feature; 5] = [
    Feature { arc: c"arp", node: c"hostnet-arp", runs_before: &[c"arp-reply"] },
    // ND before the common node: a solicitation never leaves by the FIB.
    Feature { arc: c"ip6-multicast", node: c"hostnet-nd", runs_before: &[c"ip6-mfib-forward-lookup"] },
    Feature { arc: c"ip6-unicast", node: c"hostnet-nd", runs_before: &[c"hostnet-from-host"] },
    Feature { arc: c"ip4-unicast", node: c"hostnet-from-host", runs_before: &[c"ip4-lookup"] },
    Feature { arc: c"ip6-unicast", node: c"hostnet-from-host", runs_before: &[c"ip6-lookup"] },
];

/// The ends of the host's device: the features of a tap that is no VLAN on
/// another's, which crosses that one's.
pub static DEVICE_FEATURES: [Feature; 2] = [
    Feature {
        arc: c"interface-output",
        node: c"hostnet-police",
        runs_before: &[c"span-output", c"interface-output-arc-end"],
    },
    Feature { arc: c"device-input", node: c"hostnet-source", runs_before: &[c"hostnet-to-link", c"ethernet-input"] },
];

/// The features of a tap that is no VLAN on another's: that one's see the
/// VLAN's frames. Where VPP's uplink is a VLAN itself there are none.
pub static FRAME_FEATURES: [Feature; 1] =
    [Feature { arc: c"device-input", node: c"hostnet-to-link", runs_before: &[c"ethernet-input"] }];

/// The features of an uplink whose frames go whole to its host.
pub static UPLINK_FEATURES: [Feature; 1] =
    [Feature { arc: c"error-drop", node: c"hostnet-dropped", runs_before: &[c"drop"] }];

/// The features of an uplink, by family, while its host listens to more groups
/// than every host does. Before the node that drops what comes by an interface
/// without an address.
pub static GROUP_FEATURES: [Feature; 2] = [
    Feature {
        arc: c"ip4-multicast",
        node: c"hostnet-groups",
        runs_before: &[c"ip4-not-enabled", c"ip4-mfib-forward-lookup"],
    },
    Feature {
        arc: c"ip6-multicast",
        node: c"hostnet-groups",
        runs_before: &[c"ip6-not-enabled", c"ip6-mfib-forward-lookup"],
    },
];

/// The features of the paths on which VPP punts and drops, while there is a
/// tap. The paths have no interface of their own: their features are those of
/// index 0.
pub static PATH_FEATURES: [Feature; 5] = [
    Feature { arc: c"ip4-punt", node: c"hostnet-punt", runs_before: &[c"ip4-punt-redirect"] },
    Feature { arc: c"ip6-punt", node: c"hostnet-punt", runs_before: &[c"ip6-punt-redirect"] },
    Feature { arc: c"ip4-drop", node: c"hostnet-fragments", runs_before: &[c"hostnet-to-host"] },
    Feature { arc: c"ip4-drop", node: c"hostnet-to-host", runs_before: &[c"error-drop"] },
    Feature { arc: c"ip6-drop", node: c"hostnet-to-host", runs_before: &[c"error-drop"] },
];

/// The nodes in VPP's tables of protocols, while there is a tap.
pub static HANDLERS: Handlers = Handlers {
    arp: c"hostnet-arp-input",
    solicitation: c"hostnet-nd-input",
    unknown: c"hostnet-l2-input",
    hop_by_hop: c"hostnet-hop-by-hop",
    fragments: c"hostnet-fragments",
};

/// Every feature, for the registration.
pub static ALL_FEATURES: [&[Feature]; 6] =
    [&FEATURES, &DEVICE_FEATURES, &FRAME_FEATURES, &UPLINK_FEATURES, &GROUP_FEATURES, &PATH_FEATURES];
