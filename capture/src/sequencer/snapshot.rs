//! The initial loads beside the stream: orders leave for the readers, their rows come back, are compared with what the
//! stream has passed meanwhile, and the untouched ones are published.
//!
//! Invariant: a window is opened in the same instant in which the GTID set is taken that its reader waits for; a row
//! is published only while its window is open and its key was not recorded in it.

use super::table::SequencedTable;
use super::tables::TableIndex;
use crate::snapshot::planner::{Order, OrderId, Planner, Work};
use crate::snapshot::reader::{ReaderLimits, ReaderOrder, TableReader, Visibility};
use crate::snapshot::windows::{WindowId, Windows};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tributary_schemas::checkpoint::{ReadPhase, TableProgress};
use tributary_schemas::position::Position;
use tributary_source::chunk::ChunkSql;
use tributary_source::rows::RowEncoder;

#[derive(Clone, Copy)]
struct Reader {
    busy: Option<OrderId>,
    rests_until: Instant,
}

/// An order that a reader has.
pub(super) struct Outstanding {
    pub(super) table: TableIndex,
    pub(super) window: Option<WindowId>,
    /// Silences of the server that the order was given with.
    pub(super) silences: u32,
    cancelled: Arc<AtomicBool>,
}

/// A table that is being read.
pub(super) struct Reading {
    reader: Arc<TableReader>,
    /// Paused until the stream has passed this place, where the DDL must be that explains a refusal.
    pub(super) paused_until: Option<Position>,
    pub(super) refusals: u32,
    /// How often the server's silence ended a SELECT, less the chunks that were read since: the next chunk may be as slow.
    silences: u32,
}

/// How tables are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotSettings {
    /// Size of a chunk, bytes.
    pub chunk_bytes: u64,
    /// What the keys of open windows may take, bytes.
    pub memory_bytes: usize,
    /// The locking clause for sources without GTID.
    pub shared_lock: Option<&'static str>,
}

/// See the module.
pub(crate) struct Snapshot {
    pub(super) planner: Planner,
    pub(super) windows: Windows,
    readers: Vec<Reader>,
    /// Orders on their way to readers.
    orders: Vec<(usize, ReaderOrder)>,
    limits: ReaderLimits,
    pub(super) outstanding: BTreeMap<OrderId, Outstanding>,
    pub(super) tables: BTreeMap<TableIndex, Reading>,
    /// The locking clause for sources without GTID.
    pub(super) shared_lock: Option<&'static str>,
    memory_bytes: usize,
}

impl Snapshot {
    /// For so many `readers`, at `now`.
    #[must_use]
    pub(crate) fn new(readers: usize, settings: SnapshotSettings, now: Instant) -> Self {
        let SnapshotSettings { chunk_bytes, memory_bytes, shared_lock } = settings;
        Self {
            planner: Planner::new(chunk_bytes),
            windows: Windows::new(),
            readers: vec![Reader { busy: None, rests_until: now }; readers],
            orders: Vec::new(),
            limits: ReaderLimits::default(),
            outstanding: BTreeMap::new(),
            tables: BTreeMap::new(),
            shared_lock,
            memory_bytes,
        }
    }

    /// What is to be given to readers.
    pub(super) fn take_orders(&mut self) -> Vec<(usize, ReaderOrder)> {
        std::mem::take(&mut self.orders)
    }

    /// Goes on with a table where `progress` left it. False if its rows cannot be read with this definition.
    pub(crate) fn resume(
        &mut self,
        index: TableIndex,
        table: &SequencedTable,
        progress: TableProgress,
    ) -> Result<(), String> {
        let reader = table_reader(table)?;
        let reading = Reading { reader, paused_until: None, refusals: 0, silences: 0 };
        self.tables.insert(index, reading);
        self.planner.add(index.number(), progress, table.catalog.row_bytes_estimated());
        Ok(())
    }

    /// True if every transaction of the source has a GTID, so that no chunk needs locks.
    #[must_use]
    pub(crate) const fn has_gtid(&self) -> bool {
        self.shared_lock.is_none()
    }

    /// The stream passes a row event of this key.
    #[inline]
    pub(crate) fn touched(&mut self, index: TableIndex, key: &[u8]) {
        self.windows.record(index.number(), key);
    }

    /// The server's silence ended a SELECT of this table after `silences` before: what the next one is given. Orders that ran
    /// side by side count as one.
    pub(super) fn grow_patience(&mut self, index: TableIndex, silences: u32) -> ReaderLimits {
        let limits = self.limits;
        let reading = self.reading(index);
        reading.silences = reading.silences.max(silences.saturating_add(1));
        limits.after_silences(reading.silences)
    }

    /// A chunk of this table was read: the server may be as quick as before.
    pub(super) fn shrink_patience(&mut self, index: TableIndex) {
        let reading = self.reading(index);
        reading.silences = reading.silences.saturating_sub(1);
    }

    /// How a table that streams is read.
    pub(super) fn reading(&mut self, index: TableIndex) -> &mut Reading {
        self.tables.get_mut(&index).unwrap_or_else(|| unreachable!("{index:?} is not read"))
    }

    /// The next order for an idle reader. Tables that the server is silent about leave one reader to the others: each of their
    /// orders may take very long.
    fn next_order(&mut self) -> Option<Order> {
        let Self { planner, tables, outstanding, readers, .. } = self;
        let silent = |index: TableIndex| tables.get(&index).is_some_and(|reading| reading.silences > 0);
        let waiting = outstanding.values().filter(|order| silent(order.table)).count();
        let room = waiting < readers.len().saturating_sub(1).max(1);
        planner.next(|table| room || !silent(TableIndex::of(table)))
    }

    /// Forgets a table: it is not read any more.
    pub(crate) fn discard(&mut self, index: TableIndex) {
        self.cancel_table(index);
        self.planner.remove(index.number());
        self.tables.remove(&index);
    }

    pub(super) fn cancel_table(&mut self, index: TableIndex) {
        for order in self.planner.pause(index.number()) {
            self.end_order(order);
        }
        self.windows.discard_table(index.number());
    }

    /// Nobody waits for an order any more.
    pub(super) fn end_order(&mut self, id: OrderId) -> Option<Outstanding> {
        let order = self.outstanding.remove(&id)?;
        order.cancelled.store(true, Ordering::Relaxed);
        if let Some(window) = order.window {
            self.windows.close(order.table.number(), window);
        }
        Some(order)
    }

    /// A statement changed a table: its open windows are discarded, and what they had not published is read again,
    /// with the new definition.
    pub(crate) fn definition_changed(
        &mut self,
        index: TableIndex,
        table: &SequencedTable,
    ) -> Result<(), String> {
        self.cancel_table(index);
        let reader = table_reader(table)?;
        let reading = self.reading(index);
        *reading = Reading { reader, paused_until: None, refusals: 0, silences: reading.silences };
        self.planner.resume(index.number());
        Ok(())
    }

    /// What to store of a table that streams.
    #[must_use]
    pub(crate) fn progress(&self, index: TableIndex) -> TableProgress {
        self.planner.progress(index.number()).unwrap_or_else(|| unreachable!("{index:?} is not read"))
    }

    /// How far a table is read whose load is not over; `None` for any other.
    #[must_use]
    pub(crate) fn loading(&self, index: TableIndex) -> Option<TableProgress> {
        self.planner.progress(index.number()).filter(|progress| progress.phase != ReadPhase::Complete)
    }

    /// Phase, rows read and rows estimated of a table that streams.
    #[must_use]
    pub(crate) fn numbers(&self, index: TableIndex) -> (ReadPhase, u64, u64) {
        let progress = self.progress(index);
        (progress.phase, progress.rows_read, progress.rows_estimated)
    }

    /// True if no table is being read.
    #[must_use]
    pub(crate) fn all_complete(&self) -> bool {
        self.planner.is_complete()
    }

    /// Gives out orders. `reached` is the GTID set that the stream has reached in this instant.
    pub(super) fn give_out(&mut self, now: Instant, reached: &str) {
        for place in 0..self.readers.len() {
            let Reader { busy, rests_until } = *self.reader(place);
            if busy.is_some() || rests_until > now {
                continue;
            }
            let Some(Order { id, table, work }) = self.next_order() else { return };
            let index = TableIndex::of(table);
            let (reader, silences) = {
                let reading = self.reading(index);
                (Arc::clone(&reading.reader), reading.silences)
            };
            let window = matches!(work, Work::Read { .. }).then(|| self.windows.open(table));
            let cancelled = Arc::new(AtomicBool::new(false));
            let visibility = match self.shared_lock {
                Some(clause) => Visibility::SharedLock(clause),
                None => Visibility::WaitForGtid(reached.to_owned()),
            };
            let order = ReaderOrder {
                id,
                table: reader,
                work,
                visibility,
                silences,
                cancelled: Arc::clone(&cancelled),
            };
            self.outstanding.insert(id, Outstanding { table: index, window, silences, cancelled });
            self.reader(place).busy = Some(id);
            self.orders.push((place, order));
        }
    }

    /// Takes back the chunks whose windows need more memory than there is.
    pub(super) fn shed(&mut self) {
        for (table, window) in self.windows.shed(self.memory_bytes) {
            let index = TableIndex::of(table);
            let mut orders = self.outstanding.iter();
            let order = orders.find(|(_, order)| order.table == index && order.window == Some(window));
            let id = order.map_or_else(|| unreachable!("a window without an order"), |(id, _)| *id);
            self.end_order(id);
            self.planner.returned(id);
        }
    }

    /// Lets go on what waited for the stream to pass a place.
    pub(super) fn unpause(&mut self, here: &Position) {
        for (index, reading) in &mut self.tables {
            if reading.paused_until.as_ref().is_some_and(|place| here.covers(place)) {
                reading.paused_until = None;
                self.planner.resume(index.number());
            }
        }
    }

    /// The reader has no order any more, and is given none before this moment.
    pub(super) fn idle(&mut self, reader: usize, rests_until: Instant) {
        *self.reader(reader) = Reader { busy: None, rests_until };
    }

    fn reader(&mut self, number: usize) -> &mut Reader {
        self.readers.get_mut(number).unwrap_or_else(|| unreachable!("there is no reader {number}"))
    }
}

fn table_reader(table: &SequencedTable) -> Result<Arc<TableReader>, String> {
    let index = table.catalog.index_of_key(&table.table).ok_or("no index is over its key")?;
    let sql = ChunkSql::new(&table.table, &index.name).map_err(|error| error.to_string())?;
    let encoder = RowEncoder::compile(&table.table).map_err(|error| error.to_string())?;
    Ok(Arc::new(TableReader { sql, encoder }))
}
