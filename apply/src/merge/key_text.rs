//! A key in words, for the message that parks a table. What enters is a key's datum, what leaves is text; a datum
//! that cannot be read is described as such, for this runs when something is wrong already.

use super::pairing::Writer;
use super::plan::TransferPlan;
use jiff::Span;
use jiff::civil::date;
use std::fmt::Write;
use tributary_schemas::avro::{AvroError, Reader};
use tributary_schemas::decimal::Magnitude;

/// Texts and bytes are cut here, characters.
const SHOWN_MAX: usize = 100;
/// Eighteen decimal digits.
const DIGITS_18: u64 = 1_000_000_000_000_000_000;

impl TransferPlan {
    /// The key as `name = value, …`, by the destination's names.
    #[must_use]
    pub fn describe_key(&self, key: &[u8]) -> String {
        let mut reader = Reader::new(key);
        let mut out = String::new();
        for field in &self.keys {
            let name = self.names.get(field.name).map_or("", |name| name.target.as_str());
            let comma = if out.is_empty() { "" } else { ", " };
            let value = text(&mut reader, field.writer).unwrap_or_else(|_| "(unreadable)".to_owned());
            // Writing to a String cannot fail.
            let _ = write!(out, "{comma}{name} = {value}");
        }
        out
    }
}

fn text(reader: &mut Reader<'_>, writer: Writer) -> Result<String, AvroError> {
    Ok(match writer {
        Writer::Int2
        | Writer::Int4
        | Writer::Int8
        | Writer::IntNumeric(_)
        | Writer::IntDouble
        | Writer::IntBoolean => reader.long()?.to_string(),
        Writer::DecimalNumeric(scale, _) => decimal(reader.bytes()?, usize::from(scale)),
        Writer::DecimalInt2 | Writer::DecimalInt4 | Writer::DecimalInt8 => decimal(reader.bytes()?, 0),
        Writer::Real | Writer::RealDouble => reader.float()?.to_string(),
        Writer::Double => reader.double()?.to_string(),
        Writer::Text(_) | Writer::Json | Writer::Jsonb => {
            let text = String::from_utf8_lossy(reader.bytes()?);
            let cut: String = text.chars().take(SHOWN_MAX).collect();
            format!("{cut:?}{}", if cut.len() < text.len() { "…" } else { "" })
        }
        Writer::Bytea | Writer::Bits(_) | Writer::BitBoolean => {
            let bytes = reader.bytes()?;
            let digits: String = bytes.iter().take(SHOWN_MAX / 2).map(|byte| format!("{byte:02x}")).collect();
            format!("0x{digits}{}", if bytes.len() > SHOWN_MAX / 2 { "…" } else { "" })
        }
        Writer::Date | Writer::DateMidnight => {
            let days = reader.long()?;
            let day = Span::new().try_days(days).and_then(|span| date(1970, 1, 1).checked_add(span));
            day.map_or_else(|_| format!("day {days}"), |day| day.to_string())
        }
        Writer::Timestamp => {
            let micros = reader.long()?;
            let span = Span::new().try_microseconds(micros);
            let instant = span.and_then(|span| date(1970, 1, 1).at(0, 0, 0, 0).checked_add(span));
            instant.map_or_else(|_| format!("{micros} µs"), |instant| instant.to_string())
        }
        Writer::Interval | Writer::Time => format!("{} µs", reader.long()?),
    })
}

fn decimal(unscaled: &[u8], scale: usize) -> String {
    let Some((negative, mut rest)) = Magnitude::from_twos_complement(unscaled) else {
        return "(unreadable)".to_owned();
    };
    let mut digits = String::new();
    while !rest.is_zero() {
        let (quotient, group) = rest.divided(DIGITS_18);
        digits.insert_str(0, &format!("{group:018}"));
        rest = quotient;
    }
    let digits = digits.trim_start_matches('0');
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at_checked(digits.len() - scale).unwrap_or((&digits, ""));
    let (sign, point) = (if negative { "-" } else { "" }, if scale > 0 { "." } else { "" });
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::avro::{put_bytes, put_long};
    use tributary_schemas::decimal::parse_unscaled;

    fn shown(writer: Writer, write: impl Fn(&mut Vec<u8>)) -> String {
        let mut datum = Vec::new();
        write(&mut datum);
        text(&mut Reader::new(&datum), writer).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn keys_are_shown_as_people_write_them() {
        assert_eq!(shown(Writer::Int8, |out| put_long(out, -5)), "-5");
        assert_eq!(shown(Writer::Text(None), |out| put_bytes(out, "a\0é".as_bytes())), "\"a\\0é\"");
        let long = shown(Writer::Text(None), |out| put_bytes(out, &[b'x'; 500]));
        assert_eq!(long.chars().count(), SHOWN_MAX + 3);
        assert_eq!(shown(Writer::Bytea, |out| put_bytes(out, &[0, 255])), "0x00ff");
        assert_eq!(shown(Writer::Date, |out| put_long(out, 19_000)), "2022-01-08");
        assert_eq!(shown(Writer::Timestamp, |out| put_long(out, 1_500_000)), "1970-01-01T00:00:01.5");
        assert_eq!(shown(Writer::Timestamp, |out| put_long(out, i64::MIN)), format!("{} µs", i64::MIN));
        assert_eq!(shown(Writer::Int8, |_| ()), "the Avro datum ends in the middle of a value");
        for (digits, scale) in [
            ("0", 0),
            ("-0.05", 2),
            ("-1.50", 2),
            ("18446744073709551615", 0),
            ("1000000000000000000000.0", 1),
        ] {
            let decimal = shown(Writer::DecimalNumeric(scale, None), |out| {
                let (negative, magnitude) = parse_unscaled(digits.as_bytes(), scale).unwrap();
                let mut bytes = Vec::new();
                magnitude.put_twos_complement(negative, &mut bytes);
                put_bytes(out, &bytes);
            });
            assert_eq!(decimal, digits);
        }
    }
}
