//! The scalars of binary JSON as MySQL prints them.

use super::{Value, kind};
use crate::binlog::cursor::Cursor;
use crate::binlog::decoder::{PackedDecimal, PackedTime};
use std::io::Write as _;

/// Appends a scalar.
pub(super) fn put(value: Value<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut cursor = Cursor::new(value.data);
    match value.kind {
        kind::LITERAL => out.extend_from_slice(match cursor.u8()? {
            0 => b"null",
            1 => b"true",
            2 => b"false",
            _ => return None,
        }),
        kind::INT16 => put_display(cursor.u16()?.cast_signed(), out)?,
        kind::UINT16 => put_display(cursor.u16()?, out)?,
        kind::INT32 => put_display(cursor.u32()?.cast_signed(), out)?,
        kind::UINT32 => put_display(cursor.u32()?, out)?,
        kind::INT64 => put_display(cursor.u64()?.cast_signed(), out)?,
        kind::UINT64 => put_display(cursor.u64()?, out)?,
        kind::DOUBLE => put_double(f64::from_bits(cursor.u64()?), out)?,
        kind::STRING => {
            let length = variable_length(&mut cursor)?;
            put_string(cursor.take(length)?, out)?;
        }
        kind::OPAQUE => {
            let field_type = cursor.u8()?;
            let length = variable_length(&mut cursor)?;
            put_opaque(field_type, cursor.take(length)?, out)?;
        }
        _ => return None,
    }
    Some(())
}

fn put_display(value: impl std::fmt::Display, out: &mut Vec<u8>) -> Option<()> {
    write!(out, "{value}").ok()
}

/// A length in groups of seven bits, lowest first; at most five bytes.
fn variable_length(cursor: &mut Cursor<'_>) -> Option<usize> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = cursor.u8()?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(length).ok();
        }
    }
    None
}

/// Appends a quoted string; `None` if it is not UTF-8.
pub(super) fn put_string(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    std::str::from_utf8(bytes).ok()?;
    out.push(b'"');
    let mut rest = bytes;
    while let Some(plain) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        let (head, tail) = rest.split_at_checked(plain)?;
        out.extend_from_slice(head);
        let (special, tail) = tail.split_first()?;
        match special {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *special]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            other => write!(out, "\\u{other:04x}").ok()?,
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    Some(())
}

/// Appends a double: the shortest digits that read back as the same number, with an exponent if it is below 1e-15, or
/// from 1e15 on and without a fraction; with a point or exponent always, so that it stays a double. JSON has no other
/// numbers.
fn put_double(value: f64, out: &mut Vec<u8>) -> Option<()> {
    if !value.is_finite() {
        return None;
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && (magnitude < 1e-15 || (magnitude >= 1e15 && value.fract() == 0.0)) {
        return write!(out, "{value:e}").ok();
    }
    let start = out.len();
    write!(out, "{value}").ok()?;
    let digits = out.get(start..)?;
    match digits.iter().position(|byte| *byte == b'.') {
        None => out.extend_from_slice(b".0"),
        Some(point) => {
            let decimals = digits.len() - point - 1;
            let odd = digits.last().is_some_and(|digit| digit & 1 != 0);
            // Exactly half-way between two shortest forms, Rust rounds up and MySQL to the even digit.
            if odd && exact_decimals(value) == decimals + 1 {
                out.truncate(start);
                write!(out, "{value:.*}", decimals + 1).ok()?;
                out.pop();
            }
        }
    }
    Some(())
}

/// How many decimals a finite number has when it is written out in full: as many as binary places.
fn exact_decimals(value: f64) -> usize {
    let bits = value.to_bits();
    let exponent = i64::try_from(bits >> 52 & 0x7ff).unwrap_or_default();
    let fraction = bits & ((1 << 52) - 1);
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
    let lowest_bit = exponent.max(1) - 1075 + i64::from(mantissa.trailing_zeros());
    usize::try_from(-lowest_bit).unwrap_or_default()
}

/// A value of an SQL type that JSON has not: numbers stay numbers, dates and times become their text, others base64.
fn put_opaque(field_type: u8, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match field_type {
        246 => {
            let mut cursor = Cursor::new(data);
            let [precision, scale] = cursor.array()?;
            PackedDecimal::new(precision, scale)?.print(&mut cursor, out)
        }
        7 | 10 | 11 | 12 => {
            let packed = Cursor::new(data).u64()?.cast_signed();
            out.push(b'"');
            match field_type {
                11 => PackedTime::from_packed(packed).print(out)?,
                kind => crate::binlog::decoder::print_packed_date_time(packed, kind == 10, out)?,
            }
            out.push(b'"');
            Some(())
        }
        other => {
            write!(out, "\"base64:type{other}:").ok()?;
            put_base64(data, out);
            out.push(b'"');
            Some(())
        }
    }
}

/// Base64 with padding. MySQL breaks it into lines of 76 characters, which then stand as escapes in the string.
fn put_base64(data: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (index, chunk) in data.chunks(3).enumerate() {
        if index > 0 && index % 19 == 0 {
            out.extend_from_slice(b"\\n");
        }
        let bits =
            chunk.iter().zip([16, 8, 0]).fold(0_u32, |bits, (byte, shift)| bits | u32::from(*byte) << shift);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from(bits >> shift & 63).ok().and_then(|digit| DIGITS.get(digit));
            out.push(if index > chunk.len() { b'=' } else { digit.copied().unwrap_or(b'=') });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_as_mysql_prints_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (1e14, "100000000000000.0"),
            (1e15, "1e15"),
            (1e15 + 0.125, "1000000000000000.1"),
            (172_364_615_528_159.0 + 0.125, "172364615528159.12"),
            (172_364_615_528_159.0 + 0.375, "172364615528159.38"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (1e100, "1e100"),
            (-1.25e-100, "-1.25e-100"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5e-324"),
        ] {
            let mut out = Vec::new();
            put_double(value, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        assert_eq!(put_double(f64::NAN, &mut Vec::new()), None);
    }

    #[test]
    fn base64_is_padded_and_broken_into_lines() {
        let mut out = Vec::new();
        put_base64(&[0; 58], &mut out);
        assert_eq!(out, format!("{}\\nAA==", "A".repeat(76)).as_bytes());
        out.clear();
        put_base64(&[0; 57], &mut out);
        assert_eq!(out, "A".repeat(76).as_bytes());
        for (data, expected) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg==")]
        {
            let mut out = Vec::new();
            put_base64(data, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn opaque_values() {
        let print = |field_type: u8, data: &[u8]| {
            let mut out = Vec::new();
            put_opaque(field_type, data, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(print(246, &[4, 2, 0x80 | 12, 34]).as_deref(), Some("12.34"));
        assert_eq!(print(16, &[1, 2]).as_deref(), Some("\"base64:type16:AQI=\""));
        assert_eq!(print(12, &[1]), None);
        let packed = ((2015_u64 * 13 + 1) << 5 | 15) << 17 | 23 << 12 | 24 << 6 | 25;
        let packed = (packed << 24 | 120_000).to_le_bytes();
        assert_eq!(print(12, &packed).as_deref(), Some("\"2015-01-15 23:24:25.120000\""));
        assert_eq!(print(10, &packed).as_deref(), Some("\"2015-01-15\""));
        let time = ((-((23_i64 << 12 | 24 << 6 | 25) << 24)) - 5).to_le_bytes();
        assert_eq!(print(11, &time).as_deref(), Some("\"-23:24:25.000005\""));
    }
}
