//! A machine whose NICs VPP takes from Linux: VPP runs in the namespace of the
//! host's own programs, as it does outside of a lab.
//!
//! ```text
//!   peer eth0 ------- eth0 host, VPP ------- pod
//!   peer eth1 ------- eth1   (with two uplinks)
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cleanup::{Debt, NETNS_DIR, PREFIX, RunDir, owe, settle};
use crate::netns::Netns;
use crate::time::{secs, until};
use crate::topology::addr;
use crate::vpp::{Config, Vpp};

/// What Linux has on the first uplink. Everything that there is a word for:
/// what is not in here is not seen to come home.
const ON_ETH0: &str = "\
link set eth0 alias first-uplink txqueuelen 777
link property add dev eth0 altname the-hosts-first-uplink
link set eth0 up
addr add 192.0.2.10/24 dev eth0
addr add 192.0.2.11/24 dev eth0 label eth0:b
addr add 192.0.2.129/25 dev eth0 metric 333
addr add 10.9.0.1 peer 10.9.0.2/32 dev eth0
addr add 192.0.2.77/32 dev eth0 valid_lft 4000 preferred_lft 3000
addr add 10.8.0.1/24 dev eth0 noprefixroute
addr add 2001:db8:1::11/64 dev eth0 nodad valid_lft 5000 preferred_lft 4000 noprefixroute
addr add 2001:db8:1::10/64 dev eth0 nodad
addr add 2001:db8:1::12/128 dev eth0 nodad preferred_lft 0
route add default via 192.0.2.1 dev eth0 metric 100 proto dhcp src 192.0.2.10
route add default via 192.0.2.20 dev eth0 metric 600
route add 198.51.100.0/24 via 192.0.2.20 dev eth0 mtu 1400 advmss 1300 initcwnd 20
route add 198.51.100.0/24 via 192.0.2.1 dev eth0 metric 600
route add 10.50.0.0/16 via 192.0.2.20 dev eth0 table 77
route add 10.51.0.0/16 dev eth0 scope link table 78 proto static
route add 10.52.0.0/16 via 203.0.113.99 dev eth0 onlink
route add 10.60.0.0/16 nexthop via 192.0.2.20 dev eth0 nexthop via 192.0.2.1 dev eth0 weight 3
route add 10.61.0.0/16 via inet6 fe80::20 dev eth0
route add 10.62.0.0/16 via 192.0.2.20 dev eth0 tos 0x10
nexthop add id 41 via 192.0.2.20 dev eth0
nexthop add id 42 via 192.0.2.1 dev eth0 proto static
nexthop add id 43 group 41,3/42
nexthop add id 44 via 2001:db8:1::20 dev eth0
route add 10.70.0.0/16 nhid 41
route add 10.71.0.0/16 nhid 43 metric 600
route add blackhole 10.80.0.0/16
route add unreachable 10.81.0.0/16 metric 600
route add prohibit 10.82.0.0/16 table 77
route add default via 2001:db8:1:0:ff::1 dev eth0 metric 100 proto static
route add default via 2001:db8:1::20 dev eth0 metric 600
route add 2001:db8:50::/64 via 2001:db8:1::20 dev eth0 table 77
route add 2001:db8:51::/64 dev eth0 metric 600 mtu 1300
route add 2001:db8:60::/64 metric 70 nexthop via 2001:db8:1::20 dev eth0 nexthop via 2001:db8:1:0:ff::1 dev eth0 weight 3
route add 2001:db8:61::/64 via fe80::20 dev eth0 pref high
route add 2001:db8:70::/64 nhid 44
route add blackhole 2001:db8:80::/64
rule add iif eth0 lookup 77 pref 1000
rule add oif eth0 from 10.8.0.1 lookup 78 pref 1001
rule add fwmark 7 lookup 77 pref 1002
neigh add 192.0.2.200 lladdr 02:00:5e:00:00:c8 dev eth0 nud permanent
neigh add 2001:db8:1::200 lladdr 02:00:5e:00:00:c8 dev eth0 nud permanent
neigh add proxy 192.0.2.201 dev eth0
neigh add proxy 2001:db8:1::201 dev eth0";

/// Rules of IPv6, which `ip` takes for IPv4's without `-6`.
const RULES6: &str = "rule add iif eth0 lookup 77 pref 1000\nrule add oif eth0 lookup 78 pref 1001";

/// What Linux has on the second uplink.
const ON_ETH1: &str = "\
link set eth1 up
addr add 203.0.113.10/24 dev eth1
addr add 2001:db8:3::10/64 dev eth1 nodad
route add default via 203.0.113.20 dev eth1 metric 700
route add 10.90.0.0/16 via 203.0.113.20 dev eth1";

/// Its own settings, by file below `/proc/sys/net`.
const SYSCTLS: [(&str, &str); 6] = [
    ("ipv4/conf/eth0/rp_filter", "2"),
    ("ipv4/conf/eth0/arp_ignore", "1"),
    ("ipv4/neigh/eth0/gc_stale_time", "77"),
    ("ipv6/conf/eth0/accept_ra", "0"),
    ("ipv6/conf/eth0/hop_limit", "63"),
    ("ipv6/neigh/eth0/retrans_time_ms", "1234"),
];

/// How to build it.
#[derive(Clone, Debug)]
pub struct MachineOptions {
    /// VPP. Its own `hostnet` stanza is made by the machine; `extra` is kept.
    pub vpp: Config,
    /// One uplink or two.
    pub uplinks: u8,
    /// `uplink ...` words for the `hostnet` stanza.
    pub stanza: String,
    /// Whether the host has everything on its uplink, or next to nothing.
    pub bare: bool,
    /// Start VPP at once.
    pub start: bool,
}

impl Default for MachineOptions {
    fn default() -> Self {
        let vpp = Config { plugins: vec!["af_packet_plugin.so".to_owned()], ..Config::default() };
        Self { vpp, uplinks: 1, stanza: String::new(), bare: false, start: true }
    }
}

/// The machine; all of it gone on drop.
#[derive(Debug)]
pub struct Machine {
    // Order of drop: VPP before the namespaces, those before the directory.
    vpp: Mutex<Option<Arc<Vpp>>>,
    /// Where the host's programs and VPP are.
    pub host: Netns,
    /// The machine at the other end of the wires.
    pub peer: Netns,
    /// A container of the machine's.
    pub pod: Netns,
    parking: Parking,
    dir: RunDir,
    options: Mutex<MachineOptions>,
    starts: AtomicU32,
}

/// The name of the namespace that VPP parks devices in: VPP makes it.
#[derive(Debug)]
struct Parking(String);

impl Drop for Parking {
    fn drop(&mut self) {
        settle(&Debt::Netns(self.0.clone()));
    }
}

impl Machine {
    /// Build it, dress its uplinks, start VPP if that is wanted.
    pub fn new(options: MachineOptions) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("{PREFIX}{}-t{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = RunDir::make(&tag)?;
        let make = |role: &str| Netns::create(&format!("{tag}-{role}"));
        let (host, peer, pod) = (make("host")?, make("peer")?, make("pod")?);
        let parking = Parking(format!("{tag}-park"));
        owe(Debt::Netns(parking.0.clone()));
        let start = options.start;
        let machine = Self {
            vpp: Mutex::new(None),
            host,
            peer,
            pod,
            parking,
            dir,
            options: Mutex::new(options),
            starts: AtomicU32::new(0),
        };
        machine.wire_up()?;
        machine.settle()?;
        if start {
            machine.start()?;
        }
        Ok(machine)
    }

    fn wire_up(&self) -> Result<()> {
        let (uplinks, bare) = {
            let options = self.options();
            (options.uplinks, options.bare)
        };
        let (host, peer) = (&self.host, &self.peer);
        for netns in [host, peer, &self.pod] {
            // The lab's addresses are unique.
            netns.sysctl(&[("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0")])?;
            netns.ip("link set lo up")?;
        }
        host.sysctl(&[("ipv6/conf/all/forwarding", "1"), ("ipv4/ip_forward", "1")])?;
        for (index, mac) in [addr::UPLINK_MAC, addr::UPLINK_MAC_B].iter().enumerate().take(uplinks.into()) {
            host.ip(&format!(
                "link add eth{index} mtu 1450 address {mac} type veth \
                 peer name eth{index} mtu 1450 address 02:00:5e:00:00:2{index} netns {}",
                peer.name()
            ))?;
            peer.ip(&format!("link set eth{index} up"))?;
            // VPP's af-packet and partial checksums: the wire has whole ones.
            peer.output("ethtool", &["-K", &format!("eth{index}"), "tx", "off", "tso", "off", "gso", "off"])?;
        }
        peer.ip("addr add 192.0.2.20/24 dev eth0
                 addr add 192.0.2.1/24 dev eth0
                 addr add 2001:db8:1::20/64 dev eth0 nodad
                 addr add 2001:db8:1:0:ff::1/64 dev eth0 nodad preferred_lft 0
                 addr add fe80::20/64 dev eth0 nodad")?;
        if uplinks > 1 {
            peer.ip("addr add 203.0.113.20/24 dev eth1\naddr add 2001:db8:3::20/64 dev eth1 nodad")?;
            host.ip(ON_ETH1)?;
        }
        if bare {
            return Ok(());
        }
        host.sysctl(&SYSCTLS)?;
        // Something of another device's, that is to stay as it is.
        peer.ip(&format!("link add beyond type veth peer name bystander netns {}\nlink set beyond up", host.name()))?;
        host.ip("link set bystander up
                 addr add 203.0.113.130/25 dev bystander
                 route add default via 203.0.113.254 dev bystander metric 50 table 99
                 route add default via 203.0.113.254 dev bystander metric 650")?;
        host.ip(ON_ETH0)?;
        host.ip_with(&["-6"], RULES6)?;
        Ok(())
    }

    /// Wait until the host's NICs that are up have all that the kernel makes
    /// by itself, a moment later: link-local addresses, the local routes of
    /// IPv6 addresses.
    pub fn settle(&self) -> Result<()> {
        until("the host's NICs have what the kernel makes", secs(5), || {
            let of =
                |words: &[&str]| -> Result<Vec<Value>> { Ok(serde_json::from_str(&self.host.output("ip", words)?)?) };
            let local = of(&["-j", "-6", "route", "show", "table", "local"])?;
            for link in of(&["-j", "-6", "addr", "show", "up"])? {
                if !link["ifname"].as_str().is_some_and(|name| name.starts_with("eth") || name.starts_with("pod")) {
                    continue;
                }
                // A VLAN's is worked out a moment after it is made (linkwatch).
                let is_vlan = link["ifname"].as_str().is_some_and(|name| name.contains('.'));
                ensure!(!is_vlan || link["operstate"] != "UNKNOWN", "its state is not known yet: {link}");
                let addresses = link["addr_info"].as_array().context("no addresses")?;
                ensure!(addresses.iter().any(|address| address["scope"] == "link"), "no link-local address: {link}");
                for address in addresses {
                    let has =
                        local.iter().any(|route| route["dst"] == address["local"] && route["dev"] == link["ifname"]);
                    ensure!(has && address["tentative"].is_null(), "not there yet: {address}");
                }
            }
            Ok(Some(()))
        })
    }

    fn options(&self) -> std::sync::MutexGuard<'_, MachineOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Start VPP, in the place of one that has ended.
    pub fn start(&self) -> Result<Arc<Vpp>> {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let (mut config, stanza) = {
            let options = self.options();
            (options.vpp.clone(), options.stanza.clone())
        };
        config.extra = format!(
            "{}\nhostnet {{\n  journal {}\n  netns {}\n  {stanza}\n}}\n",
            config.extra,
            self.journal().display(),
            self.parking.0
        );
        let dir = self.dir.0.join(format!("vpp{number}"));
        let tag = format!("{}vpp{number}", self.tag());
        let vpp = Arc::new(Vpp::start(&self.host, &dir, &tag, &config)?);
        *self.vpp.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&vpp));
        Ok(vpp)
    }

    /// The last VPP that was started.
    pub fn vpp(&self) -> Result<Arc<Vpp>> {
        self.vpp.lock().unwrap_or_else(PoisonError::into_inner).clone().context("no VPP was started")
    }

    /// Where VPP keeps its journals.
    pub fn journal(&self) -> PathBuf {
        self.dir.0.join("journal")
    }

    /// The namespace that devices are parked in; an error until VPP made it.
    pub fn parking(&self) -> Result<Netns> {
        Netns::existing(&self.parking.0)
    }

    /// Its file.
    pub fn parking_file(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.parking.0)
    }

    /// What this machine's names begin with.
    pub fn tag(&self) -> String {
        let name = self.dir.0.file_name().unwrap_or_default();
        format!("{}-", name.to_string_lossy())
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir.0
    }

    /// Every namespace, with its role.
    pub fn namespaces(&self) -> [(&'static str, &Netns); 3] {
        [("host", &self.host), ("peer", &self.peer), ("pod", &self.pod)]
    }
}
