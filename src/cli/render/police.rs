//! The policer and the counters, as text and as JSON.

use std::fmt::Write as _;

use super::as_json;
use crate::model::police::{ClassCounts, CountersView, PoliceView, STANDING};

/// `show hostnet police`.
pub fn render_police(view: &PoliceView, json: bool) -> String {
    if json {
        return as_json(view);
    }
    let ports: Vec<String> = view.ports.iter().map(u16::to_string).collect();
    let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(",") };
    // Writing to a String cannot fail.
    let mut out = format!(
        "packets to the host; rates in packets per second, on each of {} threads of VPP;\n\
         connections of TCP that stand have {STANDING} times as much, apart; ports: {ports}\n",
        view.threads
    );
    let _ = writeln!(out, "{:<11}{:>11}{:>11}{:>16}{:>16}", "Class", "Rate", "Burst", "Passed", "Policed");
    for class in &view.classes {
        let (rate, burst) = if class.on {
            (class.rate.to_string(), class.burst.to_string())
        } else {
            ("off".to_owned(), "-".to_owned())
        };
        let _ = writeln!(out, "{:<11}{rate:>11}{burst:>11}{:>16}{:>16}", class.class, class.passed, class.policed);
    }
    out
}

/// `show hostnet counters`.
pub fn render_counters(view: &CountersView, json: bool) -> String {
    if json {
        return as_json(view);
    }
    let mut out = String::new();
    for uplink in &view.uplinks {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{} (host device {}), packets", uplink.interface, uplink.host_if);
        let heads = ["To host", "policed", "From host", "refused"];
        let _ = writeln!(out, "  {:<11}{:>16}{:>14}{:>16}{:>14}", "Class", heads[0], heads[1], heads[2], heads[3]);
        for class in &uplink.classes {
            let ClassCounts { class, to_host_passed, to_host_policed, from_host_passed, from_host_refused } = class;
            let _ = writeln!(
                out,
                "  {class:<11}{to_host_passed:>16}{to_host_policed:>14}{from_host_passed:>16}{from_host_refused:>14}"
            );
        }
    }
    if view.uplinks.is_empty() {
        out.push_str("hostnet: no uplink is enabled; 'hostnet enable <interface>' connects the host\n");
    }
    for count in &view.nodes {
        let _ = writeln!(out, "  {:>16}  {:<22}  {}", count.packets, count.node, count.reason);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::police::{Change, Class, Config, Counts, NodeCount, UplinkCounters};

    fn counts() -> Counts {
        let mut counts = Counts::default();
        counts.to_host[Class::Icmp.index()] = (7, 1_000_000);
        counts.from_host[Class::Rest.index()] = (3, 4);
        counts
    }

    #[test]
    fn the_policer_as_a_table() {
        let mut config = Config::default();
        config.change(&Change { class: Some(Class::L2), on: Some(false), ..Change::default() });
        let view = PoliceView::new(&config, 3, &[(1, counts()), (2, counts())]);
        let text = render_police(&view, false);
        assert!(text.contains("each of 3 threads") && text.contains("ports: 22\n"), "{text}");
        assert!(text.contains("\nicmp              5000        500              14         2000000\n"), "{text}");
        assert!(text.contains("\nl2                 off          -               0               0\n"), "{text}");
    }

    #[test]
    fn the_counters_as_tables() {
        let node = NodeCount { node: "hostnet-punt".to_owned(), reason: "why".to_owned(), packets: 9 };
        let mut view = CountersView { uplinks: vec![UplinkCounters::new("a0", "eth0", &counts())], nodes: vec![node] };
        let text = render_counters(&view, false);
        assert!(text.starts_with("a0 (host device eth0), packets\n"), "{text}");
        assert!(
            text.contains("\n  icmp                      7       1000000               0             0\n"),
            "{text}"
        );
        assert!(
            text.contains("\n  rest                      0             0               3             4\n"),
            "{text}"
        );
        assert!(text.ends_with("9  hostnet-punt            why\n"), "{text}");
        view.uplinks.clear();
        assert!(render_counters(&view, false).starts_with("hostnet: no uplink"));
    }
}
