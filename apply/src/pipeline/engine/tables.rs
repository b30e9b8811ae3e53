//! The tables of the loop, by index and by topic. A table, once there, stays.

use super::index::TableIndex;
use super::table::EngineTable;
use rustc_hash::FxHashMap;
use std::ops::{Index, IndexMut};

/// See the module.
#[derive(Default)]
pub(super) struct Tables {
    all: Vec<EngineTable>,
    by_topic: FxHashMap<String, TableIndex>,
}

impl Index<TableIndex> for Tables {
    type Output = EngineTable;

    fn index(&self, index: TableIndex) -> &EngineTable {
        self.all.get(index.0).unwrap_or_else(|| unreachable!("{index:?} was given by other tables"))
    }
}

impl IndexMut<TableIndex> for Tables {
    fn index_mut(&mut self, index: TableIndex) -> &mut EngineTable {
        self.all.get_mut(index.0).unwrap_or_else(|| unreachable!("{index:?} was given by other tables"))
    }
}

impl Tables {
    /// Adds the table of a topic, of which there is none yet.
    pub(super) fn add(&mut self, table: EngineTable) {
        let before = self.by_topic.insert(table.task.topic.clone(), TableIndex(self.all.len()));
        assert!(before.is_none(), "{} has a table already", table.task.topic);
        self.all.push(table);
    }

    /// The table of a topic that may be another's.
    pub(super) fn find(&self, topic: &str) -> Option<TableIndex> {
        self.by_topic.get(topic).copied()
    }

    /// The table of a topic that this loop has subscribed to.
    pub(super) fn of(&self, topic: &str) -> TableIndex {
        self.find(topic).unwrap_or_else(|| unreachable!("no table has the topic {topic}"))
    }

    pub(super) fn indexes(&self) -> impl Iterator<Item = TableIndex> + use<> {
        (0..self.all.len()).map(TableIndex)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, EngineTable> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, EngineTable> {
        self.all.iter_mut()
    }
}
