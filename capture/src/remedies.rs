//! What a person is to do where a table or the task does not go on: the one table of capture's remedies. Facts enter, a
//! text leaves that can be followed to the letter.
//!
//! Invariant: each remedy ends with equal rows if it is followed. The test `followed` in tests/tests/real says of each
//! function here where that is done on real servers, or why it cannot be.

/// Reads the table anew after the cause is gone: the way out of every gap.
const RESTART: &str = "then restart capture: the table is read anew";

/// Begins the task anew: every table is read whole, and apply is told that the topics are others.
macro_rules! begin_anew {
    () => {
        "begin anew: `capture drop` (and delete by hand what it does not list of the tables' topics), then `capture run`, then `apply replay --from beginning --clear` for each destination, \
         and `apply run`"
    };
}

/// catalog-disagrees
#[must_use]
pub(crate) const fn catalog_disagrees() -> &'static str {
    "restart capture: the definition and the table are read anew; report it if that does not help"
}

/// row-image
#[must_use]
pub(crate) fn row_image() -> String {
    format!("set binlog_row_image=FULL on the source for all sessions, {RESTART}")
}

/// bad-key: NULL or a zero date
#[must_use]
pub(crate) fn bad_key() -> String {
    format!("correct the row on the source, {RESTART}")
}

/// bad-key: bytes that do not come back
#[must_use]
pub(crate) fn lossy_key() -> String {
    format!("correct the row on the source, or convert the column to a binary type, {RESTART}")
}

/// bad-row
#[must_use]
pub(crate) fn bad_row() -> String {
    format!("correct the row on the source, or exclude the column (capture.exclude_columns), {RESTART}")
}

/// row-too-large
#[must_use]
pub(crate) fn row_too_large() -> String {
    format!("raise topics.max_message_bytes and the topic's max.message.bytes, {RESTART}")
}

/// topic-refuses
#[must_use]
pub(crate) fn topic_refuses() -> String {
    format!("set the topic's max.message.bytes to topics.max_message_bytes at least, {RESTART}")
}

/// row-too-large, where the topic is one of the task's own
#[must_use]
pub(crate) const fn own_topic_refuses() -> &'static str {
    "raise topics.max_message_bytes, and max.message.bytes of the topic, then start capture again"
}

/// table-not-replicable
#[must_use]
pub(crate) fn table_not_replicable() -> String {
    format!("change the table or the configuration as the message says, {RESTART}")
}

/// table-not-replicable, where strict = true has ended the task
#[must_use]
pub(crate) const fn table_not_replicable_strictly() -> &'static str {
    "change what it names and start capture again, or take the table out of capture.tables, or set strict = false"
}

/// definition-too-large
#[must_use]
pub(crate) fn definition_too_large() -> String {
    format!(
        "shorten comments, defaults or lists of labels; or raise topics.max_message_bytes, and max.message.bytes of the \
         task's history and state topics; {RESTART}"
    )
}

/// table-renamed
#[must_use]
pub(crate) const fn table_renamed() -> &'static str {
    "select it under its new name, or rename it back; then restart capture"
}

/// table-unreadable
#[must_use]
pub(crate) fn table_unreadable() -> String {
    format!("mend what the message names, {RESTART}")
}

/// re-read
#[must_use]
pub(crate) const fn re_read() -> &'static str {
    "none: the table is read anew by itself"
}

/// Any of these, where `run --until-caught-up` has come to its end
#[must_use]
pub(crate) const fn parked_at_the_end() -> &'static str {
    "follow what is said of each table, and start again; the others are complete"
}

/// Any of these, where strict = true has ended the task: a start comes to the same place of the binlog again.
#[must_use]
pub(crate) fn of_an_end(remedy: &str) -> String {
    format!(
        "set strict = false and start capture, which then leaves this table alone and passes the place; after that: {remedy}"
    )
}

/// stopped: the stream cannot be followed at its place
#[must_use]
pub(crate) const fn stream_broken() -> &'static str {
    concat!("mend the cause on the source; the tables concerned must be read anew: ", begin_anew!())
}

/// stopped: the source does not hold the place any more
#[must_use]
pub(crate) const fn position_lost() -> &'static str {
    concat!(
        "the missing events cannot be had from this server: ",
        begin_anew!(),
        "; for the future, keep the binlog longer (binlog_expire_logs_seconds). A replica that does not log what it replicates \
         (log_replica_updates) never has them: use its primary, or switch that on"
    )
}

/// stopped: the state is not the history's
#[must_use]
pub(crate) const fn state_lost() -> &'static str {
    begin_anew!()
}

/// stopped, and the check item binlog-filters
#[must_use]
pub(crate) const fn binlog_filters() -> &'static str {
    concat!(
        "remove the option from the server's configuration and restart it; if tables were read before, they miss what was \
         filtered: ",
        begin_anew!()
    )
}

/// stopped, and the check item replica-updates
#[must_use]
pub(crate) const fn replica_updates() -> &'static str {
    "set log_replica_updates = ON (log_slave_updates before 8.0.26) and restart the server, or use its primary"
}

/// stopped: the history or the state topic is gone
#[must_use]
pub(crate) const fn own_topic_gone() -> &'static str {
    concat!(
        "look first whether Kafka really has no such topic: if it is there, start capture again; else ",
        begin_anew!(),
        "; deny everybody else the right to delete them"
    )
}

/// stopped: a session fails for longer than it is tried again
#[must_use]
pub(crate) const fn cannot_go_on() -> &'static str {
    "mend what the message names and start capture again: it goes on from its checkpoint"
}

/// stopped: another instance leads
#[must_use]
pub(crate) const fn another_leads() -> &'static str {
    "nothing, if the other instance is meant to lead; else stop it and start this one again"
}

/// a command: Kafka does not answer, or refuses
#[must_use]
pub(crate) const fn kafka_unusable() -> &'static str {
    "start Kafka, or correct [kafka] and its ACLs (`capture check --print-grants`)"
}

/// a command: the task is in use
#[must_use]
pub(crate) const fn in_use() -> &'static str {
    "stop every `capture run` of this task first; one that was killed leaves the group by itself"
}

/// stopped: items of the check have failed
#[must_use]
pub(crate) const fn failed_items() -> &'static str {
    "mend this; `capture check` shows every item"
}

/// a command: neither an instance nor Kafka answers
#[must_use]
pub(crate) const fn nobody_answers() -> &'static str {
    "start capture, or correct capture.listen and [kafka]"
}

/// a command: an instance of another version answers
#[must_use]
pub(crate) const fn unlike_version() -> &'static str {
    "use the `capture` of the version that runs, or --json"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strict_forbids_is_not_recommended_without_saying_so() {
        assert!(of_an_end(&bad_row()).starts_with("set strict = false"));
        assert!(of_an_end(&bad_row()).ends_with(&bad_row()));
    }

    #[test]
    fn a_task_that_begins_anew_takes_apply_along() {
        for remedy in [stream_broken(), position_lost(), state_lost(), own_topic_gone(), binlog_filters()] {
            assert!(remedy.contains("`apply replay --from beginning --clear`"), "{remedy}");
        }
    }
}
