//! Values of key columns between two forms: what the driver reads and binds ([`Value`]) and what the state topic
//! stores ([`KeyValue`]). Invariant: a value that goes there and back compares equal on the source.

use crate::charset::Charset;
use mysql_async::Value;
use std::fmt::Write;
use tributary_schemas::checkpoint::KeyValue;
use tributary_schemas::printed::hexadecimal;
use tributary_schemas::types::ColumnType;

/// One side of a comparison with a key column.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// With a `?` if there is a parameter.
    pub sql: String,
    /// What to bind.
    pub param: Option<Value>,
}

/// How a key column's values are written into a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyForm {
    /// Signed and small unsigned integers, YEAR.
    Int,
    /// `bigint unsigned`.
    UInt,
    /// FLOAT and DOUBLE, bound as the exact double.
    Double,
    /// DECIMAL: text, cast so that the server compares decimals and not doubles.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// Dates and times, and character strings in UTF-8, as text.
    Text,
    /// Strings in another character set, by their bytes: what a byte becomes in Unicode may not come back as that byte.
    Chars(Charset),
    /// Binary strings.
    Bytes,
    /// BIT, bound as a number.
    Bit {
        /// Bytes of the value.
        bytes: usize,
    },
    /// ENUM, by number: the order of the index.
    Enum(Vec<String>),
    /// SET, by number: the order of the index.
    Set(Vec<String>),
}

/// The form of a column of this type and character set; `None` for types that cannot be in a key.
pub(crate) fn key_form(column_type: &ColumnType, charset: Option<&str>) -> Option<KeyForm> {
    Some(match column_type {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { unsigned: false }
        | ColumnType::Year => KeyForm::Int,
        ColumnType::BigInt { unsigned: true } => KeyForm::UInt,
        ColumnType::Decimal { precision, scale } => KeyForm::Decimal { precision: *precision, scale: *scale },
        ColumnType::Float | ColumnType::Double => KeyForm::Double,
        ColumnType::Bit { width } => KeyForm::Bit { bytes: usize::from(*width).div_ceil(8) },
        ColumnType::Char { .. } | ColumnType::VarChar { .. } | ColumnType::Text(_) => {
            match charset.and_then(Charset::named) {
                Some(charset) if !charset.is_utf8() => KeyForm::Chars(charset),
                _ => KeyForm::Text,
            }
        }
        ColumnType::Date
        | ColumnType::DateTime { .. }
        | ColumnType::Timestamp { .. }
        | ColumnType::Time { .. } => KeyForm::Text,
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob(_) => KeyForm::Bytes,
        ColumnType::Enum { labels } => KeyForm::Enum(labels.clone()),
        ColumnType::Set { labels } => KeyForm::Set(labels.clone()),
        ColumnType::Json | ColumnType::Geometry { .. } | ColumnType::Vector { .. } => return None,
    })
}

impl KeyForm {
    /// The stored form of a value that was read; `None` if it is not one of this form.
    #[must_use]
    pub fn store(&self, value: &Value) -> Option<KeyValue> {
        Some(match (self, value) {
            (Self::Int, Value::Int(number)) => KeyValue::Int(*number),
            (Self::UInt, Value::Int(number)) => KeyValue::UInt(u64::try_from(*number).ok()?),
            (Self::UInt, Value::UInt(number)) => KeyValue::UInt(*number),
            (Self::Double, Value::Float(number)) => KeyValue::Double(f64::from(*number)),
            (Self::Double, Value::Double(number)) => KeyValue::Double(*number),
            (Self::Decimal { .. } | Self::Text, Value::Bytes(text)) => {
                KeyValue::Text(String::from_utf8(text.clone()).ok()?)
            }
            (Self::Text, Value::Date(..) | Value::Time(..)) => KeyValue::Text(temporal(value)),
            (Self::Bytes | Self::Chars(_) | Self::Bit { .. }, Value::Bytes(bytes)) => {
                KeyValue::Hex(hexadecimal(bytes))
            }
            (Self::Enum(labels), Value::Bytes(label)) => KeyValue::Int(enum_number(labels, label)?),
            (Self::Set(labels), Value::Bytes(members)) => KeyValue::UInt(set_number(labels, members)?),
            _ => return None,
        })
    }

    /// How a stored form is written into a comparison; `None` if it is not one of this form.
    #[must_use]
    pub fn operand(&self, stored: &KeyValue) -> Option<Operand> {
        if let (Self::Chars(charset), KeyValue::Hex(bytes)) = (self, stored) {
            // The bytes are written out: a parameter is text in the connection's character set. The literal takes on the
            // column's collation.
            unhex(bytes)?;
            return Some(Operand { sql: format!("_{} X'{bytes}'", charset.name), param: None });
        }
        Some(Operand { sql: self.placeholder(), param: Some(self.bind(stored)?) })
    }

    /// The value to bind for a stored form; `None` if it is not one of this form, or is written out.
    #[must_use]
    pub fn bind(&self, stored: &KeyValue) -> Option<Value> {
        Some(match (self, stored) {
            (Self::Int | Self::Enum(_), KeyValue::Int(number)) => Value::Int(*number),
            (Self::UInt | Self::Set(_), KeyValue::UInt(number)) => Value::UInt(*number),
            (Self::Double, KeyValue::Double(number)) => Value::Double(*number),
            // An earlier version stored the text of a `Chars`.
            (Self::Decimal { .. } | Self::Text | Self::Chars(_), KeyValue::Text(text)) => {
                Value::Bytes(text.clone().into_bytes())
            }
            (Self::Bytes, KeyValue::Hex(text)) => Value::Bytes(unhex(text)?),
            (Self::Bit { bytes }, KeyValue::Hex(text)) => {
                let value = unhex(text)?;
                let mut wide = [0; 8];
                wide.get_mut(8_usize.checked_sub(*bytes)?..)?.copy_from_slice(value.get(..*bytes)?);
                Value::UInt(u64::from_be_bytes(wide))
            }
            _ => return None,
        })
    }

    /// The placeholder of a bound value.
    #[must_use]
    pub fn placeholder(&self) -> String {
        match self {
            Self::Decimal { precision, scale } => format!("CAST(? AS DECIMAL({precision},{scale}))"),
            _ => "?".to_owned(),
        }
    }
}

/// The place of a label, from 1; the empty string that is no label is MySQL's error value, 0.
fn enum_number(labels: &[String], label: &[u8]) -> Option<i64> {
    match labels.iter().position(|known| known.as_bytes() == label) {
        Some(place) => i64::try_from(place + 1).ok(),
        None if label.is_empty() => Some(0),
        None => None,
    }
}

/// The bits of the members.
fn set_number(labels: &[String], members: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for member in members.split(|byte| *byte == b',').filter(|member| !member.is_empty()) {
        let place = labels.iter().position(|known| known.as_bytes() == member)?;
        number |= 1_u64.checked_shl(u32::try_from(place).ok()?)?;
    }
    Some(number)
}

/// A date or time with all its digits, as MySQL reads it.
fn temporal(value: &Value) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    match value {
        Value::Date(year, month, day, 0, 0, 0, 0) => {
            let _ = write!(text, "{year:04}-{month:02}-{day:02}");
        }
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let _ =
                write!(text, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}");
        }
        Value::Time(negative, days, hours, minutes, seconds, micros) => {
            let sign = if *negative { "-" } else { "" };
            let hours = u64::from(*days) * 24 + u64::from(*hours);
            let _ = write!(text, "{sign}{hours:02}:{minutes:02}:{seconds:02}.{micros:06}");
        }
        _ => {}
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_and_numbers_come_back(bytes: Vec<u8>, number: u64, signed: i64, double: f64) {
            prop_assert_eq!(unhex(&hexadecimal(&bytes)), Some(bytes));
            let json = |value: KeyValue| -> KeyValue {
                serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap()
            };
            for (form, value) in [
                (KeyForm::UInt, Value::UInt(number)),
                (KeyForm::Int, Value::Int(signed)),
                (KeyForm::Double, Value::Double(double)),
            ] {
                prop_assert_eq!(form.bind(&json(form.store(&value).unwrap())), Some(value));
            }
        }
    }

    #[test]
    fn labels_become_the_numbers_of_the_index() {
        let labels: Vec<String> = ["z", "b", "a"].map(Into::into).to_vec();
        let form = KeyForm::Enum(labels.clone());
        let text = |text: &str| Value::Bytes(text.into());
        assert_eq!(form.store(&text("b")), Some(KeyValue::Int(2)));
        assert_eq!(form.store(&text("")), Some(KeyValue::Int(0)));
        assert_eq!(form.store(&text("B")), None);
        let form = KeyForm::Set(labels);
        assert_eq!(form.store(&text("z,a")), Some(KeyValue::UInt(5)));
        assert_eq!(form.store(&text("")), Some(KeyValue::UInt(0)));
        assert_eq!(form.store(&text("x")), None);
    }

    #[test]
    fn bits_are_bound_as_numbers_and_dates_keep_every_digit() {
        let form = KeyForm::Bit { bytes: 2 };
        let stored = form.store(&Value::Bytes(vec![1, 2])).unwrap();
        assert_eq!(form.bind(&stored), Some(Value::UInt(0x0102)));
        let stored = KeyForm::Text.store(&Value::Date(2024, 1, 2, 3, 4, 5, 6));
        assert_eq!(stored, Some(KeyValue::Text("2024-01-02 03:04:05.000006".into())));
        let stored = KeyForm::Text.store(&Value::Time(true, 34, 22, 59, 59, 0));
        assert_eq!(stored, Some(KeyValue::Text("-838:59:59.000000".into())));
        assert_eq!(KeyForm::Int.bind(&KeyValue::Text("1".into())), None);
    }
}
