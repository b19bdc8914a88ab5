//! What `show hostnet mirror` shows, as data. Serialized as it stands for
//! `json`; the fields are documented in the README.

use serde::Serialize;

use super::{ExportView, LinkView, RouteMirrorView};

/// The mirror of one uplink.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MirrorView {
    /// VPP's name of the uplink.
    pub interface: String,
    /// Name of the host's device.
    pub host_if: String,
    /// Both sides are the same, as far as told.
    pub settled: bool,
    /// The kernel is being read anew.
    pub resyncing: bool,
    /// Messages of the kernel.
    pub messages: u64,
    /// Times that the kernel had no room for its messages.
    pub overflows: u64,
    /// Times that the kernel was read anew, the first one included.
    pub resyncs: u64,
    /// Room for the kernel's messages, in bytes, as the kernel counts.
    pub receive_buffer: usize,
    /// From the kernel's telling until VPP was the same, the last time, in
    /// microseconds.
    pub lag_us: u64,
    /// The longest of these.
    pub longest_lag_us: u64,
    /// Batches that VPP's main thread has carried out.
    pub batches: u64,
    /// Its time for them, in microseconds.
    pub main_thread_us: u64,
    /// The longest of it without a break, in microseconds.
    pub longest_slice_us: u64,
    /// The most of the processor's time that one took, in microseconds: without
    /// what the kernel gave to others meanwhile.
    pub longest_slice_cpu_us: u64,
    /// Audits that have ended.
    pub audits: u64,
    /// Differences that the last audit has found, and mended.
    pub last_audit_differences: Option<u64>,
    /// Routes.
    pub routes: RouteMirrorView,
    /// Addresses and link.
    pub link: LinkView,
    /// Routes of VPP's other sources that the host has; `null` where none were
    /// asked for.
    pub export: Option<ExportView>,
    /// What went wrong last.
    pub last_error: Option<String>,
}
