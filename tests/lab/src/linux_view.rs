//! What Linux has in a namespace, as `ip -d -j` and `/proc/sys` tell it, for
//! comparing field by field.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::netns::Netns;

/// What was seen, and when.
#[derive(Clone, Debug)]
pub struct LinuxView {
    at: Instant,
    parts: BTreeMap<String, Value>,
}

/// How exactly two views are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// Every field.
    Device,
    /// As programs see it: addresses, routes, rules and neighbours wholly; of
    /// the device what is no fact of its kind.
    Programs,
}

/// What moves by itself.
const MOVING: [&str; 2] = ["stats64", "used"];

/// Of a device, what its stand-in has too.
const OF_EVERY_DEVICE: [&str; 8] = ["ifname", "mtu", "address", "addr_info", "ifalias", "txqlen", "group", "altnames"];

/// The protocol number of routes that are hostnet's own.
const OURS: &str = "118";

/// Seconds that a lifetime may be off, and half the time since: the kernel
/// tells whole ones, and each takeover and way home reads and writes them.
const SLACK: f64 = 4.5;
/// A lifetime without end.
const FOREVER: f64 = 4_294_967_295.0;

const PARTS: [(&str, bool, &str); 9] = [
    ("addresses", false, "addr show"),
    ("routes4", false, "route show table all"),
    ("routes6", true, "route show table all"),
    ("rules4", false, "rule show"),
    ("rules6", true, "rule show"),
    ("nexthops", false, "nexthop show"),
    ("neighbours", false, "neigh show nud permanent"),
    ("proxies4", false, "neigh show proxy"),
    ("proxies6", true, "neigh show proxy"),
];

impl LinuxView {
    /// Everything of a namespace, with the settings of these devices.
    pub fn of(netns: &Netns, devices: &[&str]) -> Result<Self> {
        let at = Instant::now();
        let mut parts = BTreeMap::new();
        for six in [false, true] {
            let wanted: Vec<(&str, &str)> =
                PARTS.iter().filter(|part| part.1 == six).map(|(name, _, command)| (*name, *command)).collect();
            let commands: Vec<&str> = wanted.iter().map(|(_, command)| *command).collect();
            let options: &[&str] = if six { &["-6", "-d", "-j"] } else { &["-d", "-j"] };
            let text = netns.ip_with(options, &commands.join("\n"))?;
            let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
            for (name, command) in wanted {
                let value = values.next().with_context(|| format!("no answer to '{command}' in: {text}"))??;
                parts.insert(name.to_owned(), tidy(name, value));
            }
        }
        for device in devices {
            parts.insert(format!("sysctls {device}"), sysctls(netns, device)?);
        }
        Ok(Self { at, parts })
    }

    /// An error that tells every difference.
    pub fn same_as(&self, before: &Self, how: Exactness) -> Result<()> {
        let elapsed = self.at.saturating_duration_since(before.at).as_secs_f64();
        let mut told = String::new();
        for (name, was) in &before.parts {
            let is = self.parts.get(name).cloned().unwrap_or(Value::Null);
            if how == Exactness::Programs {
                if name.starts_with("sysctls") {
                    continue;
                }
                compare(name, &for_programs(name, was.clone()), &for_programs(name, is), elapsed, &mut told);
            } else {
                compare(name, was, &is, elapsed, &mut told);
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        bail!("not as before:\n{told}");
    }

    /// The same, if the devices' carrier were there: the stand-in loses it
    /// when VPP dies, and with it what the kernel gives to devices that have
    /// one only: next-hop objects, routes by them, proxies. Those as before.
    #[must_use]
    pub fn with_carrier(mut self, before: &Self) -> Self {
        for (name, part) in &before.parts {
            match part {
                _ if name == "nexthops" || name.starts_with("proxies") => {
                    self.parts.insert(name.clone(), part.clone());
                }
                Value::Array(routes) if name.starts_with("routes") => {
                    let by_object = routes.iter().filter(|route| !route["nhid"].is_null()).cloned();
                    if let Some(Value::Array(now)) = self.parts.get_mut(name) {
                        now.retain(|route| route["nhid"].is_null());
                        now.extend(by_object);
                    }
                }
                _ => {}
            }
        }
        let parts = std::mem::take(&mut self.parts);
        self.parts = parts
            .into_iter()
            .map(|(name, mut part)| {
                lose_flags(&mut part);
                let part = tidy(&name, part);
                (name, part)
            })
            .collect();
        self
    }

    /// Without the lifetimes of addresses and routes, for comparing over a time
    /// in which each was read and written many times, in whole seconds.
    #[must_use]
    pub fn without_lifetimes(mut self) -> Self {
        self.parts.values_mut().for_each(lose_lifetimes);
        self
    }

    /// A part, as JSON.
    pub fn part(&self, name: &str) -> &Value {
        self.parts.get(name).unwrap_or(&Value::Null)
    }
}

fn lose_lifetimes(value: &mut Value) {
    match value {
        Value::Array(entries) => entries.iter_mut().for_each(lose_lifetimes),
        Value::Object(fields) => {
            fields.retain(|key, _| !is_lifetime(key));
            fields.values_mut().for_each(lose_lifetimes);
        }
        _ => {}
    }
}

fn lose_flags(value: &mut Value) {
    match value {
        Value::Array(entries) => {
            entries.retain(|entry| *entry != "linkdown" && *entry != "dead");
            entries.iter_mut().for_each(lose_flags);
        }
        Value::Object(fields) => fields.values_mut().for_each(lose_flags),
        _ => {}
    }
}

fn sysctls(netns: &Netns, device: &str) -> Result<Value> {
    netns.within(|| {
        let mut all = serde_json::Map::new();
        for place in ["ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"] {
            let dir = Path::new("/proc/sys/net").join(place).join(device);
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            for entry in entries.flatten() {
                // Some are for writing only, or cannot be read until set.
                if let Ok(value) = std::fs::read_to_string(entry.path()) {
                    let key = format!("{place}/{}", entry.file_name().to_string_lossy());
                    all.insert(key, Value::String(value.trim().to_owned()));
                }
            }
        }
        Ok(Value::Object(all))
    })
}

/// Without what moves by itself; in an order of its own where the kernel's
/// means nothing.
fn tidy(part: &str, mut value: Value) -> Value {
    if let Value::Array(entries) = &mut value {
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            for key in MOVING {
                entry.remove(key);
            }
        }
        if !part.starts_with("addresses") {
            entries.retain(|entry| entry["protocol"] != OURS);
            entries.sort_by_key(without_lifetimes);
        }
    }
    value
}

fn without_lifetimes(entry: &Value) -> String {
    let mut entry = entry.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.remove("expires");
    }
    entry.to_string()
}

fn for_programs(part: &str, value: Value) -> Value {
    match value {
        Value::Array(entries) if part == "addresses" => {
            let entries = entries.into_iter().map(|entry| match entry {
                Value::Object(fields) => {
                    let kept = fields.into_iter().filter(|(key, _)| OF_EVERY_DEVICE.contains(&key.as_str()));
                    Value::Object(kept.collect())
                }
                other => other,
            });
            let mut entries: Vec<Value> = entries.collect();
            // By name: the stand-in has another number.
            entries.sort_by_key(|entry| entry["ifname"].to_string());
            Value::Array(entries)
        }
        other => other,
    }
}

fn compare(path: &str, was: &Value, is: &Value, elapsed: f64, told: &mut String) {
    match (was, is) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                if is_lifetime(key) && (a.is_number() || b.is_number()) {
                    // Equal is wrong as well, when time has gone by.
                    if !lifetimes_agree(a, b, elapsed) {
                        let _ = writeln!(told, "{path}.{key}: {a} before, {b} now");
                    }
                    continue;
                }
                compare(&format!("{path}.{key}"), a, b, elapsed, told);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{index}]"), a, b, elapsed, told);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for missing in a.iter().filter(|entry| !b.contains(entry)) {
                // Writing to a String cannot fail.
                let _ = writeln!(told, "{path}: - {missing}");
            }
            for new in b.iter().filter(|entry| !a.contains(entry)) {
                let _ = writeln!(told, "{path}: + {new}");
            }
            if a.len() != b.len() {
                let _ = writeln!(told, "{path}: {} entries, before {}", b.len(), a.len());
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let _ = writeln!(told, "{path}: {a} before, {b} now");
        }
    }
}

fn is_lifetime(key: &str) -> bool {
    matches!(key, "valid_life_time" | "preferred_life_time" | "expires")
}

fn lifetimes_agree(was: &Value, is: &Value, elapsed: f64) -> bool {
    match (was.as_f64(), is.as_f64()) {
        (Some(was), Some(is)) if was >= FOREVER || is >= FOREVER => (was - is).abs() < 1.0,
        (Some(was), Some(is)) => ((was - elapsed).max(0.0) - is).abs() <= SLACK + elapsed / 2.0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(was: &Value, is: &Value, elapsed: f64) -> String {
        let mut told = String::new();
        compare("x", was, is, elapsed, &mut told);
        told
    }

    #[test]
    fn lifetimes_run_on_and_nothing_else_does() {
        let was = json!([{"local": "a", "valid_life_time": 100}]);
        assert_eq!(told(&was, &json!([{"local": "a", "valid_life_time": 90}]), 10.0), "");
        assert_eq!(
            told(&was, &json!([{"local": "a", "valid_life_time": 100}]), 40.0),
            "x[0].valid_life_time: 100 before, 100 now\n"
        );
        assert_eq!(
            told(&was, &json!([{"local": "b", "valid_life_time": 100}]), 0.0),
            "x[0].local: \"a\" before, \"b\" now\n"
        );
        assert!(told(&was, &json!([]), 0.0).contains("- {"));
    }
}
