//! The sequencer: the one thread that owns the stream and the producer. Binlog events and rows read from tables enter,
//! records leave in one order; what it has published and where it stands leave in the same Kafka transactions.

pub mod progress;
