//! The wiring: VPP's hooks on one side, the manager, the dataplane and the
//! helper thread on the other. No decision is made here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use once_cell::sync::Lazy;

use crate::bridge::{MainEnd, bridge};
use crate::cli::{self, Layout, Request, grammar};
use crate::dataplane::{State, Vpp};
use crate::engine::{
    ClientId, Command, DriverChoice, EnableRequest, Hands, HelperView, Kernel, Manager, RenderJournals, Report,
    SubmitError, UplinkId, UplinkRequest,
};
use crate::model::IfName;
use crate::vpp::cli::{Command as CliCommand, Session, Waiter};
use crate::vpp::process::{File, Process, signal};
use crate::vpp::registration::Hooks;
use crate::vpp::{Main, MainCell, guard, interface};
use crate::{helper, nodes, vpp};

/// What VPP calls.
static HOOKS: Hooks = Hooks {
    config,
    init: |main| vpp::log::install(main),
    exit,
    interface_deleted,
    process: Process { name: c"hostnet-process", run: run_process, panicked },
    nodes: &nodes::NODES,
    features: &nodes::ALL_FEATURES,
    driver: &nodes::DRIVER,
    commands,
    run: run_command,
    command_panicked: |main, text| {
        let _ = with(main, |plugin| plugin.manager.note_panic("command", text));
    },
};

vpp::registration::register_plugin!(HOOKS);

/// How often what is stuck is tried again.
const TICK: Duration = Duration::from_secs(1);
/// How long VPP's exit waits for the helper at the most: a device with a full
/// table of routes is to come home.
const EXIT_WAIT: Duration = Duration::from_secs(30);

/// Everything of the main thread's.
#[derive(Default)]
struct Plugin {
    manager: Manager,
    state: State,
    helper: Helper,
    last_client: u64,
    /// What was found before VPP's init, for the first run of the process.
    at_start: Option<helper::AtStart>,
    /// Commands that the process has not seen yet.
    inbox: Vec<(ClientId, Order)>,
    /// Commands that sleep until their answer is there.
    sleepers: HashMap<ClientId, Rc<Sleeper>>,
}

/// What a command wants of the manager.
enum Order {
    Enable(EnableRequest),
    Disable(u32),
    Take(UplinkRequest),
    Release(IfName),
    Journals(RenderJournals),
    #[cfg(feature = "faults")]
    Panic,
}

struct Sleeper {
    waiter: Waiter,
    answer: RefCell<Option<Result<String, String>>>,
}

static PLUGIN: MainCell<Option<Plugin>> = MainCell::new(None);

/// What times are counted from.
static BEGINNING: Lazy<Instant> = Lazy::new(Instant::now);

/// A command that came while the plugin is at work further up on the stack.
const BUSY: &str = "the plugin is busy";

impl Plugin {
    fn hear(&mut self, main: &Main<'_>, report: Report) {
        self.with_manager(main, |manager, hands| manager.report(hands, report));
    }

    /// VPP runs: take what startup.conf names, then what else the last VPP had
    /// and did not give back.
    fn start(&mut self, main: &Main<'_>) {
        let Some(at_start) = self.at_start.take() else { return };
        for (linux_if, reason) in at_start.not_kept {
            log::error!("{linux_if}: {reason}");
            self.manager.note_not_taken(linux_if, reason);
        }
        if let Some(reason) = at_start.problem {
            log::error!("journals: {reason}");
        }
        let mut requests = self.manager.startup().uplinks.clone();
        for one in at_start.recovered {
            for line in &one.told {
                log::warn!("{line}");
            }
            let Some(linux_if) = one.linux_if else { continue };
            let listed = requests.iter().any(|request| request.linux_if == linux_if);
            match (one.home, one.words.as_deref().map(cli::from_words)) {
                (Err(reason), _) => {
                    log::error!("{linux_if} is not home: {reason}");
                    self.manager.note_not_taken(linux_if, reason);
                }
                (Ok(()), Some(Ok(request))) if !listed && request.driver != DriverChoice::None => {
                    requests.push(request);
                }
                (Ok(()), Some(Err(error))) if !listed => log::error!("{linux_if} is not taken again: {error}"),
                (Ok(()), _) => {}
            }
        }
        for request in requests.into_iter().filter(|request| request.driver != DriverChoice::None) {
            let words = cli::to_words(&request);
            self.with_manager(main, |manager, hands| manager.take(hands, &request, &words, None));
        }
    }

    /// The manager with its hands.
    fn with_manager<R>(&mut self, main: &Main<'_>, f: impl FnOnce(&mut Manager, &mut Hands<'_>) -> R) -> R {
        self.helper.main_loop(main);
        let mut dataplane = Vpp { main, state: &mut self.state };
        // Not VPP's clock: it is the processor's, which VPP measures in its first
        // seconds; seen there: hours for milliseconds.
        let now = || BEGINNING.elapsed();
        let mut hands = Hands { vpp: &mut dataplane, kernel: &mut self.helper, now: &now };
        let result = f(&mut self.manager, &mut hands);
        self.helper.main_loop(main);
        result
    }
}

/// What startup.conf says. Before VPP's init and before any driver of VPP's:
/// what a VPP that died has left is brought home, and what Linux has on
/// interfaces that the user's own commands will give to VPP is written down.
fn config(main: &Main<'_>, text: &str) -> Result<(), String> {
    let startup = cli::parse_startup(text).map_err(|error| error.to_string())?;
    let at_start = helper::before_drivers(&startup, cli::to_words);
    with(main, |plugin| {
        plugin.manager.set_startup(startup);
        plugin.at_start = Some(at_start);
    })
    .ok_or_else(|| BUSY.to_owned())
}

fn with<R>(main: &Main<'_>, f: impl FnOnce(&mut Plugin) -> R) -> Option<R> {
    PLUGIN.with(main, |plugin| f(plugin.get_or_insert_default()))
}

// ===== the process =====

fn run_process(main: &Main<'_>) -> Option<Duration> {
    // VPP tells us of each deletion, for which the plugin is not in use here.
    for unplugged in with(main, |plugin| plugin.state.unplugged()).unwrap_or_default() {
        unplugged.delete(&main.barrier());
    }
    with(main, |plugin| {
        plugin.start(main);
        // Before the orders: a dead helper's last word comes before a new one.
        plugin.helper.quiet();
        while let Some(report) = plugin.helper.next_report() {
            plugin.hear(main, report);
        }
        for (client, order) in std::mem::take(&mut plugin.inbox) {
            plugin.with_manager(main, |manager, hands| match order {
                Order::Enable(request) => manager.enable(hands, request, client),
                Order::Disable(sw_if_index) => manager.disable(hands, sw_if_index, client),
                Order::Take(request) => {
                    let words = cli::to_words(&request);
                    manager.take(hands, &request, &words, Some(client));
                }
                Order::Release(linux_if) => manager.release(hands, &linux_if, client),
                Order::Journals(render) => manager.journals(hands, render, client),
                #[cfg(feature = "faults")]
                Order::Panic => inject_panic(),
            });
        }
        if plugin.manager.wants_tick() {
            plugin.with_manager(main, Manager::tick);
        }
        wake_sleepers(main, plugin);
        // An undo within the tick may have brought reports already.
        plugin.manager.wants_tick().then_some(TICK)
    })
    .flatten()
}

fn wake_sleepers(main: &Main<'_>, plugin: &mut Plugin) {
    while let Some((client, answer)) = plugin.manager.completed() {
        if let Err(reason) = &answer {
            log::warn!("{reason}");
        }
        if let Some(sleeper) = plugin.sleepers.remove(&client) {
            sleeper.answer.replace(Some(answer));
            sleeper.waiter.wake(main);
        }
    }
}

/// The process panicked, perhaps in the middle of a step.
fn panicked(main: &Main<'_>, text: &str) {
    // Each call that panics again has one step fewer left to undo.
    const ROUNDS: usize = 64;
    for _ in 0..ROUNDS {
        let settled =
            guard(|| with(main, |plugin| plugin.with_manager(main, |manager, hands| manager.panicked(hands, text))));
        if settled.is_ok() {
            break;
        }
    }
    let _ = with(main, |plugin| {
        wake_sleepers(main, plugin);
        // Whoever still sleeps asked for what was lost with the panic.
        let lost: Vec<ClientId> = plugin.sleepers.keys().copied().collect();
        for client in lost.into_iter().filter(|client| !plugin.manager.serves(*client)) {
            if let Some(sleeper) = plugin.sleepers.remove(&client) {
                sleeper.answer.replace(Some(Err(format!("internal error: {text}"))));
                sleeper.waiter.wake(main);
            }
        }
    });
}

// ===== VPP's interfaces =====

fn interface_deleted(main: &Main<'_>, sw_if_index: u32) {
    let barrier = main.barrier();
    // In use means: this is our own deletion of a tap, half-way through.
    let _ = with(main, |plugin| {
        let lenders: Vec<(UplinkId, u32)> = plugin.manager.uplinks().collect();
        plugin.state.interface_deleted(&barrier, sw_if_index, &lenders);
        plugin.with_manager(main, |manager, hands| manager.interface_deleted(hands, sw_if_index));
        if !plugin.sleepers.is_empty() {
            signal(main);
        }
    });
}

// ===== commands =====

fn commands() -> Vec<CliCommand> {
    grammar::COMMANDS
        .iter()
        .enumerate()
        .filter(|(_, command)| !command.is_below_another())
        .map(|(number, command)| CliCommand {
            path: command.c_path.to_owned(),
            short_help: command.short_help.to_owned(),
            number,
        })
        .collect()
}

fn run_command(session: &Session<'_>, number: usize, rest: &str) -> Result<String, String> {
    let main = session.main();
    let command = grammar::COMMANDS.get(number).ok_or("no such command")?;
    let rest = rest.lines().next().unwrap_or_default();
    // An uplink of ours is found even after VPP has deleted its interface.
    let known = |word: &str| with(main, |plugin| plugin.manager.find(word)).flatten();
    let resolve = |word: &str| {
        let by_name = |name: &str| interface::by_name(main, name);
        let exists = |index: u32| interface::get(main, index).is_some();
        cli::resolve_interface(word, by_name, exists).or_else(|| known(word))
    };
    // VPP puts the command's path before an error itself.
    let request = cli::parse(command, rest, &resolve).map_err(|error| error.cause.to_string())?;
    match request {
        Request::Enable(request) => order(session, Order::Enable(request)),
        Request::Disable { sw_if_index } => order(session, Order::Disable(sw_if_index)),
        Request::Uplink(request) => order(session, Order::Take(request)),
        Request::Release { linux_if } => order(session, Order::Release(linux_if)),
        Request::ShowJournal { json } => {
            order(session, Order::Journals(if json { cli::render_journals_json } else { cli::render_journals }))
        }
        Request::Show { sw_if_index, verbose, json } => with(main, |plugin| {
            let state = Vpp { main, state: &mut plugin.state };
            let view = plugin.manager.view(&state, &plugin.helper, None);
            cli::render(&view, sw_if_index, Layout::of(verbose, json))
        })
        .ok_or_else(|| BUSY.to_owned()),
        #[cfg(feature = "faults")]
        Request::Fault { step, undo, mode } => arm(step, undo, mode),
        #[cfg(feature = "faults")]
        Request::Panic { place } => panic_at(session, place),
    }
}

/// Hand an order to the process and sleep until it is carried out or undone.
fn order(session: &Session<'_>, order: Order) -> Result<String, String> {
    if !session.can_wait() {
        return Err("this command takes a while and can only be run from a CLI session, 'exec' or the API".to_owned());
    }
    let main = session.main();
    let sleeper = Rc::new(Sleeper { waiter: session.waiter(), answer: RefCell::new(None) });
    with(main, |plugin| {
        plugin.last_client += 1;
        let client = ClientId(plugin.last_client);
        plugin.inbox.push((client, order));
        plugin.sleepers.insert(client, Rc::clone(&sleeper));
    })
    .ok_or_else(|| BUSY.to_owned())?;
    signal(main);
    session.wait();
    sleeper.answer.take().unwrap_or_else(|| Err("no answer".to_owned()))
}

// ===== the end =====

/// VPP exits: give everything back, but do not keep VPP from its end.
fn exit(main: &Main<'_>) {
    let deadline = Instant::now() + EXIT_WAIT;
    let _ = guard(|| {
        with(main, |plugin| {
            plugin.with_manager(main, Manager::shutdown);
            while !plugin.manager.is_idle() && plugin.helper.await_report(deadline) {
                plugin.helper.quiet();
                while let Some(report) = plugin.helper.next_report() {
                    plugin.hear(main, report);
                }
            }
        })
    });
    let _ = with(main, |plugin| plugin.helper.stop(main, deadline));
}

// ===== the helper thread, seen from the main thread =====

#[derive(Default)]
struct Helper {
    link: Option<Link>,
    /// Threads that have said their last word and are to be cleared away.
    retired: Vec<Link>,
    commands: u64,
    reports: u64,
    died: Option<String>,
}

struct Link {
    end: MainEnd,
    thread: JoinHandle<()>,
    /// In VPP's main loop.
    file: Option<File>,
}

impl Helper {
    /// Let VPP's main loop watch a thread that has just been started, and no
    /// longer one that has ended.
    fn main_loop(&mut self, main: &Main<'_>) {
        if let Some(link) = &mut self.link
            && link.file.is_none()
        {
            link.file = Some(File::wakes_process(main, link.end.event(), c"hostnet helper"));
            // It may have reported before it was watched.
            signal(main);
        }
        for link in &mut self.retired {
            if let Some(file) = link.file.take() {
                file.remove(main);
            }
        }
        // Joined by being dropped: what is not finished yet ends by itself.
        self.retired.retain(|link| !link.thread.is_finished());
    }

    fn quiet(&self) {
        if let Some(link) = &self.link {
            link.end.quiet();
        }
    }

    fn next_report(&mut self) -> Option<Report> {
        let report = self.link.as_ref()?.end.report()?;
        self.reports += 1;
        if let Report::Died(text) = &report {
            log::error!("the helper thread died: {text}");
            self.died = Some(text.clone());
            // The next command starts another.
            self.retired.extend(self.link.take());
        }
        Some(report)
    }

    fn start() -> Result<Link, SubmitError> {
        let (end, helper_end) = bridge().map_err(|_| SubmitError::Dead)?;
        let thread = helper::spawn(helper_end).map_err(|_| SubmitError::Dead)?;
        Ok(Link { end, thread, file: None })
    }

    /// Wait, at VPP's exit alone, until a report is there; `false` at the
    /// deadline or when there is no thread.
    fn await_report(&self, deadline: Instant) -> bool {
        let Some(link) = &self.link else { return false };
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let mut files = [PollFd::new(link.end.event(), PollFlags::POLLIN)];
        !left.is_zero() && poll(&mut files, timeout).is_ok_and(|ready| ready > 0)
    }

    /// End the thread, waiting for it no longer than until the deadline.
    fn stop(&mut self, main: &Main<'_>, deadline: Instant) {
        let Some(mut link) = self.link.take() else { return };
        if let Some(file) = link.file.take() {
            file.remove(main);
        }
        let _ = link.end.submit(Command::Stop);
        let mut rest = Duration::from_millis(1);
        while !link.thread.is_finished() && Instant::now() < deadline {
            // Nothing tells of a thread's end but its end.
            std::thread::sleep(rest);
            rest = (rest * 2).min(Duration::from_millis(50));
        }
        if link.thread.is_finished() {
            let _ = link.thread.join();
        } else {
            log::error!("the helper thread did not end in time; it ends with VPP");
        }
    }
}

impl Kernel for Helper {
    fn submit(&mut self, command: Command) -> Result<(), SubmitError> {
        let link = match &mut self.link {
            Some(link) => link,
            // A dead thread's last word was heard before its link was taken
            // away (`next_report`), so nothing of it comes after this.
            none => none.insert(Self::start()?),
        };
        link.end.submit(command)?;
        self.commands += 1;
        Ok(())
    }

    fn view(&self) -> HelperView {
        let state = match &self.link {
            Some(link) if link.thread.is_finished() => "dead",
            Some(_) => "running",
            None if self.died.is_some() => "dead",
            None => "idle",
        };
        HelperView { state, commands: self.commands, reports: self.reports, died: self.died.clone() }
    }
}

// ===== test builds =====

#[cfg(feature = "faults")]
#[allow(clippy::panic, reason = "to panic is what was asked for")]
fn inject_panic() {
    panic!("injected panic");
}

#[cfg(feature = "faults")]
fn arm(step: crate::engine::Step, undo: bool, mode: cli::FaultMode) -> Result<String, String> {
    use crate::engine::faults;
    let key = if undo { faults::undo_key(step) } else { step.name().to_owned() };
    let fault = match mode {
        cli::FaultMode::Fail => faults::Fault::Fail,
        cli::FaultMode::Panic => faults::Fault::Panic,
    };
    faults::arm(&key, fault).map(|()| String::new())
}

#[cfg(feature = "faults")]
fn panic_at(session: &Session<'_>, place: cli::PanicPlace) -> Result<String, String> {
    match place {
        cli::PanicPlace::Command => {
            inject_panic();
            Ok(String::new())
        }
        cli::PanicPlace::Process => order(session, Order::Panic),
        cli::PanicPlace::Helper => with(session.main(), |plugin| {
            let submitted = plugin.helper.submit(Command::Panic);
            plugin.helper.main_loop(session.main());
            submitted.map(|()| String::new()).map_err(|error| error.to_string())
        })
        .ok_or_else(|| BUSY.to_owned())?,
    }
}
