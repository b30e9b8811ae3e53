//! What apply knows of itself in the destination: tables in a schema of their own, written in the transactions of the
//! rows they stand for. All progress is here; a crash anywhere resumes from it.
//!
//! Invariant: an offset only moves by compare-and-set from the value its writer last saw, so of two instances that
//! believe they own a partition only one writes.
//!
//! Every transaction takes its locks in this order, so that two of them never wait for each other (each may be left out):
//!
//! 1. the advisory lock of the target;
//! 2. the advisory lock of its schema, while that is created;
//! 3. the target table;
//! 4. the writer's staging table, which is nobody else's;
//! 5. rows of `owners`, then of `targets`, then of `generations`, then of `offsets`, then of `tasks`.
//!
//! A row of the bookkeeping is held only once no table is waited for: on Greenplum without its global deadlock detector
//! a row that is changed, or read FOR UPDATE, is the whole table, and with it every other task of this schema. There an
//! advisory lock stands in for FOR UPDATE: each writer of a target holds it until its COMMIT.

mod identity;
mod layout;
mod offsets;
mod owners;
mod reset;
mod targets;

pub use layout::Bookkeeping;
pub use offsets::{ArrivalStep, Move, OffsetRow, StoredOffset};
pub use owners::{Feeder, Ownership};
pub use targets::{NewTarget, TargetRow, TaskView};
