//! From records to merged tables. Pure state machines ([`flow`]) decide; the rest of the folder connects them to the
//! consumer and to the destination.

pub mod flow;
pub mod job;
pub mod table;

#[cfg(test)]
mod simulation;
