//! What startup.conf says of the mirror.

use std::time::Duration;

/// Room for the kernel's messages that are not read yet, in bytes: some 160
/// thousand routes.
const RECEIVE_BUFFER: usize = 128 * 1024 * 1024;
/// How often both sides are compared by themselves.
const AUDIT_INTERVAL: Duration = Duration::from_secs(300);

/// What startup.conf says of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorOptions {
    /// Room for the kernel's messages that are not read yet, in bytes.
    pub receive_buffer: usize,
    /// How often both sides are compared by themselves; `None`: only when
    /// asked for.
    pub audit_interval: Option<Duration>,
    /// VPP sends to the host what the host routes by other devices, instead of
    /// dropping it.
    pub to_host: bool,
    /// The sources of VPP's whose routes the host gets, by VPP's names.
    pub export: Vec<String>,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self {
            receive_buffer: RECEIVE_BUFFER,
            audit_interval: Some(AUDIT_INTERVAL),
            to_host: false,
            export: Vec::new(),
        }
    }
}

/// Sources that stand for no route of a user's or a protocol's: VPP makes them
/// of addresses, neighbours and resolution; and our own, which came from Linux.
const NOT_EXPORTED: [&str; 18] = [
    "invalid",
    "special",
    "classify",
    "proxy",
    "interface",
    "adjacency",
    "IPv6-proxy-nd",
    "IPv6-nd",
    "recursive-resolution",
    "attached_export",
    "mpls",
    "urpf-exempt",
    "default-route",
    "interpose",
    "path-mtu",
    "session lookup",
    "session sdl",
    "hostnet",
];

impl MirrorOptions {
    /// Every source asked for that cannot be had from a VPP that has these
    /// (`show fib source`), with what could.
    pub fn refusals(&self, sources: &[String]) -> Vec<String> {
        let can = |name: &&String| !NOT_EXPORTED.contains(&name.as_str()) && !name.contains(' ');
        let offered: Vec<&str> = sources.iter().filter(can).map(String::as_str).collect();
        let wrong = |name: &&String| !offered.contains(&name.as_str());
        let tell = |name: &String| {
            let is_known = sources.contains(name) || NOT_EXPORTED.contains(&name.as_str());
            let why = if is_known { "is not of users' routes" } else { "is no source of VPP's routes" };
            format!("export '{name}': {why}; write one or more of: {}", offered.join(", "))
        };
        self.export.iter().filter(wrong).map(tell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_cannot_be_had_are_refused_with_those_that_can() {
        let sources = ["special", "API", "CLI", "session sdl", "hostnet", "lcp-rt"].map(str::to_owned);
        let options = |names: &[&str]| MirrorOptions {
            export: names.iter().map(|name| (*name).to_owned()).collect(),
            ..MirrorOptions::default()
        };
        assert_eq!(options(&["API", "lcp-rt"]).refusals(&sources), Vec::<String>::new());
        assert_eq!(
            options(&["CLI", "bgp", "hostnet"]).refusals(&sources),
            [
                "export 'bgp': is no source of VPP's routes; write one or more of: API, CLI, lcp-rt",
                "export 'hostnet': is not of users' routes; write one or more of: API, CLI, lcp-rt"
            ]
        );
    }
}
