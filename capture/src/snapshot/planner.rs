//! Which piece of which table is read next, and what remains. Enter: progress as it was stored, answers of the
//! source, what was published. Leave: orders for idle readers, and progress to store.
//!
//! Invariant: at any moment [`Planner::progress`] is exact: a row that was published is outside of `remaining`, every
//! other row up to the cap is inside. Keys are only moved about, never compared by order: only the source can.
//! Without IO, clock and chance.

mod plan;

use super::windows::TableNumber;
use plan::{Answered, TablePlan};
use std::collections::BTreeMap;
use tributary_schemas::checkpoint::{KeyRange, KeyValue, ReadPhase, TableProgress};
use tributary_schemas::position::Position;

/// An order that a reader was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OrderId(u64);

/// What a reader is to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    /// Find the largest key, which caps the last range. As before reading, the source must first have committed
    /// what the stream has passed.
    FindEnd,
    /// Find the key of the `rows`th row of the range, where the next chunk ends. Any key will do, so nothing is waited
    /// for.
    FindBoundary {
        /// Where to look.
        range: KeyRange,
        /// How many rows from the range's beginning, at least 1.
        rows: u64,
    },
    /// Read the rows of the range.
    Read {
        /// What to read.
        range: KeyRange,
    },
}

/// An order for a reader.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    /// Names it in the answers.
    pub id: OrderId,
    pub table: TableNumber,
    /// What to do.
    pub work: Work,
}

/// The plans of all tables that are being read.
#[derive(Debug)]
pub(crate) struct Planner {
    chunk_bytes: u64,
    issued: u64,
    tables: BTreeMap<TableNumber, TablePlan>,
    /// In the order they are read.
    sequence: Vec<TableNumber>,
    pub(super) orders: BTreeMap<OrderId, TableNumber>,
}

impl Planner {
    /// Without a table. `chunk_bytes` is what a chunk should have, in bytes of encoded rows.
    #[must_use]
    pub(crate) fn new(chunk_bytes: u64) -> Self {
        Self {
            chunk_bytes: chunk_bytes.max(1),
            issued: 0,
            tables: BTreeMap::new(),
            sequence: Vec::new(),
            orders: BTreeMap::new(),
        }
    }

    /// Progress of a table whose reading begins.
    #[must_use]
    pub(crate) fn begin(generation: u32, rows_estimated: u64) -> TableProgress {
        TableProgress {
            format: tributary_schemas::FORMAT_VERSION,
            generation,
            phase: ReadPhase::Reading,
            rows_read: 0,
            rows_estimated,
            remaining: vec![KeyRange { after: None, through: None }],
            consistent_after: None,
            seen: None,
        }
    }

    /// Takes a table up where `progress` left it; tables are read in the order in which they are added. `row_bytes`
    /// is an estimate of a row's size; what is measured replaces it. A table that is there already is replaced.
    pub(crate) fn add(&mut self, table: TableNumber, progress: TableProgress, row_bytes: u64) {
        self.remove(table);
        self.sequence.push(table);
        self.tables.insert(table, TablePlan::new(progress, row_bytes));
    }

    /// Forgets a table; answers to its orders are ignored from now on.
    pub(crate) fn remove(&mut self, table: TableNumber) {
        self.tables.remove(&table);
        self.sequence.retain(|other| *other != table);
        self.orders.retain(|_, other| *other != table);
    }

    /// Work for an idle reader. Tables come in their order, but a reader that finds nothing to do in one goes on to the
    /// next, so that the last chunks of a table keep nobody waiting.
    /// Only tables that `may_read` are looked at.
    pub(crate) fn next(&mut self, may_read: impl Fn(TableNumber) -> bool) -> Option<Order> {
        let id = OrderId(self.issued + 1);
        let Self { tables, sequence, chunk_bytes, .. } = self;
        let (table, work) = sequence.iter().filter(|table| may_read(**table)).find_map(|table| {
            let work = tables.get_mut(table)?.next(id, *chunk_bytes)?;
            Some((*table, work))
        })?;
        self.issued += 1;
        self.orders.insert(id, table);
        Some(Order { id, table, work })
    }

    /// Answers [`Work::FindEnd`]: the largest key, `None` for an empty table.
    pub(crate) fn end_found(&mut self, id: OrderId, key: Option<Vec<KeyValue>>) {
        self.answer(id, Answered::End(key));
    }

    /// Answers [`Work::FindBoundary`]: where the chunk ends, `None` if the range has fewer rows.
    pub(crate) fn boundary_found(&mut self, id: OrderId, key: Option<Vec<KeyValue>>) {
        self.answer(id, Answered::Boundary(key));
    }

    /// Rows of [`Work::Read`] up to and including `last_key` have been published, or dropped as touched.
    pub(crate) fn published(&mut self, id: OrderId, last_key: Vec<KeyValue>, rows: u64, bytes: u64) {
        if let Some(plan) = self.orders.get(&id).and_then(|table| self.tables.get_mut(table)) {
            plan.published(id, last_key, rows, bytes);
        }
    }

    /// Answers [`Work::Read`]: the SELECT has ended, and its rows have all been reported as published.
    pub(crate) fn finished(&mut self, id: OrderId) {
        self.answer(id, Answered::Finished);
    }

    /// The order was not carried out to its end: what is left of it will be in another.
    pub(crate) fn returned(&mut self, id: OrderId) {
        self.answer(id, Answered::Returned);
    }

    fn answer(&mut self, id: OrderId, answer: Answered) {
        if let Some(plan) = self.orders.remove(&id).and_then(|table| self.tables.get_mut(&table)) {
            plan.answer(id, answer);
        }
    }

    /// Takes all orders of a table back and gives out no more, until [`Self::resume`]: its definition is changing, or
    /// the source is ahead of the stream. Says which orders they were.
    pub(crate) fn pause(&mut self, table: TableNumber) -> Vec<OrderId> {
        let ids: Vec<OrderId> =
            self.orders.iter().filter(|(_, other)| **other == table).map(|(id, _)| *id).collect();
        for id in &ids {
            self.returned(*id);
        }
        if let Some(plan) = self.tables.get_mut(&table) {
            plan.paused = true;
        }
        ids
    }

    /// Gives out orders of a paused table again.
    pub(crate) fn resume(&mut self, table: TableNumber) {
        if let Some(plan) = self.tables.get_mut(&table) {
            plan.paused = false;
        }
    }

    /// Tables whose rows have all been published and that wait for [`Self::set_consistent_after`].
    pub(crate) fn read_through(&self) -> impl Iterator<Item = TableNumber> {
        let done = |plan: &TablePlan| plan.phase == ReadPhase::Reading && plan.is_read();
        self.tables.iter().filter(move |(_, plan)| done(plan)).map(|(table, _)| *table)
    }

    /// The source's `gtid_executed` (without GTID, its position), taken after the table's last chunk.
    pub(crate) fn set_consistent_after(&mut self, table: TableNumber, position: Position) {
        if let Some(plan) = self.tables.get_mut(&table)
            && plan.phase == ReadPhase::Reading
            && plan.is_read()
        {
            plan.phase = ReadPhase::Published;
            plan.consistent_after = Some(position);
        }
    }

    /// The stream stands at `stream`: tables that are consistent now become complete, and are named.
    pub(crate) fn passed(&mut self, stream: &Position) -> Vec<TableNumber> {
        let mut complete = Vec::new();
        for (table, plan) in &mut self.tables {
            let consistent = plan.consistent_after.as_ref().is_some_and(|mark| stream.covers(mark));
            if plan.phase == ReadPhase::Published && consistent {
                plan.phase = ReadPhase::Complete;
                complete.push(*table);
            }
        }
        complete
    }

    /// What to store for a table; `None` if it is not here.
    #[must_use]
    pub(crate) fn progress(&self, table: TableNumber) -> Option<TableProgress> {
        self.tables.get(&table).map(TablePlan::progress)
    }

    /// True if every table is complete.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.tables.values().all(|plan| plan.phase == ReadPhase::Complete)
    }
}
