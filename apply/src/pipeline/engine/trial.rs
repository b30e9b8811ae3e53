//! When a parked table is tried again without anyone's saying so: its reason may have been taken away on the destination's
//! side, where a person grants, empties, renames or alters. Pure: reasons and `now` enter, decisions leave.
//!
//! Invariant: a table that is tried counts as parked until it has written something, or has nothing left to write.

use crate::destination::TableError;
use std::time::{Duration, Instant};

/// Why a table is parked, and when it is tried again.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    error: TableError,
    next: Instant,
    running: bool,
}

impl Trial {
    /// `None` for a reason that only a command, capture or another configuration takes away.
    pub(super) fn after(error: &TableError, now: Instant, interval: Duration) -> Option<Self> {
        let error = error.may_be_mended().then(|| error.clone())?;
        Some(Self { error, next: now + interval, running: false })
    }

    /// True once, when the time has come.
    pub(super) fn starts(&mut self, now: Instant) -> bool {
        let starts = !self.running && now >= self.next;
        self.running |= starts;
        starts
    }

    /// Somebody else says that the time has come.
    pub(super) const fn start(&mut self) {
        self.running = true;
    }

    /// True while the table is tried.
    pub(super) const fn is_running(&self) -> bool {
        self.running
    }

    /// True if a trial has met what stopped the table before: nobody needs to be told again.
    pub(super) fn is_known(&self, error: &TableError) -> bool {
        self.running && self.error == *error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn error(code: &str) -> TableError {
        let text = String::new;
        TableError { code: code.to_owned(), message: text(), place: text(), remedy: text() }
    }

    #[test]
    fn what_a_person_mends_on_the_destination_is_tried_once_a_minute() {
        let start = Instant::now();
        let mut trial = Trial::after(&error("42501"), start, MINUTE).unwrap();
        assert!(!trial.starts(start + MINUTE / 2) && !trial.is_known(&error("42501")));
        assert!(trial.starts(start + MINUTE) && trial.is_running());
        assert!(!trial.starts(start + 3 * MINUTE), "one at a time");
        assert!(trial.is_known(&error("42501")) && !trial.is_known(&error("42P01")));
    }

    #[test]
    fn what_wants_a_command_or_another_configuration_is_not_tried() {
        for code in [
            "42501",
            "42P01",
            "3F000",
            "22003",
            "existing-data",
            "target-kind",
            "target-definition",
            "target-gone",
        ] {
            assert!(Trial::after(&error(code), Instant::now(), MINUTE).is_some(), "{code}");
        }
        for code in [
            "foreign-record",
            "retention-exceeded",
            "topic-recreated",
            "target-changed",
            "rule-conflict",
            "bad-row",
        ] {
            assert!(Trial::after(&error(code), Instant::now(), MINUTE).is_none(), "{code}");
        }
    }
}
