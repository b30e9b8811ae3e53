//! The command line of `capture`. Everything that can be wrong before a server is asked is found here, before a
//! runtime starts: arguments, configuration, telemetry.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tributary_capture::commands::{DeselectArgs, check, drop, status};
use tributary_capture::pipeline::{self, RunOptions};
use tributary_schemas::config::Config;
use tributary_service::cli::{CheckArgs, Common, ConfigCommand, DropArgs, RunArgs, StatusArgs, parse};
use tributary_service::exit::{Exit, Failure, conclude, ends_with};
use tributary_service::load::{Service, load};
use tributary_service::telemetry;
use tributary_service::waits::Waits;

/// Messages are allocated by one thread and freed by another, which the C library's allocator does slowly: 30% of
/// capture's CPU. Serves librdkafka and OpenSSL as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Publishes the tables and the binlog of a MySQL or PolarDB source to Kafka, exactly once
#[derive(Debug, Parser)]
#[command(name = "capture", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check, then read the tables and follow the binlog
    Run {
        /// Those of both services
        #[command(flatten)]
        arguments: RunArgs,
        /// Those of capture
        #[command(flatten)]
        deselect: DeselectArgs,
    },
    /// Examine source, tables and Kafka, and say what to do
    Check {
        /// Those of both services
        #[command(flatten)]
        arguments: CheckArgs,
        /// Those of capture
        #[command(flatten)]
        deselect: DeselectArgs,
    },
    /// Show what the running instance is doing
    Status(StatusArgs),
    /// Remove everything the task has on Kafka
    Drop(DropArgs),
    /// About the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

fn main() -> ExitCode {
    if let Some(status) = ends_with() {
        return status;
    }
    match parse::<Cli>(std::env::args_os()) {
        Ok(cli) => conclude(execute(cli.command)),
        Err(code) => code,
    }
}

fn execute(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run { arguments, deselect } => {
            let config = read(&arguments.common)?;
            let telemetry = telemetry::start(Service::Capture)?;
            let RunArgs { common, until_caught_up, ignore } = arguments;
            let options =
                RunOptions { until_caught_up, listen: common.listen, ignore, deselect: deselect.deselect };
            pipeline::run(config, options, telemetry)
        }
        Command::Check { arguments, deselect } => {
            let config = read(&arguments.common)?;
            with_log(|| check::run(&config, &arguments, &deselect.deselect))
        }
        Command::Status(arguments) => {
            let config = read(&arguments.common)?;
            with_log(|| status::run(&config, &arguments))
        }
        Command::Drop(arguments) => {
            let config = read(&arguments.common)?;
            with_log(|| drop::run(&config, &arguments))
        }
        Command::Config { command } => {
            command.run();
            Ok(Exit::Done)
        }
    }
}

fn read(common: &Common) -> Result<Config, Failure> {
    Ok(load(&common.config, Service::Capture, &common.overrides())?)
}

fn with_log(command: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    let telemetry = telemetry::start(Service::Capture)?;
    let telling = Waits::of_process().tell();
    let outcome = command();
    drop(telling);
    telemetry.finish();
    outcome
}
