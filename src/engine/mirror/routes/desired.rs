//! What VPP is to have of what the kernel has.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use super::attrs::{Key, Reason};
use crate::engine::mirror::event::leads_to_link;
use crate::engine::mirror::{KernelHop, KernelNexthop, KernelRouteKind, Out, Path, Paths};
use crate::model::ROUTE_PROTOCOL;

/// The greatest weight that VPP has room for.
const WEIGHT_MAX: u64 = 255;

/// What decides where a route leads, beside the route.
#[derive(Debug)]
pub(super) struct Ground {
    /// Index of the host's device.
    pub(super) host_device: u32,
    /// Host devices of other uplinks of ours in the same namespace: each brings
    /// its own routes; what several could bring is the lowest index's.
    pub(super) siblings: BTreeSet<u32>,
    /// Send to the host what it routes by other devices.
    pub(super) to_host: bool,
    /// Next-hop objects, each with the resync that has seen it last.
    pub(super) nexthops: HashMap<u32, (KernelNexthop, u16)>,
}

/// What a route is to VPP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    Silent,
    Yields,
    Not(Reason),
    Paths(Paths),
}

impl Ground {
    /// What a route with these attributes is, when it is in force.
    pub(super) fn resolve(&self, key: &Key<'_>) -> Resolved {
        if key.kind == KernelRouteKind::Local {
            return self.by_local(key);
        }
        if key.protocol == ROUTE_PROTOCOL || (key.is_kernels_own() && !self.is_on_link(key)) {
            return Resolved::Silent;
        }
        match key.kind {
            KernelRouteKind::Local | KernelRouteKind::Other(_) => Resolved::Silent,
            KernelRouteKind::Throw => Resolved::Not(Reason::Throw),
            // It names no device: one uplink's is enough.
            KernelRouteKind::Blackhole | KernelRouteKind::Unreachable | KernelRouteKind::Prohibit
                if self.has_elder() =>
            {
                Resolved::Silent
            }
            KernelRouteKind::Blackhole => Resolved::Paths(Paths::Blackhole),
            KernelRouteKind::Unreachable => Resolved::Paths(Paths::Unreachable),
            KernelRouteKind::Prohibit => Resolved::Paths(Paths::Prohibit),
            KernelRouteKind::Unicast => match key.nexthop_id {
                Some(id) => self.by_object(id),
                None => self.by_hops(key.hops.iter().map(|hop| (*hop, u64::from(hop.weight)))),
            },
        }
    }

    /// Its destinations are neighbours on the host device's own link. VPP makes
    /// such a route of an address by itself, which stands before ours; not of
    /// one with another side or without a route of its own
    /// (`noprefixroute`), where a network manager makes it.
    pub(super) fn is_on_link(&self, key: &Key<'_>) -> bool {
        leads_to_link(key.kind, key.nexthop_id, key.hops, self.host_device)
    }

    fn has_elder(&self) -> bool {
        self.siblings.first().is_some_and(|first| *first < self.host_device)
    }

    /// An address of the host's. One on a device of ours VPP has as its own.
    fn by_local(&self, key: &Key<'_>) -> Resolved {
        let is_ours = |hop: &KernelHop| hop.index == self.host_device || self.siblings.contains(&hop.index);
        if key.hops.iter().any(is_ours) { Resolved::Silent } else { Resolved::Paths(Paths::Local) }
    }

    fn by_object(&self, id: u32) -> Resolved {
        let Some((object, _)) = self.nexthops.get(&id) else {
            return Resolved::Not(Reason::NexthopUnknown);
        };
        if object.blackhole {
            return Resolved::Paths(Paths::Blackhole);
        }
        if let Some(hop) = object.hop {
            return self.by_hops(std::iter::once((hop, 1)));
        }
        // A member that is gone is in a group no more; the message that says so
        // may yet be on its way.
        let members = || {
            object.group.iter().filter_map(|(id, weight)| self.nexthops.get(id).map(|(member, _)| (member, *weight)))
        };
        if members().any(|(member, _)| member.blackhole) {
            return Resolved::Paths(Paths::Blackhole);
        }
        self.by_hops(members().filter_map(|(member, weight)| member.hop.map(|hop| (hop, u64::from(weight)))))
    }

    fn by_hops(&self, hops: impl Iterator<Item = (KernelHop, u64)>) -> Resolved {
        let hops: SmallVec<[(KernelHop, u64); 4]> = hops.collect();
        if hops.is_empty() {
            return Resolved::Not(Reason::NoHop);
        }
        let ours = hops.iter().filter(|(hop, _)| hop.index == self.host_device).count();
        if ours < hops.len() {
            if hops.iter().all(|(hop, _)| self.siblings.contains(&hop.index)) {
                let lowest = hops.iter().map(|(hop, _)| hop.index).min().unwrap_or_default();
                return if lowest < self.host_device { Resolved::Silent } else { Resolved::Yields };
            }
            if self.to_host {
                let path = Path { out: Out::Host, gateway: None, weight: 1 };
                return Resolved::Paths(Paths::Forward(SmallVec::from_buf([path])));
            }
            return Resolved::Not(if ours == 0 { Reason::OtherDevice } else { Reason::PartlyOtherDevice });
        }
        if hops.iter().any(|(hop, _)| hop.encap) {
            return Resolved::Not(Reason::Encap);
        }
        let paths = hops
            .iter()
            .map(|(hop, weight)| (Path { out: Out::Uplink, gateway: hop.gateway, weight: 1 }, (*weight).max(1)));
        Resolved::Paths(Paths::Forward(fold(paths)))
    }

    /// The objects that lead by this device, and the groups that are then empty.
    pub(super) fn nexthops_by(&self, index: u32) -> Vec<u32> {
        let leads = |object: &KernelNexthop| object.hop.is_some_and(|hop| hop.index == index);
        let mut gone: Vec<u32> =
            self.nexthops.values().filter(|(object, _)| leads(object)).map(|(object, _)| object.id).collect();
        if gone.is_empty() {
            return gone;
        }
        let is_left = |id: &u32| self.nexthops.contains_key(id) && !gone.contains(id);
        let emptied =
            |object: &KernelNexthop| !object.group.is_empty() && !object.group.iter().any(|(id, _)| is_left(id));
        let groups: Vec<u32> =
            self.nexthops.values().filter(|(object, _)| emptied(object)).map(|(object, _)| object.id).collect();
        gone.extend(groups);
        gone
    }

    /// The object and the groups that it is in.
    pub(super) fn touched_by(&self, id: u32) -> Vec<u32> {
        let is_in = |object: &KernelNexthop| object.group.iter().any(|(member, _)| *member == id);
        let groups = self.nexthops.values().filter(|(object, _)| is_in(object)).map(|(object, _)| object.id);
        std::iter::once(id).chain(groups).collect()
    }

    /// Whether the route leads by the device alone, and whether at all.
    pub(super) fn leads_by(&self, key: &Key<'_>, index: u32) -> (bool, bool) {
        let by = |hop: &KernelHop| hop.index == index;
        let object = key.nexthop_id.and_then(|id| self.nexthops.get(&id));
        match object {
            Some((object, _)) if object.hop.is_some() => {
                let it = object.hop.as_ref().is_some_and(by);
                (it, it)
            }
            Some((object, _)) => {
                let member = |id: &u32| self.nexthops.get(id).and_then(|(member, _)| member.hop);
                let mut hops = object.group.iter().filter_map(|(id, _)| member(id)).peekable();
                let some = hops.peek().is_some();
                let hops: SmallVec<[KernelHop; 4]> = hops.collect();
                (some && hops.iter().all(by), hops.iter().any(by))
            }
            None => (!key.hops.is_empty() && key.hops.iter().all(by), key.hops.iter().any(by)),
        }
    }
}

/// Equal paths made one, weights brought to what VPP has room for, in an order
/// that does not depend on the kernel's.
fn fold(paths: impl Iterator<Item = (Path, u64)>) -> SmallVec<[Path; 1]> {
    let mut folded: SmallVec<[(Path, u64); 4]> = SmallVec::new();
    for (path, weight) in paths {
        match folded.iter_mut().find(|(other, _)| other.out == path.out && other.gateway == path.gateway) {
            Some((_, sum)) => *sum += weight,
            None => folded.push((path, weight)),
        }
    }
    let greatest = folded.iter().map(|(_, weight)| *weight).max().unwrap_or(1);
    let scale = |weight: u64| {
        let scaled = if greatest > WEIGHT_MAX { (weight * WEIGHT_MAX + greatest / 2) / greatest } else { weight };
        u8::try_from(scaled.clamp(1, WEIGHT_MAX)).unwrap_or(u8::MAX)
    };
    let mut paths: SmallVec<[Path; 1]> =
        folded.iter().map(|(path, weight)| Path { weight: scale(*weight), ..*path }).collect();
    paths.sort_unstable();
    paths
}

/// Several IPv6 routes of one prefix and metric: those that forward, forward
/// together; what drops is for when none does. The kernel's order says nothing:
/// it takes them in turn.
pub(super) fn join<'a>(all: &(impl Iterator<Item = &'a Paths> + Clone)) -> Option<Paths> {
    let forwarding = all.clone().filter_map(|paths| match paths {
        Paths::Forward(paths) => Some(paths),
        _ => None,
    });
    let paths: SmallVec<[Path; 4]> = forwarding.flatten().copied().collect();
    if paths.is_empty() {
        let drops = [Paths::Blackhole, Paths::Unreachable, Paths::Prohibit];
        return drops.into_iter().find(|drop| all.clone().any(|paths| paths == drop));
    }
    // What goes to the host goes there wholly: it knows the rest.
    if let Some(host) = paths.iter().find(|path| path.out == Out::Host) {
        return Some(Paths::Forward(SmallVec::from_buf([*host])));
    }
    Some(Paths::Forward(fold(paths.iter().map(|path| (*path, u64::from(path.weight))))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn paths(weights: &[u64]) -> Vec<u8> {
        let path = |at: usize| Path {
            out: Out::Uplink,
            gateway: Some([10, 0, 0, u8::try_from(at).unwrap()].into()),
            weight: 1,
        };
        fold(weights.iter().enumerate().map(|(at, weight)| (path(at), *weight)))
            .iter()
            .map(|path| path.weight)
            .collect()
    }

    #[test]
    fn weights_fit_into_a_byte() {
        assert_eq!(paths(&[1, 2, 255]), [1, 2, 255]);
        assert_eq!(paths(&[256, 128]), [255, 128]);
        assert_eq!(paths(&[65536, 32768, 1]), [255, 128, 1]);
    }

    #[test]
    fn the_same_path_twice_is_one_of_twice_the_weight() {
        let path = Path { out: Out::Uplink, gateway: None, weight: 1 };
        assert_eq!(fold([(path, 2), (path, 3)].into_iter()).as_slice(), [Path { weight: 5, ..path }]);
    }
}
