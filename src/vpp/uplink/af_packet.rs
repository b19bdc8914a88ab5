//! VPP's af-packet on a netdev that stays a netdev.
//!
//! The plugin hides its functions, in every version since it is one; its
//! commands are the only way in. They keep two answers to themselves: a name
//! that is taken already is given back as if it were new, and a deletion never
//! fails. So it is looked before and after.
//!
//! All of it with the main thread in the netdev's namespace: see
//! [`crate::vpp::namespace`].

use std::ffi::CStr;

use super::Created;
use crate::model::{IfName, MacAddr};
use crate::vpp::{Barrier, cli, interface};

pub(super) const CREATE: &CStr = c"create host-interface";
const DELETE: &CStr = c"delete host-interface";

/// VPP's name of the interface on a netdev.
pub fn name_of(device: &IfName) -> String {
    format!("host-{device}")
}

/// Make an interface on the netdev of that name, with this MAC, one queue each
/// way, TPACKET version 3. VPP sets the netdev up; its MTU and MAC are not
/// changed, and VPP's MTU is 9000, whatever the netdev's is.
pub fn create(barrier: &Barrier<'_>, device: &IfName, mac: MacAddr) -> Result<Created, String> {
    let name = name_of(device);
    // VPP knows its netdevs by name alone, without their namespaces.
    if interface::by_name(barrier, &name).is_some() {
        return Err(format!("VPP has an interface {name} already: 'delete host-interface name {device}' removes it"));
    }
    let said = cli::call(barrier, CREATE, &format!("name {device} hw-addr {mac}"))
        .map_err(|reason| format!("VPP's af-packet refused {device}: {reason}"))?;
    match interface::by_name(barrier, &name) {
        Some(sw_if_index) => Ok(Created { sw_if_index, name }),
        None => Err(format!("VPP's af-packet refused {device}: it said '{said}'; 'show logging' may tell why")),
    }
}

/// Delete what [`create`] made.
pub fn delete(barrier: &Barrier<'_>, device: &IfName) -> Result<(), String> {
    let name = name_of(device);
    if interface::by_name(barrier, &name).is_none() {
        return Ok(());
    }
    cli::call(barrier, DELETE, &format!("name {device}"))?;
    match interface::by_name(barrier, &name) {
        None => Ok(()),
        Some(_) => Err(format!("VPP did not delete {name}; 'show logging' may tell why")),
    }
}
