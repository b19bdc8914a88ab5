//! VLANs.

use std::fmt;

/// The tag of a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VlanTag {
    /// 1 to 4094.
    pub id: u16,
    /// Of 802.1ad, not of 802.1Q.
    pub is_ad: bool,
}

impl fmt::Display for VlanTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.is_ad { "802.1ad" } else { "802.1Q" }, self.id)
    }
}
