//! A guard that is killed at any instant, and run again.

use std::io::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::*;

/// How often the device is taken, unless the environment says otherwise.
const ROUNDS: u32 = 25;
const ROUNDS_VARIABLE: &str = "HOSTNET_GUARD_ROUNDS";
/// Kills of each round.
const KILLS: u32 = 2;

#[test]
fn killed_at_any_instant_it_is_finished_by_the_next() {
    let lab = Lab::new();
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |text| text.parse().unwrap());
    let seed = u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos());
    let mut random = seed;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    // How long one takes that nobody kills.
    lab.take(Until::Taken);
    lab.orphan();
    let begun = Instant::now();
    lab.restored();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    let (mut half_way, mut finished) = (0, 0);
    for round in 0..rounds {
        let until =
            [Until::Taken, Until::Recalled, Until::Taken, Until::HalfDressed][usize::try_from(below(4)).unwrap()];
        lab.take(until);
        lab.orphan();
        for _ in 0..KILLS {
            let guard = lab.start("restore");
            std::thread::sleep(Duration::from_micros(below(whole * 3 / 4)));
            drop(guard);
        }
        match lab.phase() {
            JournalPhase::Giving => half_way += 1,
            JournalPhase::Home => finished += 1,
            JournalPhase::Kept | JournalPhase::Taking | JournalPhase::Taken => {}
        }
        let (code, text) = lab.guard("restore");
        assert_eq!(code, 0, "round {round}, {until:?}, seed {seed}: {text}");
        lab.is_as_before();
    }
    let summary = format!("{rounds} rounds of {KILLS} kills: {half_way} half way, {finished} finished before");
    std::io::stderr().write_all(format!("{summary}\n").as_bytes()).unwrap();
    assert!(half_way > 0 || rounds < ROUNDS, "no kill came while it worked: {summary}");
}
