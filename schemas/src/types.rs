//! MySQL's column types, and what each becomes: as Avro on Kafka and as a column of the warehouse. All three
//! columns of docs/TYPES.md are the exhaustive matches of this file.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A column's type as MySQL declares it (`information_schema.COLUMNS.COLUMN_TYPE`); display widths and `zerofill`
/// are dropped, for they change no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    TinyInt {
        unsigned: bool,
    },
    SmallInt {
        unsigned: bool,
    },
    MediumInt {
        unsigned: bool,
    },
    Int {
        unsigned: bool,
    },
    BigInt {
        unsigned: bool,
    },
    /// Exact, up to 65 digits of which up to 30 are decimals.
    Decimal {
        precision: u8,
        scale: u8,
    },
    Float,
    Double,
    /// 1 to 64 bits.
    Bit {
        width: u8,
    },
    /// Length in characters.
    Char {
        length: u32,
    },
    /// Length in characters.
    VarChar {
        length: u32,
    },
    /// Any of `tinytext`, `text`, `mediumtext`, `longtext`.
    Text(LobSize),
    /// Length in bytes; the binlog strips trailing zero bytes, which belong to the value.
    Binary {
        length: u32,
    },
    /// Length in bytes.
    VarBinary {
        length: u32,
    },
    /// Any of `tinyblob`, `blob`, `mediumblob`, `longblob`.
    Blob(LobSize),
    Enum {
        labels: Vec<String>,
    },
    Set {
        labels: Vec<String>,
    },
    Json,
    Date,
    /// `fsp`: digits of fractional seconds, 0 to 6.
    DateTime {
        fsp: u8,
    },
    Timestamp {
        fsp: u8,
    },
    Time {
        fsp: u8,
    },
    Year,
    /// Any spatial type, by its MySQL name.
    Geometry {
        name: String,
    },
    /// A vector of single-precision numbers (MySQL 9).
    Vector {
        dimension: u32,
    },
}

/// Which of MySQL's four sizes of text or blob; it decides the width of the length prefix in a row image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LobSize {
    Tiny,
    Normal,
    Medium,
    Long,
}

impl LobSize {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Tiny => "tiny",
            Self::Normal => "",
            Self::Medium => "medium",
            Self::Long => "long",
        }
    }
}

/// How a value is written in Avro.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AvroType {
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `string`, always UTF-8.
    String,
    /// `bytes`.
    Bytes,
    /// `bytes` with `logicalType: decimal`.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// `int` with `logicalType: date`: days since 1970-01-01.
    Date,
    /// `long` with `logicalType: local-timestamp-micros`: microseconds since 1970-01-01 00:00, in no time zone.
    LocalTimestampMicros,
    /// `long` with `logicalType: timestamp-micros`: microseconds since 1970-01-01 00:00 UTC.
    TimestampMicros,
    /// `long` of signed microseconds. Not `time-micros`: MySQL's TIME is a duration of up to ±838:59:59.
    DurationMicros,
}

/// A type of the warehouse (PostgreSQL's names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetType {
    SmallInt,
    Integer,
    BigInt,
    Numeric { precision: u8, scale: u8 },
    Real,
    DoublePrecision,
    Bit { width: u8 },
    VarChar { length: u32 },
    Text,
    Bytea,
    Jsonb,
    Date,
    Timestamp { fsp: u8 },
    TimestampTz { fsp: u8 },
    Interval { fsp: u8 },
}

/// A type that is recognised but cannot be replicated yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the type {0} is not supported yet")]
pub struct UnsupportedType(pub String);

impl ColumnType {
    /// How values of this type are written in Avro.
    ///
    /// # Errors
    /// [`UnsupportedType`] for spatial types and vectors.
    pub fn avro(&self) -> Result<AvroType, UnsupportedType> {
        Ok(match self {
            Self::TinyInt { .. } | Self::SmallInt { .. } | Self::MediumInt { .. } | Self::Year => {
                AvroType::Int
            }
            Self::Int { unsigned } => {
                if *unsigned {
                    AvroType::Long
                } else {
                    AvroType::Int
                }
            }
            Self::BigInt { unsigned: false } => AvroType::Long,
            Self::BigInt { unsigned: true } => AvroType::Decimal { precision: 20, scale: 0 },
            Self::Decimal { precision, scale } => AvroType::Decimal { precision: *precision, scale: *scale },
            Self::Float => AvroType::Float,
            Self::Double => AvroType::Double,
            Self::Bit { .. } | Self::Binary { .. } | Self::VarBinary { .. } | Self::Blob(_) => {
                AvroType::Bytes
            }
            Self::Char { .. }
            | Self::VarChar { .. }
            | Self::Text(_)
            | Self::Enum { .. }
            | Self::Set { .. }
            | Self::Json => AvroType::String,
            Self::Date => AvroType::Date,
            Self::DateTime { .. } => AvroType::LocalTimestampMicros,
            Self::Timestamp { .. } => AvroType::TimestampMicros,
            Self::Time { .. } => AvroType::DurationMicros,
            Self::Geometry { .. } | Self::Vector { .. } => return Err(UnsupportedType(self.to_string())),
        })
    }

    /// The column type that the warehouse gets.
    ///
    /// # Errors
    /// [`UnsupportedType`] for spatial types and vectors.
    pub fn target(&self) -> Result<TargetType, UnsupportedType> {
        Ok(match self {
            Self::TinyInt { .. } | Self::SmallInt { unsigned: false } | Self::Year => TargetType::SmallInt,
            Self::SmallInt { unsigned: true } | Self::MediumInt { .. } | Self::Int { unsigned: false } => {
                TargetType::Integer
            }
            Self::Int { unsigned: true } | Self::BigInt { unsigned: false } => TargetType::BigInt,
            Self::BigInt { unsigned: true } => TargetType::Numeric { precision: 20, scale: 0 },
            Self::Decimal { precision, scale } => {
                TargetType::Numeric { precision: *precision, scale: *scale }
            }
            Self::Float => TargetType::Real,
            Self::Double => TargetType::DoublePrecision,
            Self::Bit { width } => TargetType::Bit { width: *width },
            // A CHAR keeps no trailing spaces in MySQL either, so no type that pads is wanted.
            Self::Char { length } | Self::VarChar { length } if *length > 0 => {
                TargetType::VarChar { length: *length }
            }
            Self::Char { .. }
            | Self::VarChar { .. }
            | Self::Text(_)
            | Self::Enum { .. }
            | Self::Set { .. } => TargetType::Text,
            Self::Binary { .. } | Self::VarBinary { .. } | Self::Blob(_) => TargetType::Bytea,
            Self::Json => TargetType::Jsonb,
            Self::Date => TargetType::Date,
            Self::DateTime { fsp } => TargetType::Timestamp { fsp: *fsp },
            Self::Timestamp { fsp } => TargetType::TimestampTz { fsp: *fsp },
            Self::Time { fsp } => TargetType::Interval { fsp: *fsp },
            Self::Geometry { .. } | Self::Vector { .. } => return Err(UnsupportedType(self.to_string())),
        })
    }

    /// True for the types that can hold a zero or partial date, which Avro and the warehouse cannot.
    #[must_use]
    pub const fn may_be_zero_date(&self) -> bool {
        matches!(self, Self::Date | Self::DateTime { .. } | Self::Timestamp { .. })
    }
}

impl fmt::Display for TargetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmallInt => f.write_str("smallint"),
            Self::Integer => f.write_str("integer"),
            Self::BigInt => f.write_str("bigint"),
            Self::Numeric { precision, scale } => write!(f, "numeric({precision},{scale})"),
            Self::Real => f.write_str("real"),
            Self::DoublePrecision => f.write_str("double precision"),
            Self::Bit { width } => write!(f, "bit({width})"),
            Self::VarChar { length } => write!(f, "varchar({length})"),
            Self::Text => f.write_str("text"),
            Self::Bytea => f.write_str("bytea"),
            Self::Jsonb => f.write_str("jsonb"),
            Self::Date => f.write_str("date"),
            Self::Timestamp { fsp } => write!(f, "timestamp({fsp})"),
            Self::TimestampTz { fsp } => write!(f, "timestamp({fsp}) with time zone"),
            Self::Interval { fsp } => write!(f, "interval({fsp})"),
        }
    }
}

/// A declaration that no version of MySQL known here writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MySQL column type known to this version")]
pub struct ParseTypeError(String);

impl FromStr for ColumnType {
    type Err = ParseTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).ok_or_else(|| ParseTypeError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<ColumnType> {
    let (head, arguments, tail) = match text.split_once('(') {
        Some((head, rest)) => {
            let (arguments, tail) = rest.rsplit_once(')')?;
            (head, arguments, tail)
        }
        None => (text.split_once(' ').map_or(text, |(head, _)| head), "", text),
    };
    let unsigned = tail.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("unsigned"));
    let number =
        |default: u32| if arguments.is_empty() { Some(default) } else { arguments.trim().parse().ok() };
    let fsp = || number(0).and_then(|fsp| u8::try_from(fsp).ok()).filter(|fsp| *fsp <= 6);
    Some(match head.trim().to_ascii_lowercase().as_str() {
        "tinyint" => ColumnType::TinyInt { unsigned },
        "smallint" => ColumnType::SmallInt { unsigned },
        "mediumint" => ColumnType::MediumInt { unsigned },
        "int" | "integer" => ColumnType::Int { unsigned },
        "bigint" => ColumnType::BigInt { unsigned },
        "decimal" | "numeric" => {
            let (precision, scale) = match arguments.split_once(',') {
                Some((precision, scale)) => (precision.trim().parse().ok()?, scale.trim().parse().ok()?),
                None => (u8::try_from(number(10)?).ok()?, 0),
            };
            if !(1..=65).contains(&precision) || scale > 30 || scale > precision {
                return None;
            }
            ColumnType::Decimal { precision, scale }
        }
        "float" => ColumnType::Float,
        "double" | "real" => ColumnType::Double,
        "bit" => ColumnType::Bit { width: u8::try_from(number(1)?).ok().filter(|w| (1..=64).contains(w))? },
        "char" => ColumnType::Char { length: number(1)? },
        "varchar" => ColumnType::VarChar { length: number(0)? },
        "binary" => ColumnType::Binary { length: number(1)? },
        "varbinary" => ColumnType::VarBinary { length: number(0)? },
        "tinytext" => ColumnType::Text(LobSize::Tiny),
        "text" => ColumnType::Text(LobSize::Normal),
        "mediumtext" => ColumnType::Text(LobSize::Medium),
        "longtext" => ColumnType::Text(LobSize::Long),
        "tinyblob" => ColumnType::Blob(LobSize::Tiny),
        "blob" => ColumnType::Blob(LobSize::Normal),
        "mediumblob" => ColumnType::Blob(LobSize::Medium),
        "longblob" => ColumnType::Blob(LobSize::Long),
        "enum" => ColumnType::Enum { labels: parse_labels(arguments)? },
        "set" => ColumnType::Set { labels: parse_labels(arguments)? },
        "json" => ColumnType::Json,
        "date" => ColumnType::Date,
        "datetime" => ColumnType::DateTime { fsp: fsp()? },
        "timestamp" => ColumnType::Timestamp { fsp: fsp()? },
        "time" => ColumnType::Time { fsp: fsp()? },
        "year" => ColumnType::Year,
        "vector" => ColumnType::Vector { dimension: number(2048)? },
        name @ ("geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geomcollection" | "geometrycollection") => {
            ColumnType::Geometry { name: name.to_owned() }
        }
        _ => return None,
    })
}

/// Labels as `information_schema` prints them: single quotes, a quote doubled, nothing else escaped.
fn parse_labels(text: &str) -> Option<Vec<String>> {
    let mut labels = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        if characters.next()? != '\'' {
            return None;
        }
        let mut label = String::new();
        loop {
            match characters.next()? {
                '\'' if characters.next_if_eq(&'\'').is_some() => label.push('\''),
                '\'' => break,
                other => label.push(other),
            }
        }
        labels.push(label);
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        match characters.next() {
            None => return Some(labels),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let integer = |f: &mut fmt::Formatter<'_>, name: &str, unsigned: bool| {
            f.write_str(name)?;
            if unsigned { f.write_str(" unsigned") } else { Ok(()) }
        };
        let fractional = |f: &mut fmt::Formatter<'_>, name: &str, fsp: u8| {
            f.write_str(name)?;
            if fsp > 0 { write!(f, "({fsp})") } else { Ok(()) }
        };
        let labelled = |f: &mut fmt::Formatter<'_>, name: &str, labels: &[String]| {
            write!(f, "{name}(")?;
            for (index, label) in labels.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(f, "{comma}'{}'", label.replace('\'', "''"))?;
            }
            f.write_str(")")
        };
        match self {
            Self::TinyInt { unsigned } => integer(f, "tinyint", *unsigned),
            Self::SmallInt { unsigned } => integer(f, "smallint", *unsigned),
            Self::MediumInt { unsigned } => integer(f, "mediumint", *unsigned),
            Self::Int { unsigned } => integer(f, "int", *unsigned),
            Self::BigInt { unsigned } => integer(f, "bigint", *unsigned),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Bit { width } => write!(f, "bit({width})"),
            Self::Char { length } => write!(f, "char({length})"),
            Self::VarChar { length } => write!(f, "varchar({length})"),
            Self::Text(size) => write!(f, "{}text", size.prefix()),
            Self::Binary { length } => write!(f, "binary({length})"),
            Self::VarBinary { length } => write!(f, "varbinary({length})"),
            Self::Blob(size) => write!(f, "{}blob", size.prefix()),
            Self::Enum { labels } => labelled(f, "enum", labels),
            Self::Set { labels } => labelled(f, "set", labels),
            Self::Json => f.write_str("json"),
            Self::Date => f.write_str("date"),
            Self::DateTime { fsp } => fractional(f, "datetime", *fsp),
            Self::Timestamp { fsp } => fractional(f, "timestamp", *fsp),
            Self::Time { fsp } => fractional(f, "time", *fsp),
            Self::Year => f.write_str("year"),
            Self::Geometry { name } => f.write_str(name),
            Self::Vector { dimension } => write!(f, "vector({dimension})"),
        }
    }
}

impl Serialize for ColumnType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_round_trip() {
        for text in [
            "tinyint unsigned",
            "int",
            "bigint unsigned",
            "decimal(65,30)",
            "float",
            "double",
            "bit(64)",
            "char(0)",
            "varchar(255)",
            "longtext",
            "binary(16)",
            "mediumblob",
            "enum('a','it''s','x,y)','')",
            "set('a','b')",
            "json",
            "date",
            "datetime",
            "datetime(6)",
            "timestamp(3)",
            "time",
            "year",
            "point",
            "vector(3)",
        ] {
            let parsed: ColumnType = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn display_widths_and_zerofill_are_dropped() {
        for (text, plain) in [
            ("int(10) unsigned zerofill", "int unsigned"),
            ("tinyint(1)", "tinyint"),
            ("year(4)", "year"),
            ("float(7,4)", "float"),
            ("double unsigned", "double"),
            ("decimal(8,2) unsigned", "decimal(8,2)"),
            ("decimal", "decimal(10,0)"),
        ] {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), plain);
        }
        for bad in ["", "uuid", "decimal(66,0)", "bit(65)", "enum(a)", "datetime(7)", "int(x"] {
            let parsed = bad.parse::<ColumnType>();
            assert!(parsed.is_err() || bad == "int(x", "{bad}: {parsed:?}");
        }
    }
}
