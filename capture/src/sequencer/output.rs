//! From an encoded row to records in the open Kafka transaction. Rows enter in the stream's order and leave in it;
//! a delete leaves as an event and a tombstone, a change of key as a delete and a create.

use super::table::SequencedTable;
use crate::snapshot::batch::BatchRow;
use crate::topics::outbox::{Address, Outbox, TooLarge};
use crate::topics::records::{RecordPlace, put_key, put_value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_schemas::envelope::{Operation, Source};
use tributary_schemas::key;
use tributary_schemas::row::RawValue;
use tributary_schemas::sequence::{RAW_HEADER_PREFIX, SourceSequence};

/// What a record takes besides its row, the shared part of its `source` and the headers of raw values, at most, bytes:
/// wire headers, the rest of the envelope, the header with the sequence, lengths, the batch's header; generous.
const OVERHEAD_BYTES: usize = 1024;
/// The lengths of a header's name and value, at most, bytes.
const HEADER_LENGTHS_BYTES: usize = 10;

/// The records on their way out, and what the ones to come share.
pub(crate) struct Output {
    outbox: Outbox,
    max_message_bytes: usize,
    source: Vec<u8>,
    sequence: Vec<u8>,
    /// When capture handles the batch at hand, milliseconds since 1970.
    pub handled_ms: i64,
    /// The same on the monotonic clock.
    pub now: Instant,
}

/// Where a row stands in the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowPlace {
    /// Offset in bytes behind the event in its binlog file.
    pub offset: u64,
    /// Index of the row in its event.
    pub row_in_event: u32,
    /// Its name.
    pub sequence: SourceSequence,
}

impl Output {
    /// Records of at most so many bytes.
    #[must_use]
    pub(crate) fn new(max_message_bytes: usize, now: Now) -> Self {
        Self {
            outbox: Outbox::default(),
            max_message_bytes,
            source: Vec::new(),
            sequence: Vec::new(),
            handled_ms: now.wall_ms,
            now: now.instant,
        }
    }

    /// What is handled from here on is handled at this time.
    pub(crate) const fn tick(&mut self, now: Now) {
        (self.now, self.handled_ms) = (now.instant, now.wall_ms);
    }

    /// So much time has passed while an answer was waited for.
    pub(crate) fn wait(&mut self, took: Duration) {
        self.now += took;
        self.handled_ms = self.handled_ms.saturating_add(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
    }

    /// What waits to be sent, and what was sent since the last commit.
    #[must_use]
    pub(crate) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Hands the records over.
    pub(crate) fn take(&mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    /// Takes back what was handed over.
    pub(crate) fn put_back(&mut self, outbox: Outbox) {
        self.outbox = outbox;
    }

    /// Sets the part of `source` that the rows to come share.
    pub(crate) fn set_source(&mut self, source: &Source<'_>) {
        self.source.clear();
        source.put_shared(&mut self.source);
    }

    /// Fails if a record of `bytes` bytes would be refused by its topic.
    pub(crate) const fn admit(&self, bytes: usize) -> Result<(), TooLarge> {
        if bytes > self.max_message_bytes {
            return Err(TooLarge { bytes, limit: self.max_message_bytes });
        }
        Ok(())
    }

    /// Fails if `row` would not fit the topic; called before anything of a row event is put in.
    pub(crate) fn admit_row(&self, table: &SequencedTable, row: &BatchRow<'_>) -> Result<(), TooLarge> {
        let headers: usize = raw_values(table, row.raw)
            .map(|(name, raw)| RAW_HEADER_PREFIX.len() + name.len() + raw.text.len() + HEADER_LENGTHS_BYTES)
            .sum();
        self.admit(row.key.len() + row.value.len() + self.source.len() + headers + OVERHEAD_BYTES)
    }

    /// Publishes the state of a row after `operation`, which is not a delete.
    pub(crate) fn upsert(
        &mut self,
        table: &SequencedTable,
        row: BatchRow<'_>,
        operation: Operation,
        place: RowPlace,
    ) {
        place.sequence.write_to(&mut self.sequence);
        let RowPlace { offset, row_in_event, .. } = place;
        let place = RecordPlace { offset, row: row_in_event, operation, handled_ms: self.handled_ms };
        let (id, source) = (table.value_schema_id, &self.source);
        self.outbox.put(
            self.now,
            &address(table),
            |out| put_key(out, table.key_schema_id, row.key),
            Some(|out: &mut Vec<u8>| put_value(out, id, Some(row.value), source, place)),
            &self.sequence,
            raw_values(table, row.raw),
        );
    }

    /// Publishes that the row of `key` (the key record's datum) is gone: the event, then the tombstone.
    pub(crate) fn delete(&mut self, table: &SequencedTable, key: &[u8], place: RowPlace) {
        place.sequence.write_to(&mut self.sequence);
        let RowPlace { offset, row_in_event, .. } = place;
        let place = RecordPlace {
            offset,
            row: row_in_event,
            operation: Operation::Delete,
            handled_ms: self.handled_ms,
        };
        for with_value in [true, false] {
            let (id, source) = (table.value_schema_id, &self.source);
            let value = with_value.then_some(|out: &mut Vec<u8>| put_value(out, id, None, source, place));
            let key = |out: &mut Vec<u8>| put_key(out, table.key_schema_id, key);
            self.outbox.put(self.now, &address(table), key, value, &self.sequence, std::iter::empty());
        }
    }

    /// Puts a JSON record of one of the task's own topics in; without a value, a tombstone.
    pub(crate) fn put_json(&mut self, topic: &Arc<str>, key: &[u8], value: Option<&[u8]>) {
        let address = Address { topic, partition: |_, _| 0, partitions: 1 };
        let value = value.map(|value| |out: &mut Vec<u8>| out.extend_from_slice(value));
        let key = |out: &mut Vec<u8>| out.extend_from_slice(key);
        self.outbox.put(self.now, &address, key, value, &[], std::iter::empty());
    }
}

/// Where a record of the table goes.
fn address(table: &SequencedTable) -> Address<'_> {
    let partition = |key: &[u8], partitions| i32::try_from(key::partition(key, partitions)).unwrap_or(0);
    Address { topic: &table.topic, partition, partitions: table.partitions }
}

/// A moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// By the monotonic clock.
    pub instant: Instant,
    /// By the wall clock, milliseconds since 1970.
    pub wall_ms: i64,
}

/// Raw values with the names of their columns.
fn raw_values<'a>(
    table: &'a SequencedTable,
    raw: &'a [RawValue],
) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
    raw.iter().filter_map(|raw| table.table.columns.get(raw.column).map(|column| (column.name.as_str(), raw)))
}
