//! The command line of `apply`. Everything that can be wrong before a server is asked is found here, before a runtime
//! starts: arguments, configuration, telemetry.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tributary_apply::commands::replay::ReplayArgs;
use tributary_apply::commands::verify::{self, VerifyArgs};
use tributary_apply::commands::{check, drop, replay, run, status};
use tributary_schemas::config::Config;
use tributary_service::cli::{CheckArgs, Common, ConfigCommand, DropArgs, RunArgs, StatusArgs, parse};
use tributary_service::exit::{Exit, Failure, conclude, ends_with};
use tributary_service::load::{Service, load};
use tributary_service::telemetry;
use tributary_service::waits::Waits;

/// Merges the topics of a task into a PostgreSQL-compatible warehouse, exactly once
#[derive(Debug, Parser)]
#[command(name = "apply", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check, then merge the topics as they grow
    Run(RunArgs),
    /// Compare source and destination, and print the keys that differ
    Verify(VerifyArgs),
    /// Examine Kafka, the destination and each table's target, and say what to do
    Check(CheckArgs),
    /// Show what the running instance is doing
    Status(StatusArgs),
    /// Read topics again, into targets that are cleared first or merged over
    Replay(ReplayArgs),
    /// Remove the task's bookkeeping and staging tables, never target tables
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
        Command::Run(arguments) => {
            let config = read(&arguments.common)?;
            let telemetry = telemetry::start(Service::Apply)?;
            run::run(
                config,
                run::Options { until_caught_up: arguments.until_caught_up, ignore: arguments.ignore },
                telemetry,
            )
        }
        Command::Check(arguments) => {
            let config = read(&arguments.common)?;
            with_log(|| check::run(&config, &arguments))
        }
        Command::Status(arguments) => {
            let config = read(&arguments.common)?;
            with_log(|| status::run(&config, &arguments))
        }
        Command::Replay(arguments) => {
            let config = read(&arguments.common)?;
            with_log(|| replay::run(&config, &arguments))
        }
        Command::Drop(arguments) => {
            let config = read(&arguments.common)?;
            with_log(|| drop::run(&config, &arguments))
        }
        Command::Verify(arguments) => {
            let config = read(&arguments.common)?;
            with_log(|| verify::run(&config, &arguments))
        }
        Command::Config { command } => {
            command.run();
            Ok(Exit::Done)
        }
    }
}

fn read(common: &Common) -> Result<Config, Failure> {
    Ok(load(&common.config, Service::Apply, &common.overrides())?)
}

fn with_log(command: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    let telemetry = telemetry::start(Service::Apply)?;
    let telling = Waits::of_process().tell();
    let outcome = command();
    drop(telling);
    telemetry.finish();
    outcome
}
