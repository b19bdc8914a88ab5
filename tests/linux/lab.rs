//! A namespace for each test, with a helper thread behind a bridge.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command as Process;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hostnet::bridge::{MainEnd, bridge};
use hostnet::engine::mirror::{MirrorOptions, PodsWay};
use hostnet::engine::{Command, Identity, LinuxFacts, LinuxStep, Output, Plan, Report, UplinkId};
use hostnet::helper;
use hostnet::linux::Netlink;
use hostnet::model::{Backend, HostConfig, HostDevice, IfAddress, IfName, MacAddr, Netns, NextHop, Route, RouteKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

/// Every Linux step of the builtin backend, in the plan's order.
pub(crate) const STEPS: [LinuxStep; 9] = [
    LinuxStep::Namespaces,
    LinuxStep::TunDevice,
    LinuxStep::Dress,
    LinuxStep::Move,
    LinuxStep::LinkUp,
    LinuxStep::Addresses,
    LinuxStep::Routes,
    LinuxStep::ClusterRoutes,
    LinuxStep::Verify,
];

/// How long the helper may take for one command before the test fails.
const PATIENCE_MS: u16 = 30_000;

/// The test thread is in a namespace of its own; so is every program it runs.
pub(crate) struct Lab {
    own: File,
    main: Option<MainEnd>,
    helper: Option<JoinHandle<()>>,
    /// What the TAP device lives by; VPP's in real life.
    pub(crate) tun: Option<OwnedFd>,
    pub(crate) staging: Option<PathBuf>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make network namespaces and TAP devices: run them as root"
        );
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let own = File::open("/proc/thread-self/ns/net").unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        let mut lab = Self { own, main: None, helper: None, tun: None, staging: None };
        lab.start_helper();
        lab
    }

    pub(crate) fn start_helper(&mut self) {
        let (main, end) = bridge().unwrap();
        self.helper = Some(helper::spawn(end, None).unwrap());
        self.main = Some(main);
    }

    pub(crate) fn stop_helper(&mut self) {
        self.submit(Command::Stop);
        self.join();
        assert!(self.main.as_ref().unwrap().report().is_none(), "a stopped helper says nothing more");
        self.main = None;
    }

    pub(crate) fn join(&mut self) {
        self.helper.take().unwrap().join().unwrap();
    }

    /// The TAP device goes, as with VPP. A program that another test starts holds
    /// its file a moment longer, until it has replaced its image.
    pub(crate) fn unplug(&mut self) {
        self.tun = None;
        let deadline = Instant::now() + Duration::from_millis(u64::from(PATIENCE_MS));
        // Each look is a program's run: pace enough.
        while !ip(&["link", "show", "type", "tun"]).iter().all(|link| link["ifname"].is_null()) {
            assert!(Instant::now() < deadline, "the TAP device does not go");
        }
    }

    /// This test's namespace as the user would name it.
    pub(crate) fn netns(&self) -> Netns {
        Netns::Path(PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.own.as_fd().as_raw_fd())))
    }

    pub(crate) fn submit(&self, command: Command) {
        self.main.as_ref().unwrap().submit(command).unwrap();
    }

    /// The helper's next report.
    pub(crate) fn report(&self) -> Report {
        let main = self.main.as_ref().unwrap();
        loop {
            main.quiet();
            if let Some(report) = main.report() {
                return report;
            }
            let mut files = [PollFd::new(main.event(), PollFlags::POLLIN)];
            let ready = poll(&mut files, PollTimeout::from(PATIENCE_MS)).unwrap();
            assert!(ready > 0, "no report within {PATIENCE_MS} ms");
        }
    }

    pub(crate) fn probe(&self, netns: Netns, name: Option<&str>) -> LinuxFacts {
        let name = name.map(|name| name.parse().unwrap());
        let (identity, journal) = (Identity::default(), PathBuf::from("/nonexistent/journals"));
        self.submit(Command::Probe { uplink: UplinkId(3), netns, name, identity, journal });
        match self.report() {
            Report::Probed { uplink: UplinkId(3), facts } => facts,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn apply(&mut self, plan: &Arc<Plan>, step: LinuxStep) -> Result<(), String> {
        self.submit(Command::Apply { plan: Arc::clone(plan), step });
        match self.report() {
            Report::Applied { uplink, step: of, result } => {
                assert_eq!((uplink, of), (plan.id, step));
                match result? {
                    Output::None | Output::Parked(_) | Output::Mirror => {}
                    Output::Staging(path) => self.staging = Some(path),
                    Output::Tun(file) => self.tun = Some(file),
                }
                Ok(())
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn undo(&self, plan: &Arc<Plan>, step: LinuxStep) -> Result<(), String> {
        self.submit(Command::Undo { plan: Arc::clone(plan), step });
        match self.report() {
            Report::Undone { uplink, step: of, result } => {
                assert_eq!((uplink, of), (plan.id, step));
                result
            }
            other => panic!("{other:?}"),
        }
    }

    /// All steps up to and without `end`.
    pub(crate) fn apply_until(&mut self, plan: &Arc<Plan>, end: LinuxStep) {
        for step in STEPS.into_iter().take_while(|step| *step != end) {
            assert_eq!(self.apply(plan, step), Ok(()), "{step:?}");
        }
    }

    pub(crate) fn apply_all(&mut self, plan: &Arc<Plan>) {
        for step in STEPS {
            assert_eq!(self.apply(plan, step), Ok(()), "{step:?}");
        }
    }

    /// Back from where `end` failed.
    pub(crate) fn undo_before(&mut self, plan: &Arc<Plan>, end: LinuxStep) {
        let done: Vec<LinuxStep> = STEPS.into_iter().take_while(|step| *step != end).collect();
        for step in done.into_iter().rev() {
            assert_eq!(self.undo(plan, step), Ok(()), "{step:?}");
        }
    }

    pub(crate) fn undo_all(&mut self, plan: &Arc<Plan>) {
        for step in STEPS.into_iter().rev() {
            assert_eq!(self.undo(plan, step), Ok(()), "{step:?}");
        }
    }

    /// Everything in this namespace, by a program that is not ours and by our
    /// own reading.
    #[allow(clippy::unused_self, reason = "a lab's maker is in its namespace; nobody else is to call it")]
    pub(crate) fn dump(&self) -> String {
        settle();
        let mut text = String::new();
        for args in [
            &["-j", "-d", "addr"][..],
            &["-j", "-d", "-4", "route", "show", "table", "all"],
            &["-j", "-d", "-6", "route", "show", "table", "all"],
            &["-j", "-4", "rule"],
            &["-j", "-6", "rule"],
            &["-j", "neigh"],
        ] {
            text += &run("ip", args);
            text.push('\n');
        }
        let mut netlink = Netlink::open().unwrap();
        for protocol in [2, hostnet::model::ROUTE_PROTOCOL] {
            text += &format!("{:?}\n", netlink.routes(protocol).unwrap());
        }
        text
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A helper must end with its bridge, told to stop or not.
        self.main = None;
        if let Some(helper) = self.helper.take() {
            let ended = helper.join();
            assert!(std::thread::panicking() || ended.is_ok());
        }
    }
}

/// Wait until the kernel has done what an IPv6 address brings with it: it adds
/// the address's local route by a worker of its own, a moment later.
fn settle() {
    let deadline = Instant::now() + Duration::from_millis(u64::from(PATIENCE_MS));
    loop {
        let routes = ip(&["-6", "route", "show", "table", "local"]);
        let is_local = |addr: &serde_json::Value| routes.iter().any(|route| route["dst"] == *addr);
        let waits = |link: &serde_json::Value| {
            let up = link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP");
            let mut own = link["addr_info"].as_array().unwrap().iter().filter(|info| info["family"] == "inet6");
            up && own.any(|info| info["tentative"].is_null() && !is_local(&info["local"]))
        };
        // Each look is a program's run: pace enough.
        if !ip(&["addr"]).iter().any(waits) || Instant::now() > deadline {
            return;
        }
    }
}

/// Run a program in this thread's namespace; its output.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Process::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `ip -j`, parsed.
pub(crate) fn ip(args: &[&str]) -> Vec<serde_json::Value> {
    let text = run("ip", &[&["-j", "-d"], args].concat());
    if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text).unwrap() }
}

pub(crate) fn address(text: &str) -> IfAddress {
    text.parse().unwrap()
}

pub(crate) fn route(prefix: &str, gateways: &[(&str, u16)]) -> Route {
    let next_hops = gateways
        .iter()
        .map(|(gateway, weight)| NextHop {
            gateway: Some(gateway.parse::<IpAddr>().unwrap()),
            weight: *weight,
            onlink: false,
        })
        .collect();
    Route { prefix: prefix.parse().unwrap(), kind: RouteKind::Unicast, next_hops, mtu: None }
}

/// A plan with every kind of address and route.
pub(crate) fn rich_plan(netns: Netns) -> Plan {
    let mut cluster4 = route("10.96.0.0/12", &[("10.77.0.1", 1)]);
    cluster4.mtu = Some(1440);
    let mut cluster6 = route("fd96::/108", &[("fe80::1", 1)]);
    cluster6.mtu = Some(1440);
    let mut blackhole4 = route("10.66.0.0/16", &[]);
    blackhole4.kind = RouteKind::Blackhole;
    let mut unreachable6 = route("fd66::/48", &[]);
    unreachable6.kind = RouteKind::Unreachable;
    let mut prohibit4 = route("10.67.0.0/16", &[]);
    prohibit4.kind = RouteKind::Prohibit;
    let mut backup = route("198.18.0.0/15", &[("10.77.0.3", 1)]);
    backup.mtu = Some(1300);
    Plan {
        id: UplinkId(7),
        uplink: 1,
        uplink_name: "host-eth0".to_owned(),
        tables: (0, 0),
        device: HostDevice {
            name: "lab.eth0".parse::<IfName>().unwrap(),
            staging_name: "hostnet7".parse::<IfName>().unwrap(),
            netns,
            mac: MacAddr([0x02, 0xfe, 0x77, 0x01, 0x02, 0x03]),
            mtu: 1500,
        },
        backend: Backend::Builtin,
        backend_reason: "asked for".to_owned(),
        config: HostConfig {
            addresses: [
                "10.77.0.5/24",
                "10.77.0.6/24",
                "10.78.0.5/32",
                "169.254.77.1/16",
                "fd77::5/64",
                "fd78::5/128",
                "fe80::77:5/64",
            ]
            .map(address)
            .to_vec(),
            routes: vec![
                route("0.0.0.0/0", &[("10.77.0.1", 1)]),
                route("::/0", &[("fe80::1", 1)]),
                // Of no subnet: on the link.
                route("192.0.2.0/24", &[("198.51.100.1", 1)]),
                route("fd20::/48", &[("fd99::1", 1)]),
                // A gateway of the other family.
                route("10.44.0.0/16", &[("fd77::1", 1)]),
                route("203.0.113.0/24", &[("10.77.0.2", 3), ("198.51.100.1", 1)]),
                route("fd30::/48", &[("fd77::2", 2), ("fd77::1", 1)]),
                Route::via("10.55.0.0/16".parse().unwrap(), None),
                Route::via("fd55::/48".parse().unwrap(), None),
                backup,
                blackhole4,
                prohibit4,
                unreachable6,
            ],
        },
        cluster_routes: vec![cluster4, cluster6],
        pods: PodsWay::default(),
        default_punt: true,
        source_check: false,
        takeover: None,
        mirror: MirrorOptions::default(),
        child: None,
    }
}
