//! Graph nodes: a node is a type with a function for one packet.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;

use smallvec::SmallVec;
use vpp_sys as sys;

use super::guard;
use crate::model::MacAddr;

/// Packets in a frame at most (VLIB_FRAME_SIZE, vlib/node.h).
pub(super) const FRAME_SIZE: usize = 256;
/// Every node's first next node and first error.
const NEXT_DROP: u16 = 0;
/// Counted when a node panicked and its frame was dropped.
const ERROR_PANIC: u16 = 0;

/// A node's description. VPP keeps every pointer: all of it is static.
#[derive(Debug)]
pub struct Node {
    /// The node's name; the file in `src/nodes` is named as it is.
    pub name: &'static CStr,
    /// Where its packets go, behind `error-drop`, which every node has as 0.
    pub nexts: &'static [&'static CStr],
    /// Its counters, behind `internal error`, which every node has as 0.
    pub errors: &'static [&'static CStr],
    /// Runs it: [`entry`] of the type.
    pub function: sys::hns_node_fn,
    /// Writes its trace: [`format_trace`] of the type.
    pub format_trace: sys::hns_format_fn,
    /// An input node, which VPP polls or interrupts.
    pub input: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To the node's next node of this number; the first of `nexts` is 1.
    To(u16),
    /// On along the feature arc that it came by.
    Feature,
    /// Dropped, counted as the node's error of this number; the first of
    /// `errors` is 1.
    Drop(u16),
}

/// A node that looks at one packet at a time.
pub trait PacketNode {
    /// What a packet's trace holds. Plain data, copied into VPP's trace.
    type Trace: Copy;

    /// Decide on one packet. No system call, no lock, no allocation.
    fn packet(ctx: &Context<'_>, packet: &mut Packet<'_>) -> (Next, Self::Trace);

    /// The trace as text.
    fn format(trace: &Self::Trace) -> String;
}

/// A node's call, on any thread.
#[derive(Debug)]
pub struct Context<'a> {
    vm: *mut sys::vlib_main_t,
    node: *mut sys::vlib_node_runtime_t,
    _call: PhantomData<&'a mut ()>,
}

impl Context<'_> {
    /// # Safety
    /// Both pointers are those of the call under way, and the value does not
    /// outlive it.
    pub(super) unsafe fn new(vm: *mut sys::vlib_main_t, node: *mut sys::vlib_node_runtime_t) -> Self {
        Self { vm, node, _call: PhantomData }
    }

    pub(super) fn vm(&self) -> *mut sys::vlib_main_t {
        self.vm
    }

    pub(super) fn node(&self) -> *mut sys::vlib_node_runtime_t {
        self.node
    }

    /// Count one of the node's errors; the first of `errors` is 1.
    pub fn count(&self, error: u16, n: u64) {
        // SAFETY: the call's own vm and node; the number is one of the node's.
        unsafe { sys::hns_error_count(self.vm, self.node, u32::from(error), n) };
    }
}

/// A packet in a node's hands.
#[derive(Debug)]
pub struct Packet<'a> {
    ctx: &'a Context<'a>,
    buffer: *mut sys::vlib_buffer_t,
}

impl Packet<'_> {
    /// The bytes from the current header on; only the first buffer's where
    /// there are several.
    pub fn bytes(&self) -> &[u8] {
        let mut len = 0;
        // SAFETY: the buffer is ours for this call; VPP keeps `current_length`
        // inside its data.
        unsafe {
            let start = sys::hns_buffer_current(self.buffer, &raw mut len);
            std::slice::from_raw_parts(start, usize::from(len))
        }
    }

    /// As [`Self::bytes`], to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let mut len = 0;
        // SAFETY: as above, and `&mut self` makes it the only reference.
        unsafe {
            let start = sys::hns_buffer_current(self.buffer, &raw mut len);
            std::slice::from_raw_parts_mut(start, usize::from(len))
        }
    }

    /// Move the start of the packet: forwards with a positive number, back
    /// into the room before it with a negative one. `false` when there is no
    /// room; nothing is changed then.
    pub fn advance(&mut self, by: i32) -> bool {
        // SAFETY: the shim checks the bounds.
        unsafe { sys::hns_buffer_advance(self.buffer, by) != 0 }
    }

    /// Set the length of a packet of one buffer. `false` when it has several
    /// or there is no room. Bytes that are new are as they were left.
    pub fn set_len(&mut self, len: u16) -> bool {
        // SAFETY: the shim checks the bounds.
        unsafe { sys::hns_buffer_set_length(self.ctx.vm, self.buffer, len) != 0 }
    }

    /// The interface that it came by (`sw_if_index`).
    pub fn rx(&self) -> u32 {
        // SAFETY: the buffer is ours for this call.
        unsafe { sys::hns_buffer_rx(self.buffer) }
    }

    /// Let it count as received on another interface from here on.
    pub fn set_rx(&mut self, sw_if_index: u32) {
        // SAFETY: the buffer is ours for this call.
        unsafe { sys::hns_buffer_set_rx(self.buffer, sw_if_index) };
    }

    /// The interface that it leaves by, for `interface-output`.
    pub fn set_tx(&mut self, sw_if_index: u32) {
        // SAFETY: the buffer is ours for this call.
        unsafe { sys::hns_buffer_set_tx(self.buffer, sw_if_index) };
    }

    /// Spare it the TTL or hop limit's decrement on its way out.
    pub fn set_locally_originated(&mut self) {
        // SAFETY: the buffer is ours for this call.
        unsafe { sys::hns_buffer_set_locally_originated(self.buffer) };
    }

    /// Destination and source MAC of the frame that it came in.
    pub fn l2_addresses(&self) -> (MacAddr, MacAddr) {
        let (mut dst, mut src) = ([0; 6], [0; 6]);
        // SAFETY: ethernet-input marked the header's place; six bytes each.
        unsafe {
            sys::hns_buffer_l2_addresses(self.buffer, dst.as_mut_ptr(), src.as_mut_ptr());
        }
        (MacAddr(dst), MacAddr(src))
    }
}

/// At load only. VPP's registration of the node.
pub(super) fn register(node: &'static Node) -> *const c_void {
    let names = |first: &'static CStr, rest: &'static [&'static CStr]| {
        let all: Vec<*mut c_char> = std::iter::once(&first).chain(rest).map(|name| name.as_ptr().cast_mut()).collect();
        // VPP keeps the array as long as it lives.
        Box::leak(all.into_boxed_slice())
    };
    let nexts = names(c"error-drop", node.nexts);
    let errors = names(c"internal error", node.errors);
    let desc = sys::hns_node_desc_t {
        name: node.name.as_ptr().cast_mut(),
        function: node.function,
        format_trace: node.format_trace,
        is_input: u32::from(node.input),
        n_errors: u32_of(errors.len()),
        error_strings: errors.as_mut_ptr(),
        n_next_nodes: u32_of(nexts.len()),
        next_nodes: nexts.as_mut_ptr(),
    };
    // SAFETY: at load on the main thread; all that is kept is static.
    unsafe { sys::hns_register_node(&raw const desc) }
}

/// A small number for C.
pub(super) fn u32_of(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// The node function of a [`PacketNode`], as VPP calls it.
///
/// # Safety
/// VPP alone calls it, with a frame of buffer indices.
pub unsafe extern "C" fn entry<N: PacketNode>(
    vm: *mut sys::vlib_main_t,
    node: *mut sys::vlib_node_runtime_t,
    frame: *mut sys::vlib_frame_t,
) -> u64 {
    // SAFETY: the pointers are those of this call.
    let ctx = unsafe { Context::new(vm, node) };
    // SAFETY: the frame is this call's.
    let buffers = unsafe { buffers_of(frame) };
    let n = buffers.len().min(FRAME_SIZE);
    let mut nexts = [NEXT_DROP; FRAME_SIZE];
    // Nothing is handed on inside, so a panic leaves every packet with us:
    // those that were decided go their way, the others are dropped.
    let mut done = 0;
    let decided = guard(|| {
        for (index, next) in buffers[..n].iter().zip(&mut nexts) {
            *next = one::<N>(&ctx, *index);
            done += 1;
        }
    });
    if decided.is_err() {
        ctx.count(ERROR_PANIC, (n - done) as u64);
    }
    // SAFETY: the call's own vm and node; both arrays have `n` entries and
    // every next is one of the node's or of the arc's.
    unsafe {
        sys::hns_enqueue_to_next(vm, node, buffers.as_mut_ptr(), nexts.as_mut_ptr(), n as u64);
    }
    n as u64
}

/// The buffer indices of a frame.
///
/// # Safety
/// `frame` is that of the call under way, of an internal or an output node;
/// the slice must not outlive the call.
pub(super) unsafe fn buffers_of<'a>(frame: *mut sys::vlib_frame_t) -> &'a mut [u32] {
    let mut start = std::ptr::null_mut();
    // SAFETY: such a frame holds its vector of buffer indices.
    unsafe {
        let n = sys::hns_frame_buffers(frame, &raw mut start);
        std::slice::from_raw_parts_mut(start, n as usize)
    }
}

fn one<N: PacketNode>(ctx: &Context<'_>, index: u32) -> u16 {
    // SAFETY: an index of this frame names a buffer that is ours.
    let buffer = unsafe { sys::hns_buffer(ctx.vm, index) };
    let mut packet = Packet { ctx, buffer };
    let (next, trace) = N::packet(ctx, &mut packet);
    add_trace(ctx, buffer, || trace);
    match next {
        Next::To(next) => next,
        // SAFETY: only nodes on an arc say so; the buffer carries the place.
        Next::Feature => unsafe { u16::try_from(sys::hns_buffer_feature_next(buffer)).unwrap_or(NEXT_DROP) },
        Next::Drop(error) => {
            // SAFETY: the error is one of the node's.
            unsafe { sys::hns_buffer_set_error(buffer, ctx.node, u32::from(error)) };
            NEXT_DROP
        }
    }
}

/// Put a trace down if the buffer is traced; it must be of the call's frame.
pub(super) fn add_trace<T: Copy>(ctx: &Context<'_>, buffer: *mut sys::vlib_buffer_t, trace: impl FnOnce() -> T) {
    // SAFETY: the buffer is ours for this call. VPP gives room for the size
    // asked for, without a promise of alignment.
    unsafe {
        if sys::hns_buffer_is_traced(buffer) == 0 {
            return;
        }
        let room = sys::hns_buffer_add_trace(ctx.vm, ctx.node, buffer, u32_of(size_of::<T>()));
        if !room.is_null() {
            room.cast::<T>().write_unaligned(trace());
        }
    }
}

/// The trace formatter of a [`PacketNode`], as the shim calls it.
///
/// # Safety
/// `trace` was written by [`entry`] of the same type; `out` has `room` bytes.
pub unsafe extern "C" fn format_trace<N: PacketNode>(trace: *const c_void, out: *mut u8, room: u64) -> u64 {
    // SAFETY: the caller's promise.
    let trace = unsafe { trace.cast::<N::Trace>().read_unaligned() };
    // SAFETY: the caller's promise.
    unsafe { write_text(|| N::format(&trace), out, room) }
}

/// # Safety
/// `out` has `room` bytes.
pub(super) unsafe fn write_text(text: impl FnOnce() -> String, out: *mut u8, room: u64) -> u64 {
    let text: SmallVec<[u8; 128]> = guard(|| text().into_bytes()).unwrap_or_default().into();
    let n = text.len().min(usize::try_from(room).unwrap_or(0));
    // SAFETY: the caller's promise; `n` is within both.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out, n) };
    n as u64
}
