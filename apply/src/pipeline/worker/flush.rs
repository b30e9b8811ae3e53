//! A flush: stage, merge, and last the offsets, in one transaction. During the initial load rows go straight into the
//! target as long as none of them is there.

use super::copy::{Copied, copy};
use super::staging::Staging;
use super::{Report, Worker};
use crate::batches::compact::Batch;
use crate::destination::{Connection, DestinationError, Lease, TableError, catalog};
use crate::merge::encode::Shape;
use crate::merge::names::TargetName;
use crate::merge::plan::TransferPlan;
use crate::merge::sql::{Merge, UNIQUE_VIOLATION};
use crate::merge::target::TargetShape;
use crate::pipeline::job::Move;
use crate::pipeline::table::TableTask;
use std::collections::HashMap;
use std::sync::Arc;
use tributary_service::sabotage;

/// Unique violations after which a table is no longer loaded directly: its rows are being changed meanwhile.
const VIOLATIONS_MAX: u32 = 3;

/// How often a staging table that someone drops is made for one merge.
const STAGES_MADE_MAX: u32 = 3;

/// What is remembered of a table; forgotten whenever something fails or the definition changes.
#[derive(Default)]
pub(super) struct Cache {
    /// The target as it is, and the generation it was read at.
    shape: Option<(u32, Arc<TargetShape>)>,
    /// Plans by the generation of the rows.
    plans: HashMap<u32, Arc<TransferPlan>>,
    /// The staging table that this process has made.
    staging: Staging,
    violations: u32,
    /// The target has not been at the end of its topic yet.
    pub(super) fresh: bool,
}

impl Worker {
    /// Merges `rows` of generation `generations.0` into the target, which has at least generation `generations.1`.
    ///
    /// # Errors
    /// Nothing is written then, unless it is [`DestinationError::CommitUnknown`].
    pub(super) async fn flush(
        &self,
        task: &TableTask,
        cache: &mut Cache,
        generations: (u32, u32),
        rows: &Batch,
        moves: &[Move],
    ) -> Result<Report, DestinationError> {
        let writer = self.attend().await?;
        let mut lease = self.pool.acquire().await?;
        let plan = self.plan(&mut lease, task, cache, generations).await?;
        let stage = task.target.stage(self.bookkeeping.schema_name(), writer);
        let place = place_of(task, rows);
        let mut loaded = None;
        if self.may_load_directly(task, cache, &plan, rows) {
            self.begin_on(&lease, Some(&task.target)).await?;
            loaded = load_directly(&mut lease, cache, &plan, &stage, rows, &place).await?;
        }
        let (report, staged) = match loaded {
            Some(report) => (report, false),
            None => (self.merge(&mut lease, task, cache, &plan, &stage, rows, &place).await?, true),
        };
        self.bookkeeping.move_offsets(&mut lease, &task.topic, moves, None).await?;
        if task.loading {
            sabotage::pass("snapshot-batch");
        }
        sabotage::pass("destination-commit");
        lease.commit().await?;
        sabotage::pass("destination-committed");
        if staged {
            cache.staging.leave(&lease, &stage, report.bytes).await;
        }
        lease.release();
        Ok(report)
    }

    /// The plan from a generation into the target as it is.
    async fn plan(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        cache: &mut Cache,
        (generation, target): (u32, u32),
    ) -> Result<Arc<TransferPlan>, DestinationError> {
        if cache.shape.as_ref().is_some_and(|(known, _)| *known != target) {
            *cache = Cache { violations: cache.violations, fresh: cache.fresh, ..Cache::default() };
        }
        if let Some(plan) = cache.plans.get(&generation) {
            return Ok(Arc::clone(plan));
        }
        let shape = match &cache.shape {
            Some((_, shape)) => Arc::clone(shape),
            None => {
                let shape = catalog::shape(connection, self.dialect, &task.target).await?;
                let shape = Arc::new(shape.ok_or_else(|| target_gone(task))?);
                cache.shape = Some((target, Arc::clone(&shape)));
                shape
            }
        };
        let plan = Arc::new(compile(task, generation, target, &shape).map_err(DestinationError::Table)?);
        cache.plans.insert(generation, Arc::clone(&plan));
        Ok(plan)
    }

    fn may_load_directly(&self, task: &TableTask, cache: &Cache, plan: &TransferPlan, rows: &Batch) -> bool {
        (task.loading || cache.fresh)
            && cache.violations < VIOLATIONS_MAX
            && plan.has_unique_key()
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
        self.begin_merge(lease, task, &mut cache.staging, plan, stage).await?;
        let Copied::All(report) = copy(lease, plan, stage, Shape::Stage, rows, place).await? else {
            return Err(DestinationError::Table(target_gone_wrong(task)));
        };
        let strategy = self.dialect.strategy(plan.is_append_optimized(), plan.has_unique_key());
        let statements = Merge::of(plan, stage, task.operations).statements(strategy);
        lease
            .batch_execute(&statements.join("; "))
            .await
            .map_err(DestinationError::during(format!("merging rows into {}", task.target)))?;
        Ok(report)
    }

    /// A transaction that has its staging table, empty; one that someone has dropped meanwhile is made anew.
    async fn begin_merge(
        &self,
        lease: &Lease,
        task: &TableTask,
        staging: &mut Staging,
        plan: &TransferPlan,
        stage: &TargetName,
    ) -> Result<(), DestinationError> {
        for _ in 0..STAGES_MADE_MAX {
            staging.prepare(lease, self.dialect, plan, stage).await?;
            self.begin_on(lease, Some(&task.target)).await?;
            if staging.take(lease, stage).await? {
                return Ok(());
            }
        }
        Err(DestinationError::Table(TableError {
            code: "staging".to_owned(),
            message: format!("the staging table {stage} is gone as soon as it was made"),
            place: task.target.to_string(),
            remedy: "find who drops the tables of this schema, then restart apply".to_owned(),
        }))
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

/// The plan for rows of `generation` into a target that has the definition of `target`.
///
/// # Errors
/// Why the rows do not fit.
pub fn compile(
    task: &TableTask,
    generation: u32,
    target: u32,
    shape: &TargetShape,
) -> Result<TransferPlan, TableError> {
    let unknown = |generation: u32| unknown_generation(task, generation);
    let rows = task.generations.get(&generation).ok_or_else(|| unknown(generation))?;
    let newest = task.generations.get(&target).ok_or_else(|| unknown(target))?;
    let mut rule = task.rule_between(&rows.table, &newest.table);
    if !task.alter {
        // Changes of the definition are not taken: what the target does not have is left out.
        let missing = rows.table.columns.iter().filter(|column| {
            let name = rule.target_name(column);
            !rows.table.is_key(column) && !shape.columns.iter().any(|there| there.name == name)
        });
        let missing: Vec<String> = missing.map(|column| column.name.clone()).collect();
        rule.drop.extend(missing);
    }
    TransferPlan::compile(&rows.table, &rule, shape).map_err(|error| TableError {
        code: "target-definition".to_owned(),
        message: error.to_string(),
        place: task.target.to_string(),
        remedy: "follow what the message says; apply tries again by itself".to_owned(),
    })
}

/// The history does not say what a generation looks like.
pub(in crate::pipeline) fn unknown_generation(task: &TableTask, generation: u32) -> TableError {
    TableError {
        code: "unknown-generation".to_owned(),
        message: format!("the history does not hold generation {generation} of {}", task.id),
        place: task.topic.clone(),
        remedy: "has the history topic been recreated? `apply replay --from beginning --clear` the table"
            .to_owned(),
    }
}

fn target_gone(task: &TableTask) -> DestinationError {
    DestinationError::Table(TableError {
        code: "target-gone".to_owned(),
        message: format!("the target table {} does not exist any more", task.target),
        place: task.target.to_string(),
        remedy: format!(
            "`apply replay --from beginning --clear --table {}` builds it anew, or exclude the table",
            task.id
        ),
    })
}

fn target_gone_wrong(task: &TableTask) -> TableError {
    TableError {
        code: "staging".to_owned(),
        message: "a delete could not be staged".to_owned(),
        place: task.target.to_string(),
        remedy: "this is a defect of Tributary; report it".to_owned(),
    }
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
