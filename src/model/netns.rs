//! How a network namespace is named.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Why a text does not name a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' does not name a network namespace; write a name of 'ip netns', pid:N or /path")]
pub struct NetnsError(String);

/// A network namespace, named as VPP's own commands name it
/// (vppinfra/linux/netns.c).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Netns {
    /// The namespace that VPP runs in.
    #[default]
    Own,
    /// A name of `ip netns`, below `/var/run/netns`.
    Name(String),
    /// The namespace of a process.
    Pid(u32),
    /// A path to an nsfs file.
    Path(PathBuf),
}

impl Netns {
    /// The file that stands for the namespace, as seen by the calling thread.
    pub fn path(&self) -> PathBuf {
        match self {
            // Of the calling thread: VPP's main thread, which `/proc/self`
            // means, is elsewhere while it makes a tap.
            Self::Own => PathBuf::from("/proc/thread-self/ns/net"),
            Self::Name(name) => PathBuf::from("/var/run/netns").join(name),
            Self::Pid(pid) => PathBuf::from(format!("/proc/{pid}/ns/net")),
            Self::Path(path) => path.clone(),
        }
    }
}

impl FromStr for Netns {
    type Err = NetnsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let err = || NetnsError(text.to_owned());
        if let Some(pid) = text.strip_prefix("pid:") {
            return match pid.parse() {
                Ok(pid) if pid > 0 => Ok(Self::Pid(pid)),
                _ => Err(err()),
            };
        }
        if text.starts_with('/') {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        if text.is_empty() || text == "." || text == ".." || text.contains('/') {
            return Err(err());
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.pad("-"),
            Self::Name(name) => f.pad(name),
            Self::Pid(pid) => f.pad(&format!("pid:{pid}")),
            Self::Path(path) => f.pad(&path.to_string_lossy()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        assert_eq!("blue".parse(), Ok(Netns::Name("blue".to_owned())));
        assert_eq!("pid:7".parse(), Ok(Netns::Pid(7)));
        assert_eq!("/run/x".parse(), Ok(Netns::Path(PathBuf::from("/run/x"))));
        for bad in ["", "pid:", "pid:0", "pid:x", "a/b", ".."] {
            assert!(bad.parse::<Netns>().is_err(), "{bad}");
        }
    }
}
