//! What a person is to do where a table, the task or a command does not go on: the table of remedies of apply. Facts enter
//! (names, statements), a text leaves that can be followed to the letter. Here is what has a code of a table; what ends the
//! service or a command is in `ends`; what is about the warehouse and what `verify` finds is in the crates of these names.
//!
//! Invariant: each remedy ends with equal rows if it is followed. The test `followed` in tests/tests/real says of each
//! function here where that is done on real servers, or why it cannot be.

use tributary_warehouse::merge::dependents::{self, Dependent};
use tributary_warehouse::merge::names::TargetName;
use tributary_warehouse::remedies::{anew, read_anew};

mod ends;

pub(crate) use ends::*;
pub(crate) use tributary_warehouse::remedies::{
    TRIES_AGAIN, existing_data, newer_bookkeeping, rule_changed, target_shared, undefined_table,
};

/// What a message says, of a table that is tried again by itself.
pub(crate) const FOLLOW: &str =
    "follow what the message says; apply tries again by itself (restart it if you changed its configuration)";

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

/// target-definition: somebody alters it all the time
#[must_use]
pub(crate) fn restless() -> String {
    format!("find out who alters the table all the time; {TRIES_AGAIN}")
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
