//! The lab itself: without the plugin it forwards, and its dumps stand still.

use anyhow::{Result, ensure};
use hostnet_lab::checks::Checks;
use hostnet_lab::dump::Dump;
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::traffic::{no_ping, ping, tcp};
use libtest_mimic::Trial;

use crate::support::scenario;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        scenario("lab_forwards_without_the_plugin", Options::default, forwards),
        scenario("lab_dumps_stand_still_and_see_changes", Options::default, dumps),
    ]
}

fn forwards(lab: &Lab) -> Result<()> {
    let mut checks = Checks::new();
    for (peer, pod, far, host) in
        [(addr::PEER4, addr::POD4, addr::FAR4, addr::HOST4), (addr::PEER6, addr::POD6, addr::FAR6, addr::HOST6)]
    {
        checks.add("peer to pod", tcp(&lab.peer, &lab.pod, pod, peer, 100_000));
        checks.add("pod to peer", tcp(&lab.pod, &lab.peer, peer, pod, 100_000));
        checks.add("pod to far", ping(&lab.pod, far));
        // So whoever answers in the other tests, it is the host.
        checks.add("nobody is the host", no_ping(&lab.peer, host));
    }
    checks.finish()
}

fn dumps(lab: &Lab) -> Result<()> {
    let before = Dump::of(lab)?;
    ping(&lab.peer, addr::POD4)?;
    ping(&lab.pod, addr::FAR6)?;
    Dump::of(lab)?.same_as(&before)?;
    // A change on each side, one at a time, is seen, and so is its end.
    for (change, back) in [
        ("ip route add 10.77.0.0/16 via 192.0.2.1 host-eth0", "ip route del 10.77.0.0/16"),
        ("ip punt redirect add rx all via 192.0.2.20 host-eth0", "ip punt redirect del rx all"),
        (
            "set ip neighbor host-eth0 192.0.2.66 02:00:00:00:00:66 static",
            "set ip neighbor del host-eth0 192.0.2.66 02:00:00:00:00:66 static",
        ),
        (
            "set arp proxy table-id 0 start 192.0.2.1 end 192.0.2.9",
            "set arp proxy table-id 0 start 192.0.2.1 end 192.0.2.9 del",
        ),
        (
            "set interface ip directed-broadcast host-eth0 enable",
            "set interface ip directed-broadcast host-eth0 disable",
        ),
    ] {
        lab.vpp.quiet(change)?;
        ensure!(Dump::of(lab)?.same_as(&before).is_err(), "'{change}' is not seen");
        lab.vpp.quiet(back)?;
        Dump::of(lab)?.same_as(&before)?;
    }
    for (change, back) in [
        ("link add x0 type veth peer name x1", "link del x0"),
        ("route add 10.9.0.0/16 dev lo table 77", "route del 10.9.0.0/16 dev lo table 77"),
        ("rule add from 10.9.0.0/16 lookup 77", "rule del from 10.9.0.0/16 lookup 77"),
        ("addr add 10.9.9.9/32 dev lo", "addr del 10.9.9.9/32 dev lo"),
    ] {
        lab.host.ip(change)?;
        ensure!(Dump::of(lab)?.same_as(&before).is_err(), "'{change}' is not seen");
        lab.host.ip(back)?;
        Dump::of(lab)?.same_as(&before)?;
    }
    Ok(())
}
