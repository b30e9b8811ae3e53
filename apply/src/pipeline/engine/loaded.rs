//! What follows a table's load, statistics and secondary indexes: when it is begun, and what becomes of an attempt. The
//! decisions are pure; the loop's part begins the attempts and waits for them.
//!
//! Invariant: a table that was loaded, at first or anew, has statistics before `--until-caught-up` ends, unless the server
//! refuses them; an attempt that belongs to an earlier load says nothing of the later one.

use super::index::TableIndex;
use super::{Engine, Event};
use crate::pipeline::worker::statistics_of;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tributary_service::retry::{Backoff, Policy};
use tributary_warehouse::destination::DestinationError;

/// How far a table is with what follows its load.
pub(super) struct AfterLoad {
    state: State,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not known, or the load goes on.
    Unknown,
    /// To be done, not before this instant if there is one.
    Due(Option<Instant>),
    /// Being done, by the attempt of this number.
    Running(u64),
    /// Done, or given up until the next start.
    Done,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Everything is made.
    Made,
    /// The table was emptied or altered meanwhile.
    Overtaken,
    /// It failed, and may succeed later.
    Passing,
    /// The server refuses.
    Refused,
}

impl AfterLoad {
    /// Nothing is known yet; `limit` is how long an attempt is repeated.
    pub(super) fn new(limit: Duration) -> Self {
        Self { state: State::Unknown, backoff: Backoff::new(Policy::for_limit(limit)) }
    }

    /// The table is loaded anew: what was done for the load before does not count.
    pub(super) const fn begin_anew(&mut self) {
        self.state = State::Unknown;
        self.backoff.succeeded();
    }

    /// The destination has the rows, and not yet what follows them.
    pub(super) fn due(&mut self) {
        if self.state == State::Unknown {
            self.state = State::Due(None);
        }
    }

    /// True if something is to be done or under way.
    pub(super) const fn is_pending(&self) -> bool {
        matches!(self.state, State::Due(_) | State::Running(_))
    }

    /// True once, when an attempt is to begin; it has this number.
    fn starts(&mut self, attempt: u64, now: Instant) -> bool {
        let starts =
            matches!(self.state, State::Due(not_before) if not_before.is_none_or(|instant| now >= instant));
        if starts {
            self.state = State::Running(attempt);
        }
        starts
    }

    /// An attempt has ended. False if it belongs to an earlier load, or was the last one.
    fn ended(&mut self, attempt: u64, end: End, now: Instant, jitter: f64) -> bool {
        if self.state != State::Running(attempt) {
            return false;
        }
        self.state = match end {
            End::Made | End::Refused => State::Done,
            End::Overtaken => State::Unknown,
            End::Passing => match self.backoff.failed(now, jitter) {
                Some(delay) => State::Due(Some(now + delay)),
                None => State::Done,
            },
        };
        if !matches!(self.state, State::Due(_)) {
            self.backoff.succeeded();
        }
        self.is_pending()
    }
}

impl Engine {
    /// Begins what follows the load of a table, if it is its time.
    pub(super) fn start_after_load(&mut self, index: TableIndex, now: Instant) {
        let table = &mut self.tables[index];
        self.tokens += 1;
        let attempt = self.tokens;
        if !table.after_load.starts(attempt, now) {
            return;
        }
        let (worker, task) = (Arc::clone(&self.context.worker), Arc::clone(&table.task));
        let memory = Arc::clone(&table.memory);
        let sender = self.context.sender.clone();
        self.context.runtime.spawn(async move {
            let result = worker.after_load(&task, &memory).await;
            // A loop that is gone needs no answer.
            let _ = sender.send(Event::AfterLoad { table: index, attempt, result });
        });
    }

    pub(super) fn after_load_ended(
        &mut self,
        index: TableIndex,
        attempt: u64,
        result: &Result<bool, DestinationError>,
        now: Instant,
    ) {
        let table = &mut self.tables[index];
        let end = match &result {
            Ok(true) => End::Made,
            Ok(false) => End::Overtaken,
            Err(error) if error.is_transient() => End::Passing,
            Err(_) => End::Refused,
        };
        let again = table.after_load.ended(attempt, end, now, fastrand::f64());
        let what = statistics_of(&table.task);
        match result {
            Err(error) if again => {
                if table.has_partitions() {
                    self.context.status.retrying(&what, &error.full());
                }
            }
            Ok(_) => {
                self.context.status.retried(&what);
            }
            Err(error) => {
                // Rows are in; without statistics or indexes queries are slower, and the next start tries again.
                tracing::warn!(table = %table.task.name, error = %error, "no statistics and indexes after the load");
                self.context.status.retried(&what);
            }
        }
    }

    /// Asks for the end of a run that ends once everything is there: the rows are, and so is what follows their load.
    pub(super) fn end_if_caught_up(&mut self, now: Instant) {
        if self.context.caught_up.load(Ordering::Relaxed) && !self.is_analyzing(now) {
            self.context.handle.request();
        }
    }

    /// True while tables that were loaded lack statistics or indexes; an attempt begins here, for rows may come for ever.
    fn is_analyzing(&mut self, now: Instant) -> bool {
        let mut analyzing = false;
        for index in self.tables.indexes() {
            let table = &mut self.tables[index];
            if !table.has_partitions() || table.is_parked() || table.task.loading {
                continue;
            }
            if table.memory.is_fresh() {
                table.after_load.due();
            }
            if table.after_load.is_pending() {
                analyzing = true;
                self.start_after_load(index, now);
            }
        }
        analyzing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn running(attempt: u64) -> (AfterLoad, Instant) {
        let (mut after_load, now) = (AfterLoad::new(HOUR), Instant::now());
        assert!(!after_load.is_pending() && !after_load.starts(attempt, now), "nobody says that it is due");
        after_load.due();
        assert!(after_load.starts(attempt, now) && !after_load.starts(attempt + 1, now), "one at a time");
        (after_load, now)
    }

    #[test]
    fn an_attempt_of_an_earlier_load_says_nothing_of_the_later_one() {
        let (mut after_load, now) = running(1);
        after_load.begin_anew();
        after_load.due();
        assert!(after_load.starts(2, now));
        assert!(!after_load.ended(1, End::Made, now, 0.0) && after_load.is_pending());
        assert!(!after_load.ended(2, End::Made, now, 0.0) && !after_load.is_pending());
        after_load.due();
        assert!(!after_load.is_pending(), "done once");
    }

    #[test]
    fn what_passes_is_tried_again_up_to_a_limit_and_what_was_overtaken_is_due_anew() {
        let (mut after_load, now) = running(1);
        assert!(after_load.ended(1, End::Passing, now, 0.0) && !after_load.starts(2, now));
        assert!(after_load.starts(2, now + HOUR));
        assert!(!after_load.ended(2, End::Passing, now + HOUR, 0.0) && !after_load.is_pending());
        let (mut after_load, now) = running(1);
        assert!(!after_load.ended(1, End::Overtaken, now, 0.0));
        after_load.due();
        assert!(after_load.is_pending());
        let (mut after_load, now) = running(1);
        assert!(!after_load.ended(1, End::Refused, now, 0.0) && !after_load.is_pending());
    }
}
