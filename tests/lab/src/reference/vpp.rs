//! What VPP has, by its binary API.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::link::{LinkSide, is_link_local, mac};
use super::{Act, Key, Out, Uplink, VppFib, tidy};
use crate::api::{Api, Fields};
use crate::time::secs;

/// Reads what VPP has.
#[derive(Debug)]
pub struct Reader {
    /// The connection.
    pub api: Api,
    name: &'static str,
    ours: Option<u8>,
    sources: BTreeMap<u8, String>,
}

impl Reader {
    /// Over a connection. `ours` is in the name of the FIB source to look at;
    /// hostnet's comes with its first route.
    pub fn new(api: Api, ours: &'static str) -> Self {
        Self { api, name: ours, ours: None, sources: BTreeMap::new() }
    }

    fn sources(&mut self) -> Result<()> {
        let mut sources = BTreeMap::new();
        self.api.dump("fib_source", &[], secs(10), |mut fields| {
            fields.skip(1)?;
            let id = fields.u8()?;
            let name = String::from_utf8_lossy(fields.take(64)?).trim_end_matches('\0').to_owned();
            sources.insert(id, name);
            Ok(())
        })?;
        self.ours = sources.iter().find(|(_, name)| name.contains(self.name)).map(|(id, _)| *id);
        self.sources = sources;
        Ok(())
    }

    /// VPP's numbers of the tables that there are, with whether of IPv6.
    pub fn tables(&mut self) -> Result<BTreeSet<(u32, bool)>> {
        let mut tables = BTreeSet::new();
        self.api.dump("ip_table", &[], secs(10), |mut fields| {
            tables.insert((fields.u32()?, fields.u8()? == 1));
            Ok(())
        })?;
        Ok(tables)
    }

    /// What is in all tables; `whole`: with the entries of other sources, in
    /// every table of millions a long list.
    pub fn fib(&mut self, uplink: &Uplink, whole: bool) -> Result<VppFib> {
        let mut fib = VppFib::default();
        if self.ours.is_none() {
            self.sources()?;
        }
        let Some(ours) = self.ours.or(whole.then_some(0)) else { return Ok(fib) };
        for (table, is_ip6) in self.tables()? {
            let mut body = vec![if whole { 0 } else { ours }];
            body.extend(table.to_be_bytes());
            body.push(is_ip6.into());
            body.extend([0; 64]);
            let sources = &self.sources;
            self.api.dump("ip_route_v2", &body, Duration::from_secs(300), |mut fields| {
                let (key, source, act) = entry(&mut fields, uplink)?;
                if source == ours {
                    fib.ours.insert(key, tidy(act));
                } else {
                    fib.others.insert(key, sources.get(&source).cloned().unwrap_or_default());
                }
                Ok(())
            })?;
        }
        // By its source VPP tells of none where its own way to the link stands
        // before ours.
        if !whole {
            for is_ip6 in [false, true] {
                let own = uplink.own[usize::from(is_ip6)];
                self.addresses(uplink, is_ip6, |(addr, len)| {
                    fib.others.insert((own, network(addr, len), len), "interface".to_owned());
                })?;
            }
        }
        Ok(fib)
    }

    fn addresses(&mut self, uplink: &Uplink, is_ip6: bool, mut each: impl FnMut((IpAddr, u8))) -> Result<()> {
        let body = [&uplink.sw_if_index.to_be_bytes()[..], &[is_ip6.into()]].concat();
        self.api.dump("ip_address", &body, secs(10), |mut fields| {
            fields.skip(4)?;
            each(fields.prefix()?);
            Ok(())
        })
    }

    /// VPP's uplink, to be compared with the host's device.
    pub fn link(&mut self, uplink: &Uplink) -> Result<LinkSide> {
        let mut side = LinkSide::default();
        let index = uplink.sw_if_index.to_be_bytes();
        let body = [&index[..], &[0; 5]].concat();
        self.api.dump("sw_interface", &body, secs(10), |mut fields| {
            if fields.u32()? != uplink.sw_if_index {
                return Ok(());
            }
            fields.skip(4)?;
            side.mac = mac(fields.take(6)?);
            side.up = fields.u32()? & 1 != 0;
            // Type, duplex, speed, MTU of the link.
            fields.skip(14)?;
            side.mtu = fields.u32()?;
            Ok(())
        })?;
        for is_ip6 in [false, true] {
            let body = [&index[..], &[is_ip6.into()]].concat();
            self.addresses(uplink, is_ip6, |(addr, len)| {
                if !is_link_local(addr) {
                    side.addresses.insert((addr, len));
                }
            })?;
            self.api.dump("ip_neighbor", &body, secs(10), |mut fields| {
                // Age, interface.
                fields.skip(12)?;
                let is_static = fields.u8()? & 1 != 0;
                let mac = mac(fields.take(6)?);
                let is_ip6 = fields.u8()? == 1;
                let addr = fields.address(is_ip6)?;
                if is_static {
                    side.neighbours.insert(addr, mac);
                }
                Ok(())
            })?;
        }
        let answer = self.api.call("sw_interface_ip6_get_link_local_address", &index)?;
        let mut fields = Fields::of(&answer);
        if fields.u32()? == 0 {
            side.link_local.insert(fields.address(true)?);
        }
        Ok(side)
    }

    /// VPP's table of an interface.
    pub fn table_of(&mut self, sw_if_index: u32, is_ip6: bool) -> Result<u32> {
        let body = [&sw_if_index.to_be_bytes()[..], &[is_ip6.into()]].concat();
        let answer = self.api.call("sw_interface_get_table", &body)?;
        let mut fields = Fields::of(&answer);
        ensure!(fields.u32()? == 0, "VPP has no interface {sw_if_index}");
        fields.u32()
    }
}

/// The prefix that an address is in.
fn network(addr: IpAddr, len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => Ipv4Addr::from(addr.to_bits() & !u32::MAX.checked_shr(len.into()).unwrap_or(0)).into(),
        IpAddr::V6(addr) => Ipv6Addr::from(addr.to_bits() & !u128::MAX.checked_shr(len.into()).unwrap_or(0)).into(),
    }
}

fn entry(fields: &mut Fields<'_>, uplink: &Uplink) -> Result<(Key, u8, Act)> {
    let table = fields.u32()?;
    fields.skip(4)?;
    let (addr, len) = fields.prefix()?;
    let (count, source) = (fields.u8()?, fields.u8()?);
    let mut hops = Vec::with_capacity(count.into());
    let mut other = None;
    for _ in 0..count {
        let out = fields.u32()?;
        fields.skip(8)?;
        let weight = fields.u8()?;
        fields.skip(1)?;
        let (kind, _flags, protocol) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let gateway = fields.address(protocol == 1)?;
        // The rest of the next hop, and the labels.
        fields.skip(12 + 1 + 16 * 7)?;
        match kind {
            0 => {
                let out = match out {
                    index if index == uplink.sw_if_index => Out::Uplink,
                    index if index == uplink.tap => Out::Host,
                    index => Out::Other(index),
                };
                // What goes to the host goes to its one neighbour there. To VPP a
                // single address on the link is a neighbour.
                let gateway = Some(gateway).filter(|to| !to.is_unspecified() && out != Out::Host);
                let gateway = gateway.filter(|to| *to != addr || len < if addr.is_ipv4() { 32 } else { 128 });
                hops.push((out, gateway, weight.into()));
            }
            1 => other = Some(Act::Local),
            2 => other = Some(Act::Blackhole),
            5 => other = Some(Act::Unreachable),
            6 => other = Some(Act::Prohibit),
            kind => other = Some(Act::Strange(format!("a path of type {kind}"))),
        }
    }
    let act = match other {
        None if hops.is_empty() => Act::Strange("no path".to_owned()),
        None => Act::Forward(hops),
        Some(act) if hops.is_empty() => act,
        Some(act) => Act::Strange(format!("{hops:?} and {act:?}")),
    };
    // Of a link VPP tells the address that it comes from.
    Ok(((table, network(addr, len), len), source, act))
}
