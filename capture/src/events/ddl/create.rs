//! CREATE TABLE: columns, keys and the options that matter for what a row is.

use super::alter::{AlterStep, Position, constraint_step, option_step};
use super::column::{ColumnDefinition, column_definition};
use super::cursor::Cursor;
use super::index::{Constraint, constraint, is_constraint};
use super::statement::Effect;

/// A table as CREATE TABLE declares it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTable {
    /// In order.
    pub columns: Vec<ColumnDefinition>,
    /// Keys and constraints beside the columns, in order.
    pub constraints: Vec<Constraint>,
    /// DEFAULT CHARACTER SET.
    pub charset: Option<String>,
    /// DEFAULT COLLATE.
    pub collation: Option<String>,
    /// COMMENT.
    pub comment: String,
    /// ENGINE.
    pub engine: Option<String>,
    /// PARTITION BY.
    pub partitioned: bool,
}

/// Reads what follows CREATE TABLE and the table's name; the table of LIKE has been looked for already.
pub(super) fn create_effect(cursor: &mut Cursor<'_, '_>, if_not_exists: bool) -> Effect {
    let from_select = selects(cursor);
    let definition = match new_table(cursor) {
        Some(_) if from_select => Err("CREATE TABLE … SELECT takes its columns from the query".to_owned()),
        Some(table) => Ok(Box::new(table)),
        None => Err(format!("cannot read the definition at {:?}", excerpt(cursor))),
    };
    Effect::Create { if_not_exists, definition, from_select }
}

fn excerpt(cursor: &Cursor<'_, '_>) -> String {
    cursor.text().chars().take(80).collect()
}

/// True if a query stands behind the definition, or in its place.
fn selects(cursor: &Cursor<'_, '_>) -> bool {
    let is_query = |c: &Cursor<'_, '_>| ["SELECT", "WITH", "TABLE"].iter().any(|word| c.is_word(word));
    let mut ahead = *cursor;
    while !ahead.is_empty() {
        if let Some(inner) = ahead.parenthesized() {
            if is_query(&inner) {
                return true;
            }
        } else if ahead.is_word("SELECT") || (ahead.word("AS") && is_query(&ahead)) {
            return true;
        } else {
            ahead.next();
        }
    }
    false
}

/// The cursor stays at what could not be read.
fn new_table(cursor: &mut Cursor<'_, '_>) -> Option<NewTable> {
    let mut table = NewTable::default();
    if let Some(body) = cursor.parenthesized() {
        for mut element in body.split_commas() {
            let start = element;
            if element_of(&mut table, &mut element).is_none() || !element.is_empty() {
                *cursor = start;
                return None;
            }
        }
    }
    while !cursor.is_empty() {
        if cursor.symbol(",") {
            continue;
        }
        if cursor.words(&["PARTITION", "BY"]) {
            table.partitioned = true;
            cursor.skip_all();
        } else if selects(cursor) && ["SELECT", "AS", "IGNORE", "REPLACE"].iter().any(|w| cursor.is_word(w)) {
            cursor.skip_all();
        } else {
            let start = *cursor;
            let Some(step) = option_step(cursor) else {
                *cursor = start;
                return None;
            };
            table.take_option(step);
        }
    }
    Some(table)
}

fn element_of(table: &mut NewTable, element: &mut Cursor<'_, '_>) -> Option<()> {
    if is_constraint(element) {
        table.constraints.push(constraint(element)?);
    } else if !element.is_word("SELECT") {
        let name = element.name()?;
        table.columns.push(column_definition(name, element)?);
    } else {
        element.skip_all();
    }
    Some(())
}

impl NewTable {
    /// The steps that make the table of an empty one.
    pub(super) fn steps(&self) -> Vec<AlterStep> {
        let columns = self.columns.iter().cloned();
        let added = columns.map(|definition| AlterStep::AddColumn { definition, position: Position::Unsaid });
        added.chain(self.constraints.iter().cloned().map(constraint_step)).collect()
    }

    fn take_option(&mut self, step: AlterStep) {
        match step {
            AlterStep::TableCharset { charset, collation, .. } => {
                self.charset = charset.or(self.charset.take());
                self.collation = collation.or(self.collation.take());
            }
            AlterStep::TableComment(comment) => self.comment = comment,
            AlterStep::Engine(engine) => self.engine = Some(engine),
            _ => {}
        }
    }
}
