//! Takeover by VPP's other drivers of what stays a netdev: af_xdp, and rdma as
//! far as a machine without such a card can show it.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::dump::interfaces;
use hostnet_lab::linux_view::{Exactness, LinuxView};
use hostnet_lab::machine::{Machine, MachineOptions};
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::addr;
use hostnet_lab::traffic::{ping, tcp};
use hostnet_lab::vpp::{plugin_dir, prefix};
use libtest_mimic::Trial;

use crate::support::guard;
use crate::takeover_support::{
    await_taken, is_home, machine, refused, release, same, seen, take, taken, takeover, uplink_command, with_faults,
};

/// The test, left out where this VPP lacks the plugin that it is of: the line
/// says so.
pub(crate) fn with_plugin(test: Trial, plugin: &str) -> Trial {
    let there = prefix().and_then(|prefix| plugin_dir(&prefix)).is_ok_and(|dir| dir.join(plugin).exists());
    let why = if there { String::new() } else { format!("this VPP has no {plugin}") };
    test.with_kind(why).with_ignored_flag(!there)
}

pub(crate) fn tests() -> Vec<Trial> {
    let xdp = [
        takeover("t01_af_xdp_taken_and_released", || xdp(machine()), by_command),
        takeover("t01_af_xdp_with_two_workers", || with_workers(xdp(machine())), by_command),
        takeover("t01_af_xdp_of_a_nic_with_several_queues", || xdp(machine()), queues),
        takeover("t01_af_xdp_by_stanza_and_home_by_exit", stanza, by_stanza),
        takeover("t01_af_xdp_refusals", || xdp(machine()), refusals),
        takeover("t02_af_xdp_killed", || xdp(machine()), killed),
        takeover("t04_af_xdp_failures", || xdp(with_faults()), failures),
    ];
    let mut tests: Vec<Trial> = xdp.into_iter().map(|test| with_plugin(test, XDP)).collect();
    tests.push(with_plugin(takeover("t01_rdma_refusals", rdma, rdma_refusals), RDMA));
    tests.push(takeover("t01_plugins_that_are_not_loaded", machine, not_loaded));
    tests.push(takeover("t01_dpdk_that_is_not_there", dpdk_stanza, no_dpdk));
    tests
}

const XDP: &str = "af_xdp_plugin.so";
const RDMA: &str = "rdma_plugin.so";
const WORDS: &str = "driver af-xdp";

fn xdp(mut options: MachineOptions) -> MachineOptions {
    options.vpp.plugins.push(XDP.to_owned());
    options
}

fn with_workers(mut options: MachineOptions) -> MachineOptions {
    options.vpp.workers = 2;
    options
}

fn stanza() -> MachineOptions {
    let tap = crate::support::Backend::of_this_run().word();
    MachineOptions { stanza: format!("uplink eth0 {{ {WORDS} tap {tap} }}"), start: false, ..xdp(machine()) }
}

fn rdma() -> MachineOptions {
    let mut options = machine();
    options.vpp.plugins.push(RDMA.to_owned());
    options
}

/// Whether the device has an XDP program.
fn has_program(netns: &Netns) -> Result<bool> {
    Ok(netns.output("ip", &["-d", "link", "show", "eth0"])?.contains("prog/xdp"))
}

/// Home, with no program on it.
fn is_clean(machine: &Machine, before: &LinuxView) -> Result<()> {
    is_home(machine, before)?;
    ensure!(!has_program(&machine.host)?, "an XDP program is left on it");
    for (peer, host) in [(addr::PEER4, addr::HOST4), (addr::PEER6, addr::HOST6)] {
        ping(&machine.host, peer)?;
        ping(&machine.peer, host)?;
    }
    Ok(())
}

fn works(machine: &Machine) -> Result<()> {
    let mut checks = Checks::new();
    for (peer, host) in [(addr::PEER4, addr::HOST4), (addr::PEER6, addr::HOST6)] {
        // VPP drops what comes before it knows a neighbour.
        let learned = until("VPP has learned its neighbour", secs(5), || ping(&machine.host, peer).map(Some));
        checks.add("host to peer", learned);
        checks.add("peer to host", ping(&machine.peer, host));
        checks.add("TCP to peer", tcp(&machine.host, &machine.peer, peer, host, 300_000));
        checks.add("TCP to host", tcp(&machine.peer, &machine.host, host, peer, 300_000));
    }
    checks.finish()
}

/// It is taken, by a program on the parked netdev.
fn is_taken(machine: &Machine, before: &LinuxView) -> Result<()> {
    let vpp = machine.vpp()?;
    let shown = taken(&vpp, "eth0")?.context("it is not taken")?;
    ensure!(shown["takeover"]["driver"] == "af-xdp" && shown["interface"] == "xdp-eth0", "{shown:#}");
    same(machine, before, Exactness::Programs).context("as programs see it while it is taken")?;
    ensure!(has_program(&machine.parking()?)?, "the parked netdev has no XDP program");
    ensure!(!has_program(&machine.host)?, "the host's device has an XDP program");
    works(machine)
}

fn by_command(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    let namespace = || std::fs::read_link(format!("/proc/{0}/task/{0}/ns/net", vpp.pid()));
    let home = namespace()?;
    let before = seen(machine)?;
    let interfaces_before = interfaces(&vpp)?;
    // One after the other without a pause: the kernel lets go of the queues of
    // AF_XDP sockets a moment after they are closed.
    for round in 0..4 {
        take(&vpp, "eth0", WORDS).with_context(|| format!("round {round}"))?;
        ensure!(namespace()? == home, "VPP's main thread is not home");
        is_taken(machine, &before).with_context(|| format!("round {round}"))?;
        release(&vpp, "eth0")?;
        ensure!(namespace()? == home, "VPP's main thread is not home");
        is_clean(machine, &before).with_context(|| format!("round {round}"))?;
        ensure!(interfaces(&vpp)? == interfaces_before, "an interface is left in VPP");
        take(&vpp, "eth0", WORDS).with_context(|| format!("round {round}, at once"))?;
        release(&vpp, "eth0")?;
    }
    // The other driver has it as before.
    let shown = take(&vpp, "eth0", "")?;
    ensure!(shown["takeover"]["driver"] == "af-packet", "{shown:#}");
    works(machine)?;
    release(&vpp, "eth0")?;
    is_clean(machine, &before)?;
    vpp.alive()
}

/// Every queue is VPP's: what came by another would be the kernel's, and lost.
fn queues(machine: &Machine) -> Result<()> {
    machine.host.output("ethtool", &["-L", "eth0", "rx", "2", "tx", "2"])?;
    machine.peer.output("ethtool", &["-L", "eth0", "rx", "2", "tx", "2"])?;
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", WORDS)?;
    let shown = vpp.ctl("show hardware-interfaces xdp-eth0")?;
    let rows = |of: &str| {
        let lines = shown.lines().skip_while(|line| !line.contains(of)).skip(2);
        lines.take_while(|line| line.trim().starts_with(|c: char| c.is_ascii_digit())).count()
    };
    ensure!(rows("RX Queues") == 2, "{shown}");
    is_taken(machine, &before)?;
    release(&vpp, "eth0")?;
    is_clean(machine, &before)
}

fn by_stanza(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    for _ in 0..2 {
        let vpp = machine.start()?;
        await_taken(&vpp, "eth0")?;
        is_taken(machine, &before)?;
        vpp.stop()?;
        is_clean(machine, &before).context("after SIGTERM")?;
    }
    Ok(())
}

/// SIGKILL leaves the program on the netdev: whoever brings that home takes it
/// off.
fn killed(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", WORDS)?;
    is_taken(machine, &before)?;
    let journal = machine.journal();
    let words = ["--journal", journal.to_str().context("not UTF-8")?, "restore"];
    let program = guard();
    let program = program.to_str().context("not UTF-8")?;
    // By the guard.
    vpp.kill()?;
    ensure!(has_program(&machine.parking()?)?, "the kernel took the program off itself: nothing is shown here");
    machine.host.output(program, &words)?;
    same(machine, &before, Exactness::Device)?;
    ensure!(!has_program(&machine.host)?, "an XDP program is left on it");
    ping(&machine.peer, addr::HOST4)?;
    // VPP goes on, from there and from a death without a guard.
    for _ in 0..2 {
        let vpp = machine.start()?;
        await_taken(&vpp, "eth0")?;
        is_taken(machine, &before)?;
        vpp.kill()?;
    }
    let vpp = machine.start()?;
    await_taken(&vpp, "eth0")?;
    release(&vpp, "eth0")?;
    is_clean(machine, &before)
}

fn refusals(machine: &Machine) -> Result<()> {
    let mut checks = Checks::new();
    let refuse = |why: &str| refused(machine, &uplink_command("eth0", WORDS), why);
    machine.host.ip("link set eth0 mtu 9000")?;
    checks.add("frames that fit into no buffer", refuse("has to fit into one of VPP's buffers"));
    machine.host.ip("link set eth0 mtu 1450")?;
    // Somebody else's program, here of an interface of the user's own, stays.
    let vpp = machine.vpp()?;
    vpp.quiet("create interface af_xdp host-if eth0 name mine")?;
    checks.that("it has a program", has_program(&machine.host)?, "none is there");
    checks.add("another's program", refuse("has an XDP program of somebody else's"));
    checks.that("it is still there", has_program(&machine.host)?, "it is gone");
    // It outlives that VPP. To another driver it is nothing, and goes with the
    // device.
    vpp.kill()?;
    let vpp = machine.start()?;
    let before = seen(machine)?;
    checks.add("by af-packet", take(&vpp, "eth0", "driver af-packet").map(drop));
    checks.that("it is with the device", has_program(&machine.parking()?)?, "it is gone");
    checks.add("released", release(&vpp, "eth0").map(drop));
    checks.that("it came home", has_program(&machine.host)?, "it is gone");
    checks.add("home", is_home(machine, &before));
    checks.finish()
}

/// A failure at the steps that are this driver's, and around them.
fn failures(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    let mut checks = Checks::new();
    let interfaces_before = interfaces(&vpp)?;
    for step in ["linux-take", "vpp-uplink", "vpp-unnumbered", "linux-move", "vpp-verify", "linux-commit"] {
        let before = seen(machine)?;
        vpp.quiet(&format!("test hostnet fault {step} fail"))?;
        let said = vpp.ctl(&uplink_command("eth0", WORDS))?;
        checks.that(step, said.contains(step) && said.contains("everything was undone"), &said);
        checks.add(step, is_clean(machine, &before));
        checks.that(step, interfaces(&vpp)? == interfaces_before, "an interface is left in VPP");
    }
    for step in ["vpp-uplink", "linux-take"] {
        let before = seen(machine)?;
        checks.add(step, take(&vpp, "eth0", WORDS).map(drop));
        vpp.quiet(&format!("test hostnet fault undo:{step} fail"))?;
        let said = vpp.ctl("hostnet release eth0")?;
        checks.that(step, said.contains("injected failure"), &said);
        let gone = until("it is home at last", secs(15), || Ok(taken(&vpp, "eth0")?.is_none().then_some(())));
        checks.add(step, gone);
        checks.add(step, is_clean(machine, &before));
    }
    checks.finish()?;
    // Its netdev is deleted while it is taken.
    take(&vpp, "eth0", WORDS)?;
    machine.parking()?.ip("link del eth0")?;
    let said = vpp.ctl("hostnet release eth0")?;
    until("it is given up", secs(15), || Ok(taken(&vpp, "eth0")?.is_none().then_some(()))).context(said)?;
    ensure!(interfaces(&vpp)? == interfaces_before, "an interface is left in VPP");
    vpp.alive()
}

/// No RDMA device is behind a veth.
fn rdma_refusals(machine: &Machine) -> Result<()> {
    refused(machine, &uplink_command("eth0", "driver rdma"), "no RDMA device is behind it")?;
    machine.vpp()?.alive()
}

fn not_loaded(machine: &Machine) -> Result<()> {
    let mut checks = Checks::new();
    for driver in ["af-xdp", "rdma"] {
        let why = format!("VPP has no {driver}: its plugin is not loaded");
        checks.add(driver, refused(machine, &uplink_command("eth0", &format!("driver {driver}")), &why));
    }
    checks.finish()
}

fn dpdk_stanza() -> MachineOptions {
    MachineOptions { stanza: "uplink eth0 { driver dpdk }".to_owned(), start: false, ..machine() }
}

/// Without VPP's dpdk plugin the device stays where it is, and why is shown.
fn no_dpdk(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    let vpp = machine.start()?;
    let shown = vpp.ctl("show hostnet")?;
    ensure!(shown.contains("VPP has no dpdk: its plugin is not loaded"), "{shown}");
    is_home(machine, &before)?;
    refused(machine, &uplink_command("eth0", "driver dpdk"), "takes its cards at VPP's start")
}
