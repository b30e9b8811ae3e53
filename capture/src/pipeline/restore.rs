//! The task's own topics, when somebody has deleted one of them: what this process has last led with is written again,
//! before anybody leads. What enters is the mirror of the session that has ended; what leaves is the same content in a topic
//! of the same name.
//!
//! Invariant: a topic is written again only with what is known to be committed, and only as long as nobody else has led.
//! Before anything is written, Kafka's group must show that this instance leads, or that nobody does; after everybody else
//! is fenced, the state topic must not name another leader.

use super::leader::still_leads;
use super::shared::{OWN_TOPIC_GONE, RIVAL_BEAT, Shared, leader, own_settings, pause, producer_config};
use crate::sequencer::own_topic_gone;
use crate::topics::admin::{TopicError, Topics};
use crate::topics::incarnation::Found;
use crate::topics::mirror::Mirror;
use crate::topics::producer::{PublishError, Publisher};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::watch;
use tributary_schemas::checkpoint::{Leader, StateKey};
use tributary_schemas::topic::{capture_group, history_topic, state_topic};
use tributary_service::exit::Failure;
use tributary_service::kafka::{self, ReadError, TopicContents};
use tributary_service::retry::{Backoff, Policy};
use tributary_service::status::Role;

/// What is being retried, in the status.
const RESTORING: &str = "writing the task's own topics again";
/// How long that may take: a request for each, and a transaction.
const OWN_TOPICS_WRITTEN: Duration = Duration::from_secs(120);
/// How long Kafka may take to answer.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a topic was not written again.
#[derive(Debug, Error)]
pub(super) enum RestoreError {
    /// Kafka did not answer, or refused for now: to be tried again.
    #[error("{0}")]
    Unavailable(String),
    /// What this process knows is not what is there.
    #[error("{0}")]
    Impossible(&'static str),
    /// Another instance has taken the lead.
    #[error("another instance leads the task")]
    NotLeading,
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

/// What became of the task's own topics.
pub(super) enum Restored {
    /// They are there.
    NothingLost,
    /// What was lost is written again.
    Again,
    /// Something is lost, and this instance does not lead any more.
    NotLeading,
    /// The end was asked for meanwhile.
    EndAsked,
}

/// Writes what was lost of the task's own topics again, from what the session that has just ended knew of them. An answer
/// of Kafka is waited for.
///
/// # Errors
/// It cannot be done any more, or Kafka was away for too long.
pub(super) fn restore_lost(
    shared: &Shared,
    mirror: &Mirror,
    role: &watch::Receiver<Role>,
) -> Result<Restored, Failure> {
    let restored = restore_patiently(shared, mirror, role);
    // Whatever it has come to, nothing is tried again any more.
    shared.status.retried(RESTORING);
    restored
}

fn restore_patiently(
    shared: &Shared,
    mirror: &Mirror,
    role: &watch::Receiver<Role>,
) -> Result<Restored, Failure> {
    let mut backoff = Backoff::new(Policy::for_limit(shared.config.kafka.retry()));
    // Once the topic is made anew, the group gives its partition out again, maybe to this instance: that is no rival's.
    let mut made = false;
    loop {
        let error = match try_restore(shared, mirror, (role, &mut made)) {
            Ok(restored) => return Ok(restored),
            Err((_, RestoreError::NotLeading)) => return Ok(Restored::NotLeading),
            Err((topic, RestoreError::Impossible(why))) => return Err(own_topic_gone(&topic, why)),
            Err((_, error)) => error.to_string(),
        };
        let Some(delay) = backoff.failed(Instant::now(), fastrand::f64()) else {
            return Err(Failure::new("Kafka cannot be used", error).at(&shared.config.kafka.brokers));
        };
        shared.status.retrying(RESTORING, &error);
        if !pause(&shared.runtime, &shared.shutdown, delay) {
            return Ok(Restored::EndAsked);
        }
    }
}

fn try_restore(
    shared: &Shared,
    mirror: &Mirror,
    (role, made): (&watch::Receiver<Role>, &mut bool),
) -> Result<Restored, (String, RestoreError)> {
    let config = &shared.config;
    let own = [state_topic(&config.name), history_topic(&config.name)];
    let failed = |error: String| (own[0].clone(), RestoreError::Unavailable(error));
    let topics = Topics::new(&kafka::client_config(&config.kafka), shared.runtime.clone())
        .map_err(|error| failed(error.to_string()))?;
    let asked = [(own[0].as_str(), 1), (own[1].as_str(), 1)];
    let look = || topics.look(&asked).map(|found| lost(&own, mirror, &found));
    let began = Instant::now();
    let mut gone = look().map_err(|error| failed(error.to_string()))?;
    while !gone.is_empty() && began.elapsed() < OWN_TOPIC_GONE {
        if !pause(&shared.runtime, &shared.shutdown, RIVAL_BEAT) {
            return Ok(Restored::EndAsked);
        }
        gone = look().map_err(|error| failed(error.to_string()))?;
    }
    let Some(first) = gone.first() else { return Ok(Restored::NothingLost) };
    let is_given = || topics.is_given(&capture_group(&config.name));
    if !still_leads(*role.borrow(), !*made && role.has_changed().unwrap_or(true), is_given)
        .map_err(|error| failed(error.to_string()))?
    {
        tracing::warn!(topics = gone.join(", "), "deleted, and this instance does not lead any more");
        return Ok(Restored::NotLeading);
    }
    tracing::warn!(topics = gone.join(", "), "deleted while capture runs: written again from memory");
    let _wait = shared.status.wait_within("Kafka: writing the task's own topics again", OWN_TOPICS_WRITTEN);
    *made = true;
    let restored = restore(shared, &topics, mirror, &gone);
    kafka::close(topics);
    restored.map_err(|error| (first.clone(), error))?;
    Ok(Restored::Again)
}

/// Those of the task's own topics that are gone, or end before what was read of them.
#[must_use]
pub(super) fn lost(own: &[String; 2], mirror: &Mirror, found: &[Found]) -> Vec<String> {
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
pub(super) fn restore(
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
    // Whoever else thinks that it leads is fenced from here on, and what it has written is read next.
    let mut publisher = Publisher::initialise(&producer_config(config), &state, KAFKA_TIMEOUT)?;
    let mut missing = Vec::new();
    for topic in own {
        let found = kafka::read_to_end(&config.kafka, &capture_group(&config.name), topic, KAFKA_TIMEOUT)?;
        if names_another(&found, shared.status.instance()) {
            return Err(RestoreError::NotLeading);
        }
        // One that is lost may have been written at an attempt of which no answer came.
        if mirror.agrees(topic, &found) {
            continue;
        }
        if !lost.iter().any(|lost| lost == topic) || !is_empty(&found) {
            return Err(RestoreError::Impossible("the topic holds something else than this instance wrote"));
        }
        missing.push(topic);
    }
    for topic in missing {
        for (key, value) in mirror.records(topic) {
            publisher.send_json(topic, &key, Some(&value))?;
        }
    }
    let (key, value) = (serde_json::to_vec(&StateKey::Leader)?, serde_json::to_vec(&leader(shared))?);
    publisher.send_json(&state, &key, Some(&value))?;
    publisher.commit()?;
    Ok(())
}

/// True if an instance has led that is not this one.
fn names_another(contents: &TopicContents, instance: &str) -> bool {
    let leads = |record: &kafka::Record| {
        let is_leader = matches!(serde_json::from_slice(&record.key), Ok(StateKey::Leader));
        let value = record.value.as_deref().filter(|_| is_leader)?;
        serde_json::from_slice::<Leader>(value).ok()
    };
    contents.records.iter().filter_map(leads).next_back().is_some_and(|leader| leader.instance != instance)
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

    #[test]
    fn a_topic_that_another_leader_has_written_is_left_to_it() {
        let record = |value: &str| Record {
            key: serde_json::to_vec(&StateKey::Leader).unwrap(),
            value: Some(value.into()),
            offset: 0,
            written_ms: 0,
        };
        let leader =
            |instance: &str| record(&format!(r#"{{"format":1,"instance":"{instance}","address":"x"}}"#));
        let contents = |records: Vec<Record>| TopicContents { records, next_offset: 9 };
        assert!(!names_another(&contents(Vec::new()), "me"));
        assert!(!names_another(&contents(vec![leader("before"), leader("me")]), "me"));
        assert!(names_another(&contents(vec![leader("me"), leader("rival")]), "me"));
    }
}
