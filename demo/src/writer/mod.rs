//! The live writer: a shop's customers, as far as a database sees them. Connections of its own write at a steady
//! rate, from before the first row is captured until the comparison at the end; what they did is counted.
//!
//! Invariant: no two of its connections ever touch the same row, so that none waits for another.

mod changes;
mod session;

use crate::error::DemoError;
use crate::servers::Addresses;
use crate::shop::Size;
use session::Session;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Connections that write.
const SESSIONS: u64 = 2;

/// What has been committed so far.
#[derive(Debug, Default)]
pub struct Counters {
    transactions: AtomicU64,
    inserts: AtomicU64,
    updates: AtomicU64,
    deletes: AtomicU64,
    key_changes: AtomicU64,
}

/// A reading of [`Counters`]; rows, but for the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Source transactions.
    pub transactions: u64,
    /// Rows inserted.
    pub inserts: u64,
    /// Rows updated, without those whose key changed.
    pub updates: u64,
    /// Rows deleted.
    pub deletes: u64,
    /// Rows whose key changed.
    pub key_changes: u64,
}

impl Counters {
    /// What it says now.
    pub fn read(&self) -> Written {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Written {
            transactions: read(&self.transactions),
            inserts: read(&self.inserts),
            updates: read(&self.updates),
            deletes: read(&self.deletes),
            key_changes: read(&self.key_changes),
        }
    }

    fn add(&self, written: Written) {
        for (counter, more) in [
            (&self.transactions, written.transactions),
            (&self.inserts, written.inserts),
            (&self.updates, written.updates),
            (&self.deletes, written.deletes),
            (&self.key_changes, written.key_changes),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// The writer while it runs.
#[derive(Debug)]
pub struct LiveWriter {
    counters: Arc<Counters>,
    gift_notes: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    sessions: JoinSet<Result<(), mysql_async::Error>>,
}

impl LiveWriter {
    /// Starts writing, `transactions_per_second` in sum.
    pub fn start(addresses: &Addresses, size: Size, transactions_per_second: u32) -> Self {
        let mut writer = Self {
            counters: Arc::default(),
            gift_notes: Arc::default(),
            stopping: Arc::default(),
            sessions: JoinSet::new(),
        };
        let per_session = f64::from(transactions_per_second.max(1)) / SESSIONS as f64;
        for number in 0..SESSIONS {
            let (counters, gift_notes) = (Arc::clone(&writer.counters), Arc::clone(&writer.gift_notes));
            let (addresses, stopping) = (addresses.clone(), Arc::clone(&writer.stopping));
            writer.sessions.spawn(async move {
                let mut session = Session::open(&addresses, number, SESSIONS, size).await?;
                let mut beat = tokio::time::interval(Duration::from_secs_f64(1.0 / per_session));
                beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while !stopping.load(Ordering::Relaxed) {
                    beat.tick().await;
                    counters.add(session.write(gift_notes.load(Ordering::Relaxed)).await?);
                }
                session.close().await
            });
        }
        writer
    }

    /// What it has done so far, to be read while it goes on.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// From now on `orders.gift_note` exists, and is written.
    pub fn begin_gift_notes(&self) {
        self.gift_notes.store(true, Ordering::Relaxed);
    }

    /// An error if a connection failed: nobody asked it to end.
    pub fn check(&mut self) -> Result<(), DemoError> {
        match self.sessions.try_join_next() {
            None => Ok(()),
            Some(Ok(Ok(()))) => Err(DemoError::Writer("it stopped writing".to_owned())),
            Some(Ok(Err(error))) => Err(DemoError::mysql("writing live changes")(error)),
            Some(Err(error)) => Err(DemoError::Writer(error.to_string())),
        }
    }

    /// Ends every transaction in good order, however long the last ones take.
    pub async fn stop(&mut self) -> Result<(), DemoError> {
        self.stopping.store(true, Ordering::Relaxed);
        while let Some(session) = self.sessions.join_next().await {
            match session {
                Ok(result) => result.map_err(DemoError::mysql("writing live changes"))?,
                Err(error) => return Err(DemoError::Writer(error.to_string())),
            }
        }
        Ok(())
    }
}
