//! A target that several topics share: it has the union of their columns, each of the narrowest type that holds all, and what a
//! source does to its definition is done to its own rows. Definitions and the catalog's answer enter, SQL leaves.
//!
//! Invariant: no column is lost, and none becomes narrower, while another topic writes it; values of another topic's rows
//! never change.

use super::changes::widened_type;
use super::ddl::DdlError;
use super::defaults::of_older_rows;
use super::layout::{ColumnRule, Layout, Origin, PlannedColumn};
use super::names::{TargetName, quote};
use super::pairing::writer;
use super::plan::castable;
use super::slice::Slice;
use super::target::{TargetColumn, TargetKind, TargetShape};
use std::collections::{BTreeMap, BTreeSet};
use tributary_schemas::table::{Column, Table};

/// Statements, and the target behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct United {
    pub statements: Vec<String>,
    pub shape: TargetShape,
}

/// The target that takes rows of `table` beside those it has.
///
/// # Errors
/// [`DdlError::UnionType`] and [`DdlError::UnionKey`], if there is none.
pub fn unite(table: &Table, rule: &ColumnRule, shape: &TargetShape) -> Result<United, DdlError> {
    let layout = Layout::of(table, rule)?;
    let mut united = United { statements: Vec::new(), shape: shape.clone() };
    let keyed = shape.has_unique_key(&layout.key)
        || (shape.unique_keys.is_empty() && layout.key.iter().all(|name| column(shape, name).is_some()));
    if !keyed {
        return Err(DdlError::UnionKey {
            target: shape.name.to_string(),
            keys: shape.unique_keys.iter().map(|key| key.join(", ")).collect::<Vec<_>>().join("; "),
            wanted: layout.key.join(", "),
        });
    }
    for planned in &layout.columns {
        let source = match planned.origin {
            Origin::Source(index) => table.columns.get(index),
            Origin::Constant(_) => None,
        };
        match column(shape, &planned.name) {
            None => united.add(planned),
            Some(there) => united.widen(planned, source, there)?,
        }
    }
    Ok(united)
}

fn column<'a>(shape: &'a TargetShape, name: &str) -> Option<&'a TargetColumn> {
    shape.columns.iter().find(|column| column.name == name)
}

impl United {
    fn add(&mut self, planned: &PlannedColumn) {
        let lower = planned.name.to_lowercase();
        // One that differs in its case is most likely meant: it is told of, with the way out, where rows are laid out.
        if self.shape.columns.iter().any(|there| there.name.to_lowercase() == lower) {
            return;
        }
        let (target, name) = (&self.shape.name, quote(&planned.name));
        self.statements.push(format!("ALTER TABLE {target} ADD COLUMN {name} {}", planned.target_type));
        self.shape.columns.push(TargetColumn::new(planned.name.clone(), planned.target_type.to_string()));
    }

    fn widen(
        &mut self,
        planned: &PlannedColumn,
        source: Option<&Column>,
        there: &TargetColumn,
    ) -> Result<(), DdlError> {
        let alter = format!("ALTER TABLE {} ALTER COLUMN {}", self.shape.name, quote(&planned.name));
        let mut now = there.clone();
        if let Some(source) = source
            && writer(&source.column_type, &TargetKind::parse(&there.type_name)).is_none()
        {
            let wanted = planned.target_type.to_string();
            let kind = widened_type(&source.column_type, &there.type_name, &wanted);
            now.type_name = kind.ok_or_else(|| DdlError::UnionType {
                target: self.shape.name.to_string(),
                column: planned.name.clone(),
                origin: source.name.clone(),
                there: there.type_name.clone(),
                wanted,
            })?;
            self.statements.push(format!("{alter} TYPE {}", now.type_name));
        }
        if there.not_null && !planned.not_null && !there.generated {
            self.statements.push(format!("{alter} DROP NOT NULL"));
            now.not_null = false;
        }
        for column in self.shape.columns.iter_mut().filter(|column| column.name == now.name) {
            column.clone_from(&now);
        }
        Ok(())
    }
}

/// The columns of the target that rows of `table` are written into, and what goes into each: the id of the source's column, or a
/// constant behind `=`.
///
/// # Errors
/// As [`Layout::of`].
pub fn written(table: &Table, rule: &ColumnRule) -> Result<BTreeMap<String, String>, DdlError> {
    let origin = |planned: &PlannedColumn| match &planned.origin {
        Origin::Source(index) => {
            table.columns.get(*index).map(|column| column.id.to_string()).unwrap_or_default()
        }
        Origin::Constant(value) => format!("={value}"),
    };
    Ok(Layout::of(table, rule)?
        .columns
        .iter()
        .map(|planned| (planned.name.clone(), origin(planned)))
        .collect())
}

/// The columns of the target that rows of `table` are written into.
///
/// # Errors
/// As [`Layout::of`].
pub fn columns_of(table: &Table, rule: &ColumnRule) -> Result<BTreeSet<String>, DdlError> {
    Ok(written(table, rule)?.into_keys().collect())
}

/// The way of a topic's rows from one definition to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// The target gets what it lacks, and the topic's own rows their values.
    pub statements: Vec<String>,
    /// Columns that no topic has behind them. They may go if no row holds a value there: one that does is somebody else's.
    pub orphans: Vec<String>,
}

/// How a topic goes from one definition to the next; `others`: the columns that other topics write. Without rows to change if
/// `emptied`.
///
/// # Errors
/// As [`unite`]; [`DdlError::Unsupported`] where a rule for one name and not for the other makes a column come or go.
pub fn follow(
    (before, after): (&Table, &Table),
    rule: &ColumnRule,
    shape: &TargetShape,
    others: &BTreeSet<String>,
    emptied: bool,
) -> Result<Followed, DdlError> {
    let United { mut statements, shape: united } = unite(after, rule, shape)?;
    let (old, new) = (columns_of(before, rule)?, columns_of(after, rule)?);
    let left: Vec<&String> =
        old.iter().filter(|name| !new.contains(*name) && column(shape, name).is_some()).collect();
    if !emptied {
        let mut values = moved((before, after), rule, &united, &old)?;
        values.extend(left.iter().map(|name| format!("{} = NULL", quote(name))));
        let slice = Slice::of(rule).condition();
        if let Some(condition) = slice.filter(|_| !values.is_empty()) {
            statements.push(format!("UPDATE {} SET {} WHERE {condition}", shape.name, values.join(", ")));
        }
    }
    let orphans = left.into_iter().filter(|name| !others.contains(*name)).cloned().collect();
    Ok(Followed { statements, orphans })
}

impl Followed {
    /// True if the definition of the target is to be changed, so that its readers are in the way.
    #[must_use]
    pub fn alters(&self) -> bool {
        !self.orphans.is_empty() || self.statements.iter().any(|sql| sql.starts_with("ALTER"))
    }
}

/// Whether a row of the target holds a value in a column.
#[must_use]
pub fn has_value(target: &TargetName, column: &str) -> String {
    format!("SELECT EXISTS (SELECT 1 FROM {target} WHERE {} IS NOT NULL)", quote(column))
}

/// Takes a column away.
#[must_use]
pub fn drop_column(target: &TargetName, column: &str) -> String {
    format!("ALTER TABLE {target} DROP COLUMN {}", quote(column))
}

/// What the columns of the next definition hold in rows of before, where that is not what they hold already. One UPDATE
/// takes them all from the row as it was: names may be swapped.
fn moved(
    (before, after): (&Table, &Table),
    rule: &ColumnRule,
    shape: &TargetShape,
    old: &BTreeSet<String>,
) -> Result<Vec<String>, DdlError> {
    let mut values = Vec::new();
    for now in after.columns.iter().filter(|column| !rule.drops(column)) {
        let name = rule.target_name(now);
        let Some(there) = column(shape, &name) else { continue };
        let value = match before.column(now.id) {
            Some(was) if rule.drops(was) => {
                let change = format!("RENAME COLUMN {} TO {}", was.name, now.name);
                return Err(DdlError::Unsupported { target: shape.name.to_string(), change });
            }
            Some(was) if rule.target_name(was) == name => continue,
            Some(was) => Some(quote(&rule.target_name(was))),
            // What was added without a constant default is read anew.
            None => match of_older_rows(now, rule) {
                Some(default) if default == "NULL" && !old.contains(&name) => continue,
                Some(default) => castable(default, &TargetKind::parse(&there.type_name)),
                None => continue,
            },
        };
        if let Some(value) = value {
            values.push(format!("{} = CAST({value} AS {})", quote(&name), there.type_name));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
