//! Whether ALTER TABLE leaves every value of a column what it was. What does not surely do so needs its rows read
//! again, for MySQL changes them without row events.

use super::charset::converts_losslessly;
use tributary_schemas::types::{ColumnType, LobSize};
use tributary_source::catalog::CatalogColumn;

/// The reason why values may differ after the column changed from `old` to `new`; `None` if they cannot.
/// `strict`: the statement ran in strict mode, where a value out of range is an error, not an adjustment.
pub(super) fn value_change(old: &CatalogColumn, new: &CatalogColumn, strict: bool) -> Option<String> {
    let change = || {
        let reason = format!(
            "column {}: values may change from {} to {}",
            new.name, old.declared_type, new.declared_type
        );
        Some(reason)
    };
    if new.generated || old.generated {
        let same = old.generated == new.generated && old.declared_type == new.declared_type;
        // The expression is not compared: MySQL prints it in words of its own.
        return if same {
            Some(format!("generated column {} was declared anew", new.name))
        } else {
            change()
        };
    }
    if new.auto_increment && !old.auto_increment {
        return Some(format!("column {} became AUTO_INCREMENT, which numbers rows that are 0", new.name));
    }
    if old.nullable && !new.nullable && !strict {
        return Some(format!("column {}: without strict mode NOT NULL replaces NULL", new.name));
    }
    if let (Some(old_charset), Some(new_charset)) = (&old.charset, &new.charset)
        && !converts_losslessly(old_charset, new_charset)
    {
        let reason =
            format!("column {}: {new_charset} does not have every character of {old_charset}", new.name);
        return Some(reason);
    }
    let (Ok(old_type), Ok(new_type)) = (old.declared_type.parse(), new.declared_type.parse()) else {
        return if old.declared_type == new.declared_type { None } else { change() };
    };
    if keeps_values(&old_type, &new_type, strict) { None } else { change() }
}

fn keeps_values(old: &ColumnType, new: &ColumnType, strict: bool) -> bool {
    use ColumnType as T;
    if old == new {
        return true;
    }
    if let (Some(old), Some(new)) = (integer_range(old), integer_range(new)) {
        return strict || (new.0 <= old.0 && old.1 <= new.1);
    }
    if let (Some((least, most)), T::Decimal { precision, scale }) = (integer_range(old), new) {
        let digits = least.unsigned_abs().max(most.unsigned_abs()).to_string().len();
        return strict || usize::from(precision - scale) >= digits;
    }
    match (old, new) {
        (T::Decimal { precision: p, scale: s }, T::Decimal { precision, scale }) => {
            scale >= s && (strict || precision - scale >= p - s)
        }
        (T::Float, T::Double) => true,
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
        (T::Date, T::DateTime { .. }) => true,
        _ => false,
    }
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
pub(super) const fn capacity_bytes(size: LobSize) -> u64 {
    match size {
        LobSize::Tiny => 0xff,
        LobSize::Normal => 0xffff,
        LobSize::Medium => 0xff_ffff,
        LobSize::Long => 0xffff_ffff,
    }
}

/// The smallest size that holds this many bytes.
pub(super) const fn smallest_lob(bytes: u64) -> LobSize {
    match bytes {
        0..=0xff => LobSize::Tiny,
        0x100..=0xffff => LobSize::Normal,
        0x1_0000..=0xff_ffff => LobSize::Medium,
        _ => LobSize::Long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(declared_type: &str) -> CatalogColumn {
        CatalogColumn {
            name: "c".to_owned(),
            declared_type: declared_type.to_owned(),
            nullable: true,
            default: None,
            charset: None,
            collation: None,
            comment: String::new(),
            generated: false,
            auto_increment: false,
            invisible: false,
        }
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
            ("int", "decimal(10,2)", false, true),
            ("decimal(10,2)", "decimal(12,4)", true, true),
            ("decimal(10,2)", "decimal(12,5)", false, true),
            ("decimal(10,2)", "decimal(12,1)", false, false),
            ("decimal(10,2)", "int", false, false),
            ("float", "double", true, true),
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
        ] {
            let change = |strict| value_change(&column(old), &column(new), strict).is_none();
            assert_eq!((change(false), change(true)), (lax, strict), "{old} to {new}");
        }
    }

    #[test]
    fn null_charset_and_numbering_count_too() {
        let not_null = CatalogColumn { nullable: false, ..column("int") };
        assert!(value_change(&column("int"), &not_null, false).is_some());
        assert!(value_change(&column("int"), &not_null, true).is_none());
        let numbered = CatalogColumn { auto_increment: true, ..not_null.clone() };
        assert!(value_change(&not_null, &numbered, true).is_some());
        let text =
            |charset: &str| CatalogColumn { charset: Some(charset.to_owned()), ..column("varchar(9)") };
        assert!(value_change(&text("latin1"), &text("utf8mb4"), true).is_none());
        assert!(value_change(&text("utf8"), &text("utf8mb3"), true).is_none());
        assert!(value_change(&text("utf8mb4"), &text("latin1"), true).is_some());
    }
}
