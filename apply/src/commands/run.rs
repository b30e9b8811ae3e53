//! `apply run`: serves the status, runs the pipeline, and says how it ended.

use super::{check, runtime};
use crate::pipeline::run::Run;
use std::sync::Arc;
use std::time::Duration;
use tributary_schemas::config::Config;
use tributary_service::check::{CheckItem, Outcome, Report};
use tributary_service::exit::{Exit, Failure};
use tributary_service::load::Service;
use tributary_service::registry::Registry;
use tributary_service::status::{ErrorDocument, State, Status};
use tributary_service::telemetry::Telemetry;
use tributary_service::{http, shutdown};

/// Threads that encode rows and talk to the destination.
const THREADS: usize = 4;

/// What the command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// End once everything that exists at the start is merged.
    pub until_caught_up: bool,
    /// Items of the check whose failure does not end the run.
    pub ignore: Vec<String>,
}

/// Runs until the end is asked for, reached or forced.
///
/// # Errors
/// A [`Failure`] with the exit status it leads to.
pub fn run(config: Config, options: Options, telemetry: Telemetry) -> Result<Exit, Failure> {
    let runtime = runtime(THREADS)?;
    let status = Status::new(&config.name, Service::Apply);
    let registry = Registry::default();
    let (handle, shutdown) = runtime.block_on(async { shutdown::on_signals() })?;
    let server = runtime.block_on(http::serve(&config.apply.listen, status.clone(), registry.clone()))?;
    println!("apply: http://{}", server.address);
    let telemetry = Arc::new(telemetry);
    let (exported, shown) = (Arc::clone(&telemetry), status.clone());
    runtime.spawn(async move { exported.export(&shown).await });
    let run = Run {
        config: Arc::new(config),
        status: status.clone(),
        registry,
        shutdown,
        handle,
        until_caught_up: options.until_caught_up,
    };
    let outcome = runtime.block_on(async {
        run.wait_for_servers().await?;
        if !run.shutdown.requested() {
            precheck(&run.config, &options.ignore).await?;
        }
        run.run().await
    });
    match &outcome {
        Ok(exit) => {
            tracing::info!(status = exit.code(), "apply ends");
            status.set_state(State::Stopped);
        }
        Err(failure) => {
            status.fail(ErrorDocument::new("stopped", failure.to_string(), failure.remedy.clone()));
        }
    }
    runtime.block_on(server.stop());
    runtime.shutdown_timeout(Duration::from_secs(5));
    if let Some(telemetry) = Arc::into_inner(telemetry) {
        telemetry.finish();
    }
    outcome
}

/// What is wrong with the servers, their privileges or settings ends the run; a table that cannot be applied is left
/// out by the pipeline, with its remedy, unless `strict` is set.
async fn precheck(config: &Config, ignore: &[String]) -> Result<(), Failure> {
    let items = check::examine(config).await;
    // An item that is not reached, because an earlier one is not as it should be, is no mistake of the command line.
    let report = Report::new(items, &[]);
    for item in report.items().iter().filter(|item| item.outcome != Outcome::Pass) {
        tracing::warn!(item = item.name, remedy = item.remedy, "check: {}", item.found);
    }
    let stops = |item: &&CheckItem| {
        let table = item.name.starts_with("table-");
        !ignore.contains(&item.name) && (config.strict || !table)
    };
    match report.failures().find(stops) {
        None => Ok(()),
        Some(item) => Err(Failure::new(format!("the check failed: {}", item.name), &item.found)
            .remedy(format!("{}; or go on at your own risk with --ignore {}", item.remedy, item.name))),
    }
}
