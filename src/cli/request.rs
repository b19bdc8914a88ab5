//! What a line asks for: the commands' own structs, out of the values read.

use super::grammar::{CommandDef, Handler};
use super::parse::{Cause, Values};
#[cfg(feature = "faults")]
use crate::engine::Step;
use crate::engine::{DriverChoice, EnableRequest, TapChoice, UplinkRequest};
use crate::model::IfName;
use crate::model::police::{Change, Class};

/// A command, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `hostnet enable`
    Enable(EnableRequest),
    /// `hostnet disable`
    Disable {
        /// VPP's index of the uplink.
        sw_if_index: u32,
    },
    /// `hostnet uplink`
    Uplink(UplinkRequest),
    /// `hostnet release`
    Release {
        /// The interface's name in Linux.
        linux_if: IfName,
    },
    /// `hostnet audit`
    Audit {
        /// VPP's index of the uplink.
        sw_if_index: u32,
    },
    /// `show hostnet mirror`
    ShowMirror {
        /// VPP's index of the uplink; all of them with `None`.
        sw_if_index: Option<u32>,
        /// As JSON.
        json: bool,
    },
    /// `hostnet police`
    Police(Change),
    /// `show hostnet police`
    ShowPolice {
        /// As JSON.
        json: bool,
    },
    /// `show hostnet counters`
    ShowCounters {
        /// VPP's index of the uplink; all of them with `None`.
        sw_if_index: Option<u32>,
        /// As JSON.
        json: bool,
    },
    /// `clear hostnet counters`
    ClearCounters,
    /// `show hostnet journal`
    ShowJournal {
        /// As JSON.
        json: bool,
    },
    /// `show hostnet`
    Show {
        /// VPP's index of the uplink; all of them with `None`.
        sw_if_index: Option<u32>,
        /// Everything, as text.
        verbose: bool,
        /// Everything, as JSON; wins over `verbose`.
        json: bool,
    },
    /// `test hostnet fault`
    #[cfg(feature = "faults")]
    Fault {
        /// The step that goes wrong.
        step: Step,
        /// Its undoing goes wrong, not the step itself.
        undo: bool,
        /// How.
        mode: FaultMode,
    },
    /// `test hostnet panic`
    #[cfg(feature = "faults")]
    Panic {
        /// Where.
        place: PanicPlace,
    },
}

/// How a step goes wrong.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultMode {
    /// It returns an error.
    Fail,
    /// It panics.
    Panic,
}

/// Where a panic is provoked.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanicPlace {
    /// In the command's handler.
    Command,
    /// In the process node.
    Process,
    /// In the helper thread.
    Helper,
}

/// From values to the handler's own struct. The names are those of `cli-defs`;
/// a test gives every argument of every command and looks for it here.
pub(super) fn request(command: &CommandDef, mut values: Values) -> Result<Request, Cause> {
    match command.handler {
        Handler::Enable => {
            let sw_if_index = values.interface("interface")?;
            Ok(Request::Enable(EnableRequest { sw_if_index, ..enable(&mut values) }))
        }
        Handler::Disable => Ok(Request::Disable { sw_if_index: values.interface("interface")? }),
        Handler::Uplink => uplink(&mut values).map(Request::Uplink),
        Handler::Release => Ok(Request::Release { linux_if: values.required_ifname("linux-interface")? }),
        Handler::Audit => Ok(Request::Audit { sw_if_index: values.interface("interface")? }),
        Handler::Mirror => {
            Ok(Request::ShowMirror { sw_if_index: values.interface("interface").ok(), json: values.has("json") })
        }
        Handler::Police => police(&mut values).map(Request::Police),
        Handler::Policer => Ok(Request::ShowPolice { json: values.has("json") }),
        Handler::Counters => {
            Ok(Request::ShowCounters { sw_if_index: values.interface("interface").ok(), json: values.has("json") })
        }
        Handler::Clear => Ok(Request::ClearCounters),
        Handler::Journal => Ok(Request::ShowJournal { json: values.has("json") }),
        Handler::Show => Ok(Request::Show {
            sw_if_index: values.interface("interface").ok(),
            verbose: values.has("verbose"),
            json: values.has("json"),
        }),
        #[cfg(feature = "faults")]
        Handler::Fault => {
            let (step, undo) = values.step("step")?;
            let mode = match values.word("how") {
                Some("panic") => FaultMode::Panic,
                _ => FaultMode::Fail,
            };
            Ok(Request::Fault { step, undo, mode })
        }
        #[cfg(feature = "faults")]
        Handler::Panic => Ok(Request::Panic {
            place: match values.word("place") {
                Some("process") => PanicPlace::Process,
                Some("helper") => PanicPlace::Helper,
                _ => PanicPlace::Command,
            },
        }),
    }
}

/// `hostnet uplink`, and an uplink of startup.conf.
pub(super) fn uplink(values: &mut Values) -> Result<UplinkRequest, Cause> {
    Ok(UplinkRequest {
        linux_if: values.required_ifname("linux-interface")?,
        driver: match values.word("driver") {
            None | Some("auto") => DriverChoice::Auto,
            Some("dpdk") => DriverChoice::Dpdk,
            Some("none") => DriverChoice::None,
            // The words of `cli-defs` are those of `Driver`: a test compares.
            Some(word) => word.parse().map_or(DriverChoice::Auto, DriverChoice::This),
        },
        no_iommu: values.has("no-iommu"),
        enable: enable(values),
    })
}

/// `hostnet police`, and an entry of its stanza.
pub(super) fn police(values: &mut Values) -> Result<Change, Cause> {
    let class = values.word("class").and_then(|word| word.parse::<Class>().ok());
    let on = match (values.has("on"), values.has("off")) {
        (true, true) => return Err(Cause::Together("'on' and 'off' are given together; give one of them")),
        (on, off) => (on || off).then_some(on),
    };
    let ports = values.ports("port-list");
    let change = Change { class, ports, rate: values.number("rate"), burst: values.number("burst"), on };
    if change.ports.is_some() && class != Some(Class::Ports) {
        return Err(Cause::Together("ports can be listed behind class 'ports' only; write 'ports 22,830'"));
    }
    let is_rated = change.rate.is_some() || change.burst.is_some();
    if class.is_none() && is_rated {
        return Err(Cause::Together("'all' has no rate of its own; write it with one class, or 'all on' or 'all off'"));
    }
    if is_rated && on == Some(false) {
        return Err(Cause::Together("a rate and 'off' are given together; give one of them"));
    }
    if !is_rated && on.is_none() && change.ports.is_none() {
        return Err(Cause::Together("what is to be done with the class? write rate <n>, burst <n>, on or off"));
    }
    Ok(change)
}

/// The options of `hostnet enable`, which other commands include.
fn enable(values: &mut Values) -> EnableRequest {
    EnableRequest {
        sw_if_index: 0,
        host_if: values.ifname("host-if"),
        host_netns: values.netns("host-netns").unwrap_or_default(),
        tap: match values.word("tap") {
            Some("vhost") => TapChoice::Vhost,
            Some("builtin") => TapChoice::Builtin,
            _ => TapChoice::Auto,
        },
        mtu: values.number("mtu"),
        cluster_cidrs: values.prefixes("cluster-cidr"),
        cluster_mtu: values.number("cluster-mtu"),
        source_check: values.has("source-check"),
        dry_run: values.has("dry-run"),
    }
}
