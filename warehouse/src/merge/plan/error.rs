//! What can keep a table's rows out of its destination. The way out of each is in the table of remedies.

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
    #[error("{target} has no column {column}{}", alike.as_ref().map(|alike| format!(", but {alike}")).unwrap_or_default())]
    MissingColumn {
        /// Destination table.
        target: String,
        /// The column that is wanted.
        column: String,
        /// Its type in the destination.
        wanted: String,
        /// Its name on the source.
        origin: String,
        /// One that is there and differs in capital and small letters only.
        alike: Option<String>,
    },
    /// The destination's type could lose or change values.
    #[error("{target}: column {column} is {target_type}, which cannot hold every {source_type}")]
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
    #[error("{target}: column {column} is NOT NULL, has no default and is not in the source")]
    RequiredColumn {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
    },
    /// The destination refuses NULLs that the source allows.
    #[error("{target}: column {column} is NOT NULL, but may be NULL on the source")]
    NotNull {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
    },
    /// The destination computes the column itself.
    #[error("{target}: column {column} is GENERATED ALWAYS and takes no values")]
    Generated {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
        /// It is an identity, not an expression.
        identity: bool,
    },
    /// Different keys of the source would be one in the destination.
    #[error("{target}: key column {column} has a collation under which different texts are equal")]
    CoarseKey {
        /// Destination table.
        target: String,
        /// Column in the destination.
        column: String,
        /// Its type, to which the statement adds another collation.
        wanted: String,
    },
    /// More columns than a PostgreSQL table and its staging table can have.
    #[error(
        "{target} would have {columns} columns; PostgreSQL allows {COLUMNS_MAX} beside the staging table's own: leave some out \
         with columns.drop"
    )]
    TooManyColumns {
        /// Destination table.
        target: String,
        /// How many there would be.
        columns: usize,
    },
}
