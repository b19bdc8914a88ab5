//! MACs of devices that are stacked on the host's with a MAC of their own: what is
//! sent to those the uplink has to take too, as a card does (`dev_uc_add`).

use std::collections::BTreeMap;

use crate::engine::mirror::{KernelEvent, LinkOp};
use crate::model::MacAddr;

/// The kinds of such devices.
const KINDS: [&str; 2] = ["macvlan", "macvtap"];

/// What VPP is to know of them.
#[derive(Debug, Default)]
pub(super) struct MacsMirror {
    /// By the device's index.
    macs: BTreeMap<u32, MacAddr>,
    told: Option<Vec<MacAddr>>,
}

impl MacsMirror {
    /// VPP is to be told once more, if there is anything.
    pub(super) fn look(&mut self) {
        self.told.take_if(|told| !told.is_empty());
    }

    /// The kernel is about to tell of all devices.
    pub(super) fn resync_begin(&mut self) {
        self.macs.clear();
    }

    /// The kernel told something. A device that is down takes nothing.
    pub(super) fn hear(&mut self, event: &KernelEvent, device: u32) {
        match event {
            KernelEvent::Link(link) => {
                let is_one = KINDS.contains(&link.kind.as_deref().unwrap_or_default());
                match link.mac.filter(|_| is_one && link.up && link.parent == Some(device)) {
                    Some(mac) => drop(self.macs.insert(link.index, mac)),
                    None => drop(self.macs.remove(&link.index)),
                }
            }
            KernelEvent::LinkGone(index) => drop(self.macs.remove(index)),
            _ => {}
        }
    }

    /// What VPP is to be told.
    pub(super) fn round(&mut self) -> Option<LinkOp> {
        let mut now: Vec<MacAddr> = self.macs.values().copied().collect();
        now.sort_unstable();
        now.dedup();
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        self.told = Some(now.clone());
        Some(LinkOp::SetMacs(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mirror::KernelLink;

    const DEVICE: u32 = 7;

    fn link(index: u32, kind: &str, up: bool) -> KernelEvent {
        KernelEvent::Link(KernelLink {
            index,
            up,
            kind: Some(kind.to_owned()),
            parent: Some(DEVICE),
            mac: Some(MacAddr([0, 0, 0x5e, 0, 1, 7])),
            ..KernelLink::default()
        })
    }

    #[test]
    fn a_mac_comes_and_goes_with_its_device() {
        let mac = MacAddr([0, 0, 0x5e, 0, 1, 7]);
        let mut mirror = MacsMirror::default();
        assert_eq!(mirror.round(), Some(LinkOp::SetMacs(vec![])));
        mirror.hear(&link(8, "vlan", true), DEVICE);
        mirror.hear(&link(8, "macvlan", true), DEVICE + 1);
        assert_eq!(mirror.round(), None);
        mirror.hear(&link(8, "macvlan", true), DEVICE);
        mirror.hear(&link(9, "macvlan", true), DEVICE);
        assert_eq!(mirror.round(), Some(LinkOp::SetMacs(vec![mac])));
        mirror.hear(&KernelEvent::LinkGone(8), DEVICE);
        assert_eq!(mirror.round(), None, "the other has it");
        mirror.hear(&link(9, "macvlan", false), DEVICE);
        assert_eq!(mirror.round(), Some(LinkOp::SetMacs(vec![])));
        mirror.look();
        assert_eq!(mirror.round(), None, "there is none");
        mirror.hear(&link(9, "macvlan", true), DEVICE);
        assert!(mirror.round().is_some());
        mirror.look();
        assert_eq!(mirror.round(), Some(LinkOp::SetMacs(vec![mac])), "once more");
    }
}
