//! The wait between the binlog and the engine's commit is needed, and enough. MySQL shows a transaction to binlog
//! readers before its rows are visible; with `binlog_group_commit_sync_delay` that gap is as wide as a test likes.

use mysql_async::prelude::Queryable;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::{Rows, assert_equal, destination_rows, source_rows};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

/// The gap, microseconds: every commit takes so long.
const GAP: u32 = 800_000;
const ROWS: u64 = 30_000;
const WRITERS: u64 = 24;

/// Reads a table in small chunks while writers commit slowly; `directives` break capture on purpose.
async fn read_under_slow_commits(servers: &Servers, test: &str, directives: &str) -> (Task, Rows, Rows) {
    let mut mysql = servers.mysql().await;
    let delay = async |mysql: &mut mysql_async::Conn, gap: u32| {
        mysql.query_drop(format!("SET GLOBAL binlog_group_commit_sync_delay = {gap}")).await.unwrap();
    };
    delay(&mut mysql, 0).await;
    let task = Task::with(test, servers, |config| {
        config.replace("[capture]\n", "[capture]\nchunk_bytes = 65536\nreaders = 4\n")
    });
    create(&task, "a", ROWS).await;
    delay(&mut mysql, GAP).await;
    let writer = Writer::start(servers, &task.name, "a", ROWS, WRITERS, 11);
    task.sabotaged("capture", &["run", "--until-caught-up"], directives).expect_exit(0, RUN);
    writer.stop().await;
    delay(&mut mysql, 0).await;
    task.catch_up();
    let (source, destination) = (source_rows(&task, "a").await, destination_rows(&task, "a").await);
    (task, source, destination)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_lost_without_the_wait_and_none_with_it() {
    let servers = Servers::up("faults-barrier", &["--sync-binlog=0"]);
    let (_, source, destination) = read_under_slow_commits(&servers, "nowait", "skip:gtid-wait").await;
    let lost = source.keys().filter(|row| !destination.contains_key(*row)).count();
    println!("without the wait {lost} rows of {ROWS} are lost or outdated");
    assert!(lost > 0, "the gap between binlog and engine commit was not met");

    let (task, ..) = read_under_slow_commits(&servers, "waits", "").await;
    assert_equal(&task).await;

    let mut mysql = servers.mysql().await;
    for mode in ["ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"] {
        mysql.query_drop(format!("SET GLOBAL gtid_mode = {mode}")).await.unwrap();
    }
    mysql.query_drop("SET GLOBAL enforce_gtid_consistency = OFF").await.unwrap();
    let (_, source, destination) = read_under_slow_commits(&servers, "nolock", "skip:shared-lock").await;
    let lost = source.keys().filter(|row| !destination.contains_key(*row)).count();
    println!("without GTID and without the lock {lost} rows of {ROWS} are lost or outdated");
    assert!(lost > 0, "the gap between binlog and engine commit was not met");

    let (task, ..) = read_under_slow_commits(&servers, "locks", "").await;
    assert_equal(&task).await;
    servers.discard();
}
