//! The one error of this room.

use nix::errno::Errno;

/// What was attempted and why it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {detail}")]
pub struct Error {
    what: String,
    detail: String,
    errno: Option<Errno>,
}

impl Error {
    /// A failure that no error number stands for.
    pub(super) fn new(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), detail: detail.into(), errno: None }
    }

    /// A thing that is not there any more, whatever told so.
    pub(super) fn gone(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { what: what.into(), detail: detail.into(), errno: Some(Errno::ENODEV) }
    }

    /// A failed system call.
    pub(super) fn sys(what: impl Into<String>, errno: Errno) -> Self {
        Self { what: what.into(), detail: errno.desc().to_owned(), errno: Some(errno) }
    }

    /// A failed call of the standard library.
    pub(super) fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Self::sys(what, Errno::from_raw(number)),
            None => Self::new(what, error.to_string()),
        }
    }

    /// A request that the kernel refused; `text` is its extended ack.
    pub(super) fn refused(what: impl Into<String>, errno: Errno, text: Option<&str>) -> Self {
        let detail = match text {
            Some(text) => format!("{} ({})", text.trim_end_matches('.'), errno.desc()),
            None => errno.desc().to_owned(),
        };
        Self { what: what.into(), detail, errno: Some(errno) }
    }

    /// This error, and one that came of cleaning up after it.
    pub(super) fn and(mut self, second: &Self) -> Self {
        self.detail = format!("{}; then, cleaning up: {second}", self.detail);
        self
    }

    /// The kernel's error number, where it gave one.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// Whether the error says that the thing to be removed is not there.
    pub(super) fn is_gone(&self) -> bool {
        matches!(
            self.errno,
            // ENODEV: the device. EADDRNOTAVAIL: the address. ESRCH: the
            // route, or the process behind /proc/N. ENOENT: the file, or the
            // routing table.
            Some(Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::ESRCH | Errno::ENOENT)
        )
    }
}

/// Success where the thing to be removed is gone already.
pub(super) fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}
