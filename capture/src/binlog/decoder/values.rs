//! The values of one image, each by its step.

use super::decimal::put_magnitude;
use super::temporal::{self, Moment, PackedTime};
use super::{Fault, NO_KEY, Operation, Step, decimal, put_branch, skip, take};
use crate::binlog::cursor::Cursor;
use crate::binlog::json;
use tributary_schemas::avro::{
    NULL_BRANCH, VALUE_BRANCH, put_bytes, put_double, put_float, put_length, put_long,
};
use tributary_schemas::decimal::Magnitude;
use tributary_schemas::row::RawValue;
use tributary_source::charset::Charset;

/// Appends one value that is not NULL.
#[inline]
pub(super) fn put(
    step: Step,
    labels: &[Vec<String>],
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
    raw: &mut Vec<RawValue>,
) -> Result<(), Fault> {
    use Operation as Op;
    const SHORT: Fault = Fault::Truncated;
    // Dates decide on their own whether they are there.
    match step.operation {
        Op::Skip => return skip(step.width, cursor),
        Op::Date => return put_moment(step, temporal::date(cursor)?, out, raw),
        Op::DateTime(fsp) => return put_moment(step, temporal::date_time(cursor, fsp)?, out, raw),
        Op::Timestamp(fsp) => return put_moment(step, temporal::timestamp(cursor, fsp)?, out, raw),
        Op::OldDateTime => return put_moment(step, temporal::old_date_time(cursor)?, out, raw),
        Op::OldTimestamp => return put_moment(step, temporal::old_timestamp(cursor)?, out, raw),
        _ => put_branch(step, out),
    }
    match step.operation {
        Op::I8 => put_long(out, i64::from(cursor.u8().ok_or(SHORT)?.cast_signed())),
        Op::U8 => put_long(out, i64::from(cursor.u8().ok_or(SHORT)?)),
        Op::I16 => put_long(out, i64::from(cursor.u16().ok_or(SHORT)?.cast_signed())),
        Op::U16 => put_long(out, i64::from(cursor.u16().ok_or(SHORT)?)),
        Op::I24 => {
            let [low, middle, high] = cursor.array().ok_or(SHORT)?;
            put_long(out, i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8));
        }
        Op::U24 => {
            let [low, middle, high] = cursor.array().ok_or(SHORT)?;
            put_long(out, i64::from(u32::from_le_bytes([low, middle, high, 0])));
        }
        Op::I32 => put_long(out, i64::from(cursor.u32().ok_or(SHORT)?.cast_signed())),
        Op::U32 => put_long(out, i64::from(cursor.u32().ok_or(SHORT)?)),
        Op::I64 => put_long(out, cursor.u64().ok_or(SHORT)?.cast_signed()),
        Op::U64 => {
            let value = cursor.u64().ok_or(SHORT)?;
            match i64::try_from(value) {
                Ok(value) => decimal::put_small(value, out),
                Err(_) => put_magnitude(Magnitude::from(value), false, out),
            }
        }
        Op::Float => put_float(out, f32::from_bits(cursor.u32().ok_or(SHORT)?)),
        Op::Double => put_double(out, f64::from_bits(cursor.u64().ok_or(SHORT)?)),
        // −0 + 0 is 0.
        Op::KeyFloat => put_float(out, f32::from_bits(cursor.u32().ok_or(SHORT)?) + 0.0),
        Op::KeyDouble => put_double(out, f64::from_bits(cursor.u64().ok_or(SHORT)?) + 0.0),
        Op::Decimal(layout) => layout.put(cursor, out)?,
        Op::Fixed(bytes) => put_bytes(out, cursor.take(usize::from(bytes)).ok_or(SHORT)?),
        Op::Bytes => put_bytes(out, take(step.width, cursor)?),
        Op::Padded(length) => {
            let bytes = take(step.width, cursor)?;
            let length = usize::try_from(length).map_err(|_| Fault::Invalid)?;
            let missing = length.checked_sub(bytes.len()).ok_or(Fault::Invalid)?;
            put_length(out, length);
            out.extend_from_slice(bytes);
            out.resize(out.len() + missing, 0);
        }
        Op::Utf8 => {
            let text = std::str::from_utf8(take(step.width, cursor)?).map_err(|_| Fault::Invalid)?;
            put_bytes(out, text.as_bytes());
        }
        Op::Text(charset) => put_text(charset, take(step.width, cursor)?, out)?,
        Op::KeyText(charset) => put_key_text(charset, take(step.width, cursor)?, out)?,
        Op::Enum(list) => {
            let index = little_endian(take(step.width, cursor)?);
            put_bytes(out, enum_label(labels, list, index).ok_or(Fault::Invalid)?.as_bytes());
        }
        Op::Set(list) => {
            let members = little_endian(take(step.width, cursor)?);
            put_set(labels.get(usize::from(list)).ok_or(Fault::Invalid)?, members, out)?;
        }
        Op::Json => {
            let bytes = take(step.width, cursor)?;
            length_prefixed(out, |out| json::print(bytes, out))?;
        }
        Op::Year => {
            let year = i64::from(cursor.u8().ok_or(SHORT)?);
            put_long(out, if year == 0 { 0 } else { year + 1900 });
        }
        Op::Time(fsp) => put_long(out, PackedTime::read(cursor, fsp)?.micros()),
        Op::OldTime => put_long(out, temporal::old_time(cursor)?),
        // Returned above.
        Op::Skip | Op::Date | Op::DateTime(_) | Op::Timestamp(_) | Op::OldDateTime | Op::OldTimestamp => {}
    }
    Ok(())
}

/// Appends a date or moment, or null and, beside the row, its text.
fn put_moment(step: Step, moment: Moment, out: &mut Vec<u8>, raw: &mut Vec<RawValue>) -> Result<(), Fault> {
    match moment {
        Moment::Value(value) => {
            if step.union {
                out.push(VALUE_BRANCH);
            }
            put_long(out, value);
        }
        Moment::Raw(_) if step.key_slot != NO_KEY => return Err(Fault::BadKey),
        Moment::Raw(text) => {
            out.push(NULL_BRANCH);
            raw.push(RawValue { column: usize::from(step.column), text });
        }
    }
    Ok(())
}

/// Appends text of any character set.
fn put_text(charset: Charset, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    length_prefixed(out, |out| charset.decode(bytes, out))
}

/// As [`put_text`]. Two keys that become one text would be one row; bytes without a text, a half of a surrogate pair for
/// one, are no key of any.
fn put_key_text(charset: Charset, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut comes_back = false;
    length_prefixed(out, |out| {
        let start = out.len();
        charset.decode(bytes, out)?;
        comes_back = charset.comes_back(bytes, out.get(start..)?);
        Some(())
    })
    .map_err(|_| Fault::LossyKey)?;
    if comes_back { Ok(()) } else { Err(Fault::LossyKey) }
}

/// Appends what `write` appends, with its length in front.
pub(super) fn length_prefixed(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Option<()>,
) -> Result<(), Fault> {
    let start = out.len();
    write(out).ok_or(Fault::Invalid)?;
    let end = out.len();
    put_length(out, end - start);
    // The length was appended behind the text: turn the two around.
    let length_bytes = out.len() - end;
    if let Some(tail) = out.get_mut(start..) {
        tail.rotate_right(length_bytes);
    }
    Ok(())
}

/// A number of up to eight bytes, little-endian.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The label of an ENUM's index; 0 is the empty string that MySQL stores for an invalid value.
fn enum_label(labels: &[Vec<String>], list: u16, index: u64) -> Option<&str> {
    match usize::try_from(index).ok()?.checked_sub(1) {
        None => Some(""),
        Some(at) => labels.get(usize::from(list))?.get(at).map(String::as_str),
    }
}

/// Appends the labels of a SET's bits, joined by commas.
fn put_set(labels: &[String], members: u64, out: &mut Vec<u8>) -> Result<(), Fault> {
    if labels.len() < 64 && members >> labels.len() != 0 {
        return Err(Fault::Invalid);
    }
    length_prefixed(out, |out| {
        let start = out.len();
        for (bit, label) in labels.iter().enumerate() {
            if members >> bit & 1 != 0 {
                if out.len() > start {
                    out.push(b',');
                }
                out.extend_from_slice(label.as_bytes());
            }
        }
        Some(())
    })
}
