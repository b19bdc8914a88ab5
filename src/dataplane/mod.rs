//! The engine's hands in VPP: each step of a plan over the `vpp` room.
//!
//! Idempotent at VPP's edges: what was done is kept per uplink, because
//! several of VPP's calls corrupt or leak when they are repeated.

mod card;
mod child;
mod inspect;
mod mirror;
mod taken;
pub mod uplink;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::mirror::Batch;
use crate::engine::{Dataplane, Done, Output, Plan, Prospects, TapView, UplinkFacts, UplinkId, VppStep};
#[cfg(feature = "faults")]
use crate::engine::{Step, faults};
use crate::model::{Backend, Groups, MacAddr};
use crate::nodes;
use crate::vpp::neighbor::HostRoute;
use crate::vpp::{
    Barrier, Main, NO_INTERFACE, driver, feature, interface, neighbor, protocol, punt, sources, sub, tap_plugin,
};
pub use taken::Unplugged;

/// What VPP has for the uplinks.
#[derive(Debug, Default)]
pub struct State {
    uplinks: Vec<Uplink>,
    /// What is done with cards, a thing at a time.
    jobs: card::Jobs,
    /// VPP exits: nothing takes time any more.
    exiting: bool,
    /// What VPP punted before the first uplink, and how many uplinks want it
    /// punted now: the setting is one for all of VPP.
    punt_unknown: Option<(punt::Unknown, usize)>,
    mirror: mirror::Mirror,
}

/// What VPP has for one uplink.
#[derive(Debug)]
struct Uplink {
    id: UplinkId,
    /// The uplink is still there.
    present: bool,
    tap: Option<Tap>,
    /// From the helper, for the step that makes the tap.
    staging: Option<PathBuf>,
    tun: Option<OwnedFd>,
    /// The punt redirects: family and receive interface of each.
    redirects: Vec<(Family, u32)>,
    punts_unknown: bool,
    /// VPP's interface on the device that was taken from Linux.
    taken: Option<taken::Taken>,
    /// VPP's interface of a VLAN on another uplink's device.
    sub: Option<child::Sub>,
    /// The card below it, where VPP's framework of drivers has that.
    card: Option<card::Card>,
    /// From the helper: the namespace that its netdev is in.
    parked: Option<OwnedFd>,
}

impl Uplink {
    /// The tap, as long as VPP is not deleting it.
    fn living_tap(&self) -> Option<&Tap> {
        self.tap.as_ref().filter(|tap| !tap.dying)
    }
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "what was done, each undone alone")]
struct Tap {
    sw_if_index: u32,
    name: String,
    backend: Backend,
    /// It is a sub-interface of another uplink's.
    is_child: bool,
    mac: MacAddr,
    /// Counters when it was made.
    base: (u64, u64),
    unnumbered: bool,
    ip6: bool,
    neighbours: bool,
    /// VPP is deleting it: nothing on it is ours to undo any more.
    dying: bool,
}

impl Tap {
    /// Just made: nothing was done with it yet.
    fn new(main: &Main<'_>, sw_if_index: u32, backend: Backend, mac: MacAddr) -> Self {
        Self {
            sw_if_index,
            name: interface::get(main, sw_if_index).map(|tap| tap.name).unwrap_or_default(),
            backend,
            is_child: false,
            mac,
            base: interface::counters(main, sw_if_index),
            unnumbered: false,
            ip6: false,
            neighbours: false,
            dying: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Ip4,
    Ip6,
}

impl Family {
    fn next_hop(self) -> IpAddr {
        match self {
            Self::Ip4 => Plan::PUNT_NEXT_HOP4.into(),
            Self::Ip6 => Plan::PUNT_NEXT_HOP6.into(),
        }
    }
}

impl State {
    fn uplink(&mut self, id: UplinkId) -> &mut Uplink {
        self.uplink_and_jobs(id).0
    }

    fn uplink_and_jobs(&mut self, id: UplinkId) -> (&mut Uplink, &mut card::Jobs) {
        let at = self.uplinks.iter().position(|uplink| uplink.id == id).unwrap_or_else(|| {
            self.uplinks.push(Uplink {
                id,
                present: true,
                tap: None,
                staging: None,
                tun: None,
                redirects: Vec::new(),
                punts_unknown: false,
                taken: None,
                sub: None,
                card: None,
                parked: None,
            });
            self.uplinks.len() - 1
        });
        (&mut self.uplinks[at], &mut self.jobs)
    }

    /// The punt redirects that are ours.
    fn redirects(&self) -> Vec<(Family, u32)> {
        self.uplinks.iter().flat_map(|uplink| uplink.redirects.iter().copied()).collect()
    }

    /// The tap that steps may still touch.
    fn living_tap(&mut self, id: UplinkId) -> Option<&mut Tap> {
        self.uplink(id).tap.as_mut().filter(|tap| !tap.dying)
    }

    fn tap_or(&mut self, id: UplinkId) -> Result<&mut Tap, String> {
        self.living_tap(id).ok_or_else(|| "the tap is gone".to_owned())
    }

    /// Take note of what has ended of that which takes its time.
    pub fn news(&mut self, main: &Main<'_>) {
        self.jobs.turn(main);
    }

    /// From here on nothing takes time.
    pub fn exit(&mut self) {
        self.exiting = true;
    }

    /// The interfaces whose cards are being unplugged, of those whose deletion
    /// takes its time.
    pub fn unplugged_in_time(&self) -> Vec<u32> {
        let wanted = |uplink: &Uplink| {
            let taken = uplink.taken.as_ref().filter(|taken| !taken.gone)?;
            uplink.card.as_ref().is_some_and(card::Card::is_wanted).then_some(taken.sw_if_index)
        };
        self.uplinks.iter().filter_map(wanted).collect()
    }

    /// The interfaces whose cards are being unplugged.
    pub fn unplugged(&self) -> Vec<Unplugged> {
        self.uplinks.iter().filter_map(|uplink| uplink.taken.as_ref()?.unplugged()).collect()
    }

    /// VPP is deleting an interface, the barrier is held. Whatever would point
    /// to it afterwards is undone here and now; the rest follows in the plan's
    /// own order. `lenders` are the uplinks with their interface.
    pub fn interface_deleted(&mut self, barrier: &Barrier<'_>, sw_if_index: u32, lenders: &[(UplinkId, u32)]) {
        self.mirror.interface_deleted(barrier, sw_if_index);
        for uplink in &mut self.uplinks {
            let lends = lenders.contains(&(uplink.id, sw_if_index));
            if lends && let Some(taken) = &mut uplink.taken {
                taken.gone = true;
                if uplink.card.is_some() {
                    card::deleted(barrier, sw_if_index);
                }
            }
            let Some(tap) = uplink.tap.as_mut().filter(|tap| !tap.dying) else { continue };
            if lends {
                uplink.present = false;
                nodes::forget_uplink(barrier, sw_if_index);
                // The tap would borrow from whoever gets the index next.
                if tap.unnumbered {
                    tap.unnumbered = false;
                    let _ = interface::set_unnumbered(barrier, tap.sw_if_index, sw_if_index, false);
                }
                // Keyed by the uplink's index, which is free for others soon.
                delete_redirects(barrier, &mut uplink.redirects, |(_, rx)| rx == sw_if_index);
            } else if tap.sw_if_index == sw_if_index {
                tap.dying = true;
                nodes::forget_tap(barrier, sw_if_index);
                if let Err(reason) = watch_paths(barrier) {
                    log::error!("{reason}");
                }
                // They would drop every punted packet from now on.
                delete_redirects(barrier, &mut uplink.redirects, |_| true);
            }
        }
    }
}

fn delete_redirects(barrier: &Barrier<'_>, redirects: &mut Vec<(Family, u32)>, which: impl Fn((Family, u32)) -> bool) {
    redirects.retain(|entry| {
        let (family, rx) = *entry;
        let gone = which(*entry);
        if gone {
            punt::delete_redirect(barrier, family == Family::Ip6, rx);
        }
        !gone
    });
}

/// The dataplane for one call on VPP's main thread.
#[derive(Debug)]
pub struct Vpp<'a> {
    /// The main thread.
    pub main: &'a Main<'a>,
    /// What VPP has for the uplinks.
    pub state: &'a mut State,
}

impl Dataplane for Vpp<'_> {
    fn inspect(&mut self, sw_if_index: u32, others: &[Arc<Plan>]) -> Result<UplinkFacts, String> {
        let ours = self.state.redirects();
        inspect::inspect(self.main, sw_if_index, others, &ours)
    }

    fn prospects(&mut self, pci: Option<&str>) -> Prospects {
        let ours = self.state.redirects();
        Prospects {
            drivers: taken::drivers(self.main),
            device_driver: pci.and_then(|pci| taken::device_driver(self.main, pci)),
            pci_refusals: taken::no_rings(self.main).into_iter().collect(),
            xdp_mtu: taken::xdp_mtu(self.main),
            tap_plugin: tap_plugin::is_loaded(self.main),
            refusals: inspect::refusals_of_all(self.main, &ours),
        }
    }

    fn route_sources(&self) -> Vec<String> {
        sources::all(self.main).into_iter().map(|(_, name)| name).collect()
    }

    fn interface(&self, id: UplinkId) -> Option<(u32, String)> {
        let uplink = self.state.uplinks.iter().find(|uplink| uplink.id == id)?;
        let taken = uplink.taken.as_ref().map(|taken| (taken.sw_if_index, taken.name.clone()));
        taken.or_else(|| uplink.sub.as_ref().map(|sub| (sub.sw_if_index, sub.name.clone())))
    }

    fn accept(&mut self, plan: &Plan, output: Output) {
        let uplink = self.state.uplink(plan.id);
        match output {
            Output::None => {}
            Output::Staging(path) => uplink.staging = Some(path),
            Output::Tun(fd) => uplink.tun = Some(fd),
            Output::Parked(netns) => uplink.parked = Some(netns),
            Output::Mirror => self.state.mirror_start(self.main, plan),
        }
    }

    fn apply(&mut self, plan: &Plan, step: VppStep) -> Done {
        #[cfg(feature = "faults")]
        if let Err(reason) = faults::trip(Step::Vpp(step).name()) {
            return Some(Err(reason));
        }
        let barrier = self.main.barrier();
        if step == VppStep::Uplink && taken::takes_time(plan) {
            let (uplink, jobs) = self.state.uplink_and_jobs(plan.id);
            return taken::make_in_time(&barrier, plan.id, (&mut uplink.taken, &mut uplink.card), jobs, plan);
        }
        Some(apply(&barrier, self.state, plan, step))
    }

    fn undo(&mut self, plan: &Plan, step: VppStep) -> Done {
        #[cfg(feature = "faults")]
        if let Err(reason) = faults::trip(&faults::undo_key(Step::Vpp(step))) {
            return Some(Err(reason));
        }
        let barrier = self.main.barrier();
        if step == VppStep::Uplink && taken::takes_time(plan) {
            let exiting = self.state.exiting;
            let (uplink, jobs) = self.state.uplink_and_jobs(plan.id);
            return taken::unmake_in_time(&barrier, (&mut uplink.taken, &mut uplink.card), jobs, plan, exiting);
        }
        Some(undo(&barrier, self.state, plan, step))
    }

    fn mirror(&mut self, batch: Batch) {
        self.state.mirror_submit(batch);
    }

    fn take_default_punt(&mut self, plan: &Plan) -> Result<(), String> {
        let barrier = self.main.barrier();
        for family in [Family::Ip4, Family::Ip6] {
            if let Err(reason) = add_redirect(&barrier, self.state, plan.id, family, NO_INTERFACE) {
                let uplink = self.state.uplink(plan.id);
                delete_redirects(&barrier, &mut uplink.redirects, |(_, rx)| rx == NO_INTERFACE);
                return Err(reason);
            }
        }
        Ok(())
    }

    fn tap(&self, id: UplinkId) -> Option<TapView> {
        let tap = self.state.uplinks.iter().find(|uplink| uplink.id == id)?.tap.as_ref()?;
        let (rx, tx) = interface::counters(self.main, tap.sw_if_index);
        Some(TapView {
            name: tap.name.clone(),
            sw_if_index: tap.sw_if_index,
            to_host_packets: tx.saturating_sub(tap.base.1),
            from_host_packets: rx.saturating_sub(tap.base.0),
        })
    }

    fn forget(&mut self, id: UplinkId) {
        self.state.uplinks.retain(|uplink| uplink.id != id);
    }
}

fn apply(barrier: &Barrier<'_>, state: &mut State, plan: &Plan, step: VppStep) -> Result<(), String> {
    let id = plan.id;
    match step {
        VppStep::Uplink if plan.child.is_some() => child::make(barrier, state.uplink(id), plan),
        VppStep::Tap if plan.child.is_some() => child::create_tap(barrier, state, plan),
        VppStep::Uplink => {
            let uplink = state.uplink(id);
            taken::make(barrier, &mut uplink.taken, uplink.parked.take(), plan)
        }
        VppStep::Tap => {
            let mac = free_mac(state);
            create_tap(barrier, state.uplink(id), plan, mac)
        }
        VppStep::Mtu => {
            interface::set_mtu(barrier, state.tap_or(id)?.sw_if_index, plan.device.mtu);
            Ok(())
        }
        VppStep::Tables => match tables(barrier, plan) {
            // Where every interface begins.
            (0, 0) => Ok(()),
            tables => interface::bind_tables(barrier, state.tap_or(id)?.sw_if_index, tables),
        },
        VppStep::Unnumbered => {
            let tap = state.tap_or(id)?;
            interface::set_unnumbered(barrier, tap.sw_if_index, plan.uplink, true)?;
            tap.unnumbered = true;
            Ok(())
        }
        VppStep::Ip6 => {
            let tap = state.tap_or(id)?;
            interface::enable_ip6(barrier, tap.sw_if_index)?;
            tap.ip6 = true;
            interface::suppress_router_advertisements(barrier, tap.sw_if_index).inspect_err(|_| {
                interface::disable_ip6(barrier, tap.sw_if_index);
                tap.ip6 = false;
            })
        }
        VppStep::Features => enable_features(barrier, state.tap_or(id)?, plan),
        VppStep::Neighbours => {
            let tap = state.tap_or(id)?;
            tap.neighbours = true;
            for family in [Family::Ip4, Family::Ip6] {
                let added = neighbor::add(barrier, tap.sw_if_index, family.next_hop(), plan.device.mac, HostRoute::No);
                if let Err(reason) = added {
                    delete_neighbours(barrier, tap);
                    return Err(reason);
                }
            }
            Ok(())
        }
        VppStep::PuntUnknown => {
            if !std::mem::replace(&mut state.uplink(id).punts_unknown, true) {
                let (_, users) = state.punt_unknown.get_or_insert_with(|| (punt::Unknown::get(barrier), 0));
                *users += 1;
                punt::Unknown::ALL.set(barrier);
            }
            Ok(())
        }
        VppStep::Redirect4 => add_redirect(barrier, state, id, Family::Ip4, receive_interface(plan)),
        VppStep::Redirect6 => add_redirect(barrier, state, id, Family::Ip6, receive_interface(plan)),
        VppStep::TapUp => interface::set_admin_up(barrier, state.tap_or(id)?.sw_if_index, true),
        VppStep::Verify => verify(barrier, state, plan),
    }
}

fn undo(barrier: &Barrier<'_>, state: &mut State, plan: &Plan, step: VppStep) -> Result<(), String> {
    let id = plan.id;
    match step {
        VppStep::Verify | VppStep::Mtu => Ok(()),
        VppStep::Uplink if plan.child.is_some() => child::unmake(barrier, state.uplink(id)),
        VppStep::Uplink => taken::unmake(barrier, &mut state.uplink(id).taken, plan),
        VppStep::TapUp => match state.living_tap(id) {
            Some(tap) => interface::set_admin_up(barrier, tap.sw_if_index, false),
            None => Ok(()),
        },
        VppStep::Redirect4 | VppStep::Redirect6 => {
            let family = if step == VppStep::Redirect4 { Family::Ip4 } else { Family::Ip6 };
            delete_redirects(barrier, &mut state.uplink(id).redirects, |(of, _)| of == family);
            Ok(())
        }
        VppStep::PuntUnknown => {
            if std::mem::replace(&mut state.uplink(id).punts_unknown, false)
                && let Some((before, users)) = state.punt_unknown.as_mut()
            {
                *users -= 1;
                if *users == 0 {
                    before.set(barrier);
                    state.punt_unknown = None;
                }
            }
            Ok(())
        }
        VppStep::Neighbours => {
            if let Some(tap) = state.living_tap(id).filter(|tap| tap.neighbours) {
                delete_neighbours(barrier, tap);
            }
            Ok(())
        }
        VppStep::Features => {
            if state.uplink(id).present {
                set_group_features(barrier, plan.uplink, &Groups::default())?;
                set_uplink_features(barrier, plan.uplink, false)?;
            }
            match state.living_tap(id) {
                Some(tap) => disable_features(barrier, tap),
                None => Ok(()),
            }
        }
        VppStep::Ip6 => {
            if let Some(tap) = state.living_tap(id).filter(|tap| tap.ip6) {
                interface::disable_ip6(barrier, tap.sw_if_index);
                tap.ip6 = false;
            }
            Ok(())
        }
        VppStep::Unnumbered => {
            if let Some(tap) = state.living_tap(id).filter(|tap| tap.unnumbered) {
                interface::set_unnumbered(barrier, tap.sw_if_index, plan.uplink, false)?;
                tap.unnumbered = false;
            }
            Ok(())
        }
        VppStep::Tables => match state.living_tap(id) {
            Some(tap) if tables(barrier, plan) != (0, 0) => interface::bind_tables(barrier, tap.sw_if_index, (0, 0)),
            _ => Ok(()),
        },
        VppStep::Tap => delete_tap(barrier, state.uplink(id)),
    }
}

/// The tables that the uplink is in; a VLAN's may be VPP's user's choice.
fn tables(main: &Main<'_>, plan: &Plan) -> (u32, u32) {
    let of_child = plan.child.as_ref().and_then(|_| interface::get(main, plan.uplink));
    of_child.map_or(plan.tables, |found| found.tables)
}

/// A MAC for VPP's side: of the published design, locally administered, and
/// known by heart to those who look at the host's neighbours. The lowest that
/// is free, so that an uplink has the same one each time.
fn free_mac(state: &State) -> MacAddr {
    let mac = |number: u8| MacAddr([0x02, 0xca, 0x11, 0xc0, 0xfd, number]);
    let taken = |mac: MacAddr| state.uplinks.iter().filter_map(|u| u.tap.as_ref()).any(|tap| tap.mac == mac);
    (0..=u8::MAX).map(mac).find(|mac| !taken(*mac)).unwrap_or_else(|| mac(u8::MAX))
}

fn create_tap(barrier: &Barrier<'_>, uplink: &mut Uplink, plan: &Plan, mac: MacAddr) -> Result<(), String> {
    let sw_if_index = match plan.backend {
        Backend::Vhost => {
            let staging = uplink.staging.as_ref().ok_or("the helper made no staging namespace")?;
            tap_plugin::create(
                barrier,
                &tap_plugin::Create {
                    namespace: &staging.to_string_lossy(),
                    host_if: &plan.device.staging_name,
                    host_mac: plan.device.mac,
                    mac,
                    host_mtu: plan.device.mtu,
                    persist: plan.takeover.is_some(),
                },
            )?
        }
        Backend::Builtin => {
            let fd = uplink.tun.take().ok_or("the helper made no TAP device")?;
            driver::create(barrier, fd, mac)?
        }
    };
    uplink.tap = Some(Tap::new(barrier, sw_if_index, plan.backend, mac));
    // The host learns the real MACs of its neighbours from what is punted to
    // it (advertisements above all) and sends there; all of it is for VPP.
    interface::accept_all_macs(barrier, sw_if_index).map_err(|reason| match delete_tap(barrier, uplink) {
        Ok(()) => reason,
        Err(again) => format!("{reason}; {again}"),
    })
}

fn delete_tap(barrier: &Barrier<'_>, uplink: &mut Uplink) -> Result<(), String> {
    // A file that no interface was made of goes, and the device with it.
    uplink.tun = None;
    let Some(tap) = uplink.tap.as_mut() else { return Ok(()) };
    if tap.dying {
        uplink.tap = None;
        return Ok(());
    }
    // VPP calls `interface_deleted` inside, for which the state is in use.
    tap.dying = true;
    let deleted = match tap.backend {
        _ if tap.is_child => sub::delete(barrier, tap.sw_if_index),
        Backend::Vhost => tap_plugin::delete(barrier, tap.sw_if_index),
        Backend::Builtin if driver::delete(barrier, tap.sw_if_index) => Ok(()),
        Backend::Builtin => Err(format!("{} is not a tap of ours", tap.name)),
    };
    match deleted {
        Ok(()) => {
            uplink.tap = None;
            Ok(())
        }
        Err(reason) => {
            tap.dying = false;
            Err(reason)
        }
    }
}

fn enable_features(barrier: &Barrier<'_>, tap: &Tap, plan: &Plan) -> Result<(), String> {
    let own = plan.config.addresses.iter().map(crate::model::IfAddress::addr).collect();
    let (sw_if_index, uplink, mac) = (tap.sw_if_index, plan.uplink, tap.mac);
    let whole_frames = has_whole_frames(barrier, tap, plan);
    let tap_of_nodes = nodes::Tap {
        sw_if_index,
        uplink,
        mac,
        vlan: plan.child.as_ref().map(|child| child.tag),
        own,
        elsewhere: nodes::Addresses::default(),
        groups: Groups::default(),
        whole_frames,
        check_source: plan.source_check,
    };
    nodes::set_tap(barrier, tap_of_nodes);
    if !tap.is_child {
        nodes::count_tap(barrier, sw_if_index);
    }
    let enabled = features(barrier, tap, plan).try_for_each(|one| feature::set(barrier, one, sw_if_index, true));
    let uplinks = || set_uplink_features(barrier, uplink, whole_frames);
    match enabled.and_then(|()| uplinks()).and_then(|()| watch_paths(barrier)) {
        Ok(()) => Ok(()),
        Err(reason) => Err(match set_uplink_features(barrier, uplink, false).and(disable_features(barrier, tap)) {
            Ok(()) => reason,
            Err(again) => format!("{reason}; {again}"),
        }),
    }
}

fn disable_features(barrier: &Barrier<'_>, tap: &Tap) -> Result<(), String> {
    // What was not enabled is left alone.
    let all = nodes::FRAME_FEATURES.iter().chain(&nodes::DEVICE_FEATURES).chain(nodes::FEATURES.iter().rev());
    for one in all {
        feature::set(barrier, one, tap.sw_if_index, false)?;
    }
    nodes::forget_tap(barrier, tap.sw_if_index);
    watch_paths(barrier)
}

fn set_uplink_features(barrier: &Barrier<'_>, uplink: u32, on: bool) -> Result<(), String> {
    nodes::UPLINK_FEATURES.iter().try_for_each(|one| feature::set(barrier, one, uplink, on))
}

/// The host listens to these groups; where it listens to none, nothing of ours
/// stands in the uplink's way.
fn set_group_features(barrier: &Barrier<'_>, uplink: u32, groups: &Groups) -> Result<(), String> {
    let [ip4, ip6] = &nodes::GROUP_FEATURES;
    feature::set(barrier, ip4, uplink, groups.has_ip4())?;
    feature::set(barrier, ip6, uplink, groups.has_ip6())
}

/// The frames on both sides have the same tags: the uplink is no VLAN, or a
/// VLAN as its tap is.
fn has_whole_frames(main: &Main<'_>, tap: &Tap, plan: &Plan) -> bool {
    let is_vlan = interface::get(main, plan.uplink).is_some_and(|found| found.sup_sw_if_index != plan.uplink);
    is_vlan == tap.is_child
}

/// The features of a tap.
fn features(main: &Main<'_>, tap: &Tap, plan: &Plan) -> impl Iterator<Item = &'static feature::Feature> + use<> {
    // The device below a VLAN sees the VLAN's frames, too.
    let frames = !tap.is_child && has_whole_frames(main, tap, plan);
    let is_device = !tap.is_child;
    let of_device = nodes::DEVICE_FEATURES.iter().filter(move |_| is_device);
    nodes::FEATURES.iter().chain(of_device).chain(nodes::FRAME_FEATURES.iter().filter(move |_| frames))
}

/// While there is a tap, our nodes stand where VPP punts and drops, and where it
/// has no use for a protocol.
fn watch_paths(barrier: &Barrier<'_>) -> Result<(), String> {
    /// Those paths' features are those of this index (ip_punt_drop.h).
    const PATHS: u32 = 0;
    let any = nodes::tap_count(barrier) > 0;
    nodes::PATH_FEATURES.iter().try_for_each(|one| feature::set(barrier, one, PATHS, any))?;
    protocol::set(barrier, nodes::HANDLERS, any)
}

fn delete_neighbours(barrier: &Barrier<'_>, tap: &mut Tap) {
    for family in [Family::Ip6, Family::Ip4] {
        neighbor::delete(barrier, tap.sw_if_index, family.next_hop());
    }
    tap.neighbours = false;
}

/// The default redirect is stored under "any interface"; one for all of VPP.
fn receive_interface(plan: &Plan) -> u32 {
    if plan.default_punt { NO_INTERFACE } else { plan.uplink }
}

fn add_redirect(barrier: &Barrier<'_>, state: &mut State, id: UplinkId, family: Family, rx: u32) -> Result<(), String> {
    let tap = state.tap_or(id)?.sw_if_index;
    let uplink = state.uplink(id);
    if uplink.redirects.contains(&(family, rx)) {
        return Ok(());
    }
    punt::add_redirect(barrier, rx, tap, family.next_hop())?;
    uplink.redirects.push((family, rx));
    Ok(())
}

/// Ask VPP what it has, and name every difference.
fn verify(barrier: &Barrier<'_>, state: &mut State, plan: &Plan) -> Result<(), String> {
    let rx = receive_interface(plan);
    let tap = state.tap_or(plan.id)?;
    let features: Vec<_> = features(barrier, tap, plan).collect();
    let has_whole_frames = has_whole_frames(barrier, tap, plan);
    let tap = tap.sw_if_index;
    let Some(found) = interface::get(barrier, tap) else { return Err("the tap is gone".to_owned()) };
    let mut wrong = Vec::new();
    let mut check = |right: bool, what: &str| {
        if !right {
            wrong.push(what.to_owned());
        }
    };
    check(found.admin_up, "the tap is not up");
    check(found.unnumbered, "the tap is not unnumbered");
    check(found.tables == tables(barrier, plan), "the tap is in other tables than the uplink");
    check(found.mtu == plan.device.mtu, "the tap has another MTU than the host's device");
    check(!interface::sends_router_advertisements(barrier, tap), "VPP sends router advertisements on the tap");
    check(punt::redirect_exists(barrier, false, rx), "the IPv4 punt redirect is missing");
    check(punt::redirect_exists(barrier, true, rx), "the IPv6 punt redirect is missing");
    check(punt::Unknown::get(barrier) == punt::Unknown::ALL, "unknown TCP and UDP ports are not punted");
    check(protocol::are_on(barrier, nodes::HANDLERS)?, "ARP of the link does not reach the host");
    for one in features {
        check(feature::is_enabled(barrier, one, tap), &format!("{} is not enabled", one.node.to_string_lossy()));
    }
    for one in &nodes::UPLINK_FEATURES {
        let right = feature::is_enabled(barrier, one, plan.uplink) == has_whole_frames;
        check(right, &format!("{} is not as it should be", one.node.to_string_lossy()));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}
