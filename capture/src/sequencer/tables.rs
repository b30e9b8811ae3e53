//! The selected tables, by index and by name, and where each stands.

mod standing;

pub(crate) use standing::{Joining, Standing, document};

use super::table::SequencedTable;
use crate::snapshot::windows::TableNumber;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Index, IndexMut};
use tributary_schemas::table::TableId;

/// A table of a session. Only [`Tables`] gives one out, and a table, once there, stays: an index cannot miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TableIndex(TableNumber);

impl TableIndex {
    /// The table as windows and planner name it.
    #[must_use]
    pub(crate) const fn number(self) -> TableNumber {
        self.0
    }

    /// The table behind a number that [`Self::number`] gave.
    #[must_use]
    pub(crate) const fn of(number: TableNumber) -> Self {
        Self(number)
    }
}

#[derive(Debug)]
struct Entry {
    table: SequencedTable,
    standing: Standing,
}

/// The tables of a session. An index, once given, stays the table's.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    all: Vec<Entry>,
    by_id: HashMap<TableId, TableIndex>,
    /// Those that wait for the stream to reach a place, in the order in which they began to.
    waiting: Vec<TableIndex>,
    /// Those that are read anew as soon as the open transaction ends, with the reason, wherever they stand now.
    due: BTreeMap<TableIndex, String>,
}

impl Index<TableIndex> for Tables {
    type Output = SequencedTable;

    fn index(&self, index: TableIndex) -> &SequencedTable {
        &self.entry(index).table
    }
}

impl IndexMut<TableIndex> for Tables {
    fn index_mut(&mut self, index: TableIndex) -> &mut SequencedTable {
        &mut self.entry_mut(index).table
    }
}

impl Tables {
    fn entry(&self, index: TableIndex) -> &Entry {
        match usize::try_from(index.0).ok().and_then(|place| self.all.get(place)) {
            Some(entry) => entry,
            None => unreachable!("{index:?} was given by other tables"),
        }
    }

    fn entry_mut(&mut self, index: TableIndex) -> &mut Entry {
        match usize::try_from(index.0).ok().and_then(|place| self.all.get_mut(place)) {
            Some(entry) => entry,
            None => unreachable!("{index:?} was given by other tables"),
        }
    }

    /// Adds a table, of which there is none yet of this name.
    pub(crate) fn add(&mut self, table: SequencedTable) -> TableIndex {
        let index = TableIndex(TableNumber::try_from(self.all.len()).unwrap_or(TableNumber::MAX));
        let before = self.by_id.insert(table.id.clone(), index);
        assert!(before.is_none(), "{} is there already", table.id);
        self.all.push(Entry { table, standing: Standing::Gone });
        index
    }

    /// The index of the table of this name.
    #[must_use]
    pub(crate) fn find(&self, id: &TableId) -> Option<TableIndex> {
        self.by_id.get(id).copied()
    }

    /// The index of the table of this name, which is one that nothing is known of if there was none.
    pub(crate) fn find_or_add(&mut self, id: &TableId) -> TableIndex {
        self.find(id).unwrap_or_else(|| self.add(SequencedTable::unpublished(id.clone())))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TableIndex, &SequencedTable)> {
        (0..).map(TableIndex).zip(self.all.iter().map(|entry| &entry.table))
    }

    /// True if something is to be done once the stream has reached some place.
    #[must_use]
    pub(crate) const fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Has a table read anew as soon as the open transaction has ended.
    pub(crate) fn reread(&mut self, index: TableIndex, why: impl Into<String>) {
        self.due.insert(index, why.into());
    }

    /// The same, for a reason that counts less than one that is given already.
    pub(crate) fn reread_unless_due(&mut self, index: TableIndex, why: String) {
        self.due.entry(index).or_insert(why);
    }

    /// True if a table is to be read anew as soon as the open transaction has ended.
    #[must_use]
    pub(crate) fn is_reread_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The tables that are to be read anew now, with the reason.
    #[must_use]
    pub(crate) fn take_due(&mut self) -> BTreeMap<TableIndex, String> {
        std::mem::take(&mut self.due)
    }
}
