//! What is told of the routes' mirror.

use std::collections::BTreeMap;

use serde::Serialize;

use super::attrs::{Reason, Verdict};
use super::{DESIRED, REFUSALS, RouteMirror};
use crate::engine::mirror::Refusal;
use crate::engine::mirror::differences::Differences;

/// Running counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) events: u64,
    pub(super) sent: u64,
    pub(super) refusals: u64,
    pub(super) resyncs: u64,
    pub(super) swept: u64,
    pub(super) unmatched: u64,
    pub(super) checked: u64,
    pub(super) differences: Differences,
    last_refusal: Option<String>,
}

impl Counts {
    /// The refusal's kind, as a place in [`REFUSALS`].
    pub(super) fn refusal(&mut self, refusal: &Refusal) -> u8 {
        match refusal {
            Refusal::Heap => 1,
            Refusal::Stats => 2,
            Refusal::Table(why) => {
                if self.last_refusal.as_ref() != Some(why) {
                    self.last_refusal = Some(why.clone());
                }
                3
            }
            Refusal::Gone => 4,
        }
    }
}

/// A number for each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByFamily {
    /// Of IPv4.
    pub ipv4: u64,
    /// Of IPv6.
    pub ipv6: u64,
}

impl From<[u64; 2]> for ByFamily {
    fn from([ipv4, ipv6]: [u64; 2]) -> Self {
        Self { ipv4, ipv6 }
    }
}

/// The routes of one uplink, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteMirrorView {
    /// Routes that the kernel has, whatever they lead by, but for those to the host
    /// itself; a group of IPv6 siblings is one.
    pub in_kernel: ByFamily,
    /// Addresses of the host on other devices that VPP is to hand to it, counted in
    /// `desired` too.
    pub elsewhere: ByFamily,
    /// The kernel's table that stands for the uplink's own in VPP: 254, or that of
    /// the VRF that the host's device is in.
    pub own_table: u32,
    /// Prefixes that VPP is to have.
    pub desired: ByFamily,
    /// Prefixes that VPP has of us, once the batches under way are done.
    pub in_vpp: ByFamily,
    /// Prefixes whose change has yet to be sent.
    pub waiting: u64,
    /// Batches under way.
    pub batches_under_way: u64,
    /// What the kernel has and VPP is not to have, by reason: prefixes; with
    /// `tos` and `from`, routes.
    pub not_mirrored: BTreeMap<&'static str, u64>,
    /// Prefixes that VPP refused and that are not as they are to be, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Why a table could not be used, the last time.
    pub last_table_refusal: Option<String>,
    /// What the kernel told, in messages.
    pub events: u64,
    /// Changes sent to VPP.
    pub sent: u64,
    /// Changes that VPP refused, ever.
    pub refusals: u64,
    /// Times that the kernel's routes were read, the first one included.
    pub resyncs: u64,
    /// Routes that a reading found gone.
    pub swept: u64,
    /// Deletions by the kernel of what was not known.
    pub unmatched_deletes: u64,
    /// Prefixes compared with VPP by audits.
    pub checked: u64,
    /// Differences found by audits, ever.
    pub differences: u64,
    /// The last of them, in words.
    pub last_differences: Vec<String>,
    /// Different sets of attributes.
    pub attribute_sets: u64,
    /// Different sets of paths.
    pub path_sets: u64,
    /// What all this takes of memory, in bytes.
    pub memory_bytes: u64,
}

impl RouteMirror {
    /// Differences found by audits, ever.
    pub fn differences(&self) -> u64 {
        self.counts.differences.count()
    }

    /// Routes that a reading found gone, ever.
    pub fn swept(&self) -> u64 {
        self.counts.swept
    }

    /// As it is now.
    pub fn view(&self) -> RouteMirrorView {
        let (mut in_kernel, mut elsewhere) = ([0, 0], [0, 0]);
        let mut attribute_sets = 0;
        let mut not_mirrored: BTreeMap<&'static str, u64> = BTreeMap::new();
        for (_, attr) in self.attrs.used() {
            attribute_sets += 1;
            let routes = attr.routes.map(u64::from);
            let key = attr.key();
            if key.is_local() {
                let is_elsewhere = u64::from(matches!(attr.verdict, Verdict::Paths(_)));
                elsewhere[0] += is_elsewhere * routes[0];
                elsewhere[1] += is_elsewhere * routes[1];
                continue;
            }
            in_kernel[0] += routes[0];
            in_kernel[1] += routes[1];
            if key.tos != 0 {
                *not_mirrored.entry("tos").or_default() += routes[0] + routes[1];
            } else if key.from_source {
                *not_mirrored.entry("from").or_default() += routes[0] + routes[1];
            }
        }
        for reason in Reason::ALL {
            let class = usize::from(DESIRED + 1 + reason as u8);
            let count = self.classes[0][class] + self.classes[1][class];
            if count > 0 {
                not_mirrored.insert(reason.word(), count);
            }
        }
        let refused = REFUSALS.into_iter().zip(self.refused).skip(1).filter(|(_, count)| *count > 0).collect();
        let desired = usize::from(DESIRED);
        let in_vpp = |family: usize| self.tables.iter().map(|table| table.in_vpp[family]).sum();
        RouteMirrorView {
            in_kernel: in_kernel.into(),
            elsewhere: elsewhere.into(),
            own_table: self.own_table(),
            desired: [self.classes[0][desired], self.classes[1][desired]].into(),
            in_vpp: [in_vpp(0), in_vpp(1)].into(),
            waiting: self.queue.len() as u64,
            batches_under_way: self.sent.len() as u64,
            not_mirrored,
            refused,
            last_table_refusal: self.counts.last_refusal.clone(),
            events: self.counts.events,
            sent: self.counts.sent,
            refusals: self.counts.refusals,
            resyncs: self.counts.resyncs,
            swept: self.counts.swept,
            unmatched_deletes: self.counts.unmatched,
            checked: self.counts.checked,
            differences: self.differences(),
            last_differences: self.counts.differences.last(),
            attribute_sets,
            path_sets: self.paths.len() as u64,
            memory_bytes: self.bytes() as u64,
        }
    }

    fn bytes(&self) -> usize {
        self.rows.bytes()
            + self.attrs.bytes()
            + self.paths.bytes()
            + self.queue.capacity() * size_of::<super::Slot>()
            + self.sent.iter().map(|sent| sent.before.capacity() * size_of::<(super::Slot, u32)>()).sum::<usize>()
    }
}
