//! What tells others that this instance is there: a session that holds the task's lock, which keeps `apply drop` away,
//! and a number of its own, which names its staging tables. A session ends with its server; both are then taken anew
//! before the next job.

use std::time::Duration;
use tokio::sync::Mutex;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::{Connection, Connector, DestinationError};
use tributary_warehouse::merge::names::WRITERS;

/// How often an instance says that it lives; several of these fit into `destination::holders::SILENCE`.
pub(super) const BEAT: Duration = Duration::from_secs(2);

/// The session and the number.
pub(super) struct Presence {
    held: Mutex<Held>,
}

struct Held {
    session: Connection,
    writer: u32,
}

impl Presence {
    /// Takes both on `session`.
    pub(super) async fn take(
        session: Connection,
        bookkeeping: &Bookkeeping,
    ) -> Result<Self, DestinationError> {
        Ok(Self { held: Mutex::new(Held::take(session, bookkeeping).await?) })
    }

    /// The number, under locks that are held now.
    pub(super) async fn writer(
        &self,
        connector: &Connector,
        bookkeeping: &Bookkeeping,
    ) -> Result<u32, DestinationError> {
        let mut held = self.held.lock().await;
        if held.session.is_closed() {
            *held = Held::take(connector.connect().await?, bookkeeping).await?;
            tracing::info!(writer = held.writer, "the task is marked as in use again");
        }
        Ok(held.writer)
    }
}

impl Presence {
    /// Says that this instance lives: one whose sessions are all silent counts as dead, see `destination::holders`.
    pub(super) async fn beat(&self) -> Result<(), DestinationError> {
        let held = self.held.lock().await;
        held.session
            .batch_execute("SELECT 1")
            .await
            .map_err(DestinationError::during("saying that this instance lives"))
    }
}

impl Held {
    async fn take(session: Connection, bookkeeping: &Bookkeeping) -> Result<Self, DestinationError> {
        let key = bookkeeping.task_lock_key();
        session
            .batch_execute(&format!("SELECT pg_advisory_lock_shared({key})"))
            .await
            .map_err(DestinationError::during("marking the task as in use"))?;
        let mut writer = 0;
        while writer < WRITERS - 1 {
            let key = bookkeeping.lock_key(&format!("writer {writer}"));
            let row = session
                .query_one("SELECT pg_try_advisory_lock($1)", &[&key])
                .await
                .map_err(DestinationError::during("taking a number for the staging tables"))?;
            if row.get(0) {
                break;
            }
            writer += 1;
        }
        Ok(Self { session, writer })
    }
}
