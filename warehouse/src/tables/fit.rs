//! Whether the rows of a topic fit the target as it is: pure, from definitions and the catalog's answer to a plan, or to
//! why there is none.

use super::task::TableTask;
use crate::destination::TableError;
use crate::merge::hazards::Obstacle;
use crate::merge::layout::Layout;
use crate::merge::plan::TransferPlan;
use crate::merge::target::TargetShape;
use crate::remedies::{self, TRIES_AGAIN};
use tributary_service::codes::Code;

/// What a target is or carries that would lose rows in silence.
///
/// # Errors
/// The first of it.
pub fn check_hazards(task: &TableTask, shape: &TargetShape) -> Result<(), TableError> {
    shape.hazards.obstacle(&task.target).map_or(Ok(()), |Obstacle { found, remedy }| {
        Err(TableError::new(Code::TargetUnsafe, found, &task.target, format!("{remedy}; {TRIES_AGAIN}")))
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

/// The plan for rows of `generation` into a target that has the definition of `target`; `begun`: rows of the table were
/// written before.
///
/// # Errors
/// Why the rows do not fit.
pub fn compile(
    task: &TableTask,
    generation: u32,
    target: u32,
    shape: &TargetShape,
    begun: bool,
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
    let plan = TransferPlan::compile(&rows.table, &rule, shape).map_err(|error| {
        let remedy = remedies::target_definition(&error, &task.name, begun);
        TableError::new(Code::TargetDefinition, error.to_string(), &task.target, remedy)
    })?;
    // Where changes of the definition are not taken, the target's own columns are nobody's business here.
    let fills = if task.alter { task.fills(generation, target) } else { Vec::new() };
    Ok(plan.with_fills(fills, shape))
}

/// The history does not say what a generation looks like.
pub fn unknown_generation(task: &TableTask, generation: u32) -> TableError {
    let message = format!("the history does not hold generation {generation} of {}", task.name);
    TableError::new(Code::UnknownGeneration, message, &task.topic, remedies::unknown_generation(&task.name))
}
