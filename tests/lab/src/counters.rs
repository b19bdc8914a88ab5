//! The kernel's own counters: what a host's stack has seen and done.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::netns::Netns;

/// Counters of a namespace, by name: `Icmp.InEchos`, `Ip6InReceives` …
#[derive(Clone, Debug)]
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Read them.
    pub fn of(netns: &Netns) -> Result<Self> {
        netns.within(|| {
            // The thread's own directory: /proc/net follows the process's
            // first thread.
            let read = |name: &str| {
                let path = format!("/proc/thread-self/net/{name}");
                std::fs::read_to_string(&path).with_context(|| path)
            };
            Ok(Self(parse(&read("snmp")?, &read("snmp6")?)))
        })
    }

    /// How far a counter has moved since; zero for one that there is not.
    pub fn since(&self, before: &Self, name: &str) -> u64 {
        let get = |counters: &Self| counters.0.get(name).copied().unwrap_or(0);
        get(self).saturating_sub(get(before))
    }
}

fn parse(snmp: &str, snmp6: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    // Pairs of lines: "Icmp: InMsgs InErrors", "Icmp: 3 0".
    let lines: Vec<&str> = snmp.lines().collect();
    for pair in lines.chunks_exact(2) {
        let [names, values] = pair else { continue };
        let mut names = names.split_whitespace();
        let group = names.next().unwrap_or_default().trim_end_matches(':');
        for (name, value) in names.zip(values.split_whitespace().skip(1)) {
            if let Ok(value) = value.parse() {
                found.insert(format!("{group}.{name}"), value);
            }
        }
    }
    for line in snmp6.lines() {
        if let Some((name, value)) = line.split_once(char::is_whitespace)
            && let Ok(value) = value.trim().parse()
        {
            found.insert(name.to_owned(), value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read() {
        let found = parse("Icmp: InMsgs InErrors\nIcmp: 3 0\n", "Ip6InReceives  \t7\n");
        assert_eq!(found.get("Icmp.InMsgs"), Some(&3));
        assert_eq!(found.get("Ip6InReceives"), Some(&7));
    }
}
