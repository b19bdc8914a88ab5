//! Names of Linux network devices.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Longest name of a network device, in bytes (IFNAMSIZ less the NUL,
/// linux/if.h).
pub const IFNAME_MAX: usize = 15;

/// Why a text is not a device name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IfNameError {
    /// Longer than the kernel takes.
    #[error("device name '{0}' has {len} bytes; Linux takes at most {IFNAME_MAX}", len = .0.len())]
    TooLong(String),
    /// A name that the kernel refuses (dev_valid_name in net/core/dev.c).
    #[error("'{0}' is not a device name; Linux takes no empty name, '.', '..', '/', ':', '%' or white space")]
    Invalid(String),
}

/// The name of a Linux network device: 1 to 15 bytes that the kernel accepts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct IfName(String);

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = IfNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > IFNAME_MAX {
            return Err(IfNameError::TooLong(text.to_owned()));
        }
        // '%' is a template for dev_alloc_name: a fixed name never holds one.
        let bad = |c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text == "." || text == ".." || text.contains(bad) {
            return Err(IfNameError::Invalid(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for IfName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_refuses_are_refused() {
        for bad in ["", ".", "..", "a/b", "a b", "a:1", "eth%d", "sixteen-bytes-xx"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad}");
        }
        assert!("enp216s0f1np1ab".parse::<IfName>().is_ok());
    }
}
