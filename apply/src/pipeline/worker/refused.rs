//! Why a topic and its target do not go together, each with what to do. Pure.

use crate::remedies;
use std::fmt::Display;
use std::time::Duration;
use tributary_service::codes::Code;
use tributary_warehouse::bookkeeping::{Feeder, OffsetRow, TargetRow};
use tributary_warehouse::destination::{DestinationError, TableError};
use tributary_warehouse::merge::names::quote_list;
use tributary_warehouse::merge::plan::TransferPlan;
use tributary_warehouse::merge::slice::Slice;
use tributary_warehouse::merge::sql::clear_target;
use tributary_warehouse::tables::task::TableTask;

/// The topic and the target are those that the offsets belong to.
pub(in crate::pipeline) fn check_identity(task: &TableTask, row: &TargetRow) -> Result<(), TableError> {
    if row.target != task.target {
        let message = format!(
            "the configuration names the target {}, and the rows so far went into {}",
            task.target, row.target
        );
        let remedy = remedies::target_changed(&task.name);
        return Err(TableError::new(Code::TargetChanged, message, &task.name, remedy));
    }
    if row.incarnation != task.incarnation {
        return Err(recreated(task, row));
    }
    if u32::try_from(row.partitions) != Ok(task.partitions) {
        return Err(partitions_changed(task, row.partitions));
    }
    Ok(())
}

/// The offsets belong to a topic that is gone, `row`: the same numbers stand for other records here.
pub(super) fn recreated(task: &TableTask, row: &TargetRow) -> TableError {
    let message = format!(
        "topic {} was dropped and created anew since its rows went into {} ({}; before: {}, {}): its offsets, and rows \
         deleted in between, are not known",
        task.topic, task.target, task.incarnation, row.topic, row.incarnation
    );
    TableError::new(Code::TopicRecreated, message, &task.topic, remedies::topic_recreated(&task.name))
}

/// The topic has `other` partitions than the history says.
pub(in crate::pipeline) fn partitions_changed(task: &TableTask, other: impl Display) -> TableError {
    let message = format!(
        "topic {} has {} partitions in the history and {other} elsewhere: keys would have moved",
        task.topic, task.partitions
    );
    TableError::new(Code::PartitionsChanged, message, &task.topic, remedies::partitions_changed())
}

/// `judged`: which of the target's rows were looked for.
pub(super) fn existing_data(task: &TableTask, judged: &Slice) -> TableError {
    let rows = if judged.is_whole() { "rows".to_owned() } else { format!("rows with {judged}") };
    let message = format!("the target table {} holds {rows} already", task.target);
    let remedy = remedies::existing_data(&clear_target(&task.target, judged));
    TableError::new(Code::ExistingData, message, &task.target, remedy)
}

/// `other`: who feeds the target.
pub(super) fn shared(task: &TableTask, other: &Feeder) -> TableError {
    let slice = task.slice();
    let rows = if slice.is_whole() {
        String::new()
    } else {
        format!(", and its rows with {slice} would be mixed with those")
    };
    let message =
        format!("the target table {} of {} is another's already ({other}){rows}", task.target, task.name);
    TableError::new(Code::TargetShared, message, &task.topic, remedies::target_shared(&task.name))
}

/// `found`: what differs.
pub(in crate::pipeline) fn rule_changed(task: &TableTask, found: String) -> TableError {
    TableError::new(Code::RuleChanged, found, &task.name, remedies::rule_changed(&task.name))
}

pub(super) fn undefined(task: &TableTask) -> TableError {
    let message = format!("the history does not define {}", task.name);
    TableError::new(Code::UndefinedTable, message, &task.topic, remedies::undefined_table())
}

/// A partition has no offset though its topic has a target.
pub(super) fn incomplete(task: &TableTask, partition: i32) -> TableError {
    let message = format!(
        "the bookkeeping has no offset of partition {partition} of topic {}: somebody has removed it",
        task.topic
    );
    let place = format!("topic {}, partition {partition}", task.topic);
    TableError::new(Code::BookkeepingIncomplete, message, place, remedies::bookkeeping_incomplete(&task.name))
}

pub(super) fn missed(task: &TableTask, row: &OffsetRow) -> TableError {
    let hours = |age: Duration| age.as_secs() / 3600;
    let age = row.since_end.unwrap_or(row.since_begin);
    let message = format!(
        "partition {} was last known to be at its end {} h ago, and deletes stay for {} h and another {} h: some may have \
         been missed",
        row.partition,
        hours(age),
        hours(task.retention),
        hours(task.retention)
    );
    let place = format!("topic {}, partition {}, offset {}", task.topic, row.partition, row.next_offset);
    TableError::new(Code::RetentionExceeded, message, place, remedies::retention_exceeded(&task.name))
}

pub(super) fn key_gone(task: &TableTask, plan: &TransferPlan) -> TableError {
    let key = quote_list(plan.key());
    let message = format!(
        "the unique index of {} over its key ({key}) is gone: nothing would keep a row from being there twice",
        task.target
    );
    TableError::new(Code::TargetKey, message, &task.target, remedies::target_key(&task.target, &key))
}

pub(super) fn restless(task: &TableTask) -> TableError {
    let message =
        format!("the definition of {} was changed during each of several attempts at a flush", task.target);
    TableError::new(Code::TargetDefinition, message, &task.target, remedies::restless())
}

pub(super) fn target_gone(task: &TableTask) -> DestinationError {
    let message = format!("the target table {} does not exist any more", task.target);
    let remedy = remedies::target_gone(&task.name);
    DestinationError::Table(TableError::new(Code::TargetGone, message, &task.target, remedy))
}

pub(super) fn target_gone_wrong(task: &TableTask) -> TableError {
    let message = "a delete could not be staged";
    TableError::new(Code::Staging, message, &task.target, remedies::staging_defect())
}
