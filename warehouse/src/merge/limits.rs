//! What PostgreSQL's pages of 8 kB hold: the longest entry of an index, and the widest row. A table whose rows may not
//! fit works until the first that does not, so that people are told before. Pure.

use super::layout::{ColumnRule, Layout, Origin};
use super::names::{IDENTIFIER_BYTES_MAX, identifier};
use super::target::{TargetKind, TargetShape};
use tributary_config::ConstantValue;
use tributary_schemas::table::Table;
use tributary_schemas::types::ColumnType;

/// Longest entry of a btree, bytes, with its header; longer ones fail the INSERT.
pub(crate) const BTREE_BYTES_MAX: u64 = 2_704;
/// Widest row, bytes, after all that can be has been stored out of line.
const ROW_BYTES_MAX: u64 = 8_160;
/// Columns of a table; a staging table has one more than its target.
pub(crate) const COLUMNS_MAX: usize = 1_599;
/// Header of a row, without the bitmap of NULLs.
const HEADER_BYTES: u64 = 23;
/// Header of an entry of an index.
const ENTRY_HEADER_BYTES: u64 = 8;
/// What rows and entries are rounded up to.
const ALIGNMENT: u64 = 8;
/// A value of up to this many bytes stays in its row: a pointer to one that is stored elsewhere takes 18, and as much space is
/// left for it.
const INLINE_BYTES: u64 = 24;
/// Longest value, bytes, whose length is told in one byte; the header of others takes four, and is aligned.
const SHORT_BYTES: u64 = 126;
/// Columns that are named of those that add up.
const NAMED: usize = 5;

/// A column as far as its size matters: its name, and how it is stored.
#[derive(Debug, Clone)]
struct Sized {
    name: String,
    stored: Stored,
    nullable: bool,
}

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// Always so many bytes, at a multiple of the second number.
    Fixed(u64, u64),
    /// Up to so many bytes after its header; `None`: any number.
    Variable(Option<u64>),
}

impl Stored {
    fn constant(value: &ConstantValue) -> Self {
        Self::Variable(u64::try_from(value.to_string().len()).ok())
    }

    /// Of a column of the destination, with rows of a column of the source.
    fn of(kind: &TargetKind, source: Option<&ColumnType>) -> Self {
        match kind {
            TargetKind::Boolean => Self::Fixed(1, 1),
            TargetKind::SmallInt => Self::Fixed(2, 2),
            TargetKind::Integer | TargetKind::Real | TargetKind::Date => Self::Fixed(4, 4),
            TargetKind::BigInt
            | TargetKind::Double
            | TargetKind::Timestamp(_)
            | TargetKind::TimestampTz(_)
            | TargetKind::Time(_) => Self::Fixed(8, 8),
            TargetKind::Interval(_) => Self::Fixed(16, 8),
            TargetKind::Bit(width) => Self::Variable(Some(4 + u64::from(*width).div_ceil(8))),
            TargetKind::Numeric(digits) => Self::Variable(digits.map(|(precision, scale)| {
                let before = u64::from(precision.saturating_sub(scale)).div_ceil(4);
                2 + 2 * (before + u64::from(scale).div_ceil(4))
            })),
            TargetKind::Text(length) => {
                let declared = length.map(|length| 4 * u64::from(length));
                Self::Variable(declared.into_iter().chain(source.and_then(bytes_max)).min())
            }
            TargetKind::Bytea => Self::Variable(source.and_then(bytes_max)),
            TargetKind::Json | TargetKind::Jsonb | TargetKind::BitVarying(_) | TargetKind::Other => {
                Self::Variable(None)
            }
        }
    }

    /// The most that a value takes in its row, and what it is aligned to.
    fn in_row(self) -> (u64, u64) {
        match self {
            Self::Fixed(bytes, alignment) => (bytes, alignment),
            Self::Variable(bytes) => (bytes.map_or(INLINE_BYTES, |bytes| (bytes + 1).min(INLINE_BYTES)), 1),
        }
    }

    /// The most that a value takes in an index, where nothing is stored elsewhere, and what it is aligned to.
    fn in_index(self) -> (u64, u64) {
        match self {
            Self::Fixed(bytes, alignment) => (bytes, alignment),
            Self::Variable(Some(bytes)) if bytes <= SHORT_BYTES => (bytes + 1, 1),
            Self::Variable(Some(bytes)) => (bytes + 4, 4),
            Self::Variable(None) => (BTREE_BYTES_MAX, 4),
        }
    }
}

/// The longest value of a type that is stored in as many bytes as it has, bytes; `None`: any number, or another kind of type.
fn bytes_max(column_type: &ColumnType) -> Option<u64> {
    let bytes = |label: &String| u64::try_from(label.len()).unwrap_or(u64::MAX);
    match column_type {
        ColumnType::Char { length } | ColumnType::VarChar { length } => Some(4 * u64::from(*length)),
        ColumnType::Binary { length } | ColumnType::VarBinary { length } => Some(u64::from(*length)),
        ColumnType::Enum { labels } => Some(labels.iter().map(bytes).max().unwrap_or_default()),
        ColumnType::Set { labels } => Some(labels.iter().map(|label| bytes(label) + 1).sum()),
        _ => None,
    }
}

fn placed(start: u64, sizes: impl Iterator<Item = (u64, u64)>) -> u64 {
    let end = sizes.fold(start, |bytes, (size, alignment)| bytes.next_multiple_of(alignment) + size);
    end.next_multiple_of(ALIGNMENT)
}

/// The width of a full row of these columns, bytes.
fn row_bytes(columns: &[Sized]) -> u64 {
    let count = u64::try_from(columns.len()).unwrap_or(u64::MAX);
    let bitmap = if columns.iter().any(|column| column.nullable) { count.div_ceil(8) } else { 0 };
    let start = (HEADER_BYTES + bitmap).next_multiple_of(ALIGNMENT);
    placed(start, columns.iter().map(|column| column.stored.in_row()))
}

/// The longest entry of an index over these columns, bytes.
fn entry_bytes<'a>(columns: impl Iterator<Item = &'a Sized>) -> u64 {
    placed(ENTRY_HEADER_BYTES, columns.map(|column| column.stored.in_index()))
}

/// True if an index over columns of the source may meet an entry that is too long.
pub(super) fn may_be_too_long<'a>(columns: impl Iterator<Item = &'a ColumnType>) -> bool {
    let sized: Vec<Sized> = columns
        .map(|column_type| {
            let kind = column_type
                .target()
                .map_or(TargetKind::Other, |target| TargetKind::parse(&target.to_string()));
            let stored = Stored::of(&kind, Some(column_type));
            Sized { name: String::new(), stored, nullable: false }
        })
        .collect();
    entry_bytes(sized.iter()) > BTREE_BYTES_MAX
}

/// `a (8), b (4) and 7 more`, the widest first.
fn named(mut widths: Vec<(&str, u64)>) -> String {
    widths.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let first: Vec<String> =
        widths.iter().take(NAMED).map(|(name, bytes)| format!("{name} ({bytes})")).collect();
    let more = widths.len().saturating_sub(NAMED);
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

/// What may not fit into a table that is created; `indexed`: the key has an index.
#[must_use]
pub fn notes(table: &Table, rule: &ColumnRule, layout: &Layout, indexed: bool) -> Vec<String> {
    let sized: Vec<Sized> = layout
        .columns
        .iter()
        .map(|planned| {
            let kind = TargetKind::parse(&planned.target_type.to_string());
            let stored = match &planned.origin {
                Origin::Source(index) => {
                    Stored::of(&kind, table.columns.get(*index).map(|column| &column.column_type))
                }
                Origin::Constant(value) => Stored::constant(value),
            };
            Sized { name: planned.name.clone(), stored, nullable: !planned.not_null }
        })
        .collect();
    let mut notes: Vec<String> = cut_names(table, rule).into_iter().collect();
    notes.extend(wide_row(table, &sized));
    notes.extend(long_key(table, &sized, &layout.key).filter(|_| indexed));
    notes
}

/// What may not fit into a table that is there: rows of the source, in its columns and its unique indexes.
#[must_use]
pub fn notes_on(shape: &TargetShape, table: &Table, rule: &ColumnRule) -> Vec<String> {
    let source = |name: &str| table.columns.iter().find(|column| rule.target_name(column) == name);
    let sized: Vec<Sized> = shape
        .columns
        .iter()
        .map(|there| {
            let kind = TargetKind::parse(&there.type_name);
            let constant = rule.constants.iter().find(|constant| identifier(&constant.column) == there.name);
            let stored = match (constant, &kind) {
                (Some(constant), TargetKind::Text(_)) => Stored::constant(&constant.value),
                _ => Stored::of(&kind, source(&there.name).map(|column| &column.column_type)),
            };
            Sized { name: there.name.clone(), stored, nullable: !there.not_null }
        })
        .collect();
    let mut notes: Vec<String> = wide_row(table, &sized).into_iter().collect();
    notes.extend(shape.unique_keys.iter().filter_map(|key| long_key(table, &sized, key)));
    notes
}

/// Names of more than 63 bytes, which no table of PostgreSQL's can have.
fn cut_names(table: &Table, rule: &ColumnRule) -> Option<String> {
    let cut: Vec<String> = table
        .columns
        .iter()
        .filter(|column| column.name.len() > IDENTIFIER_BYTES_MAX && !rule.drops(column))
        .map(|column| format!("{} is {}", column.name, rule.target_name(column)))
        .collect();
    (!cut.is_empty()).then(|| {
        format!(
            "names take {IDENTIFIER_BYTES_MAX} bytes in the destination, and are cut: {}; columns.rename gives others",
            cut.join(", ")
        )
    })
}

fn long_key(table: &Table, columns: &[Sized], key: &[String]) -> Option<String> {
    let parts: Vec<&Sized> =
        key.iter().filter_map(|name| columns.iter().find(|column| column.name == *name)).collect();
    let bytes = entry_bytes(parts.iter().copied());
    if bytes <= BTREE_BYTES_MAX {
        return None;
    }
    let widths = parts.iter().map(|column| (column.name.as_str(), column.stored.in_index().0));
    Some(format!(
        "a key of {} may take {bytes} bytes or more, and the destination's index takes {BTREE_BYTES_MAX}: a longer one that does not \
         compress parks the table; columns that add up: {}",
        table.id,
        named(widths.collect())
    ))
}

fn wide_row(table: &Table, columns: &[Sized]) -> Option<String> {
    let bytes = row_bytes(columns);
    if bytes <= ROW_BYTES_MAX {
        return None;
    }
    let widths = columns.iter().map(|column| (column.name.as_str(), column.stored.in_row().0));
    Some(format!(
        "a row of {} may take {bytes} bytes, long values apart, and the destination's page takes {ROW_BYTES_MAX}: a wider one \
         parks the table; columns that add up: {}; leave some out with columns.drop",
        table.id,
        named(widths.collect())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::table::{Column, TableId};

    fn table(key: &str, others: usize, declaration: &str) -> Table {
        let column = |id: u32, name: String, declaration: &str| Column {
            ordinal: id,
            nullable: true,
            ..Column::new(id, name, declaration.parse().unwrap())
        };
        let mut columns = vec![column(1, "id".into(), key)];
        columns.extend((2..).take(others).map(|id| column(id, format!("c{id}"), declaration)));
        Table { id: TableId::new("a", "b"), columns, key: vec![1], ..Table::default() }
    }

    fn noted(key: &str, others: usize, declaration: &str) -> Vec<String> {
        let (table, rule) = (table(key, others, declaration), ColumnRule::default());
        notes(&table, &rule, &Layout::of(&table, &rule).unwrap(), true)
    }

    #[test]
    fn keys_and_rows_that_may_not_fit_are_told_with_their_columns() {
        assert!(noted("int", 990, "bigint").is_empty());
        let found = noted("int", 1010, "bigint");
        assert!(
            found.len() == 1 && found[0].contains("c2 (8)") && found[0].contains("and 1006 more"),
            "{found:?}"
        );
        assert!(noted("int", 330, "text").is_empty(), "long values go out of line");
        assert_eq!(noted("int", 345, "text").len(), 1, "and short ones stay");
        assert!(noted("varchar(673)", 1, "int").is_empty() && noted("varbinary(2692)", 1, "int").is_empty());
        assert_eq!(noted("varbinary(2693)", 1, "int").len(), 1);
        assert_eq!(noted("text", 1, "int").len(), 1);
        let found = noted("varchar(768)", 1, "int");
        assert!(found.len() == 1 && found[0].contains("id (3076)"), "{found:?}");
    }

    #[test]
    fn names_that_are_cut_are_told_with_what_they_become() {
        let mut table = table("int", 1, "int");
        table.columns[1].name = "é".repeat(40);
        let layout = Layout::of(&table, &ColumnRule::default()).unwrap();
        let found = notes(&table, &ColumnRule::default(), &layout, true);
        assert!(found.len() == 1 && found[0].contains(&layout.columns[1].name), "{found:?}");
    }
}
