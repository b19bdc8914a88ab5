#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::engine::takeover::tests::{all, survey};

fn auto(survey: &Survey, prospects: &Prospects) -> Result<Driver, String> {
    choose(DriverChoice::Auto, survey, prospects).map(|(driver, _)| driver)
}

#[test]
fn auto_takes_vpps_own_driver_of_the_card_and_else_the_netdev() {
    assert_eq!(auto(&survey(Some("virtio-pci"), &[]), &all()), Ok(Driver::Virtio));
    assert_eq!(auto(&survey(Some("vmxnet3"), &[]), &all()), Ok(Driver::Vmxnet3));
    assert_eq!(auto(&survey(Some("ixgbe"), &[]), &all()), Ok(Driver::AfPacket));
    assert_eq!(auto(&survey(None, &[]), &all()), Ok(Driver::AfPacket));
    let (driver, reason) = choose(DriverChoice::Auto, &survey(Some("vmxnet3"), &["no IOMMU"]), &all()).unwrap();
    assert_eq!(driver, Driver::AfPacket);
    assert!(reason.contains("vmxnet3") && reason.contains("no IOMMU"), "{reason}");
}

#[test]
fn what_is_not_possible_is_refused_with_the_reason() {
    let none = Prospects::default();
    let reason = auto(&survey(Some("vmxnet3"), &[]), &none).unwrap_err();
    assert!(reason.contains("vmxnet3") && reason.contains("af-packet"), "{reason}");
    let asked = |driver, survey: &Survey| choose(DriverChoice::This(driver), survey, &all());
    assert_eq!(asked(Driver::Virtio, &survey(Some("virtio-pci"), &[])).map(|(d, _)| d), Ok(Driver::Virtio));
    assert!(asked(Driver::Virtio, &survey(None, &[])).unwrap_err().contains("PCI"));
    assert!(asked(Driver::Virtio, &survey(Some("virtio-pci"), &["shared group"])).unwrap_err().contains("shared"));
}

#[test]
fn a_netdev_is_shared_only_where_that_is_asked_for() {
    let asked = |driver, survey: &Survey, prospects: &Prospects| {
        choose(DriverChoice::This(driver), survey, prospects).map(|(driver, _)| driver)
    };
    // Neither has to be on the PCI bus for af-xdp.
    for kernel in [None, Some("ixgbe")] {
        assert_eq!(asked(Driver::AfXdp, &survey(kernel, &[]), &all()), Ok(Driver::AfXdp));
        assert_eq!(asked(Driver::Rdma, &survey(kernel, &[]), &all()), Ok(Driver::Rdma));
    }
    // VPP's reasons against taking a card away are none against these.
    let prospects = Prospects { pci_refusals: vec!["no huge pages".to_owned()], ..all() };
    assert_eq!(asked(Driver::AfXdp, &survey(None, &[]), &prospects), Ok(Driver::AfXdp));
    let reason = asked(Driver::AfXdp, &survey(None, &["it has an XDP program"]), &all()).unwrap_err();
    assert!(reason.contains("XDP program"), "{reason}");
    let without = Prospects { drivers: vec![Driver::AfPacket], ..all() };
    let reason = asked(Driver::Rdma, &survey(Some("mlx5_core"), &[]), &without).unwrap_err();
    assert!(reason.contains("VPP has no rdma"), "{reason}");
    assert_eq!(auto(&survey(Some("mlx5_core"), &[]), &all()), Ok(Driver::AfPacket));
}

#[test]
fn frames_that_fit_into_no_buffer_are_none_for_af_xdp() {
    let small = Prospects { xdp_mtu: 1499, ..all() };
    let reason = choose(DriverChoice::This(Driver::AfXdp), &survey(None, &[]), &small).unwrap_err();
    assert!(reason.contains("1499") && reason.contains("1500"), "{reason}");
    assert!(choose(DriverChoice::This(Driver::AfPacket), &survey(None, &[]), &small).is_ok());
}

#[test]
fn interfaces_are_named_after_what_they_stand_on() {
    let name = |driver, kernel: Option<&str>| vpp_name(driver, &survey(kernel, &[]).captured);
    assert_eq!(name(Driver::AfPacket, None), "host-enp1s0");
    assert_eq!(name(Driver::AfXdp, Some("ixgbe")), "xdp-enp1s0");
    assert_eq!(name(Driver::Rdma, Some("mlx5_core")), "rdma-enp1s0");
    assert_eq!(name(Driver::Virtio, Some("virtio-pci")), "virtio-0000:d8:0a.0");
}

#[test]
fn a_card_is_the_frameworks_where_one_of_its_drivers_takes_it() {
    let asked =
        |prospects: &Prospects| choose(DriverChoice::This(Driver::Device), &survey(Some("igc"), &[]), prospects);
    let (driver, reason) = asked(&all()).unwrap();
    assert_eq!(driver, Driver::Device);
    assert!(reason.contains("VPP's ige"), "{reason}");
    let reason = asked(&Prospects { device_driver: None, ..all() }).unwrap_err();
    assert!(reason.contains("none of VPP's drivers takes PCI device 0000:d8:0a.0"), "{reason}");
    // Never by itself: which cards it takes is VPP's to say, and is new.
    assert_eq!(auto(&survey(Some("igc"), &[]), &all()), Ok(Driver::AfPacket));
}

#[test]
fn dpdk_takes_its_cards_at_the_start_alone() {
    let reason = choose(DriverChoice::Dpdk, &survey(Some("ixgbe"), &[]), &all()).unwrap_err();
    for word in ["at VPP's start", "'uplink enp1s0 { driver dpdk }'", "'dev 0000:d8:0a.0'"] {
        assert!(reason.contains(word), "{word}: {reason}");
    }
    assert!(DriverChoice::Dpdk.is_made_at_start() && !DriverChoice::Auto.is_made_at_start());
}
