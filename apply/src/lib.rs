//! `apply`: Kafka in, merged tables in PostgreSQL-compatible warehouses out, exactly once.

pub mod barriers;
pub mod batches;
pub mod pipeline;
