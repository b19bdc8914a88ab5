//! The wiring: VPP's hooks on one side, the manager, the dataplane and the
//! helper thread on the other. No decision is made here.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use once_cell::sync::Lazy;

use crate::bridge::{MainEnd, bridge};
use crate::cli::{self, Layout, Request, grammar};
use crate::dataplane::{State, Vpp};
use crate::engine::{
    ClientId, Command, EnableRequest, Expected, Hands, HelperView, Kernel, LinuxStep, Manager, RenderJournals,
    RenderMirrors, Report, SubmitError, UplinkId, UplinkRequest,
};
use crate::helper::Processors;
use crate::model::IfName;
use crate::model::police::Config;
use crate::vpp::cli::{Command as CliCommand, Session, Waiter};
use crate::vpp::process::{File, Process, signal};
use crate::vpp::registration::Hooks;
use crate::vpp::{Main, MainCell, fib, guard, interface};
use crate::{helper, nodes, vpp};

mod police;

/// What VPP calls.
static HOOKS: Hooks = Hooks {
    config,
    init: |main| vpp::log::install(main),
    exit,
    interface_added,
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
/// How long VPP's main thread works for mirrors without a break. After each the
/// main loop goes round once, which takes 150 us where VPP is told to sleep in it
/// (`poll-sleep-usec 100`).
const SLICE: Duration = Duration::from_millis(2);
/// What may wait for the helper before VPP is asked for more of its routes.
const OUTBOX: usize = 64;
/// How often the helper looks for groups at the most: any program of the host may
/// join and leave them, and a worker's call stops all workers for a moment.
const GROUPS_EVERY: Duration = Duration::from_millis(50);
/// How long VPP's dpdk plugin may take for its interfaces.
const DPDK_WAIT: Duration = Duration::from_secs(60);
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
    /// What was set of the policer, once it is; before, it is startup.conf's.
    police: Option<Config>,
    /// What was found before VPP's init, for the first run of the process.
    at_start: Option<helper::AtStart>,
    /// Interfaces that VPP's dpdk plugin is to make.
    expected: Vec<Awaited>,
    /// Commands that the process has not seen yet.
    inbox: Vec<(ClientId, Order)>,
    /// Words of the helper that a mirror has ended, kept until VPP has nothing
    /// of it any more.
    ending: Vec<(UplinkId, Report)>,
    /// What the helper has still to be told of mirrors.
    outbox: VecDeque<Command>,
    /// When the helper was told last that the host has joined or left groups.
    groups_told: Option<Instant>,
    /// The number of the last batch of each mirror that was carried out.
    carried_out: HashMap<UplinkId, u64>,
    /// Commands that sleep until their answer is there.
    sleepers: HashMap<ClientId, Rc<Sleeper>>,
}

/// An interface that VPP's dpdk plugin is to make.
struct Awaited {
    expected: Expected,
    request: UplinkRequest,
    until: Instant,
}

/// What a command wants of the manager.
enum Order {
    Enable(EnableRequest),
    Disable(u32),
    Take(UplinkRequest),
    Release(IfName),
    Journals(RenderJournals),
    Audit(u32),
    Mirrors(Option<u32>, RenderMirrors),
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
        match report {
            // Not at VPP's exit, which takes everything with it.
            Report::Undone { uplink, step: LinuxStep::Mirror, .. } if !self.manager.is_exiting() => {
                self.state.mirror_stop(main, uplink);
                self.ending.push((uplink, report));
            }
            report => self.tell_manager(main, report),
        }
    }

    fn tell_manager(&mut self, main: &Main<'_>, report: Report) {
        self.with_manager(main, |manager, hands| manager.report(hands, report));
    }

    /// A slice of the mirrors' work, and what is to be told of it. Whether there
    /// is more at once.
    fn work_mirrors(&mut self, main: &Main<'_>) -> bool {
        let more = self.state.mirror_work(main, SLICE);
        while self.outbox.len() < OUTBOX
            && let Some(routes) = self.state.mirror_exported()
        {
            self.outbox.push_back(Command::Exported(Box::new(routes)));
        }
        while let Some(done) = self.state.mirror_done() {
            self.carried_out.insert(done.uplink, done.number);
            self.outbox.push_back(Command::BatchDone(Box::new(done)));
        }
        for uplink in self.state.mirror_changed(main) {
            let after = self.carried_out.get(&uplink).copied().unwrap_or_default();
            if let Some(state) = self.state.mirror_state(main, uplink) {
                self.outbox.push_back(Command::Changed { uplink, after, state: Box::new(state) });
            }
        }
        while let Some(command) = self.outbox.pop_front() {
            // A full queue is tried again; a thread that has ended has no mirror.
            if self.helper.tell(command.clone()) == Err(SubmitError::Full) {
                self.outbox.push_front(command);
                break;
            }
        }
        for at in (0..self.ending.len()).rev() {
            if !self.state.mirror_is_on(self.ending[at].0) {
                let (uplink, report) = self.ending.swap_remove(at);
                self.carried_out.remove(&uplink);
                self.tell_manager(main, report);
            }
        }
        more || !self.outbox.is_empty()
    }

    /// Tell the helper that the host has joined or left groups; if that is too
    /// early, how long there is to wait.
    fn tell_of_groups(&mut self) -> Option<Duration> {
        if !nodes::has_membership_news() {
            return None;
        }
        let since = self.groups_told.map_or(GROUPS_EVERY, |told| told.elapsed());
        let wait = GROUPS_EVERY.saturating_sub(since);
        if !wait.is_zero() {
            return Some(wait);
        }
        nodes::take_membership_news();
        self.groups_told = Some(Instant::now());
        self.outbox.push_back(Command::Groups);
        None
    }

    /// VPP runs: take what startup.conf names, then what else the last VPP had
    /// and did not give back.
    fn start(&mut self, main: &Main<'_>) {
        let Some(at_start) = self.at_start.take() else { return };
        fib::prepare_default(&main.barrier());
        self.police(main, None);
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
                (Ok(()), Some(Ok(request))) if !listed && !request.driver.is_made_at_start() => {
                    requests.push(request);
                }
                (Ok(()), Some(Err(error))) if !listed => log::error!("{linux_if} is not taken again: {error}"),
                (Ok(()), _) => {}
            }
        }
        for expected in at_start.expected {
            let request = requests.iter().find(|request| request.linux_if == expected.linux_if);
            self.expected.extend(request.map(|request| Awaited {
                expected,
                request: request.clone(),
                until: Instant::now() + DPDK_WAIT,
            }));
        }
        for request in requests.into_iter().filter(|request| !request.driver.is_made_at_start()) {
            let words = cli::to_words(&request);
            self.with_manager(main, |manager, hands| manager.take(hands, &request, &words, None));
        }
    }

    /// Enable the interfaces that VPP's dpdk plugin has made; those that it has
    /// not made in time go home. How long there is to wait for the next.
    fn look_for_expected(&mut self, main: &Main<'_>) -> Option<Duration> {
        let now = Instant::now();
        for awaited in std::mem::take(&mut self.expected) {
            let Awaited { expected, request, until } = &awaited;
            let is_it = |found: &interface::Interface| expected.is_it(&found.name, found.mac, &found.device_class);
            let found = interface::all(main).into_iter().filter_map(|index| interface::get(main, index)).find(is_it);
            match found {
                Some(found) => {
                    let host_if = request.enable.host_if.clone().or_else(|| Some(expected.linux_if.clone()));
                    let enable = EnableRequest { sw_if_index: found.sw_if_index, host_if, ..request.enable.clone() };
                    let linux_if = expected.linux_if.clone();
                    self.with_manager(main, |manager, hands| manager.enable_at_start(hands, enable, linux_if));
                }
                None if now < *until => self.expected.push(awaited),
                None => {
                    let reason = format!(
                        "VPP's dpdk plugin made no interface of PCI device {} within {} s: has the dpdk stanza 'dev \
                         {}'? 'show logging' may tell more",
                        expected.pci,
                        DPDK_WAIT.as_secs(),
                        expected.pci
                    );
                    log::error!("{}: {reason}", expected.linux_if);
                    self.with_manager(main, |manager, hands| manager.give_up(hands, request, reason));
                }
            }
        }
        let next = self.expected.iter().map(|awaited| awaited.until).min()?;
        Some(next.saturating_duration_since(now).max(Duration::from_millis(1)))
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
    let has_dpdk = vpp::registration::knows_stanza(main, c"dpdk");
    let at_start = helper::before_drivers(&startup, cli::to_words, has_dpdk);
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
        plugin.state.news(main);
        plugin.with_manager(main, Manager::resume);
        // For the drivers of these, deletion takes its time: the plan is undone.
        for sw_if_index in plugin.state.unplugged_in_time() {
            log::warn!("the card of interface {sw_if_index} is being unplugged");
            plugin.with_manager(main, |manager, hands| manager.interface_deleted(hands, sw_if_index));
        }
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
                Order::Audit(sw_if_index) => manager.audit(hands, sw_if_index, client),
                Order::Mirrors(only, render) => manager.mirrors(hands, only, render, client),
                #[cfg(feature = "faults")]
                Order::Panic => inject_panic(),
            });
        }
        if plugin.manager.wants_tick() {
            plugin.with_manager(main, Manager::tick);
        }
        let groups = plugin.tell_of_groups();
        let more = plugin.work_mirrors(main);
        wake_sleepers(main, plugin);
        let wait = plugin.look_for_expected(main);
        if more {
            // Behind whatever else VPP's main loop has to do.
            return Some(Duration::ZERO);
        }
        // An undo within the tick may have brought reports already.
        let tick = plugin.manager.wants_tick().then_some(TICK);
        [wait, tick, groups, plugin.state.mirror_tick()].into_iter().flatten().min()
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

fn interface_added(main: &Main<'_>) {
    // In use means: it is of our own making.
    let awaited = with(main, |plugin| !plugin.expected.is_empty());
    if awaited == Some(true) {
        signal(main);
    }
}

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
        Request::Audit { sw_if_index } => order(session, Order::Audit(sw_if_index)),
        Request::ShowMirror { sw_if_index, json } => {
            let render = if json { cli::render_mirrors_json } else { cli::render_mirrors };
            order(session, Order::Mirrors(sw_if_index, render))
        }
        Request::Police(change) => with(main, |plugin| {
            plugin.police(main, Some(&change));
            String::new()
        })
        .ok_or_else(|| BUSY.to_owned()),
        Request::ShowPolice { json } => {
            with(main, |plugin| plugin.show_police(main, json)).ok_or_else(|| BUSY.to_owned())
        }
        Request::ShowCounters { sw_if_index, json } => {
            with(main, |plugin| plugin.show_counters(main, sw_if_index, json)).ok_or_else(|| BUSY.to_owned())?
        }
        Request::ClearCounters => {
            nodes::clear_counts(&main.barrier());
            Ok(String::new())
        }
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
            plugin.state.exit();
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
    /// Where the next thread is to run.
    processors: Option<Processors>,
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
        if self.link.is_none() {
            self.processors = Some(Processors::beside(&main.given_processors(), &main.processors()));
        }
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

    /// Tell the thread that runs; none is started for it.
    fn tell(&mut self, command: Command) -> Result<(), SubmitError> {
        self.link.as_ref().map_or(Err(SubmitError::Dead), |link| link.end.submit(command))
    }

    fn start(processors: Option<Processors>) -> Result<Link, SubmitError> {
        let (end, helper_end) = bridge().map_err(|_| SubmitError::Dead)?;
        let thread = helper::spawn(helper_end, processors).map_err(|_| SubmitError::Dead)?;
        Ok(Link { end, thread, file: None })
    }

    /// Wait, at VPP's exit alone, until a report is there; `false` at the
    /// deadline or when there is no thread.
    fn await_report(&self, deadline: Instant) -> bool {
        let Some(link) = &self.link else { return false };
        let mut files = [PollFd::new(link.end.event(), PollFlags::POLLIN)];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            match poll(&mut files, timeout) {
                // A signal is no answer.
                Err(Errno::EINTR) if !left.is_zero() => {}
                answer => return !left.is_zero() && answer.is_ok_and(|ready| ready > 0),
            }
        }
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
            none => none.insert(Self::start(self.processors)?),
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
