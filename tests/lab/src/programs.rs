//! Programs of a distribution in namespaces of the lab. Each machine has rooms of
//! its own where programs keep sockets, pids and leases, so that two machines, two
//! labs and the real machine's services do not meet there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown};

use crate::cleanup::RUN_ROOT;
use crate::netns::{Netns, run};
use crate::process::Process;
use crate::time::{secs, until};

/// Moves into the rooms and becomes the program: `$1` is the directory, `$2` the one of
/// all labs. The latter stays where it is, for the program's own words name it.
const MOVE_IN: &str = "set -e; rooms=$1 labs=$2; shift 2
mount --bind \"$labs\" \"$rooms/run/${labs##*/}\"
mount --rbind \"$rooms/run\" /run
mount --bind \"$rooms/lib\" /var/lib
[ ! -e /etc/resolv.conf ] || mount --bind \"$rooms/resolv.conf\" /etc/resolv.conf
exec \"$@\"";

/// Where programs are; the last ones are those that `tests/setup` only unpacks.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/lib/hostnet-tests/usr/sbin:\
                    /usr/local/lib/hostnet-tests/usr/bin";

/// A machine's `/run`, `/var/lib` and `/etc/resolv.conf`, and what is started
/// there.
#[derive(Debug)]
pub struct Rooms<'a> {
    netns: &'a Netns,
    dir: PathBuf,
}

impl<'a> Rooms<'a> {
    /// Empty rooms below a new directory of a lab's.
    pub fn new(netns: &'a Netns, dir: &Path) -> Result<Self> {
        let labs = Path::new(RUN_ROOT).file_name().context("no name of the labs' directory")?;
        for folder in [dir.join("run").join(labs), dir.join("run/lock"), dir.join("lib/misc")] {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(dir.join("resolv.conf"), "")?;
        Ok(Self { netns, dir: dir.to_owned() })
    }

    /// The machine.
    pub fn netns(&self) -> &Netns {
        self.netns
    }

    /// Where a file of theirs is: `run/x` for `/run/x`, `lib/x` for `/var/lib/x`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file of theirs as it is now; empty if it is not there.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Where a file of this text now is, for a program's words.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path(name);
        std::fs::write(&path, text)?;
        Ok(path.to_str().context("a path that is not UTF-8")?.to_owned())
    }

    /// A directory below `/run` or `/var/lib` (`run/x`, `lib/x`), of this user's.
    pub fn folder(&self, name: &str, user: &str) -> Result<()> {
        let path = self.path(name);
        std::fs::create_dir_all(&path)?;
        let user = User::from_name(user)?.with_context(|| format!("no user '{user}': tests/setup programs"))?;
        Ok(chown(&path, Some(user.uid), Some(user.gid))?)
    }

    /// The words that run a program in the rooms, in front of its own. The machine's
    /// name is its own too; and so are its processes, that end with the program: some
    /// leave theirs behind when they are killed.
    fn door(&self) -> Result<Vec<&str>> {
        let dir = self.dir.to_str().context("a path that is not UTF-8")?;
        let unshare = ["--mount", "--uts", "--pid", "--fork", "--kill-child", "--propagation", "private"];
        Ok([&unshare[..], &["/bin/sh", "-c", MOVE_IN, "sh", dir, RUN_ROOT]].concat())
    }

    /// Run a program to its end; its standard output.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let words = [&self.door()?[..], &[program], arguments].concat();
        self.netns.output("unshare", &words)
    }

    /// Start a program that stays in the foreground.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Result<Program> {
        let name = Path::new(program).file_name().and_then(|name| name.to_str()).context("no name of a program")?;
        let log = self.dir.join(format!("{name}.out"));
        let out = File::options().create(true).append(true).open(&log)?;
        let err = out.try_clone()?;
        let words = [&self.door()?[..], &[program], arguments].concat();
        let process = Process::start(self.netns, "unshare", &words, move |command| {
            command.stdin(Stdio::null()).stdout(out).stderr(err).env("PATH", PATH);
        })?;
        Ok(Program { name: name.to_owned(), process, log })
    }
}

/// A program that runs; killed on drop.
#[derive(Debug)]
pub struct Program {
    name: String,
    process: Process,
    log: PathBuf,
}

impl Program {
    /// What it has printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Wait until it has printed something, once or more often.
    pub fn wait_said(&mut self, text: &str, times: usize) -> Result<()> {
        until(&format!("{} says '{text}' {times} times", self.name), secs(30), || {
            Ok((self.said().matches(text).count() >= times).then_some(()))
        })
        .with_context(|| self.said())?;
        Ok(())
    }

    /// That it still runs.
    pub fn alive(&mut self) -> Result<()> {
        let ended = self.process.ended()?;
        ensure!(ended.is_none(), "{} ended: {ended:?}\n{}", self.name, self.said());
        Ok(())
    }

    /// The one child of the process that made the rooms.
    fn pid(&self) -> Result<i32> {
        let parent = format!("PPid:\t{}", self.process.pid());
        let is_child = |pid: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().any(|line| line == parent)
        };
        let mut all =
            std::fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        all.find(is_child).with_context(|| format!("{} has ended\n{}", self.name, self.said()))
    }

    /// Send it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid()?), signal)?)
    }

    /// Run another program to its end where it has its own processes: each sees the
    /// other's number. Its standard output.
    pub fn beside(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let pid = self.pid()?.to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount", "--uts", "--net", "--pid", program]).args(arguments);
        run(command.env("PATH", PATH), "").with_context(|| self.said())
    }

    /// SIGTERM and its end.
    pub fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.process.wait(secs(30)).with_context(|| self.said()).map(drop)
    }
}
