//! The warehouse as a server: connections, and what can go wrong with them.

mod attended;
pub(crate) mod belongings;
pub mod catalog;
pub(crate) mod connection;
pub(crate) mod dependents;
mod dial;
pub(crate) mod error;
pub mod holders;
pub mod pieces;
pub(crate) mod pooled;
pub(crate) mod rights;
mod session;
mod turns;

pub use connection::{Connection, Connector, Lease, Pool};
pub use error::{DestinationError, TableError, describe, is_transient, loggable};
