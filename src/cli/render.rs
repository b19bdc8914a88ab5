//! From the engine's view to what `show hostnet` prints. Lines end in `\n`,
//! the last one too.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::engine::mirror::{ByFamily, ExportView, MirrorView, TABLE_MAIN};
use crate::engine::{HelperView, JournalView, StepView, UplinkView, View};

mod police;

pub use police::{render_counters, render_police};

/// How `show hostnet` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A line each uplink.
    Table,
    /// Everything, for people.
    Verbose,
    /// Everything, for scripts.
    Json,
}

impl Layout {
    /// The layout that the options of `show hostnet` ask for.
    pub fn of(verbose: bool, json: bool) -> Self {
        match (json, verbose) {
            (true, _) => Self::Json,
            (false, true) => Self::Verbose,
            (false, false) => Self::Table,
        }
    }
}

/// Print the view; with `only`, no uplink but that `sw_if_index`.
pub fn render(view: &View, only: Option<u32>, layout: Layout) -> String {
    let uplinks: Vec<&UplinkView> =
        view.uplinks.iter().filter(|uplink| only.is_none_or(|index| uplink.sw_if_index == index)).collect();
    match layout {
        Layout::Json => json(view, &uplinks),
        Layout::Table => table(view, &uplinks, only),
        Layout::Verbose => verbose(view, &uplinks, only),
    }
}

/// Print the journals, a line each.
pub fn render_journals(journals: &[JournalView]) -> String {
    if journals.is_empty() {
        return "hostnet: no journal; no interface is taken from Linux\n".to_owned();
    }
    let mut out = String::new();
    for journal in journals {
        // Writing to a String cannot fail.
        if let Some(fault) = &journal.fault {
            let _ = writeln!(out, "{}: not believed: {}", journal.file, one_line(fault));
            continue;
        }
        let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let dead = if journal.alive { "" } else { " (dead)" };
        let _ = writeln!(out, "{}: {}", shown(&journal.interface), journal.phase.unwrap_or("-"));
        field(&mut out, "file", &journal.file);
        field(&mut out, "home", &shown(&journal.home));
        field(&mut out, "device", &shown(&journal.device));
        field(&mut out, "taken by", &format!("process {}{dead}", journal.pid.unwrap_or_default()));
        field(&mut out, "captured", &format!("{} addresses, {} routes", journal.addresses, journal.routes));
        field(&mut out, "request", &format!("hostnet uplink {}", shown(&journal.request)));
    }
    out
}

/// The same for scripts.
pub fn render_journals_json(journals: &[JournalView]) -> String {
    as_json(journals)
}

/// Print the mirrors.
pub fn render_mirrors(mirrors: &[MirrorView]) -> String {
    if mirrors.is_empty() {
        return "hostnet: no uplink is enabled, so nothing is mirrored\n".to_owned();
    }
    let mut out = String::new();
    for mirror in mirrors {
        let state = match (mirror.settled, mirror.resyncing) {
            (true, _) => "Linux and VPP are the same",
            (false, true) => "the kernel is being read",
            (false, false) => "changes are under way",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}: {state}", mirror.interface);
        let routes = &mirror.routes;
        field(&mut out, "host device", &mirror.host_if);
        if routes.own_table != TABLE_MAIN {
            let text = format!("table {} is the uplink's own in VPP; the main table is not for VPP", routes.own_table);
            field(&mut out, "VRF", &text);
        }
        let both = |of: &ByFamily| format!("IPv4 {}, IPv6 {}", of.ipv4, of.ipv6);
        field(&mut out, "in Linux", &both(&routes.in_kernel));
        field(&mut out, "in VPP", &format!("{} (of {})", both(&routes.in_vpp), both(&routes.desired)));
        let list = |of: &BTreeMap<&str, u64>| {
            let all: Vec<String> = of.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            if all.is_empty() { "none".to_owned() } else { all.join(", ") }
        };
        field(&mut out, "not for VPP", &list(&routes.not_mirrored));
        field(&mut out, "refused", &list(&routes.refused));
        for refusal in
            routes.refused.keys().filter_map(|reason| remedy(reason)).chain(routes.last_table_refusal.as_deref())
        {
            field(&mut out, "", refusal);
        }
        for refusal in &mirror.link.refused {
            field(&mut out, "", &one_line(refusal));
        }
        if let Some(export) = &mirror.export {
            exported(&mut out, export);
        }
        field(
            &mut out,
            "kernel",
            &format!(
                "{} messages, {} overflows, {} resyncs, room for {} bytes",
                mirror.messages, mirror.overflows, mirror.resyncs, mirror.receive_buffer
            ),
        );
        field(&mut out, "lag", &format!("{} us, longest {} us", mirror.lag_us, mirror.longest_lag_us));
        field(
            &mut out,
            "main thread",
            &format!(
                "{} us in {} batches, longest slice {} us, of the processor {} us",
                mirror.main_thread_us, mirror.batches, mirror.longest_slice_us, mirror.longest_slice_cpu_us
            ),
        );
        let last = mirror.last_audit_differences.map_or_else(String::new, |found| format!(", the last found {found}"));
        field(&mut out, "audits", &format!("{}{last}; {} differences in all", mirror.audits, routes.differences));
        for difference in &routes.last_differences {
            field(&mut out, "", &one_line(difference));
        }
        field(&mut out, "memory", &format!("{} bytes", routes.memory_bytes));
        field(&mut out, "last error", &one_line(mirror.last_error.as_deref().unwrap_or("none")));
    }
    out
}

fn exported(out: &mut String, export: &ExportView) {
    let by_source: Vec<String> = export.from_vpp.iter().map(|(source, count)| format!("{source} {count}")).collect();
    let (in_linux, differences) = (export.in_linux, export.differences);
    let text =
        format!("{}; in Linux {in_linux}, {} changes, {differences} differences", by_source.join(", "), export.changes);
    field(out, "exported", &text);
    for line in export.refused.iter().chain(&export.last_differences) {
        field(out, "", &one_line(line));
    }
}

/// What mends a refusal of VPP's.
fn remedy(reason: &str) -> Option<&'static str> {
    match reason {
        "heap" => Some("VPP's main heap is nearly full: raise 'memory { main-heap-size ... }' in startup.conf"),
        "stats" => Some("VPP's statistics segment is nearly full: raise 'statseg { size ... }' in startup.conf"),
        _ => None,
    }
}

/// The same for scripts.
pub fn render_mirrors_json(mirrors: &[MirrorView]) -> String {
    as_json(mirrors)
}

fn as_json(value: &(impl serde::Serialize + ?Sized)) -> String {
    let mut out = serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
    out.push('\n');
    out
}

fn json(view: &View, uplinks: &[&UplinkView]) -> String {
    let shown = View { uplinks: uplinks.iter().copied().cloned().collect(), ..view.clone() };
    as_json(&shown)
}

fn none(only: Option<u32>) -> String {
    match only {
        None => "hostnet: no uplink is enabled; 'hostnet enable <interface>' connects the host\n".to_owned(),
        Some(index) => format!(
            "hostnet: the interface with sw_if_index {index} is not enabled; 'hostnet enable {index}' connects the host\n"
        ),
    }
}

const HEADER: [&str; 9] =
    ["Interface", "Tap", "Host device", "Namespace", "Backend", "State", "To host", "From host", "Addresses"];
/// Columns of figures are aligned to the right.
const FIGURES: [usize; 2] = [6, 7];

fn table(view: &View, uplinks: &[&UplinkView], only: Option<u32>) -> String {
    let mut out = String::new();
    if view.helper.state == "dead" {
        let _ = writeln!(out, "hostnet: the helper thread is dead: {}", died(&view.helper));
    }
    panics(&mut out, view);
    not_taken(&mut out, view);
    if uplinks.is_empty() {
        return out + &none(only);
    }
    let rows: Vec<[String; 9]> = uplinks.iter().map(|uplink| row(uplink)).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).fold(HEADER[column].len(), std::cmp::Ord::max)
    };
    let widths: Vec<usize> = (0..HEADER.len()).map(width).collect();
    write_row(&mut out, &widths, &HEADER.map(str::to_owned));
    for (uplink, row) in uplinks.iter().zip(&rows) {
        write_row(&mut out, &widths, row);
        if let Some(error) = uplink.last_error.as_ref().filter(|_| is_bad(uplink)) {
            let _ = writeln!(out, "  {}: {}", uplink.state, one_line(error));
        }
    }
    out
}

fn is_bad(uplink: &UplinkView) -> bool {
    matches!(uplink.state, "failed" | "stuck")
}

fn row(uplink: &UplinkView) -> [String; 9] {
    let addresses: Vec<String> = uplink.addresses.iter().map(ToString::to_string).collect();
    [
        uplink.interface.clone(),
        uplink.tap.clone().unwrap_or_else(|| "-".to_owned()),
        uplink.host_if.clone(),
        uplink.host_netns.clone(),
        uplink.backend.to_string(),
        uplink.state.to_owned(),
        uplink.to_host_packets.to_string(),
        uplink.from_host_packets.to_string(),
        if addresses.is_empty() { "-".to_owned() } else { addresses.join(", ") },
    ]
}

fn write_row(out: &mut String, widths: &[usize], cells: &[String; 9]) {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        // Writing to a String cannot fail.
        let _ =
            if FIGURES.contains(&column) { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

fn verbose(view: &View, uplinks: &[&UplinkView], only: Option<u32>) -> String {
    let helper = &view.helper;
    let mut out = format!(
        "hostnet {}\nhelper thread: {}, {} commands, {} reports\n",
        view.version, helper.state, helper.commands, helper.reports
    );
    if helper.state == "dead" || helper.died.is_some() {
        let _ = writeln!(out, "  died: {}", died(helper));
    }
    panics(&mut out, view);
    not_taken(&mut out, view);
    if uplinks.is_empty() {
        return out + &none(only);
    }
    for uplink in uplinks {
        out.push('\n');
        uplink_verbose(&mut out, uplink);
    }
    out
}

fn uplink_verbose(out: &mut String, uplink: &UplinkView) {
    let _ = writeln!(out, "{} (sw_if_index {}): {}", uplink.interface, uplink.sw_if_index, uplink.state);
    let tap = match (&uplink.tap, uplink.tap_sw_if_index) {
        (Some(name), Some(index)) => format!("{name} (sw_if_index {index})"),
        (Some(name), None) => name.clone(),
        (None, _) => "-".to_owned(),
    };
    let punt = if uplink.default_punt { "yes" } else { "no, that of the uplink only" };
    field(out, "tap", &tap);
    field(out, "host device", &format!("{}, namespace {}", uplink.host_if, uplink.host_netns));
    field(out, "backend", &format!("{}: {}", uplink.backend, one_line(&uplink.backend_reason)));
    field(out, "default punt", punt);
    if uplink.addresses.is_empty() {
        field(out, "addresses", "-");
    }
    for (index, address) in uplink.addresses.iter().enumerate() {
        field(out, if index == 0 { "addresses" } else { "" }, &address.to_string());
    }
    if let Some(takeover) = &uplink.takeover {
        field(out, "taken from", &format!("{}: driver {}", takeover.linux_interface, takeover.driver));
        field(out, "", &one_line(&takeover.driver_reason));
        if let Some(us) = takeover.interruption_us {
            field(out, "interruption", &milliseconds(us));
        }
        for (index, kept) in takeover.kept.iter().enumerate() {
            field(out, if index == 0 { "host only" } else { "" }, &one_line(kept));
        }
    }
    let packets = format!("{} to the host, {} from the host", uplink.to_host_packets, uplink.from_host_packets);
    field(out, "packets", &packets);
    field(out, "last error", &uplink.last_error.as_deref().map_or_else(|| "none".to_owned(), one_line));
    if !uplink.steps.is_empty() {
        let _ = writeln!(out, "  {:<22}{:<13}{:>12}", "step", "state", "time");
    }
    for step in &uplink.steps {
        step_line(out, step);
    }
}

fn field(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<14}{value}");
}

fn step_line(out: &mut String, step: &StepView) {
    let took = step.took_us.map_or_else(|| "-".to_owned(), milliseconds);
    let _ = write!(out, "  {:<22}{:<13}{took:>12}", step.name, step.state);
    if let Some(error) = &step.error {
        let _ = write!(out, "  {}", one_line(error));
    }
    out.push('\n');
}

/// `1234` microseconds are `1.234 ms`.
fn milliseconds(us: u64) -> String {
    format!("{}.{:03} ms", us / 1000, us % 1000)
}

fn died(helper: &HelperView) -> String {
    helper.died.as_deref().map_or_else(|| "no reason is known".to_owned(), one_line)
}

fn not_taken(out: &mut String, view: &View) {
    for not in &view.not_taken {
        let _ = writeln!(out, "hostnet: {} was not taken: {}", not.linux_interface, one_line(&not.reason));
    }
}

fn panics(out: &mut String, view: &View) {
    if let Some(last) = &view.panics.last {
        let _ = writeln!(
            out,
            "hostnet: failed {} times by a bug of its own, last in {}",
            view.panics.count,
            one_line(last)
        );
    }
}

/// An error of several lines would tear the table apart.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
