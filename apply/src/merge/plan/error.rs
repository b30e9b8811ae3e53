//! What can keep a table's rows out of its destination, each with the way out.

use crate::merge::layout::LayoutError;
use thiserror::Error;

/// PostgreSQL's limit of columns in a table; one is the staging table's own.
pub(super) const COLUMNS_MAX: usize = 1599;

/// Why rows cannot be moved into the destination table. Parks the table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The definition and the rule do not go together.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The destination lacks a column.
    #[error("{target} has no column {column}; {remedy}")]
    MissingColumn {
        /// Destination table.
        target: String,
        /// The column that is wanted.
        column: String,
        /// What to do.
        remedy: String,
    },
    /// The destination's type could lose or change values.
    #[error(
        "{target}: column {column} is {target_type}, which cannot hold every {source_type}; \
         ALTER TABLE {target} ALTER COLUMN \"{column}\" TYPE {wanted}, or leave the column out with columns.drop"
    )]
    Incompatible {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
        /// Declaration on the source.
        source_type: String,
        /// The destination's type.
        target_type: String,
        /// The type that would do.
        wanted: String,
    },
    /// A constant is no value of its column's type.
    #[error("{target}: the constant {value:?} is no value of column {column}, which is {target_type}")]
    BadConstant {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
        /// The constant.
        value: String,
        /// The destination's type.
        target_type: String,
    },
    /// The destination wants a value that the source does not have.
    #[error(
        "{target}: column {column} is NOT NULL, has no default and is not in the source; \
         give it a default, or make it nullable"
    )]
    RequiredColumn {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
    },
    /// The destination refuses NULLs that the source allows.
    #[error(
        "{target}: column {column} is NOT NULL, but may be NULL on the source; \
         ALTER TABLE {target} ALTER COLUMN \"{column}\" DROP NOT NULL"
    )]
    NotNull {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
    },
    /// The destination computes the column itself.
    #[error(
        "{target}: column {column} is GENERATED ALWAYS and takes no values; leave it out with columns.drop, or ALTER TABLE \
         {target} ALTER COLUMN \"{column}\" DROP EXPRESSION (DROP IDENTITY if it is one)"
    )]
    Generated {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
    },
    /// Different keys of the source would be one in the destination.
    #[error(
        "{target}: key column {column} has a collation under which different texts are equal; give it a deterministic one"
    )]
    CoarseKey {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
    },
    /// More columns than a PostgreSQL table and its staging table can have.
    #[error(
        "{target} would have {columns} columns; PostgreSQL allows {COLUMNS_MAX} beside the staging table's own"
    )]
    TooManyColumns {
        /// Destination table.
        target: String,
        /// How many there would be.
        columns: usize,
    },
}
