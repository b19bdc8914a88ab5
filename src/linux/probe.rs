//! Could the host's device be made? Looks, and leaves nothing behind.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::errno::Errno;
use nix::libc;

use super::client::Netlink;
use super::error::Error;
use super::netns::NetnsFile;
use super::tun;
use crate::engine::LinuxFacts;
use crate::model::{IfName, Netns};

const DEV_VHOST_NET: &str = "/dev/vhost-net";

/// Every reason on Linux's side for which the host's device of that name
/// cannot be made in that namespace.
pub fn probe(netns: &Netns, name: Option<&IfName>) -> LinuxFacts {
    let checks = [target(netns, name), staging()];
    let refusals = checks.into_iter().filter_map(Result::err).collect();
    LinuxFacts { refusals, vhost_missing: vhost_missing(), kept: None }
}

/// Whether the namespace is there and the name free in it.
fn target(netns: &Netns, name: Option<&IfName>) -> Result<(), String> {
    let file = NetnsFile::open(netns).map_err(|error| format!("host-netns: {error}"))?;
    let mut netlink = Netlink::open_in(&file).map_err(|error| format!("host-netns {netns}: {error}"))?;
    let Some(name) = name else {
        return Ok(());
    };
    match netlink.link_by_name(name).map_err(|error| error.to_string())? {
        None => Ok(()),
        Some(link) => {
            let kind = link.kind.map(|kind| format!(" of kind {kind}")).unwrap_or_default();
            let place = place(netns);
            Err(format!(
                "device name {name} is taken in {place} (device number {}{kind}): rename that device, \
                 or use 'host-if <name>' or 'host-netns'",
                link.index
            ))
        }
    }
}

/// The namespace in words.
pub(super) fn place(netns: &Netns) -> String {
    match netns {
        Netns::Own => "the network namespace of VPP".to_owned(),
        _ => format!("network namespace {netns}"),
    }
}

/// Whether a TAP device can be made in a namespace of its own, by making one:
/// the answer of the kernel counts, not a list of capabilities.
fn staging() -> Result<(), String> {
    let attempt = || -> Result<(), Error> {
        let staging = NetnsFile::anonymous()?;
        let name = "hostnet-probe"
            .parse()
            .map_err(|error: crate::model::IfNameError| Error::new("probe", error.to_string()))?;
        let guard = staging.enter()?;
        let tap = tun::open(&name, false);
        guard.leave()?;
        tap.map(drop)
    };
    attempt().map_err(|error| error.to_string())
}

/// Why vhost-net cannot be used.
fn vhost_missing() -> Option<String> {
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEV_VHOST_NET);
    let error = match opened.and_then(|file| file.metadata()) {
        Ok(facts) if facts.file_type().is_char_device() => return None,
        Ok(_) => return Some(format!("{DEV_VHOST_NET} is no device")),
        Err(error) => error,
    };
    Some(match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV) => {
            format!("{DEV_VHOST_NET} is missing (module vhost_net)")
        }
        Some(errno) => format!("{DEV_VHOST_NET} cannot be opened: {}", errno.desc()),
        None => format!("{DEV_VHOST_NET} cannot be opened: {error}"),
    })
}
