//! Rows of a SELECT to Avro: values of the **binary** protocol enter (the text protocol rounds FLOAT), in the order
//! of [`Table::columns`]; key and value datums leave, byte for byte what the binlog decoder writes for the same row.
//!
//! Invariant: what cannot be represented is an error or a null with its original text beside it, never a different
//! value. Nothing of our own is allocated per row once the buffers have grown.

use crate::columns::expected_columns;
use mysql_async::{Column as ResultColumn, Row, Value};
use std::fmt::Write;
use tributary_schemas::avro::{NULL_BRANCH, VALUE_BRANCH, put_bytes, put_double, put_float, put_long};
use tributary_schemas::calendar;
use tributary_schemas::decimal::{Magnitude, parse_unscaled};
use tributary_schemas::row::{EncodedRow, RawValue, RowError};
use tributary_schemas::table::Table;
use tributary_schemas::types::{ColumnType, UnsupportedType};

pub use crate::columns::ColumnMismatch;

/// MySQL's limit on the columns of an index.
const MAX_KEY_COLUMNS: usize = 16;

/// How one column is encoded, decided once a table.
#[derive(Debug, Clone, Copy)]
enum Form {
    Long,
    UnsignedLong,
    Float,
    Double,
    /// In a key: MySQL and PostgreSQL take −0 for 0, the bytes of a Kafka key do not.
    KeyFloat,
    /// As [`Self::KeyFloat`].
    KeyDouble,
    Decimal {
        scale: u8,
    },
    Text,
    /// Of a character set that stores halves of surrogate pairs: see [`questioned`].
    WideText,
    Bytes,
    Date,
    Moment {
        fsp: u8,
    },
    Duration,
}

impl Form {
    /// What is done to a value so that keys are equal on Kafka exactly if they are in the databases.
    const fn in_key(self) -> Self {
        match self {
            Self::Float => Self::KeyFloat,
            Self::Double => Self::KeyDouble,
            other => other,
        }
    }
}

#[derive(Debug)]
struct Plan {
    form: Form,
    /// The Avro field is a union with null.
    union: bool,
    /// Place in the key.
    key: Option<usize>,
    name: String,
    column_type: ColumnType,
}

/// Encodes the rows of one table in one generation.
#[derive(Debug)]
pub struct RowEncoder {
    plans: Vec<Plan>,
    key_columns: usize,
}

/// A table whose rows cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A column's type has no Avro form.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedType),
    /// More than MySQL allows; a table definition from elsewhere.
    #[error("the key has more than 16 columns, which MySQL does not allow")]
    WideKey,
}

/// What came of one value.
enum Outcome {
    Done,
    /// A date that Avro cannot hold.
    Impossible,
    Invalid,
}

impl RowEncoder {
    /// Plans the encoding of `table`'s rows.
    pub fn compile(table: &Table) -> Result<Self, CompileError> {
        if table.key.len() > MAX_KEY_COLUMNS {
            return Err(CompileError::WideKey);
        }
        let mut plans = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let key = table.key.iter().position(|id| *id == column.id);
            let form = match form(&column.column_type)? {
                Form::Text if matches!(column.charset.as_deref(), Some("ucs2" | "utf32")) => Form::WideText,
                form => form,
            };
            plans.push(Plan {
                form: if key.is_some() { form.in_key() } else { form },
                union: table.avro_nullable(column),
                key,
                name: column.name.clone(),
                column_type: column.column_type.clone(),
            });
        }
        Ok(Self { plans, key_columns: table.key.len() })
    }

    /// Compares the columns of a result with the table: another type means that the source's definition is not the
    /// one this encoder was made for.
    ///
    /// # Errors
    /// [`ColumnMismatch`] names the first column that differs.
    pub fn check_columns(&self, columns: &[ResultColumn]) -> Result<(), ColumnMismatch> {
        let declared = self.plans.iter().map(|plan| (plan.name.as_str(), &plan.column_type, plan.union));
        expected_columns(declared, columns)
    }

    /// Encodes one row into `out`, which is emptied first.
    ///
    /// # Errors
    /// [`RowError`]: the row cannot be published.
    pub fn encode_row(&self, row: &Row, out: &mut EncodedRow) -> Result<(), RowError> {
        self.encode_with(|index| row.as_ref(index), out)
    }

    /// Encodes one row given as a slice of values into `out`, which is emptied first.
    ///
    /// # Errors
    /// [`RowError`]: the row cannot be published.
    pub fn encode(&self, values: &[Value], out: &mut EncodedRow) -> Result<(), RowError> {
        self.encode_with(|index| values.get(index), out)
    }

    fn encode_with<'a>(
        &self,
        value: impl Fn(usize) -> Option<&'a Value>,
        out: &mut EncodedRow,
    ) -> Result<(), RowError> {
        out.clear();
        let mut spans = [(0, 0); MAX_KEY_COLUMNS];
        for (index, plan) in self.plans.iter().enumerate() {
            let value = value(index).ok_or_else(|| RowError::Truncated { column: plan.name.clone() })?;
            let start = out.value.len();
            plan.put(index, value, out)?;
            if let Some(span) = plan.key.and_then(|place| spans.get_mut(place)) {
                *span = (start, out.value.len());
            }
        }
        for (start, end) in spans.iter().take(self.key_columns) {
            out.key.extend_from_slice(out.value.get(*start..*end).unwrap_or_default());
        }
        Ok(())
    }
}

impl Plan {
    /// Appends one value to `out.value`.
    fn put(&self, index: usize, value: &Value, out: &mut EncodedRow) -> Result<(), RowError> {
        let column = || self.name.clone();
        if matches!(value, Value::NULL) {
            return match (self.key, self.union) {
                (Some(_), _) => Err(RowError::BadKey { column: column() }),
                (None, true) => {
                    out.value.push(NULL_BRANCH);
                    Ok(())
                }
                (None, false) => Err(RowError::UnexpectedNull { column: column() }),
            };
        }
        let start = out.value.len();
        if self.union {
            out.value.push(VALUE_BRANCH);
        }
        match put_value(self.form, value, &mut out.value) {
            Outcome::Done => Ok(()),
            Outcome::Impossible if self.key.is_some() => Err(RowError::BadKey { column: column() }),
            Outcome::Impossible => {
                out.value.truncate(start);
                out.value.push(NULL_BRANCH);
                out.raw.push(RawValue { column: index, text: date_text(self.form, value) });
                Ok(())
            }
            Outcome::Invalid => {
                Err(RowError::Invalid { column: column(), column_type: self.column_type.to_string() })
            }
        }
    }
}

fn form(column_type: &ColumnType) -> Result<Form, UnsupportedType> {
    Ok(match column_type {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { unsigned: false }
        | ColumnType::Year => Form::Long,
        ColumnType::BigInt { unsigned: true } => Form::UnsignedLong,
        ColumnType::Decimal { scale, .. } => Form::Decimal { scale: *scale },
        ColumnType::Float => Form::Float,
        ColumnType::Double => Form::Double,
        ColumnType::Bit { .. }
        | ColumnType::Binary { .. }
        | ColumnType::VarBinary { .. }
        | ColumnType::Blob(_) => Form::Bytes,
        ColumnType::Char { .. }
        | ColumnType::VarChar { .. }
        | ColumnType::Text(_)
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Json => Form::Text,
        ColumnType::Date => Form::Date,
        ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp } => Form::Moment { fsp: *fsp },
        ColumnType::Time { .. } => Form::Duration,
        ColumnType::Geometry { .. } | ColumnType::Vector { .. } => {
            return Err(UnsupportedType(column_type.to_string()));
        }
    })
}

/// Appends the Avro form of a value that is not null.
fn put_value(form: Form, value: &Value, out: &mut Vec<u8>) -> Outcome {
    match (form, value) {
        (Form::Long, Value::Int(number)) => put_long(out, *number),
        (Form::UnsignedLong, Value::UInt(number)) => put_magnitude(out, false, Magnitude::from(*number)),
        (Form::UnsignedLong, Value::Int(number)) => match u64::try_from(*number) {
            Ok(number) => put_magnitude(out, false, Magnitude::from(number)),
            Err(_) => return Outcome::Invalid,
        },
        (Form::Float, Value::Float(number)) => put_float(out, *number),
        (Form::Double, Value::Double(number)) => put_double(out, *number),
        // −0 + 0 is 0.
        (Form::KeyFloat, Value::Float(number)) => put_float(out, *number + 0.0),
        (Form::KeyDouble, Value::Double(number)) => put_double(out, *number + 0.0),
        (Form::Decimal { scale }, Value::Bytes(text)) => match parse_unscaled(text, scale) {
            Some((negative, magnitude)) => put_magnitude(out, negative, magnitude),
            None => return Outcome::Invalid,
        },
        (Form::Text, Value::Bytes(text)) => {
            if std::str::from_utf8(text).is_err() {
                return Outcome::Invalid;
            }
            put_bytes(out, text);
        }
        (Form::WideText, Value::Bytes(text)) => match std::str::from_utf8(text) {
            Ok(text) => put_bytes(out, text.as_bytes()),
            Err(_) => match String::from_utf8(questioned(text)) {
                Ok(text) => put_bytes(out, text.as_bytes()),
                Err(_) => return Outcome::Invalid,
            },
        },
        (Form::Bytes, Value::Bytes(bytes)) => put_bytes(out, bytes),
        (Form::Date, Value::Date(year, month, day, ..)) => match calendar::days(*year, *month, *day) {
            Some(days) => put_long(out, i64::from(days)),
            None => return Outcome::Impossible,
        },
        (Form::Moment { .. }, Value::Date(year, month, day, hour, minute, second, micros)) => {
            match calendar::micros((*year, *month, *day), (*hour, *minute, *second), *micros) {
                Some(micros) => put_long(out, micros),
                None => return Outcome::Impossible,
            }
        }
        (Form::Duration, Value::Time(negative, days, hours, minutes, seconds, micros)) => {
            let hours = i64::from(*days) * 24 + i64::from(*hours);
            let seconds = (hours * 60 + i64::from(*minutes)) * 60 + i64::from(*seconds);
            let micros = seconds * 1_000_000 + i64::from(*micros);
            put_long(out, if *negative { -micros } else { micros });
        }
        _ => return Outcome::Invalid,
    }
    Outcome::Done
}

/// A text in which each half of a surrogate pair, which a server may send as three bytes that are no UTF-8, is a question mark,
/// as in what the stream makes of it.
fn questioned(text: &[u8]) -> Vec<u8> {
    let (mut rest, mut out) = (text, Vec::with_capacity(text.len()));
    while let [first, behind @ ..] = rest {
        rest = match rest {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, behind @ ..] => {
                out.push(b'?');
                behind
            }
            _ => {
                out.push(*first);
                behind
            }
        };
    }
    out
}

/// Appends a `decimal`: the length of the shortest two's-complement form, which is at most 33 and so one byte, then
/// the form.
fn put_magnitude(out: &mut Vec<u8>, negative: bool, magnitude: Magnitude) {
    let at = out.len();
    out.push(0);
    magnitude.put_twos_complement(negative, out);
    // Zigzag doubles a number that is not negative.
    let prefix = u8::try_from((out.len() - at - 1) * 2).unwrap_or(u8::MAX);
    if let Some(place) = out.get_mut(at) {
        *place = prefix;
    }
}

/// A date that Avro cannot hold, as MySQL prints it.
fn date_text(form: Form, value: &Value) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Value::Date(year, month, day, hour, minute, second, micros) = value {
        let _ = write!(text, "{year:04}-{month:02}-{day:02}");
        if let Form::Moment { fsp } = form {
            let _ = write!(text, " {hour:02}:{minute:02}:{second:02}");
            if fsp > 0 {
                let _ = write!(text, ".{micros:06}");
                text.truncate(text.len() - usize::from(6 - fsp.min(6)));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tributary_schemas::table::{Column, TableId};

    fn table(columns: &[(&str, bool)], key: &[u32]) -> Table {
        let columns = (1_u32..).zip(columns).map(|(id, (text, nullable))| Column {
            nullable: *nullable,
            ..Column::new(id, format!("c{id}"), text.parse().unwrap())
        });
        let (columns, key) = (columns.collect(), key.to_vec());
        Table { id: TableId::new("d", "t"), columns, key, ..Table::default() }
    }

    fn encode(table: &Table, values: &[Value]) -> Result<EncodedRow, RowError> {
        let mut out = EncodedRow::default();
        RowEncoder::compile(table).unwrap().encode(values, &mut out)?;
        Ok(out)
    }

    #[test]
    fn the_key_is_in_the_order_of_the_key_not_of_the_columns() {
        let table = table(&[("int", false), ("varchar(9)", false), ("int", true)], &[2, 1]);
        let row = encode(&table, &[Value::Int(-1), Value::Bytes(b"ab".to_vec()), Value::NULL]).unwrap();
        assert_eq!(row.key, [4, b'a', b'b', 1]);
        assert_eq!(row.value, [1, 4, b'a', b'b', NULL_BRANCH]);
    }

    #[test]
    fn a_key_has_one_zero_and_other_columns_have_two() {
        let table = table(&[("double", false), ("float", false), ("double", false)], &[1, 2]);
        let row = encode(&table, &[Value::Double(-0.0), Value::Float(-0.0), Value::Double(-0.0)]).unwrap();
        assert_eq!(row.key, [0; 12]);
        assert_eq!(row.value, [[0; 12].as_slice(), &(-0.0_f64).to_le_bytes()].concat());
    }

    #[test]
    fn dates_that_do_not_exist_are_null_with_their_text() {
        let columns = [("int", false), ("date", false), ("datetime(3)", false), ("timestamp", false)];
        let values = [
            Value::Int(0),
            Value::Date(2024, 2, 30, 0, 0, 0, 0),
            Value::Date(2024, 0, 1, 1, 2, 3, 450_000),
            Value::Date(0, 0, 0, 0, 0, 0, 0),
        ];
        let row = encode(&table(&columns, &[1]), &values).unwrap();
        assert_eq!(row.value, [0, NULL_BRANCH, NULL_BRANCH, NULL_BRANCH]);
        let texts: Vec<_> = row.raw.iter().map(|raw| (raw.column, raw.text.as_str())).collect();
        assert_eq!(texts, [(1, "2024-02-30"), (2, "2024-00-01 01:02:03.450"), (3, "0000-00-00 00:00:00")]);
        let in_key = encode(&table(&columns, &[2]), &values).unwrap_err();
        assert_eq!(in_key, RowError::BadKey { column: "c2".into() });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let table = table(&[("bigint unsigned", false), ("varchar(3)", false)], &[1]);
        let text = || Value::Bytes(b"x".to_vec());
        let invalid = |column: &str, column_type: &str| RowError::Invalid {
            column: column.into(),
            column_type: column_type.into(),
        };
        let negative = encode(&table, &[Value::Int(-1), text()]).unwrap_err();
        assert_eq!(negative, invalid("c1", "bigint unsigned"));
        let not_utf8 = encode(&table, &[Value::Int(1), Value::Bytes(vec![0xff])]).unwrap_err();
        assert_eq!(not_utf8, invalid("c2", "varchar(3)"));
        let null = encode(&table, &[Value::Int(1), Value::NULL]).unwrap_err();
        assert_eq!(null, RowError::UnexpectedNull { column: "c2".into() });
        let key = encode(&table, &[Value::NULL, text()]).unwrap_err();
        assert_eq!(key, RowError::BadKey { column: "c1".into() });
        let short = encode(&table, &[Value::Int(1)]).unwrap_err();
        assert_eq!(short, RowError::Truncated { column: "c2".into() });
    }

    #[test]
    fn half_a_surrogate_pair_is_a_question_mark_where_its_character_set_has_such() {
        let mut table = table(&[("int", false), ("varchar(9)", false)], &[1]);
        let row = |table: &Table, text: &[u8]| encode(table, &[Value::Int(0), Value::Bytes(text.to_vec())]);
        let half = b"a\xed\xa0\xbd\xed\xb8\x80b";
        assert!(row(&table, half).is_err());
        table.columns[1].charset = Some("ucs2".to_owned());
        assert_eq!(row(&table, half).unwrap().value, [0, 8, b'a', b'?', b'?', b'b']);
        assert_eq!(row(&table, "é".as_bytes()).unwrap().value, [0, 4, 0xc3, 0xa9]);
        assert!(row(&table, b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn any_values_at_all_are_an_error_or_a_row(number: i64, bytes: Vec<u8>, year: u16, month: u8, day: u8) {
            let columns = [
                ("decimal(65,30)", true), ("varchar(3)", true), ("date", true), ("time(6)", true), ("float", true),
            ];
            let table = table(&columns, &[]);
            for value in [
                Value::Int(number),
                Value::Bytes(bytes),
                Value::Date(year, month, day, day, month, day, 7),
                Value::Time(true, u32::from(year), month, day, day, 3),
            ] {
                let _ = encode(&table, &vec![value; 5]);
            }
        }
    }
}
