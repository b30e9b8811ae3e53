//! Tables of the task that the configuration does not select any more. A file of another task, or an older one, under the
//! name of this task would leave them without a word: their targets would stay as they are, and be emptied and read anew
//! when the right file comes back. So they are left only if a flag names them. Pure.

use super::item::{Item, fail, pass, warn};
use tributary_config::TableSelection;
use tributary_schemas::history::SelectionRecord;
use tributary_schemas::table::TableId;

/// The item. `--ignore` does not take it.
pub(super) const NAME: &str = "tables-deselected";

/// `tables-deselected`. `recorded` is what the task selected last, `named` the tables of `--deselect`.
#[must_use]
pub(crate) fn item(recorded: Option<&SelectionRecord>, selection: &TableSelection, named: &[String]) -> Item {
    let recorded = recorded.into_iter().flat_map(|record| &record.tables).map(|table| &table.id);
    let left: Vec<&TableId> = recorded.filter(|id| !selection.selects(id)).collect();
    let is_named = |id: &TableId| named.contains(&id.to_string());
    let list = |ids: &[&TableId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let unasked: Vec<&TableId> = left.iter().copied().filter(|id| !is_named(id)).collect();
    if !unasked.is_empty() {
        return fail(
            NAME,
            format!(
                "the configuration does not select tables of this task any more: {}",
                list(&unasked).join(", ")
            ),
            format!(
                "select them again (is this the task's configuration?), or leave them: --deselect {}",
                list(&left).join(",")
            ),
        );
    }
    let idle: Vec<&String> =
        named.iter().filter(|name| !left.iter().any(|id| id.to_string() == **name)).collect();
    if !idle.is_empty() {
        let names = idle.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let found =
            format!("--deselect names {names}, which the task does not have, or the configuration selects");
        return warn(
            NAME,
            found,
            "nothing, if they were left before; else correct the name or the configuration",
        );
    }
    if left.is_empty() {
        return pass(NAME, "every table of the task is still selected");
    }
    pass(NAME, format!("left, as asked for: {}", list(&left).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::item::Outcome;
    use super::*;
    use tributary_schemas::history::SelectedTable;

    #[test]
    fn a_table_is_left_only_if_it_is_named() {
        let config = "name = \"t\"\n[kafka]\nbrokers = \"b\"\n[[table]]\nsource = \"shop.o*\"\n";
        let selection = TableSelection::new(&toml::from_str(config).unwrap()).unwrap();
        let table = |name: &str| SelectedTable {
            id: TableId::new("shop", name),
            topic: String::new(),
            partitions: 1,
            excluded: None,
        };
        let record = SelectionRecord {
            format: 1,
            tables: vec![table("items"), table("orders"), table("users")],
            retention_ms: None,
        };
        let judge = |named: &[&str]| {
            let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
            item(Some(&record), &selection, &named)
        };
        let refused = judge(&["shop.items"]);
        assert_eq!(refused.outcome, Outcome::Fail);
        assert!(refused.found.ends_with("any more: shop.users"), "{refused:?}");
        assert!(refused.remedy.ends_with("--deselect shop.items,shop.users"), "{refused:?}");
        assert_eq!(judge(&["shop.items", "shop.users"]).outcome, Outcome::Pass);
        assert_eq!(judge(&["shop.items", "shop.users", "shop.orders"]).outcome, Outcome::Warn);
        assert_eq!(item(None, &selection, &[]).outcome, Outcome::Pass);
    }
}
