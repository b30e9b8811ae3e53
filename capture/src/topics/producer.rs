//! The transactional, idempotent producer: the only way anything leaves capture.
//!
//! What enters are encoded records, what leaves are committed Kafka transactions. Invariant: a record is visible to a
//! read-committed consumer if and only if the checkpoint that covers it is. Any error that costs a transaction is an
//! [`PublishError`] that ends the session; nothing is ever sent again from memory.

use super::mirror::Mirror;
use super::outbox::{Outbox, Record};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tributary_schemas::sequence::{RAW_HEADER_PREFIX, SEQUENCE_HEADER};
use tributary_service::kafka::await_leader;
use tributary_service::sabotage;
use tributary_service::waits::{Wait, Waits};

/// How long the producer waits at a time for room in its own queue, and a commit for the last acknowledgements. It
/// sleeps: the Rust client's poll spins through the last millisecond of any time it is given, and its own flush looks
/// again only every 100 ms.
const WAIT: Duration = Duration::from_micros(500);
/// Under load the queue is full again and again, but never for this long.
const FULL: Duration = Duration::from_secs(1);

/// How long the report of a record that was not delivered may come behind what it costs.
const REPORT: Duration = Duration::from_secs(1);
/// How long an abort may take; the next session's `init_transactions` does the same.
const ABORT: Duration = Duration::from_secs(3);
/// How long one request for a commit may take before it is made again.
const COMMIT: Duration = Duration::from_secs(10);

/// Why publishing had to stop.
#[derive(Debug, Error)]
pub(crate) enum PublishError {
    /// Another producer with this transactional id was initialised, or the broker gave up on this one's transaction.
    #[error("Kafka fenced this producer: {0}")]
    Fenced(String),
    /// The transaction is lost; everything since the checkpoint must be read and sent again.
    #[error("a Kafka transaction was lost: {0}")]
    Lost(String),
    /// So it is, and would be again.
    #[error(transparent)]
    Refused(#[from] RefusedRecord),
}

/// A topic does not take a record as it is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("topic {topic} refuses records: {reason}")]
pub(crate) struct RefusedRecord {
    pub topic: String,
    /// What the broker says.
    pub reason: String,
}

/// True if the broker refuses a record for its size, as its topic is set: another attempt is refused, too.
const fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
}

/// A record that was not delivered.
#[derive(Debug, Clone)]
struct Undelivered {
    topic: String,
    partition: i32,
    error: KafkaError,
}

impl Undelivered {
    fn is_refused(&self) -> bool {
        self.error.rdkafka_error_code().is_some_and(is_refusal)
    }
}

/// Delivery reports end here: the first failure is kept, or the first refusal. Of what is delivered the client says nothing
/// (`delivery.report.only.error`), for the transaction's commit does.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    failure: Mutex<Option<Undelivered>>,
}

impl Deliveries {
    fn first_failure(&self) -> Option<Undelivered> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The producer's callbacks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context(Arc<Deliveries>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        use rdkafka::Message;
        if let Err((error, message)) = report {
            let mut first = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner);
            // What a refusal costs of the transaction may be reported before it.
            if first.as_ref().is_none_or(|first| !first.is_refused()) {
                let (topic, partition) = (message.topic().to_owned(), message.partition());
                let later = Undelivered { topic, partition, error: error.clone() };
                if later.is_refused() || first.is_none() {
                    *first = Some(later);
                }
            }
        }
    }
}

/// A transactional producer with at most one transaction open.
pub(crate) struct Publisher {
    producer: BaseProducer<Context>,
    deliveries: Arc<Deliveries>,
    /// How long Kafka may say nothing.
    timeout: Duration,
    waits: Waits,
    is_open: bool,
    /// What the task's own topics hold by what was read and committed; `None` before they were read.
    mirror: Option<Mirror>,
}

impl Publisher {
    /// Connects, and ends what a dead predecessor with the same transactional id left open. `topic` is one that exists.
    ///
    /// # Errors
    /// [`PublishError`] if the broker cannot be reached within `timeout`, or refuses.
    pub(crate) fn initialise(
        config: &ClientConfig,
        topic: &str,
        timeout: Duration,
    ) -> Result<Self, PublishError> {
        let context = Context::default();
        let deliveries = Arc::clone(&context.0);
        let producer: BaseProducer<Context> =
            config.create_with_context(context).map_err(|error| PublishError::Lost(error.to_string()))?;
        await_leader(producer.client(), topic, timeout).map_err(|error| classify(&error))?;
        producer.init_transactions(timeout).map_err(|error| classify(&error))?;
        Ok(Self { producer, deliveries, timeout, waits: Waits::of_process(), is_open: false, mirror: None })
    }

    /// The same, whose waits are shown in `waits`.
    #[must_use]
    pub(crate) fn shown_in(self, waits: &Waits) -> Self {
        Self { waits: waits.clone(), ..self }
    }

    /// From now on `mirror`, which is what the task's own topics hold, is kept up to date.
    pub(crate) fn reflect(&mut self, mirror: Mirror) {
        self.mirror = Some(mirror);
    }

    /// What the task's own topics hold by now.
    #[must_use]
    pub(crate) fn into_mirror(self) -> Option<Mirror> {
        self.mirror
    }

    /// Sends every record, opening a transaction if none is open. Blocks while the producer's queue is full: that is the
    /// back-pressure on everything before it.
    pub(crate) fn send_all(&mut self, outbox: &mut Outbox) -> Result<(), PublishError> {
        for record in outbox.records() {
            self.send(&record)?;
        }
        outbox.sent();
        self.serve()
    }

    fn send(&mut self, record: &Record<'_>) -> Result<(), PublishError> {
        if record.sequence.is_empty() {
            return self.send_json(record.topic, record.key, record.value);
        }
        let mut headers = OwnedHeaders::new_with_capacity(1 + record.raw().len())
            .insert(Header { key: SEQUENCE_HEADER, value: Some(record.sequence) });
        for (column, text) in record.raw() {
            let name = format!("{RAW_HEADER_PREFIX}{column}");
            headers = headers.insert(Header { key: &name, value: Some(text.as_bytes()) });
        }
        let mut message =
            BaseRecord::to(record.topic).partition(record.partition).key(record.key).headers(headers);
        if let Some(value) = record.value {
            message = message.payload(value);
        }
        self.enqueue(message)
    }

    /// Sends one JSON record to the state or history topic; without a value, a tombstone.
    pub(crate) fn send_json(
        &mut self,
        topic: &str,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), PublishError> {
        if let Some(mirror) = &mut self.mirror {
            mirror.sent(topic, key, value);
        }
        let mut record = BaseRecord::to(topic).partition(0).key(key);
        record.payload = value;
        self.enqueue(record)
    }

    fn enqueue(&mut self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), PublishError> {
        if !self.is_open {
            self.producer.begin_transaction().map_err(|error| classify(&error))?;
            self.is_open = true;
        }
        let (mut silence, mut shown) = (None, None);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.wait(&mut silence)?;
                    self.show_full(silence, &mut shown);
                }
                // The transaction is lost already: the report that says why comes behind it.
                Err((error @ KafkaError::MessageProduction(RDKafkaErrorCode::State), _)) => {
                    return Err(self.why_lost().unwrap_or_else(|| classify(&error)));
                }
                Err((KafkaError::MessageProduction(code), back)) if is_refusal(code) => {
                    let (topic, reason) = (back.topic.to_owned(), code.to_string());
                    return Err(RefusedRecord { topic, reason }.into());
                }
                Err((error, _)) => return Err(classify(&error)),
            }
        }
    }

    /// The failure that has cost the transaction, once it is reported.
    fn why_lost(&self) -> Option<PublishError> {
        let began = Instant::now();
        while began.elapsed() < REPORT {
            self.producer.poll(WAIT);
            if let Err(error) = self.check_deliveries() {
                return Some(error);
            }
        }
        None
    }

    /// Shows the wait for room in the queue, once it is longer than what is usual under load.
    fn show_full(&self, silence: Option<(i32, Instant)>, shown: &mut Option<Wait>) {
        let lasts = silence.is_some_and(|(_, since)| since.elapsed() >= FULL);
        if shown.is_none() && lasts {
            *shown = Some(self.waits.answer("Kafka: acknowledging records", self.timeout));
        }
    }

    /// Serves delivery reports without waiting.
    ///
    /// # Errors
    /// [`PublishError`] if one of them is a failure.
    pub(crate) fn serve(&self) -> Result<(), PublishError> {
        self.producer.poll(Duration::ZERO);
        self.check_deliveries()
    }

    /// Waits a little for acknowledgements. `silence` is how many were missing, and since when it is as many.
    fn wait(&self, silence: &mut Option<(i32, Instant)>) -> Result<(), PublishError> {
        std::thread::sleep(WAIT);
        self.serve()?;
        let (missing, now) = (self.producer.in_flight_count(), Instant::now());
        match silence {
            Some((before, since)) if *before == missing => {
                if now.saturating_duration_since(*since) > self.timeout {
                    let seconds = self.timeout.as_secs();
                    let why = format!("Kafka has acknowledged none of {missing} records for {seconds} s");
                    return Err(PublishError::Lost(why));
                }
            }
            _ => *silence = Some((missing, now)),
        }
        Ok(())
    }

    fn check_deliveries(&self) -> Result<(), PublishError> {
        match self.deliveries.first_failure() {
            Some(failure) => match self.producer.client().fatal_error() {
                Some((_, reason)) => Err(PublishError::Fenced(reason)),
                None if failure.is_refused() => {
                    Err(RefusedRecord { topic: failure.topic, reason: failure.error.to_string() }.into())
                }
                None => {
                    let Undelivered { topic, partition, error } = failure;
                    Err(PublishError::Lost(format!("{topic}-{partition}: {error}")))
                }
            },
            None => Ok(()),
        }
    }

    /// Commits the open transaction, if there is one; every record in it then has its offset.
    ///
    /// # Errors
    /// [`PublishError`]; the transaction is then lost, or its outcome is decided by the next `init_transactions`.
    pub(crate) fn commit(&mut self) -> Result<(), PublishError> {
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        sabotage::pass("kafka-commit");
        let mut silence = None;
        while self.producer.in_flight_count() > 0 {
            self.wait(&mut silence)?;
        }
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.producer.commit_transaction(COMMIT) {
                Ok(()) => {
                    self.mirror.iter_mut().for_each(Mirror::committed);
                    sabotage::pass("kafka-committed");
                    return Ok(());
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(error) => {
                    let aborts = |error: &RDKafkaError| error.txn_requires_abort();
                    if !matches!(&error, KafkaError::Transaction(error) if aborts(error)) {
                        self.mirror.iter_mut().for_each(Mirror::doubt);
                    }
                    return Err(classify(&error));
                }
            }
        }
    }

    /// Aborts the open transaction, if there is one. Best effort: `init_transactions` of the next session does the
    /// same.
    pub(crate) fn abort(&mut self) {
        self.mirror.iter_mut().for_each(Mirror::aborted);
        if std::mem::take(&mut self.is_open)
            && let Err(error) = self.producer.abort_transaction(ABORT)
        {
            tracing::debug!(%error, "aborting the open Kafka transaction failed");
        }
    }
}

/// Fenced, or lost: what decides whether this process may go on at all.
fn classify(error: &KafkaError) -> PublishError {
    let code = match error {
        KafkaError::Transaction(inner) => Some(inner.code()),
        other => other.rdkafka_error_code(),
    };
    let fenced = matches!(
        code,
        Some(
            RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch
        )
    );
    let text = match error {
        KafkaError::Transaction(inner) => inner.string(),
        other => other.to_string(),
    };
    if fenced { PublishError::Fenced(text) } else { PublishError::Lost(text) }
}
