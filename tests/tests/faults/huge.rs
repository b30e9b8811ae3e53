//! A transaction of half a million rows: published and merged piece by piece in bounded memory, and after a kill in the
//! middle it goes on where it was.

use mysql_async::prelude::Queryable;
use tributary_tests::binlog;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};
use tributary_tests::topics::{assert_each_event_once, visit_topic};

const ROWS: u64 = 500_000;
/// The transaction alone is larger: 520 bytes a row.
const MEMORY_KB: u64 = 200 * 1024;

/// How many rows are published.
fn published(task: &Task) -> u64 {
    let mut rows = 0;
    visit_topic(task, "big", |_| rows += 1);
    rows
}

fn assert_bounded(process: &Process) {
    let most = process.memory_kb("VmHWM").unwrap();
    println!("most memory: {} MiB", most / 1024);
    assert!(most < MEMORY_KB, "{} MiB", most / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_transaction_is_published_once_in_bounded_memory() {
    let servers = Servers::up("faults-huge", &["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2"]);
    let task = Task::with("huge", &servers, |config| {
        config
            .replace("[capture]\n", "[capture]\ncommit_bytes = 4194304\nmemory_bytes = 67108864\n")
            .replace("[apply]\n", "[apply]\nflush_rows = 12500\nmemory_bytes = 67108864\n")
            // What the client fetches ahead is bounded by its own settings, for each partition.
            .replace("\n[topics]\n", "\n[kafka.client]\n\"queued.min.messages\" = \"5000\"\n\n[topics]\n")
    });
    let mut mysql = servers.mysql().await;
    // Another table makes the database; the large one begins empty, so that all of it comes from the stream.
    create(&task, "small", 10).await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    mysql
        .query_drop("CREATE TABLE big (id INT PRIMARY KEY, n INT NOT NULL, s VARCHAR(600) NOT NULL)")
        .await
        .unwrap();
    task.catch_up();
    let from = binlog::end(&servers).await;
    mysql.query_drop(format!("SET cte_max_recursion_depth = {ROWS}")).await.unwrap();
    let rows = "WITH RECURSIVE r (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 500000) \
                SELECT i, i * 7, REPEAT(SHA2(i, 256), 8) FROM r";
    mysql.query_drop(format!("INSERT INTO big {rows}")).await.unwrap();

    let mut before = 0;
    for directive in ["kill:kafka-commit:15", "strike:kafka-commit:15", "kill:kafka-committed:15"] {
        let mut capture = task.sabotaged("capture", &["run"], directive);
        capture.expect_sabotage("kafka-commit", RUN);
        let now = published(&task);
        println!("{directive}: {now} rows published");
        assert!(before < now && now < ROWS, "not in the middle: {before}, {now}");
        before = now;
    }
    let mut capture = task.capture();
    for directive in ["kill:destination-commit:3", "strike:destination-commit:3"] {
        task.sabotaged("apply", &["run"], directive).expect_sabotage("destination-commit", RUN);
    }
    let mut apply = task.apply();
    capture.expect_state("synchronizing", RUN);
    eventually("all rows are merged", RUN, || async {
        let postgres = servers.postgres().await;
        let sql = format!("SELECT count(*) FROM \"{}\".big", task.name);
        postgres.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0).cast_unsigned() == ROWS
    })
    .await;
    assert_bounded(&capture);
    assert_bounded(&apply);
    capture.stop();
    apply.stop();
    assert_equal(&task).await;
    assert_each_event_once(&task, &["big", "small"], &binlog::row_events(&servers, &from, &task.name));
    servers.discard();
}
