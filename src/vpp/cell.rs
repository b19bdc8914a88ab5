//! State that VPP's threads share without locks.

use std::cell::{RefCell, UnsafeCell};

use vpp_sys as sys;

use super::node::Context;
use super::{Barrier, Main};

/// State of the main thread alone, in a static.
#[derive(Debug, Default)]
pub struct MainCell<T>(RefCell<T>);

// SAFETY: every access takes a `Main`, which exists on VPP's main thread only,
// so the value is never touched by two threads.
unsafe impl<T> Sync for MainCell<T> {}

impl<T> MainCell<T> {
    /// A cell with its first value.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Use the value; `None` when it is in use further up on the same stack
    /// (VPP called back into us).
    pub fn with<R>(&self, _main: &Main<'_>, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_borrow_mut().ok().map(|mut value| f(&mut value))
    }
}

/// State that graph nodes read on every thread and the main thread changes
/// while the workers stand still.
#[derive(Debug, Default)]
pub struct BarrierCell<T>(UnsafeCell<T>);

// SAFETY: `read` needs a graph node's proof and `write` the barrier: VPP's
// barrier orders the one against the other, on all threads (vlib/threads.c),
// and the main thread runs no node while it holds the barrier.
unsafe impl<T: Sync + Send> Sync for BarrierCell<T> {}

impl<T> BarrierCell<T> {
    /// A cell with its first value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Read inside a graph node.
    pub fn read<'n>(&self, _node: &'n Context<'_>) -> &'n T
    where
        T: 'n,
    {
        // SAFETY: see the impl of Sync; the reference ends with the node's
        // call, before the next barrier can be taken.
        unsafe { &*self.0.get() }
    }

    /// Change under the barrier. `f` must not run graph nodes, and does not.
    pub fn write<R>(&self, _barrier: &Barrier<'_>, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: see the impl of Sync; only the main thread has a barrier, so
        // there is one writer.
        f(unsafe { &mut *self.0.get() })
    }
}

/// State of each of VPP's threads for itself, used by graph nodes, and by the main
/// thread while the workers stand still.
#[derive(Debug, Default)]
pub struct WorkerCell<T>(UnsafeCell<Vec<Own<T>>>);

/// In cache lines of its own, so that threads do not wait for each other's.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Own<T>(RefCell<T>);

// SAFETY: the list is changed under the barrier alone. Each entry is touched by
// its own thread, inside a graph node, and by the main thread under the barrier,
// while no thread runs a node (see `BarrierCell`).
unsafe impl<T: Send> Sync for WorkerCell<T> {}

impl<T: Default> WorkerCell<T> {
    /// Without an entry yet.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(Vec::new()))
    }

    /// Use the thread's own value inside a graph node. `None` where there is none
    /// yet, or where it is in use further up on the same stack.
    pub fn with<R>(&self, ctx: &Context<'_>, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        // SAFETY: inside a node the list does not change, and this entry is the
        // calling thread's; see the impl of Sync.
        let own = unsafe { &*self.0.get() }.get(ctx.thread())?;
        own.0.try_borrow_mut().ok().map(|mut value| f(&mut value))
    }

    /// Use the value of each of VPP's threads, which are made where they are not
    /// there yet; how many there are. `f` must not run graph nodes, and does not.
    pub fn each(&self, _barrier: &Barrier<'_>, mut f: impl FnMut(&mut T)) -> usize {
        // SAFETY: reads the length of VPP's list of threads.
        let threads = unsafe { sys::hns_threads() } as usize;
        // SAFETY: under the barrier nobody else is here; see the impl of Sync.
        let list = unsafe { &mut *self.0.get() };
        if list.len() < threads {
            list.resize_with(threads, Own::default);
        }
        for own in list.iter_mut() {
            f(own.0.get_mut());
        }
        list.len()
    }
}
