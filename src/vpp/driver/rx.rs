//! From the host: what the file holds into VPP's graph.

use std::ffi::c_void;
use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::sys::uio::readv;
use smallvec::SmallVec;
use vpp_sys as sys;

use super::{INSTANCES, Instance, RxTrace, VNET_HEADER_LEN};
use crate::vpp::guard;
use crate::vpp::node::{Context, FRAME_SIZE, u32_of, write_text};

/// Buffers that the largest frame of a TAP device fills: 64 KiB in 2 KiB.
const RX_SEGMENTS: usize = 33;

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
