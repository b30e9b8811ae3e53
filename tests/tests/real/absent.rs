//! Tables that are to be read anew and are not there any more: nothing waits for them for ever.

use mysql_async::prelude::Queryable;
use std::time::Duration;
use tributary_tests::eventually;
use tributary_tests::load::create;
use tributary_tests::oracle::eventually_equal;
use tributary_tests::process::Process;
use tributary_tests::task::{RUN, Task};

const SOON: Duration = Duration::from_secs(90);

async fn run(mysql: &mut mysql_async::Conn, statements: &[&str]) {
    for statement in statements {
        mysql.query_drop(*statement).await.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }
}

/// Waits until a table is shown in this state, with this code of an error or none.
async fn expect(process: &Process, name: &str, (state, code): (&str, Option<&str>)) {
    eventually(&format!("{name}: {state}, {code:?}"), SOON, || async {
        process
            .table(name)
            .is_some_and(|table| table["state"] == state && table["error"]["code"].as_str() == code)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_renamed_away_before_it_could_be_read_anew_is_not_waited_for() {
    let task = Task::new("absent");
    for table in ["away", "taken", "silent"] {
        create(&task, table, 20).await;
    }
    let (mut capture, mut apply) = (task.capture(), task.apply());
    for process in [&mut capture, &mut apply] {
        process.expect_state("synchronizing", RUN);
    }
    let other = format!("{}_away", task.name);
    let mut mysql = task.servers.mysql().await;
    run(&mut mysql, &[&format!("CREATE DATABASE `{other}`"), &format!("USE `{}`", task.name)]).await;
    run(&mut mysql, &["LOCK TABLES away WRITE, taken WRITE, silent WRITE"]).await;
    for table in ["away", "taken", "silent"] {
        // Only the table itself can say what the question mark is, and it is locked.
        let alter = format!("ALTER TABLE {table} ADD c ENUM('😀','?') NOT NULL DEFAULT '😀'");
        run(&mut mysql, &[&alter]).await;
    }
    let name = |table: &str| format!("{}.{table}", task.name);
    for table in ["away", "taken", "silent"] {
        expect(&capture, &name(table), ("parked", Some("re-read"))).await;
    }
    run(&mut mysql, &[&format!("RENAME TABLE away TO `{other}`.away"), "RENAME TABLE taken TO taken_on"])
        .await;
    expect(&capture, &name("away"), ("parked", Some("table-renamed"))).await;
    expect(&capture, &name("taken"), ("dropped", None)).await;
    capture.stop();
    // No statement of the binlog says what became of this one.
    run(&mut mysql, &["UNLOCK TABLES", "SET sql_log_bin = 0"]).await;
    run(&mut mysql, &[&format!("RENAME TABLE silent TO `{other}`.silent"), "SET sql_log_bin = 1"]).await;
    let capture = task.capture();
    expect(&capture, &name("silent"), ("parked", Some("table-renamed"))).await;
    eventually_equal(&task, "taken_on", "read under its new name").await;
    for table in ["away", "silent"] {
        let back = format!("RENAME TABLE `{other}`.{table} TO {table}");
        run(&mut mysql, &[&back, &format!("UPDATE {table} SET n = -n")]).await;
        eventually_equal(&task, table, "renamed back").await;
    }
    run(&mut mysql, &[&format!("DROP DATABASE `{other}`")]).await;
}
