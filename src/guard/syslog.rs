//! A word to the machine's log, for a program that has no terminal.

use std::os::unix::net::UnixDatagram;

/// Where the log is reached (syslog(3)).
const LOG: &str = "/dev/log";

/// The facility `daemon`, times eight as a message has it (syslog.h).
const DAEMON: u8 = 3 << 3;
const WARNING: u8 = 4;
const NOTICE: u8 = 5;

/// Say it, a line each; where there is no log there is nobody to tell.
pub(super) fn send(text: &str, is_well: bool) {
    let Ok(socket) = UnixDatagram::unbound() else { return };
    // The log must not hold the guard up.
    let _ = socket.set_nonblocking(true);
    for line in text.lines() {
        let _ = socket.send_to(message(line, is_well, std::process::id()).as_bytes(), LOG);
    }
}

fn message(line: &str, is_well: bool, pid: u32) -> String {
    let priority = DAEMON | if is_well { NOTICE } else { WARNING };
    format!("<{priority}>hostnet-guard[{pid}]: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log() {
        assert_eq!(message("eth0: home", true, 7), "<29>hostnet-guard[7]: eth0: home");
        assert_eq!(message("x", false, 7), "<28>hostnet-guard[7]: x");
    }
}
