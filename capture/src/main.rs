//! The command line of `capture`. Everything that can be wrong before a server is asked is found here, before a
//! runtime starts: arguments, configuration, telemetry.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tributary_capture::commands::{DeselectArgs, check, drop, status};
use tributary_capture::pipeline;
use tributary_service::Service;
use tributary_service::cli::{CheckArgs, ConfigCommand, DropArgs, RunArgs, StatusArgs};
use tributary_service::exit::{Exit, Failure};
use tributary_service::shell;

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
    shell::main(|Cli { command }| execute(command))
}

fn execute(command: Command) -> Result<Exit, Failure> {
    const CAPTURE: Service = Service::Capture;
    match command {
        Command::Run { arguments, deselect } => pipeline::run(arguments, deselect.deselect),
        Command::Check { arguments, deselect } => shell::command(CAPTURE, &arguments.common, |config| {
            check::run(config, &arguments, &deselect.deselect)
        }),
        Command::Status(arguments) => {
            shell::command(CAPTURE, &arguments.common, |config| status::run(config, &arguments))
        }
        Command::Drop(arguments) => {
            shell::command(CAPTURE, &arguments.common, |config| drop::run(config, &arguments))
        }
        Command::Config { command } => {
            command.run();
            Ok(Exit::Done)
        }
    }
}
