//! Issue "takeover", 2: SIGKILL of VPP at random instants; then the guard, or
//! the guard killed and run again, or VPP started again: nothing is lost, every
//! time.

use std::cell::Cell;
use std::io::Write as _;
use std::ops::Range;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::linux_view::{Exactness, LinuxView};
use hostnet_lab::machine::Machine;
use hostnet_lab::process::Process;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::addr;
use hostnet_lab::traffic::ping;
use hostnet_lab::vpp::Vpp;
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::guard;
use crate::takeover_support::{
    is_home, machine, nothing_is_left, release, same, seen, take, taken, takeover, uplink_command, with_workers,
};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        takeover("t02_killed_while_taking", machine, while_taking),
        takeover("t02_killed_while_releasing", machine, while_releasing),
        takeover("t02_killed_while_the_host_changes_its_network", machine, while_changing),
        takeover("t02_killed_with_two_workers", with_workers, |machine| {
            rounds("workers", 2, machine, |machine, before, wait, then| {
                one_while_taking(machine, before, wait, then)?;
                one_while_releasing(machine, before, Duration::from_millis(3), false, then)
            })
        }),
    ]
}

/// Kills in each test: `HOSTNET_KILLS`.
fn kills() -> usize {
    std::env::var("HOSTNET_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Instants, spread over a time without a pattern, another one each run.
struct Instants(u64);

impl Instants {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(u64::from(now.subsec_nanos()).wrapping_mul(2 * count + 1) | 1)
    }

    fn next(&mut self, within: Range<Duration>) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let width = within.end.saturating_sub(within.start).as_nanos();
        let width = u64::try_from(width).unwrap_or(u64::MAX).max(1);
        within.start + Duration::from_nanos(self.0 % width)
    }
}

/// What follows VPP's death, in turn.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// VPP is started again.
    Vpp,
    /// The guard, then VPP.
    Guard,
    /// The guard, killed after so long, then a second one, then VPP.
    GuardKilled(Duration),
}

/// How often it came to what.
#[derive(Debug, Default)]
struct Tally {
    vpp: Cell<usize>,
    guard: Cell<usize>,
    killed: Cell<usize>,
}

impl Tally {
    fn then(number: usize, instants: &mut Instants) -> Then {
        match number % 3 {
            0 => Then::Guard,
            1 => Then::GuardKilled(instants.next(Duration::ZERO..Duration::from_millis(120))),
            _ => Then::Vpp,
        }
    }

    fn note(&self, then: Then) {
        let which = match then {
            Then::Vpp => &self.vpp,
            Then::Guard => &self.guard,
            Then::GuardKilled(_) => &self.killed,
        };
        which.set(which.get() + 1);
    }

    fn tell(&self, what: &str) {
        // Not worth a failure.
        let _ = writeln!(
            std::io::stdout(),
            "{what}: SIGKILL of VPP {} times; then the guard {}, the guard killed and run again {}, VPP alone {}",
            self.vpp.get() + self.guard.get() + self.killed.get(),
            self.guard.get(),
            self.killed.get(),
            self.vpp.get()
        );
    }
}

/// Who brings it home does, and all of it, to what `same` asks for.
fn bring_home(machine: &Machine, then: Then, expected: &LinuxView, how: Exactness) -> Result<()> {
    let journal = machine.journal();
    let words = ["--journal", journal.to_str().context("not UTF-8")?, "restore"];
    let program = guard();
    let program = program.to_str().context("not UTF-8")?;
    match then {
        Then::Vpp => return Ok(()),
        Then::Guard => {}
        Then::GuardKilled(wait) => {
            let silent = |command: &mut std::process::Command| {
                command.stdout(Stdio::null());
            };
            let first = Process::start(&machine.host, program, &words, silent)?;
            std::thread::sleep(wait);
            drop(first);
        }
    }
    let said = machine.host.output(program, &words).with_context(|| format!("{then:?}"))?;
    same(machine, expected, how).with_context(|| format!("{then:?}: the guard said: {said}"))?;
    if let Ok(parking) = machine.parking() {
        let links = parking.output("ip", &["-br", "link"])?;
        ensure!(links.lines().all(|line| line.starts_with("lo ")), "{then:?}: left parked: {links}");
    }
    Ok(())
}

/// As often as asked for, each at another instant of the time that a takeover
/// takes; then everything is still well.
fn rounds(
    what: &str,
    count: usize,
    machine: &Machine,
    one: impl Fn(&Machine, &LinuxView, Duration, Then) -> Result<()>,
) -> Result<()> {
    let mut before = seen(machine)?;
    let vpp = machine.vpp()?;
    let begun = Instant::now();
    take(&vpp, "eth0", "")?;
    let takes = begun.elapsed();
    release(&vpp, "eth0")?;
    is_home(machine, &before)?;
    drop(vpp);
    let (mut instants, tally) = (Instants::new(), Tally::default());
    for number in 0..count {
        let wait = instants.next(Duration::ZERO..takes * 5 / 4);
        let then = Tally::then(number, &mut instants);
        one(machine, &before, wait, then)
            .with_context(|| format!("kill {number}, after {wait:?} of {takes:?}, then {then:?}"))?;
        tally.note(then);
        // It is as it was; from here on the lifetimes count that it has now.
        before = seen(machine)?;
    }
    tally.tell(what);
    is_home(machine, &before)?;
    ping(&machine.host, addr::PEER4)?;
    ping(&machine.peer, addr::HOST6)
}

/// VPP is started again; what it does with what it found has come to an end.
/// Whether it has the NIC.
fn start_again(machine: &Machine, before: &LinuxView) -> Result<bool> {
    let vpp = machine.start()?;
    let has = settled(&vpp)?;
    same(machine, before, Exactness::Programs)?;
    Ok(has)
}

/// Every journal is of a takeover that is whole and of a VPP that lives.
fn settled(vpp: &Vpp) -> Result<bool> {
    until("VPP has settled", secs(20), || {
        let text = vpp.ctl("show hostnet journal json")?;
        let journals: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let journals = journals.as_array().with_context(|| text.clone())?;
        let whole = journals.iter().all(|one| one["phase"] == "taken" && one["alive"] == true);
        ensure!(whole, "{text}");
        let shown = taken(vpp, "eth0")?;
        let enabled = shown.as_ref().is_some_and(|shown| shown["state"] == "enabled");
        ensure!(enabled != journals.is_empty(), "{text}\n{shown:?}");
        Ok(Some(enabled))
    })
    .with_context(|| vpp.ctl("show hostnet verbose").unwrap_or_default())
}

/// Say a command, and kill VPP a while after.
fn kill_during(vpp: &Vpp, command: &str, wait: Duration) -> Result<()> {
    std::thread::scope(|scope| {
        let mut session = vpp.session()?;
        // It is cut off in the middle, most of the time.
        scope.spawn(move || session.run(command).ok());
        std::thread::sleep(wait);
        vpp.kill()
    })
}

fn one_while_taking(machine: &Machine, before: &LinuxView, wait: Duration, then: Then) -> Result<()> {
    kill_during(&*machine.vpp()?, &uplink_command("eth0", ""), wait)?;
    bring_home(machine, then, before, Exactness::Device)?;
    if start_again(machine, before)? {
        release(&*machine.vpp()?, "eth0")?;
    }
    is_home(machine, before)
}

fn while_taking(machine: &Machine) -> Result<()> {
    rounds("taking", kills(), machine, one_while_taking)
}

fn one_while_releasing(machine: &Machine, before: &LinuxView, wait: Duration, by_exit: bool, then: Then) -> Result<()> {
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    if by_exit {
        vpp.signal(Signal::SIGTERM)?;
        std::thread::sleep(wait);
        vpp.kill()?;
    } else {
        kill_during(&vpp, "hostnet release eth0", wait)?;
    }
    bring_home(machine, then, before, Exactness::Device)?;
    if start_again(machine, before)? {
        release(&*machine.vpp()?, "eth0")?;
    }
    is_home(machine, before)
}

fn while_releasing(machine: &Machine) -> Result<()> {
    let turn = AtomicBool::new(false);
    rounds("releasing", kills(), machine, |machine, before, wait, then| {
        one_while_releasing(machine, before, wait, turn.fetch_xor(true, Ordering::Relaxed), then)
    })
}

/// A network manager at work: addresses and routes come and go.
fn change(machine: &Machine, number: u64) -> Result<()> {
    let (n, last) = (number % 100 + 100, (number + 99) % 100 + 100);
    machine.host.ip(&format!(
        "addr add 192.0.2.{n}/24 dev eth0 valid_lft {lifetime} preferred_lft 300
         addr add 2001:db8:1::{n}/64 dev eth0 nodad
         route add 10.99.{n}.0/24 via 192.0.2.20 dev eth0 metric 77
         route add 10.98.{n}.0/24 via 192.0.2.20 dev eth0 table 77
         rule add oif eth0 lookup 77 pref {pref}
         neigh replace 192.0.2.{n} lladdr 02:00:5e:00:01:{mac:02x} dev eth0 nud permanent",
        lifetime = 400 + n,
        pref = 2000 + n,
        mac = n,
    ))?;
    if number > 0 {
        unchange(machine, last)?;
    }
    Ok(())
}

fn unchange(machine: &Machine, n: u64) -> Result<()> {
    machine
        .host
        .ip(&format!(
            "addr del 192.0.2.{n}/24 dev eth0
             addr del 2001:db8:1::{n}/64 dev eth0
             route del 10.99.{n}.0/24 via 192.0.2.20 dev eth0 metric 77
             route del 10.98.{n}.0/24 via 192.0.2.20 dev eth0 table 77
             rule del pref {pref}
             neigh del 192.0.2.{n} dev eth0",
            pref = 2000 + n,
        ))
        .map(drop)
}

/// What the kernel takes off a device without a carrier: next-hop objects,
/// routes by them, proxies. They are changed, and the journal knows it.
fn change_fleeting(machine: &Machine, number: usize) -> Result<()> {
    let n = 30 + number % 40;
    machine.host.ip(&format!(
        "route replace 10.70.0.0/16 nhid {kept}
         nexthop add id {id} via 192.0.2.{n} dev eth0
         nexthop replace id 60 group 41/{id}
         route replace 10.97.0.0/16 nhid {id}
         route replace 10.96.{n}.0/24 nhid 60
         route replace 2001:db8:97:{n}::/64 nhid 44
         nexthop replace id 44 via 2001:db8:1::{n} dev eth0
         nexthop replace id 51 via 192.0.2.{n} dev eth0
         neigh add proxy 2001:db8:98::{n} dev eth0
         neigh add proxy 198.18.0.{n} dev eth0",
        kept = 41 + number % 2,
        id = 1000 + n,
    ))?;
    if number > 0 {
        unchange_fleeting(machine, number - 1)?;
    }
    // As rtnetlink has them: NHA_GATEWAY, NDA_DST.
    let wanted = [format!("08000600c00002{n:02x}"), format!("08000100c61200{n:02x}")];
    let gone = 30 + (number + 39) % 40;
    let unwanted = [format!("08000100c61200{gone:02x}")];
    let begun = Instant::now();
    until("the journal knows it", secs(5), || {
        let entries = std::fs::read_dir(machine.journal())?.flatten();
        let mut files = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".journal"));
        let text = std::fs::read_to_string(files.next().context("no journal")?.path())?;
        let is_so = wanted.iter().all(|text_of| text.contains(text_of.as_str()))
            && !unwanted.iter().any(|text_of| text.contains(text_of.as_str()));
        Ok(is_so.then_some(()))
    })
    .with_context(|| format!("change {number}, after {:?}", begun.elapsed()))
}

fn unchange_fleeting(machine: &Machine, number: usize) -> Result<()> {
    let n = 30 + number % 40;
    machine
        .host
        .ip(&format!(
            "nexthop del id {id}
             route del 10.96.{n}.0/24
             route del 2001:db8:97:{n}::/64
             neigh del proxy 2001:db8:98::{n} dev eth0
             neigh del proxy 198.18.0.{n} dev eth0",
            id = 1000 + n,
        ))
        .map(drop)
}

fn while_changing(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    take(&*machine.vpp()?, "eth0", "")?;
    let (mut instants, tally) = (Instants::new(), Tally::default());
    let mut number = 0;
    for kill in 0..kills() {
        change_fleeting(machine, kill)?;
        let alive = seen(machine)?;
        let wait = instants.next(Duration::ZERO..Duration::from_millis(40));
        let vpp = machine.vpp()?;
        std::thread::scope(|scope| -> Result<()> {
            let killer = scope.spawn(|| {
                std::thread::sleep(wait);
                vpp.kill()
            });
            // They go on after VPP's death: the host's programs know nothing
            // of it.
            let mut after = 0;
            while after < 2 {
                change(machine, number)?;
                number += 1;
                after += u32::from(killer.is_finished());
            }
            killer.join().map_err(|_| anyhow::anyhow!("panic"))?
        })?;
        // The kernel makes it a moment after the address.
        let last = format!("2001:db8:1::{}", (number + 99) % 100 + 100);
        until("the last address has its local route", secs(3), || {
            let shown = machine.host.output("ip", &["-6", "route", "show", "table", "local", &last, "dev", "eth0"])?;
            Ok((!shown.trim().is_empty()).then_some(()))
        })?;
        let expected = seen(machine)?.with_carrier(&alive);
        ensure!(expected.same_as(&before, Exactness::Programs).is_err(), "nothing was changed");
        let then = Tally::then(kill, &mut instants);
        let what = || format!("kill {kill}, after {wait:?}, then {then:?}");
        bring_home(machine, then, &expected, Exactness::Programs).with_context(what)?;
        let has = start_again(machine, &expected).with_context(what)?;
        ensure!(has, "kill {kill}: the NIC was not taken again");
        tally.note(then);
    }
    tally.tell("steady state with changes");
    unchange(machine, (number + 99) % 100 + 100)?;
    if let Some(last) = kills().checked_sub(1) {
        unchange_fleeting(machine, last)?;
    }
    machine.host.ip("nexthop del id 60
         nexthop del id 51
         nexthop replace id 44 via 2001:db8:1::20 dev eth0
         route replace 10.70.0.0/16 nhid 41")?;
    // Each kill was compared with what was there before it, lifetimes too.
    let before = before.without_lifetimes();
    let as_before = |how| {
        until("the host is as before", secs(3), || {
            seen(machine)?.without_lifetimes().same_as(&before, how)?;
            Ok(Some(()))
        })
    };
    as_before(Exactness::Programs)?;
    ping(&machine.host, addr::PEER4)?;
    release(&*machine.vpp()?, "eth0")?;
    as_before(Exactness::Device)?;
    nothing_is_left(machine)
}
