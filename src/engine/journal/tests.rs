//! A journal is read as it was written, or not at all.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::model::{CapturedLink, PciDevice, RawMessage};

const BOOT: &str = "5f0b8a52-8f0e-4b8a-9a52-0c6f4d1d2a77";

fn link() -> CapturedLink {
    CapturedLink {
        alias: Some("the \"uplink\"\n".to_owned()),
        altnames: vec!["enp216s0f1".to_owned()],
        txqlen: Some(1000),
        addr_gen_mode: Some(1),
        master: Some((3, "br0".to_owned())),
        ..CapturedLink::new("eth0".parse().unwrap(), 7, MacAddr([2, 0, 0, 0, 0, 1]), 1500)
    }
}

fn sample() -> Journal {
    Journal {
        boot_id: BOOT.to_owned(),
        owner: Owner { pid: 4711, started: 99 },
        phase: JournalPhase::Taken,
        interface: "eth0".parse().unwrap(),
        home: HomeNetns { path: "/proc/1/ns/net".into(), dev: 4, ino: 4_026_531_840 },
        device: TakenDevice::Pci {
            address: "0000:d8:0a.0".to_owned(),
            original_driver: Some("iavf".to_owned()),
            taken_driver: "vfio-pci".to_owned(),
        },
        tap: Some(JournalTap { name: "eth0".parse().unwrap(), index: 9, mac: MacAddr([2, 0, 0, 0, 0, 1]), mtu: 1500 }),
        captured: Captured {
            taken_at: 17,
            addresses: vec![RawMessage(vec![2, 24, 0x80, 0xff])],
            routes: vec![RawMessage(vec![10, 0, 7])],
            sysctls: BTreeMap::from([("ipv6/conf/accept_ra".to_owned(), "2".to_owned())]),
            pci: Some(PciDevice {
                address: "0000:d8:0a.0".to_owned(),
                driver: Some("iavf".to_owned()),
                driver_override: None,
            }),
            ..Captured::new(link())
        },
        request: "uplink eth0 driver auto".to_owned(),
    }
}

/// A file with a right header round any body.
fn file(version: u32, body: &[u8]) -> Vec<u8> {
    [header(version, body).as_bytes(), body].concat()
}

fn body(journal: &Journal) -> String {
    serde_json::to_string(journal).unwrap()
}

fn why(bytes: &[u8]) -> String {
    decode(bytes, BOOT).unwrap_err().to_string()
}

#[test]
fn the_format_is_the_one_that_other_versions_know() {
    let bytes = encode(&sample()).unwrap();
    assert_eq!(decode(&bytes, BOOT), Ok(sample()));
    // When this changes, so does JOURNAL_VERSION, once a version is out.
    let text = String::from_utf8(bytes).unwrap();
    let (header, body) = text.split_once('\n').unwrap();
    let words: Vec<&str> = header.split(' ').collect();
    assert_eq!(words[..3], ["hostnet-journal", "1", &body.len().to_string()]);
    assert!(words.len() == 4 && words[3].len() == 64, "{header}");
    let start = "{\"boot_id\":\"5f0b8a52-8f0e-4b8a-9a52-0c6f4d1d2a77\",\"owner\":{\"pid\":4711,\"started\":99},\
        \"phase\":\"taken\",\"interface\":\"eth0\",\
        \"home\":{\"path\":\"/proc/1/ns/net\",\"dev\":4,\"ino\":4026531840},\
        \"device\":{\"pci\":{\"address\":\"0000:d8:0a.0\",\"original_driver\":\"iavf\",\"taken_driver\":\"vfio-pci\"}},\
        \"tap\":{\"name\":\"eth0\",\"index\":9,\"mac\":\"02:00:00:00:00:01\",\"mtu\":1500},\"captured\":{\"taken_at\":17,\"link\":{";
    assert!(body.starts_with(start), "{body}");
    assert!(body.ends_with("},\"request\":\"uplink eth0 driver auto\"}"), "{body}");
}

/// Made by another program: `printf 'hostnet-journal 2 2 {}' | sha256sum`.
#[test]
fn the_digest_is_sha256_of_three_words_and_the_body() {
    let digest = "fc74a2f0a828a641e9642e2357d93c0881218aaee41f94218dc711600499aa41";
    assert_eq!(header(2, b"{}"), format!("hostnet-journal 2 2 {digest}\n"));
}

#[test]
fn cut_at_any_byte_it_is_damaged() {
    let bytes = encode(&sample()).unwrap();
    for end in 0..bytes.len() {
        assert!(matches!(decode(&bytes[..end], BOOT), Err(JournalFault::Damaged(_))), "cut at {end}");
        assert!(matches!(decode(&bytes[end + 1..], BOOT), Err(JournalFault::Damaged(_))), "from {end}");
    }
}

#[test]
fn with_any_bit_flipped_it_is_damaged() {
    let mut bytes = encode(&sample()).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            // Not newer, nor of another boot either: a digit of those may be
            // the one that is wrong.
            assert!(matches!(decode(&bytes, BOOT), Err(JournalFault::Damaged(_))), "bit {bit} of byte {at}");
            bytes[at] ^= 1 << bit;
        }
    }
    assert_eq!(decode(&bytes, BOOT), Ok(sample()));
}

#[test]
fn with_any_byte_appended_or_zeroed_it_is_damaged() {
    let bytes = encode(&sample()).unwrap();
    for byte in 0..=u8::MAX {
        let longer = [bytes.as_slice(), &[byte]].concat();
        assert!(matches!(decode(&longer, BOOT), Err(JournalFault::Damaged(_))), "{byte} behind it");
    }
    // As after a crash, where a file's length is there and its blocks are not.
    for from in 0..bytes.len() {
        let mut holes = bytes.clone();
        holes[from..].fill(0);
        assert!(matches!(decode(&holes, BOOT), Err(JournalFault::Damaged(_))), "zeroes from {from}");
    }
}

#[test]
fn the_header_of_one_is_not_believed_for_another() {
    let one = encode(&sample()).unwrap();
    let other = encode(&Journal { phase: JournalPhase::Giving, ..sample() }).unwrap();
    let cut = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mixed = [&one[..cut(&one)], &other[cut(&other)..]].concat();
    assert!(matches!(decode(&mixed, BOOT), Err(JournalFault::Damaged(_))));
}

#[test]
fn a_newer_one_is_told_from_a_damaged_one() {
    for version in [2, 3, u32::MAX] {
        for text in [body(&sample()).as_str(), "{\"entirely\":\"different\"}", ""] {
            let bytes = file(version, text.as_bytes());
            assert_eq!(decode(&bytes, BOOT), Err(JournalFault::Newer { version }));
            let cut = &bytes[..bytes.len() - 1];
            assert!(matches!(decode(cut, BOOT), Err(JournalFault::Damaged(_))), "{version}");
        }
    }
    assert!(why(&file(0, body(&sample()).as_bytes())).contains("version 0"));
}

#[test]
fn one_of_another_boot_is_known() {
    let bytes = encode(&sample()).unwrap();
    let fault = decode(&bytes, "another").unwrap_err();
    assert_eq!(fault, JournalFault::OtherBoot { boot_id: BOOT.to_owned() });
    assert_eq!(fault.to_string(), format!("it is of another boot of the machine, {BOOT}"));
    assert!(matches!(decode(&bytes, ""), Err(JournalFault::OtherBoot { .. })));
}

#[test]
fn what_this_version_would_leave_unread_is_not_believed() {
    let text = body(&sample());
    for (wrong, words) in [
        // A field that is not known, at any depth, or twice there.
        (text.replacen("{\"boot_id\"", "{\"new\":1,\"boot_id\"", 1), "no place"),
        (text.replacen("{\"name\"", "{\"new\":{},\"name\"", 1), "no place"),
        (text.replacen("\"mtu\":1500", "\"mtu\":1500,\"mtu\":1400", 1), "makes no sense"),
        // One that is not there, even if it may be empty.
        (text.replacen("\"kind\":null,", "", 1), "no place"),
        (text.replacen("\"mtu\":1500,", "", 1), "makes no sense"),
        // Another spelling of the same.
        (text.replacen(":1500", ": 1500", 1), "no place"),
        (format!("{text}\n"), "no place"),
        (text.replacen("\"interface\":\"eth0\"", "\"interface\":\"a/b\"", 1), "makes no sense"),
        (text.replacen("\"taken\"", "\"lost\"", 1), "makes no sense"),
        ("{}".to_owned(), "makes no sense"),
        (String::new(), "makes no sense"),
    ] {
        assert_ne!(wrong, text, "{words}");
        let told = why(&file(JOURNAL_VERSION, wrong.as_bytes()));
        assert!(told.starts_with("it is damaged") && told.contains(words), "{wrong}: {told}");
    }
}

#[test]
fn every_damage_has_its_words() {
    let bytes = encode(&sample()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    for (wrong, words) in [
        (String::new(), "empty"),
        ("x".repeat(10_000), "no header line"),
        (text.replacen("hostnet", "hostage", 1), "not a journal's header"),
        (text.replacen("journal 1", "journal  1", 1), "not a journal's header"),
        (text.replacen("journal 1", "journal one", 1), "no version or no length"),
        (text.replacen("journal 1", "journal 01", 1), "SHA-256"),
        (text.replacen("journal 1", "journal +1", 1), "SHA-256"),
        (text.replacen('\n', " \n", 1), "SHA-256"),
        (text.replacen('\n', "\n\n", 1), "promises"),
        (text.replacen("eth0", "eth1", 1), "SHA-256"),
    ] {
        let told = why(wrong.as_bytes());
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn a_path_that_json_cannot_hold_is_not_written() {
    use std::os::unix::ffi::OsStrExt;
    let mut journal = sample();
    journal.home.path = std::ffi::OsStr::from_bytes(b"/\xff").into();
    assert!(encode(&journal).is_err());
}

#[test]
fn names_are_read_as_they_are_written() {
    for text in ["eth0@4026531840", "a@b@1", "@@0", ".lock@7", "x.journal@18446744073709551615"] {
        assert_eq!(text.parse::<JournalName>().unwrap().to_string(), text);
    }
    for bad in ["", "eth0", "eth0@", "@1", "eth0@01", "eth0@+1", "eth0@-1", "a/b@1", "eth0@18446744073709551616"] {
        assert!(bad.parse::<JournalName>().is_err(), "{bad}");
    }
    assert_eq!(sample().name().to_string(), "eth0@4026531840");
}

#[test]
fn each_fault_has_a_word_for_a_file_name() {
    let faults = [
        JournalFault::Damaged(String::new()),
        JournalFault::Untrusted(String::new()),
        JournalFault::Newer { version: 2 },
        JournalFault::OtherBoot { boot_id: String::new() },
    ];
    assert_eq!(faults.map(|fault| fault.word()), ["damaged", "untrusted", "newer", "other-boot"]);
}

fn messages() -> impl Strategy<Value = Vec<RawMessage>> {
    vec(vec(any::<u8>(), 0..40).prop_map(RawMessage), 0..5)
}

fn device() -> impl Strategy<Value = TakenDevice> {
    let mac = any::<[u8; 6]>().prop_map(MacAddr);
    let name = select(&["eth0", "a@b", "\"", "ü\u{1F600}"]).prop_map(|name| name.parse().unwrap());
    let netdev = (any::<String>(), mac, name, any::<bool>())
        .prop_map(|(parking, mac, parked_name, xdp)| TakenDevice::Netdev { parking, mac, parked_name, index: 7, xdp });
    let pci = (any::<String>(), any::<Option<String>>(), any::<String>()).prop_map(
        |(address, original_driver, taken_driver)| TakenDevice::Pci { address, original_driver, taken_driver },
    );
    prop_oneof![netdev, pci]
}

prop_compose! {
    fn captured()(
        addresses in messages(), nexthops in messages(), routes in messages(),
        rules in messages(), neighbours in messages(),
        sysctls in btree_map(any::<String>(), any::<String>(), 0..4),
        alias in any::<Option<String>>(), altnames in vec(any::<String>(), 0..3),
        index in any::<u32>(), pci in any::<bool>(),
    ) -> Captured {
        let link = CapturedLink { index, alias, altnames, ..link() };
        let pci = sample().captured.pci.filter(|_| pci);
        let (taken_at, absent_routes) = (u64::from(index), addresses.clone());
        Captured { taken_at, link, addresses, nexthops, routes, absent_routes, rules, neighbours, sysctls, pci }
    }
}

prop_compose! {
    fn journal()(
        boot_id in any::<String>(), request in any::<String>(), path in any::<String>(),
        (dev, ino) in any::<(u64, u64)>(), tap in any::<bool>(),
        phase in select(&[JournalPhase::Taking, JournalPhase::Taken, JournalPhase::Giving, JournalPhase::Home, JournalPhase::Kept]),
        device in device(), captured in captured(), (pid, started) in any::<(u32, u64)>(),
    ) -> Journal {
        let owner = Owner { pid, started };
        let home = HomeNetns { path: path.into(), dev, ino };
        let tap = sample().tap.filter(|_| tap);
        Journal { boot_id, owner, phase, interface: sample().interface, home, device, tap, captured, request }
    }
}

proptest! {
    #[test]
    fn any_journal_comes_back(journal in journal()) {
        let bytes = encode(&journal).unwrap();
        prop_assert_eq!(decode(&bytes, &journal.boot_id), Ok(journal));
    }

    #[test]
    fn a_changed_one_does_not(
        journal in journal(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..20,
        instead in vec(any::<u8>(), 0..20),
    ) {
        let bytes = encode(&journal).unwrap();
        let at = at.index(bytes.len());
        let mut changed = bytes.clone();
        changed.splice(at..(at + length).min(bytes.len()), instead);
        let read = decode(&changed, &journal.boot_id);
        prop_assert_eq!(read.is_ok(), changed == bytes);
    }

    #[test]
    fn random_bytes_are_none(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(matches!(decode(&bytes, BOOT), Err(JournalFault::Damaged(_))));
        // Even where the header fits them.
        prop_assert!(matches!(decode(&file(JOURNAL_VERSION, &bytes), BOOT), Err(JournalFault::Damaged(_))));
    }
}
