//! Children that never outlive us.
//!
//! A child asks the kernel for SIGKILL when its parent dies (`setpriv
//! --pdeathsig`). The kernel means the parent *thread*, so all children are
//! started by one thread that lives as long as the process.

use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::time::{Duration, Instant};

use crate::cleanup::{Debt, owe, settled};
use crate::netns::Netns;

type Order = Box<dyn FnOnce() + Send>;

static NURSERY: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (tx, rx) = channel::<Order>();
    std::thread::spawn(move || {
        for order in rx {
            order();
        }
    });
    Mutex::new(tx)
});

/// A child process of ours; killed on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Start a program in a namespace. `dress` sets its files and
    /// environment.
    pub fn start(netns: &Netns, program: &str, args: &[&str], dress: impl FnOnce(&mut Command) + Send) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]).args(args);
        dress(&mut command);
        let there = File::open(format!("{}/{}", crate::cleanup::NETNS_DIR, netns.name()))?;
        let (tx, rx) = channel();
        let order: Order = Box::new(move || {
            // The receiver waits; it cannot be gone.
            let _ = tx.send(spawn_in(&there, &mut command));
        });
        NURSERY
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(order)
            .map_err(|_| anyhow!("the thread that starts children has ended"))?;
        let child = rx.recv()?.with_context(|| format!("cannot start {program}"))?;
        owe(Debt::Process(child.id().cast_signed()));
        Ok(Self { child })
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Send it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid()), signal)?)
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Wait for its end.
    pub fn wait(&mut self, timeout: Duration) -> Result<std::process::ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(anyhow!("process {} still runs after {timeout:?}", self.pid()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn spawn_in(there: &File, command: &mut Command) -> Result<Child> {
    let home = File::open("/proc/thread-self/ns/net")?;
    setns(there, CloneFlags::CLONE_NEWNET)?;
    let child = command.spawn();
    setns(&home, CloneFlags::CLONE_NEWNET)?;
    Ok(child?)
}

impl Drop for Process {
    fn drop(&mut self) {
        settled(&Debt::Process(self.pid()));
        // Both fail only when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
