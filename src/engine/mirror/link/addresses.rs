//! The addresses of both sides, and with which lengths VPP is to have Linux's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::engine::mirror::KernelAddress;
use crate::model::{IfAddress, Prefix, host_len};

/// Whether the kernel has a route to this prefix on the host device's own
/// link.
pub(super) type OnLink<'a> = &'a dyn Fn(&Prefix) -> bool;

/// Addresses of both sides, and what they had agreed on.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) base: BTreeSet<IpAddr>,
    pub(super) linux: BTreeMap<IpAddr, Held>,
    pub(super) vpp: BTreeMap<IpAddr, u8>,
    /// Prefixes whose route the kernel made for an address, and somebody took
    /// away.
    absent: BTreeSet<Prefix>,
}

/// An address as Linux has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) prefix_len: u8,
    /// The kernel makes no route for it.
    no_route: bool,
    /// The prefix is the other side's.
    far: bool,
}

impl Held {
    pub(super) fn of(address: &KernelAddress) -> Self {
        Self { prefix_len: address.address.prefix_len(), no_route: address.no_prefix_route, far: address.far_side }
    }

    /// As we give it to Linux.
    pub(super) fn plain(prefix_len: u8) -> Self {
        Self { prefix_len, no_route: false, far: false }
    }
}

impl Addresses {
    /// Both sides have had these.
    pub(super) fn agreed(base: impl Iterator<Item = IpAddr>) -> Self {
        Self { base: base.collect(), ..Self::default() }
    }

    /// With which lengths VPP is to have them: what no route makes a part of
    /// the link VPP is not to take for one, as it would ask there for
    /// neighbours and not send to the gateway.
    pub(super) fn for_vpp(&self, on_link: OnLink<'_>) -> BTreeMap<IpAddr, u8> {
        self.linux.iter().map(|(addr, held)| (*addr, self.len_for_vpp(*addr, *held, on_link))).collect()
    }

    fn len_for_vpp(&self, addr: IpAddr, held: Held, on_link: OnLink<'_>) -> u8 {
        let full = host_len(addr);
        if held.far && addr.is_ipv4() {
            return full;
        }
        let has_route = Prefix::containing(addr, held.prefix_len).is_none_or(|prefix| {
            // The kernel tells of an address before it tells of its route: that
            // there is none counts when it was told, or when all was read.
            if held.no_route { on_link(&prefix) } else { !self.absent.contains(&prefix) }
        });
        if has_route { held.prefix_len } else { full }
    }

    /// A route on the link has come or gone.
    pub(super) fn route(&mut self, prefix: Prefix, there: bool) {
        if there {
            self.absent.remove(&prefix);
        } else if self.makes(&prefix) {
            self.absent.insert(prefix);
        }
    }

    /// All addresses and routes were read.
    pub(super) fn routes_read(&mut self, on_link: OnLink<'_>) {
        let made = self.linux.iter().filter(|(_, held)| !held.no_route);
        let prefixes = made.filter_map(|(addr, held)| Prefix::containing(*addr, held.prefix_len));
        self.absent = prefixes.filter(|prefix| !on_link(prefix)).collect();
    }

    fn makes(&self, prefix: &Prefix) -> bool {
        let is_it = |(addr, held): (&IpAddr, &Held)| IfAddress::new(*addr, held.prefix_len).map(|own| own.prefix());
        self.linux.iter().any(|one| is_it(one).as_ref() == Some(prefix))
    }
}
