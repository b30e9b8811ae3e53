//! Rows of 16 MB, read from the table and from the stream.

use mysql_async::prelude::Queryable;
use tributary_tests::oracle::assert_equal;
use tributary_tests::servers::Servers;
use tributary_tests::task::Task;

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
