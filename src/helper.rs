//! The helper thread: it does the Linux side of every uplink, so that VPP's
//! main thread never waits for the kernel.
//!
//! It calls no VPP function. It takes all signals out of its way, so that
//! those of the process go to the threads that VPP meant them for. However it
//! ends, its last word is [`Report::Died`], unless it was told to stop.
#![forbid(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};

use crate::bridge::HelperEnd;
use crate::engine::{Command, DriverChoice, LinuxStep, Output, Plan, Recovery, Report, Startup, UplinkRequest};
#[cfg(feature = "faults")]
use crate::engine::{Step, faults};
use crate::linux::home::Fresh;
use crate::linux::{self, Host};
use crate::model::IfName;

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
}

/// Bring home what a VPP that died has left, and write down what Linux has on
/// the interfaces that the user's own commands give to VPP. `words` writes a
/// request as the words that ask for it.
///
/// Waits for a thread of its own: VPP has not started yet, and may still fork,
/// which no thread would live through; VPP's own thread stays in its namespace.
pub fn before_drivers(startup: &Startup, words: fn(&UplinkRequest) -> String) -> AtStart {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name(NAME.to_owned());
        let thread = builder.spawn_scoped(scope, || at_start(startup, words));
        let ended = thread
            .map_err(|error| error.to_string())
            .and_then(|thread| thread.join().map_err(|payload| format!("it panicked: {}", text_of(payload.as_ref()))));
        ended.unwrap_or_else(|problem| AtStart { problem: Some(problem), ..AtStart::default() })
    })
}

fn at_start(startup: &Startup, words: fn(&UplinkRequest) -> String) -> AtStart {
    let mut done = AtStart::default();
    match linux::home::recover(&startup.journal, linux::home::PATIENCE) {
        Ok(all) => done.recovered = all.into_iter().map(linux::home::recovery).collect(),
        Err(error) => done.problem = Some(error.to_string()),
    }
    for request in startup.uplinks.iter().filter(|request| request.driver == DriverChoice::None) {
        if let Err(error) = linux::home::keep(request, startup, &words(request)) {
            done.not_kept.push((request.linux_if.clone(), error.to_string()));
        }
    }
    done
}

/// Start the thread. It ends with [`Command::Stop`], with the other end of
/// the bridge, or by a fault.
pub fn spawn(end: HelperEnd) -> std::io::Result<JoinHandle<()>> {
    // A new thread has the signal mask of its maker: blocked here, no signal
    // finds it unblocked in between.
    let mask = BlockedSignals::new()?;
    let thread = std::thread::Builder::new().name(NAME.to_owned()).spawn(move || run(end));
    drop(mask);
    thread
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
    loop {
        // First the wake-up, then the queue: what comes in between wakes again.
        end.quiet();
        loop {
            match end.command() {
                Ok(Some(Command::Stop)) | Err(_) => return Ok(()),
                Ok(Some(command)) => obey(&mut host, end, command),
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
        wait(end, host.fresh())?;
    }
}

/// Sleep until something is to be done.
fn wait(end: &HelperEnd, fresh: &Fresh) -> Result<(), String> {
    let mut files = vec![PollFd::new(end.event(), PollFlags::POLLIN)];
    files.extend(fresh.files().map(|file| PollFd::new(file, PollFlags::POLLIN)));
    // Rounded up: it is not looked at before its time again and again.
    let longest = fresh.patience().map_or(PollTimeout::NONE, |patience| {
        PollTimeout::try_from(patience + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    match poll(&mut files, longest) {
        // A signal: what is to be done is looked at once more.
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(format!("poll: {}", errno.desc())),
    }
}

fn obey(host: &mut Host, end: &HelperEnd, command: Command) {
    let report = match command {
        // `serve` has taken care of it.
        Command::Stop => return,
        #[cfg(feature = "faults")]
        #[allow(clippy::panic, reason = "to panic is what was asked for")]
        Command::Panic => panic!("{}", faults::INJECTED),
        Command::Forget { uplink } => {
            host.forget(uplink);
            return;
        }
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
        Command::Apply { plan, step } => Report::Applied { uplink: plan.id, step, result: apply(host, &plan, step) },
        Command::Undo { plan, step } => Report::Undone { uplink: plan.id, step, result: undo(host, &plan, step) },
    };
    // `false`: the main end is gone, which the next `command` tells as well.
    end.report(report);
}

fn apply(host: &mut Host, plan: &Plan, step: LinuxStep) -> Result<Output, String> {
    #[cfg(feature = "faults")]
    faults::trip(Step::Linux(step).name())?;
    host.apply(plan, step).map_err(|error| error.to_string())
}

fn undo(host: &mut Host, plan: &Plan, step: LinuxStep) -> Result<(), String> {
    #[cfg(feature = "faults")]
    faults::trip(&faults::undo_key(Step::Linux(step)))?;
    host.undo(plan, step).map_err(|error| error.to_string())
}
