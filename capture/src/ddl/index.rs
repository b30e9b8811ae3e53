//! Keys, indexes and constraints, as CREATE TABLE, ALTER TABLE … ADD and CREATE INDEX declare them.

use super::cursor::Cursor;
use super::token::Kind;
use tributary_schemas::table::IndexPart;

/// A declared secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDefinition {
    /// Name; MySQL makes one up if there is none.
    pub name: Option<String>,
    pub unique: bool,
    /// `BTREE`, `FULLTEXT`, `SPATIAL`.
    pub kind: &'static str,
    /// In index order.
    pub parts: Vec<IndexPart>,
}

/// What stands beside the columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// PRIMARY KEY over these parts.
    Primary(Vec<IndexPart>),
    /// A secondary index.
    Index(IndexDefinition),
    /// FOREIGN KEY: MySQL adds an index over its columns where there is none.
    ForeignKey {
        /// Name of the constraint, or of its index.
        name: Option<String>,
        /// The referencing columns.
        columns: Vec<String>,
    },
    Check,
}

const STARTS: [&str; 9] =
    ["CONSTRAINT", "PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"];

/// True if a constraint begins here; all of these words are reserved, so that it is no column.
pub(super) fn is_constraint(cursor: &Cursor<'_, '_>) -> bool {
    STARTS.iter().any(|word| cursor.is_word(word))
}

/// Reads one constraint.
pub(super) fn constraint(cursor: &mut Cursor<'_, '_>) -> Option<Constraint> {
    let symbol = if cursor.word("CONSTRAINT") { cursor.name_except(&STARTS) } else { None };
    if cursor.words(&["PRIMARY", "KEY"]) {
        return index_of(cursor, true, "BTREE").map(|index| Constraint::Primary(index.parts));
    }
    if cursor.word("UNIQUE") {
        cursor.any_word(&["INDEX", "KEY"]);
        let index = index_of(cursor, true, "BTREE")?;
        return Some(Constraint::Index(IndexDefinition { name: index.name.or(symbol), ..index }));
    }
    if let Some(kind) = cursor.any_word(&["FULLTEXT", "SPATIAL"]) {
        cursor.any_word(&["INDEX", "KEY"]);
        return index_of(cursor, false, kind).map(Constraint::Index);
    }
    if cursor.any_word(&["INDEX", "KEY"]).is_some() {
        return index_of(cursor, false, "BTREE").map(Constraint::Index);
    }
    if cursor.words(&["FOREIGN", "KEY"]) {
        let name = cursor.name();
        let columns = index_parts(cursor)?.into_iter().filter_map(|part| part.column).collect();
        cursor.skip_to_comma();
        return Some(Constraint::ForeignKey { name: symbol.or(name), columns });
    }
    cursor.word("CHECK").then_some(())?;
    cursor.parenthesized()?;
    cursor.word("NOT");
    cursor.word("ENFORCED");
    Some(Constraint::Check)
}

/// `[name] [USING type] (parts) [options]`.
fn index_of(cursor: &mut Cursor<'_, '_>, unique: bool, kind: &'static str) -> Option<IndexDefinition> {
    let name = cursor.name_except(&["USING", "TYPE"]);
    index_after_name(cursor, name, unique, kind)
}

/// What follows an index's name: `[USING type] (parts) [options]`.
pub(super) fn index_after_name(
    cursor: &mut Cursor<'_, '_>,
    name: Option<String>,
    unique: bool,
    kind: &'static str,
) -> Option<IndexDefinition> {
    if cursor.any_word(&["USING", "TYPE"]).is_some() {
        cursor.next()?;
    }
    let parts = index_parts(cursor)?;
    while index_option(cursor) {}
    Some(IndexDefinition { name, unique, kind, parts })
}

/// True if an option of an index was there.
fn index_option(cursor: &mut Cursor<'_, '_>) -> bool {
    if cursor.any_word(&["VISIBLE", "INVISIBLE"]).is_some() {
        return true;
    }
    if cursor.words(&["WITH", "PARSER"]) || cursor.any_word(&["USING", "TYPE"]).is_some() {
        return cursor.next().is_some();
    }
    let with_value =
        cursor.any_word(&["KEY_BLOCK_SIZE", "COMMENT", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]);
    if with_value.is_some() {
        cursor.symbol("=");
        return cursor.next().is_some();
    }
    false
}

fn index_parts(cursor: &mut Cursor<'_, '_>) -> Option<Vec<IndexPart>> {
    let inner = cursor.parenthesized()?;
    let mut parts = Vec::new();
    for mut part in inner.split_commas() {
        if part.is_symbol("(") {
            parts.push(IndexPart { column: None, prefix: None });
            continue;
        }
        let column = part.name()?;
        let prefix = match part.parenthesized() {
            Some(mut length) => Some(length.next().filter(|t| t.kind == Kind::Number)?.text.parse().ok()?),
            None => None,
        };
        parts.push(IndexPart { column: Some(column), prefix });
    }
    Some(parts)
}
