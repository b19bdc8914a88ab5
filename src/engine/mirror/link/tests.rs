//! The merge against a Linux and a VPP that do as they are told.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use super::*;

const DEVICE: u32 = 7;

fn address(text: &str) -> IfAddress {
    text.parse().unwrap()
}

fn mac(last: u8) -> MacAddr {
    format!("02:00:00:00:00:{last:02x}").parse().unwrap()
}

fn agreed(addresses: &[IfAddress]) -> Agreed {
    Agreed { addresses: addresses.to_vec(), mtu: 1500, mac: mac(1) }
}

/// Both sides, and the merge between them.
struct Both {
    mirror: LinkMirror,
    linux: BTreeSet<IfAddress>,
    link: KernelLink,
    state: UplinkState,
    /// VPP refuses these.
    refuses: BTreeSet<IfAddress>,
    told: Vec<LinkOp>,
    speeds: Vec<u32>,
}

impl Both {
    fn new(addresses: &[&str]) -> Self {
        let addresses: Vec<IfAddress> = addresses.iter().copied().map(address).collect();
        let link =
            KernelLink { mac: Some(mac(1)), kind: Some("tun".to_owned()), ..KernelLink::of_test(DEVICE, "eth0") };
        let state = UplinkState {
            addresses: addresses.clone(),
            link_local: None,
            mac: mac(1),
            mtu: 1500,
            up: true,
            carrier: true,
            speed: None,
            neighbours: Vec::new(),
        };
        let mut both = Self {
            mirror: LinkMirror::new(DEVICE, agreed(&[])),
            linux: BTreeSet::new(),
            link,
            state,
            refuses: BTreeSet::new(),
            told: Vec::new(),
            speeds: Vec::new(),
        };
        for address in addresses {
            both.linux_add(address);
        }
        both.settle();
        assert_eq!(both.told, [], "nothing is to be done where both have the same");
        both
    }

    fn kernel(address: IfAddress) -> KernelAddress {
        KernelAddress {
            index: DEVICE,
            address,
            far_side: false,
            no_prefix_route: false,
            tentative: false,
            refused: false,
        }
    }

    fn linux_add(&mut self, address: IfAddress) {
        self.linux.insert(address);
        self.mirror.address(&Self::kernel(address));
    }

    fn linux_delete(&mut self, address: IfAddress) {
        self.linux.remove(&address);
        self.mirror.address_gone(&Self::kernel(address));
    }

    /// Rounds until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..8 {
            self.mirror.link(&self.link.clone());
            self.mirror.vpp(self.state.clone());
            let round = self.mirror.round(&|_| true);
            if round.ops.is_empty() && round.changes.is_empty() {
                return;
            }
            for change in round.changes {
                match change {
                    LinuxChange::AddAddress(address) => self.linux_add(address),
                    LinuxChange::DeleteAddress(address) => self.linux_delete(address),
                    LinuxChange::SetMtu(mtu) => self.link.mtu = mtu,
                    LinuxChange::SetMac(mac) => self.link.mac = Some(mac),
                    LinuxChange::SetSpeed(speed) => self.speeds.push(speed),
                }
            }
            for op in round.ops {
                self.told.push(op.clone());
                self.vpp_does(&op);
            }
        }
        panic!("both sides do not come to rest: {:?}", self.told);
    }

    fn vpp_does(&mut self, op: &LinkOp) {
        match *op {
            LinkOp::AddAddress(address) if self.refuses.contains(&address) => {
                self.mirror.refused_by_vpp(op, "as the test wants it");
            }
            LinkOp::AddAddress(address) => {
                self.state.addresses.retain(|there| there.addr() != address.addr());
                self.state.addresses.push(address);
            }
            LinkOp::DeleteAddress(address) => self.state.addresses.retain(|there| *there != address),
            LinkOp::SetLinkLocal(addr) => self.state.link_local = Some(addr),
            LinkOp::SetMtu(mtu) => self.state.mtu = mtu,
            LinkOp::SetMac(mac) => self.state.mac = mac,
            LinkOp::SetUp(up) => self.state.up = up,
            LinkOp::AddNeighbour(addr, mac) => self.state.neighbours.push((addr, mac)),
            LinkOp::DeleteNeighbour(addr) => self.state.neighbours.retain(|(there, _)| *there != addr),
            LinkOp::SetTapCarrier(carrier) => self.link.carrier = carrier,
            LinkOp::SetGroups(_) | LinkOp::SetMacs(_) => {}
        }
    }

    fn same(&self) {
        let there: BTreeSet<IfAddress> = self.state.addresses.iter().copied().collect();
        assert_eq!(self.linux, there);
    }
}

#[test]
fn what_one_side_changes_the_other_has_too() {
    let mut both = Both::new(&["192.0.2.1/24", "2001:db8::1/64"]);
    both.linux_add(address("192.0.2.9/32"));
    both.linux_delete(address("192.0.2.1/24"));
    both.settle();
    both.same();
    both.state.addresses.push(address("10.0.0.1/8"));
    both.state.addresses.retain(|there| *there != address("2001:db8::1/64"));
    both.settle();
    both.same();
    assert!(both.linux.contains(&address("10.0.0.1/8")) && !both.linux.contains(&address("2001:db8::1/64")));
    (both.link.mtu, both.state.mac) = (1400, mac(2));
    both.settle();
    assert_eq!((both.state.mtu, both.link.mac), (1400, Some(mac(2))));
    both.link.up = false;
    both.settle();
    assert!(!both.state.up);
    both.link.up = true;
    both.settle();
    assert!(both.state.up);
}

#[test]
fn an_uplink_that_vpp_sets_down_is_a_card_without_carrier() {
    let mut both = Both::new(&["192.0.2.1/24"]);
    both.state.up = false;
    both.settle();
    assert!(both.link.up && !both.link.carrier);
    both.state.up = true;
    both.settle();
    assert!(both.link.carrier);
    both.state.carrier = false;
    both.settle();
    assert!(!both.link.carrier);
}

#[test]
fn what_vpp_refuses_stays_in_linux_and_is_tried_again_by_an_audit() {
    let mut both = Both::new(&["192.0.2.1/24"]);
    let refused = address("198.51.100.1/24");
    both.refuses.insert(refused);
    both.linux_add(refused);
    both.settle();
    assert!(both.linux.contains(&refused) && !both.state.addresses.contains(&refused));
    assert_eq!(both.mirror.view().refused.len(), 1);
    both.refuses.clear();
    both.settle();
    assert!(!both.state.addresses.contains(&refused));
    both.mirror.retry();
    both.settle();
    both.same();
}

#[test]
fn an_mtu_of_the_hosts_own_is_no_change() {
    let mut both = Both::new(&[]);
    both.mirror = LinkMirror::new(DEVICE, Agreed { mtu: 1400, ..agreed(&[]) });
    both.link.mtu = 1400;
    both.settle();
    assert_eq!((both.link.mtu, both.state.mtu, both.told.as_slice()), (1400, 1500, &[][..]));
}

#[test]
fn a_link_local_address_follows_and_neighbours_too() {
    let mut both = Both::new(&[]);
    both.linux_add(address("fe80::5/64"));
    let neighbour =
        |permanent| KernelNeighbour { index: DEVICE, addr: "192.0.2.7".parse().unwrap(), mac: Some(mac(9)), permanent };
    both.mirror.neighbour(&neighbour(true));
    both.settle();
    assert_eq!(both.state.link_local, Some("fe80::5".parse().unwrap()));
    assert_eq!(both.state.neighbours.len(), 1);
    // Somebody takes it away from VPP, which an audit sees.
    both.state.neighbours.clear();
    both.settle();
    assert_eq!((both.state.neighbours.len(), both.mirror.view().differences), (1, 1));
    // Now only what the kernel found out.
    both.mirror.neighbour(&neighbour(false));
    both.settle();
    assert_eq!(both.state.neighbours.len(), 0);
}

#[test]
fn a_dump_sweeps_what_went_unheard() {
    let mut both = Both::new(&["192.0.2.1/24", "198.51.100.1/24"]);
    both.linux.remove(&address("198.51.100.1/24"));
    both.mirror.resync_begin();
    both.mirror.address(&Both::kernel(address("192.0.2.1/24")));
    both.state.addresses.push(address("10.0.0.1/8"));
    both.mirror.resync_end();
    both.settle();
    both.same();
    assert_eq!(both.state.addresses, [address("192.0.2.1/24"), address("10.0.0.1/8")]);
}

/// Both sides change at random between rounds; in the end they are the same.
#[test]
fn a_walk_of_both_sides_ends_the_same() {
    let pool: Vec<IfAddress> =
        ["192.0.2.1/24", "192.0.2.2/32", "192.0.2.3/24", "10.0.0.1/8", "2001:db8::1/64", "2001:db8:2::1/128"]
            .into_iter()
            .map(address)
            .collect();
    let mut state = 0x9e37_79b9_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut both = Both::new(&[]);
    for _ in 0..2000 {
        let one = pool[next(pool.len())];
        match next(6) {
            0 => both.linux_add(one),
            1 => both.linux_delete(one),
            2 if !both.state.addresses.iter().any(|there| there.addr() == one.addr()) => both.state.addresses.push(one),
            3 => both.state.addresses.retain(|there| there.addr() != one.addr()),
            _ => {
                both.settle();
                both.same();
            }
        }
    }
    both.settle();
    both.same();
}

/// Both change again before the other side has followed.
#[test]
fn what_changes_back_at_once_ends_as_it_was() {
    let mut both = Both::new(&["192.0.2.1/24"]);
    let mut ops = Vec::new();
    for up in [false, true] {
        both.link.up = up;
        both.mirror.link(&both.link.clone());
        ops.extend(both.mirror.round(&|_| true).ops);
    }
    assert_eq!(ops, [LinkOp::SetUp(false), LinkOp::SetUp(true)]);
    both.link.mtu = 1400;
    both.link.mac = Some(mac(7));
    both.mirror.link(&both.link.clone());
    let first = both.mirror.round(&|_| true);
    assert_eq!((first.ops, first.changes), (vec![LinkOp::SetMtu(1400), LinkOp::SetMac(mac(7))], Vec::new()));
    // VPP has told nothing since.
    let second = both.mirror.round(&|_| true);
    assert_eq!((second.ops, second.changes), (Vec::new(), Vec::new()));
}

#[test]
fn a_link_that_goes_down_and_comes_up_has_one_link_local_address() {
    let mut both = Both::new(&[]);
    both.linux_add(address("fe80::5/64"));
    both.settle();
    both.linux_delete(address("fe80::5/64"));
    both.settle();
    both.linux_add(address("fe80::6/64"));
    both.settle();
    assert_eq!(both.linux.iter().copied().collect::<Vec<_>>(), [address("fe80::6/64")]);
    assert_eq!(both.state.link_local, Some("fe80::6".parse().unwrap()));
}

#[test]
fn what_no_route_puts_on_the_link_vpp_has_alone() {
    let held = |far_side, no_prefix_route| KernelAddress {
        far_side,
        no_prefix_route,
        ..Both::kernel(address("192.0.2.9/24"))
    };
    let round = |one: KernelAddress, on_link: bool| {
        let mut both = Both::new(&["10.0.0.1/8"]);
        both.mirror.address(&one);
        both.mirror.round(&|_| on_link).ops
    };
    let wide = [LinkOp::AddAddress(address("192.0.2.9/24"))];
    let alone = [LinkOp::AddAddress(address("192.0.2.9/32"))];
    // The kernel's route comes after its address: until then there is one.
    assert_eq!(round(held(false, false), false), wide);
    assert_eq!(round(held(false, true), false), alone);
    assert_eq!(round(held(false, true), true), wide, "a network manager's own route");
    assert_eq!(round(held(true, false), true), alone, "the prefix is the other side's");
}

#[test]
fn a_route_of_an_address_that_is_taken_away_takes_the_link_along() {
    let mut both = Both::new(&["192.0.2.9/24"]);
    both.mirror.on_link_route(address("192.0.2.0/24").prefix(), false);
    both.settle();
    assert_eq!(both.state.addresses, [address("192.0.2.9/32")]);
    both.mirror.on_link_route(address("192.0.2.0/24").prefix(), true);
    both.settle();
    assert_eq!(both.state.addresses, [address("192.0.2.9/24")]);
    // A dump that has none says the same.
    both.mirror.routes_read(&|_| false);
    both.settle();
    assert_eq!(both.state.addresses, [address("192.0.2.9/32")]);
}

#[test]
fn what_linux_changed_before_the_mirror_had_looked_is_linuxs_word() {
    let mut both = Both::new(&["192.0.2.1/24", "192.0.2.2/24"]);
    let mirror = LinkMirror::new(DEVICE, agreed(&both.state.addresses));
    both.mirror = mirror;
    both.link.mtu = 1400;
    both.link.mac = Some(mac(9));
    both.linux_add(address("192.0.2.1/24"));
    both.linux.remove(&address("192.0.2.2/24"));
    both.settle();
    assert_eq!(both.state.addresses, [address("192.0.2.1/24")]);
    assert_eq!((both.state.mtu, both.state.mac), (1400, mac(9)));
    assert!(!both.linux.contains(&address("192.0.2.2/24")), "it came back");
}

#[test]
fn an_address_that_is_looked_for_again_stays() {
    let mut both = Both::new(&["2001:db8::1/64"]);
    let tentative = |text| KernelAddress { tentative: true, ..Both::kernel(address(text)) };
    both.mirror.address(&tentative("2001:db8::1/64"));
    both.mirror.address(&tentative("2001:db8::2/64"));
    both.settle();
    assert_eq!(both.state.addresses, [address("2001:db8::1/64")], "a new one is not VPP's before Linux is sure");
    both.mirror.address(&KernelAddress { refused: true, ..Both::kernel(address("2001:db8::1/64")) });
    both.settle();
    assert_eq!(both.state.addresses, []);
}

#[test]
fn the_speed_comes_to_linux_and_follows() {
    let mut both = Both::new(&[]);
    for speed in [Some(10_000), Some(10_000), None, Some(25_000)] {
        both.state.speed = speed;
        both.settle();
    }
    assert_eq!(both.speeds, [10_000, 25_000]);
    // Refused: told again after the next audit.
    both.mirror.refused_by_linux(&LinuxChange::SetSpeed(25_000), "as the test wants it");
    both.settle();
    assert_eq!(both.speeds.len(), 2);
    both.mirror.retry();
    both.settle();
    assert_eq!(both.speeds, [10_000, 25_000, 25_000]);
}

#[test]
fn a_link_that_nobody_has_told_of_leaves_the_carrier_alone() {
    let mut both = Both::new(&[]);
    let mut unknown = Both { mirror: LinkMirror::new(DEVICE, agreed(&[])), ..Both::new(&[]) };
    unknown.state.carrier = false;
    // The audit of the beginning.
    unknown.mirror.retry();
    unknown.settle();
    assert_eq!((unknown.link.carrier, unknown.told.len()), (true, 0));
    // It comes up, and goes down then: that counts.
    unknown.state.carrier = true;
    unknown.settle();
    assert_eq!(unknown.told, []);
    unknown.state.carrier = false;
    unknown.settle();
    assert_eq!(unknown.told, [LinkOp::SetTapCarrier(false)]);
    // A wire that is not there from the beginning on is known by the next audit,
    // or by VPP's knowing of a speed.
    both.mirror = LinkMirror::new(DEVICE, agreed(&[]));
    both.state.carrier = false;
    both.mirror.retry();
    both.settle();
    assert!(both.link.carrier);
    both.mirror.retry();
    both.settle();
    assert!(!both.link.carrier);
}

#[test]
fn a_vlan_begins_as_linux_has_it() {
    let begun = |mirror| {
        let mut both = Both { mirror, ..Both::new(&[]) };
        both.state.up = false;
        both.settle();
        both.state.up
    };
    assert!(begun(LinkMirror::of_child(DEVICE)));
    assert!(!begun(LinkMirror::new(DEVICE, agreed(&[]))), "what VPP's administrator has set down stays so");
}
