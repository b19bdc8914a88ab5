//! The files of managers, on a tree of their own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use super::sockets::{InetSocket, Owners};
use super::systemd::UnitFile;
use super::{Appearance, Usage, managers, sockets};

struct Tree(PathBuf);

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Tree {
    fn new(test: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("hostnet-usage-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let tree = Self(root);
        for (path, text) in files {
            tree.put(path, text);
        }
        tree
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        managers::find(&self.0, &card(), &mut usage);
        usage
    }
}

fn card() -> Appearance {
    Appearance {
        name: "enp3s0".to_owned(),
        index: 3,
        mac: Some("52:54:00:ab:cd:ef".parse().unwrap()),
        permanent_mac: Some("52:54:00:ab:cd:ef".parse().unwrap()),
        driver: Some("virtio_net".to_owned()),
        path: Some("pci-0000:03:00.0".to_owned()),
        kind: None,
    }
}

const STATE: &str = "run/systemd/netif/links/3";

#[test]
fn networkds_file_is_judged_by_what_a_tap_meets() {
    for (conditions, unmet) in [
        ("Name=enp3s0", None),
        ("Name=en*", None),
        ("Name=en* !eth0", None),
        ("Name=eth0 enp?s0", None),
        ("Name=!eth*", None),
        ("MACAddress=52-54-00-AB-CD-EF", None),
        ("Type=ether\nName=enp3s0", None),
        ("Host=here\nName=enp3s0", None),
        ("Driver=virtio_net\nDriver=\nName=enp3s0", None),
        ("PermanentMACAddress=52:54:00:ab:cd:ef", Some("PermanentMACAddress=52:54:00:ab:cd:ef")),
        ("Name=enp3s0\nDriver=virtio_net vmxnet3", Some("Driver=virtio_net vmxnet3")),
        ("Path=pci-*", Some("Path=pci-*")),
        ("Kind=!*\nType=ether", Some("Kind=!*")),
    ] {
        let text = format!("# a card\n[Match]\n{conditions}\n\n[Network]\nDHCP=yes\n");
        let tree = Tree::new(
            "networkd",
            &[
                ("etc/systemd/network/10-card.network", &text),
                (STATE, "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-card.network\n"),
            ],
        );
        let file = UnitFile::all(&tree.0, "network").remove(0);
        assert!(file.applies(&card()), "{conditions}: {:?}", file.unmet(&card()));
        let usage = tree.usage();
        assert_eq!(usage.managers, ["systemd-networkd, by /etc/systemd/network/10-card.network"]);
        match unmet {
            None => assert_eq!(usage.warnings, Vec::<String>::new(), "{conditions}"),
            Some(unmet) => {
                assert_eq!(usage.warnings.len(), 1, "{conditions}");
                assert!(usage.warnings[0].contains(&format!("has {unmet}, which")), "{usage:?}");
            }
        }
    }
}

#[test]
fn another_file_for_the_tap_is_seen_and_the_order_is_systemds() {
    let tree = Tree::new(
        "order",
        &[
            ("usr/lib/systemd/network/10-card.network", "[Match]\nDriver=virtio_net\n"),
            ("usr/lib/systemd/network/20-all.network", "[Match]\nName=*\n"),
            ("run/systemd/network/05-none.network", "[Network]\nDHCP=yes\n"),
            (STATE, "ADMIN_STATE=configured\n"),
        ],
    );
    let usage = tree.usage();
    assert_eq!(usage.managers, ["systemd-networkd, by /usr/lib/systemd/network/10-card.network"]);
    assert!(usage.warnings[0].contains("will put /usr/lib/systemd/network/20-all.network"), "{usage:?}");
    // Masked by one of the same name in a folder that wins.
    tree.put("etc/systemd/network/10-card.network", "");
    let usage = tree.usage();
    assert_eq!(usage.managers, ["systemd-networkd, by /usr/lib/systemd/network/20-all.network"]);
    assert_eq!(usage.warnings, Vec::<String>::new());
    tree.put(STATE, "ADMIN_STATE=unmanaged\n");
    assert_eq!(tree.usage(), Usage::default());
}

#[test]
fn the_other_managers_are_known_by_their_files() {
    let tree = Tree::new(
        "others",
        &[
            ("run/NetworkManager/devices/3", "[device]\nmanaged=true\nconnection-uuid=1-2-3\n"),
            ("etc/NetworkManager/system-connections/wired.nmconnection", "[connection]\nuuid=1-2-3\ntype=ethernet\n"),
            ("etc/network/interfaces", "auto lo\niface lo inet loopback\niface enp3s0:1 inet manual\n"),
            ("etc/network/interfaces.d/card", "auto enp3s0\niface enp3s0 inet dhcp\n"),
            ("etc/netplan/50-cloud-init.yaml", "network:\n  ethernets:\n    enp3s0:\n      dhcp4: true\n"),
            ("etc/netplan/60-mac.yaml", "match: {macaddress: \"52:54:00:AB:CD:EF\"}\n"),
            ("etc/netplan/70-other.yaml", "network:\n  ethernets:\n    enp3s0f1: {}\n"),
            ("etc/netplan/80-old.yaml.bak", "enp3s0:\n"),
            ("run/cloud-init/status.json", "{}"),
            ("run/dhclient.enp3s0.pid", "1\n"),
            ("run/dhclient.enp4s0.pid", "1\n"),
        ],
    );
    let usage = tree.usage();
    assert_eq!(
        usage.managers,
        [
            "NetworkManager, by /etc/NetworkManager/system-connections/wired.nmconnection",
            "ifupdown, by /etc/network/interfaces.d/card",
            "netplan, by /etc/netplan/50-cloud-init.yaml",
            "netplan, by /etc/netplan/60-mac.yaml",
            "cloud-init, which writes the others' files at boot",
            "dhclient, a DHCP client",
        ]
    );
    assert_eq!(usage.warnings.len(), 3, "{usage:?}");
    tree.put("etc/cloud/cloud.cfg.d/99.cfg", "# mine\nnetwork:\n  config: disabled\n");
    assert!(!tree.usage().managers.iter().any(|manager| manager.contains("cloud-init,")));
    tree.put("run/NetworkManager/devices/3", "[device]\nmanaged=false\n");
    assert!(!tree.usage().managers.iter().any(|manager| manager.contains("NetworkManager")));
}

#[test]
fn what_udev_would_do_to_the_tap_is_told() {
    let default = "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel\nMACAddressPolicy=persistent\n";
    let tree = Tree::new("udev", &[("usr/lib/systemd/network/99-default.link", default)]);
    assert_eq!(tree.usage(), Usage::default());
    tree.put("etc/systemd/network/10-mac.link", "[Match]\nMACAddress=52:54:00:ab:cd:ef\n[Link]\nName=wan0\n");
    assert!(tree.usage().warnings[0].contains("to wan0"));
    tree.put("etc/systemd/network/10-mac.link", "[Match]\nPermanentMACAddress=52:54:00:ab:cd:ef\n[Link]\nName=wan0\n");
    assert_eq!(tree.usage(), Usage::default());
    tree.put("etc/systemd/network/05-tap.link", "[Match]\nKind=tun\n[Link]\nMACAddressPolicy=random\n");
    assert!(tree.usage().warnings[0].contains("MACAddressPolicy=random"));
    tree.put("etc/systemd/network/05-tap.link", "[Match]\nDriver=tun\n[Link]\nMACAddress=52:54:00:00:00:01\n");
    assert!(tree.usage().warnings[0].contains("the MAC 52:54:00:00:00:01"));
}

#[test]
fn sockets_are_counted_where_they_are_the_interfaces() {
    let socket = |protocol, established, local: &str, remote: &str, device| InetSocket {
        protocol,
        established,
        local: (local.parse().unwrap(), 1000),
        remote: (remote.parse().unwrap(), 22),
        device,
        inode: 0,
    };
    let all = [
        socket("TCP", true, "192.0.2.1", "192.0.2.9", 0),
        socket("TCP", true, "2001:db8::1", "2001:db8::9", 0),
        // Its own addresses at both ends: it never leaves the host.
        socket("TCP", true, "192.0.2.1", "192.0.2.1", 0),
        // Listening, another's address, another's device.
        socket("TCP", false, "192.0.2.1", "0.0.0.0", 0),
        socket("TCP", true, "198.51.100.1", "192.0.2.9", 0),
        socket("UDP", false, "0.0.0.0", "0.0.0.0", 4),
        socket("UDP", false, "0.0.0.0", "0.0.0.0", 3),
    ];
    let mut usage = Usage::default();
    let addresses = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    sockets::say(&all, 3, &addresses, &Owners::default(), &mut usage);
    assert_eq!(usage.users.len(), 2, "{usage:?}");
    assert!(usage.users[0].starts_with("UDP sockets bound to it"));
    assert_eq!(usage.users[1], "2 TCP sessions, with 192.0.2.9, 2001:db8::9");
    assert_eq!(usage.interrupted.len(), 2);
}
