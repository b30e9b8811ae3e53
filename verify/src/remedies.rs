//! What a person is to do about what `apply verify` finds, or cannot do: part of the table of remedies of `apply`.
//!
//! Invariant: each remedy ends with equal rows if it is followed. The test `followed` in tests/tests/real says of each
//! function here where that is done on real servers, or why it cannot be.

pub(crate) use tributary_warehouse::remedies::{newer_bookkeeping, read_anew};

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

/// verify: rows of a shared target are no table's. `removal`: the statement that removes them.
#[must_use]
pub(crate) fn strays(removal: &str) -> String {
    format!("look where they come from, and {removal}")
}

/// verify: no table is selected
#[must_use]
pub(crate) const fn nothing_to_compare() -> &'static str {
    "`apply status` lists the tables"
}

/// verify: there is no bookkeeping
#[must_use]
pub(crate) const fn never_run() -> &'static str {
    "start `apply run` first"
}

/// verify: the source is not known
#[must_use]
pub(crate) const fn source_unknown() -> &'static str {
    "give the configuration that `capture` runs with: --source FILE"
}

/// verify: the definition changes
#[must_use]
pub(crate) const fn definition_is_changing() -> &'static str {
    "run `apply verify` again once apply has carried out the change"
}

/// verify: the state topic is missing
#[must_use]
pub(crate) const fn state_missing() -> &'static str {
    "`capture run` creates it: start that first"
}

/// verify: the target is missing
#[must_use]
pub(crate) const fn target_missing() -> &'static str {
    "run `apply replay --from beginning --clear --table NAME`, with the table's name on the source as it stands here"
}

/// verify: a row cannot be published
#[must_use]
pub(crate) const fn unpublishable_row() -> &'static str {
    "see `capture status`: the table is parked there"
}

/// verify: a row cannot be written
#[must_use]
pub(crate) const fn unwritable_row() -> &'static str {
    "see `apply status`: the table is parked there"
}

/// verify: more rows change than memory has room for
#[must_use]
pub(crate) const fn too_many_changes() -> &'static str {
    "raise apply.memory_bytes, or verify when fewer rows are written"
}

/// verify: rows that are written all the time
#[must_use]
pub(crate) const fn restless_keys() -> &'static str {
    "run `apply verify` again when these rows are written less often"
}

/// verify: a key that is no condition
#[must_use]
pub(crate) const fn key_without_condition() -> &'static str {
    "report this with the types of the key's columns"
}

/// verify: nothing moves
#[must_use]
pub(crate) const fn stalled() -> &'static str {
    "see what `capture status` and `apply status` say; start `capture run` or `apply run` if it does not run"
}
