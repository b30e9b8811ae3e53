//! What apply knows of itself in the destination: tables in a schema of their own, written in the transactions of the
//! rows they stand for. All progress is here; a crash anywhere resumes from it.
//!
//! Invariant: an offset only moves by compare-and-set from the value its writer last saw, so of two instances that
//! believe they own a partition only one writes.
//!
//! Locks are always taken in the order target table, row of the target, rows of the offsets.

mod identity;
mod layout;
mod offsets;
mod owners;
mod reset;
mod targets;

pub use layout::Bookkeeping;
pub use offsets::{ArrivalStep, OffsetRow, StoredOffset};
pub use owners::{Feeder, Ownership};
pub use targets::{NewTarget, TargetRow, TaskView};
