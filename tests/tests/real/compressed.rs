//! Transactions that are compressed in the binlog, and row events of many megabytes: capture's memory does not follow what they
//! unfold to, whether their tables are selected or not.

use mysql_async::prelude::Queryable;
use tributary_tests::load::create;
use tributary_tests::oracle::{assert_table_equal, eventually_equal};
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// What capture may take more than before: its batches and what the Kafka client holds are less. The transaction unfolds to
/// 300 MB: five statements with two images of each row.
const ALLOWED_KB: u64 = 90 * 1024;

async fn run(mysql: &mut mysql_async::Conn, statements: &[&str]) {
    for statement in statements {
        mysql.query_drop(*statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

fn assert_grown_little(capture: &Process, before: u64, what: &str) {
    let most = capture.memory_kb("VmHWM").unwrap();
    println!("{what}: {} MiB, then {} MiB", before / 1024, most / 1024);
    assert!(most < before + ALLOWED_KB, "{what}: {} MiB, then {} MiB", before / 1024, most / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_unfolds_to_is_not_held_in_memory() {
    let task = Task::with("compressed", Servers::shared(), |config| {
        config.replace("[capture]\n", "[capture]\ncommit_bytes = 4194304\n")
    });
    let other = format!("{}_other", task.name);
    create(&task, "a", 10).await;
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("CREATE DATABASE {other}"), "SET cte_max_recursion_depth = 100000"]).await;
    let rows = "WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 500) \
                SELECT i, 0, REPEAT('a', 60000) FROM r";
    for database in [&task.name, &other] {
        run(
            &mut mysql,
            &[
                &format!("USE `{database}`"),
                "CREATE TABLE wide (id INT PRIMARY KEY, n INT NOT NULL, s MEDIUMTEXT NOT NULL)",
                &format!("INSERT INTO wide {rows}"),
            ],
        )
        .await;
    }
    run(&mut mysql, &["CREATE TABLE large (id INT PRIMARY KEY, b LONGBLOB)"]).await;
    task.catch_up();
    let mut capture = task.capture();
    capture.expect_state("synchronizing", RUN);
    let apply = task.apply();
    let before = capture.memory_kb("VmRSS").unwrap();

    let update = "UPDATE wide SET n = n + 1";
    let compressed = ["BEGIN", update, update, update, update, update, "COMMIT"];
    let mark = |n: u32| format!("UPDATE `{}`.a SET n = {n} WHERE id = 5", task.name);
    run(&mut mysql, &["SET SESSION binlog_transaction_compression = ON"]).await;
    run(&mut mysql, &compressed).await;
    run(&mut mysql, &[&mark(101)]).await;
    eventually_equal(&task, "a", "what is behind the transaction has come").await;
    assert_grown_little(&capture, before, "compressed, of a table that is not selected");

    run(&mut mysql, &["SET SESSION binlog_transaction_compression = OFF"]).await;
    run(&mut mysql, &["INSERT INTO large VALUES (1, REPEAT('x', 50000000))"]).await;
    run(&mut mysql, &["UPDATE large SET id = id + 10", &mark(102)]).await;
    eventually_equal(&task, "a", "what is behind the large rows has come").await;
    assert_grown_little(&capture, before, "rows of 50 MB of a table that is not selected");

    run(&mut mysql, &["SET SESSION binlog_transaction_compression = ON", &format!("USE `{}`", task.name)])
        .await;
    run(&mut mysql, &compressed).await;
    run(&mut mysql, &[&mark(103)]).await;
    eventually_equal(&task, "a", "what is behind the transaction has come").await;
    eventually_equal(&task, "wide", "the rows have come").await;
    assert_grown_little(&capture, before, "compressed, of a selected table");
    capture.stop();
    let mut apply = apply;
    apply.stop();
    assert_table_equal(&task, "wide").await;
    run(&mut mysql, &[&format!("DROP DATABASE {other}")]).await;
}
