//! From records to merged tables. Pure state machines ([`flow`]) decide; the rest of the folder connects them to the
//! consumer and to the destination.

pub mod engine;
pub mod flow;
mod follow;
pub mod job;
mod name;
pub mod ownership;
pub mod run;
pub mod table;
mod until;
pub mod worker;

#[cfg(test)]
mod simulation;
