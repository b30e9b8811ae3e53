//! The contract between `capture` and `apply`: what a table is, how its rows look on Kafka, how topics, keys,
//! schemas and positions are named and written. Nothing here performs IO; everything here is deterministic.

pub mod avro;
pub mod calendar;
pub mod checkpoint;
pub mod conversion;
pub mod decimal;
pub mod envelope;
pub mod gtid;
pub mod history;
pub mod key;
pub mod position;
pub mod printed;
pub mod record;
pub mod row;
pub mod sequence;
pub mod table;
pub mod topic;
pub mod types;
pub mod wire;

/// The version of everything Tributary writes about itself: state and history records, record headers and the
/// bookkeeping tables. A binary that reads a higher number refuses to go on.
pub const FORMAT_VERSION: u32 = 1;
