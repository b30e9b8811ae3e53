//! From records to merged tables. Pure state machines ([`flow`]) decide; the rest of the folder connects them to the
//! consumer and to the destination.

pub(crate) mod engine;
pub mod flow;
mod follow;
pub mod job;
mod name;
pub(crate) mod run;
pub(crate) mod worker;

#[cfg(test)]
mod simulation;
