//! The command line of `apply`. Everything that can be wrong before a server is asked is found here, before a runtime
//! starts: arguments, configuration, telemetry.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tributary_apply::commands::replay::ReplayArgs;
use tributary_apply::commands::verify::{self, VerifyArgs};
use tributary_apply::commands::{check, drop, replay, run, status};
use tributary_service::Service;
use tributary_service::cli::{CheckArgs, ConfigCommand, DropArgs, RunArgs, StatusArgs};
use tributary_service::exit::{Exit, Failure};
use tributary_service::shell;

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
    shell::main(|Cli { command }| execute(command))
}

fn execute(command: Command) -> Result<Exit, Failure> {
    const APPLY: Service = Service::Apply;
    match command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => {
            shell::command(APPLY, &arguments.common, |config| check::run(config, &arguments))
        }
        Command::Status(arguments) => {
            shell::command(APPLY, &arguments.common, |config| status::run(config, &arguments))
        }
        Command::Replay(arguments) => {
            shell::command(APPLY, &arguments.common, |config| replay::run(config, &arguments))
        }
        Command::Drop(arguments) => {
            shell::command(APPLY, &arguments.common, |config| drop::run(config, &arguments))
        }
        Command::Verify(arguments) => {
            shell::command(APPLY, &arguments.common, |config| verify::run(config, &arguments))
        }
        Command::Config { command } => {
            command.run();
            Ok(Exit::Done)
        }
    }
}
