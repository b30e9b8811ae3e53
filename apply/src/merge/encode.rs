//! Running a plan: what enters is a record's Avro bytes, what leaves is one tuple of binary COPY at the end of a
//! buffer, or nothing and an error that names the column. Input is treated as hostile; nothing is allocated per row.

use super::copy;
use super::layout::{NulBytes, ZeroDates};
use super::numeric::{self, DoesNotFit};
use super::pairing::{Skip, Writer};
use super::plan::{DeleteField, Field, TransferPlan};
use super::zero_date::nearest_micros;
use crate::batches::raw::RawValues;
use thiserror::Error;
use tributary_schemas::avro::{AvroError, Reader};

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
        "column {column} holds a NUL character, which PostgreSQL cannot store in text; correct the row on the source, or set nul_bytes = \"strip\""
    )]
    NulByte {
        /// Column in the destination.
        column: String,
    },
    /// A zero or partial date under the policy `fail`.
    #[error(
        "column {column} holds a zero or partial date; correct the row on the source, or set zero_dates to \"null\" or \"clamp\""
    )]
    ZeroDate {
        /// Column in the destination.
        column: String,
    },
    /// A NULL that the destination refuses.
    #[error(
        "column {column} is NOT NULL in the destination, and a row holds NULL or a zero date; drop the NOT NULL, or set zero_dates = \"clamp\""
    )]
    Null {
        /// Column in the destination.
        column: String,
    },
    /// A key record that does not have the plan's columns.
    #[error("the key record does not hold the key's columns")]
    Key,
}

/// An error without its column, which is known one level up.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Avro(AvroError),
    OutOfRange,
    NotUtf8,
    NulByte,
    ZeroDate,
    Null,
}

impl From<AvroError> for Fault {
    fn from(error: AvroError) -> Self {
        Self::Avro(error)
    }
}

impl From<DoesNotFit> for Fault {
    fn from(DoesNotFit: DoesNotFit) -> Self {
        Self::OutOfRange
    }
}

impl Fault {
    fn of(self, column: &str) -> EncodeError {
        let column = column.to_owned();
        match self {
            Self::Avro(source) => EncodeError::Avro { column, source },
            Self::OutOfRange => EncodeError::OutOfRange { column },
            Self::NotUtf8 => EncodeError::NotUtf8 { column },
            Self::NulByte => EncodeError::NulByte { column },
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
        if reader.some().map_err(|error| Fault::Avro(error).of("before"))? {
            for (index, field) in self.fields.iter().enumerate() {
                skip_field(&mut reader, field).map_err(|error| Fault::Avro(error).of(self.name(index)))?;
            }
        }
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
            Some(writer) if some => self.value(reader, writer, encoded, out),
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
            ZeroDates::Fail => return Err(Fault::ZeroDate),
            ZeroDates::Null if not_null => return Err(Fault::Null),
            ZeroDates::Null => copy::put_null(out),
            ZeroDates::Clamp => {
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
                    self.value(&mut start, key.writer, &mut Encoded::default(), out)
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

    #[inline]
    fn value(
        &self,
        reader: &mut Reader<'_>,
        writer: Writer,
        encoded: &mut Encoded,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        match writer {
            Writer::Int2 => copy::put_i16(out, narrow(reader.long()?)?),
            Writer::Int4 => copy::put_i32(out, narrow(reader.long()?)?),
            Writer::Int8 => copy::put_i64(out, reader.long()?),
            Writer::IntNumeric(room) => numeric::put_integer(out, reader.long()?, room)?,
            Writer::IntDouble => {
                let value = reader.long()?;
                let bits = u32::try_from(value.unsigned_abs()).map_err(|_| Fault::OutOfRange)?;
                copy::put_f64(out, if value < 0 { -f64::from(bits) } else { f64::from(bits) });
            }
            Writer::IntBoolean => copy::put_bool(out, truth(reader.long()?)?),
            Writer::DecimalNumeric(scale, room) => numeric::put_decimal(out, reader.bytes()?, scale, room)?,
            Writer::DecimalInt2 => copy::put_i16(out, narrow(whole(reader)?)?),
            Writer::DecimalInt4 => copy::put_i32(out, narrow(whole(reader)?)?),
            Writer::DecimalInt8 => copy::put_i64(out, whole(reader)?),
            Writer::Real => copy::put_f32(out, reader.float()?),
            Writer::Double => copy::put_f64(out, reader.double()?),
            Writer::RealDouble => copy::put_f64(out, f64::from(reader.float()?)),
            Writer::Text(limit) => self.text(reader.bytes()?, limit, encoded, out)?,
            Writer::Json => self.json(reader.bytes()?, false, encoded, out)?,
            Writer::Jsonb => self.json(reader.bytes()?, true, encoded, out)?,
            Writer::Bytea => copy::put_bytes(out, reader.bytes()?)?,
            Writer::Bits(width) => copy::put_bits(out, reader.bytes()?, width)?,
            Writer::BitBoolean => {
                let bits = copy::bits_of(reader.bytes()?)?;
                copy::put_bool(out, truth(i64::try_from(bits).map_err(|_| Fault::OutOfRange)?)?);
            }
            Writer::Date => copy::put_date(out, reader.long()?)?,
            Writer::DateMidnight => copy::put_midnight(out, reader.long()?)?,
            Writer::Timestamp => copy::put_timestamp(out, reader.long()?)?,
            Writer::Interval => copy::put_interval(out, reader.long()?)?,
            Writer::Time => copy::put_time(out, reader.long()?)?,
        }
        Ok(())
    }

    fn text(
        &self,
        bytes: &[u8],
        limit: Option<u32>,
        encoded: &mut Encoded,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
        if let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok())
            && text.len() > limit
            && text.chars().count() > limit
        {
            return Err(Fault::OutOfRange);
        }
        if !bytes.contains(&0) {
            return Ok(copy::put_bytes(out, bytes)?);
        }
        match self.nul_bytes {
            NulBytes::Fail => Err(Fault::NulByte),
            NulBytes::Strip => {
                encoded.stripped += 1;
                Ok(copy::put_bytes(out, text.replace('\0', "").as_bytes())?)
            }
        }
    }

    /// A document. PostgreSQL's jsonb refuses the escape of a NUL character; json and text keep it as it is.
    fn json(
        &self,
        bytes: &[u8],
        binary: bool,
        encoded: &mut Encoded,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
        if bytes.contains(&0) {
            // Within a JSON text a NUL character is an error in itself.
            return Err(Fault::NulByte);
        }
        if !binary {
            return Ok(copy::put_bytes(out, bytes)?);
        }
        let Some(stripped) = without_nul_escapes(text) else { return Ok(copy::put_jsonb(out, bytes)?) };
        match self.nul_bytes {
            NulBytes::Fail => Err(Fault::NulByte),
            NulBytes::Strip => {
                encoded.stripped += 1;
                Ok(copy::put_jsonb(out, stripped.as_bytes())?)
            }
        }
    }
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, Fault> {
    T::try_from(value).map_err(|_| Fault::OutOfRange)
}

const fn truth(value: i64) -> Result<bool, Fault> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::OutOfRange),
    }
}

/// A decimal of scale 0.
fn whole(reader: &mut Reader<'_>) -> Result<i64, Fault> {
    numeric::small(reader.bytes()?).ok_or(Fault::OutOfRange)
}

/// The document without `\u0000`; `None` if it has none. A backslash that is itself escaped begins no escape.
fn without_nul_escapes(text: &str) -> Option<String> {
    const ESCAPE: &str = "\\u0000";
    if !text.contains(ESCAPE) {
        return None;
    }
    let mut stripped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (front, back) = rest.split_at(at);
        stripped.push_str(front);
        if let Some(behind) = back.strip_prefix(ESCAPE) {
            rest = behind;
        } else {
            let mut characters = back.chars();
            stripped.extend(characters.by_ref().take(2));
            rest = characters.as_str();
        }
    }
    stripped.push_str(rest);
    (stripped.len() < text.len()).then_some(stripped)
}

#[inline]
fn skip_field(reader: &mut Reader<'_>, field: &Field) -> Result<(), AvroError> {
    if !field.nullable || reader.some()? { skip(reader, field.skip) } else { Ok(()) }
}

#[inline]
fn skip(reader: &mut Reader<'_>, skip: Skip) -> Result<(), AvroError> {
    match skip {
        Skip::Long => reader.long().map(drop),
        Skip::Bytes => reader.bytes().map(drop),
        Skip::Four => reader.take(4).map(drop),
        Skip::Eight => reader.take(8).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_nul_escapes_are_taken_out() {
        assert_eq!(without_nul_escapes(r#"{"a":"b\n"}"#), None);
        assert_eq!(without_nul_escapes(r#"["\\u0000"]"#), None);
        assert_eq!(without_nul_escapes(r#"["\\\u0000é\u0000x"]"#).as_deref(), Some(r#"["\\éx"]"#));
    }
}
