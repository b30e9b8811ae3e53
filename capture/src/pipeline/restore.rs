//! The task's own topics, when somebody has deleted one of them: what this process has last led with is written again,
//! before anybody leads. What enters is the mirror of the session that has ended; what leaves is the same content in a topic
//! of the same name.
//!
//! Invariant: a topic is written again only with what is known to be committed, and only as long as nobody else has led.

use super::service::own_settings;
use super::session::{Shared, capture_group, leader, producer_config};
use crate::topics::admin::{TopicError, Topics};
use crate::topics::incarnation::Found;
use crate::topics::mirror::Mirror;
use crate::topics::producer::{PublishError, Publisher};
use std::time::{Duration, Instant};
use thiserror::Error;
use tributary_schemas::checkpoint::StateKey;
use tributary_schemas::topic::{history_topic, state_topic};
use tributary_service::kafka::{self, ReadError, TopicContents};

/// How long Kafka may take to answer.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a topic was not written again.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// Kafka did not answer, or refused for now: to be tried again.
    #[error("{0}")]
    Unavailable(String),
    /// What this process knows is not what is there.
    #[error("{0}")]
    Impossible(&'static str),
}

impl From<TopicError> for RestoreError {
    fn from(error: TopicError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<PublishError> for RestoreError {
    fn from(error: PublishError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ReadError> for RestoreError {
    fn from(error: ReadError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<serde_json::Error> for RestoreError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Those of the task's own topics that are gone, or end before what was read of them.
#[must_use]
pub fn lost(own: &[String; 2], mirror: &Mirror, found: &[Found]) -> Vec<String> {
    let gone = own.iter().zip(found).filter(|(topic, found)| match found {
        Found::Missing => true,
        Found::Ends(ends) => ends.iter().any(|end| *end < mirror.end(topic)),
        // Another program has made it: nothing that is written into it would be found again.
        Found::Partitions(_) => false,
    });
    gone.map(|(topic, _)| topic.clone()).collect()
}

/// Makes the topics of `lost` anew, with what the mirror holds of them. Blocks.
///
/// # Errors
/// [`RestoreError`]; nothing of it is visible then.
pub fn restore(
    shared: &Shared,
    topics: &Topics,
    mirror: &Mirror,
    lost: &[String],
) -> Result<(), RestoreError> {
    if mirror.is_in_doubt() {
        return Err(RestoreError::Impossible(
            "a transaction was being committed when the topic went: whether it was cannot be known any more",
        ));
    }
    let config = &shared.config;
    let (state, history) = (state_topic(&config.name), history_topic(&config.name));
    let own = [state.as_str(), history.as_str()];
    for ensured in topics.ensure(&own, &own_settings(config))? {
        ensured?;
    }
    let max_message_bytes = usize::try_from(config.topics.max_message_bytes).unwrap_or(usize::MAX);
    // Whoever else thinks that it leads is fenced from here on, and what it has written is read next.
    let mut publisher =
        Publisher::initialise(&producer_config(config), &state, max_message_bytes, KAFKA_TIMEOUT)?;
    let mut missing = Vec::new();
    for topic in own {
        let found = kafka::read_to_end(&config.kafka, &capture_group(&config.name), topic, KAFKA_TIMEOUT)?;
        // One that is lost may have been written at an attempt of which no answer came.
        if mirror.agrees(topic, &found) {
            continue;
        }
        if !lost.iter().any(|lost| lost == topic) || !is_empty(&found) {
            return Err(RestoreError::Impossible("the topic holds something else than this instance wrote"));
        }
        missing.push(topic);
    }
    let now = Instant::now();
    for topic in missing {
        for (key, value) in mirror.records(topic) {
            publisher.send_json(topic, &key, Some(&value), now)?;
        }
    }
    let (key, value) = (serde_json::to_vec(&StateKey::Leader)?, serde_json::to_vec(&leader(shared))?);
    publisher.send_json(&state, &key, Some(&value), now)?;
    publisher.commit()?;
    Ok(())
}

/// True if nothing is there but what a leader says of itself.
fn is_empty(contents: &TopicContents) -> bool {
    let is_leader = |key: &[u8]| matches!(serde_json::from_slice(key), Ok(StateKey::Leader));
    contents.records.iter().all(|record| record.value.is_none() || is_leader(&record.key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_service::kafka::Record;

    #[test]
    fn a_topic_is_lost_if_it_is_gone_or_ends_before_what_was_read() {
        let own = ["t.state".to_owned(), "t.history".to_owned()];
        let mut mirror = Mirror::default();
        let record = Record { key: b"k".into(), value: Some(b"v".into()), offset: 6, written_ms: 0 };
        mirror.load(&own[0], &TopicContents { records: vec![record], next_offset: 7 });
        let ends = |end| Found::Ends(vec![end]);
        assert_eq!(lost(&own, &mirror, &[Found::Missing, ends(0)]), ["t.state"]);
        assert_eq!(lost(&own, &mirror, &[ends(6), Found::Missing]), own);
        assert!(lost(&own, &mirror, &[ends(7), ends(0)]).is_empty());
        assert!(lost(&own, &mirror, &[Found::Partitions(3), ends(0)]).is_empty());
    }
}
