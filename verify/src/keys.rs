//! Keys on their way back to the source. A key field of the destination enters and the Avro key record leaves that
//! capture would have written; an Avro key enters and the parameters leave that find the row in MySQL.

use super::canonical::interval_micros;
use jiff::SignedDuration;
use jiff::civil::datetime;
use mysql_async::Value;
use std::fmt::Write;
use tributary_schemas::avro::{Reader, put_bytes, put_double, put_float, put_length, put_long};
use tributary_schemas::decimal::{Magnitude, parse_unscaled};
use tributary_schemas::printed::hexadecimal;
use tributary_schemas::table::Table;
use tributary_schemas::types::{AvroType, ColumnType};
use tributary_warehouse::merge::target::TargetKind;

/// Microseconds from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;

/// Appends the Avro form of a key column's field. `None`: the source's type has no such value, so that no row of the
/// source can have it.
pub(crate) fn put_avro(
    source: &ColumnType,
    kind: &TargetKind,
    field: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    match source.avro().ok()? {
        AvroType::Int | AvroType::Long => put_long(out, number(kind, field)?.parse().ok()?),
        AvroType::Decimal { scale, .. } => {
            let (negative, magnitude) = parse_unscaled(number(kind, field)?.as_bytes(), scale)?;
            let mut bytes = Vec::new();
            magnitude.put_twos_complement(negative, &mut bytes);
            put_length(out, bytes.len());
            out.extend_from_slice(&bytes);
        }
        // −0 is no key of its own: −0 + 0 is 0.
        AvroType::Float => put_float(out, number(kind, field)?.parse::<f32>().ok()? + 0.0),
        AvroType::Double => put_double(out, number(kind, field)?.parse::<f64>().ok()? + 0.0),
        AvroType::String => put_bytes(out, field),
        AvroType::Bytes => match (source, kind) {
            (ColumnType::Bit { width }, TargetKind::Bit(_) | TargetKind::BitVarying(_)) => {
                let bytes = bits(field)?.to_be_bytes();
                put_bytes(out, bytes.get(8 - usize::from(width.div_ceil(8)).min(8)..)?);
            }
            _ => put_bytes(out, field),
        },
        AvroType::Date => match kind {
            TargetKind::Date => {
                put_long(out, i64::from(i32::from_be_bytes(field.try_into().ok()?)) + EPOCH_DAYS);
            }
            _ => {
                let micros = eight(field)?.checked_add(EPOCH_MICROS)?;
                put_long(out, (micros % DAY_MICROS == 0).then_some(micros / DAY_MICROS)?);
            }
        },
        AvroType::LocalTimestampMicros | AvroType::TimestampMicros => {
            put_long(out, eight(field)?.checked_add(EPOCH_MICROS)?);
        }
        AvroType::DurationMicros => match kind {
            TargetKind::Interval(_) => put_long(out, i64::try_from(interval_micros(field)?).ok()?),
            _ => put_long(out, eight(field)?),
        },
    }
    Some(())
}

fn eight(field: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(field.try_into().ok()?))
}

/// A number as text.
fn number(kind: &TargetKind, field: &[u8]) -> Option<String> {
    Some(match kind {
        TargetKind::SmallInt => i16::from_be_bytes(field.try_into().ok()?).to_string(),
        TargetKind::Integer => i32::from_be_bytes(field.try_into().ok()?).to_string(),
        TargetKind::BigInt => eight(field)?.to_string(),
        TargetKind::Real => f32::from_be_bytes(field.try_into().ok()?).to_string(),
        TargetKind::Double => f64::from_be_bytes(field.try_into().ok()?).to_string(),
        TargetKind::Boolean => field.first()?.to_string(),
        TargetKind::Numeric(_) => numeric_text(field)?,
        _ => return None,
    })
}

/// A binary numeric as the shortest text; `None` for NaN and the infinities.
fn numeric_text(field: &[u8]) -> Option<String> {
    let (head, digits) = field.split_first_chunk::<8>()?;
    let [_, _, weight_high, weight_low, sign_high, sign_low, ..] = *head;
    let weight = i16::from_be_bytes([weight_high, weight_low]);
    let sign = u16::from_be_bytes([sign_high, sign_low]);
    let digits: Vec<u16> = digits.as_chunks::<2>().0.iter().map(|digit| u16::from_be_bytes(*digit)).collect();
    if !matches!(sign, 0 | 0x4000) || weight.unsigned_abs() > 1_000 {
        return None;
    }
    let digit = |place: i16| {
        let index = usize::try_from(i32::from(weight) - i32::from(place)).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", digit(place))).collect();
    let lowest = i32::from(weight) - i32::try_from(digits.len()).ok()? + 1;
    let fraction: String = (lowest..0)
        .rev()
        .filter_map(|place| i16::try_from(place).ok())
        .map(|place| format!("{:04}", digit(place)))
        .collect();
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let mut text = if sign == 0 { String::new() } else { "-".to_owned() };
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    Some(text)
}

/// The number that a `bit` or `bit varying` of at most 64 bits stands for.
fn bits(field: &[u8]) -> Option<u64> {
    let (length, bytes) = field.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length);
    let unused = 64_u32.checked_sub(length)?;
    let mut wide = [0; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    u64::from_be_bytes(wide).checked_shr(unused).or(Some(0))
}

/// The condition that a row has this key, with a `?` for each value.
#[must_use]
pub(crate) fn condition(table: &Table) -> String {
    let parts: Vec<String> = table
        .key_columns()
        .map(|column| {
            let value = match column.column_type {
                // Else the server compares doubles.
                ColumnType::Decimal { precision, scale } => {
                    format!("CAST(? AS DECIMAL({precision},{scale}))")
                }
                _ => "?".to_owned(),
            };
            format!("{} = {value}", tributary_source::chunk::quote(&column.name))
        })
        .collect();
    format!("({})", parts.join(" AND "))
}

/// Appends the values of an Avro key record for [`condition`]; `None` if the datum is no key of the table.
pub(crate) fn put_params(table: &Table, key: &[u8], params: &mut Vec<Value>) -> Option<()> {
    let mut reader = Reader::new(key);
    for column in table.key_columns() {
        params.push(param(&column.column_type, &mut reader)?);
    }
    reader.finish().ok()
}

fn param(column_type: &ColumnType, reader: &mut Reader<'_>) -> Option<Value> {
    Some(match column_type.avro().ok()? {
        AvroType::Int | AvroType::Long => Value::Int(reader.long().ok()?),
        AvroType::Decimal { scale, .. } => {
            let (negative, magnitude) = Magnitude::from_twos_complement(reader.bytes().ok()?)?;
            let text = magnitude.to_text(negative, scale);
            match column_type {
                ColumnType::BigInt { .. } => Value::UInt(text.parse().ok()?),
                _ => Value::Bytes(text.into_bytes()),
            }
        }
        AvroType::Float => Value::Double(f64::from(reader.float().ok()?)),
        AvroType::Double => Value::Double(reader.double().ok()?),
        AvroType::String => Value::Bytes(reader.bytes().ok()?.to_vec()),
        AvroType::Bytes => {
            let bytes = reader.bytes().ok()?;
            match column_type {
                ColumnType::Bit { .. } => Value::UInt(tributary_warehouse::merge::copy::bits_of(bytes).ok()?),
                _ => Value::Bytes(bytes.to_vec()),
            }
        }
        AvroType::Date => moment(reader.long().ok()?.checked_mul(DAY_MICROS)?, false)?,
        AvroType::LocalTimestampMicros | AvroType::TimestampMicros => moment(reader.long().ok()?, true)?,
        AvroType::DurationMicros => {
            let micros = reader.long().ok()?;
            let (seconds, rest) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
            let (minutes, hours) = (seconds / 60 % 60, seconds / 3600);
            let sign = if micros < 0 { "-" } else { "" };
            Value::Bytes(format!("{sign}{hours:02}:{minutes:02}:{:02}.{rest:06}", seconds % 60).into_bytes())
        }
    })
}

/// A date or moment as MySQL reads it; `None` outside of its years. Civil time, for jiff's timestamps end before
/// MySQL's last day does.
fn moment(micros: i64, with_time: bool) -> Option<Value> {
    let civil = datetime(1970, 1, 1, 0, 0, 0, 0).checked_add(SignedDuration::from_micros(micros)).ok()?;
    let text = if with_time { civil.strftime("%Y-%m-%d %H:%M:%S.%6f") } else { civil.strftime("%Y-%m-%d") };
    (civil.year() >= 0).then(|| Value::Bytes(text.to_string().into_bytes()))
}

/// The key for people: `id=5, day=2024-02-29, region="eu"`.
#[must_use]
pub(crate) fn describe(table: &Table, key: &[u8]) -> String {
    let mut values = Vec::new();
    if put_params(table, key, &mut values).is_none() {
        return "a key that cannot be read".to_owned();
    }
    let mut out = String::new();
    for (column, value) in table.key_columns().zip(values) {
        let comma = if out.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(out, "{comma}{}={}", column.name, value_text(&column.column_type, &value));
    }
    out
}

fn value_text(column_type: &ColumnType, value: &Value) -> String {
    match (column_type, value) {
        (_, Value::Int(number)) => number.to_string(),
        (_, Value::UInt(number)) => number.to_string(),
        // The shorter text of the two names the value as well.
        (ColumnType::Float, Value::Double(number)) => {
            number.to_string().parse::<f32>().map_or_else(|_| number.to_string(), |short| short.to_string())
        }
        (_, Value::Double(number)) => number.to_string(),
        (
            ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob(_),
            Value::Bytes(bytes),
        ) => format!("0x{}", hexadecimal(bytes)),
        (
            ColumnType::Decimal { .. }
            | ColumnType::Date
            | ColumnType::DateTime { .. }
            | ColumnType::Timestamp { .. }
            | ColumnType::Time { .. },
            Value::Bytes(text),
        ) => {
            let text = String::from_utf8_lossy(text);
            // Microseconds of zero are not worth reading.
            text.strip_suffix(".000000").unwrap_or(&text).to_owned()
        }
        (_, Value::Bytes(text)) => format!("{:?}", String::from_utf8_lossy(text)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::table::{Column, TableId};
    use tributary_warehouse::merge::{copy, numeric};

    fn column(id: u32, declaration: &str) -> Column {
        Column { ordinal: id, ..Column::new(id, format!("c{id}"), declaration.parse().unwrap()) }
    }

    fn table(declaration: &str) -> Table {
        Table {
            id: TableId::new("d", "t"),
            columns: vec![column(1, declaration)],
            key: vec![1],
            ..Table::default()
        }
    }

    /// Through the destination's field to Avro and on to the parameter.
    fn there_and_back(declaration: &str, target: &str, write: impl FnOnce(&mut Vec<u8>)) -> Option<Value> {
        let mut field = Vec::new();
        write(&mut field);
        let mut avro = Vec::new();
        let table = table(declaration);
        put_avro(&table.columns[0].column_type, &TargetKind::parse(target), &field[4..], &mut avro)?;
        let mut params = Vec::new();
        put_params(&table, &avro, &mut params)?;
        params.pop()
    }

    #[test]
    fn keys_find_their_rows() {
        let text = |text: &str| Some(Value::Bytes(text.as_bytes().to_vec()));
        let int = |value: i64| move |out: &mut Vec<u8>| copy::put_i64(out, value);
        assert_eq!(there_and_back("bigint", "bigint", int(-5)), Some(Value::Int(-5)));
        assert_eq!(
            there_and_back("int", "numeric", |out| numeric::put_integer(out, 12_345, None).unwrap()),
            Some(Value::Int(12_345))
        );
        let whole = |value: &'static [u8], scale| {
            move |out: &mut Vec<u8>| numeric::put_decimal(out, value, scale, None).unwrap()
        };
        assert_eq!(
            there_and_back(
                "bigint unsigned",
                "numeric(20,0)",
                whole(&[0, 255, 255, 255, 255, 255, 255, 255, 255], 0)
            ),
            Some(Value::UInt(u64::MAX))
        );
        assert_eq!(there_and_back("decimal(8,3)", "numeric(8,3)", whole(&[0xff], 3)), text("-0.001"));
        assert_eq!(
            there_and_back("decimal(8,3)", "numeric(8,3)", whole(&[0x7f, 0xff, 0xff], 3)),
            text("8388.607")
        );
        assert_eq!(
            there_and_back("varchar(9)", "text", |out| copy::put_bytes(out, "é".as_bytes()).unwrap()),
            text("é")
        );
        assert_eq!(
            there_and_back("bit(9)", "bit(9)", |out| copy::put_bits(out, &[1, 3], 9).unwrap()),
            Some(Value::UInt(259))
        );
        assert_eq!(
            there_and_back("date", "date", |out| copy::put_date(out, -1).unwrap()),
            text("1969-12-31")
        );
        assert_eq!(
            there_and_back("datetime(6)", "timestamp without time zone", |out| copy::put_timestamp(out, -1)
                .unwrap()),
            text("1969-12-31 23:59:59.999999")
        );
        assert_eq!(
            there_and_back("time(6)", "interval", |out| copy::put_interval(out, -3_020_399_000_001).unwrap()),
            text("-838:59:59.000001")
        );
        assert_eq!(
            there_and_back("double", "double precision", |out| copy::put_f64(out, 0.1)),
            Some(Value::Double(0.1))
        );
        assert_eq!(there_and_back("float", "real", |out| copy::put_f32(out, 0.5)), Some(Value::Double(0.5)));
    }

    #[test]
    fn what_the_source_cannot_hold_has_no_key() {
        let half = |out: &mut Vec<u8>| numeric::put_decimal(out, &[5], 1, None).unwrap();
        assert_eq!(there_and_back("bigint unsigned", "numeric", half), None);
        assert_eq!(
            there_and_back("date", "timestamp without time zone", |out| copy::put_timestamp(out, 1).unwrap()),
            None
        );
        let infinity = |out: &mut Vec<u8>| copy::put_i64(out, i64::MAX);
        assert_eq!(there_and_back("datetime(6)", "timestamp without time zone", infinity), None);
    }

    #[test]
    fn keys_are_described_for_people() {
        let mut table = table("date");
        table.columns.extend([
            column(2, "varchar(9)"),
            column(3, "binary(2)"),
            column(4, "time(6)"),
            column(5, "float"),
        ]);
        table.columns.extend([column(6, "datetime"), column(7, "decimal(3,1)")]);
        table.key = vec![1, 2, 3, 4, 5, 6, 7];
        let mut key = Vec::new();
        put_long(&mut key, 2_932_896);
        put_bytes(&mut key, "a \"é".as_bytes());
        put_bytes(&mut key, &[0, 255]);
        put_long(&mut key, -500_000);
        put_float(&mut key, 0.1);
        put_long(&mut key, 86_399_000_000);
        put_bytes(&mut key, &[0xff]);
        assert_eq!(
            describe(&table, &key),
            "c1=9999-12-31, c2=\"a \\\"é\", c3=0x00ff, c4=-00:00:00.500000, c5=0.1, c6=1970-01-01 23:59:59, c7=-0.1"
        );
        assert_eq!(describe(&table, &key[..key.len() - 1]), "a key that cannot be read");
    }

    #[test]
    fn a_condition_names_every_key_column() {
        let mut table = table("decimal(8,3)");
        table.columns.push(column(2, "int"));
        table.key = vec![2, 1];
        assert_eq!(condition(&table), "(`c2` = ? AND `c1` = CAST(? AS DECIMAL(8,3)))");
    }
}
