//! A row on its way from the source to Kafka, encoded. The binlog's row images and the rows of a SELECT both end
//! here, byte for byte the same for the same row.

use crate::printed::hexadecimal;
use thiserror::Error;

/// The buffers one row is encoded into; reused from row to row.
#[derive(Debug, Clone, Default)]
pub struct EncodedRow {
    /// Avro datum of the key record, without the wire header.
    pub key: Vec<u8>,
    /// Avro datum of the `Value` record, without wire header and envelope.
    pub value: Vec<u8>,
    /// Values that Avro could not carry and that stand as null in `value`; nearly always empty.
    pub raw: Vec<RawValue>,
}

impl EncodedRow {
    /// Empties the buffers and keeps their memory.
    pub fn clear(&mut self) {
        self.key.clear();
        self.value.clear();
        self.raw.clear();
    }
}

/// The original text of a value that stands as null: a zero or partial date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawValue {
    /// Index into the table's columns.
    pub column: usize,
    /// As MySQL prints it.
    pub text: String,
}

/// Why a row cannot be encoded. Parks its table. Names the column, never a value, but of a key that has to be found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowError {
    /// The row image ends early, or a length in it is past its end.
    #[error("the row image ends in the middle of column {column}")]
    Truncated {
        /// Column name.
        column: String,
    },
    /// A value is outside of what its type can hold.
    #[error("column {column} holds a value that is not a valid {column_type}")]
    Invalid {
        /// Column name.
        column: String,
        /// Declared type.
        column_type: String,
    },
    /// A key column holds null, or a date that would have to be replaced.
    #[error("key column {column} holds NULL or a zero date, which cannot be a key")]
    BadKey {
        /// Column name.
        column: String,
    },
    /// The bytes of a key's text are not the ones that its text in Unicode stands for, so that it may be another row's
    /// text, too. The key is named, for it has to be found.
    #[error(
        "key column {column} holds the bytes 0x{}, which do not come back from Unicode in the character set {charset}: \
         another key may become the same text",
        hexadecimal(bytes)
    )]
    LossyKey {
        /// Column name.
        column: String,
        /// Its character set.
        charset: String,
        /// What it holds.
        bytes: Vec<u8>,
    },
    /// NULL where the definition says NOT NULL: the definition is not the one the row was written under.
    #[error("column {column} holds NULL though it is declared NOT NULL")]
    UnexpectedNull {
        /// Column name.
        column: String,
    },
    /// The row event leaves columns out (binlog_row_image is not FULL).
    #[error("the row event leaves out column {column}: binlog_row_image is not FULL")]
    PartialImage {
        /// Column name.
        column: String,
    },
}

impl RowError {
    /// For a log: what happened, without the bytes of a key.
    #[must_use]
    pub fn without_values(&self) -> String {
        match self {
            Self::LossyKey { column, charset, .. } => format!(
                "key column {column} holds bytes that the character set {charset} does not give back for their text in Unicode"
            ),
            Self::Truncated { .. }
            | Self::Invalid { .. }
            | Self::BadKey { .. }
            | Self::UnexpectedNull { .. }
            | Self::PartialImage { .. } => self.to_string(),
        }
    }
}
