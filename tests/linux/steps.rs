//! Steps and their undoing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use hostnet::engine::{Command, LinuxStep, UplinkId};
use hostnet::linux::Netlink;
use hostnet::model::{IfName, Netns};
use nix::sched::{CloneFlags, setns};

use crate::lab::{Lab, address, ip, rich_plan, route, run};

#[test]
fn everything_appears_as_planned_and_goes_without_a_trace() {
    let mut lab = Lab::new();
    let before = lab.dump();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_all(&plan);

    let link = &ip(&["addr", "show", "dev", "lab.eth0"])[0];
    assert_eq!(link["address"], "02:fe:77:01:02:03");
    assert_eq!(link["mtu"], 1500);
    assert_eq!(ip(&["link", "show", "dev", "lab.eth0"])[0]["inet6_addr_gen_mode"], "none");
    assert_eq!(link["linkinfo"]["info_kind"], "tun");
    assert_eq!(link["linkinfo"]["info_data"]["vnet_hdr"], true);
    assert!(link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP"));
    let addresses = link["addr_info"].as_array().unwrap();
    assert_eq!(addresses.len(), plan.config.addresses.len(), "{addresses:#?}");
    for wanted in &plan.config.addresses {
        let found = addresses
            .iter()
            .find(|found| found["local"] == wanted.addr().to_string().as_str())
            .unwrap_or_else(|| panic!("{wanted}: {addresses:#?}"));
        assert_eq!(found["prefixlen"], wanted.prefix_len());
        assert!(found.get("tentative").is_none() && found.get("dadfailed").is_none(), "{found}");
        let broadcast = match wanted.to_string().as_str() {
            "10.77.0.5/24" | "10.77.0.6/24" => Some("10.77.0.255"),
            "169.254.77.1/16" => Some("169.254.255.255"),
            _ => None,
        };
        assert_eq!(found.get("broadcast").and_then(|text| text.as_str()), broadcast, "{wanted}");
        let is_link = wanted.is_link_local6() || wanted.to_string().starts_with("169.254");
        assert_eq!(found["scope"], if is_link { "link" } else { "global" }, "{wanted}");
    }

    let routes4 = ip(&["-4", "route", "show", "proto", "118"]);
    let routes6 = ip(&["-6", "route", "show", "proto", "118"]);
    let wanted = plan.config.routes.iter().chain(&plan.cluster_routes);
    assert_eq!(routes4.len(), wanted.clone().filter(|route| route.prefix.is_ipv4()).count(), "{routes4:#?}");
    assert_eq!(routes6.len(), wanted.filter(|route| !route.prefix.is_ipv4()).count(), "{routes6:#?}");
    let to = |routes: &[serde_json::Value], dst: &str| {
        routes.iter().find(|route| route["dst"] == dst).unwrap_or_else(|| panic!("{dst}: {routes:#?}")).clone()
    };
    assert_eq!(to(&routes4, "default")["gateway"], "10.77.0.1");
    assert_eq!(to(&routes4, "default")["flags"], serde_json::json!([]));
    assert_eq!(to(&routes4, "192.0.2.0/24")["flags"], serde_json::json!(["onlink"]));
    assert_eq!(to(&routes6, "fd20::/48")["flags"], serde_json::json!(["onlink"]));
    assert_eq!(to(&routes4, "10.44.0.0/16")["via"]["host"], "fd77::1");
    assert_eq!(to(&routes4, "10.96.0.0/12")["metrics"][0]["mtu"], 1440);
    assert_eq!(to(&routes6, "fd96::/108")["metrics"][0]["mtu"], 1440);
    assert_eq!(to(&routes4, "10.66.0.0/16")["type"], "blackhole");
    assert_eq!(to(&routes4, "10.67.0.0/16")["type"], "prohibit");
    assert_eq!(to(&routes6, "fd66::/48")["type"], "unreachable");
    assert_eq!(to(&routes4, "10.55.0.0/16")["scope"], "link");
    let paths = to(&routes4, "203.0.113.0/24")["nexthops"].clone();
    assert_eq!(paths[0]["weight"], 3);
    assert_eq!(paths[1]["flags"], serde_json::json!(["onlink"]));
    assert_eq!(to(&routes6, "fd30::/48")["nexthops"].as_array().unwrap().len(), 2);

    lab.undo_all(&plan);
    assert_eq!(lab.dump(), before);
    // Once more, with nothing left to take back.
    lab.undo_all(&plan);
    lab.submit(Command::Forget { uplink: plan.id });
    assert_eq!(lab.dump(), before);
}

#[test]
fn each_undo_takes_back_just_its_step() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_until(&plan, LinuxStep::Move);
    let mut dumps = Vec::new();
    let moved = [LinuxStep::Move, LinuxStep::LinkUp, LinuxStep::Addresses, LinuxStep::Routes, LinuxStep::ClusterRoutes];
    let protocol_routes = || {
        ip(&["route", "show", "table", "all", "proto", "118"]).len()
            + ip(&["-6", "route", "show", "table", "all", "proto", "118"]).len()
    };
    for step in moved {
        dumps.push(protocol_routes());
        assert_eq!(lab.apply(&plan, step), Ok(()));
    }
    assert!(protocol_routes() > 0);
    for step in moved.into_iter().rev() {
        assert_eq!(lab.undo(&plan, step), Ok(()));
        assert_eq!(protocol_routes(), dumps.pop().unwrap(), "{step:?}");
        if step == LinuxStep::Addresses {
            assert_eq!(ip(&["addr", "show", "dev", "lab.eth0"])[0]["addr_info"], serde_json::json!([]));
        }
    }
    // Back in the staging namespace, under the staging name, and good for
    // another try.
    assert!(ip(&["link"]).iter().all(|link| link["ifname"] != "lab.eth0"));
    for step in moved.into_iter().chain([LinuxStep::Verify]) {
        assert_eq!(lab.apply(&plan, step), Ok(()), "{step:?}");
    }
}

#[test]
fn the_staging_namespace_opens_by_its_path_from_another_thread() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_until(&plan, LinuxStep::Dress);
    let path = lab.staging.clone().unwrap();
    let names = std::thread::spawn(move || {
        setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        ip(&["link"]).iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    })
    .join()
    .unwrap();
    assert_eq!(names, ["lo", "hostnet7"]);
    assert!(ip(&["link"]).iter().all(|link| link["ifname"] == "lo"), "nothing in the target yet");
}

#[test]
fn ipv6_comes_even_where_new_devices_have_it_off() {
    let mut lab = Lab::new();
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_all(&plan);
    // Of this device alone.
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6")).unwrap();
    assert_eq!(read("lab.eth0").trim(), "0");
    assert_eq!(read("default").trim(), "1");
}

#[test]
fn an_mtu_below_ipv6_is_fine_without_ipv6_addresses() {
    let mut lab = Lab::new();
    let mut plan = rich_plan(lab.netns());
    plan.device.mtu = 1000;
    plan.config.addresses.retain(|address| address.addr().is_ipv4());
    plan.config.routes = vec![route("0.0.0.0/0", &[("10.77.0.1", 1)])];
    plan.cluster_routes.clear();
    let plan = Arc::new(plan);
    lab.apply_all(&plan);
    assert_eq!(ip(&["link", "show", "dev", "lab.eth0"])[0]["mtu"], 1000);
}

#[test]
fn a_refused_address_takes_those_before_it_along() {
    let mut lab = Lab::new();
    let mut plan = rich_plan(lab.netns());
    plan.config.addresses.insert(2, address("10.77.0.5/24"));
    let plan = Arc::new(plan);
    lab.apply_until(&plan, LinuxStep::Addresses);
    let before = lab.dump();
    let error = lab.apply(&plan, LinuxStep::Addresses).unwrap_err();
    assert!(error.contains("10.77.0.5/24") && error.contains("already assigned"), "{error}");
    assert_eq!(lab.dump(), before);
}

#[test]
fn a_refused_route_takes_those_before_it_along_and_leaves_the_strangers() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_until(&plan, LinuxStep::Routes);
    run("ip", &["route", "add", "blackhole", "10.66.0.0/16", "proto", "static"]);
    let before = lab.dump();
    let error = lab.apply(&plan, LinuxStep::Routes).unwrap_err();
    assert!(error.contains("10.66.0.0/16") && error.contains("File exists"), "{error}");
    assert_eq!(lab.dump(), before);
    lab.undo_before(&plan, LinuxStep::Routes);
}

#[test]
fn a_route_that_another_has_already_comes_behind_it() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_until(&plan, LinuxStep::Routes);
    run("ip", &["link", "add", "other", "type", "veth", "peer", "rehto"]);
    run("ip", &["link", "set", "other", "up"]);
    run("ip", &["addr", "add", "10.5.5.1/24", "dev", "other"]);
    run("ip", &["route", "add", "default", "via", "10.5.5.2", "dev", "other"]);
    run("ip", &["-6", "route", "add", "default", "dev", "other"]);
    let before = lab.dump();
    lab.apply(&plan, LinuxStep::Routes).unwrap();
    lab.apply(&plan, LinuxStep::ClusterRoutes).unwrap();
    lab.apply(&plan, LinuxStep::Verify).unwrap();
    for family in ["-4", "-6"] {
        let defaults = run("ip", &[family, "route", "show", "default"]);
        let ours = defaults.lines().find(|line| line.contains("lab.eth0")).unwrap();
        assert!(ours.contains("metric 2000") && defaults.contains("dev other"), "{defaults}");
    }
    lab.undo(&plan, LinuxStep::ClusterRoutes).unwrap();
    lab.undo(&plan, LinuxStep::Routes).unwrap();
    assert_eq!(lab.dump(), before);
    lab.undo_before(&plan, LinuxStep::Routes);
}

#[test]
fn a_move_that_cannot_be_finished_is_taken_back() {
    let mut lab = Lab::new();
    let before = lab.dump();
    let mut plan = rich_plan(lab.netns());
    // No IPv6 on such a device: the step fails after the move itself.
    plan.device.mtu = 1000;
    let plan = Arc::new(plan);
    lab.apply_until(&plan, LinuxStep::Move);
    let error = lab.apply(&plan, LinuxStep::Move).unwrap_err();
    assert!(error.contains("IPv6"), "{error}");
    assert!(!error.contains("cleaning up"), "{error}");
    assert_eq!(lab.dump(), before);
    // It is back where it was: the next steps of the undo find it.
    let path = lab.staging.clone().unwrap();
    let staged = std::thread::spawn(move || {
        setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        let name: IfName = "hostnet7".parse().unwrap();
        Netlink::open().unwrap().link_by_name(&name).unwrap()
    });
    assert!(staged.join().unwrap().is_some_and(|link| !link.up));
    lab.undo_before(&plan, LinuxStep::Move);
    assert_eq!(lab.dump(), before);
}

#[test]
fn a_name_that_was_taken_meanwhile_is_named() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_until(&plan, LinuxStep::Move);
    run("ip", &["link", "add", "lab.eth0", "type", "veth", "peer", "name", "other"]);
    let before = lab.dump();
    let error = lab.apply(&plan, LinuxStep::Move).unwrap_err();
    assert!(error.contains("lab.eth0 is taken") && !error.contains("cleaning up"), "{error}");
    assert_eq!(lab.dump(), before);
    lab.undo_before(&plan, LinuxStep::Move);
    // The stranger of that name is not ours to take back.
    assert_eq!(lab.undo(&plan, LinuxStep::Move), Ok(()));
    assert_eq!(lab.dump(), before);
}

#[test]
fn a_device_that_is_gone_is_no_error_to_take_back() {
    let mut lab = Lab::new();
    let before = lab.dump();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_all(&plan);
    lab.unplug();
    let error = lab.apply(&plan, LinuxStep::Verify).unwrap_err();
    assert!(error.contains("lab.eth0") && error.contains("no longer"), "{error}");
    lab.undo_all(&plan);
    // The dropping routes, which no device takes along, are gone as well.
    assert_eq!(lab.dump(), before);
}

#[test]
fn a_new_helper_takes_back_what_the_old_one_did() {
    let mut lab = Lab::new();
    let before = lab.dump();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_all(&plan);
    lab.stop_helper();
    lab.start_helper();
    let error = lab.apply(&plan, LinuxStep::Verify).unwrap_err();
    assert!(error.contains("restarted"), "{error}");
    lab.undo_all(&plan);
    // The staging namespace went with the old helper: the device stays,
    // stripped and down, until VPP lets go of it.
    let link = &ip(&["addr", "show", "dev", "lab.eth0"])[0];
    assert_eq!(link["addr_info"], serde_json::json!([]));
    assert!(!link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP"));
    lab.unplug();
    assert_eq!(lab.dump(), before);
}

#[test]
fn a_namespace_that_is_gone_is_no_error_to_take_back() {
    let mut lab = Lab::new();
    let mut plan = rich_plan(lab.netns());
    plan.device.netns = Netns::Path(PathBuf::from("/nonexistent/netns"));
    let plan = Arc::new(plan);
    lab.undo_all(&plan);
    plan_refused(&mut lab, &plan);
}

fn plan_refused(lab: &mut Lab, plan: &Arc<hostnet::engine::Plan>) {
    let error = lab.apply(plan, LinuxStep::Namespaces).unwrap_err();
    assert!(error.contains("/nonexistent/netns") && error.contains("No such file"), "{error}");
}

#[test]
fn verify_names_everything_that_is_missing_and_leaves_the_host_its_own() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_all(&plan);
    run("ip", &["addr", "del", "10.77.0.6/24", "dev", "lab.eth0"]);
    run("ip", &["addr", "add", "10.99.0.1/24", "dev", "lab.eth0"]);
    run("ip", &["route", "del", "10.96.0.0/12"]);
    run("ip", &["route", "del", "blackhole", "10.66.0.0/16"]);
    run("ip", &["route", "add", "10.98.0.0/16", "dev", "lab.eth0", "proto", "118"]);
    run("ip", &["link", "set", "dev", "lab.eth0", "mtu", "1400", "address", "02:00:00:00:00:09"]);
    let error = lab.apply(&plan, LinuxStep::Verify).unwrap_err();
    for part in [
        "address 10.77.0.6/24 is missing",
        "route 10.96.0.0/12",
        "blackhole 10.66.0.0/16",
        "MTU is 1400, not 1500",
        "MAC is 02:00:00:00:00:09, not 02:fe:77:01:02:03",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("10.99.0.1") && !error.contains("10.98.0.0"), "{error}");
}

#[test]
fn two_uplinks_share_a_namespace_and_go_one_by_one() {
    let mut lab = Lab::new();
    let before = lab.dump();
    let first = Arc::new(rich_plan(lab.netns()));
    let mut second = rich_plan(lab.netns());
    second.id = UplinkId(8);
    second.device.name = "lab.eth1".parse().unwrap();
    second.device.staging_name = "hostnet8".parse().unwrap();
    second.config.addresses = vec![address("10.88.0.5/24"), address("fd88::5/64")];
    second.config.routes = vec![route("10.89.0.0/16", &[("10.88.0.1", 1)])];
    second.cluster_routes.clear();
    let second = Arc::new(second);
    lab.apply_all(&second);
    let with_second = lab.dump();
    let tun = lab.tun.take();
    lab.apply_all(&first);
    assert_eq!(lab.apply(&second, LinuxStep::Verify), Ok(()));
    lab.undo_all(&first);
    assert_eq!(lab.dump(), with_second);
    assert_eq!(lab.apply(&second, LinuxStep::Verify), Ok(()));
    lab.undo_all(&second);
    drop(tun);
    assert_eq!(lab.dump(), before);
}

#[test]
fn a_device_that_comes_up_by_itself_arrives_down_and_bare() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_until(&plan, LinuxStep::Dress);
    // As VPP's own tap is: up, with an address of the kernel's making.
    let path = lab.staging.clone().unwrap();
    std::thread::spawn(move || {
        setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        run("ip", &["link", "set", "dev", "hostnet7", "up"]);
        let addresses = &ip(&["addr", "show", "dev", "hostnet7"])[0]["addr_info"];
        assert_eq!(addresses[0]["scope"], "link", "{addresses}");
    })
    .join()
    .unwrap();
    for step in [LinuxStep::Dress, LinuxStep::Move] {
        assert_eq!(lab.apply(&plan, step), Ok(()));
    }
    let link = &ip(&["addr", "show", "dev", "lab.eth0"])[0];
    assert!(!link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP"), "{link}");
    assert_eq!(link["addr_info"], serde_json::json!([]));
    assert_eq!(lab.apply(&plan, LinuxStep::LinkUp), Ok(()));
    assert_eq!(ip(&["addr", "show", "dev", "lab.eth0"])[0]["addr_info"], serde_json::json!([]));
}

#[test]
fn twenty_thousand_routes_are_added_checked_and_removed() {
    let mut lab = Lab::new();
    let before = lab.dump();
    let mut plan = rich_plan(lab.netns());
    plan.config.routes = (0..20_000_u32)
        .map(|number| {
            if number % 2 == 0 {
                let prefix = format!("172.{}.{}.0/24", number / 512, number / 2 % 256);
                route(&prefix, &[("10.77.0.1", 1)])
            } else {
                route(&format!("fd00:{number:x}::/64"), &[("fe80::1", 1)])
            }
        })
        .collect();
    let plan = Arc::new(plan);
    lab.apply_all(&plan);
    assert_eq!(ip(&["-6", "route", "show", "proto", "118"]).len(), 10_001);
    lab.undo_all(&plan);
    assert_eq!(lab.dump(), before);
}

#[test]
fn the_device_has_the_speed_that_it_is_told() {
    let mut lab = Lab::new();
    let plan = Arc::new(rich_plan(lab.netns()));
    lab.apply_all(&plan);
    let mut netlink = Netlink::open().unwrap();
    let name: IfName = "lab.eth0".parse().unwrap();
    for speed in [25_000, 400_000, 100] {
        netlink.set_speed(&name, speed).unwrap();
        let shown = run("ethtool", &["lab.eth0"]);
        assert!(shown.contains(&format!("Speed: {speed}Mb/s")) && shown.contains("Duplex: Full"), "{shown}");
    }
    // Hardware says itself what it is.
    let error = netlink.set_speed(&"lo".parse().unwrap(), 100).unwrap_err().to_string();
    assert!(error.contains("set speed 100 Mbit/s of lo"), "{error}");
}
