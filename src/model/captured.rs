//! What Linux had on an interface, kept so that it can be given back.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{IfName, MacAddr};

/// Everything that Linux had on one interface.
///
/// Addresses, routes, rules, next-hop objects and neighbours are kept as the
/// kernel dumped them, so that nothing is lost that we have no word for; the
/// interface numbers in them are those of the capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// When, in whole seconds since boot (`CLOCK_BOOTTIME`): lifetimes in the
    /// messages are those that remained then.
    #[serde(default)]
    pub taken_at: u64,
    /// The device itself.
    pub link: CapturedLink,
    /// Its addresses (`RTM_NEWADDR`), in the kernel's own order: a primary
    /// address before its secondary ones.
    pub addresses: Vec<RawMessage>,
    /// Next-hop objects (`RTM_NEWNEXTHOP`) that name the device, then the
    /// groups that are made of them.
    pub nexthops: Vec<RawMessage>,
    /// Routes (`RTM_NEWROUTE`) of all tables and both families through the
    /// device, but for those that the kernel makes from the addresses by
    /// itself, and ours.
    pub routes: Vec<RawMessage>,
    /// Routes that the kernel would make from the addresses by itself, and
    /// that were not there (`RTM_DELROUTE`).
    #[serde(default)]
    pub absent_routes: Vec<RawMessage>,
    /// Policy rules (`RTM_NEWRULE`) that name the device.
    pub rules: Vec<RawMessage>,
    /// Permanent neighbours and neighbour proxies (`RTM_NEWNEIGH`).
    pub neighbours: Vec<RawMessage>,
    /// The device's own sysctls below `net`, such as `ipv4/conf/rp_filter`
    /// (the device's name left out), with their values. Without
    /// `addr_gen_mode`, which the link has.
    pub sysctls: BTreeMap<String, String>,
    /// Where the device is on the PCI bus, if it is on it.
    pub pci: Option<PciDevice>,
}

/// The sysctl that follows the device's MTU unless it was set lower.
const IP6_MTU: &str = "ipv6/conf/mtu";

impl Captured {
    /// A device with nothing on it, captured at boot.
    pub fn new(link: CapturedLink) -> Self {
        Self {
            taken_at: 0,
            link,
            addresses: Vec::new(),
            nexthops: Vec::new(),
            routes: Vec::new(),
            absent_routes: Vec::new(),
            rules: Vec::new(),
            neighbours: Vec::new(),
            sysctls: BTreeMap::new(),
            pci: None,
        }
    }

    /// What the device is to have when it comes home: all that the TAP device
    /// in its place carried last, but what a TAP device cannot stand for (MAC,
    /// MTU, kind, VLAN, master, PCI).
    #[must_use]
    pub fn carried_by(&self, tap: Self) -> Self {
        let device = self.link.clone();
        let mut carried = Self { pci: self.pci.clone(), ..tap };
        if carried.follows_mtu(IP6_MTU)
            && let Some(mtu) = carried.sysctls.get_mut(IP6_MTU)
        {
            *mtu = device.mtu.to_string();
        }
        carried.link = CapturedLink {
            // The messages are the TAP device's, and so is the number in them.
            index: carried.link.index,
            up: carried.link.up,
            promisc: carried.link.promisc,
            allmulti: carried.link.allmulti,
            alias: carried.link.alias,
            altnames: carried.link.altnames,
            txqlen: carried.link.txqlen,
            group: carried.link.group,
            addr_gen_mode: carried.link.addr_gen_mode,
            token: carried.link.token,
            ..device
        };
        carried
    }

    /// Whether a sysctl is no setting, but the device's MTU.
    pub fn follows_mtu(&self, key: &str) -> bool {
        key == IP6_MTU && self.sysctls.get(key).is_some_and(|value| *value == self.link.mtu.to_string())
    }
}

/// A network device as it was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedLink {
    /// Its name.
    pub name: IfName,
    /// The kernel's index of it, in the namespace of the capture.
    pub index: u32,
    /// Its MAC.
    pub mac: MacAddr,
    /// The MAC that it was made with, where the kernel knows it.
    pub permanent_mac: Option<MacAddr>,
    /// Its MTU, in bytes.
    pub mtu: u32,
    /// Set up by its administrator.
    pub up: bool,
    /// Made promiscuous by its administrator (`ip link set promisc on`), not
    /// by whoever listens on it.
    pub promisc: bool,
    /// Likewise, all multicast.
    pub allmulti: bool,
    /// Its alias.
    pub alias: Option<String>,
    /// Its alternative names.
    pub altnames: Vec<String>,
    /// Length of its transmit queue, in packets.
    pub txqlen: Option<u32>,
    /// Its group.
    pub group: u32,
    /// How the kernel makes its IPv6 link-local address (`IN6_ADDR_GEN_MODE_*`).
    pub addr_gen_mode: Option<u8>,
    /// The interface identifier that it takes in prefixes that routers
    /// announce (`ip token`), where one was set.
    #[serde(default)]
    pub token: Option<Ipv6Addr>,
    /// What made it, such as `veth`; `None` for hardware.
    pub kind: Option<String>,
    /// The VLAN id, where it is a VLAN.
    pub vlan_id: Option<u16>,
    /// Index of the device that it is stacked on (`IFLA_LINK`), where that is
    /// in the same namespace.
    pub parent: Option<u32>,
    /// The bridge, bond or VRF that it is a port of: index and name.
    pub master: Option<(u32, String)>,
}

impl CapturedLink {
    /// A device that is up and has nothing but these.
    pub fn new(name: IfName, index: u32, mac: MacAddr, mtu: u32) -> Self {
        Self {
            name,
            index,
            mac,
            permanent_mac: None,
            mtu,
            up: true,
            promisc: false,
            allmulti: false,
            alias: None,
            altnames: Vec::new(),
            txqlen: None,
            group: 0,
            addr_gen_mode: None,
            token: None,
            kind: None,
            vlan_id: None,
            parent: None,
            master: None,
        }
    }
}

/// A device on the PCI bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciDevice {
    /// Its address, `domain:bus:slot.function`, such as `0000:d8:0a.0`.
    pub address: String,
    /// The kernel's driver of it.
    pub driver: Option<String>,
    /// Its `driver_override`, where one was set.
    pub driver_override: Option<String>,
}

/// The body of a netlink message: its fixed part and its attributes, without
/// the netlink header, in the host's byte order. Written as hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawMessage(pub Vec<u8>);

impl fmt::Debug for RawMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits())
    }
}

impl RawMessage {
    fn digits(&self) -> String {
        self.0.iter().fold(String::with_capacity(self.0.len() * 2), |mut text, byte| {
            for half in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(half), 16));
            }
            text
        })
    }
}

impl Serialize for RawMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.digits())
    }
}

impl<'de> Deserialize<'de> for RawMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom("a message is written as pairs of hexadecimal digits");
        if text.len() % 2 != 0 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let byte = |at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        (0..text.len()).step_by(2).map(byte).collect::<Option<_>>().map(Self).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn captured(name: &str, index: u32, mtu: u32, ip6_mtu: u32) -> Captured {
        let json = format!(
            r#"{{"link": {{"name": "{name}", "index": {index}, "mac": "02:00:00:00:00:{index:02}", "permanent_mac": null,
                "mtu": {mtu}, "up": true, "promisc": false, "allmulti": false, "alias": "{name}", "altnames": [],
                "txqlen": 1000, "group": 0, "addr_gen_mode": 0, "kind": null, "vlan_id": null, "parent": null,
                "master": null}},
                "addresses": [], "nexthops": [], "routes": ["0{index}"], "rules": [], "neighbours": [],
                "sysctls": {{"ipv6/conf/mtu": "{ip6_mtu}"}}, "pci": null}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn what_the_tap_carried_goes_home_on_the_devices_own_identity() {
        let device = captured("eth0", 3, 9000, 9000);
        let home = device.carried_by(captured("tap", 7, 1500, 1500));
        assert_eq!((home.link.name.as_str(), home.link.mac, home.link.mtu), ("eth0", device.link.mac, 9000));
        assert_eq!((home.link.index, home.link.alias.as_deref()), (7, Some("tap")));
        assert_eq!(home.routes, [RawMessage(vec![7])]);
        assert_eq!(home.sysctls["ipv6/conf/mtu"], "9000");
        // A lower one was set by somebody.
        let home = device.carried_by(captured("tap", 7, 1500, 1300));
        assert_eq!(home.sysctls["ipv6/conf/mtu"], "1300");
    }

    #[test]
    fn messages_are_written_as_digits_and_read_back() {
        let message = RawMessage(vec![0, 1, 0x7f, 0xff]);
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(text, "\"00017fff\"");
        assert_eq!(serde_json::from_str::<RawMessage>(&text).unwrap(), message);
        for bad in ["\"0\"", "\"0g\"", "\"+1\"", "\"é0\"", "7"] {
            assert!(serde_json::from_str::<RawMessage>(bad).is_err(), "{bad}");
        }
    }
}
