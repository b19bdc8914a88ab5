//! What needs a process of its own: this test binary, run again with less
//! rights, or alone so that its open files can be counted.

use std::process::Command as Process;
use std::sync::Arc;

use hostnet::engine::LinuxStep;
use hostnet::linux::{NetnsFile, is_astray};

use crate::lab::{Lab, rich_plan};

/// Run one of the ignored tests below, behind a program that takes something
/// away first.
pub(crate) fn run_child(wrapper: &[&str], test: &str) {
    let own = std::env::current_exe().unwrap();
    let (program, args) = wrapper.split_first().unwrap();
    let output = Process::new(program)
        .args(args)
        .arg(own)
        .args(["--ignored", "--exact", test, "--test-threads=1", "--nocapture"])
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn without_sys_admin_it_is_refused_by_name() {
    run_child(&["unshare", "--net", "setpriv", "--bounding-set=-sys_admin"], "child::no_sys_admin");
}

#[test]
#[ignore = "run by without_sys_admin_it_is_refused_by_name"]
fn no_sys_admin() {
    let facts = hostnet::linux::probe(&"/proc/self/ns/net".parse().unwrap(), Some(&"lab.eth0".parse().unwrap()));
    assert_eq!(facts.refusals.len(), 2, "{facts:?}");
    assert!(facts.refusals.iter().all(|refusal| refusal.contains("CAP_SYS_ADMIN")), "{facts:?}");
}

#[test]
fn without_net_admin_it_is_refused_by_name() {
    run_child(&["unshare", "--net", "setpriv", "--bounding-set=-net_admin"], "child::no_net_admin");
}

#[test]
#[ignore = "run by without_net_admin_it_is_refused_by_name"]
fn no_net_admin() {
    let facts = hostnet::linux::probe(&"/proc/self/ns/net".parse().unwrap(), Some(&"lab.eth0".parse().unwrap()));
    let [refusal] = facts.refusals.as_slice() else { panic!("{facts:?}") };
    assert!(refusal.contains("CAP_NET_ADMIN"), "{refusal}");
}

#[test]
fn a_missing_tun_device_is_named_with_its_mend() {
    let hide = "mount -t tmpfs none /dev/net && exec \"$@\"";
    run_child(&["unshare", "--net", "--mount", "sh", "-ec", hide, "sh"], "child::no_tun");
}

#[test]
#[ignore = "run by a_missing_tun_device_is_named_with_its_mend"]
fn no_tun() {
    let facts = hostnet::linux::probe(&"/proc/self/ns/net".parse().unwrap(), None);
    let [refusal] = facts.refusals.as_slice() else { panic!("{facts:?}") };
    assert!(refusal.contains("/dev/net/tun") && refusal.contains("modprobe tun"), "{refusal}");
}

#[test]
fn a_tun_device_that_may_not_be_opened_is_named() {
    let forbid = "mount -t tmpfs -o nodev none /dev/net && mknod /dev/net/tun c 10 200 && exec \"$@\"";
    run_child(&["unshare", "--net", "--mount", "sh", "-ec", forbid, "sh"], "child::forbidden_tun");
}

#[test]
#[ignore = "run by a_tun_device_that_may_not_be_opened_is_named"]
fn forbidden_tun() {
    let facts = hostnet::linux::probe(&"/proc/self/ns/net".parse().unwrap(), None);
    let [refusal] = facts.refusals.as_slice() else { panic!("{facts:?}") };
    assert!(refusal.contains("/dev/net/tun") && refusal.contains("Permission denied"), "{refusal}");
}

#[test]
fn no_open_file_and_no_namespace_is_left_over() {
    run_child(&["unshare", "--net"], "child::fifty_rounds");
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
#[ignore = "run by no_open_file_and_no_namespace_is_left_over"]
fn fifty_rounds() {
    let mut lab = Lab::new();
    let before = lab.dump();
    let plan = Arc::new(rich_plan(lab.netns()));
    let mut broken = rich_plan(lab.netns());
    broken.device.mtu = 1000;
    let broken = Arc::new(broken);
    let files = open_files();
    for _ in 0..50 {
        assert_eq!(lab.probe(lab.netns(), Some("lab.eth0")).refusals, Vec::<String>::new());
        lab.apply_all(&plan);
        lab.undo_all(&plan);
        lab.unplug();
        lab.apply_until(&broken, LinuxStep::Move);
        assert!(lab.apply(&broken, LinuxStep::Move).is_err());
        lab.undo_before(&broken, LinuxStep::Move);
        lab.unplug();
    }
    assert_eq!(open_files(), files);
    assert_eq!(lab.dump(), before);
}

#[test]
fn a_thread_that_cannot_go_home_does_nothing_more() {
    run_child(&["unshare", "--net"], "child::no_way_home");
}

#[test]
#[ignore = "run by a_thread_that_cannot_go_home_does_nothing_more"]
fn no_way_home() {
    let root = nix::unistd::Uid::from_raw(0);
    let nobody = nix::unistd::Uid::from_raw(65_534);
    let away = NetnsFile::anonymous().unwrap();
    let guard = away.enter().unwrap();
    // Without its rights the thread cannot enter its own namespace either.
    nix::unistd::seteuid(nobody).unwrap();
    let left = guard.leave();
    nix::unistd::seteuid(root).unwrap();
    assert!(left.is_err_and(|error| error.to_string().contains("return to the own network namespace")));
    assert!(is_astray());
    assert!(NetnsFile::anonymous().is_err() && away.enter().is_err());
    // It is this thread's trouble alone.
    assert!(!std::thread::spawn(is_astray).join().unwrap());
}
