//! The one gate through which C enters Rust.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Run `f`; a panic ends here and becomes its text. Whoever calls decides what
/// a panic means for the state it was in.
pub fn guard<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without text".to_owned())
    })
}
