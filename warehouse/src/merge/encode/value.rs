//! One value from Avro into a COPY field. What enters is a reader at the value and the writer that the plan chose;
//! what leaves is the field, or what is wrong with the value.

use super::Encoded;
use crate::merge::copy;
use crate::merge::numeric::{self, DoesNotFit};
use crate::merge::pairing::{Skip, Writer};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use tributary_schemas::avro::{AvroError, Reader};

/// An error without its column, which is known one level up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Avro(AvroError),
    OutOfRange,
    NotUtf8,
    NulByte,
    NulMember,
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

/// Steps over a value.
#[inline]
pub(super) fn skip(reader: &mut Reader<'_>, skip: Skip) -> Result<(), AvroError> {
    match skip {
        Skip::Long => reader.long().map(drop),
        Skip::Bytes => reader.bytes().map(drop),
        Skip::Four => reader.take(4).map(drop),
        Skip::Eight => reader.take(8).map(drop),
    }
}

/// Reads one value and writes its field. `substitute` stands in for NUL characters; `None` refuses them.
#[inline]
pub(super) fn value(
    reader: &mut Reader<'_>,
    writer: Writer,
    substitute: Option<&str>,
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
        Writer::Text(limit) => text(reader.bytes()?, limit, substitute, encoded, out)?,
        Writer::Json => json(reader.bytes()?, false, substitute, encoded, out)?,
        Writer::Jsonb => json(reader.bytes()?, true, substitute, encoded, out)?,
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
    bytes: &[u8],
    limit: Option<u32>,
    substitute: Option<&str>,
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
    let substitute = substitute.ok_or(Fault::NulByte)?;
    encoded.stripped += 1;
    Ok(copy::put_bytes(out, text.replace('\0', substitute).as_bytes())?)
}

/// A document. PostgreSQL's jsonb refuses the escape of a NUL character; json and text keep it as it is.
fn json(
    bytes: &[u8],
    binary: bool,
    substitute: Option<&str>,
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
    let Some(stripped) = without_nul_escapes(text, substitute.unwrap_or_default()) else {
        return Ok(copy::put_jsonb(out, bytes)?);
    };
    substitute.ok_or(Fault::NulByte)?;
    // jsonb would keep the last of the two alone.
    if !members_are_distinct(&stripped) {
        return Err(Fault::NulMember);
    }
    encoded.stripped += 1;
    Ok(copy::put_jsonb(out, stripped.as_bytes())?)
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

/// The document with `substitute` for each `\u0000`; `None` if it has none. A backslash that is itself escaped begins
/// no escape.
fn without_nul_escapes(text: &str, substitute: &str) -> Option<String> {
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
            stripped.push_str(substitute);
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

/// True if no object of the document has two members of one name.
fn members_are_distinct(document: &str) -> bool {
    serde_json::from_str::<Distinct>(document).is_ok()
}

/// A document without two members of one name in an object; nothing of it is kept.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctVisitor)
    }
}

struct DistinctVisitor;

impl<'de> Visitor<'de> for DistinctVisitor {
    type Value = Distinct;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_str<E>(self, _: &str) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut cells: A) -> Result<Distinct, A::Error> {
        while cells.next_element::<Distinct>()?.is_some() {}
        Ok(Distinct)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Distinct, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Distinct)) = members.next_entry::<String, Distinct>()? {
            if !names.insert(name) {
                return Err(serde::de::Error::custom("two members of one name"));
            }
        }
        Ok(Distinct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_one_name_are_found_at_any_depth() {
        for (document, distinct) in [
            (r#"{"a": 1, "b": {"a": [1.5, -2, 18446744073709551615, null, true, "x"]}}"#, true),
            (r#"[{"a": 1}, {"a": 2}]"#, true),
            (r#"{"a": 1, "a": 1}"#, false),
            (r#"[0, {"b": {"a": 1, "\u0061": 2}}]"#, false),
        ] {
            assert_eq!(members_are_distinct(document), distinct, "{document}");
        }
    }

    #[test]
    fn only_true_nul_escapes_are_taken_out() {
        assert_eq!(without_nul_escapes(r#"{"a":"b\n"}"#, ""), None);
        assert_eq!(without_nul_escapes(r#"["\\u0000"]"#, ""), None);
        let escaped = r#"["\\\u0000é\u0000x"]"#;
        assert_eq!(without_nul_escapes(escaped, "").as_deref(), Some(r#"["\\éx"]"#));
        assert_eq!(without_nul_escapes(escaped, "?").as_deref(), Some(r#"["\\?é?x"]"#));
    }
}
