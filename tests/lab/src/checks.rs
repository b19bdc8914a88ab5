//! Several findings of one test: all are looked at, then all that failed are
//! told together.

use anyhow::{Result, bail};

/// Findings, in the order they were made.
#[derive(Debug, Default)]
pub struct Checks {
    made: usize,
    failed: Vec<String>,
    loud: bool,
}

impl Checks {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// None yet; each is printed as it is made.
    pub fn loud() -> Self {
        Self { loud: true, ..Self::default() }
    }

    /// A finding.
    pub fn add(&mut self, what: &str, result: Result<()>) {
        self.made += 1;
        if self.loud {
            let verdict = if result.is_ok() { "pass" } else { "FAIL" };
            say(&format!("{verdict}  {what}"));
        }
        if let Err(error) = result {
            if self.loud {
                say(&format!("      {error:#}"));
            }
            self.failed.push(format!("{what}: {error:#}"));
        }
    }

    /// A finding that is a plain condition.
    pub fn that(&mut self, what: &str, holds: bool, seen: &str) {
        let result = if holds { Ok(()) } else { Err(anyhow::anyhow!("seen: {seen}")) };
        self.add(what, result);
    }

    /// How many were made and how many failed.
    pub fn count(&self) -> (usize, usize) {
        (self.made, self.failed.len())
    }

    /// An error that tells all that failed.
    pub fn finish(self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        bail!("{} of {} failed:\n- {}", self.failed.len(), self.made, self.failed.join("\n- "));
    }
}

/// Print a line. The one place that prints, for the lab's own program.
#[allow(clippy::print_stdout, reason = "the lab's program talks to its user")]
pub fn say(line: &str) {
    println!("{line}");
}
