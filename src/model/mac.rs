//! Ethernet addresses.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not six hexadecimal bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a MAC address; write it as 02:fe:12:34:56:78")]
pub struct MacError(String);

/// An Ethernet (MAC) address, in wire order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// Whether every byte is zero: no address set.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 6]
    }

    /// The IPv6 link-local address that is made of it (RFC 4291, appendix A).
    pub fn link_local(&self) -> Ipv6Addr {
        let mut bytes = [0; 16];
        (bytes[0], bytes[1], bytes[11], bytes[12]) = (0xfe, 0x80, 0xff, 0xfe);
        bytes[8..11].copy_from_slice(&self.0[..3]);
        bytes[13..].copy_from_slice(&self.0[3..]);
        bytes[8] ^= 2;
        bytes.into()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0_u8; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            *byte = parts
                .next()
                // from_str_radix takes a sign as well.
                .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| MacError(text.to_owned()))?;
        }
        if parts.next().is_some() {
            return Err(MacError(text.to_owned()));
        }
        Ok(Self(bytes))
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_made_of_it() {
        let mac = MacAddr([2, 0, 0x5e, 0, 0, 0x10]);
        assert_eq!(mac.link_local().to_string(), "fe80::5eff:fe00:10");
    }

    #[test]
    fn text_and_back() {
        let mac = MacAddr([2, 0xfe, 0, 1, 0x2a, 0xff]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        assert!("02:fe:00:01:2a".parse::<MacAddr>().is_err());
        assert!("02:fe:00:01:2a:ff:00".parse::<MacAddr>().is_err());
        assert!("02:fe:00:01:2a:+f".parse::<MacAddr>().is_err());
    }
}
