//! The warehouse as a server: connections, and what can go wrong with them.

mod attended;
pub mod belongings;
pub mod catalog;
pub(crate) mod connection;
pub mod dependents;
mod dial;
pub(crate) mod error;
pub mod holders;
pub mod pieces;
pub mod pooled;
pub(crate) mod rights;
mod session;
mod turns;

pub use connection::{Connection, Connector, Lease, Pool};
pub use error::{DestinationError, TableError, describe, is_transient, loggable};
