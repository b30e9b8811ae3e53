//! Is a SELECT's result what the table's definition promises? The result's column descriptions and the declared
//! types enter; the first difference leaves. It shows that the source has already run a DDL the stream has not
//! passed yet.

use mysql_async::Column as ResultColumn;
use mysql_async::consts::{ColumnFlags, ColumnType as Wire};
use thiserror::Error;
use tributary_schemas::types::ColumnType;

/// The number of the pseudo character set of bytes.
const BINARY: u16 = 63;

/// A result that is unlike the table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ColumnMismatch {
    /// Fewer columns.
    #[error("the result has {found} columns instead of {expected}")]
    Count {
        /// In the table.
        expected: usize,
        /// In the result.
        found: usize,
    },
    /// A column of another type.
    #[error("column {column} is not {declared} on the source any more (the result says {found})")]
    Type {
        /// Column name.
        column: String,
        /// The type of the definition.
        declared: String,
        /// What the protocol calls the result's type.
        found: String,
    },
}

/// Compares a result's first columns with declared ones, in order; of each its name, its type, and whether it may be NULL.
/// What comes after them is not the table's.
pub(crate) fn expected_columns<'a>(
    declared: impl ExactSizeIterator<Item = (&'a str, &'a ColumnType, bool)>,
    result: &[ResultColumn],
) -> Result<(), ColumnMismatch> {
    if declared.len() > result.len() {
        return Err(ColumnMismatch::Count { expected: declared.len(), found: result.len() });
    }
    for ((name, declared, nullable), column) in declared.zip(result) {
        let nulls = nullable || column.flags().contains(ColumnFlags::NOT_NULL_FLAG);
        if !nulls || !fits(declared, column) || !is_as_narrow(declared, column) {
            return Err(ColumnMismatch::Type {
                column: name.to_owned(),
                declared: declared.to_string(),
                found: format!("{:?}", column.column_type()),
            });
        }
    }
    Ok(())
}

/// True if a column of this type is described like that (MySQL's protocol documentation, "Column Definition").
fn fits(declared: &ColumnType, column: &ResultColumn) -> bool {
    let wire = column.column_type();
    let flags = column.flags();
    let sign = |unsigned: bool| flags.contains(ColumnFlags::UNSIGNED_FLAG) == unsigned;
    let binary = column.character_set() == BINARY;
    let labelled = flags.intersects(ColumnFlags::ENUM_FLAG | ColumnFlags::SET_FLAG);
    let decimals = |digits: u8| column.decimals() == digits;
    let lob = matches!(
        wire,
        Wire::MYSQL_TYPE_BLOB
            | Wire::MYSQL_TYPE_TINY_BLOB
            | Wire::MYSQL_TYPE_MEDIUM_BLOB
            | Wire::MYSQL_TYPE_LONG_BLOB
    );
    let fixed = wire == Wire::MYSQL_TYPE_STRING && !labelled;
    let varying = wire == Wire::MYSQL_TYPE_VAR_STRING;
    match declared {
        ColumnType::TinyInt { unsigned } => wire == Wire::MYSQL_TYPE_TINY && sign(*unsigned),
        ColumnType::SmallInt { unsigned } => wire == Wire::MYSQL_TYPE_SHORT && sign(*unsigned),
        ColumnType::MediumInt { unsigned } => wire == Wire::MYSQL_TYPE_INT24 && sign(*unsigned),
        ColumnType::Int { unsigned } => wire == Wire::MYSQL_TYPE_LONG && sign(*unsigned),
        ColumnType::BigInt { unsigned } => wire == Wire::MYSQL_TYPE_LONGLONG && sign(*unsigned),
        ColumnType::Decimal { scale, .. } => wire == Wire::MYSQL_TYPE_NEWDECIMAL && decimals(*scale),
        ColumnType::Float => wire == Wire::MYSQL_TYPE_FLOAT,
        ColumnType::Double => wire == Wire::MYSQL_TYPE_DOUBLE,
        ColumnType::Bit { width } => {
            wire == Wire::MYSQL_TYPE_BIT && column.column_length() == u32::from(*width)
        }
        ColumnType::Char { .. } => fixed && !binary,
        ColumnType::VarChar { .. } => varying && !binary,
        ColumnType::Text(_) => lob && !binary,
        ColumnType::Binary { length } => fixed && binary && column.column_length() == *length,
        ColumnType::VarBinary { .. } => varying && binary,
        ColumnType::Blob(_) => lob && binary,
        ColumnType::Enum { .. } => wire == Wire::MYSQL_TYPE_STRING && flags.contains(ColumnFlags::ENUM_FLAG),
        ColumnType::Set { .. } => wire == Wire::MYSQL_TYPE_STRING && flags.contains(ColumnFlags::SET_FLAG),
        ColumnType::Json => wire == Wire::MYSQL_TYPE_JSON,
        ColumnType::Date => matches!(wire, Wire::MYSQL_TYPE_DATE | Wire::MYSQL_TYPE_NEWDATE),
        ColumnType::DateTime { fsp } => wire == Wire::MYSQL_TYPE_DATETIME && decimals(*fsp),
        ColumnType::Timestamp { fsp } => wire == Wire::MYSQL_TYPE_TIMESTAMP && decimals(*fsp),
        ColumnType::Time { fsp } => wire == Wire::MYSQL_TYPE_TIME && decimals(*fsp),
        ColumnType::Year => wire == Wire::MYSQL_TYPE_YEAR,
        ColumnType::Geometry { .. } => wire == Wire::MYSQL_TYPE_GEOMETRY,
        ColumnType::Vector { .. } => wire == Wire::MYSQL_TYPE_VECTOR,
    }
}

/// True if the result has no value that is too long for the declared type. The session's character set is utf8mb4, in
/// which the server counts a character as 4 bytes.
fn is_as_narrow(declared: &ColumnType, column: &ResultColumn) -> bool {
    let length = column.column_length();
    match declared {
        ColumnType::Char { length: characters } | ColumnType::VarChar { length: characters } => {
            length <= characters.saturating_mul(4)
        }
        ColumnType::VarBinary { length: bytes } => length <= *bytes,
        // A sign and a point at most.
        ColumnType::Decimal { precision, .. } => length <= u32::from(*precision) + 2,
        _ => true,
    }
}
