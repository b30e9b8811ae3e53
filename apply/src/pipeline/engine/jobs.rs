//! Jobs on their way out and back, and what becomes of a table whose job failed.

use super::retries::Next;
use super::table::EngineTable;
use super::trial::Trial;
use super::{Engine, Event};
use crate::batches::compact::Batch;
use crate::destination::{DestinationError, TableError, loggable};
use crate::pipeline::job::{Job, Outcome};
use crate::pipeline::worker::{Failed, Report};
use std::sync::Arc;
use std::time::Instant;
use tributary_service::exit::Failure;
use tributary_service::retry::random;
use tributary_service::status::ErrorDocument;

impl Engine {
    /// Sends a table's next job to the runtime, if there is one.
    pub(super) fn start_job(&mut self, index: usize, pressed: bool, now: Instant) {
        let Some(table) = self.tables.get_mut(index) else { return };
        if table.retries.is_waiting(now) {
            return;
        }
        let Some(job) = table.flow.next_job(&self.limits, pressed, now) else { return };
        table.stuck_since.get_or_insert(now);
        if matches!(job, Job::Flush { .. }) {
            table.oldest_flying_ms = table.oldest_flying_ms.or_else(|| table.oldest_waiting_ms.take());
        }
        let (task, memory) = (Arc::clone(&table.task), Arc::clone(&table.memory));
        let (worker, sender) = (Arc::clone(&self.parts.worker), self.parts.sender.clone());
        self.parts.runtime.spawn(async move {
            let result = worker.run(&task, &memory, job).await;
            // A loop that is gone needs no answer.
            let _ = sender.send(Event::Done { topic: task.topic.clone(), result });
        });
    }

    pub(super) fn take_outcome(
        &mut self,
        topic: &str,
        result: Result<(Outcome<Batch>, Report), Failed>,
        now: Instant,
    ) -> Result<(), Failure> {
        let Some(index) = self.by_topic.get(topic).copied() else { return Ok(()) };
        let Some(table) = self.tables.get_mut(index) else { return Ok(()) };
        match result {
            Ok((outcome, report)) => {
                if matches!(outcome, Outcome::Lost) {
                    tracing::info!(table = %table.task.id, "the destination is elsewhere: reading its offsets again");
                }
                if matches!(outcome, Outcome::Loaded { .. }) {
                    table.loaded_at = Some(self.beats.views());
                }
                table.oldest_flying_ms = None;
                if report.rows > 0 || matches!(outcome, Outcome::Arrived { .. }) {
                    table.recovered();
                }
                table.stuck_since = None;
                if let Outcome::Arrived { generation, .. } = &outcome
                    && table.task.is_reset(*generation)
                {
                    // Read anew, and then analyzed anew.
                    table.memory.fresh();
                    table.after_load.begin_anew();
                }
                table.flow.finish(outcome);
                table.status.add_rows_applied(report.rows);
                table.status.add_values_substituted(report.substituted);
                table.status.set_generation(table.flow.done());
                self.parts.status.add_bytes_applied(report.bytes);
                table.retries.succeeded(now);
                self.parts.status.retried(&retry_name(table));
                Ok(())
            }
            Err(Failed { error, rows }) if error.is_transient() => {
                table.flow.finish(Outcome::Again(rows));
                self.failed_for_now(index, error, now)
            }
            Err(Failed { error, rows }) => {
                let void = table.flow.is_void();
                table.flow.finish(Outcome::Again(rows));
                if void {
                    tracing::info!(table = %table.task.id, error = %error, "what failed does not matter any more");
                    return Ok(());
                }
                let place = table.task.target.to_string();
                self.park(index, error.into_table_error(&place))
            }
        }
    }

    /// What failed may pass: it is tried again, as long as it may be.
    fn failed_for_now(&mut self, index: usize, error: DestinationError, now: Instant) -> Result<(), Failure> {
        let others = self.tables.iter().enumerate().filter(|(other, _)| *other != index);
        let others = others.filter_map(|(_, table)| table.retries.last_success()).max();
        let Some(table) = self.tables.get_mut(index) else { return Ok(()) };
        match table.retries.failed(error.is_conflict(), others, now, random()) {
            Next::Again => {
                tracing::warn!(table = %table.task.id, error = %error, "tried again");
                self.parts.status.retrying(&retry_name(table), &error.full());
                Ok(())
            }
            Next::Park => {
                let place = table.task.target.to_string();
                self.park(index, error.into_table_error(&place))
            }
            Next::End => Err(Failure::new("the destination does not come back", error)
                .at(&table.task.target)
                .remedy("see the server's log; destination.retry_minutes says how long it is waited for")),
        }
    }

    /// Forgets what failed: nothing of the table is tried here now, or it begins anew.
    pub(super) fn forget_failures(&mut self, index: usize) {
        if let Some(table) = self.tables.get_mut(index) {
            table.retries.forget();
            table.stuck_since = None;
            self.parts.status.retried(&retry_name(table));
        }
    }

    /// Stops a table at a record that it cannot take, behind everything that came before.
    pub(super) fn close(&mut self, index: usize, error: TableError) {
        if let Some(table) = self.tables.get_mut(index)
            && table.doomed.is_none()
            && !table.flow.is_parked()
        {
            table.flow.close();
            table.partitions.values_mut().for_each(|reading| reading.stash.clear());
            table.doomed = Some(error);
        }
    }

    /// Stops a table; under `strict`, everything.
    pub(super) fn park(&mut self, index: usize, error: TableError) -> Result<(), Failure> {
        let Some(table) = self.tables.get_mut(index) else { return Ok(()) };
        if table.trial.as_ref().is_some_and(|trial| trial.is_known(&error)) {
            tracing::debug!(table = %table.task.id, code = error.code, "still parked");
        } else {
            tracing::error!(
                table = %table.task.id, code = error.code, place = error.place, remedy = error.remedy, "parked: {}",
                loggable(&error.message)
            );
        }
        table.trial = Trial::after(&error, Instant::now(), self.retry_parked);
        table.flow.park();
        table.doomed = None;
        table.partitions.values_mut().for_each(|reading| reading.stash.clear());
        table.retries.forget();
        self.parts.status.retried(&retry_name(table));
        table.status.park(ErrorDocument::new(
            error.code.clone(),
            format!("{} ({})", error.message, error.place),
            error.remedy.clone(),
        ));
        if self.parts.config.strict {
            return Err(Failure::new(
                format!("{} cannot go on (strict = true)", table.task.id),
                loggable(&error.message),
            )
            .at(&error.place)
            .remedy(error.remedy_of_an_end()));
        }
        let (worker, topic) = (Arc::clone(&self.parts.worker), table.task.topic.clone());
        let (storing, sender) = (Arc::clone(&self.storing), self.parts.sender.clone());
        self.parts.runtime.spawn(async move {
            let _storing = storing;
            let stored = async {
                let mut lease = worker.pool().acquire().await?;
                let marked = worker.bookkeeping().set_parked(&mut lease, &topic, Some(&error)).await?;
                lease.release();
                Ok::<_, crate::destination::DestinationError>(marked)
            };
            match stored.await {
                Ok(true) => drop(sender.send(Event::Marked(topic))),
                // It has no row yet, and whoever makes one starts with the cause mended.
                Ok(false) => {}
                Err(failure) => {
                    tracing::warn!(topic, error = %failure, "the reason for parking could not be stored");
                }
            }
        });
        Ok(())
    }
}

pub(super) fn retry_name(table: &EngineTable) -> String {
    format!("writing {}", table.task.target)
}
