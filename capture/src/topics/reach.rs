//! The first contact with Kafka: a configuration enters, a client and the cluster's metadata leave, or the reason why
//! no broker answers. The library itself only says that nobody did; the reason is in its events.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tributary_config::KafkaConfig;
use tributary_service::kafka::{client_config, log};
use tributary_service::waits::Waits;

/// How long the cluster has to answer the first time, TLS and SASL included.
const LIMIT: Duration = Duration::from_secs(15);
/// How long the other brokers have once one of them could not be reached. The library has an event for "all brokers
/// are down", but 2.12 does not send it when the only one refuses the first connection.
const OTHERS: Duration = Duration::from_secs(3);
/// How long one slice of waiting for the metadata lasts.
const ATTEMPT: Duration = Duration::from_millis(500);
/// How long to look for further events behind the last one.
const EVENTS: Duration = Duration::from_millis(10);

/// Keeps the first reason why a broker cannot be reached.
#[derive(Default)]
pub(crate) struct Listener {
    /// What the library said, and whether waiting cannot cure it.
    first: Mutex<Option<(String, bool)>>,
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        let definite = matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL));
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| (reason.to_owned(), definite));
    }
}

impl ConsumerContext for Listener {}

/// Nobody answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Unreachable {
    /// What the library said.
    pub reason: String,
    /// It may pass by itself.
    pub transient: bool,
}

/// Asks for the metadata of every topic. Blocks. `group` is a name for the brokers' access control; no group is joined.
pub(crate) fn reach(
    kafka: &KafkaConfig,
    group: &str,
) -> Result<(BaseConsumer<Listener>, Metadata), Unreachable> {
    let consumer: BaseConsumer<Listener> = client_config(kafka)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("allow.auto.create.topics", "false")
        .create_with_context(Listener::default())
        .map_err(|error| Unreachable { reason: error.to_string(), transient: false })?;
    let _wait = Waits::of_process().answer("Kafka: the first answer", LIMIT);
    let mut deadline = Instant::now() + LIMIT;
    loop {
        let error = match consumer.fetch_metadata(None, ATTEMPT) {
            Ok(metadata) => return Ok((consumer, metadata)),
            Err(error) => error,
        };
        // Nothing is assigned: whatever comes is an event that the listener has taken note of.
        while consumer.poll(EVENTS).is_some() {}
        let first = consumer.context().first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let definite = first.as_ref().is_some_and(|(_, definite)| *definite);
        if definite || Instant::now() > deadline {
            let reason = first.map_or_else(|| error.to_string(), |(reason, _)| reason);
            return Err(Unreachable { reason, transient: !definite });
        }
        if first.is_some() {
            deadline = deadline.min(Instant::now() + OTHERS);
        }
    }
}
