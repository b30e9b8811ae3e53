//! What a session begins with, from what is stored and what the source says.

use super::*;
use tributary_schemas::checkpoint::Undecided;

fn catalog(name: &str) -> CatalogTable {
    CatalogTable { id: TableId::new("shop", name), ..CatalogTable::default() }
}

#[test]
fn a_table_that_is_selected_later_may_be_written_by_what_was_prepared_before() {
    let config = "name = \"t\"\n[kafka]\nbrokers = \"b\"\n[capture]\ntables = [\"shop.*\"]";
    let selection = TableSelection::new(&toml::from_str(config).unwrap()).unwrap();
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
