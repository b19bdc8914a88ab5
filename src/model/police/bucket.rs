//! Token buckets.

use super::{CLASSES, Kind, Limit, STANDING};

/// A token bucket: it fills at the rate and holds the burst. Full at first.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    /// When it was looked at last, in seconds.
    last: f64,
}

impl Default for Bucket {
    fn default() -> Self {
        // More than any burst; what is too much is poured away at once.
        Self { tokens: f64::MAX, last: 0.0 }
    }
}

impl Bucket {
    /// Whether a packet may pass `now`, in seconds of a clock that may be wrong
    /// for a while: while it runs backwards nothing is filled in, and whatever it
    /// leaps, no more than a burst.
    pub fn take(&mut self, now: f64, rate: u32, burst: u32) -> bool {
        let passed = (now - self.last).max(0.0);
        self.last = now;
        self.tokens = (self.tokens + passed * f64::from(rate)).min(f64::from(burst));
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// The buckets of all classes on one thread, for one device of the host's: the
/// second of each for TCP connections that stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Buckets([[Bucket; 2]; CLASSES]);

impl Buckets {
    /// Whether a packet of that kind may pass `now`, in seconds.
    pub fn take(&mut self, now: f64, kind: Kind, limit: Limit) -> bool {
        let times = if kind.standing { STANDING } else { 1 };
        let bucket = &mut self.0[kind.class.index()][usize::from(kind.standing)];
        !limit.on || bucket.take(now, limit.rate.saturating_mul(times), limit.burst.saturating_mul(times))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Class;
    use super::*;

    /// How many of `n` pass at one moment.
    fn at_once(bucket: &mut Bucket, now: f64, rate: u32, burst: u32, n: usize) -> usize {
        (0..n).filter(|_| bucket.take(now, rate, burst)).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::default();
        assert_eq!(at_once(&mut bucket, 5.0, 100, 20, 50), 20);
        assert_eq!(at_once(&mut bucket, 5.125, 100, 20, 50), 12);
        // A long silence gives a burst and no more.
        assert_eq!(at_once(&mut bucket, 500.0, 100, 20, 50), 20);
        // A flood of a second, a packet each millisecond.
        let passed = (0..1000).filter(|ms| bucket.take(500.0 + f64::from(*ms) / 1000.0, 100, 20)).count();
        assert!((99..=101).contains(&passed), "{passed}");
    }

    #[test]
    fn a_clock_that_leaps_does_no_harm() {
        let mut bucket = Bucket::default();
        assert_eq!(at_once(&mut bucket, 1e9, 10, 5, 50), 5);
        assert_eq!(at_once(&mut bucket, 3.0, 10, 5, 50), 0);
        assert_eq!(at_once(&mut bucket, 3.2, 10, 5, 50), 2);
        assert_eq!(at_once(&mut bucket, f64::NAN, 10, 5, 50), 0);
        assert_eq!(at_once(&mut bucket, 4.0, 10, 5, 50), 0);
        assert_eq!(at_once(&mut bucket, 4.5, 10, 5, 50), 5);
    }

    #[test]
    fn the_fastest_rate_has_no_end_of_its_own() {
        let mut bucket = Bucket::default();
        assert_eq!(at_once(&mut bucket, 0.0, u32::MAX, u32::MAX, 1000), 1000);
        // 0.1 ms at 10 million a second.
        assert_eq!(at_once(&mut Bucket::default(), 0.0, 10_000_000, 1, 9), 1);
    }

    #[test]
    fn a_smaller_burst_holds_at_once() {
        let mut bucket = Bucket::default();
        assert!(bucket.take(1.0, 10, 1000));
        assert_eq!(at_once(&mut bucket, 1.0, 10, 5, 50), 5);
    }

    #[test]
    fn classes_and_standing_connections_take_nothing_from_each_other() {
        let mut buckets = Buckets::default();
        let limit = Limit { on: true, rate: 10, burst: 10 };
        let mut passed =
            |class, standing, n: usize| (0..n).filter(|_| buckets.take(1.0, Kind { class, standing }, limit)).count();
        assert_eq!(passed(Class::Ports, false, 50), 10);
        assert_eq!(passed(Class::Ports, true, 500), 100);
        assert_eq!(passed(Class::Routing, false, 50), 10);
        let off = Limit { on: false, ..limit };
        assert!(buckets.take(1.0, Kind { class: Class::Ports, standing: false }, off));
    }

    proptest::proptest! {
        /// Whatever comes whenever: never more than a burst and what the time gave.
        #[test]
        fn never_more_than_the_rate_and_a_burst(
            gaps in proptest::collection::vec(0.0_f64..0.01, 1..400), rate in 1_u32..5000, burst in 1_u32..100
        ) {
            let mut bucket = Bucket::default();
            let (mut now, mut passed) = (7.0, 0.0);
            for gap in &gaps {
                now += gap;
                passed += f64::from(u8::from(bucket.take(now, rate, burst)));
            }
            let most = f64::from(burst) + (now - 7.0) * f64::from(rate) + 0.001;
            proptest::prop_assert!(passed <= most, "{passed} of at most {most}");
        }
    }
}
