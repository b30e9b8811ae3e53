//! `capture check` against servers that are in order, and everything that a task can ask too much of them.

use crate::Task;
use crate::servers::{SERVERS, database, sql};
use tributary_tests::free_port;

const ITEMS: [&str; 32] = [
    "source-reachable",
    "source-encryption",
    "source-version",
    "binlog-enabled",
    "binlog-format",
    "binlog-row-image",
    "binlog-row-metadata",
    "binlog-row-value-options",
    "gtid-mode",
    "sync-binlog",
    "binlog-filters",
    "replica-updates",
    "privileges",
    "server-id",
    "position-retained",
    "binlog-expiry",
    "xa-prepared",
    "foreign-key-cascades",
    "tables-selected",
    "table-rules",
    "primary-keys",
    "types",
    "charsets",
    "names",
    "kafka-reachable",
    "task-state",
    "tables-deselected",
    "kafka-acl",
    "kafka-transactions",
    "kafka-compaction",
    "kafka-message-size",
    "topic-settings",
];

#[test]
fn everything_in_order_passes_every_item_in_the_same_order() {
    database(&SERVERS, "commands_fine", &["CREATE TABLE t (id INT PRIMARY KEY, n VARCHAR(9))"]);
    let task = Task::new(&SERVERS, "commands_fine", &["commands_fine.t"]);
    let report = task.check();
    let names: Vec<&str> = report.items.iter().map(|item| item.0.as_str()).collect();
    assert_eq!(names, ITEMS);
    assert_eq!(report.failed(), Vec::<&str>::new());
    assert!(report.passed && report.status == 0);
    let people = task.capture(&["check"]);
    assert!(people.status == 0 && people.stdout.contains("pass  kafka-transactions"), "{people:?}");
}

#[test]
fn tables_that_cannot_be_replicated_are_named_with_what_is_wrong() {
    let tables = [
        "CREATE TABLE orders (id INT PRIMARY KEY)",
        "CREATE TABLE keyless (a INT)",
        "CREATE TABLE places (id INT PRIMARY KEY, a POINT, b INT, c GEOMETRY)",
    ];
    database(&SERVERS, "commands_tables", &tables);
    let selected = ["commands_tables.order", "commands_tables.*", "commands_none.*"];
    let task = Task::new(&SERVERS, "commands_tables", &selected);
    let report = task.check();
    assert_eq!(report.failed(), ["tables-selected", "primary-keys", "types"]);
    assert!(report.status == 1 && !report.passed);
    let (_, missing) = report.get("tables-selected");
    assert!(missing.contains("no table commands_tables.order,"), "{missing}");
    assert!(missing.contains("did you mean commands_tables.orders?"), "{missing}");
    assert!(missing.contains("no table of the source matches commands_none.*"), "{missing}");
    assert!(report.get("primary-keys").1.contains("commands_tables.keyless"));
    let (_, types) = report.get("types");
    assert!(types.contains("column a of table commands_tables.places has the type point"), "{types}");
    assert!(types.contains("column c of table commands_tables.places has the type geometry"), "{types}");
    let ignore = ["check", "--ignore", "tables-selected", "--ignore", "primary-keys", "--ignore", "types"];
    let ignored = task.capture(&ignore);
    assert!(ignored.status == 0 && ignored.stdout.contains("3 ignored"), "{ignored:?}");
}

#[test]
fn a_wrong_password_is_definite() {
    database(&SERVERS, "commands_password", &["CREATE TABLE t (id INT PRIMARY KEY)"]);
    let mut task = Task::new(&SERVERS, "commands_password", &["commands_password.t"]);
    task.replace(SERVERS.get("MYSQL_READER_PASSWORD"), "wrong");
    // Would be waited for, if it were taken for an outage.
    task.replace("retry_minutes = 0\n[kafka]", "retry_minutes = 60\n[kafka]");
    let ended = task.capture(&["run"]);
    assert_eq!(ended.status, 1);
    assert!(ended.stderr.contains("the check before the run failed"), "{ended:?}");
    assert!(ended.stderr.contains("source-reachable: connecting at 127.0.0.1:"), "{ended:?}");
    assert!(ended.stderr.contains("source.password"), "{ended:?}");
    let report = task.check();
    assert_eq!(report.failed(), ["source-reachable"]);
    assert_eq!(report.get("kafka-transactions").0, "pass", "what can be examined is");
}

#[test]
fn the_printed_grants_are_enough_and_each_is_needed() {
    database(&SERVERS, "commands_grants", &["CREATE TABLE t (id INT PRIMARY KEY)"]);
    let mut task = Task::new(&SERVERS, "commands_grants", &["commands_grants.t"]);
    let user = format!("commands_{}", std::process::id());
    task.replace("user = \"reader\"", &format!("user = \"{user}\""));
    let printed = task
        .capture(&["check", "--print-grants"])
        .stdout
        .replace("<password>", SERVERS.get("MYSQL_READER_PASSWORD"));
    let statements: Vec<&str> = printed.lines().filter(|line| line.ends_with(';')).collect();
    assert_eq!(statements.len(), 3, "{printed}");
    sql(&SERVERS, &statements);
    let report = task.check();
    assert_eq!(report.failed(), Vec::<&str>::new());
    sql(&SERVERS, &[&format!("REVOKE REPLICATION CLIENT ON *.* FROM {user}")]);
    let report = task.check();
    assert_eq!(report.get("privileges"), ("fail", "REPLICATION CLIENT ON *.* is missing"));
    sql(
        &SERVERS,
        &[
            &format!("GRANT REPLICATION CLIENT ON *.* TO {user}"),
            &format!("REVOKE REPLICATION SLAVE ON *.* FROM {user}"),
            &format!("REVOKE SELECT ON commands_grants.t FROM {user}"),
            &format!("GRANT SELECT (id) ON commands_grants.t TO {user}"),
        ],
    );
    let report = task.check();
    let expected = "REPLICATION SLAVE ON *.* is missing\nSELECT ON commands_grants.t is missing";
    assert_eq!(report.get("privileges"), ("fail", expected));
    sql(&SERVERS, &[&format!("DROP USER {user}")]);
}

#[test]
fn a_kafka_that_is_away_is_named_with_its_reason() {
    database(&SERVERS, "commands_away", &["CREATE TABLE t (id INT PRIMARY KEY)"]);
    let mut task = Task::new(&SERVERS, "commands_away", &["commands_away.t"]);
    task.replace(SERVERS.get("KAFKA_BROKERS"), &format!("127.0.0.1:{}", free_port()));
    let report = task.check();
    assert_eq!(report.failed(), ["kafka-reachable"]);
    assert!(report.get("kafka-reachable").1.contains("Connection refused"), "{report:?}");
    let ended = task.capture(&["run"]);
    assert_eq!(ended.status, 1);
    assert!(
        ended.stderr.contains("kafka-reachable: ") && ended.stderr.contains("Connection refused"),
        "{ended:?}"
    );
}
