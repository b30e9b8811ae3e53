//! Waiting for a server that is away. The decision is pure: it takes the time and a random number and says how long
//! to wait, or that the limit is reached. [`retry_while_transient`] carries it out and shows it in the status.

use crate::shutdown::Shutdown;
use crate::status::Status;
use crate::transient::Transient;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often and how long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Wait after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// Time from the first failure to the last attempt; zero: one attempt.
    pub limit: Duration,
}

impl Policy {
    /// For a `retry_minutes` key: from a quarter of a second to ten seconds, for a server that is back is to be noticed
    /// well within half a minute.
    #[must_use]
    pub const fn for_limit(limit: Duration) -> Self {
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(10), limit }
    }
}

/// Failures in a row.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
    since: Option<Instant>,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub const fn new(policy: Policy) -> Self {
        Self { policy, failures: 0, since: None }
    }

    /// Takes note of a failure at `now`; `jitter` from 0 to 1 spreads instances that failed together. Returns how
    /// long to wait before the next attempt, or `None` if there shall be none. The last attempt is at the limit.
    pub fn failed(&mut self, now: Instant, jitter: f64) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let left = self.policy.limit.checked_sub(now.saturating_duration_since(since))?;
        if left.is_zero() {
            return None;
        }
        let doubled = self.policy.first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1).min(31);
        let delay = doubled.min(self.policy.longest).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        Some(delay.min(left))
    }

    /// How long it has been failing.
    #[must_use]
    pub fn lasted(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Forgets the failures.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
        self.since = None;
    }
}

/// Why [`retry_while_transient`] gave up.
#[derive(Debug, thiserror::Error)]
pub enum RetryError<E> {
    /// An error that waiting does not cure.
    #[error("{0}")]
    Definite(E),
    /// The limit is reached; the last error.
    #[error("{error} (tried for {} s)", tried.as_secs())]
    Limit {
        /// The last one.
        error: E,
        /// From the first failure to the last.
        tried: Duration,
    },
    /// The process is asked to end.
    #[error("interrupted by the shutdown")]
    Shutdown,
}

/// Runs `attempt` until it succeeds, fails for good, the limit of `policy` is reached or the end is asked for. While
/// it waits, the status says that `what` (as in "connecting to MySQL at 127.0.0.1:3306") is being retried.
pub async fn retry_while_transient<T, E, F, A>(
    policy: Policy,
    status: &Status,
    shutdown: &Shutdown,
    what: &str,
    mut attempt: F,
) -> Result<T, RetryError<E>>
where
    E: Transient + Display,
    F: FnMut() -> A,
    A: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::new(policy);
    loop {
        let outcome = tokio::select! {
            outcome = attempt() => outcome,
            () = shutdown.wait() => {
                status.retried(what);
                return Err(RetryError::Shutdown);
            }
        };
        let error = match outcome {
            Ok(value) => {
                if status.retried(what) {
                    tracing::info!(after_seconds = backoff.lasted(Instant::now()).as_secs(), "{what}: back");
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        if !error.is_transient() {
            status.retried(what);
            return Err(RetryError::Definite(error));
        }
        let Some(delay) = backoff.failed(Instant::now(), fastrand::f64()) else {
            status.retried(what);
            return Err(RetryError::Limit { error, tried: backoff.lasted(Instant::now()) });
        };
        tracing::warn!(error = %error, retry_in_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), "{what}");
        status.retrying(what, &error.to_string());
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = shutdown.wait() => {
                status.retried(what);
                return Err(RetryError::Shutdown);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Service;
    use std::cell::Cell;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn waits_double_up_to_the_longest_and_the_last_attempt_is_at_the_limit() {
        let mut backoff = Backoff::new(Policy::for_limit(MINUTE));
        let mut now = Instant::now();
        let start = now;
        let mut waits = Vec::new();
        while let Some(wait) = backoff.failed(now, 1.0) {
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000, 4_250]);
        assert_eq!(now - start, MINUTE);
        backoff.succeeded();
        assert_eq!(backoff.failed(now, 0.0), Some(Duration::from_millis(125)));
    }

    #[test]
    fn without_a_limit_in_time_there_is_one_attempt() {
        let mut backoff = Backoff::new(Policy::for_limit(Duration::ZERO));
        assert_eq!(backoff.failed(Instant::now(), 1.0), None);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("away: {0}")]
    struct Away(bool);

    impl Transient for Away {
        fn is_transient(&self) -> bool {
            self.0
        }
    }

    fn policy() -> Policy {
        Policy { first: Duration::from_micros(10), longest: Duration::from_micros(100), limit: MINUTE }
    }

    #[tokio::test]
    async fn transient_errors_are_waited_out_and_shown() {
        let status = Status::new("t", Service::Capture);
        let (_handle, shutdown) = crate::shutdown::channel();
        let attempts = Cell::new(0);
        let shown = Cell::new(false);
        let value = retry_while_transient(policy(), &status, &shutdown, "connecting", || {
            attempts.set(attempts.get() + 1);
            shown.set(status.document().retrying.is_some());
            let outcome = if attempts.get() < 4 { Err(Away(true)) } else { Ok(attempts.get()) };
            async move { outcome }
        });
        assert_eq!(value.await.unwrap(), 4);
        assert!(shown.get());
        assert!(status.document().retrying.is_none());
    }

    #[tokio::test]
    async fn definite_errors_and_the_limit_end_it_at_once() {
        let status = Status::new("t", Service::Capture);
        let (handle, shutdown) = crate::shutdown::channel();
        let definite: Result<(), _> =
            retry_while_transient(policy(), &status, &shutdown, "x", || async { Err(Away(false)) }).await;
        assert!(matches!(definite, Err(RetryError::Definite(_))));
        let none = Policy::for_limit(Duration::ZERO);
        let limit: Result<(), _> =
            retry_while_transient(none, &status, &shutdown, "x", || async { Err(Away(true)) }).await;
        assert!(matches!(limit, Err(RetryError::Limit { .. })));
        handle.request();
        let ended: Result<(), RetryError<Away>> =
            retry_while_transient(policy(), &status, &shutdown, "x", std::future::pending).await;
        assert!(matches!(ended, Err(RetryError::Shutdown)));
    }
}
