//! Our own TAP driver: VPP's device class over a `/dev/net/tun` file.
//!
//! One queue. Each frame carries a virtio-net header: towards the host it asks
//! the kernel to finish checksums and to take GSO packets whole; from the host
//! it is empty, because the kernel was told that we take no offload.

mod rx;
mod tx;

use std::ffi::{CStr, c_char, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use once_cell::sync::OnceCell;
use vpp_sys as sys;

use super::node::{u32_of, write_text};
use super::{Barrier, BarrierCell, Main, guard};
use crate::model::MacAddr;

pub use rx::{InputNode, input_entry, input_format};

/// The virtio-net header's length, in bytes (TUNSETVNETHDRSZ of the helper).
pub const VNET_HEADER_LEN: usize = size_of::<sys::hns_vnet_hdr_t>();
const _: () = assert!(VNET_HEADER_LEN == 12);

/// What the driver is made of.
#[derive(Debug)]
pub struct Driver {
    /// Counters of the send side.
    pub tx_errors: &'static [&'static CStr],
    /// A sent packet's trace as text.
    pub format_tx: fn(&TxTrace) -> String,
    /// What became of a packet that was not sent, as number of `tx_errors`.
    pub tx_error: fn(TxError) -> u16,
}

/// Why a packet did not reach the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxError {
    /// It lies in more buffers than the driver takes.
    Segments,
    /// The host has set its device down, or it is gone.
    HostDown,
    /// Any other refusal of the kernel.
    Kernel,
}

/// Trace of a packet sent to the host.
#[derive(Clone, Copy, Debug)]
pub struct TxTrace {
    /// The tap's index in VPP.
    pub sw_if_index: u32,
    /// Length of the frame, in bytes.
    pub length: u32,
    /// Its header for the kernel.
    pub header: VnetHeader,
}

/// Trace of a packet received from the host.
#[derive(Clone, Copy, Debug)]
pub struct RxTrace {
    /// The tap's index in VPP.
    pub sw_if_index: u32,
    /// Length of the frame, in bytes.
    pub length: u32,
}

/// The virtio-net header (VIRTIO 1.2, section 5.1.6), as far as it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// VIRTIO_NET_HDR_F_*: 1 asks the receiver to finish the checksum.
    pub flags: u8,
    /// VIRTIO_NET_HDR_GSO_*.
    pub gso_type: u8,
    /// Payload of a segment, in bytes.
    pub gso_size: u16,
    /// Where the checksum begins, and where in there it is put, in bytes.
    pub checksum: (u16, u16),
}

#[derive(Debug)]
struct Instance {
    fd: OwnedFd,
    up: AtomicBool,
    sw_if_index: u32,
    hw_if_index: u32,
    queue_index: u32,
    file_index: u32,
}

/// By device instance. Read by the nodes, changed under the barrier.
static INSTANCES: BarrierCell<Vec<Option<Instance>>> = BarrierCell::new(Vec::new());

struct Input(*const c_void);
// SAFETY: VPP's registration of the input node: written by VPP at init.
unsafe impl Send for Input {}
// SAFETY: as above.
unsafe impl Sync for Input {}

static INPUT: OnceCell<Input> = OnceCell::new();
static DRIVER: OnceCell<&'static Driver> = OnceCell::new();

/// At load only: the registration of the driver's input node.
pub(super) fn set_input(registration: *const c_void) {
    let _ = INPUT.set(Input(registration));
}

/// At load only.
pub(super) fn register(driver: &'static Driver) {
    let errors: Vec<*mut c_char> = driver.tx_errors.iter().map(|text| text.as_ptr().cast_mut()).collect();
    // VPP keeps the array as long as it lives.
    let errors = Box::leak(errors.into_boxed_slice());
    let class = sys::hns_driver_class_t {
        tx: Some(tx::transmit),
        format_tx_trace: Some(tx::format_tx),
        describe: Some(describe),
        admin: Some(admin),
        n_tx_errors: u32_of(errors.len()),
        tx_errors: errors.as_mut_ptr(),
    };
    let _ = DRIVER.set(driver);
    // SAFETY: at load on the main thread; all that is kept is static.
    unsafe { sys::hns_register_driver(&raw const class) };
}

/// Make a VPP interface on a TAP device's file; VPP's index of it. It is down.
pub fn create(barrier: &Barrier<'_>, fd: OwnedFd, mac: MacAddr) -> Result<u32, String> {
    let input = INPUT.get().ok_or("the input node is not registered")?;
    let instance = INSTANCES.write(barrier, |all| {
        let free = all.iter().position(Option::is_none);
        free.unwrap_or_else(|| {
            all.push(None);
            all.len() - 1
        })
    });
    let number = u32::try_from(instance).map_err(|_| "too many taps")?;
    let mut raw = sys::hns_driver_if_t::default();
    // SAFETY: barrier held; the MAC has six bytes, the file stays open until
    // after `hns_driver_delete`, the registration is VPP's own.
    unsafe {
        sys::hns_driver_create(barrier.vm(), number, mac.0.as_ptr(), fd.as_raw_fd(), input.0, &raw mut raw);
    }
    INSTANCES.write(barrier, |all| {
        all[instance] = Some(Instance {
            fd,
            up: AtomicBool::new(false),
            sw_if_index: raw.sw_if_index,
            hw_if_index: raw.hw_if_index,
            queue_index: raw.queue_index,
            file_index: raw.file_index,
        });
    });
    Ok(raw.sw_if_index)
}

/// Delete an interface of this driver and close its file, with which the
/// host's device goes. `false` when it is not one.
pub fn delete(barrier: &Barrier<'_>, sw_if_index: u32) -> bool {
    let find = |all: &mut Vec<Option<Instance>>| {
        all.iter().position(|i| i.as_ref().is_some_and(|i| i.sw_if_index == sw_if_index))
    };
    let found = INSTANCES
        .write(barrier, |all| find(all).and_then(|at| all[at].as_ref().map(|i| (at, i.hw_if_index, i.file_index))));
    let Some((at, hw_if_index, file_index)) = found else { return false };
    // VPP calls back (`admin`) inside, so the cell is not in use here.
    // SAFETY: barrier held; both indices are this instance's own.
    unsafe { sys::hns_driver_delete(hw_if_index, file_index) };
    INSTANCES.write(barrier, |all| all[at] = None);
    true
}

mod raw {
    nix::ioctl_write_ptr_bad!(tun_set_carrier, nix::libc::TUNSETCARRIER, nix::libc::c_int);
}

/// Give the host's device of this driver carrier, or take it
/// (`TUNSETCARRIER`). A device that is down refuses.
pub fn set_carrier(barrier: &Barrier<'_>, sw_if_index: u32, up: bool) -> Result<(), String> {
    let carrier = nix::libc::c_int::from(up);
    INSTANCES.write(barrier, |all| {
        let instance = all.iter().flatten().find(|instance| instance.sw_if_index == sw_if_index);
        let fd = &instance.ok_or("it is not a tap of ours")?.fd;
        // SAFETY: the file is open as long as the instance; the kernel reads
        // one int, which lives on this stack.
        let set = unsafe { raw::tun_set_carrier(fd.as_raw_fd(), &raw const carrier) };
        set.map(drop).map_err(|error| format!("the carrier of the host's device cannot be set: {error}"))
    })
}

unsafe extern "C" fn admin(instance: u32, up: i32) {
    let _ = guard(|| {
        // SAFETY: VPP sets states on its main thread; the barrier below is
        // recursive, VPP mostly holds it already.
        let main = unsafe { Main::current() };
        let barrier = main.barrier();
        let queue = INSTANCES.write(&barrier, |all| {
            let instance = all.get(instance as usize).and_then(Option::as_ref)?;
            instance.up.store(up != 0, Ordering::Relaxed);
            Some(instance.queue_index)
        });
        if let Some(queue) = queue.filter(|_| up != 0) {
            // What arrived while it was down was announced once; look now.
            // SAFETY: on the main thread; the shim checks the index.
            unsafe { sys::hns_driver_set_pending(queue) };
        }
    });
}

unsafe extern "C" fn describe(instance: u32, out: *mut u8, room: u64) -> u64 {
    let text = || {
        // SAFETY: VPP formats on its main thread.
        let main = unsafe { Main::current() };
        let barrier = main.barrier();
        INSTANCES.write(&barrier, |all| match all.get(instance as usize) {
            Some(Some(i)) => format!(
                "hostnet TAP, file descriptor {}, {}",
                i.fd.as_raw_fd(),
                if i.up.load(Ordering::Relaxed) { "up" } else { "down" }
            ),
            _ => "hostnet TAP".to_owned(),
        })
    };
    // SAFETY: the shim's promise on `out`.
    unsafe { write_text(text, out, room) }
}
