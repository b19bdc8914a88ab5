//! The VLANs on the host's device, as the kernel tells of them.

use std::collections::{BTreeMap, BTreeSet};

use super::routes::Families;
use super::{KernelEvent, KernelLink};
use crate::model::{IfName, MacAddr, VlanTag};

/// A VLAN on the host's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: IfName,
    /// Its tag.
    pub tag: VlanTag,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Its MAC.
    pub mac: MacAddr,
    /// Set up.
    pub up: bool,
}

/// The children of one device. Lives on the helper thread.
#[derive(Debug, Default)]
pub struct Children {
    device: u32,
    there: BTreeMap<u32, Child>,
    /// Seen by the dump under way.
    marked: Option<BTreeSet<u32>>,
    /// Not told yet, or to be told anew.
    changed: bool,
    /// The kernel has told all once.
    known: bool,
}

impl Children {
    /// Of the device with this index.
    pub fn new(device: u32) -> Self {
        Self { device, ..Self::default() }
    }

    /// The kernel told.
    pub fn event(&mut self, event: &KernelEvent) {
        match event {
            KernelEvent::Link(link) => self.link(link),
            KernelEvent::LinkGone(index) => self.changed |= self.there.remove(index).is_some(),
            _ => {}
        }
    }

    fn link(&mut self, link: &KernelLink) {
        if let Some(marked) = &mut self.marked {
            marked.insert(link.index);
        }
        let Some(child) = self.child(link) else {
            // Another device has got the index.
            self.changed |= self.there.remove(&link.index).is_some();
            return;
        };
        // MTU, MAC and state are followed by the child's own mirror.
        let same = |before: &Child| (&before.name, before.tag) == (&child.name, child.tag);
        self.changed |= !self.there.get(&link.index).is_some_and(same);
        self.there.insert(link.index, child);
    }

    fn child(&self, link: &KernelLink) -> Option<Child> {
        if link.parent != Some(self.device) || link.kind.as_deref() != Some("vlan") {
            return None;
        }
        Some(Child {
            index: link.index,
            name: link.name.parse().ok()?,
            tag: VlanTag { id: link.vlan_id?, is_ad: link.vlan_ad },
            mtu: link.mtu,
            mac: link.mac?,
            up: link.up,
        })
    }

    /// The kernel is about to tell all that it has of these.
    pub fn resync_begin(&mut self, families: Families) {
        if families.links {
            self.marked = Some(BTreeSet::new());
        }
    }

    /// It has: what it did not tell is gone.
    pub fn resync_end(&mut self, families: Families) {
        if let Some(marked) = self.marked.take_if(|_| families.links) {
            let before = self.there.len();
            self.there.retain(|index, _| marked.contains(index));
            self.changed |= before != self.there.len();
            self.known = true;
        }
    }

    /// Tell them again: what became of them may have to be tried again.
    pub fn retry(&mut self) {
        self.changed |= !self.there.is_empty();
    }

    /// All of them, where something has changed since the last time.
    pub fn changed(&mut self) -> Option<Vec<Child>> {
        if !self.known || self.marked.is_some() || !std::mem::take(&mut self.changed) {
            return None;
        }
        Some(self.there.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn vlan(index: u32, name: &str, id: u16) -> KernelLink {
        KernelLink {
            mac: Some("02:00:00:00:00:01".parse().unwrap()),
            parent: Some(7),
            vlan_id: Some(id),
            kind: Some("vlan".to_owned()),
            ..KernelLink::of_test(index, name)
        }
    }

    fn names(children: Option<Vec<Child>>) -> Option<Vec<String>> {
        children.map(|all| all.iter().map(|child| format!("{} {}", child.name, child.tag)).collect())
    }

    fn begun(links: &[KernelLink]) -> Children {
        let mut children = Children::new(7);
        dump(&mut children, links);
        children
    }

    fn dump(children: &mut Children, links: &[KernelLink]) {
        children.resync_begin(Families::ALL);
        for link in links {
            children.event(&KernelEvent::Link(link.clone()));
            assert_eq!(children.changed(), None, "in the midst of a dump");
        }
        children.resync_end(Families::ALL);
    }

    #[test]
    fn only_vlans_of_the_device_are_children() {
        let others = [
            KernelLink { parent: Some(8), ..vlan(11, "eth1.7", 7) },
            KernelLink { kind: Some("macvlan".to_owned()), vlan_id: None, ..vlan(12, "mac0", 0) },
            KernelLink { parent: None, ..vlan(13, "far", 7) },
        ];
        let ad = KernelLink { vlan_ad: true, ..vlan(10, "eth0.ad", 8) };
        let mut children = begun(&[&others[..], &[vlan(9, "eth0.7", 7), ad]].concat());
        assert_eq!(names(children.changed()).unwrap(), ["eth0.7 802.1Q 7", "eth0.ad 802.1ad 8"]);
        assert_eq!(children.changed(), None, "told once");
    }

    #[test]
    fn they_are_renamed_and_go_and_come_under_the_same_index() {
        let mut children = begun(&[vlan(9, "eth0.7", 7)]);
        children.changed();
        children.event(&KernelEvent::Link(KernelLink { up: false, mtu: 1400, ..vlan(9, "eth0.7", 7) }));
        assert_eq!(children.changed(), None, "its own mirror follows these");
        children.event(&KernelEvent::Link(vlan(9, "storage", 7)));
        assert_eq!(names(children.changed()).unwrap(), ["storage 802.1Q 7"]);
        children.event(&KernelEvent::LinkGone(9));
        children.event(&KernelEvent::Link(vlan(9, "storage", 70)));
        assert_eq!(names(children.changed()).unwrap(), ["storage 802.1Q 70"]);
        // Another kind of device with the index.
        children.event(&KernelEvent::Link(KernelLink { kind: None, vlan_id: None, ..vlan(9, "x", 0) }));
        assert_eq!(children.changed().unwrap(), []);
    }

    #[test]
    fn a_reading_finds_what_went_without_a_word() {
        let mut children = begun(&[vlan(9, "eth0.7", 7), vlan(10, "eth0.8", 8)]);
        children.changed();
        dump(&mut children, &[vlan(10, "eth0.8", 8)]);
        assert_eq!(names(children.changed()).unwrap(), ["eth0.8 802.1Q 8"]);
        dump(&mut children, &[vlan(10, "eth0.8", 8)]);
        assert_eq!(children.changed(), None);
        children.retry();
        assert_eq!(names(children.changed()).unwrap(), ["eth0.8 802.1Q 8"]);
    }
}
