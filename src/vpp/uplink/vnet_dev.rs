//! VPP's `device attach`: drivers of vnet/dev, which take a card by its address
//! on a bus.

use std::ffi::{CStr, CString, c_char, c_void};

use vpp_sys as sys;

use super::Created;
use crate::vpp::cli::{Session, text_of};
use crate::vpp::{Main, interface};

/// Length of a device's id, a driver's name, an interface's name
/// (vnet/dev/types.h), their NUL included.
const ROOM: (usize, usize, usize) = (48, 16, 32);

/// The names of the drivers that are loaded.
pub fn drivers(_main: &Main<'_>) -> Vec<String> {
    unsafe extern "C" fn visit(ctx: *mut c_void, name: *const c_char) {
        // SAFETY: `ctx` is the vector below; VPP's names end with a NUL.
        let (out, name) = unsafe { (&mut *ctx.cast::<Vec<String>>(), CStr::from_ptr(name)) };
        out.push(name.to_string_lossy().into_owned());
    }
    let mut out: Vec<String> = Vec::new();
    // SAFETY: on the main thread; `visit` is called only inside and does not
    // call VPP.
    unsafe { sys::hns_dev_drivers(Some(visit), (&raw mut out).cast()) };
    out
}

/// VPP's id of a device on the PCI bus; `pci` is as in sysfs.
pub fn pci_id(pci: &str) -> String {
    format!("pci/{pci}")
}

/// Attach the device (`pci/0000:d8:0a.0`) to the driver and make an interface of
/// that name on its first port.
///
/// Sleeps while the driver works, five seconds at the most: VPP goes on, and
/// nothing may be held over it, the barrier least of all.
pub fn create(session: &Session<'_>, id: &str, driver: &str, name: &str) -> Result<Created, String> {
    may_sleep(session)?;
    let main = session.main();
    let known = drivers(main);
    if !known.iter().any(|other| other == driver) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(format!("VPP has no driver '{driver}' for 'device attach'; loaded: {known}"));
    }
    let (id_text, driver, name) = (fitting(id, ROOM.0)?, fitting(driver, ROOM.1)?, fitting(name, ROOM.2)?);
    let mut raw = sys::hns_created_t::default();
    // SAFETY: on the main thread, in a process, without the barrier; the shim
    // copies the strings, which are not longer than VPP's fields.
    unsafe {
        sys::hns_dev_create(main.vm(), id_text.as_ptr(), driver.as_ptr(), name.as_ptr(), &raw mut raw);
    }
    if raw.rv != 0 {
        return Err(format!("VPP cannot attach {id}: {}", text_of(&raw.error)));
    }
    let found = interface::get(main, raw.sw_if_index).ok_or("the interface is gone again")?;
    Ok(Created { sw_if_index: raw.sw_if_index, name: found.name })
}

/// Detach the device; its interface goes with it. Sleeps, as [`create`] does.
pub fn delete(session: &Session<'_>, id: &str) -> Result<(), String> {
    may_sleep(session)?;
    let id_text = fitting(id, ROOM.0)?;
    let mut raw = sys::hns_created_t::default();
    // SAFETY: as in `create`.
    unsafe { sys::hns_dev_delete(session.main().vm(), id_text.as_ptr(), &raw mut raw) };
    if raw.rv == 0 { Ok(()) } else { Err(format!("VPP cannot detach {id}: {}", text_of(&raw.error))) }
}

fn may_sleep(session: &Session<'_>) -> Result<(), String> {
    // SAFETY: on the main thread; reads only.
    let held = unsafe { sys::hns_barrier_is_held(session.main().vm()) != 0 };
    if !session.can_wait() || held {
        return Err("'device attach' takes a while and cannot be done from here".to_owned());
    }
    Ok(())
}

/// A text that VPP's field has room for.
fn fitting(text: &str, room: usize) -> Result<CString, String> {
    CString::new(text)
        .ok()
        .filter(|text| text.as_bytes_with_nul().len() <= room)
        .ok_or_else(|| format!("'{text}' is longer than the {} bytes that VPP has for it", room - 1))
}
