//! The graph nodes: one a file, the file named as the node. Only packets for
//! or from the host cross them: they are features of our own taps alone.

mod hostnet_arp;
mod hostnet_from_host;
mod hostnet_nd;
mod hostnet_punt;
mod hostnet_tap_input;
mod shared;

pub use shared::tap_output::DRIVER;
pub use shared::taps::{Tap, forget_tap, set_tap, tap_count};

use crate::vpp::feature::Feature;
use crate::vpp::node::Node;

/// Every node, for the registration.
pub static NODES: [&Node; 5] =
    [&hostnet_arp::NODE, &hostnet_nd::NODE, &hostnet_punt::NODE, &hostnet_from_host::NODE, &hostnet_tap_input::NODE];

/// The features of a tap; all are enabled together.
pub static FEATURES: [Feature; 5] = [
    Feature { arc: c"arp", node: c"hostnet-arp", runs_before: &[c"arp-reply"] },
    // ND before the common node: a solicitation never leaves by the FIB.
    Feature { arc: c"ip6-multicast", node: c"hostnet-nd", runs_before: &[c"ip6-mfib-forward-lookup"] },
    Feature { arc: c"ip6-unicast", node: c"hostnet-nd", runs_before: &[c"hostnet-from-host"] },
    Feature { arc: c"ip4-unicast", node: c"hostnet-from-host", runs_before: &[c"ip4-lookup"] },
    Feature { arc: c"ip6-unicast", node: c"hostnet-from-host", runs_before: &[c"ip6-lookup"] },
];

/// The features of VPP's punt path, while there are several taps. The path has
/// no interface of its own: its features are those of index 0.
pub static PUNT_FEATURES: [Feature; 2] = [
    Feature { arc: c"ip4-punt", node: c"hostnet-punt", runs_before: &[c"ip4-punt-redirect"] },
    Feature { arc: c"ip6-punt", node: c"hostnet-punt", runs_before: &[c"ip6-punt-redirect"] },
];

/// Every feature, for the registration.
pub static ALL_FEATURES: [&[Feature]; 2] = [&FEATURES, &PUNT_FEATURES];
