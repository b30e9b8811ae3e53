//! Where partitions begin and end, and whether anything is left to read before an end. Own consumers without a group.
//!
//! A partition's position is to be the larger of its last record + 1 and the offset of an end-of-partition event.
//! The client's binding drops topic and offset of that event, so the same knowledge is
//! gathered in two steps: the consumer's own position counts transaction markers; and where an end still lies ahead
//! though nothing comes, [`Ends::probe`] reads from the position to that end and finds the next record or none.
//! A client that Kafka does not answer for long is replaced.

use super::error::TopicError;
use super::reader::REQUEST_TIMEOUT;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tributary_service::kafka::{self, RenewedConsumer, TopicPartition, TracingContext};

/// Asks brokers about offsets. Every call blocks.
pub struct Ends {
    pub(super) committed: RenewedConsumer,
    uncommitted: RenewedConsumer,
    prober: RenewedConsumer,
}

impl Ends {
    /// Prepares three clients; `client` is what `service::kafka::consumer_config` gives.
    pub fn new(client: &ClientConfig) -> Result<Self, TopicError> {
        let consumer = |isolation: &str| {
            let mut config = client.clone();
            config.set("isolation.level", isolation).set("fetch.wait.max.ms", "10");
            RenewedConsumer::new(config).map_err(TopicError::during("preparing a Kafka client"))
        };
        Ok(Self {
            committed: consumer("read_committed")?,
            uncommitted: consumer("read_uncommitted")?,
            prober: consumer("read_committed")?,
        })
    }

    /// How many partitions a topic has; `None` if it does not exist.
    pub fn partitions(&self, topic: &str) -> Result<Option<u32>, TopicError> {
        self.committed
            .ask(|consumer| kafka::partitions(consumer, topic, REQUEST_TIMEOUT))
            .map_err(TopicError::during(format!("asking about topic {topic}")))
    }

    /// The last stable offset of each: nothing committed lies at or behind it yet.
    pub fn last_stable(
        &self,
        places: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, TopicError> {
        offsets(&self.committed, places, Offset::End, true)
    }

    /// As [`Self::last_stable`], without those that could not be had: a partition without a leader for a moment must
    /// not hold up the others.
    ///
    /// # Errors
    /// [`TopicError`] if none could be had.
    pub fn some_last_stable(
        &self,
        places: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, TopicError> {
        offsets(&self.committed, places, Offset::End, false)
    }

    /// The high watermark of each, records of open transactions included.
    pub fn high(&self, places: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>, TopicError> {
        offsets(&self.uncommitted, places, Offset::End, true)
    }

    /// The offset that each begins at.
    pub fn low(&self, places: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, i64>, TopicError> {
        offsets(&self.committed, places, Offset::Beginning, true)
    }

    /// The first offset for each whose record is not older than `time_ms` (milliseconds since 1970); its end if
    /// there is none.
    pub fn at_time(
        &self,
        places: &[TopicPartition],
        time_ms: i64,
    ) -> Result<BTreeMap<TopicPartition, i64>, TopicError> {
        let found = offsets(&self.committed, places, Offset::Offset(time_ms), true)?;
        let ends = self.last_stable(places)?;
        Ok(ends
            .into_iter()
            .map(|(place, end)| {
                let offset = found.get(&place).copied().unwrap_or(end);
                (place, offset)
            })
            .collect())
    }

    /// The offset of the first record at or behind `position`, or `end` if there is none before `end`, which must be
    /// a last stable offset that was asked for earlier. `None` if that could not be found out in time.
    pub fn probe(&self, place: &TopicPartition, position: i64, end: i64) -> Result<Option<i64>, TopicError> {
        let probed = self.prober.ask(|consumer| probe(consumer, place, position, end));
        match probed {
            Ok(next) => Ok(Some(next)),
            Err(KafkaError::NoMessageReceived) => Ok(None),
            Err(error) => {
                Err(TopicError::during(format!("probing {} partition {}", place.0, place.1))(error))
            }
        }
    }
}

/// The next offset as [`Ends::probe`] gives it; [`KafkaError::NoMessageReceived`] if nothing came in time.
fn probe(
    consumer: &BaseConsumer<TracingContext>,
    place: &TopicPartition,
    position: i64,
    end: i64,
) -> Result<i64, KafkaError> {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(&place.0, place.1, Offset::Offset(position))?;
    consumer.assign(&assignment)?;
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let mut found = Err(KafkaError::NoMessageReceived);
    while found.is_err() && Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => found = Ok(message.offset().min(end)),
            Some(Err(KafkaError::PartitionEOF(_))) => found = Ok(end),
            Some(Err(error)) if !super::error::is_transient(&error) => return Err(error),
            Some(Err(_)) | None => {}
        }
    }
    consumer.unassign()?;
    found
}

/// What [`kafka::offsets`] finds. `all`: one that cannot be had is an error; else only if no other can.
fn offsets(
    consumer: &RenewedConsumer,
    places: &[TopicPartition],
    wanted: Offset,
    all: bool,
) -> Result<BTreeMap<TopicPartition, i64>, TopicError> {
    consumer.ask(|consumer| ask_offsets(consumer, places, wanted, all))
}

fn ask_offsets(
    consumer: &BaseConsumer<TracingContext>,
    places: &[TopicPartition],
    wanted: Offset,
    all: bool,
) -> Result<BTreeMap<TopicPartition, i64>, TopicError> {
    let answer = kafka::offsets(consumer, places, wanted, REQUEST_TIMEOUT)
        .map_err(TopicError::during("asking for offsets"))?;
    let mut found = BTreeMap::new();
    let mut failed = None;
    for (place, offset) in answer {
        match offset {
            Ok(offset) => drop(found.insert(place, offset)),
            Err(error) => {
                let doing = format!("asking for offsets of {} partition {}", place.0, place.1);
                failed = Some(TopicError::during(doing)(error));
            }
        }
    }
    match failed {
        Some(error) if all || found.is_empty() => Err(error),
        _ => Ok(found),
    }
}
