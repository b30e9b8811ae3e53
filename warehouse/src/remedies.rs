//! What a person is to do where a table does not fit its target, or the warehouse refuses: facts enter (names, statements),
//! a text leaves that can be followed to the letter. It is part of the table of remedies of `apply`.
//!
//! Invariant: each remedy ends with equal rows if it is followed. The test `followed` in tests/tests/real says of each
//! function here where that is done on real servers, or why it cannot be.

use crate::merge::names::{TargetName, quote};
use crate::merge::plan::error::PlanError;
use std::fmt::Display;

mod sqlstate;

pub(crate) use sqlstate::sqlstate;

/// How a remedy ends whose table is tried again by itself.
pub const TRIES_AGAIN: &str = "apply tries again by itself";

/// Any of these, where the target itself is not like the topic: builds it anew.
#[must_use]
pub fn anew(source: impl Display) -> String {
    format!("`apply replay --from beginning --clear --table {source}`")
}

/// Any of these, where the topic itself is not like the source: has capture read the table once more.
#[must_use]
pub fn read_anew(source: impl Display) -> String {
    format!(
        "have capture read the table anew: add \"!{source}\" to capture.tables, stop capture, `capture run \
         --until-caught-up --deselect {source}`, take it out of capture.tables again, and start capture"
    )
}

/// existing-data: `clear`, the statement that removes the rows.
#[must_use]
pub fn existing_data(clear: &str) -> String {
    format!(
        "{clear}, and apply goes on by itself; or set existing_data = \"clear\" (removes the rows) or \"append\" (merges into \
         them), and restart apply"
    )
}

/// constant-value
#[must_use]
pub(crate) fn constant_value(source: &str) -> String {
    format!("correct `constants`, or give {source} a [[table]] of its own, and restart apply")
}

/// target-definition: a column of a target that tables share cannot hold the values of all. `begun`: rows of the table were
/// written before.
#[must_use]
pub fn union_type(source: &str, origin: &str, begun: bool) -> String {
    let rename = format!(
        "set columns = {{ rename = {{ {origin:?} = \"another name\" }} }} in a [[table]] for {source}"
    );
    if begun { format!("{rename}, and {}", anew(source)) } else { format!("{rename}, and restart apply") }
}

/// target-definition: the configuration does not go with the definition of a table whose target is shared
#[must_use]
pub fn union_layout(source: &str, begun: bool) -> String {
    let follow = "follow what the message says";
    if begun { format!("{follow}, and {}", anew(source)) } else { format!("{follow}, and restart apply") }
}

/// target-definition: a target that tables share has another key than a table's
#[must_use]
pub fn union_key(source: &str, begun: bool) -> String {
    let choose = format!(
        "give {source} a `primary_key` of these columns (columns.rename gives its own their names), or a `target` of its own"
    );
    if begun { format!("{choose}, and {}", anew(source)) } else { format!("{choose}, and restart apply") }
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

/// unknown-generation
#[must_use]
pub(crate) fn unknown_generation(source: &str) -> String {
    anew(source)
}

/// target-shared: `source`, the table that came later.
#[must_use]
pub fn target_shared(source: &str) -> String {
    format!(
        "give {source} a `target` of its own, and restart apply; or tell the rows of both apart: `constants` with another value for \
         each, named in `primary_key`, in the [[table]] of each, and restart apply (one whose rows are there already says what to do then)"
    )
}

/// rule-changed
#[must_use]
pub fn rule_changed(source: &str) -> String {
    format!("restore the old [[table]] and restart apply; or have its rows written anew: {}", anew(source))
}

/// undefined-table
#[must_use]
pub const fn undefined_table() -> &'static str {
    "start `capture run`, which writes the definition, then restart apply"
}

/// newer-bookkeeping
#[must_use]
pub const fn newer_bookkeeping() -> &'static str {
    "update apply to the version that last ran, or newer"
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
        "let this role see whether it does: GRANT USAGE ON SCHEMA {schema}, and GRANT SELECT ON ALL TABLES IN SCHEMA {schema}"
    )
}

/// target-not-alone: every row would go. `parting`: how the others are parted from the target; empty if there are none.
/// `clear`: the statement that removes the rows.
#[must_use]
pub(crate) fn not_alone_to_empty(parting: &str, clear: &str) -> String {
    let first = if parting.is_empty() { String::new() } else { format!("{parting}; then ") };
    format!("{first}copy what is to be kept elsewhere, and {clear}; {TRIES_AGAIN}")
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

/// target-kind
#[must_use]
pub(crate) const fn target_kind() -> &'static str {
    "rename it, and apply goes on by itself; or choose another `target`, and restart apply"
}

/// destination-error
#[must_use]
pub(crate) const fn destination_error() -> &'static str {
    "look at destination.user, destination.password and the server's log; apply tries again by itself (restart it if you \
     changed its configuration)"
}
