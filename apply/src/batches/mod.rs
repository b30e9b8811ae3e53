//! Records become batches: what enters is Kafka records of one table and one generation, what leaves is the last
//! state of each key and the offsets that state stands for. Pure: no clock, no socket.

pub mod compact;
pub mod flush;
