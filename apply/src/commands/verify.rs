//! `apply verify`: compares source and destination, prints the keys that differ.

use clap::Args;
use std::path::PathBuf;
use tributary_config::Config;
use tributary_service::cli::Common;
use tributary_service::exit::{Exit, Failure};
use tributary_service::shell::runtime;
use tributary_verify::Options;

/// Threads beside the one that compares: connections work there.
const THREADS: usize = 1;

/// Options of `verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VerifyArgs {
    /// Configuration and address
    #[command(flatten)]
    pub common: Common,
    /// Compare only this table of the source (database.table, with * for any run of characters; task:database.table where
    /// several tasks are read)
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Configurations of the tasks whose topics are read, for the [source] that this one does not have
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    pub source: Vec<PathBuf>,
}

/// Compares and prints.
///
/// # Errors
/// A [`Failure`] if nothing could be compared.
pub fn run(config: &Config, arguments: &VerifyArgs) -> Result<Exit, Failure> {
    let options = Options { table: arguments.table.clone(), sources: arguments.source.clone() };
    runtime(THREADS)?.block_on(tributary_verify::run(config, &options))
}
