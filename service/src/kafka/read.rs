//! A compacted topic of one partition, read to its end: the state and history topics before a service begins. What
//! leaves is the last committed value of every key, and the offset to follow from.
//!
//! The end is the last stable offset as it was at the start. It is reached by position, never by count: transaction
//! markers and compaction leave gaps, and behind a marker no record comes that could be waited for.

use super::{TracingContext, close, consumer_config};
use crate::transient::Transient;
use crate::waits::{Wait, Waits};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use thiserror::Error;
use tributary_config::KafkaConfig;
use tributary_schemas::record::RawRecord;

/// Longest wait in one call into librdkafka, so that a deadline is kept.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Key; empty where the record has none.
    pub key: Vec<u8>,
    /// Value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    pub offset: i64,
    /// When it was written, as Kafka says; milliseconds since 1970.
    pub written_ms: i64,
}

impl Record {
    /// The same as a record of one of the task's own topics.
    #[must_use]
    pub fn of<'a>(&'a self, topic: &'a str) -> RawRecord<'a> {
        RawRecord { topic, offset: self.offset, key: &self.key, value: self.value.as_deref() }
    }
}

/// What a topic holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicContents {
    /// The last record of every key, in the order of offsets; tombstones that are still there included.
    pub records: Vec<Record>,
    /// Everything before this offset is in `records`, or was replaced by what is.
    pub next_offset: i64,
}

/// Why a topic could not be read to its end.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is no such topic.
    #[error("the topic {0} does not exist")]
    NoTopic(String),
    /// It has more partitions than one: it is not what its name says.
    #[error(
        "the topic {topic} has {partitions} partitions, and must have one; another program has created it"
    )]
    Partitions {
        topic: String,
        /// How many it has.
        partitions: u32,
    },
    /// The end did not come in time.
    #[error("the topic {topic} could not be read to its end: no record came for {} s at offset {at} of {end}", waited.as_secs())]
    Deadline {
        topic: String,
        /// Where the reading is.
        at: i64,
        /// Where it must get.
        end: i64,
        /// The limit.
        waited: Duration,
    },
    /// Kafka's own.
    #[error("the topic {topic} could not be read: {error}")]
    Kafka { topic: String, error: KafkaError },
}

impl Transient for ReadError {
    fn is_transient(&self) -> bool {
        match self {
            Self::NoTopic(_) | Self::Partitions { .. } => false,
            Self::Deadline { .. } => true,
            Self::Kafka { error, .. } => error.is_transient(),
        }
    }
}

/// Reads `topic` from its beginning to its last stable offset. Blocks as long as records come, and for `limit` at most
/// when none does: call it where blocking is allowed. What lies in the topic must not be too much for a start. `group` is only a name for the brokers' access control; nothing is committed and no group is joined.
pub fn read_to_end(
    kafka: &KafkaConfig,
    group: &str,
    topic: &str,
    limit: Duration,
) -> Result<TopicContents, ReadError> {
    let failed = |error: KafkaError| match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            ReadError::NoTopic(topic.to_owned())
        }
        _ => ReadError::Kafka { topic: topic.to_owned(), error },
    };
    let wait = Waits::of_process().answer(format!("Kafka: reading {topic} to its end"), limit);
    let consumer: BaseConsumer<TracingContext> = consumer_config(kafka, group)
        // At the end a fetch waits for what is not meant to come, and only its answer tells that it is the end.
        .set("fetch.wait.max.ms", "10")
        .create_with_context(TracingContext)
        .map_err(failed)?;
    let contents = read_with(&consumer, topic, (limit, &wait), failed);
    close(consumer);
    contents
}

fn read_with(
    consumer: &BaseConsumer<TracingContext>,
    topic: &str,
    (limit, wait): (Duration, &Wait),
    failed: impl Fn(KafkaError) -> ReadError + Copy,
) -> Result<TopicContents, ReadError> {
    let mut deadline = Instant::now() + limit;
    let left =
        |deadline: Instant| deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    match super::partitions(consumer, topic, left(deadline)).map_err(failed)? {
        None => return Err(ReadError::NoTopic(topic.to_owned())),
        Some(1) => {}
        Some(partitions) => return Err(ReadError::Partitions { topic: topic.to_owned(), partitions }),
    }
    // For a consumer of committed records the high watermark is the last stable offset.
    let (_, end) = consumer.fetch_watermarks(topic, 0, left(deadline)).map_err(failed)?;
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning).map_err(failed)?;
    consumer.assign(&assignment).map_err(failed)?;
    let mut contents = Latest::default();
    let mut next_offset = 0_i64;
    while next_offset < end {
        if Instant::now() >= deadline {
            let topic = topic.to_owned();
            return Err(ReadError::Deadline { topic, at: next_offset, end, waited: limit });
        }
        match consumer.poll(POLL.min(left(deadline))) {
            None => {}
            Some(Ok(message)) if message.offset() >= end => next_offset = end,
            Some(Ok(message)) => {
                let now = Instant::now();
                deadline = now + limit;
                wait.heard(now);
                next_offset = message.offset() + 1;
                contents.add(Record {
                    key: message.key().unwrap_or_default().to_vec(),
                    value: message.payload().map(<[u8]>::to_vec),
                    offset: message.offset(),
                    written_ms: message.timestamp().to_millis().unwrap_or(0),
                });
            }
            // The partition's end, behind the last marker: at least the one that was asked for.
            Some(Err(KafkaError::PartitionEOF(_))) => next_offset = end,
            // librdkafka goes on by itself; the deadline bounds it.
            Some(Err(error)) if error.is_transient() => {}
            Some(Err(error)) => return Err(failed(error)),
        }
    }
    Ok(TopicContents { records: contents.in_order(), next_offset })
}

/// The last record of every key.
#[derive(Debug, Default)]
struct Latest(HashMap<Vec<u8>, Record>);

impl Latest {
    fn add(&mut self, record: Record) {
        self.0.insert(record.key.clone(), record);
    }

    fn in_order(self) -> Vec<Record> {
        let mut records: Vec<Record> = self.0.into_values().collect();
        records.sort_by_key(|record| record.offset);
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_record_of_a_key_stays_in_its_place() {
        let mut latest = Latest::default();
        for (key, value, offset) in
            [("a", Some("1"), 0), ("b", Some("2"), 1), ("a", None, 4), ("c", Some("3"), 5)]
        {
            latest.add(Record { key: key.into(), value: value.map(Into::into), offset, written_ms: 0 });
        }
        let records: Vec<(Vec<u8>, bool, i64)> = latest
            .in_order()
            .into_iter()
            .map(|record| (record.key, record.value.is_some(), record.offset))
            .collect();
        assert_eq!(records, [(b"b".to_vec(), true, 1), (b"a".to_vec(), false, 4), (b"c".to_vec(), true, 5)]);
    }
}
