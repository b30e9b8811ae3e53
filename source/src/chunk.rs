//! The SQL of reading a table in pieces: a table and a range of its key enter, statement text and parameters leave.
//!
//! Invariant: the source orders and compares, by the full key and the columns' own collations; nothing here does.
//! Bounds are compared in the expanded form, `(a > ?) OR (a = ? AND b > ?)`, which the server reads as ranges of the
//! index (row constructors it does not). ENUM and SET are compared as numbers, in the order of the index; since the
//! server uses an ENUM's index for equality only, `>` and `<` on a short ENUM are written out as lists.

use crate::keys::{KeyForm, Operand, key_form};
use mysql_async::{Row, Value};
use std::fmt::Write;
use thiserror::Error;
use tributary_schemas::checkpoint::{KeyRange, KeyValue};
use tributary_schemas::row::RowError;
use tributary_schemas::table::Table;

/// Up to this many labels, an ENUM's `>` and `<` are written as lists.
const LISTED_LABELS: usize = 256;

/// A statement and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Text with a `?` for each parameter.
    pub sql: String,
    /// In the order of the text.
    pub params: Vec<Value>,
}

/// A table, or a stored bound, that chunks cannot be made of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// A key column of a type that cannot be in a key.
    #[error("key column {column} has the type {column_type}, which cannot be compared")]
    KeyType {
        /// Column name.
        column: String,
        /// Declared type.
        column_type: String,
    },
    /// A stored bound does not belong to the key as it is now: the key was changed. The table must be read anew.
    #[error("a stored key bound does not fit the key of {table} as it is now: the table must be read anew")]
    Bound { table: String },
    /// A value of a key column that cannot be a bound.
    #[error(
        "a row of {table} has a key that cannot be written as a bound: an ENUM or SET label unknown to the catalog"
    )]
    KeyOfRow { table: String },
}

#[derive(Debug, Clone)]
struct KeyColumn {
    /// Quoted.
    name: String,
    /// As it is.
    plain: String,
    form: KeyForm,
    /// Index into the columns of [`ChunkSql::select`]: the column itself, or its bytes.
    place: usize,
    /// How a SELECT asks for the value that is stored.
    asked: String,
    /// Index into the columns of [`ChunkSql::select`] of the column's text, if `place` has its bytes.
    text: Option<usize>,
}

/// Everything constant in the statements of one table.
#[derive(Debug, Clone)]
pub struct ChunkSql {
    table: String,
    from: String,
    columns: String,
    key: Vec<KeyColumn>,
    /// The key as it is ordered by.
    key_list: String,
    /// The key as it is asked for.
    asked: String,
}

/// A name as MySQL quotes it.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

impl ChunkSql {
    /// Prepares the statements of `table`, whose key is the index `key_index` (`PRIMARY`).
    pub fn new(table: &Table, key_index: &str) -> Result<Self, ChunkError> {
        let mut key = Vec::with_capacity(table.key.len());
        let mut columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
        for column in table.key_columns() {
            let form = key_form(&column.column_type, column.charset.as_deref()).ok_or_else(|| {
                ChunkError::KeyType {
                    column: column.name.clone(),
                    column_type: column.column_type.to_string(),
                }
            })?;
            let name = quote(&column.name);
            let own = table.columns.iter().position(|other| other.id == column.id).unwrap_or_default();
            let (place, asked, text) = if matches!(form, KeyForm::Chars(_)) {
                let bytes = format!("CAST({name} AS BINARY)");
                columns.push(bytes.clone());
                (columns.len() - 1, bytes, Some(own))
            } else {
                (own, name.clone(), None)
            };
            key.push(KeyColumn { name, plain: column.name.clone(), form, place, asked, text });
        }
        let list = |names: Vec<String>| names.join(", ");
        Ok(Self {
            table: table.id.to_string(),
            from: format!(
                "{}.{} FORCE INDEX ({})",
                quote(&table.id.database),
                quote(&table.id.table),
                quote(key_index)
            ),
            columns: list(columns),
            asked: list(key.iter().map(|column| column.asked.clone()).collect()),
            key_list: list(key.iter().map(|column| column.name.clone()).collect()),
            key,
        })
    }

    /// Reads the rows of `range` in key order: the table's columns, then what [`Self::key_of`] and [`Self::check_key`] need.
    /// `shared_lock` is the dialect's locking clause, for sources without
    /// GTID.
    pub fn select(&self, range: &KeyRange, shared_lock: Option<&str>) -> Result<Statement, ChunkError> {
        let mut statement = self.begin(&self.columns, range)?;
        // Writing to a String cannot fail.
        let _ = write!(statement.sql, " ORDER BY {}", self.key_list);
        append_lock(&mut statement.sql, shared_lock);
        Ok(statement)
    }

    /// Finds the key of the row that is the `rows`th of `range`: the end of a chunk of so many rows. No row: the
    /// range has fewer.
    pub fn boundary(&self, range: &KeyRange, rows: u64) -> Result<Statement, ChunkError> {
        let mut statement = self.begin(&self.asked, range)?;
        let skip = rows.saturating_sub(1);
        // Writing to a String cannot fail.
        let _ = write!(statement.sql, " ORDER BY {} LIMIT 1 OFFSET {skip}", self.key_list);
        Ok(statement)
    }

    /// Finds the largest key: the cap of the last range. No row: the table is empty.
    #[must_use]
    pub fn last_key(&self, shared_lock: Option<&str>) -> Statement {
        let order: Vec<String> = self.key.iter().map(|column| format!("{} DESC", column.name)).collect();
        let order = order.join(", ");
        let mut sql = format!("SELECT {} FROM {} ORDER BY {order} LIMIT 1", self.asked, self.from);
        append_lock(&mut sql, shared_lock);
        Statement { sql, params: Vec::new() }
    }

    /// The key of a row of [`Self::select`].
    pub fn key_of(&self, row: &Row) -> Result<Vec<KeyValue>, ChunkError> {
        self.read_key(row, |_, column| column.place)
    }

    /// The key of a row of [`Self::boundary`] or [`Self::last_key`].
    pub fn key_of_bound(&self, row: &Row) -> Result<Vec<KeyValue>, ChunkError> {
        self.read_key(row, |index, _| index)
    }

    /// A key as text, for people: `id=5, part="x"`.
    #[must_use]
    pub fn describe(&self, key: &[KeyValue]) -> String {
        let pairs = self.key.iter().zip(key).map(|(column, value)| {
            let name = &column.plain;
            match value {
                KeyValue::Int(number) => format!("{name}={number}"),
                KeyValue::UInt(number) => format!("{name}={number}"),
                KeyValue::Double(number) => format!("{name}={number}"),
                KeyValue::Text(text) => format!("{name}={text:?}"),
                KeyValue::Hex(digits) => format!("{name}=0x{digits}"),
            }
        });
        pairs.collect::<Vec<_>>().join(", ")
    }

    /// The bounds of a range as text, for people.
    #[must_use]
    pub fn describe_range(&self, range: &KeyRange) -> String {
        let bound = |bound: &Option<Vec<KeyValue>>, open: &str| {
            bound.as_ref().map_or_else(|| open.to_owned(), |key| format!("({})", self.describe(key)))
        };
        format!(
            "in the chunk behind {} up to {}",
            bound(&range.after, "the beginning"),
            bound(&range.through, "the end")
        )
    }

    /// A row of [`Self::select`] whose key is a text that may be another row's, too, is refused.
    pub fn check_key(&self, row: &Row) -> Result<(), RowError> {
        for column in &self.key {
            if let (KeyForm::Chars(charset), Some(text)) = (&column.form, column.text)
                && let (Some(Value::Bytes(bytes)), Some(Value::Bytes(text))) =
                    (row.as_ref(column.place), row.as_ref(text))
                && !(charset.is_text(bytes) && charset.comes_back(bytes, text))
            {
                return Err(RowError::LossyKey {
                    column: column.plain.clone(),
                    charset: charset.name.to_owned(),
                    bytes: bytes.clone(),
                });
            }
        }
        Ok(())
    }

    fn read_key(
        &self,
        row: &Row,
        place: impl Fn(usize, &KeyColumn) -> usize,
    ) -> Result<Vec<KeyValue>, ChunkError> {
        let values = self.key.iter().enumerate().map(|(index, column)| {
            row.as_ref(place(index, column)).and_then(|value| column.form.store(value))
        });
        let key: Option<Vec<_>> = values.collect();
        key.ok_or_else(|| ChunkError::KeyOfRow { table: self.table.clone() })
    }

    /// `SELECT list FROM table WHERE range`.
    fn begin(&self, list: &str, range: &KeyRange) -> Result<Statement, ChunkError> {
        let mut statement =
            Statement { sql: format!("SELECT {list} FROM {}", self.from), params: Vec::new() };
        let mut word = " WHERE ";
        for (bound, side) in [(&range.after, Side::After), (&range.through, Side::Through)] {
            if let Some(bound) = bound {
                statement.sql.push_str(word);
                word = " AND ";
                self.compare(bound, side, &mut statement)?;
            }
        }
        Ok(statement)
    }

    /// Appends `(a > ? OR (a = ? AND b > ?))`, or the same with `<` and the bound itself.
    fn compare(&self, bound: &[KeyValue], side: Side, statement: &mut Statement) -> Result<(), ChunkError> {
        let mismatch = || ChunkError::Bound { table: self.table.clone() };
        if bound.len() != self.key.len() || bound.is_empty() {
            return Err(mismatch());
        }
        let bound: Vec<(&KeyColumn, &KeyValue, Operand)> = self
            .key
            .iter()
            .zip(bound)
            .map(|(column, stored)| column.form.operand(stored).map(|operand| (column, stored, operand)))
            .collect::<Option<_>>()
            .ok_or_else(mismatch)?;
        let Statement { sql, params } = statement;
        sql.push('(');
        for (depth, (column, stored, operand)) in bound.iter().enumerate() {
            sql.push_str(if depth == 0 { "(" } else { " OR (" });
            for (equal, _, operand) in bound.iter().take(depth) {
                // Writing to a String cannot fail.
                let _ = write!(sql, "{} = {} AND ", equal.name, operand.sql);
                params.extend(operand.param.clone());
            }
            let last = depth + 1 == bound.len();
            if let Some(list) = enum_list(&column.form, stored, side, last) {
                let _ = write!(sql, "{} IN ({list})", column.name);
            } else {
                let operator = match (side, last) {
                    (Side::After, _) => ">",
                    (Side::Through, false) => "<",
                    (Side::Through, true) => "<=",
                };
                let _ = write!(sql, "{} {operator} {}", column.name, operand.sql);
                params.extend(operand.param.clone());
            }
            sql.push(')');
        }
        sql.push(')');
        Ok(())
    }
}

/// Which end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    After,
    Through,
}

/// The numbers of an ENUM on one side of a bound, as a list; `None` for other types and long ENUMs. An empty list
/// would be a syntax error: NULL matches nothing.
fn enum_list(form: &KeyForm, stored: &KeyValue, side: Side, inclusive: bool) -> Option<String> {
    let (KeyForm::Enum(labels), KeyValue::Int(bound)) = (form, stored) else { return None };
    if labels.len() > LISTED_LABELS {
        return None;
    }
    let all = 0..=i64::try_from(labels.len()).ok()?;
    let inside = all.filter(|number| match side {
        Side::After => number > bound,
        Side::Through => number < bound || (inclusive && number == bound),
    });
    let list: Vec<String> = inside.map(|number| number.to_string()).collect();
    Some(if list.is_empty() { "NULL".to_owned() } else { list.join(",") })
}

fn append_lock(sql: &mut String, shared_lock: Option<&str>) {
    if let Some(clause) = shared_lock {
        sql.push(' ');
        sql.push_str(clause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::table::{Column, TableId};

    fn table(key: &[(&str, &str)]) -> Table {
        let column = |(id, (name, text)): (u32, &(&str, &str))| Column::new(id, *name, text.parse().unwrap());
        let columns: Vec<Column> = (1..).zip(key).map(column).collect();
        let key = columns.iter().map(|column| column.id).collect();
        Table { id: TableId::new("d", "t`t"), columns, key, ..Table::default() }
    }

    #[test]
    fn a_row_is_named_by_its_key_and_else_by_its_chunk() {
        let sql = ChunkSql::new(&table(&[("a", "int"), ("b`", "varchar(9)")]), "PRIMARY").unwrap();
        let key = vec![KeyValue::Int(1), KeyValue::Text("x y".into())];
        assert_eq!(sql.describe(&key), "a=1, b`=\"x y\"");
        let range = KeyRange { after: Some(key), through: None };
        assert_eq!(sql.describe_range(&range), "in the chunk behind (a=1, b`=\"x y\") up to the end");
    }

    #[test]
    fn a_composite_range_is_written_out() {
        let sql = ChunkSql::new(&table(&[("a", "int"), ("b", "decimal(5,2)")]), "PRIMARY").unwrap();
        let range = KeyRange {
            after: Some(vec![KeyValue::Int(1), KeyValue::Text("2.50".into())]),
            through: Some(vec![KeyValue::Int(3), KeyValue::Text("4.00".into())]),
        };
        let statement = sql.select(&range, Some("FOR SHARE")).unwrap();
        assert_eq!(
            statement.sql,
            "SELECT `a`, `b` FROM `d`.`t``t` FORCE INDEX (`PRIMARY`) WHERE \
             ((`a` > ?) OR (`a` = ? AND `b` > CAST(? AS DECIMAL(5,2)))) AND \
             ((`a` < ?) OR (`a` = ? AND `b` <= CAST(? AS DECIMAL(5,2)))) ORDER BY `a`, `b` FOR SHARE"
        );
        assert_eq!(statement.params.len(), 6);
        let whole = KeyRange { after: None, through: None };
        let boundary = sql.boundary(&whole, 10).unwrap().sql;
        assert!(boundary.ends_with("(`PRIMARY`) ORDER BY `a`, `b` LIMIT 1 OFFSET 9"), "{boundary}");
        let last = sql.last_key(None).sql;
        assert!(last.ends_with("ORDER BY `a` DESC, `b` DESC LIMIT 1"), "{last}");
    }

    #[test]
    fn a_text_that_is_not_utf8_is_asked_for_and_bound_by_its_bytes() {
        let mut table = table(&[("n", "int"), ("k`", "varchar(9)")]);
        table.columns[1].charset = Some("cp1250".into());
        let sql = ChunkSql::new(&table, "PRIMARY").unwrap();
        let bound = |value| Some(vec![KeyValue::Int(1), value]);
        let range = KeyRange {
            after: bound(KeyValue::Hex("81".into())),
            // As an earlier version stored it.
            through: bound(KeyValue::Text("z".into())),
        };
        let statement = sql.select(&range, None).unwrap();
        assert_eq!(
            statement.sql,
            "SELECT `n`, `k```, CAST(`k``` AS BINARY) FROM `d`.`t``t` FORCE INDEX (`PRIMARY`) WHERE \
             ((`n` > ?) OR (`n` = ? AND `k``` > _cp1250 X'81')) AND ((`n` < ?) OR (`n` = ? AND `k``` <= ?)) \
             ORDER BY `n`, `k```"
        );
        assert_eq!(statement.params.len(), 5);
        assert!(sql.last_key(None).sql.starts_with("SELECT `n`, CAST(`k``` AS BINARY) FROM"));
        let hostile = KeyRange { after: bound(KeyValue::Hex("81' OR 1".into())), through: None };
        assert!(sql.select(&hostile, None).is_err());
    }

    #[test]
    fn an_enum_is_written_as_a_list_of_numbers() {
        let sql = ChunkSql::new(&table(&[("e", "enum('z','a','m')")]), "PRIMARY").unwrap();
        let range = |after, through| KeyRange { after: Some(vec![after]), through: Some(vec![through]) };
        let statement = sql.select(&range(KeyValue::Int(1), KeyValue::Int(2)), None).unwrap();
        assert!(statement.sql.contains("WHERE ((`e` IN (2,3))) AND ((`e` IN (0,1,2)))"), "{}", statement.sql);
        let statement = sql.select(&range(KeyValue::Int(3), KeyValue::Int(3)), None).unwrap();
        assert!(statement.sql.contains("((`e` IN (NULL)))"), "{}", statement.sql);
    }

    #[test]
    fn a_bound_of_another_key_is_refused() {
        let sql = ChunkSql::new(&table(&[("a", "int")]), "PRIMARY").unwrap();
        for bound in [vec![], vec![KeyValue::Text("x".into())], vec![KeyValue::Int(1), KeyValue::Int(2)]] {
            let range = KeyRange { after: Some(bound), through: None };
            assert_eq!(sql.select(&range, None), Err(ChunkError::Bound { table: "d.t`t".into() }));
        }
        assert!(ChunkSql::new(&table(&[("j", "json")]), "PRIMARY").is_err());
    }
}
