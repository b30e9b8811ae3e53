//! Trying things on the Kafka cluster: what comes out is the facts that [`super::kafka`] judges. Every call blocks.
//! Invariant: nothing of the task's own topics is written; the probe topic is deleted again, whatever happened.

use super::kafka::{ABORTED, COMMITTED, ClusterFacts, ProbeFacts, Refusal, TopicSettings, Visibility};
use super::refusals::{patiently, refusal, refusal_of_new_topic, refused};
use crate::topics::admin::{FEW_BROKERS, Topics};
use crate::topics::incarnation::Known;
use crate::topics::lost::lost;
use crate::topics::reach::{Listener, reach};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tributary_config::{Config, KafkaConfig};
use tributary_schemas::table::TableId;
use tributary_service::kafka::{
    TopicPartition, TracingContext, await_leader, client_config, close, log, offsets, partitions,
};
use tributary_service::transient::Transient;

/// How long the cluster has to answer a request.
const REQUEST: Duration = Duration::from_secs(15);
/// How long the brokers may take to agree on which topics there are.
const SETTLE: Duration = Duration::from_secs(5);
/// How long one slice of waiting lasts, between which the client's events are looked at.
const SLICE: Duration = Duration::from_millis(100);

/// For the probe's producer: delivery reports need no ear, for the transaction fails if a record does.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }
}

impl ProducerContext for Quiet {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

/// A cluster that answered.
pub(super) struct Cluster {
    consumer: BaseConsumer<Listener>,
    admin: AdminClient<TracingContext>,
    client: ClientConfig,
    group: String,
    runtime: Handle,
    /// What its metadata said.
    pub facts: ClusterFacts,
    broker: Option<i32>,
}

impl Cluster {
    /// Asks for the metadata, which the first broker that answers has.
    ///
    /// # Errors
    /// Why nobody answered.
    pub(super) fn reach(kafka: &KafkaConfig, group: &str, runtime: Handle) -> Result<Self, Refusal> {
        let client = client_config(kafka);
        let (consumer, metadata) = reach(kafka, group).map_err(|unreachable| Refusal {
            action: "asking for the metadata",
            reason: unreachable.reason,
            denied: false,
            transient: unreachable.transient,
        })?;
        let admin =
            client.create_with_context(TracingContext).map_err(|error| refusal("making a client", &error))?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none()).filter_map(|topic| {
            let count = u32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0)?;
            Some((topic.name().to_owned(), count))
        });
        let facts = ClusterFacts {
            brokers: metadata.brokers().len(),
            topics: topics.collect(),
            ..ClusterFacts::default()
        };
        let broker = metadata.brokers().first().map(rdkafka::metadata::MetadataBroker::id);
        Ok(Self { consumer, admin, client, group: group.to_owned(), runtime, facts, broker })
    }

    /// Waits until the metadata names `wanted` brokers: while they start or wake up, it names fewer for a moment.
    pub(super) fn look_again_for_brokers(&mut self, wanted: usize) {
        let deadline = Instant::now() + SETTLE;
        while self.facts.brokers < wanted && Instant::now() < deadline {
            let _ = self.consumer.poll(SLICE);
            match self.consumer.fetch_metadata(None, REQUEST) {
                Ok(metadata) => self.facts.brokers = self.facts.brokers.max(metadata.brokers().len()),
                Err(error) => {
                    self.facts.refusals.push(refusal("asking for the metadata", &error));
                    return;
                }
            }
        }
    }

    /// Makes sure that each of `recorded` is known if it exists. The history names them and was read behind the
    /// metadata, so that another capture may have created them in between; and a broker may hear of a topic later than
    /// the one that wrote the history. Only what stays away for [`SETTLE`] is gone.
    pub(super) fn look_again_for(&mut self, recorded: &[String]) {
        let deadline = Instant::now() + SETTLE;
        let known = &self.facts.topics;
        let mut missing: Vec<&String> = recorded.iter().filter(|topic| !known.contains_key(*topic)).collect();
        while !missing.is_empty() {
            let mut still = Vec::new();
            for topic in missing {
                match partitions(&self.consumer, topic, REQUEST) {
                    Ok(Some(count)) => drop(self.facts.topics.insert(topic.clone(), count)),
                    Ok(None) => still.push(topic),
                    Err(error) => {
                        let found = refusal("looking for a topic of the task", &error);
                        let (reason, denied) = (format!("{topic}: {}", found.reason), found.denied);
                        self.facts.unseen.insert(topic.clone());
                        self.facts.refusals.push(Refusal { reason, transient: !denied, ..found });
                        if !denied {
                            // Nobody answers: the others cannot be asked about either.
                            self.facts.unseen.extend(recorded.iter().cloned());
                            return;
                        }
                    }
                }
            }
            missing = still;
            if Instant::now() > deadline {
                return;
            }
            if !missing.is_empty() {
                let _ = self.consumer.poll(SLICE);
            }
        }
    }

    /// Those topics of tables that are not the ones any more that were written, with the reason.
    pub(super) fn lost_topics(&mut self, known: Vec<(TableId, String, Known)>) -> BTreeMap<String, String> {
        let names: BTreeMap<TableId, String> =
            known.iter().map(|(id, topic, _)| (id.clone(), topic.clone())).collect();
        let lost = Topics::new(&self.client, self.runtime.clone())
            .map_err(|error| error.to_string())
            .and_then(|topics| lost(&topics, known).map_err(|error| error.to_string()));
        match lost {
            Ok(lost) => {
                lost.into_iter().filter_map(|(id, why)| Some((names.get(&id)?.clone(), why))).collect()
            }
            Err(reason) => {
                let action = "looking at the topics of the task";
                self.facts.refusals.push(Refusal { action, reason, denied: false, transient: true });
                BTreeMap::new()
            }
        }
    }

    /// What is known of it; nothing more is asked.
    #[must_use]
    pub(super) fn into_facts(mut self) -> ClusterFacts {
        let facts = std::mem::take(&mut self.facts);
        close(self);
        facts
    }

    /// Reads the settings of `topics` that exist, the broker's limit, and whether the group may be used.
    pub(super) fn describe(&mut self, topics: &[String]) {
        let existing: Vec<&str> = topics
            .iter()
            .filter(|topic| self.facts.topics.contains_key(*topic))
            .map(String::as_str)
            .collect();
        let resources: Vec<ResourceSpecifier<'_>> =
            existing.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        match self.describe_configs("reading the settings of topics", &resources, refusal) {
            Ok(settings) => {
                self.facts.settings = existing.iter().map(|name| (*name).to_owned()).zip(settings).collect()
            }
            Err(refusal) => self.facts.refusals.push(refusal),
        }
        // Not every service lets clients read this, and nothing rests on it.
        if let Some(broker) = self.broker
            && let Ok(settings) = self.describe_configs(
                "reading a broker's settings",
                &[ResourceSpecifier::Broker(broker)],
                refusal,
            )
        {
            let limit = settings.first().and_then(|settings| settings.get("socket.request.max.bytes"));
            self.facts.request_max_bytes = limit.and_then(|text| text.parse().ok());
        }
        if let Some(topic) = existing.first() {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition(topic, 0);
            if let Err(error) = self.consumer.committed_offsets(wanted, REQUEST) {
                self.facts.refusals.push(refusal("reading the consumer group", &error));
            }
        }
    }

    fn describe_configs(
        &self,
        action: &'static str,
        resources: &[ResourceSpecifier<'_>],
        explain: fn(&'static str, &KafkaError) -> Refusal,
    ) -> Result<Vec<TopicSettings>, Refusal> {
        if resources.is_empty() {
            return Ok(Vec::new());
        }
        let options = AdminOptions::new().request_timeout(Some(REQUEST));
        let answer = self.runtime.block_on(self.admin.describe_configs(resources, &options));
        let resources = answer.map_err(|error| explain(action, &error))?;
        let settings = resources.into_iter().map(|resource| {
            let resource = resource.map_err(|code| explain(action, &KafkaError::AdminOp(code)))?;
            Ok(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
        });
        settings.collect()
    }

    /// Notes those of `topics` that hold records, though the task has no checkpoint. `begun` says whether it has one by
    /// now, and is asked behind the records: another capture may have begun the task in the meantime, and it writes the
    /// checkpoint before the first of them.
    pub(super) fn find_orphans(&mut self, topics: &[String], begun: impl FnOnce() -> Result<bool, Refusal>) {
        let partitions = topics.iter().filter_map(|topic| Some((topic, *self.facts.topics.get(topic)?)));
        let places: Vec<TopicPartition> = partitions
            .flat_map(|(topic, count)| {
                (0..i32::try_from(count).unwrap_or(i32::MAX)).map(|at| (topic.clone(), at))
            })
            .collect();
        let ask = |wanted| offsets(&self.consumer, &places, wanted, REQUEST);
        let (begins, ends) = match ask(Offset::Beginning).and_then(|begins| Ok((begins, ask(Offset::End)?))) {
            Ok(answers) => answers,
            Err(error) => {
                self.facts.refusals.push(refusal("reading the offsets of topics", &error));
                return;
            }
        };
        let holding: BTreeSet<String> = ends
            .into_iter()
            .filter(|(place, end)| {
                let begin = begins.get(place).and_then(|begin| begin.as_ref().ok());
                end.as_ref().is_ok_and(|end| begin.is_some_and(|begin| begin < end))
            })
            .map(|((topic, _), _)| topic)
            .collect();
        if holding.is_empty() {
            return;
        }
        match begun() {
            Ok(true) => {}
            Ok(false) => self.facts.orphans.extend(holding),
            Err(refusal) => self.facts.refusals.push(refusal),
        }
    }

    /// Creates a topic as the task would, tries transactions on it, and deletes it.
    #[must_use]
    pub(super) fn probe(&self, config: &Config, topic: &str) -> ProbeFacts {
        let settings = self.create(config, topic);
        let transactions = settings.is_ok().then(|| patiently(REQUEST, || self.try_transactions(topic)));
        let read = || {
            let action = "reading the settings of the probe topic";
            let read =
                self.describe_configs(action, &[ResourceSpecifier::Topic(topic)], refusal_of_new_topic)?;
            Ok(read.into_iter().next().unwrap_or_default())
        };
        let settings = settings.and_then(|()| patiently(SETTLE, read));
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        let deleted = match self.runtime.block_on(self.admin.delete_topics(&[topic], &options)) {
            Err(error) => Err(refusal("deleting the probe topic", &error)),
            Ok(results) => results.into_iter().try_for_each(|result| match result {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => Ok(()),
                Err((_, code)) => Err(refused("deleting the probe topic", code)),
            }),
        };
        ProbeFacts { settings, transactions, deleted }
    }

    fn create(&self, config: &Config, topic: &str) -> Result<(), Refusal> {
        const ACTION: &str = "creating a topic with cleanup.policy=compact";
        let replication = TopicReplication::Fixed(i32::from(config.topics.replication_factor));
        let size = config.topics.max_message_bytes.to_string();
        let new = NewTopic::new(topic, 1, replication)
            .set("cleanup.policy", "compact")
            .set("max.message.bytes", &size);
        let options = AdminOptions::new().operation_timeout(Some(REQUEST));
        patiently(FEW_BROKERS, || {
            let results = self.runtime.block_on(self.admin.create_topics([&new], &options));
            let results = results.map_err(|error| refusal(ACTION, &error))?;
            results.into_iter().try_for_each(|result| match result {
                // By an attempt before whose answer was lost.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
                Err((_, code)) => Err(refusal_of_new_topic(ACTION, &KafkaError::AdminOp(code))),
            })
        })?;
        // A new topic's partition has no leader for a moment.
        let deadline = Instant::now() + REQUEST;
        loop {
            // The client remembers for a while that it did not know a topic, unless it is made to ask for it.
            let known = self.consumer.fetch_metadata(Some(topic), REQUEST);
            match known.and_then(|_| self.consumer.fetch_watermarks(topic, 0, REQUEST)) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(refusal(ACTION, &error)),
                Err(_) => {
                    let _ = self.consumer.poll(SLICE);
                }
            }
        }
    }

    /// Writes a record in a transaction that is aborted, and one in a transaction that is committed.
    fn try_transactions(&self, topic: &str) -> Result<Visibility, Refusal> {
        const ACTION: &str = "a transaction on the probe topic";
        let producer: BaseProducer<Quiet> = self
            .client
            .clone()
            // Not the task's own: that would fence an instance that is running.
            .set("transactional.id", topic)
            .set("transaction.timeout.ms", "30000")
            .create_with_context(Quiet)
            .map_err(|error| refusal(ACTION, &error))?;
        let explain = |error: KafkaError| refusal_of_new_topic(ACTION, &error);
        await_leader(producer.client(), topic, REQUEST).map_err(explain)?;
        producer.init_transactions(REQUEST).map_err(explain)?;
        for record in [ABORTED, COMMITTED] {
            producer.begin_transaction().map_err(explain)?;
            let message = BaseRecord::to(topic).partition(0).key(record).payload(record);
            producer.send(message).map_err(|(error, _)| explain(error))?;
            // On the broker before its fate is decided: a record that was never sent would prove nothing.
            // The Rust client's flush looks only every 100 ms.
            let deadline = Instant::now() + REQUEST;
            while producer.in_flight_count() > 0 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
                producer.poll(Duration::ZERO);
            }
            producer.flush(REQUEST).map_err(explain)?;
            if record == ABORTED {
                producer.abort_transaction(REQUEST).map_err(explain)?;
            } else {
                producer.commit_transaction(REQUEST).map_err(explain)?;
            }
        }
        let uncommitted = self.read(topic, "read_uncommitted").map_err(explain)?;
        let committed = self.read(topic, "read_committed").map_err(explain)?;
        Ok(Visibility { uncommitted, committed })
    }

    /// The keys of everything in the probe topic, as a consumer with this isolation level sees them.
    fn read(&self, topic: &str, isolation: &str) -> Result<Vec<String>, KafkaError> {
        let consumer: BaseConsumer<TracingContext> = self
            .client
            .clone()
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation)
            // The library's half a second is for consumers that stay.
            .set("fetch.wait.max.ms", "10")
            .create_with_context(TracingContext)?;
        let seen = Self::read_with(&consumer, topic);
        close(consumer);
        seen
    }

    fn read_with(consumer: &BaseConsumer<TracingContext>, topic: &str) -> Result<Vec<String>, KafkaError> {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, 0, Offset::Offset(0))?;
        consumer.assign(&assignment)?;
        let deadline = Instant::now() + REQUEST;
        let (mut seen, mut ended): (Vec<String>, bool) = (Vec::new(), false);
        while Instant::now() < deadline {
            match consumer.poll(SLICE) {
                None => {}
                Some(Ok(message)) => {
                    seen.extend(message.key().map(|key| String::from_utf8_lossy(key).into_owned()));
                }
                // The marker of the commit may be written after its acknowledgement: an end before it is no end.
                Some(Err(KafkaError::PartitionEOF(_))) if seen.iter().any(|key| key == COMMITTED) => {
                    return Ok(seen);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended = true,
                Some(Err(error)) if error.is_transient() => {}
                Some(Err(error)) => return Err(error),
            }
        }
        // Who has not even been shown the end knows nothing of what lies before it.
        if ended {
            Ok(seen)
        } else {
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
        }
    }
}
