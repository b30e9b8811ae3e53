//! What the group gives and takes, and what the client says of itself.

use super::{Ask, Engine};
use crate::pipeline::name::shared_name;
use crate::pipeline::worker::partitions_changed;
use crate::topics::consumer::Assignment;
use crate::topics::members::strangers;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_service::exit::Failure;

impl Engine {
    pub(super) fn take_assignments(&mut self) -> bool {
        let assignments = self.parts.consumer.assignments();
        let rebalanced = !assignments.is_empty();
        if rebalanced {
            self.ask(Ask::Members);
        }
        for assignment in assignments {
            let (assigned, places) = match assignment {
                Assignment::Assigned(places) => (true, places),
                Assignment::Revoked(places) => (false, places),
            };
            tracing::info!(assigned, partitions = places.len(), "partitions");
            for (topic, partition) in places {
                let Some(index) = self.by_topic.get(&topic).copied() else { continue };
                let Some(table) = self.tables.get_mut(index) else { continue };
                match (assigned, u32::try_from(partition).is_ok_and(|number| number < table.task.partitions))
                {
                    (true, true) => {
                        // The client keeps a pause through revocation and return.
                        self.parts.consumer.set_paused(&topic, &[partition], false);
                        table.assign(partition);
                    }
                    // The answer to it comes with the next round of events.
                    (true, false) => self.grown.push(topic),
                    (false, _) => {
                        table.revoke(partition);
                        if !table.has_partitions() {
                            self.forget_failures(index);
                        }
                    }
                }
            }
        }
        rebalanced
    }

    /// Ends if a member writes into another destination, and it is this one's turn to end.
    pub(super) fn take_members(&mut self, client_ids: &[String], now: Instant) -> Result<(), Failure> {
        let identity = self.parts.worker.identity();
        let strangers = strangers(client_ids, identity);
        let session = Duration::from_millis(u64::from(self.parts.config.kafka.session_timeout_ms));
        if self.company.must_yield(client_ids, identity, session, now) {
            return Err(shared_name(&self.parts.config, &strangers));
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
        for topic in std::mem::take(&mut self.grown) {
            if let Some(index) = self.by_topic.get(&topic).copied()
                && let Some(task) = self.tables.get(index).map(|table| Arc::clone(&table.task))
            {
                self.park(index, partitions_changed(&task, "more"))?;
            }
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
            _ if crate::topics::error::is_transient(error) => {
                tracing::debug!(error = %error, "consumer");
                Ok(())
            }
            _ => Err(Failure::new("Kafka refuses to serve the tables' topics", error)
                .at(&self.parts.config.kafka.brokers)
                .remedy("`apply check --print-grants` lists the ACLs that are needed")),
        }
    }
}
