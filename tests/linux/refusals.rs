//! What a probe says, and that it changes nothing.

use std::path::PathBuf;

use hostnet::model::Netns;

use crate::lab::{Lab, run};

#[test]
fn a_free_name_in_a_good_namespace_is_not_refused() {
    let lab = Lab::new();
    let before = lab.dump();
    for name in [None, Some("lab.eth0")] {
        let facts = lab.probe(lab.netns(), name);
        assert_eq!(facts.refusals, Vec::<String>::new());
        let vhost = std::fs::OpenOptions::new().read(true).write(true).open("/dev/vhost-net");
        assert_eq!(facts.vhost_missing.is_none(), vhost.is_ok(), "{facts:?}");
        if let Some(reason) = facts.vhost_missing {
            assert!(reason.contains("/dev/vhost-net"), "{reason}");
        }
    }
    assert_eq!(lab.dump(), before);
}

#[test]
fn a_taken_name_is_named_with_its_namespace() {
    let lab = Lab::new();
    run("ip", &["link", "add", "lab.eth0", "type", "veth", "peer", "name", "other"]);
    run("ip", &["link", "property", "add", "dev", "other", "altname", "lab-alternative"]);
    let before = lab.dump();
    for name in ["lab.eth0", "lab-alternative"] {
        let facts = lab.probe(lab.netns(), Some(name));
        let [refusal] = facts.refusals.as_slice() else { panic!("{facts:?}") };
        for part in [name, "is taken", &lab.netns().to_string(), "host-if", "veth"] {
            assert!(refusal.contains(part), "{part}: {refusal}");
        }
    }
    assert_eq!(lab.dump(), before);
}

#[test]
fn what_is_no_network_namespace_is_named() {
    let lab = Lab::new();
    let before = lab.dump();
    // Opening one blocks until somebody writes: nobody does.
    let fifo = std::env::temp_dir().join(format!("hostnet-fifo-{}", std::process::id()));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (netns, part) in [
        (Netns::Path(PathBuf::from("/proc/self/ns/mnt")), "not a network namespace"),
        (Netns::Path(PathBuf::from("/etc/passwd")), "not a network namespace"),
        (Netns::Path(PathBuf::from("/proc")), "not a network namespace"),
        (Netns::Path(fifo.clone()), "not a network namespace"),
        (Netns::Path(PathBuf::from("/nonexistent")), "No such file"),
        (Netns::Name("no-such-name".to_owned()), "No such file"),
        (Netns::Pid(u32::MAX >> 1), "No such file"),
    ] {
        let facts = lab.probe(netns.clone(), Some("lab.eth0"));
        let [refusal] = facts.refusals.as_slice() else { panic!("{netns}: {facts:?}") };
        assert!(refusal.contains(part) && refusal.contains(&netns.to_string()), "{refusal}");
    }
    std::fs::remove_file(fifo).unwrap();
    assert_eq!(lab.dump(), before);
}
