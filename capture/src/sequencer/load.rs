//! Initial loads in the sequencer: tables move from phase to phase, rows that were read are published, failures of readers
//! are judged. What is in flight is in [`super::snapshot`].

use super::Sequencer;
use super::halt::Halt;
use super::output::{Now, RowPlace};
use super::park::ParkReason;
use super::port::Action;
use super::snapshot::Outstanding;
use super::table::HistoryRecords;
use super::tables::TableIndex;
use crate::snapshot::batch::RowBatch;
use crate::snapshot::planner::{OrderId, Planner};
use crate::snapshot::reader::{ReadFailure, ReaderMessage};
use crate::snapshot::windows::TableNumber;
use std::time::Duration;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::TableProgress;
use tributary_schemas::envelope::{Operation, Source};
use tributary_schemas::history::{HistoryKey, LoadRecord};
use tributary_schemas::sequence::SourceSequence;

/// What is being retried, in the status.
pub(crate) const READING: &str = "reading tables";
/// A reader that failed is left alone this long.
const READER_REST: Duration = Duration::from_secs(1);
/// A chunk that is refused although the stream has passed everything the source had then is tried this often.
const REFUSALS: u32 = 3;

impl Sequencer {
    /// The first generation of a load is written: has the table read from its beginning.
    pub(super) fn begin_reading(&mut self, index: TableIndex) -> Result<(), Halt> {
        let table = &self.tables[index];
        let progress = Planner::begin(table.generation, table.catalog.rows_estimated);
        self.take_up(index, progress)?;
        // It is parked if its rows cannot be read.
        if self.tables.is_streaming(index) {
            self.dirty.insert(index);
            self.put_load(index, false);
        }
        Ok(())
    }

    /// Goes on reading a table where `progress` left it.
    pub(super) fn take_up(&mut self, index: TableIndex, progress: TableProgress) -> Result<(), Halt> {
        let table = &self.tables[index];
        match self.snapshot.resume(index, table, progress) {
            Ok(()) => Ok(()),
            Err(why) => self.park(index, &ParkReason::read(&why)),
        }
    }

    /// A statement changed the definition of a table that may be being read.
    pub(super) fn redefine_reading(&mut self, index: TableIndex) -> Result<(), Halt> {
        let table = &self.tables[index];
        match self.snapshot.definition_changed(index, table) {
            Ok(()) => Ok(()),
            Err(why) => self.park(index, &ParkReason::read(&why)),
        }
    }

    fn put_load(&mut self, index: TableIndex, complete: bool) {
        let (_, rows_read, rows_estimated) = self.snapshot.numbers(index);
        let table = &self.tables[index];
        let key = HistoryKey::Load { database: table.id.database.clone(), table: table.id.table.clone() };
        let mut history = HistoryRecords::default();
        history.push(&key, &LoadRecord { format: FORMAT_VERSION, rows_estimated, rows_read, complete });
        self.put_history(history);
    }

    /// Gives out orders and moves tables from phase to phase.
    pub(super) async fn drive_snapshot(&mut self) -> Result<(), Halt> {
        if self.snapshot.all_complete() {
            return Ok(());
        }
        self.snapshot.shed();
        let passed = self.passed();
        self.snapshot.unpause(&passed);
        let read: Vec<TableNumber> = self.snapshot.planner.read_through().collect();
        if !read.is_empty() {
            let position = self.port.ask((), Action::SourcePosition).await;
            for table in read {
                self.snapshot.planner.set_consistent_after(table, position.clone());
                self.dirty.insert(TableIndex::of(table));
            }
        }
        for table in self.snapshot.planner.passed(&passed) {
            let index = TableIndex::of(table);
            self.dirty.insert(index);
            self.put_load(index, true);
            let id = &self.tables[index].id;
            tracing::info!(table = %id, position = %self.progress.position(), "initial load complete");
        }
        // The last of all, for the orders leave when the decision is over.
        let reached =
            if self.snapshot.has_gtid() { self.progress.reached().to_string() } else { String::new() };
        self.snapshot.give_out(self.output.now, &reached);
        Ok(())
    }

    /// What a reader says.
    pub(crate) async fn on_reader(
        &mut self,
        (reader, message): (usize, ReaderMessage),
        now: Now,
    ) -> Result<(), Halt> {
        self.output.tick(now);
        let now = now.instant;
        match message {
            ReaderMessage::Batch { id, batch } => {
                self.setup.status.retried(READING);
                self.on_batch(id, &batch).await?;
            }
            ReaderMessage::Finished { id } => {
                self.setup.status.retried(READING);
                if let Some(order) = self.snapshot.end_order(id) {
                    self.snapshot.shrink_patience(order.table);
                }
                self.snapshot.planner.finished(id);
                self.snapshot.idle(reader, now);
            }
            ReaderMessage::End { id, key } => {
                self.snapshot.end_order(id);
                self.snapshot.planner.end_found(id, key);
                self.snapshot.idle(reader, now);
            }
            ReaderMessage::Boundary { id, key } => {
                self.snapshot.end_order(id);
                self.snapshot.planner.boundary_found(id, key);
                self.snapshot.idle(reader, now);
            }
            ReaderMessage::Failed { id, failure } => {
                let at_once = matches!(failure, ReadFailure::Undrained | ReadFailure::Cancelled);
                self.snapshot.idle(reader, if at_once { now } else { now + READER_REST });
                self.on_read_failure(id, &failure).await?;
            }
        }
        self.publish(0).await;
        self.drive_snapshot().await
    }

    /// Publishes the rows that the stream has not touched since their window was opened.
    async fn on_batch(&mut self, id: OrderId, batch: &RowBatch) -> Result<(), Halt> {
        let Some(Outstanding { table: index, window: Some(window), .. }) = self.snapshot.outstanding.get(&id)
        else {
            return Ok(());
        };
        let (index, window) = (*index, *window);
        let table = &self.tables[index];
        let source = Source {
            ts_ms: self.output.handled_ms,
            snapshot: true,
            database: &table.id.database,
            table: &table.id.table,
            server_id: 0,
            gtid: None,
            file: self.progress.file(),
            offset: 0,
            row: 0,
        };
        self.output.set_source(&source);
        let row = self.progress.open().map_or(0, |open| open.rows);
        let sequence = SourceSequence { transaction: self.progress.transaction(), row, part: 0, read: true };
        let place = RowPlace { offset: self.progress.offset(), row_in_event: 0, sequence };
        for row in batch.rows() {
            if self.snapshot.windows.is_touched(index.number(), window, row.key) {
                continue;
            }
            if let Err(error) = self.output.admit_row(table, &row) {
                let key = tributary_schemas::key::describe(&table.table, row.key);
                return self.park(index, &ParkReason::too_large(&key, &error));
            }
            self.output.upsert(table, row, Operation::Read, place);
        }
        let (rows, bytes) = (batch.len(), batch.bytes());
        let (rows, bytes) =
            (u64::try_from(rows).unwrap_or(u64::MAX), u64::try_from(bytes).unwrap_or(u64::MAX));
        self.snapshot.planner.published(id, batch.last_key().to_vec(), rows, bytes);
        self.dirty.insert(index);
        self.publish(0).await;
        self.port.ask("snapshot-batch", Action::Reach).await;
        if self.output.outbox().uncommitted_bytes() >= self.setup.commit_bytes {
            self.commit().await;
        }
        Ok(())
    }

    async fn on_read_failure(&mut self, id: OrderId, failure: &ReadFailure) -> Result<(), Halt> {
        let Some(order) = self.snapshot.end_order(id) else { return Ok(()) };
        let index = order.table;
        self.snapshot.planner.returned(id);
        match failure {
            ReadFailure::Undrained | ReadFailure::Behind | ReadFailure::Cancelled => Ok(()),
            ReadFailure::Source(error) if error.is_transient() => {
                tracing::warn!("a reader failed and will try again: {error}");
                self.setup.status.retrying(READING, &error.to_string());
                Ok(())
            }
            ReadFailure::Silent(error) => {
                let next = self.snapshot.grow_patience(index, order.silences);
                let (answer, silence) = (next.answer.as_secs(), next.silence.as_secs());
                let what =
                    format!("{error}; the next attempt is given {answer} s, and {silence} s between rows");
                tracing::warn!("a reader failed and will try again: {what}");
                self.setup.status.retrying(READING, &what);
                Ok(())
            }
            // The source may be ahead: a DDL that the stream has not passed explains it. It is waited for.
            ReadFailure::Source(_)
            | ReadFailure::Columns(_)
            | ReadFailure::Row { .. }
            | ReadFailure::Chunk(_) => {
                let place = self.port.ask((), Action::SourcePosition).await;
                let reading = self.snapshot.reading(index);
                reading.refusals += 1;
                if reading.refusals > REFUSALS {
                    let reason = match failure {
                        ReadFailure::Row { error, place } => ParkReason::row(error, Some(place)),
                        _ => ParkReason::read(&failure.to_string()),
                    };
                    return self.park(index, &reason);
                }
                reading.paused_until = Some(place);
                let why = match failure {
                    ReadFailure::Row { error, .. } => error.without_values(),
                    _ => failure.to_string(),
                };
                tracing::info!(
                    "a chunk is read again once the stream has passed the source's position: {why}"
                );
                self.snapshot.cancel_table(index);
                Ok(())
            }
        }
    }
}
