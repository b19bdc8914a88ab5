//! `hostnet-guard` against the real kernel: what a VPP that died has left is
//! made by the functions that the helper thread uses.

mod beside;
mod disk;
mod fresh;
mod gone;
mod kills;
mod watch;

use std::cell::RefCell;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hostnet::engine::journal::{Journal, JournalPhase, Owner};
use hostnet::engine::{Driver, Plan, Takeover};
use hostnet::guard::Outcome;
use hostnet::linux::{Dressing, JournalDir, differences, home, open_tun, restore};
use hostnet::model::{Captured, Netns};

use crate::captured::{Home, NAME, dump, index, name, same};
use crate::lab::{rich_plan, run};

const WORDS: &str = "HOSTNET_TEST_GUARD";
const PATIENCE: Duration = Duration::from_secs(30);

/// How far the dead one came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// The journal is written, the device at home.
    Written,
    /// The device is parked.
    Parked,
    /// The tap is there, and has half of what it is to have.
    HalfDressed,
    /// VPP has it.
    Taken,
    /// What the tap carries is written down.
    Recalled,
}

/// A device that was taken from its namespace, and what it was before.
struct Lab {
    home: Home,
    journals: tempfile::TempDir,
    parking: String,
    /// Anew at each taking: lifetimes are whole seconds, and lose one each time.
    before: RefCell<Captured>,
    dumped: Vec<(String, serde_json::Value)>,
}

impl Lab {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let home = Home::new();
        for family in ["-4", "-6"] {
            run("ip", &[family, "route", "flush", "proto", "118"]);
        }
        // Nobody waits for duplicates here.
        for place in ["all", "default", NAME] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{place}/accept_dad"), "0").unwrap();
        }
        let (dumped, before) = (dump(), RefCell::new(home.capture()));
        let parking = format!("hostnet-test-{}-{number}", std::process::id());
        Self { home, journals: tempfile::tempdir().unwrap(), parking, before, dumped }
    }

    /// A lab whose device a process has that is dead.
    fn left(until: Until) -> Self {
        let lab = Self::new();
        lab.take(until);
        lab.orphan();
        lab
    }

    fn takeover(&self) -> Takeover {
        let own = self.home.own.path();
        Takeover {
            linux_if: name(),
            home: Netns::Path(own),
            home_ino: self.home.own.id().unwrap().1,
            driver: Some(Driver::AfPacket),
            made_by: "af-packet",
            driver_reason: String::new(),
            kernel_driver: None,
            rdma: None,
            parking: self.parking.clone(),
            journal: self.path(),
            guard: None,
            captured: Arc::new(self.home.capture()),
            kept: Vec::new(),
            usage: Vec::new(),
            words: format!("{NAME} driver auto"),
        }
    }

    fn path(&self) -> PathBuf {
        self.journals.path().join("journals")
    }

    fn take(&self, until: Until) {
        drop(self.take_by(&self.takeover(), until));
    }

    /// The tap's file: with it the tap loses its carrier.
    fn take_by(&self, takeover: &Takeover, until: Until) -> Option<OwnedFd> {
        self.before.replace(Captured::clone(&takeover.captured));
        home::write_journal(takeover).unwrap();
        if until == Until::Written {
            return None;
        }
        assert!(home::take(takeover).unwrap().is_some());
        if until == Until::Parked {
            return None;
        }
        let (captured, plan) = (&takeover.captured, self.plan(takeover));
        home::foresee_tap(&plan, takeover).unwrap();
        let file = open_tun(&name(), true).unwrap();
        let mtu = plan.device.mtu.to_string();
        run("ip", &["link", "set", "dev", NAME, "address", &plan.device.mac.to_string(), "mtu", &mtu]);
        let number = index(NAME);
        if until == Until::HalfDressed {
            hostnet::linux::restore_first(&self.home.own, number, captured, Dressing::Tap, 20).unwrap();
            return Some(file);
        }
        assert_eq!(restore(&self.home.own, number, captured, Dressing::Tap).unwrap(), Vec::<String>::new());
        home::commit(&plan, takeover, number).unwrap();
        if until == Until::Recalled {
            home::recall(takeover).unwrap();
        }
        Some(file)
    }

    fn plan(&self, takeover: &Takeover) -> Plan {
        let mut plan = rich_plan(Netns::Path(self.home.own.path()));
        plan.device.name = name();
        (plan.device.mac, plan.device.mtu) = (takeover.captured.link.mac, takeover.captured.link.mtu);
        plan
    }

    fn journal(&self) -> Journal {
        let dir = JournalDir::find(&self.path()).unwrap().unwrap();
        let mut all: Vec<_> = dir.list().unwrap().into_iter().map(|entry| entry.content.unwrap()).collect();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn rewrite(&self, change: impl FnOnce(&mut Journal)) {
        let mut journal = self.journal();
        change(&mut journal);
        let dir = JournalDir::find(&self.path()).unwrap().unwrap();
        dir.write(&dir.lock(PATIENCE).unwrap(), &journal).unwrap();
    }

    /// Whoever took it dies.
    fn orphan(&self) {
        self.rewrite(|journal| journal.owner = Owner { pid: u32::MAX, started: 1 });
    }

    fn phase(&self) -> JournalPhase {
        self.journal().phase
    }

    fn start(&self, words: &str) -> Guard {
        let words = format!("--journal {} {words}", self.path().display());
        Guard(program(&words).spawn().unwrap())
    }

    fn guard(&self, words: &str) -> (i32, String) {
        self.start(words).end()
    }

    fn restored(&self) -> String {
        let (code, text) = self.guard("restore");
        assert_eq!(code, Outcome::Done as i32, "{text}");
        text
    }

    /// At home, and as it was.
    #[track_caller]
    fn is_as_before(&self) {
        assert_eq!(differences(&self.before.borrow(), &self.home.capture()), Vec::<String>::new());
        same(&self.dumped, &dump());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.parking]).stderr(Stdio::null()).status();
    }
}

/// The program, as far as it is the crate's.
fn program(words: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "guard::program_itself", "--test-threads=1", "--nocapture"]);
    command.env(WORDS, words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

#[test]
#[ignore = "run by the tests of the guard"]
fn program_itself() {
    let words = std::env::var(WORDS).unwrap();
    let words = words.split_whitespace().map(Into::into);
    let outcome = hostnet::guard::run(words, &mut std::io::stdout(), &mut std::io::stdout());
    std::process::exit(outcome as i32);
}

/// A guard at work, which ends with this.
struct Guard(Child);

impl Guard {
    /// Its exit code and its words.
    fn end(mut self) -> (i32, String) {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.0.stdout.take().unwrap(), &mut text).unwrap();
        (self.0.wait().unwrap().code().unwrap(), text)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn from_every_phase_it_comes_home_as_it_was() {
    let lab = Lab::new();
    for until in [Until::Written, Until::Parked, Until::HalfDressed, Until::Taken, Until::Recalled] {
        lab.take(until);
        lab.orphan();
        let (code, text) = lab.guard("check");
        assert_eq!(code, Outcome::NotHome as i32, "{until:?}: {text}");
        assert!(text.contains("left behind") && text.contains("is dead"), "{text}");
        let text = lab.restored();
        assert!(text.contains(&format!("{NAME}: home\n")), "{until:?}: {text}");
        lab.is_as_before();
        assert_eq!(lab.phase(), JournalPhase::Home, "{until:?}");
        // Again, with nothing to do.
        assert!(lab.restored().contains("was home already"));
        lab.is_as_before();
        let (code, text) = lab.guard("check");
        assert_eq!(code, Outcome::Done as i32, "{text}");
    }
}

#[test]
fn without_journals_there_is_nothing_to_do() {
    let lab = Lab::new();
    assert!(lab.restored().contains("nothing to do: no journal"));
    assert!(!lab.path().exists());
    assert_eq!(lab.guard("check").0, 0);
    assert_eq!(lab.guard("show --json").0, 0);
}

#[test]
fn what_was_changed_on_the_tap_comes_home() {
    let lab = Lab::left(Until::Taken);
    run("ip", &["addr", "add", "10.200.0.5/24", "dev", NAME]);
    run("ip", &["route", "add", "10.123.0.0/16", "via", "10.77.0.1"]);
    run("ip", &["addr", "del", "10.80.0.5/32", "dev", NAME]);
    lab.restored();
    let home = dump();
    let has = |text: &str| home.iter().any(|(_, row)| row.to_string().contains(&format!("\"{text}\"")));
    assert!(has("10.123.0.0/16"));
    assert!(has("10.200.0.5") && !has("10.80.0.5"));
    run("ip", &["addr", "del", "10.200.0.5/24", "dev", NAME]);
    run("ip", &["route", "del", "10.123.0.0/16", "via", "10.77.0.1"]);
    let left = differences(&lab.before.borrow(), &lab.home.capture());
    assert!(left.len() == 1 && left[0].contains("10.80.0.5"), "{left:?}");
}

#[test]
fn what_a_living_one_has_is_compared() {
    let lab = Lab::new();
    lab.take(Until::Taken);
    let (code, text) = lab.guard("check");
    assert_eq!((code, text.contains(&format!("{NAME}: taken\n"))), (0, true), "{text}");
    run("ip", &["addr", "add", "10.200.0.5/24", "dev", NAME]);
    let (code, text) = lab.guard("check");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("changed since, comes home too") && text.contains("10.200.0.5"), "{text}");
    run("ip", &["link", "del", "dev", NAME]);
    let (code, text) = lab.guard("check");
    assert_eq!(code, Outcome::NotHome as i32, "{text}");
    assert!(text.contains("the tap in its place is gone"), "{text}");
    let (code, text) = lab.guard("show --json");
    assert_eq!(code, 0, "{text}");
    let json = &text[text.find('[').unwrap()..=text.rfind(']').unwrap()];
    let shown: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
    assert_eq!((&shown[0]["phase"], &shown[0]["alive"]), (&"taken".into(), &true.into()), "{text}");
    // Home again, and then changed by somebody.
    lab.orphan();
    lab.restored();
    run("ip", &["link", "set", "dev", NAME, "mtu", "1350"]);
    let (code, text) = lab.guard("check");
    assert_eq!(code, Outcome::NotHome as i32, "{text}");
    assert!(text.contains("at home") && text.contains("MTU is 1350, not 1400"), "{text}");
}
