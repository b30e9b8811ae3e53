//! Carries out the jobs of the tables' state machines: a job enters, one transaction that writes rows happens, an
//! outcome leaves. That transaction ends with the compare-and-set of its offsets, so that nothing is written for
//! partitions that have another owner.

mod analyze;
mod anew;
mod arrive;
mod claim;
mod copy;
mod error;
mod flush;
mod locks;
mod presence;
mod refused;
mod replay;
mod setup;
mod shared;
mod staging;

pub(in crate::pipeline) use analyze::statistics_of;
pub(crate) use error::WorkError;
pub(in crate::pipeline) use refused::{check_identity, partitions_changed, rule_changed};
pub(crate) use replay::Replay;

use super::job::{Job, JobOutcome};
use crate::batches::compact::Batch;
use crate::remedies;
use flush::Cache;
use locks::Hold;
use presence::{BEAT, Presence};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tributary_schemas::FORMAT_VERSION;
use tributary_service::codes::Code;
use tributary_service::status::{Status, Timing};
use tributary_topics::ends::Ends;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::{DestinationError, Pool, TableError, catalog};
use tributary_warehouse::merge::dialect::Dialect;
use tributary_warehouse::tables::task::TableTask;

/// What every job needs.
pub(crate) struct Worker {
    pool: Arc<Pool>,
    bookkeeping: Bookkeeping,
    dialect: Dialect,
    /// Asked for the beginnings of topics when a target is set up.
    ends: Arc<Ends>,
    /// Says that this instance is there, and names its staging tables.
    presence: Presence,
    /// Tells this destination from others under the same task's name.
    identity: String,
    were_parked: BTreeSet<String>,
    were_refused: BTreeSet<String>,
    /// Where it is shown how long things take.
    status: Option<Status>,
}

/// What is remembered of a table from job to job.
#[derive(Default)]
pub(crate) struct TableMemory {
    cache: tokio::sync::Mutex<Cache>,
    /// The target has not been at the end of its topic yet: its rows are mostly new.
    fresh: AtomicBool,
    /// Attempts in a row that have met the locks of others: at an arrival or a set-up, which want the table for themselves, and
    /// at a flush. A flush that succeeds between two of the first says nothing of those.
    conflicts: AtomicU32,
    blocked: AtomicU32,
}

impl TableMemory {
    /// True if what follows the load has not been done, as far as is known here.
    #[must_use]
    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    /// The table is read anew.
    pub(crate) fn fresh(&self) {
        self.fresh.store(true, Ordering::Relaxed);
    }

    /// Attempts in a row, at taking the table, that have met the locks of others.
    fn conflicts(&self) -> u32 {
        self.conflicts.load(Ordering::Relaxed)
    }
}

/// Takes note of how an attempt went, among those in a row that have met the locks of others.
fn count<T>(conflicts: &AtomicU32, result: &Result<T, WorkError>) {
    match result {
        Ok(_) => conflicts.store(0, Ordering::Relaxed),
        Err(error) if error.is_conflict() => {
            conflicts.fetch_add(1, Ordering::Relaxed);
        }
        Err(_) => {}
    }
}

/// What a job did, for the status.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Report {
    /// Row events merged, superseded ones included.
    pub rows: u64,
    /// Bytes sent to the destination.
    pub bytes: u64,
    /// Values that a policy replaced.
    pub substituted: u64,
}

/// A job that did not come to an outcome.
pub(crate) struct Failed {
    /// Why.
    pub error: WorkError,
    /// The rows, for another attempt.
    pub rows: Option<(u32, Batch)>,
}

impl Worker {
    /// Creates the bookkeeping if need be, and takes a number for the staging tables.
    ///
    /// # Errors
    /// What the server says; tables of a newer version as [`DestinationError::Table`].
    pub(crate) async fn start(
        pool: Arc<Pool>,
        bookkeeping: Bookkeeping,
        ends: Arc<Ends>,
    ) -> Result<Self, DestinationError> {
        // First of all: an `apply drop` that is under way is waited for, and none begins behind this.
        let presence = Presence::take(pool.connector().connect().await?, &bookkeeping).await?;
        let mut connection = pool.acquire("the start").await?;
        for setting in connection.unlike() {
            tracing::warn!("the destination's session is not as it should be: {setting}");
        }
        let (dialect, version) = catalog::probe(&mut connection).await?;
        bookkeeping.create(&mut connection, dialect).await?;
        let found = bookkeeping.newest_format(&connection).await?;
        if found > FORMAT_VERSION {
            let message = format!(
                "the bookkeeping tables have format {found}, and this version knows {FORMAT_VERSION}"
            );
            let place = format!("schema {} of the destination", bookkeeping.schema_name());
            let remedy = remedies::newer_bookkeeping();
            let error = TableError::new(Code::NewerBookkeeping, message, place, remedy);
            return Err(DestinationError::Table(error));
        }
        let identity = bookkeeping.identity(&mut connection).await?;
        // A start is how a person says that the cause is mended.
        let were_parked = bookkeeping.unpark(&mut connection, None).await?;
        let refusals = bookkeeping.refusals(&mut connection).await?;
        let were_refused = refusals.into_iter().map(|refusal| refusal.topic).collect();
        connection.release();
        tracing::info!(version, product = ?dialect.product, "destination");
        Ok(Self {
            pool,
            bookkeeping,
            dialect,
            ends,
            presence,
            identity,
            were_parked,
            were_refused,
            status: None,
        })
    }

    /// The same, with how long its flushes take in the metrics of `status`.
    #[must_use]
    pub(crate) fn shown_in(self, status: &Status) -> Self {
        Self { status: Some(status.clone()), ..self }
    }

    fn observe(&self, timing: Timing, took: Duration) {
        if let Some(status) = &self.status {
            status.observe(timing, took);
        }
    }

    /// Sees to it that others know of this instance; the number of its staging tables.
    pub(crate) async fn attend(&self) -> Result<u32, DestinationError> {
        self.presence.writer(self.pool.connector(), &self.bookkeeping).await
    }

    /// What tells this destination from others under the same task's name.
    #[must_use]
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Says every two seconds that this instance lives, whatever its jobs wait for, until nobody has the worker any more.
    /// To be called on the runtime.
    pub(crate) fn keep_beating(self: &Arc<Self>) {
        let worker = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(BEAT);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(worker) = worker.upgrade() else { return };
                if let Err(error) = worker.beat().await {
                    // The jobs judge how long the destination may be away.
                    tracing::debug!(error = %error, "saying that this instance lives");
                }
            }
        });
    }

    async fn beat(&self) -> Result<(), DestinationError> {
        self.attend().await?;
        self.presence.beat().await
    }

    /// Topics of tables that were parked when this instance started.
    #[must_use]
    pub(crate) const fn were_parked(&self) -> &BTreeSet<String> {
        &self.were_parked
    }

    /// Topics that could not be begun when this instance started.
    #[must_use]
    pub(crate) const fn were_refused(&self) -> &BTreeSet<String> {
        &self.were_refused
    }

    #[must_use]
    pub(crate) const fn bookkeeping(&self) -> &Bookkeeping {
        &self.bookkeeping
    }

    #[must_use]
    pub(crate) const fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Carries out a job.
    ///
    /// # Errors
    /// [`Failed`] if nothing was written and the reason is for the caller to judge. A lost race or a lost answer is
    /// no error but [`JobOutcome::Lost`].
    pub(crate) async fn run(
        &self,
        task: &TableTask,
        memory: &TableMemory,
        job: Job<Batch>,
    ) -> Result<(JobOutcome<Batch>, Report), Failed> {
        let moves = match &job {
            Job::Flush { moves, .. } | Job::Arrive { moves, .. } => moves.clone(),
            Job::Load { .. } | Job::Advance { .. } => Vec::new(),
        };
        let mut cache = memory.cache.lock().await;
        let mut report = Report::default();
        let (result, rows) = match job {
            Job::Load { partitions } => {
                let loaded = self.load(task, memory, &partitions).await;
                count(&memory.conflicts, &loaded);
                (loaded, None)
            }
            Job::Flush { generation, target, rows, moves } => {
                cache.fresh = memory.fresh.load(Ordering::Relaxed);
                let blocked = memory.blocked.load(Ordering::Relaxed);
                let generations = (generation, target);
                let flushed = self.flush(task, &mut cache, generations, (&rows, &moves), blocked).await;
                let result = flushed.map_err(WorkError::from).map(|merged| {
                    report = merged;
                    JobOutcome::Written
                });
                count(&memory.blocked, &result);
                (result, Some((generation, rows)))
            }
            Job::Arrive { from, generation, passage, moves } => {
                let step = (from, generation);
                let arrived = self.arrive(task, &mut cache, step, passage, &moves, memory.conflicts()).await;
                let arrived = arrived.map_err(WorkError::from);
                count(&memory.conflicts, &arrived);
                (arrived, None)
            }
            Job::Advance { moves } => (self.advance(task, &moves).await.map_err(WorkError::from), None),
        };
        match result {
            Ok(outcome) => {
                if matches!(outcome, JobOutcome::Loaded { .. }) {
                    *cache = Cache::default();
                }
                Ok((outcome, report))
            }
            Err(WorkError::Destination(
                DestinationError::OffsetMoved | DestinationError::CommitUnknown { .. },
            )) => {
                *cache = Cache::default();
                Ok((JobOutcome::Lost, Report::default()))
            }
            Err(error) => {
                // Whatever went wrong, the definition of the target or of the staging table may be the reason.
                *cache = Cache::default();
                if !error.is_transient() && self.is_overtaken(task, &moves).await {
                    return Ok((JobOutcome::Lost, Report::default()));
                }
                let error = self.explain(task, error).await;
                Err(Failed { error, rows })
            }
        }
    }

    /// True if the partitions have moved on without this instance: whatever it failed with, a new owner or a replay has
    /// changed the target under it, and the table itself is well.
    async fn is_overtaken(&self, task: &TableTask, moves: &[tributary_warehouse::bookkeeping::Move]) -> bool {
        let numbers: Vec<i32> = moves.iter().map(|step| step.partition).collect();
        let read = async {
            let mut lease = self.begin(task, Hold::Writer(&task.target), 0).await?;
            let lock = self.locks_rows();
            let rows = self.bookkeeping.offsets(&mut lease, &task.topic, &numbers, lock).await?;
            lease.commit().await?;
            lease.release();
            Ok::<_, DestinationError>(rows)
        };
        // If even this cannot be asked, the first error is the one to tell.
        let Ok(rows) = read.await else { return false };
        let offset =
            |partition| rows.iter().find(|row| row.partition == partition).map(|row| row.next_offset);
        moves.iter().any(|step| offset(step.partition) != Some(step.expected))
    }

    /// How long deletes stay, for a partition at `generation`; `None` if what it has missed does not matter, because the
    /// table is emptied behind it.
    fn retention_at(&self, task: &TableTask, generation: u32) -> Option<Duration> {
        (!task.is_emptied_after(generation)).then_some(task.retention)
    }

    async fn advance(
        &self,
        task: &TableTask,
        moves: &[tributary_warehouse::bookkeeping::Move],
    ) -> Result<JobOutcome<Batch>, DestinationError> {
        let mut lease = self.begin(task, Hold::Nothing, 0).await?;
        // A partition that stands before what empties the table goes there by arriving, not this way.
        self.bookkeeping.move_offsets(&mut lease, &task.topic, moves, None, Some(task.retention)).await?;
        lease.commit().await?;
        lease.release();
        Ok(JobOutcome::Written)
    }
}
