//! Issue "a plain card", 5: programs of the host's find out about a path that is
//! narrower beyond the next router.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::netns::Netns;
use hostnet_lab::time::scale;
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::{ping_with, tcp};
use libtest_mimic::Trial;

use crate::support::{enable_all, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![scenario("q05_a_narrower_path_is_found_by_what_looks_for_it", options, narrow)]
}

/// MTU of the link in the middle, in bytes.
const NARROW: u32 = 1300;
/// The router behind the gateway and the machine behind that, of each family.
const MIDDLE: [&str; 2] = ["198.18.0.2", "2001:db8:b0::2"];
const END: [&str; 2] = ["198.18.1.2", "2001:db8:b1::2"];

/// The machines behind the gateway: the first link is the narrow one, so that
/// neither end knows of it.
fn beyond(lab: &Lab) -> Result<(Netns, Netns)> {
    let (middle, end) = (Netns::create(&format!("{}middle", lab.tag()))?, Netns::create(&format!("{}end", lab.tag()))?);
    for netns in [&middle, &end] {
        netns.sysctl(&[("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0")])?;
        netns.ip("link set lo up")?;
    }
    middle.sysctl(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
    lab.gw.ip(&format!(
        "link add narrow mtu {NARROW} type veth peer name narrow mtu {NARROW} netns {}
         link set narrow up
         addr add 198.18.0.1/24 dev narrow
         addr add 2001:db8:b0::1/64 dev narrow
         route add 198.18.1.0/24 via {}
         route add 2001:db8:b1::/64 via {}",
        middle.name(),
        MIDDLE[0],
        MIDDLE[1],
    ))?;
    middle.ip(&format!(
        "link set narrow up
         addr add {}/24 dev narrow
         addr add {}/64 dev narrow
         link add wide type veth peer name eth0 netns {}
         link set wide up
         addr add 198.18.1.1/24 dev wide
         addr add 2001:db8:b1::1/64 dev wide
         route add default via 198.18.0.1
         route add default via 2001:db8:b0::1",
        MIDDLE[0],
        MIDDLE[1],
        end.name(),
    ))?;
    end.ip(&format!(
        "link set eth0 up
         addr add {}/24 dev eth0
         addr add {}/64 dev eth0
         route add default via 198.18.1.1
         route add default via 2001:db8:b1::1",
        END[0], END[1],
    ))?;
    Ok((middle, end))
}

/// The addresses that a program's lines begin with, after the number of the hop.
fn hops(said: &str) -> Vec<&str> {
    said.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.trim_end_matches(['?', ':']).parse::<u8>().ok()?;
            words.next()
        })
        .collect()
}

fn narrow(lab: &Lab) -> Result<()> {
    enable_all(lab)?;
    let (_middle, end) = beyond(lab)?;
    let mut checks = Checks::new();
    let wait = (3 * scale()).to_string();
    let own = [addr::HOST4, addr::HOST6];
    for (index, gateway) in [addr::GW4, addr::GW6].into_iter().enumerate() {
        let (there, family) = (END[index], ["-4", "-6"][index]);
        let way = [gateway, MIDDLE[index], there];
        // By UDP, as it comes; by ICMP, and by TCP.
        for kind in ["-U", "-I", "-T"] {
            let said = lab.host.output("traceroute", &["-n", "-q", "1", "-w", &wait, kind, family, there])?;
            checks.that(&format!("traceroute {kind} to {there}"), hops(&said) == way, &said);
        }
        // How wide the path is was asked by nobody yet.
        let found = || -> Result<String> { lab.host.output("ip", &["route", "get", there]) };
        ensure!(!found()?.contains("mtu"), "known before: {}", found()?);
        let said = lab.host.output("tracepath", &["-n", family, there])?;
        let told = said.contains(&format!("pmtu {NARROW}"));
        checks.that(&format!("tracepath to {there}"), told && said.contains("hops 3"), &said);
        let known = format!("mtu {NARROW}");
        checks.that(&format!("the path to {there} is known from tracepath"), found()?.contains(&known), &found()?);

        for (what, look) in [("ping -M do", true), ("TCP", false)] {
            lab.host.ip_with(&[family], "route flush cache")?;
            ensure!(!found()?.contains("mtu"), "not forgotten: {}", found()?);
            if look {
                // It ends with an error, as it should: none came through.
                let words = ["-n", "-c", "2", "-i", "0.2", "-M", "do", "-s", "1400", "-W", &wait, there];
                let said = format!("{:#}", lab.host.output("ping", &words).err().context("a large ping was answered")?);
                let told = said.contains(&format!("mtu = {NARROW}")) || said.contains(&format!("mtu={NARROW}"));
                checks.that(&format!("{what} to {there} is told"), told, &said);
                checks.add("what fits passes", ping_with(&lab.host, there, &["-M", "do", "-s", "1200"]));
            } else {
                checks.add(&format!("{what} to {there}"), tcp(&lab.host, &end, there, own[index], 5_000_000));
            }
            checks.that(&format!("the path to {there} is known from {what}"), found()?.contains(&known), &found()?);
        }
    }
    checks.finish()
}
