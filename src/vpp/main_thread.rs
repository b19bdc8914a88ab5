//! Proof of the thread and of the barrier.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, Instant};

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

    /// The processors that VPP's threads are pinned to, as far as they are.
    pub fn processors(&self) -> Vec<usize> {
        // SAFETY: on the main thread, which alone changes the list of threads.
        let threads = unsafe { sys::hns_threads() };
        // SAFETY: the same; the number is of that list.
        (0..threads).filter_map(|thread| usize::try_from(unsafe { sys::hns_thread_cpu(thread) }).ok()).collect()
    }

    /// The processors that VPP was given by whoever started it: those of the
    /// process before VPP pinned its main thread.
    pub fn given_processors(&self) -> Vec<usize> {
        unsafe extern "C" fn visit(ctx: *mut c_void, cpu: u64) {
            // SAFETY: `ctx` is the vector below.
            unsafe { &mut *ctx.cast::<Vec<usize>>() }.extend(usize::try_from(cpu));
        }
        let mut out: Vec<usize> = Vec::new();
        // SAFETY: on the main thread; `visit` is called only inside and does not
        // call VPP.
        unsafe { sys::hns_given_cpus(Some(visit), (&raw mut out).cast()) };
        out
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

/// The barrier for a long row of short works: held over several of them, let go
/// after each `longest`, so that the workers' queues do not run over meanwhile.
///
/// VPP itself keeps it open for three times as long as it was held, one
/// millisecond at most, when workers are busy (`vlib/threads.c:1396`, `1536`).
#[derive(Debug)]
pub struct Pauses<'a> {
    main: &'a Main<'a>,
    longest: Duration,
    held: Option<(Barrier<'a>, Instant)>,
}

impl<'a> Pauses<'a> {
    /// None is begun yet.
    pub fn new(main: &'a Main<'a>, longest: Duration) -> Self {
        Self { main, longest, held: None }
    }

    /// Hold the barrier, or go on holding it, for one work.
    pub fn hold(&mut self) -> &Barrier<'a> {
        /// More than VPP keeps it open: some worker had no processor.
        const LATE: Duration = Duration::from_millis(2);
        if self.held.is_some() && !self.goes_on() {
            self.held = None;
        }
        &self
            .held
            .get_or_insert_with(|| {
                let asked = Instant::now();
                let barrier = self.main.barrier();
                let now = Instant::now();
                // Workers that share processors have stood for long already.
                let times = if now - asked > LATE { 10 } else { 1 };
                (barrier, now + self.longest * times)
            })
            .0
    }

    /// It is held.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// It is held, and not for long enough to have been worth the wait for the
    /// workers.
    pub fn goes_on(&self) -> bool {
        self.held.as_ref().is_some_and(|(_, until)| Instant::now() < *until)
    }

    /// For what needs no barrier: the workers go on.
    pub fn end(&mut self) {
        self.held = None;
    }
}
