//! The DDL stream: the text of QUERY events enters, effects on tables and the catalog at the stream's position leave.
//!
//! Invariants: a statement that concerns no selected table can be told apart from all others whatever it says; a
//! clause that is not understood never passes as one without effect.

mod alter;
mod apply;
mod catalog;
mod charset;
mod classify;
mod column;
mod conversion;
mod cursor;
mod declared;
mod default;
mod index;
mod indexes;
mod mode;
mod resolve;
mod stated;
mod statement;
mod token;

pub use alter::{AlterStep, ColumnPosition};
pub use apply::apply;
pub use catalog::{Change, NeedsCatalogRead, Next, Session};
pub use classify::classify;
pub use column::ColumnDefinition;
pub use default::DefaultClause;
pub use index::{Constraint, IndexDefinition};
pub use mode::SqlMode;
pub use stated::{Stated, StatedVerdict, follow, unlike};
pub use statement::{Effect, Statement, TableEffect};

#[cfg(test)]
mod apply_tests;
#[cfg(test)]
mod tests;
