//! What the group gives and takes, and what the client says of itself. A member that the group does not know any more,
//! and that does not come back by itself, joins anew with another client.

use super::{Ask, Engine, EngineTable};
use crate::pipeline::name::shared_name;
use crate::pipeline::run::kafka_failure;
use crate::pipeline::worker::partitions_changed;
use crate::remedies;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::{Duration, Instant};
use tributary_service::exit::Failure;
use tributary_service::kafka::{Absence, close};
use tributary_service::waits::Wait;
use tributary_topics::consumer::{Assignment, GroupConsumer};
use tributary_topics::members::strangers;

/// Whether this instance is in the task's group.
pub(super) struct Membership {
    absence: Absence,
    /// A look at the group is out.
    asked: bool,
    /// Shows in the status that the group is being joined.
    wait: Option<Wait>,
}

impl Membership {
    pub(super) const fn new(now: Instant) -> Self {
        Self { absence: Absence::new(now), asked: false, wait: None }
    }

    /// True if the last look has seen this instance in the group.
    pub(super) const fn is_present(&self) -> bool {
        self.absence.is_present()
    }
}

impl Engine {
    /// True if the group gives this instance nothing, though there is something to give.
    pub(super) fn is_without_partitions(&self) -> bool {
        !self.subscribed.is_empty() && !self.tables.iter().any(EngineTable::has_partitions)
    }

    /// Asks who is in the group, unless that is being asked already.
    pub(super) fn ask_for_members(&mut self) {
        if !std::mem::replace(&mut self.membership.asked, true) {
            self.ask(Ask::Members);
        }
    }

    /// Leaves the group and joins it with another client. The partitions, if the old one thinks that it has some, are
    /// another's by now.
    fn join_anew(&mut self) -> Result<(), Failure> {
        tracing::warn!("the consumer group does not know this instance any more: it joins anew");
        let config = &self.context.config;
        let consumer = GroupConsumer::new(&self.context.client, self.context.worker.identity())
            .map_err(kafka_failure(config))?;
        let topics: Vec<&str> = self.subscribed.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(kafka_failure(config))?;
        close(std::mem::replace(&mut self.context.consumer, consumer));
        for table in self.tables.iter_mut() {
            let partitions: Vec<i32> = table.partitions.keys().copied().collect();
            for partition in &partitions {
                table.revoke(*partition);
            }
            if !partitions.is_empty() {
                table.forget_failures();
            }
        }
        Ok(())
    }

    /// What a look at the group says of this instance itself.
    fn look_for_itself(&mut self, client_ids: &[String], now: Instant) -> Result<(), Failure> {
        if self.subscribed.is_empty() {
            return Ok(());
        }
        // One that has partitions is in its group, whatever a list says that may lack it for other reasons; if its client has
        // lost the brokers, it loses the partitions, too.
        let present = !self.is_without_partitions() || self.context.consumer.is_among(client_ids);
        if self.membership.absence.look(present, now) { self.join_anew() } else { Ok(()) }
    }

    /// True unless this instance has no partitions and is not known to be in the group, which then shows in the status.
    pub(super) fn shows_joined(&mut self) -> bool {
        let joined = !self.is_without_partitions() || self.membership.is_present();
        if joined {
            self.membership.wait = None;
        } else if self.membership.wait.is_none() {
            let what = format!(
                "joining the consumer group {}",
                self.context.client.get("group.id").unwrap_or_default()
            );
            self.membership.wait = Some(self.context.status.wait(&what));
        }
        joined
    }

    pub(super) fn take_assignments(&mut self) -> bool {
        let assignments = self.context.consumer.assignments();
        let rebalanced = !assignments.is_empty();
        if rebalanced {
            self.membership.absence.doubt();
            self.ask_for_members();
        }
        for assignment in assignments {
            let (assigned, places) = match assignment {
                Assignment::Assigned(places) => (true, places),
                Assignment::Revoked(places) => (false, places),
            };
            tracing::info!(assigned, partitions = places.len(), "partitions");
            for (topic, partition) in places {
                let index = self.tables.of(&topic);
                let table = &mut self.tables[index];
                match (assigned, u32::try_from(partition).is_ok_and(|number| number < table.task.partitions))
                {
                    (true, true) => {
                        // The client keeps a pause through revocation and return.
                        self.context.consumer.set_paused(&topic, &[partition], false);
                        table.assign(partition);
                    }
                    // The answer to it comes with the next round of events.
                    (true, false) => self.grown.push(index),
                    (false, _) => {
                        table.revoke(partition);
                        if !table.has_partitions() {
                            table.forget_failures();
                        }
                    }
                }
            }
        }
        rebalanced
    }

    /// Ends if a member writes into another destination, and it is this one's turn to end.
    pub(super) fn take_members(
        &mut self,
        client_ids: Option<&[String]>,
        now: Instant,
    ) -> Result<(), Failure> {
        self.membership.asked = false;
        let Some(client_ids) = client_ids else { return Ok(()) };
        self.look_for_itself(client_ids, now)?;
        let identity = self.context.worker.identity();
        let strangers = strangers(client_ids, identity);
        let session = Duration::from_millis(u64::from(self.context.config.kafka.session_timeout_ms));
        if self.company.must_yield(client_ids, identity, session, now) {
            return Err(shared_name(&self.context.config, &strangers));
        }
        if !strangers.is_empty() {
            tracing::warn!(
                ?strangers,
                "another destination works under the name of this task; one of the two is to end"
            );
        }
        Ok(())
    }

    pub(super) fn park_grown(&mut self) -> Result<(), Failure> {
        for index in std::mem::take(&mut self.grown) {
            let error = partitions_changed(&self.tables[index].task, "more");
            self.park(index, error)?;
        }
        Ok(())
    }

    pub(super) fn consumer_failed(&mut self, error: &KafkaError, now: Instant) -> Result<(), Failure> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.reading_stopped();
                Ok(())
            }
            Some(RDKafkaErrorCode::AllBrokersDown) => self.kafka_failed(&error.to_string(), now),
            // The client goes on by itself; whether it succeeds shows when the ends are asked for.
            _ if tributary_topics::error::is_transient(error) => {
                tracing::debug!(error = %error, "consumer");
                Ok(())
            }
            _ => Err(Failure::new("Kafka refuses to serve the tables' topics", error)
                .at(&self.context.config.kafka.brokers)
                .remedy(remedies::kafka_refuses())),
        }
    }
}
