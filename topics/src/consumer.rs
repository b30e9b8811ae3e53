//! The member of the group `<task>` that reads the tables' topics. It assigns what the group gives, and
//! reports it; where to start is decided by the destination's offsets, never by Kafka's.

use super::error::TopicError;
use super::members::member_config;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tributary_service::kafka::leave;
use tributary_service::sabotage;

/// How long a seek may take: the client answers from memory.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// What the group did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// These are ours now, and stand at their beginnings.
    Assigned(Vec<(String, i32)>),
    /// These are another's now.
    Revoked(Vec<(String, i32)>),
}

/// Collects what the group does during a poll.
#[derive(Default)]
pub(crate) struct GroupContext {
    events: Mutex<VecDeque<Assignment>>,
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tributary_service::kafka::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", error = %error, "{reason}");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let places: Vec<(String, i32)> =
            list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let event = if kind == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // Any offset that exists will do: records are ignored until the partition is sought to the destination's
            // offset. The beginning can only repeat records, never skip one.
            let outcome =
                list.set_all_offsets(Offset::Beginning).and_then(|()| consumer.incremental_assign(list));
            if let Err(error) = outcome {
                tracing::error!(error = %error, "taking over partitions");
            }
            if !places.is_empty() {
                sabotage::pass("rebalance-assigned");
            }
            Assignment::Assigned(places)
        } else {
            if !places.is_empty() {
                sabotage::pass("rebalance-revoked");
            }
            if let Err(error) = consumer.incremental_unassign(list) {
                tracing::error!(error = %error, "giving up partitions");
            }
            Assignment::Revoked(places)
        };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}

/// The group's member.
pub struct GroupConsumer {
    consumer: Arc<BaseConsumer<GroupContext>>,
    /// What no other member is called.
    client_id: String,
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        leave(&self.consumer);
    }
}

impl GroupConsumer {
    /// Joins the group once topics are subscribed to, as a member that writes into the destination of `identity`; `client`
    /// is what `service::kafka::consumer_config` gives.
    pub fn new(client: &ClientConfig, identity: &str) -> Result<Self, TopicError> {
        let client = member_config(client, identity);
        let client_id = client.get("client.id").unwrap_or_default().to_owned();
        let mut config = ClientConfig::new();
        // What is fetched ahead lies in the client, decompressed, beside `apply.memory_bytes`. These keep it small and
        // the loop fed: a queue that is full is looked at again after the backoff, and the client's own second of it
        // left a load of a million rows without work for half of the time. Both bounds are those of one partition, and a
        // user's property wins over each.
        config
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", "8192")
            .set("fetch.message.max.bytes", "524288")
            .set("fetch.queue.backoff.ms", "10");
        for (name, value) in client.config_map() {
            config.set(name, value);
        }
        let consumer: BaseConsumer<GroupContext> = config
            // Ends are asked for elsewhere: see `ends`.
            .set("enable.partition.eof", "false")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("fetch.wait.max.ms", "100")
            // Tables join while the group is being joined: what the client does not know of a topic that is a moment old
            // it would ask for after five minutes only, and read none of it until then.
            .set("topic.metadata.refresh.interval.ms", "5000")
            .create_with_context(GroupContext::default())
            .map_err(TopicError::during("preparing the Kafka consumer"))?;
        Ok(Self { consumer: Arc::new(consumer), client_id })
    }

    /// True if this member is among those with these client ids.
    #[must_use]
    pub fn is_among(&self, client_ids: &[String]) -> bool {
        client_ids.contains(&self.client_id)
    }

    /// Reads these topics from now on.
    pub fn subscribe(&self, topics: &[&str]) -> Result<(), TopicError> {
        self.consumer.subscribe(topics).map_err(TopicError::during("subscribing to the tables' topics"))
    }

    /// The next record, or an error of the client. Call [`Self::assignments`] after each.
    pub fn poll(&self, timeout: Duration) -> Option<Result<BorrowedMessage<'_>, KafkaError>> {
        self.consumer.poll(timeout)
    }

    /// What the group did since the last call.
    pub fn assignments(&self) -> Vec<Assignment> {
        let mut events = self.consumer.context().events.lock().unwrap_or_else(PoisonError::into_inner);
        events.drain(..).collect()
    }

    /// Goes to `offset`; true if the client did. Until then the partition must count as lost: it may be anywhere.
    pub fn seek(&self, topic: &str, partition: i32, offset: i64) -> bool {
        let mut list = TopicPartitionList::new();
        let outcome = list
            .add_partition_offset(topic, partition, Offset::Offset(offset))
            .and_then(|()| self.consumer.seek_partitions(list, SEEK_TIMEOUT));
        match outcome {
            Ok(answer) => answer.elements().iter().all(|element| element.error().is_ok()),
            Err(error) => {
                tracing::debug!(topic, partition, offset, error = %error, "seek is tried again");
                false
            }
        }
    }

    /// Stops or goes on reading partitions.
    pub fn set_paused(&self, topic: &str, partitions: &[i32], paused: bool) {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(topic, *partition);
        }
        let outcome = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = outcome {
            tracing::debug!(topic, error = %error, "pausing or resuming partitions that are gone");
        }
    }

    /// For each partition the offset behind what this client has handed over, transaction markers included; nothing
    /// for one that was sought and not read from yet.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<(String, i32), i64> {
        let Ok(list) = self.consumer.position() else { return BTreeMap::new() };
        list.elements()
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some(((element.topic().to_owned(), element.partition()), offset)),
                _ => None,
            })
            .collect()
    }

    /// Stores offsets in Kafka, for tools that show a group's lag; nothing is ever read back.
    pub fn commit<'a>(&self, offsets: impl Iterator<Item = (&'a str, i32, i64)>) {
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset) in offsets {
            if list.add_partition_offset(topic, partition, Offset::Offset(offset)).is_err() {
                return;
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(error = %error, "committing offsets for lag tools");
        }
    }
}
