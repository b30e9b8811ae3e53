//! The tables of the source as `information_schema` has them: a connection and a selection enter, [`CatalogTable`]s
//! leave. What of them is published, and what cannot be, is decided in [`crate::publish`].
//!
//! Invariant: `columns` has every column of the row images, in their order, also those that are not published.

mod exact;

use crate::connect::SourceConnection;
use crate::error::SourceError;
use mysql_async::{FromRowError, Row, Value, from_row_opt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::table::{ColumnDefault, Index, IndexPart, TableId, same_name};

/// A column as the catalog declares it; the type is still text, for it may be one that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogColumn {
    /// As the source spells it.
    pub name: String,
    /// `COLUMN_TYPE`.
    pub declared_type: String,
    /// May be NULL.
    pub nullable: bool,
    /// DEFAULT clause; `None` for none and for NULL.
    pub default: Option<ColumnDefault>,
    /// Character set, for types that have one.
    pub charset: Option<String>,
    /// Collation, for types that have one.
    pub collation: Option<String>,
    /// COMMENT clause.
    pub comment: String,
    /// VIRTUAL or STORED.
    pub generated: bool,
    /// The expression of a generated column as the server prints it; empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub expression: String,
    pub auto_increment: bool,
    /// Left out by `SELECT *`, but not by row images.
    pub invisible: bool,
    /// The labels of the type are not surely those that the server holds: it does not state them exactly.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inexact_labels: bool,
    /// So is the default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inexact_default: bool,
}

impl CatalogColumn {
    /// A column that may be NULL, declared with its type alone.
    pub fn new(name: impl Into<String>, declared_type: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            declared_type: declared_type.into(),
            nullable: true,
            default: None,
            charset: None,
            collation: None,
            comment: String::new(),
            generated: false,
            expression: String::new(),
            auto_increment: false,
            invisible: false,
            inexact_labels: false,
            inexact_default: false,
        }
    }
}

/// A base table as the catalog has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogTable {
    /// Name, as the source spells it.
    pub id: TableId,
    /// All columns, in the order of the row image.
    pub columns: Vec<CatalogColumn>,
    /// All indexes in name order, the primary key (named `PRIMARY`) included.
    pub indexes: Vec<Index>,
    /// COMMENT clause.
    pub comment: String,
    /// Collation that a new column gets if it names none; its charset follows from it.
    #[serde(default)]
    pub collation: String,
    /// Storage engine.
    pub engine: String,
    /// The server's estimate, rows.
    pub rows_estimated: u64,
    /// Size of the data, bytes; an estimate too.
    pub data_bytes: u64,
    /// True for a partitioned table.
    pub partitioned: bool,
    /// Somebody held the table locked while it was asked about, so that its labels may not be what they are: nothing may be
    /// built on this definition, and asking again can help.
    #[serde(skip)]
    pub unasked: bool,
}

impl CatalogTable {
    /// The index of this name.
    #[must_use]
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| same_name(&index.name, name))
    }

    /// The column of this name, compared as MySQL compares column names.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<(usize, &CatalogColumn)> {
        self.columns.iter().enumerate().find(|(_, column)| same_name(&column.name, name))
    }

    /// True if the two differ in nothing but the server's estimates.
    #[must_use]
    pub fn same_definition(&self, other: &Self) -> bool {
        let mut other = other.clone();
        other.rows_estimated = self.rows_estimated;
        other.data_bytes = self.data_bytes;
        *self == other
    }

    /// Estimated bytes of a row. Statistics can be a day old, and know nothing of a table that was filled since: rows
    /// then count as large, so that the first chunks are small.
    #[must_use]
    pub fn row_bytes_estimated(&self) -> u64 {
        const SMALLEST: u64 = 64;
        const UNKNOWN: u64 = 4096;
        match self.data_bytes.checked_div(self.rows_estimated) {
            Some(bytes) if bytes > 0 => bytes.max(SMALLEST),
            _ => UNKNOWN,
        }
    }
}

/// Tables asked about in one statement.
const GROUP: usize = 200;

const TABLES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
    WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN \
    ('information_schema', 'mysql', 'performance_schema', 'sys') ORDER BY TABLE_SCHEMA, TABLE_NAME";
const DETAILS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, TABLE_COMMENT, CREATE_OPTIONS, TABLE_COLLATION \
    FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' AND ";
/// Not asked of MEMORY tables: the first who touches one after the server's start finds it empty and has the server log
/// that, but not if the touch is this question. Its rows would then stay in the destination for ever.
const ESTIMATES: &str =
    "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES WHERE ";
const COLUMNS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, \
    CHARACTER_SET_NAME, COLLATION_NAME, COLUMN_COMMENT, EXTRA, GENERATION_EXPRESSION FROM information_schema.COLUMNS WHERE ";
const INDEXES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, INDEX_TYPE \
    FROM information_schema.STATISTICS WHERE ";

/// The names of all base tables outside of the server's own databases, in name order.
pub async fn list_tables(connection: &mut SourceConnection) -> Result<Vec<TableId>, SourceError> {
    let rows = connection.query("listing the tables", TABLES).await?;
    let names = rows.into_iter().map(from_row_opt::<(String, String)>);
    let ids = names.map(|name| name.map(|(database, table)| TableId { database, table }));
    ids.collect::<Result<_, _>>().map_err(|error| shape(connection, &error))
}

/// The tables that `selected` accepts, in name order; it is given a table and the names of all.
pub async fn read_tables(
    connection: &mut SourceConnection,
    selected: impl Fn(&TableId, &BTreeSet<TableId>) -> bool,
) -> Result<Vec<CatalogTable>, SourceError> {
    let mut ids = list_tables(connection).await?;
    let all: BTreeSet<TableId> = ids.iter().cloned().collect();
    ids.retain(|id| selected(id, &all));
    let mut tables = BTreeMap::new();
    for group in ids.chunks(GROUP) {
        read_group(connection, group, &mut tables).await?;
    }
    Ok(tables.into_values().collect())
}

/// One table; `None` if it is not there.
pub async fn read_table(
    connection: &mut SourceConnection,
    id: &TableId,
) -> Result<Option<CatalogTable>, SourceError> {
    let mut tables = BTreeMap::new();
    read_group(connection, std::slice::from_ref(id), &mut tables).await?;
    Ok(tables.into_values().next())
}

/// Adds the tables of `group`. The server may compare names without regard to case, so whatever else it returns is
/// left out.
async fn read_group(
    connection: &mut SourceConnection,
    group: &[TableId],
    tables: &mut BTreeMap<TableId, CatalogTable>,
) -> Result<(), SourceError> {
    const DURING: &str = "reading the catalog";
    let (filter, params) = filter(group.iter());
    for row in connection.query_with(DURING, &format!("{DETAILS}{filter}"), params.clone()).await? {
        let table = parse_table(row).map_err(|error| shape(connection, &error))?;
        if group.contains(&table.id) {
            tables.insert(table.id.clone(), table);
        }
    }
    read_estimates(connection, group, tables).await?;
    let columns = format!("{COLUMNS}{filter} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION");
    for row in connection.query_with(DURING, &columns, params.clone()).await? {
        let (id, column) = parse_column(row).map_err(|error| shape(connection, &error))?;
        if let Some(table) = tables.get_mut(&id) {
            table.columns.push(column);
        }
    }
    let indexes = format!("{INDEXES}{filter} ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX");
    for row in connection.query_with(DURING, &indexes, params).await? {
        let (id, mut index) = parse_index(row).map_err(|error| shape(connection, &error))?;
        if let Some(table) = tables.get_mut(&id) {
            match table.indexes.last_mut() {
                Some(last) if last.name == index.name => last.parts.append(&mut index.parts),
                _ => table.indexes.push(index),
            }
        }
    }
    let lossy: Vec<&mut CatalogTable> =
        tables.values_mut().filter(|table| group.contains(&table.id)).collect();
    exact::complete(connection, lossy).await
}

/// The condition that a row of `information_schema` is about one of these tables.
fn filter<'a>(ids: impl ExactSizeIterator<Item = &'a TableId>) -> (String, Vec<Value>) {
    let names = vec!["(?,?)"; ids.len()].join(",");
    let params = ids.flat_map(|id| [id.database.as_str().into(), id.table.as_str().into()]).collect();
    (format!("(TABLE_SCHEMA, TABLE_NAME) IN ({names})"), params)
}

/// Adds the server's estimates to the tables of `group` that may be asked for them.
async fn read_estimates(
    connection: &mut SourceConnection,
    group: &[TableId],
    tables: &mut BTreeMap<TableId, CatalogTable>,
) -> Result<(), SourceError> {
    let is_memory =
        |id: &&TableId| tables.get(*id).is_none_or(|table| table.engine.eq_ignore_ascii_case("MEMORY"));
    let ids: Vec<&TableId> = group.iter().filter(|id| !is_memory(id)).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let (filter, params) = filter(ids.into_iter());
    for row in connection.query_with("reading the catalog", &format!("{ESTIMATES}{filter}"), params).await? {
        type Shape = (String, String, Option<u64>, Option<u64>);
        let (database, table, rows, bytes): Shape =
            from_row_opt(row).map_err(|error| shape(connection, &error))?;
        if let Some(table) = tables.get_mut(&TableId { database, table }) {
            table.rows_estimated = rows.unwrap_or_default();
            table.data_bytes = bytes.unwrap_or_default();
        }
    }
    Ok(())
}

fn shape(connection: &SourceConnection, _: &FromRowError) -> SourceError {
    let remedy = "report this with the server's version";
    SourceError::definite("reading the catalog", connection.address(), "an answer of unknown shape", remedy)
}

fn parse_table(row: Row) -> Result<CatalogTable, FromRowError> {
    type Text = Option<String>;
    type Shape = (String, String, Text, Text, Text, Text);
    let (database, table, engine, comment, options, collation): Shape = from_row_opt(row)?;
    Ok(CatalogTable {
        id: TableId { database, table },
        comment: comment.unwrap_or_default(),
        collation: collation.unwrap_or_default(),
        engine: engine.unwrap_or_default(),
        partitioned: options.unwrap_or_default().contains("partitioned"),
        ..CatalogTable::default()
    })
}

fn parse_column(row: Row) -> Result<(TableId, CatalogColumn), FromRowError> {
    type Text = Option<String>;
    type Shape = (String, String, String, String, String, Text, Text, Text, Text, Text, Text);
    let shape: Shape = from_row_opt(row)?;
    let (
        database,
        table,
        name,
        declared_type,
        nullable,
        default,
        charset,
        collation,
        comment,
        extra,
        expression,
    ) = shape;
    let extra = extra.unwrap_or_default().to_uppercase();
    let column = CatalogColumn {
        default: default.map(|text| parse_default(text, &declared_type, &extra)),
        name,
        declared_type,
        nullable: nullable.eq_ignore_ascii_case("YES"),
        charset,
        collation,
        comment: comment.unwrap_or_default(),
        generated: extra.contains("VIRTUAL GENERATED") || extra.contains("STORED GENERATED"),
        expression: expression.unwrap_or_default(),
        auto_increment: extra.contains("AUTO_INCREMENT"),
        invisible: extra.contains("INVISIBLE"),
        inexact_labels: false,
        inexact_default: false,
    };
    Ok((TableId { database, table }, column))
}

/// MySQL 8 marks expressions in EXTRA; 5.7 knows no other than CURRENT_TIMESTAMP, and does not mark it.
fn parse_default(text: String, declared_type: &str, extra: &str) -> ColumnDefault {
    let temporal = ["timestamp", "datetime"].iter().any(|name| declared_type.starts_with(name));
    let now = temporal && text.to_uppercase().starts_with("CURRENT_TIMESTAMP");
    if now || extra.contains("DEFAULT_GENERATED") {
        ColumnDefault::Expression(text)
    } else {
        ColumnDefault::Constant(text)
    }
}

fn parse_index(row: Row) -> Result<(TableId, Index), FromRowError> {
    type Shape = (String, String, String, u64, Option<String>, Option<u32>, String);
    let (database, table, name, non_unique, column, prefix, kind): Shape = from_row_opt(row)?;
    let parts = vec![IndexPart { column, prefix }];
    Ok((TableId { database, table }, Index { name, unique: non_unique == 0, kind, parts }))
}
