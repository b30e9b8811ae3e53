//! Which change of a column's type leaves every value what it was: the one table that capture (is an ALTER, or must the
//! rows be read again?) and apply (can ALTER COLUMN TYPE carry it out?) go by. Two declarations enter, yes or no leaves.
//!
//! Invariant: an allow-list. What is not listed changes values, for MySQL then writes other rows without row events.

use crate::types::{ColumnType, LobSize};

/// A column as MySQL declares it, with all that bears on its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declaration<'a> {
    /// `COLUMN_TYPE` of `information_schema`.
    pub declared_type: &'a str,
    /// Character set; `None` for types that have none.
    pub charset: Option<&'a str>,
    /// May be NULL.
    pub nullable: bool,
}

/// The settings of the session that ran the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A value out of range is an error, not an adjustment.
    pub strict: bool,
    /// A CHAR is read with the spaces that fill it up (PAD_CHAR_TO_FULL_LENGTH).
    pub pads_char: bool,
}

/// How much of one type is in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Every value, unchanged.
    Every,
    /// What is in range is unchanged; the rest is an error in strict mode.
    InRange,
    /// Some may change.
    Unsure,
}

/// How much of `old` is in `new`, by their ranges alone.
#[must_use]
pub fn kept(old: &ColumnType, new: &ColumnType) -> Kept {
    use ColumnType as T;
    if let (Some(old), Some(new)) = (integer_range(old), integer_range(new)) {
        return if new.0 <= old.0 && old.1 <= new.1 { Kept::Every } else { Kept::InRange };
    }
    let every = match (old, new) {
        (old, new) if old == new => true,
        (old, T::Decimal { precision, scale }) if integer_range(old).is_some() => {
            let digits = integer_range(old).map_or(usize::MAX, |(least, most)| {
                least.unsigned_abs().max(most.unsigned_abs()).to_string().len()
            });
            usize::from(precision.saturating_sub(*scale)) >= digits
        }
        (T::Decimal { precision: p, scale: s }, T::Decimal { precision, scale }) => {
            scale >= s && precision.saturating_sub(*scale) >= p.saturating_sub(*s)
        }
        (T::Float, T::Double) | (T::Date, T::DateTime { .. }) => true,
        // Spaces at the end are cut off without an error even in strict mode, so that only what is longer is sure.
        (T::Char { length: old } | T::VarChar { length: old }, T::VarChar { length: new })
        | (T::Char { length: old }, T::Char { length: new })
        | (T::VarBinary { length: old }, T::VarBinary { length: new })
        | (T::Binary { length: old }, T::VarBinary { length: new }) => new >= old,
        // Four bytes a character at most.
        (T::Char { length } | T::VarChar { length }, T::Text(size)) => {
            u64::from(*length) * 4 <= capacity_bytes(*size)
        }
        (T::Binary { length } | T::VarBinary { length }, T::Blob(size)) => {
            u64::from(*length) <= capacity_bytes(*size)
        }
        (T::Text(old), T::Text(new)) | (T::Blob(old), T::Blob(new)) => {
            capacity_bytes(*new) >= capacity_bytes(*old)
        }
        (T::Enum { labels: old }, T::Enum { labels: new })
        | (T::Set { labels: old }, T::Set { labels: new }) => new.starts_with(old),
        (T::Enum { labels }, T::VarChar { length }) => labels
            .iter()
            .all(|label| u32::try_from(label.chars().count()).is_ok_and(|count| count <= *length)),
        (T::DateTime { fsp: old }, T::DateTime { fsp: new })
        | (T::Timestamp { fsp: old }, T::Timestamp { fsp: new })
        | (T::Time { fsp: old }, T::Time { fsp: new }) => new >= old,
        _ => false,
    };
    if every { Kept::Every } else { Kept::Unsure }
}

/// True if every value is the same after ALTER TABLE changed a column from `old` to `new`.
#[must_use]
pub fn keeps_values(old: &Declaration<'_>, new: &Declaration<'_>, rules: Rules) -> bool {
    let (Ok(old_type), Ok(new_type)) = (old.declared_type.parse(), new.declared_type.parse()) else {
        return old == new;
    };
    let (old_type, new_type): (ColumnType, ColumnType) = (old_type, new_type);
    let range = match kept(&old_type, &new_type) {
        Kept::Every => true,
        Kept::InRange => rules.strict,
        Kept::Unsure => false,
    };
    // A NULL in a TIMESTAMP becomes the current time, in strict mode too.
    let nulls =
        new.nullable || !old.nullable || (rules.strict && !matches!(old_type, ColumnType::Timestamp { .. }));
    let padding = !rules.pads_char
        || !matches!(old_type, ColumnType::Char { .. })
        || matches!(new_type, ColumnType::Char { .. });
    range
        && nulls
        && padding
        && keeps_numbers(old.declared_type, new.declared_type, &new_type, rules)
        && keeps_characters((old, &old_type), (new, &new_type), rules)
}

/// What [`ColumnType`] leaves out of a number: a sign that is cut off, digits that are rounded to.
fn keeps_numbers(old: &str, new: &str, new_type: &ColumnType, rules: Rules) -> bool {
    let inexact = matches!(new_type, ColumnType::Float | ColumnType::Double);
    if !inexact && !matches!(new_type, ColumnType::Decimal { .. }) {
        return true;
    }
    let signs = rules.strict || is_unsigned(old) || !is_unsigned(new);
    let digits =
        !inexact || digits(new).is_none() || (digits(new) == digits(old) && type_name(old) == type_name(new));
    signs && digits
}

/// Text that is converted has all its characters, and room for them.
fn keeps_characters(
    (old, old_type): (&Declaration<'_>, &ColumnType),
    (new, new_type): (&Declaration<'_>, &ColumnType),
    rules: Rules,
) -> bool {
    let (Some(old_charset), Some(new_charset)) = (old.charset, new.charset) else { return true };
    if is_same_charset(old_charset, new_charset) {
        return true;
    }
    let room = match (old_type, new_type) {
        (ColumnType::Text(old), ColumnType::Text(new)) => {
            rules.strict || capacity_bytes(*old).saturating_mul(4) <= capacity_bytes(*new)
        }
        _ => true,
    };
    room && converts_losslessly(old_charset, new_charset, rules.strict)
}

/// True if every text of `old` is one of `new`, too. Most charsets have bytes that stand for no character: MySQL converts
/// those to question marks, or in strict mode refuses them.
fn converts_losslessly(old: &str, new: &str, strict: bool) -> bool {
    let whole =
        matches!(old, "ascii" | "latin1" | "utf8" | "utf8mb3" | "utf8mb4" | "utf16" | "utf16le" | "utf32");
    match new {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" => whole || (strict && old != "binary"),
        "utf8" | "utf8mb3" | "ucs2" => {
            let beyond = matches!(old, "binary" | "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030");
            !beyond && (whole || strict)
        }
        _ => old == "ascii",
    }
}

/// True for one charset under either of its names.
#[must_use]
pub fn is_same_charset(left: &str, right: &str) -> bool {
    let canonical = |name| if name == "utf8" { "utf8mb3" } else { name };
    canonical(left) == canonical(right)
}

fn type_name(declared_type: &str) -> &str {
    declared_type.split(['(', ' ']).next().unwrap_or_default()
}

fn is_unsigned(declared_type: &str) -> bool {
    declared_type.split(' ').any(|word| word.eq_ignore_ascii_case("unsigned"))
}

/// What stands in the parentheses of `double(8,3)`.
fn digits(declared_type: &str) -> Option<&str> {
    let (_, rest) = declared_type.split_once('(')?;
    rest.split_once(')').map(|(digits, _)| digits)
}

/// Least and greatest value of an integer type.
fn integer_range(column_type: &ColumnType) -> Option<(i128, i128)> {
    let (bits, unsigned) = match column_type {
        ColumnType::TinyInt { unsigned } => (8, *unsigned),
        ColumnType::SmallInt { unsigned } => (16, *unsigned),
        ColumnType::MediumInt { unsigned } => (24, *unsigned),
        ColumnType::Int { unsigned } => (32, *unsigned),
        ColumnType::BigInt { unsigned } => (64, *unsigned),
        _ => return None,
    };
    Some(if unsigned { (0, (1 << bits) - 1) } else { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) })
}

/// Most bytes that a text or blob of this size holds.
#[must_use]
pub const fn capacity_bytes(size: LobSize) -> u64 {
    match size {
        LobSize::Tiny => 0xff,
        LobSize::Normal => 0xffff,
        LobSize::Medium => 0xff_ffff,
        LobSize::Long => 0xffff_ffff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAX: Rules = Rules { strict: false, pads_char: false };
    const STRICT: Rules = Rules { strict: true, pads_char: false };

    fn declared(declared_type: &str) -> Declaration<'_> {
        Declaration { declared_type, charset: None, nullable: true }
    }

    #[test]
    fn what_widens_keeps_values_and_what_narrows_may_not() {
        for (old, new, lax, strict) in [
            ("int(11)", "int", true, true),
            ("int", "bigint", true, true),
            ("int unsigned", "bigint", true, true),
            ("int", "int unsigned", false, true),
            ("bigint", "int", false, true),
            ("int", "decimal(10,0)", true, true),
            ("int", "decimal(10,0) unsigned", false, true),
            ("int", "decimal(10,2)", false, false),
            ("smallint", "decimal(7,2)", true, true),
            ("decimal(10,2)", "decimal(12,4)", true, true),
            ("decimal(10,2)", "decimal(12,5)", false, false),
            ("decimal(10,2)", "decimal(12,1)", false, false),
            ("decimal(10,2)", "decimal(10,2) unsigned", false, true),
            ("decimal(10,2) unsigned", "decimal(12,2) unsigned", true, true),
            ("decimal(10,2) unsigned zerofill", "decimal(12,2)", true, true),
            ("decimal(10,2)", "int", false, false),
            ("float", "double", true, true),
            ("float", "double(8,2)", false, false),
            ("float(7,2)", "double(7,2)", false, false),
            ("float(7,2)", "float", true, true),
            ("float(7,2)", "float(7,2) unsigned", false, true),
            ("double", "double(8,3)", false, false),
            ("double(8,3)", "double(10,3)", false, false),
            ("double", "double unsigned", false, true),
            ("double unsigned", "double", true, true),
            ("double", "float", false, false),
            ("varchar(10)", "varchar(20)", true, true),
            ("varchar(20)", "varchar(10)", false, false),
            ("varchar(20)", "char(20)", false, false),
            ("char(20)", "varchar(20)", true, true),
            ("varchar(100)", "tinytext", false, false),
            ("varchar(100)", "text", true, true),
            ("text", "mediumtext", true, true),
            ("mediumblob", "blob", false, false),
            ("binary(4)", "binary(8)", false, false),
            ("binary(4)", "varbinary(4)", true, true),
            ("enum('a','b')", "enum('a','b','c')", true, true),
            ("enum('a','b')", "enum('b','a')", false, false),
            ("enum('a','bb')", "varchar(2)", true, true),
            ("enum('a','bb')", "varchar(1)", false, false),
            ("datetime", "datetime(6)", true, true),
            ("datetime(6)", "datetime", false, false),
            ("datetime", "timestamp", false, false),
            ("date", "datetime", true, true),
            ("bit(4)", "bit(8)", false, false),
            ("json", "text", false, false),
            ("year", "int", false, false),
            ("point", "point", true, true),
            ("uuid", "uuid", true, true),
            ("uuid", "text", false, false),
        ] {
            let keeps = |rules| keeps_values(&declared(old), &declared(new), rules);
            assert_eq!((keeps(LAX), keeps(STRICT)), (lax, strict), "{old} to {new}");
        }
    }

    #[test]
    fn nulls_become_other_values_where_they_are_not_allowed_any_more() {
        for (declared_type, lax, strict) in [("int", false, true), ("timestamp(3)", false, false)] {
            let old = declared(declared_type);
            let new = Declaration { nullable: false, ..old };
            let keeps = |rules| keeps_values(&old, &new, rules);
            assert_eq!((keeps(LAX), keeps(STRICT)), (lax, strict), "{declared_type}");
            assert!(keeps_values(&new, &old, LAX));
        }
    }

    #[test]
    fn characters_and_room_for_them() {
        let text = |declared_type, charset| Declaration { charset: Some(charset), ..declared(declared_type) };
        for (old, new, lax, strict) in [
            (text("varchar(9)", "latin1"), text("varchar(9)", "utf8mb4"), true, true),
            (text("varchar(9)", "utf8"), text("varchar(9)", "utf8mb3"), true, true),
            (text("varchar(9)", "utf8mb4"), text("varchar(9)", "latin1"), false, false),
            (text("varchar(9)", "utf8mb4"), text("varchar(9)", "utf8mb3"), false, false),
            (text("varchar(9)", "cp1250"), text("varchar(9)", "cp1250"), true, true),
            (text("varchar(9)", "cp1250"), text("varchar(9)", "utf8mb4"), false, true),
            (text("text", "latin1"), text("text", "utf8mb4"), false, true),
            (text("text", "latin1"), text("mediumtext", "utf8mb4"), true, true),
        ] {
            let keeps = |rules| keeps_values(&old, &new, rules);
            assert_eq!((keeps(LAX), keeps(STRICT)), (lax, strict), "{old:?} to {new:?}");
        }
        let padded = Rules { pads_char: true, ..STRICT };
        assert!(!keeps_values(&text("char(5)", "latin1"), &text("varchar(5)", "latin1"), padded));
        assert!(keeps_values(&text("char(5)", "latin1"), &text("char(9)", "latin1"), padded));
    }
}
