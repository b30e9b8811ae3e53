//! Records on their way from the sequencer to Kafka, in one buffer: rows of the tables' topics, and records of the task's
//! own. The sequencer puts them in, the driver sends them. Pure.
//!
//! Invariant: records come out as they were put in, in the same order; nothing is allocated per record but the buffer's
//! growth.

use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use tributary_schemas::row::RawValue;

/// A record is larger than its topic takes. Found before anything of it is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a record of {bytes} bytes does not fit topics.max_message_bytes = {limit}")]
pub(crate) struct TooLarge {
    /// Bytes of key, value and headers, with what Kafka adds.
    pub bytes: usize,
    /// The limit in bytes.
    pub limit: usize,
}

/// Lengths of a record's parts in the buffer, in their order there.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    topic: usize,
    partition: i32,
    key: usize,
    value: Option<usize>,
    sequence: usize,
    raw: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub topic: &'a str,
    /// Partition, computed from the key.
    pub partition: i32,
    /// In wire format, or as JSON in the task's own topics.
    pub key: &'a [u8],
    /// The same; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Text of the source sequence; empty in the task's own topics.
    pub sequence: &'a [u8],
    /// Values that Avro could not carry: names of columns and texts.
    raw: &'a [(String, String)],
}

impl<'a> Record<'a> {
    /// Values that Avro could not carry: names of columns and texts.
    pub(crate) fn raw(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a str)> {
        self.raw.iter().map(|(column, text)| (column.as_str(), text.as_str()))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    buffer: Vec<u8>,
    records: Vec<Lengths>,
    raw: Vec<(String, String)>,
    topics: Vec<Arc<str>>,
    /// Of keys and values since the last commit, bytes.
    uncommitted_bytes: usize,
    /// When the first record after the last commit was put in.
    opened_at: Option<Instant>,
}

/// The topic and partition of a record, once its key is known.
pub(crate) struct Address<'a> {
    pub topic: &'a Arc<str>,
    /// From the key's bytes to the partition.
    pub partition: fn(&[u8], u32) -> i32,
    /// Partitions of the topic.
    pub partitions: u32,
}

impl Outbox {
    /// Puts a record in at `now`. `key` and `value` append their bytes; without `value` it is a tombstone. `sequence` is
    /// empty in the task's own topics.
    pub(crate) fn put<'r>(
        &mut self,
        now: Instant,
        address: &Address<'_>,
        key: impl FnOnce(&mut Vec<u8>),
        value: Option<impl FnOnce(&mut Vec<u8>)>,
        sequence: &[u8],
        raw: impl Iterator<Item = (&'r str, &'r RawValue)>,
    ) {
        let begin = self.buffer.len();
        key(&mut self.buffer);
        let behind_key = self.buffer.len();
        let written = value.map(|value| {
            value(&mut self.buffer);
            self.buffer.len() - behind_key
        });
        self.opened_at.get_or_insert(now);
        self.uncommitted_bytes += self.buffer.len() - begin;
        let partition =
            (address.partition)(self.buffer.get(begin..behind_key).unwrap_or_default(), address.partitions);
        self.buffer.extend_from_slice(sequence);
        let before = self.raw.len();
        self.raw.extend(raw.map(|(column, value)| (column.to_owned(), value.text.clone())));
        let topic = self.topic(address.topic);
        self.records.push(Lengths {
            topic,
            partition,
            key: behind_key - begin,
            value: written,
            sequence: sequence.len(),
            raw: self.raw.len() - before,
        });
    }

    /// The place of a topic's name. Records of one table mostly follow each other.
    fn topic(&mut self, topic: &Arc<str>) -> usize {
        match self.topics.iter().rposition(|known| Arc::ptr_eq(known, topic)) {
            Some(place) => place,
            None => {
                self.topics.push(Arc::clone(topic));
                self.topics.len() - 1
            }
        }
    }

    /// The records, in their order.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let (mut rest, mut raw) = (self.buffer.as_slice(), self.raw.as_slice());
        self.records.iter().map(move |lengths| {
            let (key, behind) = rest.split_at_checked(lengths.key).unwrap_or_default();
            let (value, behind) = behind.split_at_checked(lengths.value.unwrap_or(0)).unwrap_or_default();
            let (sequence, behind) = behind.split_at_checked(lengths.sequence).unwrap_or_default();
            let (of_record, behind_raw) = raw.split_at_checked(lengths.raw).unwrap_or_default();
            (rest, raw) = (behind, behind_raw);
            Record {
                topic: self.topics.get(lengths.topic).map_or("", |topic| topic),
                partition: lengths.partition,
                key,
                value: lengths.value.map(|_| value),
                sequence,
                raw: of_record,
            }
        })
    }

    /// The records are sent. Memory is kept, up to what a few large batches take.
    pub(crate) fn sent(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BYTES);
        self.records.clear();
        self.records.shrink_to(KEPT_RECORDS);
        self.raw = Vec::new();
        self.topics.clear();
    }

    /// Everything is sent, and committed.
    pub(crate) fn committed(&mut self) {
        self.sent();
        (self.uncommitted_bytes, self.opened_at) = (0, None);
    }

    /// True if no record waits to be sent.
    #[must_use]
    pub(crate) const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub(crate) const fn waiting_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes of keys and values since the last commit.
    #[must_use]
    pub(crate) const fn uncommitted_bytes(&self) -> usize {
        self.uncommitted_bytes
    }

    /// When the first record after the last commit was put in; `None` if there is nothing to commit.
    #[must_use]
    pub(crate) const fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }
}

/// As much memory as stays with an empty outbox: bytes, and records.
const KEPT_BYTES: usize = 4 << 20;
const KEPT_RECORDS: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Put = (usize, Vec<u8>, Option<Vec<u8>>, Vec<u8>, Vec<(String, String)>);

    fn record() -> impl Strategy<Value = Put> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..9);
        let raw = prop::collection::vec((".{0,3}", ".{0,3}"), 0..3);
        (0..3_usize, bytes(), prop::option::of(bytes()), bytes(), raw)
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_were_put_in(rounds in prop::collection::vec(prop::collection::vec(record(), 0..9), 1..4)) {
            let topics: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).to_vec();
            let (mut outbox, mut bytes) = (Outbox::default(), 0);
            let now = Instant::now();
            for records in rounds {
                for (topic, key, value, sequence, raw) in &records {
                    let address = Address {
                        topic: &topics[*topic],
                        partition: |key, partitions| i32::try_from(key.len()).unwrap() % i32::try_from(partitions).unwrap(),
                        partitions: 3,
                    };
                    let texts: Vec<RawValue> =
                        raw.iter().map(|(_, text)| RawValue { column: 0, text: text.clone() }).collect();
                    let named = raw.iter().map(|(column, _)| column.as_str()).zip(&texts);
                    let write = value.as_ref().map(|value| move |buffer: &mut Vec<u8>| buffer.extend(value));
                    outbox.put(now, &address, |buffer| buffer.extend(key), write, sequence, named);
                    bytes += key.len() + value.as_ref().map_or(0, Vec::len);
                }
                prop_assert_eq!(outbox.uncommitted_bytes(), bytes);
                prop_assert_eq!(outbox.records().count(), records.len());
                for (out, (topic, key, value, sequence, raw)) in outbox.records().zip(&records) {
                    prop_assert_eq!((out.topic, out.key), (&*topics[*topic], key.as_slice()));
                    prop_assert_eq!((out.value, out.sequence), (value.as_deref(), sequence.as_slice()));
                    prop_assert_eq!(out.partition, i32::try_from(key.len()).unwrap() % 3);
                    prop_assert!(out.raw().eq(raw.iter().map(|(column, text)| (column.as_str(), text.as_str()))));
                }
                outbox.sent();
                prop_assert!(outbox.is_empty());
            }
            outbox.committed();
            prop_assert_eq!((outbox.uncommitted_bytes(), outbox.opened_at()), (0, None));
        }
    }
}
