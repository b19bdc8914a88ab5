//! Random walks: whatever happens, what VPP ends with is what the kernel has.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::kernel::{Kernel, Verb};
use super::vpp::Vpp;
use super::*;

#[derive(Clone, Debug)]
enum Op {
    Insert(KernelRoute, Verb),
    Delete {
        prefix: usize,
        table: u32,
        at: usize,
        group: bool,
    },
    Nexthop(KernelNexthop),
    NexthopGone(u32),
    Link(u32, bool),
    /// The next that the kernel tells is lost, which the reader is told of.
    Lose,
    ResyncBegin,
    /// Lines for so many prefixes.
    ResyncStep(usize),
    Fill(usize),
    /// The oldest batch is carried out; every n-th route is refused.
    Ack(usize),
    Retry,
    /// Somebody takes the n-th route out of VPP, or puts one in.
    Corrupt(usize),
    Check,
}

const PREFIXES: [&str; 6] = ["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "2001:db8::/32", "2001:db8:1::/48", "::/0"];

fn hop_of(six: bool) -> impl Strategy<Value = KernelHop> {
    (prop_oneof![4 => Just(OURS), 1 => Just(OTHER)], 0..4_u8, 1..3_u16).prop_map(move |(index, gateway, weight)| {
        let address = if six { format!("fe80::{gateway}") } else { format!("192.0.2.{gateway}") };
        let gateway = (gateway > 0).then(|| address.parse().unwrap());
        KernelHop { index, gateway, weight, onlink: false, encap: false }
    })
}

fn route_of() -> impl Strategy<Value = KernelRoute> {
    let prefix = 0..PREFIXES.len();
    prefix
        .prop_flat_map(|at| {
            let six = at >= 3;
            let hops = prop::collection::vec(hop_of(six), 1..4);
            let kind = prop_oneof![
                8 => Just(KernelRouteKind::Unicast),
                1 => Just(KernelRouteKind::Blackhole),
                1 => Just(KernelRouteKind::Unreachable),
                1 => Just(KernelRouteKind::Throw),
            ];
            let nexthop = prop_oneof![3 => Just(None), 1 => (1..6_u32).prop_map(Some)];
            let table = prop_oneof![3 => Just(254), 1 => Just(100)];
            let protocol = prop_oneof![6 => Just(3), 2 => Just(186), 1 => Just(9), 1 => Just(2), 1 => Just(118)];
            (Just(at), hops, kind, nexthop, table, protocol, 1..3_u32, 0..12_u8)
        })
        .prop_map(|(at, hops, kind, nexthop_id, table, protocol, metric, odd)| {
            let six = at >= 3;
            let mut route = KernelRoute { table, kind, protocol, nexthop_id, ..route(PREFIXES[at], metric, &hops) };
            route.tos = u8::from(odd == 1 && !six) * 4;
            route.from_source = odd == 1 && six;
            if protocol == 9 {
                route.hops.truncate(1);
            }
            // A message tells one protocol for all siblings.
            if six && [2, 118].contains(&protocol) && route.hops.iter().any(|hop| hop.gateway.is_some()) {
                route.protocol = 3;
            }
            if nexthop_id.is_some() {
                route.kind = KernelRouteKind::Unicast;
                route.hops.clear();
                route.protocol = 3;
            } else if kind != KernelRouteKind::Unicast {
                route.hops.clear();
                if six {
                    route.protocol = 3;
                    route.hops.push(hop(LO, ""));
                }
            }
            route
        })
}

fn nexthop_of() -> impl Strategy<Value = KernelNexthop> {
    let single = (1..4_u32, hop_of(false)).prop_map(|(id, hop)| KernelNexthop {
        id,
        blackhole: false,
        hop: Some(hop),
        group: Vec::new(),
    });
    let group = (4..6_u32, prop::sample::subsequence(vec![1, 2, 3], 1..4), 1..4_u32).prop_map(|(id, of, weight)| {
        let group = of.into_iter().map(|member| (member, weight)).collect();
        KernelNexthop { id, blackhole: false, hop: None, group }
    });
    prop_oneof![2 => single, 1 => group]
}

fn op() -> impl Strategy<Value = Op> {
    let verb = prop_oneof![3 => Just(Verb::Append), 2 => Just(Verb::Prepend), 2 => Just(Verb::Replace)];
    let delete = (0..PREFIXES.len(), prop_oneof![3 => Just(254), 1 => Just(100_u32)], 0..4_usize, any::<bool>());
    prop_oneof![
        16 => (route_of(), verb).prop_map(|(route, verb)| Op::Insert(route, verb)),
        8 => delete.prop_map(|(prefix, table, at, group)| Op::Delete { prefix, table, at, group }),
        4 => nexthop_of().prop_map(Op::Nexthop),
        1 => (1..6_u32).prop_map(Op::NexthopGone),
        1 => (prop_oneof![Just(OURS), Just(OTHER)], Just(false)).prop_map(|(index, up)| Op::Link(index, up)),
        2 => (prop_oneof![Just(OURS), Just(OTHER)], Just(true)).prop_map(|(index, up)| Op::Link(index, up)),
        1 => Just(Op::Lose),
        1 => Just(Op::ResyncBegin),
        3 => (1..6_usize).prop_map(Op::ResyncStep),
        6 => (1..4_usize).prop_map(Op::Fill),
        6 => (0..4_usize).prop_map(Op::Ack),
        1 => Just(Op::Retry),
        1 => (0..12_usize).prop_map(Op::Corrupt),
        1 => Just(Op::Check),
    ]
}

#[allow(clippy::struct_excessive_bools, reason = "each by itself")]
struct Run {
    mirror: RouteMirror,
    kernel: Kernel,
    vpp: Vpp,
    under_way: VecDeque<Batch>,
    number: u64,
    lost: bool,
    lose: bool,
    /// Prefixes that the dump has yet to come to.
    dump: Option<(Families, VecDeque<(u32, Prefix)>)>,
    /// What the kernel tells during a dump is heard after it, as the helper does.
    deaf: bool,
    to_host: bool,
}

impl Run {
    fn new(to_host: bool, deaf: bool, present: &[usize]) -> Self {
        let mut run = Self {
            mirror: RouteMirror::new(UplinkId(3), OURS, to_host),
            kernel: Kernel::default(),
            vpp: Vpp::default(),
            under_way: VecDeque::new(),
            number: 0,
            lost: false,
            lose: false,
            dump: None,
            deaf,
            to_host,
        };
        for at in present {
            let prefix = PREFIXES[*at].parse().unwrap();
            run.vpp.routes.insert((254, prefix), (PathsId::NONE, Paths::Prohibit));
            run.mirror.present(254, prefix);
        }
        run.begin(Families::ALL);
        run
    }

    fn hear(&mut self) {
        for event in std::mem::take(&mut self.kernel.told) {
            if std::mem::take(&mut self.lose) {
                self.lost = true;
            } else {
                self.mirror.event_from(&event, false);
            }
        }
    }

    fn begin(&mut self, families: Families) {
        let families = self.dump.take().map_or(families, |(other, _)| families.or(other));
        self.mirror.resync_begin(families);
        if families == Families::ALL {
            self.lost = false;
        }
        if families.nexthops {
            for object in self.kernel.nexthops.values() {
                self.mirror.event(&KernelEvent::Nexthop(object.clone()));
            }
        }
        let mut keys = VecDeque::new();
        for text in PREFIXES {
            let prefix: Prefix = text.parse().unwrap();
            if (prefix.is_ipv4() && families.ipv4) || (!prefix.is_ipv4() && families.ipv6) {
                keys.extend([(254, prefix), (100, prefix)]);
            }
        }
        self.dump = Some((families, keys));
    }

    fn step(&mut self, count: usize) {
        let Some((families, mut keys)) = self.dump.take() else { return };
        for key in keys.drain(..count.min(keys.len())) {
            for line in self.kernel.dump(&key) {
                self.mirror.event_from(&line, true);
            }
        }
        if keys.is_empty() {
            self.hear();
            self.mirror.resync_end(families);
        } else {
            self.dump = Some((families, keys));
        }
    }

    fn fill(&mut self, max: usize) -> bool {
        self.number += 1;
        let mut batch = Batch { number: self.number, ..Batch::default() };
        let any = self.mirror.fill(&mut batch, max);
        assert_eq!(any, batch != Batch { number: self.number, uplink: UplinkId(3), ..Batch::default() });
        assert!(batch.routes.len() <= max);
        if any {
            self.under_way.push_back(batch);
        }
        any
    }

    fn ack(&mut self, every: usize) {
        let Some(batch) = self.under_way.pop_front() else { return };
        let kinds = [Refusal::Heap, Refusal::Stats, Refusal::Table("no".to_owned())];
        let refuses = |place: usize| (every > 0 && place.is_multiple_of(every)).then(|| kinds[place % 3].clone());
        let done = self.vpp.apply(&batch, refuses);
        self.mirror.done(&done);
    }

    fn check(&mut self) {
        let mut cursor = CheckCursor::default();
        loop {
            self.number += 1;
            let mut batch = Batch { number: self.number, ..Batch::default() };
            let more = self.mirror.fill_check(&mut batch, &mut cursor, 2);
            self.under_way.push_back(batch);
            if !more {
                break;
            }
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Insert(route, verb) => {
                // The kernel's own does not replace.
                if !(route.protocol == 9 && *verb == Verb::Replace) {
                    self.kernel.insert(route, *verb);
                }
            }
            Op::Delete { prefix, table, at, group } => {
                self.kernel.delete((*table, PREFIXES[*prefix].parse().unwrap()), *at, *group);
            }
            Op::Nexthop(object) => self.kernel.set_nexthop(object),
            Op::NexthopGone(id) => self.kernel.delete_nexthop(*id, false),
            Op::Link(index, up) => self.kernel.set_link(*index, *up),
            Op::Lose => self.lose = true,
            Op::ResyncBegin => self.begin(Families::ALL),
            Op::ResyncStep(count) => self.step(*count),
            Op::Fill(max) => drop(self.fill(*max)),
            Op::Ack(every) => self.ack(*every),
            Op::Retry => self.mirror.retry(),
            Op::Corrupt(at) if at.is_multiple_of(2) => {
                if let Some(key) = self.vpp.routes.keys().nth(at / 2).copied() {
                    self.vpp.routes.remove(&key);
                }
            }
            Op::Corrupt(at) => {
                let key = (254, PREFIXES[at / 2].parse().unwrap());
                self.vpp.routes.insert(key, (PathsId::NONE, Paths::Prohibit));
            }
            Op::Check => self.check(),
        }
        if !(self.deaf && self.dump.is_some()) {
            self.hear();
        }
    }

    /// Until nothing is left to do.
    fn drive(&mut self) {
        for _ in 0..1000 {
            self.step(usize::MAX);
            let mut wanted = self.mirror.wants_resync();
            if self.lost {
                wanted = Families::ALL;
            }
            if !wanted.is_empty() {
                self.begin(wanted);
                continue;
            }
            let any = self.fill(2);
            self.ack(0);
            if !any && self.under_way.is_empty() && self.mirror.is_settled() {
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.mirror.view());
    }

    fn vpp_has(&self) -> std::collections::BTreeMap<(u32, Prefix), Paths> {
        self.vpp.routes.iter().map(|(key, (_, paths))| (*key, paths.clone())).collect()
    }

    fn finish(&mut self, corrupted: bool) {
        self.drive();
        self.mirror.retry();
        self.drive();
        // Totals do not tell one too many from one too few: a round that found
        // something is followed by another.
        let mut found = u64::MAX;
        while corrupted && found != self.mirror.view().differences {
            found = self.mirror.view().differences;
            self.check();
            self.drive();
        }
        let wanted = self.kernel.wanted(self.to_host);
        assert_eq!(self.vpp_has(), wanted);
        let view = self.mirror.view();
        let six = |all: &std::collections::BTreeMap<(u32, Prefix), Paths>| {
            all.keys().filter(|(_, prefix)| !prefix.is_ipv4()).count() as u64
        };
        let expected = ByFamily { ipv4: wanted.len() as u64 - six(&wanted), ipv6: six(&wanted) };
        assert_eq!((view.desired, view.in_vpp), (expected, expected));
        assert!(view.refused.is_empty(), "{view:?}");
        // A check finds nothing, a resync changes nothing.
        let (ops, differences) = (self.vpp.ops, view.differences);
        self.check();
        self.drive();
        self.begin(Families::ALL);
        for _ in 0..3 {
            self.step(3);
            self.fill(100);
            self.ack(0);
        }
        self.drive();
        assert_eq!((self.vpp.ops, self.mirror.view().differences), (ops, differences));
        // As the kernel counts: whole routes, of IPv6 a group as one.
        let lines: usize = self.kernel.routes.keys().map(|key| self.kernel.dump(key).len()).sum();
        assert_eq!(self.mirror.view().in_kernel.ipv4 + self.mirror.view().in_kernel.ipv6, lines as u64);
        self.mirror.withdraw();
        self.drive();
        assert_eq!((self.vpp.routes.len(), self.vpp.sets.len()), (0, 0));
        assert_eq!(self.mirror.view().in_vpp, ByFamily::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn vpp_ends_with_what_the_kernel_has(
        ops in prop::collection::vec(op(), 1..80),
        to_host in any::<bool>(),
        deaf in any::<bool>(),
        present in prop::collection::vec(0..PREFIXES.len(), 0..3),
    ) {
        let mut run = Run::new(to_host, deaf, &present);
        for op in &ops {
            run.apply(op);
        }
        run.finish(ops.iter().any(|op| matches!(op, Op::Corrupt(_))));
    }

    /// With nothing wrong on the way, no audit and no further dump is needed.
    #[test]
    fn a_calm_walk_needs_no_second_look(ops in prop::collection::vec(op(), 1..60)) {
        let mut run = Run::new(false, false, &[]);
        run.step(usize::MAX);
        for op in &ops {
            let calm = matches!(op, Op::Insert(r, _) if r.protocol != 9)
                || matches!(op, Op::Delete { .. } | Op::Nexthop(_) | Op::NexthopGone(_) | Op::Fill(_));
            if calm {
                run.apply(op);
                run.ack(0);
            }
        }
        run.drive();
        prop_assert_eq!(run.vpp_has(), run.kernel.wanted(false));
        // Whether an object's route was replaced or told again is not always plain.
        if !ops.iter().any(|op| matches!(op, Op::Nexthop(_))) {
            prop_assert_eq!(run.mirror.view().resyncs, 1);
        }
    }
}
