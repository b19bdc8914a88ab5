//! Routing daemons in namespaces of the lab: FRR on the host, BIRD for whoever
//! it talks to. Files and sockets of their own, so that they run beside the
//! machine's; ended with what holds them.

use std::fs::File;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{User, chown};

use crate::netns::{Netns, run};
use crate::process::Process;
use crate::time::{secs, until};

/// What each speaker of BGP is told: quick to come up, never restarted softly.
const BIRD_DEVICES: &str = "protocol device { scan time 1; }\n";

/// BIRD's configuration for BGP of both families: as 65001 it announces all that
/// it has, by its own addresses, to `peer`, which is 65002; it takes nothing.
pub fn bird_bgp(own: (&str, &str), peer: &str) -> String {
    let (own4, own6) = own;
    format!(
        "router id {own4};
         protocol bgp host {{
           local {own4} as 65001;
           neighbor {peer} as 65002;
           connect retry time 1;
           connect delay time 1;
           error wait time 1, 2;
           ipv4 {{ import none; export all; next hop self; }};
           ipv6 {{ import none; export all; next hop address {own6}; }};
         }}\n"
    )
}

/// FRR's for the other side of [`bird_bgp`].
pub fn frr_bgp(own: &str, peer: &str) -> String {
    format!(
        "router bgp 65002
 bgp router-id {own}
 no bgp ebgp-requires-policy
 neighbor {peer} remote-as 65001
 neighbor {peer} timers connect 1
 neighbor {peer} advertisement-interval 0
 address-family ipv6 unicast
  neighbor {peer} activate
 exit-address-family
"
    )
}

/// Start a program with its words in a file.
fn start(netns: &Netns, log: &Path, program: &str, arguments: &[&str]) -> Result<Process> {
    let out = File::create(log)?;
    let err = out.try_clone()?;
    Process::start(netns, program, arguments, move |command| {
        command.stdin(Stdio::null()).stdout(out).stderr(err);
    })
}

/// SIGTERM and its end.
fn stop(process: &mut Process) -> Result<()> {
    process.signal(Signal::SIGTERM)?;
    process.wait(secs(60)).map(drop)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// BIRD.
#[derive(Debug)]
pub struct Bird {
    process: Process,
    dir: PathBuf,
}

impl Bird {
    /// With this configuration, its files in a new directory.
    pub fn start(netns: &Netns, dir: &Path, config: &str) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let conf = dir.join("bird.conf");
        std::fs::write(&conf, format!("{BIRD_DEVICES}{config}"))?;
        let socket = dir.join("bird.ctl");
        let pid = dir.join("bird.pid");
        let arguments = ["-f", "-c", text(&conf)?, "-s", text(&socket)?, "-P", text(&pid)?];
        let process = start(netns, &dir.join("bird.out"), "bird", &arguments)?;
        let bird = Self { process, dir: dir.to_owned() };
        until("BIRD answers", secs(60), || bird.ctl("show status").map(Some))
            .with_context(|| std::fs::read_to_string(dir.join("bird.out")).unwrap_or_default())?;
        Ok(bird)
    }

    /// A command of `birdc`.
    pub fn ctl(&self, command: &str) -> Result<String> {
        let socket = self.dir.join("bird.ctl");
        let mut birdc = Command::new("birdc");
        birdc.arg("-s").arg(socket).args(command.split(' '));
        run(&mut birdc, "")
    }

    /// Go on with another configuration.
    pub fn configure(&self, config: &str) -> Result<()> {
        std::fs::write(self.dir.join("bird.conf"), format!("{BIRD_DEVICES}{config}"))?;
        let said = self.ctl("configure")?;
        ensure!(said.contains("Reconfigur"), "BIRD says: {said}");
        Ok(())
    }

    /// End it in good order.
    pub fn stop(mut self) -> Result<()> {
        stop(&mut self.process)
    }
}

/// FRR: zebra and the daemons of protocols.
#[derive(Debug)]
pub struct Frr {
    // Those of protocols first, as they are to end; zebra is the last.
    daemons: Vec<Process>,
    dir: PathBuf,
}

impl Frr {
    /// BGP with this configuration, its files in a new directory.
    pub fn start(netns: &Netns, dir: &Path, config: &str) -> Result<Self> {
        Self::start_with(netns, dir, config, &["bgpd"])
    }

    /// The same with these daemons.
    pub fn start_with(netns: &Netns, dir: &Path, config: &str, protocols: &[&str]) -> Result<Self> {
        // They run as a user of their own.
        let user = User::from_name("frr")?.context("there is no user 'frr': tests/setup routing")?;
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        // They begin with nothing: vtysh knows whose each word is.
        let (conf, nothing) = (dir.join("frr.conf"), dir.join("nothing.conf"));
        std::fs::write(&conf, config)?;
        std::fs::write(&nothing, "")?;
        for path in [dir, &nothing] {
            chown(path, Some(user.uid), Some(user.gid))?;
        }
        let daemon = |name: &str| {
            let pid = dir.join(format!("{name}.pid"));
            let words = ["-f", text(&nothing)?, "-i", text(&pid)?, "-z", text(&dir.join("zserv"))?].map(str::to_owned);
            let more = ["--vty_socket", text(dir)?, "-P", "0", "--log", "stdout"].map(str::to_owned);
            let mut words: Vec<String> = words.into_iter().chain(more).collect();
            if name == "bfdd" {
                // It has a second socket.
                words.extend(["--bfdctl".to_owned(), format!("unix:{}", text(&dir.join("bfdd.sock"))?)]);
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            start(netns, &dir.join(format!("{name}.out")), &format!("/usr/lib/frr/{name}"), &words)
        };
        let last_words = |name: &str| std::fs::read_to_string(dir.join(format!("{name}.out"))).unwrap_or_default();
        let mut frr = Self { daemons: vec![daemon("zebra")?], dir: dir.to_owned() };
        until("zebra answers", secs(20), || Ok(dir.join("zserv").exists().then_some(())))
            .with_context(|| last_words("zebra"))?;
        for name in protocols {
            frr.daemons.insert(0, daemon(name)?);
        }
        for name in protocols {
            until(&format!("{name} answers"), secs(20), || frr.ask(name, "show version").map(Some))
                .with_context(|| last_words(name))?;
        }
        frr.vtysh(&["-f", text(&conf)?])?;
        Ok(frr)
    }

    /// A command of `vtysh`.
    pub fn ctl(&self, command: &str) -> Result<String> {
        self.vtysh(&["-c", command])
    }

    /// Commands of its configuration, a line each.
    pub fn configure(&self, commands: &str) -> Result<()> {
        let words = std::iter::once("configure terminal").chain(commands.lines());
        let words: Vec<&str> = words.flat_map(|line| ["-c", line]).collect();
        self.vtysh(&words).map(drop)
    }

    fn ask(&self, daemon: &str, command: &str) -> Result<String> {
        self.vtysh(&["-d", daemon, "-c", command])
    }

    fn vtysh(&self, words: &[&str]) -> Result<String> {
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(&self.dir).args(words);
        run(&mut vtysh, "")
    }

    /// End all in good order: zebra takes its routes out of the kernel.
    pub fn stop(mut self) -> Result<()> {
        self.daemons.iter_mut().try_for_each(stop)
    }
}
