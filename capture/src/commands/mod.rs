//! The commands of `capture`: each takes a checked configuration and ends with an exit status.

pub mod check;
pub mod drop;
mod reach;
pub mod status;
mod stored;

use tributary_service::exit::Failure;

/// A runtime for a command that ends by itself.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the runtime cannot be started", error))
}
