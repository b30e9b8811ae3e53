//! The commands of `capture`: each takes a checked configuration and ends with an exit status.

pub mod check;
pub mod drop;
mod reach;
pub mod status;
mod stored;

use clap::Args;
use tributary_service::exit::Failure;

/// The tables that a changed configuration leaves out on purpose; of `run` and `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DeselectArgs {
    /// Tables of the task that the configuration does not select any more, and that are to be left; with commas between
    #[arg(long, value_name = "DATABASE.TABLE", value_delimiter = ',')]
    pub deselect: Vec<String>,
}

/// A runtime for a command that ends by itself.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the runtime cannot be started", error))
}
