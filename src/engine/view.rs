//! What `show hostnet` shows, as data. Serialized as it stands for `json`;
//! the fields are documented in the README and do not change their meaning.

use serde::Serialize;

use crate::model::{Backend, IfAddress};

/// One uplink.
#[derive(Clone, Debug, Serialize)]
pub struct UplinkView {
    /// VPP's name of the uplink.
    pub interface: String,
    /// VPP's index of the uplink.
    pub sw_if_index: u32,
    /// VPP's name of the tap, once it is there.
    pub tap: Option<String>,
    /// VPP's index of the tap, once it is there.
    pub tap_sw_if_index: Option<u32>,
    /// Name of the host's device.
    pub host_if: String,
    /// Its namespace as asked for; `-` is the one that VPP runs in.
    pub host_netns: String,
    /// How they are joined.
    pub backend: Backend,
    /// Why that backend.
    pub backend_reason: String,
    /// Whether the default punt redirect leads here.
    pub default_punt: bool,
    /// `enabling`, `enabled`, `disabling`, `failed` (undone, nothing is left)
    /// or `stuck` (an undo failed and is retried).
    pub state: &'static str,
    /// The VLAN, as `802.1Q 7`, of one that the host has on another uplink's
    /// device.
    pub vlan: Option<String>,
    /// The host's addresses.
    pub addresses: Vec<IfAddress>,
    /// Packets that VPP sent to the host since `enable`.
    pub to_host_packets: u64,
    /// Packets that the host sent into VPP since `enable`.
    pub from_host_packets: u64,
    /// How the uplink was taken from Linux; `null` when it was not.
    pub takeover: Option<TakeoverView>,
    /// Each step.
    pub steps: Vec<StepView>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// A takeover.
#[derive(Clone, Debug, Serialize)]
pub struct TakeoverView {
    /// The Linux interface that was taken.
    pub linux_interface: String,
    /// How VPP drives it; `none`: by the user's own commands.
    pub driver: &'static str,
    /// Why that driver.
    pub driver_reason: String,
    /// How long the host was without its network, in microseconds.
    pub interruption_us: Option<u64>,
    /// What VPP cannot hold and the host alone keeps, and why.
    pub kept: Vec<String>,
}

/// A takeover that startup.conf or a journal asked for and that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct NotTakenView {
    /// The Linux interface.
    pub linux_interface: String,
    /// Every reason.
    pub reason: String,
}

/// A journal, as `show hostnet journal` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct JournalView {
    /// Its file's name.
    pub file: String,
    /// The Linux interface.
    pub interface: Option<String>,
    /// `kept`, `taking`, `taken`, `giving` or `home`.
    pub phase: Option<&'static str>,
    /// The namespace that it was taken from.
    pub home: Option<String>,
    /// Where the device is: `netns <name>` or `pci <address>`.
    pub device: Option<String>,
    /// The process that took it.
    pub pid: Option<u32>,
    /// Whether that process lives.
    pub alive: bool,
    /// How many addresses were captured.
    pub addresses: usize,
    /// How many routes.
    pub routes: usize,
    /// The words that asked for it.
    pub request: Option<String>,
    /// Why it is not believed.
    pub fault: Option<String>,
}

/// One step of an uplink's plan.
#[derive(Clone, Debug, Serialize)]
pub struct StepView {
    /// The step's name.
    pub name: &'static str,
    /// `waiting`, `applying`, `done`, `failed`, `undoing`, `undone` or
    /// `undo-failed`.
    pub state: &'static str,
    /// How long its last run took, in microseconds.
    pub took_us: Option<u64>,
    /// Its last error.
    pub error: Option<String>,
}

/// The helper thread.
#[derive(Clone, Debug, Serialize)]
pub struct HelperView {
    /// `idle` (never needed yet), `running` or `dead`.
    pub state: &'static str,
    /// Commands that it was given.
    pub commands: u64,
    /// Reports that it has given.
    pub reports: u64,
    /// Why it died last.
    pub died: Option<String>,
}

/// Panics of ours that were caught. Each is a bug; none ends VPP.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PanicsView {
    /// How many since VPP's start.
    pub count: u64,
    /// Where and why, of the last one.
    pub last: Option<String>,
}

/// Everything of `show hostnet`.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// The plugin's version.
    pub version: &'static str,
    /// The helper thread.
    pub helper: HelperView,
    /// Panics in commands and in the process.
    pub panics: PanicsView,
    /// What was to be taken at VPP's start and was refused.
    pub not_taken: Vec<NotTakenView>,
    /// The uplinks, in the order of their enabling.
    pub uplinks: Vec<UplinkView>,
}
