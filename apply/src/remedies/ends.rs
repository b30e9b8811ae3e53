//! What to do where the service has ended, or a command could not do its work: reasons that are about no table.

/// stopped: the destination does not come back
#[must_use]
pub(crate) const fn destination_away() -> &'static str {
    "see the server's log; destination.retry_minutes says how long it is waited for"
}

/// stopped: Kafka refuses
#[must_use]
pub(crate) const fn kafka_refuses() -> &'static str {
    "`apply check --print-grants` lists the ACLs that are needed"
}

/// stopped: Kafka does not come back
#[must_use]
pub(crate) const fn kafka_away() -> &'static str {
    "see the brokers' logs; kafka.retry_minutes says how long they are waited for"
}

/// stopped: the bookkeeping cannot be read
#[must_use]
pub(crate) const fn bookkeeping_unreadable() -> &'static str {
    "if somebody has removed it, restart apply, which makes it anew and judges each target as at the first time"
}

/// stopped: the bookkeeping does not know the task
#[must_use]
pub(crate) const fn task_forgotten() -> &'static str {
    "restart apply, which writes the row anew"
}

/// stopped: the history topic is gone
#[must_use]
pub(crate) const fn history_gone() -> &'static str {
    "start capture, which says what to do about it, then apply"
}

/// stopped: a thread is gone
#[must_use]
pub(crate) const fn thread_gone() -> &'static str {
    "see the log above"
}

/// stopped: the history cannot be read
#[must_use]
pub(crate) const fn history_unread() -> &'static str {
    "start `capture run` for this task, and look at kafka.brokers, [kafka.client] and the ACLs that `apply check \
     --print-grants` lists"
}

/// stopped: topics that the history names are gone
#[must_use]
pub(crate) const fn topics_gone() -> &'static str {
    "`capture check` says what is missing, and what to do"
}

/// stopped: Kafka cannot be used
#[must_use]
pub(crate) const fn kafka_unusable() -> &'static str {
    "look at kafka.brokers and [kafka.client]"
}

/// stopped: the destination cannot be used
#[must_use]
pub(crate) const fn destination_unusable() -> &'static str {
    "look at [destination]; `apply check` tests each part of it"
}

/// stopped: another destination works under the name
#[must_use]
pub(crate) const fn another_destination() -> &'static str {
    "stop the other `apply run`, or give this destination a task of its own: another `name`, with a `capture run` that \
     publishes under it"
}

/// stopped: items of the check have failed
#[must_use]
pub(crate) const fn failed_items() -> &'static str {
    "mend this; `apply check` shows every item. At your own risk: `apply run --ignore ITEM` for each that you accept"
}

/// a command: the task is in use
#[must_use]
pub(crate) const fn in_use() -> &'static str {
    "stop every `apply run` of this task first"
}

/// a command: an instance of another version answers
#[must_use]
pub(crate) const fn unlike_version() -> &'static str {
    "use the `apply` of the version that runs, or --json"
}

/// a command: there is no such table
#[must_use]
pub(crate) const fn no_such_table() -> &'static str {
    "write it as database.table on the source; `apply status` lists them"
}

/// Any of these, where `run --until-caught-up` has come to its end
#[must_use]
pub(crate) const fn parked_at_the_end() -> &'static str {
    "follow what is said of each table, and start again; the others are complete"
}
