//! The next definition where no server can be asked: ids, sessions without strict mode, what is refused.

use super::*;
use tributary_schemas::table::{ColumnDefault, Table, TableId};
use tributary_source::catalog::CatalogTable;
use tributary_source::publish::Wishes;

pub(super) fn session() -> Session {
    Session {
        mode: SqlMode::new(Some(1 << 21)),
        explicit_timestamps: true,
        database_collation: "utf8mb4_general_ci".to_owned(),
        utf8mb4_collation: "utf8mb4_general_ci".to_owned(),
        utf8_name: "utf8".to_owned(),
    }
}

/// A table of these columns and keys, with commas between.
pub(super) fn table(elements: &str) -> CatalogTable {
    let mut depth = 0;
    let split = elements.split(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    });
    let clauses: Vec<String> = split.map(|element| format!("ADD {element}")).collect();
    let empty = CatalogTable {
        id: TableId::new("shop", "t"),
        collation: session().database_collation,
        engine: "InnoDB".to_owned(),
        ..CatalogTable::default()
    };
    alter(&empty, &clauses.join(", "), &session()).unwrap().table
}

pub(super) fn alter(
    table: &CatalogTable,
    clauses: &str,
    session: &Session,
) -> Result<Next, NeedsCatalogRead> {
    match classify(&format!("ALTER TABLE t {clauses}"), "shop", session.mode) {
        Statement::Ddl(effects) => match &effects[0].effect {
            Effect::Alter(steps) => apply(table, steps, session),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn published(catalog: &CatalogTable, previous: Option<&Table>, highest_id: u32) -> Table {
    let excluded = ["hidden".to_owned()];
    let wishes = Wishes { excluded: &excluded, previous, highest_id, ..Wishes::new(|_| true) };
    catalog.published(&wishes).unwrap()
}

fn ids(table: &Table) -> Vec<(&str, u32)> {
    table.columns.iter().map(|column| (column.name.as_str(), column.id)).collect()
}

#[test]
fn columns_keep_their_ids_wherever_they_go_and_whatever_they_are_called() {
    let old = table("id INT PRIMARY KEY, hidden INT, a INT, b INT, c INT");
    let before = published(&old, None, 0);
    assert_eq!(ids(&before), [("id", 1), ("a", 2), ("b", 3), ("c", 4)]);
    let clauses = "RENAME COLUMN a TO b, CHANGE b a BIGINT FIRST, DROP c, ADD c INT AFTER b, ADD d INT FIRST";
    let next = alter(&old, clauses, &session()).unwrap();
    let after = published(&next.table, Some(&next.previous(&before)), 4);
    assert_eq!(ids(&after), [("d", 5), ("a", 3), ("id", 1), ("b", 2), ("c", 6)]);
    assert_eq!(next.change, Change::Columns);
    assert_eq!(next.rereads, None);
    assert_eq!(after.columns[2].ordinal, 2);
}

#[test]
fn changes_are_told_apart() {
    let old = table("id INT PRIMARY KEY, a VARCHAR(9) DEFAULT 'x'");
    for (clauses, change) in [
        ("FORCE", Change::Unchanged),
        ("ENGINE=InnoDB", Change::Unchanged),
        ("ADD KEY (a)", Change::Metadata),
        ("COMMENT 'x'", Change::Metadata),
        ("ALTER a SET DEFAULT 'y'", Change::Metadata),
        ("MODIFY a VARCHAR(9) COMMENT 'c'", Change::Metadata),
        ("ADD b INT AFTER id, ADD KEY (b)", Change::AddsColumns),
        ("ADD b INT, DROP a", Change::Columns),
        ("MODIFY a VARCHAR(9) FIRST", Change::Columns),
        ("MODIFY a VARCHAR(10)", Change::Columns),
        ("CONVERT TO CHARACTER SET utf8mb4", Change::Unchanged),
    ] {
        assert_eq!(alter(&old, clauses, &session()).unwrap().change, change, "{clauses}");
    }
}

#[test]
fn a_constant_in_old_rows_needs_no_reading() {
    let old = table("id INT PRIMARY KEY");
    let next = alter(&old, "ADD a INT NOT NULL FIRST, ADD b INT, ADD c INT NOT NULL DEFAULT 1", &session());
    let next = next.unwrap();
    assert_eq!(next.rereads, None);
    assert_eq!(next.table.columns[3].default, Some(ColumnDefault::Constant("1".to_owned())));
}

#[test]
fn without_strict_mode_less_is_certain() {
    let old = table("id INT PRIMARY KEY, a INT, b BIGINT");
    let lax = Session { mode: SqlMode::new(Some(0)), ..session() };
    for clauses in ["MODIFY a INT NOT NULL", "MODIFY b INT"] {
        assert_eq!(alter(&old, clauses, &session()).unwrap().rereads, None, "{clauses}");
        assert!(alter(&old, clauses, &lax).unwrap().rereads.is_some(), "{clauses}");
    }
    assert!(SqlMode::new(Some(1 << 22)).is_strict() && !SqlMode::new(Some(4)).is_strict());
    assert!(!SqlMode::default().is_strict());
}

#[test]
fn a_generated_column_in_another_character_set_is_computed_anew() {
    let old = table("id INT PRIMARY KEY, j JSON, g VARCHAR(9) COLLATE latin1_bin AS (j->>'$.n')");
    let converted = alter(&old, "CONVERT TO CHARACTER SET utf8mb4", &session()).unwrap();
    assert!(converted.rereads.is_some_and(|why| why.contains("generated column g")));
    let same = table("id INT PRIMARY KEY, j JSON, g VARCHAR(9) AS (j->>'$.n')");
    assert_eq!(alter(&same, "CONVERT TO CHARACTER SET utf8mb4", &session()).unwrap().rereads, None);
}

#[test]
fn what_does_not_follow_is_refused() {
    let old = table("id INT PRIMARY KEY, a VARCHAR(20000), KEY k (a(10))");
    for (clauses, why) in [
        ("ADD b INT, FROBNICATE", "FROBNICATE"),
        ("DROP b", "there is no column b"),
        ("ADD b INT AFTER c", "there is no column c"),
        ("DROP INDEX i", "there is no index i"),
        ("ADD KEY (zz)", "there is no column zz"),
        ("ADD b VARCHAR(9) CHARSET klingon", "klingon"),
    ] {
        let refused = alter(&old, clauses, &session()).unwrap_err();
        assert!(refused.why.contains(why), "{clauses}: {refused}");
    }
    let implicit = Session { explicit_timestamps: false, ..session() };
    for clauses in ["ADD b TIMESTAMP", "ADD b TIMESTAMP NOT NULL", "ADD b TIMESTAMP DEFAULT 0"] {
        assert!(alter(&old, clauses, &implicit).is_err(), "{clauses}");
    }
    assert!(alter(&old, "ADD b TIMESTAMP NULL", &implicit).is_ok());
    let latin1 = Session { database_collation: "latin1_swedish_ci".to_owned(), ..session() };
    assert!(alter(&old, "CONVERT TO CHARACTER SET latin1", &latin1).unwrap().rereads.is_some());
}

#[test]
fn a_reader_that_is_ahead_is_misled_by_keys_that_sort_anew() {
    let old =
        table("id VARCHAR(9) COLLATE latin1_bin PRIMARY KEY, a INT, b INT, s VARCHAR(9) COLLATE latin1_bin");
    let before = published(&old, None, 0);
    for (clauses, misled) in [
        ("MODIFY id VARCHAR(9) COLLATE latin1_general_ci", true),
        ("CONVERT TO CHARACTER SET utf8mb4", true),
        ("MODIFY s VARCHAR(9) COLLATE latin1_general_ci", false),
        ("RENAME COLUMN a TO c, ADD d INT FIRST, MODIFY b INT AFTER id", false),
        ("MODIFY id VARCHAR(12) COLLATE latin1_bin", false),
    ] {
        let next = alter(&old, clauses, &session()).unwrap();
        assert_eq!(next.reorders_readers(&old, &before).is_some(), misled, "{clauses}");
    }
}

#[test]
fn a_column_that_was_not_published_is_revealed_by_a_name_that_is() {
    let old = table("id INT PRIMARY KEY, secret INT, a INT");
    let mut before = published(&old, None, 0);
    before.columns.retain(|column| column.name != "secret");
    for (clauses, revealed) in [
        ("RENAME COLUMN secret TO code", true),
        ("CHANGE secret code BIGINT FIRST", true),
        ("RENAME COLUMN secret TO secret2, RENAME COLUMN a TO secret", false),
        ("DROP secret, ADD code INT", false),
        ("RENAME COLUMN a TO b", false),
    ] {
        let next = alter(&old, clauses, &session()).unwrap();
        let mut after = published(&next.table, Some(&next.previous(&before)), 3);
        after.columns.retain(|column| !column.name.starts_with("secret"));
        assert_eq!(next.reveals(&before, &after).is_some(), revealed, "{clauses}");
    }
}
