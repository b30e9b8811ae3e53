//! Where a table stands, and [`Sequencer::transition`], the one way from there to elsewhere.
//!
//! | standing | begins with | in the state topic |
//! |---|---|---|
//! | streaming | a generation that the history has; at first its rows are read as well | |
//! | joining | a definition of the source at a place that the stream has not reached | the gap, if it was published before |
//! | absent | a re-read of a table that the source does not have | the gap |
//! | parked | what nobody but a person, or a statement, can mend | the reason |
//! | gone | a DROP; a name that the source does not have | |
//! | excluded | a definition that cannot be replicated, of a table that never was published | |
//!
//! Invariant: while a table stands anywhere but in the stream nothing of it is published, read or expected; a checkpoint
//! after its gap does not forget that it has one.

use super::{TableIndex, Tables};
use crate::remedies;
use crate::sequencer::Sequencer;
use crate::sequencer::park::{MESSAGE_BYTES, REREAD, cut};
use std::fmt;
use tributary_schemas::FORMAT_VERSION;
use tributary_schemas::checkpoint::{Parked, StateKey};
use tributary_schemas::position::Position;
use tributary_service::status::{ErrorDocument, TableState};
use tributary_source::catalog::CatalogTable;

/// Where a table stands.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// Its events are published, and its rows as they are read.
    Streaming,
    /// It is read whole from a place that the stream has not reached.
    Joining(Box<Joining>),
    /// It is to be read anew, and the source had none of this name at a place that the stream has not reached.
    Absent {
        /// A place of the source behind the answer that said so.
        place: Position,
        /// Why it is to be read anew.
        why: String,
    },
    /// It stands still, with the reason that is shown until the table is read anew.
    Parked(Parked),
    /// The source has no table of this name.
    Gone,
    /// It cannot be replicated as it is; the selection says why.
    Excluded,
}

/// A table that waits for the stream to reach the place where its definition holds.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    /// All columns.
    pub catalog: CatalogTable,
    /// Where that holds.
    pub after: Position,
    /// Why it is read; empty for one that was there when the task began.
    pub why: String,
    /// It was published before: whoever has its rows has a gap.
    pub gap: bool,
}

impl Standing {
    /// True if the table's events are published.
    #[must_use]
    pub(crate) const fn is_streaming(&self) -> bool {
        matches!(self, Self::Streaming)
    }

    /// True if the table is replicated, or about to be, or would be but for the reason that it is parked for.
    #[must_use]
    pub(crate) const fn is_followed(&self) -> bool {
        !matches!(self, Self::Gone | Self::Excluded)
    }

    /// True if something is to be done once the stream has reached some place.
    const fn waits(&self) -> bool {
        matches!(self, Self::Joining(_) | Self::Absent { .. })
    }

    /// What the state topic and the status say of a table that stands still.
    #[must_use]
    pub(crate) fn record(&self) -> Option<Parked> {
        match self {
            Self::Parked(parked) => Some(parked.clone()),
            _ => self.reread().map(gap),
        }
    }

    /// Why the table is to be read anew, if it is.
    fn reread(&self) -> Option<&str> {
        match self {
            Self::Joining(joining) => Some(joining.why.as_str()).filter(|_| joining.gap),
            Self::Absent { why, .. } => Some(why),
            Self::Streaming | Self::Parked(_) | Self::Gone | Self::Excluded => None,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Streaming => "streaming",
            Self::Joining(_) => "joining",
            Self::Absent { .. } => "absent",
            Self::Parked(_) => "parked",
            Self::Gone => "gone",
            Self::Excluded => "excluded",
        })
    }
}

/// A checkpoint behind this place must not forget that the table has a gap.
fn gap(why: &str) -> Parked {
    Parked {
        format: FORMAT_VERSION,
        code: REREAD.to_owned(),
        message: cut(why, MESSAGE_BYTES).into_owned(),
        remedy: remedies::re_read().to_owned(),
        active: true,
    }
}

impl Tables {
    /// Where the table stands.
    #[must_use]
    pub(crate) fn standing(&self, index: TableIndex) -> &Standing {
        &self.entry(index).standing
    }

    /// True if the table's events are published.
    #[must_use]
    pub(crate) fn is_streaming(&self, index: TableIndex) -> bool {
        self.standing(index).is_streaming()
    }

    #[must_use]
    pub(crate) fn joining(&self, index: TableIndex) -> &Joining {
        match self.standing(index) {
            Standing::Joining(joining) => joining,
            other => unreachable!("{} does not join, it is {other}", self[index].id),
        }
    }

    /// The tables that wait for the stream to reach a place.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (TableIndex, &Standing)> {
        self.waiting.iter().map(|index| (*index, self.standing(*index)))
    }

    /// The tables among them that join.
    pub(crate) fn all_joining(&self) -> impl Iterator<Item = (TableIndex, &Joining)> {
        self.waiting().filter_map(|(index, standing)| match standing {
            Standing::Joining(joining) => Some((index, &**joining)),
            _ => None,
        })
    }

    /// Puts the table elsewhere; returns where it stood.
    fn stand(&mut self, index: TableIndex, standing: Standing) -> Standing {
        self.due.remove(&index);
        self.waiting.retain(|other| *other != index);
        if standing.waits() {
            self.waiting.push(index);
        }
        std::mem::replace(&mut self.entry_mut(index).standing, standing)
    }

    /// A session begins with the table where it stood when the one before it ended. Nothing has to be said of it.
    pub(crate) fn restore(&mut self, index: TableIndex, standing: Standing) {
        drop(self.stand(index, standing));
    }
}

impl Sequencer {
    /// From here on the table stands there: what was under way ends, and the state topic, the log and the status say so.
    pub(in crate::sequencer) fn transition(&mut self, index: TableIndex, to: Standing) {
        let from = self.tables.stand(index, to);
        let (table, to) = (&self.tables[index], self.tables.standing(index));
        let id = table.id.clone();
        tracing::debug!(table = %id, "{from} → {to}");
        if !to.is_streaming() {
            self.maps.ignore(index);
            self.snapshot.discard(index);
            self.expected.forget(index);
            self.dirty.remove(&index);
        }
        if let Some(why) = to.reread() {
            tracing::info!(table = %id, why, "table will be read anew");
        }
        let (before, after) = (from.record(), to.record());
        if table.is_published() {
            let shown = self.setup.status.table(&id.to_string());
            match &after {
                Some(parked) => shown.park(document(parked)),
                None if to.is_streaming() => shown.set_state(TableState::Loading),
                None => shown.set_state(TableState::Dropped),
            }
        }
        if before != after
            && let Some(record) = after.or(before.map(|before| Parked { active: false, ..before }))
        {
            self.put_state(&StateKey::Parked(id), &record);
        }
    }
}

/// What the status says of a table that stands still.
pub(crate) fn document(parked: &Parked) -> ErrorDocument {
    ErrorDocument::new(&*parked.code, &*parked.message, &*parked.remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequencer::table::SequencedTable;
    use tributary_schemas::table::TableId;

    fn absent() -> Standing {
        Standing::Absent { place: Position::default(), why: "the key changed".to_owned() }
    }

    fn joining(gap: bool) -> Standing {
        let id = TableId::new("shop", "orders");
        let catalog = SequencedTable::unpublished(id).catalog;
        let why = "CREATE TABLE orders".to_owned();
        Standing::Joining(Box::new(Joining { catalog, after: Position::default(), why, gap }))
    }

    #[test]
    fn the_state_topic_names_the_gap_of_what_was_published_and_of_nothing_else() {
        let text = |standing: Standing| standing.record().map(|record| (record.code, record.message));
        assert_eq!(text(joining(true)), Some((REREAD.to_owned(), "CREATE TABLE orders".to_owned())));
        assert_eq!(text(joining(false)), None);
        assert_eq!(text(absent()), Some((REREAD.to_owned(), "the key changed".to_owned())));
        let parked = Parked { code: "bad-row".to_owned(), ..gap("a row") };
        assert_eq!(Standing::Parked(parked.clone()).record(), Some(parked));
        assert!(
            [Standing::Streaming, Standing::Gone, Standing::Excluded].iter().all(|s| s.record().is_none())
        );
    }

    #[test]
    fn a_table_waits_at_the_end_of_the_line_and_what_was_due_is_not_any_more() {
        let mut tables = Tables::default();
        let [a, b] = ["a", "b"].map(|name| tables.find_or_add(&TableId::new("shop", name)));
        assert_eq!(tables.find_or_add(&TableId::new("shop", "b")), b);
        tables.restore(a, joining(true));
        tables.restore(b, absent());
        tables.restore(a, joining(true));
        assert_eq!(tables.waiting().map(|(index, _)| index).collect::<Vec<_>>(), [b, a]);
        assert_eq!(tables.all_joining().map(|(index, _)| index).collect::<Vec<_>>(), [a]);
        tables.reread(a, "an ALTER");
        tables.reread(b, "an ALTER");
        tables.restore(a, Standing::Gone);
        assert_eq!(tables.take_due().into_keys().collect::<Vec<_>>(), [b]);
        tables.restore(b, Standing::Streaming);
        assert!(!tables.is_waiting() && !tables.is_reread_due());
    }
}
