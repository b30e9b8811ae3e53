//! Row images to Avro. Enters: row images of a ROWS event. Leaves: the key and `Value` records of the same rows, byte
//! for byte what the encoder of SELECTed rows makes of them. A decoder is compiled once per table and TABLE_MAP into a
//! flat list of steps, one a column of the image. Invariant: an image is walked to its end or refused; nothing of a
//! value appears in an error.

mod compile;
mod decimal;
mod partial;
mod temporal;
#[cfg(test)]
mod tests;
mod values;

pub use compile::CompileError;
pub(super) use decimal::PackedDecimal;
pub(super) use temporal::{PackedTime, print_packed_date_time};

use super::cursor::Cursor;
use super::rows::Bitmap;
use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH};
use tributary_schemas::row::{EncodedRow, RowError};
use tributary_source::charset::Charset;

/// MySQL's limit of columns in an index.
const MAX_KEY_COLUMNS: usize = 16;
/// `key_slot` of columns that are not part of the key.
const NO_KEY: u8 = u8::MAX;

/// Turns row images of one table into Avro.
#[derive(Debug, Clone)]
pub struct RowDecoder {
    steps: Vec<Step>,
    /// By step: what errors say.
    names: Vec<ColumnName>,
    /// Labels of ENUM and SET columns; steps hold indexes into it.
    labels: Vec<Vec<String>>,
    key_columns: usize,
    /// True if the key's columns come in the key's order, so that a key can be written as the image is read.
    key_in_order: bool,
}

/// A column of the table as errors name it.
#[derive(Debug, Clone)]
struct ColumnName {
    name: String,
    column_type: String,
}

/// What to do with one column of the image.
#[derive(Debug, Clone, Copy)]
struct Step {
    operation: Operation,
    width: Width,
    /// The Avro field is a union with null.
    union: bool,
    /// NULL is allowed by the table's definition.
    nullable: bool,
    /// A JSON column, published or not: partial updates count them.
    is_json: bool,
    /// Place in the key, or [`NO_KEY`].
    key_slot: u8,
    /// Index into the table's columns.
    column: u16,
}

/// How many bytes a value takes in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Fixed(u16),
    /// A length of so many bytes, then as many bytes as it says.
    Prefixed(u8),
}

/// How a value becomes Avro.
#[derive(Debug, Clone, Copy)]
enum Operation {
    /// Not published.
    Skip,
    I8,
    U8,
    I16,
    U16,
    I24,
    U24,
    I32,
    U32,
    I64,
    U64,
    Float,
    Double,
    /// In a key: MySQL and PostgreSQL take −0 for 0, the bytes of a Kafka key do not.
    KeyFloat,
    /// As [`Self::KeyFloat`].
    KeyDouble,
    Decimal(PackedDecimal),
    /// Bytes as they are: BIT.
    Fixed(u16),
    /// Bytes as they are: VARBINARY and BLOB.
    Bytes,
    /// BINARY, which the binlog strips of trailing zero bytes.
    Padded(u32),
    Utf8,
    Text(Charset),
    /// In a key: a text whose bytes it does not stand for alone is refused.
    KeyText(Charset),
    Enum(u16),
    Set(u16),
    Json,
    Year,
    Date,
    DateTime(u8),
    Timestamp(u8),
    Time(u8),
    OldDateTime,
    OldTimestamp,
    OldTime,
}

/// What is wrong with a value; becomes a [`RowError`] with the column's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Truncated,
    Invalid,
    BadKey,
    LossyKey,
    UnexpectedNull,
}

/// Which records are wanted of an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Key and value.
    Row,
    /// The key only.
    Key,
}

impl RowDecoder {
    /// Encodes the image at the front of `image` into `out.key`, `out.value` and `out.raw`, which are emptied first,
    /// and moves `image` behind it.
    ///
    /// # Errors
    /// [`RowError`]; `out` and `image` are then of no use.
    pub fn encode(
        &self,
        image: &mut &[u8],
        present: Bitmap<'_>,
        out: &mut EncodedRow,
    ) -> Result<(), RowError> {
        self.run(Wanted::Row, image, present, &[], out)
    }

    /// Encodes only the key of the image at the front of `image` into `out.key`; `out.value` stays empty.
    ///
    /// # Errors
    /// [`RowError`]; `out` and `image` are then of no use.
    pub fn encode_key(
        &self,
        image: &mut &[u8],
        present: Bitmap<'_>,
        out: &mut EncodedRow,
    ) -> Result<(), RowError> {
        self.run(Wanted::Key, image, present, &[], out)
    }

    /// The walk through an image. `diffed` says, by step, which JSON columns hold diffs, and against which value;
    /// empty for none.
    fn run(
        &self,
        wanted: Wanted,
        image: &mut &[u8],
        present: Bitmap<'_>,
        diffed: &[Option<&[u8]>],
        out: &mut EncodedRow,
    ) -> Result<(), RowError> {
        out.clear();
        if let Some(index) = present.first_unset(self.steps.len()) {
            return Err(RowError::PartialImage { column: self.name(index).name.clone() });
        }
        let mut cursor = Cursor::new(image);
        let nulls =
            cursor.take(self.steps.len().div_ceil(8)).ok_or_else(|| self.error(0, Fault::Truncated))?;
        let key_inline = wanted == Wanted::Key && self.key_in_order;
        // Where each key column's value stands: Avro has the same bytes for it in both records.
        let mut spans = [(0, 0); MAX_KEY_COLUMNS];
        let mut null_bits = nulls.iter();
        let mut bits = 0_u8;
        for (index, step) in self.steps.iter().enumerate() {
            bits = if index % 8 == 0 { null_bits.next().copied().unwrap_or_default() } else { bits >> 1 };
            let is_null = bits & 1 != 0;
            if wanted == Wanted::Key && step.key_slot == NO_KEY {
                if !is_null {
                    let diff = diffed.get(index).is_some_and(Option::is_some);
                    skip(if diff { Width::Prefixed(4) } else { step.width }, &mut cursor)
                        .map_err(|fault| self.error(index, fault))?;
                }
                continue;
            }
            let before = diffed.get(index).copied().flatten();
            let target = if key_inline { &mut out.key } else { &mut out.value };
            let start = target.len();
            let done = match (is_null, before) {
                (true, _) => put_null(*step, target),
                (false, Some(before)) => partial::put_diffed(*step, before, &mut cursor, target),
                (false, None) => values::put(*step, &self.labels, &mut cursor, target, &mut out.raw),
            };
            done.map_err(|fault| match fault {
                Fault::LossyKey => self.lossy_key(index, image, diffed),
                fault => self.error(index, fault),
            })?;
            if let Some(span) = spans.get_mut(usize::from(step.key_slot)) {
                *span = (start, target.len());
            }
        }
        *image = cursor.rest();
        if !key_inline {
            for (start, end) in spans.iter().take(self.key_columns) {
                out.key.extend_from_slice(out.value.get(*start..*end).unwrap_or_default());
            }
            if wanted == Wanted::Key {
                out.value.clear();
            }
        }
        Ok(())
    }

    fn name(&self, index: usize) -> &ColumnName {
        const UNKNOWN: &ColumnName = &ColumnName { name: String::new(), column_type: String::new() };
        self.names.get(index).unwrap_or(UNKNOWN)
    }

    /// The key's text at `index` of the image, for a person who has to find the row.
    #[cold]
    fn lossy_key(&self, index: usize, image: &[u8], diffed: &[Option<&[u8]>]) -> RowError {
        let ColumnName { name: column, .. } = self.name(index).clone();
        let step = self.steps.get(index);
        let charset = match step.map(|step| step.operation) {
            Some(Operation::KeyText(charset)) => charset.name,
            _ => "",
        };
        let bytes = self.value_bytes(index, image, diffed).unwrap_or_default();
        RowError::LossyKey { column, charset: charset.to_owned(), bytes: bytes.to_vec() }
    }

    /// The bytes of the value at `index` of an image.
    fn value_bytes<'a>(
        &self,
        index: usize,
        image: &'a [u8],
        diffed: &[Option<&[u8]>],
    ) -> Result<&'a [u8], Fault> {
        let mut cursor = Cursor::new(image);
        let nulls = cursor.take(self.steps.len().div_ceil(8)).ok_or(Fault::Truncated)?;
        for (place, step) in self.steps.iter().enumerate() {
            let is_null = nulls.get(place / 8).is_some_and(|bits| bits >> (place % 8) & 1 != 0);
            if is_null {
                continue;
            }
            let diff = diffed.get(place).is_some_and(Option::is_some);
            let value = take(if diff { Width::Prefixed(4) } else { step.width }, &mut cursor)?;
            if place == index {
                return Ok(value);
            }
        }
        Err(Fault::Truncated)
    }

    #[cold]
    fn error(&self, index: usize, fault: Fault) -> RowError {
        let ColumnName { name: column, column_type } = self.name(index).clone();
        match fault {
            Fault::Truncated => RowError::Truncated { column },
            Fault::Invalid => RowError::Invalid { column, column_type },
            Fault::BadKey | Fault::LossyKey => RowError::BadKey { column },
            Fault::UnexpectedNull => RowError::UnexpectedNull { column },
        }
    }
}

#[inline]
fn put_null(step: Step, out: &mut Vec<u8>) -> Result<(), Fault> {
    if matches!(step.operation, Operation::Skip) {
        return Ok(());
    }
    if step.key_slot != NO_KEY {
        return Err(Fault::BadKey);
    }
    // A date column is a union even where it is NOT NULL.
    if !(step.nullable && step.union) {
        return Err(Fault::UnexpectedNull);
    }
    out.push(NULL_BRANCH);
    Ok(())
}

/// Announces a value, if its field is a union.
#[inline]
fn put_branch(step: Step, out: &mut Vec<u8>) {
    if step.union {
        out.push(VALUE_BRANCH);
    }
}

/// The bytes of a value.
#[inline]
fn take<'a>(width: Width, cursor: &mut Cursor<'a>) -> Result<&'a [u8], Fault> {
    let length = match width {
        Width::Fixed(bytes) => Some(usize::from(bytes)),
        Width::Prefixed(1) => cursor.u8().map(usize::from),
        Width::Prefixed(2) => cursor.u16().map(usize::from),
        Width::Prefixed(bytes) => {
            cursor.uint(usize::from(bytes)).and_then(|length| usize::try_from(length).ok())
        }
    };
    length.and_then(|length| cursor.take(length)).ok_or(Fault::Truncated)
}

/// Passes over a value.
#[inline]
fn skip(width: Width, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    take(width, cursor).map(drop)
}
