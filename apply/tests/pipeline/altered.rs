//! Targets that somebody alters by hand while apply runs, and targets on which rows are not safe.

use crate::process::Process;
use crate::support::{SOON, Task, Topic};
use tributary_schemas::envelope::Operation::{Create, Read, Update};
use tributary_tests::wait_for;

fn parked(apply: &Process, table: &str, code: &str) {
    let expected = ("parked".to_owned(), code.to_owned());
    wait_for(code, SOON, || apply.table(table).filter(|table| *table == expected));
}

/// A table whose target somebody has made with this definition, in a task that runs until it has a first row.
fn running(name: &str, definition: &str, loading: bool) -> (Task, Topic, Process) {
    let mut task = Task::new(name);
    let t = task.table("t");
    task.query(&format!("CREATE SCHEMA \"{0}\"; CREATE TABLE \"{0}\".t ({definition})", task.name)).unwrap();
    task.load(&t, 0, !loading);
    task.transaction(|task| task.write(&t, Read, (1, &[Some("first")])));
    let apply = task.start(&["run"]);
    wait_for("the row", SOON, || (task.rows("t") == "1|first").then_some(()));
    (task, t, apply)
}

#[test]
fn a_column_that_is_added_by_hand_keeps_its_values_and_one_that_is_narrowed_stops_the_table() {
    // Without a key rows are replaced by DELETE and INSERT.
    let (task, t, mut apply) = running("by_hand", "id int NOT NULL, name varchar(50)", false);
    let alter = |change: &str| task.query(&format!("ALTER TABLE \"{}\".t {change}", task.name)).unwrap();
    alter("ADD COLUMN mine text");
    task.query(&format!("UPDATE \"{}\".t SET mine = 'kept'", task.name)).unwrap();
    task.transaction(|task| task.write(&t, Update, (1, &[Some("second")])));
    wait_for("the update", SOON, || (task.rows("t") == "1|second|kept").then_some(()));
    // Such a column would fill texts up with blanks, and no statement fails.
    alter("ALTER COLUMN name TYPE character(50)");
    task.transaction(|task| task.write(&t, Create, (2, &[Some("third")])));
    parked(&apply, "shop.t", "target-definition");
    apply.stop();
    alter("ALTER COLUMN name TYPE varchar(50)");
    task.catch_up();
    assert_eq!(task.rows("t"), "1|second|kept\n2|third|");
}

#[test]
fn a_key_that_is_dropped_during_the_load_stops_the_table() {
    let (task, t, mut apply) = running("no_key", "id int PRIMARY KEY, name varchar(50)", true);
    let table = format!("\"{}\".t", task.name);
    let key =
        format!("SELECT conname FROM pg_constraint WHERE contype = 'p' AND conrelid = '{table}'::regclass");
    let key = task.query(&key).unwrap();
    task.query(&format!("ALTER TABLE {table} DROP CONSTRAINT \"{key}\"")).unwrap();
    task.transaction(|task| {
        for id in 1..200 {
            task.write(&t, Read, (id, &[Some("again")]));
        }
    });
    parked(&apply, "shop.t", "target-key");
    assert_eq!(task.rows("t"), "1|first");
    apply.stop();
    task.load(&t, 199, true);
    task.query(&format!("ALTER TABLE \"{}\".t ADD PRIMARY KEY (id)", task.name)).unwrap();
    task.catch_up();
    assert_eq!(task.rows("t").lines().count(), 199);
}

#[test]
fn a_partition_that_a_crash_would_empty_stops_the_table_as_soon_as_it_is_attached() {
    let mut task = Task::new("attached");
    task.configure("", "retry_parked_ms = 1000\n");
    let t = task.table("t");
    let table = format!("\"{}\".t", task.name);
    let sql = format!(
        "CREATE SCHEMA \"{0}\"; CREATE TABLE {table} (id int PRIMARY KEY, name varchar(50)) PARTITION BY RANGE (id); \
         CREATE TABLE \"{0}\".t1 PARTITION OF {table} FOR VALUES FROM (0) TO (9)",
        task.name
    );
    task.query(&sql).unwrap();
    task.load(&t, 0, true);
    task.transaction(|task| task.write(&t, Create, (1, &[Some("first")])));
    let mut apply = task.start(&["run"]);
    wait_for("the row", SOON, || (task.rows("t") == "1|first").then_some(()));
    let second = format!(
        "CREATE UNLOGGED TABLE \"{}\".t2 PARTITION OF {table} FOR VALUES FROM (9) TO (99)",
        task.name
    );
    task.query(&second).unwrap();
    task.transaction(|task| task.write(&t, Create, (50, &[Some("second")])));
    parked(&apply, "shop.t", "target-unsafe");
    assert_eq!(task.rows("t"), "1|first");
    task.query(&format!("ALTER TABLE \"{}\".t2 SET LOGGED", task.name)).unwrap();
    wait_for("the row", SOON, || (task.rows("t") == "1|first\n50|second").then_some(()));
    apply.stop();
}

#[test]
fn targets_on_which_rows_are_not_safe_are_named_by_the_check_and_by_the_start() {
    let mut task = Task::new("unsafe");
    let names =
        ["unlogged", "ruled", "computed", "numbered", "viewed", "below", "stamped", "keyless", "ranges"];
    let tables = names.map(|name| task.table(name));
    let schema = format!("\"{}\"", task.name);
    let make = |sql: &str| task.query(&sql.replace("S.", &format!("{schema}."))).unwrap();
    make(&format!("CREATE SCHEMA {schema}"));
    make("CREATE UNLOGGED TABLE S.unlogged (id int PRIMARY KEY, name varchar(50))");
    make(
        "CREATE TABLE S.ruled (id int PRIMARY KEY, name varchar(50)); \
          CREATE RULE away AS ON INSERT TO S.ruled DO INSTEAD NOTHING",
    );
    make("CREATE TABLE S.computed (id int PRIMARY KEY, name varchar(50) GENERATED ALWAYS AS ('x') STORED)");
    make("CREATE TABLE S.numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(50))");
    make("CREATE VIEW S.viewed AS SELECT 1 AS id, 'x'::varchar(50) AS name");
    make(
        "CREATE TABLE S.below (id int PRIMARY KEY, name varchar(50)) PARTITION BY RANGE (id); \
          CREATE UNLOGGED TABLE S.below_all PARTITION OF S.below DEFAULT",
    );
    make(
        "CREATE TABLE S.stamped (id int PRIMARY KEY, name varchar(50)); \
          CREATE FUNCTION S.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
          CREATE TRIGGER stamp BEFORE INSERT ON S.stamped FOR EACH ROW EXECUTE FUNCTION S.stamp()",
    );
    make("CREATE TABLE S.keyless (id int NOT NULL, name varchar(50))");
    make(
        "CREATE TABLE S.ranges (id int PRIMARY KEY, name varchar(50)) PARTITION BY RANGE (id); \
          CREATE TABLE S.ranges_low PARTITION OF S.ranges FOR VALUES FROM (0) TO (10)",
    );
    for table in &tables {
        task.load(table, 0, true);
        task.transaction(|task| task.write(table, Create, (1, &[Some("x")])));
    }
    let mut check = task.start(&["check"]);
    check.expect_exit(1);
    let found = check.output();
    for (table, words) in [
        ("unlogged", "SET LOGGED"),
        ("ruled", "DROP RULE \"away\""),
        ("computed", "DROP EXPRESSION"),
        ("numbered", "DROP IDENTITY"),
        ("viewed", "is a view"),
        ("below", "below_all SET LOGGED"),
        ("stamped", "triggers that may change rows"),
        ("keyless", "ADD PRIMARY KEY (\"id\")"),
        ("ranges", "no default partition"),
    ] {
        assert!(found.contains(words), "{table}: {found}");
    }
    let mut apply = task.start(&["run"]);
    for table in ["unlogged", "ruled", "below"] {
        parked(&apply, &format!("shop.{table}"), "target-unsafe");
    }
    for table in ["computed", "numbered"] {
        parked(&apply, &format!("shop.{table}"), "target-definition");
    }
    parked(&apply, "shop.viewed", "target-kind");
    for table in ["stamped", "keyless", "ranges"] {
        wait_for(table, SOON, || (task.rows(table) == "1|x").then_some(()));
    }
    apply.stop();
    // What was said is done.
    make("ALTER TABLE S.unlogged SET LOGGED; DROP RULE away ON S.ruled; ALTER TABLE S.below_all SET LOGGED");
    make(
        "ALTER TABLE S.computed ALTER COLUMN name DROP EXPRESSION; ALTER TABLE S.numbered ALTER COLUMN id DROP IDENTITY",
    );
    make("DROP VIEW S.viewed; DROP TRIGGER stamp ON S.stamped; ALTER TABLE S.keyless ADD PRIMARY KEY (id)");
    task.catch_up();
    assert!(names.iter().all(|table| task.rows(table) == "1|x"));
}
