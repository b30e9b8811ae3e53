//! Each table against its target: what would be created, or whether what is there can take the rows.

use super::{Findings, read_history, unreachable, unreadable};
use crate::bookkeeping::{Bookkeeping, Ownership, TargetRow};
use crate::destination::dependents::dependents;
use crate::destination::rights::rights;
use crate::destination::{Connection, DestinationError, catalog};
use crate::merge::ddl::Creation;
use crate::merge::dependents::listed;
use crate::merge::dialect::Dialect;
use crate::merge::limits;
use crate::merge::names::TargetName;
use crate::merge::target::TargetShape;
use crate::pipeline::ownership::{Act, refusal};
use crate::pipeline::table::{Planned, TableRefusal, TableTask, planned};
use crate::pipeline::worker::{compile, warnings};
use crate::remedies;
use crate::topics::history::History;
use std::collections::BTreeMap;
use tributary_config::{Config, ExistingData, TableRules};
use tributary_schemas::history::SelectedTable;
use tributary_schemas::table::Table;
use tributary_schemas::topic::task_of;
use tributary_service::check::{CheckItem, Outcome};
use tributary_service::load::rules;
use tributary_service::sabotage;

/// What the names of the items about single tables begin with.
const OF_TABLE: &str = "table-";

/// How often tables are looked at while others change them.
const ROUNDS: u32 = 5;

/// True of an item that costs its table alone.
pub(crate) fn is_of_table(item: &CheckItem) -> bool {
    item.name.starts_with(OF_TABLE)
}

/// What the destination knows of each topic.
type Targets = BTreeMap<String, TargetRow>;

/// One item a table. Other instances may be at work: what they change meanwhile is in the bookkeeping, and its reason
/// in the history, so that a failure counts only if both still say what they said before. After [`ROUNDS`] it does anyway.
pub(super) async fn examine(
    config: &Config,
    (connection, dialect): (&mut Connection, Dialect),
    bookkeeping: &Bookkeeping,
    mut histories: Vec<History>,
    findings: &mut Findings,
) {
    // The configuration was validated before.
    let Ok(rules) = rules(config) else { return };
    let plan = |histories: &[History]| planned(config, &rules, histories);
    let mut round = 1;
    let mut known = match targets(connection, bookkeeping).await {
        Ok(known) => known,
        Err(error) => return unreadable(&error, findings),
    };
    loop {
        sabotage::pass("check-targets");
        let planned = plan(&histories);
        let newest = generations(&planned);
        let found = examine_once((connection, dialect), bookkeeping, &known, planned).await;
        let failed = found.0.iter().any(|item| item.outcome == Outcome::Fail);
        if failed && round < ROUNDS {
            let now = match targets(connection, bookkeeping).await {
                Ok(now) => now,
                Err(error) => return unreadable(&error, findings),
            };
            let mut later = Vec::new();
            for history in &histories {
                match read_history(config, history.task()).await {
                    Ok(history) => later.push(history),
                    Err(error) => return unreachable(config, &error, findings),
                }
            }
            let moved = now != known || generations(&plan(&later)) != newest;
            if moved {
                (known, histories, round) = (now, later, round + 1);
                continue;
            }
        }
        findings.0.extend(found.0);
        findings.0.extend(deselected(config, &rules, &histories, &known));
        return;
    }
}

/// One item for each table that has been merged and that no `[[table]]`, or `from`, names any more: a file of another task, or
/// an older one, under the name of this task would leave its target as it is without a word. It is left only if `--ignore`
/// names it.
fn deselected(config: &Config, rules: &TableRules, histories: &[History], known: &Targets) -> Vec<CheckItem> {
    let item = |table: String, target: &TargetName, why: &str| {
        let name = format!("deselected-{table}");
        let found = format!("{table}: {why}, and its target {target} would stay as it is");
        let remedy =
            format!("name it again (is this the task's configuration?), or leave it: --ignore {name}");
        CheckItem::fail(name, found, remedy)
    };
    let of_history = |history: &History| {
        let unmatched = |table: &&SelectedTable| {
            matches!(TableTask::new(config, rules, history, table), Err(TableRefusal::Unmatched))
        };
        let left = history.replicated().filter(unmatched).filter_map(|table| {
            // Capture may have left its topic for another meanwhile.
            let of_table = |row: &&TargetRow| {
                row.source == table.id.to_string() && task_of(&row.topic) == history.task().as_str()
            };
            let row = known.get(&table.topic).or_else(|| known.values().find(of_table))?;
            Some(item(config.label(history.task(), &table.id), &row.target, "no [[table]] names it any more"))
        });
        left.collect::<Vec<_>>()
    };
    let is_read = |row: &&TargetRow| config.origins().iter().any(|task| task.as_str() == task_of(&row.topic));
    let of_others = known.values().filter(|row| !is_read(row));
    let of_others = of_others.map(|row| {
        item(
            format!("{}:{}", task_of(&row.topic), row.source),
            &row.target,
            "`from` does not name its task any more",
        )
    });
    histories.iter().flat_map(of_history).chain(of_others).collect()
}

async fn targets(
    connection: &mut Connection,
    bookkeeping: &Bookkeeping,
) -> Result<Targets, DestinationError> {
    if !bookkeeping.exists(connection).await? {
        return Ok(Targets::new());
    }
    let view = bookkeeping.view(connection).await?;
    Ok(view.targets.into_iter().map(|row| (row.topic.clone(), row)).collect())
}

/// The newest generation of each table.
fn generations(planned: &[Planned]) -> Vec<(String, Option<u32>)> {
    let newest = |task: &TableTask| task.generations.keys().next_back().copied();
    planned.iter().map(|(name, task)| (name.clone(), task.as_ref().ok().and_then(newest))).collect()
}

async fn examine_once(
    (connection, dialect): (&mut Connection, Dialect),
    bookkeeping: &Bookkeeping,
    known: &Targets,
    planned: Vec<Planned>,
) -> Findings {
    let mut findings = Findings::default();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (table, task) in planned {
        let name = format!("{OF_TABLE}{table}");
        let task = match task {
            Ok(task) => task,
            Err(TableRefusal::Unmatched) => continue,
            Err(TableRefusal::Error(error)) => {
                findings.push(CheckItem::fail(name, error.message, error.remedy));
                continue;
            }
        };
        if let Some(other) = names.insert(task.target.to_string(), table) {
            findings.push(CheckItem::fail(
                name,
                format!("its target {} is also the target of {other}", task.target),
                "give each table a `target` of its own",
            ));
            continue;
        }
        match examine_table((connection, dialect), bookkeeping, known.get(&task.topic), &task).await {
            Ok(item) => findings.push(CheckItem { name, ..item }),
            Err(error) => {
                let passing = error.is_transient();
                let error = error.into_table_error(&task.target.to_string());
                findings.push(CheckItem::fail(name, error.message, error.remedy).passing(passing));
            }
        }
    }
    findings
}

/// What keeps apply from beginning a table, and what to do about it; `None` if nothing does.
pub(crate) async fn obstacle(
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

async fn examine_table(
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
    if let Some(item) = misfit(connection, task, generation, &shape, known.is_some()).await? {
        return Ok(item);
    }
    let ownership = bookkeeping.ownership(connection, &task.topic, &task.target).await?;
    if known.is_none() && task.existing != ExistingData::Append && !ownership.feeders.is_empty() {
        let error = refusal(task, &Ownership { foreign_rows: Some(false), ..ownership }, &Act::TakeOver);
        return Ok(CheckItem::fail("", error.message, error.remedy));
    }
    if known.is_none()
        && task.existing == ExistingData::Refuse
        && catalog::has_rows(connection, &task.target).await?
    {
        return Ok(CheckItem::fail(
            "",
            format!("{} holds rows already", task.target),
            remedies::existing_data(&task.target),
        ));
    }
    if !ownership.is_sole(task.existing)
        && (known.is_some() || catalog::has_rows(connection, &task.target).await?)
    {
        let found = format!("others have rows in {}: {}", task.target, ownership.owners(task.existing));
        let remedy = "nothing, if that is meant: TRUNCATE, DROP TABLE, DROP or RENAME COLUMN and re-reads on the source then \
                      park the table";
        return Ok(CheckItem::warn("", found, remedy));
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
    if !rights.truncates && task.operations.delete {
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
