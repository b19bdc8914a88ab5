//! Differences that were found and mended, for who asks.

use std::collections::VecDeque;

/// So many are remembered in words.
const REMEMBERED: usize = 32;

/// How many there were ever, and the last of them.
#[derive(Debug, Default)]
pub(super) struct Differences {
    count: u64,
    last: VecDeque<String>,
}

impl Differences {
    /// One more.
    pub(super) fn add(&mut self, words: String) {
        self.count += 1;
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(words);
    }

    /// How many, ever.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The last of them, the newest at the end.
    pub(super) fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
