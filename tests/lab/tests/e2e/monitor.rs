//! The emulated machine's own monitor (QEMU's QMP), reached from inside: what
//! `tests/vm/run` puts behind a port of virtio-serial. It plugs and unplugs
//! cards as a hypervisor does.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::time::left;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

/// The port's name.
const PORT: &str = "hostnet.monitor";

/// As long as the machine runs: QMP begins once.
static SESSION: Mutex<Option<Session>> = Mutex::new(None);

/// Unplug the device of that name, as somebody would who pushes the slot's
/// button: the kernel is asked for it. Does not wait for its end.
pub(crate) fn unplug(id: &str, patience: Duration) -> Result<()> {
    within(patience, |session, deadline| session.execute("device_del", &json!({ "id": id }), deadline))
}

/// Wait until it is unplugged: the kernel has let it go, QEMU has ended it.
pub(crate) fn await_unplugged(id: &str, patience: Duration) -> Result<()> {
    within(patience, |session, deadline| {
        while !session.gone.iter().any(|gone| gone == id) {
            session.line(deadline).with_context(|| format!("QEMU has not ended {id}"))?;
        }
        session.gone.retain(|gone| gone != id);
        Ok(())
    })
}

/// Plug a device in; the words are those of QEMU's `-device`.
pub(crate) fn plug(device: &Value, patience: Duration) -> Result<()> {
    within(patience, |session, deadline| session.execute("device_add", device, deadline))
}

fn within<T>(patience: Duration, work: impl FnOnce(&mut Session, Instant) -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    let mut held = SESSION.lock().unwrap_or_else(PoisonError::into_inner);
    let session = match held.as_mut() {
        Some(session) => session,
        None => held.insert(Session::begin(deadline).context("QEMU's monitor")?),
    };
    work(session, deadline)
}

struct Session {
    port: File,
    /// What was read and is not a whole line yet.
    rest: Vec<u8>,
    /// Devices that QEMU has told the end of.
    gone: Vec<String>,
}

impl Session {
    fn begin(deadline: Instant) -> Result<Self> {
        let port = File::options().read(true).write(true).open(find()?)?;
        let mut session = Self { port, rest: Vec::new(), gone: Vec::new() };
        // Out of its greeting's mode.
        session.execute("qmp_capabilities", &json!({}), deadline)?;
        Ok(session)
    }

    fn execute(&mut self, command: &str, arguments: &Value, deadline: Instant) -> Result<()> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string() + "\n";
        self.port.write_all(line.as_bytes())?;
        loop {
            let said = self.line(deadline).with_context(|| command.to_owned())?;
            ensure!(said["error"].is_null(), "{command} {arguments}: {}", said["error"]);
            if !said["return"].is_null() {
                return Ok(());
            }
        }
    }

    /// The next line; a device's end is remembered.
    fn line(&mut self, deadline: Instant) -> Result<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let said: Value =
                    serde_json::from_slice(&line).with_context(|| String::from_utf8_lossy(&line).into_owned())?;
                if said["event"] == "DEVICE_DELETED" {
                    self.gone.extend(said["data"]["device"].as_str().map(str::to_owned));
                }
                return Ok(said);
            }
            let mut files = [PollFd::new(self.port.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut files, PollTimeout::try_from(left(deadline)).unwrap_or(PollTimeout::MAX))?;
            ensure!(ready > 0, "no answer in time");
            let mut chunk = [0_u8; 4096];
            match self.port.read(&mut chunk)? {
                0 => bail!("it was closed"),
                n => self.rest.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            }
        }
    }
}

fn find() -> Result<std::path::PathBuf> {
    for entry in std::fs::read_dir("/sys/class/virtio-ports")?.flatten() {
        if std::fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT) {
            return Ok(std::path::Path::new("/dev").join(entry.file_name()));
        }
    }
    bail!("no port {PORT}: 'tests/vm/run' makes it")
}
