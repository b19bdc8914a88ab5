//! Prefixes and interface addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{AddrParseError, IpNet};
use serde::Serialize;

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not `address/length`.
    #[error("'{0}' is not a prefix; write it as 10.96.0.0/12 or fd00:10:96::/112")]
    Syntax(String),
    /// The address has bits set beyond the prefix length.
    #[error("'{text}' has host bits set; the prefix is {prefix}")]
    HostBits {
        /// As the user wrote it.
        text: String,
        /// What it would be without the host bits.
        prefix: Prefix,
    },
}

/// A prefix without host bits, as in a routing table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

impl Prefix {
    /// The prefix that `addr/len` lies in; host bits are cleared. `None` when
    /// `len` exceeds the family's address length.
    pub fn containing(addr: IpAddr, len: u8) -> Option<Self> {
        IpNet::new(addr, len).ok().map(|net| Self(net.trunc()))
    }

    /// The network address.
    pub fn addr(&self) -> IpAddr {
        self.0.addr()
    }

    /// The prefix length, in bits.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether this is `0.0.0.0/0` or `::/0`.
    pub fn is_default(&self) -> bool {
        self.0.prefix_len() == 0
    }

    /// Whether the prefix is of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.0.addr().is_ipv4()
    }

    /// The one address that the prefix is, if it is one.
    pub fn host(&self) -> Option<IpAddr> {
        (self.0.prefix_len() == self.0.max_prefix_len()).then(|| self.addr())
    }

    /// Whether `addr` lies in the prefix.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.0.contains(&addr)
    }

    /// The first address behind the network address that is not in `taken`,
    /// IPv4's broadcast address left out. `None` for a host prefix.
    pub fn first_host_except(&self, taken: &[IpAddr]) -> Option<IpAddr> {
        if self.host().is_some() {
            return None;
        }
        // `hosts()` of IPv6 begins at the subnet-router anycast address.
        self.0.hosts().find(|host| *host != self.0.addr() && !taken.contains(host))
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net: IpNet = text.parse().map_err(|_| PrefixError::Syntax(text.to_owned()))?;
        let prefix = Self(net.trunc());
        if net.addr() == prefix.addr() {
            Ok(prefix)
        } else {
            Err(PrefixError::HostBits { text: text.to_owned(), prefix })
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Prefix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The length of a prefix that is this one address, in bits.
pub fn host_len(addr: IpAddr) -> u8 {
    IpNet::from(addr).prefix_len()
}

/// An address of an interface with the length of its on-link prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfAddress(IpNet);

impl IfAddress {
    /// `None` when `prefix_len` exceeds the family's address length.
    pub fn new(addr: IpAddr, prefix_len: u8) -> Option<Self> {
        IpNet::new(addr, prefix_len).ok().map(Self)
    }

    /// The address itself.
    pub fn addr(&self) -> IpAddr {
        self.0.addr()
    }

    /// The length of the on-link prefix, in bits.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// The on-link prefix.
    pub fn prefix(&self) -> Prefix {
        Prefix(self.0.trunc())
    }

    /// Whether this is an IPv6 link-local address (fe80::/10, RFC 4291 2.5.6).
    pub fn is_link_local6(&self) -> bool {
        matches!(self.addr(), IpAddr::V6(a) if a.is_unicast_link_local())
    }
}

/// `address/length`. The error says what of it is not.
impl FromStr for IfAddress {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for IfAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for IfAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for IfAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_prefix_is_one_address() {
        let host = |text: &str| text.parse::<Prefix>().map(|prefix| prefix.host());
        for (text, len) in [("192.0.2.1", 32), ("2001:db8::1", 128)] {
            let addr: Result<IpAddr, _> = text.parse();
            assert_eq!(host(&format!("{text}/{len}")), Ok(addr.clone().ok()));
            assert_eq!(addr.map(host_len), Ok(len));
        }
        for text in ["192.0.2.0/31", "2001:db8::/127", "0.0.0.0/0", "2001:db8::/32"] {
            assert_eq!(host(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_prefix_with_host_bits_is_refused_and_the_right_one_named() {
        let err = "10.96.0.1/12".parse::<Prefix>().map_err(|e| e.to_string());
        assert_eq!(err, Err("'10.96.0.1/12' has host bits set; the prefix is 10.96.0.0/12".to_owned()));
        assert!("10.96.0.0".parse::<Prefix>().is_err());
        assert!("10.0.0.0/33".parse::<Prefix>().is_err());
        assert!("fd00::/64".parse::<Prefix>().is_ok());
    }

    #[test]
    fn the_first_free_neighbour_skips_network_own_and_broadcast() {
        let net = Prefix::containing(IpAddr::from([10, 0, 0, 9]), 30);
        let own = [IpAddr::from([10, 0, 0, 9])];
        assert_eq!(net.and_then(|n| n.first_host_except(&own)), Some(IpAddr::from([10, 0, 0, 10])));
        let host = Prefix::containing(IpAddr::from([10, 0, 0, 9]), 32);
        assert_eq!(host.and_then(|n| n.first_host_except(&own)), None);
        let six: Option<Prefix> = "fd00::/64".parse().ok();
        let first: Option<IpAddr> = "fd00::1".parse().ok();
        assert_eq!(six.and_then(|n| n.first_host_except(&[])), first);
    }
}
