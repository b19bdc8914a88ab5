//! placeholder
use hostnet_lab::checks::say;
use hostnet_lab::dump::Dump;
use hostnet_lab::topology::{Lab, Options, addr};
use hostnet_lab::{cleanup, traffic};
use std::time::Instant;
fn main() -> anyhow::Result<()> {
    cleanup::guard()?;
    let t = Instant::now();
    let lab = Lab::start(&Options::default())?;
    say(&format!("start {:?}", t.elapsed()));
    let t = Instant::now();
    for (from, to) in [(&lab.peer, addr::POD4), (&lab.peer, addr::POD6), (&lab.pod, addr::PEER4), (&lab.pod, addr::PEER6), (&lab.pod, addr::FAR4), (&lab.pod, addr::FAR6), (&lab.peer, addr::FAR4)] {
        say(&format!("{} -> {to}: {:?}", from.name(), traffic::ping(from, to)));
    }
    say(&format!("pings {:?}", t.elapsed()));
    let t = Instant::now();
    for (c, s, a, f) in [(&lab.peer, &lab.pod, addr::POD4, addr::PEER4), (&lab.peer, &lab.pod, addr::POD6, addr::PEER6)] {
        say(&format!("tcp {:?}", traffic::tcp(c, s, a, f, 10_000_000)));
        say(&format!("udp {:?}", traffic::udp(c, s, a, f)));
        say(&format!("refused {:?} {:?}", traffic::tcp_refused(c, a), traffic::udp_refused(c, a)));
    }
    say(&format!("traffic {:?}", t.elapsed()));
    let t = Instant::now();
    let d = Dump::of(&lab)?;
    say(&format!("dump {:?}", t.elapsed()));
    say(&format!("{d:#?}").replace("\\n", "\n"));
    for c in ["show ip fib", "show ip6 interface", "show ip neighbors", "show interface", "show ip6 mfib", "show ip local"] { say(&lab.vpp.ctl(c)?); }
    let t = Instant::now();
    lab.vpp.stop()?;
    say(&format!("stop {:?}", t.elapsed()));
    Ok(())
}
