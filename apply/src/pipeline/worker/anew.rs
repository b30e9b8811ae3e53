//! Statements that change a target's definition, and what stands in their way; a target that is made anew, with everything
//! that hung on it.
//!
//! Invariant: nothing of anybody else's is dropped. What DROP TABLE would refuse or take along, and no statement of apply's
//! brings back, parks the table with its name and the statements that a person runs.

use super::Worker;
use crate::remedies;
use tokio_postgres::error::SqlState;
use tributary_schemas::history::GenerationRecord;
use tributary_schemas::table::Table;
use tributary_service::codes::Code;
use tributary_warehouse::destination::belongings::belongings;
use tributary_warehouse::destination::dependents::dependents;
use tributary_warehouse::destination::{
    Connection, DestinationError, TableError, catalog, describe, is_transient,
};
use tributary_warehouse::merge::belongings::FromSource;
use tributary_warehouse::merge::changes::{Change, alter_statements, changes};
use tributary_warehouse::merge::dependents::{Dependent, Kind, listed};
use tributary_warehouse::merge::layout::Layout;
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::sql::clear_target;
use tributary_warehouse::merge::target::TargetShape;
use tributary_warehouse::tables::fit::compile;
use tributary_warehouse::tables::task::TableTask;

/// What a statement that is refused was about to take from those who depend on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched {
    /// Columns of the target whose definition changes.
    columns: Vec<String>,
    /// Those of them that are dropped.
    gone: Vec<String>,
    /// Columns of the key, if that changes.
    key: Vec<String>,
    /// The rows go.
    rows: bool,
}

impl Touched {
    /// What `changes` do to the columns of the target.
    pub(super) fn by(task: &TableTask, before: &Table, changes: &[Change]) -> Self {
        let mut touched = Self::default();
        for change in changes {
            if matches!(change, Change::Key) {
                let key = before.columns.iter().filter(|column| before.is_key(column));
                touched.key = key.map(|column| task.rule.target_name(column)).collect();
            }
            let (column, gone) = match change {
                Change::DropColumn(column) => (column, true),
                Change::ModifyColumn { from, .. } => (from, false),
                _ => continue,
            };
            let name = task.rule.target_name(column);
            touched.gone.extend(gone.then(|| name.clone()));
            touched.columns.push(name);
        }
        touched
    }
}

impl Worker {
    /// Carries out statements on the target, all or none; if others depend on what they change, says who.
    pub(super) async fn carry_out(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        generation: u32,
        statements: &[String],
        touched: &Touched,
    ) -> Result<(), DestinationError> {
        let during = || {
            DestinationError::during(format!(
                "carrying out generation {generation} of {} on {}",
                task.name, task.target
            ))
        };
        if statements.is_empty() {
            return Ok(());
        }
        connection.batch_execute("SAVEPOINT tributary_step").await.map_err(during())?;
        for sql in statements {
            let Err(error) = connection.batch_execute(sql).await else { continue };
            let error = during()(error);
            if !is_of_dependents(error.code()) {
                return Err(error);
            }
            connection.batch_execute("ROLLBACK TO SAVEPOINT tributary_step").await.map_err(during())?;
            let found = self.touched_dependents(connection, task, touched).await?;
            return Err(if found.is_empty() {
                error
            } else {
                in_the_way(task, &error.to_string(), &found, &touched.gone)
            });
        }
        connection.batch_execute("RELEASE SAVEPOINT tributary_step").await.map_err(during())
    }

    /// What stands in the way of a statement that was refused.
    async fn touched_dependents(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        touched: &Touched,
    ) -> Result<Vec<Dependent>, DestinationError> {
        let mut found = Vec::new();
        if !touched.columns.is_empty() {
            found = dependents(connection, self.dialect, &task.target, Some(&touched.columns)).await?;
        }
        // Foreign keys stand in the way of a TRUNCATE, and of another key if they name its columns.
        let mut keyed = match &touched.key {
            _ if touched.rows => dependents(connection, self.dialect, &task.target, None).await?,
            key if !key.is_empty() => dependents(connection, self.dialect, &task.target, Some(key)).await?,
            _ => Vec::new(),
        };
        keyed.retain(|dependent| dependent.kind == Kind::ForeignKey && !found.contains(dependent));
        found.extend(keyed);
        Ok(found)
    }

    /// Empties the target of the rows of `slice`, which the caller has claimed.
    pub(super) async fn empty(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        generation: u32,
        slice: &Slice,
    ) -> Result<String, DestinationError> {
        let clear = clear_target(&task.target, slice);
        let statements = [clear];
        let touched = Touched { rows: true, ..Touched::default() };
        self.carry_out(connection, task, generation, &statements, &touched).await?;
        let [clear] = statements;
        Ok(clear)
    }

    /// Empties the target, which `topic` feeds and the caller has claimed, and gives it the definition of `record`: in place if that is
    /// possible, or if a person has done so; else the table, which has no row to lose, is made anew.
    pub(super) async fn reset(
        &self,
        connection: &mut Connection,
        (task, topic): (&TableTask, &str),
        before: &GenerationRecord,
        record: &GenerationRecord,
    ) -> Result<Vec<String>, DestinationError> {
        let during = || DestinationError::during(format!("making {} anew", task.target));
        let generation = record.generation;
        let mut statements = vec![self.empty(connection, task, generation, &task.slice()).await?];
        if !task.alter {
            return Ok(statements);
        }
        if task.rule.is_shared() {
            match self.follow_shared(connection, (task, topic), (before, record), true).await {
                // Nobody else's: it may be made anew.
                Err(DestinationError::Table(_)) if self.is_free(connection, task, topic).await? => {
                    statements.extend(self.make_anew(connection, task, before, record).await?);
                }
                followed => statements.extend(followed?),
            }
            return Ok(statements);
        }
        connection.batch_execute("SAVEPOINT tributary_reset").await.map_err(during())?;
        let changes = changes(&before.table, &record.table);
        if let Ok(alter) = self.alter(connection, task, record, &changes).await? {
            let touched = Touched::by(task, &before.table, &changes);
            match self.carry_out(connection, task, generation, &alter, &touched).await {
                Ok(()) => {
                    if let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await?
                        && compile(task, generation, generation, &shape, true).is_ok()
                    {
                        statements.extend(alter);
                        return Ok(statements);
                    }
                }
                // Made anew it would meet them as well.
                Err(DestinationError::Table(error)) => return Err(DestinationError::Table(error)),
                Err(error) if error.is_transient() => return Err(error),
                Err(_) => {}
            }
        }
        connection.batch_execute("ROLLBACK TO SAVEPOINT tributary_reset").await.map_err(during())?;
        let shape = catalog::shape(connection, self.dialect, &task.target).await?;
        if shape.is_some_and(|shape| was_made_by_hand(task, record, &shape)) {
            return Ok(statements);
        }
        statements.extend(self.make_anew(connection, task, before, record).await?);
        Ok(statements)
    }

    /// Drops the target and creates it with the definition of `record` and with what hung on it.
    pub(super) async fn make_anew(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        before: &GenerationRecord,
        record: &GenerationRecord,
    ) -> Result<Vec<String>, DestinationError> {
        let during = || DestinationError::during(format!("making {} anew", task.target));
        let found = dependents(connection, self.dialect, &task.target, None).await?;
        if !found.is_empty() {
            let why = format!("{} is to be made anew for generation {}", task.target, record.generation);
            return Err(in_the_way(task, &why, &found, &[]));
        }
        // Under the names that the columns have from now on, so that what hangs on them says these.
        let mut renames = changes(&before.table, &record.table);
        renames.retain(|change| matches!(change, Change::RenameColumn { .. }));
        if let Ok(renames) = self.alter(connection, task, record, &renames).await? {
            for sql in renames {
                let _ = self.attempt(connection, task, &sql).await?;
            }
        }
        let had = belongings(connection, self.dialect, &task.target).await?;
        let mut done = had.releases();
        done.push(format!("DROP TABLE {}", task.target));
        for sql in &done {
            connection.batch_execute(sql).await.map_err(during())?;
        }
        self.create_target(connection, task, &record.table).await?;
        let now = belongings(connection, self.dialect, &task.target).await?;
        let known = FromSource::between(&before.table, &record.table, &task.rule);
        for step in had.steps("TABLE", &task.target.to_string(), &now, &known) {
            let Err(error) = self.attempt(connection, task, &step.sql).await? else {
                done.push(step.sql);
                continue;
            };
            let code = error.code().map(SqlState::code).unwrap_or_default().to_owned();
            let (sql, said) = (step.sql, describe(&error));
            // A column that the definition does not have any more has taken its rights along.
            if step.required && code != SqlState::UNDEFINED_COLUMN.code() {
                return Err(cannot_be_given(task, record.generation, code, &sql, &said));
            }
            tracing::warn!(
                table = %task.name, target = %task.target, sql, error = said,
                "made anew without something that it had: run the statement by hand, as far as it applies"
            );
            done.push(format!("-- refused ({said}): {sql}"));
        }
        Ok(done)
    }

    /// Runs one statement that the server may refuse. What passes is no refusal: all is rolled back and tried again.
    async fn attempt(
        &self,
        connection: &Connection,
        task: &TableTask,
        sql: &str,
    ) -> Result<Result<(), tokio_postgres::Error>, DestinationError> {
        let during = || DestinationError::during(format!("making {} anew", task.target));
        connection.batch_execute("SAVEPOINT tributary_attempt").await.map_err(during())?;
        let Err(error) = connection.batch_execute(sql).await else {
            connection.batch_execute("RELEASE SAVEPOINT tributary_attempt").await.map_err(during())?;
            return Ok(Ok(()));
        };
        if is_transient(&error) {
            return Err(during()(error));
        }
        connection.batch_execute("ROLLBACK TO SAVEPOINT tributary_attempt").await.map_err(during())?;
        Ok(Err(error))
    }

    /// The statements that carry out `changes` on the way to `record`.
    pub(super) async fn alter(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        record: &GenerationRecord,
        changes: &[Change],
    ) -> Result<Result<Vec<String>, tributary_warehouse::merge::ddl::DdlError>, DestinationError> {
        if changes.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let Some(shape) = catalog::shape(connection, self.dialect, &task.target).await? else {
            return Ok(Ok(Vec::new()));
        };
        Ok(alter_statements(changes, &record.table, &task.rule, self.dialect, &shape))
    }
}

/// True if the server refuses because something else depends on what a statement changes: "used by a view", "other objects
/// depend on it", "foreign key cannot be implemented".
fn is_of_dependents(code: Option<&str>) -> bool {
    matches!(code, Some("0A000" | "2BP01" | "42804"))
}

/// True if rows of `record` fit the target as it is, and nothing but its key is unique: a person has made it so.
fn was_made_by_hand(task: &TableTask, record: &GenerationRecord, shape: &TargetShape) -> bool {
    let Ok(layout) = Layout::of(&record.table, &task.rule) else { return false };
    let loose = layout.columns.iter().all(|planned| planned.not_null || !shape.is_not_null(&planned.name));
    let keyed = shape.has_unique_key(&layout.key)
        && shape.unique_keys.iter().all(|unique| layout.key.iter().all(|name| unique.contains(name)));
    loose && keyed && compile(task, record.generation, record.generation, shape, true).is_ok()
}

/// A right, the owner or the like that the new target would lack: the old one stays.
fn cannot_be_given(
    task: &TableTask,
    generation: u32,
    code: String,
    sql: &str,
    said: &str,
) -> DestinationError {
    DestinationError::Table(TableError {
        code,
        message: format!(
            "{} stays as it is: made anew for generation {generation}, it would be without what this statement gives: {sql}: {said}",
            task.target
        ),
        place: task.target.to_string(),
        remedy: remedies::cannot_be_given(),
    })
}

fn in_the_way(task: &TableTask, why: &str, found: &[Dependent], gone: &[String]) -> DestinationError {
    let message = format!("{why}; in the way: {}", listed(found));
    let remedy = remedies::target_dependents(&task.target, found, gone);
    DestinationError::Table(TableError::new(Code::TargetDependents, message, &task.target, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_depend_on_is_looked_into() {
        assert!(is_of_dependents(Some("0A000")) && is_of_dependents(Some("2BP01")));
        assert!(
            !is_of_dependents(Some("42501")) && !is_of_dependents(Some("55P03")) && !is_of_dependents(None)
        );
    }
}
