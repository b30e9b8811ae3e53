//! Each table against its target: what would be created, or whether what is there can take the rows.

use super::{Findings, read_history, unreachable, unreadable};
use std::collections::BTreeMap;
use tributary_config::{Config, TableRules};
use tributary_schemas::history::SelectedTable;
use tributary_schemas::topic::task_of;
use tributary_service::check::{CheckItem, Outcome};
use tributary_service::load::rules;
use tributary_service::sabotage;
use tributary_topics::history::History;
use tributary_warehouse::bookkeeping::{Bookkeeping, TargetRow};
use tributary_warehouse::destination::{Connection, DestinationError, catalog};
use tributary_warehouse::merge::dialect::Dialect;
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::tables::examine::examine_table;
use tributary_warehouse::tables::sharing::Together;
use tributary_warehouse::tables::task::{Planned, TableRefusal, TableTask, planned};

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
    let mut together = Together::default();
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
        let shape = match task.rule.is_shared() {
            true => catalog::shape(connection, dialect, &task.target).await.ok().flatten(),
            false => None,
        };
        let row = known.get(&task.topic);
        let begun = row.map(|row| row.applied);
        let generation = begun.or_else(|| task.barriers().beginning().map(|barrier| barrier.generation));
        if let Some(error) = together.add(&task, generation.unwrap_or(0), shape) {
            findings.push(CheckItem::fail(name, error.message, error.remedy));
            continue;
        }
        match examine_table((connection, dialect), bookkeeping, row, &task).await {
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
