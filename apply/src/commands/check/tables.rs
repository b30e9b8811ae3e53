//! Each table against its target: what would be created, or whether what is there can take the rows.

use crate::bookkeeping::{Bookkeeping, TargetRow};
use crate::commands::task::Planned;
use crate::destination::{Connection, DestinationError, catalog};
use crate::merge::ddl::Creation;
use crate::merge::dialect::Dialect;
use crate::pipeline::table::{Left, TableTask};
use crate::pipeline::worker::compile;
use std::collections::BTreeMap;
use tributary_schemas::config::ExistingData;
use tributary_service::check::CheckItem;

/// One item a table.
pub(super) async fn examine(
    connection: &mut Connection,
    dialect: Dialect,
    bookkeeping: &Bookkeeping,
    planned: Vec<Planned>,
    items: &mut Vec<CheckItem>,
) {
    let known = match bookkeeping.exists(connection).await {
        Ok(true) => bookkeeping.view(connection).await.unwrap_or_default().targets,
        _ => Vec::new(),
    };
    let known: BTreeMap<String, TargetRow> = known.into_iter().map(|row| (row.topic.clone(), row)).collect();
    let mut targets: BTreeMap<String, String> = BTreeMap::new();
    for (id, task) in planned {
        let name = format!("table-{id}");
        let task = match task {
            Ok(task) => task,
            Err(Left::Unmatched) => continue,
            Err(Left::Error(error)) => {
                items.push(CheckItem::fail(name, error.message, error.remedy));
                continue;
            }
        };
        if let Some(other) = targets.insert(task.target.to_string(), id.to_string()) {
            items.push(CheckItem::fail(
                name,
                format!("its target {} is also the target of {other}", task.target),
                "give each table a `target` of its own",
            ));
            continue;
        }
        let found = examine_table(connection, dialect, known.get(&task.topic), &task).await;
        items.push(match found {
            Ok(item) => CheckItem { name, ..item },
            Err(error) => {
                let error = error.into_table_error(&task.target.to_string());
                CheckItem::fail(name, error.message, error.remedy)
            }
        });
    }
}

async fn examine_table(
    connection: &mut Connection,
    dialect: Dialect,
    known: Option<&TargetRow>,
    task: &TableTask,
) -> Result<CheckItem, DestinationError> {
    let barriers = task.barriers();
    let beginning = barriers.beginning().map_or(0, |barrier| barrier.generation);
    let generation = known.map_or(beginning, |row| row.applied);
    let Some(record) = task.generations.get(&generation) else {
        let remedy = "start capture, which writes the definition";
        return Ok(CheckItem::fail(
            "",
            format!("the history does not define generation {generation}"),
            remedy,
        ));
    };
    if let Some(error) = known.and_then(|row| row.parked.as_ref()) {
        return Ok(CheckItem::warn("", format!("parked: {}", error.message), error.remedy.clone()));
    }
    let Some(shape) = catalog::shape(connection, dialect, &task.target).await? else {
        let creation = Creation {
            dialect,
            table: &record.table,
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
        return Ok(if created.notes.is_empty() {
            CheckItem::pass("", text)
        } else {
            CheckItem::warn("", format!("{text}\n{}", created.notes.join("\n")), "")
        });
    };
    if let Err(error) = compile(task, generation, generation, &shape) {
        return Ok(CheckItem::fail("", error.message, error.remedy));
    }
    if let Some(column) = shape.distributed_by.iter().find(|column| {
        !shape.unique_keys.iter().any(|key| key.contains(column)) && !shape.unique_keys.is_empty()
    }) {
        return Ok(CheckItem::fail(
            "",
            format!("{} is distributed by {column}, which is not part of its key", task.target),
            "distribute it by columns of its primary key",
        ));
    }
    if known.is_none()
        && task.existing == ExistingData::Refuse
        && catalog::has_rows(connection, &task.target).await?
    {
        return Ok(CheckItem::fail(
            "",
            format!("{} holds rows already", task.target),
            "empty it, or set existing_data = \"clear\" (removes the rows) or \"append\" (merges into them)",
        ));
    }
    let unknown = task.rule.unknown_columns(&record.table);
    if !unknown.is_empty() {
        let found = format!("`columns` names what the table does not have: {}", unknown.join(", "));
        return Ok(CheckItem::warn("", found, "correct the names, if the rule is for this table alone"));
    }
    Ok(CheckItem::pass("", format!("{} takes the rows", task.target)))
}
