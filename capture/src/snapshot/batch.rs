//! Rows on their way from a reader to the sequencer, in one buffer. Invariant: rows come out as they were put in, in
//! the same order; nothing is allocated per row but the buffer's growth and the rare raw texts.

use tributary_schemas::checkpoint::KeyValue;
use tributary_schemas::row::{EncodedRow, RawValue};

/// Lengths of one row's parts in the buffer.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    key: usize,
    value: usize,
}

/// Rows of one chunk, in key order.
#[derive(Debug, Default)]
pub(crate) struct RowBatch {
    buffer: Vec<u8>,
    rows: Vec<Lengths>,
    /// Row numbers and their raw texts, in the order of the rows.
    raw: Vec<(usize, Vec<RawValue>)>,
    last_key: Vec<KeyValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchRow<'a> {
    /// Avro datum of the key, without the wire header.
    pub key: &'a [u8],
    /// Avro datum of the `Value` record, without wire header and envelope.
    pub value: &'a [u8],
    /// Values that Avro could not carry.
    pub raw: &'a [RawValue],
}

impl RowBatch {
    /// The rows, in key order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = BatchRow<'_>> {
        let mut rest = self.buffer.as_slice();
        let mut raw = self.raw.iter().peekable();
        self.rows.iter().enumerate().map(move |(index, lengths)| {
            let (key, behind) = rest.split_at_checked(lengths.key).unwrap_or_default();
            let (value, behind) = behind.split_at_checked(lengths.value).unwrap_or_default();
            rest = behind;
            let raw = raw.next_if(|(row, _)| *row == index).map_or(&[][..], |(_, raw)| raw.as_slice());
            BatchRow { key, value, raw }
        })
    }

    /// How many rows.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of keys and values.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The key of the last row, for the progress.
    #[must_use]
    pub(crate) fn last_key(&self) -> &[KeyValue] {
        &self.last_key
    }
}

/// Collects rows.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    batch: RowBatch,
}

impl BatchBuilder {
    /// Adds a row; its raw texts are moved out of it.
    pub(crate) fn push(&mut self, row: &mut EncodedRow) {
        if !row.raw.is_empty() {
            self.batch.raw.push((self.batch.rows.len(), std::mem::take(&mut row.raw)));
        }
        self.batch.buffer.extend_from_slice(&row.key);
        self.batch.buffer.extend_from_slice(&row.value);
        self.batch.rows.push(Lengths { key: row.key.len(), value: row.value.len() });
    }

    /// Bytes so far.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// The rows so far, of which the last has `last_key`; the builder is empty then, with room for as much again.
    pub(crate) fn finish(&mut self, last_key: Vec<KeyValue>) -> RowBatch {
        let (bytes, rows) = (self.batch.buffer.len(), self.batch.rows.len());
        let next = RowBatch {
            buffer: Vec::with_capacity(bytes + bytes / 8),
            rows: Vec::with_capacity(rows + rows / 8),
            ..RowBatch::default()
        };
        let batch = std::mem::replace(&mut self.batch, next);
        RowBatch { last_key, ..batch }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_out_as_they_went_in(rows in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>(), 0_usize..3), 0..20)) {
            let raw = |count: usize| vec![RawValue { column: count, text: "0000-00-00".into() }; count];
            let mut builder = BatchBuilder::default();
            for _ in 0..2 {
                for (key, value, count) in &rows {
                    builder.push(&mut EncodedRow { key: key.clone(), value: value.clone(), raw: raw(*count) });
                }
                let batch = builder.finish(vec![KeyValue::Int(7)]);
                prop_assert_eq!(batch.len(), rows.len());
                prop_assert_eq!(batch.bytes(), rows.iter().map(|(key, value, _)| key.len() + value.len()).sum::<usize>());
                prop_assert_eq!(batch.rows().count(), rows.len());
                for (row, (key, value, count)) in batch.rows().zip(&rows) {
                    prop_assert_eq!((row.key, row.value), (key.as_slice(), value.as_slice()));
                    prop_assert_eq!(row.raw.to_vec(), raw(*count));
                }
                prop_assert_eq!(batch.last_key(), &[KeyValue::Int(7)]);
            }
        }
    }
}
