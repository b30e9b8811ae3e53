//! Which row events are looked at: those of the selected tables, by the TABLE_MAP that came before. The others are dropped where
//! the stream is read, so that they cost neither memory nor the sequencer's time.
//!
//! Invariant: an event whose table is not known is kept; what it is, the sequencer says.

use super::cursor::Cursor;
use super::event::{EventHeader, FormatContext, kind};
use super::table_map::TableMapEvent;
use std::collections::HashMap;
use std::sync::Arc;
use tributary_config::TableSelection;
use tributary_schemas::table::TableId;

/// As much of a row event's data as tells its table.
pub(super) const ID_BYTES: usize = 6;
/// Ids kept. Once there are more all are forgotten, and until their next TABLE_MAP comes row events are kept.
const MAX_IDS: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TableFilter {
    /// `None` keeps everything.
    selection: Option<Arc<TableSelection>>,
    format: FormatContext,
    tables: HashMap<u64, Known>,
}

#[derive(Debug)]
struct Known {
    table: TableId,
    selected: bool,
}

impl TableFilter {
    /// Keeps the row events of these tables; of all without a selection.
    pub(super) fn new(selection: Option<Arc<TableSelection>>) -> Self {
        Self { selection, ..Self::default() }
    }

    /// A file begins.
    pub(super) fn describe(&mut self, format: FormatContext) {
        self.format = format;
    }

    /// A TABLE_MAP has come. One that cannot be read is the sequencer's to refuse.
    pub(super) fn on_table_map(&mut self, data: &[u8]) {
        let Some(selection) = &self.selection else { return };
        let Ok(TableMapEvent { table_id, database, table, .. }) = TableMapEvent::parse(data, &self.format)
        else {
            return;
        };
        let is_known = |known: &Known| known.table.table == table && known.table.database == database;
        if self.tables.get(&table_id).is_some_and(is_known) {
            return;
        }
        if self.tables.len() >= MAX_IDS {
            self.tables.clear();
        }
        let table = TableId::new(database, table);
        let selected = selection.selects(&table);
        self.tables.insert(table_id, Known { table, selected });
    }

    /// False for a row event of a table that is not selected. `data` are the first [`ID_BYTES`] of its data, or more.
    pub(super) fn keeps(&self, header: &EventHeader, data: &[u8]) -> bool {
        if self.tables.is_empty() || !header.has_rows() {
            return true;
        }
        let id = Cursor::new(data).uint(self.format.table_id_width(header.kind));
        id.and_then(|id| self.tables.get(&id)).is_none_or(|known| known.selected)
    }
}

/// True if the event tells the table of an id.
pub(super) const fn is_table_map(header: &EventHeader) -> bool {
    header.kind == kind::TABLE_MAP
}
