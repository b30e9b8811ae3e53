//! Rows of 16 MB, and rows that are too large, read from the table and from the stream.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::{assert_equal, eventually_equal};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_16_mb_passes() {
    let task = Task::with("wide", Servers::shared(), |config| {
        config.replace("[topics]\n", "[topics]\nmax_message_bytes = 20000000\n")
    });
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("CREATE DATABASE `{0}`; USE `{0}`", task.name)).await.unwrap();
    mysql.query_drop("CREATE TABLE wide (id INT PRIMARY KEY, body LONGBLOB NOT NULL)").await.unwrap();
    // Bytes that are no text.
    let body = |seed: &str| {
        format!("REPEAT(CONCAT(UNHEX(SHA2('{seed}', 256)), x'00ff'), 16 * 1024 * 1024 DIV 34 + 1)")
    };
    mysql.query_drop(format!("INSERT INTO wide VALUES (1, {}), (2, 'small')", body("read"))).await.unwrap();
    task.catch_up();
    assert_equal(&task).await;
    for statement in [
        format!("INSERT INTO wide VALUES (3, {}), (4, 'small')", body("streamed")),
        format!("UPDATE wide SET body = {} WHERE id = 1", body("changed")),
        "DELETE FROM wide WHERE id = 2".to_owned(),
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    let smallest: Option<u64> =
        mysql.query_first("SELECT MIN(LENGTH(body)) FROM wide WHERE id IN (1, 3)").await.unwrap();
    assert!(smallest.unwrap() >= 16 * 1024 * 1024);
    task.catch_up();
    assert_equal(&task).await;
}

/// Dates that Avro cannot hold travel as headers, which count for the size of a record as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_with_its_headers_parks_its_table() {
    let task = Task::with("headers", Servers::shared(), |config| {
        config.replace("[topics]\n", "[topics]\nmax_message_bytes = 70000\n")
    });
    create(&task, "a", 50).await;
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    mysql.query_drop("SET sql_mode = ''").await.unwrap();
    let dates: String = (0..300)
        .map(|n| format!(", a_date_with_a_name_that_is_long_{n:03} DATE NOT NULL DEFAULT 0"))
        .collect();
    for table in ["in_table", "in_stream"] {
        mysql
            .query_drop(format!("CREATE TABLE {table} (id INT PRIMARY KEY, body MEDIUMTEXT{dates})"))
            .await
            .unwrap();
    }
    // Without the headers both would fit.
    let insert = |table: &str| format!("INSERT INTO {table} (id, body) VALUES (1, REPEAT('x', 60000))");
    mysql.query_drop(insert("in_table")).await.unwrap();
    let (mut capture, mut apply) = (task.capture(), task.apply());
    let is = |table: &str, wanted: &str| {
        let name = format!("{}.{table}", task.name);
        let status = capture.status().unwrap_or_default();
        let tables = status["tables"].as_array().cloned().unwrap_or_default();
        tables.iter().any(|table| table["name"] == name && table["state"] == wanted)
    };
    eventually("the table with the row is parked", RUN, || async { is("in_table", "parked") }).await;
    eventually("the other is in step", RUN, || async { is("in_stream", "synchronizing") }).await;
    mysql.query_drop(insert("in_stream")).await.unwrap();
    eventually("it is parked too", RUN, || async { is("in_stream", "parked") }).await;
    mysql.query_drop("UPDATE a SET n = -9").await.unwrap();
    eventually_equal(&task, "a", "a goes on").await;
    let output = capture.output();
    assert_eq!(output.matches("topics.max_message_bytes = 70000").count(), 2, "{output}");
    assert!(!output.contains("session ended"), "{output}");
    capture.stop();
    apply.stop();
}
