//! Creating destination tables. What enters is a table's definition and the config's rule; what leaves is SQL texts
//! and notes about what is not created. Nothing that exists is changed by them.

use super::defaults;
use super::dialect::{Dialect, Product};
use super::layout::{ColumnRule, Layout, LayoutError, Origin, PlannedColumn};
use super::limits::{self, BTREE_BYTES_MAX, COLUMNS_MAX, may_be_too_long};
use super::names::{TargetName, literal, quote, quote_list};
use thiserror::Error;
use tributary_config::{Indexes, Storage};
use tributary_schemas::table::{Column, Index, Table};
use tributary_schemas::types::ColumnType;

/// What a destination table is created from.
#[derive(Debug, Clone, Copy)]
pub struct Creation<'a> {
    /// Server.
    pub dialect: Dialect,
    /// Definition on the source.
    pub table: &'a Table,
    /// Columns, key and policies.
    pub rule: &'a ColumnRule,
    /// Name in the destination.
    pub target: &'a TargetName,
    /// Distribution key by names in the destination; `None`: the primary key.
    pub distributed_by: Option<&'a [String]>,
    pub storage: Storage,
    /// Secondary indexes.
    pub indexes: Indexes,
}

/// The statements that create a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Created {
    /// Schema, table and comments, in order, for one transaction.
    pub statements: Vec<String>,
    /// Secondary indexes; best after the initial load.
    pub indexes: Vec<NewIndex>,
    /// What is not created, or may fail later, and why; for `check` and the log.
    pub notes: Vec<String>,
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewIndex {
    /// Its name, unquoted, and the one that versions before gave it: the table that has either has the index.
    pub names: [String; 2],
    /// The statement that makes it.
    pub sql: String,
}

/// Why no SQL can be made. Parks the table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DdlError {
    /// The definition and the rule do not go together.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A unique key on many nodes must contain the distribution key.
    #[error(
        "{target}: distributed_by names {column}, which is not in the primary key ({key}); distribute by columns of the key"
    )]
    DistributionNotInKey {
        /// Destination table.
        target: String,
        /// Column of the distribution key.
        column: String,
        /// The primary key.
        key: String,
    },
    /// More than any table of PostgreSQL's.
    #[error(
        "{target} would have {columns} columns, and the destination takes {COLUMNS_MAX}; leave some out with columns.drop"
    )]
    Columns {
        /// Destination table.
        target: String,
        /// How many.
        columns: usize,
    },
    /// The server stores rows only.
    #[error("{target}: storage = \"column\" is not known to this server; use \"heap\"")]
    Storage {
        /// Destination table.
        target: String,
    },
    /// A target that several topics share has a column that cannot hold the values of both.
    #[error("{target}: column {column} is {there}, and rows of this table need {wanted}: no type holds both")]
    UnionType {
        /// Destination table.
        target: String,
        /// Its column.
        column: String,
        /// The column on the source.
        origin: String,
        /// Type that the column has.
        there: String,
        /// Type that it would have for this table alone.
        wanted: String,
    },
    /// A target that several topics share has another key.
    #[error("{target} is unique by ({keys}), and the key of this table would be ({wanted})")]
    UnionKey {
        /// Destination table.
        target: String,
        /// Columns of its unique indexes.
        keys: String,
        /// The key of the table's rule.
        wanted: String,
    },
    /// A change that could lose values, or that means reading the table again.
    #[error(
        "{target}: {change} cannot be carried out in place; bring the destination to the new definition by hand, or re-read the table with reset"
    )]
    Unsupported {
        /// Destination table.
        target: String,
        change: String,
    },
}

impl Creation<'_> {
    /// The statements; every one can be repeated, except the indexes.
    pub fn statements(&self) -> Result<Created, DdlError> {
        let layout = Layout::of(self.table, self.rule)?;
        if layout.columns.len() > COLUMNS_MAX {
            return Err(DdlError::Columns { target: self.target.to_string(), columns: layout.columns.len() });
        }
        let Self { target, table, rule, .. } = *self;
        let mut columns: Vec<String> =
            layout.columns.iter().map(|planned| column_ddl(planned, self.source(planned), rule)).collect();
        let unique = self.storage == Storage::Heap || self.dialect.product == Product::AnalyticDb7;
        if unique {
            let name = quote(&target.key_name());
            columns.push(format!("CONSTRAINT {name} PRIMARY KEY ({})", quote_list(&layout.key)));
        }
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {target} ({}){}{}",
            columns.join(", "),
            self.storage_clause()?,
            self.distribution_clause(&layout)?
        );
        let mut created = Created {
            statements: vec![format!("CREATE SCHEMA IF NOT EXISTS {}", quote(&target.schema)), create],
            ..Created::default()
        };
        if !table.comment.is_empty() {
            created.statements.push(comment_on_table(target, &table.comment));
        }
        for planned in &layout.columns {
            if let Some(column) = self.source(planned).filter(|column| !column.comment.is_empty()) {
                created.statements.push(comment_on_column(target, &planned.name, &column.comment));
            }
        }
        created.notes.extend(limits::notes(table, rule, &layout, unique));
        for index in &table.indexes {
            self.index(index, &mut created);
        }
        Ok(created)
    }

    fn source(&self, planned: &PlannedColumn) -> Option<&Column> {
        match planned.origin {
            Origin::Source(index) => self.table.columns.get(index),
            Origin::Constant(_) => None,
        }
    }

    fn storage_clause(&self) -> Result<&'static str, DdlError> {
        match (self.storage, self.dialect.product) {
            (Storage::Heap, _) => Ok(self.dialect.heap_clause()),
            (Storage::Column, Product::Greenplum6 | Product::AnalyticDb6) => {
                Ok(" WITH (appendonly = true, orientation = column)")
            }
            (Storage::Column, Product::Greenplum7 | Product::Cloudberry) => Ok(" USING ao_column"),
            (Storage::Column, Product::AnalyticDb7) => Ok(" USING beam"),
            (Storage::Column, Product::PostgreSql) => {
                Err(DdlError::Storage { target: self.target.to_string() })
            }
        }
    }

    fn distribution_clause(&self, layout: &Layout) -> Result<String, DdlError> {
        let wanted = self.distributed_by.unwrap_or(&layout.key);
        if let Some(column) = wanted.iter().find(|column| !layout.key.contains(column)) {
            return Err(DdlError::DistributionNotInKey {
                target: self.target.to_string(),
                column: column.clone(),
                key: layout.key.join(", "),
            });
        }
        if !self.dialect.distributed || wanted.is_empty() {
            return Ok(String::new());
        }
        Ok(format!(" DISTRIBUTED BY ({})", quote_list(wanted)))
    }

    /// A plain index in place of the source's, whatever it was: a unique one could be violated for a moment, since
    /// partitions and compaction reorder changes of different keys.
    fn index(&self, index: &Index, created: &mut Created) {
        let skip = |why: &str| format!("index {} of {} is not created: {why}", index.name, self.table.id);
        if self.indexes == Indexes::None {
            created.notes.push(skip("indexes = \"none\""));
            return;
        }
        if !index.kind.eq_ignore_ascii_case("BTREE") && !index.kind.eq_ignore_ascii_case("HASH") {
            created.notes.push(skip(&format!("it is a {} index", index.kind.to_lowercase())));
            return;
        }
        let mut names = Vec::with_capacity(index.parts.len());
        let mut types = Vec::with_capacity(index.parts.len());
        for part in &index.parts {
            let column = part.column.as_ref().and_then(|name| self.table.column_named(name));
            let Some(column) = column else {
                let what =
                    if part.column.is_some() { "a column that is not replicated" } else { "an expression" };
                created.notes.push(skip(&format!("it is on {what}")));
                return;
            };
            if part.prefix.is_some() {
                created.notes.push(skip("it is on a prefix of a column"));
                return;
            }
            if self.rule.drops(column) || column.column_type == ColumnType::Json {
                created.notes.push(skip("it is on a column that is left out or a document"));
                return;
            }
            types.push(&column.column_type);
            names.push(self.rule.target_name(column));
        }
        if may_be_too_long(types.into_iter()) {
            created.notes.push(format!(
                "index {} of {} may meet entries over {BTREE_BYTES_MAX} bytes, which PostgreSQL's btree refuses",
                index.name, self.table.id
            ));
        }
        let name = self.target.index(&index.name);
        // Not IF NOT EXISTS: that would pass over it in silence where something else has the name.
        let sql = format!("CREATE INDEX {} ON {} ({})", quote(&name), self.target, quote_list(&names));
        created.indexes.push(NewIndex { names: [name, self.target.former_index(&index.name)], sql });
    }
}

/// A column in CREATE TABLE.
fn column_ddl(planned: &PlannedColumn, source: Option<&Column>, rule: &ColumnRule) -> String {
    let mut sql = format!("{} {}", quote(&planned.name), planned.target_type);
    // Rows of another table of the target do not have it.
    let source = source.filter(|_| !rule.is_shared());
    if let Some(default) = source.and_then(|column| defaults::constant(column, rule)) {
        sql += &format!(" DEFAULT {default}");
    }
    if planned.not_null {
        sql += " NOT NULL";
    }
    sql
}

/// COMMENT ON TABLE; an empty text removes it.
pub(super) fn comment_on_table(target: &TargetName, text: &str) -> String {
    format!("COMMENT ON TABLE {target} IS {}", comment(text))
}

/// COMMENT ON COLUMN; an empty text removes it.
pub(super) fn comment_on_column(target: &TargetName, column: &str, text: &str) -> String {
    format!("COMMENT ON COLUMN {target}.{} IS {}", quote(column), comment(text))
}

fn comment(text: &str) -> String {
    if text.is_empty() { "NULL".to_owned() } else { literal(&text.replace('\0', "")) }
}

#[cfg(test)]
mod tests;
