//! The graph nodes: one a file, the file named as the node. Only packets for
//! or from the host cross them: they are features of our own taps alone.

mod hostnet_arp;
mod hostnet_from_host;
mod hostnet_nd;
mod hostnet_tap_input;
mod shared;

pub use shared::tap_output::DRIVER;
pub use shared::taps::{Tap, forget_tap, set_tap};

use crate::vpp::feature::Feature;
use crate::vpp::node::Node;

/// Every node, for the registration.
pub static NODES: [&Node; 4] =
    [&hostnet_arp::NODE, &hostnet_nd::NODE, &hostnet_from_host::NODE, &hostnet_tap_input::NODE];

/// Every feature; all are enabled on a tap together.
pub static FEATURES: [Feature; 5] = [
    Feature { arc: c"arp", node: c"hostnet-arp", runs_before: &[c"arp-reply"] },
    // ND before the common node: a solicitation never leaves by the FIB.
    Feature { arc: c"ip6-multicast", node: c"hostnet-nd", runs_before: &[c"ip6-mfib-forward-lookup"] },
    Feature { arc: c"ip6-unicast", node: c"hostnet-nd", runs_before: &[c"hostnet-from-host"] },
    Feature { arc: c"ip4-unicast", node: c"hostnet-from-host", runs_before: &[c"ip4-lookup"] },
    Feature { arc: c"ip6-unicast", node: c"hostnet-from-host", runs_before: &[c"ip6-lookup"] },
];
