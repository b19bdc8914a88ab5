//! Failures on demand, for tests: a step fails or panics when its turn comes.
//! Only in a build with the feature `faults`, never in a release.

use parking_lot::Mutex;

use super::Step;

/// What happens instead of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It returns an error.
    Fail,
    /// It panics.
    Panic,
}

/// What an injected failure says.
pub const INJECTED: &str = "injected failure";

static ARMED: Mutex<Vec<(String, Fault)>> = Mutex::new(Vec::new());

/// The key of a step's undo.
pub fn undo_key(step: Step) -> String {
    format!("undo:{step}")
}

/// Arm a fault: at a step's name, or at `undo:` and a step's name. It strikes
/// once. The error names an unknown step.
pub fn arm(key: &str, fault: Fault) -> Result<(), String> {
    let name = key.strip_prefix("undo:").unwrap_or(key);
    if Step::by_name(name).is_none() {
        return Err(format!("'{name}' is no step; 'show hostnet verbose' lists them"));
    }
    ARMED.lock().push((key.to_owned(), fault));
    Ok(())
}

/// Whether a fault is still armed.
pub fn is_armed() -> bool {
    !ARMED.lock().is_empty()
}

/// Called before the step, or the undo, of that key: fails or panics if that
/// was armed, and disarms it.
///
/// # Panics
///
/// When [`Fault::Panic`] was armed for it.
pub fn trip(key: &str) -> Result<(), String> {
    let fault = {
        let mut armed = ARMED.lock();
        let Some(at) = armed.iter().position(|(of, _)| of == key) else { return Ok(()) };
        armed.remove(at).1
    };
    match fault {
        Fault::Fail => Err(INJECTED.to_owned()),
        #[allow(clippy::panic, reason = "to panic is what was asked for")]
        Fault::Panic => panic!("{INJECTED}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The table is the process's own, so this is one test.
    #[test]
    fn a_fault_strikes_once_and_only_its_own_step() {
        assert!(arm("no-such-step", Fault::Fail).is_err());
        assert_eq!(arm("undo:linux-move", Fault::Fail), Ok(()));
        assert_eq!(trip("linux-move"), Ok(()));
        assert_eq!(trip("undo:linux-move"), Err(INJECTED.to_owned()));
        assert_eq!(trip("undo:linux-move"), Ok(()));
        assert_eq!(arm("linux-move", Fault::Panic), Ok(()));
        assert!(std::panic::catch_unwind(|| trip("linux-move")).is_err());
        assert!(!is_armed());
    }
}
