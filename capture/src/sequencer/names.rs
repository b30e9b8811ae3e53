//! Which column a name stands for, generation by generation. A reader asks for columns by the names of the stream's
//! definition, and the source answers by its own, which may be any number of statements ahead. What was read is right
//! only if a name stands for one column as long as the load lasts.
//!
//! Invariant: a name that stood for one published column in a generation of the load, and stands for another in a later
//! one, is found, whatever lies between and however often capture was restarted.

use std::collections::BTreeMap;
use tributary_schemas::table::Table;

/// The column that a name stood for last.
#[derive(Debug, Clone, Copy)]
struct Held {
    generation: u32,
    column_id: u32,
}

/// The names of a table's published columns, as MySQL compares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ColumnNames {
    last: BTreeMap<String, Held>,
}

impl ColumnNames {
    /// `table` is the definition of `generation`; generations come in their order.
    pub(crate) fn record(&mut self, generation: u32, table: &Table) {
        for column in &table.columns {
            self.last.insert(column.name.to_lowercase(), Held { generation, column_id: column.id });
        }
    }

    /// A name of `next` that stood for another column in the generation `since` or in a later one. Only the last holder
    /// counts: an earlier change of hands was found when it came.
    #[must_use]
    pub(crate) fn moved<'a>(&self, since: u32, next: &'a Table) -> Option<&'a str> {
        let moved = |name: &str, id: u32| {
            let held = self.last.get(&name.to_lowercase());
            held.is_some_and(|held| held.generation >= since && held.column_id != id)
        };
        next.columns.iter().find(|column| moved(&column.name, column.id)).map(|column| column.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_schemas::table::{Column, TableId};

    fn table(columns: &[(u32, &str)]) -> Table {
        let column = |(id, name): &(u32, &str)| Column {
            nullable: true,
            ..Column::new(*id, *name, "int".parse().unwrap())
        };
        Table {
            id: TableId::new("shop", "orders"),
            columns: columns.iter().map(column).collect(),
            key: vec![1],
            ..Table::default()
        }
    }

    /// The statement at which a load that began with the first definition must be read anew.
    fn found(since: u32, definitions: &[&[(u32, &str)]]) -> Option<usize> {
        let mut names = ColumnNames::default();
        for (place, columns) in definitions.iter().enumerate() {
            let next = table(columns);
            if names.moved(since, &next).is_some() {
                return Some(place);
            }
            names.record(u32::try_from(place).unwrap() + 1, &next);
        }
        None
    }

    #[test]
    fn a_name_that_goes_to_another_column_is_found_across_any_number_of_statements() {
        let begin: &[(u32, &str)] = &[(1, "id"), (2, "a"), (3, "b")];
        let renamed: &[(u32, &str)] = &[(1, "id"), (2, "c"), (3, "b")];
        assert_eq!(found(1, &[begin, renamed, &[(1, "id"), (2, "c"), (3, "b"), (4, "A")]]), Some(2));
        let swapping: &[(u32, &str)] = &[(1, "id"), (2, "c"), (3, "a")];
        assert_eq!(found(1, &[begin, renamed, swapping, &[(1, "id"), (2, "b"), (3, "a")]]), Some(2));
        let dropped: &[(u32, &str)] = &[(1, "id"), (3, "b")];
        assert_eq!(found(1, &[begin, dropped, &[(1, "id"), (3, "b"), (4, "a")]]), Some(2));
        // There and back again, and new names: nothing was misread.
        assert_eq!(found(1, &[begin, renamed, begin, &[(1, "id"), (2, "A"), (3, "b"), (4, "n")]]), None);
    }

    #[test]
    fn what_a_name_stood_for_before_the_load_does_not_count() {
        let begin: &[(u32, &str)] = &[(1, "id"), (2, "a")];
        let renamed: &[(u32, &str)] = &[(1, "id"), (2, "b")];
        let added: &[(u32, &str)] = &[(1, "id"), (2, "b"), (3, "a")];
        assert_eq!(found(2, &[begin, renamed, added]), None);
        assert_eq!(found(1, &[begin, renamed, added]), Some(2));
    }
}
