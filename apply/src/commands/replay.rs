//! `apply replay`: takes tables back to where the topics are to be read again from. Running instances notice and seek;
//! without one, the next run goes on from there.

use crate::pipeline::run::{destination_failure, kafka_failure};
use crate::pipeline::worker::{Replay, WorkError, Worker};
use crate::remedies::{self, TRIES_AGAIN};
use clap::Args;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use tributary_config::Config;
use tributary_service::cli::{Common, confirmed, write_out};
use tributary_service::exit::{Exit, Failure};
use tributary_service::kafka::{TopicPartition, consumer_config};
use tributary_service::load::{destination, rules};
use tributary_service::shell::runtime;
use tributary_service::waits::Waits;
use tributary_topics::ends::Ends;
use tributary_topics::reader::whole_histories;
use tributary_warehouse::bookkeeping::Bookkeeping;
use tributary_warehouse::destination::{Connector, DestinationError, Pool};
use tributary_warehouse::tables::task::{TableTask, planned};

/// Attempts at a table whose locks are held by a flush.
const ATTEMPTS: u32 = 40;

/// Options of `replay`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReplayArgs {
    /// Configuration and address
    #[command(flatten)]
    pub common: Common,
    /// `beginning`, a time as 2026-01-31T12:00:00Z, or offsets as 0:4711,1:815 (with --table)
    #[arg(long, value_name = "PLACE")]
    pub from: From,
    /// Only this table, as database.table on the source; all of them if left out
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Empty the target first, and restore its first definition; only from the beginning
    #[arg(long, conflicts_with = "merge")]
    pub clear: bool,
    /// Do not ask before a target is emptied
    #[arg(long)]
    pub yes: bool,
    /// Merge over the rows that are there (the default), no earlier than the last TRUNCATE
    #[arg(long)]
    pub merge: bool,
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// Every partition's beginning.
    Beginning,
    /// The first records of this time or later, milliseconds since 1970.
    Time(i64),
    /// An offset for each of these partitions; the others stay where they are.
    Offsets(BTreeMap<i32, i64>),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "beginning" {
            return Ok(Self::Beginning);
        }
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::Time(time.as_millisecond()));
        }
        let offset = |pair: &str| {
            let (partition, offset) = pair.trim().split_once(':')?;
            let (partition, offset) = (partition.parse::<u16>().ok()?, offset.parse::<i64>().ok()?);
            (offset >= 0).then_some((i32::from(partition), offset))
        };
        let offsets: Option<BTreeMap<i32, i64>> = text.split(',').map(offset).collect();
        offsets.map(Self::Offsets).ok_or_else(|| {
            "give `beginning`, a time as 2026-01-31T12:00:00Z, or <partition>:<offset>,…".to_owned()
        })
    }
}

/// Takes the tables back.
///
/// # Errors
/// A [`Failure`] for arguments that contradict each other, and what Kafka or the destination refuse.
pub fn run(config: &Config, arguments: &ReplayArgs) -> Result<Exit, Failure> {
    check(arguments, jiff::Timestamp::now().as_millisecond())?;
    let rules = rules(config)?;
    let histories = whole_histories(config).map_err(kafka_failure(config))?;
    let mut tasks = Vec::new();
    for (name, task) in planned(config, &rules, &histories) {
        let wanted = arguments.table.as_ref().is_none_or(|wanted| *wanted == name);
        match task {
            Ok(task) if wanted => tasks.push(task),
            Err(error) if wanted => write_out(&format!("{name}: left out: {error:?}\n")),
            _ => {}
        }
    }
    if let Some(name) = arguments.table.as_ref().filter(|_| tasks.is_empty()) {
        return Err(Failure::new(
            format!("there is no table {name}"),
            "the history and the configuration do not name it",
        )
        .remedy(remedies::no_such_table())
        .exit(Exit::Usage));
    }
    if arguments.clear && !arguments.yes && !emptying_is_confirmed(&tasks)? {
        write_out("nothing was changed\n");
        return Ok(Exit::Failed);
    }
    runtime(2)?.block_on(async {
        let (worker, ends) = worker(config).await?;
        for task in &tasks {
            let Some(replay) = plan(config, arguments, task, &ends, &worker).await? else {
                write_out(&format!(
                    "{}: nothing to merge again: the topic has no record of that time or later that was merged\n",
                    task.name
                ));
                continue;
            };
            match attempt(&worker, task, &replay).await {
                Ok(Some(offsets)) => {
                    let places: Vec<String> =
                        offsets.iter().map(|(partition, offset)| format!("{partition}:{offset}")).collect();
                    let how = if arguments.clear { "cleared, read" } else { "merged" };
                    write_out(&format!("{}: {how} again from {}\n", task.name, places.join(",")));
                }
                Ok(None) => {
                    write_out(&format!("{}: has not been set up yet: nothing to take back\n", task.name))
                }
                Err(WorkError::Destination(DestinationError::Table(error))) => {
                    return Err(Failure::new(format!("{} cannot be taken back", task.name), error.message)
                        .at(error.place)
                        .remedy(error.remedy.replace(TRIES_AGAIN, "then run the command again")));
                }
                Err(WorkError::Destination(error)) => {
                    return Err(destination_failure(config, &error).at(task.name.clone()));
                }
                Err(WorkError::Kafka(error)) => return Err(kafka_failure(config)(error)),
            }
        }
        Ok(Exit::Done)
    })
}

/// Says which targets are emptied, and asks.
fn emptying_is_confirmed(tasks: &[TableTask]) -> Result<bool, Failure> {
    write_out("to be emptied, and built anew from the topics:\n");
    for task in tasks {
        write_out(&format!("  target table   {}  (from {})\n", task.target, task.name));
    }
    confirmed("empty all of this")
}

fn check(arguments: &ReplayArgs, now_ms: i64) -> Result<(), Failure> {
    let usage = |why: &str, remedy: &str| {
        Err(Failure::new("the arguments do not go together", why).remedy(remedy).exit(Exit::Usage))
    };
    if arguments.clear && arguments.from != From::Beginning {
        return usage(
            "--clear empties the target, and so everything must be read again",
            "give --from beginning",
        );
    }
    if let From::Time(time_ms) = arguments.from
        && time_ms > now_ms
    {
        return usage(
            "--from names a time that has not come yet",
            "give a time in the past, with its time zone",
        );
    }
    if matches!(arguments.from, From::Offsets(_)) && arguments.table.is_none() {
        return usage("offsets belong to one topic", "name the table with --table");
    }
    Ok(())
}

/// Where each partition goes on; `None` if none would go back.
async fn plan(
    config: &Config,
    arguments: &ReplayArgs,
    task: &TableTask,
    ends: &Arc<Ends>,
    worker: &Worker,
) -> Result<Option<Replay>, Failure> {
    if arguments.clear {
        return Ok(Some(Replay::Clear));
    }
    let partitions = i32::try_from(task.partitions).unwrap_or(i32::MAX);
    let places: Vec<TopicPartition> =
        (0..partitions).map(|partition| (task.topic.clone(), partition)).collect();
    let (asked, from) = (Arc::clone(ends), arguments.from.clone());
    let _wait = Waits::of_process().answer("Kafka: the beginnings and ends of partitions", None);
    let answer = tokio::task::spawn_blocking(move || {
        let (lows, highs) = (asked.low(&places)?, asked.last_stable(&places)?);
        let at_time = match from {
            From::Time(time_ms) => asked.at_time(&places, time_ms)?,
            From::Beginning | From::Offsets(_) => BTreeMap::new(),
        };
        Ok::<_, tributary_topics::error::TopicError>((lows, highs, at_time))
    })
    .await
    .map_err(|error| Failure::new("cannot ask for offsets", error))?;
    let (lows, highs, at_time) = answer.map_err(kafka_failure(config))?;
    let by_partition = |map: BTreeMap<TopicPartition, i64>| -> BTreeMap<i32, i64> {
        map.into_iter().map(|((_, partition), offset)| (partition, offset)).collect()
    };
    let (lows, highs) = (by_partition(lows), by_partition(highs));
    match &arguments.from {
        From::Beginning => Ok(Some(Replay::Merge(lows))),
        From::Time(_) => {
            let mut offsets = by_partition(at_time);
            // A time that the destination has not come to yet must not make it skip what lies between.
            let stored = stored(config, task, worker).await?;
            for (partition, offset) in &mut offsets {
                if let Some(now) = stored.get(partition) {
                    *offset = (*offset).min(*now);
                }
            }
            let goes_back = stored.is_empty()
                || offsets
                    .iter()
                    .any(|(partition, offset)| stored.get(partition).is_none_or(|now| offset < now));
            Ok(goes_back.then_some(Replay::Merge(offsets)))
        }
        From::Offsets(offsets) => {
            for (partition, offset) in offsets {
                let (low, high) = (lows.get(partition), highs.get(partition));
                if !low.zip(high).is_some_and(|(low, high)| (*low..=*high).contains(offset)) {
                    let range = low.zip(high).map_or_else(
                        || format!("the topic has partitions 0 to {}", partitions - 1),
                        |(low, high)| format!("the partition holds offsets {low} to {high}"),
                    );
                    return Err(Failure::new(
                        format!("there is no offset {offset} in partition {partition}"),
                        range,
                    )
                    .at(format!("topic {}", task.topic))
                    .exit(Exit::Usage));
                }
            }
            Ok(Some(Replay::Merge(offsets.clone())))
        }
    }
}

async fn stored(config: &Config, task: &TableTask, worker: &Worker) -> Result<BTreeMap<i32, i64>, Failure> {
    let read = async {
        let mut lease = worker.pool().acquire("the bookkeeping").await?;
        let offsets = worker.bookkeeping().all_offsets(&mut lease).await?;
        lease.release();
        Ok::<_, DestinationError>(offsets)
    };
    let offsets = read.await.map_err(|error| destination_failure(config, &error))?;
    let own = offsets.into_iter().filter(|row| row.topic == task.topic);
    Ok(own.map(|row| (row.partition, row.next_offset)).collect())
}

/// A flush may hold what the replay wants, and the other way round: one of the two is then sent back.
async fn attempt(
    worker: &Worker,
    task: &TableTask,
    replay: &Replay,
) -> Result<Option<BTreeMap<i32, i64>>, WorkError> {
    let (mut attempts, mut conflicts) = (1, 0);
    loop {
        match worker.replay(task, replay, conflicts).await {
            // The target was locked for nothing: nobody is to be blocked again for a Kafka that does not answer.
            Err(error @ WorkError::Kafka(_)) => return Err(error),
            Err(error) if error.is_transient() && attempts < ATTEMPTS => {
                // Readers that overlap leave no table free within a short wait; the next one is twice as long.
                conflicts = if error.is_conflict() { conflicts + 1 } else { 0 };
                let error = worker.explain(task, error).await;
                tracing::info!(table = %task.name, error = %error, "tried again");
                attempts += 1;
            }
            Err(error) => return Err(worker.explain(task, error).await),
            Ok(done) => return Ok(done),
        }
    }
}

/// A worker for a command that ends by itself: no server is waited for.
async fn worker(config: &Config) -> Result<(Worker, Arc<Ends>), Failure> {
    let destination = destination(config)?;
    let client = consumer_config(&config.kafka, &config.name);
    let ends = Arc::new(Ends::new(&client).map_err(kafka_failure(config))?);
    let pool = Pool::new(Connector::new(destination)?, destination.connections);
    let bookkeeping = Bookkeeping::new(&destination.schema, &config.name);
    let worker = Worker::start(pool, bookkeeping, Arc::clone(&ends))
        .await
        .map_err(|error| destination_failure(config, &error))?;
    Ok((worker, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_parsed() {
        assert_eq!("beginning".parse(), Ok(From::Beginning));
        assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(From::Time(1_000)));
        assert_eq!("1970-01-01T01:00:01+01:00".parse(), Ok(From::Time(1_000)));
        assert_eq!("0:5,3:7".parse(), Ok(From::Offsets(BTreeMap::from([(0, 5), (3, 7)]))));
        for bad in ["", "start", "0", "0:-1", "a:1", "0:1,", "2026-01-31"] {
            assert!(bad.parse::<From>().is_err(), "{bad}");
        }
    }
}
