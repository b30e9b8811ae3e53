//! Commits: the checkpoint and the progress of the tables go into the Kafka transaction of the rows they cover.

use super::Sequencer;
use super::halt::Halt;
use super::output::Now;
use super::park::{MESSAGE_BYTES, ParkReason, cut};
use super::port::{Action, Committed};
use super::table::{HistoryRecords, Origin, SequencedTable, encode};
use super::tables::{Standing, TableIndex};
use crate::topics::producer::RefusedRecord;
use serde::Serialize;
use std::time::Duration;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{Beat, LEADER_BEAT, Leader, Parked, StateKey, TableProgress};
use tributary_schemas::history::{HistoryKey, SelectionRecord};
use tributary_schemas::table::Table;
use tributary_source::catalog::CatalogTable;

/// The checkpoint advances this often where nothing selected is written, and the leader shows that it is alive.
const IDLE_COMMIT: Duration = LEADER_BEAT;
/// However slow commits are, one is made this often.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);
/// What Kafka adds to a record of the task's own, and a state record's key, bytes; generous.
const RECORD_OVERHEAD: usize = 1024;
/// How often the status is brought up to date.
const SHOW: Duration = Duration::from_millis(200);
/// A Kafka transaction that waits for the end of a source transaction waits at most this many commit intervals.
const PATIENCE: u32 = 10;

impl Sequencer {
    /// Called at a beat, and whenever the input is empty: commits what is due.
    pub(crate) async fn tick(&mut self, now: Now) -> Result<(), Halt> {
        self.output.tick(now);
        let now = now.instant;
        // While a commit is under way nothing else is: where commits are slow, they are made rarer, so that they take a
        // fifth of the time at most.
        let interval = self.setup.commit_interval.max((self.commit_cost * 4).min(LONGEST_INTERVAL));
        let due = match self.output.outbox().opened_at() {
            Some(opened) => {
                let age = now.saturating_duration_since(opened);
                let patience = if self.progress.open().is_some() { interval * PATIENCE } else { interval };
                age >= patience
            }
            None => now.saturating_duration_since(self.last_commit) >= IDLE_COMMIT,
        };
        if due {
            self.commit().await;
        }
        // Behind the commit: what is ordered here reaches the readers when this is over.
        self.drive_snapshot().await?;
        if now.saturating_duration_since(self.last_shown) >= SHOW {
            self.last_shown = now;
            self.show_status();
        }
        Ok(())
    }

    /// Commits the open Kafka transaction with a checkpoint of this very moment. Opens one for the checkpoint alone
    /// if the stream moved, or if it is time for the leader to show that it is alive.
    pub(crate) async fn commit(&mut self) {
        let checkpoint = self.progress.checkpoint(|index| self.tables[index].id.clone());
        let moved = self.last_checkpoint.as_ref() != Some(&checkpoint);
        if moved {
            self.put_state(&StateKey::Checkpoint, &checkpoint);
        }
        for index in std::mem::take(&mut self.dirty) {
            let table = &self.tables[index];
            let (key, progress) = (StateKey::Progress(table.id.clone()), self.snapshot.progress(index));
            let seen = self.watched.store(&table.topic, self.output.now);
            self.put_state(&key, &TableProgress { seen, ..progress });
        }
        if self.output.now.saturating_duration_since(self.last_beat) >= LEADER_BEAT {
            self.put_beat();
        }
        if self.output.outbox().opened_at().is_some() {
            let outbox = self.output.take();
            let Committed { outbox, took } = self.port.ask(outbox, Action::Commit).await;
            self.output.put_back(outbox);
            self.output.wait(took);
            self.commit_cost = took;
        }
        self.last_commit = self.output.now;
        self.last_checkpoint = Some(checkpoint);
    }

    /// Has everything sent that waits, if it is more than `above_bytes`.
    pub(super) async fn publish(&mut self, above_bytes: usize) {
        let outbox = self.output.outbox();
        if !outbox.is_empty() && outbox.waiting_bytes() > above_bytes {
            let outbox = self.output.take();
            let outbox = self.port.ask(outbox, Action::Publish).await;
            self.output.put_back(outbox);
        }
    }

    /// Says that this leader is alive, and how far the stream is behind: apply has nothing else to know it by.
    fn put_beat(&mut self) {
        self.last_beat = self.output.now;
        let own = self.freshness.last().map(|(_, lag)| lag);
        let behind = self.setup.status.lag(own, self.output.now);
        let beat = Beat {
            written_ms: u64::try_from(self.output.handled_ms).unwrap_or(0),
            behind_ms: behind.map(|behind| u64::try_from(behind.as_millis()).unwrap_or(u64::MAX)),
        };
        let leader = Leader { beat: Some(beat), ..self.setup.leader.clone() };
        self.put_state(&StateKey::Leader, &leader);
    }

    /// Writes a record of the state topic into the open Kafka transaction.
    pub(super) fn put_state<V: Serialize>(&mut self, key: &StateKey, value: &V) {
        self.output.put_json(&self.setup.state_topic, &encode(key), Some(&encode(value)));
    }

    /// Writes records of the history topic into the open Kafka transaction; their schemas are served from now on.
    pub(super) fn put_history(&mut self, history: HistoryRecords) {
        for (key, value) in &history.records {
            self.output.put_json(&self.setup.history_topic, key, value.as_deref());
        }
        for schema in history.schemas {
            self.setup.registry.insert(schema);
        }
    }

    /// Removes the records of generations of the table that nothing can need any more.
    pub(super) fn retire(&mut self, index: TableIndex) {
        let settings = &self.setup.topic;
        // An apply that lags more than this is refused.
        let lag = settings.min_compaction_lag_ms.saturating_add(settings.delete_retention_ms);
        let horizon = self.output.handled_ms.saturating_sub(i64::try_from(lag).unwrap_or(i64::MAX));
        let load = self.snapshot.loading(index);
        let table = &mut self.tables[index];
        let most_bytes = self.setup.topic.max_message_bytes.saturating_sub(RECORD_OVERHEAD);
        match table.retire(horizon, load.map(|load| load.generation), most_bytes) {
            Some(records) => self.put_history(records),
            None => {
                if !std::mem::replace(&mut table.lineage.is_full, true) {
                    tracing::warn!(
                        table = %table.id,
                        "the history keeps every further TRUNCATE of the table: a record of all of them would have more than \
                         topics.max_message_bytes"
                    );
                }
            }
        }
    }

    /// Moves `table` to its next generation, whose records leave; it stays as it is if one of them would not fit its topic.
    pub(super) fn advance(
        &mut self,
        table: &mut SequencedTable,
        definition: Table,
        origin: Origin,
        catalog: &CatalogTable,
    ) -> Result<HistoryRecords, ParkReason> {
        let (mut moved, mut next, mut records) =
            (table.clone(), self.next_schema_id, HistoryRecords::default());
        moved
            .advance(definition, origin, &mut next, &mut records)
            .map_err(|error| ParkReason::definition(&error.to_string()))?;
        let catalog = serde_json::to_vec(catalog).map_or(0, |text| text.len());
        self.output
            .admit(records.largest().max(catalog) + RECORD_OVERHEAD)
            .map_err(|error| ParkReason::definition_too_large(&error))?;
        (*table, self.next_schema_id) = (moved, next);
        Ok(records)
    }

    /// Writes which tables are selected.
    pub(super) fn put_selection(&mut self) {
        let record = SelectionRecord {
            format: FORMAT_VERSION,
            tables: self.selected.values().cloned().collect(),
            retention_ms: Some(self.setup.topic.min_compaction_lag_ms),
        };
        let mut history = HistoryRecords::default();
        history.push(&HistoryKey::Selection, &record);
        self.put_history(history);
    }

    /// Stops the table whose topic does not take a record: the others go on.
    ///
    /// # Errors
    /// The end of the session under `strict`.
    pub(crate) fn park_refused(&mut self, refused: &RefusedRecord) -> Result<(), Halt> {
        let goes_on = |index| {
            let standing = self.tables.standing(index);
            matches!(standing, Standing::Streaming | Standing::Joining(_) | Standing::Absent { .. })
        };
        let found =
            self.tables.iter().find(|(index, table)| *table.topic == *refused.topic && goes_on(*index));
        let Some(index) = found.map(|(index, _)| index) else { return Ok(()) };
        self.park(index, &ParkReason::topic_refuses(refused))
    }

    /// Stops a table while the others go on.
    pub(super) fn park(&mut self, index: TableIndex, reason: &ParkReason) -> Result<(), Halt> {
        let table = &self.tables[index];
        let place = format!("table {}, {}", table.id, self.progress.position());
        if self.setup.strict {
            return Err(Halt::stop(
                "a table cannot go on (strict = true)",
                place,
                reason.for_the_log(),
                &reason.remedy_of_an_end(),
            ));
        }
        tracing::error!(
            table = %table.id, code = reason.code, position = %self.progress.position(),
            "table parked: {}; {}", reason.for_the_log(), reason.remedy
        );
        let parked = Parked {
            format: FORMAT_VERSION,
            code: reason.code.to_owned(),
            message: format!("{} ({})", cut(&reason.message, MESSAGE_BYTES), self.progress.position()),
            remedy: reason.remedy.clone(),
            active: true,
        };
        self.transition(index, Standing::Parked(parked));
        Ok(())
    }
}
