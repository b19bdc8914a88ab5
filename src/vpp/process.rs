//! The process node, and files in VPP's main loop.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use once_cell::sync::OnceCell;
use vpp_sys as sys;

use super::node::Context;
use super::registration::hooks;
use super::{Main, guard};

/// A process node of VPP: runs on the main thread on its own stack.
#[derive(Debug)]
pub struct Process {
    /// The node's name.
    pub name: &'static CStr,
    /// Called for each wake-up; never waits. Returns after how long it wants
    /// to be called without one; zero: when VPP's main loop has gone round once.
    pub run: fn(&Main<'_>) -> Option<Duration>,
    /// A panic in `run`, with its text.
    pub panicked: fn(&Main<'_>, &str),
}

/// 2^18 bytes, as VPP's own CLI has: formatting and serde are not frugal.
const LOG2_STACK: u32 = 18;

struct Registered(*const std::ffi::c_void);
// SAFETY: VPP's registration of the node: written by VPP at init, read after.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

static NODE: OnceCell<Registered> = OnceCell::new();

/// At load only.
pub(super) fn register(process: &Process) {
    // SAFETY: at load on the main thread; the name is static, which VPP does
    // not change although it takes a mutable pointer.
    let node = unsafe { sys::hns_register_process(process.name.as_ptr().cast_mut(), LOG2_STACK, Some(entry)) };
    let _ = NODE.set(Registered(node));
}

/// Wake the process. It runs after the present event is done with; from within
/// the process itself at once, before anything else of VPP's main loop.
pub fn signal(main: &Main<'_>) {
    if let Some(node) = NODE.get() {
        // SAFETY: on the main thread; the index was filled in at init.
        unsafe { sys::hns_process_signal(main.vm(), sys::hns_node_index(node.0)) };
    }
}

/// Wake the process from a graph node, on any thread of VPP's. It takes a lock of
/// VPP's and some of its heap on a worker: for what is rare.
pub fn signal_from_node(ctx: &Context<'_>) {
    if let Some(node) = NODE.get() {
        // SAFETY: the call's own vm; the index was filled in at init.
        unsafe { sys::hns_process_signal_mt(ctx.vm(), sys::hns_node_index(node.0)) };
    }
}

unsafe extern "C" fn entry(vm: *mut sys::vlib_main_t) -> f64 {
    // SAFETY: VPP runs processes on its main thread.
    let main = unsafe { Main::new(vm) };
    let again = guard(|| hooks().and_then(|hooks| (hooks.process.run)(&main))).unwrap_or_else(|text| {
        log::error!("the process panicked: {text}");
        let _ = guard(|| hooks().map(|hooks| (hooks.process.panicked)(&main, &text)));
        // Look again at once: work may be waiting behind what panicked.
        Some(Duration::from_millis(1))
    });
    // Negative: to be woken only.
    again.map_or(-1.0, |after| after.as_secs_f64())
}

/// A file in VPP's main loop; out of it when dropped.
#[derive(Debug)]
pub struct File {
    index: u32,
}

impl File {
    /// Wake the process whenever `fd` is readable. `fd` must stay open as long
    /// as the value lives.
    pub fn wakes_process(_main: &Main<'_>, fd: BorrowedFd<'_>, description: &CStr) -> Self {
        // SAFETY: on the main thread; VPP copies the description and does not
        // close the descriptor.
        let index = unsafe { sys::hns_file_add(fd.as_raw_fd(), description.as_ptr(), 0, Some(readable)) };
        Self { index }
    }

    /// Out of the main loop.
    pub fn remove(self, _main: &Main<'_>) {
        // SAFETY: on the main thread; the index is this file's own.
        unsafe { sys::hns_file_del(self.index) };
    }
}

unsafe extern "C" fn readable(_data: u64) {
    // SAFETY: VPP polls these files on its main thread.
    signal(&unsafe { Main::current() });
}
