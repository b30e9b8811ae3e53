//! The readers of the simulation: each carries out one order at a time, in steps, as SELECTs of the simulated source.

use super::source::{Row, Source};
use crate::snapshot::batch::{BatchBuilder, RowBatch};
use crate::snapshot::planner::Work;
use crate::snapshot::reader::{ReadFailure, ReaderMessage, ReaderOrder, Visibility};
use std::sync::atomic::Ordering;
use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH, put_long};
use tributary_schemas::checkpoint::{KeyRange, KeyValue};
use tributary_schemas::row::EncodedRow;
use tributary_schemas::table::Table;
use tributary_source::error::SourceError;

/// An order that a reader has.
pub(super) struct Job {
    pub(super) order: ReaderOrder,
    /// The published columns when it was given.
    pub(super) table: std::sync::Arc<Table>,
    /// What the SELECT returned and is not delivered yet, once it ran.
    rows: Option<Vec<(i32, EncodedRow)>>,
}

fn key(number: i32) -> Vec<KeyValue> {
    vec![KeyValue::Int(i64::from(number))]
}

fn inside(range: &KeyRange, candidate: i32) -> bool {
    let number = |bound: &[KeyValue]| match bound {
        [KeyValue::Int(number)] => *number,
        other => panic!("{other:?}"),
    };
    range.after.as_deref().is_none_or(|after| number(after) < i64::from(candidate))
        && range.through.as_deref().is_none_or(|through| i64::from(candidate) <= number(through))
}

impl Job {
    pub(super) const fn new(order: ReaderOrder, table: std::sync::Arc<Table>) -> Self {
        Self { order, table, rows: None }
    }

    /// One step. `waits` says that the order's condition is heeded.
    pub(super) fn step(
        &mut self,
        source: &Source,
        random: &mut fastrand::Rng,
        waits: bool,
    ) -> Option<ReaderMessage> {
        let id = self.order.id;
        // It is looked at now and then only: some messages are on their way.
        if self.order.cancelled.load(Ordering::Relaxed) && random.bool() {
            return Some(ReaderMessage::Failed { id, failure: ReadFailure::Cancelled });
        }
        if let Some(rows) = &mut self.rows {
            if rows.is_empty() {
                return Some(ReaderMessage::Finished { id });
            }
            if random.u8(0..40) == 0 {
                return Some(ReaderMessage::Failed { id, failure: ReadFailure::Undrained });
            }
            let taken = rows.drain(..random.usize(1..=rows.len().min(3))).collect();
            return Some(ReaderMessage::Batch { id, batch: batch(taken) });
        }
        let Visibility::WaitForGtid(wait) = &self.order.visibility else { panic!("a source with GTIDs") };
        let committed = !waits || source.executed.contains_all(&wait.parse().unwrap());
        let may_begin = committed || matches!(self.order.work, Work::FindBoundary { .. });
        if !may_begin {
            return (random.u8(0..20) == 0)
                .then_some(ReaderMessage::Failed { id, failure: ReadFailure::Behind });
        }
        let Some(rows) = self.select(source) else {
            let error = SourceError::definite("reading", "simulation", "no such table or column", "none");
            return Some(ReaderMessage::Failed { id, failure: error.into() });
        };
        match &self.order.work {
            Work::FindEnd => {
                let key = rows.last().map(|(last, _)| key(*last));
                Some(ReaderMessage::End { id, key })
            }
            Work::FindBoundary { range, .. } => {
                let at = random.usize(0..5);
                let mut inside = rows.iter().filter(|(key, _)| inside(range, *key));
                let key = inside.nth(at).map(|(last, _)| key(*last));
                Some(ReaderMessage::Boundary { id, key })
            }
            Work::Read { range } => {
                self.rows = Some(rows.into_iter().filter(|(key, _)| inside(range, *key)).collect());
                None
            }
        }
    }

    /// All rows of the table; `None` if it is not there, or lacks a column.
    fn select(&self, source: &Source) -> Option<Vec<(i32, EncodedRow)>> {
        let found = source.visible.tables.get(&self.table.id)?;
        let place = |name: &str| found.columns.iter().position(|column| column.name == name);
        let places: Vec<usize> =
            self.table.columns.iter().map(|column| place(&column.name)).collect::<Option<_>>()?;
        Some(found.rows.iter().map(|(key, row)| (*key, encode(&self.table, &places, row))).collect())
    }
}

fn encode(table: &Table, places: &[usize], row: &Row) -> EncodedRow {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    put_long(&mut key, i64::from(row[0].unwrap()));
    for (column, place) in table.columns.iter().zip(places) {
        match row[*place] {
            None => value.push(NULL_BRANCH),
            Some(number) => {
                if column.nullable {
                    value.push(VALUE_BRANCH);
                }
                put_long(&mut value, i64::from(number));
            }
        }
    }
    EncodedRow { key, value, raw: Vec::new() }
}

fn batch(rows: Vec<(i32, EncodedRow)>) -> RowBatch {
    let last = rows.last().map(|(last, _)| key(*last)).unwrap();
    let mut builder = BatchBuilder::default();
    rows.into_iter().for_each(|(_, mut row)| builder.push(&mut row));
    builder.finish(last)
}
