//! The helper thread: it does the Linux side of every uplink, so that VPP's
//! main thread never waits for the kernel.
//!
//! It calls no VPP function. It takes all signals out of its way, so that
//! those of the process go to the threads that VPP meant them for. However it
//! ends, its last word is [`Report::Died`], unless it was told to stop.
#![forbid(unsafe_code)]

mod mirrors;
mod processors;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::bridge::HelperEnd;
use crate::engine::{
    Command, DriverChoice, Expected, LinuxStep, Output, Plan, Recovery, Report, Startup, UplinkRequest,
};
#[cfg(feature = "faults")]
use crate::engine::{Step, faults};
use crate::linux::home::Fresh;
use crate::linux::{self, Host};
use crate::model::IfName;
use mirrors::Mirrors;
pub use processors::Processors;

/// The thread's name: at most 15 bytes, or Linux cuts it off.
const NAME: &str = "hostnet-helper";

/// What is done before VPP's init.
#[derive(Debug, Default)]
pub struct AtStart {
    /// What became of interfaces that a VPP that died had taken.
    pub recovered: Vec<Recovery>,
    /// Why the journals could not be looked at.
    pub problem: Option<String>,
    /// Interfaces whose configuration could not be kept, and why.
    pub not_kept: Vec<(IfName, String)>,
    /// Cards that VPP's dpdk plugin is to take.
    pub expected: Vec<Expected>,
}

/// Bring home what a VPP that died has left, and write down what Linux has on
/// the interfaces that the user's own commands give to VPP. `words` writes a
/// request as the words that ask for it; `has_dpdk` is whether VPP's plugin of
/// that name is loaded.
///
/// Waits for a thread of its own: VPP has not started yet, and may still fork,
/// which no thread would live through; VPP's own thread stays in its namespace.
pub fn before_drivers(startup: &Startup, words: fn(&UplinkRequest) -> String, has_dpdk: bool) -> AtStart {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name(NAME.to_owned());
        let thread = builder.spawn_scoped(scope, || at_start(startup, words, has_dpdk));
        let ended = thread
            .map_err(|error| error.to_string())
            .and_then(|thread| thread.join().map_err(|payload| format!("it panicked: {}", text_of(payload.as_ref()))));
        ended.unwrap_or_else(|problem| AtStart { problem: Some(problem), ..AtStart::default() })
    })
}

fn at_start(startup: &Startup, words: fn(&UplinkRequest) -> String, has_dpdk: bool) -> AtStart {
    let mut done = AtStart::default();
    match linux::home::recover(&startup.journal, linux::home::PATIENCE) {
        Ok(all) => done.recovered = all.into_iter().map(linux::home::recovery).collect(),
        Err(error) => done.problem = Some(error.to_string()),
    }
    for request in &startup.uplinks {
        let words = words(request);
        let kept = match request.driver {
            DriverChoice::None => linux::home::keep(request, startup, &words).map_err(|error| error.to_string()),
            DriverChoice::Dpdk if !has_dpdk => Err("VPP has no dpdk: its plugin is not loaded".to_owned()),
            DriverChoice::Dpdk => linux::home::keep_and_take(request, startup, &words)
                .map(|expected| done.expected.push(expected))
                .map_err(|error| error.to_string()),
            DriverChoice::Auto | DriverChoice::This(_) => Ok(()),
        };
        if let Err(reason) = kept {
            done.not_kept.push((request.linux_if.clone(), reason));
        }
    }
    done
}

/// Start the thread, on these processors where they are known. It ends with
/// [`Command::Stop`], with the other end of the bridge, or by a fault.
pub fn spawn(end: HelperEnd, processors: Option<Processors>) -> std::io::Result<JoinHandle<()>> {
    // A new thread has the signal mask of its maker: blocked here, no signal
    // finds it unblocked in between.
    let mask = BlockedSignals::new()?;
    let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        enter(processors);
        run(end);
    });
    drop(mask);
    thread
}

fn enter(processors: Option<Processors>) {
    // A processor may have been taken offline since; the thread works anywhere.
    if let Some(Err(error)) = processors.map(Processors::enter) {
        log::warn!("the helper thread stays on the processor of VPP's main thread: {error}");
    }
}

/// All signals are blocked on this thread until it is dropped.
struct BlockedSignals(SigSet);

impl BlockedSignals {
    fn new() -> nix::Result<Self> {
        Ok(Self(SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?))
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // It fails for a mask that the kernel did not give us only.
        let _ = self.0.thread_set_mask();
    }
}

/// Reports the death of the thread on every way out but the asked-for one.
struct LastWord {
    end: HelperEnd,
    /// `None` once the thread was told to stop.
    cause: Option<String>,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if let Some(cause) = self.cause.take() {
            self.end.report(Report::Died(cause));
        }
    }
}

fn run(end: HelperEnd) {
    let mut last = LastWord { end, cause: Some("it ended without a cause".to_owned()) };
    // What a panic leaves half done dies with the thread: nothing of it is
    // looked at again.
    let ended = catch_unwind(AssertUnwindSafe(|| serve(&last.end)));
    last.cause = match ended {
        Ok(Ok(())) => None,
        Ok(Err(cause)) => Some(cause),
        Err(payload) => Some(format!("it panicked: {}", text_of(payload.as_ref()))),
    };
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// Work until told to stop; an error is why it cannot go on.
fn serve(end: &HelperEnd) -> Result<(), String> {
    let mut host = Host::resume();
    let mut mirrors = Mirrors::default();
    loop {
        // First the wake-up, then the queue: what comes in between wakes again.
        end.quiet();
        loop {
            match end.command() {
                Ok(Some(Command::Stop)) | Err(_) => return Ok(()),
                Ok(Some(command)) => obey(&mut host, &mut mirrors, end, command),
                Ok(None) => break,
            }
            if linux::is_astray() {
                return Err("it could not return to its own network namespace".to_owned());
            }
        }
        host.fresh().tend();
        if linux::is_astray() {
            return Err("it could not return to its own network namespace".to_owned());
        }
        // A full queue waits for VPP's main thread; `false` when that is gone, which
        // the next command tells as well.
        let left = mirrors.work(&mut host, &mut |report| {
            end.report(report);
        });
        if !left.now {
            wait(end, host.fresh(), &mirrors, left.then)?;
        }
    }
}

/// Sleep until something is to be done.
fn wait(end: &HelperEnd, fresh: &Fresh, mirrors: &Mirrors, until: Option<Instant>) -> Result<(), String> {
    let files = std::iter::once(end.event()).chain(fresh.files()).chain(mirrors.files());
    let mut files: Vec<PollFd<'_>> = files.map(|file| PollFd::new(file, PollFlags::POLLIN)).collect();
    let mirror = until.map(|then| then.saturating_duration_since(Instant::now()));
    // Rounded up: it is not looked at before its time again and again.
    let longest = fresh.patience().into_iter().chain(mirror).min().map_or(PollTimeout::NONE, |patience| {
        PollTimeout::try_from(patience + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    match poll(&mut files, longest) {
        // A signal: what is to be done is looked at once more.
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(format!("poll: {}", errno.desc())),
    }
}

fn obey(host: &mut Host, mirrors: &mut Mirrors, end: &HelperEnd, command: Command) {
    let report = match command {
        // `serve` has taken care of it.
        Command::Stop => return,
        #[cfg(feature = "faults")]
        #[allow(clippy::panic, reason = "to panic is what was asked for")]
        Command::Panic => panic!("{}", faults::INJECTED),
        Command::GiveUp { request, startup } => {
            if let Err(error) = linux::home::give_up(&request, &startup) {
                log::error!("{}: {error}", request.linux_if);
            }
            return;
        }
        Command::Forget { uplink } => {
            host.forget(uplink);
            return;
        }
        Command::BatchDone(done) => return mirrors.done(&done),
        Command::Changed { uplink, after, state } => return mirrors.changed(uplink, after, *state),
        Command::Groups => return mirrors.look_at_groups(),
        Command::Exported(routes) => return mirrors.exported(*routes),
        Command::Audit { client, uplink } => {
            if mirrors.audit(uplink, client) {
                return;
            }
            Report::Audited { client, found: Err("it is not mirrored".to_owned()) }
        }
        Command::Mirrors { client, only } => Report::Mirrors { client, found: mirrors.views(only) },
        Command::Probe { uplink, netns, name, identity, journal } => {
            Report::Probed { uplink, facts: linux::home::probe(&netns, name, &identity, &journal) }
        }
        Command::Journals { client, journal } => {
            Report::Journals { client, found: linux::home::journals(&journal).map_err(|error| error.to_string()) }
        }
        Command::Survey { uplink, request, startup } => {
            let found = linux::home::survey(&request, &startup);
            Report::Surveyed { uplink, found: found.map(Box::new).map_err(|error| error.to_string()) }
        }
        Command::Apply { plan, step } => {
            let result = apply(host, mirrors, &plan, step);
            Report::Applied { uplink: plan.id, step, result }
        }
        Command::Undo { plan, step } => {
            if step == LinuxStep::Mirror {
                for client in mirrors.stop(plan.id) {
                    end.report(Report::Audited { client, found: Err("it was disabled meanwhile".to_owned()) });
                }
            }
            Report::Undone { uplink: plan.id, step, result: undo(host, &plan, step) }
        }
    };
    // `false`: the main end is gone, which the next `command` tells as well.
    end.report(report);
}

fn apply(host: &mut Host, mirrors: &mut Mirrors, plan: &Arc<Plan>, step: LinuxStep) -> Result<Output, String> {
    #[cfg(feature = "faults")]
    faults::trip(Step::Linux(step).name())?;
    if step == LinuxStep::Mirror {
        let (netns, device) = host.mirror_place(plan).map_err(|error| error.to_string())?;
        mirrors.start(plan, netns, device)?;
    }
    host.apply(plan, step).map_err(|error| error.to_string())
}

fn undo(host: &mut Host, plan: &Plan, step: LinuxStep) -> Result<(), String> {
    #[cfg(feature = "faults")]
    faults::trip(&faults::undo_key(Step::Linux(step)))?;
    host.undo(plan, step).map_err(|error| error.to_string())
}
