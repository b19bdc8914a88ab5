//! Issue "a plain card": what a host sees of its link and the link of it, a
//! class of frames after the other, compared with two ends of a veth.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use hostnet_lab::frames::{Ip, UDP, Way, ethernet, udp};
use hostnet_lab::netns::Netns;
use hostnet_lab::time::{left, secs, until};
use hostnet_lab::topology::{Lab, addr};
use hostnet_lab::traffic::ping;
use hostnet_lab::wire::{Tap, mac};
use libtest_mimic::Trial;

use crate::plain_card_frames::{Class, from_host, mark, to_host};
use crate::plain_card_groups::{Listener, until_vpp_knows};
use crate::support::{disable, enable_all, options, scenario};
use crate::workers::two_workers;

pub(crate) fn tests() -> Vec<Trial> {
    // What is announced changes what others know: the labs are not used again.
    vec![
        scenario("q08_the_host_sees_what_a_plain_card_would_show", options, seen_by_host),
        scenario("q08_the_link_sees_what_a_plain_card_would_send", options, seen_by_link),
        scenario("q08_the_host_sees_the_same_with_workers", two_workers, seen_by_host),
        scenario("q08_the_link_sees_the_same_with_workers", two_workers, seen_by_link),
        scenario("q08_the_link_sees_the_same_by_vpps_routes", options, seen_by_routes),
        scenario("q08_after_disable_vpp_reads_its_link_as_before", options, as_before),
    ]
}

/// How what came differs from what comes over a veth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// The same but for the MACs: VPP has routed it.
    Macs,
    /// Other frames came.
    Changed,
    /// The same, more than once.
    Repeated,
    /// Nothing came.
    Missing,
    /// It came back to its sender.
    Reflected,
}
use Difference::{Changed, Macs, Missing, Reflected, Repeated};

/// What the host does not see as it would with a plain card. A class that is
/// mended must leave the list.
const TO_HOST: &[(&str, Difference)] = &[
    ("ARP request for the host", Missing),
    ("ND solicitation for the host", Missing),
    ("ND solicitation to the host", Missing),
    ("4 TTL 0", Missing),
    ("6 hop limit 0", Missing),
    ("4 all of the subnet to one machine", Missing),
    ("4 to 0.0.0.0", Missing),
    ("4 to class E", Missing),
    ("6 to ::1", Missing),
];

/// The same for what it sends.
const FROM_HOST: &[(&str, Difference)] = &[("ARP request", Missing), ("ND solicitation", Missing)];

/// Two ends of a link, and the frames that pass.
struct Link {
    /// Where frames are sent.
    near: Tap,
    /// Where they should arrive.
    far: Tap,
}

impl Link {
    /// Send all; what arrived at the far end, and what came back, by mark.
    fn carry(&self, classes: &[Class], way: &Way) -> Result<(Seen, Seen)> {
        let (mut arrived, mut back) = (Seen::new(), Seen::new());
        for class in classes {
            for frame in &class.frames {
                self.near.send(frame).with_context(|| class.name)?;
            }
        }
        // What is sent when the first has arrived comes after all the others,
        // whatever nodes of VPP they went through.
        for number in [998, 999] {
            let mark = mark(number);
            let data = udp(way.from4.into(), way.to4.into(), (9, 9), mark.as_bytes());
            let frame = ethernet(way.to, way.from, 0x0800, &Ip::default().packet4(way.from4, way.to4, UDP, &data));
            self.near.send(&frame)?;
            let deadline = Instant::now() + secs(5);
            while !arrived.contains_key(&mark) {
                ensure!(Instant::now() < deadline, "the end of the list was not seen");
                self.far.wait(left(deadline))?;
                sort(self.far.drain_incoming(), &mut arrived);
            }
        }
        sort(self.near.drain_incoming(), &mut back);
        Ok((arrived, back))
    }
}

/// Frames by their mark.
type Seen = BTreeMap<String, Vec<Vec<u8>>>;

fn sort(frames: Vec<Vec<u8>>, seen: &mut Seen) {
    for frame in frames {
        // As `mark` makes them.
        let mark = frame.windows(8).find(|part| part.starts_with(b"q08#") && part.ends_with(b"#"));
        if let Some(mark) = mark.map(|mark| String::from_utf8_lossy(mark).into_owned()) {
            seen.entry(mark).or_default().push(frame);
        }
    }
}

/// The frame from its ethertype on.
fn inside(frame: &[u8]) -> &[u8] {
    frame.get(12..).unwrap_or_default()
}

fn difference(plain: &[Vec<u8>], ours: &[Vec<u8>], back: &[Vec<u8>]) -> Option<Difference> {
    let same_inside =
        |a: &[Vec<u8>], b: &[Vec<u8>]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| inside(a) == inside(b));
    if back.iter().any(|frame| plain.iter().any(|sent| inside(sent) == inside(frame))) {
        return Some(Reflected);
    }
    match ours {
        ours if ours == plain => None,
        [] => Some(Missing),
        ours if same_inside(plain, ours) => Some(Macs),
        ours if ours.len() > plain.len()
            && ours.iter().all(|frame| plain.iter().any(|sent| inside(sent) == inside(frame))) =>
        {
            Some(Repeated)
        }
        _ => Some(Changed),
    }
}

/// Send the classes over a veth and over ours; every difference must be
/// known, and every known one must be there. What VPP has routed has other MACs.
fn compare(
    ours: &Link,
    way: &Way,
    classes: &[Class],
    known: &[(&str, Difference)],
    is_routed: bool,
    tag: &str,
) -> Result<()> {
    let (near, far) = (Netns::create(&format!("{tag}plain-a"))?, Netns::create(&format!("{tag}plain-b"))?);
    near.ip(&format!("link add eth0 type veth peer name eth0 netns {}\nlink set eth0 up", far.name()))?;
    far.ip("link set eth0 up")?;
    // Before that the kernel has no queue to send by, and drops.
    for end in [&near, &far] {
        until("the veth is up", secs(5), || Ok(end.ip("link show eth0")?.contains("state UP").then_some(())))?;
    }
    let veth = Link { near: Tap::on(&near, "eth0")?, far: Tap::on(&far, "eth0")? };
    let (plain, _) = veth.carry(classes, way).context("over a veth")?;
    let (seen, back) = ours.carry(classes, way)?;
    let none = Vec::new();
    let of = |seen: &'_ Seen, class: &Class| seen.get(&class.mark).unwrap_or(&none).clone();
    let known: BTreeMap<&str, Difference> = known.iter().copied().collect();
    let (mut wrong, mut same) = (String::new(), 0);
    for class in classes {
        let plain = of(&plain, class);
        // The same frames; but the kernel has taken the outer tags off.
        ensure!(plain.len() == class.frames.len(), "over a veth {} came as {plain:x?}", class.name);
        let ours = of(&seen, class);
        let found = difference(&plain, &ours, &of(&back, class)).filter(|found| !is_routed || *found != Macs);
        same += usize::from(found.is_none());
        if found != known.get(class.name).copied() {
            // Writing to a String cannot fail.
            let _ = writeln!(wrong, "(\"{}\", {found:?}), known: {:?}", class.name, known.get(class.name));
            if found == Some(Changed) {
                let _ = writeln!(wrong, "  sent {:02x?}\n  came {ours:02x?}", class.frames);
            }
        }
    }
    for name in known.keys() {
        if !classes.iter().any(|class| class.name == *name) {
            let _ = writeln!(wrong, "{name} is no class");
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!("{same} of {} classes are the same; not as known:\n{wrong}", classes.len())
    }
}

pub(crate) fn way_to_host() -> Result<Way> {
    Ok(Way {
        from: mac(addr::PEER_MAC)?,
        to: mac(addr::UPLINK_MAC)?,
        from4: addr::PEER4.parse()?,
        to4: addr::HOST4.parse()?,
        from6: addr::PEER6.parse()?,
        to6: addr::HOST6.parse()?,
    })
}

fn way_from_host() -> Result<Way> {
    let Way { from, to, from4, to4, from6, to6 } = way_to_host()?;
    Ok(Way { from: to, to: from, from4: to4, to4: from4, from6: to6, to6: from6 })
}

/// The uplink's wire, where nothing stands between VPP and us, and the host's
/// device.
fn ends(lab: &Lab) -> Result<(Tap, Tap)> {
    enable_all(lab)?;
    // Everybody knows everybody.
    for (host, peer) in [(addr::HOST4, addr::PEER4), (addr::HOST6, addr::PEER6)] {
        until("the host answers", secs(5), || ping(&lab.peer, host).map(Some))?;
        until("the peer answers", secs(5), || ping(&lab.host, peer).map(Some))?;
    }
    Ok((Tap::on(&lab.gw, "vpp0")?, Tap::on(&lab.host, "eth0")?))
}

fn seen_by_host(lab: &Lab) -> Result<()> {
    let (wire, host) = ends(lab)?;
    let way = way_to_host()?;
    let _listener = Listener::on(&lab.host, "eth0")?;
    until_vpp_knows(lab, true)?;
    host.drain();
    compare(&Link { near: wire, far: host }, &way, &to_host(way), TO_HOST, false, &lab.tag())
}

fn seen_by_link(lab: &Lab) -> Result<()> {
    let (wire, host) = ends(lab)?;
    let way = way_from_host()?;
    compare(&Link { near: host, far: wire }, &way, &from_host(way), FROM_HOST, false, &lab.tag())
}

/// The host sends to the MAC that its neighbours have for it: VPP's.
fn seen_by_routes(lab: &Lab) -> Result<()> {
    let (wire, host) = ends(lab)?;
    let said = lab.host.output("ip", &["neigh", "show", addr::PEER4])?;
    let vpp = said.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).context("no neighbour")?;
    let way = Way { to: mac(vpp)?, ..way_from_host()? };
    // VPP has no use for these, to its own MAC.
    let known = [FROM_HOST, &[("L2 EAPOL to one machine", Missing), ("L2 an ethertype of its own", Missing)]].concat();
    compare(&Link { near: host, far: wire }, &way, &from_host(way), &known, true, &lab.tag())
}

/// VPP's own words on what it has no use for.
fn unknown(lab: &Lab) -> Result<(String, bool)> {
    let way = way_to_host()?;
    let wire = Tap::on(&lab.gw, "vpp0")?;
    lab.vpp.ctl("clear errors")?;
    for class in to_host(way) {
        for frame in class.frames {
            wire.send(&frame)?;
        }
    }
    // Behind them in VPP's queue.
    ping(&lab.peer, addr::POD4)?;
    let said = lab.vpp.ctl("show errors")?;
    // Counts differ with what else is on the wire.
    let kinds: Vec<&str> = said.lines().filter_map(|line| Some(line.trim().split_once(' ')?.1.trim())).collect();
    let ours = kinds.iter().any(|kind| kind.contains("hostnet-"));
    let mut kinds: Vec<&str> =
        kinds.into_iter().filter(|kind| kind.contains("unknown") || kind.contains("unset")).collect();
    kinds.sort_unstable();
    Ok((kinds.join("\n"), ours))
}

fn as_before(lab: &Lab) -> Result<()> {
    let (before, _) = unknown(lab)?;
    ensure!(before.contains("ethernet-input") && before.contains("arp"), "VPP counts other errors now: {before}");
    enable_all(lab)?;
    let (during, ours) = unknown(lab)?;
    ensure!(ours && during != before, "nothing is different while it is enabled: {during}");
    disable(lab, "host-eth0")?;
    let (after, ours) = unknown(lab)?;
    ensure!(!ours && after == before, "before:\n{before}\nafter:\n{after}");
    Ok(())
}
