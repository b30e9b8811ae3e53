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
use std::fmt;
use tributary_schemas::config::{Config, SourceConfig};
use tributary_schemas::table::TableId;

/// What a check found.
#[derive(Debug, Clone)]
pub(crate) struct Precheck {
    /// In the order of the report.
    pub items: Vec<Item>,
    /// The tables that can be replicated, in name order.
    pub selected: Vec<Selected>,
    /// Those that cannot, with the reason and the remedy.
    pub excluded: BTreeMap<TableId, String>,
    /// The servers that did not answer, and so may answer later.
    pub away: Vec<Away>,
}

/// A server that did not answer, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Away {
    /// MySQL.
    Source(String),
    Kafka(String),
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(reason) => write!(f, "the source is away: {reason}"),
            Self::Kafka(reason) => write!(f, "Kafka is away: {reason}"),
        }
    }
}

/// Items about single tables: they cost only those tables.
const TABLE_ITEMS: [&str; 5] = ["tables-selected", "primary-keys", "types", "charsets", "names"];
/// Items that fail when a server is away.
const REACH_ITEMS: [&str; 2] = ["source-reachable", "kafka-reachable"];

impl Precheck {
    /// The items, but those that `ignore` names, that no run can begin with. A server that is away counts among them only when there is nothing to
    /// wait for.
    #[must_use]
    pub(crate) fn obstacles(&self, strict: bool, ignore: &[String]) -> Vec<&Item> {
        let waiting = !self.away.is_empty();
        let ignore = ignorable(ignore);
        let tolerated = |item: &Item| {
            let of_tables = TABLE_ITEMS.contains(&item.name.as_str()) && !strict && !self.selected.is_empty();
            // What was tried on a cluster that went away in the middle says nothing about the cluster.
            let of_outage =
                waiting && (REACH_ITEMS.contains(&item.name.as_str()) || item.name.starts_with("kafka-"));
            of_tables || of_outage
        };
        self.items
            .iter()
            .filter(|item| item.outcome == Outcome::Fail && !ignore.contains(&item.name) && !tolerated(item))
            .collect()
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
) -> Precheck {
    examine::examine(config, source, deselect, proof).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(name: &'static str) -> Item {
        item::fail(name, "found", "remedy")
    }

    fn names(items: Vec<Item>, away: Vec<Away>, strict: bool, selected: usize) -> Vec<String> {
        let catalog = tables::tests::catalog("shop", "orders");
        let table = tables::tests::published(&catalog);
        let selected = vec![Selected { catalog, table, topic: "t.shop.orders".to_owned() }; selected];
        let check = Precheck { items, selected, excluded: BTreeMap::new(), away };
        check.obstacles(strict, &["types".to_owned()]).into_iter().map(|item| item.name.clone()).collect()
    }

    #[test]
    fn a_table_costs_only_itself_unless_strict_or_alone() {
        let items = || vec![failed("primary-keys"), item::warn("sync-binlog", "", "")];
        assert_eq!(names(items(), vec![], false, 1), Vec::<String>::new());
        assert_eq!(names(items(), vec![], true, 1), ["primary-keys"]);
        assert_eq!(names(vec![failed("types")], vec![], true, 1), Vec::<String>::new(), "ignored");
        assert_eq!(names(items(), vec![], false, 0), ["primary-keys"]);
    }

    #[test]
    fn a_server_that_is_away_is_waited_for_and_a_wrong_setting_is_not() {
        let away = || vec![Away::Kafka("refused".into())];
        let items = vec![failed("kafka-reachable"), failed("binlog-row-image")];
        assert_eq!(names(items, away(), false, 1), ["binlog-row-image"]);
        assert_eq!(names(vec![failed("kafka-reachable")], away(), false, 1), Vec::<String>::new());
        assert_eq!(names(vec![failed("kafka-reachable")], vec![], false, 1), ["kafka-reachable"]);
    }
}
