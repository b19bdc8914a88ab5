//! What the tests of the mirror share: both sides of an uplink under watch.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::machine::{Machine, MachineOptions};
use hostnet_lab::netns::Netns;
use hostnet_lab::reference::{self, Act, Fib, Key, LOCAL, Out, Reader, Route, Uplink, VppFib};
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::Lab;
use hostnet_lab::vpp::Vpp;
use serde_json::Value;

use crate::takeover_support::{bare, take};

/// The words of the FIB source's name.
const SOURCE: &str = "hostnet";

/// A machine whose host has next to nothing yet.
pub(crate) fn machine() -> MachineOptions {
    bare()
}

/// The same with `mirror { ... }` in the stanza.
pub(crate) fn machine_with(mirror: &str) -> MachineOptions {
    MachineOptions { stanza: format!("mirror {{ {mirror} }}"), ..bare() }
}

/// What the host begins with: both families, and another device that leads
/// elsewhere.
const BEGIN: &str = "\
link set eth0 up
addr add 192.0.2.10/24 dev eth0
addr add 2001:db8:1::10/64 dev eth0 nodad
link add other type veth peer name other-end
link set other up
link set other-end up
addr add 203.0.113.130/25 dev other
addr add 2001:db8:77::1/64 dev other nodad";

/// Both sides of an uplink.
pub(crate) struct Watched<'a> {
    pub(crate) host: &'a Netns,
    pub(crate) uplink: Uplink,
    /// VPP's name of it.
    pub(crate) name: String,
    vpp: Side<'a>,
    reader: Mutex<Reader>,
}

enum Side<'a> {
    Machine(Arc<Vpp>),
    Lab(&'a Vpp),
}

impl<'a> Watched<'a> {
    /// Dress the host, take its NIC, and watch it.
    pub(crate) fn begin(machine: &'a Machine) -> Result<Self> {
        machine.host.ip(BEGIN)?;
        let vpp = machine.vpp()?;
        let shown = take(&vpp, "eth0", "")?;
        Self::taken(machine, &shown)
    }

    /// A NIC that is taken, as `show hostnet json` shows it.
    pub(crate) fn taken(machine: &'a Machine, shown: &Value) -> Result<Self> {
        Self::new(&machine.host, Side::Machine(machine.vpp()?), shown)
    }

    /// An uplink of a lab's that is enabled.
    pub(crate) fn enabled(lab: &'a Lab, shown: &Value) -> Result<Self> {
        Self::new(&lab.host, Side::Lab(&lab.vpp), shown)
    }

    fn new(host: &'a Netns, vpp: Side<'a>, shown: &Value) -> Result<Self> {
        let api = match &vpp {
            Side::Machine(vpp) => vpp.api()?,
            Side::Lab(vpp) => vpp.api()?,
        };
        let mut reader = Reader::new(api, SOURCE);
        let number = |field: &str| -> Result<u32> {
            Ok(u32::try_from(shown[field].as_u64().with_context(|| format!("no {field} in {shown:#}"))?)?)
        };
        let sw_if_index = number("sw_if_index")?;
        let uplink = Uplink {
            device: shown["host_if"].as_str().context("no name of the device")?.to_owned(),
            sw_if_index,
            tap: number("tap_sw_if_index")?,
            own: [reader.table_of(sw_if_index, false)?, reader.table_of(sw_if_index, true)?],
            to_host: false,
        };
        let name = shown["interface"].as_str().context("no name of the uplink")?.to_owned();
        Ok(Self { host, uplink, name, vpp, reader: Mutex::new(reader) })
    }

    pub(crate) fn vpp(&self) -> &Vpp {
        match &self.vpp {
            Side::Machine(vpp) => vpp,
            Side::Lab(vpp) => vpp,
        }
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What VPP has.
    pub(crate) fn fib(&self) -> Result<VppFib> {
        self.reader().fib(&self.uplink, true)
    }

    /// What `show hostnet mirror json` says of it.
    pub(crate) fn mirror(&self) -> Result<Value> {
        let text = self.vpp().ctl(&format!("show hostnet mirror {} json", self.name))?;
        let view: Value = serde_json::from_str(&text).with_context(|| format!("'show hostnet mirror' said: {text}"))?;
        view.get(0).cloned().context("no mirror is shown")
    }

    /// A number of it, by its path.
    pub(crate) fn count(&self, path: &str) -> Result<u64> {
        let view = self.mirror()?;
        view.pointer(path).and_then(Value::as_u64).with_context(|| format!("no {path} in {view:#}"))
    }

    /// Every difference there is now.
    fn differences(&self) -> Result<Option<String>> {
        let expected = reference::expected(self.host, &self.uplink)?;
        let mut told = reference::differences(&expected, &self.fib()?).unwrap_or_default();
        let (linux, vpp) = (reference::link(self.host, &self.uplink.device)?, self.reader().link(&self.uplink)?);
        told += &reference::link_differences(&linux, &vpp).unwrap_or_default();
        Ok((!told.is_empty()).then_some(told))
    }

    /// Kernel, VPP and model agree, once everything has been told.
    pub(crate) fn agree(&self) -> Result<()> {
        self.agree_within(secs(10))
    }

    pub(crate) fn agree_within(&self, timeout: Duration) -> Result<()> {
        until("kernel, VPP and model agree", timeout, || match self.differences()? {
            None => Ok(Some(())),
            Some(told) => bail!("{told}"),
        })
        .with_context(|| format!("{:#}", self.mirror().unwrap_or_default()))?;
        until("the mirror says that it is settled", timeout, || Ok((self.mirror()?["settled"] == true).then_some(())))
    }

    /// An audit finds nothing.
    pub(crate) fn audit(&self) -> Result<()> {
        let said = self.vpp().session()?.run_within(&format!("hostnet audit {}", self.name), secs(60))?;
        ensure!(said.contains("are the same"), "'hostnet audit' said '{}'; {:#}", said.trim(), self.mirror()?);
        Ok(())
    }

    /// Commands for the host, then both sides agree.
    pub(crate) fn linux(&self, commands: &str) -> Result<()> {
        self.host.ip(commands)?;
        self.agree().with_context(|| format!("after {commands}"))
    }

    /// What VPP has of us at a prefix of a table of its own.
    pub(crate) fn at(&self, table: u32, prefix: &str) -> Result<Option<Act>> {
        Ok(self.fib()?.ours.remove(&key(table, prefix)?))
    }

    /// That this is it, after a while.
    pub(crate) fn wait_at(&self, prefix: &str, act: Option<&Act>) -> Result<()> {
        let table = self.uplink.own.get(usize::from(prefix.contains(':'))).copied().unwrap_or_default();
        self.wait_in(table, prefix, act)
    }

    pub(crate) fn wait_at_within(&self, prefix: &str, act: Option<&Act>, timeout: Duration) -> Result<()> {
        let table = self.uplink.own.get(usize::from(prefix.contains(':'))).copied().unwrap_or_default();
        until(&format!("{prefix} is {act:?}"), timeout, || {
            let is = self.at(table, prefix)?;
            ensure!(is.as_ref() == act, "VPP has {is:?}");
            Ok(Some(()))
        })
    }

    /// The same in a table.
    pub(crate) fn wait_in(&self, table: u32, prefix: &str, act: Option<&Act>) -> Result<()> {
        until(&format!("{prefix} is {act:?}"), secs(5), || {
            let is = self.at(table, prefix)?;
            ensure!(is.as_ref() == act, "VPP has {is:?}");
            Ok(Some(()))
        })
    }

    /// The host's routes, without those that hostnet put there.
    pub(crate) fn kernel(&self) -> Result<Vec<Route>> {
        let mut routes = reference::routes(self.host)?;
        // The kernel makes those of `local` by itself, some a moment later.
        routes.retain(|route| route.protocol != 118 && route.table != LOCAL);
        Ok(routes)
    }

    /// The FIB that VPP must have for what the kernel has now.
    pub(crate) fn expected_large(&self) -> Result<Fib> {
        reference::expected_large(self.host, &self.uplink)
    }

    /// A large table is exact.
    pub(crate) fn exact(&self) -> Result<()> {
        let expected = self.expected_large()?;
        let fib = self.reader().fib(&self.uplink, false)?;
        match reference::differences(&expected, &fib) {
            None => Ok(()),
            Some(told) => bail!("{told}"),
        }
    }
}

/// Key of a prefix in a table of VPP's.
pub(crate) fn key(table: u32, prefix: &str) -> Result<Key> {
    let (addr, len) = prefix.split_once('/').context("a prefix without length")?;
    Ok((table, addr.parse()?, len.parse()?))
}

/// Forwarded by the uplink, over gateways with weights; `-` for none.
pub(crate) fn via(hops: &[(&str, u32)]) -> Result<Act> {
    let hop = |(gateway, weight): &(&str, u32)| -> Result<(Out, Option<IpAddr>, u32)> {
        let gateway = if *gateway == "-" { None } else { Some(gateway.parse()?) };
        Ok((Out::Uplink, gateway, *weight))
    };
    let mut hops = hops.iter().map(hop).collect::<Result<Vec<_>>>()?;
    hops.sort_unstable();
    Ok(Act::Forward(hops))
}
