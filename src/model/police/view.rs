//! What `show hostnet police` and `show hostnet counters` show, as data.
//! Serialized as it stands for `json`; the fields are documented in the README
//! and do not change their meaning.

use serde::Serialize;

use super::{CLASSES, Class, Config};

/// What was counted of one device of the host's: by class, packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To the host: passed, and policed.
    pub to_host: [(u64, u64); CLASSES],
    /// From the host: passed, and refused for their source.
    pub from_host: [(u64, u64); CLASSES],
}

impl Counts {
    /// Put another thread's to it.
    pub fn add(&mut self, other: &Self) {
        let all = self.to_host.iter_mut().chain(&mut self.from_host);
        for (to, from) in all.zip(other.to_host.iter().chain(&other.from_host)) {
            *to = (to.0.wrapping_add(from.0), to.1.wrapping_add(from.1));
        }
    }
}

/// `show hostnet police`.
#[derive(Clone, Debug, Serialize)]
pub struct PoliceView {
    /// The ports of class `ports`.
    pub ports: Vec<u16>,
    /// Threads of VPP, each with the whole rate.
    pub threads: usize,
    /// Every class.
    pub classes: Vec<PoliceClassView>,
}

/// A class.
#[derive(Clone, Debug, Serialize)]
pub struct PoliceClassView {
    /// Its word.
    pub class: &'static str,
    /// Whether it is policed.
    pub on: bool,
    /// Packets per second.
    pub rate: u32,
    /// Packets at once.
    pub burst: u32,
    /// Packets that went to the host, on all uplinks.
    pub passed: u64,
    /// Packets that were too many.
    pub policed: u64,
}

impl PoliceView {
    /// Of what is configured and was counted.
    pub fn new(config: &Config, threads: usize, counts: &[(u32, Counts)]) -> Self {
        let mut all = Counts::default();
        for (_, counts) in counts {
            all.add(counts);
        }
        let classes = Class::ALL.into_iter().map(|class| {
            let limit = config.limit(class);
            let (passed, policed) = all.to_host[class.index()];
            PoliceClassView { class: class.name(), on: limit.on, rate: limit.rate, burst: limit.burst, passed, policed }
        });
        Self { ports: config.ports().to_vec(), threads, classes: classes.collect() }
    }
}

/// `show hostnet counters`.
#[derive(Clone, Debug, Serialize)]
pub struct CountersView {
    /// Those uplinks that have a device of their own; a VLAN's is that below it.
    pub uplinks: Vec<UplinkCounters>,
    /// What the graph nodes have counted, where it is not zero; of all uplinks.
    pub nodes: Vec<NodeCount>,
}

/// An uplink's.
#[derive(Clone, Debug, Serialize)]
pub struct UplinkCounters {
    /// VPP's name of the uplink.
    pub interface: String,
    /// Name of the host's device.
    pub host_if: String,
    /// By class.
    pub classes: Vec<ClassCounts>,
}

/// A class's.
#[derive(Clone, Debug, Serialize)]
pub struct ClassCounts {
    /// Its word.
    pub class: &'static str,
    /// Packets that went to the host.
    pub to_host_passed: u64,
    /// Packets to the host that were too many.
    pub to_host_policed: u64,
    /// Packets of the host's that went on.
    pub from_host_passed: u64,
    /// Packets of the host's that had another's source and were refused.
    pub from_host_refused: u64,
}

impl UplinkCounters {
    /// Of what was counted.
    pub fn new(interface: &str, host_if: &str, counts: &Counts) -> Self {
        let classes = Class::ALL.into_iter().map(|class| {
            let at = class.index();
            ClassCounts {
                class: class.name(),
                to_host_passed: counts.to_host[at].0,
                to_host_policed: counts.to_host[at].1,
                from_host_passed: counts.from_host[at].0,
                from_host_refused: counts.from_host[at].1,
            }
        });
        Self { interface: interface.to_owned(), host_if: host_if.to_owned(), classes: classes.collect() }
    }
}

/// A counter of a node's.
#[derive(Clone, Debug, Serialize)]
pub struct NodeCount {
    /// The node.
    pub node: String,
    /// What it counts, as `show errors` has it.
    pub reason: String,
    /// Packets.
    pub packets: u64,
}
