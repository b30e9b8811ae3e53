//! Table ids of the binlog: which table a row event is about, and the decoder for it.
//!
//! Invariant: a decoder is used only with the TABLE_MAP and the definition it was compiled from.

use super::tables::TableIndex;
use crate::binlog::decoder::RowDecoder;
use std::collections::HashMap;
use std::rc::Rc;

/// What row events of a table id are to the sequencer.
#[derive(Debug, Clone)]
pub(super) enum Mapped {
    /// Nothing: the table is not selected, has not joined yet, or is parked.
    Ignored,
    Decoded(TableIndex, Rc<RowDecoder>),
}

struct Entry {
    database: String,
    table: String,
    definition: Vec<u8>,
    mapped: Mapped,
}

/// The TABLE_MAPs seen, by table id. The server gives a new id whenever it opens a table anew, so the ids are
/// forgotten when there are too many.
#[derive(Default)]
pub(super) struct TableMaps {
    entries: HashMap<u64, Entry>,
}

/// Ids kept; one for each open table of the source is the steady state.
const MAX_IDS: usize = 10_000;

impl TableMaps {
    /// The mapping of this id, if the TABLE_MAP is the one it was made from.
    #[must_use]
    pub(super) fn known(&self, id: u64, database: &str, table: &str, definition: &[u8]) -> Option<&Mapped> {
        self.entries
            .get(&id)
            .filter(|entry| {
                entry.definition == definition && entry.table == table && entry.database == database
            })
            .map(|entry| &entry.mapped)
    }

    /// Remembers a mapping.
    pub(super) fn insert(&mut self, id: u64, database: &str, table: &str, definition: &[u8], mapped: Mapped) {
        let (database, table, definition) = (database.to_owned(), table.to_owned(), definition.to_vec());
        self.entries.insert(id, Entry { database, table, definition, mapped });
    }

    /// The mapping of a row event's table id; `None` if its TABLE_MAP did not come.
    #[must_use]
    pub(super) fn get(&self, id: u64) -> Option<&Mapped> {
        self.entries.get(&id).map(|entry| &entry.mapped)
    }

    /// Row events of the table at `index` count for nothing from now on; the rest of the statement at hand still
    /// finds its TABLE_MAP.
    pub(super) fn ignore(&mut self, index: TableIndex) {
        for entry in self.entries.values_mut() {
            if matches!(entry.mapped, Mapped::Decoded(decoded, _) if decoded == index) {
                entry.mapped = Mapped::Ignored;
            }
        }
    }

    /// Forgets everything if there are too many. Only between transactions: the row events of a statement follow all of
    /// its TABLE_MAPs.
    pub(super) fn trim(&mut self) {
        if self.entries.len() >= MAX_IDS {
            self.clear();
        }
    }

    /// Forgets everything: a definition or a table's standing changed.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
