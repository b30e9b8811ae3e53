//! The catalog at the stream's position: a table's full definition and the steps of a statement enter, the next
//! definition leaves, with what the statement did to the rows. What cannot be told for certain is an error: the
//! source's own catalog must then be read.
//!
//! Invariant: a column of the next definition is either one of the old, wherever it went and whatever it is called,
//! or new; a new one of an old one's name is still new.

use super::mode::SqlMode;
use std::collections::BTreeMap;
use tributary_schemas::table::{Table, TableId};
use tributary_source::catalog::CatalogTable;

/// The settings that fill in what a statement leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `sql_mode`.
    pub mode: SqlMode,
    /// `explicit_defaults_for_timestamp`: on since 8.0, off by default in 5.7.
    pub explicit_timestamps: bool,
    /// Default collation of the statement's database.
    pub database_collation: String,
    /// Default collation of utf8mb4: `utf8mb4_0900_ai_ci` since 8.0, `utf8mb4_general_ci` in 5.7.
    pub utf8mb4_collation: String,
    /// What the server calls the three-byte charset: `utf8` or `utf8mb3`.
    pub utf8_name: String,
}

/// How a statement changed a table's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Not at all.
    Unchanged,
    /// Indexes, comments, defaults and the like: no row and no type differs.
    Metadata,
    /// Columns were added, and nothing else happened to columns.
    AddsColumns,
    /// Columns were dropped, renamed, moved or changed.
    Columns,
}

/// What a table is after a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// The full definition.
    pub table: CatalogTable,
    /// For each of its columns the place in the old definition; `None` for a new column.
    pub origins: Vec<Option<usize>>,
    /// For each of its columns whether the statement declares it, all of it.
    pub anew: Vec<bool>,
    /// How the definition changed.
    pub change: Change,
    /// The columns that the statement adds or redefines, by place: what only the server can say of each, if there is such.
    pub declared: BTreeMap<usize, Option<&'static str>>,
    /// Why the rows must be read again: the statement changed some without row events. What a new column's constant
    /// default puts into old rows is no reason, nor the type's own zero in a NOT NULL column without a default.
    pub rereads: Option<String>,
}

impl Next {
    /// The published table of before, with the names its columns have now and without those that are gone: what
    /// [`tributary_source::publish::Wishes::previous`] wants so that columns keep their ids.
    #[must_use]
    pub fn previous(&self, published: &Table) -> Table {
        let mut previous = published.clone();
        previous.columns.retain_mut(|column| {
            let place = usize::try_from(column.ordinal).ok();
            let now = self.origins.iter().position(|origin| origin.is_some() && *origin == place);
            let Some(now) = now.and_then(|index| self.table.columns.get(index)) else { return false };
            now.name.clone_into(&mut column.name);
            true
        });
        previous
    }

    /// Why the rows of a load that is under way must be read again: its chunks are cut in an order that the key no longer
    /// has. `before` is the old definition, `published` what is published of it.
    #[must_use]
    pub fn reorders_readers(&self, before: &CatalogTable, published: &Table) -> Option<String> {
        self.table.columns.iter().zip(&self.origins).find_map(|(column, origin)| {
            let old = origin.and_then(|place| before.columns.get(place))?;
            let in_key = published.key_columns().any(|key| key.name == old.name);
            let reordered = (&old.charset, &old.collation) != (&column.charset, &column.collation);
            (in_key && reordered).then(|| {
                format!("while the table was read, the order of its key column {} changed", old.name)
            })
        })
    }

    /// Why the rows must be read again: a column is published that was not, although the table had it. `before` and
    /// `after` are what is published before and after the statement.
    #[must_use]
    pub fn reveals(&self, before: &Table, after: &Table) -> Option<String> {
        let was_published = |place: usize| {
            before
                .columns
                .iter()
                .any(|column| usize::try_from(column.ordinal).is_ok_and(|ordinal| ordinal == place))
        };
        after.columns.iter().find_map(|column| {
            let place = usize::try_from(column.ordinal).ok()?;
            let origin = self.origins.get(place).copied().flatten()?;
            (!was_published(origin))
                .then(|| format!("the column {} was not published under its old name", column.name))
        })
    }
}

/// The next definition does not follow from the statement alone: read it from the source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the definition of table {table} does not follow from the statement: {why}")]
pub struct NeedsCatalogRead {
    pub table: TableId,
    /// What could not be told.
    pub why: String,
}
