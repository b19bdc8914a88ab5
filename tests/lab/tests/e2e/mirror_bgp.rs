//! Issue "mirror", 5: what a routing daemon on the host learns, VPP forwards by.

use anyhow::{Context as _, Result, ensure};
use hostnet_lab::daemons::{self, Bird, Frr};
use hostnet_lab::time::{secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::{no_ping, ping};
use libtest_mimic::Trial;

use crate::mirror_support::Watched;
use crate::support::{enable_all, options, scenario};

pub(crate) fn tests() -> Vec<Trial> {
    vec![scenario("n05_traffic_of_a_pod_follows_what_frr_learns", options, follows)]
}

const PROTOCOL: u8 = 186;

/// The peer announces the network behind the gateway; so long it is reached.
fn follows(lab: &Lab) -> Result<()> {
    let shown = enable_all(lab)?;
    let watched = Watched::enabled(lab, &shown)?;
    lab.gw.ip("addr add 198.18.7.7/32 dev lo\naddr add 2001:db8:99::7/128 dev lo")?;
    let there = [("198.18.7.7", "198.18.7.0/24"), ("2001:db8:99::7", "2001:db8:99::/48")];
    // The defaults of the lab's VPP would lead there as well.
    lab.vpp.ctl("ip route del 0.0.0.0/0")?;
    lab.vpp.ctl("ip route del ::/0")?;
    let announced = format!(
        "{}{}",
        speaker(),
        "protocol static s4 { ipv4; route 198.18.7.0/24 blackhole; }\nprotocol static s6 { ipv6; route 2001:db8:99::/48 blackhole; }\n"
    );
    let bird = Bird::start(&lab.gw, &lab.dir().join("bird"), &speaker())?;
    let frr = Frr::start(&lab.host, &lab.dir().join("frr"), &daemons::frr_bgp(addr::HOST4, addr::GW4))?;
    for round in 0..2 {
        for (host, _) in there {
            no_ping(&lab.pod, host).with_context(|| format!("before, round {round}"))?;
        }
        bird.configure(&announced)?;
        for (host, prefix) in there {
            until(&format!("the pod reaches {host}"), secs(30), || ping(&lab.pod, host).map(Some))
                .with_context(|| frr.ctl("show bgp summary").unwrap_or_default())?;
            let routes = watched.kernel()?;
            ensure!(routes.iter().any(|route| route.protocol == PROTOCOL), "no route of BGP's for {prefix}");
        }
        watched.agree()?;
        bird.configure(&speaker())?;
        for (host, prefix) in there {
            watched.wait_at_within(prefix, None, secs(30))?;
            no_ping(&lab.pod, host)?;
        }
    }
    frr.stop()?;
    bird.stop()
}

fn speaker() -> String {
    daemons::bird_bgp((addr::GW4, addr::GW6), addr::HOST4)
}
