//! A destination built again from the topics alone.

use mysql_async::prelude::Queryable;
use tributary_tests::eventually;
use tributary_tests::load::{Writer, create};
use tributary_tests::oracle::{assert_equal, destination_rows, source_rows};
use tributary_tests::servers::Servers;
use tributary_tests::task::{RUN, Task};

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_rebuilt_with_the_source_switched_off() {
    let servers = Servers::up("test-replay", &[]);
    let task = Task::with("replay", &servers, |config| config);
    create(&task, "a", 3000).await;
    create(&task, "empty", 0).await;
    task.catch_up();
    let writer = Writer::start(&task.servers, &task.name, "a", 4000, 2, 5);
    eventually("writes", RUN, || async { writer.transactions() > 500 }).await;
    writer.stop().await;
    let mut mysql = task.servers.mysql().await;
    mysql.query_drop(format!("USE `{}`", task.name)).await.unwrap();
    for statement in [
        "ALTER TABLE a ADD COLUMN note VARCHAR(20) NOT NULL DEFAULT 'none'",
        "INSERT INTO a (id, n, s, note) VALUES (9001, 1, 'x', 'y')",
        "TRUNCATE TABLE a",
        "INSERT INTO a (id, n, s, note) VALUES (1, 1, 'x', 'y'), (2, 2, 'z', 'w')",
        "DELETE FROM a WHERE id = 2",
    ] {
        mysql.query_drop(statement).await.unwrap();
    }
    task.catch_up();
    assert_equal(&task).await;
    let expected = source_rows(&task, "a").await;
    servers.control(&["down", "mysql"]);
    let postgres = task.servers.postgres().await;
    postgres.batch_execute(&format!("DROP SCHEMA \"{}\" CASCADE", task.name)).await.unwrap();
    task.start("apply", &["replay", "--from", "beginning", "--clear"]).expect_exit(0, RUN);
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    servers.control(&["up", "mysql"]);
    assert_eq!(destination_rows(&task, "a").await, expected);
    assert!(destination_rows(&task, "empty").await.is_empty());
    servers.discard();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_over_existing_tables_changes_nothing_in_the_end() {
    let task = Task::new("remerge");
    create(&task, "a", 2000).await;
    task.catch_up();
    let writer = Writer::start(&task.servers, &task.name, "a", 2500, 2, 6);
    eventually("writes", RUN, || async { writer.transactions() > 300 }).await;
    writer.stop().await;
    task.catch_up();
    assert_equal(&task).await;
    task.start("apply", &["replay", "--from", "beginning", "--merge"]).expect_exit(0, RUN);
    task.start("apply", &["run", "--until-caught-up"]).expect_exit(0, RUN);
    assert_equal(&task).await;
    // A running instance notices, and seeks.
    let mut apply = task.apply();
    eventually("in step", RUN, || async {
        apply.status().is_some_and(|status| status["state"] == "synchronizing")
    })
    .await;
    let postgres = task.servers.postgres().await;
    postgres.execute(&format!("DELETE FROM \"{}\".a WHERE id % 2 = 0", task.name), &[]).await.unwrap();
    task.start("apply", &["replay", "--from", "beginning", "--clear"]).expect_exit(0, RUN);
    let expected = source_rows(&task, "a").await;
    eventually("the running instance has rebuilt the table", RUN, || async {
        destination_rows(&task, "a").await == expected
    })
    .await;
    apply.stop();
}
