//! The one crossing between VPP's main thread and the helper thread: two
//! bounded queues, two eventfds.
//!
//! A foreign thread looks like VPP's main thread to VPP (its thread index is a
//! thread-local zero), so the helper calls no VPP function at all: it puts a
//! report into the queue and writes the eventfd that VPP's main loop polls.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::engine::{Command, Report, SubmitError};

/// Commands and reports under way at once. A plan has one step under way, so
/// this bounds the number of uplinks worked on at the same time.
const DEPTH: usize = 256;

/// The end that VPP's main thread holds. Nothing here blocks.
#[derive(Debug)]
pub struct MainEnd {
    /// `None` only while this end is being dropped.
    commands: Option<SyncSender<Command>>,
    reports: Receiver<Report>,
    to_helper: Arc<EventFd>,
    to_main: Arc<EventFd>,
}

/// The end that the helper thread holds.
#[derive(Debug)]
pub struct HelperEnd {
    commands: Receiver<Command>,
    reports: SyncSender<Report>,
    to_helper: Arc<EventFd>,
    to_main: Arc<EventFd>,
}

/// Make both ends. Fails when the process has no file descriptor left.
pub fn bridge() -> nix::Result<(MainEnd, HelperEnd)> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let to_helper = Arc::new(EventFd::from_flags(flags)?);
    let to_main = Arc::new(EventFd::from_flags(flags)?);
    let (command_tx, command_rx) = sync_channel(DEPTH);
    let (report_tx, report_rx) = sync_channel(DEPTH);
    let main = MainEnd {
        commands: Some(command_tx),
        reports: report_rx,
        to_helper: Arc::clone(&to_helper),
        to_main: Arc::clone(&to_main),
    };
    let helper = HelperEnd { commands: command_rx, reports: report_tx, to_helper, to_main };
    Ok((main, helper))
}

fn ring(event: &EventFd) {
    // The only error of a non-blocking eventfd is EAGAIN: its counter is full,
    // so the other side has a wake-up under way already.
    let _ = event.write(1);
}

fn quiet(event: &EventFd) {
    // EAGAIN: nobody rang. Both are fine, the queue is what counts.
    let _ = event.read();
}

impl MainEnd {
    /// Hand a command over and wake the helper.
    pub fn submit(&self, command: Command) -> Result<(), SubmitError> {
        let Some(commands) = &self.commands else {
            return Err(SubmitError::Dead);
        };
        match commands.try_send(command) {
            Ok(()) => {
                ring(&self.to_helper);
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(SubmitError::Full),
            Err(TrySendError::Disconnected(_)) => Err(SubmitError::Dead),
        }
    }

    /// The next report, if there is one. Call [`Self::quiet`] first, then
    /// until `None`, so that no wake-up is lost.
    pub fn report(&self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Take back the wake-up.
    pub fn quiet(&self) {
        quiet(&self.to_main);
    }

    /// The file that becomes readable when a report waits.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.to_main.as_fd()
    }
}

impl Drop for MainEnd {
    fn drop(&mut self) {
        // First gone, then the wake-up: the helper wakes and finds nobody.
        self.commands = None;
        ring(&self.to_helper);
    }
}

impl HelperEnd {
    /// The next command: `Ok(None)` when none waits, an error when the main
    /// end is gone.
    pub fn command(&self) -> Result<Option<Command>, TryRecvError> {
        match self.commands.try_recv() {
            Ok(command) => Ok(Some(command)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(gone @ TryRecvError::Disconnected) => Err(gone),
        }
    }

    /// Hand a report over and wake the main thread. May block while the queue
    /// is full; `false` when the main end is gone.
    pub fn report(&self, report: Report) -> bool {
        // Ring first when full: the main thread must drain for us to go on.
        let sent = match self.reports.try_send(report) {
            Ok(()) => true,
            Err(TrySendError::Full(report)) => {
                ring(&self.to_main);
                self.reports.send(report).is_ok()
            }
            Err(TrySendError::Disconnected(_)) => false,
        };
        ring(&self.to_main);
        sent
    }

    /// Take back the wake-up.
    pub fn quiet(&self) {
        quiet(&self.to_helper);
    }

    /// The file that becomes readable when a command waits.
    pub fn event(&self) -> BorrowedFd<'_> {
        self.to_helper.as_fd()
    }
}
