//! `run --until-caught-up`: what existed at the start is written down, and the destination is asked until it has all
//! of it. With several instances each waits for the partitions of all, for the offsets are in the destination.
//!
//! Invariant: a table that is parked is not caught up, also if nothing of it is left to merge. One that was parked before is
//! tried before the end, so that its old mark says nothing.

use super::{Run, kafka_failure};
use crate::pipeline::worker::{Worker, check_identity, rule_changed};
use crate::remedies;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tributary_service::exit::{Exit, Failure};
use tributary_service::kafka::TopicPartition;
use tributary_service::load::rules;
use tributary_service::retry::{Policy, RetryError, retry_while_transient};
use tributary_service::status::{ErrorDocument, Status, TableState};
use tributary_topics::ends::Ends;
use tributary_topics::error::TopicError;
use tributary_topics::history::History;
use tributary_topics::reader::REQUEST_TIMEOUT;
use tributary_warehouse::bookkeeping::{Refusal, Share, StoredOffset, TargetRow};
use tributary_warehouse::destination::{DestinationError, TableError, loggable};
use tributary_warehouse::tables::sharing::changed;
use tributary_warehouse::tables::task::{TableRefusal, TableTask};

/// How often the destination is asked.
const INTERVAL: Duration = Duration::from_millis(200);

/// How long a table that was parked before may take to be tried, once a member that is gone has lost its partitions, or once it
/// is time for one that could not be begun: another instance may have them, and nothing says that it has tried.
const TRIED: Duration = Duration::from_secs(10);

/// How long the brokers may take to agree on which topics there are.
const SETTLE: Duration = Duration::from_secs(20);

/// What must have been merged.
#[derive(Debug, Default)]
struct Goals {
    /// High watermarks, read uncommitted.
    offsets: BTreeMap<TopicPartition, i64>,
    /// Newest generations, by topic.
    generations: BTreeMap<String, u32>,
    /// Name on the source, by topic.
    names: BTreeMap<String, String>,
    /// What this configuration makes of the tables, by topic.
    tasks: BTreeMap<String, TableTask>,
}

/// Tables that stand still, with the reason if the bookkeeping gives it.
type Parked = BTreeMap<String, Option<TableError>>;

/// Topics that have not come to their goals, and those whose tables stand still.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    behind: BTreeSet<String>,
    parked: Parked,
}

/// What the destination holds of the task.
#[derive(Debug, Default)]
struct Stored {
    offsets: Vec<StoredOffset>,
    targets: Vec<TargetRow>,
    /// Of topics without a row there.
    refusals: Vec<Refusal>,
    /// By topic; of those that may share their targets.
    shares: BTreeMap<String, Share>,
}

impl Stored {
    fn refused(&self, topic: &str) -> Option<&TableError> {
        self.refusals.iter().find(|refusal| refusal.topic == topic).map(|refusal| &refusal.error)
    }
}

/// Tables of this instance, by the names that they have in the status.
#[derive(Debug, Default)]
struct Shown {
    parked: BTreeSet<String>,
    /// Those that were taken up, and have come to their ends.
    at_end: BTreeSet<String>,
    /// Those that are not to be merged any more.
    excluded: BTreeSet<String>,
}

impl Shown {
    fn of(status: &Status) -> Self {
        let mut shown = Self::default();
        for (name, table) in status.tables() {
            let _is_new = match table.state() {
                TableState::Parked => shown.parked.insert(name),
                TableState::Synchronizing | TableState::Dropped => shown.at_end.insert(name),
                TableState::Excluded => shown.excluded.insert(name),
                _ => false,
            };
        }
        shown
    }
}

impl Goals {
    /// Compares with what the destination holds. `untried`: topics of tables that were parked at the start, as long as they
    /// are waited for.
    fn missing(&self, stored: &Stored, shown: &Shown, untried: &BTreeSet<String>) -> Missing {
        let offsets = stored.offsets.iter();
        let offsets: BTreeMap<(&str, i32), i64> =
            offsets.map(|row| ((row.topic.as_str(), row.partition), row.next_offset)).collect();
        let mut missing = Missing::default();
        for (place, goal) in &self.offsets {
            if offsets.get(&(place.0.as_str(), place.1)).is_none_or(|offset| offset < goal) {
                missing.behind.insert(place.0.clone());
            }
        }
        for (topic, generation) in &self.generations {
            let row = stored.targets.iter().find(|row| row.topic == *topic);
            let is_among =
                |names: &BTreeSet<String>| self.names.get(topic).is_some_and(|name| names.contains(name));
            // What a job finds when it takes the table up; a topic's offsets say nothing if they are another one's.
            let refusal = |row: &TargetRow, task: &TableTask| {
                let found = || changed(task, stored.shares.get(topic), row.applied);
                check_identity(task, row).err().or_else(|| Some(rule_changed(task, found()?)))
            };
            let another = row.zip(self.tasks.get(topic)).and_then(|(row, task)| refusal(row, task));
            let marked = match row {
                Some(row) => row.parked.clone(),
                // What was stored before the start counts only once whoever has the topic has tried again.
                None => stored.refused(topic).filter(|_| !untried.contains(topic)).cloned(),
            };
            let error = marked.or(another);
            if is_among(&shown.excluded) {
                missing.behind.remove(topic);
            } else if error.is_some() || is_among(&shown.parked) {
                missing.behind.remove(topic);
                missing.parked.insert(topic.clone(), error);
            } else if row.is_none_or(|row| row.applied < *generation)
                || untried.contains(topic) && !is_among(&shown.at_end)
            {
                missing.behind.insert(topic.clone());
            }
        }
        missing
    }
}

/// A wait that goes on beside the pipeline.
pub(super) struct Watcher {
    status: Status,
    /// By their names; `None` before the end.
    parked: Arc<Mutex<Option<Parked>>>,
}

impl Watcher {
    /// What the run came to: done, also after a SIGTERM before the end; or a failure if tables were left behind.
    pub(super) fn verdict(&self) -> Result<Exit, Failure> {
        match self.parked.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(parked) if !parked.is_empty() => {
                let tables = self.status.document().tables;
                let line = |(name, stored): (&String, &Option<TableError>)| {
                    let table = tables.iter().find(|table| table.name == *name);
                    let shown = table.and_then(|table| table.error.as_ref());
                    match (shown, stored) {
                        (Some(ErrorDocument { message, remedy, .. }), _)
                        | (None, Some(TableError { message, remedy, .. })) => {
                            format!("{name}: {}; {remedy}", loggable(message))
                        }
                        (None, None) => name.clone(),
                    }
                };
                let lines = parked.iter().map(line);
                Err(Failure::new("not every table could be merged", lines.collect::<Vec<_>>().join("\n"))
                    .remedy(remedies::parked_at_the_end()))
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
    histories: &[&History],
    caught_up: Arc<AtomicBool>,
) -> Result<Watcher, Failure> {
    let goals = goals(run, ends, histories).await?;
    let parked = Arc::new(Mutex::new(None));
    let (worker, status) = (Arc::clone(worker), run.status.clone());
    let session = Duration::from_millis(u64::from(run.config.kafka.session_timeout_ms));
    let retry_parked = Duration::from_millis(run.config.apply.retry_parked_ms);
    let shutdown = run.shutdown.clone();
    let result = Arc::clone(&parked);
    tokio::spawn(async move {
        let began = Instant::now();
        let (parked_until, refused_until) = (began + session + TRIED, began + retry_parked + TRIED);
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.wait() => return,
            }
            let (now, mut untried) = (Instant::now(), BTreeSet::new());
            for (topics, until) in
                [(worker.were_parked(), parked_until), (worker.were_refused(), refused_until)]
            {
                untried.extend(topics.iter().filter(|_| now < until).cloned());
            }
            match look(&worker).await {
                Ok(stored) => {
                    let missing = goals.missing(&stored, &Shown::of(&status), &untried);
                    if missing.behind.is_empty() {
                        let names = missing
                            .parked
                            .into_iter()
                            .filter_map(|(topic, error)| Some((goals.names.get(&topic)?.clone(), error)));
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

async fn look(worker: &Worker) -> Result<Stored, DestinationError> {
    let mut lease = worker.pool().acquire("the bookkeeping").await?;
    let offsets = worker.bookkeeping().all_offsets(&mut lease).await?;
    // A generation and what is shared with it are written together; what is read of both must belong together.
    let mut shares = worker.bookkeeping().shares(&lease).await?;
    let targets = loop {
        let targets = worker.bookkeeping().view(&mut lease).await?.targets;
        let now = worker.bookkeeping().shares(&lease).await?;
        if std::mem::replace(&mut shares, now.clone()) == now {
            break targets;
        }
    };
    let refusals = worker.bookkeeping().refusals(&mut lease).await?;
    lease.release();
    Ok(Stored { offsets, targets, refusals, shares })
}

async fn goals(run: &Run, ends: Arc<Ends>, histories: &[&History]) -> Result<Goals, Failure> {
    let rules = rules(&run.config)?;
    let mut goals = Goals::default();
    let mut places = Vec::new();
    let replicated =
        histories.iter().flat_map(|history| history.replicated().map(move |table| (*history, table)));
    for (history, selected) in replicated {
        let task = match TableTask::new(&run.config, &rules, history, selected) {
            Ok(task) => task,
            Err(TableRefusal::Unmatched | TableRefusal::Error(_)) => continue,
        };
        let partitions = i32::try_from(task.partitions).unwrap_or(i32::MAX);
        places.extend((0..partitions).map(|partition| (task.topic.clone(), partition)));
        goals.generations.insert(task.topic.clone(), task.barriers().newest());
        goals.names.insert(task.topic.clone(), task.name.clone());
        goals.tasks.insert(task.topic.clone(), task);
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
    use tributary_warehouse::merge::names::TargetName;

    fn error() -> TableError {
        TableError { code: "x".into(), message: "x".into(), place: "x".into(), remedy: "x".into() }
    }

    fn row(topic: &str, applied: u32, parked: bool) -> TargetRow {
        TargetRow {
            topic: topic.into(),
            source: "a.b".into(),
            target: TargetName::new("a", "b"),
            incarnation: String::new(),
            partitions: 1,
            applied,
            loaded: true,
            parked: parked.then(error),
        }
    }

    #[test]
    fn every_partition_and_every_generation_must_be_there() {
        let mut goals = Goals::default();
        goals.offsets.insert(("t".into(), 0), 10);
        goals.generations.insert("t".into(), 2);
        goals.names.insert("t".into(), "a.b".into());
        let (nothing, shown) = (BTreeSet::new(), Shown::default());
        let missing = |next_offset, applied, parked| {
            let offsets = vec![StoredOffset { topic: "t".into(), partition: 0, next_offset }];
            let stored = Stored { offsets, targets: vec![row("t", applied, parked)], ..Stored::default() };
            let missing = goals.missing(&stored, &shown, &nothing);
            (missing.behind.len(), missing.parked.len())
        };
        assert_eq!(missing(10, 2, false), (0, 0));
        assert_eq!(missing(9, 2, false), (1, 0));
        assert_eq!(missing(10, 1, false), (1, 0));
        assert_eq!(missing(9, 2, true), (0, 1));
        assert_eq!(missing(11, 2, true), (0, 1), "parked, though nothing is left to merge");
        let parked = Shown { parked: BTreeSet::from(["a.b".to_owned()]), ..Shown::default() };
        let early = goals.missing(&Stored::default(), &parked, &nothing);
        assert_eq!((early.behind.len(), early.parked.len()), (0, 1), "parked before its first row");
        let refusals = vec![Refusal { topic: "t".into(), source: "a.b".into(), error: error() }];
        let early = goals.missing(&Stored { refusals, ..Stored::default() }, &shown, &nothing);
        assert_eq!(early.parked.get("t"), Some(&Some(error())), "by another instance");
        assert!(early.behind.is_empty());
        let refusals = vec![Refusal { topic: "t".into(), source: "a.b".into(), error: error() }];
        let untried = BTreeSet::from(["t".to_owned()]);
        let early = goals.missing(&Stored { refusals, ..Stored::default() }, &shown, &untried);
        assert!(
            early.parked.is_empty() && early.behind.contains("t"),
            "before the start, and not tried since"
        );
    }

    #[test]
    fn a_table_that_was_parked_is_tried_before_the_end() {
        let mut goals = Goals::default();
        goals.offsets.insert(("t".into(), 0), 10);
        goals.generations.insert("t".into(), 2);
        goals.names.insert("t".into(), "a.b".into());
        let offsets = vec![StoredOffset { topic: "t".into(), partition: 0, next_offset: 10 }];
        let stored = Stored { offsets, targets: vec![row("t", 2, false)], ..Stored::default() };
        let (untried, name) = (BTreeSet::from(["t".to_owned()]), BTreeSet::from(["a.b".to_owned()]));
        let missing = |shown: &Shown| {
            let missing = goals.missing(&stored, shown, &untried);
            (missing.behind.len(), missing.parked.len())
        };
        assert_eq!(missing(&Shown::default()), (1, 0), "nobody has tried it");
        assert_eq!(missing(&Shown { at_end: name.clone(), ..Shown::default() }), (0, 0));
        assert_eq!(missing(&Shown { parked: name.clone(), ..Shown::default() }), (0, 1), "parked again");
        assert_eq!(missing(&Shown { excluded: name, ..Shown::default() }), (0, 0), "left out meanwhile");
    }
}
