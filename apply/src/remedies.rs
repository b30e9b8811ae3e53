//! What a person is to do where a table, the task or a command does not go on: the one table of remedies of apply. Facts enter
//! (names, statements), a text leaves that can be followed to the letter. Here is what has a code of a table; what ends the
//! service or a command is in `ends`.
//!
//! Invariant: each remedy ends with equal rows if it is followed. The test `followed` in tests/tests/real says of each
//! function here where that is done on real servers, or why it cannot be.

use crate::merge::dependents::{self, Dependent};
use crate::merge::names::{TargetName, quote};
use crate::merge::plan::error::PlanError;
use std::fmt::Display;

mod ends;
mod sqlstate;

pub(crate) use ends::*;
pub(crate) use sqlstate::sqlstate;

/// How a remedy ends whose table is tried again by itself.
pub(crate) const TRIES_AGAIN: &str = "apply tries again by itself";

/// What a message says, of a table that is tried again by itself.
pub(crate) const FOLLOW: &str =
    "follow what the message says; apply tries again by itself (restart it if you changed its configuration)";

/// Builds the target from the topic.
fn anew(source: impl Display) -> String {
    format!("`apply replay --from beginning --clear --table {source}`")
}

/// Any of these, where the topic itself is not like the source: has capture read the table once more.
#[must_use]
pub(crate) fn read_anew(source: impl Display) -> String {
    format!(
        "have capture read the table anew: add \"!{source}\" to capture.tables, stop capture, `capture run \
         --until-caught-up --deselect {source}`, take it out of capture.tables again, and start capture"
    )
}

/// verify: rows differ, none is there that the source lacks
#[must_use]
pub(crate) fn differences_to_merge(source: &str) -> String {
    format!("apply replay --config FILE --table {source} --from beginning --merge")
}

/// verify: rows are there that the source lacks
#[must_use]
pub(crate) fn differences_to_clear(source: &str) -> String {
    format!("apply replay --config FILE --table {source} --from beginning --clear")
}

/// verify: rows are there twice
#[must_use]
pub(crate) const fn repeated_rows() -> &'static str {
    "give the target its primary key again, by the statement that `apply check` prints: without one a row can be written twice"
}

/// existing-data
#[must_use]
pub(crate) fn existing_data(target: &TargetName) -> String {
    format!(
        "TRUNCATE TABLE {target}, and apply goes on by itself; or set existing_data = \"clear\" (removes the rows) or \
         \"append\" (merges into them), and restart apply"
    )
}

/// foreign-record and generation-order
#[must_use]
pub(crate) fn foreign_record(source: &str, partition: i32, offset: i64) -> String {
    format!(
        "find out what else writes to the topic and stop it; then go on after the record: `apply replay --from \
         {partition}:{} --table {source}`",
        offset.saturating_add(1)
    )
}

/// offset-out-of-range
#[must_use]
pub(crate) fn offset_out_of_range(source: &str) -> String {
    format!("{}, if the topic still holds all of it; else {}", anew(source), read_anew(source))
}

/// retention-exceeded
#[must_use]
pub(crate) fn retention_exceeded(source: &str) -> String {
    anew(source)
}

/// topic-gone
#[must_use]
pub(crate) const fn topic_gone() -> &'static str {
    "keep `capture run` running: it reads the table anew into another topic, and apply follows by itself; rows that are in \
     the target stay meanwhile"
}

/// bookkeeping-incomplete
#[must_use]
pub(crate) fn bookkeeping_incomplete(source: &str) -> String {
    anew(source)
}

/// topic-recreated
#[must_use]
pub(crate) fn topic_recreated(source: &str) -> String {
    anew(source)
}

/// partitions-changed
#[must_use]
pub(crate) const fn partitions_changed() -> &'static str {
    "keep `capture run` running: it reads the table anew into another topic, and apply follows by itself"
}

/// rule-conflict
#[must_use]
pub(crate) const fn rule_conflict() -> &'static str {
    "make one of the rules narrower, and restart apply"
}

/// target-name
#[must_use]
pub(crate) const fn target_name() -> &'static str {
    "give the table a `target` of its own, and restart apply"
}

/// staging: a defect
#[must_use]
pub(crate) const fn staging_defect() -> &'static str {
    "this is a defect of Tributary; report it"
}

/// staging: somebody is at it
#[must_use]
pub(crate) const fn staging_dropped() -> &'static str {
    "find out who drops the tables of this schema, then restart apply"
}

/// unknown-generation
#[must_use]
pub(crate) fn unknown_generation(source: &str) -> String {
    anew(source)
}

/// undefined-table
#[must_use]
pub(crate) const fn undefined_table() -> &'static str {
    "start `capture run`, which writes the definition, then restart apply"
}

/// newer-bookkeeping
#[must_use]
pub(crate) const fn newer_bookkeeping() -> &'static str {
    "update apply to the version that last ran, or newer"
}

/// excluded-by-capture
#[must_use]
pub(crate) const fn excluded_by_capture() -> &'static str {
    "follow what `capture status` says of the table"
}

/// deselected
#[must_use]
pub(crate) const fn deselected() -> &'static str {
    "nothing, if that is meant; else select it in capture's configuration again and restart capture"
}

/// target-shared
#[must_use]
pub(crate) const fn target_shared() -> &'static str {
    "give each table a `target` of its own, and restart apply: several into one is not supported yet"
}

/// target-not-alone: another task feeds the target
#[must_use]
pub(crate) fn part_from_task(schema: &str, task: &str, source: &str) -> String {
    format!(
        "stop task {task} and run `apply drop` with its configuration (which keeps every target table), or give {source} a \
         `target` of its own there and delete its row from {}.targets",
        quote(schema)
    )
}

/// target-not-alone: what another task feeds cannot be seen
#[must_use]
pub(crate) fn part_from_unreadable(schema: &str) -> String {
    let schema = quote(schema);
    format!(
        "let this role see whether it does: GRANT USAGE ON SCHEMA {schema}, and GRANT SELECT ON {schema}.targets"
    )
}

/// target-not-alone: every row would go. `parting`: how the others are parted from the target; empty if there are none.
#[must_use]
pub(crate) fn not_alone_to_empty(parting: &str, target: &TargetName) -> String {
    let first = if parting.is_empty() { String::new() } else { format!("{parting}; then ") };
    format!("{first}copy what is to be kept elsewhere, and TRUNCATE TABLE {target}; {TRIES_AGAIN}")
}

/// target-not-alone: columns would go. `keys`: those of the table's rule that leave the target as it is.
#[must_use]
pub(crate) fn not_alone_to_narrow(source: &str, keys: &str) -> String {
    format!(
        "to leave the target as it is, set columns = {{ {keys} }} in a [[table]] for {source}, and restart apply"
    )
}

/// target-not-alone: a second one begins
#[must_use]
pub(crate) fn not_alone_to_take_over(source: &str) -> String {
    format!(
        "give {source} a `target` of its own, or set existing_data = \"append\", and restart apply: both then write into it, \
         and what would empty it parks the table"
    )
}

/// target-dependents: `gone`, the columns that the source has dropped.
#[must_use]
pub(crate) fn target_dependents(target: &TargetName, dependents: &[Dependent], gone: &[String]) -> String {
    dependents::remedy(target, dependents, gone, TRIES_AGAIN)
}

/// The server's code: a target that is made anew cannot be given what the statement in the message gives.
#[must_use]
pub(crate) fn cannot_be_given() -> String {
    format!(
        "let apply's role run that statement (a new owner needs CREATE on the schema, a publication is altered by its owner), or take \
         from the target what it gives; {TRIES_AGAIN}"
    )
}

/// target-key: `key`, its columns, quoted.
#[must_use]
pub(crate) fn target_key(target: &TargetName, key: &str) -> String {
    format!(
        "ALTER TABLE {target} ADD PRIMARY KEY ({key}), then restart apply; restarted without one, rows are merged more \
         slowly, one writer at a time"
    )
}

/// target-unsafe: the target is unlogged
#[must_use]
pub(crate) fn unlogged(target: &TargetName) -> String {
    format!("ALTER TABLE {target} SET LOGGED")
}

/// target-unsafe: partitions are unlogged
#[must_use]
pub(crate) fn unlogged_partition(first: &str) -> String {
    format!("ALTER TABLE {first} SET LOGGED, and so each of them")
}

/// target-unsafe: partitions are foreign tables
#[must_use]
pub(crate) fn foreign_partition(target: &TargetName, first: &str) -> String {
    format!("ALTER TABLE {target} DETACH PARTITION {first}, and so each of them; or choose another `target`")
}

/// target-unsafe: rules rewrite statements
#[must_use]
pub(crate) fn rewriting_rule(target: &TargetName, first: &str) -> String {
    format!("DROP RULE {} ON {target}, and so each of them; a trigger may do what it did", quote(first))
}

/// target-unsafe: policies hide rows
#[must_use]
pub(crate) fn row_security(target: &TargetName) -> String {
    format!(
        "ALTER TABLE {target} DISABLE ROW LEVEL SECURITY, or let the role see every row: ALTER ROLE … BYPASSRLS"
    )
}

/// target-definition: rows of the source do not fit the target's columns. `begun`: rows of it were written before, so that
/// what a column has lost is not there any more when the column is as it should be.
#[must_use]
pub(crate) fn target_definition(error: &PlanError, source: &str, begun: bool) -> String {
    // One statement alone would leave old rows as they are; the whole is built anew, or everything is merged again.
    let repaired = |statement: String| {
        if begun {
            format!(
                "{} builds the target anew; or keep it: {statement}, and after that `apply replay --from beginning --merge \
                 --table {source}`, for what the rows of before have lost comes from the topic",
                anew(source)
            )
        } else {
            format!("{statement}; {TRIES_AGAIN}")
        }
    };
    match error {
        PlanError::MissingColumn { alike: Some(alike), origin, .. } => format!(
            "set columns = {{ rename = {{ {origin:?} = {alike:?} }} }} in a [[table]] for {source}, and restart apply"
        ),
        PlanError::MissingColumn { target, column, wanted, .. } => {
            repaired(format!("ALTER TABLE {target} ADD COLUMN {} {wanted}", quote(column)))
        }
        PlanError::Incompatible { target, column, wanted, .. } => {
            repaired(format!("ALTER TABLE {target} ALTER COLUMN {} TYPE {wanted}", quote(column)))
        }
        PlanError::Generated { target, column, identity: true } => {
            repaired(format!("ALTER TABLE {target} ALTER COLUMN {} DROP IDENTITY", quote(column)))
        }
        PlanError::Generated { target, column, identity: false } => {
            repaired(format!("ALTER TABLE {target} ALTER COLUMN {} DROP EXPRESSION", quote(column)))
        }
        PlanError::RequiredColumn { target, column } | PlanError::NotNull { target, column } => {
            format!("ALTER TABLE {target} ALTER COLUMN {} DROP NOT NULL; {TRIES_AGAIN}", quote(column))
        }
        PlanError::CoarseKey { target, column, wanted } => format!(
            "ALTER TABLE {target} ALTER COLUMN {} TYPE {wanted} COLLATE \"C\"; {TRIES_AGAIN}",
            quote(column)
        ),
        PlanError::Layout(_) | PlanError::BadConstant { .. } | PlanError::TooManyColumns { .. } => {
            "follow what the message says, and restart apply".to_owned()
        }
    }
}

/// target-definition: somebody alters it all the time
#[must_use]
pub(crate) fn restless() -> String {
    format!("find out who alters the table all the time; {TRIES_AGAIN}")
}

/// target-kind
#[must_use]
pub(crate) const fn target_kind() -> &'static str {
    "rename it, and apply goes on by itself; or choose another `target`, and restart apply"
}

/// target-changed
#[must_use]
pub(crate) fn target_changed(source: &str) -> String {
    format!("restore the old `target` and restart apply; or build the new one: {}", anew(source))
}

/// target-gone
#[must_use]
pub(crate) fn target_gone(source: &str) -> String {
    format!("{} builds it anew", anew(source))
}

/// unsupported-ddl
#[must_use]
pub(crate) fn unsupported_ddl(source: &str) -> String {
    read_anew(source)
}

/// destination-error
#[must_use]
pub(crate) const fn destination_error() -> &'static str {
    "look at destination.user, destination.password and the server's log; apply tries again by itself (restart it if you \
     changed its configuration)"
}
