//! Capture: reads a MySQL source, its binlog and its tables, and publishes both to Kafka, exactly once.

pub mod binlog;
mod check;
pub mod commands;
pub mod ddl;
mod groups;
pub mod pipeline;
mod remedies;
mod sequencer;
#[cfg(test)]
mod simulation;
mod snapshot;
mod topics;
