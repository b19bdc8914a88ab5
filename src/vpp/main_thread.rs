//! Proof of the thread and of the barrier.

use std::marker::PhantomData;
use std::ops::Deref;

use vpp_sys as sys;

/// Proof that the code runs on VPP's main thread. Made by the entry points
/// from C alone, and not to be sent anywhere.
#[derive(Debug)]
pub struct Main<'a> {
    vm: *mut sys::vlib_main_t,
    // A raw pointer is neither Send nor Sync; the lifetime is the entry's.
    _entry: PhantomData<&'a mut ()>,
}

impl Main<'_> {
    /// # Safety
    /// `vm` is VPP's main thread's main structure and this is that thread;
    /// the value must not outlive the call from C.
    pub(super) unsafe fn new(vm: *mut sys::vlib_main_t) -> Self {
        Self { vm, _entry: PhantomData }
    }

    /// # Safety
    /// This is VPP's main thread, called by VPP, which gave no `vm`.
    pub(super) unsafe fn current() -> Self {
        // SAFETY: libvlib is initialised when it calls us; the function only
        // reads the calling thread's slot.
        let vm = unsafe { sys::vlib_get_main_not_inline() };
        Self { vm, _entry: PhantomData }
    }

    pub(super) fn vm(&self) -> *mut sys::vlib_main_t {
        self.vm
    }

    /// Stop the workers until the guard is dropped. Recursive: a caller that
    /// holds the barrier already (VPP's API and most commands) costs nothing.
    /// Never hold it over anything that waits.
    pub fn barrier(&self) -> Barrier<'_> {
        // SAFETY: on the main thread, as VPP demands (vlib/threads.c).
        unsafe { sys::hns_barrier_sync(self.vm) };
        Barrier { main: self }
    }
}

/// Proof that the workers stand still.
#[derive(Debug)]
#[must_use = "the workers run again when it is dropped"]
pub struct Barrier<'a> {
    main: &'a Main<'a>,
}

impl<'a> Deref for Barrier<'a> {
    type Target = Main<'a>;

    fn deref(&self) -> &Self::Target {
        self.main
    }
}

impl Drop for Barrier<'_> {
    fn drop(&mut self) {
        // SAFETY: pairs the sync of `Main::barrier` on the same thread.
        unsafe { sys::hns_barrier_release(self.main.vm) };
    }
}
