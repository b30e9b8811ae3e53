//! Merges: in a warehouse that dies under them, and beside what earlier ones left.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::{assert_equal, eventually_equal};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// PostgreSQL 15 refuses its next start once if its postmaster dies while a transaction is open that gave an unlogged
/// table a new file. A merge, which is open for as long as a row is locked, must not be such a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_dies_during_a_merge_starts_again_and_goes_on() {
    let servers = Servers::up("test-crash", &[]);
    let task = Task::with("crash", &servers, |config| config);
    create(&task, "a", 500).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    let mut mysql = servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    // The first merge of each round makes the staging table, the second finds rows in it.
    for merges in [0, 1] {
        eventually_equal(&task, "a", "a is in step").await;
        for _ in 0..merges {
            mysql.query_drop("UPDATE a SET n = n + 1 WHERE id < 50").await.unwrap();
            eventually_equal(&task, "a", "a is in step").await;
        }
        let (reader, watcher) = (servers.postgres().await, servers.postgres().await);
        let lock = format!("BEGIN; SELECT FROM \"{}\".a WHERE id = 1 FOR UPDATE", task.name);
        reader.batch_execute(&lock).await.unwrap();
        mysql.query_drop("UPDATE a SET n = n + 1 WHERE id < 90").await.unwrap();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tributary apply%' \
                       AND wait_event_type = 'Lock'";
        eventually("the merge waits", RUN, || async {
            watcher.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0
        })
        .await;
        // A commit of another session takes what the merge has logged so far to the disk.
        watcher.batch_execute(&format!("CREATE TABLE flushed{merges} ()")).await.unwrap();
        servers.control(&["kill", "postgres"]);
        servers.control(&["up", "postgres"]);
    }
    eventually_equal(&task, "a", "a is in step").await;
    capture.stop();
    apply.stop();
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}

/// A staging table keeps the rows of the last merge, but not those of many.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_in_a_staging_table_is_not_merged() {
    let task = Task::new("left_behind");
    create(&task, "a", 20_000).await;
    let (mut capture, mut apply) = (task.capture(), task.apply());
    let mut mysql = task.servers.mysql().await;
    let postgres = task.servers.postgres().await;
    let staged = format!("{}.a", task.name);
    let stages = "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables \
                  WHERE left(tablename, length($1) + 1) = $1 || '.'";
    eventually_equal(&task, "a", "a is in step").await;
    mysql.query_drop(format!("DELETE FROM `{}`.a WHERE id = 40", task.name)).await.unwrap();
    eventually("there is a staging table", RUN, || async {
        postgres.query_opt(stages, &[&staged]).await.unwrap().is_some()
    })
    .await;
    let stage: String = postgres.query_one(stages, &[&staged]).await.unwrap().get(0);
    eventually_equal(&task, "a", "a is in step").await;
    let left =
        format!("INSERT INTO {stage} SELECT *, id > 45 FROM \"{}\".a WHERE id BETWEEN 11 AND 50", task.name);
    postgres.batch_execute(&left).await.unwrap();
    mysql.query_drop(format!("UPDATE `{}`.a SET n = -1 WHERE id < 20", task.name)).await.unwrap();
    eventually_equal(&task, "a", "a is in step").await;
    // Each of these sends 2 MB: 16 MB of the table, were it never truncated.
    for n in 0..6 {
        mysql.query_drop(format!("UPDATE `{}`.a SET s = REPEAT('{n}', 60)", task.name)).await.unwrap();
        eventually_equal(&task, "a", "a is in step").await;
    }
    let size = format!("SELECT pg_relation_size('{stage}'::regclass)");
    let size: i64 = postgres.query_one(&size, &[]).await.unwrap().get(0);
    assert!(size < 10_000_000, "the staging table has {size} bytes");
    // One that was dropped by hand is made anew; behind a small merge nothing else is done to it.
    mysql.query_drop(format!("UPDATE `{}`.a SET n = -1 WHERE id < 30", task.name)).await.unwrap();
    eventually_equal(&task, "a", "a is in step").await;
    postgres.batch_execute(&format!("DROP TABLE {stage}")).await.unwrap();
    mysql.query_drop(format!("UPDATE `{}`.a SET n = -2 WHERE id < 30", task.name)).await.unwrap();
    eventually_equal(&task, "a", "a is in step").await;
    capture.stop();
    apply.stop();
    assert_equal(&task).await;
}
