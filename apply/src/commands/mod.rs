//! The commands of `apply`: each takes a checked configuration and ends with an exit status.

pub mod check;
pub mod drop;
pub mod replay;
pub mod run;
pub mod status;
mod task;
pub mod verify;

use tributary_service::exit::Failure;

/// A runtime for a command.
fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the runtime cannot be started", error))
}
