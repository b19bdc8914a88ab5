//! Towards the host: a frame of VPP into one write.

use std::ffi::c_void;
use std::io::IoSlice;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::uio::writev;
use smallvec::SmallVec;
use vpp_sys as sys;

use super::{DRIVER, INSTANCES, Instance, TxError, TxTrace, VNET_HEADER_LEN, VnetHeader};
use crate::vpp::node::{Context, add_trace, buffers_of, u32_of, write_text};
use crate::vpp::{NO_INTERFACE, guard};

/// Buffers of a packet towards the host at most: a GSO packet of 64 KiB, in
/// buffers that a reassembly may have filled badly.
const TX_SEGMENTS: usize = 128;

pub(super) unsafe extern "C" fn transmit(
    vm: *mut sys::vlib_main_t,
    node: *mut sys::vlib_node_runtime_t,
    frame: *mut sys::vlib_frame_t,
) -> u64 {
    // SAFETY: the pointers are those of this call.
    let ctx = unsafe { Context::new(vm, node) };
    // SAFETY: the frame is this call's.
    let buffers = unsafe { buffers_of(frame) };
    let mut dropped = 0_u32;
    let mut tap = NO_INTERFACE;
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

pub(super) unsafe extern "C" fn format_tx(trace: *const c_void, out: *mut u8, room: u64) -> u64 {
    // SAFETY: written by `send`; `out` has `room` bytes.
    unsafe {
        let trace = trace.cast::<TxTrace>().read_unaligned();
        write_text(|| DRIVER.get().map(|d| (d.format_tx)(&trace)).unwrap_or_default(), out, room)
    }
}
