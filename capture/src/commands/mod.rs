//! The commands of `capture`: each takes a checked configuration and ends with an exit status.

pub mod check;
pub mod drop;
pub mod status;

use clap::Args;

/// The tables that a changed configuration leaves out on purpose; of `run` and `check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DeselectArgs {
    /// Tables of the task that the configuration does not select any more, and that are to be left; with commas between
    #[arg(long, value_name = "DATABASE.TABLE", value_delimiter = ',')]
    pub deselect: Vec<String>,
}
