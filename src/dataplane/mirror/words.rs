//! What VPP has, in words.

use crate::vpp::fib::{Path, Paths};

/// The paths of a route, as `ip route` would write them.
pub(super) fn words(paths: &Paths, name: impl Fn(u32) -> String) -> String {
    let path = |path: &Path| match *path {
        Path::Blackhole => "blackhole".to_owned(),
        Path::Unreachable => "unreachable".to_owned(),
        Path::Prohibit => "prohibit".to_owned(),
        Path::Local => "local".to_owned(),
        Path::Via { sw_if_index, gateway, weight } => {
            let gateway = gateway.map_or_else(String::new, |gateway| format!("via {gateway} "));
            format!("{gateway}dev {} weight {weight}", name(sw_if_index))
        }
    };
    match paths.as_slice() {
        [] => "no route".to_owned(),
        some => some.iter().map(path).collect::<Vec<_>>().join(", "),
    }
}
