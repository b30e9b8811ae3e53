//! `run --until-caught-up`: what existed at the start is written down, and the destination is asked until it has all
//! of it. With several instances each waits for the partitions of all, for the offsets are in the destination.

use super::run::{Run, kafka_failure};
use super::table::{Left, TableTask};
use super::worker::Worker;
use crate::bookkeeping::{StoredOffset, TaskView};
use crate::destination::{DestinationError, loggable};
use crate::topics::ends::Ends;
use crate::topics::error::TopicError;
use crate::topics::history::History;
use crate::topics::reader::REQUEST_TIMEOUT;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tributary_schemas::config::TableRules;
use tributary_service::exit::{Exit, Failure};
use tributary_service::kafka::Place;
use tributary_service::retry::{Policy, RetryError, retry_while_transient};
use tributary_service::status::{Status, TableState};

/// How often the destination is asked.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long the brokers may take to agree on which topics there are.
const SETTLE: Duration = Duration::from_secs(20);

/// What must have been merged.
#[derive(Debug, Default)]
struct Goals {
    /// High watermarks, read uncommitted.
    offsets: BTreeMap<Place, i64>,
    /// Newest generations, by topic.
    generations: BTreeMap<String, u32>,
    /// Name on the source, by topic.
    names: BTreeMap<String, String>,
}

/// Topics that have not come to their goals, and those that never will.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    behind: BTreeSet<String>,
    parked: BTreeSet<String>,
}

impl Goals {
    /// Compares with what the destination holds. `stopped`: names of tables that stand still here.
    fn missing(&self, offsets: &[StoredOffset], view: &TaskView, stopped: &BTreeSet<String>) -> Missing {
        let stored: BTreeMap<(&str, i32), i64> =
            offsets.iter().map(|row| ((row.topic.as_str(), row.partition), row.next_offset)).collect();
        let mut missing = Missing::default();
        for (place, goal) in &self.offsets {
            if stored.get(&(place.0.as_str(), place.1)).is_none_or(|offset| offset < goal) {
                missing.behind.insert(place.0.clone());
            }
        }
        for (topic, generation) in &self.generations {
            let row = view.targets.iter().find(|row| row.topic == *topic);
            if row.is_none_or(|row| row.applied < *generation) {
                missing.behind.insert(topic.clone());
            }
            let parked = row.is_some_and(|row| row.parked.is_some())
                || self.names.get(topic).is_some_and(|name| stopped.contains(name));
            if parked && missing.behind.remove(topic) {
                missing.parked.insert(topic.clone());
            }
        }
        missing
    }
}

/// A wait that goes on beside the pipeline.
pub(super) struct Watcher {
    status: Status,
    parked: Arc<Mutex<Option<BTreeSet<String>>>>,
}

impl Watcher {
    /// What the run came to: done, also after a SIGTERM before the end; or a failure if tables were left behind.
    pub(super) fn verdict(&self) -> Result<Exit, Failure> {
        match self.parked.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(parked) if !parked.is_empty() => {
                let tables = self.status.document().tables;
                let reason = |name: &String| {
                    let error = tables.iter().find(|table| table.name == *name)?.error.as_ref()?;
                    Some(format!("{name}: {}; {}", loggable(&error.message), error.remedy))
                };
                let lines = parked.iter().map(|name| reason(name).unwrap_or_else(|| name.clone()));
                Err(Failure::new("not every table could be merged", lines.collect::<Vec<_>>().join("\n"))
                    .remedy("follow what is said of each table, and start again; the others are complete"))
            }
            _ => Ok(Exit::Done),
        }
    }
}

/// Writes down what exists now, and starts to wait for it; sets `caught_up` when it is there.
pub(super) async fn until_caught_up(
    run: &Run,
    worker: &Arc<Worker>,
    ends: Arc<Ends>,
    history: &History,
    caught_up: Arc<AtomicBool>,
) -> Result<Watcher, Failure> {
    let goals = goals(run, ends, history).await?;
    let parked = Arc::new(Mutex::new(None));
    let (worker, status) = (Arc::clone(worker), run.status.clone());
    let shutdown = run.shutdown.clone();
    let result = Arc::clone(&parked);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.wait() => return,
            }
            let stopped = status
                .tables()
                .into_iter()
                .filter(|(_, table)| table.state() == TableState::Parked)
                .map(|(name, _)| name)
                .collect();
            match look(&worker).await {
                Ok((offsets, view)) => {
                    let missing = goals.missing(&offsets, &view, &stopped);
                    if missing.behind.is_empty() {
                        let names = missing.parked.iter().filter_map(|topic| goals.names.get(topic).cloned());
                        *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(names.collect());
                        caught_up.store(true, Ordering::Relaxed);
                        return;
                    }
                }
                Err(error) => tracing::debug!(error = %error, "looking at the offsets"),
            }
        }
    });
    Ok(Watcher { status: run.status.clone(), parked })
}

async fn look(worker: &Worker) -> Result<(Vec<StoredOffset>, TaskView), DestinationError> {
    let mut lease = worker.pool().acquire().await?;
    let offsets = worker.bookkeeping().all_offsets(&mut lease).await?;
    let view = worker.bookkeeping().view(&mut lease).await?;
    lease.release();
    Ok((offsets, view))
}

async fn goals(run: &Run, ends: Arc<Ends>, history: &History) -> Result<Goals, Failure> {
    let rules = TableRules::new(&run.config).map_err(|_| {
        Failure::new("the configuration cannot be used", "its [[table]] rules").exit(Exit::Usage)
    })?;
    let mut goals = Goals::default();
    let mut places = Vec::new();
    for selected in history.replicated() {
        let task = match TableTask::new(&run.config, &rules, history, selected) {
            Ok(task) => task,
            Err(Left::Unmatched | Left::Error(_)) => continue,
        };
        let partitions = i32::try_from(task.partitions).unwrap_or(i32::MAX);
        places.extend((0..partitions).map(|partition| (task.topic.clone(), partition)));
        goals.generations.insert(task.topic.clone(), task.barriers().newest());
        goals.names.insert(task.topic.clone(), task.id.to_string());
    }
    let (places, unknown_since) = (Arc::new(places), Cell::new(None));
    let asked = retry_while_transient(
        Policy::for_limit(run.config.kafka.retry()),
        &run.status,
        &run.shutdown,
        "asking for the ends of the topics",
        || async {
            let (ends, places) = (Arc::clone(&ends), Arc::clone(&places));
            let _wait = run.status.wait_within("Kafka: the ends of partitions", REQUEST_TIMEOUT);
            let asked = tokio::task::spawn_blocking(move || ends.high(&places)).await;
            let asked = asked.unwrap_or_else(|e| Err(TopicError::Interrupted { reason: e.to_string() }));
            asked.map_err(|error| {
                let since = unknown_since.get().unwrap_or_else(Instant::now);
                unknown_since.set(error.is_unknown_place().then_some(since));
                match since.elapsed() {
                    waited if error.is_unknown_place() && waited > SETTLE => {
                        TopicError::Gone { reason: error.to_string(), waited }
                    }
                    _ => error,
                }
            })
        },
    );
    match asked.await {
        Ok(offsets) => goals.offsets = offsets,
        // The pipeline notices that the end is asked for; what it is to come to does not matter any more.
        Err(RetryError::Shutdown) => {}
        Err(RetryError::Definite(error) | RetryError::Limit { error, .. }) => {
            return Err(kafka_failure(&run.config)(error));
        }
    }
    Ok(goals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bookkeeping::TargetRow;
    use crate::destination::TableError;
    use crate::merge::names::TargetName;

    fn row(topic: &str, applied: u32, parked: bool) -> TargetRow {
        let error =
            TableError { code: "x".into(), message: "x".into(), place: "x".into(), remedy: "x".into() };
        TargetRow {
            topic: topic.into(),
            source: "a.b".into(),
            target: TargetName::new("a", "b"),
            incarnation: String::new(),
            partitions: 1,
            applied,
            loaded: true,
            parked: parked.then_some(error),
        }
    }

    #[test]
    fn every_partition_and_every_generation_must_be_there() {
        let mut goals = Goals::default();
        goals.offsets.insert(("t".into(), 0), 10);
        goals.generations.insert("t".into(), 2);
        goals.names.insert("t".into(), "a.b".into());
        let stored = |next_offset| vec![StoredOffset { topic: "t".into(), partition: 0, next_offset }];
        let missing = |offset, applied, parked| {
            let view = TaskView { epoch: 0, known: true, targets: vec![row("t", applied, parked)] };
            let missing = goals.missing(&stored(offset), &view, &BTreeSet::new());
            (missing.behind.len(), missing.parked.len())
        };
        assert_eq!(missing(10, 2, false), (0, 0));
        assert_eq!(missing(9, 2, false), (1, 0));
        assert_eq!(missing(10, 1, false), (1, 0));
        assert_eq!(missing(9, 2, true), (0, 1));
        assert_eq!(missing(11, 2, true), (0, 0), "parked behind what was asked for");
        let nothing = goals.missing(&[], &TaskView::default(), &BTreeSet::from(["a.b".to_owned()]));
        assert_eq!((nothing.behind.len(), nothing.parked.len()), (0, 1), "parked before its first row");
    }
}
