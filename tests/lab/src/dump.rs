//! Everything that can be seen of VPP and of the namespaces, for comparing
//! before and after.
//!
//! What moves by itself is taken out: counters, ages, pool indices of VPP's
//! inside, neighbours that were learned from traffic.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::netns::Netns;
use crate::topology::Lab;
use crate::vpp::Vpp;

/// Named texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump(BTreeMap<String, String>);

impl Dump {
    /// Of VPP and of every namespace.
    pub fn of(lab: &Lab) -> Result<Self> {
        let mut parts = vpp(&lab.vpp)?;
        parts.append(&mut linux(lab)?);
        Ok(Self(parts))
    }

    /// Of the namespaces only, for when VPP has ended.
    pub fn of_linux(lab: &Lab) -> Result<Self> {
        Ok(Self(linux(lab)?))
    }

    /// Leave out the parts whose name begins so.
    #[must_use]
    pub fn without(mut self, prefix: &str) -> Self {
        self.0.retain(|name, _| !name.starts_with(prefix));
        self
    }

    /// A part.
    pub fn part(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// An error that tells every difference.
    pub fn same_as(&self, before: &Self) -> Result<()> {
        let names: BTreeSet<&String> = self.0.keys().chain(before.0.keys()).collect();
        let mut told = String::new();
        for name in names {
            let (old, new) = (before.part(name), self.part(name));
            if old != new {
                // Writing to a String cannot fail.
                let _ = writeln!(told, "=== {name}\n{}", diff(old, new));
            }
        }
        if told.is_empty() {
            return Ok(());
        }
        bail!("not as before (- before, + now):\n{told}");
    }
}

/// The lines that differ, each with the nearest unindented line above it.
pub fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // The longest common run of lines; the texts are small.
    let mut longest = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    let at = |table: &[Vec<u32>], i: usize, j: usize| -> u32 {
        table.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0)
    };
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let value = if old.get(i) == new.get(j) {
                at(&longest, i + 1, j + 1) + 1
            } else {
                at(&longest, i + 1, j).max(at(&longest, i, j + 1))
            };
            if let Some(cell) = longest.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j, mut told, mut title) = (0, 0, String::new(), "");
    loop {
        let (a, b) = (old.get(i), new.get(j));
        let (sign, line) = match (a, b) {
            (None, None) => return told,
            (Some(a), Some(b)) if a == b => {
                if !a.starts_with([' ', '\t']) {
                    title = a;
                }
                i += 1;
                j += 1;
                continue;
            }
            (Some(a), b) if b.is_none() || at(&longest, i + 1, j) >= at(&longest, i, j + 1) => {
                i += 1;
                ('-', *a)
            }
            (_, b) => {
                j += 1;
                ('+', b.copied().unwrap_or_default())
            }
        };
        if line.starts_with([' ', '\t']) && !title.is_empty() {
            let _ = writeln!(told, "  {title}");
            title = "";
        }
        let _ = writeln!(told, "{sign} {line}");
    }
}

/// What VPP shows, made comparable.
fn vpp(vpp: &Vpp) -> Result<BTreeMap<String, String>> {
    let neighbours = vpp.ctl("show ip neighbors")?;
    let mut texts = Vec::new();
    for (command, how) in COMMANDS {
        texts.push((command, how, vpp.ctl(command)?));
    }
    // Some may have been learned meanwhile.
    let mut learned = learned(&neighbours);
    learned.append(&mut self::learned(&vpp.ctl("show ip neighbors")?));
    let mut parts = BTreeMap::new();
    let mut put = |name: &str, text: String| {
        parts.insert(format!("vpp {name}"), text);
    };
    put("neighbours", static_neighbours(&neighbours));
    for (command, how, text) in texts {
        put(command, how.apply(&text, &learned));
    }
    for name in interfaces(vpp)? {
        let features = vpp.ctl(&format!("show interface features {name}"))?;
        put(&format!("features of {name}"), features);
    }
    Ok(parts)
}

/// What VPP is asked, and how the answer is made comparable.
const COMMANDS: [(&str, How); 21] = [
    ("show interface", How::Columns(4)),
    ("show interface address", How::Plain),
    ("show interface rx-placement", How::Plain),
    ("show ip fib", How::Fib),
    ("show ip6 fib", How::Fib),
    ("show ip6-ll", How::Fib),
    ("show ip mfib", How::Fib),
    ("show ip6 mfib", How::Fib),
    ("show ip table", How::Plain),
    ("show ip6 table", How::Plain),
    ("show ip punt redirect", How::Fib),
    ("show ip6 punt redirect", How::Fib),
    ("show ip local", How::Plain),
    ("show ip6 local", How::Plain),
    ("show ip6 hbh", How::Plain),
    ("show arp proxy", How::Plain),
    ("show udp punt", How::Plain),
    ("show tcp punt", How::Plain),
    ("show udp ports", How::Plain),
    ("show ip6 interface", How::Still),
    ("show tap", How::Rings),
];

/// VPP's interfaces, by name.
pub fn interfaces(vpp: &Vpp) -> Result<Vec<String>> {
    let text = vpp.ctl("show interface")?;
    Ok(text
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect())
}

#[derive(Clone, Copy)]
enum How {
    /// As it stands.
    Plain,
    /// The first columns of the unindented lines; the rest counts.
    Columns(usize),
    /// Without pool indices, counters and learned neighbours.
    Fib,
    /// Without the lines that count router advertisements.
    Still,
    /// Without the lines on a virtqueue's indices, which move with its packets.
    Rings,
}

/// What the lines contain that [`How::Still`] leaves out.
const MOVING: [&str; 3] = ["advertisements sent", "solicitations received", "solicitations dropped"];

/// What the lines contain that [`How::Rings`] leaves out.
const RING_INDICES: [&str; 2] = ["last_used_idx", "avail.idx"];

fn without_lines(text: &str, words: &[&str]) -> String {
    let still = |line: &&str| !words.iter().any(|word| line.contains(word));
    text.lines().filter(still).fold(String::new(), |all, line| all + line + "\n")
}

impl How {
    fn apply(self, text: &str, learned: &BTreeSet<String>) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Columns(n) => text
                .lines()
                .filter(|line| !line.starts_with(' ') && !line.is_empty())
                .map(|line| {
                    let words: Vec<&str> = line.split_whitespace().take(n).collect();
                    words.join(" ") + "\n"
                })
                .collect(),
            Self::Fib => without_prefixes(&without_numbers(text), learned),
            Self::Still => without_lines(text, &MOVING),
            Self::Rings => without_lines(text, &RING_INDICES),
        }
    }
}

/// The addresses of neighbours that were learned: flag `D` in `show ip
/// neighbors` (`Age IP Flags Ethernet Interface`).
fn learned(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [_, ip, flags, ..] if flags.contains('D') => Some((*ip).to_owned()),
                _ => None,
            }
        })
        .collect()
}

fn static_neighbours(text: &str) -> String {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [_, ip, flags, rest @ ..] if !flags.contains('D') => Some(format!("{ip} {flags} {}\n", rest.join(" "))),
                _ => None,
            }
        })
        .collect()
}

/// Numbers after these words are indices or counts of VPP's inside.
const INDICES: [&str; 14] = [
    "index:",
    "uRPF:",
    "next:",
    "epoch:",
    "fib:",
    "entry:",
    "path:",
    "pl-index:",
    "itf:",
    "adj-idx:",
    "uRPF-list:",
    // As VPP spells it in places.
    "uPRF-list:",
    "index ",
    "locks:",
];

fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            // Counters "to:[1:2]", "via:[3:4]"; formats "[@5]"; pools' indices.
            if let Some(tail) =
                ["to:[", "via:[", "[@", "path-list:[", "path:["].iter().find_map(|word| rest.strip_prefix(word))
                && let Some((inside, after)) = tail.split_once(']')
                && inside.chars().all(|c| c.is_ascii_digit() || c == ':')
            {
                out.push_str("[#]");
                rest = after;
                continue;
            }
            if let Some((word, tail)) = INDICES.iter().find_map(|word| Some((*word, rest.strip_prefix(*word)?))) {
                let after = tail.trim_start_matches(|c: char| c.is_ascii_digit());
                if after.len() < tail.len() {
                    out.push_str(word);
                    out.push('#');
                    rest = after;
                    continue;
                }
            }
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
        out.push('\n');
    }
    out
}

/// Without the blocks of host prefixes of learned neighbours.
fn without_prefixes(text: &str, learned: &BTreeSet<String>) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if !line.starts_with([' ', '\t']) {
            let host = line
                .split_whitespace()
                .next()
                .and_then(|word| word.strip_suffix("/32").or_else(|| word.strip_suffix("/128")));
            skipping = host.is_some_and(|ip| learned.contains(ip));
        }
        if !skipping {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

/// What every namespace shows, made comparable.
fn linux(lab: &Lab) -> Result<BTreeMap<String, String>> {
    let mut parts = BTreeMap::new();
    for (role, netns) in lab.namespaces() {
        parts.insert(format!("linux {role}"), linux_of(netns)?);
    }
    let mut names: Vec<String> = std::fs::read_dir(crate::cleanup::NETNS_DIR)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        // Other tests' labs come and go meanwhile.
        .filter(|name| !name.starts_with(crate::cleanup::PREFIX) || name.starts_with(&lab.tag()))
        .filter(|name| !name.starts_with("hostnet-test-"))
        .collect();
    names.sort();
    parts.insert("linux names of namespaces".to_owned(), names.join("\n"));
    Ok(parts)
}

fn linux_of(netns: &Netns) -> Result<String> {
    // Two processes, not one for each thing: they cost time under emulation.
    let text = netns.ip_with(
        &["-d"],
        "addr show
         netconf show
         maddr show
         neigh show nud permanent
         neigh show proxy
         route show table all
         rule show",
    )? + &netns.ip_with(&["-6", "-d"], "route show table all\nrule show")?;
    Ok(text.lines().map(still).filter(|line| !line.is_empty()).fold(String::new(), |all, line| all + &line + "\n"))
}

/// A line of `ip` without what moves by itself: life-times of what the kernel
/// learned, the timers of a bridge.
fn still(line: &str) -> String {
    let line = line.split(" expires ").next().unwrap_or_default();
    let mut out = String::new();
    let mut words = line.trim_end().split(' ');
    while let Some(word) = words.next() {
        if word.ends_with("_timer") {
            // Its value, after any number of spaces.
            let _ = words.find(|word| !word.is_empty());
            continue;
        }
        out.push_str(word);
        out.push(' ');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_taken_out() {
        let line = "  [@0]: dpo-load-balance: [proto:ip4 index:7 buckets:1 uRPF:5 to:[12:960]]\n";
        assert_eq!(without_numbers(line), "  [#]: dpo-load-balance: [proto:ip4 index:# buckets:1 uRPF:# [#]]\n");
    }

    #[test]
    fn learned_neighbours_are_left_out_and_static_ones_kept() {
        let shown = "     Age                       IP                    Flags      Ethernet              Interface\n     1.0                   192.0.2.20                   D    02:00:5e:00:00:20 host-eth0\n     2.0                  169.254.0.1                   SN   02:00:5e:00:00:10 tap0\n";
        let learned = learned(shown);
        assert!(learned.contains("192.0.2.20") && learned.len() == 1);
        assert_eq!(without_prefixes("192.0.2.20/32\n  x\n192.0.2.21/32\n  y\n", &learned), "192.0.2.21/32\n  y\n");
        assert!(static_neighbours(shown).contains("169.254.0.1 SN 02:00:5e:00:00:10 tap0\n"));
    }

    #[test]
    fn a_diff_tells_both_sides_under_their_title() {
        assert_eq!(diff("a\n  1\nb\n", "a\n  2\nb\n"), "  a\n-   1\n+   2\n");
        assert_eq!(diff("", "x\n"), "+ x\n");
        assert_eq!(diff("x\n", ""), "- x\n");
        assert_eq!(diff("x\ny\n", "x\ny\n"), "");
    }
}
