//! Capture: reads a MySQL source, its binlog and its tables, and publishes both to Kafka, exactly once.

pub mod binlog;
pub mod commands;
pub mod events;
pub mod pipeline;
pub mod remedies;
pub mod sequencer;
#[cfg(test)]
mod simulation;
pub mod snapshot;
pub mod topics;
