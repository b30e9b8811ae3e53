//! `apply run`: serves the status, runs the pipeline, and says how it ended.

use crate::check::{Findings, examine};
use crate::pipeline::run::Run;
use crate::remedies;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tributary_schemas::config::{Config, DestinationConfig};
use tributary_service::check::{CheckItem, Outcome};
use tributary_service::cli::RunArgs;
use tributary_service::exit::{Exit, Failure};
use tributary_service::load::Service;
use tributary_service::retry::{Policy, RetryError, Transient, retry_while_transient};
use tributary_service::shell::{self, Life};

/// Threads that encode rows and talk to the destination.
const THREADS: usize = 4;

/// How long the check under `strict` waits for a table that cannot be looked at now.
const TABLE_PATIENCE: Duration = Duration::from_secs(60);

/// Runs until the end is asked for, reached or forced.
///
/// # Errors
/// A [`Failure`] with the exit status it leads to.
pub fn run(arguments: RunArgs) -> Result<Exit, Failure> {
    let RunArgs { common, until_caught_up, ignore } = arguments;
    shell::run(Service::Apply, &common, THREADS, |life| {
        let Life { config, runtime, status, registry, handle, shutdown, .. } = life;
        let run = Run { config: Arc::new(config), status, registry, shutdown, handle, until_caught_up };
        runtime.block_on(async {
            run.wait_for_servers().await?;
            if !run.shutdown.requested() {
                precheck(&run, &ignore).await?;
            }
            run.run().await
        })
    })
}

/// What keeps a run from beginning.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}; {}", .item.name, .item.found, .item.remedy)]
struct Obstacle {
    item: CheckItem,
    /// It may pass by itself.
    passing: bool,
    /// Everything that was found.
    items: Vec<CheckItem>,
}

impl Transient for Box<Obstacle> {
    fn is_transient(&self) -> bool {
        self.passing
    }
}

/// What is wrong with the servers, their privileges or settings ends the run; a server that is away is waited for; a
/// table that cannot be applied is left out by the pipeline, with its remedy, unless `strict` is set.
async fn precheck(run: &Run, ignore: &[String]) -> Result<(), Failure> {
    let config = &run.config;
    let waits = Waits::default();
    let attempt = async || {
        let Findings { items, passing } = examine(config).await;
        let stops = |item: &&CheckItem| {
            let counts = config.strict || !is_of_table(item);
            item.outcome == Outcome::Fail && !ignore.contains(&item.name) && counts
        };
        // One that lasts comes first: then there is nothing to wait for.
        let found = items.iter().filter(stops).min_by_key(|item| passing.contains(&item.name));
        match found.cloned() {
            Some(item) => {
                let passing = passing.contains(&item.name) && waits.go_on(config, &item, Instant::now());
                Err(Box::new(Obstacle { item, passing, items }))
            }
            None => Ok(items),
        }
    };
    let checked = retry_while_transient(
        // The limit is that of what is waited for.
        Policy::for_limit(Duration::MAX),
        &run.status,
        &run.shutdown,
        "checking Kafka and the destination",
        attempt,
    );
    match checked.await {
        Ok(items) => {
            show(&items);
            Ok(())
        }
        Err(RetryError::Shutdown) => Ok(()),
        Err(RetryError::Definite(obstacle) | RetryError::Limit { error: obstacle, .. }) => {
            let Obstacle { item, items, .. } = *obstacle;
            show(&items);
            Err(Failure::new(format!("the check failed: {}", item.name), &item.found)
                .remedy(remedies::failed_item(&item.remedy, &item.name)))
        }
    }
}

/// What is waited for, and since when.
#[derive(Default)]
struct Waits(RefCell<Option<(String, Instant)>>);

impl Waits {
    /// True if `item` may go on failing at `now`: as long as the key of its server allows, and a single table, which
    /// somebody may have locked, for [`TABLE_PATIENCE`] at most.
    fn go_on(&self, config: &Config, item: &CheckItem, now: Instant) -> bool {
        let destination = config.destination.as_ref().map_or(Duration::ZERO, DestinationConfig::retry);
        let limit = match item.name.as_str() {
            "kafka-reachable" => config.kafka.retry(),
            _ if is_of_table(item) => destination.min(TABLE_PATIENCE),
            _ => destination,
        };
        let mut waiting = self.0.borrow_mut();
        let since = match waiting.as_ref() {
            Some((name, since)) if *name == item.name => *since,
            _ => now,
        };
        *waiting = Some((item.name.clone(), since));
        now.duration_since(since) < limit
    }
}

fn is_of_table(item: &CheckItem) -> bool {
    item.name.starts_with("table-")
}

fn show(items: &[CheckItem]) {
    for item in items.iter().filter(|item| item.outcome != Outcome::Pass) {
        tracing::warn!(item = item.name, remedy = item.remedy, "check: {}", item.found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_waited_for_as_long_as_its_own_key_says() {
        let config = "name = \"t\"\nkafka.brokers = \"b\"\nkafka.retry_minutes = 3\n[destination]\nhost = \"h\"\n\
                      database = \"d\"\nuser = \"u\"\nretry_minutes = 2\n[[table]]\nsource = \"a.*\"\n";
        let mut config: Config = toml::from_str(config).unwrap();
        let (now, waits) = (Instant::now(), Waits::default());
        let at = |config: &Config, name: &str, seconds: u64| {
            waits.go_on(config, &CheckItem::fail(name, "", ""), now + Duration::from_secs(seconds))
        };
        assert!(at(&config, "kafka-reachable", 0) && at(&config, "kafka-reachable", 179));
        assert!(!at(&config, "kafka-reachable", 180));
        assert!(at(&config, "bookkeeping", 200), "another begins anew");
        assert!(at(&config, "bookkeeping", 319) && !at(&config, "bookkeeping", 320));
        assert!(
            at(&config, "table-a.b", 400) && at(&config, "table-a.b", 459) && !at(&config, "table-a.b", 460)
        );
        config.destination.as_mut().unwrap().retry_minutes = 0;
        assert!(!at(&config, "bookkeeping", 500), "at once an error");
    }
}
