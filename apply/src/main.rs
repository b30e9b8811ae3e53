//! The command line of `apply`. Everything that can be wrong before a server is asked is found here, before a runtime
//! starts: arguments, configuration, telemetry.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tributary_apply::commands::run;
use tributary_apply::commands::verify::{self, VerifyArgs};
use tributary_schemas::config::Config;
use tributary_service::cli::{Common, ConfigCommand, RunArgs, parse};
use tributary_service::exit::{Exit, Failure, conclude};
use tributary_service::load::{Service, load};
use tributary_service::telemetry;

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
    /// About the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

fn main() -> ExitCode {
    match parse::<Cli>(std::env::args_os()) {
        Ok(cli) => conclude(execute(cli.command)),
        Err(code) => code,
    }
}

fn execute(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(arguments) => {
            let config = read(&arguments.common)?;
            run::run(config, arguments.until_caught_up, telemetry::start(Service::Apply)?)
        }
        Command::Verify(arguments) => {
            let config = read(&arguments.common)?;
            let telemetry = telemetry::start(Service::Apply)?;
            let outcome = verify::run(&config, &arguments);
            telemetry.finish();
            outcome
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
