//! How long a table is tried again, and what then. Pure: failures, successes and `now` enter, a decision leaves.

use std::time::{Duration, Instant};
use tributary_service::retry::{Backoff, Policy};

/// How long sessions that stand in each other's way are tried again at the least: `retry_minutes = 0` is about servers
/// that are away, and a deadlock is broken by trying again.
const CONFLICT: Duration = Duration::from_secs(60);

/// Longest wait before a lock is asked for again: whoever holds it may be gone the next moment.
const CONFLICT_LONGEST: Duration = Duration::from_secs(10);

/// What follows a failure that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again, not too soon.
    Again,
    /// Give this table up: others have succeeded meanwhile, so it is not the server.
    Park,
    /// Give everything up.
    End,
}

/// The failures of a table in a row.
pub(super) struct Retries {
    away: Backoff,
    conflicts: Backoff,
    /// Kafka did not say what a job wanted to know.
    kafka: Backoff,
    succeeded: Option<Instant>,
    /// No job goes out before this instant.
    not_before: Option<Instant>,
}

impl Retries {
    /// No failure yet; the limits are `retry_minutes` of the destination and of Kafka.
    pub(super) fn new(limit: Duration, kafka: Duration) -> Self {
        Self {
            away: Backoff::new(Policy::for_limit(limit)),
            kafka: Backoff::new(Policy::for_limit(kafka)),
            conflicts: Backoff::new(Policy {
                longest: CONFLICT_LONGEST,
                ..Policy::for_limit(limit.max(CONFLICT))
            }),
            succeeded: None,
            not_before: None,
        }
    }

    /// True if no job may go out yet.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|instant| now < instant)
    }

    /// When the last job succeeded.
    pub(super) const fn last_success(&self) -> Option<Instant> {
        self.succeeded
    }

    /// A job has succeeded.
    pub(super) const fn succeeded(&mut self, now: Instant) {
        self.forget();
        self.succeeded = Some(now);
    }

    /// What failed before does not count any more: nothing is tried now, or it is another matter.
    pub(super) const fn forget(&mut self) {
        self.away.succeeded();
        self.conflicts.succeeded();
        self.kafka.succeeded();
        self.not_before = None;
    }

    /// Kafka has failed a job at `now`. False if it has failed for as long as it may.
    pub(super) fn kafka_failed(&mut self, now: Instant, jitter: f64) -> bool {
        let delay = self.kafka.failed(now, jitter);
        self.not_before = delay.map(|delay| now + delay);
        delay.is_some()
    }

    /// A job has failed at `now`. `conflict`: another session stood in its way. `others`: when a job of any other table
    /// last succeeded.
    pub(super) fn failed(
        &mut self,
        conflict: bool,
        others: Option<Instant>,
        now: Instant,
        jitter: f64,
    ) -> Next {
        let backoff = if conflict { &mut self.conflicts } else { &mut self.away };
        if let Some(delay) = backoff.failed(now, jitter) {
            self.not_before = Some(now + delay);
            return Next::Again;
        }
        let lasted = backoff.lasted(now);
        match others {
            Some(success) if now.saturating_duration_since(success) < lasted => Next::Park,
            _ => Next::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn at_the_limit_a_table_is_parked_if_others_go_on_and_else_everything_ends() {
        let start = Instant::now();
        let after = |others: Option<Duration>| {
            let mut retries = Retries::new(12 * HOUR, HOUR);
            assert_eq!(retries.failed(true, None, start, 0.0), Next::Again);
            assert!(retries.is_waiting(start));
            retries.failed(true, others.map(|at| start + at), start + 12 * HOUR, 0.0)
        };
        assert_eq!(after(Some(11 * HOUR)), Next::Park);
        assert_eq!(after(Some(Duration::ZERO)), Next::End, "not since the first failure");
        assert_eq!(after(None), Next::End);
    }

    #[test]
    fn without_a_limit_a_deadlock_is_tried_again_and_a_server_that_is_away_is_not() {
        let mut retries = Retries::new(Duration::ZERO, HOUR);
        let now = Instant::now();
        assert_eq!(retries.failed(true, None, now, 0.0), Next::Again);
        assert_eq!(retries.failed(true, None, now + CONFLICT, 0.0), Next::End);
        assert_eq!(retries.failed(false, Some(now), now, 0.0), Next::End);
        assert!(retries.kafka_failed(now, 0.0) && retries.is_waiting(now), "Kafka has a limit of its own");
        assert!(!retries.kafka_failed(now + HOUR, 0.0));
    }

    #[test]
    fn what_failed_before_a_success_or_a_new_beginning_does_not_count() {
        let start = Instant::now();
        for success in [true, false] {
            let mut retries = Retries::new(HOUR, HOUR);
            assert_eq!(retries.failed(false, None, start, 0.0), Next::Again);
            if success {
                retries.succeeded(start)
            } else {
                retries.forget()
            }
            assert!(!retries.is_waiting(start));
            assert_eq!(retries.failed(false, None, start + 2 * HOUR, 0.0), Next::Again);
        }
    }
}
