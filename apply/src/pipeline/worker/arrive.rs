//! Arrivals at a generation: each is recorded with its offset under the lock of the topic's row, and the one whose
//! turn it is carries out the DDL in the same transaction.

use super::Worker;
use super::flush::Cache;
use crate::barriers::{Arrival, Passage, arrive};
use crate::batches::compact::Batch;
use crate::destination::{Connection, DestinationError, TableError, catalog};
use crate::merge::changes::{alter_statements, changes};
use crate::merge::ddl::DdlError;
use crate::merge::sql::clear_target;
use crate::pipeline::job::{Move, Outcome};
use crate::pipeline::table::TableTask;
use tributary_schemas::history::{Cause, GenerationRecord};

impl Worker {
    /// Records arrivals of partitions that come from `generations.0` at `generations.1`.
    pub(super) async fn arrive(
        &self,
        task: &TableTask,
        cache: &mut Cache,
        (from, generation): (u32, u32),
        passage: Passage,
        moves: &[Move],
    ) -> Result<Outcome<Batch>, DestinationError> {
        let mut lease = self.begin(Some(&task.target)).await?;
        let row = self.bookkeeping.target(&mut lease, &task.topic, true).await?;
        let applied = row.map_or(0, |row| row.applied);
        self.bookkeeping.move_offsets(&mut lease, &task.topic, moves, Some((from, generation))).await?;
        let arrived = self.bookkeeping.arrived(&mut lease, &task.topic, generation).await?;
        let mut done = applied;
        if arrive(passage, generation, applied, arrived, u64::from(task.partitions)) == Arrival::Execute {
            let statements = self.execute(&mut lease, task, from, generation).await?;
            self.bookkeeping.mark_done(&mut lease, &task.topic, generation, &statements).await?;
            done = generation;
            tracing::info!(table = %task.id, generation, statements = statements.len(), "definition followed");
        }
        lease.commit().await?;
        lease.release();
        *cache = Cache::default();
        Ok(Outcome::Arrived { generation, done })
    }

    async fn execute(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        from: u32,
        generation: u32,
    ) -> Result<Vec<String>, DestinationError> {
        let (Some(before), Some(record)) = (task.generations.get(&from), task.generations.get(&generation))
        else {
            return Ok(Vec::new());
        };
        let statements = self.statements(connection, task, before, record).await?;
        for sql in &statements {
            connection.batch_execute(sql).await.map_err(DestinationError::during(format!(
                "carrying out generation {generation} of {} on {}",
                task.id, task.target
            )))?;
        }
        Ok(statements)
    }

    /// What a generation comes to in the destination.
    async fn statements(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        before: &GenerationRecord,
        record: &GenerationRecord,
    ) -> Result<Vec<String>, DestinationError> {
        let mut statements = Vec::new();
        // The table itself stays when it is dropped on the source: views and grants hang on it.
        if record.cause.empties() && task.operations.delete {
            statements.push(clear_target(&task.target, &task.rule.constants));
        }
        if record.cause == Cause::Drop || !task.alter {
            return Ok(statements);
        }
        let changes = changes(&before.table, &record.table);
        if changes.is_empty() {
            return Ok(statements);
        }
        let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await? else {
            return Ok(statements);
        };
        match alter_statements(&changes, &record.table, &task.rule, self.dialect, &shape) {
            Ok(alter) => statements.extend(alter),
            // An empty table loses nothing by being made anew.
            Err(DdlError::Unsupported { .. }) if record.cause == Cause::Reset && task.operations.delete => {
                statements = vec![format!("DROP TABLE {}", task.target)];
                let created = self.creation(task, &record.table).map_err(DestinationError::Table)?;
                statements.extend(created.statements.into_iter().skip(1));
            }
            Err(error) => return Err(DestinationError::Table(unsupported(task, record, &error))),
        }
        Ok(statements)
    }
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
