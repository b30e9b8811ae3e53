//! Consumer groups as Kafka tells of them to somebody who is in none of them: which there are, and how far they have
//! committed. Nothing here joins a group, commits, or changes anything in it.

use super::client_config;
use super::places::TopicPartition;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupMemberInfo;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;
use tributary_config::KafkaConfig;

/// A group that may have offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListedGroup {
    pub name: String,
    /// Kafka's word; empty if the account may not describe the group.
    pub state: String,
    /// How many members there are.
    pub members: usize,
    /// What a member has been given names a topic of the task.
    pub assigned: bool,
}

/// Settings of a client for [`committed`], which asks about `group`.
#[must_use]
pub fn asking_config(kafka: &KafkaConfig, group: &str) -> ClientConfig {
    let mut config = client_config(kafka);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("allow.auto.create.topics", "false")
        // One of committed records gets no offset while a transaction is open that is to commit one, as Flink's are.
        .set("isolation.level", "read_uncommitted");
    config
}

/// Every group of consumers that the account may see; others are left out without an error, and so may be those of a broker
/// that does not answer. Each broker is asked that the client knows of, so it must have asked something before. `topics` is
/// what the names of the task's topics begin with.
///
/// # Errors
/// No answer within `limit`, or a refusal.
pub fn groups<C: ClientContext>(
    client: &Client<C>,
    topics: &str,
    limit: Duration,
) -> Result<Vec<ListedGroup>, KafkaError> {
    let list = client.fetch_group_list(None, limit)?;
    // A group that has never had a member has no protocol; those of Connect's workers, for one, have another.
    let of_consumers = list.groups().iter().filter(|group| matches!(group.protocol_type(), "consumer" | ""));
    let listed = of_consumers.map(|group| ListedGroup {
        name: group.name().to_owned(),
        state: group.state().to_owned(),
        members: group.members().len(),
        assigned: group
            .members()
            .iter()
            .filter_map(GroupMemberInfo::assignment)
            .any(|assignment| names(assignment, topics)),
    });
    Ok(listed.collect())
}

/// True if an assignment, which has the names of topics among its bytes, has one that begins like this.
fn names(assignment: &[u8], topics: &str) -> bool {
    assignment.windows(topics.len().max(1)).any(|bytes| bytes == topics.as_bytes())
}

/// The offsets that the group of `consumer`, its `group.id`, has committed in `places`; those without one are missing.
///
/// # Errors
/// No answer within `limit`, or [`RDKafkaErrorCode::GroupAuthorizationFailed`], which a client tells only the first time.
pub fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    places: &[TopicPartition],
    limit: Duration,
) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in places {
        list.add_partition(topic, *partition);
    }
    let answer = consumer.committed_offsets(list, limit);
    // A refusal comes as an event, and the question itself only to the end of its time.
    let mut refused = None;
    while let Some(event) = consumer.poll(Duration::ZERO) {
        refused = event.err().filter(is_refusal).or(refused);
    }
    let answer = answer.map_err(|error| refused.unwrap_or(error))?;
    let elements = answer.elements();
    let known = elements.iter().filter_map(|element| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(offset)) => Some(((element.topic().to_owned(), element.partition()), offset)),
        _ => None,
    });
    Ok(known.collect())
}

/// True if the account may not ask about the group.
#[must_use]
pub fn is_refusal(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::TracingContext;

    #[test]
    fn an_assignment_names_its_topics() {
        let assignment = b"\0\x01\0\0\0\x01\0\x05t.a.b\0\0\0\x01\0\0\0\0\0\0\0\0";
        assert!(names(assignment, "t."));
        assert!(!names(assignment, "shop.") && !names(b"", "t.") && !names(b"\0", "t."));
    }

    #[test]
    fn librdkafka_takes_every_setting() {
        let kafka = KafkaConfig {
            brokers: "127.0.0.1:1".into(),
            retry_minutes: 0,
            session_timeout_ms: 10_000,
            client: BTreeMap::new(),
        };
        let consumer: BaseConsumer<TracingContext> =
            asking_config(&kafka, "g").create_with_context(TracingContext).unwrap();
        assert!(groups(consumer.client(), "t.", Duration::from_millis(1)).is_err());
    }
}
