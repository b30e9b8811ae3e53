//! Waiting until what the source has now is in the destination: capture's checkpoint has passed the source's position,
//! and then apply's offsets have passed the ends that the topics have. There is no deadline for the whole, only for a
//! time in which nothing moves.

use super::error::VerifyError;
use super::remedies;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;
use tributary_config::{Config, TaskName};
use tributary_schemas::checkpoint::{Checkpoint, Parked};
use tributary_schemas::position::Position;
use tributary_schemas::record::{RawRecord, StateRecord};
use tributary_schemas::table::TableId;
use tributary_schemas::topic::state_topic;
use tributary_service::cli::write_out;
use tributary_service::kafka::TopicPartition;
use tributary_service::kafka::{TracingContext, consumer_config, read_to_end, retire};
use tributary_service::waits::Waits;
use tributary_source::connect::SourceConnection as Source;
use tributary_source::dialect::SourceDialect;
use tributary_topics::ends::Ends;
use tributary_topics::error::TopicError;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::Connection as Destination;

/// How long is waited without a word.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// How long nothing may move. Capture moves its checkpoint every five seconds where little is written.
pub(crate) const STALL: Duration = Duration::from_secs(60);
/// How long the state topic may take to read.
const READ: Duration = Duration::from_secs(60);
/// How often offsets are asked for.
const BEAT: Duration = Duration::from_millis(50);

/// True once everything up to `wanted` has been published. On one server file and offset tell; the GTID set also
/// tells after a failover, and where only events without rows stand between.
#[must_use]
pub(crate) fn is_published(wanted: &Position, checkpoint: &Position) -> bool {
    let same_server = wanted.server_uuid == checkpoint.server_uuid;
    let files = |position: &Position| (position.file.len(), position.file.clone(), position.offset);
    (same_server && files(checkpoint) >= files(wanted))
        || (!wanted.gtid_set.is_empty() && checkpoint.gtid_set.contains_all(&wanted.gtid_set))
}

/// Follows capture's state topic.
pub(crate) struct StateFollower {
    consumer: Arc<BaseConsumer<TracingContext>>,
    topic: String,
    checkpoint: Option<Checkpoint>,
    parked: BTreeMap<TableId, Parked>,
}

impl StateFollower {
    /// Reads the topic of `task` to its end. Blocks.
    pub(crate) fn open(config: &Config, task: &TaskName) -> Result<Self, VerifyError> {
        let topic = state_topic(task);
        let contents = read_to_end(&config.kafka, &config.name, &topic, READ)?;
        let doing = format!("following {topic}");
        let during = || TopicError::during(doing.clone());
        let consumer = consumer_config(&config.kafka, &config.name)
            .set("fetch.wait.max.ms", "100")
            .create_with_context(TracingContext)
            .map(Arc::new)
            .map_err(during())?;
        let mut follower = Self { consumer, topic: topic.clone(), checkpoint: None, parked: BTreeMap::new() };
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&follower.topic, 0, Offset::Offset(contents.next_offset))
            .and_then(|()| follower.consumer.assign(&assignment))
            .map_err(during())?;
        for record in &contents.records {
            follower.take(record.of(&topic))?;
        }
        Ok(follower)
    }

    /// Why capture does not publish a table.
    #[must_use]
    pub(crate) fn parked(&self, id: &TableId) -> Option<&Parked> {
        self.parked.get(id).filter(|parked| parked.active)
    }

    /// True if the checkpoint moved.
    fn take(&mut self, raw: RawRecord<'_>) -> Result<bool, TopicError> {
        Ok(match raw.state()? {
            StateRecord::Checkpoint(checkpoint) => {
                let before = self.checkpoint.replace(checkpoint);
                before != self.checkpoint
            }
            StateRecord::Parked(id, parked) => {
                self.parked.insert(id, parked);
                false
            }
            StateRecord::Leader(_)
            | StateRecord::Progress(..)
            | StateRecord::Catalog(..)
            | StateRecord::Removed(_) => false,
        })
    }

    /// Blocks until everything up to `wanted` has been published.
    fn wait(&mut self, wanted: &Position) -> Result<(), VerifyError> {
        let (mut moved, mut said) = (Instant::now(), false);
        loop {
            if self.checkpoint.as_ref().is_some_and(|now| is_published(wanted, &now.position)) {
                return Ok(());
            }
            if moved.elapsed() > STALL {
                let at =
                    self.checkpoint.as_ref().map_or("nowhere".to_owned(), |now| now.position.to_string());
                return Err(VerifyError::Stalled {
                    what: format!(
                        "capture has published up to {at}, the source is at {wanted}, and in {} s nothing moved",
                        STALL.as_secs()
                    ),
                    remedy: remedies::stalled(),
                });
            }
            if moved.elapsed() > SILENCE && !std::mem::replace(&mut said, true) {
                write_out("waiting       for capture to publish what the source has now\n");
            }
            match self.consumer.poll(BEAT) {
                Some(Ok(message)) => {
                    let message = message.detach();
                    let key = message.key().unwrap_or_default();
                    let (topic, value) = (message.topic(), message.payload());
                    if self.take(RawRecord { topic, offset: message.offset(), key, value })? {
                        moved = Instant::now();
                    }
                }
                // Where the client can go on it does, and what is waited for here has a limit.
                None | Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) if tributary_topics::error::is_transient(&error) => {
                    tracing::debug!(topic = self.topic, error = %error, "following the state topic");
                }
                Some(Err(error)) => {
                    return Err(TopicError::during(format!("following {}", self.topic))(error).into());
                }
            }
        }
    }
}

/// Closes the client beside everything else.
impl Drop for StateFollower {
    fn drop(&mut self) {
        retire(Arc::clone(&self.consumer));
    }
}

/// Waits for the lag to pass.
pub(crate) struct Lag {
    /// Capture's side.
    pub state: StateFollower,
    /// The ends of the topics.
    ends: Ends,
    bookkeeping: Bookkeeping,
    dialect: SourceDialect,
}

impl Lag {
    /// Connects to Kafka. Blocks.
    pub(crate) fn open(
        config: &Config,
        task: &TaskName,
        bookkeeping: Bookkeeping,
        dialect: SourceDialect,
    ) -> Result<Self, VerifyError> {
        let ends = Ends::new(&consumer_config(&config.kafka, &config.name))?;
        Ok(Self { state: StateFollower::open(config, task)?, ends, bookkeeping, dialect })
    }

    /// Returns once everything that the source has now is merged from the `partitions` of `topic`.
    ///
    /// # Errors
    /// [`VerifyError::Stalled`] if nothing moves for a minute.
    pub(crate) async fn pass(
        &mut self,
        source: &mut Source,
        destination: &mut Destination,
        topic: &str,
        partitions: u32,
    ) -> Result<(), VerifyError> {
        let wanted = self.dialect.current_position(source).await?;
        let partitions = (0..partitions).filter_map(|partition| i32::try_from(partition).ok());
        let places: Vec<TopicPartition> = partitions.map(|partition| (topic.to_owned(), partition)).collect();
        let mut ahead = block_in_place(|| {
            let _wait =
                Waits::of_process().work("capture: passing where the source stands", Instant::now(), None);
            self.state.wait(&wanted)?;
            self.ends.high(&places).map_err(VerifyError::from)
        })?;
        let (mut moved, mut said) = (Instant::now(), false);
        let mut last = BTreeMap::new();
        loop {
            let stored = self.bookkeeping.all_offsets(destination).await?;
            let stored: BTreeMap<TopicPartition, i64> =
                stored.into_iter().map(|row| ((row.topic, row.partition), row.next_offset)).collect();
            ahead.retain(|place, end| stored.get(place).is_none_or(|next| next < end));
            if ahead.is_empty() {
                return Ok(());
            }
            if stored == last {
                block_in_place(|| self.skip_markers(&stored, &mut ahead))?;
            } else {
                (last, moved) = (stored, Instant::now());
            }
            if let Some(((topic, partition), end)) = ahead.first_key_value()
                && moved.elapsed() > STALL
            {
                let at = last.get(&(topic.clone(), *partition)).map_or("nowhere".to_owned(), i64::to_string);
                return Err(VerifyError::Stalled {
                    what: format!(
                        "apply has merged {topic} partition {partition} up to {at} of {end}, and in {} s nothing moved",
                        STALL.as_secs()
                    ),
                    remedy: remedies::stalled(),
                });
            }
            if moved.elapsed() > SILENCE && !std::mem::replace(&mut said, true) {
                write_out(&format!("waiting       for apply to merge what {topic} has now\n"));
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Where only transaction markers lie between an offset and an end, apply has nothing to merge, and stores the
    /// end only at a slow beat.
    fn skip_markers(
        &self,
        stored: &BTreeMap<TopicPartition, i64>,
        ahead: &mut BTreeMap<TopicPartition, i64>,
    ) -> Result<(), VerifyError> {
        let places: Vec<TopicPartition> = ahead.keys().cloned().collect();
        let _wait = Waits::of_process().answer("Kafka: the ends of partitions", None);
        let stable = self.ends.last_stable(&places)?;
        for place in places {
            let (Some(next), Some(end)) = (stored.get(&place), ahead.get(&place).copied()) else { continue };
            let is_stable = stable.get(&place).is_some_and(|stable| *stable >= end);
            if is_stable && self.ends.probe(&place, *next, end)?.is_some_and(|found| found >= end) {
                ahead.remove(&place);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const OTHER: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn at(file: &str, offset: u64, gtids: &str, server: &str) -> Position {
        Position { gtid_set: gtids.parse().unwrap(), file: file.into(), offset, server_uuid: server.into() }
    }

    #[test]
    fn a_position_is_passed_by_file_and_offset_or_by_gtid() {
        let gtids = format!("{ONE}:1-9");
        let wanted = at("binlog.999999", 500, &gtids, ONE);
        for (file, offset, set, server, passed) in [
            ("binlog.999999", 500, "", ONE, true),
            ("binlog.999999", 499, "", ONE, false),
            ("binlog.1000000", 4, "", ONE, true),
            ("binlog.999998", 900, "", ONE, false),
            ("binlog.000001", 4, gtids.as_str(), OTHER, true),
            ("binlog.999999", 900, "", OTHER, false),
            ("binlog.999999", 499, &format!("{ONE}:1-8"), ONE, false),
        ] {
            assert_eq!(
                is_published(&wanted, &at(file, offset, set, server)),
                passed,
                "{file} {offset} {set}"
            );
        }
        // Without GTID an empty set says nothing.
        assert!(!is_published(&at("b.2", 5, "", ONE), &at("b.2", 4, "", ONE)));
    }
}
