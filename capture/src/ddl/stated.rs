//! What a statement says against what the server says. The next definition as it follows from the statement's text enters,
//! with the definition that the server states at a place that may lie further on; the definition to go on with leaves, or
//! the reason why the rows must be read again.
//!
//! Of a column that the statement adds or redefines the server's word counts. It may already know of a later statement:
//! then what the text says for certain stands, and what it leaves open is taken from the server until it is proven. It is
//! proven when the stream reaches the server's place without another statement on the table.
//!
//! Invariant: a default or a label that depends on the session is never taken from the text alone.

use super::catalog::{Next, Session};
use super::conversion::is_same_type;
use tributary_schemas::table::{ColumnDefault, same_name};
use tributary_schemas::types::ColumnType;
use tributary_source::catalog::{CatalogColumn, CatalogTable};
use tributary_source::publish::PRIMARY;

/// The server's definition of a table.
#[derive(Debug, Clone, Copy)]
pub struct Stated<'a> {
    /// As it was at some place; `None` if the table was not there.
    pub table: Option<&'a CatalogTable>,
    /// The stream is at that place: nothing lies between.
    pub here: bool,
}

/// How to go on after a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatedVerdict {
    /// With this definition.
    Follow {
        /// Its columns as the server states them, where it does.
        next: Box<Next>,
        /// A part of it is only the server's word at a later place.
        unproven: bool,
    },
    /// With the rows read again.
    Reread(String),
}

/// Judges the definition that follows from a statement on `old`.
#[must_use]
pub fn follow(old: &CatalogTable, mut next: Next, stated: Stated<'_>, session: &Session) -> StatedVerdict {
    let names = |table: &CatalogTable| -> Vec<String> {
        table.columns.iter().map(|column| column.name.clone()).collect()
    };
    if let Some(table) = stated.table.filter(|_| stated.here)
        && names(table) != names(&next.table)
    {
        return StatedVerdict::Reread(format!(
            "the server's columns ({}) are not those that follow from the statement ({})",
            names(table).join(", "),
            names(&next.table).join(", ")
        ));
    }
    let mut unproven = false;
    for (place, doubt) in next.declared.clone() {
        let Some(said) = next.table.columns.get_mut(place) else { continue };
        let found = stated.table.and_then(|table| table.column(&said.name)).map(|(_, column)| column);
        match (found, doubt) {
            (Some(found), _) if stated.here || agrees(said, found) => found.clone_into(said),
            (_, None) => {}
            (Some(found), Some(_)) if same_layout(said, found) => {
                found.clone_into(said);
                unproven = true;
            }
            (_, Some(doubt)) => {
                return StatedVerdict::Reread(format!(
                    "column {}: {doubt} cannot be told from the statement, and the server has gone on since",
                    said.name
                ));
            }
        }
        let added = next.origins.get(place).is_none_or(Option::is_none);
        if said.inexact_default && added {
            return StatedVerdict::Reread(format!(
                "column {}: the server does not state its default exactly",
                said.name
            ));
        }
    }
    next.judge(old, session);
    match next.rereads {
        Some(why) => StatedVerdict::Reread(why),
        None => StatedVerdict::Follow { next: Box::new(next), unproven },
    }
}

/// How the definition that the stream has led to differs from the server's at the same place, in what bears on rows;
/// `None` if it does not. `key` names the columns of the key.
#[must_use]
pub fn unlike(followed: &CatalogTable, stated: &CatalogTable, key: &[&str]) -> Option<String> {
    for place in 0..followed.columns.len().max(stated.columns.len()) {
        match (followed.columns.get(place), stated.columns.get(place)) {
            (Some(followed), Some(stated)) if followed.name == stated.name => {
                if !agrees(followed, stated) {
                    let (ours, theirs) = (describe(followed), describe(stated));
                    return Some(format!("column {} is {theirs} on the server, not {ours}", stated.name));
                }
            }
            (_, Some(stated)) => return Some(format!("the server has the column {}", stated.name)),
            (Some(followed), None) => return Some(format!("the server has no column {}", followed.name)),
            (None, None) => {}
        }
    }
    let index = |table: &CatalogTable| table.index_over(key).map(|index| index.name.to_lowercase());
    let key_index = index(stated);
    if key_index.is_none() {
        return Some(format!("the server has no key over {}", key.join(", ")));
    }
    if key_index != index(followed) {
        return Some("the server has the key under another name".to_owned());
    }
    if followed.index(PRIMARY).is_some() != stated.index(PRIMARY).is_some() {
        return Some("on the server a primary key has come or gone".to_owned());
    }
    let in_key = |column: &&CatalogColumn| key.iter().any(|name| same_name(name, &column.name));
    let reordered = stated.columns.iter().filter(in_key).find(|column| {
        followed.columns.iter().any(|ours| ours.name == column.name && !is_same_order(ours, column))
    });
    reordered.map(|column| format!("the server has the key column {} in another collation", column.name))
}

/// True if rows have one order by both, and the same keys are equal. Servers from 8.0.30 on have names of their own for the
/// collations of utf8.
fn is_same_order(left: &CatalogColumn, right: &CatalogColumn) -> bool {
    let canonical =
        |name: &str| name.strip_prefix("utf8_").map_or(name.to_owned(), |rest| format!("utf8mb3_{rest}"));
    match (&left.collation, &right.collation) {
        (Some(left), Some(right)) => canonical(left) == canonical(right),
        // An older version has recorded none.
        _ => true,
    }
}

/// True if two definitions of a column make the same of its values and of old rows.
fn agrees(left: &CatalogColumn, right: &CatalogColumn) -> bool {
    is_same_type(left, right)
        && left.nullable == right.nullable
        && left.generated == right.generated
        && left.auto_increment == right.auto_increment
        && left.inexact_labels == right.inexact_labels
        && (left.inexact_default || right.inexact_default || same_default(left, right))
}

fn same_default(left: &CatalogColumn, right: &CatalogColumn) -> bool {
    let (left_text, right_text) = match (&left.default, &right.default) {
        (Some(ColumnDefault::Constant(left)), Some(ColumnDefault::Constant(right))) => (left, right),
        // Printed in the server's own words, and given to no destination.
        (Some(ColumnDefault::Expression(_)), Some(ColumnDefault::Expression(_))) | (None, None) => {
            return true;
        }
        _ => return false,
    };
    if left_text == right_text {
        return true;
    }
    match left.declared_type.parse() {
        Ok(ColumnType::Float) => same_number::<f32>(left_text, right_text),
        Ok(ColumnType::Double) => same_number::<f64>(left_text, right_text),
        Ok(ColumnType::Binary { .. } | ColumnType::VarBinary { .. }) => {
            left_text.eq_ignore_ascii_case(right_text)
        }
        _ => false,
    }
}

fn same_number<N: std::str::FromStr + PartialEq>(left: &str, right: &str) -> bool {
    match (left.parse::<N>(), right.parse::<N>()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}

/// True if row images of both are read alike.
fn same_layout(left: &CatalogColumn, right: &CatalogColumn) -> bool {
    let labels = |column: &CatalogColumn| match column.declared_type.parse() {
        Ok(ColumnType::Enum { labels }) => Some((false, labels.len())),
        Ok(ColumnType::Set { labels }) => Some((true, labels.len())),
        _ => None,
    };
    let same = match (labels(left), labels(right)) {
        (None, None) => is_same_type(left, right),
        (left, right) => left == right,
    };
    same && left.nullable == right.nullable && left.charset == right.charset
}

fn describe(column: &CatalogColumn) -> String {
    let null = if column.nullable { "" } else { " NOT NULL" };
    let default = match &column.default {
        Some(ColumnDefault::Constant(text)) => format!(" DEFAULT {text:?}"),
        Some(ColumnDefault::Expression(text)) => format!(" DEFAULT ({text})"),
        None => String::new(),
    };
    format!("{}{null}{default}", column.declared_type)
}

#[cfg(test)]
mod tests;
