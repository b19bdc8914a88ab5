//! Who uses an interface now, and what a takeover would interrupt. Looks only.

mod kernel;
mod managers;
mod sockets;
mod systemd;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::error::Error;
use super::netns::NetnsFile;
use crate::model::{IfName, MacAddr};

/// Who uses an interface, in words for the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Who has it or stands on it: routes, ports, stacked devices, programs.
    pub users: Vec<String>,
    /// What a takeover interrupts, or ends.
    pub interrupted: Vec<String>,
    /// The network managers in charge of it.
    pub managers: Vec<String>,
    /// What to mind: a manager that would not know the host's new device, a
    /// rule that would change it.
    pub warnings: Vec<String>,
}

/// What the files of managers are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Appearance {
    /// Its name.
    pub name: String,
    /// The kernel's index of it, by which managers name their state files.
    pub index: u32,
    /// Its MAC.
    pub mac: Option<MacAddr>,
    /// The MAC that it was made with, where it has one.
    pub permanent_mac: Option<MacAddr>,
    /// The driver, as ethtool names it.
    pub driver: Option<String>,
    /// Where it is plugged in, in udev's words (`ID_PATH`).
    pub path: Option<String>,
    /// What made it (`IFLA_INFO_KIND`); `None` for hardware.
    pub kind: Option<String>,
}

impl Appearance {
    /// What the host's device looks like in its place: the same name and MAC,
    /// made by the TUN/TAP driver, plugged in nowhere.
    fn of_tap(&self) -> Self {
        Self {
            permanent_mac: None,
            driver: Some("tun".to_owned()),
            path: None,
            kind: Some("tun".to_owned()),
            ..self.clone()
        }
    }
}

/// Who uses the interface of that name in that namespace. `root` is where the
/// files of the machine are (`/run/systemd`, `/etc`, `/proc` and the like).
///
/// What cannot be looked at is a warning, not an error. Not seen are programs
/// of tcx (BPF links) and devices stacked on it in other namespaces.
pub fn usage(netns: &NetnsFile, name: &IfName, root: &Path) -> Result<Usage, Error> {
    let guard = netns.enter()?;
    let seen = look(name, root);
    guard.leave()?;
    let (appearance, mut usage) = seen?;
    managers::find(root, &appearance, &mut usage);
    Ok(usage)
}

/// In the calling thread's namespace.
fn look(name: &IfName, root: &Path) -> Result<(Appearance, Usage), Error> {
    let mut usage = Usage::default();
    let (appearance, addresses) = kernel::look(name, root, &mut usage)?;
    let owners = sockets::Owners::of(root);
    match sockets::inet() {
        Ok(sockets) => sockets::say(&sockets, appearance.index, &addresses, &owners, &mut usage),
        Err(error) => usage.warnings.push(format!("open sockets are not known: {error}")),
    }
    sockets::packet(root, appearance.index, &owners, &mut usage);
    Ok((appearance, usage))
}
