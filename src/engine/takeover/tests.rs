#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::model::{CapturedLink, MacAddr, PciDevice};

fn captured(kernel: Option<&str>) -> Captured {
    let pci = kernel.map(|driver| PciDevice {
        address: "0000:d8:0a.0".to_owned(),
        driver: Some(driver.to_owned()),
        driver_override: None,
    });
    let link = CapturedLink::new("enp1s0".parse().unwrap(), 2, MacAddr([2, 0, 0, 0, 0, 1]), 1500);
    Captured { pci, ..Captured::new(link) }
}

pub(in crate::engine) fn survey(kernel: Option<&str>, pci_refusals: &[&str]) -> Survey {
    Survey {
        captured: Arc::new(captured(kernel)),
        home_ino: 7,
        config: HostConfig::default(),
        kept: Vec::new(),
        usage: Vec::new(),
        refusals: Vec::new(),
        ways: [Driver::AfXdp, Driver::Rdma, Driver::Virtio, Driver::Vmxnet3, Driver::Device]
            .map(|driver| Way {
                driver,
                kernel_driver: driver.takes_pci().then(|| "vfio-pci".to_owned()),
                refusals: pci_refusals.iter().map(|text| (*text).to_owned()).collect(),
            })
            .to_vec(),
        rdma: None,
        linux: LinuxFacts::default(),
    }
}

pub(in crate::engine) fn all() -> Prospects {
    Prospects {
        drivers: Driver::ALL.to_vec(),
        tap_plugin: true,
        device_driver: Some("ige".to_owned()),
        xdp_mtu: 1774,
        ..Prospects::default()
    }
}

#[test]
fn every_reason_is_told_at_once() {
    let mut survey = survey(Some("vmxnet3"), &[]);
    survey.refusals.push("a bridge port".to_owned());
    let prospects = Prospects { refusals: vec!["a redirect".to_owned()], ..Prospects::default() };
    let request = UplinkRequest {
        linux_if: "enp1s0".parse().unwrap(),
        driver: DriverChoice::Auto,
        no_iommu: false,
        enable: EnableRequest { mtu: Some(1_000_000), ..EnableRequest::default() },
    };
    let text = Takeover::plan(UplinkId(1), &request, "enp1s0", &Startup::default(), survey, prospects)
        .unwrap_err()
        .to_string();
    for word in ["a bridge port", "a redirect", "1000000", "no driver is possible"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn the_plan_has_the_steps_of_a_takeover_and_tells_them() {
    let request = UplinkRequest {
        linux_if: "enp1s0".parse().unwrap(),
        driver: DriverChoice::Auto,
        no_iommu: false,
        enable: EnableRequest::default(),
    };
    let plan = Takeover::plan(UplinkId(1), &request, "enp1s0", &Startup::default(), survey(None, &[]), all()).unwrap();
    assert_eq!(plan.device.name.as_str(), "enp1s0");
    assert_eq!(plan.uplink, NO_SW_IF_INDEX);
    assert!(plan.steps().any(|step| step.name() == "linux-take"));
    let text = plan.describe();
    for word in ["Takeover of enp1s0", "af-packet", "hostnet-uplinks", "/var/lib/hostnet"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn the_pci_address_is_read_out_of_the_names_that_drivers_give() {
    for (name, address) in [
        ("avf-0/d8/a/0", Some("0000:d8:0a.0")),
        ("vmxnet3-0/b/0/0", Some("0000:0b:00.0")),
        ("TenGigabitEthernetd8/0/1", Some("0000:d8:00.1")),
        ("GigabitEthernet3", None),
        ("host-eth0", None),
        ("x-0/1/20/0", None),
        ("tap0", None),
    ] {
        assert_eq!(pci_address(name).as_deref(), address, "{name}");
    }
}

#[test]
fn what_was_kept_is_found_by_pci_address_then_mac_then_name() {
    let card = captured(Some("ixgbe"));
    let fits = |name: &str, mac: u8, linux: Option<&str>, captured: &Captured| {
        let linux = linux.map(|name| name.parse().unwrap());
        Identity::new(name, MacAddr([2, 0, 0, 0, 0, mac]), linux).fits(captured)
    };
    assert_eq!(fits("dpdk-0/d8/a/0", 9, None, &card), Some(0));
    assert_eq!(fits("dpdk-0/d8/a/1", 1, None, &card), None, "another card, whatever its MAC is");
    assert_eq!(fits("host-x", 1, None, &card), Some(1));
    assert_eq!(fits("host-x", 9, Some("enp1s0"), &card), Some(2));
    assert_eq!(fits("host-x", 9, Some("other"), &card), None);
    assert_eq!(fits("dpdk-0/d8/a/0", 1, None, &captured(None)), Some(1));
}

#[test]
fn what_dpdk_is_to_make_is_known_by_address_or_mac() {
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let expected = Expected { linux_if: "enp1s0".parse().unwrap(), pci: "0000:d8:0a.0".to_owned(), mac: mac(1) };
    assert!(expected.is_it("GigabitEthernetd8/a/0", mac(9), "dpdk"));
    assert!(!expected.is_it("GigabitEthernetd8/a/1", mac(1), "dpdk"), "another card, whatever its MAC is");
    // Named by the user.
    assert!(expected.is_it("wan", mac(1), "dpdk"));
    assert!(!expected.is_it("wan", mac(9), "dpdk"));
    assert!(!expected.is_it("GigabitEthernetd8/a/0", mac(1), "af-packet"));
}
