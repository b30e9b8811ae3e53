//! `apply`: Kafka in, merged tables in PostgreSQL-compatible warehouses out, exactly once.

pub mod batches;
mod check;
pub mod commands;
pub mod pipeline;
mod remedies;
