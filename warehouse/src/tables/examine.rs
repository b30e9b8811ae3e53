//! Whether a table's target can take its rows, or could be created: looked at in the catalog, without changing anything.

use super::fit::{compile, warnings};
use super::ownership::{Act, refusal};
use super::sharing::{changed, judged, not_united};
use super::task::TableTask;
use crate::bookkeeping::{Bookkeeping, Ownership, TargetRow};
use crate::destination::dependents::dependents;
use crate::destination::rights::rights;
use crate::destination::{Connection, DestinationError, catalog};
use crate::merge::ddl::Creation;
use crate::merge::dependents::listed;
use crate::merge::dialect::Dialect;
use crate::merge::limits;
use crate::merge::sql::clear_target;
use crate::merge::target::TargetShape;
use crate::merge::union::unite;
use crate::remedies;
use tributary_config::ExistingData;
use tributary_schemas::table::Table;
use tributary_service::check::{CheckItem, Outcome};

/// What keeps apply from beginning a table, and what to do about it; `None` if nothing does.
pub async fn obstacle(
    (connection, dialect): (&mut Connection, Dialect),
    bookkeeping: &Bookkeeping,
    task: &TableTask,
) -> Result<Option<(String, String)>, DestinationError> {
    match examine_table((connection, dialect), bookkeeping, None, task).await {
        Ok(item) => Ok((item.outcome == Outcome::Fail).then_some((item.found, item.remedy))),
        Err(DestinationError::Table(error)) => Ok(Some((error.message, error.remedy))),
        Err(error) => Err(error),
    }
}

/// What `apply check` says of a table and its target. `known`: what the bookkeeping has of it.
///
/// # Errors
/// The catalog cannot be read.
pub async fn examine_table(
    (connection, dialect): (&mut Connection, Dialect),
    bookkeeping: &Bookkeeping,
    known: Option<&TargetRow>,
    task: &TableTask,
) -> Result<CheckItem, DestinationError> {
    let barriers = task.barriers();
    let beginning = barriers.beginning().map_or(0, |barrier| barrier.generation);
    let generation = known.map_or(beginning, |row| row.applied);
    let Some(record) = task.record(generation) else {
        let remedy = remedies::undefined_table();
        return Ok(CheckItem::fail(
            "",
            format!("the history does not define generation {generation}"),
            remedy,
        ));
    };
    if let Some(error) = known.and_then(|row| row.parked.as_ref()) {
        return Ok(CheckItem::warn("", format!("parked: {}", error.message), error.remedy.clone()));
    }
    if dialect.reserves_schema(&task.target.schema) {
        return Ok(CheckItem::fail(
            "",
            format!("the destination keeps the schema {} for itself", task.target.schema),
            "give the table a `target` in another schema",
        ));
    }
    let recorded = match known {
        Some(_) => bookkeeping.share(connection, &task.topic).await?,
        None => None,
    };
    if known.is_some()
        && let Some(found) = changed(task, recorded.as_ref(), generation)
    {
        return Ok(CheckItem::fail("", found, remedies::rule_changed(&task.name)));
    }
    let Some(shape) = catalog::shape(connection, dialect, &task.target).await? else {
        return to_be_created((connection, dialect), task, &record.table).await;
    };
    let shape = if known.is_none() && task.rule.is_shared() && task.alter {
        match unite(&record.table, &task.rule, &shape) {
            Ok(united) => united.shape,
            Err(error) => {
                let error = not_united(task, &error, false);
                return Ok(CheckItem::fail("", error.message, error.remedy));
            }
        }
    } else {
        shape
    };
    if let Some(item) = misfit(connection, task, generation, &shape, known.is_some()).await? {
        return Ok(item);
    }
    if let Some(item) = owned(connection, bookkeeping, task, known.is_some()).await? {
        return Ok(item);
    }
    let warnings = cautions((&mut *connection, dialect), task, &record.table, &shape).await?;
    if !warnings.is_empty() {
        return Ok(CheckItem::warn("", warnings.join("\n"), ""));
    }
    let unknown = task.rule.unknown_columns(&record.table);
    if !unknown.is_empty() {
        let found = format!("`columns` names what the table does not have: {}", unknown.join(", "));
        return Ok(CheckItem::warn("", found, "correct the names, if the rule is for this table alone"));
    }
    Ok(CheckItem::pass("", format!("{} takes the rows", task.target)))
}

/// What is said of a target that is to be created.
async fn to_be_created(
    (connection, dialect): (&mut Connection, Dialect),
    task: &TableTask,
    table: &Table,
) -> Result<CheckItem, DestinationError> {
    let creation = Creation {
        dialect,
        table,
        rule: &task.rule,
        target: &task.target,
        distributed_by: task.distributed_by.as_deref(),
        storage: task.storage,
        indexes: task.indexes,
    };
    let created = match creation.statements() {
        Ok(created) => created,
        Err(error) => return Ok(CheckItem::fail("", error.to_string(), "correct its [[table]]")),
    };
    let (_, may_create) = catalog::may_use_schema(connection, &task.target.schema).await?;
    if !may_create {
        return Ok(CheckItem::fail(
            "",
            format!("{} does not exist and cannot be created", task.target),
            "grant what `apply check --print-grants` lists",
        ));
    }
    let text = format!("{} will be created", task.target);
    Ok(if created.notes.is_empty() {
        CheckItem::pass("", text)
    } else {
        CheckItem::warn("", format!("{text}\n{}", created.notes.join("\n")), "")
    })
}

/// What is to be said of who else has rows in the target; `begun`: the table has been set up.
async fn owned(
    connection: &mut Connection,
    bookkeeping: &Bookkeeping,
    task: &TableTask,
    begun: bool,
) -> Result<Option<CheckItem>, DestinationError> {
    let slice = task.slice();
    let ownership = bookkeeping.ownership(connection, &task.topic, (&task.target, &slice)).await?;
    let judged = judged(&slice, &ownership);
    if !begun && task.existing != ExistingData::Append && !ownership.feeders.is_empty() {
        let error = refusal(task, &Ownership { foreign_rows: Some(false), ..ownership }, &Act::TakeOver);
        return Ok(Some(CheckItem::fail("", error.message, error.remedy)));
    }
    if !begun
        && task.existing == ExistingData::Refuse
        && catalog::has_rows(connection, &task.target, &judged).await?
    {
        return Ok(Some(CheckItem::fail(
            "",
            format!("{} holds rows already", task.target),
            remedies::existing_data(&clear_target(&task.target, &judged)),
        )));
    }
    if !ownership.is_sole(task.existing)
        && (begun || catalog::has_rows(connection, &task.target, &slice).await?)
    {
        let found = format!("others have rows in {}: {}", task.target, ownership.owners(task.existing));
        let remedy = "nothing, if that is meant: TRUNCATE, DROP TABLE, DROP or RENAME COLUMN and re-reads on the source then \
                      park the table";
        return Ok(Some(CheckItem::warn("", found, remedy)));
    }
    Ok(None)
}

/// What a person should know of a target that takes the rows.
async fn cautions(
    (connection, dialect): (&mut Connection, Dialect),
    task: &TableTask,
    table: &Table,
    shape: &TargetShape,
) -> Result<Vec<String>, DestinationError> {
    let mut warnings = warnings(task, shape);
    let rights = rights(connection, &task.target, task.operations).await?.unwrap_or_default();
    if !rights.owns {
        warnings.push(format!(
            "{} belongs to another role: DDL of the source and a re-read with another definition park the table, and nobody takes \
             statistics after the load; `apply check --print-grants` has the statement",
            task.target
        ));
    }
    if !rights.truncates && task.operations.delete && !task.rule.is_shared() {
        warnings.push(format!(
            "this role may not TRUNCATE {}: TRUNCATE and DROP TABLE on the source and re-reads park the table; `apply check \
             --print-grants` has the statement",
            task.target
        ));
    }
    if !shape.append_optimized {
        warnings.extend(limits::notes_on(shape, table, &task.rule));
    }
    let found = dependents(connection, dialect, &task.target, None).await?;
    if task.alter && !found.is_empty() {
        warnings.push(format!(
            "{} is used by others ({}): DDL of the source that changes or drops what they use, and a re-read that cannot be carried \
             out in place, park the table and give the statements that take them away and bring them back",
            task.target,
            listed(&found)
        ));
    }
    Ok(warnings)
}

/// Why a target cannot take the rows.
async fn misfit(
    connection: &Connection,
    task: &TableTask,
    generation: u32,
    shape: &TargetShape,
    begun: bool,
) -> Result<Option<CheckItem>, DestinationError> {
    let rights = rights(connection, &task.target, task.operations).await?.unwrap_or_default();
    if !rights.missing.is_empty() {
        let (target, missing) = (&task.target, rights.missing.join(", "));
        let found =
            format!("this role may not write into {target}, which belongs to another: it lacks {missing}");
        return Ok(Some(CheckItem::fail("", found, "grant what `apply check --print-grants` lists for it")));
    }
    if let Err(error) = compile(task, generation, generation, shape, begun) {
        return Ok(Some(CheckItem::fail("", error.message, error.remedy)));
    }
    if let Some(column) = shape.distributed_by.iter().find(|column| {
        !shape.unique_keys.iter().any(|key| key.contains(column)) && !shape.unique_keys.is_empty()
    }) {
        return Ok(Some(CheckItem::fail(
            "",
            format!("{} is distributed by {column}, which is not part of its key", task.target),
            "distribute it by columns of its primary key",
        )));
    }
    Ok(None)
}
