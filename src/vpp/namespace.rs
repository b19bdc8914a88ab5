//! VPP's main thread in another network namespace, for the length of one call.
//!
//! VPP's af-packet makes its sockets where the main thread is. And it looks its
//! netdev up by index, there as well, whenever it sets the MAC, the MTU or the
//! state: outside of the netdev's namespace it would change another device
//! that happens to have that index (plugins/af_packet/device.c).

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sched::{CloneFlags, setns};

use super::Barrier;

/// Leads the main thread home when it is dropped, by a panic too.
struct Home(File);

impl Drop for Home {
    fn drop(&mut self) {
        // The kernel refuses only what is no namespace or not ours to enter;
        // this is the one that the thread came from.
        if let Err(error) = setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET) {
            log::error!("VPP's main thread cannot return to its network namespace: {error}");
        }
    }
}

/// Do `work` with the main thread in the network namespace of the open file
/// (where it is with `None`). `work` cannot sleep: it has no session to sleep
/// with, so nothing else of VPP's runs in there.
pub fn within<R>(
    _barrier: &Barrier<'_>,
    namespace: Option<BorrowedFd<'_>>,
    work: impl FnOnce() -> Result<R, String>,
) -> Result<R, String> {
    let Some(namespace) = namespace else { return work() };
    // Of the calling thread: others of the process may be elsewhere.
    let home = File::open("/proc/thread-self/ns/net")
        .map_err(|error| format!("VPP's own network namespace cannot be opened: {error}"))?;
    setns(namespace, CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("the device's network namespace cannot be entered: {error}"))?;
    let _home = Home(home);
    work()
}
