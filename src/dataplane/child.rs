//! A VLAN on another uplink's device: a sub-interface of that uplink, and one of
//! its tap.

use super::{State, Tap, Uplink};
use crate::engine::{ChildOf, Plan};
use crate::vpp::sub::{self, Found};
use crate::vpp::{Barrier, interface};

/// The sub-interface of the uplink below.
#[derive(Debug)]
pub(super) struct Sub {
    pub(super) sw_if_index: u32,
    pub(super) name: String,
    /// It was not there before; else it is VPP's user's, and is kept.
    made: bool,
}

pub(super) fn of(plan: &Plan) -> Result<&ChildOf, String> {
    plan.child.as_ref().ok_or_else(|| "it is no VLAN's plan".to_owned())
}

/// Make the uplink's side, or take what VPP's user has made.
pub(super) fn make(barrier: &Barrier<'_>, uplink: &mut Uplink, plan: &Plan) -> Result<(), String> {
    let child = of(plan)?;
    if uplink.sub.is_some() {
        return Ok(());
    }
    if interface::get(barrier, child.uplink).is_none() {
        return Err(format!("{} is gone", child.uplink_name));
    }
    let name = |index| interface::get(barrier, index).map(|found| found.name).unwrap_or_default();
    let (sw_if_index, made) = match sub::find(barrier, child.uplink, child.tag) {
        Found::Exact(sw_if_index) => (sw_if_index, false),
        Found::Other(other) => {
            return Err(format!(
                "VPP's sub-interface {} of {} takes frames with further tags too and can have no IP: make it with \
                 'exact-match', or delete it",
                name(other),
                child.tag
            ));
        }
        Found::None => (sub::create(barrier, child.uplink, child.tag)?, true),
    };
    uplink.sub = Some(Sub { sw_if_index, name: name(sw_if_index), made });
    let done = dress(barrier, sw_if_index, made, plan);
    done.map_err(|reason| match unmake(barrier, uplink) {
        Ok(()) => reason,
        Err(again) => format!("{reason}; {again}"),
    })
}

fn dress(barrier: &Barrier<'_>, sw_if_index: u32, made: bool, plan: &Plan) -> Result<(), String> {
    let child = of(plan)?;
    if made {
        if plan.tables != (0, 0) {
            interface::bind_tables(barrier, sw_if_index, plan.tables)?;
        }
        interface::set_mtu(barrier, sw_if_index, plan.device.mtu);
    }
    if child.up { interface::set_admin_up(barrier, sw_if_index, true) } else { Ok(()) }
}

/// Take [`make`] back. What VPP's user has made stays as it is.
pub(super) fn unmake(barrier: &Barrier<'_>, uplink: &mut Uplink) -> Result<(), String> {
    let Some(sub) = uplink.sub.take() else { return Ok(()) };
    if !sub.made || !uplink.present || interface::get(barrier, sub.sw_if_index).is_none() {
        return Ok(());
    }
    sub::delete(barrier, sub.sw_if_index).inspect_err(|_| uplink.sub = Some(sub))
}

/// Make the tap's side, on the tap of the uplink below.
pub(super) fn create_tap(barrier: &Barrier<'_>, state: &mut State, plan: &Plan) -> Result<(), String> {
    let child = of(plan)?;
    let below = state.tap_or(child.parent)?;
    let (sup, mac, backend) = (below.sw_if_index, below.mac, below.backend);
    let sw_if_index = match sub::find(barrier, sup, child.tag) {
        // Nobody else has business on our tap.
        Found::Exact(index) | Found::Other(index) => {
            return Err(format!(
                "{} is on our tap already",
                interface::get(barrier, index).map_or(String::new(), |it| it.name)
            ));
        }
        Found::None => sub::create(barrier, sup, child.tag)?,
    };
    state.uplink(plan.id).tap = Some(Tap { is_child: true, ..Tap::new(barrier, sw_if_index, backend, mac) });
    Ok(())
}
