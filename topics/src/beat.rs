//! Whether capture is there: its leader writes a beat into the task's state topic every few seconds, and says how far it is
//! behind the source. Without it a table at the end of its topic cannot be told from one whose capture is gone.

use super::error::TopicError;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tributary_schemas::checkpoint::{Beat, LEADER_BEAT};
use tributary_schemas::record::{RawRecord, StateRecord};
use tributary_schemas::topic::state_topic;
use tributary_service::kafka::{TracingContext, retire};
use tributary_service::shutdown::Shutdown;
use tributary_service::status::Status;

/// How many of the newest records are looked through for a beat at first. A capture that works writes one soon; of one that
/// was stopped the last is among them.
const LOOK_BACK: i64 = 2_000;
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How long the first request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long Kafka is left alone when it has failed.
const RECOVER: Duration = Duration::from_secs(2);
/// A topic in which nothing is written for so long is looked for anew.
const SILENCE: Duration = Duration::from_secs(20);
/// Capture counts as gone after so many beats that did not come.
const MISSED_BEATS: u32 = 3;

/// Tells `status` of the beats of the leader of `task`, until the end is asked for. What goes wrong is tried again: until
/// then capture counts as not heard.
pub fn listen(client: &ClientConfig, task: &str, status: &Status, shutdown: &Shutdown) {
    status.watch(task, LEADER_BEAT * MISSED_BEATS);
    let topic = state_topic(task);
    while !shutdown.requested() {
        if let Err(error) = listen_until_it_fails(client, (task, &topic), status, shutdown) {
            tracing::debug!(topic, error = %error, "listening for capture");
            std::thread::sleep(RECOVER);
        }
    }
}

fn listen_until_it_fails(
    client: &ClientConfig,
    (task, topic): (&str, &str),
    status: &Status,
    shutdown: &Shutdown,
) -> Result<(), TopicError> {
    let during = || TopicError::during(format!("reading the state topic {topic}"));
    let consumer = client.create_with_context(TracingContext).map(Arc::new).map_err(during())?;
    let listened = follow(&consumer, (task, topic), status, shutdown).map_err(during());
    retire(consumer);
    listened
}

fn follow(
    consumer: &BaseConsumer<TracingContext>,
    (task, topic): (&str, &str),
    status: &Status,
    shutdown: &Shutdown,
) -> Result<(), KafkaError> {
    let (low, high) = consumer.fetch_watermarks(topic, 0, REQUEST_TIMEOUT)?;
    let mut assignment = TopicPartitionList::new();
    let from = high.saturating_sub(LOOK_BACK).max(low);
    assignment.add_partition_offset(topic, 0, Offset::Offset(from))?;
    consumer.assign(&assignment)?;
    let mut heard = Instant::now();
    while !shutdown.requested() {
        let message = match consumer.poll(POLL) {
            // The client does not look for a topic that it has seen go, nor is one that was made anew the one it reads.
            None if heard.elapsed() > SILENCE => return Ok(()),
            None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
            // The client goes on by itself.
            Some(Err(error)) if super::error::is_transient(&error) => continue,
            Some(Err(error)) => return Err(error),
            Some(Ok(message)) => message,
        };
        heard = Instant::now();
        let key = message.key().unwrap_or_default();
        let raw = RawRecord { topic, offset: message.offset(), key, value: message.payload() };
        if let Some(beat) = beat(raw) {
            // One that was there before is as old as the clocks say; any other has just been written.
            let age = if message.offset() < high { age(&beat, SystemTime::now()) } else { Duration::ZERO };
            if let Some(at) = Instant::now().checked_sub(age) {
                status.heard(task, at, beat.behind_ms.map(Duration::from_millis));
            }
        }
    }
    Ok(())
}

/// The beat in a record of the state topic, if it is one.
fn beat(raw: RawRecord<'_>) -> Option<Beat> {
    match raw.state() {
        Ok(StateRecord::Leader(leader)) => leader.beat,
        _ => None,
    }
}

/// How old a beat is; zero if its clock is ahead of this one.
fn age(beat: &Beat, now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(Duration::from_millis(beat.written_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_told_from_what_else_is_in_the_topic() {
        let beat = |key: &[u8], value: &[u8]| {
            super::beat(RawRecord { topic: "t.state", offset: 7, key, value: Some(value) })
        };
        let leader = br#"{"kind":"leader"}"#;
        let with = br#"{"format":1,"instance":"a","address":"h:1","beat":{"written_ms":5000,"behind_ms":7}}"#;
        assert_eq!(beat(leader, with), Some(Beat { written_ms: 5_000, behind_ms: Some(7) }));
        assert_eq!(beat(leader, br#"{"format":1,"instance":"a","address":"h:1"}"#), None);
        assert_eq!(beat(br#"{"kind":"checkpoint"}"#, with), None);
        assert_eq!(beat(b"\xff", b""), None);
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_age() {
        let beat = Beat { written_ms: 5_000, behind_ms: None };
        assert_eq!(age(&beat, UNIX_EPOCH + Duration::from_secs(7)), Duration::from_secs(2));
        assert_eq!(age(&beat, UNIX_EPOCH + Duration::from_secs(4)), Duration::ZERO);
    }
}
