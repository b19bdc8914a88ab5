//! VPP's framework of device drivers, behind its `device attach`: iavf, ige,
//! atlantic and whatever else is loaded.
//!
//! Its work is done by a process for each device, and takes its time: a card's
//! reset, its firmware's answers. Nothing of ours sleeps over that. There is one
//! job at a time, done by a process of its own, which wakes ours.
//!
//! VPP 26.06 has faults here that the shim makes up for: a card is never closed;
//! a driver that refuses one leaves behind what makes VPP abort the next time, and
//! so does an interface that is deleted; queues are polled after they are freed.

use std::ffi::{CStr, CString, c_char};

use vpp_sys as sys;

use crate::model::MacAddr;
use crate::vpp::cli::text_of;
use crate::vpp::process::signal;
use crate::vpp::{Barrier, Main, MainCell, NO_INTERFACE, guard};

/// Its stack: as that of our own process.
const LOG2_STACK: u32 = 18;

/// What VPP knows a card by.
fn id(pci: &str) -> String {
    format!("pci/{pci}")
}

/// What is to be done with a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Give it to the driver that takes it, make an interface on its first
    /// port, dress that and set it up.
    Attach {
        /// The interface's name.
        name: String,
        /// Its MAC.
        mac: MacAddr,
        /// Its MTU, in bytes.
        mtu: u32,
        /// Number of the card's IOMMU group.
        group: i32,
    },
    /// Take interface and driver away; none is no error.
    Detach,
}

/// What became of a job: the interface's index, of [`Job::Attach`] alone. After
/// an error nothing of it is left.
pub type Outcome = Result<u32, String>;

/// At load only.
pub(in crate::vpp) fn register() {
    const NAME: &CStr = c"hostnet-devices";
    // SAFETY: at load on the main thread; the name is static, which VPP does
    // not change although it takes a mutable pointer.
    unsafe { sys::hns_register_device_process(NAME.as_ptr().cast_mut(), LOG2_STACK, Some(work), Some(done)) };
}

/// What is done with the interface besides, by the process that asks VPP: each
/// change of its addresses may be one of the card's filters, and sleeps. Behind
/// a driver, before it is taken away, and with its index after it was made.
pub type Work = Box<dyn FnOnce(&Barrier<'_>, Option<u32>) -> Result<(), String>>;

static WORK: MainCell<Option<Work>> = MainCell::new(None);

unsafe extern "C" fn work(vm: *mut sys::vlib_main_t, sw_if_index: u32, error: *mut u8, room: u64) {
    // SAFETY: VPP runs processes on its main thread.
    let main = unsafe { Main::new(vm) };
    let index = (sw_if_index != NO_INTERFACE).then_some(sw_if_index);
    // Taken out first: it may sleep.
    let found = WORK.with(&main, Option::take).flatten();
    let ended = guard(|| found.map_or(Ok(()), |work| work(&main.barrier(), index)));
    let text = match ended {
        Ok(Ok(())) => return,
        Ok(Err(text)) => text,
        Err(panic) => format!("panic: {panic}"),
    };
    let room = usize::try_from(room).unwrap_or(0).saturating_sub(1);
    let n = text.len().min(room);
    // SAFETY: the field has `room` bytes and one more, which had zeros.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), error, n) };
}

unsafe extern "C" fn done() {
    // SAFETY: VPP runs processes on its main thread.
    signal(&unsafe { Main::current() });
}

/// Whether VPP has any such driver.
pub(super) fn any(_main: &Main<'_>) -> bool {
    // SAFETY: on the main thread; reads only.
    unsafe { sys::hns_device_drivers() > 0 }
}

/// The driver that would take the card, as `device attach` finds it.
pub fn driver_of(main: &Main<'_>, pci: &str) -> Option<String> {
    let id = CString::new(id(pci)).ok()?;
    let mut name = [0_u8; 32];
    // SAFETY: on the main thread; the id ends with a NUL, and so does what is
    // written of the name, which had zeros.
    let found = unsafe { sys::hns_device_probe(main.vm(), id.as_ptr(), name.as_mut_ptr(), name.len() as u64) };
    (found != 0).then(|| text_of(&name))
}

/// Begin a job, with what is to be done besides; `false` while another one is under way, or its outcome has not
/// been taken.
pub fn begin(main: &Main<'_>, pci: &str, job: &Job, work: &mut Option<Work>) -> bool {
    let mut raw = sys::hns_device_job_t { group: -1, ..sys::hns_device_job_t::default() };
    write(&mut raw.id, &id(pci));
    match job {
        Job::Attach { name, mac, mtu, group } => {
            write(&mut raw.name, name);
            (raw.mac, raw.mtu, raw.group) = (mac.0, *mtu, *group);
        }
        Job::Detach => raw.detach = 1,
    }
    // SAFETY: on the main thread; VPP's side copies the job.
    let asked = unsafe { sys::hns_device_ask(main.vm(), &raw const raw) != 0 };
    if asked {
        WORK.with(main, |slot| *slot = work.take());
    }
    asked
}

/// The outcome of the last job, once.
pub fn outcome(_main: &Main<'_>) -> Option<Outcome> {
    let mut raw = sys::hns_device_job_t::default();
    // SAFETY: on the main thread; the shim fills `raw`.
    let is_there = unsafe { sys::hns_device_take_result(&raw mut raw) != 0 };
    is_there.then(|| {
        let error = text_of(&raw.error);
        if error.is_empty() { Ok(raw.sw_if_index) } else { Err(error) }
    })
}

/// VPP is deleting the interface of a card, by whosever command: VPP 26.06 would
/// go on polling its queues after it has freed them.
pub fn deleted(barrier: &Barrier<'_>, sw_if_index: u32) {
    // SAFETY: barrier held; the interface is still there, and of the framework.
    unsafe { sys::hns_device_deleted(barrier.vm(), sw_if_index) };
}

/// At VPP's exit, where no job can be done any more: close the card, if the
/// driver has it open.
pub fn close_at_exit(barrier: &Barrier<'_>, pci: &str, opened: bool) {
    if let Ok(id) = CString::new(id(pci)) {
        // SAFETY: barrier held, and no worker runs again after it.
        unsafe { sys::hns_device_close_at_exit(barrier.vm(), id.as_ptr(), i32::from(opened)) };
    }
}

/// As much of the text as fits, with a NUL behind it: the field has zeros.
fn write<const N: usize>(field: &mut [c_char; N], text: &str) {
    for (to, from) in field.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
}
