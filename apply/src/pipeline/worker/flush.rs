//! A flush: stage, merge, and last the offsets, in one transaction. During the initial load rows go straight into the
//! target as long as none of them is there.
//!
//! Invariant: what is committed was written into the target as the catalog said it was, under the lock that the merge
//! has taken: a definition that somebody has changed since it was read is read again, and the rows are written anew.

use super::copy::{Copied, copy};
use super::locks::Hold;
use super::refused::{key_gone, restless, target_gone, target_gone_wrong};
use super::staging::Staging;
use super::{Report, Worker};
use crate::batches::compact::Batch;
use crate::remedies;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tributary_service::codes::Code;
use tributary_service::sabotage;
use tributary_service::status::Timing;
use tributary_warehouse::bookkeeping::Move;
use tributary_warehouse::destination::{Connection, DestinationError, Lease, TableError, catalog};
use tributary_warehouse::merge::encode::Shape;
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::sql::{Merge, UNIQUE_VIOLATION, plan_of_merge};
use tributary_warehouse::merge::target::TargetShape;
use tributary_warehouse::tables::fit::compile;
use tributary_warehouse::tables::task::TableTask;

/// Unique violations after which a table is no longer loaded directly: its rows are being changed meanwhile.
const VIOLATIONS_MAX: u32 = 3;

/// How often a staging table that someone drops is made for one merge.
const STAGES_MADE_MAX: u32 = 3;

/// What is remembered of a table; forgotten whenever something fails or the definition changes.
#[derive(Default)]
pub(super) struct Cache {
    /// The target as it was when it was read.
    shape: Option<Seen>,
    /// Plans by the generation of the rows.
    plans: HashMap<u32, Arc<TransferPlan>>,
    /// The staging table that this process has made.
    staging: Staging,
    violations: u32,
    /// The target has not been at the end of its topic yet.
    pub(super) fresh: bool,
    /// Attempts in a row that have met the locks of others.
    blocked: u32,
}

/// A target, and what tells whether it is still the same.
struct Seen {
    /// Generation it was read at.
    generation: u32,
    /// Asked for before the shape: a change in between shows as one behind it.
    fingerprint: Option<String>,
    shape: Arc<TargetShape>,
}

impl Cache {
    /// Forgets the target's definition and what was made from it.
    fn forget_shape(&mut self) {
        let Self { violations, fresh, blocked, .. } = *self;
        *self = Self { violations, fresh, blocked, ..Self::default() };
    }
}

/// How often rows are written into a target whose definition changes under each attempt.
const ATTEMPTS_MAX: u32 = 5;

impl Worker {
    /// Merges `rows` of generation `generations.0` into the target, which has at least generation `generations.1`. `blocked`: how
    /// many attempts in a row have met the locks of others.
    ///
    /// # Errors
    /// Nothing is written then, unless it is [`DestinationError::CommitUnknown`].
    pub(super) async fn flush(
        &self,
        task: &TableTask,
        cache: &mut Cache,
        generations: (u32, u32),
        (rows, moves): (&Batch, &[Move]),
        blocked: u32,
    ) -> Result<Report, DestinationError> {
        let began = Instant::now();
        let _waiting = self.pool.turn_to_wait(&task.target, blocked).await;
        cache.blocked = blocked;
        let mut key_was_unique = false;
        for _ in 0..ATTEMPTS_MAX {
            let writer = self.attend().await?;
            let mut lease = self.pool.acquire(task.target.to_string()).await?;
            let plan = self.plan(&mut lease, task, cache, generations).await?;
            if key_was_unique && !plan.has_unique_key() {
                return Err(DestinationError::Table(key_gone(task, &plan)));
            }
            key_was_unique = plan.has_unique_key();
            let stage = task.stage(self.bookkeeping.schema_name(), writer);
            let written = self.write(&mut lease, task, cache, &plan, &stage, rows).await;
            let written = match written {
                Err(error) if !may_be_stale(&error) => return Err(error),
                written => written,
            };
            // Behind an error no lock is held any more, and the definition may be newer than what failed.
            if written.is_err() {
                lease.batch_execute("ROLLBACK").await.map_err(DestinationError::during("rolling back"))?;
            }
            let seen = catalog::fingerprint(&mut lease, self.dialect, &task.target).await?;
            if cache.shape.as_ref().is_some_and(|known| known.fingerprint == seen) {
                let (report, staged) = written?;
                self.end(lease, task, cache, (&stage, report, staged), (generations.0, moves)).await?;
                self.observe(Timing::Flush, began.elapsed());
                self.observe_latency(task, &plan, rows);
                return Ok(report);
            }
            if written.is_ok() {
                lease.batch_execute("ROLLBACK").await.map_err(DestinationError::during("rolling back"))?;
            }
            tracing::warn!(table = %task.name, target = %task.target, "the target's definition was changed: it is read again");
            lease.release();
            cache.forget_shape();
        }
        Err(DestinationError::Table(restless(task)))
    }

    /// Writes the rows in a transaction that stays open. True: by way of the staging table.
    async fn write(
        &self,
        lease: &mut Lease,
        task: &TableTask,
        cache: &mut Cache,
        plan: &TransferPlan,
        stage: &TargetName,
        rows: &Batch,
    ) -> Result<(Report, bool), DestinationError> {
        let place = place_of(task, rows);
        if self.may_load_directly(task, cache, plan, rows) {
            self.begin_on(lease, Hold::Writer(&task.target), cache.blocked).await?;
            if let Some(report) = load_directly(lease, cache, plan, stage, rows, &place).await? {
                return Ok((report, false));
            }
        }
        Ok((self.merge(lease, task, cache, plan, stage, rows, &place).await?, true))
    }

    /// Moves the offsets, and commits.
    async fn end(
        &self,
        mut lease: Lease,
        task: &TableTask,
        cache: &mut Cache,
        (stage, report, staged): (&TargetName, Report, bool),
        (generation, moves): (u32, &[Move]),
    ) -> Result<(), DestinationError> {
        let retention = self.retention_at(task, generation);
        self.bookkeeping.move_offsets(&mut lease, &task.topic, moves, None, retention).await?;
        if task.loading {
            sabotage::pass("snapshot-batch");
        }
        sabotage::pass("destination-commit");
        let began = Instant::now();
        lease.commit().await?;
        self.observe(Timing::Commit, began.elapsed());
        sabotage::pass("destination-committed");
        if staged {
            cache.staging.leave(&lease, stage, report.bytes).await;
        }
        lease.release();
        Ok(())
    }

    /// Of the first row that is left of a batch; rows of the load were not written just now.
    fn observe_latency(&self, task: &TableTask, plan: &TransferPlan, rows: &Batch) {
        let written = rows.survivors().find_map(|row| plan.source_ms(row.value?));
        if let Some(written) = written.and_then(|ms| u64::try_from(ms).ok()).filter(|_| !task.loading) {
            let written = UNIX_EPOCH + Duration::from_millis(written);
            // The clocks are of two machines.
            self.observe(Timing::Latency, written.elapsed().unwrap_or_default());
        }
    }

    /// The plan from a generation into the target as it is.
    async fn plan(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        cache: &mut Cache,
        (generation, target): (u32, u32),
    ) -> Result<Arc<TransferPlan>, DestinationError> {
        if cache.shape.as_ref().is_some_and(|known| known.generation != target) {
            cache.forget_shape();
        }
        if let Some(plan) = cache.plans.get(&generation) {
            return Ok(Arc::clone(plan));
        }
        let shape = match &cache.shape {
            Some(known) => Arc::clone(&known.shape),
            None => {
                let fingerprint = catalog::fingerprint(connection, self.dialect, &task.target).await?;
                let shape = catalog::shape(connection, self.dialect, &task.target).await?;
                let shape = Arc::new(shape.ok_or_else(|| target_gone(task))?);
                let seen = Seen { generation: target, fingerprint, shape: Arc::clone(&shape) };
                cache.shape = Some(seen);
                shape
            }
        };
        let plan =
            Arc::new(compile(task, generation, target, &shape, true).map_err(DestinationError::Table)?);
        cache.plans.insert(generation, Arc::clone(&plan));
        Ok(plan)
    }

    fn may_load_directly(&self, task: &TableTask, cache: &Cache, plan: &TransferPlan, rows: &Batch) -> bool {
        (task.loading || cache.fresh)
            && cache.violations < VIOLATIONS_MAX
            && plan.has_unique_key()
            && plan.fills().is_empty()
            && !plan.is_append_optimized()
            && task.operations.is_all()
            && rows.survivors().all(|row| row.value.is_some())
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one statement after the other")]
    async fn merge(
        &self,
        lease: &mut Lease,
        task: &TableTask,
        cache: &mut Cache,
        plan: &TransferPlan,
        stage: &TargetName,
        rows: &Batch,
        place: &str,
    ) -> Result<Report, DestinationError> {
        self.begin_merge(lease, task, cache, plan, stage).await?;
        let Copied::All(report) = copy(lease, plan, stage, Shape::Stage, rows, place).await? else {
            return Err(DestinationError::Table(target_gone_wrong(task)));
        };
        let strategy = self.dialect.strategy(plan.is_append_optimized(), plan.has_unique_key());
        let mut statements = Merge::of(plan, stage, task.operations).statements(strategy);
        let unique_key = plan.has_unique_key() && !plan.is_append_optimized();
        if let Some(joins) = plan_of_merge(self.dialect, unique_key, rows.keys()) {
            statements.insert(0, joins.to_owned());
        }
        let began = Instant::now();
        lease
            .batch_execute(&statements.join("; "))
            .await
            .map_err(DestinationError::during(format!("merging rows into {}", task.target)))?;
        self.observe(Timing::Merge, began.elapsed());
        Ok(report)
    }

    /// A transaction that has its staging table, empty; one that someone has dropped meanwhile is made anew.
    async fn begin_merge(
        &self,
        lease: &Lease,
        task: &TableTask,
        cache: &mut Cache,
        plan: &TransferPlan,
        stage: &TargetName,
    ) -> Result<(), DestinationError> {
        for _ in 0..STAGES_MADE_MAX {
            cache.staging.prepare(lease, self.dialect, plan, stage).await?;
            self.begin_on(lease, Hold::Writer(&task.target), cache.blocked).await?;
            if cache.staging.take(lease, stage).await? {
                return Ok(());
            }
        }
        let message = format!("the staging table {stage} is gone as soon as it was made");
        let remedy = remedies::staging_dropped();
        Err(DestinationError::Table(TableError::new(Code::Staging, message, &task.target, remedy)))
    }
}

/// Copies into the target; `None` if a row was there already: then the transaction is over and nothing is written.
async fn load_directly(
    connection: &mut Connection,
    cache: &mut Cache,
    plan: &TransferPlan,
    stage: &TargetName,
    rows: &Batch,
    place: &str,
) -> Result<Option<Report>, DestinationError> {
    match copy(connection, plan, stage, Shape::Direct, rows, place).await {
        Ok(Copied::All(report)) => return Ok(Some(report)),
        Ok(Copied::Deletes) => {}
        Err(error) if error.code() == Some(UNIQUE_VIOLATION) => {
            cache.violations += 1;
            if cache.violations == VIOLATIONS_MAX {
                tracing::info!(target = %plan.target(), "rows change while they are loaded: merging from now on");
            }
        }
        Err(error) => return Err(error),
    }
    let during = DestinationError::during(format!("loading rows into {}", plan.target()));
    connection.batch_execute("ROLLBACK").await.map_err(during)?;
    Ok(None)
}

/// True for an error that the server gives where a statement was made for another definition than the target has: data,
/// constraints, names and features.
fn may_be_stale(error: &DestinationError) -> bool {
    let class = error.code().and_then(|code| code.get(..2));
    !error.is_transient() && matches!(class, Some("0A" | "21" | "22" | "23" | "42" | "44" | "55"))
}

/// Topic, partitions and offsets of a batch.
fn place_of(task: &TableTask, rows: &Batch) -> String {
    let spans: Vec<String> = rows
        .partitions()
        .iter()
        .map(|span| format!("{}:{}..{}", span.partition, span.first_offset, span.next_offset))
        .collect();
    format!("topic {}, partition:offsets {}", task.topic, spans.join(" "))
}
