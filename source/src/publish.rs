//! From what the catalog has to what is published: a [`CatalogTable`] and the wishes of the configuration enter, a
//! [`Table`] or the reason why it cannot be replicated leaves.
//!
//! Invariant: a [`Table`] that leaves here has a key that is never null, and only types and character sets that can
//! be decoded; a column's id, once given, is never another's.

use crate::catalog::{CatalogColumn, CatalogTable};
use thiserror::Error;
use tributary_schemas::table::{Column, Index, IndexPart, Table, TableId, same_name};
use tributary_schemas::types::ColumnType;

/// Name of the index that is a table's primary key.
pub const PRIMARY: &str = "PRIMARY";

/// What the configuration and the history say about one table.
#[derive(Clone, Copy)]
pub struct Wishes<'a> {
    /// Names of columns that never reach Kafka.
    pub excluded: &'a [String],
    /// The generation before, whose column ids live on by name, and whose key while there is an index over it.
    pub previous: Option<&'a Table>,
    /// The name that the index of that key had; none of a table that is another one of the name.
    pub previous_index: Option<&'a str>,
    /// The highest column id any generation of this table has given; 0 for none.
    pub highest_id: u32,
    /// The unique index that the configuration names as the key.
    pub key_index: Option<&'a str>,
    /// True for a character set whose bytes can be decoded.
    pub charset_supported: fn(&str) -> bool,
}

impl Wishes<'_> {
    /// Of a table that was never published, of which nothing is excluded and no key named.
    #[must_use]
    pub const fn new(charset_supported: fn(&str) -> bool) -> Self {
        Self {
            excluded: &[],
            previous: None,
            previous_index: None,
            highest_id: 0,
            key_index: None,
            charset_supported,
        }
    }

    fn excludes(&self, column: &str) -> bool {
        self.excluded.iter().any(|name| same_name(name, column))
    }
}

/// Why a table cannot be replicated, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableProblem {
    #[error(
        "table {table} has no primary key, and no unique key of NOT NULL columns: add one (an AUTO_INCREMENT column that is \
         INVISIBLE will do), or leave the table out with \"!{table}\" in capture.tables"
    )]
    NoPrimaryKey { table: TableId },
    #[error(
        "table {table} has no primary key, and several unique keys that could stand for it ({indexes}): choose one, as in \
         capture.keys = {{ \"{table}\" = \"{first}\" }}"
    )]
    SeveralKeys { table: TableId, first: String, indexes: String },
    #[error("table {table} has no index {index}: correct the name in capture.keys, or take it out of there")]
    NoSuchKey { table: TableId, index: String },
    #[error(
        "index {index} of table {table} is not unique: name a unique index of NOT NULL columns in capture.keys"
    )]
    KeyNotUnique { table: TableId, index: String },
    #[error(
        "key column {column} of table {table} may be NULL: declare it NOT NULL, or leave the table out with \"!{table}\" \
         in capture.tables"
    )]
    NullableKey { table: TableId, column: String },
    #[error(
        "the key {index} of table {table} covers only a prefix of column {column}: make a key of whole columns, or leave \
         the table out with \"!{table}\" in capture.tables"
    )]
    PrefixKey { table: TableId, index: String, column: String },
    #[error(
        "the key {index} of table {table} has an expression: make a key of plain columns, or leave the table out with \
         \"!{table}\" in capture.tables"
    )]
    ExpressionKey { table: TableId, index: String },
    #[error(
        "key column {column} of table {table} is in capture.exclude_columns: take it out of there, for the key \
         has to be published"
    )]
    ExcludedKeyColumn { table: TableId, column: String },
    #[error(
        "column {column} of table {table} has the type {declared_type}, which is not supported: {}",
        leave_out(table, column, *in_key, "change its type")
    )]
    UnsupportedType { table: TableId, column: String, declared_type: String, in_key: bool },
    #[error(
        "column {column} of table {table} has the character set {charset}, which is not supported: {}",
        leave_out(table, column, *in_key, "convert it to utf8mb4")
    )]
    UnsupportedCharset { table: TableId, column: String, charset: String, in_key: bool },
    #[error(
        "the labels of column {column} of table {table} have characters of four bytes, or '?', and this server does not \
         state them exactly: {}",
        leave_out(table, column, *in_key, "declare other labels")
    )]
    UnstatedLabels { table: TableId, column: String, in_key: bool },
    #[error(
        "every column of table {table} is excluded: leave the table out with \"!{table}\" in capture.tables"
    )]
    NoColumns { table: TableId },
}

/// What to do about a column: a key has to be published, whatever its type.
fn leave_out(table: &TableId, column: &str, in_key: bool, change: &str) -> String {
    let way = if in_key {
        format!("leave the table out with \"!{table}\" in capture.tables: the column is in its key")
    } else {
        format!("list {table}.{column} in capture.exclude_columns")
    };
    format!("{change}, or {way}")
}

impl CatalogTable {
    /// The index whose columns are the key: the one that the configuration names, while there is one of that name; the one
    /// over the key of before, while there is one; the primary key; the only other of published columns that identifies rows.
    ///
    /// # Errors
    /// The problems whose names say key.
    pub fn key(&self, wishes: &Wishes<'_>) -> Result<&Index, TableProblem> {
        let table = || self.id.clone();
        if let Some(index) = wishes.key_index.and_then(|name| self.index(name)) {
            return self.identifying(index);
        }
        // A name that the configuration gives may be renamed, or gone, where the stream is.
        if let Some(index) = wishes.previous.and_then(|previous| self.index_of_key(previous)) {
            return Ok(index);
        }
        // Its columns may have other names by now.
        let named = wishes.previous_index.and_then(|name| self.index(name));
        if let Some(index) = named.filter(|index| self.identifying(index).is_ok()) {
            return Ok(index);
        }
        if let Some(name) = wishes.key_index {
            return Err(TableProblem::NoSuchKey { table: table(), index: name.to_owned() });
        }
        if let Some(primary) = self.index(PRIMARY) {
            return self.identifying(primary);
        }
        let excluded = |part: &IndexPart| part.column.as_ref().is_some_and(|column| wishes.excludes(column));
        // Rows cannot be read in the order of a hash.
        let may_be = |index: &&Index| {
            index.kind == "BTREE" && !index.parts.iter().any(excluded) && self.identifying(index).is_ok()
        };
        let others: Vec<&Index> = self.indexes.iter().filter(may_be).collect();
        match others[..] {
            [only] => Ok(only),
            [] => Err(TableProblem::NoPrimaryKey { table: table() }),
            [first, ..] => Err(TableProblem::SeveralKeys {
                table: table(),
                first: first.name.clone(),
                indexes: others.iter().map(|index| index.name.clone()).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// The index that identifies rows by the key of `table`, in its order; the primary key, if two do. Names of columns are
    /// those of `table`.
    #[must_use]
    pub fn index_of_key(&self, table: &Table) -> Option<&Index> {
        let names: Vec<&str> = table.key_columns().map(|column| column.name.as_str()).collect();
        // A column of the key may be gone.
        if names.len() < table.key.len() { None } else { self.index_over(&names) }
    }

    /// The index that identifies rows by these columns, in this order; the primary key, if two do.
    #[must_use]
    pub fn index_over(&self, columns: &[&str]) -> Option<&Index> {
        let over = |index: &&Index| {
            let names = index.parts.iter().map(|part| part.column.as_deref().unwrap_or_default());
            let same = names.len() == columns.len()
                && names.zip(columns).all(|(name, column)| same_name(name, column));
            same && self.identifying(index).is_ok()
        };
        self.indexes.iter().filter(over).min_by_key(|index| (index.name != PRIMARY, index.kind != "BTREE"))
    }

    /// The index, if each row has a key of its own by it.
    fn identifying<'a>(&self, index: &'a Index) -> Result<&'a Index, TableProblem> {
        let table = || self.id.clone();
        if !index.unique {
            return Err(TableProblem::KeyNotUnique { table: table(), index: index.name.clone() });
        }
        for part in &index.parts {
            let Some((_, column)) = part.column.as_deref().and_then(|name| self.column(name)) else {
                return Err(TableProblem::ExpressionKey { table: table(), index: index.name.clone() });
            };
            let column_name = column.name.clone();
            if part.prefix.is_some() {
                let index = index.name.clone();
                return Err(TableProblem::PrefixKey { table: table(), index, column: column_name });
            }
            if column.nullable {
                return Err(TableProblem::NullableKey { table: table(), column: column_name });
            }
        }
        Ok(index)
    }

    /// The table as it is published. Columns that `previous` has keep their ids, the others get new ones, in the
    /// order of the row image.
    ///
    /// # Errors
    /// The first reason found why the table cannot be replicated.
    pub fn published(&self, wishes: &Wishes<'_>) -> Result<Table, TableProblem> {
        let key = self.key(wishes)?;
        let mut next_id =
            wishes.previous.iter().flat_map(|table| &table.columns).map(|column| column.id).max();
        next_id = next_id.max(Some(wishes.highest_id));
        let mut next_id = next_id.unwrap_or(0);
        let mut columns = Vec::with_capacity(self.columns.len());
        for (ordinal, column) in (0_u32..).zip(&self.columns) {
            if wishes.excludes(&column.name) {
                continue;
            }
            let known = wishes.previous.and_then(|table| table.column_named(&column.name));
            let id = known.map_or_else(
                || {
                    next_id += 1;
                    next_id
                },
                |column| column.id,
            );
            columns.push(self.published_column(column, (id, ordinal), key, wishes)?);
        }
        if columns.is_empty() {
            return Err(TableProblem::NoColumns { table: self.id.clone() });
        }
        let mut key_ids = Vec::with_capacity(key.parts.len());
        for name in key.parts.iter().filter_map(|part| part.column.as_deref()) {
            let column = columns.iter().find(|column| same_name(&column.name, name));
            let column = column.ok_or_else(|| TableProblem::ExcludedKeyColumn {
                table: self.id.clone(),
                column: name.to_owned(),
            })?;
            key_ids.push(column.id);
        }
        // The target has a primary key over the key, which serves for what this one serves for.
        let indexes = self.indexes.iter().filter(|index| index.name != key.name);
        let indexes = indexes.cloned().collect();
        Ok(Table { id: self.id.clone(), columns, key: key_ids, indexes, comment: self.comment.clone() })
    }

    fn published_column(
        &self,
        column: &CatalogColumn,
        (id, ordinal): (u32, u32),
        key: &Index,
        wishes: &Wishes<'_>,
    ) -> Result<Column, TableProblem> {
        let in_key = key
            .parts
            .iter()
            .filter_map(|part| part.column.as_deref())
            .any(|name| same_name(name, &column.name));
        let unsupported = || TableProblem::UnsupportedType {
            table: self.id.clone(),
            column: column.name.clone(),
            declared_type: column.declared_type.clone(),
            in_key,
        };
        let column_type: ColumnType = column.declared_type.parse().map_err(|_| unsupported())?;
        column_type.avro().map_err(|_| unsupported())?;
        if column.inexact_labels {
            let (table, column) = (self.id.clone(), column.name.clone());
            return Err(TableProblem::UnstatedLabels { table, column, in_key });
        }
        if let Some(charset) =
            column.charset.as_deref().filter(|charset| !(wishes.charset_supported)(charset))
        {
            return Err(TableProblem::UnsupportedCharset {
                table: self.id.clone(),
                column: column.name.clone(),
                charset: charset.to_owned(),
                in_key,
            });
        }
        Ok(Column {
            id,
            ordinal,
            name: column.name.clone(),
            column_type,
            nullable: column.nullable,
            // Every row has its own value; only a column that is added is filled with its default.
            default: column.default.clone().filter(|_| !column.inexact_default),
            charset: column.charset.clone(),
            collation: column.collation.clone(),
            comment: column.comment.clone(),
            generated: column.generated,
            auto_increment: column.auto_increment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, declared_type: &str, nullable: bool) -> CatalogColumn {
        CatalogColumn {
            nullable,
            charset: declared_type.contains("char").then(|| "latin1".into()),
            ..CatalogColumn::new(name, declared_type)
        }
    }

    fn index(name: &str, unique: bool, column: &str, prefix: Option<u32>) -> Index {
        let parts = vec![IndexPart { column: Some(column.into()), prefix }];
        Index { name: name.into(), unique, kind: "BTREE".into(), parts }
    }

    fn table() -> CatalogTable {
        CatalogTable {
            id: TableId::new("shop", "orders"),
            columns: vec![
                column("id", "bigint unsigned", false),
                column("place", "point", true),
                column("name", "varchar(10)", true),
                column("code", "int", false),
            ],
            indexes: vec![
                index("PRIMARY", true, "id", None),
                index("by_code", true, "CODE", None),
                index("by_name", true, "name", None),
                index("by_prefix", true, "code", Some(3)),
                index("plain", false, "code", None),
            ],
            collation: "utf8mb4_0900_ai_ci".into(),
            engine: "InnoDB".into(),
            data_bytes: 16384,
            ..CatalogTable::default()
        }
    }

    fn wishes(excluded: &[String]) -> Wishes<'_> {
        Wishes { excluded, ..Wishes::new(|_| true) }
    }

    #[test]
    fn excluded_columns_leave_gaps_in_the_ordinals_but_not_in_the_ids() {
        let excluded = ["PLACE".to_owned()];
        let published = table().published(&wishes(&excluded)).unwrap();
        let places: Vec<_> = published.columns.iter().map(|column| (column.id, column.ordinal)).collect();
        assert_eq!(places, [(1, 0), (2, 2), (3, 3)]);
        assert_eq!(published.key, [1]);
        assert_eq!(published.indexes.len(), 4);
    }

    #[test]
    fn ids_live_on_by_name_and_are_never_given_twice() {
        let excluded = ["place".to_owned()];
        let previous = table().published(&wishes(&excluded)).unwrap();
        let mut changed = table();
        changed.columns.insert(0, column("first", "int", true));
        changed.columns.pop();
        changed.columns.push(column("last", "int", true));
        let again = Wishes { previous: Some(&previous), highest_id: 7, ..wishes(&excluded) };
        let published = changed.published(&again).unwrap();
        let ids: Vec<_> = published.columns.iter().map(|column| (column.name.as_str(), column.id)).collect();
        assert_eq!(ids, [("first", 8), ("id", 1), ("name", 2), ("last", 9)]);
    }

    #[test]
    fn what_cannot_be_replicated_says_why() {
        let excluded = ["place".to_owned()];
        let base = wishes(&excluded);
        let problem = |wishes: &Wishes<'_>| table().published(wishes).unwrap_err().to_string();
        assert!(problem(&wishes(&[])).contains("has the type point"));
        let both = ["place".to_owned(), "id".to_owned()];
        assert!(problem(&wishes(&both)).contains("the key has to be published"));
        assert!(problem(&Wishes { key_index: Some("by_name"), ..base }).contains("may be NULL"));
        assert!(problem(&Wishes { key_index: Some("by_prefix"), ..base }).contains("a prefix"));
        assert!(problem(&Wishes { key_index: Some("plain"), ..base }).contains("is not unique"));
        assert!(problem(&Wishes { key_index: Some("absent"), ..base }).contains("correct the name"));
        let charset = problem(&Wishes { charset_supported: |_| false, ..base });
        assert!(
            charset.contains("character set latin1") && charset.contains("capture.exclude_columns"),
            "{charset}"
        );
        // A key is published, or the table is not.
        let mut named = table();
        named.columns[2].nullable = false;
        let by_name = Wishes { key_index: Some("by_name"), charset_supported: |_| false, ..base };
        let charset = named.published(&by_name).unwrap_err().to_string();
        assert!(!charset.contains("exclude_columns") && charset.contains("!shop.orders"), "{charset}");
        let by_code = table().published(&Wishes { key_index: Some("by_code"), ..base }).unwrap();
        assert_eq!(by_code.key, [3]);
        let mut keyless = table();
        keyless.indexes.remove(0);
        // Only one of the others identifies rows.
        assert_eq!(keyless.published(&base).unwrap().key, [3]);
        let both = ["place".to_owned(), "code".to_owned()];
        assert!(keyless.published(&wishes(&both)).unwrap_err().to_string().contains("has no primary key"));
        keyless.indexes.retain(|index| index.name != "by_code");
        assert!(keyless.published(&base).unwrap_err().to_string().contains("has no primary key"));
    }

    #[test]
    fn a_key_is_kept_while_an_index_is_over_it() {
        let excluded = ["place".to_owned()];
        let base = wishes(&excluded);
        let mut two = table();
        two.columns[2].nullable = false;
        let without_primary = |table: &CatalogTable| {
            let indexes = table.indexes.iter().filter(|index| index.name != PRIMARY).cloned().collect();
            CatalogTable { indexes, ..table.clone() }
        };
        let problem = without_primary(&two).published(&base).unwrap_err().to_string();
        assert!(
            problem.contains("by_code, by_name") && problem.contains("{ \"shop.orders\" = \"by_code\" }"),
            "{problem}"
        );
        // One that was chosen stays, whatever it is called and whatever comes.
        let chosen = two.published(&Wishes { key_index: Some("by_name"), ..base }).unwrap();
        let after = Wishes { previous: Some(&chosen), ..base };
        assert_eq!(two.published(&after).unwrap().key, chosen.key);
        two.indexes[2].name = "renamed".into();
        assert_eq!(two.index_of_key(&two.published(&after).unwrap()).unwrap().name, "renamed");
        let named = Wishes { key_index: Some("by_name"), ..after };
        assert_eq!(
            two.published(&named).unwrap().key,
            chosen.key,
            "also where the configuration has not followed"
        );
        assert!(two.published(&named).unwrap().indexes.iter().any(|index| index.name == PRIMARY));
        two.columns[2].name = "title".into();
        two.indexes[2].parts[0].column = Some("title".into());
        let renamed = Wishes { previous_index: Some("renamed"), ..after };
        assert_eq!(two.key(&renamed).unwrap().name, "renamed", "its column has another name");
        two.indexes.remove(2);
        assert_eq!(two.published(&after).unwrap().key, [1], "the primary key takes its place");
        // Of two over the same columns rows are read by the primary key.
        let mut twice = table();
        twice.indexes.insert(0, index("again", true, "id", None));
        assert_eq!(twice.index_of_key(&twice.published(&base).unwrap()).unwrap().name, PRIMARY);
    }
}
