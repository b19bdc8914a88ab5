//! Which process has an interface: a number alone may have a new owner.

use crate::engine::journal::Owner;

/// This process.
pub fn this_process() -> Owner {
    let pid = std::process::id();
    Owner { pid, started: started(pid).unwrap_or_default() }
}

/// Whether that process still lives.
pub fn is_alive(owner: &Owner) -> bool {
    started(owner.pid) == Some(owner.started)
}

/// When a process was started, in clock ticks since boot (field 22 of
/// `/proc/<pid>/stat`, proc_pid_stat(5)); `None` when there is no such process,
/// or it is dead and only waited for.
fn started(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; what follows it does not.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // The 22nd field is the 20th after the name; one is read.
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_lives_until_it_ends_and_its_number_is_not_enough() {
        let us = this_process();
        assert!(us.started > 0 && is_alive(&us));
        assert!(!is_alive(&Owner { started: us.started + 1, ..us }));
        assert!(!is_alive(&Owner { pid: u32::MAX, started: 1 }));
    }
}
