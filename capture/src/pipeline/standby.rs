//! An instance that does not lead: it waits until the group gives it the lead, and looks whether it is in the group at all,
//! and whether the task's own topics are still there.

use super::leader::{Membership, Role};
use super::service::{RIVAL_BEAT, pause};
use super::session::{Shared, capture_group};
use crate::sequencer::own_topic_gone;
use crate::topics::admin::Topics;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tributary_schemas::topic::{history_topic, state_topic};
use tributary_service::exit::Failure;
use tributary_service::kafka;
use tributary_service::status::Role as ShownRole;

/// How often an instance that stands by looks whether it is in the group and the task is still there, and how long Kafka
/// may take to say so.
const STANDBY_BEAT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the one that leads may take to notice it, and to write the topic again.
const LEADER_RESTORES: Duration = Duration::from_secs(120);

/// What came of waiting for the lead.
pub(super) enum Lead {
    /// This instance leads.
    Given,
    /// The end was asked for.
    EndAsked,
    /// The group has lost this instance, which does not come back by itself: it is to join with another client.
    NotAMember,
}

/// Waits until this instance leads. A topic of the task that is gone ends it: Kafka gives the lead to nobody then.
pub(super) fn wait_for_lead(
    shared: &Shared,
    membership: &Membership,
    role: &mut watch::Receiver<Role>,
    absence: &mut kafka::Absence,
) -> Result<Lead, Failure> {
    if *role.borrow() == Role::Standby {
        shared.status.set_role(ShownRole::Standby);
    }
    let (mut joining, mut topics) = (None, None);
    loop {
        let leads = shared.runtime.block_on(async {
            tokio::select! {
                change = role.wait_for(|role| *role == Role::Leader) => Some(change.is_ok()),
                () = shared.shutdown.wait() => Some(false),
                () = tokio::time::sleep(STANDBY_BEAT) => None,
            }
        });
        match leads {
            Some(true) => {
                shared.status.set_role(ShownRole::Leader);
                return Ok(Lead::Given);
            }
            Some(false) => return Ok(Lead::EndAsked),
            None => {
                let topics = match &mut topics {
                    Some(topics) => topics,
                    none => none.insert(asking(shared)?),
                };
                if let Some(failure) = missing_in(shared, topics, LEADER_RESTORES) {
                    return Err(failure);
                }
                let Some(present) = is_member(shared, topics, membership) else { continue };
                if absence.look(present, Instant::now()) {
                    return Ok(Lead::NotAMember);
                }
                let what = || format!("joining the consumer group {}", capture_group(&shared.config.name));
                joining = (!present).then(|| joining.take().unwrap_or_else(|| shared.status.wait(&what())));
            }
        }
    }
}

/// A client for what this module asks.
fn asking(shared: &Shared) -> Result<Topics, Failure> {
    let kafka = &shared.config.kafka;
    Topics::new(&kafka::client_config(kafka), shared.runtime.clone())
        .map_err(|error| Failure::new("Kafka cannot be used", error).at(&kafka.brokers))
}

/// True if the group has this instance; `None` if nobody says so.
fn is_member(shared: &Shared, topics: &Topics, membership: &Membership) -> Option<bool> {
    let task = &shared.config.name;
    let members = topics.members(&capture_group(task), &state_topic(task), REQUEST_TIMEOUT).ok()?;
    Some(members.iter().any(|id| id == membership.client_id()))
}

/// Says which of the task's own topics is gone; `None` if both are there, or nobody answers.
pub(super) fn own_topic_missing(shared: &Shared, patience: Duration) -> Option<Failure> {
    let topics = asking(shared).ok()?;
    let failure = missing_in(shared, &topics, patience);
    kafka::close(topics);
    failure
}

fn missing_in(shared: &Shared, topics: &Topics, patience: Duration) -> Option<Failure> {
    let own = [state_topic(&shared.config.name), history_topic(&shared.config.name)];
    let missing = || {
        let cluster = topics.cluster(REQUEST_TIMEOUT).ok()?;
        missing(&own, &shared.config.name, cluster.keys().map(String::as_str))
    };
    let began = Instant::now();
    let mut found = missing();
    while found.is_some() && began.elapsed() < patience {
        found = if pause(&shared.runtime, &shared.shutdown, RIVAL_BEAT) { missing() } else { None };
    }
    found.map(|topic| own_topic_gone(topic, "it was deleted while capture runs"))
}

/// The first of the task's own topics that a list of the cluster's topics lacks. A list with none of the task's topics is no
/// answer: so speaks a broker that has not learned of them yet.
fn missing<'a, 'l>(
    own: &'a [String; 2],
    task: &str,
    listed: impl Iterator<Item = &'l str>,
) -> Option<&'a String> {
    let of_task = |topic: &&str| topic.strip_prefix(task).is_some_and(|rest| rest.starts_with('.'));
    let listed: BTreeSet<&str> = listed.filter(of_task).collect();
    if listed.is_empty() { None } else { own.iter().find(|topic| !listed.contains(topic.as_str())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_the_task_says_nothing_of_its_topics() {
        let own = [state_topic("t"), history_topic("t")];
        let judge = |listed: &'static [&'static str]| missing(&own, "t", listed.iter().copied()).cloned();
        assert_eq!(judge(&["t.state", "t.history", "t.a.b"]), None);
        assert_eq!(judge(&["t.history", "t.a.b"]), Some("t.state".to_owned()));
        assert_eq!(judge(&["t.state"]), Some("t.history".to_owned()));
        assert_eq!(judge(&["t2.state", "other"]), None);
    }
}
