//! The README against what it describes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use hostnet::cli::grammar;
use hostnet::engine::mirror::{ExportView, MirrorView};
use hostnet::engine::{HelperView, NotTakenView, PanicsView, StepView, TakeoverView, UplinkView, View};
use hostnet::model::Backend;
use hostnet::model::police::{Config, CountersView, Counts, NodeCount, PoliceView, UplinkCounters};

const BEGIN: &str = "<!-- cli-defs: begin (HOSTNET_BLESS=1 writes it) -->\n";
const END: &str = "<!-- cli-defs: end -->\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// What stands before, between and behind the markers.
fn split(readme: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = readme.split_once(BEGIN)?;
    let (between, behind) = rest.split_once(END)?;
    Some((before, between, behind))
}

#[track_caller]
pub(crate) fn commands_are_current() {
    let readme = fs::read_to_string(path()).unwrap();
    let expected = format!("\n{}\n", grammar::markdown());
    let (before, between, behind) = split(&readme).unwrap();
    if between == expected {
        return;
    }
    assert!(
        std::env::var_os("HOSTNET_BLESS").is_some_and(|value| value == "1"),
        "README.md: the commands are not those of cli-defs; HOSTNET_BLESS=1 writes them. Expected:\n{expected}"
    );
    fs::write(path(), format!("{before}{BEGIN}{expected}{END}{behind}")).unwrap();
}

/// A view with every part, so that its JSON has every field.
fn sample() -> View {
    let step = StepView { name: "vpp-tap", state: "done", took_us: None, error: None };
    let takeover = TakeoverView {
        linux_interface: String::new(),
        driver: "",
        driver_reason: String::new(),
        interruption_us: None,
        kept: Vec::new(),
    };
    let not_taken = NotTakenView { linux_interface: String::new(), reason: String::new() };
    let uplink = UplinkView {
        vlan: None,
        interface: String::new(),
        sw_if_index: 0,
        tap: None,
        tap_sw_if_index: None,
        host_if: String::new(),
        host_netns: String::new(),
        backend: Backend::Vhost,
        backend_reason: String::new(),
        default_punt: false,
        state: "enabled",
        addresses: Vec::new(),
        to_host_packets: 0,
        from_host_packets: 0,
        takeover: Some(takeover),
        steps: vec![step],
        last_error: None,
    };
    let helper = HelperView { state: "idle", commands: 0, reports: 0, died: None };
    View { version: "", helper, panics: PanicsView::default(), not_taken: vec![not_taken], uplinks: vec![uplink] }
}

fn fields(prefix: &str, value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                fields(&path, value, names);
                names.insert(path);
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                fields(&format!("{prefix}[]"), item, names);
            }
        }
        _ => {}
    }
}

pub(crate) fn undocumented_json_fields() -> Vec<String> {
    missing(&fs::read_to_string(path()).unwrap())
}

fn missing(readme: &str) -> Vec<String> {
    let mut names = BTreeSet::new();
    fields("", &serde_json::to_value(sample()).unwrap(), &mut names);
    let mirror = MirrorView { export: Some(ExportView::default()), ..MirrorView::default() };
    fields("", &serde_json::to_value([mirror]).unwrap(), &mut names);
    let police = PoliceView::new(&Config::default(), 1, &[]);
    fields("", &serde_json::to_value(police).unwrap(), &mut names);
    let node = NodeCount { node: String::new(), reason: String::new(), packets: 0 };
    let uplinks = vec![UplinkCounters::new("", "", &Counts::default())];
    fields("", &serde_json::to_value(CountersView { uplinks, nodes: vec![node] }).unwrap(), &mut names);
    assert!(names.contains("uplinks[].steps[].took_us"), "{names:?}");
    let undocumented = |name: &&String| !readme.contains(&format!("| `{name}` |"));
    names.iter().filter(undocumented).map(|name| format!("README.md: json field `{name}` is not documented")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_not_documented_is_found() {
        assert!(missing("| `version` | x |").len() > 10);
    }

    #[test]
    fn the_section_is_found_between_its_markers() {
        let text = format!("a\n{BEGIN}b\n{END}c\n");
        assert_eq!(split(&text), Some(("a\n", "b\n", "c\n")));
        assert_eq!(split(&text.replace(END, "")), None);
    }
}
