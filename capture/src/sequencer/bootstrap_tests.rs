//! What a session begins with, from what is stored and what the source says.

use super::*;
use tributary_schemas::checkpoint::Undecided;
use tributary_schemas::history::GenerationRecord;
use tributary_schemas::table::Table;

fn catalog(name: &str) -> CatalogTable {
    CatalogTable { id: TableId::new("shop", name), ..CatalogTable::default() }
}

fn selection() -> TableSelection {
    let config = "name = \"t\"\n[kafka]\nbrokers = \"b\"\n[capture]\ntables = [\"shop.*\"]";
    TableSelection::new(&toml::from_str(config).unwrap()).unwrap()
}

/// A table that was deselected after its second generation, and that the source does not have any more, may come again.
#[test]
fn what_was_published_of_a_table_is_gone_on_from_wherever_it_has_been() {
    let id = TableId::new("shop", "a");
    let record = |generation: u32| {
        let record = GenerationRecord {
            format: 2,
            topic: "t.shop.a".to_owned(),
            generation,
            table: Table { id: id.clone(), ..Table::default() },
            same_as: None,
            cause: if generation == 1 { Cause::Initial } else { Cause::Alter },
            statement: String::new(),
            barrier: vec![0, 0],
            key_schema_id: 1,
            value_schema_id: 1 + generation,
            value_version: Some(generation),
            incarnation: None,
            transaction: 0,
            position: Position::default(),
        };
        (generation, Arc::new(record))
    };
    let mut history = TaskHistory::default();
    history.generations.insert(id.clone(), [record(1), record(2)].into());
    let state = TaskState { checkpoint: Some(checkpoint(Position::default(), None)), ..TaskState::default() };
    let found = Found { catalogs: Vec::new(), place: Position::default(), started: None };
    let selection = selection();
    let wanted = Wanted {
        selection: &selection,
        key_indexes: &BTreeMap::new(),
        lost: &BTreeMap::new(),
        retry_parked: false,
    };
    let beginning = begin("t", &state, &history, found, wanted).unwrap();
    let [(table, _, Resumed::Moves(Standing::Gone))] = &beginning.tables[..] else { panic!("not one table") };
    assert_eq!((&table.id, table.generation, table.partitions), (&id, 2, 2));
    assert!(beginning.selected.is_empty());
}

#[test]
fn a_table_that_is_selected_later_may_be_written_by_what_was_prepared_before() {
    let selection = selection();
    let undecided = |xid: &str, tables: &[&str]| Undecided {
        xid: xid.to_owned(),
        gtid: None,
        place: None,
        tables: tables.iter().map(|name| TableId::new("shop", *name)).collect(),
    };
    let checkpoint = Checkpoint {
        undecided: vec![undecided("x", &["old"]), undecided("y", &["later"])],
        ..checkpoint(Position::default(), None)
    };
    let state = TaskState { checkpoint: Some(checkpoint), ..TaskState::default() };
    let found = Found { catalogs: vec![catalog("later")], place: Position::default(), started: None };
    let wanted = Wanted {
        selection: &selection,
        key_indexes: &BTreeMap::new(),
        lost: &BTreeMap::new(),
        retry_parked: false,
    };
    let beginning = begin("t", &state, &TaskHistory::default(), found, wanted).unwrap();
    let tables = [undecided("x", &["old", "later"]), undecided("y", &["later"])];
    assert_eq!(beginning.checkpoint.undecided, tables);
}

fn checkpoint(position: Position, source_started: Option<u64>) -> Checkpoint {
    Checkpoint {
        format: FORMAT_VERSION,
        position,
        file_created: None,
        source_started,
        transaction: 0,
        partials: Vec::new(),
        undecided: Vec::new(),
    }
}

#[test]
fn a_server_that_ran_through_says_so() {
    let position = Position { server_uuid: "u".into(), ..Position::default() };
    let found = |uuid: &str, started| Found {
        catalogs: Vec::new(),
        place: Position { server_uuid: uuid.into(), ..Position::default() },
        started,
    };
    for (then, uuid, now, restarted) in [
        (Some(1000), "u", Some(1001), false),
        (Some(1000), "u", Some(999), false),
        (Some(1000), "u", Some(1010), true),
        (Some(1000), "other", Some(1000), true),
        (None, "u", Some(1000), true),
        (Some(1000), "u", None, true),
    ] {
        let seen = may_have_restarted(&checkpoint(position.clone(), then), &found(uuid, now));
        assert_eq!(seen, restarted, "{then:?} {uuid} {now:?}");
    }
}
