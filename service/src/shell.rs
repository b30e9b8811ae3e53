//! The life of a process of either service: from `main` to the exit status, and of a run from its first signal handler to
//! its last span.

use crate::Service;
use crate::cli::{Common, parse};
use crate::codes::Code;
use crate::exit::{Exit, Failure, conclude, ends_with};
use crate::load::load;
use crate::registry::Registry;
use crate::shutdown::{self, Shutdown, ShutdownHandle};
use crate::status::{ErrorDocument, State, Status};
use crate::waits::Waits;
use crate::{http, telemetry};
use clap::Parser;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tributary_config::Config;

/// How long work that blocks may go on behind the end.
const LEFT_WORK: Duration = Duration::from_secs(5);

/// All of a process: its command line enters, its status leaves.
pub fn main<C: Parser>(execute: impl FnOnce(C) -> Result<Exit, Failure>) -> ExitCode {
    if let Some(status) = ends_with() {
        return status;
    }
    match parse::<C>(std::env::args_os()) {
        Ok(cli) => conclude(execute(cli)),
        Err(code) => code,
    }
}

/// Carries out a command that ends by itself. What it waits for is told on standard error.
///
/// # Errors
/// A configuration that cannot be used, and what `work` fails with.
pub fn command(
    service: Service,
    common: &Common,
    work: impl FnOnce(&Config) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let config = load(&common.config, service, &common.overrides())?;
    let telemetry = telemetry::start(service)?;
    let telling = Waits::of_process().tell();
    let outcome = work(&config);
    drop(telling);
    telemetry.finish();
    outcome
}

/// What a run has around it.
#[derive(Debug)]
pub struct Life {
    /// As it was read.
    pub config: Config,
    /// For everything that is not the loop.
    pub runtime: Handle,
    /// Served at `address`.
    pub status: Status,
    /// Served there, too.
    pub registry: Registry,
    /// Asks for the end.
    pub handle: ShutdownHandle,
    /// Tells of the end.
    pub shutdown: Shutdown,
    /// Of HTTP.
    pub address: SocketAddr,
}

/// Runs `work` with status and metrics served, until it has come to its end, which both show.
///
/// # Errors
/// What cannot be used or listened on, and what `work` fails with.
pub fn run(
    service: Service,
    common: &Common,
    threads: usize,
    work: impl FnOnce(Life) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let config = load(&common.config, service, &common.overrides())?;
    let telemetry = Arc::new(telemetry::start(service)?);
    let runtime = runtime(threads)?;
    let (status, registry) = (Status::new(&config.name, service), Registry::default());
    let (handle, shutdown) = runtime.block_on(async { shutdown::on_signals() })?;
    let listen = match service {
        Service::Capture => &config.capture.listen,
        Service::Apply => &config.apply.listen,
    };
    let server = runtime.block_on(http::serve(listen, status.clone(), registry.clone()))?;
    println!("{service}: http://{}", server.address);
    let (exported, shown) = (Arc::clone(&telemetry), status.clone());
    runtime.spawn(async move { exported.export(&shown).await });
    let (shown, address) = (status.clone(), server.address);
    let outcome =
        work(Life { config, runtime: runtime.handle().clone(), status, registry, handle, shutdown, address });
    match &outcome {
        Ok(exit) => {
            tracing::info!(status = exit.code(), "{service} ends");
            shown.set_state(State::Stopped);
        }
        Err(failure) => {
            let (code, remedy) = (Code::Stopped.name(), failure.remedy.clone());
            shown.fail(ErrorDocument::new(code, failure.to_string(), remedy));
        }
    }
    runtime.block_on(server.stop());
    runtime.shutdown_timeout(LEFT_WORK);
    if let Some(telemetry) = Arc::into_inner(telemetry) {
        telemetry.finish();
    }
    outcome
}

/// A runtime of so many threads.
///
/// # Errors
/// The system gives no threads.
pub fn runtime(threads: usize) -> Result<Runtime, Failure> {
    let built = Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    built.map_err(|error| Failure::new("the runtime cannot be started", error))
}
