//! `apply run`: serves the status, runs the pipeline, and says how it ended.

use super::runtime;
use crate::pipeline::run::Run;
use std::sync::Arc;
use std::time::Duration;
use tributary_schemas::config::Config;
use tributary_service::exit::{Exit, Failure};
use tributary_service::load::Service;
use tributary_service::registry::Registry;
use tributary_service::status::{ErrorDocument, State, Status};
use tributary_service::telemetry::Telemetry;
use tributary_service::{http, shutdown};

/// Threads that encode rows and talk to the destination.
const THREADS: usize = 4;

/// Runs until the end is asked for, reached or forced.
///
/// # Errors
/// A [`Failure`] with the exit status it leads to.
pub fn run(config: Config, until_caught_up: bool, telemetry: Telemetry) -> Result<Exit, Failure> {
    let runtime = runtime(THREADS)?;
    let status = Status::new(&config.name, Service::Apply);
    let registry = Registry::default();
    let (handle, shutdown) = runtime.block_on(async { shutdown::on_signals() })?;
    let server = runtime.block_on(http::serve(&config.apply.listen, status.clone(), registry.clone()))?;
    println!("apply: http://{}", server.address);
    let telemetry = Arc::new(telemetry);
    let (exported, shown) = (Arc::clone(&telemetry), status.clone());
    runtime.spawn(async move { exported.export(&shown).await });
    let run =
        Run { config: Arc::new(config), status: status.clone(), registry, shutdown, handle, until_caught_up };
    let outcome = runtime.block_on(run.run());
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
