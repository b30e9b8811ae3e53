//! From an encoded row to records in the open Kafka transaction. Rows enter in the stream's order and leave in it;
//! a delete leaves as an event and a tombstone, a change of key as a delete and a create.

use super::table::SequencedTable;
use crate::snapshot::batch::BatchRow;
use crate::topics::producer::{PublishError, Publisher, Record};
use crate::topics::records::{Place, RecordBuffer};
use std::time::Instant;
use tributary_schemas::envelope::{Operation, Source};
use tributary_schemas::key;
use tributary_schemas::row::RawValue;
use tributary_schemas::sequence::{RAW_HEADER_PREFIX, SourceSequence};
use tributary_schemas::wire::HEADER_LENGTH;

/// What a record takes besides its row, the shared part of its `source` and the headers of raw values, at most, bytes:
/// wire headers, the rest of the envelope, the header with the sequence, lengths, the batch's header; generous.
const OVERHEAD_BYTES: usize = 1024;
/// The lengths of a header's name and value, at most, bytes.
const HEADER_LENGTHS_BYTES: usize = 10;

/// The producer, and the buffers that a record is built in.
pub struct Output {
    /// The producer.
    pub publisher: Publisher,
    record: RecordBuffer,
    source: Vec<u8>,
    sequence: Vec<u8>,
    /// When capture handles the batch at hand, milliseconds since 1970.
    pub handled_ms: i64,
    /// The same on the monotonic clock.
    pub now: Instant,
}

/// Where a row stands in the stream.
#[derive(Debug, Clone, Copy)]
pub struct RowPlace {
    /// Offset in bytes behind the event in its binlog file.
    pub offset: u64,
    /// Index of the row in its event.
    pub row_in_event: u32,
    /// Its name.
    pub sequence: SourceSequence,
}

impl Output {
    /// Wraps an initialised producer.
    #[must_use]
    pub fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            record: RecordBuffer::default(),
            source: Vec::new(),
            sequence: Vec::new(),
            handled_ms: 0,
            now: Instant::now(),
        }
    }

    /// Sets the part of `source` that the rows to come share.
    pub fn set_source(&mut self, source: &Source<'_>) {
        self.source.clear();
        source.put_shared(&mut self.source);
    }

    /// Fails if `row` would not fit the topic; called before anything of a row event is sent.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`].
    pub fn admit(&self, table: &SequencedTable, row: &BatchRow<'_>) -> Result<(), PublishError> {
        let headers: usize = raw_values(table, row.raw)
            .map(|(name, raw)| RAW_HEADER_PREFIX.len() + name.len() + raw.text.len() + HEADER_LENGTHS_BYTES)
            .sum();
        self.publisher.admit(row.key.len() + row.value.len() + self.source.len() + headers + OVERHEAD_BYTES)
    }

    /// Publishes the state of a row after `operation`, which is not a delete.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn upsert(
        &mut self,
        table: &SequencedTable,
        row: BatchRow<'_>,
        operation: Operation,
        place: RowPlace,
    ) -> Result<(), PublishError> {
        let raw: Vec<(&str, &RawValue)> = raw_values(table, row.raw).collect();
        self.record.put_key(table.key_schema_id, row.key);
        self.put_value(table, Some(row.value), operation, place);
        self.send(table, true, &raw)
    }

    /// Publishes that the row of `key` (the key record's datum) is gone: the event, then the tombstone.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn delete(
        &mut self,
        table: &SequencedTable,
        key: &[u8],
        place: RowPlace,
    ) -> Result<(), PublishError> {
        self.record.put_key(table.key_schema_id, key);
        self.put_value(table, None, Operation::Delete, place);
        self.send(table, true, &[])?;
        self.send(table, false, &[])
    }

    fn put_value(
        &mut self,
        table: &SequencedTable,
        row: Option<&[u8]>,
        operation: Operation,
        place: RowPlace,
    ) {
        let RowPlace { offset, row_in_event, sequence } = place;
        sequence.write_to(&mut self.sequence);
        let place = Place { offset, row: row_in_event, operation, handled_ms: self.handled_ms };
        self.record.put_value(table.value_schema_id, row, &self.source, place);
    }

    fn send(
        &mut self,
        table: &SequencedTable,
        with_value: bool,
        raw: &[(&str, &RawValue)],
    ) -> Result<(), PublishError> {
        debug_assert!(self.record.key.len() >= HEADER_LENGTH);
        let partition = key::partition(&self.record.key, table.partitions);
        let record = Record {
            topic: &table.topic,
            partition: i32::try_from(partition).unwrap_or(0),
            key: &self.record.key,
            value: with_value.then_some(&self.record.value),
            sequence: &self.sequence,
        };
        self.publisher.send(record, raw, self.now)
    }
}

/// Raw values with the names of their columns.
fn raw_values<'a>(
    table: &'a SequencedTable,
    raw: &'a [RawValue],
) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
    raw.iter().filter_map(|raw| table.table.columns.get(raw.column).map(|column| (column.name.as_str(), raw)))
}
