//! The generations of a table as far as the history still has a record of each, and which of them nothing can need any
//! more. Pure: what was written, and when, enters; what goes leaves.
//!
//! Invariant: only a generation goes that shares its definition with an earlier one of its topic, before a generation
//! that has emptied the table for longer than any apply may lag, and from before the load that is under way. The last
//! re-read of them stays: an apply that was away sees by it that the definition it goes back to comes with the rows. The
//! number and the schema id of what goes stay in the table's [`RetiredRecord`].

use tributary_schemas::history::{Cause, GenerationRecord, RetiredRecord};

/// A generation that has a record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its number.
    pub generation: u32,
    /// The generation whose record holds its definition; itself, if that is its own.
    pub holder: u32,
    /// What began it.
    pub cause: Cause,
    /// When it was written, milliseconds since 1970.
    pub written_ms: i64,
    /// Version of its schema of values.
    pub version: u32,
    /// Id of that.
    pub id: u32,
    /// The subject under which the text of that schema lies in the history, if it does.
    pub stored_schema: Option<String>,
    /// The text follows from the definition.
    pub derivable: bool,
}

/// The generations of a table, ascending.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lineage {
    kept: Vec<Kept>,
    /// Those that have no record any more.
    pub retired: RetiredRecord,
    /// The generation of the present topic whose record holds the present definition.
    holder: Option<u32>,
    /// It was said that no more can be retired.
    pub is_full: bool,
}

impl Lineage {
    /// With what is retired already.
    #[must_use]
    pub(crate) fn new(retired: Option<&RetiredRecord>) -> Self {
        Self { retired: retired.cloned().unwrap_or_default(), ..Self::default() }
    }

    /// The generation of the present topic whose record holds the present definition; `None` before the first one.
    #[must_use]
    pub(crate) const fn holder(&self) -> Option<u32> {
        self.holder
    }

    /// The table goes on in another topic.
    pub(crate) const fn leave_topic(&mut self) {
        self.holder = None;
    }

    /// True if the last that was published is that the table was dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        self.kept.last().is_some_and(|kept| kept.cause == Cause::Drop)
    }

    /// Adds the next generation.
    pub(crate) fn record(&mut self, kept: Kept) {
        self.holder = Some(kept.holder);
        self.kept.push(kept);
    }

    /// Adds the next generation as the history has it. `previous` is the one before; `text` the schema of its values, if
    /// the history has that: subject, version, and whether it is what follows from the definition.
    pub(crate) fn restore(
        &mut self,
        previous: Option<&GenerationRecord>,
        record: &GenerationRecord,
        written_ms: i64,
        text: Option<(String, u32, bool)>,
    ) {
        let same =
            previous.is_some_and(|previous| previous.topic == record.topic && previous.table == record.table);
        let known = self.holder.filter(|_| same);
        let holder = record.same_as.or(known).unwrap_or(record.generation);
        let (stored_schema, version, derivable) = match (record.value_version, text) {
            (Some(version), _) => (None, version, true),
            (None, Some((subject, version, derivable))) => (Some(subject), version, derivable),
            (None, None) => (None, 0, false),
        };
        self.record(Kept {
            generation: record.generation,
            holder,
            cause: record.cause,
            written_ms,
            version,
            id: record.value_schema_id,
            stored_schema,
            derivable,
        });
    }

    /// The generations that go. Emptied before `horizon_ms` is emptied for everybody; `loading_since` is the generation
    /// that began the load under way.
    pub(crate) fn retire(&mut self, horizon_ms: i64, loading_since: Option<u32>) -> Vec<Kept> {
        let newest = |wanted: fn(Cause) -> bool| {
            let mut old = self.kept.iter().rev().filter(|kept| kept.written_ms <= horizon_ms);
            old.find(|kept| wanted(kept.cause)).map(|kept| kept.generation)
        };
        let Some(emptied) = newest(Cause::empties) else { return Vec::new() };
        let reread = newest(|cause| cause == Cause::Reset);
        let before = loading_since.map_or(emptied, |since| since.min(emptied));
        let goes = |kept: &Kept| {
            let needed = kept.holder == kept.generation || Some(kept.generation) == reread;
            kept.generation < before && !needed && kept.derivable
        };
        let (gone, kept) = std::mem::take(&mut self.kept).into_iter().partition(goes);
        self.kept = kept;
        for generation in &gone {
            self.retired.push(generation.holder, (generation.generation, generation.version, generation.id));
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(generation: u32, holder: u32, cause: Cause) -> Kept {
        let written_ms = i64::from(generation) * 1_000;
        let (version, id) = (generation, 10 + generation);
        Kept { generation, holder, cause, written_ms, version, id, stored_schema: None, derivable: true }
    }

    fn lineage() -> Lineage {
        let mut lineage = Lineage::default();
        for (generation, holder, cause) in [
            (1, 1, Cause::Initial),
            (2, 1, Cause::Truncate),
            (3, 3, Cause::Alter),
            (4, 3, Cause::Truncate),
            (5, 3, Cause::Truncate),
            (6, 3, Cause::Truncate),
        ] {
            lineage.record(kept(generation, holder, cause));
        }
        lineage
    }

    fn numbers(gone: &[Kept]) -> Vec<u32> {
        gone.iter().map(|kept| kept.generation).collect()
    }

    #[test]
    fn what_a_later_generation_empties_for_everybody_goes_and_definitions_stay() {
        let mut all = lineage();
        assert!(all.retire(1_999, None).is_empty());
        assert!(all.retire(2_000, None).is_empty(), "the first one has its own definition");
        assert_eq!(numbers(&all.retire(5_500, None)), [2, 4]);
        assert_eq!(numbers(&all.retire(9_000, None)), [5], "the last one that empties stays");
        assert!(all.retire(9_000, None).is_empty());
        let runs: Vec<_> = all.retired.runs.iter().flat_map(|run| run.each()).collect();
        assert_eq!(runs, [(2, 2, 12), (4, 4, 14), (5, 5, 15)]);
        assert_eq!(all.holder(), Some(3));
    }

    #[test]
    fn a_load_keeps_what_it_has_seen() {
        let mut all = lineage();
        assert_eq!(numbers(&all.retire(9_000, Some(4))), [2]);
        assert_eq!(numbers(&all.retire(9_000, None)), [4, 5]);
    }

    #[test]
    fn the_last_re_read_stays_for_those_who_were_away_until_a_later_one_takes_its_place() {
        let mut all = Lineage::default();
        for (generation, cause) in
            (1..).zip([Cause::Initial, Cause::Reset, Cause::Reset, Cause::Truncate, Cause::Truncate])
        {
            all.record(kept(generation, 1, cause));
        }
        assert_eq!(numbers(&all.retire(9_000, None)), [2, 4]);
        all.record(kept(6, 1, Cause::Reset));
        assert!(all.retire(5_999, None).is_empty(), "the next one is too young");
        assert_eq!(numbers(&all.retire(9_000, None)), [3, 5]);
    }
}
