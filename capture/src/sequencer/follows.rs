//! Which tables a statement of the stream concerns: the selected ones, and of those that look like a tool's (gh-ost,
//! pt-online-schema-change, DMS) only the ones that no other table is there for. What the stream has shown decides; where
//! it has not shown the other table, the source is asked when the table is about to join.

use super::Sequencer;
use crate::ddl::{Effect, TableEffect};
use std::collections::BTreeSet;
use tributary_schemas::table::TableId;

/// What the RENAMEs and DROPs of one statement do to names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Names that a table gets. In a swap the name of a table comes back in the same statement.
    arriving: BTreeSet<TableId>,
    /// Names that no table has any more.
    leaving: BTreeSet<TableId>,
}

impl Names {
    pub(super) fn of(effects: &[TableEffect]) -> Self {
        let (mut arriving, mut leaving) = (BTreeSet::new(), BTreeSet::new());
        for TableEffect { table, effect } in effects {
            if let Effect::RenameTo(to) = effect {
                arriving.insert(to.clone());
            }
            if matches!(effect, Effect::RenameTo(_) | Effect::Drop) {
                leaving.insert(table.clone());
            }
        }
        leaving.retain(|id| !arriving.contains(id));
        Self { arriving, leaving }
    }

    pub(super) fn arrives(&self, id: &TableId) -> bool {
        self.arriving.contains(id)
    }
}

impl Sequencer {
    /// True if what happens to the table matters, once the statement with these `names` is over.
    pub(super) fn follows(&self, id: &TableId, names: &Names) -> bool {
        let other =
            |other: &TableId| names.arrives(other) || self.exists(other) && !names.leaving.contains(other);
        self.is_followed(id) || self.setup.selection.selects_beside(id, other)
    }

    /// True if the table is replicated, or about to be, whatever it looks like.
    fn is_followed(&self, id: &TableId) -> bool {
        let known = self.tables.find(id);
        self.setup.selection.selects(id)
            && known.is_some_and(|index| self.tables.standing(index).is_followed())
    }

    /// The tables of which one must exist on the source for this one to be a tool's, and not to join.
    pub(super) fn shadowed(&self, id: &TableId) -> Vec<TableId> {
        if self.is_followed(id) { Vec::new() } else { self.setup.selection.shadowed(id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_swap_the_name_stays_and_when_a_table_is_put_away_it_does_not() {
        let id = |table: &str| TableId::new("shop", table);
        let rename = |from: &str, to: &str| TableEffect { table: id(from), effect: Effect::RenameTo(id(to)) };
        let swap = Names::of(&[rename("a", "_a_del"), rename("_a_gho", "a")]);
        assert!(swap.arrives(&id("a")) && !swap.leaving.contains(&id("a")));
        assert!(swap.leaving.contains(&id("_a_gho")));
        let put_away = Names::of(&[rename("a", "_a_old")]);
        assert!(put_away.leaving.contains(&id("a")) && !put_away.arrives(&id("a")));
    }
}
