//! Which devices can be taken over right. Pure.

use crate::model::CapturedLink;

/// Ethernet, by the kernel's number of a device's type (`ARPHRD_ETHER`,
/// linux/if_arp.h).
pub const ARPHRD_ETHER: u16 = 1;
/// `ARPHRD_LOOPBACK`.
const ARPHRD_LOOPBACK: u16 = 772;

/// How a device can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeable {
    /// Hardware: by any driver, those that take the card away included.
    Hardware,
    /// By a driver that leaves a network device only (af-packet): it has no
    /// card of its own.
    Netdev,
    /// A VLAN: the VLAN's own device goes, by a driver that leaves a network
    /// device; the kernel goes on tagging, the parent and its other VLANs stay
    /// with Linux. The parent must stay up, and cannot be taken itself
    /// meanwhile: that would cut this one off.
    Vlan {
        /// The parent's index, where it is in the same namespace.
        parent: Option<u32>,
        /// The VLAN's id.
        id: u16,
    },
}

/// How the device can be taken over, or why not, and what to do instead.
/// `hardware_type` is its `ARPHRD_*` number.
pub fn takeable(link: &CapturedLink, hardware_type: u16) -> Result<Takeable, String> {
    let name = &link.name;
    if hardware_type == ARPHRD_LOOPBACK {
        return Err(format!("{name} is the loopback device: no peer is behind it"));
    }
    if let Some((index, master)) = &link.master {
        let master = if master.is_empty() { format!("device number {index}") } else { master.clone() };
        return Err(format!(
            "{name} is a port of {master}, which would lose it, and its addresses are {master}'s: take it out first \
             (ip link set {name} nomaster)"
        ));
    }
    let how = match link.kind.as_deref() {
        None => Ok(Takeable::Hardware),
        Some("veth") => Ok(Takeable::Netdev),
        Some("vlan") => match link.vlan_id {
            Some(id) => Ok(Takeable::Vlan { parent: link.parent, id }),
            None => Err("a VLAN whose id the kernel does not tell".to_owned()),
        },
        Some("tun") => Err("a TUN/TAP device: what a program reads is not a wire; hostnet's own is one".to_owned()),
        Some("bridge") => {
            Err("a bridge: its ports would stay behind with nothing between them; move its addresses to \
                               a port, take that out of the bridge, and take it"
                .to_owned())
        }
        Some("bond" | "team") => {
            Err("a bond: a namespace of its own would part it from its ports; release a port from it and take that, \
                 or build the bond in VPP"
                .to_owned())
        }
        Some("vrf") => Err("a VRF: it is a routing table, not a wire; take its port".to_owned()),
        Some(kind @ ("macvlan" | "macvtap" | "ipvlan" | "ipvtap")) => Err(format!(
            "a {kind}: it shares a card with others, and its driver filters what VPP sends and receives; take the \
             card below it"
        )),
        Some("dummy" | "ifb" | "nlmon") => Err("a device without a wire: no packet comes of it".to_owned()),
        Some(kind @ ("vxlan" | "geneve" | "gretap" | "ip6gretap" | "macsec" | "batadv" | "hsr" | "netkit")) => {
            Err(format!(
                "a {kind}: it stands on other devices of this host and would be cut off from them; take the card below \
                 it, and build the tunnel in VPP"
            ))
        }
        Some(kind @ ("wireguard" | "gre" | "ip6gre" | "ipip" | "ip6tnl" | "sit" | "vti" | "vti6" | "xfrm")) => {
            Err(format!("a {kind}: it carries IP packets, not Ethernet frames; take the card below it"))
        }
        Some(kind) => Err(format!("a {kind}: it is not known to survive a takeover and the way back")),
    };
    let how = how.map_err(|why| format!("{name} is {why}"))?;
    if hardware_type == ARPHRD_ETHER {
        return Ok(how);
    }
    Err(format!("{name} carries no Ethernet frames: its type is {hardware_type} (ARPHRD_*, linux/if_arp.h)"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::model::MacAddr;

    fn link(kind: Option<&str>) -> CapturedLink {
        let link = CapturedLink::new("eth0".parse().unwrap(), 3, MacAddr([2, 0, 0, 0, 0, 1]), 1500);
        CapturedLink { kind: kind.map(str::to_owned), ..link }
    }

    #[test]
    fn cards_veths_and_vlans_can_be_taken() {
        assert_eq!(takeable(&link(None), ARPHRD_ETHER), Ok(Takeable::Hardware));
        assert_eq!(takeable(&link(Some("veth")), ARPHRD_ETHER), Ok(Takeable::Netdev));
        let vlan = CapturedLink { vlan_id: Some(12), parent: Some(2), ..link(Some("vlan")) };
        assert_eq!(takeable(&vlan, ARPHRD_ETHER), Ok(Takeable::Vlan { parent: Some(2), id: 12 }));
    }

    #[test]
    fn the_others_are_refused_with_the_reason() {
        for (kind, word) in [
            ("tun", "TUN/TAP"),
            ("bridge", "bridge"),
            ("bond", "bond"),
            ("team", "bond"),
            ("vrf", "routing table"),
            ("macvlan", "macvlan"),
            ("ipvtap", "ipvtap"),
            ("dummy", "no packet"),
            ("vxlan", "vxlan"),
            ("wireguard", "wireguard"),
            ("sit", "IP packets"),
            ("vlan", "id"),
            ("of-tomorrow", "not known"),
        ] {
            let said = takeable(&link(Some(kind)), ARPHRD_ETHER).unwrap_err();
            assert!(said.starts_with("eth0 is a") && said.contains(word), "{kind}: {said}");
        }
        assert!(takeable(&link(None), ARPHRD_LOOPBACK).unwrap_err().contains("loopback"));
        // InfiniBand, point-to-point.
        for hardware_type in [32, 512] {
            assert!(takeable(&link(None), hardware_type).unwrap_err().contains("no Ethernet"));
        }
        for master in ["br0", ""] {
            let port = CapturedLink { master: Some((9, master.to_owned())), ..link(None) };
            let said = takeable(&port, ARPHRD_ETHER).unwrap_err();
            assert!(said.contains("nomaster") && (said.contains("br0") || said.contains("number 9")), "{said}");
        }
    }
}
