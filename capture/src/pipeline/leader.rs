//! Leadership: the instance to which Kafka's group protocol gives the state topic's one partition leads the task.
//!
//! What leaves is a watched [`Role`]. Invariant: a process that lost the assignment says so before another gets it,
//! as far as the group protocol can; what protects the topics from one that cannot is `transactional.id` fencing.

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, TopicPartitionList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
use tributary_service::kafka::{leave, unique_client_id};
use tributary_service::sabotage;
use tributary_service::status::Role;

/// How long one poll waits, and so the end of a process for the thread that polls.
const POLL: Duration = Duration::from_millis(10);

/// True if an instance still leads whose session has ended. `changed`: its role has changed since the session began, if only
/// for a moment. `is_given`: Kafka's group has given the lead to somebody.
///
/// # Errors
/// Those of `is_given`.
pub(super) fn still_leads<E>(
    role: Role,
    changed: bool,
    is_given: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    match (role, changed) {
        (Role::Leader, false) => Ok(true),
        // Lost, and given back: another may have led in between.
        (Role::Leader, true) => Ok(false),
        // The group takes the partition away, too, once it learns that the topic is gone. Then nobody has it.
        (Role::Standby | Role::Starting, _) => is_given().map(|given| !given),
    }
}

struct Context {
    role: watch::Sender<Role>,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance
            && partitions.count() > 0
        {
            let _ = self.role.send_replace(Role::Standby);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance
            && partitions.count() > 0
        {
            // Nothing is ever consumed through the group: the state is read by assignment.
            if let Err(error) = consumer.pause(partitions) {
                tracing::debug!(%error, "pausing the state topic failed");
            }
            sabotage::pass("rebalance-assigned");
            let _ = self.role.send_replace(Role::Leader);
        }
    }
}

/// The group member and its polling thread; leaves the group when dropped.
pub(super) struct Membership {
    client_id: String,
    role: watch::Receiver<Role>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Membership {
    /// Joins `group` and asks for partition 0 of `state_topic`.
    pub(super) fn join(config: &ClientConfig, group: &str, state_topic: &str) -> Result<Self, KafkaError> {
        let (sender, role) = watch::channel(Role::Standby);
        let client_id = unique_client_id(config, "");
        let consumer: BaseConsumer<Context> = config
            .clone()
            .set("client.id", &client_id)
            .set("group.id", group)
            // Sticky: a second instance that joins must not take the lead from a healthy one.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1500")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "latest")
            .create_with_context(Context { role: sender })?;
        consumer.subscribe(&[state_topic])?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("leadership".to_owned())
            .spawn(move || poll(&Arc::new(consumer), &stopped))
            .map_err(|error| {
                KafkaError::ClientCreation(format!("no thread for the group member: {error}"))
            })?;
        Ok(Self { client_id, role, stop, thread: Some(thread) })
    }

    /// What no other member is called.
    #[must_use]
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Watches the role; `Standby` at first.
    #[must_use]
    pub(super) fn role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Polls until told to stop: heartbeats depend on it.
fn poll(consumer: &Arc<BaseConsumer<Context>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Some(Err(error)) = consumer.poll(POLL) {
            tracing::debug!(%error, "group member");
        }
    }
    consumer.unsubscribe();
    let _ = consumer.assign(&TopicPartitionList::new());
    leave(consumer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lead_is_proven_by_the_role_or_by_a_group_that_has_given_it_to_nobody() {
        let unasked = || -> Result<bool, ()> { panic!("the role says it") };
        assert_eq!(still_leads(Role::Leader, false, unasked), Ok(true));
        assert_eq!(still_leads(Role::Leader, true, unasked), Ok(false));
        assert_eq!(still_leads(Role::Standby, true, || Ok::<_, ()>(false)), Ok(true));
        assert_eq!(still_leads(Role::Standby, true, || Ok::<_, ()>(true)), Ok(false));
        assert_eq!(still_leads(Role::Standby, true, || Err("no answer")), Err("no answer"));
    }
}
