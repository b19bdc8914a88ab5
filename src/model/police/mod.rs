//! What the policer of the host decides by: classes of frames, their rates, and
//! the buckets that measure them. Pure.

mod bucket;
mod class;
mod view;

pub use bucket::{Bucket, Buckets};
pub use class::{Class, Kind, classify};
pub use view::{ClassCounts, CountersView, Counts, NodeCount, PoliceClassView, PoliceView, UplinkCounters};

/// How many classes there are.
pub const CLASSES: usize = 8;
/// Ports that may be listed at most.
pub const MAX_PORTS: usize = 16;
/// The ports of class `ports` unless others are named: SSH.
const DEFAULT_PORTS: [u16; 1] = [22];
/// Segments of TCP connections that stand have a bucket that is so many times as
/// large: no flood of another kind, of SYNs above all, takes anything from them,
/// and a bulk transfer is not cut.
pub const STANDING: u32 = 10;
/// The rates that can be asked for, in packets per second.
pub const RATE_MIN: u32 = 1;
/// See [`RATE_MIN`].
pub const RATE_MAX: u32 = 100_000_000;

/// What a class may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Whether it is policed at all.
    pub on: bool,
    /// Packets per second, on each thread of VPP.
    pub rate: u32,
    /// Packets that may come at once.
    pub burst: u32,
}

impl Limit {
    /// That rate with the burst that goes with it.
    pub const fn of(rate: u32) -> Self {
        let burst = rate / 10;
        Self { on: true, rate, burst: if burst < 10 { 10 } else { burst } }
    }
}

/// The policer's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    limits: [Limit; CLASSES],
    /// TCP and UDP ports of class `ports`, either end's; the rest are zero, which
    /// is no port.
    ports: [u16; MAX_PORTS],
}

impl Default for Config {
    fn default() -> Self {
        let mut config =
            Self { limits: Class::ALL.map(|class| Limit::of(class.default_rate())), ports: [0; MAX_PORTS] };
        config.set_ports(&DEFAULT_PORTS);
        config
    }
}

impl Config {
    /// What a class may have.
    pub fn limit(&self, class: Class) -> Limit {
        self.limits[class.index()]
    }

    /// The listed ports, in the order given.
    pub fn ports(&self) -> &[u16] {
        let n = self.ports.iter().position(|port| *port == 0).unwrap_or(MAX_PORTS);
        &self.ports[..n]
    }

    fn set_ports(&mut self, ports: &[u16]) {
        self.ports = [0; MAX_PORTS];
        for (place, port) in self.ports.iter_mut().zip(ports.iter().filter(|port| **port != 0)) {
            *place = *port;
        }
    }

    /// Carry out what was asked for.
    pub fn change(&mut self, change: &Change) {
        if let Some(ports) = &change.ports {
            self.set_ports(ports);
        }
        for class in Class::ALL.into_iter().filter(|class| change.class.is_none_or(|wanted| wanted == *class)) {
            let limit = &mut self.limits[class.index()];
            if let Some(rate) = change.rate {
                *limit = Limit::of(rate);
            }
            if let Some(burst) = change.burst {
                limit.burst = burst;
            }
            limit.on = change.on.unwrap_or(limit.on || change.burst.is_some());
        }
    }
}

/// What is asked for by `hostnet police`, or an entry of its stanza.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The class; every one with `None`.
    pub class: Option<Class>,
    /// The ports of class `ports`.
    pub ports: Option<Vec<u16>>,
    /// Packets per second.
    pub rate: Option<u32>,
    /// Packets at once.
    pub burst: Option<u32>,
    /// Police it, or do not, with the rate that it has.
    pub on: Option<bool>,
}

/// What is wrong with a list of ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortsError {
    /// A part that is none.
    #[error("'{0}' is no port; expected 1 to 65535, as in 22,830, or 'none'")]
    NotAPort(String),
    /// The same twice.
    #[error("port {0} is given twice; give it once")]
    Twice(u16),
    /// Too many.
    #[error("more than {MAX_PORTS} ports; leave some to class rest")]
    TooMany,
}

/// A list of ports as it is written: `22,830`, or `none`.
pub fn parse_ports(text: &str) -> Result<Vec<u16>, PortsError> {
    let mut ports = Vec::new();
    if text == "none" {
        return Ok(ports);
    }
    for part in text.split(',') {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.then(|| part.parse().ok()).flatten().filter(|port| *port != 0);
        let port = port.ok_or_else(|| PortsError::NotAPort(part.to_owned()))?;
        if ports.contains(&port) {
            return Err(PortsError::Twice(port));
        }
        if ports.len() == MAX_PORTS {
            return Err(PortsError::TooMany);
        }
        ports.push(port);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn ports_as_they_are_written() {
        assert_eq!(parse_ports("22,830"), Ok(vec![22, 830]));
        assert_eq!(parse_ports("65535"), Ok(vec![65535]));
        assert_eq!(parse_ports("none"), Ok(Vec::new()));
        for bad in ["", "0", "65536", "+22", "22,", ",22", "22;830", "ssh", "22,none", "99999999999"] {
            assert!(matches!(parse_ports(bad), Err(PortsError::NotAPort(_))), "{bad}");
        }
        assert_eq!(parse_ports("22,022"), Err(PortsError::Twice(22)));
        let list = |n: u16| (1..=n).map(|port| port.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(parse_ports(&list(16)).map(|ports| ports.len()), Ok(16));
        assert_eq!(parse_ports(&list(17)), Err(PortsError::TooMany));
    }

    #[test]
    fn a_change_is_of_one_class_or_of_all() {
        let mut config = Config::default();
        assert_eq!(config.ports(), [22]);
        assert!(Class::ALL.into_iter().all(|class| config.limit(class).on));
        config.change(&Change { class: Some(Class::Icmp), rate: Some(7), ..Change::default() });
        assert_eq!(config.limit(Class::Icmp), Limit { on: true, rate: 7, burst: 10 });
        assert_eq!(config.limit(Class::Dhcp), Limit::of(Class::Dhcp.default_rate()));
        config.change(&Change { on: Some(false), ..Change::default() });
        assert!(Class::ALL.into_iter().all(|class| !config.limit(class).on));
        // A rate or a burst means that it is to be policed; what was set stays.
        config.change(&Change { class: Some(Class::Icmp), burst: Some(3), ..Change::default() });
        assert_eq!(config.limit(Class::Icmp), Limit { on: true, rate: 7, burst: 3 });
        config.change(&Change { class: Some(Class::Icmp), on: Some(false), ..Change::default() });
        config.change(&Change { on: Some(true), ..Change::default() });
        assert_eq!(config.limit(Class::Icmp), Limit { on: true, rate: 7, burst: 3 });
        let sixteen: Vec<u16> = (1..=16).collect();
        config.change(&Change { class: Some(Class::Ports), ports: Some(sixteen.clone()), ..Change::default() });
        assert_eq!(config.ports(), sixteen);
        config.change(&Change { class: Some(Class::Ports), ports: Some(Vec::new()), ..Change::default() });
        assert_eq!(config.ports(), [0_u16; 0]);
    }
}
