//! Clients of Kafka as both services need them. A configuration enters; clients leave whose settings keep the
//! promises of exactly-once: nothing that a user writes under `[kafka.client]` can undo them.

mod closing;
mod context;
mod groups;
mod places;
mod properties;
mod read;
mod renewal;

pub use closing::{close, finish_closing, leave};
pub use context::{TracingContext, log};
pub use groups::{ListedGroup, asking_config, committed, groups, is_refusal};
pub use places::{TopicPartition, group_members, offsets, partitions};
pub use properties::check_client;
pub use read::{ReadError, Record, TopicContents, read_to_end};
pub use renewal::{Absence, Failing, RenewedConsumer, retire, unique_client_id};

use crate::transient::Transient;
use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::Duration;
use tributary_config::{KafkaConfig, TopicsConfig};

/// Records that a producer holds until they are acknowledged, at most: the library takes some 450 bytes for each besides
/// its own, and what comes faster than this many in the time of linger and acknowledgement together waits. Measured on
/// one machine: twice as many load tables no faster, half as many 7 % slower; but the fewer, the less CPU a backlog takes,
/// for a record that waited long has left the processor's cache.
const BUFFER_RECORDS: u32 = 25_000;
/// The same in bytes of keys and values; a single record may be larger.
const BUFFER_BYTES: u32 = 32 * 1024 * 1024;
/// A request that is not answered for this long, ms, is made again over a new connection: a line may have gone silent, and
/// whoever waits must be back within half a minute of its broker. The library's own are 60 s, and 30 s for what is produced.
const ANSWER_MS: u32 = 20_000;

/// Settings of every client: the brokers, and the user's properties.
#[must_use]
pub fn client_config(kafka: &KafkaConfig) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("client.id", "tributary")
        .set("socket.keepalive.enable", "true")
        .set("socket.timeout.ms", ANSWER_MS.to_string())
        // A client first waits for half of this before it connects to the next broker it needs: with the 100 ms that are
        // usual, a start took a quarter of a second longer. Where a broker stays away the wait doubles every time.
        .set("reconnect.backoff.ms", "20")
        // An idle connection that a broker closes is no news.
        .set("log.connection.close", "false");
    for (name, value) in &kafka.client {
        config.set(name, value.reveal());
    }
    config.set("bootstrap.servers", &kafka.brokers);
    config
}

/// Settings of the producer that writes rows, position and progress in one transaction. What waits to be sent is bounded
/// by [`BUFFER_RECORDS`] and [`BUFFER_BYTES`].
#[must_use]
pub fn transactional_producer_config(
    kafka: &KafkaConfig,
    topics: &TopicsConfig,
    transactional_id: &str,
    transaction_timeout_ms: u32,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    // A commit waits for what lingers. A user's property wins over each of these six; brokers that take long to
    // acknowledge want more records in the queue.
    config
        .set("compression.type", "lz4")
        .set("linger.ms", "10")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.messages", BUFFER_RECORDS.to_string())
        .set("request.timeout.ms", ANSWER_MS.to_string());
    for (name, value) in client_config(kafka).config_map() {
        config.set(name, value);
    }
    if !kafka.client.contains_key("socket.timeout.ms") {
        // The library wants it to be shorter than a transaction may last.
        let answer_ms = ANSWER_MS.min(transaction_timeout_ms.saturating_sub(100));
        config.set("socket.timeout.ms", answer_ms.to_string());
    }
    config
        .set("enable.idempotence", "true")
        // A topic that somebody deleted must not come back with the broker's settings because it is written to.
        .set("allow.auto.create.topics", "false")
        // One that is gone is told of sooner than after the half minute that is usual.
        .set("topic.metadata.propagation.max.ms", "10000")
        .set("acks", "all")
        .set("transactional.id", transactional_id)
        .set("transaction.timeout.ms", transaction_timeout_ms.to_string())
        .set("message.max.bytes", topics.max_message_bytes.to_string())
        // A report for every record that arrived costs as much as sending it; the commit tells the same.
        .set("delivery.report.only.error", "true")
        // The largest record must fit by itself, or it would wait for room for ever.
        .set(
            "queue.buffering.max.kbytes",
            BUFFER_BYTES.max(topics.max_message_bytes).div_ceil(1024).to_string(),
        )
        // Capture computes partitions itself; this is for whatever leaves them open.
        .set("partitioner", "murmur2_random");
    config
}

/// Settings of a consumer: committed records only, offsets that only the destination decides, partition EOF
/// reported, and an error where an offset is not there any more.
#[must_use]
pub fn consumer_config(kafka: &KafkaConfig, group: &str) -> ClientConfig {
    let mut config = client_config(kafka);
    config
        .set("group.id", group)
        .set("session.timeout.ms", kafka.session_timeout_ms.to_string())
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        // The size of a record is bounded by its topic; this must not be what stops a large one.
        .set("receive.message.max.bytes", "2000000000");
    config
}

/// Waits until `client` is connected to the leader of a topic's first partition. A transactional producer that knows no
/// connected broker when it is initialised looks for one again only after half a second, and the one it bootstraps from,
/// which metadata would do with, does not count.
///
/// # Errors
/// No answer within `limit`.
pub fn await_leader<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    limit: Duration,
) -> Result<(), KafkaError> {
    client.fetch_watermarks(topic, 0, limit).map(drop)
}

/// A client that creates and describes topics.
///
/// # Errors
/// A property that librdkafka does not take.
pub fn admin_client(kafka: &KafkaConfig) -> Result<AdminClient<TracingContext>, KafkaError> {
    client_config(kafka).create_with_context(TracingContext)
}

/// What an error is about, also where it is one of an administrative request, of which the client's own function tells
/// nothing.
#[must_use]
pub fn error_code(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    }
}

impl Transient for KafkaError {
    fn is_transient(&self) -> bool {
        match self {
            // A transaction's error knows whether its operation may be repeated.
            Self::Transaction(error) => error.is_retriable() || is_away(error.code()),
            Self::NoMessageReceived => true,
            error => error_code(error).is_some_and(is_away),
        }
    }
}

/// True for what a cluster answers while it, or the way to it, is down or is changing hands.
const fn is_away(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::Resolve
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::WaitingForCoordinator
            | Code::WaitCache
            | Code::Retry
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            // The broker that was asked has left the metadata meanwhile.
            | Code::DestroyBroker
            | Code::NotController
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::RebalanceInProgress
            // The client's own word: it does not know the partition yet, of a broker that has just come back, for one.
            | Code::UnknownPartition
            | Code::ConcurrentTransactions
            | Code::ThrottlingQuotaExceeded
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tributary_config::Secret;

    fn kafka(client: &[(&str, &str)]) -> KafkaConfig {
        let client = client.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
        KafkaConfig {
            brokers: "127.0.0.1:1".into(),
            retry_minutes: 0,
            session_timeout_ms: 10_000,
            client: client.collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn the_promises_win_over_the_user_and_the_user_over_what_is_only_tuned() {
        let kafka = kafka(&[
            ("compression.type", "zstd"),
            ("queue.buffering.max.messages", "70000"),
            ("acks", "1"),
            ("isolation.level", "read_uncommitted"),
        ]);
        let topics = TopicsConfig { max_message_bytes: 70_000, ..TopicsConfig::default() };
        let producer = transactional_producer_config(&kafka, &topics, "shop", 60_000);
        let get = |name: &str| producer.get(name).unwrap();
        assert_eq!((get("compression.type"), get("acks"), get("linger.ms")), ("zstd", "all", "10"));
        assert_eq!(get("queue.buffering.max.messages"), "70000");
        assert_eq!((get("message.max.bytes"), get("queue.buffering.max.kbytes")), ("70000", "32768"));
        assert_eq!(consumer_config(&kafka, "g").get("isolation.level"), Some("read_committed"));
    }

    #[test]
    fn the_largest_record_fits_the_producers_queue() {
        let topics = TopicsConfig { max_message_bytes: 64 * 1024 * 1024 + 1, ..TopicsConfig::default() };
        let producer = transactional_producer_config(&kafka(&[]), &topics, "shop", 60_000);
        assert_eq!(producer.get("queue.buffering.max.kbytes"), Some("65537"));
    }

    #[test]
    fn librdkafka_takes_every_setting() {
        let kafka = kafka(&[]);
        let topics = TopicsConfig::default();
        transactional_producer_config(&kafka, &topics, "shop", 60_000).create_native_config().unwrap();
        consumer_config(&kafka, "shop").create_native_config().unwrap();
        admin_client(&kafka).unwrap();
    }

    #[test]
    fn a_cluster_that_is_away_is_transient_and_a_refusal_is_not() {
        for code in [
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::OperationTimedOut,
            RDKafkaErrorCode::UnknownPartition,
        ] {
            assert!(KafkaError::MetadataFetch(code).is_transient());
            assert!(KafkaError::AdminOp(code).is_transient());
        }
        for code in [RDKafkaErrorCode::TopicAuthorizationFailed, RDKafkaErrorCode::OffsetOutOfRange] {
            assert!(!KafkaError::MessageConsumption(code).is_transient());
            assert!(!KafkaError::AdminOp(code).is_transient());
        }
        assert!(!KafkaError::ClientCreation("x".into()).is_transient());
    }
}
