//! What PostgreSQL's pages of 8 kB hold: the longest entry of an index, and the widest row. A table whose rows may not
//! fit works until the first that does not, so that people are told before. Pure.

use super::layout::{Layout, TableRule};
use tributary_schemas::table::Table;
use tributary_schemas::types::{ColumnType, TargetType};

/// Longest entry of a btree, bytes; longer ones fail the INSERT.
pub const BTREE_BYTES_MAX: u64 = 2_704;
/// Widest row, bytes, after all that can be has been stored out of line.
const ROW_BYTES_MAX: u64 = 8_160;
/// Header of a row, without the bitmap of NULLs.
const HEADER_BYTES: u64 = 23;
/// What is left in a row of a value that is stored out of line.
const POINTER_BYTES: u64 = 18;
/// Columns that are named of those that add up.
const NAMED: usize = 5;

/// The longest value of a type in an index, bytes.
pub(super) fn bytes_max(column_type: &ColumnType) -> u64 {
    match column_type {
        ColumnType::Char { length } | ColumnType::VarChar { length } => 4 * u64::from(*length),
        ColumnType::Binary { length } | ColumnType::VarBinary { length } => u64::from(*length),
        ColumnType::Text(_) | ColumnType::Blob(_) => BTREE_BYTES_MAX + 1,
        _ => 16,
    }
}

/// The least that a value may take in a row, and its alignment, bytes.
fn width(target: &TargetType) -> (u64, u64) {
    match target {
        TargetType::SmallInt => (2, 2),
        TargetType::Integer | TargetType::Real | TargetType::Date => (4, 4),
        TargetType::BigInt
        | TargetType::DoublePrecision
        | TargetType::Timestamp { .. }
        | TargetType::TimestampTz { .. } => (8, 8),
        TargetType::Interval { .. } => (16, 8),
        // Short enough to stay where it is.
        TargetType::Bit { .. } => (13, 1),
        TargetType::VarChar { length } if *length < 4 => (1 + 4 * u64::from(*length), 1),
        TargetType::Numeric { .. }
        | TargetType::VarChar { .. }
        | TargetType::Text
        | TargetType::Bytea
        | TargetType::Jsonb => (POINTER_BYTES, 1),
    }
}

/// The width of a full row of these columns, bytes.
fn row_bytes(layout: &Layout) -> u64 {
    let count = u64::try_from(layout.columns.len()).unwrap_or(u64::MAX);
    let start = (HEADER_BYTES + count.div_ceil(8)).next_multiple_of(8);
    layout.columns.iter().fold(start, |bytes, column| {
        let (width, alignment) = width(&column.target_type);
        bytes.next_multiple_of(alignment) + width
    })
}

/// `a (8), b (4) and 7 more`, the widest first.
fn named(mut widths: Vec<(&str, u64)>) -> String {
    widths.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let first: Vec<String> =
        widths.iter().take(NAMED).map(|(name, bytes)| format!("{name} ({bytes})")).collect();
    let more = widths.len().saturating_sub(NAMED);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

/// What may not fit; `indexed`: the key has an index.
#[must_use]
pub fn notes(table: &Table, rule: &TableRule, layout: &Layout, indexed: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let key: Vec<(String, u64)> = table
        .key_columns()
        .map(|column| (rule.target_name(column), bytes_max(&column.column_type)))
        .collect();
    let bytes: u64 = key.iter().map(|(_, bytes)| bytes).sum();
    if indexed && bytes > BTREE_BYTES_MAX {
        let columns = named(key.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect());
        notes.push(format!(
            "a key of {} may take {bytes} bytes, and the destination's index takes {BTREE_BYTES_MAX}: a longer one parks the \
             table; columns that add up: {columns}",
            table.id
        ));
    }
    let bytes = row_bytes(layout);
    if bytes > ROW_BYTES_MAX {
        let widths = layout.columns.iter().map(|column| (column.name.as_str(), width(&column.target_type).0));
        notes.push(format!(
            "a row of {} may take {bytes} bytes, long values apart, and the destination's page takes {ROW_BYTES_MAX}: a wider one \
             parks the table; columns that add up: {}; leave some out with columns.drop",
            table.id,
            named(widths.collect())
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::table::{Column, TableId};

    fn table(key: &str, others: usize, declaration: &str) -> Table {
        let column = |id: u32, name: String, declaration: &str| Column {
            id,
            ordinal: id,
            name,
            column_type: declaration.parse().unwrap(),
            nullable: true,
            default: None,
            charset: None,
            collation: None,
            comment: String::new(),
            generated: false,
            auto_increment: false,
        };
        let mut columns = vec![column(1, "id".into(), key)];
        columns.extend((2..).take(others).map(|id| column(id, format!("c{id}"), declaration)));
        Table { id: TableId::new("a", "b"), columns, key: vec![1], indexes: vec![], comment: String::new() }
    }

    fn noted(key: &str, others: usize, declaration: &str) -> Vec<String> {
        let (table, rule) = (table(key, others, declaration), TableRule::default());
        notes(&table, &rule, &Layout::of(&table, &rule).unwrap(), true)
    }

    #[test]
    fn keys_and_rows_that_may_not_fit_are_told_with_their_columns() {
        assert!(noted("int", 900, "bigint").is_empty());
        let found = noted("int", 1010, "bigint");
        assert!(
            found.len() == 1 && found[0].contains("c2 (8)") && found[0].contains("and 1006 more"),
            "{found:?}"
        );
        assert!(noted("int", 400, "text").is_empty(), "long values go out of line");
        assert_eq!(noted("int", 500, "text").len(), 1, "and leave a pointer each");
        assert!(noted("varchar(676)", 1, "int").is_empty());
        let found = noted("varchar(768)", 1, "int");
        assert!(found.len() == 1 && found[0].contains("id (3072)"), "{found:?}");
    }
}
