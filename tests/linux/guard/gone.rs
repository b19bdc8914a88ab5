//! Names that were given away, devices and namespaces that are gone.

use super::*;
use crate::lab::ip;

#[test]
fn a_name_that_is_taken_is_left_to_who_has_it() {
    let lab = Lab::left(Until::Recalled);
    run("ip", &["link", "del", "dev", NAME]);
    // Of the same kind, so that its name alone would make it ours.
    run("ip", &["link", "add", "dev", NAME, "type", "veth", "peer", "name", "other"]);
    let theirs = run("ip", &["-j", "addr", "show", "dev", NAME]);
    for _ in 0..2 {
        let (code, text) = lab.guard("restore");
        assert_eq!(code, Outcome::Differs as i32, "{text}");
        assert!(text.contains(&format!("{NAME} is taken by another device, it is called {NAME}-1 now")), "{text}");
        assert_eq!(run("ip", &["-j", "addr", "show", "dev", NAME]), theirs);
        let mac = ip(&["link", "show", "dev", &format!("{NAME}-1")])[0]["address"].clone();
        assert_eq!(mac, "02:fe:77:01:02:03");
        // As if it had been killed at its end.
        lab.rewrite(|journal| journal.phase = JournalPhase::Giving);
    }
    // The name is free again.
    run("ip", &["link", "del", "dev", NAME]);
    lab.restored();
    lab.is_as_before();
}

#[test]
fn killed_under_another_name_it_is_found() {
    let lab = Lab::left(Until::Recalled);
    run("ip", &["link", "del", "dev", NAME]);
    run("ip", &["-n", &lab.parking, "link", "set", "dev", NAME, "down"]);
    run("ip", &["-n", &lab.parking, "link", "set", "dev", NAME, "name", &format!("{NAME}-3")]);
    lab.restored();
    lab.is_as_before();
}

#[test]
fn a_device_that_is_gone_is_told_and_nobody_else_is_dressed() {
    let lab = Lab::left(Until::Taken);
    run("ip", &["-n", &lab.parking, "link", "del", "dev", NAME]);
    // Another one with its name, and one with its MAC.
    let theirs = || {
        run("ip", &["link", "add", "dev", NAME, "type", "veth", "peer", "name", "other"]);
        run("ip", &["link", "set", "dev", "lab.eth1", "address", "02:fe:77:01:02:03"]);
        dump()
    };
    let (code, text) = lab.guard("restore");
    assert_eq!(code, Outcome::NotHome as i32, "{text}");
    assert!(text.contains("the device is gone: neither parked nor at home"), "{text}");
    let there = theirs();
    for _ in 0..2 {
        let (code, text) = lab.guard("restore");
        assert_eq!(code, Outcome::NotHome as i32, "{text}");
        same(&there, &dump());
    }
    assert_eq!(lab.phase(), JournalPhase::Giving);
}

#[test]
fn without_its_namespace_it_stays_where_it_is() {
    let lab = Lab::left(Until::Taken);
    // Of a namespace that nothing stands for any more.
    lab.rewrite(|journal| (journal.home.dev, journal.home.path) = (1, "/proc/0/ns/net".into()));
    let (code, text) = lab.guard("restore");
    assert_eq!(code, Outcome::NotHome as i32, "{text}");
    let stays = format!("the device stays in namespace {}", lab.parking);
    assert!(text.contains("it is gone") && text.contains(&stays), "{text}");
    let parked = run("ip", &["-n", &lab.parking, "-o", "link", "show", "dev", NAME]);
    assert!(parked.contains(NAME));
    let (code, text) = lab.guard("check");
    assert_eq!(code, Outcome::NotHome as i32, "{text}");
}
