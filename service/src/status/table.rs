//! One table's numbers. Every writer is a hot loop, so all of them are atomics; only the texts have a lock.

use super::contact::ContactDocument;
use super::document::{ErrorDocument, TableDocument};
use super::state::TableState;
use super::window::Window;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Stands for "not known" in `lag_ms`.
const UNKNOWN: u64 = u64::MAX;

/// A table as the status shows it.
#[derive(Debug)]
pub struct TableStatus {
    state: AtomicU8,
    rows_read: AtomicU64,
    rows_total: AtomicU64,
    rows_applied: AtomicU64,
    values_substituted: AtomicU64,
    lag_ms: AtomicU64,
    generation: AtomicU32,
    slow: Mutex<Slow>,
}

#[derive(Debug, Default)]
struct Slow {
    origin: Option<String>,
    target: Option<String>,
    error: Option<ErrorDocument>,
    read: Window,
    applied: Window,
}

impl Default for TableStatus {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(TableState::default().to_byte()),
            rows_read: AtomicU64::new(0),
            rows_total: AtomicU64::new(0),
            rows_applied: AtomicU64::new(0),
            values_substituted: AtomicU64::new(0),
            lag_ms: AtomicU64::new(UNKNOWN),
            generation: AtomicU32::new(0),
            slow: Mutex::default(),
        }
    }
}

impl TableStatus {
    /// What becomes of the table. Leaving `parked` and `excluded` clears the error.
    pub fn set_state(&self, state: TableState) {
        self.state.store(state.to_byte(), Ordering::Relaxed);
        if !matches!(state, TableState::Parked | TableState::Excluded) {
            self.slow().error = None;
        }
    }

    /// What [`TableStatus::set_state`] was last given.
    #[must_use]
    pub fn state(&self) -> TableState {
        TableState::from_byte(self.state.load(Ordering::Relaxed))
    }

    /// Stops the table and says why and what to do.
    pub fn park(&self, error: ErrorDocument) {
        self.slow().error = Some(error);
        self.set_state(TableState::Parked);
    }

    /// Leaves the table out and says why and what to do.
    pub fn exclude(&self, error: ErrorDocument) {
        self.slow().error = Some(error);
        self.set_state(TableState::Excluded);
    }

    /// Sets the rows of the initial load: after a restart, or when it begins anew.
    pub fn set_rows_read(&self, rows: u64) {
        self.rows_read.store(rows, Ordering::Relaxed);
    }

    /// Sets how many rows the initial load has: an estimate until it is complete.
    pub fn set_rows_total(&self, rows: u64) {
        self.rows_total.store(rows, Ordering::Relaxed);
    }

    /// Counts row events, of the load and of the stream, that are safe on the other side: committed to Kafka
    /// (capture) or to the destination (apply).
    pub fn add_rows_applied(&self, rows: u64) {
        self.rows_applied.fetch_add(rows, Ordering::Relaxed);
    }

    /// Counts values that a policy replaced: zero dates, NUL bytes.
    pub fn add_values_substituted(&self, values: u64) {
        self.values_substituted.fetch_add(values, Ordering::Relaxed);
    }

    /// Sets how far behind the source the table is by this service's own part of the way; `None`: not known.
    pub fn set_lag(&self, lag: Option<Duration>) {
        let lag_ms = lag.map_or(UNKNOWN, |lag| u64::try_from(lag.as_millis()).unwrap_or(UNKNOWN - 1));
        self.lag_ms.store(lag_ms, Ordering::Relaxed);
    }

    /// Sets the generation of its definition, from 1.
    pub fn set_generation(&self, generation: u32) {
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Sets what it is called on the other side: a topic, or a table of the destination.
    pub fn set_target(&self, target: impl ToString) {
        self.slow().target = Some(target.to_string());
    }

    /// Sets the task whose topic holds it, where that may be another than the service's own.
    pub fn set_origin(&self, task: &str) {
        self.slow().origin = Some(task.to_owned());
    }

    pub(super) fn origin(&self) -> Option<String> {
        self.slow().origin.clone()
    }

    /// Takes the samples for the rates; returns the total of applied rows.
    pub(super) fn sample(&self, now: Instant) -> u64 {
        let applied = self.rows_applied.load(Ordering::Relaxed);
        let mut slow = self.slow();
        slow.read.sample(now, self.rows_read.load(Ordering::Relaxed));
        slow.applied.sample(now, applied);
        applied
    }

    pub(super) fn document(&self, name: String, contact: &ContactDocument) -> TableDocument {
        let lag_ms = self.lag_ms.load(Ordering::Relaxed);
        let lag = contact.lag((lag_ms != UNKNOWN).then(|| Duration::from_millis(lag_ms)));
        let slow = self.slow();
        TableDocument {
            name,
            state: contact.state(self.state(), lag),
            rows_read: self.rows_read.load(Ordering::Relaxed),
            rows_total: self.rows_total.load(Ordering::Relaxed),
            rows_applied: self.rows_applied.load(Ordering::Relaxed),
            lag_seconds: lag.map(|lag| lag.as_secs_f64()),
            error: slow.error.clone(),
            target: slow.target.clone(),
            generation: self.generation.load(Ordering::Relaxed),
            values_substituted: self.values_substituted.load(Ordering::Relaxed),
            rows_per_second: slow.applied.per_second(),
            rows_read_per_second: slow.read.per_second(),
        }
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::contact::Contact;

    fn unwatched() -> ContactDocument {
        Contact::default().document("source", Instant::now())
    }

    #[test]
    fn an_error_lasts_as_long_as_the_table_is_parked() {
        let table = TableStatus::default();
        table.park(ErrorDocument::new("key-too-long", "the key is too long", "drop the index"));
        let document = table.document("a.b".into(), &unwatched());
        assert_eq!(document.state, TableState::Parked);
        assert_eq!(document.error.unwrap().code, "key-too-long");
        table.set_state(TableState::Loading);
        assert!(table.document("a.b".into(), &unwatched()).error.is_none());
    }

    #[test]
    fn an_unknown_lag_is_none() {
        let table = TableStatus::default();
        assert_eq!(table.document(String::new(), &unwatched()).lag_seconds, None);
        table.set_lag(Some(Duration::ZERO));
        assert_eq!(table.document(String::new(), &unwatched()).lag_seconds, Some(0.0));
        table.set_lag(None);
        assert_eq!(table.document(String::new(), &unwatched()).lag_seconds, None);
    }
}
