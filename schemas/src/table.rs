//! What a table is, in the words that capture, the history topic and apply share.

use crate::types::ColumnType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A table's name on the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    /// Database, as the source spells it.
    pub database: String,
    /// Table, as the source spells it.
    pub table: String,
}

impl TableId {
    /// `database.table`.
    pub fn new(database: impl Into<String>, table: impl Into<String>) -> Self {
        Self { database: database.into(), table: table.into() }
    }
}

/// For people and logs, on one line whatever the names hold; statements quote the parts.
impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = crate::printed::line;
        write!(f, "{}.{}", line(&self.database), line(&self.table))
    }
}

/// A column that is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Stays the same through renames and moves; given once, never reused within a table.
    pub id: u32,
    /// Place in the table's row images, from 0; columns that are not published leave gaps.
    pub ordinal: u32,
    /// Name as the source spells it.
    pub name: String,
    /// Declared type.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// May be NULL on the source.
    pub nullable: bool,
    /// DEFAULT clause; `None` for none and for NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<ColumnDefault>,
    /// Character set of the column's bytes in a row image; `None` for types that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// Collation; `None` for types that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation: Option<String>,
    /// COMMENT clause.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// A generated column: its values arrive like any other's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_increment: bool,
}

impl Column {
    /// One that is never NULL and has nothing but a name and a type, in the place that its id gives it (from 1).
    pub fn new(id: u32, name: impl Into<String>, column_type: ColumnType) -> Self {
        Self {
            id,
            ordinal: id.saturating_sub(1),
            name: name.into(),
            column_type,
            nullable: false,
            default: None,
            charset: None,
            collation: None,
            comment: String::new(),
            generated: false,
            auto_increment: false,
        }
    }
}

/// A DEFAULT clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnDefault {
    /// A constant, as `information_schema.COLUMNS.COLUMN_DEFAULT` prints it (`b'101'` for BIT, `0x…` for binary).
    Constant(String),
    /// An expression or CURRENT_TIMESTAMP: differs from row to row, so the warehouse is not given it.
    Expression(String),
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Name on the source.
    pub name: String,
    /// UNIQUE on the source.
    pub unique: bool,
    /// `BTREE`, `FULLTEXT`, `SPATIAL`, as `information_schema.STATISTICS.INDEX_TYPE` prints it.
    pub kind: String,
    /// In index order.
    pub parts: Vec<IndexPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPart {
    /// Column name; `None` for an expression.
    pub column: Option<String>,
    /// Length in characters or bytes of a prefix part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u32>,
}

/// A table as one generation has it: only the columns that are published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Name on the source.
    pub id: TableId,
    /// In the order of the row image.
    pub columns: Vec<Column>,
    /// Ids of the key's columns, in the order of the key.
    pub key: Vec<u32>,
    /// Secondary indexes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// COMMENT clause.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl Table {
    /// The column of this id.
    #[must_use]
    pub fn column(&self, id: u32) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The column of this name, compared as MySQL compares column names.
    #[must_use]
    pub fn column_named(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.to_lowercase() == name.to_lowercase())
    }

    /// The key's columns, in the order of the key.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().filter_map(|id| self.column(*id))
    }

    /// True if `column` is part of the key.
    #[must_use]
    pub fn is_key(&self, column: &Column) -> bool {
        self.key.contains(&column.id)
    }

    /// True if the column's Avro field is a union with null. A key column never is: it holds neither NULL nor a
    /// substituted value. A date column always is, for a zero date travels as null.
    #[must_use]
    pub fn avro_nullable(&self, column: &Column) -> bool {
        !self.is_key(column) && (column.nullable || column.column_type.may_be_zero_date())
    }
}

/// MySQL compares names of columns and indexes without regard to case.
#[must_use]
pub fn same_name(left: &str, right: &str) -> bool {
    left == right || left.to_lowercase() == right.to_lowercase()
}
