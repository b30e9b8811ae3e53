//! Selections judged against small catalogs.

use super::super::item::Outcome;
use super::*;
use tributary_schemas::table::{Index, IndexPart};
use tributary_source::catalog::CatalogColumn;

fn column(name: &str, declared_type: &str) -> CatalogColumn {
    CatalogColumn {
        nullable: false,
        charset: declared_type.starts_with("varchar").then(|| "latin1".into()),
        ..CatalogColumn::new(name, declared_type)
    }
}

/// A table with the primary key `id`.
pub(in super::super) fn catalog(database: &str, table: &str) -> CatalogTable {
    let parts = vec![IndexPart { column: Some("id".into()), prefix: None }];
    CatalogTable {
        id: TableId::new(database, table),
        columns: vec![column("id", "int")],
        indexes: vec![Index { name: "PRIMARY".into(), unique: true, kind: "BTREE".into(), parts }],
        engine: "InnoDB".into(),
        ..CatalogTable::default()
    }
}

pub(in super::super) fn published(catalog: &CatalogTable) -> Table {
    let wishes = Wishes::new(|_| true);
    catalog.published(&wishes).unwrap()
}

fn config(tail: &str) -> Config {
    toml::from_str(&format!("name = \"t\"\nkafka.brokers = \"b\"\n{tail}")).unwrap()
}

/// Judges `config` on a source with `tables`; `previous` were replicated before.
fn run(config: &Config, tables: &[CatalogTable], previous: &[&CatalogTable]) -> Judgement {
    let selection = TableSelection::new(config).unwrap();
    let listed: Vec<TableId> = tables.iter().map(|table| table.id.clone()).collect();
    judge(
        config,
        &selection,
        &TableRules::new(config).unwrap(),
        Known {
            listed: &listed,
            catalog: tables
                .iter()
                .filter(|table| selection.selects_beside(&table.id, |id| listed.contains(id)))
                .cloned()
                .collect(),
            previous: &previous.iter().map(|table| (table.id.clone(), published(table))).collect(),
            names: TopicNames::new(&config.name),
            charset_supported: |charset| charset != "latin1",
        },
    )
}

fn item<'a>(judgement: &'a Judgement, name: &str) -> &'a Item {
    judgement.items.iter().find(|item| item.name == name).unwrap()
}

#[test]
fn a_selection_that_is_in_order_passes_every_item() {
    let config = config("[[table]]\nsource = \"shop.*\"\n");
    let judgement = run(&config, &[catalog("shop", "orders"), catalog("crm", "people")], &[]);
    assert!(judgement.items.iter().all(|item| item.outcome == Outcome::Pass), "{:?}", judgement.items);
    assert_eq!(judgement.selected.len(), 1);
    assert!(judgement.excluded.is_empty());
}

#[test]
fn tables_of_online_schema_changes_are_left_out_by_name() {
    let config = config("[[table]]\nsource = \"shop.*\"\n");
    let tables = [catalog("shop", "orders"), catalog("shop", "_orders_old"), catalog("shop", "_items_old")];
    let judgement = run(&config, &tables, &[]);
    let item = item(&judgement, "tables-selected");
    assert_eq!(item.outcome, Outcome::Pass);
    assert!(
        item.found.starts_with("2 tables selected; left out") && item.found.contains("shop._orders_old"),
        "{item:?}"
    );
    assert!(!item.found.contains("_items_old"), "there is no shop.items: {item:?}");
}

#[test]
fn a_missing_table_is_named_with_what_looks_like_it() {
    let config = config("[[table]]\nsource = \"shop.order\"\n[[table]]\nsource = \"shop.items\"\n");
    let tables = [catalog("shop", "orders"), catalog("shop", "items")];
    let judgement = run(&config, &tables, &[]);
    let item = item(&judgement, "tables-selected");
    assert_eq!(item.outcome, Outcome::Fail);
    assert!(item.found.contains("no table shop.order,") && item.found.contains("shop.orders"), "{item:?}");
    assert_eq!(judgement.selected.len(), 1);
    assert!(judgement.excluded.contains_key(&TableId::new("shop", "order")));
}

#[test]
fn patterns_must_match_something_and_leave_something() {
    let idle = config("[[table]]\nsource = \"shop.*\"\n[[table]]\nsource = \"old_*.*\"\n");
    let judgement = run(&idle, &[catalog("shop", "orders")], &[]);
    assert!(item(&judgement, "tables-selected").found.contains("matches old_*.*"));
    let nothing = config("[capture]\ntables = [\"shop.*\", \"!shop.*\"]\n");
    let judgement = run(&nothing, &[catalog("shop", "orders")], &[]);
    assert_eq!(item(&judgement, "tables-selected").outcome, Outcome::Fail);
}

#[test]
fn a_table_that_was_dropped_while_the_task_was_down_is_no_mistake() {
    let config = config("[[table]]\nsource = \"shop.orders\"\n[[table]]\nsource = \"shop.items\"\n");
    let judgement = run(&config, &[catalog("shop", "items")], &[&catalog("shop", "orders")]);
    let item = item(&judgement, "tables-selected");
    assert_eq!(item.outcome, Outcome::Warn, "{item:?}");
    assert!(judgement.excluded.is_empty());
}

#[test]
fn two_rules_for_a_table_conflict() {
    let config = config("[[table]]\nsource = \"shop.*\"\n[[table]]\nsource = \"*.orders\"\n");
    let judgement = run(&config, &[catalog("shop", "orders")], &[]);
    assert!(item(&judgement, "table-rules").found.contains("shop.orders matches"));
}

fn keyless_table() -> CatalogTable {
    let mut keyless = catalog("shop", "keyless");
    keyless.indexes.clear();
    keyless
}

#[test]
fn every_bad_column_is_named_and_only_its_table_is_left_out() {
    let mut places = catalog("shop", "places");
    places.columns.extend([column("a", "uuid"), column("b", "varchar(9)"), column("c", "inet")]);
    let keyless = keyless_table();
    let config = config("[[table]]\nsource = \"shop.*\"\n");
    let judgement = run(&config, &[catalog("shop", "orders"), places, keyless], &[]);
    let types = &item(&judgement, "types").found;
    assert!(types.contains("column a ") && types.contains("column c "), "{types}");
    assert!(item(&judgement, "charsets").found.contains("column b "));
    assert!(item(&judgement, "primary-keys").found.contains("shop.keyless"));
    assert_eq!(judgement.selected.len(), 1);
    assert_eq!(judgement.excluded.len(), 2);
    assert!(item(&judgement, "types").remedy.starts_with("`run` leaves these tables out"));
    let strict = Config { strict: true, ..config };
    let keyless = run(&strict, &[keyless_table()], &[]);
    assert!(item(&keyless, "primary-keys").remedy.contains("set strict = false"));
}

#[test]
fn columns_that_are_not_published_need_no_type() {
    let mut places = catalog("shop", "places");
    places.columns.push(column("a", "uuid"));
    let config = config("[capture]\nexclude_columns = [\"shop.places.a\"]\n[[table]]\nsource = \"shop.*\"\n");
    assert_eq!(run(&config, &[places], &[]).selected.len(), 1);
}

#[test]
fn a_table_that_cannot_have_a_topic_is_left_out_and_the_one_that_has_it_stays() {
    let config = config("[[table]]\nsource = \"shop.*\"\n");
    let judgement =
        run(&config, &[catalog("shop", "a-b"), catalog("shop", "a_x002Db"), catalog("shop", "c")], &[]);
    assert!(item(&judgement, "names").found.contains("would both have the topic"));
    assert_eq!(judgement.selected.len(), 2);
    assert_eq!(judgement.excluded.keys().next().unwrap().table, "a_x002Db");
}
