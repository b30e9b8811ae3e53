//! What a topic consists of and where its partitions begin and end. A consumer and places enter; counts and offsets
//! leave. What follows from an answer is for the caller to decide.

use crate::waits::Waits;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// Topic and partition.
pub type TopicPartition = (String, i32);

/// How many partitions a topic has; `None` if it does not exist, or was created so lately that it has none yet. Makes
/// the client ask, also one that remembers that there was no such topic.
///
/// # Errors
/// No answer within `limit`, or a refusal.
pub fn partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    limit: Duration,
) -> Result<Option<u32>, KafkaError> {
    let _wait = Waits::of_process().answer(format!("Kafka: the partitions of {topic}"), limit);
    let metadata = consumer.fetch_metadata(Some(topic), limit)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(u32::try_from(found.partitions().len()).ok().filter(|count| *count > 0)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(error) => Err(KafkaError::MetadataFetch(error)),
    }
}

/// The client ids of the members of `group`. A question to all brokers, which connects to none: wait for one before, such
/// as by [`super::await_leader`].
///
/// # Errors
/// No answer within `limit`, or a refusal.
pub fn group_members<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    limit: Duration,
) -> Result<Vec<String>, KafkaError> {
    let list = client.fetch_group_list(Some(group), limit)?;
    let members =
        list.groups().iter().filter(|found| found.name() == group).flat_map(|found| found.members());
    Ok(members.map(|member| member.client_id().to_owned()).collect())
}

/// The offset that `wanted`, a logical offset or a time in milliseconds since 1970, stands for in each place, or why it
/// could not be had; [`Offset::End`] is the high watermark for a consumer of uncommitted records, and the last stable
/// offset for one of committed ones. A place of which every record is older than the time is missing. One request a
/// broker.
///
/// # Errors
/// No answer at all within `limit`.
pub fn offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    places: &[TopicPartition],
    wanted: Offset,
    limit: Duration,
) -> Result<BTreeMap<TopicPartition, Result<i64, KafkaError>>, KafkaError> {
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut list = TopicPartitionList::new();
    for (topic, partition) in places {
        list.add_partition_offset(topic, *partition, wanted)?;
    }
    let answer = consumer.offsets_for_times(list, limit)?;
    let mut found = BTreeMap::new();
    for element in answer.elements() {
        let place = || (element.topic().to_owned(), element.partition());
        match (element.error(), element.offset()) {
            (Ok(()), Offset::Offset(offset)) => drop(found.insert(place(), Ok(offset))),
            (Ok(()), _) => {}
            (Err(error), _) => drop(found.insert(place(), Err(error))),
        }
    }
    Ok(found)
}
