//! Which destination types hold a source type without loss, and the writer for each such pair. Everything that is
//! not listed is refused: a wider type is welcome, a narrower or a padding one is not.

use super::target::TargetKind;
use tributary_schemas::types::{AvroType, ColumnType, LobSize};

/// Reads one Avro value and writes one COPY field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// `int` or `long` in each of the widths.
    Int2,
    Int4,
    Int8,
    /// `int` or `long` into a numeric with this many digits before the point.
    IntNumeric(Option<u16>),
    /// `int` into a double, which holds 53 bits.
    IntDouble,
    /// 0 or 1.
    IntBoolean,
    /// Decimal of this scale, into a numeric with this many digits before the point.
    DecimalNumeric(u8, Option<u16>),
    /// Decimal of scale 0 in each of the widths.
    DecimalInt2,
    DecimalInt4,
    DecimalInt8,
    Real,
    Double,
    RealDouble,
    /// `string`, at most this many characters.
    Text(Option<u32>),
    /// `string` that is a JSON document, into text or json.
    Json,
    Jsonb,
    Bytea,
    /// `bytes` of this many bits.
    Bits(u8),
    BitBoolean,
    Date,
    DateMidnight,
    Timestamp,
    Interval,
    Time,
}

/// What it takes to step over an Avro value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// A variable-length integer.
    Long,
    /// A length and as many bytes.
    Bytes,
    Four,
    Eight,
}

impl Skip {
    pub(super) const fn of(avro: AvroType) -> Self {
        match avro {
            AvroType::Int
            | AvroType::Long
            | AvroType::Date
            | AvroType::LocalTimestampMicros
            | AvroType::TimestampMicros
            | AvroType::DurationMicros => Self::Long,
            AvroType::String | AvroType::Bytes | AvroType::Decimal { .. } => Self::Bytes,
            AvroType::Float => Self::Four,
            AvroType::Double => Self::Eight,
        }
    }
}

/// The writer from `source` into `target`; `None` if a value could be lost or changed. Into `boolean` and `time`,
/// which a user chooses by creating the table so, values outside are refused when they come.
pub(super) fn writer(source: &ColumnType, target: &TargetKind) -> Option<Writer> {
    match source {
        ColumnType::TinyInt { .. } if *target == TargetKind::Boolean => Some(Writer::IntBoolean),
        ColumnType::TinyInt { unsigned } => integer(if *unsigned { (8, 3) } else { (7, 3) }, target),
        ColumnType::Year => integer((15, 4), target),
        ColumnType::SmallInt { unsigned } => integer(if *unsigned { (16, 5) } else { (15, 5) }, target),
        ColumnType::MediumInt { unsigned } => integer(if *unsigned { (24, 8) } else { (23, 7) }, target),
        ColumnType::Int { unsigned } => integer(if *unsigned { (32, 10) } else { (31, 10) }, target),
        ColumnType::BigInt { unsigned: false } => integer((63, 19), target),
        ColumnType::BigInt { unsigned: true } => decimal(20, 0, target),
        ColumnType::Decimal { precision, scale } => decimal(*precision, *scale, target),
        ColumnType::Float => match target {
            TargetKind::Real => Some(Writer::Real),
            TargetKind::Double => Some(Writer::RealDouble),
            _ => None,
        },
        ColumnType::Double => (*target == TargetKind::Double).then_some(Writer::Double),
        ColumnType::Bit { width } => bits(*width, target),
        ColumnType::Char { length } | ColumnType::VarChar { length } => text(Some(*length), target),
        ColumnType::Text(size) => text(
            match size {
                LobSize::Tiny => Some(255),
                LobSize::Normal => Some(65_535),
                LobSize::Medium | LobSize::Long => None,
            },
            target,
        ),
        ColumnType::Enum { labels } => {
            text(labels.iter().map(|label| characters(label)).max().or(Some(0)), target)
        }
        ColumnType::Set { labels } => {
            text(Some(labels.iter().map(|label| characters(label).saturating_add(1)).sum()), target)
        }
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob(_) => {
            (*target == TargetKind::Bytea).then_some(Writer::Bytea)
        }
        ColumnType::Json => match target {
            TargetKind::Jsonb => Some(Writer::Jsonb),
            TargetKind::Json | TargetKind::Text(None) => Some(Writer::Json),
            _ => None,
        },
        ColumnType::Date => match target {
            TargetKind::Date => Some(Writer::Date),
            TargetKind::Timestamp(_) => Some(Writer::DateMidnight),
            _ => None,
        },
        ColumnType::DateTime { fsp } => match target {
            TargetKind::Timestamp(digits) if digits >= fsp => Some(Writer::Timestamp),
            _ => None,
        },
        ColumnType::Timestamp { fsp } => match target {
            TargetKind::TimestampTz(digits) if digits >= fsp => Some(Writer::Timestamp),
            _ => None,
        },
        ColumnType::Time { fsp } => match target {
            TargetKind::Interval(digits) if digits >= fsp => Some(Writer::Interval),
            TargetKind::Time(digits) if digits >= fsp => Some(Writer::Time),
            _ => None,
        },
        ColumnType::Geometry { .. } | ColumnType::Vector { .. } => None,
    }
}

fn characters(label: &str) -> u32 {
    u32::try_from(label.chars().count()).unwrap_or(u32::MAX)
}

/// An integer of so many value bits and so many decimal digits.
fn integer((bits, digits): (u8, u16), target: &TargetKind) -> Option<Writer> {
    match target {
        TargetKind::SmallInt if bits <= 15 => Some(Writer::Int2),
        TargetKind::Integer if bits <= 31 => Some(Writer::Int4),
        TargetKind::BigInt if bits <= 63 => Some(Writer::Int8),
        TargetKind::Numeric(size) => room(*size, digits, 0).map(Writer::IntNumeric),
        TargetKind::Double if bits <= 32 => Some(Writer::IntDouble),
        _ => None,
    }
}

fn decimal(precision: u8, scale: u8, target: &TargetKind) -> Option<Writer> {
    let whole = u16::from(precision.saturating_sub(scale));
    match target {
        TargetKind::Numeric(size) => {
            room(*size, whole, u16::from(scale)).map(|room| Writer::DecimalNumeric(scale, room))
        }
        TargetKind::SmallInt if scale == 0 && whole <= 4 => Some(Writer::DecimalInt2),
        TargetKind::Integer if scale == 0 && whole <= 9 => Some(Writer::DecimalInt4),
        TargetKind::BigInt if scale == 0 && whole <= 18 => Some(Writer::DecimalInt8),
        _ => None,
    }
}

/// Digits before the point that a numeric of this precision and scale has room for, if it has enough room on both
/// sides of the point.
fn room(size: Option<(u16, u16)>, whole: u16, scale: u16) -> Option<Option<u16>> {
    match size {
        None => Some(None),
        Some((precision, target_scale)) => {
            let target_whole = precision.checked_sub(target_scale)?;
            (target_whole >= whole && target_scale >= scale).then_some(Some(target_whole))
        }
    }
}

fn bits(width: u8, target: &TargetKind) -> Option<Writer> {
    match target {
        TargetKind::Bit(target) if *target == u32::from(width) => Some(Writer::Bits(width)),
        TargetKind::BitVarying(None) => Some(Writer::Bits(width)),
        TargetKind::BitVarying(Some(most)) if *most >= u32::from(width) => Some(Writer::Bits(width)),
        TargetKind::Boolean if width == 1 => Some(Writer::BitBoolean),
        TargetKind::Bytea => Some(Writer::Bytea),
        _ => None,
    }
}

/// Text of at most so many characters.
fn text(most: Option<u32>, target: &TargetKind) -> Option<Writer> {
    match target {
        TargetKind::Text(None) => Some(Writer::Text(None)),
        TargetKind::Text(Some(limit)) if most.is_some_and(|most| most <= *limit) => {
            Some(Writer::Text(Some(*limit)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_that_tributary_would_create_is_always_accepted() {
        for declaration in [
            "tinyint",
            "tinyint unsigned",
            "smallint",
            "smallint unsigned",
            "mediumint",
            "mediumint unsigned",
            "int",
            "int unsigned",
            "bigint",
            "bigint unsigned",
            "decimal(65,30)",
            "decimal(1,0)",
            "decimal(3,3)",
            "float",
            "double",
            "bit(1)",
            "bit(64)",
            "char(0)",
            "char(3)",
            "varchar(0)",
            "varchar(16000)",
            "tinytext",
            "longtext",
            "binary(4)",
            "varbinary(9)",
            "longblob",
            "enum('a','')",
            "set('a','b')",
            "json",
            "date",
            "datetime",
            "datetime(6)",
            "timestamp(3)",
            "time(2)",
            "year",
        ] {
            let source: ColumnType = declaration.parse().unwrap();
            let target = source.target().unwrap().to_string();
            assert!(writer(&source, &TargetKind::parse(&target)).is_some(), "{declaration} → {target}");
        }
    }

    #[test]
    fn wider_types_are_accepted_and_narrower_ones_refused() {
        for (declaration, accepted, refused) in [
            ("tinyint", &["integer", "numeric(3,0)", "boolean"][..], &["numeric(2,0)", "real", "text"][..]),
            ("int unsigned", &["bigint", "double precision", "numeric(12,2)"], &["integer", "numeric(11,2)"]),
            ("bigint", &["bigint", "numeric", "numeric(19,0)"], &["integer", "double precision", "boolean"]),
            ("bigint unsigned", &["numeric", "numeric(20,0)"], &["bigint", "numeric(19,0)"]),
            ("decimal(9,0)", &["integer", "bigint"], &["smallint", "double precision"]),
            ("decimal(8,2)", &["numeric(9,3)"], &["numeric(8,3)", "numeric(8,1)", "integer"]),
            ("float", &["double precision"], &["numeric"]),
            ("double", &["double precision"], &["real"]),
            ("bit(1)", &["boolean", "bit varying", "bytea"], &["bit(2)", "integer"]),
            (
                "varchar(10)",
                &["text", "character varying(10)"],
                &["character varying(9)", "character(10)", "citext"],
            ),
            ("text", &["text", "character varying(65535)"], &["character varying(255)", "jsonb"]),
            ("set('a','bc')", &["character varying(5)"], &["character varying(3)"]),
            ("json", &["json", "text"], &["character varying(10)", "bytea"]),
            ("date", &["timestamp without time zone"], &["timestamp with time zone", "text"]),
            (
                "datetime(3)",
                &["timestamp(3) without time zone"],
                &["timestamp(2) without time zone", "timestamp with time zone", "date"],
            ),
            ("timestamp", &["timestamp with time zone"], &["timestamp without time zone"]),
            ("time(6)", &["interval", "time without time zone"], &["interval(3)", "text"]),
            ("binary(2)", &["bytea"], &["text"]),
        ] {
            let source: ColumnType = declaration.parse().unwrap();
            for target in accepted {
                assert!(writer(&source, &TargetKind::parse(target)).is_some(), "{declaration} → {target}");
            }
            for target in refused {
                assert_eq!(writer(&source, &TargetKind::parse(target)), None, "{declaration} → {target}");
            }
        }
    }
}
