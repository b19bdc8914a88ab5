//! The manager with its fakes, called as its caller would.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::super::*;
use super::fake::{FakeKernel, FakeVpp};
use crate::engine::{UplinkFacts, UplinkView};
use crate::model::{HostConfig, MacAddr};

/// The manager and its fakes. Uplinks: 1 is host-eth0, 2 is host-eth1,
/// 3 is GigabitEthernet3, which has no Linux name.
pub(super) struct Lab {
    pub(super) manager: Manager,
    pub(super) vpp: FakeVpp,
    pub(super) kernel: FakeKernel,
    clock: Cell<Duration>,
    next_client: u64,
}

pub(super) fn facts(sw_if_index: u32) -> UplinkFacts {
    let (name, linux_name) = if sw_if_index == 3 {
        ("GigabitEthernet3".to_owned(), None)
    } else {
        let device = format!("eth{}", sw_if_index - 1);
        (format!("host-{device}"), Some(device.parse().unwrap()))
    };
    UplinkFacts {
        route_sources: Vec::new(),
        sw_if_index,
        name,
        linux_name,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        tables: (0, 0),
        config: HostConfig::default(),
        tap_plugin: true,
        default_punt: false,
        refusals: Vec::new(),
        unready: Vec::new(),
    }
}

impl Lab {
    pub(super) fn new() -> Self {
        let mut vpp = FakeVpp::default();
        for index in 1..=3 {
            vpp.interfaces.insert(index, facts(index));
        }
        let kernel = FakeKernel { world: Rc::clone(&vpp.world), ..FakeKernel::default() };
        Self { manager: Manager::new(), vpp, kernel, clock: Cell::default(), next_client: 0 }
    }

    /// From here on undos fail, so steps may be undone before later ones.
    pub(super) fn order_may_break(&self) {
        self.vpp.world.order_may_break.set(true);
    }

    /// Call the manager as its caller does: a panic is caught and told.
    pub(super) fn call<R>(&mut self, f: impl FnOnce(&mut Manager, &mut Hands<'_>) -> R) -> Option<R> {
        let clock = &self.clock;
        let now = || {
            clock.set(clock.get() + Duration::from_micros(1));
            clock.get()
        };
        let mut hands = Hands { vpp: &mut self.vpp, kernel: &mut self.kernel, now: &now };
        let manager = &mut self.manager;
        let told = |payload: Box<dyn Any + Send>| match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(other) => resume_unwind(other),
        };
        let mut panic = match catch_unwind(AssertUnwindSafe(|| f(manager, &mut hands))) {
            Ok(value) => return Some(value),
            Err(payload) => told(payload),
        };
        loop {
            assert!(
                ["inspect", "in apply", "in undo", "in takeover"].contains(&panic.as_str()),
                "an assertion of the fakes: {panic}"
            );
            match catch_unwind(AssertUnwindSafe(|| manager.panicked(&mut hands, &panic))) {
                Ok(()) => return None,
                Err(payload) => panic = told(payload),
            }
        }
    }

    pub(super) fn request(sw_if_index: u32) -> EnableRequest {
        EnableRequest { sw_if_index, ..EnableRequest::default() }
    }

    pub(super) fn start(&mut self, request: EnableRequest) -> ClientId {
        self.next_client += 1;
        let client = ClientId(self.next_client);
        self.call(|manager, hands| manager.enable(hands, request, client));
        client
    }

    pub(super) fn stop(&mut self, sw_if_index: u32) -> ClientId {
        self.next_client += 1;
        let client = ClientId(self.next_client);
        self.call(|manager, hands| manager.disable(hands, sw_if_index, client));
        client
    }

    pub(super) fn report(&mut self, report: Report) {
        self.call(|manager, hands| manager.report(hands, report));
    }

    /// The helper thread carries one command out.
    pub(super) fn work(&mut self) {
        if let Some(report) = self.kernel.work() {
            self.report(report);
        }
    }

    /// Until the helper thread has nothing to do.
    pub(super) fn pump(&mut self) {
        while !self.kernel.queue.is_empty() {
            self.work();
        }
    }

    pub(super) fn tick(&mut self) {
        self.call(Manager::tick);
        self.pump();
    }

    pub(super) fn enable(&mut self, sw_if_index: u32) -> Answer {
        let client = self.start(Self::request(sw_if_index));
        self.pump();
        self.answer(client)
    }

    pub(super) fn disable(&mut self, sw_if_index: u32) -> Answer {
        let client = self.stop(sw_if_index);
        self.pump();
        self.answer(client)
    }

    /// The one answer that waits, which is for this client.
    pub(super) fn answer(&mut self, client: ClientId) -> Answer {
        let (to, answer) = self.manager.completed().expect("an answer");
        assert_eq!(to, client);
        assert_eq!(self.manager.completed(), None, "one request, one answer");
        answer
    }

    pub(super) fn view(&self, sw_if_index: u32) -> Option<UplinkView> {
        let view = self.manager.view(&self.vpp, &self.kernel, Some(sw_if_index));
        assert!(view.uplinks.len() < 2);
        view.uplinks.into_iter().next()
    }

    pub(super) fn state(&self, sw_if_index: u32) -> Option<&'static str> {
        self.view(sw_if_index).map(|view| view.state)
    }

    pub(super) fn error(&self, sw_if_index: u32) -> String {
        self.view(sw_if_index).and_then(|view| view.last_error).expect("an error")
    }

    /// The steps of this id that are in place.
    pub(super) fn in_place(&self, id: UplinkId) -> Vec<Step> {
        self.vpp.world.in_place.borrow().iter().filter(|(of, _)| *of == id).map(|(_, step)| *step).collect()
    }

    pub(super) fn undone(&self) -> Vec<Step> {
        self.vpp.world.undone.borrow().iter().map(|(_, step)| *step).collect()
    }

    /// Nothing is in place, held, waited for or owed.
    pub(super) fn assert_clean(&self) {
        assert_eq!(*self.vpp.world.in_place.borrow(), []);
        assert!(self.vpp.taps.is_empty());
        assert_eq!(self.vpp.default, None);
        assert!(self.manager.is_idle());
        assert!(!self.manager.wants_tick());
        assert!(self.kernel.queue.is_empty());
        let forgotten: BTreeSet<UplinkId> = self.vpp.forgotten.iter().copied().collect();
        assert_eq!(forgotten, self.kernel.forgotten);
    }

    /// What holds at any moment, and more when nothing is under way.
    pub(super) fn check(&self) {
        let world = self.vpp.world.in_place.borrow();
        for (id, step) in world.iter() {
            let uplink = self.manager.uplinks.iter().find(|uplink| uplink.id == *id);
            assert!(uplink.is_some_and(Uplink::is_live), "{step} of {id:?} is in place without a live record");
        }
        let enabled: Vec<&Uplink> =
            self.manager.uplinks.iter().filter(|uplink| uplink.machine.phase() == Phase::Enabled).collect();
        for uplink in &enabled {
            let steps: Vec<Step> = uplink.plan.steps().collect();
            assert_eq!(self.in_place(uplink.id), steps);
        }
        let holders: Vec<UplinkId> =
            self.manager.uplinks.iter().filter(|uplink| uplink.holds_default).map(|uplink| uplink.id).collect();
        assert!(holders.len() < 2, "{holders:?}");
        if let Some(id) = self.vpp.default {
            assert_eq!(holders, [id], "the record and VPP agree");
        }
        if self.manager.is_idle() && !self.manager.wants_tick() && !enabled.is_empty() {
            assert!(enabled.iter().any(|uplink| Some(uplink.id) == self.vpp.default), "the default leads nowhere");
        }
    }
}
