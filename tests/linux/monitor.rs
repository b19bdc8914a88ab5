//! What everybody else in the namespace sees of the device's arrival.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::lab::{Lab, rich_plan, run};

/// `ip monitor`, as a udev or a network manager would listen.
struct Monitor {
    child: Child,
    lines: Receiver<String>,
}

impl Monitor {
    fn start() -> Self {
        let mut child = Process::new("ip").args(["-o", "monitor", "link"]).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tx, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tx.send(line)));
        let monitor = Self { child, lines };
        // It listens once it tells of a change that we make.
        for length in 1001..1301 {
            run("ip", &["link", "set", "lo", "txqueuelen", &length.to_string()]);
            if monitor.lines.recv_timeout(Duration::from_millis(100)).is_ok() {
                return monitor;
            }
        }
        panic!("ip monitor does not speak");
    }

    /// Everything up to a last change, made for the purpose.
    fn finish(mut self) -> Vec<String> {
        run("ip", &["link", "add", "last", "type", "veth", "peer", "name", "last-peer"]);
        let mut seen = Vec::new();
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30)).unwrap();
            // The peer is told of first.
            if line.contains(" last-peer@") {
                break;
            }
            seen.push(line);
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        seen
    }
}

#[test]
fn the_device_appears_down_and_under_its_final_name_only() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    let monitor = Monitor::start();
    lab.apply_all(&plan);
    lab.undo_all(&plan);
    let seen = monitor.finish();
    let ours: Vec<&String> = seen.iter().filter(|line| !line.contains(" lo: ")).collect();
    assert!(ours.len() > 2, "{seen:#?}");
    assert!(ours.iter().all(|line| line.contains(" lab.eth0: ")), "{ours:#?}");
    assert!(!ours[0].contains("UP") && ours[0].contains("02:fe:77:01:02:03"), "{ours:#?}");
    assert!(ours.iter().any(|line| line.contains("UP")), "{ours:#?}");
}
