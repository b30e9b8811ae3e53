//! The table topics as any consumer with `read_committed` sees them.

use crate::task::Task;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::time::Duration;

/// A record.
#[derive(Debug, Clone)]
pub struct SeenRecord {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key bytes.
    pub key: Vec<u8>,
    /// Value bytes; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The header `tributary.sequence`.
    pub sequence: String,
}

/// Every committed record of a table's topic, partition by partition, up to its end now.
///
/// # Panics
/// If Kafka fails.
#[must_use]
pub fn read_topic(task: &Task, table: &str) -> Vec<SeenRecord> {
    read(task, &format!("{0}.{0}.{table}", task.name))
}

/// Every committed record of a topic, partition by partition, up to its end now.
///
/// # Panics
/// If Kafka fails.
#[must_use]
pub fn read(task: &Task, topic: &str) -> Vec<SeenRecord> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", task.servers.get("KAFKA_BROKERS"))
        .set("group.id", "tests")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)).expect("metadata");
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut assignment = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).expect("few partitions") {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let (mut records, mut ended) = (Vec::new(), 0);
    while ended < partitions {
        match consumer.poll(Duration::from_secs(20)).expect("records or ends within 20 s") {
            Ok(message) => {
                let sequence = message.headers().and_then(|headers| {
                    headers
                        .iter()
                        .find(|header| header.key == "tributary.sequence")
                        .and_then(|header| header.value)
                });
                records.push(SeenRecord {
                    partition: message.partition(),
                    offset: message.offset(),
                    key: message.key().unwrap_or_default().to_vec(),
                    value: message.payload().map(<[u8]>::to_vec),
                    sequence: String::from_utf8_lossy(sequence.unwrap_or_default()).into_owned(),
                });
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
            Err(error) => panic!("{error}"),
        }
    }
    records
}
