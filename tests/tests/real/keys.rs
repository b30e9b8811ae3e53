//! Equality of keys in three systems: MySQL compares by a column's collation and numbers by value, Kafka by bytes,
//! PostgreSQL by its own types.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::oracle::{assert_equal, assert_table_equal, eventually_equal};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

async fn run(mysql: &mut mysql_async::Conn, statements: &[&str]) {
    for statement in statements {
        mysql.query_drop(*statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

/// Types of a key, and for a number a value of it; values of neighbours may be equal.
const KEYS: [(&str, &str); 14] = [
    ("TINYINT", "{n} - 60"),
    ("BIGINT UNSIGNED", "18446744073709551615 - {n}"),
    ("FLOAT", "({n} - 60) * 0.1"),
    ("DOUBLE", "({n} - 60) * 1e-3"),
    ("DECIMAL(20,5)", "({n} - 60) * 0.00001"),
    ("BIT(12)", "{n} * 3"),
    ("YEAR", "1930 + {n}"),
    ("DATE", "DATE_ADD('1969-11-11', INTERVAL {n} DAY)"),
    ("DATETIME(6)", "DATE_ADD('1969-12-31 23:59:59.999', INTERVAL {n} MICROSECOND)"),
    ("TIME(3)", "SEC_TO_TIME(({n} - 60) * 0.5)"),
    ("VARCHAR(20) CHARACTER SET latin1", "CONCAT(ELT({n} % 4 + 1, 'é', 'É', 'z', '?'), {n})"),
    (
        "VARCHAR(20) CHARACTER SET cp932 COLLATE cp932_bin",
        "CONVERT(UNHEX(CONCAT('FA5C', HEX({n}))) USING cp932)",
    ),
    ("VARBINARY(9)", "UNHEX(CONCAT('00', HEX({n}), '00'))"),
    ("ENUM('c','b','a')", "{n} % 3 + 1"),
];

/// Each type as the first column of a key, read from the tables and followed through the binlog, with keys that move.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_are_equal_on_all_three_sides() {
    let task = Task::with("keytypes", Servers::shared(), |config| {
        config.replace("[capture]\n", "[capture]\nchunk_bytes = 65536\n")
    });
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("CREATE DATABASE `{0}`", task.name), &format!("USE `{0}`", task.name)]).await;
    let fill = async |mysql: &mut mysql_async::Conn, place: usize, value: &str, part: i32| {
        let rows: Vec<String> = (0..120)
            .map(|n| format!("({}, {part}, {n}, REPEAT('x', 900))", value.replace("{n}", &n.to_string())))
            .collect();
        run(mysql, &[&format!("INSERT INTO k{place} VALUES {}", rows.join(","))]).await;
    };
    for (place, (kind, value)) in KEYS.into_iter().enumerate() {
        let table =
            format!("CREATE TABLE k{place} (k {kind}, part INT, n INT, pad TEXT, PRIMARY KEY (k, part))");
        // An ENUM has three values only.
        let value = if kind.starts_with("ENUM") { "1" } else { value };
        let table = if value == "1" {
            table.replace("PRIMARY KEY (k, part)", "PRIMARY KEY (k, part, n)")
        } else {
            table
        };
        run(&mut mysql, &[&table]).await;
        fill(&mut mysql, place, value, 0).await;
    }
    // Zero, and zero with a sign: one row to MySQL, whichever of the two it holds.
    for column in ["FLOAT", "DOUBLE"] {
        run(&mut mysql, &[&format!("CREATE TABLE z{column} (k {column} PRIMARY KEY, n INT, d DOUBLE)")])
            .await;
        run(&mut mysql, &[&format!("INSERT INTO z{column} VALUES (-0e0, 1, -0e0), (1, 1, 0), (-1, 1, 0)")])
            .await;
    }
    let (mut capture, mut apply) = (task.capture(), task.apply());
    capture.expect_state("synchronizing", RUN);
    for (place, (_, value)) in KEYS.into_iter().enumerate() {
        run(&mut mysql, &[&format!("UPDATE k{place} SET part = part + 1, n = n + 1000 WHERE n % 3 = 0")])
            .await;
        run(&mut mysql, &[&format!("DELETE FROM k{place} WHERE n % 7 = 1")]).await;
        fill(&mut mysql, place, value, 7).await;
    }
    for column in ["FLOAT", "DOUBLE"] {
        run(&mut mysql, &[&format!("UPDATE z{column} SET k = 0, n = 2 WHERE k = 0")]).await;
        run(&mut mysql, &[&format!("UPDATE z{column} SET k = -0e0, n = 3 WHERE k = 0")]).await;
        run(&mut mysql, &[&format!("UPDATE z{column} SET n = 4, d = d - 0e0 WHERE k = 0")]).await;
        run(&mut mysql, &[&format!("DELETE FROM z{column} WHERE k = -0e0")]).await;
        run(&mut mysql, &[&format!("INSERT INTO z{column} VALUES (0, 5, -0e0)")]).await;
    }
    eventually_equal(&task, "zDOUBLE", "all is there").await;
    capture.stop();
    apply.stop();
    task.catch_up();
    assert_equal(&task).await;
    task.start("apply", &["verify"]).expect_exit(0, RUN);
}

/// What no text in Unicode stands for alone is refused by name, whether it is read or streamed, and never becomes
/// another row.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_text_does_not_come_back_parks_its_table_and_names_it() {
    let task = Task::new("lossykey");
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("CREATE DATABASE `{0}`", task.name), &format!("USE `{0}`", task.name)]).await;
    let byte = "CONVERT(X'81' USING cp1250)";
    for table in ["read1", "streamed"] {
        let columns = "k VARCHAR(9) CHARACTER SET cp1250 PRIMARY KEY, n INT";
        run(&mut mysql, &[&format!("CREATE TABLE {table} ({columns})")]).await;
        run(&mut mysql, &[&format!("INSERT INTO {table} VALUES ('?', 1), ('Š', 2), ('z', 3)")]).await;
    }
    run(&mut mysql, &[&format!("INSERT INTO read1 VALUES ({byte}, 4)")]).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    let parked = |table: &'static str| {
        let status = capture.status().unwrap_or_default();
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        tables.iter().any(|found| {
            let error = &found["error"];
            found["name"].as_str().is_some_and(|name| name.ends_with(table))
                && error["code"] == "bad-key"
                && error["message"].as_str().is_some_and(|message| message.contains("0x81"))
        })
    };
    eventually("the table that is read is parked", RUN, || async { parked(".read1") }).await;
    eventually_equal(&task, "streamed", "the other one is there").await;
    run(&mut mysql, &[&format!("INSERT INTO streamed VALUES ({byte}, 4)")]).await;
    eventually("the table that is streamed is parked", RUN, || async { parked(".streamed") }).await;
    capture.stop();
    apply.stop();
    // Strict about it, too: not "equal" to what lacks the row.
    let mut verify = task.start("apply", &["verify", "--table", &format!("{}.streamed", task.name)]);
    assert_ne!(verify.wait(RUN).code(), Some(0), "{}", verify.output());
    // Nor is a script told that everything is there.
    let mut capture = task.start("capture", &["run", "--until-caught-up"]);
    capture.expect_exit(1, RUN);
    for table in ["read1", "streamed"] {
        let said = format!("{}.{table} is parked (bad-key): correct the row", task.name);
        assert!(capture.output().contains(&said), "{}", capture.output());
        run(&mut mysql, &[&format!("UPDATE {table} SET k = 'repaired' WHERE k = {byte}")]).await;
    }
    task.catch_up();
    for table in ["read1", "streamed"] {
        assert_table_equal(&task, table).await;
    }
}
