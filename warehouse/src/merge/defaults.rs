//! DEFAULT clauses, from MySQL's words to PostgreSQL's. Literals carry no type of their own where PostgreSQL has a
//! choice, so that they fit the column's type, be it the one Tributary chose or a wider one.

use super::layout::ColumnRule;
use super::names::literal;
use super::zero_date::nearest_text;
use tributary_config::ZeroDatePolicy;
use tributary_schemas::printed::hexadecimal;
use tributary_schemas::table::{Column, ColumnDefault};
use tributary_schemas::types::ColumnType;

/// The constant default of a column; `None` for none, for expressions, and for a text that is no value of the type.
pub(super) fn constant(column: &Column, rule: &ColumnRule) -> Option<String> {
    match &column.default {
        Some(ColumnDefault::Constant(text)) => translate(&column.column_type, text, rule),
        Some(ColumnDefault::Expression(_)) | None => None,
    }
}

/// What MySQL fills existing rows with when a NOT NULL column without a default is added to a table ("Data Type
/// Default Values" in its manual; checked on 9.x): zero, the empty text, the first label, JSON's null.
pub(super) fn implicit(column: &Column, rule: &ColumnRule) -> Option<String> {
    let text = match &column.column_type {
        ColumnType::Enum { labels } => labels.first().map_or("", String::as_str),
        ColumnType::Json => return Some("'null'".to_owned()),
        ColumnType::Date => "0000-00-00",
        ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => "0000-00-00 00:00:00",
        ColumnType::Time { .. } => "00:00:00",
        ColumnType::Bit { .. } => "b'0'",
        ColumnType::Char { .. }
        | ColumnType::VarChar { .. }
        | ColumnType::Text(_)
        | ColumnType::Set { .. }
        | ColumnType::Binary { .. }
        | ColumnType::VarBinary { .. }
        | ColumnType::Blob(_) => "",
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Float
        | ColumnType::Double
        | ColumnType::Year => "0",
        ColumnType::Geometry { .. } | ColumnType::Vector { .. } => return None,
    };
    translate(&column.column_type, text, rule)
}

/// What a column holds, as SQL, in rows that were there when the source added it: the constant default it was added with,
/// NULL, or what MySQL takes for NOT NULL without a default. `None` if that is not the same in every row, or cannot be
/// said.
pub(crate) fn of_older_rows(column: &Column, rule: &ColumnRule) -> Option<String> {
    const NULL: &str = "NULL";
    if column.generated || column.auto_increment {
        return None;
    }
    let nulled = rule.zero_dates == ZeroDatePolicy::Null && column.column_type.may_be_zero_date();
    let null = (column.nullable || nulled).then(|| NULL.to_owned());
    match &column.default {
        Some(ColumnDefault::Constant(_)) => constant(column, rule).or(null),
        Some(ColumnDefault::Expression(_)) => None,
        None if column.nullable => null,
        None => implicit(column, rule).or(null),
    }
}

fn translate(column_type: &ColumnType, text: &str, rule: &ColumnRule) -> Option<String> {
    match column_type {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Year => text.trim().parse::<i128>().ok().map(|value| value.to_string()),
        ColumnType::Decimal { .. } | ColumnType::Float | ColumnType::Double => {
            let number = text.trim();
            number.parse::<f64>().is_ok_and(f64::is_finite).then(|| number.to_owned())
        }
        ColumnType::Bit { width } => {
            let digits = text.strip_prefix("b'").and_then(|rest| rest.strip_suffix('\''));
            let value = match digits {
                Some(digits) => u64::from_str_radix(digits, 2).ok()?,
                None => text.parse().ok()?,
            };
            let bits = format!("{value:0width$b}", width = usize::from(*width));
            (bits.len() == usize::from(*width)).then(|| format!("B'{bits}'"))
        }
        ColumnType::Char { .. }
        | ColumnType::VarChar { .. }
        | ColumnType::Text(_)
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Json => (!text.contains('\0')).then(|| literal(text)),
        ColumnType::Binary { length } => bytes(text, usize::try_from(*length).unwrap_or(0)),
        ColumnType::VarBinary { .. } | ColumnType::Blob(_) => bytes(text, 0),
        ColumnType::Date => date(text, true, rule).map(|text| literal(&text)),
        ColumnType::DateTime { .. } => date(text, false, rule).map(|text| literal(&text)),
        ColumnType::Timestamp { .. } => date(text, false, rule).map(|text| literal(&format!("{text}+00"))),
        ColumnType::Time { .. } => {
            let shape = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | '-');
            (!text.is_empty() && text.chars().all(shape)).then(|| literal(text))
        }
        ColumnType::Geometry { .. } | ColumnType::Vector { .. } => None,
    }
}

/// A date that exists, or what the policy makes of one that does not.
fn date(text: &str, date_only: bool, rule: &ColumnRule) -> Option<String> {
    let (nearest, exact) = nearest_text(text, date_only)?;
    (exact || rule.zero_dates == ZeroDatePolicy::Clamp).then_some(nearest)
}

/// `0x…`, or text that stands for its bytes; BINARY is filled up with zero bytes.
fn bytes(text: &str, length: usize) -> Option<String> {
    let mut digits = match text.strip_prefix("0x") {
        Some(digits) if digits.len() % 2 == 0 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            digits.to_ascii_lowercase()
        }
        _ => hexadecimal(text.as_bytes()),
    };
    while digits.len() < 2 * length {
        digits.push_str("00");
    }
    Some(format!("E'\\\\x{digits}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(declaration: &str, default: Option<ColumnDefault>) -> Column {
        Column { default, ..Column::new(1, "c", declaration.parse().unwrap()) }
    }

    #[test]
    fn constants_are_translated_by_type() {
        let clamp = ColumnRule { zero_dates: ZeroDatePolicy::Clamp, ..ColumnRule::default() };
        for (declaration, text, expected) in [
            ("int", "-5", Some("-5")),
            ("bigint unsigned", "18446744073709551615", Some("18446744073709551615")),
            ("int", "1); DROP TABLE x", None),
            ("decimal(5,2)", "1.00", Some("1.00")),
            ("double", "1e10", Some("1e10")),
            ("double", "inf", None),
            ("bit(5)", "b'101'", Some("B'00101'")),
            ("bit(2)", "b'101'", None),
            ("varchar(9)", "it's", Some("'it''s'")),
            ("varchar(9)", "a\\b", Some("E'a\\\\b'")),
            ("enum('x','y')", "y", Some("'y'")),
            ("binary(4)", "0x6162", Some("E'\\\\x61620000'")),
            ("varbinary(4)", "ab", Some("E'\\\\x6162'")),
            ("date", "2020-01-02", Some("'2020-01-02'")),
            ("datetime(3)", "2020-01-01 00:00:00.500", Some("'2020-01-01 00:00:00.500000'")),
            ("timestamp", "2020-01-01 00:00:00", Some("'2020-01-01 00:00:00+00'")),
            ("datetime", "0000-00-00 00:00:00", None),
            ("time", "-12:00:01", Some("'-12:00:01'")),
            ("year", "2020", Some("2020")),
        ] {
            let column = column(declaration, Some(ColumnDefault::Constant(text.into())));
            assert_eq!(
                constant(&column, &ColumnRule::default()).as_deref(),
                expected,
                "{declaration} {text}"
            );
        }
        let zero = column("datetime", Some(ColumnDefault::Constant("0000-00-00 00:00:00".into())));
        assert_eq!(constant(&zero, &clamp).as_deref(), Some("'0001-01-01 00:00:00'"));
        let expression = column("datetime", Some(ColumnDefault::Expression("now()".into())));
        assert_eq!(constant(&expression, &clamp), None);
    }

    #[test]
    fn rows_of_before_hold_what_the_column_was_added_with() {
        let of = |declaration: &str, nullable: bool, default: Option<ColumnDefault>| {
            let column = Column { nullable, ..column(declaration, default) };
            of_older_rows(&column, &ColumnRule::default())
        };
        let constant = |text: &str| Some(ColumnDefault::Constant(text.into()));
        assert_eq!(of("int", true, constant("5")).as_deref(), Some("5"));
        assert_eq!(of("int", true, None).as_deref(), Some("NULL"));
        assert_eq!(of("int", false, None).as_deref(), Some("0"));
        assert_eq!(of("datetime", false, None).as_deref(), Some("NULL"), "a zero date, by the policy");
        assert_eq!(of("datetime", true, constant("0000-00-00 00:00:00")).as_deref(), Some("NULL"));
        assert_eq!(of("datetime", true, Some(ColumnDefault::Expression("now()".into()))), None);
    }

    #[test]
    fn implicit_defaults_are_those_of_mysql() {
        for (declaration, expected) in [
            ("int", Some("0")),
            ("decimal(5,2)", Some("0")),
            ("varchar(3)", Some("''")),
            ("enum('x','y')", Some("'x'")),
            ("set('x','y')", Some("''")),
            ("json", Some("'null'")),
            ("bit(3)", Some("B'000'")),
            ("binary(2)", Some("E'\\\\x0000'")),
            ("blob", Some("E'\\\\x'")),
            ("time", Some("'00:00:00'")),
            ("year", Some("0")),
            ("date", None),
            ("timestamp", None),
        ] {
            let column = column(declaration, None);
            assert_eq!(implicit(&column, &ColumnRule::default()).as_deref(), expected, "{declaration}");
        }
    }
}
