//! Which columns a destination table has: what enters is a table's definition and the config's rule for it, what
//! leaves is names, types and the key, in the order in which rows are written. DDL and transfer share it.

use super::names::identifier;
use super::slice::Slice;
use thiserror::Error;
use tributary_config::{Constant, ConstantValue, NulBytePolicy, ZeroDatePolicy};
use tributary_schemas::table::{Column, Table, same_name};
use tributary_schemas::types::{TargetType, UnsupportedType};

/// The config's rule for a table's columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnRule {
    /// Source columns that are left out.
    pub drop: Vec<String>,
    /// Source column, name in the warehouse.
    pub rename: Vec<(String, String)>,
    /// Columns of the warehouse that have one value in every row.
    pub constants: Vec<Constant>,
    /// The key by names in the warehouse; `None`: the source's key.
    pub primary_key: Option<Vec<String>>,
    /// Zero and partial dates.
    pub zero_dates: ZeroDatePolicy,
    /// NUL characters in text.
    pub nul_bytes: NulBytePolicy,
}

/// Where a destination column's values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The source's column at this index of the table's columns.
    Source(usize),
    /// The config's constant.
    Constant(ConstantValue),
}

/// A column of the destination table as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedColumn {
    /// Name in the warehouse, at most 63 bytes.
    pub name: String,
    /// Where its values come from.
    pub origin: Origin,
    /// The type it gets where Tributary creates the table.
    pub target_type: TargetType,
    /// NOT NULL where Tributary creates the table.
    pub not_null: bool,
}

/// The columns and the key of a destination table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Source columns in the order of the row image, then constants.
    pub columns: Vec<PlannedColumn>,
    /// Names in the warehouse.
    pub key: Vec<String>,
}

/// Why no layout follows from the definition and the rule. Parks the table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// A key column cannot be left out.
    #[error("{table}: column {column} is part of the key and cannot be dropped; take it out of columns.drop")]
    KeyDropped {
        /// Source table.
        table: String,
        /// The key column.
        column: String,
    },
    /// Two columns have one name in the warehouse.
    #[error(
        "{table}: two columns would be named {column} in the destination; give one of them another name in columns.rename"
    )]
    Duplicate {
        /// Source table.
        table: String,
        /// The name in the warehouse.
        column: String,
    },
    /// PostgreSQL keeps the name for itself.
    #[error(
        "{table}: {column} is the name of a system column of PostgreSQL; give it another in columns.rename"
    )]
    Reserved {
        /// Source table.
        table: String,
        /// The name in the warehouse.
        column: String,
    },
    /// The configured key is not the source's key plus constants.
    #[error(
        "{table}: the target's key must be the source's ({expected}), with constants beside it at most; {column} breaks this"
    )]
    BadPrimaryKey {
        /// Source table.
        table: String,
        /// The name that is missing or too many.
        column: String,
        /// The source's key, by names in the warehouse.
        expected: String,
    },
    /// The definition has no key.
    #[error("{table} has no primary key; give it one on the source")]
    NoKey {
        /// Source table.
        table: String,
    },
    /// A type that is not replicated.
    #[error("{table}: column {column}: {source}; leave it out with columns.drop")]
    Unsupported {
        /// Source table.
        table: String,
        /// Source column.
        column: String,
        source: UnsupportedType,
    },
}

/// System columns, on every kernel that is supported.
const RESERVED: [&str; 7] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", "gp_segment_id"];

impl Layout {
    /// Lays out the destination of `table`.
    pub fn of(table: &Table, rule: &ColumnRule) -> Result<Self, LayoutError> {
        let name = || table.id.to_string();
        let mut columns = Vec::with_capacity(table.columns.len() + rule.constants.len());
        for (index, column) in table.columns.iter().enumerate() {
            if rule.drops(column) {
                if table.is_key(column) {
                    return Err(LayoutError::KeyDropped { table: name(), column: column.name.clone() });
                }
                continue;
            }
            let target_type = column.column_type.target().map_err(|source| LayoutError::Unsupported {
                table: name(),
                column: column.name.clone(),
                source,
            })?;
            let nulls_dates =
                rule.zero_dates == ZeroDatePolicy::Null && column.column_type.may_be_zero_date();
            columns.push(PlannedColumn {
                name: rule.target_name(column),
                origin: Origin::Source(index),
                target_type,
                not_null: table.is_key(column) || !(column.nullable || nulls_dates),
            });
        }
        let key = rule.key_of(table)?;
        columns.extend(rule.constants.iter().map(|Constant { column, value }| PlannedColumn {
            name: identifier(column),
            origin: Origin::Constant(value.clone()),
            target_type: match value {
                ConstantValue::Text(_) => TargetType::Text,
                ConstantValue::Integer(_) => TargetType::BigInt,
            },
            not_null: true,
        }));
        if rule.is_shared() {
            // Another table of the target may not have the column.
            columns.iter_mut().for_each(|column| column.not_null = key.contains(&column.name));
        }
        for (index, column) in columns.iter().enumerate() {
            if columns.iter().skip(index + 1).any(|other| other.name == column.name) {
                return Err(LayoutError::Duplicate { table: name(), column: column.name.clone() });
            }
            if RESERVED.contains(&column.name.as_str()) {
                return Err(LayoutError::Reserved { table: name(), column: column.name.clone() });
            }
        }
        Ok(Self { columns, key })
    }

    /// The column of this name in the warehouse.
    #[must_use]
    pub(crate) fn column(&self, name: &str) -> Option<&PlannedColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl ColumnRule {
    /// Source columns that the rule names and the table does not have: a rule for many tables may name what only
    /// some have, and a column may be dropped on the source, so this is a warning and no error.
    #[must_use]
    pub(crate) fn unknown_columns(&self, table: &Table) -> Vec<&str> {
        let named = self.drop.iter().chain(self.rename.iter().map(|(column, _)| column));
        named.filter(|column| table.column_named(column).is_none()).map(String::as_str).collect()
    }

    /// True if the column is left out.
    #[must_use]
    pub(crate) fn drops(&self, column: &Column) -> bool {
        self.drop.iter().any(|name| same_name(name, &column.name))
    }

    /// The column's name in the warehouse.
    #[must_use]
    pub fn target_name(&self, column: &Column) -> String {
        let renamed = self.rename.iter().find(|(from, _)| same_name(from, &column.name));
        identifier(renamed.map_or(column.name.as_str(), |(_, to)| to.as_str()))
    }

    /// True if the target may be other tables' too: constants in the key tell their rows apart.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !Slice::of(self).is_whole()
    }

    fn key_of(&self, table: &Table) -> Result<Vec<String>, LayoutError> {
        let source: Vec<String> = table.key_columns().map(|column| self.target_name(column)).collect();
        if source.is_empty() {
            return Err(LayoutError::NoKey { table: table.id.to_string() });
        }
        let Some(wanted) = &self.primary_key else { return Ok(source) };
        let wanted: Vec<String> = wanted.iter().map(|name| identifier(name)).collect();
        let bad = |column: &str| LayoutError::BadPrimaryKey {
            table: table.id.to_string(),
            column: column.to_owned(),
            expected: source.join(", "),
        };
        if let Some(missing) = source.iter().find(|name| !wanted.contains(name)) {
            return Err(bad(missing));
        }
        for (index, name) in wanted.iter().enumerate() {
            let known = source.contains(name)
                || self.constants.iter().any(|constant| identifier(&constant.column) == *name);
            if !known || wanted.iter().take(index).any(|other| other == name) {
                return Err(bad(name));
            }
        }
        Ok(wanted)
    }
}
