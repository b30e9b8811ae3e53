//! Running a plan: what enters is a record's Avro bytes, what leaves is one tuple of binary COPY at the end of a
//! buffer, or nothing and an error that names the column. Input is treated as hostile; nothing is allocated per row.

mod value;

use super::copy;
use super::pairing::Writer;
use super::plan::{DeleteField, Field, TransferPlan};
use super::zero_date::nearest_micros;
use crate::merge::raw::RawValues;
use thiserror::Error;
use tributary_config::ZeroDatePolicy;
use tributary_schemas::avro::{AvroError, Reader};
use value::{Fault, skip, value};

/// Most columns MySQL allows in a key.
const KEY_COLUMNS_MAX: usize = 16;

/// Which table a tuple is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The staging table: every column, and the flag of deletes.
    Stage,
    /// The destination itself: every column.
    Direct,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Encoded {
    /// It is a delete. In the direct shape nothing was written: the batch must be staged.
    pub deleted: bool,
    /// Zero and partial dates that were replaced.
    pub zero_dates: u32,
    /// Texts from which NUL characters were taken.
    pub stripped: u32,
}

/// Why a record cannot be written. Parks the table; names the column, never the value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The datum does not follow the generation's schema.
    #[error("column {column}: {source}")]
    Avro {
        /// Column in the destination, or a part of the envelope.
        column: String,
        /// What is wrong.
        source: AvroError,
    },
    /// The destination's type has no such value.
    #[error(
        "column {column} holds a value that the destination's type cannot hold; widen the type in the destination, or leave the column out"
    )]
    OutOfRange {
        /// Column in the destination.
        column: String,
    },
    /// Text that is not UTF-8, which capture never writes.
    #[error("column {column} holds text that is not UTF-8")]
    NotUtf8 {
        /// Column in the destination.
        column: String,
    },
    /// A NUL character.
    #[error(
        "column {column} holds a NUL character, which PostgreSQL cannot store in text; correct the row on the source, or (but not for a key) set apply.on_nul_byte to \"remove\""
    )]
    NulByte {
        /// Column in the destination.
        column: String,
    },
    /// A document in which NUL characters are all that tells two members of an object apart.
    #[error(
        "column {column} holds a JSON document with two members whose names differ in NUL characters only, and PostgreSQL cannot store those; correct the row on the source, or leave the column out"
    )]
    NulMember {
        /// Column in the destination.
        column: String,
    },
    /// A zero or partial date under the policy `fail`.
    #[error(
        "column {column} holds a zero or partial date; correct the row on the source, or set apply.on_zero_date to \"null\" or \"clamp\""
    )]
    ZeroDate {
        /// Column in the destination.
        column: String,
    },
    /// A NULL that the destination refuses.
    #[error(
        "column {column} is NOT NULL in the destination, and a row holds NULL or a zero date; drop the NOT NULL, or set apply.on_zero_date to \"clamp\""
    )]
    Null {
        /// Column in the destination.
        column: String,
    },
    /// A key record that does not have the plan's columns.
    #[error("the key record does not hold the key's columns")]
    Key,
}

impl Fault {
    fn of(self, column: &str) -> EncodeError {
        let column = column.to_owned();
        match self {
            Self::Avro(source) => EncodeError::Avro { column, source },
            Self::OutOfRange => EncodeError::OutOfRange { column },
            Self::NotUtf8 => EncodeError::NotUtf8 { column },
            Self::NulByte => EncodeError::NulByte { column },
            Self::NulMember => EncodeError::NulMember { column },
            Self::ZeroDate => EncodeError::ZeroDate { column },
            Self::Null => EncodeError::Null { column },
        }
    }
}

impl TransferPlan {
    /// Writes the tuple of a batch's survivor: an upsert, or a delete by tombstone or by an envelope without
    /// `after`. Key and value are datums without the wire header.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is as it was.
    pub fn encode(
        &self,
        shape: Shape,
        key: &[u8],
        value: Option<&[u8]>,
        raw: RawValues<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let encoded = match value {
            Some(envelope) => self.encode_upsert(shape, envelope, raw, out)?,
            None => Encoded { deleted: true, ..Encoded::default() },
        };
        if encoded.deleted && shape == Shape::Stage {
            self.encode_delete(key, out)?;
        }
        Ok(encoded)
    }

    /// Writes the tuple of an envelope's `after`. Where that is null, nothing is written and the result says that
    /// the record is a delete.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is as it was.
    pub fn encode_upsert(
        &self,
        shape: Shape,
        envelope: &[u8],
        raw: RawValues<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let start = out.len();
        let result = self.row(shape, envelope, raw, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn row(
        &self,
        shape: Shape,
        envelope: &[u8],
        raw: RawValues<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        let mut reader = Reader::new(envelope);
        self.skip_image(&mut reader, "before")?;
        if !reader.some().map_err(|error| Fault::Avro(error).of("after"))? {
            return Ok(Encoded { deleted: true, ..Encoded::default() });
        }
        let staged = shape == Shape::Stage;
        copy::put_tuple(out, self.width(staged));
        let mut encoded = Encoded::default();
        for (index, field) in self.fields.iter().enumerate() {
            self.field(&mut reader, index, field, raw, &mut encoded, out)
                .map_err(|fault| fault.of(self.name(index)))?;
        }
        for constant in &self.constants {
            out.extend_from_slice(constant);
        }
        if staged {
            copy::put_bool(out, false);
        }
        Ok(encoded)
    }

    /// When the source has written the row of an envelope, its `source.ts_ms`.
    #[must_use]
    pub fn source_ms(&self, envelope: &[u8]) -> Option<i64> {
        let mut reader = Reader::new(envelope);
        self.skip_image(&mut reader, "before").ok()?;
        self.skip_image(&mut reader, "after").ok()?;
        reader.long().ok()
    }

    /// Moves on behind `before` or `after`.
    fn skip_image(&self, reader: &mut Reader<'_>, image: &str) -> Result<(), EncodeError> {
        if reader.some().map_err(|error| Fault::Avro(error).of(image))? {
            for (index, field) in self.fields.iter().enumerate() {
                skip_field(reader, field).map_err(|error| Fault::Avro(error).of(self.name(index)))?;
            }
        }
        Ok(())
    }

    /// Fields of a tuple; the plan has made sure that there are at most 1600.
    fn width(&self, staged: bool) -> u16 {
        u16::try_from(self.columns.len() + usize::from(staged)).unwrap_or(u16::MAX)
    }

    #[inline]
    fn field(
        &self,
        reader: &mut Reader<'_>,
        index: usize,
        field: &Field,
        raw: RawValues<'_>,
        encoded: &mut Encoded,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let some = !field.nullable || reader.some()?;
        match field.writer {
            None if some => Ok(skip(reader, field.skip)?),
            None => Ok(()),
            Some(writer) if some => value(reader, writer, field.substitute, encoded, out),
            Some(writer) => {
                if field.zero_date && !raw.is_empty() {
                    let original = self.names.get(index).and_then(|name| raw.get(&name.source));
                    if let Some(text) = original {
                        return self.zero_date(text, writer, field.not_null, encoded, out);
                    }
                }
                if field.not_null {
                    return Err(Fault::Null);
                }
                copy::put_null(out);
                Ok(())
            }
        }
    }

    fn zero_date(
        &self,
        text: &[u8],
        writer: Writer,
        not_null: bool,
        encoded: &mut Encoded,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match self.zero_dates {
            ZeroDatePolicy::Fail => return Err(Fault::ZeroDate),
            ZeroDatePolicy::Null if not_null => return Err(Fault::Null),
            ZeroDatePolicy::Null => copy::put_null(out),
            ZeroDatePolicy::Clamp => {
                let micros = nearest_micros(text).ok_or(Fault::ZeroDate)?;
                let days = micros.div_euclid(86_400_000_000);
                match writer {
                    Writer::Date => copy::put_date(out, days)?,
                    Writer::DateMidnight => copy::put_midnight(out, days)?,
                    _ => copy::put_timestamp(out, micros)?,
                }
            }
        }
        encoded.zero_dates += 1;
        Ok(())
    }

    /// Writes a staging tuple that holds only the key of a key record, and the flag of deletes.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is as it was.
    pub fn encode_delete(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        let result = self.delete(key, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn delete(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut reader = Reader::new(key);
        let mut starts = [reader; KEY_COLUMNS_MAX];
        if self.keys.len() > KEY_COLUMNS_MAX {
            return Err(EncodeError::Key);
        }
        for (start, field) in starts.iter_mut().zip(&self.keys) {
            *start = reader;
            skip(&mut reader, field.skip).map_err(|error| Fault::Avro(error).of(self.name(field.name)))?;
        }
        reader.finish().map_err(|_| EncodeError::Key)?;
        copy::put_tuple(out, self.width(true));
        for field in &self.deletes {
            match *field {
                DeleteField::Null => copy::put_null(out),
                DeleteField::Constant(place) => {
                    out.extend_from_slice(self.constants.get(place).ok_or(EncodeError::Key)?);
                }
                DeleteField::Key(place) => {
                    let (Some(mut start), Some(key)) = (starts.get(place).copied(), self.keys.get(place))
                    else {
                        return Err(EncodeError::Key);
                    };
                    value(&mut start, key.writer, None, &mut Encoded::default(), out)
                        .map_err(|fault| fault.of(self.name(key.name)))?;
                }
            }
        }
        copy::put_bool(out, true);
        Ok(())
    }

    /// Name in the destination of the row's field at `index`.
    fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", |name| name.target.as_str())
    }
}

#[inline]
fn skip_field(reader: &mut Reader<'_>, field: &Field) -> Result<(), AvroError> {
    if !field.nullable || reader.some()? { skip(reader, field.skip) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
