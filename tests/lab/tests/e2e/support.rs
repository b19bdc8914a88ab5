//! What the scenarios share: labs with the plugin in them, and a report of
//! everything when one fails.

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, Options, addr};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

/// How the host is joined to VPP in this run: `HOSTNET_TAP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Builtin,
    Vhost,
}

impl Backend {
    pub(crate) fn of_this_run() -> Self {
        match std::env::var("HOSTNET_TAP").as_deref() {
            Ok("vhost") => Self::Vhost,
            _ => Self::Builtin,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Vhost => "vhost",
        }
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The plugin under test: `HOSTNET_PLUGIN`, else as `make build` makes it.
pub(crate) fn plugin() -> PathBuf {
    std::env::var_os("HOSTNET_PLUGIN").map_or_else(|| root().join("target/release/hostnet_plugin.so"), PathBuf::from)
}

/// The guard: `HOSTNET_GUARD`, else as `make build` leaves it beside the plugin.
pub(crate) fn guard() -> PathBuf {
    std::env::var_os("HOSTNET_GUARD").map_or_else(|| plugin().with_file_name("hostnet-guard"), PathBuf::from)
}

/// The test-only build of it that injects failures: `HOSTNET_PLUGIN_FAULTS`.
pub(crate) fn plugin_with_faults() -> PathBuf {
    std::env::var_os("HOSTNET_PLUGIN_FAULTS")
        .map_or_else(|| root().join("target/debug/hostnet_plugin_faults.so"), PathBuf::from)
}

/// A lab's options with the plugin, and the tap plugin where this run's
/// backend needs it.
pub(crate) fn options() -> Options {
    let mut options = Options::default();
    options.vpp.hostnet = Some(plugin());
    if Backend::of_this_run() == Backend::Vhost {
        options.vpp.plugins.push("tap_plugin.so".to_owned());
    }
    options
}

/// The same with the build that injects failures.
pub(crate) fn options_with_faults() -> Options {
    let mut options = options();
    options.vpp.hostnet = Some(plugin_with_faults());
    options
}

/// A test: a lab, what is done in it, a report when that fails.
pub(crate) fn scenario(
    name: &str,
    options: impl FnOnce() -> Options + Send + 'static,
    run: impl FnOnce(&Lab) -> Result<()> + Send + 'static,
) -> Trial {
    let title = name.to_owned();
    Trial::test(name, move || {
        let begun = Instant::now();
        let result = Lab::start(&options()).map_err(|error| Failed::from(format!("{error:#}")));
        let result = result.and_then(|lab| attempt(&title, &lab, run));
        note_time(&title, begun);
        result
    })
}

/// Labs that may serve more than one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Faults,
    Workers,
    TwoUplinks,
}

impl Kind {
    fn options(self) -> Options {
        match self {
            Self::Plain => options(),
            Self::Faults => options_with_faults(),
            Self::Workers => crate::workers::two_workers(),
            Self::TwoUplinks => crate::uplinks::two(),
        }
    }
}

/// Labs that tests have left as they found them.
static LEFT_CLEAN: Mutex<Vec<(Kind, Lab)>> = Mutex::new(Vec::new());

/// A test in a plain lab that enables, and changes nothing else: see
/// [`clean_scenario_in`].
pub(crate) fn clean_scenario(name: &str, run: impl FnOnce(&Lab) -> Result<()> + Send + 'static) -> Trial {
    clean_scenario_in(Kind::Plain, name, run)
}

/// A test that enables, and changes nothing else, so that its lab may serve
/// the next one. Only where starting VPP is what takes the time, under
/// emulation, they are used again: `HOSTNET_LAB_REUSE`.
pub(crate) fn clean_scenario_in(
    kind: Kind,
    name: &str,
    run: impl FnOnce(&Lab) -> Result<()> + Send + 'static,
) -> Trial {
    if std::env::var_os("HOSTNET_LAB_REUSE").is_none() {
        return scenario(name, move || kind.options(), run);
    }
    let title = name.to_owned();
    Trial::test(name, move || {
        let begun = Instant::now();
        let lab = match left_clean(kind) {
            Some(lab) => lab,
            None => Lab::start(&kind.options()).map_err(|error| Failed::from(format!("{error:#}")))?,
        };
        attempt(&title, &lab, |lab| {
            run(lab)?;
            disable_all(lab)
        })?;
        // Only a lab that is well comes here.
        LEFT_CLEAN.lock().unwrap_or_else(PoisonError::into_inner).push((kind, lab));
        note_time(&title, begun);
        Ok(())
    })
}

fn left_clean(kind: Kind) -> Option<Lab> {
    let mut labs = LEFT_CLEAN.lock().unwrap_or_else(PoisonError::into_inner);
    let at = labs.iter().position(|(other, _)| *other == kind)?;
    Some(labs.swap_remove(at).1)
}

fn disable_all(lab: &Lab) -> Result<()> {
    let view = view(lab)?;
    for shown in view["uplinks"].as_array().context("no list of uplinks")? {
        if shown["state"] == "enabled" {
            disable(lab, shown["interface"].as_str().context("no name")?)?;
        }
    }
    Ok(())
}

fn attempt(title: &str, lab: &Lab, run: impl FnOnce(&Lab) -> Result<()>) -> Result<(), Failed> {
    let failure = match catch_unwind(AssertUnwindSafe(|| run(lab))) {
        // A test's work is not done if VPP died of it.
        Ok(Ok(())) => match after(lab) {
            Ok(()) => return Ok(()),
            Err(error) => format!("after the test: {error:#}"),
        },
        Ok(Err(error)) => format!("{error:#}"),
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(text) => format!("panic: {text}"),
            None => "panic".to_owned(),
        },
    };
    Err(Failed::from(format!("{failure}\n{}", keep_report(title, &failure, lab))))
}

/// Where reports go: `HOSTNET_REPORTS`.
pub(crate) fn reports() -> PathBuf {
    std::env::var_os("HOSTNET_REPORTS").map_or_else(|| root().join("target/e2e"), PathBuf::from)
}

/// What each test takes, for those who care for the whole's time.
pub(crate) fn note_time(title: &str, begun: Instant) {
    let line = format!("{:7.2} s  {title}\n", begun.elapsed().as_secs_f64());
    let path = reports().join(format!("times-{}.txt", Backend::of_this_run().word()));
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Ok(mut file) = file {
        // Not worth a failure.
        let _ = file.write_all(line.as_bytes());
    }
}

/// A test that makes its own labs.
pub(crate) fn plain(name: &str, run: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || run().map_err(|error| Failed::from(format!("{error:#}"))))
}

fn after(lab: &Lab) -> Result<()> {
    // A test may have ended VPP itself.
    if lab.vpp.ended_well()? { Ok(()) } else { lab.vpp.alive() }
}

/// Write down everything that can be seen; the line that says where.
fn keep_report(title: &str, failure: &str, lab: &Lab) -> String {
    let dir = reports();
    let path = dir.join(format!("{title}-{}.txt", Backend::of_this_run().word()));
    let text = format!("{title}\n\n{failure}\n\n{}", report(lab));
    match std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, text)) {
        Ok(()) => format!("everything that could be seen: {}", path.display()),
        Err(error) => format!("no report: {}: {error}", path.display()),
    }
}

fn report(lab: &Lab) -> String {
    let mut text = String::new();
    for command in [
        "show hostnet verbose",
        "show interface",
        "show interface address",
        "show hardware-interfaces",
        "show ip fib",
        "show ip6 fib",
        "show ip mfib",
        "show ip6 mfib",
        "show ip neighbors",
        "show ip punt redirect",
        "show ip6 punt redirect",
        "show udp punt",
        "show tcp punt",
        "show errors",
        "show runtime",
        "show trace",
        "show logging",
    ] {
        let said = lab.vpp.ctl(command).unwrap_or_else(|error| format!("{error:#}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "===== vpp# {command}\n{said}");
    }
    for (role, netns) in lab.namespaces() {
        for arguments in [
            &["-d", "-s", "addr"][..],
            &["route", "show", "table", "all"],
            &["-6", "route", "show", "table", "all"],
            &["rule"],
            &["neigh"],
        ] {
            let said = netns.output("ip", arguments).unwrap_or_else(|error| format!("{error:#}"));
            let _ = writeln!(text, "===== {role}$ ip {}\n{said}", arguments.join(" "));
        }
    }
    let _ = writeln!(text, "===== VPP's own words\n{}", lab.vpp.last_words());
    text
}

/// `hostnet enable` for the first uplink, its host in the lab's namespace.
pub(crate) fn enable_command(lab: &Lab, uplink: &str, more: &str) -> String {
    let tap = Backend::of_this_run().word();
    format!("hostnet enable {uplink} host-netns {} tap {tap} {more}", lab.host.name()).trim_end().to_owned()
}

/// The words that route the cluster's networks through VPP.
pub(crate) fn cluster() -> String {
    format!("cluster-cidr {} cluster-cidr {} cluster-cidr {}", addr::CLUSTER4, addr::SERVICES4, addr::CLUSTER6)
}

/// Enable it and see that it is.
pub(crate) fn enable(lab: &Lab, uplink: &str, more: &str) -> Result<Value> {
    let command = enable_command(lab, uplink, more);
    let said = lab.vpp.ctl(&command)?;
    let shown =
        shown(lab, uplink)?.with_context(|| format!("'{command}' said '{}'; nothing is enabled", said.trim()))?;
    ensure!(shown["state"] == "enabled", "'{command}' said '{}' and led to {shown:#}", said.trim());
    Ok(shown)
}

/// Enable the first uplink with the cluster's networks.
pub(crate) fn enable_all(lab: &Lab) -> Result<Value> {
    enable(lab, "host-eth0", &cluster())
}

/// Until every mirror has brought to VPP what the kernel has: that goes on after
/// `hostnet enable` has answered.
pub(crate) fn mirrored(lab: &Lab) -> Result<()> {
    until("the mirrors are settled", secs(10), || {
        let text = lab.vpp.ctl("show hostnet mirror json")?;
        let mirrors: Vec<Value> = serde_json::from_str(&text).with_context(|| text)?;
        ensure!(mirrors.iter().all(|mirror| mirror["settled"] == true), "{mirrors:#?}");
        Ok(Some(()))
    })
}

/// Disable it and see that it is gone.
pub(crate) fn disable(lab: &Lab, uplink: &str) -> Result<()> {
    let said = lab.vpp.ctl(&format!("hostnet disable {uplink}"))?;
    if let Some(shown) = shown(lab, uplink)? {
        bail!("'hostnet disable {uplink}' said '{}' and left {shown:#}", said.trim());
    }
    Ok(())
}

/// What `show hostnet json` says.
pub(crate) fn view(lab: &Lab) -> Result<Value> {
    let text = lab.vpp.ctl("show hostnet json")?;
    serde_json::from_str(&text).with_context(|| format!("'show hostnet json' said: {text}"))
}

/// What it says of an uplink.
pub(crate) fn shown(lab: &Lab, uplink: &str) -> Result<Option<Value>> {
    let view = view(lab)?;
    let uplinks = view["uplinks"].as_array().context("no list of uplinks")?;
    // The last one: of an interface that VPP deleted and made anew, the old
    // uplink's end may still be told before the new one.
    Ok(uplinks.iter().rev().find(|shown| shown["interface"] == uplink).cloned())
}

/// VPP's name of the tap of an uplink.
pub(crate) fn tap_of(shown: &Value) -> Result<String> {
    Ok(shown["tap"].as_str().context("no tap is shown")?.to_owned())
}
