//! VFIO beside VPP's own use of it, for as long as VPP has an interface on a
//! card.
//!
//! VPP 26.06 leaves three things undone: it never closes a card's IOMMU group,
//! so that the kernel could not have the card back while VPP lives; it does
//! not hear the kernel ask for the card, so that whoever unplugs it waits for
//! ever; and its vmxnet3 driver gives the card physical addresses, which an
//! IOMMU does not know.

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use vpp_sys as sys;

use super::pci::address;
use crate::vpp::cli::text_of;
use crate::vpp::process::File;
use crate::vpp::{Barrier, Main};

/// `VFIO_PCI_REQ_IRQ_INDEX` (linux/vfio.h): the kernel wants the card back.
const REQUEST: u32 = 4;

/// Room for the longest ring of a card, in bytes.
const RING: u64 = 128 << 10;

/// Room for all rings of a card, in bytes.
const RINGS: u64 = 1 << 20;

/// Our own hold on a card. Ends by [`Vfio::leave`] only.
#[derive(Debug)]
pub struct Vfio {
    group: c_int,
    /// How often the group was opened for the card, by VPP and by us.
    users: c_int,
    before: c_int,
    file: Option<OwnedFd>,
    wanted: EventFd,
    watch: Option<File>,
}

/// Why VPP's drivers of PCI cards could not allocate their rings, which they do
/// not survive. Changes nothing.
pub fn no_rings(main: &Main<'_>) -> Option<String> {
    // SAFETY: on the main thread; reads only.
    let chunk = unsafe { sys::hns_physmem_chunk(main.vm()) };
    (chunk < RING).then(|| {
        format!(
            "VPP's memory for devices is in pieces of {chunk} bytes, too small for a card's rings: leave 'page-size' \
             out of the stanza 'buffers' of startup.conf"
        )
    })
}

/// Have memory for the rings of a card there, or say that there is none.
pub fn make_room_for_rings(barrier: &Barrier<'_>) -> Result<(), String> {
    // SAFETY: barrier held; frees what it allocates, and VPP keeps the page.
    let can = unsafe { sys::hns_physmem_can_hold(barrier.vm(), RINGS) != 0 };
    if can { Ok(()) } else { Err("VPP has no memory for the card's rings: it takes huge pages".to_owned()) }
}

impl Vfio {
    /// Hold the card, which is with vfio-pci, before VPP opens it. `physical`:
    /// its driver gives it physical addresses.
    pub fn hold(barrier: &Barrier<'_>, pci: &str, physical: bool) -> Result<Self, String> {
        let wanted = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| format!("an event for {pci}: {errno}"))?;
        let number = address(barrier, pci)?;
        let mut raw = sys::hns_vfio_t::default();
        // SAFETY: barrier held, so on the main thread; the shim fills `raw`.
        let (group, before) = unsafe {
            let group = sys::hns_vfio_group_of(number);
            let before = sys::hns_vfio_users(group);
            sys::hns_vfio_open(number, &raw mut raw);
            (group, before)
        };
        // SAFETY: the file was opened just now, for nobody else.
        let file = (raw.fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(raw.fd) });
        let mut held = Self { group, users: 0, before, file, wanted, watch: None };
        let prepared = match &held.file {
            Some(file) => held.prepare(barrier, file, physical && raw.no_iommu == 0),
            None => Err(text_of(&raw.error)),
        };
        match prepared {
            Ok(()) => {
                held.watch = Some(File::wakes_process(barrier, held.wanted.as_fd(), c"hostnet card"));
                held.count();
                Ok(held)
            }
            Err(reason) => {
                held.leave(barrier);
                Err(format!("VFIO refused {pci}: {reason}"))
            }
        }
    }

    fn prepare(&self, barrier: &Barrier<'_>, file: &OwnedFd, physical: bool) -> Result<(), String> {
        // SAFETY: both files are open.
        let failed = unsafe { sys::hns_vfio_event(file.as_raw_fd(), REQUEST, self.wanted.as_raw_fd()) };
        if failed != 0 {
            return Err(format!("to hear of its unplugging: {}", Errno::from_raw(failed)));
        }
        if physical { map_physical(barrier) } else { Ok(()) }
    }

    /// VPP has made its interface on the card.
    pub fn made(&mut self, barrier: &Barrier<'_>, physical: bool) -> Result<(), String> {
        self.count();
        // What VPP has allocated beyond what was mapped.
        if physical { map_physical(barrier) } else { Ok(()) }
    }

    /// Number of the card's IOMMU group.
    pub fn group(&self) -> i32 {
        self.group
    }

    /// Whether somebody else has the card open beside us.
    pub fn is_shared(&self) -> bool {
        // SAFETY: on the main thread, as whoever has a `Vfio` is; reads only.
        unsafe { sys::hns_vfio_users(self.group) - self.before > 1 }
    }

    /// Look how often the group is open now: for the card, as long as nobody
    /// takes another one of the group. VPP's drivers never count down.
    pub fn count(&mut self) {
        // SAFETY: on the main thread, as whoever has the barrier is; reads only.
        self.users = unsafe { sys::hns_vfio_users(self.group) } - self.before;
    }

    /// Whether the kernel wants the card back: it is being unplugged.
    pub fn is_wanted(&self) -> bool {
        self.wanted.read().is_ok()
    }

    /// Let the card go, after VPP's interface is deleted.
    pub fn leave(mut self, barrier: &Barrier<'_>) {
        if let Some(watch) = self.watch.take() {
            watch.remove(barrier);
        }
        if self.users == 0 {
            self.count();
        }
        drop(self.file.take());
        // SAFETY: on the main thread; VPP does not use the group any more.
        unsafe { sys::hns_vfio_leave(self.group, self.users) };
    }
}

fn map_physical(barrier: &Barrier<'_>) -> Result<(), String> {
    // SAFETY: barrier held; VPP's container is open.
    match unsafe { sys::hns_vfio_map_physical(barrier.vm()) } {
        0 => Ok(()),
        failed => Err(format!("VPP's memory cannot be mapped by physical address: {}", Errno::from_raw(failed))),
    }
}
