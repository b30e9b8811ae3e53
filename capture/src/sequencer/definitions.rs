//! The server's word on a table's definition: asked for after a statement that adds or redefines a column, and compared
//! with what the stream has led to once the stream is where that word holds. The judgement is in
//! [`crate::ddl::follow`] and [`crate::ddl::unlike`].
//!
//! Invariant: a definition that is not the server's is read anew, whatever led to it: a statement that was misread, one
//! that is not in the binlog, a record of an older version.

use super::Sequencer;
use super::port::{Action, Answered, DefinitionQuestion};
use super::tables::TableIndex;
use crate::ddl::{Next, Stated, StatedVerdict, follow, unlike};
use crate::topics::state::StoredCatalog;
use std::collections::BTreeMap;
use tributary_schemas::checkpoint::StateKey;
use tributary_schemas::position::Position;
use tributary_schemas::table::TableId;
use tributary_source::catalog::CatalogTable;

/// Definitions that hold at one place of the source.
#[derive(Debug)]
struct StatedPlace {
    position: Position,
    tables: BTreeMap<TableIndex, Expected>,
}

/// A definition as the server stated it.
#[derive(Debug)]
struct Expected {
    catalog: CatalogTable,
    /// A part of the followed definition stands on it alone, until the stream is there.
    unproven: bool,
}

/// What the server stated of tables, at places that the stream has not reached; the last word of each table only.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    places: Vec<StatedPlace>,
}

impl Expectations {
    /// The tables of a session's beginning, at one place.
    #[must_use]
    pub(super) fn at(
        position: Position,
        catalogs: impl IntoIterator<Item = (TableIndex, CatalogTable)>,
    ) -> Self {
        let expected = |(index, catalog)| (index, Expected { catalog, unproven: false });
        let tables: BTreeMap<_, _> = catalogs.into_iter().map(expected).collect();
        Self { places: if tables.is_empty() { Vec::new() } else { vec![StatedPlace { position, tables }] } }
    }

    fn add(&mut self, position: Position, (index, catalog): (TableIndex, CatalogTable), unproven: bool) {
        self.forget(index);
        let tables = BTreeMap::from([(index, Expected { catalog, unproven })]);
        self.places.push(StatedPlace { position, tables });
    }

    /// Drops what is expected of a table; true if something stood on it.
    pub(super) fn forget(&mut self, index: TableIndex) -> bool {
        let mut unproven = false;
        for place in &mut self.places {
            unproven |= place.tables.remove(&index).is_some_and(|expected| expected.unproven);
        }
        self.places.retain(|place| !place.tables.is_empty());
        unproven
    }

    /// A statement on a table comes before the place of what is expected. True if something stood on that: whether the
    /// server meant it before or after this statement cannot be known any more.
    fn overtake(&mut self, index: TableIndex, reached: &Position) -> bool {
        let of_table = self.places.iter().find_map(|place| Some((place, place.tables.get(&index)?)));
        match of_table {
            Some((_, Expected { unproven: true, .. })) => self.forget(index),
            // The place does not hold the statement, so what is expected there is not what comes of it.
            Some((place, _)) if reached.covers(&place.position) => self.forget(index),
            _ => false,
        }
    }

    fn arrived(&mut self, here: &Position) -> BTreeMap<TableIndex, Expected> {
        let (arrived, waiting) = std::mem::take(&mut self.places)
            .into_iter()
            .partition(|place: &StatedPlace| here.covers(&place.position));
        self.places = waiting;
        arrived.into_iter().flat_map(|place: StatedPlace| place.tables).collect()
    }
}

impl Sequencer {
    /// What the stream has reached, the open transaction included.
    fn reached(&self) -> Position {
        let mut position = self.progress.position().clone();
        position.gtid_set = self.progress.reached();
        self.progress.file().clone_into(&mut position.file);
        position.offset = self.progress.offset();
        position
    }

    /// A statement changes a table's definition: true if the definition before it was never proven.
    pub(super) fn overtakes_expectation(&mut self, index: TableIndex) -> bool {
        let reached = self.reached();
        self.expected.overtake(index, &reached)
    }

    /// The definition with which the table at `index` goes on after a statement; `None` if its rows are to be read again,
    /// which is seen to.
    pub(super) async fn stated(&mut self, index: TableIndex, next: Next) -> Option<(Next, bool)> {
        if next.declared.is_empty() {
            return Some((next, false));
        }
        let id = self.tables[index].id.clone();
        let found = self.ask_definition(&id, Vec::new()).await;
        if found.as_ref().is_some_and(|(catalog, _)| catalog.unasked) {
            let why = "the table is locked on the server, which could not be asked for its definition";
            self.tables.reread(index, why);
            return None;
        }
        let table = &self.tables[index];
        let here = found.as_ref().is_some_and(|(_, place)| self.reached().covers(place));
        let stated = Stated { table: found.as_ref().map(|(catalog, _)| catalog), here };
        match follow(&table.catalog, next, stated, &self.setup.session) {
            StatedVerdict::Follow { next, unproven } => {
                if let Some((catalog, place)) = found {
                    self.expected.add(place, (index, catalog), unproven);
                }
                Some((*next, unproven))
            }
            StatedVerdict::Reread(why) => {
                self.tables.reread(index, why);
                None
            }
        }
    }

    /// The table's definition on the server now, which has committed everything the stream has passed; none of a table
    /// that is a tool's, because one of `shadowed` is there.
    pub(super) async fn ask_definition(
        &mut self,
        id: &TableId,
        shadowed: Vec<TableId>,
    ) -> Option<(CatalogTable, Position)> {
        let question = DefinitionQuestion { id: id.clone(), shadowed, reached: self.progress.reached() };
        let Answered { answer, took } = self.port.ask(question, Action::Definition).await;
        self.output.wait(took);
        answer
    }

    /// Compares every table with what the server stated of it at a place that the stream has reached now. Between
    /// transactions only.
    pub(super) fn prove_definitions(&mut self) {
        if self.expected.places.is_empty() {
            return;
        }
        let here = self.passed();
        for (index, Expected { catalog, unproven }) in self.expected.arrived(&here) {
            let table = &self.tables[index];
            let key: Vec<&str> = table.table.key_columns().map(|column| column.name.as_str()).collect();
            if let Some(difference) = unlike(&table.catalog, &catalog, &key) {
                tracing::warn!(table = %table.id, "the definition is not the server's: {difference}");
                self.tables.reread_unless_due(index, difference);
            } else if unproven {
                let stored = StoredCatalog::proven(table.catalog.clone());
                self.put_state(&StateKey::Catalog(catalog.id), &stored);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(name: &str) -> CatalogTable {
        CatalogTable { id: TableId::new("shop", name), ..CatalogTable::default() }
    }

    fn at(last: u64) -> Position {
        let gtid_set = format!("6f3e8d40-1c1f-11ef-8a0b-0242ac120002:1-{last}").parse().unwrap();
        Position { gtid_set, ..Position::default() }
    }

    #[test]
    fn the_last_word_on_a_table_counts_where_it_holds() {
        let [a, b] = [0, 1].map(TableIndex::of);
        let mut expected = Expectations::at(at(10), [(a, catalog("a")), (b, catalog("b"))]);
        expected.add(at(20), (a, catalog("a")), false);
        let names = |arrived: BTreeMap<TableIndex, Expected>| -> Vec<String> {
            arrived.into_values().map(|expected| expected.catalog.id.table).collect()
        };
        assert!(names(expected.arrived(&at(9))).is_empty());
        assert_eq!(names(expected.arrived(&at(12))), ["b"]);
        assert_eq!(names(expected.arrived(&at(20))), ["a"]);
        assert!(expected.places.is_empty());
    }

    #[test]
    fn a_statement_before_the_place_overtakes_what_only_the_place_could_prove() {
        let index = TableIndex::of(0);
        let mut expected = Expectations::at(at(10), [(index, catalog("a"))]);
        assert!(!expected.overtake(index, &at(5)));
        assert_eq!(expected.places.len(), 1, "still to be compared");
        assert!(!expected.overtake(index, &at(10)));
        assert!(expected.places.is_empty(), "the statement is beyond it");
        expected.add(at(10), (index, catalog("a")), true);
        assert!(expected.overtake(index, &at(5)));
        assert!(!expected.overtake(index, &at(6)));
    }
}
