//! MACs beside the uplinks' own, for devices that are stacked on the hosts'.

use std::collections::BTreeMap;

use crate::engine::UplinkId;
use crate::model::MacAddr;
use crate::vpp::{Barrier, Main, interface};

/// What we have added, by VPP's index of the hardware's interface, with the uplinks
/// that want it: VLANs on one card have a MAC in common.
#[derive(Debug, Default)]
pub(super) struct Macs(BTreeMap<(u32, MacAddr), Vec<UplinkId>>);

/// The interface whose MACs count for this one's frames.
fn hardware(main: &Main<'_>, sw_if_index: u32) -> Option<u32> {
    interface::get(main, sw_if_index).map(|found| found.sup_sw_if_index)
}

impl Macs {
    /// The uplink has these and no others. What VPP's user has added is left alone.
    pub(super) fn set(
        &mut self,
        barrier: &Barrier<'_>,
        id: UplinkId,
        sw_if_index: u32,
        macs: &[MacAddr],
    ) -> Result<(), String> {
        let hardware = hardware(barrier, sw_if_index).ok_or("the interface is gone")?;
        let mut result = self.retain(barrier, id, |of, mac| of == hardware && macs.contains(&mac));
        for mac in macs {
            let is_there = interface::has_mac(barrier, hardware, *mac);
            let key = (hardware, *mac);
            if is_there && !self.0.contains_key(&key) {
                continue;
            }
            let users = self.0.entry(key).or_default();
            if !users.contains(&id) {
                users.push(id);
            }
            if !is_there {
                result = interface::set_second_mac(barrier, hardware, *mac, true).and(result);
            }
        }
        result
    }

    /// The uplink has none.
    pub(super) fn forget(&mut self, barrier: &Barrier<'_>, id: UplinkId) {
        if let Err(reason) = self.retain(barrier, id, |_, _| false) {
            log::warn!("a MAC beside the uplink's own: {reason}");
        }
    }

    /// The uplink keeps those; what nobody wants goes.
    fn retain(
        &mut self,
        barrier: &Barrier<'_>,
        id: UplinkId,
        keep: impl Fn(u32, MacAddr) -> bool,
    ) -> Result<(), String> {
        let mut result = Ok(());
        self.0.retain(|(hardware, mac), users| {
            users.retain(|user| *user != id || keep(*hardware, *mac));
            if users.is_empty() && interface::get(barrier, *hardware).is_some() {
                result = interface::set_second_mac(barrier, *hardware, *mac, false).and(result.clone());
            }
            !users.is_empty()
        });
        result
    }

    /// VPP is deleting this interface, and its MACs with it.
    pub(super) fn interface_deleted(&mut self, sw_if_index: u32) {
        self.0.retain(|(hardware, _), _| *hardware != sw_if_index);
    }
}
