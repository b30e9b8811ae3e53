//! The selected tables, by index and by name.

use super::table::SequencedTable;
use std::collections::HashMap;
use tributary_schemas::table::TableId;

/// The tables of a session. An index, once given, stays the table's.
#[derive(Debug, Default)]
pub struct Tables {
    all: Vec<SequencedTable>,
    by_id: HashMap<TableId, usize>,
}

impl Tables {
    /// Adds a table, or replaces the one of the same name.
    pub fn insert(&mut self, table: SequencedTable) -> usize {
        match self.by_id.get(&table.id) {
            Some(index) => {
                if let Some(slot) = self.all.get_mut(*index) {
                    *slot = table;
                }
                *index
            }
            None => {
                let index = self.all.len();
                self.by_id.insert(table.id.clone(), index);
                self.all.push(table);
                index
            }
        }
    }

    /// The index of the table of this name.
    #[must_use]
    pub fn find(&self, id: &TableId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The table at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&SequencedTable> {
        self.all.get(index)
    }

    /// The table at `index`.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut SequencedTable> {
        self.all.get_mut(index)
    }

    /// The index of every table.
    #[must_use]
    pub fn indices(&self) -> std::ops::Range<usize> {
        0..self.all.len()
    }

    /// Every table with its index.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &SequencedTable)> {
        self.all.iter().enumerate()
    }
}
