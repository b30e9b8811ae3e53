//! Reading tables while the stream runs (docs/ARCHITECTURE.md, "Snapshot and stream"): which keys the stream passed
//! in the meantime, which chunk is read next, and the readers that run the SELECTs.

pub(crate) mod batch;
pub(crate) mod planner;
#[cfg(test)]
mod planner_tests;
pub(crate) mod reader;
#[cfg(test)]
mod reader_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod simulation_source;
pub(crate) mod windows;
