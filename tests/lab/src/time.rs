//! Deadlines. `HOSTNET_TIME_SCALE` stretches them all, for a machine under
//! emulation.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

static SCALE: LazyLock<u32> = LazyLock::new(|| {
    std::env::var("HOSTNET_TIME_SCALE").ok().and_then(|text| text.parse().ok()).filter(|n| *n >= 1).unwrap_or(1)
});

/// The factor that all time-outs are stretched by.
pub fn scale() -> u32 {
    *SCALE
}

/// A time-out of so many milliseconds on a machine of usual speed.
pub fn millis(n: u64) -> Duration {
    Duration::from_millis(n) * scale()
}

/// A time-out of so many seconds on a machine of usual speed.
pub fn secs(n: u64) -> Duration {
    millis(n * 1000)
}

/// How often [`until`] looks. Only for things that give no event to wait for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Look until it is there; the last look begins after the deadline, for a look
/// may take long where the machine has more to do than it can. The error names
/// what was waited for and what was seen last.
pub fn until<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        let is_last = Instant::now() >= deadline;
        let last = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => String::new(),
            Err(error) => format!("; last: {error:#}"),
        };
        if is_last {
            bail!("{what}: not seen within {timeout:?}{last}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What is left until the deadline, at least a millisecond (a time-out of
/// zero means "for ever" to a socket).
pub fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
