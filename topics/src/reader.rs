//! Reads the history topic: to its end before anything starts, then as it grows, and on request again to whatever its
//! end is by then. Owns a consumer without a group.
//!
//! Invariant: a topic that was created anew is read from its beginning, and what was known holds until all of it is read:
//! capture writes it again in one Kafka transaction.
//!
//! A client that has lost its brokers says as little as one that stands at the end. So the end is asked for now and then,
//! and a client that Kafka does not answer for long is replaced; the next one reads on from where this reader stands.

use super::error::TopicError;
use super::history::{Change, History};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_config::{Config, TaskName};
use tributary_schemas::record::RawRecord;
use tributary_schemas::topic::history_topic;
use tributary_service::kafka::{Failing, TracingContext, consumer_config, partitions, retire};
use tributary_service::waits::Waits;

/// How long one request to the broker may take.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long reading to the end may go without a record before it counts as an outage.
const SILENCE: Duration = Duration::from_secs(30);
/// How long one poll waits. The end shows in the client's position once a poll finds nothing, long before the broker
/// says so.
const POLL: Duration = Duration::from_millis(5);

/// How often the end is asked for while no record comes.
const LOOKS: Duration = Duration::from_secs(10);

/// A follower of the history topic.
pub struct HistoryReader {
    client: ClientConfig,
    consumer: Arc<BaseConsumer<TracingContext>>,
    failing: Failing,
    /// When a record came, or Kafka last said where the end is, and where this reader stood then if that was before it.
    heard: Instant,
    behind: Option<i64>,
    topic: String,
    history: History,
    /// What has been read of a topic that was created anew.
    anew: Option<History>,
    /// Offset behind the last record taken.
    position: i64,
    /// The topic is known to hold nothing before this offset that was not taken.
    reached: i64,
}

/// Reads the history of `task` to its end. Blocks.
pub fn whole_history(config: &Config, task: &TaskName) -> Result<History, TopicError> {
    let mut reader = HistoryReader::open(&consumer_config(&config.kafka, &config.name), task)?;
    reader.read_to_end(|| false)?;
    Ok(reader.history().clone())
}

/// The histories of all tasks whose topics are read. Blocks.
pub fn whole_histories(config: &Config) -> Result<Vec<History>, TopicError> {
    config.origins().iter().map(|task| whole_history(config, task)).collect()
}

impl HistoryReader {
    /// Opens the topic at its beginning; `client` is what `service::kafka::consumer_config` gives. Blocks for a
    /// request.
    ///
    /// # Errors
    /// [`TopicError::Missing`] if capture has not created it yet.
    pub fn open(client: &ClientConfig, task: &TaskName) -> Result<Self, TopicError> {
        let topic = history_topic(task);
        let opening = || format!("opening the history topic {topic}");
        let mut client = client.clone();
        client.set("fetch.wait.max.ms", "100");
        let consumer = create(&client).map_err(TopicError::during(opening()))?;
        let reader = Self {
            client,
            consumer,
            failing: Failing::new(),
            heard: Instant::now(),
            behind: None,
            topic: topic.clone(),
            history: History::of(task),
            anew: None,
            position: 0,
            reached: 0,
        };
        let found = partitions(&reader.consumer, &topic, REQUEST_TIMEOUT);
        if found.map_err(TopicError::during(opening()))?.is_none() {
            return Err(TopicError::Missing { topic });
        }
        reader.fetch().map_err(TopicError::during(opening()))?;
        Ok(reader)
    }

    /// Has the client fetch from where this reader stands, and forget what it has fetched.
    fn fetch(&self) -> Result<(), KafkaError> {
        let from = if self.position == 0 { Offset::Beginning } else { Offset::Offset(self.position) };
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&self.topic, 0, from)?;
        self.consumer.assign(&assignment)
    }

    /// What has been read so far.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Reads to the end that the topic has when this is called. Blocks. `stop` is asked now and then.
    ///
    /// # Errors
    /// [`TopicError`]; the same reader can go on afterwards, unless the history holds an unusable record.
    pub fn read_to_end(&mut self, stop: impl Fn() -> bool) -> Result<Vec<Change>, TopicError> {
        let what = format!("Kafka: reading {} to its end", self.topic);
        let wait = Waits::of_process().answer(what, SILENCE);
        let mut changes = Vec::new();
        let end = self.end()?;
        if end < self.reached {
            self.begin_anew()?;
        }
        if self.reached < end {
            // An end-of-partition event that is in the client's queue already is about an older end.
            let doing = format!("reading the history topic {}", self.topic);
            self.fetch().map_err(TopicError::during(doing))?;
        }
        let mut heard = Instant::now();
        while self.reached < end && !stop() {
            match self.poll(POLL, Some(end))? {
                Some(change) => {
                    heard = Instant::now();
                    wait.heard(heard);
                    changes.push(change);
                }
                None if heard.elapsed() > SILENCE => {
                    return Err(TopicError::Timeout {
                        doing: format!("reading the history topic {}", self.topic),
                    });
                }
                None => {}
            }
        }
        if !stop()
            && let Some(anew) = self.anew.take()
        {
            if !anew.is_complete() {
                // Whoever asks would be told that what it looks for is nowhere.
                self.anew = Some(anew);
                return Err(TopicError::Incomplete { topic: self.topic.clone() });
            }
            self.history = anew;
        }
        Ok(changes)
    }

    /// True while a topic that was created anew is to be read to its end.
    #[must_use]
    pub const fn is_renewing(&self) -> bool {
        self.anew.is_some()
    }

    /// The topic is not the one any more that was read.
    fn begin_anew(&mut self) -> Result<(), TopicError> {
        tracing::warn!(topic = self.topic, "the history was created anew: it is read from its beginning");
        (self.anew, self.position, self.reached) = (Some(History::of(self.history.task())), 0, 0);
        self.fetch().map_err(TopicError::during(format!("reading the history topic {}", self.topic)))
    }

    /// Takes one record if one comes in time. `end` is an end that the topic had before the client began to fetch: an
    /// end-of-partition event is about that or a later one.
    pub fn poll(&mut self, timeout: Duration, end: Option<i64>) -> Result<Option<Change>, TopicError> {
        let Some(polled) = self.consumer.poll(timeout) else {
            self.note_position();
            return Ok(None);
        };
        let message = match polled {
            Ok(message) => message,
            Err(KafkaError::PartitionEOF(_)) => {
                self.reached = self.reached.max(end.unwrap_or(0));
                return Ok(None);
            }
            Err(error) if is_elsewhere(&error) => {
                self.begin_anew()?;
                return Ok(None);
            }
            // The client goes on by itself; a lasting silence is judged by the caller.
            Err(error) if super::error::is_transient(&error) => {
                tracing::warn!(topic = self.topic, error = %error, "reading the history");
                return Ok(None);
            }
            Err(error) => {
                return Err(TopicError::during(format!("reading the history topic {}", self.topic))(error));
            }
        };
        let offset = message.offset();
        let key = message.key().unwrap_or_default();
        let raw = RawRecord { topic: &self.topic, offset, key, value: message.payload() };
        let written_ms = message.timestamp().to_millis().unwrap_or(0);
        let change = self.anew.as_mut().unwrap_or(&mut self.history).take(raw, written_ms)?;
        (self.heard, self.behind) = (Instant::now(), None);
        self.position = offset + 1;
        self.reached = self.reached.max(self.position);
        Ok(Some(change))
    }

    /// The client's own position also counts transaction markers, behind which no record may ever come.
    fn note_position(&mut self) {
        let position = self.consumer.position().ok().and_then(|list| {
            list.find_partition(&self.topic, 0).and_then(|element| element.offset().to_raw())
        });
        self.reached = self.reached.max(position.unwrap_or(0));
    }

    /// Makes sure, while no record comes, that the client still reads. Blocks for a request now and then.
    pub fn look(&mut self) -> Result<(), TopicError> {
        if self.heard.elapsed() < LOOKS {
            return Ok(());
        }
        let end = self.end()?;
        self.heard = Instant::now();
        let behind = (self.reached < end).then_some(self.reached);
        let before = std::mem::replace(&mut self.behind, behind);
        if behind.is_some() && before == behind {
            self.fetch().map_err(TopicError::during(format!("reading the history topic {}", self.topic)))?;
        }
        Ok(())
    }

    /// The last stable offset.
    fn end(&mut self) -> Result<i64, TopicError> {
        let doing = format!("asking for the end of {}", self.topic);
        match self.consumer.fetch_watermarks(&self.topic, 0, REQUEST_TIMEOUT) {
            Ok((_, high)) => {
                self.failing.succeeded();
                Ok(high)
            }
            Err(error) => {
                if super::error::is_transient(&error) && self.failing.failed(Instant::now()) {
                    self.renew()?;
                }
                Err(TopicError::during(doing)(error))
            }
        }
    }

    /// Reads on with another client.
    fn renew(&mut self) -> Result<(), TopicError> {
        tracing::info!(topic = self.topic, "Kafka does not answer a client: a new one takes its place");
        let doing = || TopicError::during(format!("opening the history topic {}", self.topic));
        let consumer = create(&self.client).map_err(doing())?;
        retire(std::mem::replace(&mut self.consumer, consumer));
        self.fetch().map_err(TopicError::during(format!("reading the history topic {}", self.topic)))
    }
}

/// Closes the client beside everything else.
impl Drop for HistoryReader {
    fn drop(&mut self) {
        retire(Arc::clone(&self.consumer));
    }
}

fn create(client: &ClientConfig) -> Result<Arc<BaseConsumer<TracingContext>>, KafkaError> {
    client.create_with_context(TracingContext).map(Arc::new)
}

/// True if the topic does not hold the offset that this reader stands at: it is another one of that name.
fn is_elsewhere(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::LogTruncation
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_closed_beside_the_thread_that_reads() {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", "127.0.0.1:1").set("group.id", "t");
        let mut reader = HistoryReader {
            consumer: create(&client).unwrap(),
            client,
            failing: Failing::new(),
            heard: Instant::now(),
            behind: None,
            topic: "t.history".to_owned(),
            history: History::of(&"t".parse().unwrap()),
            anew: None,
            position: 0,
            reached: 0,
        };
        // The library takes a tenth of a second to close one.
        let began = Instant::now();
        for _ in 0..5 {
            reader.renew().unwrap();
        }
        drop(reader);
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    }
}
