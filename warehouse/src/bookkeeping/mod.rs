//! What apply knows of itself in the destination: tables in a schema of their own, written in the transactions of the
//! rows they stand for. All progress is here; a crash anywhere resumes from it.
//!
//! Invariant: an offset only moves by compare-and-set from the value its writer last saw, so of two instances that
//! believe they own a partition only one writes.
//!
//! Every transaction takes its locks in this order, so that two of them never wait for each other (each may be left out):
//!
//! 1. the advisory locks of the target (this bookkeeping's, then all bookkeepings'), or of the bookkeeping, while its tables are
//!    made or removed;
//! 2. the advisory lock of the target's schema, while that is created;
//! 3. the writer's staging table, which is nobody else's;
//! 4. the target table, and others that hang on it;
//! 5. rows of `owners`, of several bookkeepings in the order of their schemas' names, then of `slices`;
//! 6. rows of `targets`, then of `refusals`, `generations`, `offsets`, `tasks` and `identities`.
//!
//! A row of the bookkeeping is held only once no table is waited for: on Greenplum without its global deadlock detector
//! a row that is changed, or read FOR UPDATE, is the whole table, and with it every other task of this schema. There an
//! advisory lock stands in for FOR UPDATE: each writer of a target holds it until its COMMIT. The tests of `apply` on real
//! servers look for this order in every statement of every transaction (`apply/tests/pipeline/order.rs`).

mod identity;
mod layout;
mod offsets;
mod owners;
mod refusals;
mod reset;
mod slices;
mod targets;

pub use layout::{Bookkeeping, lock_key_of};
pub use offsets::{ArrivalStep, Move, OffsetRow, StoredOffset};
pub use owners::{Feeder, Ownership};
pub use refusals::Refusal;
pub use slices::Share;
pub use targets::{NewTarget, TargetRow, TaskView};
