//! How far the stream was behind the source when it was last heard. Pure: the times come in. Only an event or a heartbeat
//! says anything: that nothing comes for a moment does not mean that the source has nothing.

use std::time::{Duration, Instant};

/// The last word of the stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freshness {
    /// When the newest event happened on the source, microseconds since 1970; 0 before the first.
    event_micros: u64,
    /// The open transaction says when it was committed: more than the times of its statements do.
    exact: bool,
    /// Nothing came after the last heartbeat.
    at_end: bool,
    heard: Option<(Instant, u64)>,
}

impl Freshness {
    /// Nothing was heard yet.
    #[must_use]
    pub(super) const fn new() -> Self {
        Self { event_micros: 0, exact: false, at_end: false, heard: None }
    }

    /// A transaction begins that was committed at `micros`, microseconds since 1970, if the server says.
    pub(super) const fn transaction(&mut self, micros: Option<u64>) {
        self.exact = micros.is_some();
        if let Some(micros) = micros {
            self.event_micros = micros;
        }
        self.at_end = false;
    }

    /// An event of this second of the source's clock; it may be as young as the second's end.
    pub(super) const fn event(&mut self, seconds: u32) {
        if !self.exact {
            self.event_micros = (seconds as u64) * 1_000_000 + 999_999;
        }
        self.at_end = false;
    }

    /// The server has nothing more to send.
    pub(super) const fn heartbeat(&mut self) {
        self.at_end = true;
    }

    /// The stream has brought something at `now`, which is `now_ms` by the wall clock, milliseconds since 1970.
    pub(super) const fn heard(&mut self, now: Instant, now_ms: u64) {
        self.heard = Some((now, now_ms));
    }

    /// When the stream was heard last, and how far it was behind the source then; `None` before that is known.
    #[must_use]
    pub(super) fn last(&self) -> Option<(Instant, Duration)> {
        let (at, at_ms) = self.heard?;
        if self.at_end {
            return Some((at, Duration::ZERO));
        }
        let micros = at_ms.saturating_mul(1_000).saturating_sub(self.event_micros);
        (self.event_micros > 0).then_some((at, Duration::from_micros(micros)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_and_heartbeats_say_how_far_it_is_behind() {
        let now = Instant::now();
        let mut freshness = Freshness::new();
        assert_eq!(freshness.last(), None);
        freshness.heard(now, 5_000);
        assert_eq!(freshness.last(), None, "something that is no event, such as the head of a file");
        freshness.event(3);
        assert_eq!(freshness.last(), Some((now, Duration::from_micros(1_000_001))));
        freshness.heartbeat();
        assert_eq!(freshness.last(), Some((now, Duration::ZERO)));
        freshness.event(9);
        assert_eq!(freshness.last(), Some((now, Duration::ZERO)), "never more than it can be");
    }

    #[test]
    fn the_time_of_the_commit_counts_where_the_server_gives_it() {
        let now = Instant::now();
        let mut freshness = Freshness::new();
        freshness.transaction(Some(9_500_000));
        // A statement that took six seconds.
        freshness.event(3);
        freshness.heard(now, 10_000);
        assert_eq!(freshness.last(), Some((now, Duration::from_millis(500))));
        freshness.transaction(None);
        freshness.event(3);
        assert_eq!(freshness.last(), Some((now, Duration::from_micros(6_000_001))));
    }
}
