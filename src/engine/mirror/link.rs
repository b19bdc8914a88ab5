//! Addresses, MTU, MAC, link state and permanent neighbours of one uplink,
//! kept the same in Linux and VPP: a three-way merge.
//!
//! Beside what each side has stands what both had agreed on (the base). A side
//! that differs from the base was changed by somebody, and the change goes to
//! the other side; one that does not has nothing to say. So nothing echoes,
//! and no side is muted for a while.

mod addresses;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use serde::Serialize;

use self::addresses::{Addresses, Held, OnLink};

use super::{KernelAddress, KernelLink, KernelNeighbour, LinkOp, UplinkState};
use crate::model::{IfAddress, MacAddr, Prefix};

/// Something that the host's device is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinuxChange {
    /// Have this address.
    AddAddress(IfAddress),
    /// Have it no longer.
    DeleteAddress(IfAddress),
    /// This MTU, in bytes.
    SetMtu(u32),
    /// This MAC.
    SetMac(MacAddr),
    /// This speed, in Mbit/s.
    SetSpeed(u32),
}

/// What [`LinkMirror`] tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LinkView {
    /// Changes that went to VPP.
    pub to_vpp: u64,
    /// Changes that went to Linux.
    pub to_linux: u64,
    /// Neighbours that VPP had lost.
    pub differences: u64,
    /// What a side refused, and why; tried again by the next audit.
    pub refused: Vec<String>,
}

/// One value that both sides have, each in its own way: the host's device may
/// have an MTU of its own on purpose. A change is what differs from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value<T> {
    linux: T,
    vpp: T,
}

/// The merge of one uplink. Lives on the helper thread.
#[derive(Debug, Default)]
pub struct LinkMirror {
    /// Index of the host's device.
    device: u32,
    is_child: bool,
    /// Until both sides are known.
    agreed: Option<Agreed>,
    addresses: Addresses,
    link_local: Option<Value<Option<Ipv6Addr>>>,
    /// Of Linux in this round, before it is compared.
    linux_link: Option<KernelLink>,
    vpp: Option<UplinkState>,
    mtu: Option<Value<u32>>,
    mac: Option<Value<MacAddr>>,
    up: Option<bool>,
    /// What the tap was told last.
    carrier: Option<bool>,
    speed: Option<u32>,
    /// What VPP says of the link is not only that nobody has told it.
    link_is_known: bool,
    /// Audits that have begun.
    audits: u32,
    /// Permanent ones in Linux, and those that VPP was told of.
    neighbours: BTreeMap<IpAddr, MacAddr>,
    told: BTreeMap<IpAddr, MacAddr>,
    /// Seen by the dump under way.
    marked: Option<Marks>,
    /// Not to be tried again before the next audit.
    refused: BTreeMap<String, String>,
    view: LinkView,
}

#[derive(Debug, Default)]
struct Marks {
    addresses: BTreeSet<IpAddr>,
    neighbours: BTreeSet<IpAddr>,
}

/// What is to be done on either side.
#[derive(Debug, Default)]
pub struct Round {
    /// On VPP's side, in order.
    pub ops: Vec<LinkOp>,
    /// On Linux's side, in order.
    pub changes: Vec<LinuxChange>,
}

/// What both sides had when the mirror began: what one has otherwise by then
/// was changed there.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The addresses.
    pub addresses: Vec<IfAddress>,
    /// The MTU of the host's device, in bytes.
    pub mtu: u32,
    /// The MAC.
    pub mac: MacAddr,
}

impl LinkMirror {
    /// Of the host's device with this index.
    pub fn new(device: u32, agreed: Agreed) -> Self {
        let base = agreed.addresses.iter().map(IfAddress::addr);
        Self { device, addresses: Addresses::agreed(base), agreed: Some(agreed), ..Self::default() }
    }

    /// Of a VLAN's device, which the host has made and set up or not before VPP
    /// had anything of it.
    pub fn of_child(device: u32) -> Self {
        Self { device, is_child: true, ..Self::default() }
    }

    /// The host's device, new or changed.
    pub fn link(&mut self, link: &KernelLink) {
        if link.index == self.device {
            self.linux_link = Some(link.clone());
        }
    }

    /// An address of a device of the host's.
    pub fn address(&mut self, address: &KernelAddress) {
        if address.index != self.device {
            return;
        }
        let addr = address.address.addr();
        if let Some(marks) = &mut self.marked {
            marks.addresses.insert(addr);
        }
        // Looked for once more, as after its link was down, it stays.
        let is_new = address.tentative && !self.addresses.base.contains(&addr);
        if address.refused || is_new {
            self.addresses.linux.remove(&addr);
        } else {
            self.addresses.linux.insert(addr, Held::of(address));
        }
    }

    /// It is gone.
    pub fn address_gone(&mut self, address: &KernelAddress) {
        let addr = address.address.addr();
        // Linux may have an address twice, with two lengths: the other stays.
        let held = self.addresses.linux.get(&addr);
        let same = held.is_some_and(|held| held.prefix_len == address.address.prefix_len());
        if address.index == self.device && same {
            self.addresses.linux.remove(&addr);
        }
    }

    /// A neighbour of a device of the host's; those that the kernel found out
    /// by itself are VPP's own business.
    pub fn neighbour(&mut self, neighbour: &KernelNeighbour) {
        if neighbour.index != self.device {
            return;
        }
        match neighbour.mac.filter(|_| neighbour.permanent) {
            Some(mac) => {
                self.neighbours.insert(neighbour.addr, mac);
                if let Some(marks) = &mut self.marked {
                    marks.neighbours.insert(neighbour.addr);
                }
            }
            None => drop(self.neighbours.remove(&neighbour.addr)),
        }
    }

    /// It is gone.
    pub fn neighbour_gone(&mut self, neighbour: &KernelNeighbour) {
        if neighbour.index == self.device {
            self.neighbours.remove(&neighbour.addr);
        }
    }

    /// A route of the main table on the host device's own link came, or went.
    pub fn on_link_route(&mut self, prefix: Prefix, there: bool) {
        // Down, the device loses them with the word of a moment.
        if there || self.linux_link.as_ref().is_some_and(|link| link.up) {
            self.addresses.route(prefix, there);
        }
    }

    /// Addresses and routes were read whole.
    pub fn routes_read(&mut self, on_link: OnLink<'_>) {
        if self.linux_link.as_ref().is_some_and(|link| link.up) {
            self.addresses.routes_read(on_link);
        }
    }

    /// A dump of addresses and neighbours begins.
    pub fn resync_begin(&mut self) {
        self.marked = Some(Marks::default());
    }

    /// The dump was whole: what it did not name is gone.
    pub fn resync_end(&mut self) {
        if let Some(marks) = self.marked.take() {
            self.addresses.linux.retain(|addr, _| marks.addresses.contains(addr));
            self.neighbours.retain(|addr, _| marks.neighbours.contains(addr));
        }
    }

    /// VPP's uplink as it is. Not one of before a change of ours that VPP has
    /// not made yet.
    pub fn vpp(&mut self, state: UplinkState) {
        let len = |address: &IfAddress| (address.addr(), address.prefix_len());
        self.addresses.vpp = state.addresses.iter().map(len).collect();
        // Nothing tells of a neighbour that VPP's user took away: what is missing
        // was told in vain, and is told again.
        let before = self.told.len();
        self.told.retain(|addr, mac| state.neighbours.contains(&(*addr, *mac)));
        self.view.differences += (before - self.told.len()) as u64;
        self.vpp = Some(state);
    }

    /// Try again what was refused.
    pub fn retry(&mut self) {
        self.refused.clear();
        self.audits += 1;
    }

    /// VPP refused.
    pub fn refused_by_vpp(&mut self, op: &LinkOp, reason: &str) {
        if let LinkOp::AddAddress(address) = op {
            self.addresses.base.remove(&address.addr());
            self.addresses.vpp.remove(&address.addr());
        }
        if let LinkOp::AddNeighbour(addr, _) = op {
            self.told.remove(addr);
        }
        self.refused.insert(format!("{op:?}"), reason.to_owned());
    }

    /// Linux refused.
    pub fn refused_by_linux(&mut self, change: &LinuxChange, reason: &str) {
        if let LinuxChange::SetSpeed(_) = change {
            self.speed = None;
        }
        if let LinuxChange::AddAddress(address) = change {
            self.addresses.base.remove(&address.addr());
            self.addresses.linux.remove(&address.addr());
        }
        self.refused.insert(format!("{change:?}"), reason.to_owned());
    }

    /// What to do now. What is returned counts as done: a refusal is to be told
    /// by [`Self::refused`] and VPP's state anew by [`Self::vpp`].
    ///
    /// Nothing before both sides are known, and nothing in the midst of a dump.
    pub fn round(&mut self, on_link: OnLink<'_>) -> Round {
        let mut round = Round::default();
        let (Some(link), Some(state)) = (self.linux_link.clone(), self.vpp.clone()) else { return round };
        if self.marked.is_some() {
            return round;
        }
        if let Some(agreed) = self.agreed.take() {
            self.mtu = Some(Value { linux: agreed.mtu, vpp: state.mtu });
            self.mac = Some(Value { linux: agreed.mac, vpp: state.mac });
        }
        // Down first and up first: addresses need an interface that is up.
        self.link_state(&link, &state, &mut round);
        self.link_addresses(on_link, &mut round);
        self.link_locals(&state, &mut round);
        self.link_neighbours(&mut round);
        self.expect(&round);
        self.view.to_vpp += round.ops.len() as u64;
        self.view.to_linux += round.changes.len() as u64;
        round
    }

    /// Both sides are as they are about to be: what they tell next is compared
    /// with that, not with what they were before.
    fn expect(&mut self, round: &Round) {
        if let Some(state) = &mut self.vpp {
            for op in &round.ops {
                match op {
                    LinkOp::SetMtu(mtu) => state.mtu = *mtu,
                    LinkOp::SetMac(mac) => state.mac = *mac,
                    LinkOp::SetUp(up) => state.up = *up,
                    LinkOp::SetLinkLocal(addr) => state.link_local = Some(*addr),
                    _ => {}
                }
            }
        }
        for change in &round.changes {
            match (change, &mut self.linux_link) {
                (LinuxChange::SetMtu(mtu), Some(link)) => link.mtu = *mtu,
                (LinuxChange::SetMac(mac), Some(link)) => link.mac = Some(*mac),
                (LinuxChange::AddAddress(address), _) => {
                    self.addresses.linux.insert(address.addr(), Held::plain(address.prefix_len()));
                }
                (LinuxChange::DeleteAddress(address), _) => drop(self.addresses.linux.remove(&address.addr())),
                _ => {}
            }
        }
    }

    /// Neighbours that VPP had lost, ever.
    pub fn differences(&self) -> u64 {
        self.view.differences
    }

    /// What it tells of itself.
    pub fn view(&self) -> LinkView {
        let refused = self.refused.iter().map(|(what, reason)| format!("{what}: {reason}")).collect();
        LinkView { refused, ..self.view.clone() }
    }

    fn link_state(&mut self, link: &KernelLink, state: &UplinkState, round: &mut Round) {
        // Up and down are the host's word. An uplink that VPP's administrator
        // sets down is a card without carrier to the host: down would cost the
        // host its routes, and nobody would bring them back.
        let mut up = state.up;
        let is_changed = self.up.replace(link.up).map_or(self.is_child, |before| before != link.up);
        if is_changed && state.up != link.up {
            round.ops.push(LinkOp::SetUp(link.up));
            up = link.up;
        }
        match merge(&mut self.mtu, link.mtu, state.mtu) {
            Some(Change::Linux(mtu)) => round.changes.push(LinuxChange::SetMtu(mtu)),
            Some(Change::Vpp(mtu)) => round.ops.push(LinkOp::SetMtu(mtu)),
            None => {}
        }
        if let Some(mac) = link.mac {
            match merge(&mut self.mac, mac, state.mac) {
                // The way of punted packets knows the host's MAC: told as well.
                Some(Change::Linux(mac)) => {
                    round.changes.push(LinuxChange::SetMac(mac));
                    round.ops.push(LinkOp::SetMac(mac));
                }
                Some(Change::Vpp(mac)) => round.ops.push(LinkOp::SetMac(mac)),
                None => {}
            }
        }
        // Drivers tell of the link some time after they have begun, and some
        // never; a carrier that goes and comes costs the host its next-hop
        // objects. So the first word that counts is that there is a link, or a
        // speed, or that there still is none at the next audit.
        self.link_is_known |= state.carrier || state.speed.is_some() || self.audits > 1;
        let carrier = (state.carrier || !self.link_is_known) && up;
        // What the host has set down itself has no carrier to lose. The link may
        // be of before our last change: what was told last counts.
        if link.up && self.carrier.replace(carrier).unwrap_or(link.carrier) != carrier {
            round.ops.push(LinkOp::SetTapCarrier(carrier));
        }
        if let Some(speed) = state.speed.filter(|speed| self.speed != Some(*speed)) {
            let change = LinuxChange::SetSpeed(speed);
            if !self.refused.contains_key(&format!("{change:?}")) {
                self.speed = Some(speed);
                round.changes.push(change);
            }
        }
    }

    fn link_addresses(&mut self, on_link: OnLink<'_>, round: &mut Round) {
        let mut linux = self.addresses.for_vpp(on_link);
        let Addresses { base, linux: held, vpp, .. } = &mut self.addresses;
        let refused = &self.refused;
        let every: BTreeSet<IpAddr> =
            base.iter().chain(linux.keys()).chain(vpp.keys()).copied().filter(|addr| !is_link_local(*addr)).collect();
        // Who has what now: the changes of one side go to the other.
        for addr in every {
            match (base.contains(&addr), linux.get(&addr).copied(), vpp.get(&addr).copied()) {
                (false, None, Some(len)) => {
                    let add = IfAddress::new(addr, len).map(LinuxChange::AddAddress);
                    if let Some(add) = add.filter(|add| !refused.contains_key(&format!("{add:?}"))) {
                        round.changes.push(add);
                        linux.insert(addr, len);
                        base.insert(addr);
                    }
                }
                (true, Some(_), None) => {
                    let old = held.get(&addr).and_then(|held| IfAddress::new(addr, held.prefix_len));
                    round.changes.extend(old.map(LinuxChange::DeleteAddress));
                    linux.remove(&addr);
                    base.remove(&addr);
                }
                (_, Some(_), Some(_)) => {
                    base.insert(addr);
                }
                (true, None, _) => {
                    base.remove(&addr);
                }
                (false, _, None) => {}
            }
        }
        let of = |(addr, len): (&IpAddr, &u8)| IfAddress::new(*addr, *len);
        let wanted: Vec<IfAddress> = linux.iter().filter(|(addr, _)| !is_link_local(**addr)).filter_map(of).collect();
        let there: Vec<IfAddress> = vpp.iter().filter_map(of).collect();
        // What Linux would not have stays VPP's own.
        let own = |address: &IfAddress| refused.contains_key(&format!("{:?}", LinuxChange::AddAddress(*address)));
        // Another length takes the place of the one before, and VPP forgets no
        // neighbour for it where it has a wider one anyway.
        let stays = |address: &IfAddress| wanted.iter().any(|wanted| wanted.addr() == address.addr());
        for address in there.iter().filter(|address| !stays(address) && !own(address)) {
            round.ops.push(LinkOp::DeleteAddress(*address));
            vpp.remove(&address.addr());
        }
        for address in wanted.iter().filter(|address| !there.contains(address)) {
            let add = LinkOp::AddAddress(*address);
            if refused.contains_key(&format!("{add:?}")) {
                continue;
            }
            round.ops.push(add);
            vpp.insert(address.addr(), address.prefix_len());
            base.insert(address.addr());
        }
    }

    fn link_locals(&mut self, state: &UplinkState, round: &mut Round) {
        let of_linux = self.addresses.linux.keys().find_map(|addr| match addr {
            IpAddr::V6(addr) if is_link_local((*addr).into()) => Some(*addr),
            _ => None,
        });
        // Without one for a while, as when the link is down: no word on it.
        if of_linux.is_none() {
            return;
        }
        if self.link_local.is_none() && of_linux != state.link_local {
            round.ops.extend(of_linux.map(LinkOp::SetLinkLocal));
        }
        match merge(&mut self.link_local, of_linux, state.link_local) {
            // VPP keeps the last one: an interface with IPv6 has one.
            Some(Change::Vpp(Some(addr))) => round.ops.push(LinkOp::SetLinkLocal(addr)),
            Some(Change::Linux(Some(addr))) => {
                round
                    .changes
                    .extend(of_linux.and_then(|old| IfAddress::new(old.into(), 64)).map(LinuxChange::DeleteAddress));
                round.changes.extend(IfAddress::new(addr.into(), 64).map(LinuxChange::AddAddress));
            }
            _ => {}
        }
    }

    fn link_neighbours(&mut self, round: &mut Round) {
        for addr in self.told.keys().filter(|addr| !self.neighbours.contains_key(addr)) {
            round.ops.push(LinkOp::DeleteNeighbour(*addr));
        }
        for (addr, mac) in self.neighbours.iter().filter(|(addr, mac)| self.told.get(addr) != Some(mac)) {
            round.ops.push(LinkOp::AddNeighbour(*addr, *mac));
        }
        let refused = &self.refused;
        round.ops.retain(|op| !matches!(op, LinkOp::AddNeighbour(..)) || !refused.contains_key(&format!("{op:?}")));
        let is_told = |(addr, mac): &(&IpAddr, &MacAddr)| {
            !refused.contains_key(&format!("{:?}", LinkOp::AddNeighbour(**addr, **mac)))
        };
        self.told = self.neighbours.iter().filter(is_told).map(|(addr, mac)| (*addr, *mac)).collect();
    }
}

/// Which side is to take which value.
enum Change<T> {
    Linux(T),
    Vpp(T),
}

/// Compare both sides with what they were; where both were changed, Linux's
/// word counts. Without anything to compare with nothing was changed.
fn merge<T: Copy + PartialEq>(known: &mut Option<Value<T>>, linux: T, vpp: T) -> Option<Change<T>> {
    let before = known.replace(Value { linux, vpp })?;
    if linux != before.linux {
        *known = Some(Value { linux, vpp: linux });
        return (vpp != linux).then_some(Change::Vpp(linux));
    }
    if vpp != before.vpp {
        *known = Some(Value { linux: vpp, vpp });
        return (linux != vpp).then_some(Change::Linux(vpp));
    }
    None
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
