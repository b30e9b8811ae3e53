//! Tables that wait to be read anew, and that the source does not have. A statement that the stream has yet to pass may
//! say what became of one: dropped, renamed, or made again. Behind the place where the source had none, nothing will.
//!
//! Invariant: no table waits for a re-read that cannot come.

use super::Sequencer;
use super::halt::Halt;
use super::park::ParkReason;
use super::table::Standing;
use crate::snapshot::planner::is_past;
use std::collections::BTreeMap;
use tributary_schemas::position::Position;
use tributary_schemas::table::TableId;

/// Tables that the source does not have, and a place of the source behind the answer that said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Absent {
    places: BTreeMap<TableId, Position>,
}

impl Absent {
    /// None of `tables` was there at `place`.
    #[must_use]
    pub fn at(place: &Position, tables: Vec<TableId>) -> Self {
        Self { places: tables.into_iter().map(|id| (id, place.clone())).collect() }
    }

    /// The table was not there before `place`.
    pub fn add(&mut self, id: TableId, place: Position) {
        self.places.insert(id, place);
    }

    /// A statement says what became of the table, or it is asked for again.
    pub fn forget(&mut self, id: &TableId) {
        self.places.remove(id);
    }

    /// True if no table waits for a word of the stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes out the tables of which the stream, which is `here`, will say nothing more.
    fn take_passed(&mut self, here: &Position) -> Vec<TableId> {
        let (passed, waiting): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.places).into_iter().partition(|(_, place)| is_past(here, place));
        self.places = waiting;
        passed.into_keys().collect()
    }
}

impl Sequencer {
    /// True if something is to be done once the stream has reached some place.
    pub(super) fn awaits_place(&self) -> bool {
        !self.joining.is_empty() || !self.absent.is_empty()
    }

    /// Parks the tables that are gone without a word of the stream.
    pub(super) fn park_absent(&mut self) -> Result<(), Halt> {
        if self.absent.is_empty() {
            return Ok(());
        }
        let here = self.passed();
        for id in self.absent.take_passed(&here) {
            let Some(index) = self.tables.find(&id) else { continue };
            if self.tables[index].standing == Standing::Parked {
                self.park(index, &ParkReason::absent())?;
            }
        }
        Ok(())
    }

    /// The name stands for no table any more; its rows live on where they are not followed.
    pub(super) fn renamed_away(&mut self, id: &TableId, to: &TableId) -> Result<(), Halt> {
        // It may have waited to be read anew; now there is nothing to read.
        self.joining.retain(|joining| joining.catalog.id != *id);
        self.absent.forget(id);
        let Some(index) = self.tables.find(id) else { return Ok(()) };
        if self.tables[index].standing == Standing::Dropped {
            return Ok(());
        }
        self.park(index, &ParkReason::renamed(&to.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u64) -> Position {
        let gtid_set = format!("6f3e8d40-1c1f-11ef-8a0b-0242ac120002:1-{last}").parse().unwrap();
        Position { gtid_set, ..Position::default() }
    }

    #[test]
    fn a_table_is_given_up_where_the_stream_has_passed_the_place_without_a_word_of_it() {
        let id = |name: &str| TableId::new("shop", name);
        let mut absent = Absent::at(&at(5), vec![id("a"), id("b")]);
        absent.add(id("c"), at(8));
        absent.forget(&id("b"));
        assert!(absent.take_passed(&at(4)).is_empty());
        assert_eq!(absent.take_passed(&at(5)), [id("a")]);
        assert!(!absent.is_empty());
        assert_eq!(absent.take_passed(&at(9)), [id("c")]);
        assert!(absent.is_empty());
    }
}
