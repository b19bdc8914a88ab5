//! State that VPP's threads share without locks.

use std::cell::{RefCell, UnsafeCell};

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
    pub fn read<'n>(&self, _node: &'n super::node::Context<'_>) -> &'n T
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
