//! What a task needs of its source and of Kafka, examined for `capture check` and at the start of `run`: the configuration
//! enters, a report leaves, with every item that passed, warns or fails, and the tables that can be replicated.
//! `tributary_source::facts` and [`probe`] gather facts; everything that judges them is pure.
//!
//! Invariant: the check changes nothing on the source, and nothing on Kafka but a topic of its own that it deletes.

mod account;
pub(crate) mod completeness;
mod deselected;
mod examine;
mod grants;
mod item;
mod kafka;
pub(crate) mod position;
mod print_grants;
mod probe;
mod refusals;
mod server;
mod tables;

pub(crate) use account::foreign_key_cascades;
pub(crate) use deselected::item as tables_deselected;
pub(crate) use item::{Item, Outcome};
pub(crate) use print_grants::print as print_grants;
pub(crate) use tables::Selected;

use std::collections::BTreeMap;
use tributary_config::{Config, SourceConfig};
use tributary_schemas::table::TableId;

/// What a check found.
#[derive(Debug, Clone)]
pub(crate) struct Examined {
    /// In the order of the report.
    pub items: Vec<Item>,
    /// The tables that can be replicated, in name order.
    pub selected: Vec<Selected>,
    /// Those that cannot, with the reason and the remedy.
    pub excluded: BTreeMap<TableId, String>,
}

impl AsRef<[Item]> for Examined {
    fn as_ref(&self) -> &[Item] {
        &self.items
    }
}

/// Items about single tables: they cost only those tables.
const TABLE_ITEMS: [&str; 5] = ["tables-selected", "primary-keys", "types", "charsets", "names"];

impl Examined {
    /// The items, but those that `ignore` names, that no run can begin with.
    #[must_use]
    pub(crate) fn obstacles(&self, strict: bool, ignore: &[String]) -> Vec<Item> {
        let ignore = ignorable(ignore);
        let stops = |item: &&Item| {
            // Of a server that is away nothing is known yet that could be accepted.
            let ignored = !item.passing && ignore.contains(&item.name);
            let of_table = TABLE_ITEMS.contains(&item.name.as_str());
            let tolerated = of_table && !strict && !self.selected.is_empty();
            item.outcome == Outcome::Fail && !ignored && !tolerated
        };
        self.items.iter().filter(stops).cloned().collect()
    }
}

/// The items that `--ignore` may name: tables are left by their names only.
pub(crate) fn ignorable(ignore: &[String]) -> Vec<String> {
    ignore.iter().filter(|name| *name != deselected::NAME).cloned().collect()
}

/// When transactions and settings are tried on a probe topic, which takes seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Each time.
    Always,
    /// Only for a task without a checkpoint; one that has made one is proof itself.
    OfNewTasks,
}

/// Examines everything once. Never fails itself: what is wrong is in the report.
pub(crate) async fn examine(
    config: &Config,
    source: &SourceConfig,
    deselect: &[String],
    proof: Proof,
) -> Examined {
    examine::examine(config, source, deselect, proof).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &'static str) -> Item {
        item::fail(name, "found", "remedy")
    }

    fn names(items: Vec<Item>, strict: bool, selected: usize) -> Vec<String> {
        let catalog = tables::tests::catalog("shop", "orders");
        let table = tables::tests::published(&catalog);
        let selected = vec![Selected { catalog, table, topic: "t.shop.orders".to_owned() }; selected];
        let check = Examined { items, selected, excluded: BTreeMap::new() };
        check.obstacles(strict, &["types".to_owned()]).into_iter().map(|item| item.name).collect()
    }

    #[test]
    fn a_table_costs_only_itself_unless_strict_or_alone() {
        let items = || vec![failed("primary-keys"), item::warn("sync-binlog", "", "")];
        assert_eq!(names(items(), false, 1), Vec::<String>::new());
        assert_eq!(names(items(), true, 1), ["primary-keys"]);
        assert_eq!(names(vec![failed("types")], true, 1), Vec::<String>::new(), "ignored");
        assert_eq!(names(items(), false, 0), ["primary-keys"]);
        let away = vec![failed("types").passing(true)];
        assert_eq!(names(away, true, 1), ["types"], "nobody knows yet what there is to ignore");
    }
}
