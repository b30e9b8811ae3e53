//! `apply verify`: finds what differs, names key and columns, and nothing else, while writes go on.

use super::types::{COLUMNS, write_rows};
use mysql_async::prelude::Queryable;
use std::collections::BTreeSet;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// Keys of `a` that the writers touch; those from [`QUIET`] on are the test's own.
const KEYS: u64 = 4_000;
const QUIET: u64 = 100_000;
/// Columns that are changed in one go: with a missing and a surplus row as many as are printed for a table.
const AT_ONCE: usize = 18;

/// Runs `apply verify` and returns its output.
fn verify(task: &Task, arguments: &[&str], status: i32) -> String {
    let command: Vec<&str> = ["verify"].into_iter().chain(arguments.iter().copied()).collect();
    let mut process = task.start("apply", &command);
    process.expect_exit(status, RUN);
    process.output()
}

/// The lines that name keys.
fn named(output: &str) -> BTreeSet<String> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| line.contains(": id=")).map(str::to_owned).collect()
}

fn set(lines: &[String]) -> BTreeSet<String> {
    lines.iter().cloned().collect()
}

async fn synchronizing(process: &Process, tables: usize) {
    eventually("the tables are synchronizing", RUN, || async {
        let Some(status) = process.status() else { return false };
        let known = status["tables"].as_array().cloned().unwrap_or_default();
        known.len() == tables && known.iter().all(|table| table["state"] == "synchronizing")
    })
    .await;
}

/// Once apply knows the table: from then on `verify` waits for it by itself.
async fn known(process: &Process, table: &str) {
    eventually("apply knows the table", RUN, || async {
        let Some(status) = process.status() else { return false };
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        tables.iter().any(|known| known["name"].as_str().is_some_and(|name| name.ends_with(table)))
    })
    .await;
}

/// The smallest change that each type has, as SQL of the destination.
fn changed(name: &str, type_name: &str, scale: i32) -> String {
    match type_name {
        "smallint" | "integer" | "bigint" => format!("{name} # 1"),
        "numeric" => format!("{name} - sign({name}) * '1e-{scale}'::numeric"),
        "real" => format!("({name}::double precision * (1 - 1e-6))::real"),
        "double precision" => format!("{name} * (1 - 1e-15)"),
        "text" | "character varying" => format!("{name} || ' '"),
        "bytea" => format!("{name} || '\\x00'::bytea"),
        "jsonb" => format!("jsonb_set({name}, '{{a,1}}', '2.500000000000000000001')"),
        "date" => format!("{name} - 1"),
        "timestamp without time zone" | "timestamp with time zone" => format!("{name} - interval '1 second'"),
        "interval" => format!("{name} + interval '1 second'"),
        "bit" => format!("~{name}"),
        other => panic!("no change for {other}"),
    }
}

struct Planted {
    name: String,
    sql: String,
}

/// Every column of `everything` that is no part of the key.
async fn plantable(task: &Task) -> Vec<Planted> {
    let postgres = task.servers.postgres().await;
    let rows = postgres
        .query(
            "SELECT column_name::text, data_type::text, coalesce(numeric_scale, 0)::int FROM information_schema.columns \
             WHERE table_schema = $1 AND table_name = 'everything' AND column_name NOT IN ('id', 'part') \
             ORDER BY ordinal_position",
            &[&task.name],
        )
        .await
        .unwrap();
    rows.iter()
        .map(|row| {
            let (name, type_name): (String, String) = (row.get(0), row.get(1));
            let sql = changed(&format!("\"{name}\""), &type_name, row.get(2));
            Planted { name, sql }
        })
        .collect()
}

/// Copies the row without NULL once a column, with ids from 1000 on, and adds quiet rows to `a`.
async fn write_targets(task: &Task, copies: usize) {
    let mut mysql = task.servers.mysql().await;
    let plain: Vec<String> = mysql
        .exec(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = 'everything' \
             AND EXTRA NOT LIKE '%GENERATED%' AND COLUMN_NAME NOT IN ('id', 'part')",
            (&task.name,),
        )
        .await
        .unwrap();
    let plain = plain.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for copy in 0..copies {
        let sql = format!(
            "INSERT INTO everything (id, part, {plain}) SELECT 1000 + {copy}, 'copy', {plain} FROM everything WHERE part = 'p0'"
        );
        mysql.query_drop(sql).await.unwrap();
    }
    let rows: Vec<String> = (QUIET..QUIET + 100).map(|id| format!("({id}, {id}, 'quiet', NULL)")).collect();
    mysql.query_drop(format!("INSERT INTO a VALUES {}", rows.join(","))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_in_the_destination_is_found_and_nothing_else() {
    let task = Task::new("verify");
    create(&task, "a", 3_000).await;
    let mut mysql = task.servers.mysql().await;
    let schema = &task.name;
    mysql.query_drop(format!("CREATE TABLE `{schema}`.everything ({COLUMNS})")).await.unwrap();
    write_rows(&mut mysql, schema, 100).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    synchronizing(&apply, 2).await;
    let columns = plantable(&task).await;
    write_targets(&task, columns.len()).await;
    let writer = Writer::start(&task.servers, schema, "a", KEYS, 2, 11);
    let output = verify(&task, &[], 0);
    assert!(output.contains("2 tables compared") && output.contains("no differences"), "{output}");
    let postgres = task.servers.postgres().await;
    let run = |sql: String| {
        let postgres = &postgres;
        async move { postgres.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}")) }
    };
    run(format!(
        "SET search_path = \"{schema}\"; CREATE TEMP TABLE saved_everything AS SELECT * FROM everything;
                 CREATE TEMP TABLE saved_a AS SELECT * FROM a WHERE id >= {QUIET}"
    ))
    .await;
    let mut first = 0;
    for columns in columns.chunks(AT_ONCE) {
        let mut expected = Vec::new();
        for (id, Planted { name, sql }) in (1000 + first..).zip(columns) {
            run(format!("UPDATE everything SET \"{name}\" = {sql} WHERE id = {id}")).await;
            expected.push(format!("differs in {name}: id={id}, part=\"copy\""));
        }
        run("DELETE FROM everything WHERE part = 'p3';
             INSERT INTO everything (id, part) VALUES (18446744073709551614, 'Surplus ')"
            .to_owned())
        .await;
        expected.push("missing in the destination: id=103, part=\"p3\"".to_owned());
        expected.push("surplus in the destination: id=18446744073709551614, part=\"Surplus \"".to_owned());
        let (changed, deleted, added) = (QUIET + 1, QUIET + 2, QUIET + 200);
        run(format!("UPDATE a SET n = n + 1, at = '2024-01-01' WHERE id = {changed}; DELETE FROM a WHERE id = {deleted};
                     INSERT INTO a (id, n, s) VALUES ({added}, 1, '')")).await;
        expected.push(format!("differs in n, at: id={changed}"));
        expected.push(format!("missing in the destination: id={deleted}"));
        expected.push(format!("surplus in the destination: id={added}"));
        let before = writer.transactions();
        let output = verify(&task, &[], 3);
        assert_eq!(named(&output), set(&expected), "{output}");
        assert!(writer.transactions() > before, "writes went on");
        assert!(output.contains(&format!("{} differences in 2 tables", expected.len())), "{output}");
        let ids =
            format!("id BETWEEN 1000 AND {} OR part IN ('p3', 'Surplus ')", 1000 + first + columns.len());
        run(format!(
            "DELETE FROM everything WHERE {ids};
                     INSERT INTO everything SELECT * FROM saved_everything WHERE {ids};
                     DELETE FROM a WHERE id >= {QUIET}; INSERT INTO a SELECT * FROM saved_a"
        ))
        .await;
        first += columns.len();
    }
    let output = verify(&task, &[], 0);
    assert!(output.contains("no differences"), "{output}");
    writer.stop().await;
    capture.stop();
    apply.stop();
    task.catch_up();
    // Nothing runs, and nothing needs to: both sides are equal.
    verify(&task, &["--table", &format!("{schema}.*")], 0);
    tributary_tests::oracle::assert_equal(&task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_and_repeated_keys_are_found_and_restricted_tasks_are_not_accused() {
    let task = Task::with("verify_ops", Servers::shared(), |config| {
        config.replace("[[table]]", "[[table]]\noperations = [\"insert\", \"update\", \"alter\"]")
    });
    create(&task, "a", 50).await;
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("CREATE TABLE `{}`.keyless (n INT)", task.name)).await.unwrap();
    let (_capture, apply) = (task.capture(), task.apply());
    known(&apply, ".a").await;
    // It waits until the table has been loaded.
    verify(&task, &[], 0);
    mysql.query_drop(format!("DELETE FROM `{}`.a WHERE id < 10", task.name)).await.unwrap();
    let output = verify(&task, &[], 0);
    assert!(output.contains("does not take deletes"), "{output}");
    assert!(
        output.contains("40 rows in the source, 50 in the destination") && !output.contains("being written"),
        "{output}"
    );
    assert!(output.contains("1 table left out"), "{output}");
    let postgres = task.servers.postgres().await;
    let table = format!("\"{}\".a", task.name);
    let only = ["--table", &format!("{}.a", task.name)];
    postgres.batch_execute(&format!("UPDATE {table} SET at = NULL WHERE id = 20")).await.unwrap();
    let output = verify(&task, &only, 3);
    assert_eq!(named(&output), set(&["differs in at: id=20".to_owned()]), "{output}");
    assert!(output.contains("--merge"), "{output}");
    let key = "SELECT conname::text FROM pg_constraint WHERE contype = 'p' AND conrelid = $1::text::regclass";
    let key: String = postgres.query_one(key, &[&table]).await.unwrap().get(0);
    let double = format!(
        "ALTER TABLE {table} DROP CONSTRAINT \"{key}\"; INSERT INTO {table} SELECT * FROM {table} WHERE id = 21"
    );
    postgres.batch_execute(&double).await.unwrap();
    let output = verify(&task, &only, 3);
    let expected = ["differs in at: id=20".to_owned(), "2 times in the destination: id=21".to_owned()];
    assert_eq!(named(&output), set(&expected), "{output}");
    assert!(output.contains("--clear"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_stands_still_is_not_called_equal() {
    let task = Task::with("verify_parked", Servers::shared(), |config| {
        config.replace("[apply]\n", "[apply]\non_nul_byte = \"fail\"\n")
    });
    create(&task, "a", 20).await;
    // The target of another holds somebody's row: apply never begins it, and no bookkeeping says so.
    create(&task, "b", 20).await;
    let theirs = format!(
        "CREATE SCHEMA \"{0}\"; CREATE TABLE \"{0}\".b (id bigint PRIMARY KEY, n integer, s varchar(60), at timestamp(6)); \
         INSERT INTO \"{0}\".b VALUES (777)",
        task.name
    );
    task.servers.postgres().await.batch_execute(&theirs).await.unwrap();
    let mut mysql = task.servers.mysql().await;
    mysql
        .query_drop(format!("UPDATE `{}`.a SET s = CONCAT('x', CHAR(0)) WHERE id = 3", task.name))
        .await
        .unwrap();
    let (_capture, apply) = (task.capture(), task.apply());
    eventually("apply has parked it", RUN, || async {
        apply.status().is_some_and(|status| {
            status["tables"][0]["state"] == "parked" && status["tables"][1]["state"] == "parked"
        })
    })
    .await;
    let output = verify(&task, &[], 1);
    assert!(output.contains("apply has parked the table") && output.contains("to do: "), "{output}");
    assert!(
        output.contains("apply cannot begin the table: ") && output.contains("holds rows already"),
        "{output}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lag_that_does_not_pass_is_told_from_a_difference() {
    let task = Task::new("verify_lag");
    create(&task, "a", 20).await;
    task.catch_up();
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("UPDATE `{}`.a SET n = n + 1 WHERE id = 3", task.name)).await.unwrap();
    let output = verify(&task, &[], 1);
    assert!(output.contains("the lag does not pass: capture") && output.contains("capture run"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_known_is_asked_for() {
    let task = Task::new("verify_source");
    create(&task, "a", 20).await;
    task.catch_up();
    let text = std::fs::read_to_string(&task.config).unwrap();
    let (head, rest) = text.split_once("[source]").unwrap();
    let (_, tail) = rest.split_once("[kafka]").unwrap();
    let config = task.config.with_file_name("apply.toml");
    std::fs::write(&config, format!("{head}[kafka]{tail}")).unwrap();
    let (config, whole) = (config.to_string_lossy().into_owned(), task.config.to_string_lossy().into_owned());
    let run = |name: &str, arguments: &[&str], status: i32| {
        let arguments: Vec<&str> =
            ["verify", "--config", &config].into_iter().chain(arguments.iter().copied()).collect();
        let mut process = Process::start("apply", &arguments, task.config.with_file_name(name));
        process.expect_exit(status, Duration::from_secs(60));
        process.output()
    };
    let output = run("none.log", &[], 2);
    assert!(output.contains("--source FILE"), "{output}");
    let output = run("given.log", &["--source", &whole], 0);
    assert!(output.contains("20 rows") && output.contains("no differences"), "{output}");
    let output = run("unknown.log", &["--source", &whole, "--table", "no.such"], 2);
    assert!(output.contains("no.such"), "{output}");
}

/// Types that a key may have: on the source four values, of which the last is only in the destination, in its words.
const KEY_TYPES: &[(&str, [&str; 4])] = &[
    ("MEDIUMINT UNSIGNED", ["0", "1", "16777215", "77"]),
    ("BIGINT UNSIGNED", ["0", "9223372036854775808", "18446744073709551615", "77"]),
    ("DECIMAL(20,4)", ["-1.5000", "0", "1234567890123456.0001", "77.0001"]),
    ("DOUBLE", ["-0.1", "0", "1e300", "77.5"]),
    ("FLOAT", ["0.1", "0", "16777216", "77.5"]),
    ("CHAR(5)", ["''", "'ab'", "'é😀'", "'x y'"]),
    ("VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci", ["'Ab'", "'é'", "'c '", "'AB'"]),
    ("BINARY(4)", ["X'00'", "X'01FF'", "X'FFFFFFFF'", "'\\x01000000'"]),
    ("VARBINARY(8)", ["X''", "X'00'", "X'FF00'", "'\\x0000'"]),
    ("BIT(9)", ["b'0'", "b'1'", "b'101010101'", "'000000111'"]),
    ("ENUM('b','a','é')", ["'b'", "'a'", "'é'", "'never'"]),
    ("SET('b','a','é')", ["''", "'a'", "'b,é'", "'b,a'"]),
    ("DATE", ["'1000-01-01'", "'1969-12-31'", "'9999-12-31'", "'2024-02-29'"]),
    (
        "DATETIME(6)",
        ["'1000-01-01'", "'1969-12-31 23:59:59.999999'", "'9999-12-31 23:59:59'", "'2024-02-29 01:02:03.5'"],
    ),
    (
        "TIMESTAMP(3)",
        [
            "'1970-01-01 00:00:01'",
            "'2024-01-01 00:00:00.5'",
            "'2038-01-19 03:14:07'",
            "'2024-02-29 01:02:03.5Z'",
        ],
    ),
    ("TIME(6)", ["'-838:59:59'", "'-00:00:00.000001'", "'838:59:59'", "'25:00:00.5'"]),
    ("YEAR", ["0", "1901", "2155", "2024"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_again_by_keys_of_every_type() {
    let task = Task::new("verify_keys");
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("CREATE DATABASE `{0}`; USE `{0}`", task.name)).await.unwrap();
    for (number, (declaration, [first, second, third, _])) in KEY_TYPES.iter().enumerate() {
        let sql = format!(
            "CREATE TABLE t{number:02} (id {declaration} NOT NULL PRIMARY KEY, n INT); \
             INSERT INTO t{number:02} VALUES ({first}, 1), ({second}, 2), ({third}, 3)"
        );
        mysql.query_drop(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
    task.catch_up();
    let output = verify(&task, &[], 0);
    assert!(output.contains(&format!("{} tables compared", KEY_TYPES.len())), "{output}");
    let postgres = task.servers.postgres().await;
    for (number, (_, [.., surplus])) in KEY_TYPES.iter().enumerate() {
        let table = format!("\"{}\".t{number:02}", task.name);
        let sql = format!(
            "UPDATE {table} SET n = 20 WHERE n = 2; DELETE FROM {table} WHERE n = 3; INSERT INTO {table} VALUES ({surplus}, 4)"
        );
        postgres.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
    // Other tests write to the same server: the lag passes only while capture runs.
    let (_capture, _apply) = (task.capture(), task.apply());
    let output = verify(&task, &[], 3);
    let kinds = ["differs in n", "missing in the destination", "surplus in the destination"];
    for (report, (declaration, _)) in output.split("different     ").skip(1).zip(KEY_TYPES) {
        let lines = named(report);
        assert_eq!(lines.len(), 3, "{declaration}: {report}");
        for kind in kinds {
            let count = lines.iter().filter(|line| line.starts_with(kind)).count();
            assert_eq!(count, 1, "{declaration}: {kind}: {report}");
        }
    }
    let all = format!(
        "{0} tables compared, {1} rows: {1} differences in {0} tables",
        KEY_TYPES.len(),
        3 * KEY_TYPES.len()
    );
    assert!(output.contains(&all), "{output}");
}
