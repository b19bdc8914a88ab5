//! Which processors the helper thread runs on.
//!
//! VPP pins its main thread to one processor, asked for or not, before anything
//! else (`main`, vpp/vnet/main.c), and a thread begins with the affinity of its
//! maker. Left so, the helper takes half of the main thread's processor
//! while both have work.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// A set of processors.
#[derive(Clone, Copy, Debug)]
pub struct Processors(CpuSet);

impl Processors {
    /// Those that VPP was given by whoever started it, without those of its
    /// threads. Where none is left, all: the one that has least to do is the
    /// scheduler's to find.
    pub fn beside(given: &[usize], vpps: &[usize]) -> Self {
        let free: Vec<usize> = given.iter().filter(|processor| !vpps.contains(processor)).copied().collect();
        let mut set = CpuSet::new();
        for processor in if free.is_empty() { given } else { &free } {
            // It fails beyond the 1024 that the kernel's set has by default.
            let _ = set.set(*processor);
        }
        Self(set)
    }

    /// Let the calling thread run there, and nowhere else.
    pub(super) fn enter(self) -> nix::Result<()> {
        sched_setaffinity(SELF, &self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use nix::sched::sched_getaffinity;

    use super::*;

    fn set(processors: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        for processor in processors {
            set.set(*processor).unwrap();
        }
        set
    }

    #[test]
    fn it_keeps_out_of_vpps_way_where_there_is_another() {
        assert_eq!(Processors::beside(&[0, 1, 2, 3], &[1, 2]).0, set(&[0, 3]));
        assert_eq!(Processors::beside(&[2, 3], &[2, 7]).0, set(&[3]), "one that it was never given");
        assert_eq!(Processors::beside(&[0, 1], &[1, 0]).0, set(&[0, 1]), "none is left");
        assert_eq!(Processors::beside(&[0, 1 << 20], &[0]).0, set(&[]), "more than a set holds");
    }

    #[test]
    fn a_thread_enters() {
        std::thread::spawn(|| {
            let given = sched_getaffinity(SELF).unwrap();
            let given: Vec<usize> = (0..CpuSet::count()).filter(|one| given.is_set(*one).unwrap()).collect();
            Processors::beside(&given, &given[1..]).enter().unwrap();
            assert_eq!(sched_getaffinity(SELF).unwrap(), set(&given[..1]));
            Processors(set(&[])).enter().unwrap_err();
        })
        .join()
        .unwrap();
    }
}
