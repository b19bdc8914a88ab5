//! Named network namespaces, as `ip netns` makes them.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::cleanup::{Debt, NETNS_DIR, owe, settle};

/// A namespace; one that was made here is gone on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
    /// Whether its name goes on drop.
    ours: bool,
}

impl Netns {
    /// Make it, as `ip netns add` does, but without a process for it.
    pub fn create(name: &str) -> Result<Self> {
        owe(Debt::Netns(name.to_owned()));
        let path = format!("{NETNS_DIR}/{name}");
        std::fs::create_dir_all(NETNS_DIR)?;
        File::create(&path).with_context(|| path.clone())?;
        // A thread of its own: it lives in the new namespace until it ends.
        let made = std::thread::scope(|scope| {
            scope
                .spawn(|| -> nix::Result<()> {
                    unshare(CloneFlags::CLONE_NEWNET)?;
                    let own = "/proc/thread-self/ns/net";
                    mount(Some(own), path.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
                })
                .join()
        });
        match made {
            Ok(result) => result.with_context(|| format!("network namespace {name}"))?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        let file = File::open(&path).with_context(|| path)?;
        Ok(Self { name: name.to_owned(), file, ours: true })
    }

    /// One that somebody else has made, and unmakes.
    pub fn existing(name: &str) -> Result<Self> {
        let path = format!("{NETNS_DIR}/{name}");
        let file = File::open(&path).with_context(|| path)?;
        Ok(Self { name: name.to_owned(), file, ours: false })
    }

    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Make the calling thread live in it.
    pub fn join(&self) -> Result<()> {
        setns(&self.file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter network namespace {}", self.name))
    }

    /// Do it in the namespace, on a thread of its own: sockets made there
    /// stay there, wherever they are used later.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.join()?;
                work()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Run `ip` in it, a command a line; the first failure ends it.
    pub fn ip(&self, commands: &str) -> Result<String> {
        self.ip_with(&[], commands)
    }

    /// The same with options before, such as `-d`.
    pub fn ip_with(&self, options: &[&str], commands: &str) -> Result<String> {
        run(Command::new("ip").args(options).args(["-n", &self.name, "-batch", "-"]), commands)
            .with_context(|| format!("ip -n {} with:\n{commands}", self.name))
    }

    /// Write sysctls below `/proc/sys/net`, as `("ipv6/conf/all/x", "1")`.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.within(|| {
            for (name, value) in settings {
                // The thread's own view: /proc/sys/net follows the namespace
                // of whoever opens it.
                let path = format!("/proc/sys/net/{name}");
                std::fs::write(&path, value).with_context(|| format!("{path} = {value}"))?;
            }
            Ok(())
        })
    }

    /// Run a program in it to its end; its standard output.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        self.within(|| run(Command::new(program).args(args), "")).with_context(|| format!("in namespace {}", self.name))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if self.ours {
            settle(&Debt::Netns(self.name.clone()));
        }
    }
}

/// Run to the end with this standard input; an error carries what was printed.
pub fn run(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input is fine.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {stdout}{stderr}", output.status);
    }
    Ok(stdout)
}
