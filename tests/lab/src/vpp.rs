//! A VPP process and its configuration.

use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::api::Api;
use crate::cli::Cli;
use crate::netns::Netns;
use crate::process::Process;
use crate::time::secs;

/// Where VPP is installed: as the Makefile found it (`VPP_PREFIX`), else the
/// places that it looks in.
pub fn prefix() -> Result<PathBuf> {
    let given = std::env::var_os("VPP_PREFIX").filter(|value| !value.is_empty());
    let places: Vec<PathBuf> = match given {
        Some(place) => vec![place.into()],
        None => ["/usr", "/usr/local", "/opt/vpp"].map(PathBuf::from).to_vec(),
    };
    places
        .iter()
        .find(|place| place.join("bin/vpp").exists())
        .cloned()
        .with_context(|| format!("no bin/vpp below any of {places:?}: install VPP 26.06 or set VPP_PREFIX"))
}

/// VPP's plugin directory below its prefix.
pub fn plugin_dir(prefix: &Path) -> Result<PathBuf> {
    ["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64", "lib"]
        .iter()
        .map(|lib| prefix.join(lib).join("vpp_plugins"))
        .find(|dir| dir.is_dir())
        .with_context(|| format!("no vpp_plugins directory below {}", prefix.display()))
}

/// How to start it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Worker threads.
    pub workers: u32,
    /// VPP's own plugins to load, by file name (`af_packet_plugin.so`).
    pub plugins: Vec<String>,
    /// Our plugin's file, if it is to be loaded.
    pub hostnet: Option<PathBuf>,
    /// More text for startup.conf, such as stanzas of our own.
    pub extra: String,
    /// Commands that VPP runs at its start (`unix { exec }`).
    pub exec: Option<String>,
    /// A program, with its arguments, that VPP is started by.
    pub wrapper: Vec<String>,
    /// Buffers in huge pages, which VPP's drivers of PCI cards need: with small
    /// ones VPP cannot allocate a ring (its default arena takes the page size of
    /// the first one).
    pub huge_pages: bool,
    /// Its main loop never sleeps while there is work: for figures. Where a timer is
    /// late, as in the emulated machine, the 100 us that it sleeps in each round
    /// otherwise become 10 ms.
    pub no_sleep: bool,
    /// Size of the main heap, `256M` when not given.
    pub heap: Option<String>,
    /// Size of the statistics segment, `64M` when not given.
    pub stats: Option<String>,
}

/// A running VPP; killed on drop.
#[derive(Debug)]
pub struct Vpp {
    process: Mutex<Process>,
    cli: Mutex<Cli>,
    dir: PathBuf,
}

impl Vpp {
    /// Start it in a namespace with its files in `dir`, and wait until its
    /// command line answers. `tag` keeps its shared memory apart.
    pub fn start(netns: &Netns, dir: &Path, tag: &str, config: &Config) -> Result<Self> {
        let prefix = prefix()?;
        std::fs::create_dir_all(dir.join("plugins"))?;
        if let Some(plugin) = &config.hostnet {
            ensure!(plugin.exists(), "the plugin {} is missing: run 'make build'", plugin.display());
            // VPP tells a plugin by its file's name, not the link's target's.
            std::os::unix::fs::symlink(plugin, dir.join("plugins/hostnet_plugin.so"))?;
        }
        let text = startup(dir, tag, &plugin_dir(&prefix)?, config);
        let conf = dir.join("startup.conf");
        std::fs::write(&conf, text)?;
        if let Some(commands) = &config.exec {
            std::fs::write(dir.join("exec"), commands)?;
        }

        // Watch before the start, so that the socket's coming is not missed.
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        watch.add_watch(dir, AddWatchFlags::IN_CREATE)?;
        let out = File::create(dir.join("vpp.out"))?;
        let err = out.try_clone()?;
        let program = prefix.join("bin/vpp");
        let program = program.to_str().context("the prefix is not UTF-8")?;
        let conf = conf.to_str().context("the run directory is not UTF-8")?;
        let faked = fake_cpus(dir, config)?;
        let mut line: Vec<&str> = config.wrapper.iter().chain(&faked).map(String::as_str).collect();
        line.extend([program, "-c", conf]);
        let (program, arguments) = line.split_first().context("an empty command")?;
        let mut process = Process::start(netns, program, arguments, move |command| {
            command.stdin(std::process::Stdio::null()).stdout(out).stderr(err);
        })?;
        let cli = wait_for_cli(&mut process, &watch, &dir.join("cli.sock"))
            .with_context(|| format!("VPP's last words:\n{}", last_words(dir)))?;
        if config.workers > 0 {
            unpin(process.pid())?;
        }
        Ok(Self { process: Mutex::new(process), cli: Mutex::new(cli), dir: dir.to_owned() })
    }

    fn cli(&self) -> std::sync::MutexGuard<'_, Cli> {
        self.cli.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Run a command; its output, errors included.
    pub fn ctl(&self, command: &str) -> Result<String> {
        self.cli().run(command)
    }

    /// Run a command that says nothing when it succeeds.
    pub fn quiet(&self, command: &str) -> Result<()> {
        let said = self.ctl(command)?;
        ensure!(said.trim().is_empty(), "VPP command '{command}' said: {}", said.trim());
        Ok(())
    }

    /// Run such commands, a line each.
    pub fn all_quiet(&self, commands: &str) -> Result<()> {
        for command in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.quiet(command)?;
        }
        Ok(())
    }

    /// A session of its own, for a second thread.
    pub fn session(&self) -> Result<Cli> {
        Cli::connect(&self.socket(), secs(10))
    }

    /// The command line socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("cli.sock")
    }

    /// A connection to its binary API.
    pub fn api(&self) -> Result<Api> {
        Api::connect(&self.dir.join("api.sock"))
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process().pid()
    }

    /// Whether it still runs and answers.
    pub fn alive(&self) -> Result<()> {
        if let Some(how) = self.process().ended()? {
            bail!("VPP has ended: {how}\n{}", last_words(&self.dir));
        }
        let answer = self.ctl("show version")?;
        ensure!(answer.contains("vpp v"), "VPP answers strangely: {answer}");
        Ok(())
    }

    /// End it in good order (SIGTERM) and wait for it.
    pub fn stop(&self) -> Result<()> {
        let mut process = self.process();
        process.signal(Signal::SIGTERM)?;
        let status = process.wait(secs(20))?;
        ensure!(status.success(), "VPP ended with {status} on SIGTERM:\n{}", last_words(&self.dir));
        Ok(())
    }

    /// Send it a signal, and do not wait for what comes of it.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process().signal(signal)
    }

    /// End it without a word (SIGKILL) and wait until it is gone.
    pub fn kill(&self) -> Result<()> {
        let mut process = self.process();
        process.signal(Signal::SIGKILL)?;
        process.wait(secs(20)).map(drop)
    }

    /// Whether it has ended as it should on [`Self::stop`]; any other end is an
    /// error.
    pub fn ended_well(&self) -> Result<bool> {
        match self.process().ended()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("VPP has ended: {status}\n{}", last_words(&self.dir)),
        }
    }

    /// What it printed and logged, the end of it.
    pub fn last_words(&self) -> String {
        last_words(&self.dir)
    }
}

/// VPP wants a processor for each thread. Where the machine has too few, what
/// is put before the command line makes it see more; its threads share then.
fn fake_cpus(dir: &Path, config: &Config) -> Result<Vec<String>> {
    const ONLINE: &str = "/sys/devices/system/cpu/online";
    let there = std::thread::available_parallelism()?.get();
    let wanted = usize::try_from(config.workers)? + 1;
    if wanted <= there {
        return Ok(Vec::new());
    }
    let fake = dir.join("online");
    std::fs::write(&fake, format!("0-{}\n", wanted - 1))?;
    // A mount namespace of its own, which shares the names of network
    // namespaces with the machine's: VPP makes some. Nothing else goes out.
    let script = format!("mount --make-rslave /sys && mount --bind {} {ONLINE} && exec \"$@\"", fake.display());
    let words = ["unshare", "--mount", "--propagation", "unchanged", "--", "sh", "-c", &script, "sh"];
    Ok(words.map(str::to_owned).to_vec())
}

/// Let the kernel place VPP's threads: pinned by VPP, those of all the labs
/// that run side by side would share the first processor.
fn unpin(pid: i32) -> Result<()> {
    let all = sched_getaffinity(Pid::from_raw(0))?;
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread: i32 = entry?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Pid::from_raw(thread), &all)?;
    }
    Ok(())
}

/// The text of startup.conf.
fn startup(dir: &Path, tag: &str, plugins: &Path, config: &Config) -> String {
    let dir = dir.display();
    let heap = config.heap.as_deref().unwrap_or("256M");
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "unix {{\n  nodaemon\n  nosyslog\n  nobanner\n  cli-listen {dir}/cli.sock\n  runtime-dir {dir}\n  log {dir}/vpp.log"
    );
    if !config.no_sleep {
        let _ = writeln!(text, "  poll-sleep-usec 100");
    }
    if config.exec.is_some() {
        let _ = writeln!(text, "  startup-config {dir}/exec");
    }
    let _ = writeln!(text, "}}");
    // No huge pages: any machine will do.
    let _ = writeln!(text, "memory {{ main-heap-size {heap} main-heap-page-size 4k }}");
    let page_size = if config.huge_pages { "default-hugepage" } else { "4k" };
    let _ = writeln!(text, "buffers {{ buffers-per-numa 8192 page-size {page_size} }}");
    let stats = config.stats.as_deref().unwrap_or("64M");
    let _ = writeln!(text, "statseg {{ socket-name {dir}/stats.sock size {stats} page-size 4k }}");
    let _ = writeln!(text, "socksvr {{ socket-name {dir}/api.sock }}");
    let _ = writeln!(text, "api-segment {{ prefix {tag} }}");
    let _ = writeln!(text, "logging {{ default-log-level debug default-syslog-log-level disabled }}");
    if config.workers > 0 {
        // Threads are not pinned each to its own processor: see fake_cpus.
        let _ = writeln!(text, "cpu {{ workers {} use-pthreads }}", config.workers);
    }
    let _ = writeln!(text, "plugins {{\n  path {dir}/plugins:{}", plugins.display());
    let _ = writeln!(text, "  plugin default {{ disable }}");
    let ours = config.hostnet.iter().map(|_| "hostnet_plugin.so");
    for plugin in config.plugins.iter().map(String::as_str).chain(ours) {
        let _ = writeln!(text, "  plugin {plugin} {{ enable }}");
    }
    let _ = writeln!(text, "}}\n{}", config.extra);
    text
}

fn wait_for_cli(process: &mut Process, watch: &Inotify, socket: &Path) -> Result<Cli> {
    let deadline = Instant::now() + secs(30);
    loop {
        // The socket is there a moment before it listens: a refused
        // connection is not an error yet.
        if socket.exists()
            && let Ok(cli) = Cli::connect(socket, secs(10))
        {
            return Ok(cli);
        }
        if let Some(how) = process.ended()? {
            bail!("VPP ended at its start: {how}");
        }
        ensure!(Instant::now() < deadline, "VPP's command line did not come up");
        // The time-out is for VPP's own end, which the watch does not tell.
        let mut files = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        poll(&mut files, PollTimeout::from(20_u8))?;
        // Nothing to read is fine after a time-out.
        let _ = watch.read_events();
    }
}

/// The ends of what VPP printed and of its log.
fn last_words(dir: &Path) -> String {
    let mut text = String::new();
    for name in ["vpp.out", "vpp.log"] {
        let all = std::fs::read(dir.join(name)).unwrap_or_default();
        let all = String::from_utf8_lossy(&all);
        let lines: Vec<&str> = all.lines().collect();
        let from = lines.len().saturating_sub(60);
        let _ = writeln!(text, "--- {name}");
        for line in lines.get(from..).unwrap_or_default() {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// How long a command may take that waits for both sides.
pub fn patience() -> Duration {
    secs(30)
}
