//! `apply run`: serves the status, runs the pipeline, and says how it ended.

use crate::check::{examine, is_of_table};
use crate::pipeline::run::Run;
use crate::remedies;
use std::sync::Arc;
use std::time::Duration;
use tributary_config::{Config, DestinationConfig};
use tributary_service::Service;
use tributary_service::check::{self, CheckItem, KAFKA_REACHABLE, Outcome};
use tributary_service::cli::RunArgs;
use tributary_service::exit::{Exit, Failure};
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

/// What is wrong with the servers, their privileges or settings ends the run; a server that is away is waited for; a
/// table that cannot be applied is left out by the pipeline, with its remedy, unless `strict` is set.
async fn precheck(run: &Run, ignore: &[String]) -> Result<(), Failure> {
    let config = &run.config;
    let stops = |item: &&CheckItem| {
        let counts = config.strict || !is_of_table(item);
        item.outcome == Outcome::Fail && !ignore.contains(&item.name) && counts
    };
    let examine = async || {
        let found = examine(config).await;
        let obstacles = found.0.iter().filter(stops).cloned().collect();
        (found, obstacles)
    };
    let what = "checking Kafka and the destination";
    let limit = |item: &CheckItem| patience(config, item);
    check::precheck((&run.status, &run.shutdown), what, limit, remedies::failed_items(), examine).await?;
    Ok(())
}

/// How long an item may go on failing for a reason that may pass: as long as the key of its server allows, and a single
/// table, which somebody may have locked, for [`TABLE_PATIENCE`] at most.
fn patience(config: &Config, item: &CheckItem) -> Duration {
    let destination = config.destination.as_ref().map_or(Duration::ZERO, DestinationConfig::retry);
    match item.name.as_str() {
        KAFKA_REACHABLE => config.kafka.retry(),
        _ if is_of_table(item) => destination.min(TABLE_PATIENCE),
        _ => destination,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_waited_for_as_long_as_its_own_key_says() {
        let config = "name = \"t\"\nkafka.brokers = \"b\"\nkafka.retry_minutes = 3\n[destination]\nhost = \"h\"\n\
                      database = \"d\"\nuser = \"u\"\nretry_minutes = 2\n[[table]]\nsource = \"a.*\"\n";
        let config: Config = toml::from_str(config).unwrap();
        for (name, seconds) in [("kafka-reachable", 180), ("bookkeeping", 120), ("table-a.b", 60)] {
            assert_eq!(patience(&config, &CheckItem::fail(name, "", "")).as_secs(), seconds, "{name}");
        }
    }
}
