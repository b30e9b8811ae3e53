//! Arrivals at a generation: each is recorded with its offset, and the one whose turn it is carries out the DDL in the
//! same transaction. Arrivals at one target come one after the other, by its advisory lock.
//!
//! Invariant: while DDL waits for the target's readers no row of the bookkeeping is held, and the wait is short at first,
//! for every SELECT that comes later waits behind it: it is given up and begun again, and waits longer each time.

use super::Worker;
use super::anew::Touched;
use super::claim::Done;
use super::flush::Cache;
use super::locks::Hold;
use crate::batches::compact::Batch;
use crate::pipeline::job::JobOutcome;
use crate::remedies;
use tributary_schemas::history::{Cause, GenerationRecord};
use tributary_service::codes::Code;
use tributary_service::sabotage;
use tributary_warehouse::bookkeeping::{ArrivalStep, Move};
use tributary_warehouse::destination::{Connection, DestinationError, TableError};
use tributary_warehouse::merge::changes::{Change, changes};
use tributary_warehouse::merge::ddl::DdlError;
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::tables::barriers::{Arrival, Passage, arrive};
use tributary_warehouse::tables::ownership::Act;
use tributary_warehouse::tables::task::TableTask;

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
    ) -> Result<JobOutcome<Batch>, DestinationError> {
        let _turn = self.pool.turn_to_define(&task.target, conflicts).await;
        let mut lease = self.begin(task, Hold::Target(&task.target), conflicts).await?;
        let own: Vec<i32> = moves.iter().map(|step| step.partition).collect();
        let (applied, verdict) = self.judge(&mut lease, task, generation, passage, &own, false).await?;
        let statements = match verdict {
            Arrival::Execute => Some(self.execute(&mut lease, task, (from, generation)).await?),
            _ => None,
        };
        // An instance of an older version queues up at the row alone. What it has done meanwhile is seen here.
        if self.judge(&mut lease, task, generation, passage, &own, true).await? != (applied, verdict) {
            return Ok(JobOutcome::Again(None));
        }
        let mut done = applied;
        if let Some(statements) = statements {
            if task.is_reset(generation) {
                self.bookkeeping.mark_unloaded(&mut lease, &task.topic).await?;
            }
            self.bookkeeping.mark_done(&mut lease, &task.topic, generation, &statements).await?;
            done = generation;
            tracing::info!(table = %task.name, generation, statements = statements.len(), "definition followed");
        }
        let step = ArrivalStep { from, to: generation, anew: task.is_emptied(generation) };
        let retention = self.retention_at(task, from);
        self.bookkeeping.move_offsets(&mut lease, &task.topic, moves, Some(step), retention).await?;
        sabotage::pass("ddl-barrier");
        lease.commit().await?;
        sabotage::pass("ddl-barrier");
        lease.release();
        *cache = Cache::default();
        Ok(JobOutcome::Arrived { generation, done })
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
    ) -> Result<Vec<String>, DestinationError> {
        let (Some(before), Some(record)) = (task.record(from), task.record(generation)) else {
            return Ok(Vec::new());
        };
        let mut done = Done::default();
        if task.is_reset(generation) {
            let how = format!("reading {} anew (generation {generation})", task.name);
            done.became_sole = self.claim_rows(connection, task, how).await?;
            done.statements = self.reset(connection, (task, &task.topic), before, record).await?;
        } else {
            // The table itself stays when it is dropped on the source: views and grants hang on it.
            if record.cause.empties() && task.operations.delete {
                done.became_sole = self.claim_rows(connection, task, emptying(task, record)).await?;
                done.statements.push(self.empty(connection, task, generation, &task.slice()).await?);
            }
            self.follow(connection, task, &task.topic, (before, record), &mut done).await?;
        }
        if done.became_sole {
            self.bookkeeping.record_owner(connection, &task.topic, &task.target, false).await?;
        }
        if task.rule.is_shared() {
            let share = task.share(generation);
            self.bookkeeping.record_share(connection, &task.topic, &task.target, &share).await?;
        }
        Ok(done.statements)
    }

    /// Before the topic's rows are removed from the target, by what `how` says: see [`Self::claim`]. Rows of a slice are deleted
    /// beside others who write: whoever still writes some of the topic's own finds its offsets moved.
    async fn claim_rows(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        how: String,
    ) -> Result<bool, DestinationError> {
        let slice = task.slice();
        if slice.is_whole() {
            self.lock_definition(connection, task).await?;
        }
        self.claim(connection, task, &task.topic, &Act::Empty { how, slice }).await
    }

    /// Gives the target, which `topic` feeds, the definition of `record`; its rows stay.
    pub(super) async fn follow(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        topic: &str,
        (before, record): (&GenerationRecord, &GenerationRecord),
        done: &mut Done,
    ) -> Result<(), DestinationError> {
        if record.cause == Cause::Drop || !task.alter {
            return Ok(());
        }
        if task.rule.is_shared() {
            let emptied = task.is_emptied(record.generation);
            return match self.follow_shared(connection, (task, topic), (before, record), emptied).await {
                Ok(statements) => {
                    done.statements.extend(statements);
                    Ok(())
                }
                Err(DestinationError::Table(_)) if task.is_reset_after(record.generation) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if self.is_altered(connection, task, before, record).await? {
            self.lock_definition(connection, task).await?;
        }
        let reset_after = task.is_reset_after(record.generation);
        let allowed = match Act::narrowing(task, before, record) {
            Some(act) => self.claim(connection, task, topic, &act).await,
            None => Ok(false),
        };
        match allowed {
            Ok(became_sole) => done.became_sole |= became_sole,
            // The reset asks again, and what lies before it does not matter.
            Err(DestinationError::Table(_)) if reset_after => return Ok(()),
            Err(error) => return Err(error),
        }
        let changes = changes(&before.table, &record.table);
        match self.alter(connection, task, record, &changes).await? {
            Ok(alter) => {
                let touched = Touched::by(task, &before.table, &changes);
                match self.carry_out(connection, task, record.generation, &alter, &touched).await {
                    Ok(()) => {
                        done.statements.extend(alter);
                        Ok(())
                    }
                    // What stands in the way of the change may not stand in the way of the reset.
                    Err(DestinationError::Table(_)) if reset_after => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Err(_) if reset_after => Ok(()),
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
        // What cannot be followed is told by `follow`.
        let mut changes = changes(&before.table, &record.table);
        changes.retain(Change::excludes_readers);
        Ok(self
            .alter(connection, task, record, &changes)
            .await?
            .is_ok_and(|statements| !statements.is_empty()))
    }

    /// Takes what keeps others from writing rows of `slice` until this transaction ends: the whole target, or, where others have
    /// rows in it, everything but reading.
    pub(super) async fn lock_rows(
        &self,
        connection: &Connection,
        task: &TableTask,
        slice: &Slice,
    ) -> Result<(), DestinationError> {
        if slice.is_whole() {
            return self.lock_definition(connection, task).await;
        }
        connection
            .batch_execute(&format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", task.target))
            .await
            .map_err(DestinationError::during(format!("removing rows of {}", task.target)))
    }

    /// Takes the target for this transaction alone, or gives up, soon at first, as the transaction's limit says: whoever reads it
    /// meanwhile is waited for, and every later reader waits for that. So they do if something else is waited for after it.
    pub(super) async fn lock_definition(
        &self,
        connection: &Connection,
        task: &TableTask,
    ) -> Result<(), DestinationError> {
        connection
            .batch_execute(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", task.target))
            .await
            .map_err(DestinationError::during(format!("changing the definition of {}", task.target)))
    }
}

/// What empties the target, for people.
fn emptying(task: &TableTask, record: &GenerationRecord) -> String {
    let what = if record.cause == Cause::Drop { "DROP TABLE" } else { "TRUNCATE TABLE" };
    format!("{what} of {} (generation {})", task.name, record.generation)
}

fn unsupported(task: &TableTask, record: &GenerationRecord, error: &DdlError) -> TableError {
    let statement = if record.statement.is_empty() { "the change" } else { record.statement.as_str() };
    let place = format!("{}, generation {}: {statement}", task.name, record.generation);
    TableError::new(Code::UnsupportedDdl, error.to_string(), place, remedies::unsupported_ddl(&task.name))
}
