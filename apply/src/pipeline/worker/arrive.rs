//! Arrivals at a generation: each is recorded with its offset, and the one whose turn it is carries out the DDL in the
//! same transaction. Arrivals at one target come one after the other, by its advisory lock.
//!
//! Invariant: while DDL waits for the target's readers no row of the bookkeeping is held, and the wait is short at first,
//! for every SELECT that comes later waits behind it: it is given up and begun again, and waits longer each time.

use super::Worker;
use super::fit::compile;
use super::flush::Cache;
use super::locks::{Hold, definition_lock_ms};
use crate::barriers::{Arrival, Passage, arrive};
use crate::batches::compact::Batch;
use crate::bookkeeping::ArrivalStep;
use crate::destination::{Connection, DestinationError, TableError, catalog};
use crate::merge::changes::{Change, alter_statements, changes};
use crate::merge::ddl::DdlError;
use crate::merge::sql::clear_target;
use crate::pipeline::job::{Move, Outcome};
use crate::pipeline::ownership::Act;
use crate::pipeline::table::TableTask;
use tributary_schemas::history::{Cause, GenerationRecord};
use tributary_service::sabotage;

impl Worker {
    /// Records arrivals of partitions that come from `generations.0` at `generations.1`. `conflicts`: how many attempts in
    /// a row have met the locks of others.
    pub(super) async fn arrive(
        &self,
        task: &TableTask,
        cache: &mut Cache,
        (from, generation): (u32, u32),
        passage: Passage,
        moves: &[Move],
        conflicts: u32,
    ) -> Result<Outcome<Batch>, DestinationError> {
        let _turn = self.pool.turn().await?;
        let mut lease = self.begin(Hold::Target(&task.target)).await?;
        let own: Vec<i32> = moves.iter().map(|step| step.partition).collect();
        let (applied, verdict) = self.judge(&mut lease, task, generation, passage, &own, false).await?;
        let statements = match verdict {
            Arrival::Execute => Some(self.execute(&mut lease, task, (from, generation), conflicts).await?),
            _ => None,
        };
        // An instance of an older version queues up at the row alone. What it has done meanwhile is seen here.
        if self.judge(&mut lease, task, generation, passage, &own, true).await? != (applied, verdict) {
            return Ok(Outcome::Again(None));
        }
        let mut done = applied;
        if let Some(statements) = statements {
            if task.is_reset(generation) {
                self.bookkeeping.mark_unloaded(&mut lease, &task.topic).await?;
            }
            self.bookkeeping.mark_done(&mut lease, &task.topic, generation, &statements).await?;
            done = generation;
            tracing::info!(table = %task.id, generation, statements = statements.len(), "definition followed");
        }
        let step = ArrivalStep { from, to: generation, anew: task.is_reset(generation) };
        let retention = self.retention_at(task, from);
        self.bookkeeping.move_offsets(&mut lease, &task.topic, moves, Some(step), retention).await?;
        sabotage::pass("ddl-barrier");
        lease.commit().await?;
        sabotage::pass("ddl-barrier");
        lease.release();
        *cache = Cache::default();
        Ok(Outcome::Arrived { generation, done })
    }

    /// The newest generation that is done, and what is to be done by those who bring the partitions `own`. `lock`: as
    /// the row says that cannot change any more.
    async fn judge(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        generation: u32,
        passage: Passage,
        own: &[i32],
        lock: bool,
    ) -> Result<(u32, Arrival), DestinationError> {
        let row = self.bookkeeping.target(connection, &task.topic, lock && self.locks_rows()).await?;
        let applied = row.map_or(0, |row| row.applied);
        let others = self.bookkeeping.arrived(connection, &task.topic, generation, own).await?;
        let arrived = others + u64::try_from(own.len()).unwrap_or(u64::MAX);
        Ok((applied, arrive(passage, generation, applied, arrived, u64::from(task.partitions))))
    }

    async fn execute(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        (from, generation): (u32, u32),
        conflicts: u32,
    ) -> Result<Vec<String>, DestinationError> {
        let (Some(before), Some(record)) = (task.generations.get(&from), task.generations.get(&generation))
        else {
            return Ok(Vec::new());
        };
        if task.is_reset(generation) {
            let how = format!("reading {} anew (generation {generation})", task.id);
            self.lock_definition(connection, task, conflicts).await?;
            self.claim(connection, task, &Act::Empty(how)).await?;
            return self.reset(connection, task, before, record).await;
        }
        let empties = record.cause.empties() && task.operations.delete;
        if empties || self.is_altered(connection, task, before, record).await? {
            self.lock_definition(connection, task, conflicts).await?;
        }
        let mut statements = Vec::new();
        // The table itself stays when it is dropped on the source: views and grants hang on it.
        if empties {
            self.claim(connection, task, &Act::Empty(emptying(task, record))).await?;
            statements.push(clear_target(&task.target, &task.rule.constants));
        }
        carry_out(connection, task, generation, &statements).await?;
        statements.extend(self.follow(connection, task, before, record).await?);
        Ok(statements)
    }

    /// Gives the target the definition of `record`; its rows stay.
    pub(super) async fn follow(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        before: &GenerationRecord,
        record: &GenerationRecord,
    ) -> Result<Vec<String>, DestinationError> {
        if record.cause == Cause::Drop || !task.alter {
            return Ok(Vec::new());
        }
        let reset_after = task.is_reset_after(record.generation);
        let allowed = match Act::narrowing(task, before, record) {
            Some(act) => self.claim(connection, task, &act).await,
            None => Ok(()),
        };
        match allowed {
            Ok(()) => {}
            // The reset asks again, and what lies before it does not matter.
            Err(DestinationError::Table(_)) if reset_after => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        match self.alter(connection, task, record, &changes(&before.table, &record.table)).await? {
            Ok(alter) => {
                carry_out(connection, task, record.generation, &alter).await?;
                Ok(alter)
            }
            Err(_) if reset_after => Ok(Vec::new()),
            Err(error) => Err(DestinationError::Table(unsupported(task, record, &error))),
        }
    }

    /// True if the target is to be changed, as it is now, in a way that its readers stand in.
    async fn is_altered(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        before: &GenerationRecord,
        record: &GenerationRecord,
    ) -> Result<bool, DestinationError> {
        if record.cause == Cause::Drop || !task.alter {
            return Ok(false);
        }
        // What cannot be followed is told by `follow`.
        let mut changes = changes(&before.table, &record.table);
        changes.retain(Change::excludes_readers);
        Ok(self
            .alter(connection, task, record, &changes)
            .await?
            .is_ok_and(|statements| !statements.is_empty()))
    }

    /// Takes the target for this transaction alone, or gives up, soon at first: whoever reads it meanwhile is waited for, and every
    /// later reader waits for that.
    pub(super) async fn lock_definition(
        &self,
        connection: &Connection,
        task: &TableTask,
        conflicts: u32,
    ) -> Result<(), DestinationError> {
        let usual = self.pool.connector().lock_timeout_ms();
        connection
            .batch_execute(&format!(
                "SET LOCAL lock_timeout = {}; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE; SET LOCAL lock_timeout = {usual}",
                definition_lock_ms(conflicts, usual),
                task.target
            ))
            .await
            .map_err(DestinationError::during(format!("changing the definition of {}", task.target)))
    }

    /// The statements that carry out `changes` on the way to `record`.
    async fn alter(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        record: &GenerationRecord,
        changes: &[Change],
    ) -> Result<Result<Vec<String>, DdlError>, DestinationError> {
        if changes.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await? else {
            return Ok(Ok(Vec::new()));
        };
        Ok(alter_statements(changes, &record.table, &task.rule, self.dialect, &shape))
    }

    /// Empties the target, which the caller has claimed, and gives it the definition of `record`: in place if that is possible, which keeps views and
    /// grants; else the table is made anew, for it has no row to lose.
    pub(super) async fn reset(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        before: &GenerationRecord,
        record: &GenerationRecord,
    ) -> Result<Vec<String>, DestinationError> {
        let during = || DestinationError::during(format!("making {} anew", task.target));
        let generation = record.generation;
        let mut statements = vec![clear_target(&task.target, &task.rule.constants)];
        carry_out(connection, task, generation, &statements).await?;
        if !task.alter {
            return Ok(statements);
        }
        connection.batch_execute("SAVEPOINT tributary_reset").await.map_err(during())?;
        if let Ok(alter) =
            self.alter(connection, task, record, &changes(&before.table, &record.table)).await?
            && carry_out(connection, task, generation, &alter).await.is_ok()
            && let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await?
            && compile(task, generation, generation, &shape).is_ok()
        {
            statements.extend(alter);
            return Ok(statements);
        }
        connection.batch_execute("ROLLBACK TO SAVEPOINT tributary_reset").await.map_err(during())?;
        let anew = vec![format!("DROP TABLE {}", task.target)];
        carry_out(connection, task, generation, &anew).await?;
        self.create_target(connection, task, &record.table).await?;
        Ok(anew)
    }
}

/// What empties the target, for people.
fn emptying(task: &TableTask, record: &GenerationRecord) -> String {
    let what = if record.cause == Cause::Drop { "DROP TABLE" } else { "TRUNCATE TABLE" };
    format!("{what} of {} (generation {})", task.id, record.generation)
}

async fn carry_out(
    connection: &Connection,
    task: &TableTask,
    generation: u32,
    statements: &[String],
) -> Result<(), DestinationError> {
    for sql in statements {
        connection.batch_execute(sql).await.map_err(DestinationError::during(format!(
            "carrying out generation {generation} of {} on {}",
            task.id, task.target
        )))?;
    }
    Ok(())
}

fn unsupported(task: &TableTask, record: &GenerationRecord, error: &DdlError) -> TableError {
    let statement = if record.statement.is_empty() { "the change" } else { record.statement.as_str() };
    TableError {
        code: "unsupported-ddl".to_owned(),
        message: error.to_string(),
        place: format!("{}, generation {}: {statement}", task.id, record.generation),
        remedy: "make the change on the target by hand, or have capture read the table anew".to_owned(),
    }
}
