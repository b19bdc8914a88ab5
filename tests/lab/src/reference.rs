//! What VPP must have, worked out from what the kernel has, and what VPP has:
//! a model of the mirror that shares no code with it.
//!
//! The rules, for each table and prefix:
//!
//! - Not looked at: kinds other than unicast, blackhole, unreachable, prohibit,
//!   throw and local, the latter but in the table `local`; routes by TOS and by source.
//! - An address of the host's, as the table `local` has it, is VPP's own, so that VPP
//!   punts what is for it; not one on the host's device, which VPP has of its uplink,
//!   nor one of the loopback's own. The kernel looks there first.
//! - The one of the lowest metric is in force. Several that forward come together
//!   as one multipath route: the kernel takes all of IPv6 in turn, of IPv4 the
//!   first alone, and VPP has room for all.
//! - A route is VPP's if every hop leaves by the host's device of the uplink
//!   and nothing is encapsulated. Otherwise VPP has none of ours there; with
//!   `kernel-only to-host`, one to the host for what leaves by other devices.
//! - What hostnet put into Linux (protocol 118) leads to VPP, and link-local
//!   destinations have a way of VPP's own. Where one of these is in force VPP has
//!   none of ours.
//! - What the kernel made for an address (`proto kernel`) says what is on the
//!   link; where VPP's own such route is, that one stands before ours.

mod link;
mod vpp;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::netns::Netns;
use crate::rtnl::Rtnl;

pub use link::{LinkSide, link, link_differences};
pub use vpp::Reader;

/// The main table, which is the uplink's own in VPP.
pub const MAIN: u32 = 254;
/// The table `local`, which is the kernel's own.
pub const LOCAL: u32 = 255;
const PROTO_KERNEL: u8 = 2;
const PROTO_OURS: u8 = 118;
const UNICAST: u8 = 1;
const TO_HOST: u8 = 2;
const BLACKHOLE: u8 = 6;
const UNREACHABLE: u8 = 7;
const PROHIBIT: u8 = 8;
const THROW: u8 = 9;

/// A route of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Number of its table.
    pub table: u32,
    /// Destination.
    pub addr: IpAddr,
    /// Its length.
    pub len: u8,
    /// `RTN_*`.
    pub kind: u8,
    /// `RTPROT_*`.
    pub protocol: u8,
    /// Type of service.
    pub tos: u8,
    /// For some sources only.
    pub from: bool,
    /// The lowest is in force.
    pub metric: u32,
    /// Where it leads.
    pub hops: Vec<Hop>,
}

/// A next hop of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The device's name.
    pub device: String,
    /// Of any family; none for a destination on the link.
    pub gateway: Option<IpAddr>,
    /// 1 to 256.
    pub weight: u16,
    /// It encapsulates.
    pub encap: bool,
}

/// A place in a FIB: VPP's number of the table, destination, length.
pub type Key = (u32, IpAddr, u8);

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Forwarded; sorted.
    Forward(Vec<(Out, Option<IpAddr>, u32)>),
    /// Dropped silently.
    Blackhole,
    /// Dropped with ICMP unreachable.
    Unreachable,
    /// Dropped with ICMP prohibited.
    Prohibit,
    /// VPP's own: punted to the host.
    Local,
    /// Something that hostnet never does.
    Strange(String),
}

/// Where a packet leaves VPP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Out {
    /// By the uplink.
    Uplink,
    /// By the tap, to the host.
    Host,
    /// By another interface of VPP.
    Other(u32),
}

/// A FIB.
pub type Fib = BTreeMap<Key, Act>;

/// What VPP has.
#[derive(Clone, Debug, Default)]
pub struct VppFib {
    /// Entries whose best source is hostnet's.
    pub ours: Fib,
    /// Entries of other sources: ours may stand behind.
    pub others: BTreeMap<Key, String>,
}

/// The uplink, as both sides name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// The host's device.
    pub device: String,
    /// VPP's uplink.
    pub sw_if_index: u32,
    /// VPP's tap.
    pub tap: u32,
    /// VPP's tables of the uplink, of IPv4 and of IPv6.
    pub own: [u32; 2],
    /// `kernel-only to-host`.
    pub to_host: bool,
}

/// The kernel's routes of a namespace, both families, as `ip` tells them.
pub fn routes(netns: &Netns) -> Result<Vec<Route>> {
    let mut all = Vec::new();
    for family in ["-4", "-6"] {
        let text = netns.output("ip", &["-N", "-j", "-d", family, "route", "show", "table", "all"])?;
        let list: Vec<Value> = if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text)? };
        for shown in &list {
            all.push(route(shown, family == "-6").with_context(|| shown.to_string())?);
        }
    }
    Ok(all)
}

fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn destination(text: &str, is_ip6: bool) -> Option<(IpAddr, u8)> {
    if text == "default" {
        let any: IpAddr = if is_ip6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        return Some((any, 0));
    }
    match text.split_once('/') {
        Some((addr, len)) => Some((addr.parse().ok()?, len.parse().ok()?)),
        None => Some((text.parse().ok()?, if is_ip6 { 128 } else { 32 })),
    }
}

fn hop(shown: &Value) -> Option<Hop> {
    let gateway = shown["gateway"].as_str().or_else(|| shown["via"]["host"].as_str());
    Some(Hop {
        device: shown["dev"].as_str().unwrap_or_default().to_owned(),
        gateway: gateway.map(str::parse).transpose().ok()?,
        weight: u16::try_from(shown["weight"].as_u64().unwrap_or(1)).ok()?,
        encap: !shown["encap"].is_null(),
    })
}

fn route(shown: &Value, is_ip6: bool) -> Option<Route> {
    let (addr, len) = destination(shown["dst"].as_str()?, is_ip6)?;
    let hops = match shown["nexthops"].as_array() {
        Some(hops) => hops.iter().map(hop).collect::<Option<_>>()?,
        None if shown["dev"].is_null() => Vec::new(),
        None => vec![hop(shown)?],
    };
    let tos =
        shown["tos"].as_str().map_or(Some(0), |text| u8::from_str_radix(text.trim_start_matches("0x"), 16).ok())?;
    Some(Route {
        table: number(&shown["table"])?,
        addr,
        len,
        kind: number(&shown["type"])?,
        protocol: number(&shown["protocol"])?,
        tos,
        from: !shown["from"].is_null(),
        metric: u32::try_from(shown["metric"].as_u64().unwrap_or(0)).ok()?,
        hops,
    })
}

/// Works out a FIB from routes, given one after the other.
#[derive(Debug)]
pub struct Model<'a> {
    uplink: &'a Uplink,
    best: BTreeMap<Key, (u32, Choice)>,
    /// The host's addresses; `false` for one on the host's device.
    locals: BTreeMap<Key, bool>,
}

/// What the routes of the lowest metric so far come to.
#[derive(Debug, Clone)]
enum Choice {
    Ours(Act),
    /// The same, made by the kernel for an address; alone or not at all.
    OnLink(Act),
    /// Nobody's business.
    Silent,
    Elsewhere,
    /// What VPP cannot do.
    Never,
}

impl<'a> Model<'a> {
    /// Of no routes yet.
    pub fn new(uplink: &'a Uplink) -> Self {
        Self { uplink, best: BTreeMap::new(), locals: BTreeMap::new() }
    }

    /// One more.
    pub fn add(&mut self, route: &Route) {
        let looked_at = matches!(route.kind, UNICAST | BLACKHOLE | UNREACHABLE | PROHIBIT | THROW);
        let is_link_local = matches!(route.addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
        let own = self.uplink.own[usize::from(route.addr.is_ipv6())];
        if route.kind == TO_HOST && route.table == LOCAL && !is_link_local && !route.addr.is_loopback() {
            let is_elsewhere = self.locals.entry((own, route.addr, route.len)).or_insert(true);
            *is_elsewhere &= route.hops.iter().all(|hop| hop.device != self.uplink.device);
        }
        if !looked_at || is_link_local || route.table == LOCAL || route.tos != 0 || route.from {
            return;
        }
        let key = (if route.table == MAIN { own } else { route.table }, route.addr, route.len);
        let choice = self.choice(route);
        match self.best.get_mut(&key) {
            Some((metric, _)) if *metric < route.metric => {}
            Some((metric, first)) if *metric == route.metric => join(first, choice, route.addr.is_ipv6()),
            _ => drop(self.best.insert(key, (route.metric, choice))),
        }
    }

    fn choice(&self, route: &Route) -> Choice {
        if route.protocol == PROTO_OURS {
            return Choice::Silent;
        }
        if route.protocol == PROTO_KERNEL {
            let is_on_link = |hop: &Hop| hop.device == self.uplink.device && hop.gateway.is_none();
            return match route.hops.as_slice() {
                [hop] if route.kind == UNICAST && is_on_link(hop) => {
                    Choice::OnLink(Act::Forward(vec![(Out::Uplink, None, 1)]))
                }
                _ => Choice::Silent,
            };
        }
        let act = match route.kind {
            BLACKHOLE => return Choice::Ours(Act::Blackhole),
            UNREACHABLE => return Choice::Ours(Act::Unreachable),
            PROHIBIT => return Choice::Ours(Act::Prohibit),
            UNICAST => {
                Act::Forward(route.hops.iter().map(|hop| (Out::Uplink, hop.gateway, hop.weight.into())).collect())
            }
            _ => return Choice::Never,
        };
        if route.hops.iter().any(|hop| hop.device != self.uplink.device) {
            return Choice::Elsewhere;
        }
        if route.hops.is_empty() || route.hops.iter().any(|hop| hop.encap) { Choice::Never } else { Choice::Ours(act) }
    }

    /// The FIB that VPP must have.
    pub fn finish(mut self) -> Fib {
        let locals = std::mem::take(&mut self.locals);
        self.best.retain(|key, _| !locals.contains_key(key));
        let locals = locals.into_iter().filter(|(_, is_elsewhere)| *is_elsewhere).map(|(key, _)| (key, Act::Local));
        let to_host = self.uplink.to_host.then(|| Act::Forward(vec![(Out::Host, None, 1)]));
        let acts = self.best.into_iter().filter_map(|(key, (_, choice))| {
            let act = match choice {
                Choice::Ours(act) | Choice::OnLink(act) => act,
                Choice::Silent | Choice::Never => return None,
                Choice::Elsewhere => to_host.clone()?,
            };
            Some((key, tidy(act)))
        });
        acts.chain(locals).collect()
    }
}

/// Of one metric. Of IPv4 the kernel takes the first: one that drops has the
/// word. Else what forwards comes together, and what is not VPP's spoils the
/// whole; what drops is for when nothing forwards, as the kernel keeps no order
/// of such routes of IPv6.
fn join(first: &mut Choice, second: Choice, is_ip6: bool) {
    let rank = |choice: &Choice| match choice {
        Choice::Silent | Choice::OnLink(_) => 0,
        Choice::Never => 1,
        Choice::Elsewhere => 2,
        Choice::Ours(Act::Forward(_)) => 3,
        Choice::Ours(Act::Blackhole) => 4,
        Choice::Ours(Act::Unreachable) => 5,
        Choice::Ours(_) => 6,
    };
    let (mine, others) = (rank(first), rank(&second));
    match (&mut *first, second) {
        (_, _) if mine == 0 || others == 0 => *first = Choice::Silent,
        (Choice::Ours(Act::Forward(hops)), Choice::Ours(Act::Forward(more))) => hops.extend(more),
        (_, second) if others < mine && (is_ip6 || mine < 4) => *first = second,
        _ => {}
    }
}

/// Sorted; the same path twice is one of twice the weight; weights in a byte
/// as VPP has them.
fn tidy(act: Act) -> Act {
    let Act::Forward(mut hops) = act else { return act };
    hops.sort_unstable();
    hops.dedup_by(|second, first| {
        let same = (first.0, first.1) == (second.0, second.1);
        first.2 += if same { second.2 } else { 0 };
        same
    });
    // Alone, a path has all whatever it weighs.
    if let [only] = &mut *hops {
        only.2 = 1;
    }
    let heaviest = hops.iter().map(|hop| hop.2).max().unwrap_or(1);
    if heaviest > 255 {
        for hop in &mut hops {
            hop.2 = ((hop.2 * 255 + heaviest / 2) / heaviest).max(1);
        }
    }
    Act::Forward(hops)
}

/// The FIB that VPP must have for what the kernel has now, read by `ip`.
pub fn expected(netns: &Netns, uplink: &Uplink) -> Result<Fib> {
    let mut model = Model::new(uplink);
    routes(netns)?.iter().for_each(|route| model.add(route));
    Ok(model.finish())
}

/// The same for tables that are too large for `ip -j`.
pub fn expected_large(netns: &Netns, uplink: &Uplink) -> Result<Fib> {
    let mut model = Model::new(uplink);
    let mut socket = Rtnl::open(netns)?;
    for is_ip6 in [false, true] {
        socket.routes(netns, is_ip6, |route| model.add(&route))?;
    }
    Ok(model.finish())
}

/// Every difference, the first ones in words; `None` for none. What VPP has of
/// another source at an expected place is none: that source stands before ours.
pub fn differences(expected: &Fib, vpp: &VppFib) -> Option<String> {
    let (mut count, mut told) = (0, String::new());
    let mut tell = |line: String| {
        count += 1;
        if count <= 25 {
            // Writing to a String cannot fail.
            let _ = writeln!(told, "  {line}");
        }
    };
    let name = |key: &Key| format!("table {} {}/{}", key.0, key.1, key.2);
    for (key, act) in expected {
        match vpp.ours.get(key) {
            Some(is) if is == act => {}
            Some(is) => tell(format!("{}: {act:?} expected, VPP has {is:?}", name(key))),
            None if vpp.others.contains_key(key) => {}
            None => tell(format!("{}: {act:?} expected, VPP has nothing", name(key))),
        }
    }
    for (key, act) in &vpp.ours {
        if !expected.contains_key(key) {
            tell(format!("{}: nothing expected, VPP has {act:?}", name(key)));
        }
    }
    (count > 0)
        .then(|| format!("{count} routes differ of {} expected, {} in VPP:\n{told}", expected.len(), vpp.ours.len()))
}
