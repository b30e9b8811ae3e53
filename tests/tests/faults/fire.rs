//! A million rows are read while sysbench changes them as fast as it can, from the first chunk to the last.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::oracle::assert_equal;
use tributary_tests::process::Process;
use tributary_tests::servers::Servers;
use tributary_tests::sysbench::{self, Sysbench};
use tributary_tests::task::{RUN, Task};

const TABLES: u32 = 4;
const ROWS: u32 = 250_000;

/// Rows read so far, and whether every table is read.
fn read(capture: &Process) -> Option<(u64, bool)> {
    let status = capture.status()?;
    let tables = status["tables"].as_array()?;
    let rows = tables.iter().filter_map(|table| table["rows_read"].as_u64()).sum();
    let complete = tables.len() == TABLES as usize
        && tables
            .iter()
            .all(|table| ["synchronizing", "catching-up"].iter().any(|state| table["state"] == *state));
    Some((rows, complete))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_are_read_under_fire() {
    let servers = Servers::up("faults-fire", &["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2"]);
    // 64 KiB are about 340 rows: more than 700 windows a table.
    let task = Task::with("fire", &servers, |config| {
        config.replace("[capture]\n", "[capture]\nchunk_bytes = 65536\nreaders = 4\n")
    });
    let mut mysql = servers.mysql().await;
    mysql.query_drop(format!("CREATE DATABASE `{}`", task.name)).await.unwrap();
    mysql.query_drop("SET GLOBAL binlog_row_metadata = MINIMAL").await.unwrap();
    sysbench::prepare(&task, TABLES, ROWS);
    let mut fire = Sysbench::start(&task, TABLES, ROWS, 4);
    let (mut capture, mut apply) = (task.capture(), task.apply());
    // One half is read with the server's default metadata, the other with all there is.
    let half = u64::from(TABLES * ROWS / 2);
    eventually("half of the rows are read", RUN * 2, || async {
        read(&capture).is_some_and(|(rows, complete)| {
            assert!(!complete, "the other metadata came too late");
            rows >= half
        })
    })
    .await;
    mysql.query_drop("SET GLOBAL binlog_row_metadata = FULL").await.unwrap();
    eventually("all are read", RUN * 2, || async { read(&capture).is_some_and(|(_, complete)| complete) })
        .await;
    assert!(fire.is_running(), "the fire lasted to the end of the load");
    fire.stop();
    capture.stop();
    apply.stop();
    task.catch_up();
    assert_equal(&task).await;
    servers.discard();
}
