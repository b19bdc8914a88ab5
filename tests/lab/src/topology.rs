//! The lab itself: namespaces, links, addresses, and VPP in the middle.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};

use crate::cleanup::{PREFIX, RunDir};
use crate::netns::Netns;
use crate::time::scale;
use crate::vpp::{Config, Vpp};

/// Addresses of the lab. All from the ranges for documentation (RFC 5737,
/// RFC 3849) but the pod's and the cluster's, which are private.
pub mod addr {
    /// The first uplink's, and so the host's.
    pub const HOST4: &str = "192.0.2.10";
    /// The same for IPv6.
    pub const HOST6: &str = "2001:db8:1::10";
    /// The peer on the first wire.
    pub const PEER4: &str = "192.0.2.20";
    /// The same for IPv6.
    pub const PEER6: &str = "2001:db8:1::20";
    /// The gateway on the first wire.
    pub const GW4: &str = "192.0.2.1";
    /// The same for IPv6.
    pub const GW6: &str = "2001:db8:1::1";
    /// Behind the gateway: off every link of the host's.
    pub const FAR4: &str = "198.51.100.1";
    /// The same for IPv6.
    pub const FAR6: &str = "2001:db8:2::1";
    /// The second uplink's.
    pub const HOST4B: &str = "203.0.113.10";
    /// The same for IPv6.
    pub const HOST6B: &str = "2001:db8:3::10";
    /// The peer on the second wire.
    pub const PEER4B: &str = "203.0.113.20";
    /// The same for IPv6.
    pub const PEER6B: &str = "2001:db8:3::20";
    /// The pod.
    pub const POD4: &str = "10.20.0.2";
    /// The same for IPv6.
    pub const POD6: &str = "fd00:20::2";
    /// The pods' network.
    pub const CLUSTER4: &str = "10.20.0.0/16";
    /// The same for IPv6.
    pub const CLUSTER6: &str = "fd00:20::/48";
    /// The services' network.
    pub const SERVICES4: &str = "10.96.0.0/12";
    /// The MAC of the first uplink's wire, on VPP's side.
    pub const UPLINK_MAC: &str = "02:00:5e:00:00:10";
    /// The MAC of the second.
    pub const UPLINK_MAC_B: &str = "02:00:5e:00:00:11";
    /// The peer's MAC on the first wire.
    pub const PEER_MAC: &str = "02:00:5e:00:00:20";
    /// VPP's MAC towards the pod.
    pub const POD_GW_MAC: &str = "02:00:5e:00:00:30";
    /// The pod's MAC.
    pub const POD_MAC: &str = "02:00:5e:00:00:31";
}

/// How to build it.
#[derive(Clone, Debug)]
pub struct Options {
    /// VPP: workers, plugins, ours.
    pub vpp: Config,
    /// MTU of the wires and of the uplinks, in bytes.
    pub mtu: u32,
    /// One uplink or two.
    pub uplinks: u8,
    /// The peer's and pod's kernels leave checksums and segmentation to their
    /// device, so that VPP sees partial checksums and packets over the MTU.
    pub offload: bool,
}

impl Default for Options {
    fn default() -> Self {
        let vpp = Config { plugins: vec!["af_packet_plugin.so".to_owned()], ..Config::default() };
        Self { vpp, mtu: 1500, uplinks: 1, offload: false }
    }
}

/// The lab; all of it gone on drop.
#[derive(Debug)]
pub struct Lab {
    // Order of drop: VPP before the namespaces, those before the directory.
    /// VPP.
    pub vpp: Vpp,
    /// Where the host's device comes to live.
    pub host: Netns,
    /// A machine on the wire.
    pub peer: Netns,
    /// The wire's bridge and the router on it.
    pub gw: Netns,
    /// A container behind VPP.
    pub pod: Netns,
    /// Where VPP runs.
    pub around_vpp: Netns,
    dir: RunDir,
}

impl Lab {
    /// Build it and start VPP with its uplink and pod.
    pub fn start(options: &Options) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        ensure!(nix::unistd::geteuid().is_root(), "the lab needs root: it makes namespaces");
        let tag = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = RunDir::make(&tag)?;

        let make = |role: &str| Netns::create(&format!("{tag}-{role}"));
        let (host, peer, gw, pod) = (make("host")?, make("peer")?, make("gw")?, make("pod")?);
        let around_vpp = make("vpp")?;
        host.ip("link set lo up")?;
        wire_up(options, &peer, &gw, &pod, &around_vpp)?;
        let vpp = Vpp::start(&around_vpp, &dir.0, &tag, &options.vpp)?;
        let lab = Self { vpp, host, peer, gw, pod, around_vpp, dir };
        lab.configure_vpp(options).context("set VPP up").map_err(|error| match lab.vpp.alive() {
            Ok(()) => error,
            Err(dead) => error.context(format!("{dead:#}")),
        })?;
        lab.warm_up()?;
        Ok(lab)
    }

    /// A host-interface of VPP. Labs run side by side, and their wires are to
    /// be the last that loses a packet: polled, VPP takes what is there
    /// whenever it gets a processor, and the ring of v2 has a slot for each
    /// packet, where that of v3 spends a whole block on a lone one. Under
    /// emulation polls would only slow the other labs down.
    fn create_uplink(&self, device: &str, mac: &str) -> Result<()> {
        let name = format!("host-{device}");
        if std::env::var_os("HOSTNET_LAB_REUSE").is_some() {
            return self.create(&format!("create host-interface name {device} hw-addr {mac}"), &name);
        }
        self.create(&format!("create host-interface v2 name {device} hw-addr {mac}"), &name)?;
        self.vpp.quiet(&format!("set interface rx-mode {name} polling"))
    }

    fn configure_vpp(&self, options: &Options) -> Result<()> {
        let mtu = options.mtu;
        for (index, (mac, addresses)) in uplinks(options).enumerate() {
            let name = format!("host-eth{index}");
            self.create_uplink(&format!("eth{index}"), mac)?;
            // Up before addresses: VPP makes the connected routes only then.
            self.vpp.all_quiet(&format!(
                "set interface mtu packet {mtu} {name}
                 enable ip6 interface {name}
                 ip6 nd {name} ra-suppress
                 set interface state {name} up"
            ))?;
            for address in addresses {
                self.vpp.quiet(&format!("set interface ip address {name} {address}"))?;
            }
        }
        let (pod_gw, pod_mac) = (addr::POD_GW_MAC, addr::POD_MAC);
        self.create_uplink("pod0", pod_gw)?;
        self.vpp.all_quiet(&format!(
            "set interface mtu packet {mtu} host-pod0
             set interface state host-pod0 up
             set interface unnumbered host-pod0 use host-eth0
             enable ip6 interface host-pod0
             ip6 nd host-pod0 ra-suppress
             set ip neighbor host-pod0 {p4} {pod_mac} static
             set ip neighbor host-pod0 {p6} {pod_mac} static
             ip route add {p4}/32 via {p4} host-pod0
             ip route add {p6}/128 via {p6} host-pod0
             ip route add 0.0.0.0/0 via {g4} host-eth0
             ip route add ::/0 via {g6} host-eth0",
            p4 = addr::POD4,
            p6 = addr::POD6,
            g4 = addr::GW4,
            g6 = addr::GW6,
        ))
    }

    /// Let VPP and the machines on the wire learn each other, so that a dump
    /// does not depend on who has spoken to whom yet.
    fn warm_up(&self) -> Result<()> {
        // VPP drops what comes before it knows a neighbour: with a deadline ping
        // goes on sending until an answer is there.
        let deadline = (10 * scale()).to_string();
        for far in [addr::FAR4, addr::FAR6, addr::PEER4, addr::PEER6] {
            let said = self.pod.output("ping", &["-n", "-c", "1", "-i", "0.1", "-w", &deadline, far]);
            said.with_context(|| format!("the pod reaches {far}")).with_context(|| self.vpp.last_words())?;
        }
        Ok(())
    }

    fn create(&self, command: &str, name: &str) -> Result<()> {
        let said = self.vpp.ctl(command)?;
        ensure!(said.trim() == name, "VPP command '{command}' said: {}", said.trim());
        Ok(())
    }

    /// Every namespace, with its role.
    pub fn namespaces(&self) -> [(&'static str, &Netns); 5] {
        [("host", &self.host), ("peer", &self.peer), ("gw", &self.gw), ("pod", &self.pod), ("vpp", &self.around_vpp)]
    }

    /// What this lab's names begin with.
    pub fn tag(&self) -> String {
        let name = self.dir.0.file_name().unwrap_or_default();
        format!("{}-", name.to_string_lossy())
    }

    /// Where VPP's files are.
    pub fn dir(&self) -> &Path {
        &self.dir.0
    }
}

/// MAC and addresses of each uplink.
fn uplinks(options: &Options) -> impl Iterator<Item = (&'static str, [String; 2])> + use<> {
    let first = (addr::UPLINK_MAC, [format!("{}/24", addr::HOST4), format!("{}/64", addr::HOST6)]);
    let second = (addr::UPLINK_MAC_B, [format!("{}/24", addr::HOST4B), format!("{}/64", addr::HOST6B)]);
    [first, second].into_iter().take(usize::from(options.uplinks))
}

/// What a container of the machine's has on its `eth0`: it knows its gateway by
/// a fixed neighbour, as container networks do.
pub fn dress_pod(pod: &Netns) -> Result<()> {
    pod.ip(&format!(
        "link set lo up
         link set eth0 up
         addr add {p4}/32 dev eth0
         addr add {p6}/128 dev eth0 nodad
         neigh add 169.254.1.1 lladdr {mac} dev eth0 nud permanent
         neigh add fe80::1 lladdr {mac} dev eth0 nud permanent
         route add default via 169.254.1.1 dev eth0 onlink
         route add default via fe80::1 dev eth0",
        p4 = addr::POD4,
        p6 = addr::POD6,
        mac = addr::POD_GW_MAC,
    ))
    .map(drop)
}

fn wire_up(options: &Options, peer: &Netns, gw: &Netns, pod: &Netns, vpp: &Netns) -> Result<()> {
    // The kernel around VPP stays out of it: VPP speaks for these devices.
    vpp.sysctl(&[("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")])?;
    for netns in [peer, gw, pod] {
        // No wait for duplicate address detection; the lab's are unique.
        netns.sysctl(&[("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0")])?;
    }
    gw.sysctl(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;

    let mtu = options.mtu;
    // One batch for each namespace: processes cost time under emulation.
    let (mut in_gw, mut in_vpp, mut in_peer) = (String::new(), String::new(), String::new());
    for (index, (mac, _)) in uplinks(options).enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            in_gw,
            "link add br{index} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
             link add vpp{index} mtu {mtu} type veth peer name eth{index} mtu {mtu} address {mac} netns {}
             link add peer{index} mtu {mtu} type veth peer name eth{index} mtu {mtu} address 02:00:5e:00:00:2{index} netns {}
             link set vpp{index} master br{index} up
             link set peer{index} master br{index} up
             link set br{index} up",
            vpp.name(),
            peer.name(),
        );
        let _ = writeln!(in_vpp, "link set eth{index} up");
        let _ = writeln!(in_peer, "link set eth{index} up");
    }
    gw.ip(&format!(
        "{in_gw}
         link set lo up
         addr add {}/24 dev br0
         addr add {}/64 dev br0
         addr add {}/32 dev lo
         addr add {}/128 dev lo
         route add {} via {}
         route add {} via {}",
        addr::GW4,
        addr::GW6,
        addr::FAR4,
        addr::FAR6,
        addr::CLUSTER4,
        addr::HOST4,
        addr::CLUSTER6,
        addr::HOST6,
    ))?;
    if options.uplinks > 1 {
        let (v4, v6) = (addr::PEER4B, addr::PEER6B);
        let _ = writeln!(in_peer, "addr add {v4}/24 dev eth1\naddr add {v6}/64 dev eth1");
    }
    peer.ip(&format!(
        "{in_peer}
         link set lo up
         addr add {}/24 dev eth0
         addr add {}/64 dev eth0
         route add default via {}
         route add default via {}
         route add {} via {}
         route add {} via {}",
        addr::PEER4,
        addr::PEER6,
        addr::GW4,
        addr::GW6,
        addr::CLUSTER4,
        addr::HOST4,
        addr::CLUSTER6,
        addr::HOST6,
    ))?;
    vpp.ip(&format!(
        "{in_vpp}
         link set lo up
         link add pod0 mtu {mtu} type veth peer name eth0 mtu {mtu} address {} netns {}
         link set pod0 up",
        addr::POD_MAC,
        pod.name()
    ))?;
    dress_pod(pod)?;
    if !options.offload {
        for netns in [peer, pod] {
            netns.output("ethtool", &["-K", "eth0", "tx", "off", "tso", "off", "gso", "off"])?;
        }
        gw.output("ethtool", &["-K", "br0", "tx", "off"])?;
        if options.uplinks > 1 {
            peer.output("ethtool", &["-K", "eth1", "tx", "off", "tso", "off", "gso", "off"])?;
        }
    }
    Ok(())
}
