//! An instance that does not lead: it waits until the group gives it the lead, and looks whether it is in the group at all,
//! and whether the task's own topics are still there.

use super::leader::Membership;
use super::shared::{Shared, pause};
use crate::sequencer::own_topic_gone;
use crate::topics::admin::Topics;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tributary_schemas::topic::{capture_group, history_topic, state_topic};
use tributary_service::exit::Failure;
use tributary_service::kafka;
use tributary_service::status::Role;

/// How often an instance that stands by looks whether it is in the group, and how long Kafka may take to say so.
const STANDBY_BEAT: Duration = Duration::from_secs(3);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it looks whether the task is still there: what it does then, it does only after [`LEADER_RESTORES`].
const TOPICS_BEAT: Duration = Duration::from_secs(15);
/// How many looks at least must find a topic gone until that counts.
const GONE_LOOKS: u32 = 20;
/// How long the one that leads may take to notice it, and to write the topic again.
const LEADER_RESTORES: Duration = Duration::from_secs(120);

/// What came of waiting for the lead.
pub(super) enum Lead {
    /// This instance leads.
    Given,
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
        shared.status.set_role(Role::Standby);
    }
    let (mut joining, mut topics, mut looked) = (None, None, None);
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
                shared.status.set_role(Role::Leader);
                return Ok(Lead::Given);
            }
            Some(false) => return Ok(Lead::EndAsked),
            None => {
                let topics = match &mut topics {
                    Some(topics) => topics,
                    none => none.insert(asking(shared)?),
                };
                if looked.is_none_or(|at: Instant| at.elapsed() >= TOPICS_BEAT) {
                    if let Some(failure) = missing_in(shared, topics, LEADER_RESTORES) {
                        return Err(failure);
                    }
                    looked = Some(Instant::now());
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
        let is_there = |topic: &str| Some(topics.partitions(topic).ok()?.is_some());
        let list = || Some(topics.cluster(REQUEST_TIMEOUT).ok()?.into_keys().collect());
        missing(&own, &shared.config.name, is_there, list)
    };
    let began = Instant::now();
    let mut found = missing();
    while found.is_some() && began.elapsed() < patience {
        let between = (patience / GONE_LOOKS).min(STANDBY_BEAT);
        found = if pause(&shared.runtime, &shared.shutdown, between) { missing() } else { None };
    }
    found.map(|topic| own_topic_gone(topic, "it was deleted while capture runs"))
}

/// The first of the task's own topics that is gone. They are asked for by name: `list`, every topic of the cluster, may be
/// long, and is asked for only if one seems to be missing. A list with none of the task's topics is no answer: so speaks a
/// broker that has not learned of them yet.
fn missing<'a>(
    own: &'a [String; 2],
    task: &str,
    is_there: impl Fn(&str) -> Option<bool>,
    list: impl FnOnce() -> Option<BTreeSet<String>>,
) -> Option<&'a String> {
    for topic in own {
        if !is_there(topic)? {
            let mut listed = list()?;
            listed.retain(|name| name.strip_prefix(task).is_some_and(|rest| rest.starts_with('.')));
            return own.iter().find(|topic| !listed.is_empty() && !listed.contains(*topic));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_list_is_asked_for_only_if_a_topic_seems_to_be_missing() {
        let own = [state_topic("t"), history_topic("t")];
        let unasked = || panic!("nothing is missing");
        assert_eq!(missing(&own, "t", |_| Some(true), unasked), None);
        assert_eq!(missing(&own, "t", |_| None, unasked), None, "nobody answers");
        let listed = || Some(BTreeSet::from(own.clone()));
        assert_eq!(missing(&own, "t", |_| Some(false), listed), None, "there after all");
    }

    #[test]
    fn a_list_without_the_task_says_nothing_of_its_topics() {
        let own = [state_topic("t"), history_topic("t")];
        let judge = |listed: &[&str]| {
            let list = || Some(listed.iter().map(|name| (*name).to_owned()).collect());
            missing(&own, "t", |topic| Some(listed.contains(&topic)), list).cloned()
        };
        assert_eq!(judge(&["t.state", "t.history", "t.a.b"]), None);
        assert_eq!(judge(&["t.history", "t.a.b"]), Some("t.state".to_owned()));
        assert_eq!(judge(&["t.state"]), Some("t.history".to_owned()));
        assert_eq!(judge(&["t.a.b"]), Some("t.state".to_owned()));
        assert_eq!(judge(&["t2.state", "other"]), None);
    }
}
