//! Jobs on their way out and back, and what becomes of a table whose job failed.

use super::index::TableIndex;
use super::retries::Next;
use super::{Engine, Event};
use crate::batches::compact::Batch;
use crate::pipeline::job::{Job, JobOutcome};
use crate::pipeline::worker::{Failed, Report, WorkError};
use crate::remedies;
use std::sync::Arc;
use std::time::Instant;
use tributary_service::exit::Failure;
use tributary_topics::error::TopicError;
use tributary_warehouse::destination::DestinationError;

impl Engine {
    /// Sends a table's next job to the runtime, if there is one.
    pub(super) fn start_job(&mut self, index: TableIndex, pressed: bool, now: Instant) {
        let table = &mut self.tables[index];
        if table.retries.is_waiting(now) {
            return;
        }
        let Some(job) = table.flow.next_job(&self.limits, pressed, now) else { return };
        table.stuck_since.get_or_insert(now);
        if matches!(job, Job::Flush { .. }) {
            table.oldest_flying_ms = table.oldest_flying_ms.or_else(|| table.oldest_waiting_ms.take());
        }
        let (task, memory) = (Arc::clone(&table.task), Arc::clone(&table.memory));
        let (worker, sender) = (Arc::clone(&self.context.worker), self.context.sender.clone());
        self.context.runtime.spawn(async move {
            let result = worker.run(&task, &memory, job).await;
            // A loop that is gone needs no answer.
            let _ = sender.send(Event::Done { table: index, result });
        });
    }

    pub(super) fn take_outcome(
        &mut self,
        index: TableIndex,
        result: Result<(JobOutcome<Batch>, Report), Failed>,
        now: Instant,
    ) -> Result<(), Failure> {
        let table = &mut self.tables[index];
        match result {
            Ok((outcome, report)) => {
                let lost = matches!(outcome, JobOutcome::Lost);
                if lost {
                    tracing::info!(table = %table.task.name, "the destination is elsewhere: reading its offsets again");
                }
                if matches!(outcome, JobOutcome::Loaded { .. }) {
                    table.loaded_at = Some(self.beats.views());
                }
                table.oldest_flying_ms = None;
                if report.rows > 0 || matches!(outcome, JobOutcome::Arrived { .. }) {
                    table.recovered();
                }
                table.stuck_since = None;
                if let JobOutcome::Arrived { generation, .. } = &outcome
                    && table.task.is_reset(*generation)
                {
                    // Read anew, and then analyzed anew.
                    table.memory.fresh();
                    table.after_load.begin_anew();
                }
                table.flow.finish(outcome);
                if lost {
                    table.reopen();
                }
                table.status.add_rows_applied(report.rows);
                table.status.add_values_substituted(report.substituted);
                table.status.set_generation(table.flow.done());
                self.context.status.add_bytes_applied(report.bytes);
                table.retries.succeeded(now);
                self.context.status.retried(&table.retry_name());
                Ok(())
            }
            // It is another instance's now, and so is whatever stood in the way.
            Err(Failed { error, rows }) if error.is_transient() && !table.has_partitions() => {
                table.flow.finish(JobOutcome::Again(rows));
                Ok(())
            }
            Err(Failed { error: WorkError::Kafka(error), rows }) => {
                table.flow.finish(JobOutcome::Again(rows));
                self.kafka_failed_for(index, &error, now)
            }
            Err(Failed { error: WorkError::Destination(error), rows }) if error.is_transient() => {
                table.flow.finish(JobOutcome::Again(rows));
                self.failed_for_now(index, error, now)
            }
            Err(Failed { error: WorkError::Destination(error), rows }) => {
                let void = table.flow.is_void();
                table.flow.finish(JobOutcome::Again(rows));
                if void {
                    tracing::info!(table = %table.task.name, error = %error, "what failed does not matter any more");
                    return Ok(());
                }
                let place = table.task.target.to_string();
                self.park(index, error.into_table_error(&place))
            }
        }
    }

    /// Kafka has not said what a job wanted to know. That is no table's trouble, whatever others come to meanwhile.
    fn kafka_failed_for(
        &mut self,
        index: TableIndex,
        error: &TopicError,
        now: Instant,
    ) -> Result<(), Failure> {
        let table = &mut self.tables[index];
        if !table.retries.kafka_failed(now, fastrand::f64()) {
            return Err(self.kafka_stays_away(error));
        }
        tracing::warn!(table = %table.task.name, error = %error, "tried again");
        self.context.status.retrying(&table.retry_name(), &error.to_string());
        Ok(())
    }

    /// What failed may pass: it is tried again, as long as it may be.
    fn failed_for_now(
        &mut self,
        index: TableIndex,
        error: DestinationError,
        now: Instant,
    ) -> Result<(), Failure> {
        let others = self.tables.indexes().filter(|other| *other != index);
        let others = others.filter_map(|other| self.tables[other].retries.last_success()).max();
        let table = &mut self.tables[index];
        match table.retries.failed(error.is_conflict(), others, now, fastrand::f64()) {
            Next::Again => {
                tracing::warn!(table = %table.task.name, error = %error, "tried again");
                self.context.status.retrying(&table.retry_name(), &error.full());
                Ok(())
            }
            Next::Park => {
                let place = table.task.target.to_string();
                self.park(index, error.into_table_error(&place))
            }
            Next::End => Err(Failure::new("the destination does not come back", error)
                .at(&table.task.target)
                .remedy(remedies::destination_away())),
        }
    }
}
