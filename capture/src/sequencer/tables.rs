//! The selected tables, by index and by name.

use super::table::SequencedTable;
use crate::snapshot::windows::TableNumber;
use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use tributary_schemas::table::TableId;

/// A table of a session. Only [`Tables`] gives one out, and a table, once there, stays: an index cannot miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableIndex(TableNumber);

impl TableIndex {
    /// The table as windows and planner name it.
    #[must_use]
    pub const fn number(self) -> TableNumber {
        self.0
    }

    /// The table behind a number that [`Self::number`] gave.
    #[must_use]
    pub const fn of(number: TableNumber) -> Self {
        Self(number)
    }
}

/// The tables of a session. An index, once given, stays the table's.
#[derive(Debug, Default)]
pub struct Tables {
    all: Vec<SequencedTable>,
    by_id: HashMap<TableId, TableIndex>,
}

impl Index<TableIndex> for Tables {
    type Output = SequencedTable;

    fn index(&self, index: TableIndex) -> &SequencedTable {
        match usize::try_from(index.0).ok().and_then(|place| self.all.get(place)) {
            Some(table) => table,
            None => unreachable!("{index:?} was given by other tables"),
        }
    }
}

impl IndexMut<TableIndex> for Tables {
    fn index_mut(&mut self, index: TableIndex) -> &mut SequencedTable {
        match usize::try_from(index.0).ok().and_then(|place| self.all.get_mut(place)) {
            Some(table) => table,
            None => unreachable!("{index:?} was given by other tables"),
        }
    }
}

impl Tables {
    /// Adds a table, or replaces the one of the same name.
    pub fn insert(&mut self, table: SequencedTable) -> TableIndex {
        if let Some(index) = self.find(&table.id) {
            self[index] = table;
            return index;
        }
        let index = TableIndex(TableNumber::try_from(self.all.len()).unwrap_or(TableNumber::MAX));
        self.by_id.insert(table.id.clone(), index);
        self.all.push(table);
        index
    }

    /// The index of the table of this name.
    #[must_use]
    pub fn find(&self, id: &TableId) -> Option<TableIndex> {
        self.by_id.get(id).copied()
    }

    /// The table of this name.
    #[must_use]
    pub fn named(&self, id: &TableId) -> Option<&SequencedTable> {
        self.find(id).map(|index| &self[index])
    }

    /// Every table with its index.
    pub fn iter(&self) -> impl Iterator<Item = (TableIndex, &SequencedTable)> {
        (0..).map(TableIndex).zip(&self.all)
    }
}
