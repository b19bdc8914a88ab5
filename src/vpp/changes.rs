//! VPP tells of changes of interfaces that we watch. Nothing is done about
//! them here but one thing that cannot wait: the tap keeps on borrowing what its
//! lender has.

use vpp_sys as sys;

use super::interface;
use super::process::signal;
use super::{Main, MainCell, guard};

/// One that is watched.
#[derive(Debug)]
struct Watched {
    sw_if_index: u32,
    /// The hardware interface that it is on: its link and MAC are of that.
    sup_sw_if_index: u32,
    /// Borrows its addresses.
    borrower: Option<u32>,
    changed: bool,
}

/// A handful at most.
static WATCHED: MainCell<Vec<Watched>> = MainCell::new(Vec::new());

/// At load only.
pub(super) fn register() {
    // SAFETY: at load on the main thread; the function is static.
    unsafe { sys::hns_register_changes(Some(changed)) };
}

/// At VPP's init only.
pub(super) fn hook(_main: &Main<'_>) {
    // SAFETY: on the main thread, once.
    unsafe { sys::hns_hook_changes() };
}

/// Wake the process when addresses, state, link, MTU or MAC of this interface
/// change; [`take`] tells which did. `borrower` is the tap that is unnumbered
/// and borrows its addresses. Again takes the place of before.
pub fn watch(main: &Main<'_>, sw_if_index: u32, borrower: Option<u32>) {
    let sup_sw_if_index = interface::get(main, sw_if_index).map_or(sw_if_index, |found| found.sup_sw_if_index);
    let _ = WATCHED.with(main, |all| {
        all.retain(|one| one.sw_if_index != sw_if_index);
        all.push(Watched { sw_if_index, sup_sw_if_index, borrower, changed: false });
    });
}

/// Watch it no longer.
pub fn forget(main: &Main<'_>, sw_if_index: u32) {
    let _ = WATCHED.with(main, |all| all.retain(|one| one.sw_if_index != sw_if_index));
}

/// Those that have changed since the last call.
pub fn take(main: &Main<'_>) -> Vec<u32> {
    let taken = WATCHED.with(main, |all| {
        all.iter_mut()
            .filter(|one| one.changed)
            .map(|one| {
                one.changed = false;
                one.sw_if_index
            })
            .collect()
    });
    taken.unwrap_or_default()
}

unsafe extern "C" fn changed(sw_if_index: u32, of_addresses: i32) {
    let _ = guard(|| {
        // SAFETY: VPP changes interfaces on its main thread.
        let main = unsafe { Main::current() };
        let _ = WATCHED.with(&main, |all| {
            let concerns = |one: &&mut Watched| one.sw_if_index == sw_if_index || one.sup_sw_if_index == sw_if_index;
            for one in all.iter_mut().filter(concerns) {
                one.changed = true;
                signal(&main);
                if let Some(borrower) = one.borrower.filter(|_| of_addresses != 0) {
                    interface::borrow_again(&main, borrower, one.sw_if_index);
                }
            }
        });
    });
}
