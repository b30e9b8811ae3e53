//! `apply`: Kafka in, merged tables in PostgreSQL-compatible warehouses out, exactly once.

pub mod barriers;
pub mod batches;
pub mod bookkeeping;
mod check;
pub mod commands;
pub mod destination;
pub mod merge;
pub mod pipeline;
mod remedies;
pub mod topics;
mod verify;
