//! The long runs of `make test-faults`: everything is killed, frozen and cut off under load, again and again, and in the
//! end source and destination are equal and no stream event is in a topic twice. The seed of a run is printed;
//! `TRIBUTARY_SEED` repeats it as far as processes repeat.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod barrier;
mod brokers;
mod copies;
mod fire;
mod huge;
mod keys;
mod kills;
mod merged;
mod slices;
mod starts;
mod states;
