//! What the nodes of the policer share: its configuration, and on each thread of
//! VPP the buckets and the counters of each device of the host's.

use crate::model::police::{Buckets, Class, Config, Counts, Kind, classify};
use crate::vpp::node::Context;
use crate::vpp::{Barrier, BarrierCell, WorkerCell};

/// Until the first is set all passes; there is no tap before.
static CONFIG: BarrierCell<Option<Config>> = BarrierCell::new(None);

/// A handful at most, so a list is the fastest.
static DEVICES: WorkerCell<Vec<Device>> = WorkerCell::new();

/// A device of the host's, on one thread.
#[derive(Clone, Copy, Debug)]
struct Device {
    /// VPP's index of its tap.
    tap: u32,
    buckets: Buckets,
    counts: Counts,
}

/// Police by this from now on. Buckets are full again.
pub fn set_police(barrier: &Barrier<'_>, config: Config) {
    CONFIG.write(barrier, |place| *place = Some(config));
    DEVICES.each(barrier, |devices| devices.iter_mut().for_each(|device| device.buckets = Buckets::default()));
}

/// Count for the tap from now on, from zero. Not for a VLAN's on another's: all
/// of a device share its ring.
pub fn count_tap(barrier: &Barrier<'_>, tap: u32) {
    DEVICES.each(barrier, |devices| {
        devices.retain(|device| device.tap != tap);
        devices.push(Device { tap, buckets: Buckets::default(), counts: Counts::default() });
    });
}

/// No longer.
pub(super) fn discount_tap(barrier: &Barrier<'_>, tap: u32) {
    DEVICES.each(barrier, |devices| devices.retain(|device| device.tap != tap));
}

/// What was counted, by VPP's index of the tap, of all threads; and how many
/// threads there are.
pub fn counts(barrier: &Barrier<'_>) -> (usize, Vec<(u32, Counts)>) {
    let mut all: Vec<(u32, Counts)> = Vec::new();
    let threads = DEVICES.each(barrier, |devices| {
        for device in devices {
            match all.iter_mut().find(|(tap, _)| *tap == device.tap) {
                Some((_, counts)) => counts.add(&device.counts),
                None => all.push((device.tap, device.counts)),
            }
        }
    });
    (threads, all)
}

/// Count from zero again.
pub fn clear_counts(barrier: &Barrier<'_>) {
    DEVICES.each(barrier, |devices| devices.iter_mut().for_each(|device| device.counts = Counts::default()));
}

/// The policer's configuration, once there is one.
fn config<'n>(ctx: &'n Context<'_>) -> Option<&'n Config> {
    CONFIG.read(ctx).as_ref()
}

/// What kind of frame it is, by the configured ports.
pub(crate) fn kind_of(ctx: &Context<'_>, frame: &[u8]) -> Kind {
    classify(frame, config(ctx).map_or(&[], Config::ports))
}

/// The error that counts a class, from the first one's on.
pub(crate) fn of_class(first: u16, class: Class) -> u16 {
    first + u16::try_from(class.index()).unwrap_or(0)
}

/// What becomes of a packet to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on unmeasured: VPP's answer to the host's own packet.
    Answer,
    /// It is too much.
    Police,
    /// The tap is not known, on its way in or out.
    Unknown,
}

/// Decide on a packet to the host by the tap, and count it.
pub(crate) fn decide(ctx: &Context<'_>, tap: u32, kind: Kind, is_answer: bool) -> Verdict {
    let limit = config(ctx).map(|config| config.limit(kind.class));
    let decided = DEVICES.with(ctx, |devices| {
        let device = devices.iter_mut().find(|device| device.tap == tap)?;
        let verdict = match limit {
            _ if is_answer => Verdict::Answer,
            Some(limit) if limit.on && !device.buckets.take(ctx.now(), kind, limit) => Verdict::Police,
            _ => Verdict::Pass,
        };
        let (passed, policed) = &mut device.counts.to_host[kind.class.index()];
        let counter = if verdict == Verdict::Police { policed } else { passed };
        *counter = counter.wrapping_add(1);
        Some(verdict)
    });
    decided.flatten().unwrap_or(Verdict::Unknown)
}

/// Count a packet from the host.
pub(crate) fn count_from_host(ctx: &Context<'_>, tap: u32, class: Class, refused: bool) {
    DEVICES.with(ctx, |devices| {
        if let Some(device) = devices.iter_mut().find(|device| device.tap == tap) {
            let (passed, dropped) = &mut device.counts.from_host[class.index()];
            let counter = if refused { dropped } else { passed };
            *counter = counter.wrapping_add(1);
        }
    });
}
