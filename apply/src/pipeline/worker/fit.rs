//! Whether the rows of a topic fit the target as it is: pure, from definitions and the catalog's answer to a plan, or to
//! why there is none.

use crate::destination::{DestinationError, TRIES_AGAIN, TableError};
use crate::merge::hazards::Obstacle;
use crate::merge::layout::Layout;
use crate::merge::names::quote_list;
use crate::merge::plan::TransferPlan;
use crate::merge::target::TargetShape;
use crate::pipeline::table::TableTask;

/// What a target is or carries that would lose rows in silence.
///
/// # Errors
/// The first of it.
pub(super) fn check_hazards(task: &TableTask, shape: &TargetShape) -> Result<(), TableError> {
    shape.hazards.obstacle(&task.target).map_or(Ok(()), |Obstacle { found, remedy }| {
        Err(TableError {
            code: "target-unsafe".to_owned(),
            message: found,
            place: task.target.to_string(),
            remedy: format!("{remedy}; {TRIES_AGAIN}"),
        })
    })
}

/// What a person should know of a target.
#[must_use]
pub fn warnings(task: &TableTask, shape: &TargetShape) -> Vec<String> {
    let newest = task.generations.values().next_back();
    let layout = newest.and_then(|record| Layout::of(&record.table, &task.rule).ok());
    let key = layout.map(|layout| layout.key).unwrap_or_default();
    // Append-optimized tables have no unique index on most servers.
    let keyless = !shape.append_optimized && !shape.has_unique_key(&key);
    shape.hazards.warnings(&task.target, Some(key.as_slice()).filter(|_| keyless))
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
    check_hazards(task, shape)?;
    let unknown = |generation: u32| unknown_generation(task, generation);
    let rows = task.record(generation).ok_or_else(|| unknown(generation))?;
    let newest = task.record(target).ok_or_else(|| unknown(target))?;
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
    let plan = TransferPlan::compile(&rows.table, &rule, shape).map_err(|error| TableError {
        code: "target-definition".to_owned(),
        message: error.to_string(),
        place: task.target.to_string(),
        remedy: "follow what the message says; apply tries again by itself".to_owned(),
    })?;
    // Where changes of the definition are not taken, the target's own columns are nobody's business here.
    let fills = if task.alter { task.fills(generation, target) } else { Vec::new() };
    Ok(plan.with_fills(fills, shape))
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

pub(super) fn key_gone(task: &TableTask, plan: &TransferPlan) -> TableError {
    let key = quote_list(plan.key());
    TableError {
        code: "target-key".to_owned(),
        message: format!(
            "the unique index of {} over its key ({key}) is gone: nothing would keep a row from being there twice",
            task.target
        ),
        place: task.target.to_string(),
        remedy: format!(
            "ALTER TABLE {} ADD PRIMARY KEY ({key}), then restart apply; restarted without one, rows are merged more slowly, \
             one writer at a time",
            task.target
        ),
    }
}

pub(super) fn restless(task: &TableTask) -> TableError {
    TableError {
        code: "target-definition".to_owned(),
        message: format!(
            "the definition of {} was changed during each of several attempts at a flush",
            task.target
        ),
        place: task.target.to_string(),
        remedy: "find who alters the table all the time, then restart apply".to_owned(),
    }
}

pub(super) fn target_gone(task: &TableTask) -> DestinationError {
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

pub(super) fn target_gone_wrong(task: &TableTask) -> TableError {
    TableError {
        code: "staging".to_owned(),
        message: "a delete could not be staged".to_owned(),
        place: task.target.to_string(),
        remedy: "this is a defect of Tributary; report it".to_owned(),
    }
}
