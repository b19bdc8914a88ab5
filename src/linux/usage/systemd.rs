//! systemd's `.network` and `.link` files: which applies to a device
//! (systemd.network(5), systemd.link(5), both "[Match] section options").

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Appearance;

/// Where the files are, those that win first.
const FOLDERS: [&str; 5] = [
    "etc/systemd/network",
    "run/systemd/network",
    "usr/local/lib/systemd/network",
    "usr/lib/systemd/network",
    "lib/systemd/network",
];

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnitFile {
    /// Its path on the machine.
    pub(super) path: PathBuf,
    /// Section, key and value, in the file's order.
    lines: Vec<(String, String, String)>,
}

impl UnitFile {
    pub(super) fn read(root: &Path, path: &Path) -> Option<Self> {
        let inner = path.strip_prefix("/").unwrap_or(path);
        let text = fs::read_to_string(root.join(inner)).ok()?;
        Some(Self { path: Path::new("/").join(inner), lines: parse(&text) })
    }

    /// Every file of that extension, in the order in which they are tried: by
    /// name, whatever the folder; of the same name the first folder's only.
    pub(super) fn all(root: &Path, extension: &str) -> Vec<Self> {
        let mut paths: BTreeMap<String, PathBuf> = BTreeMap::new();
        for folder in FOLDERS {
            for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                if Path::new(&name).extension().is_some_and(|found| found == extension) {
                    paths.entry(name.clone()).or_insert_with(|| Path::new("/").join(folder).join(&name));
                }
            }
        }
        // An empty file, or a link to /dev/null, masks: it applies to nothing.
        paths.values().filter_map(|path| Self::read(root, path)).collect()
    }

    /// The last value of a key.
    pub(super) fn value(&self, section: &str, key: &str) -> Option<&str> {
        let found = self.lines.iter().rev().find(|(of, name, _)| of == section && name == key);
        found.map(|(_, _, value)| value.as_str())
    }

    /// The conditions that the device does not meet; `None` when the file has
    /// no condition, and thus applies to nothing.
    pub(super) fn unmet(&self, device: &Appearance) -> Option<Vec<String>> {
        let mut conditions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (_, key, value) in self.lines.iter().filter(|(section, ..)| section == "Match") {
            let values = conditions.entry(key).or_default();
            if value.is_empty() {
                values.clear();
            }
            values.extend(value.split_whitespace());
        }
        conditions.retain(|_, values| !values.is_empty());
        if conditions.is_empty() {
            return None;
        }
        let unmet = conditions.iter().filter(|(key, values)| !is_met(key, values, device));
        Some(unmet.map(|(key, values)| format!("{key}={}", values.join(" "))).collect())
    }

    pub(super) fn applies(&self, device: &Appearance) -> bool {
        self.unmet(device).is_some_and(|unmet| unmet.is_empty())
    }
}

fn parse(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            lines.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    lines
}

fn is_met(key: &str, values: &[&str], device: &Appearance) -> bool {
    let macs = |mac: Option<crate::model::MacAddr>| {
        mac.is_some_and(|mac| {
            // Hexadecimal with colons, hyphens or dots.
            let digits = |text: &str| text.replace([':', '-', '.'], "").to_lowercase();
            values.iter().any(|value| digits(value) == digits(&mac.to_string()))
        })
    };
    match key {
        "Name" | "OriginalName" => is_any(values, Some(&device.name)),
        "MACAddress" => macs(device.mac),
        "PermanentMACAddress" => macs(device.permanent_mac),
        "Driver" => is_any(values, device.driver.as_deref()),
        "Path" => is_any(values, device.path.as_deref()),
        "Kind" => is_any(values, device.kind.as_deref()),
        // Both the card and the tap are Ethernet; only a few have a type of
        // their own that goes before.
        "Type" => is_any(values, Some("ether")),
        // Of the machine, or not to be known from here.
        _ => true,
    }
}

/// One of several shell patterns; `!` before the first turns all round.
fn is_any(patterns: &[&str], text: Option<&str>) -> bool {
    let inverted = patterns.first().is_some_and(|first| first.starts_with('!'));
    let matches = |pattern: &&str| {
        let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
        text.is_some_and(|text| glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(text)))
    };
    patterns.iter().any(matches) != inverted
}
