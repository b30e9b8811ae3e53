//! Why a topic and its target do not go together, each with what to do. Pure.

use crate::bookkeeping::{OffsetRow, TargetRow};
use crate::destination::TableError;
use crate::pipeline::table::TableTask;
use std::fmt::Display;
use std::time::Duration;

/// The topic and the target are those that the offsets belong to.
pub(super) fn check_identity(task: &TableTask, row: &TargetRow) -> Result<(), TableError> {
    if row.target != task.target {
        return Err(TableError {
            code: "target-changed".to_owned(),
            message: format!(
                "the configuration names the target {}, and the rows so far went into {}",
                task.target, row.target
            ),
            place: task.id.to_string(),
            remedy: format!(
                "restore the old `target`, or build the new one: `apply replay --from beginning --clear --table {}`",
                task.id
            ),
        });
    }
    if row.incarnation != task.incarnation {
        return Err(recreated(task, row));
    }
    if u32::try_from(row.partitions) != Ok(task.partitions) {
        return Err(partitions_changed(task, row.partitions));
    }
    Ok(())
}

/// The offsets belong to a topic that is gone: the same numbers stand for other records here.
fn recreated(task: &TableTask, row: &TargetRow) -> TableError {
    TableError {
        code: "topic-recreated".to_owned(),
        message: format!(
            "topic {} was dropped and created anew since its rows went into {} ({}; before: {}): its offsets, and rows \
             deleted in between, are not known",
            task.topic, task.target, task.incarnation, row.incarnation
        ),
        place: task.topic.clone(),
        remedy: format!("`apply replay --from beginning --clear --table {}`", task.id),
    }
}

/// The topic has `other` partitions than the history says.
pub(in crate::pipeline) fn partitions_changed(task: &TableTask, other: impl Display) -> TableError {
    TableError {
        code: "partitions-changed".to_owned(),
        message: format!(
            "topic {} has {} partitions in the history and {other} elsewhere: keys would have moved",
            task.topic, task.partitions
        ),
        place: task.topic.clone(),
        remedy: "keep `capture run` running: it reads the table anew into another topic, and apply follows by itself"
            .to_owned(),
    }
}

pub(super) fn existing_data(task: &TableTask) -> TableError {
    TableError {
        code: "existing-data".to_owned(),
        message: format!("the target table {} holds rows already", task.target),
        place: task.target.to_string(),
        remedy:
            "empty it, and apply goes on by itself; or set existing_data = \"clear\" (removes the rows) or \"append\" \
             (merges into them), and restart apply"
                .to_owned(),
    }
}

pub(super) fn shared(task: &TableTask, other: &str) -> TableError {
    TableError {
        code: "target-shared".to_owned(),
        message: format!("the target table {} of {} is fed from {other} already", task.target, task.id),
        place: task.topic.clone(),
        remedy: "give each table a `target` of its own: several into one is not supported yet".to_owned(),
    }
}

pub(super) fn undefined(task: &TableTask) -> TableError {
    TableError {
        code: "undefined-table".to_owned(),
        message: format!("the history does not define {}", task.id),
        place: task.topic.clone(),
        remedy: "start capture, which writes the definition".to_owned(),
    }
}

/// A partition has no offset though its topic has a target.
pub(super) fn incomplete(task: &TableTask, partition: i32) -> TableError {
    TableError {
        code: "bookkeeping-incomplete".to_owned(),
        message: format!(
            "the bookkeeping has no offset of partition {partition} of topic {}: somebody has removed it",
            task.topic
        ),
        place: format!("topic {}, partition {partition}", task.topic),
        remedy: format!("`apply replay --from beginning --clear --table {}`", task.id),
    }
}

pub(super) fn missed(task: &TableTask, row: &OffsetRow, retention: Duration) -> TableError {
    let hours = |age: Duration| age.as_secs() / 3600;
    let age = row.since_end.unwrap_or(row.since_begin);
    TableError {
        code: "retention-exceeded".to_owned(),
        message: format!(
            "partition {} was last known to be at its end {} h ago, and deletes stay for {} h and another {} h: some may \
             have been missed",
            row.partition,
            hours(age),
            hours(retention),
            hours(retention)
        ),
        place: format!("topic {}, partition {}, offset {}", task.topic, row.partition, row.next_offset),
        remedy: format!("`apply replay --from beginning --clear --table {}`", task.id),
    }
}
