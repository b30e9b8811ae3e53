//! What differs between two generations of a table, and the SQL that follows it. What enters is two definitions
//! whose columns are matched by id; what leaves is changes, and statements for those that can be made without
//! losing a value. Invariant: the destination may stay wider or looser than the source, never narrower.

use super::ddl::{DdlError, comment_on_column, comment_on_table};
use super::defaults;
use super::dialect::Dialect;
use super::layout::{ColumnRule, Layout, Origin};
use super::names::{TargetName, quote};
use super::pairing::writer;
use super::target::{TargetKind, TargetShape};
use super::widened::Widened;
use std::fmt;
use tributary_schemas::conversion::{Kept, kept};
use tributary_schemas::table::{Column, Table};
use tributary_schemas::types::ColumnType;

/// One difference. Secondary indexes are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A column of the older generation that the newer has no more.
    DropColumn(Column),
    /// The same column under another name.
    RenameColumn {
        /// Older generation.
        from: Column,
        /// Newer generation.
        to: Column,
    },
    /// The same column with another type, nullability or default.
    ModifyColumn {
        /// Older generation.
        from: Column,
        /// Newer generation.
        to: Column,
    },
    /// A column that the older generation did not have.
    AddColumn(Column),
    /// The table's comment.
    CommentTable(String),
    /// A column's comment.
    CommentColumn(Column),
    /// Other key columns, or in another order.
    Key,
}

/// What changed, in the order in which it is to be carried out.
#[must_use]
pub fn changes(from: &Table, to: &Table) -> Vec<Change> {
    let mut changes = Vec::new();
    let gone = from.columns.iter().filter(|column| to.column(column.id).is_none());
    changes.extend(gone.cloned().map(Change::DropColumn));
    let kept = || to.columns.iter().filter_map(|new| from.column(new.id).map(|old| (old, new)));
    for (old, new) in kept().filter(|(old, new)| old.name != new.name) {
        changes.push(Change::RenameColumn { from: old.clone(), to: new.clone() });
    }
    for (old, new) in kept() {
        if old.column_type != new.column_type || old.nullable != new.nullable || old.default != new.default {
            changes.push(Change::ModifyColumn { from: old.clone(), to: new.clone() });
        }
    }
    let added = to.columns.iter().filter(|column| from.column(column.id).is_none());
    changes.extend(added.cloned().map(Change::AddColumn));
    if from.comment != to.comment {
        changes.push(Change::CommentTable(to.comment.clone()));
    }
    for column in &to.columns {
        let before = from.column(column.id).map_or("", |column| column.comment.as_str());
        if before != column.comment {
            changes.push(Change::CommentColumn(column.clone()));
        }
    }
    if from.key != to.key {
        changes.push(Change::Key);
    }
    changes
}

impl Change {
    /// True if the first partition to arrive may carry it out while others still bring older rows, and again after
    /// a crash: older rows are written with what a column was added with, and comments touch no row.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        matches!(self, Self::AddColumn(_) | Self::CommentTable(_) | Self::CommentColumn(_))
    }

    /// True if it needs the table for itself; a comment goes beside readers and writers.
    #[must_use]
    pub const fn excludes_readers(&self) -> bool {
        !matches!(self, Self::CommentTable(_) | Self::CommentColumn(_))
    }

    /// True if it can be carried out without losing a value; [`alter_statements`] has the last word, for it sees
    /// the destination.
    #[must_use]
    pub fn supported(&self) -> bool {
        match self {
            Self::AddColumn(column) => column.column_type.target().is_ok(),
            Self::DropColumn(_)
            | Self::RenameColumn { .. }
            | Self::CommentTable(_)
            | Self::CommentColumn(_) => true,
            Self::ModifyColumn { from, to } => {
                let fits = |source: &Column, target: &Column| {
                    target.column_type.target().is_ok_and(|target| {
                        writer(&source.column_type, &TargetKind::parse(&target.to_string())).is_some()
                    })
                };
                fits(to, from) || fits(from, to)
            }
            Self::Key => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropColumn(column) => write!(f, "DROP COLUMN {}", column.name),
            Self::RenameColumn { from, to } => write!(f, "RENAME COLUMN {} TO {}", from.name, to.name),
            Self::ModifyColumn { from, to } => {
                write!(f, "MODIFY COLUMN {} from {} to {}", to.name, from.column_type, to.column_type)
            }
            Self::AddColumn(column) => write!(f, "ADD COLUMN {} {}", column.name, column.column_type),
            Self::CommentTable(_) => f.write_str("the table's comment"),
            Self::CommentColumn(column) => write!(f, "the comment of column {}", column.name),
            Self::Key => f.write_str("a change of the primary key"),
        }
    }
}

/// The statements that bring `shape` (read before them, under the lock of their transaction) from one generation to
/// the next. Staging tables of the target are to be dropped with them. Where the kernel has no `ADD COLUMN IF NOT
/// EXISTS`, columns that `shape` has already are left out.
///
/// # Errors
/// [`DdlError::Unsupported`] for a change that could lose a value, [`DdlError::Layout`].
pub fn alter_statements(
    changes: &[Change],
    to: &Table,
    rule: &ColumnRule,
    dialect: Dialect,
    shape: &TargetShape,
) -> Result<Vec<String>, DdlError> {
    let layout = Layout::of(to, rule)?;
    let alter = Alter { to, rule, dialect, shape, layout: &layout, target: &shape.name };
    let mut statements = Vec::new();
    for change in changes {
        if let Change::DropColumn(column) = change
            && !rule.drops(column)
        {
            let name = rule.target_name(column);
            if alter.exists(&name) {
                statements.push(format!("ALTER TABLE {} DROP COLUMN {}", shape.name, quote(&name)));
            }
        }
    }
    statements.extend(alter.renames(changes)?);
    for change in changes {
        match change {
            Change::DropColumn(_) | Change::RenameColumn { .. } => {}
            Change::ModifyColumn { from, to } => alter.modify(change, from, to, &mut statements)?,
            Change::AddColumn(column) => statements.extend(alter.add(column, changes)),
            Change::CommentTable(text) => statements.push(comment_on_table(&shape.name, text)),
            Change::CommentColumn(column) if rule.drops(column) => {}
            Change::CommentColumn(column) => {
                statements.push(comment_on_column(&shape.name, &rule.target_name(column), &column.comment));
            }
            Change::Key => return Err(alter.unsupported(change)),
        }
    }
    Ok(statements)
}

struct Alter<'a> {
    to: &'a Table,
    rule: &'a ColumnRule,
    dialect: Dialect,
    shape: &'a TargetShape,
    layout: &'a Layout,
    target: &'a TargetName,
}

impl Alter<'_> {
    fn unsupported(&self, change: &Change) -> DdlError {
        DdlError::Unsupported { target: self.target.to_string(), change: change.to_string() }
    }

    fn exists(&self, name: &str) -> bool {
        self.shape.columns.iter().any(|column| column.name == name)
    }

    /// True if a drop or a rename among `changes` sets `name` free, which `shape` was read before.
    fn is_freed(&self, name: &str, changes: &[Change]) -> bool {
        changes.iter().any(|change| match change {
            Change::DropColumn(from) | Change::RenameColumn { from, .. } => {
                !self.rule.drops(from) && self.rule.target_name(from) == name
            }
            _ => false,
        })
    }

    /// Renames may swap names: if a new name is an old one of another, all go by way of names of their own.
    fn renames(&self, changes: &[Change]) -> Result<Vec<String>, DdlError> {
        let mut pairs = Vec::new();
        for change in changes {
            let Change::RenameColumn { from, to } = change else { continue };
            // A rule for the one name and not for the other makes the column come or go.
            if self.rule.drops(from) != self.rule.drops(to) {
                return Err(self.unsupported(change));
            }
            let (old, new) = (self.rule.target_name(from), self.rule.target_name(to));
            if !self.rule.drops(to) && old != new {
                pairs.push((to.id, old, new));
            }
        }
        let rename = |old: &str, new: &str| {
            format!("ALTER TABLE {} RENAME COLUMN {} TO {}", self.target, quote(old), quote(new))
        };
        let crossed = pairs.iter().any(|(_, _, new)| pairs.iter().any(|(_, old, _)| old == new));
        if !crossed {
            return Ok(pairs.iter().map(|(_, old, new)| rename(old, new)).collect());
        }
        let between = |id: &u32| format!("tributary_rename_{id}");
        let away = pairs.iter().map(|(id, old, _)| rename(old, &between(id)));
        Ok(away.chain(pairs.iter().map(|(id, _, new)| rename(&between(id), new))).collect())
    }

    fn add(&self, column: &Column, changes: &[Change]) -> Option<String> {
        let index = self.to.columns.iter().position(|other| other.id == column.id)?;
        let planned = self.layout.columns.iter().find(|planned| planned.origin == Origin::Source(index))?;
        let if_not_exists = if self.dialect.knows_if_not_exists() {
            "IF NOT EXISTS "
        } else if self.exists(&planned.name) && !self.is_freed(&planned.name, changes) {
            return None;
        } else {
            ""
        };
        let mut sql = format!(
            "ALTER TABLE {} ADD COLUMN {if_not_exists}{} {}",
            self.target,
            quote(&planned.name),
            planned.target_type
        );
        let default = defaults::constant(column, self.rule)
            .or_else(|| if column.nullable { None } else { defaults::implicit(column, self.rule) });
        if let Some(default) = &default {
            sql += &format!(" DEFAULT {default}");
        }
        if planned.not_null && default.is_some() {
            sql += " NOT NULL";
        }
        Some(sql)
    }

    fn modify(
        &self,
        change: &Change,
        from: &Column,
        to: &Column,
        statements: &mut Vec<String>,
    ) -> Result<(), DdlError> {
        if self.rule.drops(to) {
            return Ok(());
        }
        let (old_name, name) = (self.rule.target_name(from), self.rule.target_name(to));
        let there = self.shape.columns.iter().find(|column| column.name == old_name);
        let there = there.ok_or_else(|| self.unsupported(change))?;
        let current = TargetKind::parse(&there.type_name);
        let prefix = format!("ALTER TABLE {} ALTER COLUMN {}", self.target, quote(&name));
        if writer(&to.column_type, &current).is_none() {
            let wanted = to.column_type.target().map_err(|_| self.unsupported(change))?.to_string();
            // What the table of types does not list is read again, or was never made an ALTER.
            let listed = kept(&from.column_type, &to.column_type) != Kept::Unsure;
            let same_key_bytes = !self.to.is_key(to) || from.column_type.avro() == to.column_type.avro();
            let kind = widened_type(&to.column_type, &there.type_name, &wanted)
                .filter(|_| listed && same_key_bytes)
                .ok_or_else(|| self.unsupported(change))?;
            statements.push(format!("{prefix} TYPE {kind}"));
        }
        let planned = self.layout.column(&name);
        if there.not_null && planned.is_some_and(|planned| !planned.not_null) {
            statements.push(format!("{prefix} DROP NOT NULL"));
        }
        if from.default != to.default {
            statements.push(match defaults::constant(to, self.rule) {
                Some(default) => format!("{prefix} SET DEFAULT {default}"),
                None => format!("{prefix} DROP DEFAULT"),
            });
        }
        Ok(())
    }
}

/// The type that a column of type `there` gets, so that it takes values of `source` too, for which `wanted` would be made;
/// `None` if there is none.
pub(super) fn widened_type(source: &ColumnType, there: &str, wanted: &str) -> Option<String> {
    let kind = match TargetKind::parse(there).widened(&TargetKind::parse(wanted))? {
        Widened::Wanted => wanted.to_owned(),
        Widened::Numeric { precision, scale } => format!("numeric({precision},{scale})"),
    };
    writer(source, &TargetKind::parse(&kind)).map(|_| kind)
}

#[cfg(test)]
mod tests;
