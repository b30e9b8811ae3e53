//! The initial loads beside the stream: orders leave for the readers, their rows come back, are compared with what the
//! stream has passed meanwhile, and the untouched ones are published.
//!
//! Invariant: a window is opened in the same instant in which the GTID set is taken that its reader waits for; a row
//! is published only while its window is open and its key was not recorded in it.

use super::Sequencer;
use super::halt::Halt;
use super::output::RowPlace;
use super::park::ParkReason;
use super::table::{HistoryRecords, SequencedTable, Standing};
use crate::pipeline::session::Shared;
use crate::snapshot::batch::RowBatch;
use crate::snapshot::planner::{Order, OrderId, Planner, Work};
use crate::snapshot::reader::{
    self, ReadFailure, ReaderLimits, ReaderMessage, ReaderOrder, TableReader, Visibility,
};
use crate::snapshot::windows::{TableNumber, WindowId, Windows};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{ReadPhase, TableProgress};
use tributary_schemas::envelope::{Operation, Source};
use tributary_schemas::history::{HistoryKey, LoadRecord};
use tributary_schemas::position::Position;
use tributary_schemas::sequence::SourceSequence;
use tributary_source::chunk::ChunkSql;
use tributary_source::dialect::Dialect;
use tributary_source::publish::PRIMARY;
use tributary_source::rows::RowEncoder;

/// A reader that failed is left alone this long.
const READER_REST: Duration = Duration::from_secs(1);
/// A chunk that is refused although the stream has passed everything the source had then is tried this often.
const REFUSALS: u32 = 3;

struct Reader {
    orders: mpsc::Sender<ReaderOrder>,
    busy: Option<OrderId>,
    rests_until: Instant,
}

/// An order that a reader has.
struct Outstanding {
    table: usize,
    window: Option<WindowId>,
    cancelled: Arc<AtomicBool>,
}

/// A table that is being read.
struct Reading {
    reader: Arc<TableReader>,
    /// Paused until the stream has passed this place, where the DDL must be that explains a refusal.
    paused_until: Option<Position>,
    refusals: u32,
}

/// See the module.
pub struct Snapshot {
    planner: Planner,
    windows: Windows,
    readers: Vec<Reader>,
    outstanding: BTreeMap<OrderId, Outstanding>,
    tables: BTreeMap<usize, Reading>,
    /// The locking clause for sources without GTID.
    shared_lock: Option<&'static str>,
    memory_bytes: usize,
}

fn number(index: usize) -> TableNumber {
    TableNumber::try_from(index).unwrap_or(TableNumber::MAX)
}

impl Snapshot {
    /// Starts the readers; `messages` is the channel to the sequencer.
    #[must_use]
    pub fn start(
        shared: &Shared,
        dialect: &Dialect,
        messages: &mpsc::Sender<(usize, ReaderMessage)>,
        tasks: &mut Vec<JoinHandle<()>>,
    ) -> Self {
        let config = &shared.config.capture;
        let now = Instant::now();
        let readers = (0..usize::try_from(config.readers).unwrap_or(1)).map(|number| {
            let (orders, receiver) = mpsc::channel(1);
            let run = reader::run(
                number,
                shared.source.clone(),
                ReaderLimits::default(),
                receiver,
                messages.clone(),
            );
            tasks.push(shared.runtime.spawn(run));
            Reader { orders, busy: None, rests_until: now }
        });
        Self {
            planner: Planner::new(config.chunk_bytes),
            windows: Windows::new(),
            readers: readers.collect(),
            outstanding: BTreeMap::new(),
            tables: BTreeMap::new(),
            shared_lock: (!dialect.has_gtid()).then_some(dialect.shared_lock),
            memory_bytes: usize::try_from(config.memory_bytes).unwrap_or(usize::MAX) / 2,
        }
    }

    /// Goes on with a table where `progress` left it. False if its rows cannot be read with this definition.
    pub fn resume(
        &mut self,
        index: usize,
        table: &SequencedTable,
        key_index: &str,
        progress: TableProgress,
    ) -> Result<(), String> {
        let reading = Reading { reader: table_reader(table, key_index)?, paused_until: None, refusals: 0 };
        self.tables.insert(index, reading);
        self.planner.add(number(index), progress, table.catalog.row_bytes_estimated());
        Ok(())
    }

    /// The stream passes a row event of this key.
    #[inline]
    pub fn touched(&mut self, index: usize, key: &[u8]) {
        self.windows.record(number(index), key);
    }

    /// Forgets a table: it is not read any more.
    pub fn discard(&mut self, index: usize) {
        self.cancel_table(index);
        self.planner.remove(number(index));
        self.tables.remove(&index);
    }

    fn cancel_table(&mut self, index: usize) {
        for order in self.planner.pause(number(index)) {
            self.end_order(order);
        }
        self.windows.discard_table(number(index));
    }

    /// Nobody waits for an order any more.
    fn end_order(&mut self, id: OrderId) -> Option<Outstanding> {
        let order = self.outstanding.remove(&id)?;
        order.cancelled.store(true, Ordering::Relaxed);
        if let Some(window) = order.window {
            self.windows.close(number(order.table), window);
        }
        Some(order)
    }

    /// A statement changed a table: its open windows are discarded, and what they had not published is read again,
    /// with the new definition.
    pub fn definition_changed(
        &mut self,
        index: usize,
        table: &SequencedTable,
        key_index: &str,
    ) -> Result<(), String> {
        if !self.tables.contains_key(&index) {
            return Ok(());
        }
        self.cancel_table(index);
        let reader = table_reader(table, key_index)?;
        self.tables.insert(index, Reading { reader, paused_until: None, refusals: 0 });
        self.planner.resume(number(index));
        Ok(())
    }

    /// What to store of a table.
    #[must_use]
    pub fn progress(&self, index: usize) -> Option<TableProgress> {
        self.planner.progress(number(index))
    }

    /// Phase, rows read and rows estimated.
    #[must_use]
    pub fn numbers(&self, index: usize) -> Option<(ReadPhase, u64, u64)> {
        self.progress(index).map(|progress| (progress.phase, progress.rows_read, progress.rows_estimated))
    }

    /// True if no table is being read.
    #[must_use]
    pub fn all_complete(&self) -> bool {
        self.planner.is_complete()
    }

    /// Gives out orders. `reached` is the GTID set that the stream has reached in this instant.
    fn give_out(&mut self, now: Instant, reached: &str) {
        for place in 0..self.readers.len() {
            let idle = self
                .readers
                .get(place)
                .is_some_and(|reader| reader.busy.is_none() && reader.rests_until <= now);
            if !idle {
                continue;
            }
            let Some(Order { id, table, work }) = self.planner.next() else { return };
            let index = usize::try_from(table).unwrap_or(usize::MAX);
            let Some(reading) = self.tables.get(&index) else {
                self.planner.returned(id);
                continue;
            };
            let window = matches!(work, Work::Read { .. }).then(|| self.windows.open(table));
            let cancelled = Arc::new(AtomicBool::new(false));
            let visibility = match self.shared_lock {
                Some(clause) => Visibility::SharedLock(clause),
                None => Visibility::WaitForGtid(reached.to_owned()),
            };
            let order = ReaderOrder {
                id,
                table: Arc::clone(&reading.reader),
                work,
                visibility,
                cancelled: Arc::clone(&cancelled),
            };
            self.outstanding.insert(id, Outstanding { table: index, window, cancelled });
            if let Some(reader) = self.readers.get_mut(place) {
                // The channel has room: the reader is idle.
                if reader.orders.try_send(order).is_ok() {
                    reader.busy = Some(id);
                    continue;
                }
            }
            self.end_order(id);
            self.planner.returned(id);
        }
    }

    /// Takes back the chunks whose windows need more memory than there is.
    fn shed(&mut self) {
        for (table, window) in self.windows.shed(self.memory_bytes) {
            let index = usize::try_from(table).unwrap_or(usize::MAX);
            let order = self
                .outstanding
                .iter()
                .find(|(_, order)| order.table == index && order.window == Some(window))
                .map(|(id, _)| *id);
            if let Some(id) = order {
                self.end_order(id);
                self.planner.returned(id);
            }
        }
    }

    /// Lets go on what waited for the stream to pass a place.
    fn unpause(&mut self, here: &Position) {
        for (index, reading) in &mut self.tables {
            if reading
                .paused_until
                .as_ref()
                .is_some_and(|place| crate::snapshot::planner::is_past(here, place))
            {
                reading.paused_until = None;
                self.planner.resume(number(*index));
            }
        }
    }

    fn idle(&mut self, reader: usize, rests: Duration) {
        if let Some(reader) = self.readers.get_mut(reader) {
            reader.busy = None;
            reader.rests_until = Instant::now() + rests;
        }
    }
}

fn table_reader(table: &SequencedTable, key_index: &str) -> Result<Arc<TableReader>, String> {
    let sql = ChunkSql::new(&table.table, key_index).map_err(|error| error.to_string())?;
    let encoder = RowEncoder::compile(&table.table).map_err(|error| error.to_string())?;
    Ok(Arc::new(TableReader { sql, encoder }))
}

impl Sequencer {
    fn key_index(&self, table: &SequencedTable) -> String {
        self.setup.key_indexes.get(&table.id.to_string()).cloned().unwrap_or_else(|| PRIMARY.to_owned())
    }

    /// The first generation of a load is written: has the table read from its beginning.
    pub(super) fn begin_reading(&mut self, index: usize) -> Result<(), Halt> {
        let Some(table) = self.tables.get(index) else { return Ok(()) };
        let progress = Planner::begin(table.generation, table.catalog.rows_estimated);
        self.take_up(index, progress)?;
        self.dirty.insert(index);
        self.put_load(index, false)
    }

    /// Goes on reading a table where `progress` left it.
    pub(super) fn take_up(&mut self, index: usize, progress: TableProgress) -> Result<(), Halt> {
        let Some(table) = self.tables.get(index) else { return Ok(()) };
        let key_index = self.key_index(table);
        match self.snapshot.resume(index, table, &key_index, progress) {
            Ok(()) => Ok(()),
            Err(why) => self.park(index, &ParkReason::read(&why)),
        }
    }

    /// A statement changed the definition of a table that may be being read.
    pub(super) fn redefine_reading(&mut self, index: usize) -> Result<(), Halt> {
        let Some(table) = self.tables.get(index) else { return Ok(()) };
        let key_index = self.key_index(table);
        match self.snapshot.definition_changed(index, table, &key_index) {
            Ok(()) => Ok(()),
            Err(why) => self.park(index, &ParkReason::read(&why)),
        }
    }

    fn put_load(&mut self, index: usize, complete: bool) -> Result<(), Halt> {
        let (Some(table), Some((_, rows_read, rows_estimated))) =
            (self.tables.get(index), self.snapshot.numbers(index))
        else {
            return Ok(());
        };
        let key = HistoryKey::Load { database: table.id.database.clone(), table: table.id.table.clone() };
        let mut history = HistoryRecords::default();
        history.push(&key, &LoadRecord { format: FORMAT_VERSION, rows_estimated, rows_read, complete });
        self.put_history(history)
    }

    /// Gives out orders and moves tables from phase to phase.
    pub(super) fn drive_snapshot(&mut self) -> Result<(), Halt> {
        if self.snapshot.all_complete() {
            return Ok(());
        }
        self.snapshot.shed();
        let passed = self.passed();
        self.snapshot.unpause(&passed);
        let reached = if self.snapshot.shared_lock.is_none() {
            self.progress.reached().to_string()
        } else {
            String::new()
        };
        self.snapshot.give_out(self.output.now, &reached);
        let read: Vec<TableNumber> = self.snapshot.planner.read_through().collect();
        if !read.is_empty() {
            let position = self.source_position()?;
            for table in read {
                self.snapshot.planner.set_consistent_after(table, position.clone());
                self.dirty.insert(usize::try_from(table).unwrap_or(usize::MAX));
            }
        }
        for table in self.snapshot.planner.passed(&passed) {
            let index = usize::try_from(table).unwrap_or(usize::MAX);
            self.dirty.insert(index);
            self.put_load(index, true)?;
            if let Some(table) = self.tables.get(index) {
                tracing::info!(table = %table.id, position = %self.progress.position(), "initial load complete");
            }
        }
        Ok(())
    }

    /// What a reader says.
    pub fn on_reader(&mut self, (reader, message): (usize, ReaderMessage)) -> Result<(), Halt> {
        self.output.tick();
        match message {
            ReaderMessage::Batch { id, batch } => self.on_batch(id, &batch)?,
            ReaderMessage::Finished { id } => {
                self.snapshot.end_order(id);
                self.snapshot.planner.finished(id);
                self.snapshot.idle(reader, Duration::ZERO);
            }
            ReaderMessage::End { id, key } => {
                self.snapshot.end_order(id);
                self.snapshot.planner.end_found(id, key);
                self.snapshot.idle(reader, Duration::ZERO);
            }
            ReaderMessage::Boundary { id, key } => {
                self.snapshot.end_order(id);
                self.snapshot.planner.boundary_found(id, key);
                self.snapshot.idle(reader, Duration::ZERO);
            }
            ReaderMessage::Failed { id, failure } => {
                let at_once = matches!(failure, ReadFailure::Undrained | ReadFailure::Cancelled);
                self.snapshot.idle(reader, if at_once { Duration::ZERO } else { READER_REST });
                self.on_read_failure(id, &failure)?;
            }
        }
        self.drive_snapshot()
    }

    /// Publishes the rows that the stream has not touched since their window was opened.
    fn on_batch(&mut self, id: OrderId, batch: &RowBatch) -> Result<(), Halt> {
        let Some(Outstanding { table: index, window: Some(window), .. }) = self.snapshot.outstanding.get(&id)
        else {
            return Ok(());
        };
        let (index, window) = (*index, *window);
        let Some(table) = self.tables.get(index).filter(|table| table.standing == Standing::Running) else {
            return Ok(());
        };
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
            if self.snapshot.windows.is_touched(number(index), window, row.key) {
                continue;
            }
            if let Err(error) = self.output.admit(&row) {
                let key = tributary_schemas::key::describe(&table.table, row.key);
                return self.park(index, &ParkReason::too_large(&key, &error));
            }
            self.output.upsert(table, row, Operation::Read, place)?;
        }
        let (rows, bytes) = (batch.len(), batch.bytes());
        let (rows, bytes) =
            (u64::try_from(rows).unwrap_or(u64::MAX), u64::try_from(bytes).unwrap_or(u64::MAX));
        self.snapshot.planner.published(id, batch.last_key().to_vec(), rows, bytes);
        self.dirty.insert(index);
        if self.output.publisher.bytes() >= self.setup.commit_bytes {
            self.commit()?;
        }
        self.output.publisher.serve()?;
        Ok(())
    }

    fn on_read_failure(&mut self, id: OrderId, failure: &ReadFailure) -> Result<(), Halt> {
        let Some(index) = self.snapshot.end_order(id).map(|order| order.table) else { return Ok(()) };
        self.snapshot.planner.returned(id);
        match failure {
            ReadFailure::Undrained | ReadFailure::Behind | ReadFailure::Cancelled => Ok(()),
            ReadFailure::Source(error) if error.is_transient() => {
                tracing::warn!("a reader failed and will try again: {error}");
                Ok(())
            }
            ReadFailure::Row(error) => self.park(index, &ParkReason::row(error)),
            ReadFailure::Chunk(error) => self.park(index, &ParkReason::read(&error.to_string())),
            // The source may be ahead: a DDL that the stream has not passed explains it. It is waited for.
            ReadFailure::Source(_) | ReadFailure::Columns(_) => {
                let place = self.source_position()?;
                let Some(reading) = self.snapshot.tables.get_mut(&index) else { return Ok(()) };
                reading.refusals += 1;
                if reading.refusals > REFUSALS {
                    return self.park(index, &ParkReason::read(&failure.to_string()));
                }
                reading.paused_until = Some(place);
                tracing::info!(
                    "a chunk is read again once the stream has passed the source's position: {failure}"
                );
                self.snapshot.cancel_table(index);
                Ok(())
            }
        }
    }
}
