//! The mirrors' work on the helper thread: listen, step the engine, hand over.
//!
//! Nothing here waits. Each call of [`Mirrors::work`] does a bounded piece, so
//! that commands are heard meanwhile.

mod ears;
mod groups;
mod macs;
mod ours;
mod stages;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::ears::{Ears, begins_an_end};
use self::groups::GroupsMirror;
use self::macs::MacsMirror;
use self::ours::Ours;
use self::stages::{Audit, Resync, Stage};
use crate::engine::mirror::{
    Agreed, Batch, BatchDone, CheckCursor, Children, ExportMirror, Families, KernelEvent, LinkMirror, LinkOp,
    MirrorView, RouteMirror, TABLE_MAIN, UplinkState, VppRoutes,
};
use crate::engine::{ClientId, Plan, Report, UplinkId};
use crate::linux::{Dump, DumpKind, DumpProgress, Host, Monitor, NetnsFile};

/// Batches of one uplink under way at once: enough for VPP to have the next
/// one while the last is reported.
const WINDOW: usize = 4;
/// Routes in a batch.
const BATCH: usize = 2048;
/// Messages read in one go.
const READ: usize = 4096;
/// Exported routes that Linux gets in one go.
const EXPORT: usize = 256;
/// How often a dump of routes is repeated that routes went away under.
const REPEATS: u32 = 3;
/// After how long a kernel is asked again that could not be read.
const RETRY: Duration = Duration::from_secs(1);
/// After how long both sides are compared where what the kernel told did not go
/// together, however often it was asked.
const DOUBT: Duration = Duration::from_secs(10);

/// All mirrors.
#[derive(Debug, Default)]
pub(super) struct Mirrors(Vec<Mirror>);

/// What is still to be done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    /// Something right now.
    pub(super) now: bool,
    /// Something then.
    pub(super) then: Option<Instant>,
}

#[derive(Debug)]
struct Mirror {
    plan: Arc<Plan>,
    monitor: Monitor,
    dump: Dump,
    /// Device and inode of the host's namespace.
    netns: (u64, u64),
    device: u32,
    routes: RouteMirror,
    link: LinkMirror,
    /// Routes of VPP's other sources, where they were asked for.
    export: Option<ExportMirror>,
    /// The VLANs on the device; those on a VLAN are left alone.
    children: Option<Children>,
    /// The kernel's table that the device's routes are in.
    table: u32,
    /// Routes of ours that the host has.
    ours: Ours,
    groups: GroupsMirror,
    macs: MacsMirror,
    resync: Option<Resync>,
    /// The kernel could not be read; it is asked again then.
    owed: Option<(Families, Instant)>,
    audit: Option<Audit>,
    next_audit: Option<Instant>,
    /// The number of the last batch, and of the last one that changed the
    /// uplink or its state is to be told with.
    number: u64,
    last_link: u64,
    under_way: Vec<(u64, Vec<LinkOp>)>,
    /// When the kernel told what VPP does not have yet.
    behind_since: Option<Instant>,
    /// The monitor had nothing more to read.
    drained: bool,
    link_is_up: Option<bool>,
    /// What was told last may be the beginning of the device's end.
    suspect: bool,
    /// The host's device is gone. What VPP has of it stays as it was: pods and
    /// routers go on, and a new enable finds all in place.
    gone: bool,
    view: MirrorView,
}

impl Mirrors {
    /// Begin, or begin anew.
    pub(super) fn start(&mut self, plan: &Arc<Plan>, netns: &NetnsFile, device: u32) -> Result<(), String> {
        self.stop(plan.id);
        let netns_id = netns.id().map_err(|error| error.to_string())?;
        self.0.push(Mirror::new(plan, netns, netns_id, device).map_err(|error| error.to_string())?);
        self.introduce();
        Ok(())
    }

    /// No longer. What VPP has of it is VPP's side's to take away.
    pub(super) fn stop(&mut self, uplink: UplinkId) -> Vec<ClientId> {
        let at = self.0.iter().position(|mirror| mirror.plan.id == uplink);
        let audit = at.and_then(|at| self.0.remove(at).audit);
        self.introduce();
        audit.map(|audit| audit.clients).unwrap_or_default()
    }

    /// Each knows the host devices of the others in its namespace.
    fn introduce(&mut self) {
        let all: Vec<((u64, u64), u32)> = self.0.iter().map(|mirror| (mirror.netns, mirror.device)).collect();
        for mirror in &mut self.0 {
            let others = all.iter().filter(|(netns, device)| *netns == mirror.netns && *device != mirror.device);
            mirror.routes.set_siblings(others.map(|(_, device)| *device).collect());
        }
    }

    fn of(&mut self, uplink: UplinkId) -> Option<&mut Mirror> {
        self.0.iter_mut().find(|mirror| mirror.plan.id == uplink)
    }

    /// A batch has come back.
    pub(super) fn done(&mut self, done: &BatchDone) {
        if let Some(mirror) = self.of(done.uplink) {
            mirror.done(done);
        }
    }

    /// VPP's uplink has changed.
    pub(super) fn changed(&mut self, uplink: UplinkId, after: u64, state: UplinkState) {
        if let Some(mirror) = self.of(uplink) {
            mirror.changed(after, state);
        }
    }

    /// Routes of VPP's other sources have changed.
    pub(super) fn exported(&mut self, routes: VppRoutes) {
        if let Some(export) = self.of(routes.uplink).and_then(|mirror| mirror.export.as_mut()) {
            export.vpp(routes);
        }
    }

    /// The host has joined or left groups, on one of the devices.
    pub(super) fn look_at_groups(&mut self) {
        self.0.iter_mut().for_each(|mirror| mirror.groups.look());
    }

    /// Compare both sides. `false`: there is no such mirror.
    pub(super) fn audit(&mut self, uplink: UplinkId, client: ClientId) -> bool {
        let Some(mirror) = self.of(uplink) else { return false };
        mirror.begin_audit(Some(client));
        true
    }

    /// What is told of them.
    pub(super) fn views(&self, only: Option<UplinkId>) -> Vec<MirrorView> {
        let wanted = |mirror: &&Mirror| only.is_none_or(|only| mirror.plan.id == only);
        self.0.iter().filter(wanted).map(Mirror::view).collect()
    }

    /// The files to wait for.
    pub(super) fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().filter_map(Mirror::file).collect()
    }

    /// A bounded piece of work for each.
    pub(super) fn work(&mut self, host: &mut Host, report: &mut dyn FnMut(Report)) -> Left {
        let mut left = Left::default();
        for mirror in &mut self.0 {
            match mirror.work(host, report) {
                Ok(now) => left.now |= now,
                Err(error) => mirror.failed(&error),
            }
            let owed = mirror.owed.as_ref().map(|(_, then)| *then);
            left.then = left.then.into_iter().chain(mirror.next_audit).chain(owed).min();
        }
        left
    }
}

impl Mirror {
    fn new(
        plan: &Arc<Plan>,
        netns: &NetnsFile,
        netns_id: (u64, u64),
        device: u32,
    ) -> Result<Self, crate::linux::Error> {
        let options = &plan.mirror;
        let export = || ExportMirror::new(device, options.export.clone(), plan.pods.clone());
        // Listened first, read then: nothing in between goes unheard.
        let monitor = Monitor::open(netns, options.receive_buffer)?;
        let view = MirrorView {
            interface: plan.uplink_name.clone(),
            host_if: plan.device.name.to_string(),
            receive_buffer: monitor.receive_buffer(),
            ..MirrorView::default()
        };
        let agreed = Agreed { addresses: plan.config.addresses.clone(), mtu: plan.device.mtu, mac: plan.device.mac };
        let mut mirror = Self {
            plan: Arc::clone(plan),
            monitor,
            dump: Dump::open(netns)?,
            netns: netns_id,
            device,
            routes: RouteMirror::new(plan.id, device, options.to_host),
            link: if plan.child.is_some() { LinkMirror::of_child(device) } else { LinkMirror::new(device, agreed) },
            export: (!options.export.is_empty()).then(export),
            children: plan.child.is_none().then(|| Children::new(device)),
            table: TABLE_MAIN,
            ours: Ours::new(plan, device),
            groups: GroupsMirror::default(),
            macs: MacsMirror::default(),
            resync: None,
            owed: None,
            audit: None,
            next_audit: None,
            number: 0,
            last_link: 0,
            under_way: Vec::new(),
            behind_since: Some(Instant::now()),
            drained: false,
            link_is_up: None,
            suspect: false,
            gone: false,
            view,
        };
        // The first audit ends the beginning: what VPP has of us since before
        // is compared, and the uplink's state told.
        mirror.begin_audit(None);
        Ok(mirror)
    }

    fn failed(&mut self, error: &str) {
        if self.view.last_error.as_deref() != Some(error) {
            log::error!("mirror of {}: {error}", self.view.interface);
            self.view.last_error = Some(error.to_owned());
        }
        if let Some(resync) = self.resync.take() {
            self.owed = Some((resync.families, Instant::now() + RETRY));
        }
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        if self.gone {
            return None;
        }
        if self.under_way.len() >= WINDOW {
            // The window opens by a command.
            return None;
        }
        match &self.resync {
            Some(resync) if !resync.read => Some(self.dump.fd()),
            _ => Some(self.monitor.fd()),
        }
    }

    fn begin_audit(&mut self, client: Option<ClientId>) {
        if let Some(audit) = &mut self.audit {
            audit.clients.extend(client);
            return;
        }
        self.audit = Some(Audit {
            clients: client.into_iter().collect(),
            cursor: CheckCursor::default(),
            stage: Stage::Kernel,
            before: self.differences(),
        });
        self.groups.look();
        self.macs.look();
        self.resync(Families::ALL);
    }

    fn differences(&self) -> u64 {
        let exported = self.export.as_ref().map_or(0, ExportMirror::differences);
        // The first reading finds everything; it is no difference.
        let swept = if self.view.audits == 0 { 0 } else { self.routes.swept() };
        self.link.differences() + self.routes.differences() + exported + swept
    }

    /// Read these anew; what is being read already begins again with them.
    fn resync(&mut self, families: Families) {
        let under_way = self.resync.take().map(|resync| resync.families);
        let owed = self.owed.take().map(|(families, _)| families);
        let families = [under_way, owed].into_iter().flatten().fold(families, Families::or);
        self.view.resyncs += 1;
        self.routes.resync_begin(families);
        self.ours.resync_begin(families);
        if let Some(export) = &mut self.export {
            export.resync_begin(families);
        }
        if let Some(children) = &mut self.children {
            children.resync_begin(families);
        }
        let mut kinds = VecDeque::new();
        if families.links {
            self.link.resync_begin();
            self.macs.resync_begin();
            kinds.extend([DumpKind::Links, DumpKind::Addresses, DumpKind::Neighbours]);
        }
        // Routes name them.
        kinds.extend(families.nexthops.then_some(DumpKind::Nexthops));
        kinds.extend(families.ipv4.then_some(DumpKind::Routes4));
        kinds.extend(families.ipv6.then_some(DumpKind::Routes6));
        self.resync = Some(Resync { families, kinds, running: false, read: false, undermined: false, repeats: 0 });
    }

    /// A bounded piece of work; whether there is more at once.
    fn work(&mut self, host: &mut Host, report: &mut dyn FnMut(Report)) -> Result<bool, String> {
        let text = |error: crate::linux::Error| error.to_string();
        if self.gone {
            self.settle_gone(report);
            return Ok(false);
        }
        if self.next_audit.is_some_and(|next| Instant::now() >= next) {
            self.next_audit = None;
            self.begin_audit(None);
        }
        if let Some((families, _)) = self.owed.take_if(|(_, then)| Instant::now() >= *then) {
            self.resync(families);
        }
        let mut more = false;
        if self.under_way.len() < WINDOW {
            more |= match &self.resync {
                Some(resync) if !resync.read => self.read_dump().map_err(text)?,
                _ => self.read_monitor().map_err(text)?,
            };
        }
        let wanted = self.routes.wants_resync();
        if !wanted.is_empty() {
            self.resync(wanted);
            more = true;
        }
        if self.kernel_is_known() {
            self.follow_vrf();
            self.put_back(host);
            let uplink = self.plan.id;
            if let Some(children) = self.children.as_mut().and_then(Children::changed) {
                report(Report::Children { uplink, children });
            }
        }
        // A device that ends loses its addresses and routes first; the kernel
        // answers whether it is there when that is over.
        let is_gone = self.suspect && !host.has_device(&self.plan, self.device).map_err(text)?;
        self.suspect = false;
        if is_gone {
            log::warn!("mirror of {}: {} is gone", self.view.interface, self.view.host_if);
            self.view.last_error = Some(format!("{} is gone", self.view.host_if));
            self.gone = true;
            self.next_audit = None;
            return Ok(true);
        }
        more |= self.send(host, report);
        more |= self.settle(report);
        Ok(more)
    }

    /// Whoever waits is told.
    fn settle_gone(&mut self, report: &mut dyn FnMut(Report)) {
        let clients = self.audit.take().map(|audit| audit.clients).unwrap_or_default();
        for client in clients {
            report(Report::Audited { client, found: Err(format!("{} is gone", self.view.host_if)) });
        }
    }

    /// Whether there is more to read at once.
    fn read_dump(&mut self) -> Result<bool, crate::linux::Error> {
        let Some(resync) = &mut self.resync else { return Ok(false) };
        let Some(kind) = resync.kinds.front().copied() else {
            resync.read = true;
            return Ok(true);
        };
        if !resync.running {
            self.dump.start(kind)?;
            resync.running = true;
        }
        let mut ears = Ears {
            routes: &mut self.routes,
            link: &mut self.link,
            export: self.export.as_mut(),
            children: self.children.as_mut(),
            ours: &mut self.ours,
            groups: &mut self.groups,
            macs: &mut self.macs,
            device: self.device,
            up: &mut self.link_is_up,
        };
        let mut told = 0_u64;
        let progress = self.dump.read(READ, &mut |event| {
            told += 1;
            ears.hear(&event, true);
        })?;
        self.view.messages += told;
        match progress {
            // Told nothing: the socket tells when there is something.
            DumpProgress::More => Ok(told > 0),
            DumpProgress::Done => {
                resync.kinds.pop_front();
                resync.running = false;
                Ok(true)
            }
            DumpProgress::Interrupted => {
                let families = resync.families;
                self.resync(families);
                Ok(true)
            }
        }
    }

    /// Whether there is more to read at once.
    fn read_monitor(&mut self) -> Result<bool, crate::linux::Error> {
        let device = self.device;
        let mut ears = Ears {
            routes: &mut self.routes,
            link: &mut self.link,
            export: self.export.as_mut(),
            children: self.children.as_mut(),
            ours: &mut self.ours,
            groups: &mut self.groups,
            macs: &mut self.macs,
            device,
            up: &mut self.link_is_up,
        };
        let (mut ip6_gone, mut came_up) = (false, false);
        let suspect = &mut self.suspect;
        let outcome = self.monitor.read(READ, &mut |event| {
            *suspect |= begins_an_end(&event, device);
            if let KernelEvent::RouteGone(route) = &event {
                ip6_gone |= !route.prefix.is_ipv4();
            }
            if let KernelEvent::Link(link) = &event {
                came_up |= link.index == device && link.up && *ears.up == Some(false);
            }
            ears.hear(&event, false);
        })?;
        self.view.messages += outcome.messages as u64;
        if outcome.messages > 0 {
            self.behind_since.get_or_insert_with(Instant::now);
        }
        self.drained = !outcome.more;
        if came_up {
            self.ours.all();
        }
        if outcome.lost {
            self.view.overflows += 1;
            self.resync(Families::ALL);
            return Ok(true);
        }
        if let Some(resync) = &mut self.resync {
            resync.undermined |= ip6_gone && resync.families.ipv6;
            if self.drained {
                self.end_resync();
            }
        }
        Ok(outcome.more)
    }

    /// The dumps are over, and what came meanwhile is heard.
    fn end_resync(&mut self) {
        let Some(mut resync) = self.resync.take() else { return };
        if resync.undermined && resync.repeats < REPEATS {
            // That dump may have left out what was there all the time.
            let only = Families { ipv6: true, ..Families::default() };
            self.routes.resync_begin(only);
            self.ours.resync_begin(only);
            if let Some(export) = &mut self.export {
                export.resync_begin(only);
            }
            resync.kinds = VecDeque::from([DumpKind::Routes6]);
            resync.repeats += 1;
            (resync.running, resync.read, resync.undermined) = (false, false, false);
            self.resync = Some(resync);
            return;
        }
        self.routes.resync_end(resync.families);
        self.ours.resync_end(resync.families);
        if let Some(export) = &mut self.export {
            export.resync_end(resync.families);
        }
        if resync.families.links {
            self.link.resync_end();
        }
        if resync.families == Families::ALL {
            let routes = &self.routes;
            self.link.routes_read(&|prefix| routes.is_on_link(prefix));
        }
        if let Some(children) = &mut self.children {
            children.resync_end(resync.families);
        }
    }

    /// What is ours goes where the device's routes are.
    fn follow_vrf(&mut self) {
        let table = self.routes.own_table();
        if std::mem::replace(&mut self.table, table) != table {
            self.ours.all();
            if let Some(export) = &mut self.export {
                export.set_table(table);
            }
        }
    }

    /// Routes of ours that somebody took away, or that went with the link.
    fn put_back(&mut self, host: &mut Host) {
        for route in self.ours.take() {
            if let Err(error) = host.put_back(&self.plan, &route, self.table) {
                self.view.last_error = Some(error.to_string());
            }
        }
    }

    /// Hand over what VPP is to do, and do what Linux is to do. Whether there
    /// is more at once.
    fn send(&mut self, host: &mut Host, report: &mut dyn FnMut(Report)) -> bool {
        let mut batch = Batch { uplink: self.plan.id, number: self.number + 1, ..Batch::default() };
        if self.under_way.len() >= WINDOW {
            return false;
        }
        let mut exporting = false;
        if self.kernel_is_known() {
            let routes = &self.routes;
            let round = self.link.round(&|prefix| routes.is_on_link(prefix));
            for change in round.changes {
                if let Err(error) = host.change(&self.plan, change) {
                    log::warn!("{}: {error}", self.plan.device.name);
                    self.link.refused_by_linux(&change, &error.to_string());
                }
            }
            batch.link = round.ops;
            batch.link.extend(self.macs.round());
            exporting = self.export(host);
        }
        match self.groups.round(host, &self.plan) {
            Ok(op) => batch.link.extend(op),
            Err(error) => self.view.last_error = Some(error.to_string()),
        }
        let any = self.routes.fill(&mut batch, BATCH) || !batch.link.is_empty();
        if any {
            self.hand_over(batch, report);
            return true;
        }
        let is_checking = self.audit.as_ref().is_some_and(|audit| audit.stage == Stage::Checking);
        if is_checking
            && self.resync.is_none()
            && let Some(audit) = &mut self.audit
        {
            let more = self.routes.fill_check(&mut batch, &mut audit.cursor, BATCH);
            if !more {
                audit.stage = Stage::Mending;
            }
            self.hand_over(batch, report);
            return more || exporting;
        }
        exporting
    }

    /// The host gets what VPP's other sources have. Its link is to be up. Whether
    /// there was anything, so that there may be more.
    fn export(&mut self, host: &mut Host) -> bool {
        let Some(export) = self.export.as_mut().filter(|_| self.link_is_up == Some(true)) else { return false };
        let changes = export.round(EXPORT);
        let any = !changes.is_empty();
        for change in changes {
            if let Err(error) = host.export(&self.plan, &change, self.table) {
                log::warn!("{}: {error}", self.plan.device.name);
                export.refused(&change, &error.to_string());
            }
        }
        any
    }

    /// What the host has of other sources is as it is to be, or cannot be now.
    fn export_is_settled(&self) -> bool {
        self.link_is_up != Some(true) || self.export.as_ref().is_none_or(ExportMirror::is_settled)
    }

    /// All that the kernel has told is heard, and it is not being read anew.
    fn kernel_is_known(&self) -> bool {
        self.drained && self.resync.is_none() && self.owed.is_none()
    }

    /// Both sides are the same, as far as told.
    fn is_settled(&self) -> bool {
        self.kernel_is_known() && self.under_way.is_empty() && self.routes.is_settled() && self.export_is_settled()
    }

    fn hand_over(&mut self, batch: Batch, report: &mut dyn FnMut(Report)) {
        self.number = batch.number;
        if batch.check || !batch.link.is_empty() {
            self.last_link = batch.number;
        }
        self.under_way.push((batch.number, batch.link.clone()));
        report(Report::Batch(Box::new(batch)));
    }

    /// Everything is the same now? Then whoever waits for it is told. Whether
    /// there is more to do at once.
    fn settle(&mut self, report: &mut dyn FnMut(Report)) -> bool {
        let is_settled = self.is_settled();
        if is_settled && let Some(since) = self.behind_since.take() {
            let lag = micros(since.elapsed());
            self.view.lag_us = lag;
            self.view.longest_lag_us = self.view.longest_lag_us.max(lag);
        }
        if self.audit.is_none() && self.routes.gave_up() {
            self.next_audit = self.next_audit.into_iter().chain([Instant::now() + DOUBT]).min();
        }
        let Some(audit) = self.audit.as_mut().filter(|_| is_settled) else { return false };
        match audit.stage {
            Stage::Kernel => {
                // The kernel was read; what VPP refused may have room now.
                audit.stage = Stage::Checking;
                self.routes.retry();
                self.link.retry();
                if let Some(export) = &mut self.export {
                    export.retry();
                }
                if let Some(children) = &mut self.children {
                    children.retry();
                }
                true
            }
            Stage::Mending => {
                let Some(audit) = self.audit.take() else { return false };
                let found = self.differences() - audit.before;
                for client in audit.clients {
                    report(Report::Audited { client, found: Ok(found) });
                }
                self.view.audits += 1;
                self.view.last_audit_differences = Some(found);
                self.next_audit = self.plan.mirror.audit_interval.map(|interval| Instant::now() + interval);
                false
            }
            Stage::Checking => false,
        }
    }

    fn done(&mut self, done: &BatchDone) {
        let Some(at) = self.under_way.iter().position(|(number, _)| *number == done.number) else { return };
        let (_, ops) = self.under_way.remove(at);
        for (place, reason) in &done.link_failed {
            if let Some(op) = ops.get(*place) {
                log::warn!("{}: {op:?}: {reason}", self.view.interface);
                self.link.refused_by_vpp(op, reason);
                if let LinkOp::SetGroups(_) = op {
                    self.groups.refused();
                }
            }
        }
        self.routes.done(done);
        self.view.batches += 1;
        self.view.main_thread_us += micros(done.took);
        self.view.longest_slice_us = self.view.longest_slice_us.max(micros(done.longest));
        self.view.longest_slice_cpu_us = self.view.longest_slice_cpu_us.max(micros(done.longest_cpu));
        if let Some(state) = &done.state {
            self.changed(done.number, state.clone());
        }
    }

    /// A state of before a change of ours says nothing.
    fn changed(&mut self, after: u64, state: UplinkState) {
        if after >= self.last_link {
            self.link.vpp(state);
        }
    }

    fn view(&self) -> MirrorView {
        MirrorView {
            settled: !self.gone && self.is_settled(),
            resyncing: self.resync.is_some(),
            routes: self.routes.view(),
            link: self.link.view(),
            export: self.export.as_ref().map(ExportMirror::view),
            ..self.view.clone()
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
