//! Statements that change a target's definition, and what stands in their way; a target that is made anew, with everything
//! that hung on it.
//!
//! Invariant: nothing of anybody else's is dropped. What DROP TABLE would refuse or take along, and no statement of apply's
//! brings back, parks the table with its name and the statements that a person runs.

use super::Worker;
use super::fit::compile;
use crate::destination::belongings::{belongings, dependents};
use crate::destination::{Connection, DestinationError, TableError, catalog, describe};
use crate::merge::belongings::FromSource;
use crate::merge::changes::{Change, alter_statements, changes};
use crate::merge::dependents::{Dependent, Kind, listed};
use crate::merge::layout::Layout;
use crate::merge::sql::clear_target;
use crate::merge::target::TargetShape;
use crate::pipeline::table::TableTask;
use crate::remedies;
use tributary_schemas::history::GenerationRecord;
use tributary_service::codes::Code;

/// What a statement that is refused was about to take from those who depend on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched {
    /// Columns of the target whose definition changes.
    columns: Vec<String>,
    /// Those of them that are dropped.
    gone: Vec<String>,
}

impl Touched {
    /// What `changes` do to the columns of the target.
    pub(super) fn by(task: &TableTask, changes: &[Change]) -> Self {
        let mut touched = Self::default();
        for change in changes {
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
                task.id, task.target
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
            let columns = Some(touched.columns.as_slice()).filter(|columns| !columns.is_empty());
            let mut found = dependents(connection, self.dialect, &task.target, columns).await?;
            if columns.is_none() {
                // What a TRUNCATE stumbles over.
                found.retain(|dependent| dependent.kind == Kind::ForeignKey);
            }
            return Err(if found.is_empty() {
                error
            } else {
                in_the_way(task, &error.to_string(), &found, &touched.gone)
            });
        }
        connection.batch_execute("RELEASE SAVEPOINT tributary_step").await.map_err(during())
    }

    /// Empties the target, which the caller has claimed.
    pub(super) async fn empty(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        generation: u32,
    ) -> Result<String, DestinationError> {
        let clear = clear_target(&task.target, &task.rule.constants);
        let statements = [clear];
        self.carry_out(connection, task, generation, &statements, &Touched::default()).await?;
        let [clear] = statements;
        Ok(clear)
    }

    /// Empties the target, which the caller has claimed, and gives it the definition of `record`: in place if that is
    /// possible, or if a person has done so; else the table, which has no row to lose, is made anew.
    pub(super) async fn reset(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        before: &GenerationRecord,
        record: &GenerationRecord,
    ) -> Result<Vec<String>, DestinationError> {
        let during = || DestinationError::during(format!("making {} anew", task.target));
        let generation = record.generation;
        let mut statements = vec![self.empty(connection, task, generation).await?];
        if !task.alter {
            return Ok(statements);
        }
        connection.batch_execute("SAVEPOINT tributary_reset").await.map_err(during())?;
        let changes = changes(&before.table, &record.table);
        if let Ok(alter) = self.alter(connection, task, record, &changes).await? {
            let touched = Touched::by(task, &changes);
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
    async fn make_anew(
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
                self.attempt(connection, task, &sql).await?;
            }
        }
        let had = belongings(connection, self.dialect, &task.target).await?;
        let mut done = vec![format!("DROP TABLE {}", task.target)];
        for sql in &done {
            connection.batch_execute(sql).await.map_err(during())?;
        }
        self.create_target(connection, task, &record.table).await?;
        let now = belongings(connection, self.dialect, &task.target).await?;
        let known = FromSource::between(&before.table, &record.table, &task.rule);
        for sql in had.statements("TABLE", &task.target.to_string(), &now, &known) {
            match self.attempt(connection, task, &sql).await? {
                None => done.push(sql),
                Some(error) => {
                    tracing::warn!(
                        table = %task.id, target = %task.target, sql, error,
                        "made anew without something that it had: run the statement by hand, as far as it applies"
                    );
                    done.push(format!("-- refused ({error}): {sql}"));
                }
            }
        }
        Ok(done)
    }

    /// Runs one statement that may fail; what the server said against it.
    async fn attempt(
        &self,
        connection: &Connection,
        task: &TableTask,
        sql: &str,
    ) -> Result<Option<String>, DestinationError> {
        let during = || DestinationError::during(format!("making {} anew", task.target));
        connection.batch_execute("SAVEPOINT tributary_attempt").await.map_err(during())?;
        let Err(error) = connection.batch_execute(sql).await else {
            connection.batch_execute("RELEASE SAVEPOINT tributary_attempt").await.map_err(during())?;
            return Ok(None);
        };
        if error.code().is_none() {
            return Err(during()(error));
        }
        connection.batch_execute("ROLLBACK TO SAVEPOINT tributary_attempt").await.map_err(during())?;
        Ok(Some(describe(&error)))
    }

    /// The statements that carry out `changes` on the way to `record`.
    pub(super) async fn alter(
        &self,
        connection: &mut Connection,
        task: &TableTask,
        record: &GenerationRecord,
        changes: &[Change],
    ) -> Result<Result<Vec<String>, crate::merge::ddl::DdlError>, DestinationError> {
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
