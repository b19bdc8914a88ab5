//! Which groups' frames a device takes.

use super::MacAddr;

/// Of `224.0.0.1`, which every host listens to (RFC 1112).
const ALL_HOSTS4: [u8; 6] = [0x01, 0x00, 0x5e, 0, 0, 1];
/// Of `ff02::1` (RFC 2464).
const ALL_NODES6: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// What the MAC of an IPv4 group begins with (RFC 1112, section 6.4); the next bit
/// is zero.
const IP4: [u8; 3] = [0x01, 0x00, 0x5e];
/// The same of an IPv6 group (RFC 2464, section 7).
const IP6: [u8; 2] = [0x33, 0x33];
/// Of the groups by which neighbours are asked for.
const SOLICITED6: [u8; 3] = [0x33, 0x33, 0xff];

/// A card's filter of multicast frames: by MAC, as cards have it. Groups that
/// share a MAC come together; the kernel tells them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Every group, whatever is listed.
    all: bool,
    /// In their order.
    macs: Vec<MacAddr>,
    /// Whether IPv4 groups share the MAC of the one that every host has, such as
    /// `225.0.0.1`.
    shared4: bool,
    /// The same of IPv6 groups, such as `ff05::1`.
    shared6: bool,
}

impl Groups {
    /// Those, or every one. Each with how many want it: groups of one MAC, and
    /// devices stacked on this one.
    pub fn new(all: bool, macs: Vec<(MacAddr, u32)>) -> Self {
        let is_shared = |usual| macs.iter().any(|(mac, users)| mac.0 == usual && *users > 1);
        let (shared4, shared6) = (is_shared(ALL_HOSTS4), is_shared(ALL_NODES6));
        let mut macs: Vec<MacAddr> = macs.into_iter().map(|(mac, _)| mac).collect();
        macs.sort_unstable_by_key(|mac| mac.0);
        macs.dedup();
        Self { all, macs, shared4, shared6 }
    }

    /// Whether frames to this MAC are taken. It is one of a group.
    pub fn takes(&self, mac: MacAddr) -> bool {
        self.all || self.macs.binary_search_by_key(&mac.0, |mac| mac.0).is_ok()
    }

    /// Whether there are IPv4 groups beside the one that every host has.
    pub fn has_ip4(&self) -> bool {
        let is_more = self.all || self.shared4;
        is_more || self.macs.iter().any(|mac| mac.0.starts_with(&IP4) && mac.0 != ALL_HOSTS4)
    }

    /// Whether there are IPv6 groups beside those that every host has.
    pub fn has_ip6(&self) -> bool {
        let is_usual = |mac: &MacAddr| mac.0 == ALL_NODES6 || mac.0.starts_with(&SOLICITED6);
        let is_more = self.all || self.shared6;
        is_more || self.macs.iter().any(|mac| mac.0.starts_with(&IP6) && !is_usual(mac))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn groups(all: bool, macs: &[&str]) -> Groups {
        Groups::new(all, macs.iter().map(|mac| (mac.parse().unwrap(), 1)).collect())
    }

    fn takes(groups: &Groups, mac: &str) -> bool {
        groups.takes(mac.parse().unwrap())
    }

    #[test]
    fn what_every_host_listens_to_is_nothing_special() {
        let usual = groups(false, &["33:33:ff:00:00:10", "33:33:00:00:00:01", "01:00:5e:00:00:01"]);
        assert!(!usual.has_ip4() && !usual.has_ip6());
        assert!(takes(&usual, "33:33:00:00:00:01") && !takes(&usual, "33:33:00:00:12:34"));
        assert!(groups(false, &["01:00:5e:01:02:03"]).has_ip4());
        assert!(groups(false, &["33:33:00:00:12:34"]).has_ip6());
        assert!(!groups(false, &["01:80:c2:00:00:0e"]).has_ip4(), "LLDP");
        assert!(!Groups::default().has_ip6());
    }

    #[test]
    fn groups_that_share_the_mac_of_the_usual_one_are_more() {
        let wanted = |mac: &str, users| Groups::new(false, vec![(mac.parse().unwrap(), users)]);
        let (ip4, ip6) = ("01:00:5e:00:00:01", "33:33:00:00:00:01");
        assert!(wanted(ip4, 2).has_ip4() && !wanted(ip4, 2).has_ip6());
        assert!(wanted(ip6, 2).has_ip6() && !wanted(ip6, 2).has_ip4());
        assert_ne!(wanted(ip4, 2), wanted(ip4, 1), "VPP is told");
        assert!(!wanted("33:33:ff:00:00:10", 2).has_ip6(), "two addresses of one end");
    }

    #[test]
    fn a_device_that_takes_all_takes_what_is_not_listed() {
        let all = groups(true, &[]);
        assert!(all.has_ip4() && all.has_ip6() && takes(&all, "01:00:5e:7f:00:01"));
    }

    #[test]
    fn the_order_is_nobodys_business() {
        let (one, two) = ("33:33:00:00:12:34", "01:00:5e:01:02:03");
        assert_eq!(groups(false, &[one, two, one]), groups(false, &[two, one]));
    }
}
