//! Graph nodes: a node is a type with a function for one packet.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;

use smallvec::SmallVec;
use vpp_sys as sys;

use super::{Main, guard};
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
    /// Where its packets go, behind `error-drop`, which every node has as 0; but
    /// one that stands behind `error-drop` itself names `drop` first, as 0.
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

/// What VPP's own nodes have found wrong with a packet that they drop, where the
/// host may see it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Length, version or checksum of IP, or of what is above; or there is no route
    /// to its source, or that is VPP's own. See `hns_faults` of the shim.
    Packet,
    /// The tag of a VLAN that the interface does not have, a protocol of SNAP that
    /// nobody has registered, MPLS where that is not enabled, or an ARP request that
    /// VPP does not answer: from outside its subnets, or for another machine.
    Unused,
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

    /// The number of the thread that runs it, from 0 on.
    pub(super) fn thread(&self) -> usize {
        // SAFETY: the call's own vm.
        unsafe { sys::hns_thread_index(self.vm) as usize }
    }

    /// VPP's time on this thread, in seconds. The processor's clock: in VPP's
    /// first seconds it may run wrong.
    pub fn now(&self) -> f64 {
        // SAFETY: the call's own vm.
        unsafe { sys::hns_now(self.vm) }
    }

    /// The interface that a sub-interface is on; itself where it is none.
    pub fn below(&self, sw_if_index: u32) -> u32 {
        // SAFETY: VPP changes interfaces while no node runs; the shim checks the
        // index.
        unsafe { sys::hns_interface_below(sw_if_index) }
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

    /// The interface that it leaves by, where that is known already.
    pub fn tx(&self) -> u32 {
        // SAFETY: the buffer is ours for this call.
        unsafe { sys::hns_buffer_tx(self.buffer) }
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

    /// Whether that is so.
    pub fn is_locally_originated(&self) -> bool {
        // SAFETY: the buffer is ours for this call.
        unsafe { sys::hns_buffer_is_locally_originated(self.buffer) != 0 }
    }

    /// The frame that it came in, from its first byte on, if that is known; only
    /// the first buffer's part where there are several.
    pub fn frame(&self) -> Option<&[u8]> {
        let (mut start, mut len) = (std::ptr::null(), 0);
        // SAFETY: the buffer is ours for this call; the shim checks that the
        // frame's place is inside its data.
        unsafe {
            let known = sys::hns_buffer_frame(self.buffer, &raw mut start, &raw mut len) != 0;
            known.then(|| std::slice::from_raw_parts(start, usize::from(len)))
        }
    }

    /// Make it the frame again that it came in. `false`, and nothing is changed,
    /// when that is not known.
    pub fn to_frame(&mut self) -> bool {
        // SAFETY: the shim checks the bounds.
        unsafe { sys::hns_buffer_to_frame(self.buffer) != 0 }
    }

    /// Send a copy of the frame that it came in to the node's next, one of
    /// [`Next::To`], to leave by that interface; itself it stays as it is.
    /// `false` when the frame is not known or there is no buffer.
    pub fn copy_frame(&mut self, next: Next, sw_if_index: u32) -> bool {
        let Next::To(next) = next else { return false };
        // SAFETY: the call's own vm and node; the next is one of the node's.
        unsafe { sys::hns_buffer_copy_frame(self.ctx.vm, self.ctx.node, self.buffer, next, sw_if_index) != 0 }
    }

    /// Send a copy of it to the node's next, one of [`Next::To`]. `false` when
    /// there is no buffer.
    pub fn copy(&self, next: Next) -> bool {
        let Next::To(next) = next else { return false };
        // SAFETY: the call's own vm and node; the next is one of the node's.
        unsafe { sys::hns_buffer_copy(self.ctx.vm, self.ctx.node, self.buffer, next) != 0 }
    }

    /// Whether it is an IPv4 fragment to one of VPP's own addresses that VPP drops
    /// because it joins none.
    pub fn is_unjoined(&self) -> bool {
        // SAFETY: the call's own vm; the shim checks the length before it reads.
        unsafe { sys::hns_buffer_is_unjoined(self.ctx.vm, self.buffer) != 0 }
    }

    /// Mark it with the node's error of this number, for the node that counts
    /// what is dropped or punted; the first of `errors` is 1.
    pub fn set_error(&mut self, error: u16) {
        // SAFETY: the error is one of the node's.
        unsafe { sys::hns_buffer_set_error(self.buffer, self.ctx.node, u32::from(error)) };
    }

    /// Why VPP drops it, where that is one of [`Fault`].
    pub fn fault(&self) -> Option<Fault> {
        // SAFETY: the call's own vm; the buffer is ours for this call.
        match unsafe { sys::hns_buffer_fault(self.ctx.vm, self.buffer) } {
            1 => Some(Fault::Packet),
            2 => Some(Fault::Unused),
            _ => None,
        }
    }

    /// Whether its frame is to the MAC of the interface that it came by.
    pub fn is_to_own_mac(&self) -> bool {
        // SAFETY: the buffer is ours for this call; interfaces change under the
        // barrier alone.
        unsafe { sys::hns_buffer_is_to_own_mac(self.buffer) != 0 }
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

    /// Length of what stands before the packet in the frame that it came in, tags
    /// included, in bytes.
    pub fn l2_len(&self) -> u16 {
        // SAFETY: ethernet-input marked the header's place.
        unsafe { sys::hns_buffer_l2_length(self.buffer) }
    }
}

/// At load only. VPP's registration of the node.
pub(super) fn register(node: &'static Node) -> *const c_void {
    let names = |first: Option<&'static CStr>, rest: &'static [&'static CStr]| {
        let all: Vec<*mut c_char> = first.iter().chain(rest).map(|name| name.as_ptr().cast_mut()).collect();
        // VPP keeps the array as long as it lives.
        Box::leak(all.into_boxed_slice())
    };
    let has_drop = node.nexts.first().is_some_and(|next| *next == c"drop");
    let nexts = names((!has_drop).then_some(c"error-drop"), node.nexts);
    let errors = names(Some(c"internal error"), node.errors);
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

/// What nodes whose names begin so have counted and what was not cleared: the
/// node, the reason, the sum of all threads, where it is not zero.
pub fn errors(_main: &Main<'_>, prefix: &CStr) -> Vec<(String, String, u64)> {
    unsafe extern "C" fn visit(ctx: *mut c_void, node: *const u8, len: u64, reason: *const c_char, count: u64) {
        // SAFETY: `ctx` is the list below; the name is VPP's of that length, the
        // reason is NUL-terminated.
        let (out, node, reason) = unsafe {
            let name = std::slice::from_raw_parts(node, usize::try_from(len).unwrap_or(0));
            (&mut *ctx.cast::<Vec<(String, String, u64)>>(), name, CStr::from_ptr(reason))
        };
        out.push((String::from_utf8_lossy(node).into_owned(), reason.to_string_lossy().into_owned(), count));
    }
    let mut out = Vec::new();
    // SAFETY: on the main thread, where nodes are made; counters are read while
    // workers count, as `show errors` does. `visit` is called only inside and does
    // not call VPP.
    unsafe { sys::hns_node_errors(prefix.as_ptr(), Some(visit), (&raw mut out).cast()) };
    out
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
