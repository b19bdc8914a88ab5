//! VPP's side of the mirror: batches are carried out in slices of time, so that
//! VPP's main loop never waits long for it.

mod export;
mod link;
mod locals;
mod macs;
mod routes;
mod words;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nix::time::ClockId;

use self::export::{Around, Export};
use self::locals::Locals;
use self::macs::Macs;
use self::routes::{Others, Routes};
use super::State;
use crate::engine::mirror::{Batch, BatchDone, UplinkState, VppRoutes};
use crate::engine::{Plan, UplinkId};
use crate::model::IfAddress;
use crate::vpp::{Barrier, Main, Pauses, changes, interface, neighbor};

/// How often a link's speed is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Everything of the mirror's in VPP.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    uplinks: Vec<Mirrored>,
    done: VecDeque<BatchDone>,
    /// Routes of other sources, to be told.
    exported: Vec<VppRoutes>,
    locals: Locals,
    macs: Macs,
    /// Whose turn it is first.
    turn: usize,
}

/// An uplink that is mirrored.
#[derive(Debug)]
struct Mirrored {
    id: UplinkId,
    sw_if_index: u32,
    queue: VecDeque<Batch>,
    job: Option<Job>,
    routes: Routes,
    /// Routes of other sources, where they were asked for.
    export: Option<Export>,
    /// The addresses that Linux has, link-local ones left out.
    held: Vec<IfAddress>,
    /// It is a VLAN on another uplink's device.
    is_child: bool,
    /// Speed in kbit/s and state of its link, as they were told last.
    link: Option<(u32, bool)>,
    /// It ends: its routes go.
    stopping: bool,
}

impl Mirrored {
    fn has_batch(&self) -> bool {
        self.stopping || self.job.is_some() || !self.queue.is_empty()
    }

    fn has_work(&self) -> bool {
        self.has_batch() || self.export.as_ref().is_some_and(Export::is_urgent)
    }
}

/// A batch under way.
#[derive(Debug)]
struct Job {
    batch: Batch,
    /// How many of `batch.link`, `batch.routes` and the tables of the totals are
    /// done with.
    link: usize,
    routes: usize,
    tables: usize,
    /// Where the walk through VPP's routes goes on.
    walk: u32,
    /// The search for routes of other sources was begun.
    exporting: bool,
    done: BatchDone,
}

impl Job {
    fn new(batch: Batch) -> Self {
        let done = BatchDone { uplink: batch.uplink, number: batch.number, ..BatchDone::default() };
        Self { batch, link: 0, routes: 0, tables: 0, walk: 0, exporting: false, done }
    }
}

/// The end of a slice.
#[derive(Clone, Copy, Debug)]
struct Deadline(Instant);

impl Deadline {
    fn passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// What this thread has had of the processor.
fn processor_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

impl State {
    /// Begin to mirror an enabled uplink. Again begins anew, for instance after
    /// its tap was made anew.
    pub fn mirror_start(&mut self, main: &Main<'_>, plan: &Plan) {
        let uplink = self.uplink(plan.id);
        let sw_if_index = uplink.taken.as_ref().map_or(plan.uplink, |taken| taken.sw_if_index);
        let tap = uplink.living_tap().map(|tap| tap.sw_if_index);
        changes::watch(main, sw_if_index, tap);
        let held = plan.config.addresses.iter().copied().filter(|address| !address.is_link_local6()).collect();
        let export = Export::new(main, plan.id, &plan.mirror.export);
        self.mirror.locals.changed(plan.id);
        let known = self.mirror.uplinks.iter_mut().find(|one| one.id == plan.id);
        if let Some(one) = known {
            one.queue.clear();
            one.job = None;
            one.stopping = false;
            one.held = held;
            one.sw_if_index = sw_if_index;
            one.export = export;
            one.routes.lead(main, sw_if_index, tap);
            return;
        }
        self.mirror.uplinks.push(Mirrored {
            id: plan.id,
            sw_if_index,
            queue: VecDeque::new(),
            job: None,
            routes: Routes::new(main, plan.id, sw_if_index, tap),
            export,
            held,
            is_child: plan.child.is_some(),
            link: None,
            stopping: false,
        });
    }

    /// End it: [`Self::mirror_work`] takes all of its routes away, in slices.
    pub fn mirror_stop(&mut self, main: &Main<'_>, id: UplinkId) {
        if let Some(one) = self.mirror.uplinks.iter_mut().find(|one| one.id == id) {
            self.mirror.macs.forget(&main.barrier(), id);
            changes::forget(main, one.sw_if_index);
            one.queue.clear();
            one.job = None;
            one.export = None;
            one.stopping = true;
        }
    }

    /// Whether an uplink is mirrored, or its routes are still going.
    pub fn mirror_is_on(&self, id: UplinkId) -> bool {
        self.mirror.uplinks.iter().any(|one| one.id == id)
    }

    /// Take a batch; those of one uplink are carried out in their order. Of an
    /// uplink that is not mirrored it is lost.
    pub fn mirror_submit(&mut self, batch: Batch) {
        let one = self.mirror.uplinks.iter_mut().find(|one| one.id == batch.uplink && !one.stopping);
        if let Some(one) = one {
            one.queue.push_back(batch);
        }
    }

    /// Work for about this long (some milliseconds at the most); whether more is left.
    /// Then let VPP's main loop go round once.
    pub fn mirror_work(&mut self, main: &Main<'_>, budget: Duration) -> bool {
        let Self { uplinks, mirror, .. } = self;
        mirror.work(main, uplinks, budget)
    }

    /// A batch that has been carried out.
    pub fn mirror_done(&mut self) -> Option<BatchDone> {
        self.mirror.done.pop_front()
    }

    /// Routes of VPP's other sources that have changed.
    pub fn mirror_exported(&mut self) -> Option<VppRoutes> {
        (!self.mirror.exported.is_empty()).then(|| self.mirror.exported.remove(0))
    }

    /// After how long [`Self::mirror_work`] and [`Self::mirror_changed`] are to
    /// look at what VPP tells nobody of: some drivers' links and speeds, and
    /// routes, where these were asked for.
    pub fn mirror_tick(&self) -> Option<Duration> {
        let tick = |one: &Mirrored| if one.export.is_some() { export::TICK } else { TICK };
        self.mirror.uplinks.iter().map(tick).min()
    }

    /// The uplinks whose state may have changed since the last call, be it by
    /// us. To be asked for whenever the process runs.
    pub fn mirror_changed(&mut self, main: &Main<'_>) -> Vec<UplinkId> {
        let mut changed = changes::take(main);
        for one in &mut self.mirror.uplinks {
            let link = interface::get(main, one.sw_if_index).map(|found| (found.link_kbps, found.link_up));
            if std::mem::replace(&mut one.link, link) != link {
                changed.push(one.sw_if_index);
            }
        }
        if changed.is_empty() {
            return Vec::new();
        }
        let barrier = main.barrier();
        for sw_if_index in &changed {
            neighbor::ask_in_own_name(&barrier, *sw_if_index);
        }
        let Self { uplinks, mirror, .. } = self;
        let mut ids = Vec::new();
        for one in mirror.uplinks.iter().filter(|one| changed.contains(&one.sw_if_index)) {
            if let Some(uplink) = uplinks.iter().find(|uplink| uplink.id == one.id) {
                link::follow_addresses(&barrier, uplink, one.sw_if_index);
            }
            ids.push(one.id);
        }
        ids
    }

    /// The uplink as VPP has it now; `None` when it is gone. An address that
    /// VPP can only hold with a wider prefix is told as Linux has it.
    pub fn mirror_state(&self, main: &Main<'_>, id: UplinkId) -> Option<UplinkState> {
        let one = self.mirror.uplinks.iter().find(|one| one.id == id)?;
        link::state(main, one.sw_if_index, &one.held, one.is_child)
    }
}

impl Mirror {
    fn work(&mut self, main: &Main<'_>, uplinks: &mut [super::Uplink], budget: Duration) -> bool {
        let deadline = Deadline(Instant::now() + budget);
        let many = self.uplinks.len();
        for at in 0..many {
            let around = self.around(uplinks, at);
            if let Some(export) = &mut self.uplinks[at].export {
                let half = Deadline(Instant::now() + budget / 2);
                export.look(main, &around, half, &mut self.exported);
            }
        }
        for step in 0..many {
            let at = (self.turn + step) % many;
            while self.uplinks[at].has_batch() {
                self.slice(main, uplinks, at, deadline);
                if deadline.passed() {
                    self.turn = at + 1;
                    self.uplinks.retain(|one| !one.routes.is_ended());
                    return self.uplinks.iter().any(Mirrored::has_work);
                }
            }
        }
        self.uplinks.retain(|one| !one.routes.is_ended());
        self.uplinks.iter().any(Mirrored::has_work)
    }

    /// What the search for routes of the uplink at this place has to know.
    fn around(&self, uplinks: &[super::Uplink], at: usize) -> Around {
        let uplink = self.uplinks[at].sw_if_index;
        let taps = uplinks.iter().filter_map(|one| one.tap.as_ref()).map(|tap| tap.sw_if_index);
        let others = self.uplinks.iter().map(|one| one.sw_if_index).filter(|index| *index != uplink);
        Around { uplink, ours: taps.chain(others).collect() }
    }

    /// Go on with one uplink until its batch is done or the time is over.
    fn slice(&mut self, main: &Main<'_>, uplinks: &mut [super::Uplink], at: usize, deadline: Deadline) {
        let (begin, begin_cpu) = (Instant::now(), processor_time());
        let shares: Vec<routes::Share> = self
            .uplinks
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != at)
            .flat_map(|(_, other)| other.routes.shares())
            .collect();
        let around = self.around(uplinks, at);
        let Self { uplinks: all, exported, locals, macs, .. } = self;
        let one = &mut all[at];
        let mut others = Others { shares, locals, macs };
        if one.stopping {
            if one.routes.end(main, &mut others, deadline) {
                one.stopping = false;
            }
            return;
        }
        let Some(mut job) = one.job.take().or_else(|| one.queue.pop_front().map(Job::new)) else { return };
        let finished = one.go_on(main, uplinks, &mut job, &mut others, deadline)
            && one.look_for_exports(main, &mut job, &around, exported, deadline);
        if others.locals.has_news() {
            others.locals.tell(&main.barrier(), uplinks);
        }
        let took = begin.elapsed();
        job.done.took += took;
        job.done.longest = job.done.longest.max(took);
        job.done.longest_cpu = job.done.longest_cpu.max(processor_time().saturating_sub(begin_cpu));
        if finished {
            if job.batch.check || !job.batch.link.is_empty() {
                job.done.state = link::state(main, one.sw_if_index, &one.held, one.is_child);
            }
            self.done.push_back(job.done);
        } else {
            one.job = Some(job);
        }
    }

    /// VPP is deleting this interface.
    pub(super) fn interface_deleted(&mut self, barrier: &Barrier<'_>, sw_if_index: u32) {
        changes::forget(barrier, sw_if_index);
        self.macs.interface_deleted(sw_if_index);
        for one in &mut self.uplinks {
            one.routes.interface_deleted(sw_if_index);
            if one.sw_if_index == sw_if_index {
                one.export = None;
            }
        }
    }
}

impl Mirrored {
    /// An audit knows what VPP has of other sources before it ends; whether it
    /// does.
    fn look_for_exports(
        &mut self,
        main: &Main<'_>,
        job: &mut Job,
        around: &Around,
        exported: &mut Vec<VppRoutes>,
        deadline: Deadline,
    ) -> bool {
        let Some(export) = self.export.as_mut().filter(|_| !job.batch.totals.is_empty()) else { return true };
        if !job.exporting {
            job.exporting = true;
            export.begin();
        }
        export.go_on(main, around, deadline, exported)
    }

    /// Whether the batch is done.
    fn go_on(
        &mut self,
        main: &Main<'_>,
        uplinks: &mut [super::Uplink],
        job: &mut Job,
        others: &mut Others<'_>,
        deadline: Deadline,
    ) -> bool {
        // A worker is waited for once for many neighbours.
        let mut pauses = Pauses::new(main, routes::STILL);
        while let Some(op) = job.batch.link.get(job.link) {
            let uplink = uplinks.iter_mut().find(|uplink| uplink.id == self.id);
            let result = match uplink {
                Some(uplink) => link::apply(pauses.hold(), uplink, self.sw_if_index, &mut self.held, others.macs, op),
                None => Err("the uplink is gone".to_owned()),
            };
            if let Err(reason) = result {
                job.done.link_failed.push((job.link, reason));
            }
            job.link += 1;
            if deadline.passed() && !pauses.goes_on() {
                return false;
            }
        }
        pauses.end();
        for (id, paths) in job.batch.paths.drain(..) {
            self.routes.know(id, paths);
        }
        let done = if job.batch.check {
            self.routes.check(main, job, deadline) && self.routes.compare_totals(main, job, others, deadline)
        } else {
            self.routes.apply(main, job, others, deadline)
        };
        if done {
            self.routes.forget(main, &job.batch.forget);
        }
        done
    }
}
