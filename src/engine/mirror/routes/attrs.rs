//! What routes have in common. A million routes have a few hundred different
//! sets of attributes: each is kept once, a route names it.

use std::hash::BuildHasher;
use std::mem::size_of;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::engine::mirror::{KernelHop, KernelRoute, KernelRouteKind, PathsId};

/// `RTPROT_KERNEL`: from addresses.
const PROTO_KERNEL: u8 = 2;
/// `RTPROT_RA`: from a router's advertisement. Such routes of the kernel's own
/// are no siblings of each other.
const PROTO_RA: u8 = 9;

/// Names a set of attributes while a route has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttrId(pub(super) u32);

/// Why a route is not in VPP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It leaves by devices that are not ours.
    OtherDevice,
    /// Some of its next hops leave by other devices.
    PartlyOtherDevice,
    /// It encapsulates.
    Encap,
    /// `throw`: VPP cannot look on in the next table.
    Throw,
    /// It has no next hop.
    NoHop,
    /// Its next-hop object is not known.
    NexthopUnknown,
}

impl Reason {
    /// All, in their order.
    pub(super) const ALL: [Self; 6] =
        [Self::OtherDevice, Self::PartlyOtherDevice, Self::Encap, Self::Throw, Self::NoHop, Self::NexthopUnknown];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::OtherDevice => "other-device",
            Self::PartlyOtherDevice => "partly-other-device",
            Self::Encap => "encap",
            Self::Throw => "throw",
            Self::NoHop => "no-next-hop",
            Self::NexthopUnknown => "unknown-nexthop-object",
        }
    }
}

/// What VPP is to have of a route that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not found out yet, or no longer true.
    Open,
    /// Nothing, and nobody need be told: the kernel's own on no link of ours, or
    /// what we gave to Linux.
    Silent,
    /// Nothing, but for an equal route by this uplink: it leads by another one,
    /// which brings it.
    Yields,
    /// Nothing.
    Not(Reason),
    /// These paths.
    Paths(PathsId),
}

/// A set of attributes; the metric is not among them, as it may differ from
/// route to route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) kind: KernelRouteKind,
    pub(super) protocol: u8,
    pub(super) tos: u8,
    pub(super) scope: u8,
    pub(super) from_source: bool,
    pub(super) prefsrc: Option<IpAddr>,
    pub(super) nexthop_id: Option<u32>,
    pub(super) hops: &'a [KernelHop],
    pub(super) mtu: Option<u32>,
}

impl<'a> Key<'a> {
    /// With an object its hops are the object's: what the message says of them
    /// depends on `nexthop_compat_mode` and on the time.
    pub(super) fn of(route: &KernelRoute, hops: &'a [KernelHop]) -> Self {
        Self {
            kind: route.kind,
            protocol: route.protocol,
            tos: route.tos,
            scope: route.scope,
            from_source: route.from_source,
            // Of an address of the host's it is that address: each would have a set.
            prefsrc: route.prefsrc.filter(|_| route.kind != KernelRouteKind::Local),
            nexthop_id: route.nexthop_id,
            hops: if route.nexthop_id.is_some() { &[] } else { hops },
            mtu: route.mtu,
        }
    }

    /// The same with other next hops. It borrows nothing of this one, so that it
    /// can be interned where this one is.
    pub(super) fn with_hops<'b>(&self, hops: &'b [KernelHop]) -> Key<'b> {
        Key { hops, ..self.bare() }
    }

    /// The same without next hops: it borrows nothing at all.
    fn bare(&self) -> Key<'static> {
        Key {
            kind: self.kind,
            protocol: self.protocol,
            tos: self.tos,
            scope: self.scope,
            from_source: self.from_source,
            prefsrc: self.prefsrc,
            nexthop_id: self.nexthop_id,
            hops: &[],
            mtu: self.mtu,
        }
    }

    /// It takes part in an ordinary look-up of the kernel's.
    pub(super) fn competes(&self) -> bool {
        self.tos == 0 && !self.from_source
    }

    /// IPv6: a sibling of every other such route of its prefix and metric.
    pub(super) fn is_ecmp(&self) -> bool {
        self.kind == KernelRouteKind::Unicast
            && self.nexthop_id.is_none()
            && !self.hops.is_empty()
            && self.hops.iter().all(|hop| hop.gateway.is_some())
            && (self.protocol != PROTO_RA || self.hops.len() > 1)
    }

    /// It leads to the host itself.
    pub(super) fn is_local(&self) -> bool {
        self.kind == KernelRouteKind::Local
    }

    pub(super) fn is_kernels_own(&self) -> bool {
        self.protocol == PROTO_KERNEL
    }

    pub(super) fn is_ra(&self) -> bool {
        self.protocol == PROTO_RA
    }
}

/// A kept set.
#[derive(Debug)]
pub(super) struct Attr {
    /// All but the next hops.
    bare: Key<'static>,
    hops: SmallVec<[KernelHop; 1]>,
    /// Routes that have it: of IPv4, of IPv6.
    pub(super) routes: [u32; 2],
    pub(super) verdict: Verdict,
}

impl Attr {
    pub(super) fn key(&self) -> Key<'_> {
        self.bare.with_hops(&self.hops)
    }

    fn is_used(&self) -> bool {
        self.routes != [0, 0]
    }
}

/// All sets.
#[derive(Debug, Default)]
pub(super) struct Attrs {
    rows: Vec<Attr>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// The one that was asked for last: routes of one peer come in a row.
    last: u32,
}

impl Attrs {
    pub(super) fn get(&self, id: AttrId) -> &Attr {
        &self.rows[id.0 as usize]
    }

    pub(super) fn get_mut(&mut self, id: AttrId) -> &mut Attr {
        &mut self.rows[id.0 as usize]
    }

    /// Those that a route has.
    pub(super) fn used(&self) -> impl Iterator<Item = (AttrId, &Attr)> {
        (0..).map(AttrId).zip(&self.rows).filter(|(_, attr)| attr.is_used())
    }

    pub(super) fn find(&self, key: &Key<'_>) -> Option<AttrId> {
        if self.rows.get(self.last as usize).is_some_and(|attr| attr.is_used() && attr.key() == *key) {
            return Some(AttrId(self.last));
        }
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |id| self.rows[*id as usize].key() == *key).copied().map(AttrId)
    }

    /// The set's name; made if need be. To be followed by [`Self::add`] or
    /// [`Self::tidy`].
    pub(super) fn intern(&mut self, key: &Key<'_>) -> AttrId {
        if let Some(id) = self.find(key) {
            self.last = id.0;
            return id;
        }
        let (bare, hops) = (key.bare(), SmallVec::from_slice(key.hops));
        let attr = Attr { bare, hops, routes: [0, 0], verdict: Verdict::Open };
        let id = if let Some(id) = self.free.pop() {
            self.rows[id as usize] = attr;
            id
        } else {
            self.rows.push(attr);
            u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
        };
        let hash = self.hasher.hash_one(key);
        let (rows, hasher) = (&self.rows, &self.hasher);
        self.index.insert_unique(hash, id, |id| hasher.hash_one(rows[*id as usize].key()));
        self.last = id;
        AttrId(id)
    }

    /// One more route of this family has it.
    pub(super) fn add(&mut self, id: AttrId, family: usize) {
        self.get_mut(id).routes[family] += 1;
    }

    /// One route fewer has it. What its verdict named is handed back once
    /// nobody has it.
    pub(super) fn remove(&mut self, id: AttrId, family: usize) -> Option<PathsId> {
        self.get_mut(id).routes[family] -= 1;
        self.tidy(id)
    }

    /// Forget a set that no route has.
    pub(super) fn tidy(&mut self, id: AttrId) -> Option<PathsId> {
        let attr = self.get(id);
        if attr.is_used() {
            return None;
        }
        let hash = self.hasher.hash_one(attr.key());
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id.0) {
            entry.remove();
            self.free.push(id.0);
        }
        let attr = self.get_mut(id);
        attr.hops = SmallVec::new();
        match std::mem::replace(&mut attr.verdict, Verdict::Open) {
            Verdict::Paths(paths) => Some(paths),
            _ => None,
        }
    }

    /// What it takes of memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let spilled = |attr: &Attr| if attr.hops.spilled() { attr.hops.capacity() * size_of::<KernelHop>() } else { 0 };
        self.rows.capacity() * size_of::<Attr>()
            + self.rows.iter().map(spilled).sum::<usize>()
            + self.free.capacity() * size_of::<u32>()
            + self.index.allocation_size()
    }
}
