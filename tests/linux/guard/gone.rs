//! Names that were given away, devices and namespaces that are gone.

use hostnet::engine::{DriverChoice, EnableRequest, Startup, UplinkRequest};

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
    // Until somebody says that it will not come again.
    let (_, text) = lab.guard("restore");
    assert!(text.contains(&format!("'hostnet-guard forget {NAME}' ends this")), "{text}");
    let (code, text) = lab.guard(&format!("forget {NAME}"));
    assert!(code == 0 && text.contains(".journal.forgotten-1 now"), "{text}");
    same(&there, &dump());
    assert!(lab.restored().contains("nothing to do: no journal"));
    let (code, text) = lab.guard(&format!("forget {NAME}"));
    assert!(code == Outcome::NotHome as i32 && text.contains("has no journal of it"), "{text}");
}

#[test]
fn what_has_a_way_home_is_not_forgotten() {
    let lab = Lab::new();
    lab.take(Until::Taken);
    let refused = |why: &str| {
        let (code, text) = lab.guard(&format!("forget {NAME}"));
        assert!(code == Outcome::NotHome as i32 && text.contains(why), "{text}");
    };
    refused("lives and has it");
    lab.orphan();
    refused("its device is there");
    lab.restored();
    lab.is_as_before();
    // Home, it would only be taken again.
    let (code, text) = lab.guard(&format!("forget {NAME}"));
    assert_eq!(code, 0, "{text}");
    // One of two.
    lab.take(Until::Written);
    lab.orphan();
    let mut other = lab.journal();
    other.home.ino = 7;
    let dir = JournalDir::find(&lab.path()).unwrap().unwrap();
    dir.write(&dir.lock(PATIENCE).unwrap(), &other).unwrap();
    refused("there are several: write one of ");
    let (code, text) = lab.guard(&format!("forget {NAME}@7"));
    assert_eq!(code, 0, "{text}");
    lab.restored();
}

/// For the user's own commands it stays where it is, and is often renamed
/// there.
#[test]
fn renamed_at_home_it_is_found_by_its_number() {
    let lab = Lab::new();
    // A way over two devices stays where it is when one goes down.
    for family in ["10.7.0.0/16", "fd14::/48", "fd15::/48"] {
        run("ip", &[if family.contains(':') { "-6" } else { "-4" }, "route", "del", family]);
    }
    let takeover = Takeover { driver: None, ..lab.takeover() };
    let request = UplinkRequest {
        linux_if: name(),
        driver: DriverChoice::None,
        no_iommu: false,
        enable: EnableRequest { host_netns: takeover.home.clone(), ..EnableRequest::default() },
    };
    let startup = Startup { journal: lab.path(), netns: lab.parking.clone(), ..Startup::default() };
    lab.before.replace(Captured::clone(&takeover.captured));
    home::keep(&request, &startup, &takeover.words).unwrap();
    run("ip", &["link", "set", "dev", NAME, "down"]);
    run("ip", &["link", "set", "dev", NAME, "name", "phys0"]);
    let plan = lab.plan(&takeover);
    home::write_journal(&takeover).unwrap();
    home::foresee_tap(&plan, &takeover).unwrap();
    let file = open_tun(&name(), true).unwrap();
    let mtu = plan.device.mtu.to_string();
    run("ip", &["link", "set", "dev", NAME, "address", &plan.device.mac.to_string(), "mtu", &mtu]);
    let number = index(NAME);
    let left = restore(&lab.home.own, number, &takeover.captured, Dressing::Tap).unwrap();
    assert_eq!(left, Vec::<String>::new());
    home::commit(&plan, &takeover, number).unwrap();
    drop(file);
    lab.orphan();
    // Another one with its MAC is another one.
    run("ip", &["link", "set", "dev", "lab.eth1", "address", "02:fe:77:01:02:03"]);
    lab.restored();
    assert_eq!(ip(&["link", "show"]).iter().filter(|link| link["ifname"] == "phys0").count(), 0);
    assert_eq!(differences(&lab.before.borrow(), &lab.home.capture()), Vec::<String>::new());
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
