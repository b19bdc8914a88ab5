//! Our own TAP driver: VPP's device class over a `/dev/net/tun` file.
//!
//! One queue. Each frame carries a virtio-net header: towards the host it asks
//! the kernel to finish checksums and to take GSO packets whole; from the host
//! it is empty, because the kernel was told that we take no offload.

use std::ffi::{CStr, c_char, c_void};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::uio::{readv, writev};
use once_cell::sync::OnceCell;
use smallvec::SmallVec;
use vpp_sys as sys;

use super::node::{Context, FRAME_SIZE, add_trace, buffers_of, u32_of, write_text};
use super::{Barrier, BarrierCell, Main, guard};
use crate::model::MacAddr;

/// The virtio-net header's length, in bytes (TUNSETVNETHDRSZ of the helper).
pub const VNET_HEADER_LEN: usize = size_of::<sys::hns_vnet_hdr_t>();
const _: () = assert!(VNET_HEADER_LEN == 12);

/// Buffers that the largest frame of a TAP device fills: 64 KiB in 2 KiB.
const RX_SEGMENTS: usize = 33;
/// Buffers of a packet towards the host at most: a GSO packet of 64 KiB, in
/// buffers that a reassembly may have filled badly.
const TX_SEGMENTS: usize = 128;

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
        tx: Some(transmit),
        format_tx_trace: Some(format_tx),
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

// ===== towards the host =====

unsafe extern "C" fn transmit(
    vm: *mut sys::vlib_main_t,
    node: *mut sys::vlib_node_runtime_t,
    frame: *mut sys::vlib_frame_t,
) -> u64 {
    // SAFETY: the pointers are those of this call.
    let ctx = unsafe { Context::new(vm, node) };
    // SAFETY: the frame is this call's.
    let buffers = unsafe { buffers_of(frame) };
    let mut dropped = 0_u32;
    let mut tap = super::NO_INTERFACE;
    // A panic leaves the buffers with us: all are freed below in any case.
    let _ = guard(|| {
        // SAFETY: the output node's runtime names its instance.
        let number = unsafe { sys::hns_driver_tx_instance(node) };
        let Some(Some(instance)) = INSTANCES.read(&ctx).get(number as usize) else { return };
        tap = instance.sw_if_index;
        for index in buffers.iter() {
            if let Err(error) = send(&ctx, instance, *index) {
                dropped += 1;
                if let Some(driver) = DRIVER.get() {
                    ctx.count((driver.tx_error)(error), 1);
                }
            }
        }
    });
    let n = u32_of(buffers.len());
    // SAFETY: the buffers are this frame's; each is freed once.
    unsafe {
        if dropped > 0 {
            sys::hns_drop_count(vm, tap, dropped);
        }
        sys::hns_buffer_free(vm, buffers.as_mut_ptr(), n);
    }
    u64::from(n)
}

fn send(ctx: &Context<'_>, instance: &Instance, index: u32) -> Result<(), TxError> {
    let mut header = sys::hns_vnet_hdr_t::default();
    let mut bases = [std::ptr::null_mut::<u8>(); TX_SEGMENTS];
    let mut lengths = [0_u32; TX_SEGMENTS];
    // SAFETY: the buffer is this frame's; the arrays have the room named.
    let (buffer, n) = unsafe {
        let buffer = sys::hns_buffer(ctx.vm(), index);
        sys::hns_buffer_offload(buffer, &raw mut header);
        let room = u32_of(TX_SEGMENTS);
        let (bases, lengths) = (bases.as_mut_ptr(), lengths.as_mut_ptr());
        (buffer, sys::hns_buffer_segments(ctx.vm(), index, bases, lengths, room))
    };
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    if n > TX_SEGMENTS {
        return Err(TxError::Segments);
    }
    let header_bytes = header_bytes(&header);
    let mut io: SmallVec<[IoSlice<'_>; 8]> = SmallVec::new();
    io.push(IoSlice::new(&header_bytes));
    for (base, length) in bases[..n].iter().zip(&lengths[..n]) {
        // SAFETY: VPP keeps a buffer's current data inside the buffer, and the
        // buffers are freed after the write.
        io.push(IoSlice::new(unsafe { std::slice::from_raw_parts(*base, *length as usize) }));
    }
    let length: u32 = lengths[..n].iter().sum();
    add_trace(ctx, buffer, || TxTrace { sw_if_index: instance.sw_if_index, length, header: shown(&header) });
    loop {
        match writev(instance.fd.as_fd(), &io) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            // The kernel's words for a device that is down, or deleted.
            Err(Errno::EIO | Errno::EBADFD) => return Err(TxError::HostDown),
            Err(_) => return Err(TxError::Kernel),
        }
    }
}

/// The header as the kernel reads it: host byte order (TUNSETVNETLE unset).
fn header_bytes(h: &sys::hns_vnet_hdr_t) -> [u8; VNET_HEADER_LEN] {
    let mut out = [0; VNET_HEADER_LEN];
    out[0] = h.flags;
    out[1] = h.gso_type;
    let words = [h.hdr_len, h.gso_size, h.csum_start, h.csum_offset, h.num_buffers];
    for (at, word) in out[2..].chunks_exact_mut(2).zip(words) {
        at.copy_from_slice(&word.to_ne_bytes());
    }
    out
}

fn shown(h: &sys::hns_vnet_hdr_t) -> VnetHeader {
    VnetHeader { flags: h.flags, gso_type: h.gso_type, gso_size: h.gso_size, checksum: (h.csum_start, h.csum_offset) }
}

unsafe extern "C" fn format_tx(trace: *const c_void, out: *mut u8, room: u64) -> u64 {
    // SAFETY: written by `send`; `out` has `room` bytes.
    unsafe {
        let trace = trace.cast::<TxTrace>().read_unaligned();
        write_text(|| DRIVER.get().map(|d| (d.format_tx)(&trace)).unwrap_or_default(), out, room)
    }
}

// ===== from the host =====

/// An input node over this driver.
pub trait InputNode {
    /// Counter of frames that found no buffer.
    const NO_BUFFER: u16;
    /// Counter of reads that the kernel refused.
    const READ_ERROR: u16;
    /// A received packet's trace as text.
    fn format(trace: &RxTrace) -> String;
}

/// The node function of an [`InputNode`], as VPP calls it.
///
/// # Safety
/// VPP alone calls it.
pub unsafe extern "C" fn input_entry<N: InputNode>(
    vm: *mut sys::vlib_main_t,
    node: *mut sys::vlib_node_runtime_t,
    _frame: *mut sys::vlib_frame_t,
) -> u64 {
    // SAFETY: the pointers are those of this call.
    let ctx = unsafe { Context::new(vm, node) };
    let mut numbers = [0_u32; 64];
    // SAFETY: the array has the room named; the node is an input node.
    let n = unsafe { sys::hns_driver_pending(vm, node, numbers.as_mut_ptr(), u32_of(numbers.len())) };
    let mut received = 0;
    for number in numbers.iter().take(n as usize) {
        received += guard(|| match INSTANCES.read(&ctx).get(*number as usize) {
            Some(Some(instance)) if instance.up.load(Ordering::Relaxed) => receive::<N>(&ctx, instance),
            _ => 0,
        })
        .unwrap_or_else(|_| {
            ctx.count(0, 1);
            0
        });
    }
    received
}

/// Buffers allocated ahead of the reads; what is left is given back.
struct Spare<'a> {
    ctx: &'a Context<'a>,
    indices: [u32; RX_SEGMENTS],
    len: usize,
}

impl Spare<'_> {
    fn fill(&mut self) -> bool {
        let missing = RX_SEGMENTS - self.len;
        // SAFETY: the array has room for what is missing.
        let got = unsafe {
            let at = self.indices[self.len..].as_mut_ptr();
            sys::hns_buffer_alloc(self.ctx.vm(), at, u32_of(missing))
        };
        self.len += got as usize;
        self.len == RX_SEGMENTS
    }

    /// The first `n` are used; the rest move up.
    fn take(&mut self, n: usize) -> u32 {
        let first = self.indices[0];
        self.indices.copy_within(n..self.len, 0);
        self.len -= n;
        first
    }
}

impl Drop for Spare<'_> {
    fn drop(&mut self) {
        // SAFETY: these buffers are ours alone.
        unsafe {
            sys::hns_buffer_free(self.ctx.vm(), self.indices.as_mut_ptr(), u32_of(self.len));
        }
    }
}

fn receive<N: InputNode>(ctx: &Context<'_>, instance: &Instance) -> u64 {
    let mut spare = Spare { ctx, indices: [0; RX_SEGMENTS], len: 0 };
    let mut packets = [0_u32; FRAME_SIZE];
    let mut lengths = [0_u32; FRAME_SIZE];
    let mut n = 0;
    let mut drained = false;
    while n < FRAME_SIZE {
        if !spare.fill() {
            ctx.count(N::NO_BUFFER, 1);
            break;
        }
        match read_frame(ctx, instance, &mut spare) {
            Ok(Some((index, length))) => {
                packets[n] = index;
                lengths[n] = length;
                n += 1;
            }
            Ok(None) => {
                drained = true;
                break;
            }
            Err(_) => {
                ctx.count(N::READ_ERROR, 1);
                drained = true;
                break;
            }
        }
    }
    if !drained {
        // The file is edge-triggered: nobody will tell of what is left.
        // SAFETY: the shim checks the index; this thread owns the queue.
        unsafe { sys::hns_driver_set_pending(instance.queue_index) };
    }
    if n > 0 {
        let traced = trace(ctx, instance, &packets[..n], &lengths[..n]);
        let bytes: u64 = lengths[..n].iter().map(|l| u64::from(*l)).sum();
        // SAFETY: the packets are ours until here.
        unsafe {
            sys::hns_driver_rx_enqueue(
                ctx.vm(),
                ctx.node(),
                packets.as_mut_ptr(),
                u32_of(n),
                instance.sw_if_index,
                instance.hw_if_index,
                bytes,
                i32::from(traced),
            );
        }
    }
    n as u64
}

/// One frame into as many buffers as it needs; `None` when none waits.
fn read_frame(ctx: &Context<'_>, instance: &Instance, spare: &mut Spare<'_>) -> nix::Result<Option<(u32, u32)>> {
    let mut header = [0_u8; VNET_HEADER_LEN];
    let mut rooms = [0_usize; RX_SEGMENTS];
    let mut io: SmallVec<[IoSliceMut<'_>; RX_SEGMENTS + 1]> = SmallVec::new();
    io.push(IoSliceMut::new(&mut header));
    for (index, size) in spare.indices.iter().zip(&mut rooms) {
        let (mut data, mut room) = (std::ptr::null_mut(), 0);
        // SAFETY: the buffer is ours alone; its data area has `room` bytes.
        let slice = unsafe {
            sys::hns_buffer_room(ctx.vm(), *index, &raw mut data, &raw mut room);
            std::slice::from_raw_parts_mut(data, room as usize)
        };
        *size = slice.len();
        io.push(IoSliceMut::new(slice));
    }
    let got = match readv(instance.fd.as_fd(), &mut io) {
        Ok(got) => got,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    drop(io);
    let length = got.saturating_sub(VNET_HEADER_LEN);
    if length == 0 {
        return Ok(None);
    }
    let mut left = length;
    let used = 1 + rooms
        .iter()
        .take_while(|room| {
            let more = left > **room;
            left = left.saturating_sub(**room);
            more
        })
        .count();
    let length = u32::try_from(length).map_err(|_| Errno::EMSGSIZE)?;
    // SAFETY: the first `used` spare buffers hold the frame.
    unsafe {
        sys::hns_buffer_rx_chain(ctx.vm(), spare.indices.as_ptr(), u32_of(used), length, instance.sw_if_index);
    }
    Ok(Some((spare.take(used), length)))
}

/// Trace as many of the packets as VPP wants; whether any is traced.
fn trace(ctx: &Context<'_>, instance: &Instance, packets: &[u32], lengths: &[u32]) -> bool {
    let mut traced = false;
    // SAFETY: the call's own vm and node, and packets that are still ours.
    unsafe {
        let mut left = sys::hns_trace_count(ctx.vm(), ctx.node());
        if left == 0 {
            return false;
        }
        for (index, length) in packets.iter().zip(lengths) {
            if left == 0 {
                break;
            }
            let size = u32_of(size_of::<RxTrace>());
            let room = sys::hns_trace_rx(ctx.vm(), ctx.node(), *index, size);
            if !room.is_null() {
                let trace = RxTrace { sw_if_index: instance.sw_if_index, length: *length };
                room.cast::<RxTrace>().write_unaligned(trace);
                left -= 1;
                traced = true;
            }
        }
        sys::hns_trace_count_set(ctx.vm(), ctx.node(), left);
    }
    traced
}

/// The trace formatter of an [`InputNode`], as the shim calls it.
///
/// # Safety
/// `trace` was written by [`input_entry`]; `out` has `room` bytes.
pub unsafe extern "C" fn input_format<N: InputNode>(trace: *const c_void, out: *mut u8, room: u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        let trace = trace.cast::<RxTrace>().read_unaligned();
        write_text(|| N::format(&trace), out, room)
    }
}
