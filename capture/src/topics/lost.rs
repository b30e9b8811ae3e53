//! Which tables of a task have lost their topic while nobody looked: the history, the progress and Kafka's word enter,
//! the tables leave with the reason. Each is to be read anew into another topic.

use super::admin::{TopicError, Topics};
use super::incarnation::Known;
use super::state::{TaskHistory, TaskState};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tributary_schemas::history::Cause;
use tributary_schemas::table::TableId;

/// How long the brokers may take to agree on which topics there are.
const SETTLE: Duration = Duration::from_secs(5);
/// How long is waited between two looks.
const REST: Duration = Duration::from_millis(200);

/// The topics that hold the records of a task's tables, with what must be true of them. Tables that are not selected,
/// or were dropped, have none to lose.
#[must_use]
pub(crate) fn known(history: &TaskHistory, state: &TaskState) -> Vec<(TableId, String, Known)> {
    let selected = history.selection.iter().flat_map(|selection| &selection.tables);
    let replicated = selected.filter(|table| table.excluded.is_none());
    let known = replicated.filter_map(|table| {
        let latest = history.latest(&table.id).filter(|record| record.cause != Cause::Drop)?;
        let progress = state.progress.get(&table.id);
        let written = progress.is_some_and(|progress| progress.rows_read > 0);
        let mut known = Known { partitions: table.partitions, ends: latest.barrier.clone(), written };
        if let Some(seen) = progress.and_then(|progress| progress.seen.as_ref())
            && seen.topic == latest.topic
        {
            known.recall(&seen.ends);
        }
        Some((table.id.clone(), latest.topic.clone(), known))
    });
    known.collect()
}

/// Those of `known` that are lost. Blocks.
///
/// # Errors
/// Kafka did not answer.
pub(crate) fn lost(
    topics: &Topics,
    known: Vec<(TableId, String, Known)>,
) -> Result<BTreeMap<TableId, String>, TopicError> {
    let deadline = Instant::now() + SETTLE;
    let mut doubtful = known;
    loop {
        let asked: Vec<(&str, u32)> =
            doubtful.iter().map(|(_, topic, known)| (topic.as_str(), known.partitions)).collect();
        if asked.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found = topics.look(&asked)?;
        let judged = doubtful.into_iter().zip(found).filter_map(|((id, topic, known), found)| {
            let why = known.why_unusable(&topic, &found)?;
            Some((id, topic, known, why))
        });
        let lost: Vec<(TableId, String, Known, String)> = judged.collect();
        // A broker may hear of a topic later than the others, and one that was killed may not know for a moment how far a
        // partition goes. Only what every look finds is lost.
        if lost.is_empty() || Instant::now() > deadline {
            return Ok(lost.into_iter().map(|(id, .., why)| (id, why)).collect());
        }
        doubtful = lost.into_iter().map(|(id, topic, known, _)| (id, topic, known)).collect();
        std::thread::sleep(REST);
    }
}
