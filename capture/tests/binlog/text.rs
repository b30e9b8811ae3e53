//! Comparing replayed rows with a SELECT: as Avro with the encoder of SELECTed rows, and as text, by way of the
//! apache-avro crate, with what the server prints.

use super::replay::Rows;
use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};
use tributary_schemas::envelope::value_schema;
use tributary_schemas::row::EncodedRow;
use tributary_schemas::table::{Column, Table};
use tributary_schemas::types::ColumnType;
use tributary_source::connect::SourceConnection;
use tributary_source::rows::RowEncoder;

/// Compares the rows of a table with what it holds.
pub(crate) async fn compare(connection: &mut SourceConnection, table: &Table, rows: &Rows) {
    let name = table.id.to_string();
    let columns =
        |of: &dyn Fn(&Column) -> String| table.columns.iter().map(of).collect::<Vec<_>>().join(", ");
    let plain = format!("SELECT {} FROM {name}", columns(&|column| format!("`{}`", column.name)));
    let selected: Vec<Row> = connection.driver().exec(plain, ()).await.unwrap();
    assert_eq!(selected.len(), rows.len(), "rows of {name}");
    let encoder = RowEncoder::compile(table).unwrap();
    let mut encoded = EncodedRow::default();
    for row in &selected {
        encoder.encode_row(row, &mut encoded).unwrap();
        let replayed =
            rows.get(&encoded.key).unwrap_or_else(|| panic!("{name} lacks the key {:x?}", encoded.key));
        assert_eq!(replayed.raw, encoded.raw, "{name}");
        assert!(replayed.value == encoded.value, "{name}: {}", difference(&replayed.value, &encoded.value));
    }

    // FLOAT is rounded when printed, but not as a DOUBLE.
    let printed = format!(
        "SELECT {} FROM {name}",
        columns(&|column| match column.column_type {
            ColumnType::Float => format!("CAST(`{}` AS DOUBLE)", column.name),
            _ => format!("`{}`", column.name),
        })
    );
    let printed: Vec<Row> = connection.driver().query(printed).await.unwrap();
    // Both SELECTs read the table in the order of its key.
    for (row, printed) in selected.iter().zip(printed) {
        encoder.encode_row(row, &mut encoded).unwrap();
        let expected: Vec<Option<Vec<u8>>> = printed.unwrap().into_iter().map(bytes).collect();
        let ours = texts(table, &rows[&encoded.key]);
        for ((column, ours), expected) in table.columns.iter().zip(ours).zip(expected) {
            let same = match (&column.column_type, &ours, &expected) {
                (ColumnType::Float | ColumnType::Double, Some(ours), Some(expected)) => {
                    number(ours).to_bits() == number(expected).to_bits()
                }
                // For half of a surrogate pair the server prints what is no text.
                (_, Some(_), Some(expected)) if is_wide(column) && std::str::from_utf8(expected).is_err() => {
                    true
                }
                _ => ours == expected,
            };
            let show = |text: Option<Vec<u8>>| text.map(|text| String::from_utf8_lossy(&text).into_owned());
            assert!(same, "{name}.{}: {:?}, not {:?}", column.name, show(ours), show(expected));
        }
    }
}

fn is_wide(column: &Column) -> bool {
    matches!(column.charset.as_deref(), Some("ucs2" | "utf32"))
}

/// What is around the first byte that differs.
fn difference(ours: &[u8], expected: &[u8]) -> String {
    let at = ours.iter().zip(expected).take_while(|(ours, expected)| ours == expected).count();
    let around = |bytes: &[u8]| {
        let window = &bytes[at.saturating_sub(40)..bytes.len().min(at + 40)];
        String::from_utf8_lossy(window).into_owned()
    };
    format!("at {at} {:?}, not {:?}", around(ours), around(expected))
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        Value::NULL => None,
        other => panic!("{other:?} in the text protocol"),
    }
}

fn number(text: &[u8]) -> f64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

/// The columns of a replayed row as MySQL prints them.
fn texts(table: &Table, row: &EncodedRow) -> Vec<Option<Vec<u8>>> {
    let schema = Schema::parse_str(&value_schema("t.d.t", table, 1).unwrap()).unwrap();
    // Of the envelope only the row's record is wanted: decode it as `after`, with null and placeholders around.
    let mut datum = vec![0, 2];
    datum.extend(&row.value);
    datum.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let Avro::Record(fields) = apache_avro::from_avro_datum(&schema, &mut &datum[..], None).unwrap() else {
        panic!("no record");
    };
    let (_, Avro::Union(1, after)) = fields.into_iter().nth(1).unwrap() else { panic!("no row") };
    let Avro::Record(fields) = *after else { panic!("no record") };
    let values = fields.into_iter().map(|(_, value)| match value {
        Avro::Union(_, value) => *value,
        value => value,
    });
    let mut texts: Vec<_> =
        table.columns.iter().zip(values).map(|(column, value)| text(column, value)).collect();
    for raw in &row.raw {
        assert_eq!(texts[raw.column].replace(raw.text.clone().into_bytes()), None);
    }
    texts
}

fn text(column: &Column, value: Avro) -> Option<Vec<u8>> {
    Some(match (&column.column_type, value) {
        (_, Avro::Null) => return None,
        (ColumnType::Year, Avro::Int(year)) => format!("{year:04}").into_bytes(),
        (_, Avro::Int(number)) => number.to_string().into_bytes(),
        (ColumnType::Time { fsp }, Avro::Long(micros)) => {
            let sign = if micros < 0 { "-" } else { "" };
            format!("{sign}{}", clock(micros.abs(), *fsp)).into_bytes()
        }
        (_, Avro::Long(number)) => number.to_string().into_bytes(),
        (_, Avro::Float(number)) => f64::from(number).to_string().into_bytes(),
        (_, Avro::Double(number)) => number.to_string().into_bytes(),
        (_, Avro::String(text)) => text.into_bytes(),
        (_, Avro::Bytes(bytes)) => bytes,
        (column_type, Avro::Decimal(decimal)) => {
            let scale =
                if let ColumnType::Decimal { scale, .. } = column_type { usize::from(*scale) } else { 0 };
            decimal_text(&Vec::<u8>::try_from(decimal).unwrap(), scale).into_bytes()
        }
        (_, Avro::Date(days)) => date(i64::from(days)).into_bytes(),
        (
            ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp },
            Avro::LocalTimestampMicros(micros) | Avro::TimestampMicros(micros),
        ) => {
            let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
            format!("{} {}", date(days), clock(rest, *fsp)).into_bytes()
        }
        (column_type, value) => panic!("{column_type} as {value:?}"),
    })
}

/// `hh:mm:ss.ffffff` with as many digits of the fraction as the type has.
fn clock(micros: i64, fsp: u8) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let text = format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let end = text.len() - if fsp == 0 { 7 } else { 6 - usize::from(fsp) };
    text[..end].to_owned()
}

/// The date so many days after 1970-01-01, found by walking over the years and months.
fn date(days: i64) -> String {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut rest) = (0, days + 719_528);
    while rest >= 365 + i64::from(leap(year)) {
        rest -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while rest >= lengths[month] {
        rest -= lengths[month];
        month += 1;
    }
    format!("{year:04}-{:02}-{:02}", month + 1, rest + 1)
}

/// Two's complement, big-endian, to digits by schoolbook division.
fn decimal_text(bytes: &[u8], scale: usize) -> String {
    let negative = bytes[0] & 0x80 != 0;
    let mut magnitude = bytes.to_vec();
    if negative {
        magnitude.iter_mut().for_each(|byte| *byte = !*byte);
        for byte in magnitude.iter_mut().rev() {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) || digits.len() <= scale {
        let mut remainder = 0_u32;
        for byte in &mut magnitude {
            let dividend = remainder << 8 | u32::from(*byte);
            *byte = u8::try_from(dividend / 10).unwrap();
            remainder = dividend % 10;
        }
        digits.push(char::from_digit(remainder, 10).unwrap());
    }
    let mut text: String = digits.into_iter().rev().collect();
    if scale > 0 {
        text.insert(text.len() - scale, '.');
    }
    if negative { format!("-{text}") } else { text }
}
