//! The table topics as any consumer with `read_committed` sees them.

use crate::task::Task;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet, HashSet};
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
    let mut records = Vec::new();
    visit_topic(task, table, |record| records.push(record));
    records
}

/// Expects each row event of the binlog exactly once in the topics of `tables`, which are all of the task's:
/// `events` are the numbers of row events of the source's transactions, in order, those without one left out.
///
/// # Panics
/// With what is twice or missing.
pub fn assert_each_event_once(task: &Task, tables: &[&str], events: &[u64]) {
    let mut seen = HashSet::new();
    let mut rows: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for table in tables {
        visit_topic(task, table, |record| {
            let parts: Vec<&str> = record.sequence.split(':').collect();
            let [transaction, row, _] = parts[..] else { return };
            let fresh = seen.insert((record.sequence.clone(), record.value.is_none()));
            assert!(fresh, "{table}: published twice: {} at {record:?}", record.sequence);
            let number = |text: &str| text.parse::<u64>().expect("a source sequence has numbers");
            rows.entry(number(transaction)).or_default().insert(number(row));
        });
    }
    assert!(!events.is_empty(), "the binlog has no row event of the task");
    if let Err(missing) = none_is_missing(&rows, events) {
        panic!("{missing}");
    }
}

/// Compares the rows of each transaction that were published, by their numbers, with how many it has in the binlog.
fn none_is_missing(rows: &BTreeMap<u64, BTreeSet<u64>>, events: &[u64]) -> Result<(), String> {
    for (transaction, rows) in rows {
        if let Some((expected, row)) = (0..).zip(rows).find(|(expected, row)| expected != *row) {
            return Err(format!("transaction {transaction}: row {expected} is missing, the next is {row}"));
        }
    }
    let found: Vec<u64> = rows.values().map(|rows| rows.len() as u64).collect();
    match found.iter().zip(events).position(|(found, expected)| found != expected) {
        None if found.len() == events.len() => Ok(()),
        place => Err(format!(
            "{} transactions in the topics, {} in the binlog; the first that differs is the one at {place:?}: {:?} and {:?}",
            found.len(),
            events.len(),
            place.and_then(|place| found.get(place)),
            place.and_then(|place| events.get(place)),
        )),
    }
}

/// Shows `visit` every committed record of a table's topic, partition by partition, up to its end now.
///
/// # Panics
/// If Kafka fails.
pub fn visit_topic(task: &Task, table: &str, visit: impl FnMut(SeenRecord)) {
    visit_records(task, &format!("{0}.{0}.{table}", task.name), visit);
}

/// The same of any topic.
///
/// # Panics
/// If Kafka fails.
pub fn visit_records(task: &Task, topic: &str, mut visit: impl FnMut(SeenRecord)) {
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
    let mut ended = 0;
    while ended < partitions {
        match consumer.poll(Duration::from_secs(20)).expect("records or ends within 20 s") {
            Ok(message) => {
                let sequence = message.headers().and_then(|headers| {
                    headers
                        .iter()
                        .find(|header| header.key == "tributary.sequence")
                        .and_then(|header| header.value)
                });
                visit(SeenRecord {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_missing_anywhere_is_noticed() {
        let check = |transactions: &[(u64, &[u64])]| {
            let rows = transactions.iter().map(|(number, rows)| (*number, rows.iter().copied().collect()));
            none_is_missing(&rows.collect(), &[3, 1, 2])
        };
        assert_eq!(check(&[(4, &[0, 1, 2]), (7, &[0]), (8, &[0, 1])]), Ok(()));
        let wrong: [&[(u64, &[u64])]; 6] = [
            &[(4, &[1, 2]), (7, &[0]), (8, &[0, 1])],
            &[(4, &[0, 2]), (7, &[0]), (8, &[0, 1])],
            &[(4, &[0, 1]), (7, &[0]), (8, &[0, 1])],
            &[(4, &[0, 1, 2]), (8, &[0, 1])],
            &[(4, &[0, 1, 2]), (7, &[0])],
            &[(4, &[0, 1, 2]), (7, &[0]), (8, &[0, 1]), (9, &[0])],
        ];
        for transactions in wrong {
            assert!(check(transactions).is_err(), "{transactions:?}");
        }
    }
}
