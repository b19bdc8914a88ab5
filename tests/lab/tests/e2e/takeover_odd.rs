//! Issue "takeover", 6: a name that is taken meanwhile, what disappears under
//! VPP, journals that cannot be written, uplinks out of the ordinary.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::linux_view::Exactness;
use hostnet_lab::machine::Machine;
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::addr;
use hostnet_lab::traffic::{ping, tcp};
use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::takeover_support::{
    await_taken, bare, is_home, machine, refused, release, same, seen, take, taken, takeover, uplink_command, with_two,
};

pub(crate) fn tests() -> Vec<Trial> {
    let two_bare = || hostnet_lab::machine::MachineOptions { bare: true, ..with_two() };
    vec![
        takeover("t06_the_name_is_taken_by_another_while_vpp_is_dead", machine, name_is_taken),
        takeover("t06_the_host_renames_its_device", machine, renamed),
        takeover("t06_the_device_disappears", machine, disappears),
        takeover("t06_the_host_deletes_the_tap", machine, tap_deleted),
        takeover("t06_the_parking_namespace_loses_its_name", machine, parking_unnamed),
        takeover("t06_the_home_namespace_is_deleted", machine, home_deleted),
        takeover("t06_two_uplinks_with_one_mac", two_bare, one_mac),
        takeover("t06_ip6_is_disabled", machine, without_ip6),
        takeover("t06_no_address_at_all", bare, no_address),
        takeover("t06_a_link_that_is_down", bare, link_down),
        takeover("t06_the_journal_cannot_be_written", machine, no_journal),
        takeover("t06_the_disk_is_full_on_the_way_home", machine, full),
        takeover("t06_a_journal_that_is_damaged", machine, damaged),
    ]
}

/// VPP dies, its tap goes, and something else gets the name.
fn name_is_taken(machine: &Machine) -> Result<()> {
    take(&*machine.vpp()?, "eth0", "")?;
    machine.vpp()?.kill()?;
    machine.host.ip("link del eth0
         link add eth0 type veth peer name eth0-other")?;
    let vpp = machine.start()?;
    // Home under another name, which is told; the journal's words would take
    // the other device, so they are not followed blindly.
    until("home under another name", secs(10), || machine.host.output("ip", &["link", "show", "eth0-1"]).map(Some))?;
    // It is told when it has all that it had.
    let log = until("it is told", secs(10), || {
        let log = vpp.ctl("show logging")?;
        Ok(log.contains("the name eth0 is taken by another device").then_some(log))
    })?;
    let shown = machine.host.output("ip", &["addr", "show", "eth0-1"])?;
    let mut checks = Checks::new();
    checks.that("its addresses", shown.contains(addr::HOST4) && shown.contains(addr::HOST6), &shown);
    checks.that("its MAC", shown.contains(addr::UPLINK_MAC), &shown);
    checks.that("what it is called is told", log.contains("it is called eth0-1 now"), &log);
    let is = vpp.ctl("show hostnet")?;
    checks.that("the other device is not taken", taken(&vpp, "eth0")?.is_none(), &is);
    checks.add("it works", ping(&machine.host, addr::PEER4));
    let other = machine.host.output("ip", &["-d", "link", "show", "eth0"])?;
    checks.that("the other device is as it was", other.contains("veth"), &other);
    checks.finish()
}

/// A rename of the tap is what the host wants of its NIC.
fn renamed(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    machine.host.ip("link set eth0 name lan0")?;
    ping(&machine.host, addr::PEER4)?;
    release(&vpp, "eth0")?;
    let shown = machine.host.output("ip", &["-d", "addr", "show", "lan0"])?;
    ensure!(shown.contains("veth") && shown.contains(addr::HOST4) && shown.contains(addr::HOST6), "{shown}");
    ping(&machine.host, addr::PEER4)?;
    machine.host.output("ip", &["rule"]).map(drop)
}

/// Both ends of a veth go with one.
fn disappears(machine: &Machine) -> Result<()> {
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    machine.peer.ip("link del eth0")?;
    vpp.alive()?;
    let said = vpp.ctl("hostnet release eth0")?;
    ensure!(said.contains("the device is gone"), "'hostnet release eth0' said '{}'", said.trim());
    // Given up: nothing can come home any more, and nothing of ours stays.
    until("VPP has given it up", secs(10), || {
        ensure!(taken(&vpp, "eth0")?.is_none_or(|shown| shown["state"] == "failed"), "{}", vpp.ctl("show hostnet")?);
        Ok(Some(()))
    })?;
    let links = machine.host.output("ip", &["-br", "link"])?;
    ensure!(!links.contains("eth0"), "a tap is left: {links}");
    let interfaces = vpp.ctl("show interface")?;
    ensure!(!interfaces.contains("eth0"), "{interfaces}");
    // A new one of that name can be taken.
    machine.host.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {}
         link set eth0 up
         addr add 192.0.2.10/24 dev eth0",
        machine.peer.name()
    ))?;
    machine.peer.ip("link set eth0 up\naddr add 192.0.2.20/24 dev eth0")?;
    machine.peer.output("ethtool", &["-K", "eth0", "tx", "off"])?;
    take(&vpp, "eth0", "")?;
    until("the peer answers", secs(5), || ping(&machine.host, addr::PEER4).map(Some))?;
    release(&vpp, "eth0").map(drop)
}

/// The tap is gone: what it had is what was written down last.
fn tap_deleted(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    machine.host.ip("link del eth0")?;
    let said = vpp.ctl("hostnet release eth0")?;
    vpp.alive()?;
    until("it is home", secs(10), || Ok(taken(&vpp, "eth0")?.is_none().then_some(())))
        .with_context(|| said.trim().to_owned())?;
    // Rules of a device that goes are the host's, and stay.
    is_home(machine, &before)
}

/// VPP and the journal hold what they need without the name.
fn parking_unnamed(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    umount2(&machine.parking_file(), MntFlags::MNT_DETACH)?;
    std::fs::remove_file(machine.parking_file())?;
    ping(&machine.host, addr::PEER4)?;
    release(&vpp, "eth0")?;
    is_home(machine, &before)
}

/// A namespace that is no longer named lives on as long as somebody holds it;
/// a device in it is nobody's.
fn home_deleted(machine: &Machine) -> Result<()> {
    let other = Netns::create(&format!("{}other", machine.tag()))?;
    other.ip("link set lo up")?;
    other.ip(&format!(
        "link add eth7 type veth peer name eth7 netns {}
         link set eth7 up
         addr add 203.0.113.10/24 dev eth7",
        machine.peer.name()
    ))?;
    machine.peer.ip("link set eth7 up\naddr add 203.0.113.20/24 dev eth7")?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth7", &format!("host-netns {}", other.name()))?;
    drop(other);
    let said = vpp.ctl("hostnet release eth7")?;
    vpp.alive()?;
    // Defined: it goes where its home goes; VPP forgets it.
    until("VPP has let go of it", secs(10), || {
        ensure!(taken(&vpp, "eth7")?.is_none(), "{}", vpp.ctl("show hostnet")?);
        Ok(Some(()))
    })
    .with_context(|| said.trim().to_owned())
}

fn one_mac(machine: &Machine) -> Result<()> {
    machine.host.ip(&format!(
        "link set eth0 up\nlink set eth1 address {}\naddr add 192.0.2.10/24 dev eth0",
        addr::UPLINK_MAC
    ))?;
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    for device in ["eth0", "eth1"] {
        take(&vpp, device, "")?;
    }
    same(machine, &before, Exactness::Programs)?;
    let reach = || -> Result<()> {
        for (peer, host) in [(addr::PEER4, addr::HOST4), (addr::PEER4B, addr::HOST4B), (addr::PEER6B, addr::HOST6B)] {
            // Its neighbours may know the other one under that MAC.
            until(&format!("{peer} answers"), secs(5), || ping(&machine.host, peer).map(Some))?;
            tcp(&machine.peer, &machine.host, host, peer, 50_000)?;
        }
        Ok(())
    };
    reach()?;
    // Each comes home as itself, whoever dies.
    vpp.kill()?;
    let vpp = machine.start()?;
    for device in ["eth0", "eth1"] {
        await_taken(&vpp, device)?;
    }
    same(machine, &before, Exactness::Programs)?;
    reach()?;
    release(&vpp, "eth1")?;
    release(&vpp, "eth0")?;
    is_home(machine, &before)?;
    reach()
}

fn without_ip6(machine: &Machine) -> Result<()> {
    // Takes the addresses and routes of IPv6 along; an object that stays could
    // not be made again.
    machine.host.ip("nexthop del id 44")?;
    machine.host.sysctl(&[("ipv6/conf/eth0/disable_ipv6", "1")])?;
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    same(machine, &before, Exactness::Programs)?;
    tcp(&machine.peer, &machine.host, addr::HOST4, addr::PEER4, 100_000)?;
    let shown = machine.host.within(|| Ok(std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/disable_ipv6")?))?;
    ensure!(shown.trim() == "1", "IPv6 came on with the takeover");
    release(&vpp, "eth0")?;
    is_home(machine, &before)
}

fn no_address(machine: &Machine) -> Result<()> {
    machine.host.sysctl(&[("ipv6/conf/eth0/addr_gen_mode", "1")])?;
    machine.host.ip("link set eth0 up")?;
    // The kernel makes it once it has seen the carrier.
    until("the route of multicast", secs(5), || {
        Ok(machine.host.output("ip", &["-6", "route", "show", "table", "local"])?.contains("ff00::/8").then_some(()))
    })?;
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    same(machine, &before, Exactness::Programs)?;
    // A lease that comes while it is taken.
    machine.host.ip("addr add 192.0.2.10/24 dev eth0")?;
    let with_lease = seen(machine)?;
    release(&vpp, "eth0")?;
    same(machine, &with_lease, Exactness::Programs)?;
    ping(&machine.host, addr::PEER4)?;
    machine.host.ip("addr del 192.0.2.10/24 dev eth0")?;
    is_home(machine, &before)
}

/// Down stays down, on both ways.
fn link_down(machine: &Machine) -> Result<()> {
    machine.host.ip("addr add 192.0.2.10/24 dev eth0")?;
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    let said = vpp.ctl(&uplink_command("eth0", ""))?;
    if taken(&vpp, "eth0")?.is_some_and(|shown| shown["state"] == "enabled") {
        same(machine, &before, Exactness::Programs).with_context(|| said.trim().to_owned())?;
        release(&vpp, "eth0")?;
    } else {
        ensure!(said.contains("down"), "'{}'", said.trim());
    }
    is_home(machine, &before)
}

/// A file system of its own for the journals.
struct Disk(PathBuf);

impl Disk {
    fn new(at: &Path, options: &str, flags: MsFlags) -> Result<Self> {
        std::fs::create_dir_all(at)?;
        mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options)).context("a tmpfs")?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Gone with its directory otherwise.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn no_journal(machine: &Machine) -> Result<()> {
    let mut checks = Checks::new();
    {
        let _read_only = Disk::new(&machine.journal(), "mode=700", MsFlags::MS_RDONLY)?;
        checks.add("read-only", refused(machine, &uplink_command("eth0", ""), "the journal cannot be written"));
    }
    {
        let disk = Disk::new(&machine.journal(), "mode=700,size=16k", MsFlags::empty())?;
        std::fs::write(disk.0.join("ballast"), vec![0_u8; 8 << 10])?;
        checks.add("full", refused(machine, &uplink_command("eth0", ""), "the journal cannot be written"));
    }
    checks.add("and with room it is taken", take(&*machine.vpp()?, "eth0", "").map(drop));
    checks.finish()
}

/// The way home needs no room.
fn full(machine: &Machine) -> Result<()> {
    let disk = Disk::new(&machine.journal(), "mode=700,size=1m", MsFlags::empty())?;
    let before = seen(machine)?;
    let vpp = machine.vpp()?;
    take(&vpp, "eth0", "")?;
    // All that there is.
    let _ = std::fs::write(disk.0.join("ballast"), vec![0_u8; 2 << 20]);
    machine.host.ip("addr add 192.0.2.99/24 dev eth0\nroute add 10.99.0.0/16 via 192.0.2.20 dev eth0")?;
    let said = vpp.ctl("hostnet release eth0")?;
    until("it is home", secs(10), || Ok(taken(&vpp, "eth0")?.is_none().then_some(())))
        .with_context(|| said.trim().to_owned())?;
    machine
        .host
        .ip("route del 10.99.0.0/16\naddr del 192.0.2.99/24 dev eth0")
        .context("what was added meanwhile has not come home")?;
    std::fs::remove_file(disk.0.join("ballast"))?;
    is_home(machine, &before)
}

/// Never half-believed; set aside and told. The NIC stays parked for a person.
fn damaged(machine: &Machine) -> Result<()> {
    let before = seen(machine)?;
    take(&*machine.vpp()?, "eth0", "")?;
    machine.vpp()?.kill()?;
    let file = std::fs::read_dir(machine.journal())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ext| ext == "journal"))
        .context("no journal")?;
    let whole = std::fs::read(&file)?;
    let mut cut = whole.clone();
    cut.truncate(whole.len() / 2);
    std::fs::write(&file, &cut)?;
    let vpp = machine.start()?;
    until("it is told", secs(10), || {
        let log = vpp.ctl("show logging")?;
        Ok(log.contains("set aside").then_some(()))
    })?;
    ensure!(taken(&vpp, "eth0")?.is_none(), "taken by a journal that is damaged");
    // The stand-in still has all of the host's network.
    same(machine, &before, Exactness::Programs).ok();
    ensure!(!file.exists(), "still there: {}", file.display());
    // By hand: the whole one back, and VPP started again.
    std::fs::write(&file, &whole)?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
    vpp.kill()?;
    let vpp = machine.start()?;
    await_taken(&vpp, "eth0")?;
    release(&vpp, "eth0")?;
    same(machine, &before, Exactness::Device)
}
