//! Topics: created once with the settings the design rests on, checked ever after.

use super::incarnation::Found;
use rdkafka::Offset;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupMemberInfo;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;
use tributary_service::kafka::{self, RenewedConsumer, TopicPartition};
use tributary_service::transient::Transient;

/// How long one request may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the cluster may take to create or to delete topics.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long brokers that are only just starting may count as too few for a topic.
pub(crate) const FEW_BROKERS: Duration = Duration::from_secs(10);
/// How long is waited between two attempts then.
const REST: Duration = Duration::from_millis(500);
/// How long a new topic is left alone before it is asked for again.
const LEADERLESS: Duration = Duration::from_millis(10);

/// Why a topic cannot be used.
#[derive(Debug, Clone, Error)]
pub(crate) enum TopicError {
    /// The broker did not answer, or refused for a reason that may pass.
    #[error("Kafka did not answer for topic {topic}: {reason}")]
    Unavailable {
        topic: String,
        /// What the client says.
        reason: String,
    },
    /// The broker refused.
    #[error("Kafka refused topic {topic}: {reason}")]
    Refused {
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// Partition counts never change, for keys would move.
    #[error("topic {topic} has {found} partitions but {expected} are expected ({origin})")]
    Partitions {
        topic: String,
        /// As the broker has it.
        found: u32,
        /// As it must be.
        expected: u32,
        /// Where the expected number comes from.
        origin: &'static str,
    },
}

/// What a topic is created with.
#[derive(Debug, Clone)]
pub(crate) struct TopicSettings {
    pub partitions: u32,
    /// Replicas of each.
    pub replication_factor: u32,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// `min.compaction.lag.ms`; a change this young can be replayed one by one.
    pub min_compaction_lag_ms: u64,
    /// `delete.retention.ms`; a tombstone this young has not vanished.
    pub delete_retention_ms: u64,
}

/// Creates topics and asks about them. Every call blocks.
pub(crate) struct Topics {
    /// For the administrative client, which is made when it is needed: most starts create nothing.
    config: rdkafka::ClientConfig,
    /// Read-uncommitted, so that a watermark is the true end of a partition: the last stable offset would lie before
    /// records of a transaction whose commit marker is not written yet.
    watermarks: RenewedConsumer,
    runtime: tokio::runtime::Handle,
}

impl Topics {
    /// Takes a client configuration without a group.
    pub(crate) fn new(
        config: &rdkafka::ClientConfig,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, KafkaError> {
        let mut reading = config.clone();
        reading
            .set("group.id", "unused")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_uncommitted");
        Ok(Self { config: config.clone(), watermarks: RenewedConsumer::new(reading)?, runtime })
    }

    /// Partitions of `topic`; `None` if it does not exist.
    ///
    /// # Errors
    /// [`TopicError::Unavailable`] and [`TopicError::Refused`].
    pub(crate) fn partitions(&self, topic: &str) -> Result<Option<u32>, TopicError> {
        let asked = self.watermarks.ask(|consumer| kafka::partitions(consumer, topic, REQUEST_TIMEOUT));
        asked.map_err(|error| {
            match error.rdkafka_error_code() {
                // A topic that is not there may be created; one that may not be seen, or has no possible name, never can.
                Some(
                    code @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::InvalidTopic),
                ) => TopicError::Refused { topic: topic.to_owned(), reason: code.to_string() },
                _ => unavailable(topic, &error),
            }
        })
    }

    /// Creates those of `topics` that do not exist, in one request. Returns the number of partitions of each, or why
    /// Kafka refuses it: the others are there all the same.
    pub(crate) fn ensure(
        &self,
        topics: &[&str],
        settings: &TopicSettings,
    ) -> Result<Vec<Result<u32, TopicError>>, TopicError> {
        let mut found: BTreeMap<&str, Result<u32, TopicError>> = BTreeMap::new();
        let mut missing: BTreeSet<&str> = BTreeSet::new();
        for topic in topics {
            match self.partitions(topic) {
                Ok(Some(count)) => drop(found.insert(topic, Ok(count))),
                Ok(None) => drop(missing.insert(topic)),
                Err(refused @ TopicError::Refused { .. }) => drop(found.insert(topic, Err(refused))),
                Err(error) => return Err(error),
            }
        }
        if !missing.is_empty() {
            // A name twice in a request would leave a result without a name, which the Rust client does not survive.
            let missing: Vec<&str> = missing.into_iter().collect();
            for (topic, refused) in missing.iter().zip(self.create(&missing, settings)?) {
                found.insert(topic, refused.map_or(Ok(settings.partitions), Err));
            }
        }
        let unknown =
            |topic: &str| unavailable(topic, &KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic));
        Ok(topics
            .iter()
            .map(|topic| found.get(topic).cloned().unwrap_or_else(|| Err(unknown(topic))))
            .collect())
    }

    /// Creates topics, each named once; returns why each was refused.
    fn create(
        &self,
        topics: &[&str],
        settings: &TopicSettings,
    ) -> Result<Vec<Option<TopicError>>, TopicError> {
        let (lag, retention, size) = (
            settings.min_compaction_lag_ms.to_string(),
            settings.delete_retention_ms.to_string(),
            settings.max_message_bytes.to_string(),
        );
        let replicas = i32::try_from(settings.replication_factor).unwrap_or(1);
        let partitions = i32::try_from(settings.partitions).unwrap_or(1);
        let new = topics.iter().map(|topic| {
            NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas))
                .set("cleanup.policy", "compact")
                .set("min.compaction.lag.ms", &lag)
                .set("delete.retention.ms", &retention)
                .set("max.message.bytes", &size)
                // The source sequence and ts_ms tell when; a broker's own clock must not reject a record.
                .set("message.timestamp.type", "CreateTime")
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        let options = changing();
        let deadline = std::time::Instant::now() + FEW_BROKERS;
        let results = loop {
            let results = self.administer(topics, async |admin| admin.create_topics(&new, &options).await)?;
            // So a controller answers, too, that has not heard of a broker yet since it was started.
            let few = |code: &RDKafkaErrorCode| *code == RDKafkaErrorCode::InvalidReplicationFactor;
            let again = results.iter().any(|result| matches!(result, Err((_, code)) if few(code)));
            if !again || std::time::Instant::now() > deadline {
                break results;
            }
            std::thread::sleep(REST);
        };
        let mut refused: BTreeMap<String, TopicError> = BTreeMap::new();
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    let error = KafkaError::AdminOp(code);
                    if error.is_transient() {
                        return Err(unavailable(&topic, &error));
                    }
                    refused.insert(topic.clone(), TopicError::Refused { topic, reason: code.to_string() });
                }
            }
        }
        let created: Vec<&str> =
            topics.iter().copied().filter(|topic| !refused.contains_key(*topic)).collect();
        self.wait_for(&created, settings.partitions)?;
        Ok(topics.iter().map(|topic| refused.remove(*topic)).collect())
    }

    /// What became of topics that had so many partitions; in their order.
    pub(crate) fn look(&self, topics: &[(&str, u32)]) -> Result<Vec<Found>, TopicError> {
        let all = || topics.iter().map(|(topic, _)| *topic).collect::<Vec<_>>().join(", ");
        let counts = self.cluster(REQUEST_TIMEOUT).map_err(|error| unavailable(&all(), &error))?;
        let present: Vec<(&str, u32)> =
            topics.iter().copied().filter(|(topic, count)| counts.get(*topic) == Some(count)).collect();
        let ends = self.ends(&present)?;
        let mut ends: BTreeMap<&str, Vec<i64>> = present.iter().map(|(topic, _)| *topic).zip(ends).collect();
        let found = |topic: &str| match (ends.remove(topic), counts.get(topic)) {
            (Some(ends), _) => Found::Ends(ends),
            (None, Some(count)) => Found::Partitions(*count),
            (None, None) => Found::Missing,
        };
        Ok(topics.iter().map(|(topic, _)| *topic).map(found).collect())
    }

    /// Every topic of the cluster that may be seen, with its partitions. Asks for no topic by name, so that none is
    /// created by being asked for.
    ///
    /// # Errors
    /// No answer within `limit`.
    pub(crate) fn cluster(&self, limit: Duration) -> Result<BTreeMap<String, u32>, KafkaError> {
        let metadata = self.watermarks.ask(|consumer| consumer.fetch_metadata(None, limit))?;
        let named = metadata.topics().iter().filter_map(|topic| {
            let count = u32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0)?;
            Some((topic.name().to_owned(), count))
        });
        Ok(named.collect())
    }

    /// True if a member of the consumer group has been given a partition.
    ///
    /// # Errors
    /// [`TopicError::Unavailable`]: no answer, or the group is about to give its partitions out.
    pub(crate) fn is_given(&self, group: &str) -> Result<bool, TopicError> {
        let listed = self
            .watermarks
            .ask(|consumer| consumer.fetch_group_list(Some(group), REQUEST_TIMEOUT))
            .map_err(|error| unavailable(group, &error))?;
        let Some(found) = listed.groups().iter().find(|found| found.name() == group) else {
            return Ok(false);
        };
        match found.state() {
            "Stable" => {
                let mut assignments = found.members().iter().filter_map(GroupMemberInfo::assignment);
                Ok(assignments.any(has_partitions))
            }
            "Empty" | "Dead" => Ok(false),
            state => {
                let reason = format!("its group {group} is in the state {state}");
                Err(TopicError::Unavailable { topic: group.to_owned(), reason })
            }
        }
    }

    /// The client ids of the members of `group`; `topic` is one that exists.
    ///
    /// # Errors
    /// No answer within `limit`, or a refusal.
    pub(crate) fn members(
        &self,
        group: &str,
        topic: &str,
        limit: Duration,
    ) -> Result<Vec<String>, KafkaError> {
        self.watermarks.ask(|consumer| {
            kafka::await_leader(consumer.client(), topic, limit)?;
            kafka::group_members(consumer.client(), group, limit)
        })
    }

    fn administer<T>(
        &self,
        topics: &[&str],
        request: impl AsyncFnOnce(&AdminClient<DefaultClientContext>) -> Result<T, KafkaError>,
    ) -> Result<T, TopicError> {
        let failed = |error: KafkaError| unavailable(topics.first().unwrap_or(&""), &error);
        let admin = self.config.create().map_err(failed)?;
        let answer = self.runtime.block_on(request(&admin));
        kafka::close(admin);
        answer.map_err(failed)
    }

    /// Metadata follows a creation with a delay; waits until every partition can be written.
    fn wait_for(&self, topics: &[&str], partitions: u32) -> Result<(), TopicError> {
        let created: Vec<(&str, u32)> = topics.iter().map(|topic| (*topic, partitions)).collect();
        let deadline = std::time::Instant::now() + CHANGE_TIMEOUT;
        loop {
            match self.are_ready(&created) {
                Ok(true) => return Ok(()),
                Err(refused @ TopicError::Refused { .. }) => return Err(refused),
                Err(error) if std::time::Instant::now() > deadline => return Err(error),
                Ok(false) if std::time::Instant::now() > deadline => {
                    return Err(TopicError::Unavailable {
                        topic: topics.join(", "),
                        reason: "created, but not there yet".to_owned(),
                    });
                }
                // A poll with nothing assigned waits its timeout out, serving the client's own events.
                Ok(false) | Err(_) => drop(self.watermarks.get().poll(LEADERLESS)),
            }
        }
    }

    /// True if the topics have so many partitions; an error as long as one of those has no leader.
    fn are_ready(&self, topics: &[(&str, u32)]) -> Result<bool, TopicError> {
        for (topic, partitions) in topics {
            if self.partitions(topic)? != Some(*partitions) {
                return Ok(false);
            }
        }
        self.ask_ends(topics).map(|_| true)
    }

    /// The high watermark of each partition of each topic, which has so many: the offset that the next record gets, or a
    /// later one. One request a broker.
    ///
    /// # Errors
    /// [`TopicError::Unavailable`] and [`TopicError::Refused`].
    pub(crate) fn ends(&self, topics: &[(&str, u32)]) -> Result<Vec<Vec<i64>>, TopicError> {
        // A client that did not know a topic remembers that for a while, unless it is made to ask.
        self.ask_ends(topics).or_else(|_| {
            topics.iter().try_for_each(|(topic, _)| self.partitions(topic).map(drop))?;
            self.ask_ends(topics)
        })
    }

    fn ask_ends(&self, topics: &[(&str, u32)]) -> Result<Vec<Vec<i64>>, TopicError> {
        let place =
            |topic: &str, partition: u32| (topic.to_owned(), i32::try_from(partition).unwrap_or(i32::MAX));
        let places: Vec<TopicPartition> =
            topics.iter().flat_map(|(topic, count)| (0..*count).map(|number| place(topic, number))).collect();
        let asked =
            self.watermarks.ask(|consumer| kafka::offsets(consumer, &places, Offset::End, REQUEST_TIMEOUT));
        let found = asked.map_err(|error| {
            let names: Vec<&str> = topics.iter().map(|(topic, _)| *topic).collect();
            unavailable(&names.join(", "), &error)
        })?;
        let end = |topic: &str, partition: u32| match found.get(&place(topic, partition)) {
            Some(Ok(end)) => Ok(*end),
            Some(Err(error)) => Err(unavailable(topic, error)),
            None => Err(unavailable(topic, &KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset))),
        };
        topics.iter().map(|(topic, count)| (0..*count).map(|number| end(topic, number)).collect()).collect()
    }

    /// Deletes topics; a topic that does not exist is not an error.
    pub(crate) fn delete(&self, topics: &[&str]) -> Result<(), TopicError> {
        let topics: Vec<&str> = topics.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let topics = topics.as_slice();
        let options = changing();
        let results = self.administer(topics, async |admin| admin.delete_topics(topics, &options).await)?;
        for result in results {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((topic, code)) => {
                    let error = KafkaError::AdminOp(code);
                    return Err(if error.is_transient() {
                        unavailable(&topic, &error)
                    } else {
                        TopicError::Refused { topic, reason: code.to_string() }
                    });
                }
            }
        }
        Ok(())
    }
}

/// True if an assignment of the consumer protocol (a version of two bytes, then an array of topics) is not empty.
fn has_partitions(assignment: &[u8]) -> bool {
    assignment.get(2..6).is_some_and(|count| count.iter().any(|byte| *byte != 0))
}

fn changing() -> AdminOptions {
    // The client must hear that the brokers have given up before it does so itself.
    let request = CHANGE_TIMEOUT + REQUEST_TIMEOUT;
    AdminOptions::new().operation_timeout(Some(CHANGE_TIMEOUT)).request_timeout(Some(request))
}

fn unavailable(topic: &str, error: &KafkaError) -> TopicError {
    TopicError::Unavailable { topic: topic.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_without_topics_is_none() {
        assert!(!has_partitions(b"") && !has_partitions(&[0, 1, 0, 0, 0, 0, 255, 255, 255, 255]));
        assert!(has_partitions(&[0, 1, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0]));
    }
}
