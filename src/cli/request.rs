//! What a line asks for: the commands' own structs, out of the values read.

use super::grammar::{CommandDef, Handler};
use super::parse::{Cause, Values};
#[cfg(feature = "faults")]
use crate::engine::Step;
use crate::engine::{DriverChoice, EnableRequest, TapChoice, UplinkRequest};
use crate::model::IfName;

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
            Some("none") => DriverChoice::None,
            // The words of `cli-defs` are those of `Driver`: a test compares.
            Some(word) => word.parse().map_or(DriverChoice::Auto, DriverChoice::This),
        },
        no_iommu: values.has("no-iommu"),
        enable: enable(values),
    })
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
        dry_run: values.has("dry-run"),
    }
}
